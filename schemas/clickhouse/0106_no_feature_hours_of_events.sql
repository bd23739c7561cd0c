DROP VIEW IF EXISTS feature_hours_of_events
