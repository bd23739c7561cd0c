//! Child processes that cannot outlive this one, whatever ends it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{oneshot, watch};

/// A running child. Dropping it kills it.
///
/// The kernel kills a child when the *thread* that started it ends (PR_SET_PDEATHSIG), so each has a thread of its own, which
/// waits for it. It is in its own process group: Ctrl-C reaches only us, and we decide in which order to stop.
pub struct Child {
    name: &'static str,
    pid: u32,
    /// How long it may take to stop when asked.
    grace: Duration,
    /// Whether the process may still be signalled; its number is free for others once it is reaped.
    alive: Arc<Mutex<bool>>,
    ended: watch::Receiver<Option<String>>,
}

impl Child {
    /// Starts `command`, its error output (and its output, unless the command pipes that) appended to `log`.
    /// The second value is its output if piped.
    pub async fn spawn(
        name: &'static str,
        mut command: Command,
        log: &Path,
        output: Output,
        grace: Duration,
    ) -> anyhow::Result<(Self, Option<std::process::ChildStdout>)> {
        let open = || File::options().create(true).append(true).open(log);
        let open = || open().with_context(|| format!("opening {}", log.display()));
        command.stdin(Stdio::null()).stderr(open()?).process_group(0);
        match output {
            Output::Log => command.stdout(open()?),
            Output::Piped => command.stdout(Stdio::piped()),
        };
        let parent = std::process::id();
        // SAFETY: only system calls that are safe after fork.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent ended before the line above took effect.
                if libc::getppid() as u32 != parent {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
                Ok(())
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        let alive = Arc::new(Mutex::new(true));
        let (started, start) = oneshot::channel();
        let (tell_end, ended) = watch::channel(None);
        let still_alive = Arc::clone(&alive);
        std::thread::Builder::new()
            .name(format!("child-{name}"))
            .spawn(move || {
                let mut child = match command.spawn() {
                    Ok(child) => child,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let pid = child.id();
                let _ = started.send(Ok((pid, child.stdout.take())));
                wait_unreaped(pid);
                let mut alive = still_alive.lock().unwrap_or_else(PoisonError::into_inner);
                *alive = false;
                let status = child.wait();
                drop(alive);
                let _ = tell_end.send(Some(
                    status.map_or_else(|e| e.to_string(), |status: ExitStatus| status.to_string()),
                ));
            })?;
        let (pid, stdout) = start.await?.with_context(|| format!("starting {name} ({program})"))?;
        Ok((
            Self {
                name,
                pid,
                grace,
                alive,
                ended,
            },
            stdout,
        ))
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, once it has.
    pub async fn ended(&mut self) -> String {
        match self.ended.wait_for(Option::is_some).await {
            Ok(how) => how.clone().unwrap_or_default(),
            Err(_) => "its thread ended".to_owned(),
        }
    }

    /// Asks it to stop, and kills it when it has not within the time that it has for that.
    pub async fn stop(mut self) {
        self.signal(libc::SIGTERM);
        if tokio::time::timeout(self.grace, self.ended()).await.is_err() {
            tracing::warn!(
                child = self.name,
                seconds = self.grace.as_secs(),
                "did not stop when asked, killing it"
            );
            self.signal(libc::SIGKILL);
            self.ended().await;
        }
    }

    fn signal(&self, signal: libc::c_int) {
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if *alive {
            // SAFETY: the process is not reaped while the lock is held, so the number is still its own.
            unsafe { libc::kill(self.pid as libc::pid_t, signal) };
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
    }
}

/// Where a child's output goes; its error output always goes to its log.
pub enum Output {
    Log,
    Piped,
}

/// Returns when the process has ended, without freeing its number.
fn wait_unreaped(pid: u32) {
    loop {
        // SAFETY: `info` is plain memory that the call fills; the child is ours.
        let result = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            libc::waitid(libc::P_PID, pid, &mut info, libc::WEXITED | libc::WNOWAIT)
        };
        if result == 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
