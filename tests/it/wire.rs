//! Security on the wire: TLS and logins at the real broker, TLS before the real engine, and secrets that stay secret.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use native_tls::Identity;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::json;
use tokio::sync::OnceCell;
use uptake::config::{Config, Mechanism, Secret};
use uptake::embedded::Child;
use uptake::embedded::kafka::Kafka;
use uptake::store::{Store, topics};

use crate::engine::Engine as OwnEngine;
use crate::harness::{Fixture, PATIENCE, PROGRAM, config, directory, eventually};

const USER: &str = "uptake-of-the-tests";
const PASSWORD: &str = "only-Kafka-knows-7391";
const ENGINE_PASSWORD: &str = "only-ClickHouse-knows-4826";
const KEY_PASSWORD: &str = "only-the-key-knows-1155";

/// A broker that listens with TLS, one port for each way to log in. Everything is signed by one authority, `ca.pem`.
struct Secured {
    dir: PathBuf,
    /// Without TLS: what a test itself uses.
    open: String,
    /// PLAIN and SCRAM.
    login: String,
    /// OAUTHBEARER.
    token: String,
    /// Client certificates.
    certificate: String,
    _broker: Child,
}

async fn secured() -> &'static Secured {
    static SECURED: OnceCell<Secured> = OnceCell::const_new();
    SECURED.get_or_init(Secured::start).await
}

impl Secured {
    async fn start() -> Self {
        let dir = directory("secured");
        make_certificates(&dir);
        let mut embedded = config().embedded;
        embedded.kafka_port = 0;
        let kafka = Kafka::prepare(&dir, &embedded).await.unwrap();
        let ports: Vec<String> = ["LOGIN", "TOKEN", "CERTIFICATE"].map(free_port).to_vec();
        add_listeners(&dir, &ports);
        let broker = kafka.start().await.unwrap();
        let open = kafka.address();
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            run(Command::new(&embedded.java)
                .args(["-XX:TieredStopAtLevel=1", "-cp"])
                .arg(std::path::absolute(&embedded.kafka_libs).unwrap().join("*"))
                .args(["kafka.admin.ConfigCommand", "--bootstrap-server", &open, "--alter"])
                .args(["--entity-type", "users", "--entity-name", USER])
                .args(["--add-config", &format!("{mechanism}=[password={PASSWORD}]")]));
        }
        let address = |listener: usize| ports[listener].split_once("://").unwrap().1.to_owned();
        Self {
            open,
            login: address(0),
            token: address(1),
            certificate: address(2),
            dir,
            _broker: broker,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A configuration for the port of user and password.
    fn login_config(&self, fixture: &Fixture, mechanism: Mechanism) -> Config {
        let mut config = fixture.config.clone();
        let kafka = &mut config.kafka;
        kafka.brokers = self.login.clone();
        kafka.tls.enabled = true;
        kafka.tls.ca_file = self.file("ca.pem");
        kafka.sasl.mechanism = mechanism;
        kafka.sasl.user = USER.to_owned();
        kafka.sasl.password = Secret::new(PASSWORD);
        config
    }

    fn token_config(&self, fixture: &Fixture) -> Config {
        let mut config = self.login_config(fixture, Mechanism::OAuthBearer);
        config.kafka.brokers = self.token.clone();
        config.kafka.sasl.user = String::new();
        config.kafka.sasl.password = Secret::default();
        config.kafka.sasl.token_file = self.dir.join(format!("token-{}", fixture.config.kafka.topic));
        write_token(&config.kafka.sasl.token_file, 3_600);
        config
    }

    fn certificate_config(&self, fixture: &Fixture) -> Config {
        let mut config = self.login_config(fixture, Mechanism::None);
        let kafka = &mut config.kafka;
        kafka.brokers = self.certificate.clone();
        kafka.sasl = Default::default();
        kafka.tls.certificate_file = self.file("client.pem");
        kafka.tls.key_file = self.file("client.key");
        kafka.tls.key_password = Secret::new(KEY_PASSWORD);
        config
    }

    async fn produce(&self, topic: &str, payload: &str) {
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.open)
            .create()
            .unwrap();
        let record = FutureRecord::to(topic).key("u-1").payload(payload);
        producer.send(record, PATIENCE).await.unwrap();
    }
}

/// `NAME://127.0.0.1:port`
fn free_port(name: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("{name}://{}", listener.local_addr().unwrap())
}

/// An authority, a broker's and a client's certificate that it signed, and an authority that signed nothing.
fn make_certificates(dir: &Path) {
    let openssl = |args: &str| {
        run(Command::new("openssl").current_dir(dir).args(args.split(' ')));
    };
    let new = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2 -nodes";
    for ca in ["ca", "stranger"] {
        openssl(&format!("{new} -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"));
    }
    let signed = format!("{new} -CA ca.pem -CAkey ca.key -addext basicConstraints=critical,CA:false");
    let host = "-addext subjectAltName=IP:127.0.0.1 -subj /CN=broker";
    openssl(&format!("{signed} {host} -keyout broker.key -out broker.pem"));
    openssl(&format!("{signed} -subj /CN=client -keyout clear.key -out client.pem"));
    openssl(&format!(
        "pkcs8 -topk8 -in clear.key -out client.key -passout pass:{KEY_PASSWORD}"
    ));
    let both = ["broker.key", "broker.pem"].map(|name| std::fs::read_to_string(dir.join(name)).unwrap());
    std::fs::write(dir.join("keystore.pem"), both.concat()).unwrap();
}

fn add_listeners(dir: &Path, listeners: &[String]) {
    let file = dir.join("server.properties");
    let mut text = std::fs::read_to_string(&file).unwrap();
    let more = listeners.join(",");
    text = text.replace(",CONTROLLER://", &format!(",{more},CONTROLLER://"));
    text = text.replace("\nadvertised.listeners=", &format!("\nadvertised.listeners={more},"));
    let login = "org.apache.kafka.common.security";
    text += &format!(
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_SSL,TOKEN:SASL_SSL,CERTIFICATE:SSL
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.certificate.ssl.client.auth=required
listener.name.login.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.login.plain.sasl.jaas.config={login}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";
listener.name.login.scram-sha-256.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.login.scram-sha-512.sasl.jaas.config={login}.scram.ScramLoginModule required;
listener.name.token.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.token.oauthbearer.connections.max.reauth.ms=3600000
listener.name.token.oauthbearer.sasl.jaas.config={login}.oauthbearer.OAuthBearerLoginModule required \
            unsecuredLoginStringClaim_sub=\"broker\";
",
        keystore = dir.join("keystore.pem").display(),
        ca = dir.join("ca.pem").display(),
    );
    std::fs::write(file, text).unwrap();
}

/// A JWT without signature, which the broker of the tests accepts.
fn write_token(file: &Path, seconds: i64) {
    let now = Timestamp::now().as_second();
    let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let claims = part(json!({"sub": USER, "iat": now, "exp": now + seconds}));
    std::fs::write(file, format!("{}.{claims}.\n", part(json!({"alg": "none"})))).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
}

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()]
        .map(String::from_utf8_lossy)
        .concat()
}

fn click() -> String {
    let time = Timestamp::now().to_string();
    json!({"specversion": "1.0", "id": "1", "source": "/test", "type": "usage.feature_click.v1", "subject": "u-1",
        "time": time, "data": {"system": "erp", "feature": "finance.invoice.approve"}})
    .to_string()
}

/// The program with the settings of `config` that are about the wire.
fn program(fixture: &Fixture, config: &Config) -> Command {
    let mut program = fixture.program();
    let (kafka, tls, sasl) = (&config.kafka, &config.kafka.tls, &config.kafka.sasl);
    let path = |path: &Path| path.display().to_string();
    let settings = [
        ("KAFKA__BROKERS", kafka.brokers.clone()),
        ("KAFKA__CONNECT_TIMEOUT_MS", kafka.connect_timeout_ms.to_string()),
        ("KAFKA__TLS__ENABLED", tls.enabled.to_string()),
        ("KAFKA__TLS__CA_FILE", path(&tls.ca_file)),
        ("KAFKA__SASL__MECHANISM", sasl.mechanism.name().to_owned()),
        ("KAFKA__SASL__USER", sasl.user.clone()),
        ("KAFKA__SASL__PASSWORD", sasl.password.expose().to_owned()),
        ("KAFKA__SASL__TOKEN_FILE", path(&sasl.token_file)),
        ("CLICKHOUSE__URL", config.clickhouse.url.clone()),
        ("CLICKHOUSE__CA_FILE", path(&config.clickhouse.ca_file)),
        (
            "CLICKHOUSE__CONNECT_TIMEOUT_MS",
            config.clickhouse.connect_timeout_ms.to_string(),
        ),
        ("INGEST__BATCH_AGE_MS", "100".to_owned()),
    ];
    program.envs(settings.map(|(key, value)| (format!("UPTAKE__{key}"), value)));
    program
}

/// TLS in front of an engine, with the broker's certificate; `https://host:port`.
async fn behind_tls(secured: &Secured, engine: &str) -> String {
    let pem = |name: &str| std::fs::read(secured.file(name)).unwrap();
    let identity = Identity::from_pkcs8(&pem("broker.pem"), &pem("broker.key")).unwrap();
    let tls = tokio_native_tls::TlsAcceptor::from(native_tls::TlsAcceptor::new(identity).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let upstream = engine.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let (tls, upstream) = (tls.clone(), upstream.clone());
            tokio::spawn(async move {
                // A client that does not trust us ends here.
                let Ok(mut client) = tls.accept(client).await else {
                    return;
                };
                let mut server = tokio::net::TcpStream::connect(upstream).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn every_login_that_the_settings_know_is_one_that_the_broker_knows() {
    let secured = secured().await;
    let fixture = Fixture::bare().await;
    let mechanisms = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];
    let mut configs: Vec<_> = mechanisms.map(|m| secured.login_config(&fixture, m)).to_vec();
    configs.push(secured.token_config(&fixture));
    configs.push(secured.certificate_config(&fixture));
    for config in configs {
        let topics = topics::create(&config.kafka, &config.retention).await;
        assert!(
            matches!(&topics, Ok(names) if names.len() == 2),
            "{:?}: {topics:?}",
            config.kafka.sasl.mechanism
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_over_encrypted_connections_and_no_secret_is_logged() {
    let secured = secured().await;
    let fixture = Fixture::bare().await;
    let mut config = secured.login_config(&fixture, Mechanism::ScramSha512);
    config.clickhouse.url = behind_tls(secured, &fixture.config.clickhouse.url).await;
    config.clickhouse.ca_file = secured.file("ca.pem");
    config.kafka.sasl.password = Secret::default();
    let password_file = secured.file("password");
    std::fs::write(&password_file, format!("{PASSWORD}\n")).unwrap();
    let with_log = |command: &str| {
        let mut program = program(&fixture, &config);
        program
            .arg(command)
            .env("UPTAKE__KAFKA__SASL__PASSWORD_FILE", &password_file)
            .env("UPTAKE__KAFKA__OPTIONS__DEBUG", "all")
            .env("UPTAKE_LOG", "trace,h2=info");
        program
    };
    let migrated = with_log("migrate").output().unwrap();
    assert!(migrated.status.success(), "{}", said(&migrated));
    let log = secured.file("worker.log");
    let mut worker = tokio::process::Command::from(with_log("ingest"))
        .stderr(std::fs::File::create(&log).unwrap())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    secured.produce(&config.kafka.topic, &click()).await;
    secured.produce(&config.kafka.topic, "not an event").await;
    eventually("the event is stored and the other refused", async || {
        fixture.number("SELECT count() FROM raw_events").await + fixture.number("SELECT count() FROM rejects").await
            == 2
    })
    .await;
    worker.kill().await.unwrap();
    let text = said(&migrated) + &std::fs::read_to_string(log).unwrap();
    assert!(
        text.contains("librdkafka") && text.contains("SCRAM-SHA-512"),
        "the log tells of the login"
    );
    for secret in [PASSWORD, config.privacy.secret.expose()] {
        assert!(!text.contains(secret), "a secret is in the log");
    }
}

#[tokio::test]
async fn a_worker_that_logs_in_by_token_reads_the_token_again_before_it_expires() {
    let secured = secured().await;
    let fixture = Fixture::new().await;
    let config = secured.token_config(&fixture);
    topics::create(&config.kafka, &config.retention).await.unwrap();
    let lifetime = Duration::from_secs(15);
    write_token(&config.kafka.sasl.token_file, 15);
    let expired = tokio::time::sleep(lifetime + Duration::from_secs(1));
    let mut worker = tokio::process::Command::from(program(&fixture, &config));
    let mut worker = worker.arg("ingest").kill_on_drop(true).spawn().unwrap();
    let stored = async |count| fixture.number("SELECT count() FROM raw_events").await == count;
    secured.produce(&config.kafka.topic, &click()).await;
    eventually("the first event is stored", async || stored(1).await).await;
    // Kafka ends a connection when its token expires; only with a new one it goes on.
    write_token(&config.kafka.sasl.token_file, 3_600);
    expired.await;
    secured
        .produce(&config.kafka.topic, &click().replace("\"1\"", "\"2\""))
        .await;
    eventually("the second event is stored", async || stored(2).await).await;
    worker.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_says_where_and_why_and_not_the_secret() {
    let secured = secured().await;
    let fixture = Fixture::new().await;
    let said_by = async |command: &str, config: &Config| {
        let mut program = program(&fixture, config);
        program.env("UPTAKE__KAFKA__CONNECT_TIMEOUT_MS", "5000");
        let mut program = tokio::process::Command::from(program);
        let ended = program.arg(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
        assert_eq!(output.status.code(), Some(1));
        said(&output)
    };

    for mechanism in [Mechanism::Plain, Mechanism::ScramSha256] {
        let mut config = secured.login_config(&fixture, mechanism);
        config.kafka.sasl.password = Secret::new("a-wrong-password-5501");
        for command in ["ingest", "api"] {
            let text = said_by(command, &config).await;
            assert!(
                text.contains(&secured.login) && text.contains("uthentication failed"),
                "{command}: {text}"
            );
            assert!(!text.contains("a-wrong-password-5501"), "{command}: {text}");
        }
    }

    let mut config = secured.login_config(&fixture, Mechanism::ScramSha256);
    config.kafka.tls.ca_file = secured.file("stranger.pem");
    let text = said_by("ingest", &config).await;
    assert!(
        text.contains(&secured.login) && text.contains("certificate verify failed"),
        "{text}"
    );

    let mut config = fixture.config.clone();
    config.clickhouse.url = behind_tls(secured, &fixture.config.clickhouse.url).await;
    config.clickhouse.ca_file = secured.file("stranger.pem");
    config.clickhouse.connect_timeout_ms = 1_000;
    let text = said_by("ingest", &config).await;
    assert!(
        text.contains(&config.clickhouse.url) && text.contains("certificate verify failed"),
        "{text}"
    );
}

#[tokio::test]
async fn clickhouse_gets_user_and_password_over_tls() {
    let secured = secured().await;
    let fixture = Fixture::bare().await;
    let password_file = secured.file("clickhouse-password");
    std::fs::write(&password_file, ENGINE_PASSWORD).unwrap();
    let engine = OwnEngine::start(&[
        ("UPTAKE__CLICKHOUSE__USER", USER),
        ("UPTAKE__CLICKHOUSE__PASSWORD_FILE", password_file.to_str().unwrap()),
    ]);
    let mut config = fixture.config.clone();
    config.clickhouse.url = behind_tls(secured, &engine.url).await;
    config.clickhouse.ca_file = secured.file("ca.pem");
    config.clickhouse.user = USER.to_owned();
    config.clickhouse.password_file = password_file;
    let mut config = config.resolve().unwrap();
    Store::new(&config.clickhouse).wait(PATIENCE).await.unwrap();

    config.clickhouse.password = Secret::new("a-wrong-password-5502");
    let refused = Store::new(&config.clickhouse).wait(Duration::from_secs(2)).await;
    let error = format!("{:#}", refused.unwrap_err());
    assert!(
        error.contains(&config.clickhouse.url) && error.contains("Authentication failed"),
        "{error}"
    );
    assert!(!error.contains("a-wrong-password-5502"), "{error}");
}

#[test]
fn no_secret_is_printed_by_help_or_config() {
    for arguments in [&["--help"][..], &["config"], &["ingest", "--help"], &["up", "--help"]] {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .env("UPTAKE__KAFKA__BROKERS", "127.0.0.1:1")
            .env("UPTAKE__KAFKA__SASL__MECHANISM", "SCRAM-SHA-512")
            .env("UPTAKE__KAFKA__SASL__USER", USER)
            .env("UPTAKE__KAFKA__SASL__PASSWORD", PASSWORD)
            .env("UPTAKE__CLICKHOUSE__PASSWORD", ENGINE_PASSWORD)
            .env("UPTAKE__PRIVACY__SECRET", "only-the-pseudonyms-know-0123456789")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert!(!said(&output).contains("only-"), "{}", said(&output));
    }
}
