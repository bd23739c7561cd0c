DROP VIEW IF EXISTS day_users_of_events
