//! System definitions and rosters as stored.
