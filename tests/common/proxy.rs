//! A TCP proxy between the worker and ClickHouse, which can misbehave in the ways a network does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What happens to an insert into the proxy's table. Everything else always passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserts {
    Pass,
    /// No connection is served at all, new or old.
    Unreachable,
    /// The server gets all of it, the answer never arrives: the connection stays open, or breaks.
    HoldAnswer,
    BreakBeforeAnswer,
    /// The server gets the head and a part of the body and waits for the rest, or the connection breaks.
    HoldBody,
    BreakBody,
    /// Every piece of body and answer comes late.
    Slow,
}

/// How late a piece is where inserts are slow.
const DELAY: Duration = Duration::from_millis(150);

pub struct Proxy {
    pub url: String,
    mode: watch::Sender<Inserts>,
    met: Arc<AtomicUsize>,
    listening: AbortHandle,
}

/// Connections that are held are let go; new ones are refused.
impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
        self.set(Inserts::Pass);
    }
}

impl Proxy {
    /// Of inserts into `raw_events`.
    pub async fn to(url: &str, mode: Inserts) -> Self {
        Self::of_table("raw_events", url, mode).await
    }

    pub async fn of_table(table: &'static str, url: &str, mode: Inserts) -> Self {
        let upstream: SocketAddr = url.trim_start_matches("http://").parse().expect("http://address:port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let (sender, met) = (watch::Sender::new(mode), Arc::<AtomicUsize>::default());
        let (mode, meets) = (sender.clone(), met.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                if *mode.borrow() != Inserts::Unreachable {
                    let shared = (mode.subscribe(), meets.clone());
                    tokio::spawn(relay(client, upstream, table, shared));
                }
            }
        });
        Self {
            url,
            mode: sender,
            met,
            listening: listening.abort_handle(),
        }
    }

    pub fn set(&self, mode: Inserts) {
        self.mode.send_replace(mode);
    }

    /// How many inserts met with something else than passing.
    pub fn met(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }
}

type Shared = (watch::Receiver<Inserts>, Arc<AtomicUsize>);

async fn relay(client: TcpStream, upstream: SocketAddr, table: &'static str, (mode, met): Shared) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let (is_insert, insert) = watch::channel(false);
    let answers = tokio::spawn(answers(from_server, to_client, mode.clone(), insert, met.clone()));
    requests(from_client, to_server, table, (mode, met), is_insert).await;
    let _ = answers.await;
}

/// Waits as long as inserts are treated like this.
async fn hold(mode: &mut watch::Receiver<Inserts>, how: Inserts) {
    let _ = mode.wait_for(|now| *now != how).await;
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    table: &str,
    (mut mode, met): Shared,
    is_insert: watch::Sender<bool>,
) {
    let inserts = ["+", "%20"].map(|space| format!("INSERT{space}INTO{space}{table}"));
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = &buffer[..count];
        if *mode.borrow() == Inserts::Unreachable {
            return;
        }
        if bytes.starts_with(b"POST") {
            // With or without quotes around the name.
            let head = String::from_utf8_lossy(bytes).replace("%60", "");
            is_insert.send_replace(inserts.iter().any(|insert| head.contains(insert)));
        }
        let now = if *is_insert.borrow() {
            *mode.borrow()
        } else {
            Inserts::Pass
        };
        let sent = match now {
            Inserts::HoldBody | Inserts::BreakBody => {
                // The head, and enough of the body to begin with.
                let part = count - 1;
                if to.write_all(&bytes[..part]).await.is_err() {
                    return;
                }
                met.fetch_add(1, Ordering::SeqCst);
                if now == Inserts::BreakBody {
                    return;
                }
                hold(&mut mode, Inserts::HoldBody).await;
                to.write_all(&bytes[part..]).await
            }
            Inserts::Slow => {
                met.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(DELAY).await;
                to.write_all(bytes).await
            }
            _ => to.write_all(bytes).await,
        };
        if sent.is_err() {
            return;
        }
    }
    if *is_insert.borrow() {
        // A client that was killed: the server must not learn of it before the test says so.
        hold(&mut mode, Inserts::HoldBody).await;
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Inserts>,
    is_insert: watch::Receiver<bool>,
    met: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let now = *mode.borrow();
        if *is_insert.borrow() && matches!(now, Inserts::HoldAnswer | Inserts::BreakBeforeAnswer) {
            met.fetch_add(1, Ordering::SeqCst);
            if now == Inserts::BreakBeforeAnswer {
                return;
            }
            hold(&mut mode, Inserts::HoldAnswer).await;
        }
        if *is_insert.borrow() && now == Inserts::Slow {
            tokio::time::sleep(DELAY).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
