ALTER TABLE events MATERIALIZE INDEX by_storage SETTINGS mutations_sync = 2
