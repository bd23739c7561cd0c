//! What an outage looks like from outside: memory and readiness of every program, sampled.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::common::PATIENCE;
use crate::installation::{Installation, Program};

const SAMPLE: Duration = Duration::from_millis(250);

/// The most memory of one worker in each half of an outage, in bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Memory {
    pub first_half: u64,
    pub second_half: u64,
}

impl Memory {
    pub fn peak(self) -> u64 {
        self.first_half.max(self.second_half)
    }

    /// Bounded, and no longer growing.
    pub fn check(self, most: u64) -> anyhow::Result<()> {
        let flat = self.first_half + self.first_half / 10 + 16_000_000;
        if self.peak() > most || self.second_half > flat {
            bail!("the memory of a worker is not flat: {self:?}, expected at most {most} bytes");
        }
        Ok(())
    }
}

/// Watches for so long, and on until `enough` says so.
pub async fn watch(
    installation: &Installation,
    lasting: Duration,
    mut enough: impl AsyncFnMut() -> anyhow::Result<Result<(), String>>,
) -> anyhow::Result<Memory> {
    let started = Instant::now();
    let mut memory = Memory::default();
    loop {
        let passed = started.elapsed();
        for worker in &installation.workers {
            let half = if passed < lasting / 2 {
                &mut memory.first_half
            } else {
                &mut memory.second_half
            };
            *half = worker.resident_bytes()?.max(*half);
        }
        if passed >= lasting {
            match enough().await? {
                Ok(()) => return Ok(memory),
                Err(missing) if passed > lasting + PATIENCE => bail!("after {} s: {missing}", passed.as_secs()),
                Err(_) => {}
            }
        }
        tokio::time::sleep(SAMPLE).await;
    }
}

/// Whether every one of the programs is unready and says so with `word`; else what is missing.
pub async fn all_unready(
    programs: impl IntoIterator<Item = &Program>,
    word: &str,
) -> anyhow::Result<Result<(), String>> {
    for program in programs {
        match program.unready().await? {
            Some(reasons) if reasons.contains(word) => {}
            Some(reasons) => return Ok(Err(format!("{} does not name {word}: {reasons}", program.name))),
            None => return Ok(Err(format!("{} says that it is ready", program.name))),
        }
    }
    Ok(Ok(()))
}

/// Returns when every program is ready.
pub async fn all_ready(installation: &Installation) -> anyhow::Result<()> {
    let started = Instant::now();
    for program in installation.programs() {
        loop {
            let missing = match program.unready().await {
                Ok(None) => break,
                Ok(Some(reasons)) => reasons,
                Err(error) => error.to_string(),
            };
            if started.elapsed() > PATIENCE {
                bail!(
                    "{} is not ready within {} s: {missing}",
                    program.name,
                    PATIENCE.as_secs()
                );
            }
            tokio::time::sleep(SAMPLE).await;
        }
    }
    Ok(())
}
