//! What a process has used, as the kernel counts it.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// User and system time of all threads of a process so far, those that have ended included.
pub fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let field = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
    let ticks = field(11).zip(field(12)).map(|(user, system)| user + system);
    // SAFETY: no arguments, no effects.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(
        ticks.with_context(|| path)? as f64 / per_second as f64,
    ))
}

/// The most memory that a process has had resident, in bytes.
pub fn peak_resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path}: VmHWM"))? * 1024)
}

/// An address on loopback that nobody listens at.
pub fn free_address() -> anyhow::Result<String> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    Ok(format!("127.0.0.1:{port}"))
}

/// A process under test; killed when dropped.
pub struct Program(Child);

impl Program {
    pub fn start(mut command: Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Self(command.spawn().with_context(|| name)?))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Fails once the process has ended by itself.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the program ended by itself: {status}"),
        }
    }

    /// SIGTERM, and how it ended.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGTERM) };
        Ok(self.0.wait()?)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPU time of some processes over a stretch of wall time.
pub struct Meter {
    started: Instant,
    before: Vec<(u32, Duration)>,
}

impl Meter {
    pub fn start(pids: &[u32]) -> anyhow::Result<Self> {
        let before = pids
            .iter()
            .map(|&pid| Ok((pid, cpu(pid)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self {
            started: Instant::now(),
            before,
        })
    }

    /// The wall time, and the CPU time of each process in the order given.
    pub fn stop(self) -> anyhow::Result<(Duration, Vec<Duration>)> {
        let wall = self.started.elapsed();
        let used = self
            .before
            .iter()
            .map(|&(pid, before)| Ok(cpu(pid)?.saturating_sub(before)));
        Ok((wall, used.collect::<anyhow::Result<_>>()?))
    }
}
