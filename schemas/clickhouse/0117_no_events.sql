DROP TABLE IF EXISTS events SETTINGS max_table_size_to_drop = 0
