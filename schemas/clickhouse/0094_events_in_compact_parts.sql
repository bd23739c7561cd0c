-- An insert writes one file, not two for each column; merges past this size write columns apart again, which is what long reads want.
ALTER TABLE events MODIFY SETTING min_bytes_for_wide_part = 67108864
