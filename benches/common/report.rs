//! The figures, as a table on the screen and as JSON in `target`.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

/// How often a measurement that takes seconds is repeated.
pub const RUNS: usize = 3;

#[derive(Serialize)]
pub struct Report {
    events: u64,
    event_bytes: f64,
    cpus: usize,
    figures: Vec<Figure>,
    #[serde(skip)]
    started: Instant,
}

/// A measured number.
#[derive(Serialize)]
struct Figure {
    what: String,
    unit: &'static str,
    /// The median of the runs.
    median: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    runs: Vec<f64>,
}

/// What the number should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(value) => write!(f, "≤ {}", number(*value)),
            Self::AtLeast(value) => write!(f, "≥ {}", number(*value)),
        }
    }
}

impl Report {
    pub fn new(events: u64) -> Self {
        Self {
            events,
            event_bytes: 0.0,
            cpus: std::thread::available_parallelism().map_or(0, |cpus| cpus.get()),
            figures: Vec::new(),
            started: Instant::now(),
        }
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    /// The same, of another number of events.
    #[allow(dead_code, reason = "for bench-query")]
    pub fn about(self, events: u64) -> Self {
        Self { events, ..self }
    }

    pub fn event_bytes(&mut self, mean: f64) {
        self.event_bytes = mean;
    }

    /// Says what comes next.
    pub fn progress(&self, what: fmt::Arguments<'_>) {
        eprintln!("[{:5.1} s] {what}", self.started.elapsed().as_secs_f64());
    }

    /// A number without a target, from one or more runs.
    pub fn add(&mut self, what: impl Into<String>, unit: &'static str, runs: Vec<f64>) {
        self.push(what.into(), unit, runs, None);
    }

    pub fn add_with_target(&mut self, what: impl Into<String>, unit: &'static str, runs: Vec<f64>, target: Target) {
        self.push(what.into(), unit, runs, Some(target));
    }

    fn push(&mut self, what: String, unit: &'static str, runs: Vec<f64>, target: Option<Target>) {
        self.figures.push(Figure {
            what,
            unit,
            median: quantile(&runs, 0.5),
            target,
            runs,
        });
    }

    /// Prints the table and writes the file of that name.
    pub fn finish(self, json: &str) -> anyhow::Result<()> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(json);
        std::fs::write(&path, serde_json::to_vec_pretty(&self)?)?;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "\n{} events{}, {} processors; {:.0} s in all. Each figure is the median of its runs.\n",
            self.events,
            if self.event_bytes > 0.0 {
                format!(" of {:.0} bytes", self.event_bytes)
            } else {
                String::new()
            },
            self.cpus,
            self.started.elapsed().as_secs_f64()
        )?;
        for figure in &self.figures {
            let target = figure.target.map(|target| target.to_string()).unwrap_or_default();
            let runs: Vec<_> = match figure.runs.len() {
                1 => Vec::new(),
                _ => figure.runs.iter().map(|run| number(*run)).collect(),
            };
            let line = format!(
                "{:<62} {:>9} {:<10} {target:<11} {}",
                figure.what,
                number(figure.median),
                figure.unit,
                runs.join("  ")
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out, "\nalso in {}", path.display())?;
        Ok(())
    }
}

/// By the nearest rank; 0 for no values.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
