-- Beside the row of an erasure with ordinal 0, one for each ordinal that it removes: noted before `ordinals` forgets whose they are.
ALTER TABLE erasing ADD COLUMN IF NOT EXISTS ordinal UInt64
