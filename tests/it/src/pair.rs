//! Two network namespaces with one cable between them, and processes inside. Nothing is left behind on drop, also when the
//! test fails.

use crate::bed::PATIENCE;
use anyhow::{Context, Result, bail, ensure};
use liveness::core::control::{Report, Request, SessionReport, Wanted, WantedSession};
use liveness::io::client::Connection;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The two namespaces, `a` and `b`, with `eth1` in each: 10.9.0.1 and fe80::1 in `a`, 10.9.0.2 and fe80::2 in `b`.
#[derive(Debug)]
pub struct Pair {
    folder: PathBuf,
    names: [String; 2],
    children: Vec<Child>,
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output()?;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?}: {words}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Pair {
    /// Makes them. `test`: at most eight letters, part of the namespaces' names.
    pub fn up(test: &str) -> Result<Pair> {
        let names = ["a", "b"].map(|end| format!("bpair-{test}-{}-{end}", std::process::id()));
        let folder = std::env::temp_dir().join(format!("bpair-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let pair = Pair { folder, names, children: Vec::new() };
        for name in &pair.names {
            run(Command::new("ip").args(["netns", "add", name]))?;
        }
        let [a, b] = &pair.names;
        let cable = format!("link add eth1 index 301 netns {a} type veth peer name eth1 index 302 netns {b}");
        run(Command::new("ip").args(cable.split(' ')))?;
        for (end, name) in pair.names.iter().enumerate() {
            let number = end + 1;
            for line in [
                "link set lo up".to_string(),
                "link set eth1 addrgenmode none".to_string(),
                "link set eth1 up".to_string(),
                format!("addr add 10.9.0.{number}/30 dev eth1"),
                format!("addr add fe80::{number}/64 dev eth1 nodad"),
            ] {
                run(Command::new("ip").args(["-n", name]).args(line.split(' ')))?;
            }
        }
        Ok(pair)
    }

    /// A file of its folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A namespace's name; 0: `a`.
    pub fn name(&self, end: usize) -> &str {
        &self.names[end]
    }

    /// Runs a command inside to its end; gives what it printed.
    pub fn run(&self, end: usize, command: &[&str]) -> Result<String> {
        run(Command::new("ip").args(["netns", "exec", &self.names[end]]).args(command))
    }

    /// Starts a process inside; gives its pid. Its output goes to `log`.
    pub fn start(&mut self, end: usize, log: &str, program: &Path, arguments: &[&str]) -> Result<Pid> {
        let log = std::fs::File::create(self.file(log))?;
        let child = Command::new("ip")
            .args(["netns", "exec", &self.names[end]])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let pid = Pid::from_raw(child.id().cast_signed());
        self.children.push(child);
        Ok(pid)
    }

    /// Starts `ballast-liveness` inside and connects to it.
    pub fn start_liveness(&mut self, end: usize) -> Result<(Pid, Watcher)> {
        let socket = self.file(&format!("liveness-{end}.sock"));
        let binary = crate::bed::binary("ballast-liveness")?;
        let log = format!("liveness-{end}.log");
        let arguments = ["run", "--socket", &socket.display().to_string()];
        let pid = self.start(end, &log, &binary, &arguments)?;
        let watcher = Watcher::connect(&socket).with_context(|| {
            std::fs::read_to_string(self.file(&log)).unwrap_or_else(|_| "it wrote no log".to_string())
        })?;
        Ok((pid, watcher))
    }

    /// Ends a process that was started here, and waits for its end.
    pub fn end(&mut self, pid: Pid, signal: Signal) -> Result<()> {
        kill(pid, signal)?;
        let at = self.children.iter().position(|child| child.id().cast_signed() == pid.as_raw());
        let mut child = self.children.remove(at.context("it was started here")?);
        child.wait()?;
        Ok(())
    }

    /// Drops everything that comes in on `eth1` of `b` and then of `a`, or no more: both ends keep their carrier.
    pub fn cut(&self, is_cut: bool) -> Result<()> {
        for name in self.names.iter().rev() {
            let script = if is_cut {
                "add table netdev cut; add chain netdev cut in { type filter hook ingress device \"eth1\" priority 0; policy drop; }"
            } else {
                "delete table netdev cut"
            };
            run(Command::new("ip").args(["netns", "exec", name, "nft", script]))?;
        }
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for child in &mut self.children {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in &self.names {
            // Daemons fork away from their parents.
            let pids = Command::new("ip").args(["netns", "pids", name]).output();
            let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
            for pid in pids.unwrap_or_default().split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A session of `a` (or `b`) to the other end.
pub fn session(end: usize, v6: bool, interval_ms: u32, multiplier: u8) -> WantedSession {
    let address = |end: usize| {
        if v6 { format!("fe80::{}", end + 1) } else { format!("10.9.0.{}", end + 1) }
    };
    let parse = |text: String| text.parse().expect("an address");
    WantedSession {
        interface: "eth1".to_string(),
        local: parse(address(end)),
        remote: parse(address(1 - end)),
        interval_ms,
        multiplier,
        passive: false,
    }
}

/// A client of `ballast-liveness` that keeps the last report.
#[derive(Debug)]
pub struct Watcher {
    connection: Connection,
    /// What was heard last.
    pub report: Report,
}

impl Watcher {
    /// Connects to a process that may have been started a moment ago.
    pub fn connect(socket: &Path) -> Result<Watcher> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Connection::open(socket) {
                Ok(connection) => return Ok(Watcher { connection, report: Report::default() }),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("nobody answers at {}", socket.display()));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Wants these sessions.
    pub fn want(&mut self, sessions: &[WantedSession]) -> Result<()> {
        let wanted = Wanted { sessions: sessions.to_vec() };
        self.connection.say(&Request::Watch(wanted))?;
        self.hear()
    }

    /// Waits for the next report.
    pub fn hear(&mut self) -> Result<()> {
        self.report = self.connection.hear()?;
        Ok(())
    }

    /// Asks for a report now.
    pub fn ask(&mut self) -> Result<()> {
        self.connection.say(&Request::Status)?;
        self.hear()
    }

    /// The session over one family.
    pub fn session(&self, v6: bool) -> Result<&SessionReport> {
        let found = self.report.sessions.iter().find(|session| session.remote.is_ipv6() == v6);
        found.with_context(|| format!("no session with v6 {v6} in {:?}", self.report))
    }

    /// Hears reports until it is as wanted.
    pub fn until(&mut self, what: &str, is_so: impl Fn(&Report) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(&self.report) {
            if Instant::now() > deadline {
                bail!("{what}: not within {PATIENCE:?}; last: {:?}", self.report);
            }
            self.hear().with_context(|| format!("{what}; last: {:?}", self.report))?;
        }
        Ok(())
    }
}
