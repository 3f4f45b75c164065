//! What the service manager is told (sd_notify(3)): that the agent is ready, how it stands, that it ends, and that it comes
//! along. A datagram that the manager does not take at once is lost: the agent never waits for it.

use crate::io::thread::Progress;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tracing::warn;

/// Between two status lines at least.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Signs of life in one watchdog period.
const SIGNS: u32 = 3;
/// Bytes of a status line; the manager shows one line.
const STATUS_BYTES_MAX: usize = 500;

/// The way to the service manager; leads nowhere where there is none.
#[derive(Debug, Default)]
pub struct Manager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The manager ends an agent that gives no sign for so long.
    watchdog: Option<Duration>,
    ready: bool,
    said: String,
    status_due: Duration,
    sign_due: Duration,
    /// What each thread had done at the last look; `None`: it had nothing to do.
    done: Vec<Option<u64>>,
}

impl Manager {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    ///
    /// # Errors
    /// A socket is named that cannot be addressed.
    pub fn from_environment() -> io::Result<Manager> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(Manager::default()) };
        let word = |name| std::env::var(name).ok();
        let for_us = word("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let watchdog = word("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|_| for_us);
        Manager::new(&name, watchdog.map(Duration::from_micros))
    }

    fn new(name: &OsStr, watchdog: Option<Duration>) -> io::Result<Manager> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(name)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Manager { socket: Some((socket, address)), watchdog, ..Manager::default() })
    }

    fn say(&self, text: &str) {
        if let Some((socket, address)) = &self.socket {
            // A manager that is restarted, or busy: the next sign comes soon.
            let _ = socket.send_to_addr(text.as_bytes(), address);
        }
    }

    /// The kernel holds the ledger's program. Said once.
    pub fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            self.say("READY=1");
        }
    }

    /// The agent ends by itself or was told to.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=ends; the kernel keeps what it holds");
    }

    /// Called by the loop again and again with its own age: gives a sign of life when one is due and every thread has come
    /// along since the last look, and says how the agent stands where that changed.
    pub fn tend(&mut self, age: Duration, threads: &[&Progress], status: impl FnOnce() -> String) {
        if self.socket.is_none() {
            return;
        }
        if age >= self.status_due {
            self.status_due = age + STATUS_EVERY;
            let status: String =
                status().chars().filter(|c| !c.is_control()).take(STATUS_BYTES_MAX).collect();
            if status != self.said {
                self.say(&format!("STATUS={status}"));
                self.said = status;
            }
        }
        let Some(period) = self.watchdog else { return };
        if age < self.sign_due {
            return;
        }
        self.sign_due = age + period / SIGNS;
        let done: Vec<Option<u64>> = threads.iter().map(|thread| thread.done()).collect();
        let stuck = done.iter().zip(&self.done).any(|(now, before)| now.is_some() && now == before);
        self.done = done;
        if stuck {
            warn!("the kernel has not answered since the last look: no sign of life for the service manager");
        } else {
            self.say("WATCHDOG=1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    fn heard(manager: &UnixDatagram) -> Vec<String> {
        let mut all = Vec::new();
        let mut buffer = [0; 1_024];
        while let Ok(length) = manager.recv(&mut buffer) {
            all.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        all
    }

    fn pair(watchdog: Option<Duration>) -> (UnixDatagram, Manager, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (socket, Manager::new(path.as_os_str(), watchdog).unwrap(), folder)
    }

    #[test]
    fn a_sign_of_life_needs_progress_not_time() {
        let (socket, mut manager, _folder) = pair(Some(Duration::from_secs(3)));
        let steps = Arc::new(AtomicU64::new(0));
        let kernel = Progress::new(steps.clone());
        let idle = Progress::new(Arc::default());
        let mut at = |second: u64| {
            manager.tend(Duration::from_secs(second), &[&kernel, &idle], || "well".to_string());
            heard(&socket).iter().any(|text| text == "WATCHDOG=1")
        };
        assert!(at(0) && at(1), "idle threads are no stuck ones");
        kernel.ask();
        assert!(at(2), "it has just begun");
        assert!(!at(3) && !at(4), "it does not come along");
        steps.fetch_add(1, Ordering::Relaxed);
        assert!(at(5), "it came along");
        assert!(!at(6));
        kernel.answer();
        assert!(at(7) && at(8), "it has nothing to do");
    }

    #[test]
    fn the_manager_hears_each_news_once() {
        let (socket, mut manager, _folder) = pair(None);
        for second in 0..3 {
            manager.ready();
            let text = if second < 2 { "well" } else { "worse\nREADY=0" };
            manager.tend(Duration::from_secs(second), &[], || text.to_string());
        }
        manager.stopping();
        let expected = [
            "READY=1",
            "STATUS=well",
            "STATUS=worseREADY=0",
            "STOPPING=1\nSTATUS=ends; the kernel keeps what it holds",
        ];
        assert_eq!(heard(&socket), expected);
    }

    #[test]
    fn without_a_manager_or_with_a_full_one_nothing_waits() {
        let mut nobody = Manager::default();
        nobody.ready();
        nobody.tend(Duration::ZERO, &[], || unreachable!("nobody asks"));
        let (_socket, manager, _folder) = pair(None);
        for _ in 0..10_000 {
            manager.say("STATUS=too much");
        }
    }
}
