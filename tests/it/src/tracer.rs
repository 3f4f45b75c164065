//! Counts the object messages that a process sends to the kernel, without the process's knowledge: strace(1) on its
//! netlink sends, every message header in every buffer decoded.
//!
//! A *write* is one NEW or DEL message for a link, address, route, neighbour, rule or nexthop object.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long strace may take to attach to all threads of a process, or to write its file out.
const ATTACH_MAX: Duration = Duration::from_secs(10);

/// strace at work on one process.
#[derive(Debug)]
pub struct Tracer {
    strace: Child,
    file: PathBuf,
}

/// Writes by kind of message: `RTM_NEWROUTE` -> 12.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes(pub BTreeMap<&'static str, usize>);

impl Writes {
    /// All of them.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }
}

/// `linux/rtnetlink.h` and `linux/nexthop.h`.
const OBJECT_MESSAGES: [(u16, &str); 12] = [
    (16, "RTM_NEWLINK"),
    (17, "RTM_DELLINK"),
    (20, "RTM_NEWADDR"),
    (21, "RTM_DELADDR"),
    (24, "RTM_NEWROUTE"),
    (25, "RTM_DELROUTE"),
    (28, "RTM_NEWNEIGH"),
    (29, "RTM_DELNEIGH"),
    (32, "RTM_NEWRULE"),
    (33, "RTM_DELRULE"),
    (104, "RTM_NEWNEXTHOP"),
    (105, "RTM_DELNEXTHOP"),
];

impl Tracer {
    /// Attaches to all threads of `pid` and returns once strace holds them.
    pub fn attach(pid: u32) -> Result<Tracer> {
        let tracer = Tracer::strace(&["-p", &pid.to_string()])?;
        let deadline = Instant::now() + ATTACH_MAX;
        while !all_threads_traced(pid, tracer.strace.id())? {
            if Instant::now() > deadline {
                bail!("strace did not attach to process {pid} within {ATTACH_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(tracer)
    }

    /// Starts a command under the tracer; whatever it starts is traced from its first instruction on, for as long as
    /// it lives.
    pub fn launch(command: &[&str]) -> Result<Tracer> {
        Tracer::strace(command)
    }

    fn strace(target: &[&str]) -> Result<Tracer> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("ballast-trace-{}-{number}", std::process::id()));
        let strace = Command::new("strace")
            // -I 2: SIGINT detaches, also from a command that strace started itself.
            .args(["-f", "-q", "-v", "-I", "2", "-s", "1", "-e", "trace=sendto,sendmsg,sendmmsg", "-o"])
            .arg(&file)
            .args(target)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("strace cannot be started: is it installed?")?;
        Ok(Tracer { strace, file })
    }

    /// Detaches and counts.
    pub fn stop(mut self) -> Result<Writes> {
        let strace = nix::unistd::Pid::from_raw(self.strace.id().cast_signed());
        // strace detaches on SIGINT; the traced process goes on. It has ended by itself when the process has.
        let _ = nix::sys::signal::kill(strace, nix::sys::signal::Signal::SIGINT);
        self.strace.wait().context("waiting for strace")?;
        let text = std::fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        Ok(count(&String::from_utf8_lossy(&text)))
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let strace = nix::unistd::Pid::from_raw(self.strace.id().cast_signed());
        if matches!(self.strace.try_wait(), Ok(None)) {
            let _ = nix::sys::signal::kill(strace, nix::sys::signal::Signal::SIGINT);
            let _ = self.strace.wait();
        }
        let _ = std::fs::remove_file(&self.file);
    }
}

fn all_threads_traced(pid: u32, tracer: u32) -> Result<bool> {
    let tasks =
        std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid} is gone"))?;
    for task in tasks {
        let status = task.map(|entry| std::fs::read_to_string(entry.path().join("status")));
        let Ok(Ok(status)) = status else { continue };
        if !status.lines().any(|line| line.strip_prefix("TracerPid:\t") == Some(tracer.to_string().as_str()))
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Every `nlmsg_type=` of a send is a message that was sent; strace prints the number where it does not know the
/// socket's family, with the name in other cases.
fn count(trace: &str) -> Writes {
    let mut writes = Writes::default();
    for line in trace.lines() {
        for rest in line.split("nlmsg_type=").skip(1) {
            let word: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            let number = match word.strip_prefix("0x") {
                Some(digits) => u16::from_str_radix(digits, 16).ok(),
                None => word.parse().ok(),
            };
            let known = OBJECT_MESSAGES.iter().find(|(code, name)| Some(*code) == number || *name == word);
            if let Some((_, name)) = known {
                *writes.0.entry(name).or_default() += 1;
            }
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_of_a_packed_send_counts_and_reads_do_not() {
        let trace = concat!(
            "7 sendmsg(3, {msg_iov=[{iov_base=[[{nlmsg_len=52, nlmsg_type=0x18 /* NLMSG_??? */, x}, \"\"...], ",
            "[{nlmsg_len=52, nlmsg_type=0x19, x}], [{nlmsg_len=20, nlmsg_type=RTM_GETROUTE}]]}]}) = 104\n",
            "7 sendto(4, [{nlmsg_len=44, nlmsg_type=RTM_NEWNEXTHOP, x}, {nlmsg_type=0x1a}], 44) = 44\n",
        );
        let counted = count(trace);
        assert_eq!(
            counted.0,
            BTreeMap::from([("RTM_NEWROUTE", 1), ("RTM_DELROUTE", 1), ("RTM_NEWNEXTHOP", 1)])
        );
        assert_eq!(counted.total(), 3);
    }

    #[test]
    fn a_real_process_is_seen() {
        if !crate::may_make_namespaces("tracer: a_real_process_is_seen") {
            return;
        }
        // A shell that waits for a line and then, in a namespace of its own, writes four objects with ip(8).
        let script = "read go; exec unshare -n ip -batch -";
        let mut shell = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let tracer = Tracer::attach(shell.id()).unwrap();
        let mut input = shell.stdin.take().unwrap();
        let batch = "go\naddr add 192.0.2.1/24 dev lo\naddr del 192.0.2.1/24 dev lo\nrule add pref 99 table 7\nrule del pref 99\nroute show\n";
        std::io::Write::write_all(&mut input, batch.as_bytes()).unwrap();
        drop(input);
        assert!(shell.wait().unwrap().success());
        let writes = tracer.stop().unwrap();
        let expected = [("RTM_NEWADDR", 1), ("RTM_DELADDR", 1), ("RTM_NEWRULE", 1), ("RTM_DELRULE", 1)];
        assert_eq!(writes.0, BTreeMap::from(expected));
    }
}
