DROP VIEW IF EXISTS feature_users_of_events
