//! Compares an answer with the part of it that is known.

use std::fmt;

use serde_json::Value;

/// Keys by which objects of a list are told apart; lists of such objects are compared whatever their order.
const NAMES: [&str; 9] = [
    "unit", "role", "tier", "site", "phase", "feature", "weekday", "hour", "from",
];

/// A place where the answer is not what it must be.
#[derive(Debug, PartialEq)]
pub struct Difference {
    /// Such as `groups[unit=Sales].active`.
    pub path: String,
    pub expected: Value,
    /// None: missing.
    pub got: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, got } = self;
        match got {
            Some(got) => write!(f, "{path}: expected {expected}, got {got}"),
            None => write!(f, "{path}: expected {expected}, missing"),
        }
    }
}

/// What came of a comparison.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    /// Single values that were equal.
    pub equal: u64,
    pub differences: Vec<Difference>,
}

impl Comparison {
    /// Everything in `expected` must stand in `got`, which may hold more keys, but no more list elements. Numbers may
    /// differ by 1e-9.
    pub fn compare(&mut self, expected: &Value, got: &Value) {
        self.descend("", expected, Some(got));
    }

    fn descend(&mut self, path: &str, expected: &Value, got: Option<&Value>) {
        match (expected, got) {
            (Value::Object(expected), Some(Value::Object(got))) => {
                for (key, value) in expected {
                    let separator = if path.is_empty() { "" } else { "." };
                    self.descend(&format!("{path}{separator}{key}"), value, got.get(key));
                }
            }
            (Value::Array(expected), Some(Value::Array(got))) => {
                self.leaf(
                    &format!("{path}.length"),
                    &expected.len().into(),
                    Some(&got.len().into()),
                );
                for (place, value) in expected.iter().enumerate() {
                    let (label, counterpart) = match name(value) {
                        Some((label, names)) => (
                            label,
                            got.iter()
                                .find(|got| names.iter().all(|(key, is)| got.get(key) == Some(is))),
                        ),
                        None => (place.to_string(), got.get(place)),
                    };
                    self.descend(&format!("{path}[{label}]"), value, counterpart);
                }
            }
            _ => self.leaf(path, expected, got),
        }
    }

    fn leaf(&mut self, path: &str, expected: &Value, got: Option<&Value>) {
        let equal = match (expected.as_f64(), got.and_then(Value::as_f64)) {
            (Some(expected), Some(got)) => (expected - got).abs() <= 1e-9,
            _ => got == Some(expected),
        };
        if equal {
            self.equal += 1;
        } else {
            self.differences.push(Difference {
                path: path.to_owned(),
                expected: expected.clone(),
                got: got.cloned(),
            });
        }
    }
}

/// What tells an element apart from the others in its list, if it is an object with a name.
fn name(element: &Value) -> Option<(String, Vec<(&'static str, &Value)>)> {
    let names: Vec<_> = NAMES.iter().filter_map(|key| Some((*key, element.get(key)?))).collect();
    let label: Vec<_> = names
        .iter()
        .map(|(key, is)| format!("{key}={}", is.as_str().map_or(is.to_string(), str::to_owned)))
        .collect();
    (!names.is_empty()).then(|| (label.join(","), names))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn compare(expected: &Value, got: &Value) -> Comparison {
        let mut comparison = Comparison::default();
        comparison.compare(expected, got);
        comparison
    }

    #[test]
    fn what_is_not_expected_may_be_there_and_named_elements_may_be_in_any_order() {
        let expected = json!({"groups": [{"unit": "A", "n": 1}, {"unit": "B", "n": null}], "rate": 0.1});
        let got = json!({"groups": [{"unit": "B", "n": null, "m": 2}, {"unit": "A", "n": 1.0}], "rate": 0.1000000000001, "by": 1});
        let comparison = compare(&expected, &got);
        assert_eq!(
            comparison,
            Comparison {
                equal: 6,
                differences: vec![]
            }
        );
    }

    #[test]
    fn each_difference_is_named() {
        let expected = json!({"cells": [{"weekday": 1, "hour": 2, "n": 1}, {"weekday": 1, "hour": 3, "n": 1}], "x": {"y": [1, 2]}});
        let got = json!({"cells": [{"weekday": 1, "hour": 2, "n": 2}], "x": {"y": [1, 3]}});
        let differences: Vec<_> = compare(&expected, &got)
            .differences
            .iter()
            .map(Difference::to_string)
            .collect();
        let expected = [
            "cells.length: expected 2, got 1",
            "cells[weekday=1,hour=2].n: expected 1, got 2",
            "cells[weekday=1,hour=3]: expected {\"hour\":3,\"n\":1,\"weekday\":1}, missing",
            "x.y[1]: expected 2, got 3",
        ];
        assert_eq!(differences, expected);
    }
}
