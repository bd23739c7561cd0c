//! Telling how far a pass over the log has come: a bar on a terminal, a line every few seconds elsewhere. To stderr.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::log::Position;

const EVERY: Duration = Duration::from_secs(5);

pub struct Progress {
    what: &'static str,
    start: Position,
    total_bytes: u64,
    started: Instant,
    told: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// `what`: the name of the pass; `total_bytes`: the size of the log; `start`: where the pass begins.
    pub fn new(what: &'static str, start: Position, total_bytes: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{prefix} {wide_bar} {bytes} of {total_bytes}, {msg}, {eta} left";
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(total_bytes).with_style(style).with_prefix(what);
            bar.set_position(start.byte);
            bar.reset_eta();
            bar
        });
        Self {
            what,
            start,
            total_bytes,
            started: Instant::now(),
            told: Instant::now(),
            bar,
        }
    }

    pub fn at(&mut self, position: Position) {
        let told = if self.bar.is_some() {
            Duration::from_millis(100)
        } else {
            EVERY
        };
        if self.told.elapsed() < told {
            return;
        }
        self.told = Instant::now();
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = (position.records - self.start.records) as f64 / seconds;
        match &self.bar {
            Some(bar) => {
                bar.set_message(format!("{rate:.0} rows/s"));
                bar.set_position(position.byte);
            }
            None => {
                let percent = 100.0 * position.byte as f64 / self.total_bytes.max(1) as f64;
                let per_byte = seconds / (position.byte - self.start.byte).max(1) as f64;
                let left = per_byte * self.total_bytes.saturating_sub(position.byte) as f64;
                let (what, rows) = (self.what, position.records);
                eprintln!("{what}: {percent:.0} %, {rows} rows, {rate:.0} rows/s, {left:.0} s left");
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
