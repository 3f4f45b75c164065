//! Processes of a lab: started inside a namespace, in a session of their own, known by pid and start time, so that a pid
//! that was given to somebody else is never hit.

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
/// From SIGKILL to the end: a killed process needs a processor to go, and a busy machine was seen to keep one waiting for five
/// seconds.
const KILLED_MAX: Duration = Duration::from_secs(60);

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

/// Starts a program inside a namespace, with its output in a file. A listener becomes file descriptor 3, announced as
/// systemd does (`LISTEN_FDS`, `LISTEN_PID`).
pub(crate) fn start(
    netns: &str,
    program: &Path,
    arguments: &[String],
    log: &Path,
    listener: Option<TcpListener>,
) -> Result<Process> {
    let log_file = File::options().create(true).append(true).open(log)?;
    let mut command = Command::new("setsid");
    command.args(["ip", "netns", "exec", netns]);
    match listener {
        Some(listener) => {
            let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
            command.args(["sh", "-c", script, "sh"]).stdin(Stdio::from(OwnedFd::from(listener)));
        }
        None => {
            command.stdin(Stdio::null());
        }
    }
    let child = command
        .arg(program)
        .args(arguments)
        .env("RUST_BACKTRACE", "0")
        .stdout(log_file.try_clone()?)
        .stderr(log_file)
        .spawn()
        .with_context(|| format!("{} cannot be started", program.display()))?;
    let pid = child.id();
    let start_time = start_time(pid).context("the process ended at once")?;
    Ok(Process { pid, start_time })
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    // The first thread of a killed process may be dead while others still hold its files, ports and locks.
    let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    if fields.next()? == "Z" && threads() <= 1 {
        return None;
    }
    // Fields 4 to 21 lie between the state and the start time.
    fields.nth(18)?.parse().ok()
}

impl Process {
    /// Whether it still runs.
    pub fn alive(self) -> bool {
        start_time(self.pid) == Some(self.start_time)
    }

    /// Resident memory in bytes; 0 when it is gone.
    pub fn resident_bytes(self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
    }

    /// Sends a signal, when it still runs.
    pub(crate) fn signal(self, signal: Signal) {
        if self.alive() {
            // It may end in between.
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), signal);
        }
    }
}

/// Ends processes: SIGTERM, then SIGKILL; waits until all are gone.
pub(crate) fn end(processes: &[Process]) -> Result<()> {
    for process in processes {
        process.signal(Signal::SIGTERM);
    }
    if gone(processes, GRACE) {
        return Ok(());
    }
    kill_now(processes)
}

/// `kill -9`; waits until all are gone.
pub(crate) fn kill_now(processes: &[Process]) -> Result<()> {
    for process in processes {
        process.signal(Signal::SIGKILL);
    }
    if gone(processes, KILLED_MAX) {
        return Ok(());
    }
    bail!("processes do not end: {processes:?}")
}

/// The process of a pid now.
pub(crate) fn of_pid(pid: u32) -> Option<Process> {
    start_time(pid).map(|start_time| Process { pid, start_time })
}

fn gone(processes: &[Process], limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while processes.iter().any(|process| process.alive()) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recycled_pid_is_somebody_else() {
        let own = of_pid(std::process::id()).unwrap();
        assert!(own.alive());
        assert!(own.resident_bytes() > 100_000);
        let other = Process { start_time: own.start_time + 1, ..own };
        assert!(!other.alive());
        other.signal(Signal::SIGKILL);
    }
}
