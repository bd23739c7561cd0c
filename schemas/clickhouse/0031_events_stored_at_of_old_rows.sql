ALTER TABLE events MATERIALIZE COLUMN stored_at SETTINGS mutations_sync = 2
