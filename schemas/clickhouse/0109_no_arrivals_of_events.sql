DROP VIEW IF EXISTS arrivals_of_events
