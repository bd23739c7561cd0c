//! The one distinction that every caller needs: whose mistake it was.

/// Something the user gave is wrong: a config key, a file, an argument. The message names the place, the value and what
/// was expected. On the command line it ends with exit code 2; everything else that fails ends with 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(String);

impl BadInput {
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// One thing that is wrong in something the user gave.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Where it stands, e.g. `line 3, column 11 (timezone)`.
    pub place: String,
    /// What stands there, shortened where it is long.
    pub value: String,
    /// What was expected instead.
    pub expected: String,
}

/// What is wrong with JSON. The reader's own words repeat a value that it did not expect whole, however long.
pub fn told_json(error: &serde_json::Error) -> String {
    const LONGEST: usize = 160;
    let words = error.to_string();
    match words.char_indices().nth(LONGEST) {
        None => words,
        Some((end, _)) => format!("{}… at line {} column {}", &words[..end], error.line(), error.column()),
    }
}

/// Everything that is wrong in one file or body. Never empty when returned as an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, or what else tells the user which text is meant.
    pub origin: String,
    pub list: Vec<Problem>,
}

impl Problems {
    pub fn new(origin: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            list: Vec::new(),
        }
    }

    /// `value` is shown as it is, without control characters and at most 80 characters of it.
    pub fn push(&mut self, place: impl Into<String>, value: &str, expected: impl Into<String>) {
        let mut shown: String = value.chars().take(80).flat_map(printable).collect();
        if value.chars().nth(80).is_some() {
            shown.push('…');
        }
        self.list.push(Problem {
            place: place.into(),
            value: shown,
            expected: expected.into(),
        });
    }

    /// All of them, one a line, after what follows from them.
    pub fn told(&self, consequence: &str) -> String {
        let n = self.list.len();
        let plural = if n == 1 { "" } else { "s" };
        let mut text = format!("{}: {n} problem{plural}; {consequence}", self.origin);
        for problem in &self.list {
            let Problem { place, value, expected } = problem;
            text.push_str(&format!("\n  {place}: \"{value}\": expected {expected}"));
        }
        text
    }

    /// `value` when nothing was wrong, else the problems.
    pub fn none_or<T>(self, value: impl FnOnce() -> T) -> Result<T, Self> {
        if self.list.is_empty() { Ok(value()) } else { Err(self) }
    }
}

fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    escaped.into_iter().flatten().chain((!c.is_control()).then_some(c))
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.told("nothing of it was applied"))
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for BadInput {
    fn from(problems: Problems) -> Self {
        Self::new(problems.to_string())
    }
}
