//! Whether an answer holds what it should.

use serde_json::Value;

/// Where `found` is not `expected`. What `expected` does not mention may be anything; a list is compared whole.
pub fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", expected, found, &mut differences);
    differences.truncate(20);
    differences
}

/// What is left of `expected` where `found` tells it: a filter withholds more than these pages can say, but what it tells must be right.
pub fn as_far_as_told(expected: &Value, found: &Value) -> Value {
    match (expected, found) {
        (_, Value::Null) => Value::Null,
        (_, Value::Object(told)) if told.get("suppressed") == Some(&Value::Bool(true)) => found.clone(),
        (Value::Object(expected), Value::Object(found)) => {
            let keys = expected.iter().filter(|(key, _)| *key != "rank");
            let told = keys.map(|(key, value)| {
                (
                    key.clone(),
                    as_far_as_told(value, found.get(key).unwrap_or(&Value::Null)),
                )
            });
            told.collect::<serde_json::Map<_, _>>().into()
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            // Ranks depend on what is withheld.
            let of = |value: &Value| {
                expected
                    .iter()
                    .find(|one| one["feature"] == value["feature"] && value["rank"].is_number())
                    .cloned()
            };
            let pairs = expected.iter().zip(found);
            pairs
                .map(|(one, other)| as_far_as_told(&of(other).unwrap_or_else(|| one.clone()), other))
                .collect()
        }
        _ => expected.clone(),
    }
}

fn compare(place: &str, expected: &Value, found: &Value, differences: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(_)) => {
            for (key, value) in expected {
                compare(
                    &format!("{place}.{key}"),
                    value,
                    found.get(key).unwrap_or(&Value::Null),
                    differences,
                );
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (number, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(&format!("{place}[{number}]"), expected, found, differences);
            }
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            if (one - other).abs() > 1e-9 * one.abs().max(1.0) {
                differences.push(format!("{place}: expected {one}, found {other}"));
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => differences.push(format!("{place}: expected {expected}, found {found}")),
    }
}
