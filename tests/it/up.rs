//! `uptake up`: everything on one machine.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use uptake::config::Endpoints;

use crate::harness::{PATIENCE, PROGRAM, directory, eventually};

struct Up {
    child: Child,
    data: PathBuf,
    endpoints: Endpoints,
}

fn command(data: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.arg("up").env("UPTAKE__DATA_DIR", data).stdout(Stdio::null());
    for key in ["API__LISTEN", "OPS__LISTEN"] {
        command.env(format!("UPTAKE__{key}"), "127.0.0.1:0");
    }
    for key in ["EMBEDDED__KAFKA_PORT", "EMBEDDED__CLICKHOUSE_PORT"] {
        command.env(format!("UPTAKE__{key}"), "0");
    }
    command
}

impl Up {
    async fn start(data: &Path) -> Self {
        let log = std::fs::File::create(data.with_extension("log")).unwrap();
        let mut child = command(data).stderr(log).spawn().unwrap();
        let started = Instant::now();
        let endpoints = loop {
            if let Some(endpoints) = Endpoints::of_running(data) {
                break endpoints;
            }
            assert!(
                child.try_wait().unwrap().is_none(),
                "it ended; see {}",
                data.with_extension("log").display()
            );
            assert!(started.elapsed() < PATIENCE, "not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        Self {
            child,
            data: data.to_owned(),
            endpoints,
        }
    }

    /// Kafka and the engine: every process that has us as its parent.
    fn children(&self) -> Vec<u32> {
        let of = Path::new("/proc").join(self.child.id().to_string()).join("task");
        let tasks = std::fs::read_dir(of).into_iter().flatten().flatten();
        let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
        children
            .flat_map(|pids| {
                pids.split_whitespace()
                    .map(|pid| pid.parse().unwrap())
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// The child whose command line contains `what`.
    fn child_running(&self, what: &str) -> Option<u32> {
        let is =
            |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains(what));
        self.children().into_iter().find(is)
    }

    fn signal(&self, signal: &str) {
        signal_to(self.child.id(), signal);
    }

    async fn query(&self, sql: &'static str) -> Option<String> {
        let answer = reqwest::Client::new()
            .post(&self.endpoints.clickhouse)
            .body(sql)
            .send()
            .await
            .ok()?;
        answer.error_for_status().ok()?.text().await.ok()
    }

    async fn ready(&self) -> bool {
        reqwest::get(format!("{}/readyz", self.endpoints.ops))
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal_to(pid: u32, signal: &str) {
    assert!(
        Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

async fn gone(pids: &[u32]) {
    let running = |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
    eventually("no child is left", async || !pids.iter().any(running)).await;
}

#[tokio::test]
async fn it_is_ready_soon_keeps_its_data_and_leaves_no_process_behind() {
    let data = directory("up");
    let started = Instant::now();
    let mut up = Up::start(&data).await;
    eventually("it is ready", async || up.ready().await).await;
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "ready only after {:?}",
        started.elapsed()
    );
    let children = up.children();
    assert_eq!(children.len(), 2);
    let secret = std::fs::read_to_string(data.join("secret")).unwrap();
    assert_eq!(secret.trim().len(), 64);
    up.query("CREATE TABLE uptake.kept ENGINE = MergeTree ORDER BY x AS SELECT 42 AS x")
        .await
        .unwrap();

    let second = command(&data).output().unwrap();
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(2));
    assert!(
        message.contains(&format!("in use by process {}", up.child.id())),
        "{message}"
    );

    up.signal("-INT");
    let status = tokio::task::spawn_blocking(move || (up.child.wait().unwrap(), up))
        .await
        .unwrap();
    assert!(
        status.0.success(),
        "{}",
        std::fs::read_to_string(data.with_extension("log")).unwrap()
    );
    assert!(Endpoints::of_running(&status.1.data).is_none());
    gone(&children).await;

    // A further line of the secret is rotated to before anything else begins.
    let secret = format!("{secret}thirty-two characters of the second line\n");
    std::fs::write(data.join("secret"), &secret).unwrap();
    let again = Up::start(&data).await;
    assert_eq!(again.query("SELECT x FROM uptake.kept").await.unwrap(), "42\n");
    assert_eq!(std::fs::read_to_string(data.join("secret")).unwrap(), secret);
    let rotated = "SELECT count() FROM uptake.audit WHERE action = 'rotate_secret' AND outcome = 'done'";
    assert_eq!(again.query(rotated).await.unwrap(), "1\n");
    let children = again.children();
    again.signal("-KILL");
    gone(&children).await;
}

#[tokio::test]
async fn a_child_that_dies_is_replaced_at_its_address() {
    let up = Up::start(&directory("up")).await;
    for what in ["kafka.Kafka", "uptake.toml"] {
        let victim = up.child_running(what).expect(what);
        signal_to(victim, "-KILL");
        eventually("another runs", async || {
            up.child_running(what).is_some_and(|pid| pid != victim)
        })
        .await;
        eventually("it is ready again", async || up.ready().await).await;
    }
    assert_eq!(up.query("SELECT 1").await.unwrap(), "1\n");
}

#[tokio::test]
async fn a_child_that_keeps_dying_ends_the_program_with_an_error() {
    let mut up = Up::start(&directory("up")).await;
    for _ in 0..4 {
        let mut victim = None;
        eventually("the engine runs", async || {
            victim = up.child_running("uptake.toml");
            victim.is_some() && up.query("SELECT 1").await.is_some()
        })
        .await;
        let victim = victim.unwrap();
        signal_to(victim, "-KILL");
        gone(&[victim]).await;
    }
    let children = up.children();
    eventually("it ends", async || up.child.try_wait().unwrap().is_some()).await;
    assert_eq!(up.child.wait().unwrap().code(), Some(1));
    let log = std::fs::read_to_string(up.data.with_extension("log")).unwrap();
    assert!(log.contains("after 3 restarts"), "{log}");
    gone(&children).await;
}
