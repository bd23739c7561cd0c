//! Encryption and logins: what `[kafka.tls]`, `[kafka.sasl]` and `[clickhouse]` may say together, and secrets from files.

use std::fmt;
use std::path::{Path, PathBuf};

use native_tls::{Certificate, TlsConnector};
use rdkafka::ClientConfig;
use serde::Deserialize;

use super::{ClickHouse, Kafka, Reader, Secret};
use crate::error::BadInput;

/// Encrypted connections to Kafka.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    pub enabled: bool,
    pub ca_file: PathBuf,
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    pub key_password: Secret,
    pub key_password_file: PathBuf,
}

/// How a client logs in to Kafka.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub user: String,
    pub password: Secret,
    pub password_file: PathBuf,
    pub token_file: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Mechanism {
    #[default]
    #[serde(rename = "")]
    None,
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    #[serde(rename = "OAUTHBEARER")]
    OAuthBearer,
}

impl Mechanism {
    /// As Kafka names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OAuthBearer => "OAUTHBEARER",
        }
    }
}

impl Kafka {
    /// Whether `[kafka.tls]` or `[kafka.sasl]` says anything, so that a broker may refuse us, or we it.
    pub fn is_secured(&self) -> bool {
        self.tls.enabled || self.sasl.mechanism != Mechanism::None
    }

    pub(super) fn validate(&self) -> Result<(), BadInput> {
        self.tls.validate()?;
        self.sasl.validate(&self.tls)?;
        for (option, value) in &self.options {
            let key = format!("kafka.options.\"{option}\"");
            if self.is_secured() && ["security.", "sasl.", "ssl."].iter().any(|p| option.starts_with(p)) {
                return Err(refused(&key, "nothing here that [kafka.tls] and [kafka.sasl] say"));
            }
            let mut alone = ClientConfig::new();
            // The error of librdkafka holds the value, which may be a secret.
            if alone.set(option, value.expose()).create_native_config().is_err() {
                return Err(refused(
                    &key,
                    "an option that librdkafka knows, with a value that it takes",
                ));
            }
        }
        Ok(())
    }

    /// Reads the secrets that stand in files, and makes sure of the other files.
    pub(super) fn resolve_files(&mut self) -> Result<(), BadInput> {
        let tls = &mut self.tls;
        tls.key_password
            .read_from("kafka.tls.key_password_file", &tls.key_password_file)?;
        if !is_empty(&tls.ca_file) {
            certificates("kafka.tls.ca_file", &tls.ca_file)?;
        }
        if !is_empty(&tls.certificate_file) {
            certificates("kafka.tls.certificate_file", &tls.certificate_file)?;
            read("kafka.tls.key_file", &tls.key_file)?;
        }
        let sasl = &mut self.sasl;
        sasl.password
            .read_from("kafka.sasl.password_file", &sasl.password_file)?;
        if !is_empty(&sasl.token_file) {
            // Clients read it again and again, from whatever directory the process is in then.
            sasl.token_file = std::path::absolute(&sasl.token_file)
                .map_err(|e| unreadable("kafka.sasl.token_file", &sasl.token_file, &e))?;
            read("kafka.sasl.token_file", &sasl.token_file)?;
        }
        Ok(())
    }
}

impl Tls {
    fn validate(&self) -> Result<(), BadInput> {
        one_of_two("kafka.tls.key_password", &self.key_password, &self.key_password_file)?;
        let password = !self.key_password.is_empty() || !is_empty(&self.key_password_file);
        let given = [
            ("kafka.tls.ca_file", !is_empty(&self.ca_file)),
            ("kafka.tls.certificate_file", !is_empty(&self.certificate_file)),
            ("kafka.tls.key_file", !is_empty(&self.key_file)),
            ("kafka.tls.key_password", password),
        ];
        if let Some((key, _)) = given.iter().find(|(_, given)| *given && !self.enabled) {
            return Err(refused(key, "kafka.tls.enabled = true beside it"));
        }
        if is_empty(&self.certificate_file) != is_empty(&self.key_file) {
            return Err(refused("kafka.tls", "certificate_file and key_file, both or neither"));
        }
        if password && is_empty(&self.key_file) {
            return Err(refused("kafka.tls.key_password", "kafka.tls.key_file beside it"));
        }
        Ok(())
    }
}

impl Sasl {
    fn validate(&self, tls: &Tls) -> Result<(), BadInput> {
        one_of_two("kafka.sasl.password", &self.password, &self.password_file)?;
        let user = !self.user.is_empty();
        let password = !self.password.is_empty() || !is_empty(&self.password_file);
        let token = !is_empty(&self.token_file);
        let expected = match self.mechanism {
            Mechanism::None if user || password || token => {
                "one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER beside kafka.sasl.user, password or token_file"
            }
            Mechanism::OAuthBearer if user || password || !token => {
                "kafka.sasl.token_file, and neither user nor password"
            }
            Mechanism::Plain | Mechanism::ScramSha256 | Mechanism::ScramSha512 if !user || !password || token => {
                "kafka.sasl.user and kafka.sasl.password (or password_file), and no token_file"
            }
            Mechanism::Plain | Mechanism::OAuthBearer if !tls.enabled => {
                "kafka.tls.enabled = true beside it: what it sends can be read on the way"
            }
            _ => return Ok(()),
        };
        let value = self.mechanism.name();
        Err(refused(&format!("kafka.sasl.mechanism = \"{value}\""), expected))
    }
}

impl ClickHouse {
    pub(super) fn validate(&self) -> Result<(), BadInput> {
        one_of_two("clickhouse.password", &self.password, &self.password_file)?;
        self.validate_cluster()?;
        self.validate_reader()?;
        if self.url.contains('@') {
            // Its value is not repeated: it may hold the password.
            return Err(refused(
                "clickhouse.url",
                "no user or password in it; they are clickhouse.user and clickhouse.password",
            ));
        }
        let scheme = reqwest::Url::parse(&self.url).map(|url| url.scheme().to_owned());
        let known = scheme.is_ok_and(|scheme| scheme == "http" || scheme == "https");
        if !self.url.is_empty() && !known {
            return Err(refused(
                &format!("clickhouse.url = \"{}\"", self.url),
                "http://host:port or https://host:port",
            ));
        }
        if !is_empty(&self.ca_file) && !self.url.is_empty() && !self.is_encrypted() {
            let ca_file = self.ca_file.display();
            return Err(refused(
                &format!("clickhouse.ca_file = \"{ca_file}\""),
                "a clickhouse.url that begins with https://",
            ));
        }
        Ok(())
    }

    fn validate_cluster(&self) -> Result<(), BadInput> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let (cluster, servers) = (&self.cluster, self.cluster_servers);
        match (cluster.chars().all(is_name), cluster.is_empty(), servers == 0) {
            (false, ..) => Err(refused(
                &format!("clickhouse.cluster = \"{cluster}\""),
                "letters, digits, _ and -",
            )),
            (_, false, true) => Err(refused(
                "clickhouse.cluster_servers = 0",
                format!("how many servers the cluster {cluster} has"),
            )),
            (_, true, false) => Err(refused(
                &format!("clickhouse.cluster_servers = {servers}"),
                "0 without clickhouse.cluster",
            )),
            _ => Ok(()),
        }
    }

    fn validate_reader(&self) -> Result<(), BadInput> {
        let reader = &self.reader;
        one_of_two("clickhouse.reader.password", &reader.password, &reader.password_file)?;
        let has_password = |password: &Secret, file: &Path| !password.is_empty() || !is_empty(file);
        let expected = match reader.user.as_str() {
            "" => return Ok(()),
            name if name == self.user => "another user than clickhouse.user",
            name if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => "letters, digits and _",
            _ if !has_password(&reader.password, &reader.password_file) => {
                "clickhouse.reader.password (or password_file)"
            }
            _ if self.url.is_empty() && !has_password(&self.password, &self.password_file) => {
                "clickhouse.password (or password_file) beside it: without one, everybody may do everything"
            }
            _ => return Ok(()),
        };
        Err(refused(
            &format!("clickhouse.reader.user = \"{}\"", reader.user),
            expected,
        ))
    }

    fn is_encrypted(&self) -> bool {
        self.url.starts_with("https://")
    }

    /// Reads the passwords that stand in files.
    pub fn read_passwords(&mut self) -> Result<(), BadInput> {
        self.password
            .read_from("clickhouse.password_file", &self.password_file)?;
        let Reader {
            password,
            password_file,
            ..
        } = &mut self.reader;
        password.read_from("clickhouse.reader.password_file", password_file)
    }

    /// Reads the passwords and the authorities that stand in files.
    pub(super) fn resolve_files(&mut self) -> Result<(), BadInput> {
        self.read_passwords()?;
        if !self.is_encrypted() {
            return Ok(());
        }
        let mut tls = TlsConnector::builder();
        if !is_empty(&self.ca_file) {
            // Whoever names an authority trusts no other.
            tls.disable_built_in_roots(true);
            for certificate in certificates("clickhouse.ca_file", &self.ca_file)? {
                tls.add_root_certificate(certificate);
            }
        }
        let tls = tls.build();
        self.tls =
            Some(tls.map_err(|e| BadInput::new(format!("configuration: clickhouse.url: TLS cannot begin: {e}")))?);
        Ok(())
    }
}

impl Secret {
    /// Takes the content of `file`, if one is named, without the end of its last line.
    pub(super) fn read_from(&mut self, key: &str, file: &Path) -> Result<(), BadInput> {
        if is_empty(file) {
            return Ok(());
        }
        let bytes = read(key, file)?;
        let text = String::from_utf8(bytes).unwrap_or_default();
        let secret = text.trim_end_matches(['\r', '\n']);
        if secret.is_empty() || secret.contains(char::is_control) {
            return Err(refused(
                &format!("{key} = \"{}\"", file.display()),
                "a file with one line of text, the secret",
            ));
        }
        *self = Self::new(secret);
        Ok(())
    }
}

pub(super) fn is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}

pub(super) fn one_of_two(key: &str, secret: &Secret, file: &Path) -> Result<(), BadInput> {
    if secret.expose().contains(char::is_control) {
        return Err(refused(key, "one line of text"));
    }
    if secret.is_empty() || is_empty(file) {
        return Ok(());
    }
    Err(refused(key, format!("only one of {key} and {key}_file")))
}

pub(super) fn read(key: &str, file: &Path) -> Result<Vec<u8>, BadInput> {
    std::fs::read(file).map_err(|e| unreadable(key, file, &e))
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(key: &str, file: &Path) -> Result<Vec<Certificate>, BadInput> {
    let certificates = Certificate::stack_from_pem(&read(key, file)?).unwrap_or_default();
    if certificates.is_empty() {
        return Err(refused(
            &format!("{key} = \"{}\"", file.display()),
            "a file with certificates in PEM",
        ));
    }
    Ok(certificates)
}

fn unreadable(key: &str, file: &Path, error: &std::io::Error) -> BadInput {
    refused(
        &format!("{key} = \"{}\"", file.display()),
        format!("a file that can be read: {error}"),
    )
}

pub(super) fn refused(place: &str, expected: impl fmt::Display) -> BadInput {
    BadInput::new(format!("configuration: {place}: expected {expected}"))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    type Change = fn(&mut Config);

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::load(None).unwrap();
        change(&mut config);
        let error = config.validate().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        error
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused_by_their_key() {
        let secret = || Secret::new("hunter2");
        let cases: [(&str, Change); 19] = [
            ("kafka.tls.enabled = true", |c| c.kafka.tls.ca_file = "ca.pem".into()),
            ("certificate_file and key_file, both", |c| {
                c.kafka.tls.enabled = true;
                c.kafka.tls.certificate_file = "client.pem".into();
            }),
            ("kafka.tls.key_password", |c| {
                c.kafka.tls.enabled = true;
                c.kafka.tls.key_password = Secret::new("hunter2");
            }),
            ("kafka.sasl.mechanism = \"\"", |c| c.kafka.sasl.user = "me".into()),
            ("kafka.sasl.password (or password_file)", |c| {
                c.kafka.sasl.mechanism = Mechanism::ScramSha512;
                c.kafka.sasl.user = "me".into();
            }),
            ("kafka.sasl.token_file", |c| {
                c.kafka.tls.enabled = true;
                c.kafka.sasl.mechanism = Mechanism::OAuthBearer;
            }),
            ("can be read on the way", |c| {
                c.kafka.sasl.mechanism = Mechanism::Plain;
                c.kafka.sasl.user = "me".into();
                c.kafka.sasl.password = Secret::new("hunter2");
            }),
            ("only one of kafka.sasl.password and", |c| {
                c.kafka.sasl.password = Secret::new("hunter2");
                c.kafka.sasl.password_file = "password".into();
            }),
            ("only one of clickhouse.password and", |c| {
                c.clickhouse.password = Secret::new("hunter2");
                c.clickhouse.password_file = "password".into();
            }),
            ("another user than clickhouse.user", |c| {
                c.clickhouse.reader.user = "default".into()
            }),
            ("clickhouse.reader.password (or password_file)", |c| {
                c.clickhouse.reader.user = "grafana".into();
            }),
            ("everybody may do everything", |c| {
                c.clickhouse.reader.user = "grafana".into();
                c.clickhouse.reader.password = Secret::new("hunter2");
            }),
            ("clickhouse.user and clickhouse.password", |c| {
                c.clickhouse.url = "http://me:hunter2@db:8123".into();
            }),
            ("clickhouse.url = \"ftp://db\"", |c| {
                c.clickhouse.url = "ftp://db".into()
            }),
            ("begins with https://", |c| {
                c.clickhouse.url = "http://db:8123".into();
                c.clickhouse.ca_file = "ca.pem".into();
            }),
            ("clickhouse.cluster = \"a b\"", |c| c.clickhouse.cluster = "a b".into()),
            ("how many servers the cluster main has", |c| {
                c.clickhouse.cluster = "main".into()
            }),
            ("clickhouse.cluster_servers = 4", |c| c.clickhouse.cluster_servers = 4),
            ("[kafka.tls] and [kafka.sasl]", |c| {
                c.kafka.tls.enabled = true;
                c.kafka
                    .options
                    .insert("ssl.key.password".into(), Secret::new("hunter2"));
            }),
        ];
        for (expected, change) in cases {
            let error = refusal(change);
            assert!(error.contains(expected), "{error}");
        }
        let error = refusal(|c| drop(c.kafka.options.insert("sasl.passwort".into(), secret())));
        assert!(error.contains("sasl.passwort"), "{error}");
    }

    #[test]
    fn a_secret_in_a_file_is_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let mut secret = Secret::default();
            let read = secret.read_from("clickhouse.password_file", file.path());
            read.map(|()| secret.expose().to_owned()).map_err(|e| e.to_string())
        };
        assert_eq!(read(" hunter2 \r\n").unwrap(), " hunter2 ");
        for text in ["", "\n", "hunter2\nhunter3"] {
            let error = read(text).unwrap_err();
            assert!(
                error.contains("clickhouse.password_file") && !error.contains("hunter"),
                "{error}"
            );
        }
    }
}
