//! Threads that run statements, each on a connection of its own.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use super::auth::Who;
use super::engine::{Connection, Engine, Output, Params};
use super::error::DbError;

/// Statements that may wait for a thread; one more is refused, as ClickHouse refuses too many simultaneous queries.
const QUEUE: usize = 200;

/// One statement with all it needs.
pub struct Request {
    pub sql: Bytes,
    /// Of the output, where the statement itself names none.
    pub format: String,
    /// A SELECT, of which the output can be sent block by block. Holds the format it will have.
    pub stream_as: Option<String>,
    /// Data of an INSERT; `sql` then has neither FORMAT clause nor data.
    pub input: Option<InputData>,
    pub database: Option<String>,
    pub settings: Vec<(String, String)>,
    pub params: Params,
    /// Refuse everything that writes.
    pub read_only: bool,
    pub who: Who,
}

pub struct InputData {
    pub format: String,
    pub pieces: mpsc::Receiver<Piece>,
}

/// Without `End` the data are not whole, and the INSERT is abandoned.
pub enum Piece {
    Data(Bytes),
    End,
}

/// The output in one or more pieces. An error ends it.
pub type Reply = mpsc::Receiver<Result<Output, DbError>>;

struct Job {
    request: Request,
    reply: mpsc::Sender<Result<Output, DbError>>,
}

/// Hands statements to the threads. Dropping it ends them when their statements are done.
pub struct Pool {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    pub fn start(engine: Arc<Engine>, size: usize) -> anyhow::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE);
        let queue = Arc::new(Mutex::new(queue));
        let threads = (0..size)
            .map(|number| {
                let (engine, queue) = (Arc::clone(&engine), Arc::clone(&queue));
                std::thread::Builder::new()
                    .name(format!("statement-{number}"))
                    .spawn(move || {
                        loop {
                            let job = match queue.lock() {
                                Ok(queue) => queue.recv(),
                                Err(_) => break,
                            };
                            match job {
                                Ok(job) => run(&engine, job),
                                Err(_) => break,
                            }
                        }
                    })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            jobs: Some(jobs),
            threads,
        })
    }

    pub fn submit(&self, request: Request) -> Result<Reply, DbError> {
        let (reply, answer) = mpsc::channel(2);
        let job = Job { request, reply };
        let queued = self.jobs.as_ref().is_some_and(|jobs| jobs.try_send(job).is_ok());
        if !queued {
            let message = format!("Too many simultaneous queries: {QUEUE} are waiting already");
            return Err(DbError::of(202, "TOO_MANY_SIMULTANEOUS_QUERIES", &message));
        }
        Ok(answer)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a statement's thread panicked");
            }
        }
    }
}

fn run(engine: &Engine, mut job: Job) {
    // Whoever asked has gone while the statement waited.
    if job.reply.is_closed() {
        return;
    }
    let outcome = match engine.connect() {
        Ok(mut connection) => execute(&mut connection, &mut job),
        Err(error) => Err(DbError::of(210, "NETWORK_ERROR", &format!("{error:#}"))),
    };
    if let Err(error) = outcome {
        let _ = job.reply.blocking_send(Err(error));
    }
}

fn execute(connection: &mut Connection, job: &mut Job) -> Result<(), DbError> {
    let Job { request, reply } = job;
    prepare(connection, request)?;
    let Request {
        sql,
        format,
        params,
        input,
        stream_as,
        ..
    } = request;
    if let Some(input) = input {
        let mut insert = connection.insert(sql, &input.format, params)?;
        while let Some(piece) = input.pieces.blocking_recv() {
            match piece {
                Piece::Data(data) => insert.append(&data)?,
                Piece::End => {
                    let _ = reply.blocking_send(Ok(insert.finish()?));
                    return Ok(());
                }
            }
        }
        return Ok(()); // The client went away: dropping the insert abandons it.
    }
    let prefix = stream_as.as_deref().and_then(Repeated::of);
    let Some(prefix) = prefix else {
        let _ = reply.blocking_send(Ok(connection.query(sql, format, params)?));
        return Ok(());
    };
    let mut stream = connection.stream(sql, format, params)?;
    let mut first = true;
    loop {
        let mut block = stream.next()?;
        let last = block.count.result_rows == 0;
        if !first {
            prefix.strip(&mut block.data);
        }
        // If nobody listens any more, dropping the stream cancels the statement.
        let gone = (first || !last) && reply.blocking_send(Ok(block)).is_err();
        if last || gone {
            break;
        }
        first = false;
    }
    Ok(())
}

fn prepare(connection: &mut Connection, request: &Request) -> Result<(), DbError> {
    let set = |connection: &mut Connection, sql: String| {
        let done = connection.query(sql.as_bytes(), "Null", &Params::default());
        done.map(|_| ())
    };
    if let Some(database) = &request.database {
        let database = database.replace('\\', "\\\\").replace('`', "\\`");
        set(connection, format!("USE `{database}`"))?;
    }
    let settings = match &request.who {
        Who::Owner => request.settings.clone(),
        Who::Reader(reader) => {
            set(connection, reader.limits())?;
            reader.settings(&request.settings)?
        }
    };
    if !settings.is_empty() {
        let mut list = Vec::with_capacity(settings.len());
        for (name, value) in &settings {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(DbError::of(
                    115,
                    "UNKNOWN_SETTING",
                    &format!(
                        "Setting {name} is neither a builtin setting nor started with the prefix 'SQL_' registered for user-defined settings"
                    ),
                ));
            }
            list.push(format!(
                "{name} = '{}'",
                value.replace('\\', "\\\\").replace('\'', "\\'")
            ));
        }
        set(connection, format!("SET {}", list.join(", ")))?;
    }
    match &request.who {
        Who::Reader(reader) => {
            set(connection, "SET readonly = 1".to_owned())?;
            reader.admit(connection, &request.sql, &request.params)?;
        }
        Who::Owner if request.read_only => set(connection, "SET readonly = 2".to_owned())?,
        Who::Owner => {}
    }
    Ok(())
}

/// What every block of a streamed output begins with, although it belongs to the output only once.
enum Repeated {
    Nothing,
    /// `RowBinaryWithNamesAndTypes`: number of columns, names, types.
    NamesAndTypes,
}

impl Repeated {
    /// None where the blocks of a format cannot be put together again.
    fn of(format: &str) -> Option<Self> {
        match format {
            "RowBinary" | "Native" | "TabSeparated" | "TSV" | "TabSeparatedRaw" | "TSVRaw" | "CSV" | "JSONEachRow"
            | "JSONLines" | "NDJSON" | "JSONCompactEachRow" => Some(Self::Nothing),
            "RowBinaryWithNamesAndTypes" => Some(Self::NamesAndTypes),
            _ => None,
        }
    }

    fn strip(&self, block: &mut Bytes) {
        match self {
            Self::Nothing => {}
            Self::NamesAndTypes => {
                let texts = variable_length(block) * 2;
                for _ in 0..texts {
                    let length = variable_length(block).min(block.len());
                    block.advance(length);
                }
            }
        }
    }
}

/// Reads an unsigned LEB128 number.
fn variable_length(bytes: &mut Bytes) -> usize {
    let (mut value, mut shift) = (0, 0);
    while bytes.has_remaining() && shift < usize::BITS {
        let byte = bytes.get_u8();
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
        shift += 7;
    }
    value
}
