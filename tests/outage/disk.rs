//! Small disks that can be filled: file systems in memory, in a mount namespace of our own, so that they go with this process.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null;

use anyhow::{Context, bail};

static PIECE: [u8; 65_536] = [0; 65_536];

/// From here on this process and its children may mount. To be called before any thread is started.
pub fn may_mount() -> anyhow::Result<()> {
    // SAFETY: plain system calls; the process has one thread.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    if uid == 0 {
        check(unsafe { libc::unshare(libc::CLONE_NEWNS) })
    } else {
        check(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })
            .and_then(|()| std::fs::write("/proc/self/setgroups", "deny"))
            .and_then(|()| std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")))
            .and_then(|()| std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")))
    }
    .and_then(|()| mount(Path::new("/"), None, libc::MS_REC | libc::MS_PRIVATE))
    .context("a disk to fill needs the right to mount: run this as root, or allow user namespaces")
}

/// A file system of a limited size.
pub struct Disk {
    pub dir: PathBuf,
}

impl Disk {
    pub fn mount(dir: PathBuf, megabytes: usize) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let size = CString::new(format!("size={megabytes}m"))?;
        mount(&dir, Some(&size), 0).with_context(|| format!("a disk of {megabytes} MB at {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Takes what room there is; again whenever some was made.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.filler())?;
        // Whole pieces first, then every byte.
        for piece in [&PIECE[..], &PIECE[..1]] {
            loop {
                match filler.write(piece) {
                    Ok(1..) => {}
                    Ok(0) => bail!("nothing was written"),
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a disk"),
                }
            }
        }
        Ok(())
    }

    pub fn make_room(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.filler())?)
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }
}

/// A file system in memory where it has `options`, else a change of what is mounted.
fn mount(dir: &Path, options: Option<&CString>, flags: libc::c_ulong) -> io::Result<()> {
    let dir = CString::new(dir.as_os_str().as_bytes())?;
    let options = options.map_or(null(), |options| options.as_ptr().cast());
    // SAFETY: every pointer is null or a text that ends in 0 and outlives the call.
    check(unsafe { libc::mount(c"none".as_ptr(), dir.as_ptr(), c"tmpfs".as_ptr(), flags, options) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
