DROP VIEW IF EXISTS feature_days_of_events
