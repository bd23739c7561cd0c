//! Room on the disk that holds the data of `uptake up`.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

/// With less, Kafka ends at its next write and the engine refuses inserts.
const NEEDED_MB: u64 = 64;
const LOOK: Duration = Duration::from_secs(1);

/// How many MB are free in `dir`; fails when that is too little.
pub fn check(dir: &Path) -> anyhow::Result<u64> {
    let free = free_mb(dir).with_context(|| format!("the room in {}", dir.display()))?;
    if free < NEEDED_MB {
        bail!(
            "the disk of {} is full: {free} MB are free, expected at least {NEEDED_MB}",
            dir.display()
        );
    }
    Ok(free)
}

/// Returns when there is room in `dir`.
pub async fn await_room(dir: &Path) {
    while check(dir).is_err() {
        tokio::time::sleep(LOOK).await;
    }
}

fn free_mb(dir: &Path) -> anyhow::Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    // SAFETY: `stat` is plain memory that the call fills, `path` ends in 0.
    let stat = unsafe {
        let mut stat: libc::statvfs = std::mem::zeroed();
        if libc::statvfs(path.as_ptr(), &mut stat) != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        stat
    };
    Ok((stat.f_bavail * stat.f_frsize) >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_not_there_is_named() {
        assert!(check(Path::new("/")).is_ok());
        let error = format!("{:#}", check(Path::new("/nowhere/data")).unwrap_err());
        assert!(
            error.contains("/nowhere/data") && error.contains("No such file"),
            "{error}"
        );
    }
}
