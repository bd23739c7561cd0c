DROP TABLE IF EXISTS feature_days
