//! `uptake ingest` processes, each in a slot of its own: killed, halted, stopped and started again.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use tokio::sync::{Mutex, MutexGuard};

/// How soon a worker that ended by itself is started again.
const SUPERVISE: Duration = Duration::from_millis(100);
/// The longest a worker may take to stop when asked.
const STOP_WITHIN: Duration = Duration::from_secs(20);

/// The workers of a round. Whoever does something to one holds its slot meanwhile.
pub struct Workers(Vec<Mutex<Slot>>);

impl Workers {
    /// None is started yet.
    pub fn new(slots: impl Iterator<Item = Slot>) -> Self {
        Self(slots.map(Mutex::new).collect())
    }

    pub async fn pick(&self, number: usize) -> MutexGuard<'_, Slot> {
        self.0[number % self.0.len()].lock().await
    }

    pub async fn start_all(&self) -> anyhow::Result<()> {
        for slot in &self.0 {
            slot.lock().await.start()?;
        }
        Ok(())
    }

    /// Nobody else does anything to any of them meanwhile. One after the other, so that two who want all never wait for
    /// each other.
    pub async fn hold_all(&self) -> Vec<MutexGuard<'_, Slot>> {
        let mut held = Vec::new();
        for slot in &self.0 {
            held.push(slot.lock().await);
        }
        held
    }

    /// Stops all and keeps them from being started, as long as the slots are held.
    pub async fn stop_all(&self) -> anyhow::Result<Vec<MutexGuard<'_, Slot>>> {
        let mut slots = self.hold_all().await;
        try_join_all(slots.iter_mut().map(|slot| slot.stop())).await?;
        Ok(slots)
    }

    /// Does what a supervisor does, until it fails.
    pub async fn supervise(&self) -> anyhow::Result<()> {
        loop {
            for slot in &self.0 {
                if let Ok(mut slot) = slot.try_lock() {
                    slot.start_if_ended()?;
                }
            }
            tokio::time::sleep(SUPERVISE).await;
        }
    }
}

/// One place for a worker. What runs in it is killed when it is dropped.
pub struct Slot {
    command: Box<dyn Fn() -> Command>,
    log: PathBuf,
    child: Option<Child>,
}

impl Slot {
    /// Empty. The error output of its workers is appended to `log`.
    pub fn new(command: impl Fn() -> Command + 'static, log: PathBuf) -> Self {
        Self {
            command: Box::new(command),
            log,
            child: None,
        }
    }

    /// Call it on a thread that lives as long as the workers: the kernel kills them with it, so that none is left behind.
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = (self.command)();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // SAFETY: only a system call that is safe after fork.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        self.child = Some(command.spawn().context("a worker cannot be started")?);
        Ok(())
    }

    /// Of what runs in it.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it ended, if it did by itself.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(match &mut self.child {
            Some(child) => child.try_wait()?,
            None => None,
        })
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn halt(&self) {
        self.signal(libc::SIGSTOP);
    }

    pub fn go_on(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(libc::SIGTERM);
        let asked = Instant::now();
        while let Some(child) = &mut self.child {
            if child.try_wait()?.is_some() {
                self.child = None;
            } else if asked.elapsed() > STOP_WITHIN {
                bail!(
                    "a worker did not stop within {} s of SIGTERM; see {}",
                    STOP_WITHIN.as_secs(),
                    self.log.display()
                );
            } else {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    fn start_if_ended(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            Some(_) => self.start(),
            None => Ok(()),
        }
    }

    fn signal(&self, signal: libc::c_int) {
        if let Some(child) = &self.child {
            // SAFETY: a signal to our own child, which has not been waited for.
            unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.kill();
    }
}
