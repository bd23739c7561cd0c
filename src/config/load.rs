//! Where settings come from: embedded defaults < file < environment, merged and typed.

use std::collections::BTreeMap;
use std::path::Path;

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::Value;
use figment::{Figment, Source};

use super::{Config, DEFAULTS, PREFIX};
use crate::error::BadInput;

/// The settings in the environment: `UPTAKE__API__LISTEN` is `api.listen`, and `UPTAKE__KAFKA__OPTIONS__SECURITY_PROTOCOL` is
/// librdkafka's `security.protocol`.
struct Variables(Vec<(String, String)>);

impl Variables {
    const OPTIONS: &str = "kafka.options";

    fn of(environment: impl Iterator<Item = (String, String)>) -> Self {
        let ours = environment.filter_map(|(name, text)| {
            let path = name.strip_prefix(PREFIX)?.to_lowercase().replace("__", ".");
            Some((path, text))
        });
        Self(ours.collect())
    }

    /// A text stays a text, whatever it looks like: a password may be all digits.
    fn merge_into(&self, mut figment: Figment) -> Figment {
        let defaults = Figment::from(Toml::string(DEFAULTS));
        for (path, text) in &self.0 {
            if let Some(option) = path.strip_prefix("kafka.options.") {
                let options = BTreeMap::from([(option.replace('_', "."), text.clone())]);
                figment = figment.merge((Self::OPTIONS, options));
            } else if let Ok(Value::String(..)) = defaults.find_value(path) {
                figment = figment.merge((path.as_str(), text.clone()));
            } else {
                let value: Value = text.parse().unwrap_or_else(|_| text.clone().into());
                figment = figment.merge((path.as_str(), value));
            }
        }
        figment
    }
}

impl Config {
    /// Loads the defaults, then `file` (which must exist when given), then the environment.
    pub fn load(file: Option<&Path>) -> Result<Self, BadInput> {
        let mut figment = Figment::from(Toml::string(DEFAULTS));
        if let Some(path) = file {
            if !path.is_file() {
                return Err(BadInput::new(format!("config file {}: not found", path.display())));
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        let figment = Variables::of(std::env::vars()).merge_into(figment);
        let config: Self = figment
            .extract()
            .map_err(|e| BadInput::new(format!("configuration: {}", told(&e))))?;
        config.validate()?;
        Ok(config)
    }
}

/// What is wrong, after the file and key or the variable it stands in.
fn told(error: &figment::Error) -> String {
    let source = error.metadata.as_ref().and_then(|metadata| metadata.source.as_ref());
    let place = match source {
        Some(Source::File(file)) if error.path.is_empty() => file.display().to_string(),
        Some(Source::File(file)) => format!("{}: {}", file.display(), error.path.join(".")),
        _ => format!("{PREFIX}{}", error.path.join("__").to_uppercase()),
    };
    match &error.kind {
        // What else it is contains the value.
        Kind::InvalidType(..) | Kind::InvalidValue(..) if holds_secret(&error.path) => {
            format!("{place}: expected a text in quotes")
        }
        Kind::UnknownField(_, known) => format!("{place}: unknown key; expected one of {}", known.join(", ")),
        what => format!("{place}: {}", without_quotation(&what.to_string())),
    }
}

/// A text that is no TOML, told without the line it stands in, which may hold a secret.
fn without_quotation(told: &str) -> String {
    let is_quotation = |line: &&str| {
        line.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit())
            .starts_with('|')
    };
    let rest: Vec<&str> = told.lines().filter(|line| !is_quotation(line)).collect();
    rest.join(": ")
}

fn holds_secret(path: &[String]) -> bool {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    matches!(
        path[..],
        [.., "password" | "key_password" | "secret"] | ["kafka", "options", ..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(name: &str, text: &str) -> Result<Config, BadInput> {
        let variables = Variables::of([(name.to_owned(), text.to_owned())].into_iter());
        let figment = variables.merge_into(Figment::from(Toml::string(DEFAULTS)));
        figment.extract().map_err(|e| BadInput::new(told(&e)))
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_file_it_stands_in() {
        let file = std::env::temp_dir().join(format!("uptake-config-{}.toml", std::process::id()));
        std::fs::write(&file, "[kafka]\nbroker = \"x:9092\"\n").unwrap();
        let error = Config::load(Some(&file)).unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains("broker") && error.contains("uptake-config-"), "{error}");
    }

    #[test]
    fn the_environment_sets_numbers_texts_and_kafka_options() {
        assert_eq!(
            from_environment("UPTAKE__INGEST__BATCH_ROWS", "7")
                .unwrap()
                .ingest
                .batch_rows,
            7
        );
        let config = from_environment("UPTAKE__CLICKHOUSE__PASSWORD", "0123").unwrap();
        assert_eq!(config.clickhouse.password.expose(), "0123");
        let config = from_environment("UPTAKE__KAFKA__OPTIONS__SECURITY_PROTOCOL", "SSL").unwrap();
        assert_eq!(config.kafka.options["security.protocol"].expose(), "SSL");
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let error = from_environment("UPTAKE__API__LISTN", "x").unwrap_err().to_string();
        assert!(
            error.contains("UPTAKE__API__LISTN") && error.contains("expected one of listen"),
            "{error}"
        );
        let error = from_environment("UPTAKE__INGEST__BATCH_ROWS", "many")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("UPTAKE__INGEST__BATCH_ROWS") && error.contains("many"),
            "{error}"
        );
    }

    #[test]
    fn a_secret_that_is_no_text_is_not_repeated() {
        for text in [
            "[clickhouse]\npassword = 7391",
            "[kafka.sasl]\npassword = 7391",
            "[kafka.sasl]\npassword = 7391x",
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(&file, text).unwrap();
            let error = Config::load(Some(file.path())).unwrap_err().to_string();
            assert!(!error.contains("7391"), "{error}");
        }
    }
}
