DROP VIEW IF EXISTS hour_users_of_events
