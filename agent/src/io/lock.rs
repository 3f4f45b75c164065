//! One writer per host: an agent holds its network namespace (an abstract Unix socket: names are the namespace's own, and go
//! with the process) and its state folder (flock on a file in it). It never takes either from an agent that may still write:
//! the first one is ended by pidfd, and is gone with all its threads, before the second one holds anything.
//!
//! A stopped agent holds both for as long as it exists. Where its lock is lost without its end (the folder was removed or
//! replaced, the file system is a network's), [`WriterLock::check`] says so before each batch.

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt::PeerCredentials,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing::{info, warn};

const FILE: &str = "lock";
/// Abstract: no file, seen in this network namespace alone.
const NAME: &[u8] = b"ballast-agent.writer";
/// From SIGTERM to SIGKILL, and then to the end.
const END_MAX: Duration = Duration::from_secs(5);
/// Both locks may be held, each by another agent, and somebody else may be faster.
const ATTEMPTS_MAX: usize = 6;
/// A pid and a start time.
const TOKEN_BYTES_MAX: u64 = 64;

/// Held for as long as it lives; nothing is written to the kernel without it.
#[derive(Debug)]
pub struct WriterLock {
    /// `None`: an unprivileged process sits on the name.
    name: Option<UnixListener>,
    file: Flock<File>,
    path: PathBuf,
    token: String,
}

/// There is no lock for this agent.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent runs.
    #[error(
        "{what} belongs to a running agent ({holder}): end that one first (systemctl stop ballast-agent), or start this one with --take-over"
    )]
    Held {
        /// What is held.
        what: String,
        /// By whom.
        holder: Holder,
    },
    /// The other agent was to be ended and does not end.
    #[error("{what} belongs to an agent ({holder}) that could not be ended ({why}): nothing was written")]
    NotEnded {
        /// What is held.
        what: String,
        /// By whom.
        holder: Holder,
        /// In words.
        why: String,
    },
    /// The folder or its file cannot be made or written.
    #[error("{path} cannot be used: {source}: give a folder on a local disk with --state")]
    Io {
        /// The path.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The namespace's name cannot be taken, and nobody holds it.
    #[error("the lock of this network namespace cannot be taken: {0}")]
    Name(io::Error),
}

/// The lock is another's.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is not this agent's lock any more ({why}): another agent may write now, so this one ends and writes nothing more"
)]
pub struct Lost {
    path: String,
    why: String,
}

/// Who holds a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(Option<i32>);

impl fmt::Display for Holder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(out, "pid {pid}"),
            None => write!(out, "its pid cannot be seen from here"),
        }
    }
}

/// Takes both locks, the namespace's first. With `take_over` an agent that holds one is ended before.
///
/// # Errors
/// Another agent holds one, or does not end; the folder cannot be written.
pub fn take(folder: &Path, take_over: bool) -> Result<WriterLock, LockError> {
    for _ in 1..ATTEMPTS_MAX {
        match attempt(folder) {
            Err(LockError::Held { what, holder }) if take_over => end(what, holder, folder)?,
            other => return other,
        }
    }
    attempt(folder)
}

fn attempt(folder: &Path) -> Result<WriterLock, LockError> {
    let name = take_name()?;
    let (file, path) = take_file(folder)?;
    let token = own_token().map_err(LockError::Name)?;
    let failed = |source| LockError::Io { path: path.display().to_string(), source };
    file.set_len(0).and_then(|()| (&*file).write_all(token.as_bytes())).map_err(failed)?;
    Ok(WriterLock { name, file, path, token })
}

impl WriterLock {
    /// Whether this agent is still the one that may write. A disk that answers nothing sensible takes no lock away.
    ///
    /// # Errors
    /// The file is gone, is another one, or names another agent.
    pub fn check(&self) -> Result<(), Lost> {
        let lost = |why: String| Err(Lost { path: self.path.display().to_string(), why });
        let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        match (fs::metadata(&self.path), self.file.metadata()) {
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
                return lost("it was removed".to_string());
            }
            (Ok(there), Ok(ours)) if !same(&there, &ours) => {
                return lost("another file has its place".to_string());
            }
            _ => {}
        }
        let mut found = [0; TOKEN_BYTES_MAX as usize];
        match self.file.read_at(&mut found, 0) {
            Ok(length) if &found[..length] != self.token.as_bytes() => {
                let found = String::from_utf8_lossy(&found[..length]);
                lost(format!("it names {}", found.split_whitespace().next().unwrap_or("nobody")))
            }
            _ => Ok(()),
        }
    }

    /// The namespace's socket, whose callers must be let in and sent away: a full queue would hide this agent's pid.
    ///
    /// # Errors
    /// The descriptor cannot be doubled.
    pub fn listener(&self) -> io::Result<Option<UnixListener>> {
        self.name.as_ref().map(UnixListener::try_clone).transpose()
    }
}

/// Takes callers of the namespace's socket in and sends them away; they only want to know whose it is.
pub async fn turn_away(listener: UnixListener) {
    if let Err(error) = listener.set_nonblocking(true) {
        return warn!(%error, "the lock's socket stays unattended");
    }
    match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => while listener.accept().await.is_ok() {},
        Err(error) => warn!(%error, "the lock's socket stays unattended"),
    }
}

/// Pid and start time: no other process of this boot has both.
fn own_token() -> io::Result<String> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Field 22; the second one, the name, may hold blanks.
    let start = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(19)).unwrap_or("0");
    Ok(format!("{} {start}\n", std::process::id()))
}

fn take_name() -> Result<Option<UnixListener>, LockError> {
    let address = SocketAddr::from_abstract_name(NAME).map_err(LockError::Name)?;
    match UnixListener::bind_addr(&address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match name_holder() {
            Some((pid, uid)) if uid != 0 && uid != nix::unistd::geteuid().as_raw() => {
                warn!(
                    pid,
                    uid,
                    "an unprivileged process sits on the name of this namespace's lock; it cannot write routes, so this agent \
                     starts without that lock: end the process"
                );
                Ok(None)
            }
            holder => Err(LockError::Held {
                what: "this network namespace".to_string(),
                // 0: a process of another PID namespace.
                holder: Holder(holder.map(|(pid, _)| pid).filter(|pid| *pid > 0)),
            }),
        },
        Err(error) => Err(LockError::Name(error)),
    }
}

/// Pid and user of the process that listens at the name, as the kernel knows them.
fn name_holder() -> Option<(i32, u32)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let caller = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    connect(caller.as_raw_fd(), &UnixAddr::new_abstract(NAME).ok()?).ok()?;
    let credentials = getsockopt(&caller, PeerCredentials).ok()?;
    Some((credentials.pid(), credentials.uid()))
}

fn take_file(folder: &Path) -> Result<(Flock<File>, PathBuf), LockError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| LockError::Io { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let path = folder.join(FILE);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed(&path))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok((lock, path)),
        Err((file, nix::errno::Errno::EWOULDBLOCK)) => {
            Err(LockError::Held { what: folder.display().to_string(), holder: Holder(file_holder(&file)) })
        }
        Err((_, errno)) => Err(failed(&path)(errno.into())),
    }
}

/// The kernel's own word on who holds the file: what is written in it may be of an agent that is long gone.
fn file_holder(file: &File) -> Option<i32> {
    let inode = file.metadata().ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    holder_in(&locks, &inode).filter(|pid| *pid > 0)
}

/// `1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`; one that waits has `->` before the second word.
fn holder_in(locks: &str, inode: &str) -> Option<i32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", pid, place, ..] = words[..] else { return None };
        (place.rsplit(':').next() == Some(inode)).then(|| pid.parse().ok()).flatten()
    })
}

/// Ends an agent that holds a lock, and returns when all its threads are gone: none of its writes comes after that.
fn end(what: String, holder: Holder, folder: &Path) -> Result<(), LockError> {
    let failed = |why: String| LockError::NotEnded { what: what.clone(), holder, why };
    let Some(pid) = holder.0.filter(|pid| *pid != std::process::id().cast_signed()) else {
        return Err(LockError::Held { what, holder });
    };
    let named = Pid::from_raw(pid).ok_or_else(|| failed("it has no pid".to_string()))?;
    let process = match pidfd_open(named, PidfdFlags::empty()) {
        Ok(process) => process,
        // It ended by itself.
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(errno) => return Err(failed(format!("pidfd_open: {errno}"))),
    };
    // The descriptor is that process for good; whether it is still the holder is asked again, since pids are reused.
    let still = matches!(attempt(folder), Err(LockError::Held { holder: again, .. }) if again == holder);
    if !still {
        return Ok(());
    }
    // A stopped process heeds nothing else; it must not be woken, for it might write.
    let gently = [(Signal::TERM, "SIGTERM")].into_iter().filter(|_| !is_stopped(pid));
    for (signal, name) in gently.chain([(Signal::KILL, "SIGKILL")]) {
        info!(pid, signal = name, holds = %what, "another agent is ended");
        match pidfd_send_signal(&process, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(failed(format!("{name}: {errno}"))),
        }
        if gone(&process).map_err(|error| failed(error.to_string()))? {
            return Ok(());
        }
    }
    Err(failed(format!("it is still there {} s after SIGKILL", END_MAX.as_secs())))
}

/// Whether a process was stopped by a signal or by who traces it.
fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with(['T', 't']))
}

/// Waits a bounded time until a process has ended, with all its threads.
fn gone(process: &OwnedFd) -> io::Result<bool> {
    let mut descriptors = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    let limit = Timespec { tv_sec: END_MAX.as_secs().cast_signed(), tv_nsec: 0 };
    loop {
        match poll(&mut descriptors, Some(&limit)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::namespace::in_namespace;

    #[test]
    fn a_second_agent_is_refused_and_told_the_pid() {
        in_namespace("a_second_agent_is_refused", || {
            let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let own = format!("pid {}", std::process::id());
            let first = take(folder.path(), false).unwrap();
            // Also with another state folder: the namespace is the same.
            for (folder, take_over) in [(folder.path(), false), (other.path(), false), (other.path(), true)] {
                let refused = take(folder, take_over).unwrap_err().to_string();
                assert!(refused.contains(&own) && refused.contains("namespace"), "{refused}");
            }
            drop(first);
            take(other.path(), false).unwrap();
        });
    }

    #[test]
    fn a_state_folder_is_one_agents_in_all_namespaces() {
        in_namespace("a_state_folder_is_one_agents", || {
            let folder = tempfile::tempdir().unwrap();
            let first = take(folder.path(), false).unwrap();
            let path = folder.path().to_path_buf();
            in_namespace_of_its_own(move || {
                let refused = take(&path, false).unwrap_err().to_string();
                let own = format!("pid {}", std::process::id());
                assert!(refused.contains(&own) && refused.contains(path.to_str().unwrap()), "{refused}");
            });
            first.check().unwrap();
        });
    }

    fn in_namespace_of_its_own(act: impl FnOnce() + Send + 'static) {
        let thread = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            act();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    }

    #[test]
    fn a_lock_that_is_anothers_is_lost() {
        in_namespace("a_lock_that_is_anothers", || {
            let folder = tempfile::tempdir().unwrap();
            let lock = take(folder.path(), false).unwrap();
            let path = folder.path().join(FILE);
            lock.check().unwrap();
            fs::write(&path, "1 1\n").unwrap();
            assert!(lock.check().unwrap_err().to_string().contains("it names 1"));
            fs::write(&path, own_token().unwrap()).unwrap();
            lock.check().unwrap();
            fs::rename(&path, folder.path().join("away")).unwrap();
            assert!(lock.check().unwrap_err().to_string().contains("removed"));
            fs::write(&path, own_token().unwrap()).unwrap();
            assert!(lock.check().unwrap_err().to_string().contains("another file"));
        });
    }

    #[test]
    fn the_kernels_list_of_locks_names_the_holder() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:00:5678 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 12 fe:00:567 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 13 fe:00:5678 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 14 fe:00:5678 0 EOF\n";
        assert_eq!(holder_in(locks, "5678"), Some(13));
        assert_eq!(holder_in(locks, "78"), None);
        assert_eq!(holder_in("garbage", "78"), None);
    }
}
