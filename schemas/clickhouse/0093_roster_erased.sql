-- A row of an erased person, under a stand-in: it counts as before, on the days before the erasure, and goes over into every later roster.
ALTER TABLE roster ADD COLUMN IF NOT EXISTS erased Bool DEFAULT false
