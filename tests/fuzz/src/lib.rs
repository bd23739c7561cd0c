//! What the fuzz targets compare the program with: the same rules, read the slow and obvious way.

pub mod row;
pub mod slow;

use uptake::error::Problem;
use uptake::event::{Reject, TimeRange};

/// 2023 to 2030, so that a time can be refused at both ends.
pub const TIMES: TimeRange = TimeRange {
    earliest_ms: 1_672_531_200_000,
    latest_ms: 1_893_456_000_000,
};

/// The longest sentence about a mistake, in bytes: 80 characters of what stands there, each written as an escape, and
/// what was expected. Without a bound, a text that nobody may see would end up in logs and error messages.
const SENTENCE: usize = 1_400;

/// A refusal must say where, what and what instead, on one line.
pub fn check_reject(reject: &Reject) {
    let parts = [&reject.place, &reject.found, &reject.expected];
    assert!(parts.iter().all(|part| !part.is_empty()), "{reject:?}");
    check_line(&reject.sentence());
}

/// As [`check_reject`]; an empty value is shown as such.
pub fn check_problem(problem: &Problem) {
    assert!(!problem.place.is_empty() && !problem.expected.is_empty(), "{problem:?}");
    check_line(&format!(
        "{}: \"{}\": expected {}",
        problem.place, problem.value, problem.expected
    ));
}

pub fn check_line(sentence: &str) {
    assert!(sentence.len() <= SENTENCE, "{} bytes: {sentence}", sentence.len());
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
}
