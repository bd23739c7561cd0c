//! `uptake rejected` against the real broker and the real engine.
