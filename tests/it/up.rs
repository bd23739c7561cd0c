//! `uptake up`: everything on one machine.
