//! One machine, nothing installed by hand: a real Apache Kafka broker and ClickHouse's own engine.

mod child;
pub mod clickhouse;
pub mod disk;
pub mod engine;
pub mod kafka;
pub mod up;

pub use child::Child;

use std::fs::{File, TryLockError};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::Context;

use crate::error::BadInput;

/// Creates `dir` and takes it for this process; the lock goes with the file, whatever ends the process.
fn lock(dir: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let path = dir.join("lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(BadInput::new(format!(
                "{} is in use by process {}: stop that one, or give another directory",
                dir.display(),
                holder.trim()
            ))
            .into());
        }
        Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking {}", path.display())),
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

/// Listens on the loopback `port` (0: any free one) that the setting `key` asks for.
fn take_port(key: &str, port: u16) -> Result<TcpListener, BadInput> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|e| {
        BadInput::new(format!(
            "configuration: {key} = {port}: {e}; give another port, or 0 for any free one"
        ))
    })
}
