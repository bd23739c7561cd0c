DROP VIEW IF EXISTS feature_user_days_of_events
