//! A network namespace without a name and the processes in it: both go with their thread, also after a failure.

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(10);

/// Runs `act` on a thread of its own in a fresh network namespace with `lo` up. Threads and processes that it starts are
/// in there too.
pub(crate) fn in_fresh_namespace<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    ensure!(nix::unistd::geteuid().is_root(), "network namespaces need root");
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("a fresh network namespace needs root")?;
            ip(&["link set lo up".to_string()])?;
            act()
        });
        inside.join().unwrap_or_else(|_| Err(anyhow!("a thread in a network namespace panicked")))
    })
}

/// Lines of `ip -batch` in this thread's namespace.
pub(crate) fn ip(lines: &[String]) -> Result<()> {
    feed(Command::new("ip").args(["-batch", "-"]), &(lines.join("\n") + "\n"))
}

/// Runs a command to its end with this standard input.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} cannot be started"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why on its standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// A process that ends with this value.
pub(crate) struct Running(Child);

impl Running {
    /// Starts it in this thread's namespace, with nothing to read and nobody to hear it.
    pub(crate) fn start(command: &mut Command) -> Result<Running> {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Running(quiet.spawn().with_context(|| format!("{command:?} cannot be started"))?))
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Most memory that it ever had resident, in bytes.
    pub(crate) fn peak_bytes(&self) -> Result<u64> {
        memory_bytes(self.pid(), "VmHWM:")
    }

    /// Time on a processor until now, all threads together.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let (_, after_name) = stat.rsplit_once(") ").context("a process's stat")?;
        // Fields 14 and 15 are user and system time; the state, which comes first here, is field 3.
        let ticks = after_name.split(' ').skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>()?.into_iter().sum();
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("CLK_TCK")?;
        Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
    }

    /// Asks it to end, forces it after a while, and waits for it.
    pub(crate) fn end(&mut self) {
        let deadline = Instant::now() + GRACE;
        let mut signal = Some(Signal::SIGTERM);
        while matches!(self.0.try_wait(), Ok(None)) {
            if let Some(signal) = signal.take() {
                let _ = kill(Pid::from_raw(self.pid().cast_signed()), signal);
            }
            if Instant::now() > deadline {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it without asking.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits until it ends by itself; its peak memory is looked at on the way.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<u64> {
        let deadline = Instant::now() + limit;
        let mut peak = 0;
        loop {
            peak = peak.max(self.peak_bytes().unwrap_or(0));
            if let Some(status) = self.0.try_wait()? {
                ensure!(status.success(), "a command ended with {status}");
                return Ok(peak);
            }
            ensure!(Instant::now() < deadline, "a command did not end within {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// A line of `/proc/PID/status` that speaks of memory.
pub(crate) fn memory_bytes(pid: u32, key: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| key.to_string())?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}

/// `kill -9` of a process that is no child of this one; waits until it is gone.
pub(crate) fn kill_and_wait(pid: u32) -> Result<()> {
    // It may have ended by itself.
    let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    let deadline = Instant::now() + GRACE;
    while std::path::Path::new(&format!("/proc/{pid}/exe")).exists() {
        ensure!(Instant::now() < deadline, "process {pid} does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
