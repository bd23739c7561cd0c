//! Whether an answer holds what it should.

use serde_json::Value;

/// Where `found` is not `expected`. What `expected` does not mention may be anything; a list is compared whole.
pub fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare("", expected, found, &mut differences);
    differences.truncate(20);
    differences
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
