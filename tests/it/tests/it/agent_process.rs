//! The agent as a process of an operating system: its rights, its lock, its namespace, and what it tells the service
//! manager. Real processes in namespaces of their own; the judges are ip(8), `/proc` and the manager's socket.

use agent::core::ledger;
use anyhow::{Context, Result, bail, ensure};
use it::bed::{PATIENCE, binary};
use lab::certificates::Authority;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use plan::Facts;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::Generation;
use wire::ledger::Kept;

const CAP_NET_ADMIN: u64 = 1 << 12;

/// A host of its own: a namespace with one cable, a folder, and the service manager's ear.
struct Host {
    netns: String,
    folder: tempfile::TempDir,
    manager: UnixDatagram,
}

impl Host {
    fn new(name: &str) -> Result<Host> {
        let netns = format!("bp-{}-{name}", std::process::id());
        run("ip", &["netns", "add", &netns])?;
        let folder = tempfile::tempdir()?;
        let manager = UnixDatagram::bind(folder.path().join("notify"))?;
        let host = Host { netns, folder, manager };
        for act in [
            "link set lo up",
            "link add eth1 type veth peer name far1",
            "link set eth1 up",
            "link set far1 up",
        ] {
            host.ip(act)?;
        }
        let authority = Authority::new("test")?;
        authority.write(host.folder.path())?;
        authority.agent("a", host.folder.path())?;
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ip(&self, arguments: &str) -> Result<Value> {
        let words: Vec<&str> = ["-n", &self.netns, "-j"].into_iter().chain(arguments.split(' ')).collect();
        let text = run("ip", &words)?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Destinations of Ballast's IPv4 routes.
    fn routes(&self) -> Result<BTreeSet<String>> {
        let routes = self.ip("-4 route show proto 91")?;
        let all = routes.as_array().cloned().unwrap_or_default();
        Ok(all.iter().filter_map(|route| Some(route["dst"].as_str()?.to_string())).collect())
    }

    /// A state folder whose ledger holds a program that routes these prefixes through the cable.
    fn state(&self, name: &str, index: u64, prefixes: &[&str]) -> Result<PathBuf> {
        let folder = self.path(name);
        write_ledger(&folder, index, prefixes)?;
        Ok(folder)
    }

    fn command(&self, state: &Path, flags: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary("ballast-agent")?);
        // Port 9 of the loopback: nobody answers there.
        command.args(["run", "--host", "a", "--controllers", "127.0.0.1:9", "--netns", &self.netns]);
        for (flag, name) in
            [("--ca", "ca.pem"), ("--cert", "a.pem"), ("--key", "a.key"), ("--socket", "agent.sock")]
        {
            command.arg(flag).arg(self.path(name));
        }
        command.arg("--state").arg(state).args(flags);
        command.env("NOTIFY_SOCKET", self.path("notify")).env("WATCHDOG_USEC", "600000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(command)
    }

    fn start(&self, state: &Path, flags: &[&str]) -> Result<Process> {
        Ok(Process(self.command(state, flags)?.spawn()?))
    }

    /// Starts an agent that is expected to end by itself; how it ended, and its words.
    fn refused(&self, state: &Path, flags: &[&str]) -> Result<(ExitStatus, String)> {
        self.start(state, flags)?.ended()
    }

    /// The next word of an agent to its manager.
    fn heard(&self, within: Duration) -> Option<String> {
        let mut buffer = [0; 1_024];
        self.manager.set_read_timeout(Some(within)).ok()?;
        let length = self.manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn hears(&self, word: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.heard(PATIENCE).is_some_and(|heard| heard.starts_with(word)) {
                return Ok(());
            }
        }
        bail!("the service manager did not hear {word}")
    }

    /// Whether a sign of life comes within this time; those of before do not count.
    fn sign_of_life_within(&self, limit: Duration) -> bool {
        while self.heard(Duration::from_millis(1)).is_some() {}
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if self.heard(left).is_some_and(|heard| heard == "WATCHDOG=1") {
                return true;
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing else can be done about a namespace that does not go.
        let _ = run("ip", &["netns", "del", &self.netns]);
    }
}

/// Writes the ledger of host `a` into a state folder: a program that routes these prefixes through the cable `eth1`.
pub(crate) fn write_ledger(folder: &Path, index: u64, prefixes: &[&str]) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let text = format!(
        "version: 1\nname: t\nnodes:\n  a: {{}}\n  b: {{ prefixes: [{}] }}\nlinks:\n- {{ endpoints: [\"a:eth1\", \"b:eth1\"] }}\n",
        prefixes.join(", ")
    );
    let topology = topology::read("t.yaml", text.as_bytes()).topology.context("a topology")?;
    let network = plan::compile(&topology, &Facts::default());
    let (program, digest) = network.host("a").context("the host")?;
    let kept = Kept {
        generation: Generation { incarnation: 1, index },
        revision: index,
        digest,
        table: network.table.clone(),
        program: Arc::clone(program),
        origin: wire::agent::Origin::default(),
    };
    std::fs::write(folder.join("ledger"), ledger::adopt(&ledger::blank("a"), kept, false, 0).encode())?;
    Ok(())
}

struct Process(Child);

impl Process {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().cast_signed())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// Waits for its end; how it ended and what it said.
    fn ended(mut self) -> Result<(ExitStatus, String)> {
        until("the agent ends", || Ok(self.0.try_wait()?.is_some()))?;
        let mut words = String::new();
        self.0.stderr.take().context("piped")?.read_to_string(&mut words)?;
        Ok((self.0.wait()?, words))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {words}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !holds()? {
        ensure!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn set(prefixes: &[&str]) -> BTreeSet<String> {
    prefixes.iter().map(|prefix| prefix.to_string()).collect()
}

/// All lines `NAME: value` of a status file of `/proc`.
fn rights(status: &Path) -> Result<(BTreeSet<u64>, BTreeSet<u64>, bool)> {
    let text = std::fs::read_to_string(status)?;
    let of = |names: &[&str]| {
        let line = |name: &&str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}:\t")));
        names.iter().filter_map(line).filter_map(|mask| u64::from_str_radix(mask, 16).ok()).collect()
    };
    let settled = text.lines().any(|line| line == "NoNewPrivs:\t1");
    Ok((of(&["CapPrm", "CapEff", "CapBnd"]), of(&["CapInh", "CapAmb"]), settled))
}

#[test]
fn an_agent_started_as_root_keeps_one_right_and_programs_the_kernel_with_it() -> Result<()> {
    if !it::may_make_namespaces("an_agent_started_as_root") {
        return Ok(());
    }
    let host = Host::new("rights")?;
    let state = host.state("state", 1, &["10.1.0.0/24", "10.2.0.0/24"])?;
    let forwarding = || {
        lab::probe::in_netns(&host.netns, || Ok(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?))
    };
    ensure!(forwarding()? == "0\n", "a fresh namespace forwards nothing: else nothing is shown here");
    let agent = host.start(&state, &[])?;
    host.hears("READY=1")?;
    ensure!(
        host.routes()?.is_superset(&set(&["10.1.0.0/24", "10.2.0.0/24"])),
        "routes: {:?}",
        host.routes()?
    );
    ensure!(forwarding()? == "1\n", "settings are written, too");
    let threads = std::fs::read_dir(format!("/proc/{}/task", agent.pid()))?;
    let mut seen = 0;
    for thread in threads {
        let found = rights(&thread?.path().join("status"))?;
        ensure!(found == (BTreeSet::from([CAP_NET_ADMIN]), BTreeSet::from([0]), true), "{found:x?}");
        seen += 1;
    }
    ensure!(seen >= 4, "{seen} threads: the kernel's, the links', the ledger's and the main one");
    let namespace = std::fs::read_link(format!("/proc/{}/ns/net", agent.pid()))?;
    ensure!(namespace != std::fs::read_link("/proc/self/ns/net")?, "it runs in the namespace that was named");
    agent.signal(Signal::SIGTERM)?;
    host.hears("STOPPING=1")?;
    ensure!(agent.ended()?.0.success());
    ensure!(host.routes()?.contains("10.1.0.0/24"), "its end changes nothing");
    // Root reads any file; the agent, though root's, does not.
    std::os::unix::fs::chown(host.path("a.key"), Some(4_711), None)?;
    std::fs::read(host.path("a.key"))?;
    let (status, words) = host.refused(&state, &[])?;
    ensure!(!status.success() && words.contains("a.key") && words.contains("denied"), "{words}");
    let (status, words) = host.refused(&state, &["--netns", "no-such-namespace"])?;
    ensure!(!status.success() && words.contains("cannot be"), "{words}");
    Ok(())
}

#[test]
fn a_stuck_kernel_thread_and_a_stopped_process_give_no_sign_of_life() -> Result<()> {
    if !it::may_make_namespaces("a_stuck_kernel_thread") {
        return Ok(());
    }
    let host = Host::new("watchdog")?;
    let state = host.state("state", 1, &["10.1.0.0/24"])?;
    let agent = host.start(&state, &[])?;
    host.hears("READY=1")?;
    host.hears("STATUS=generation 1.1")?;
    let (period, patience) = (Duration::from_millis(600), PATIENCE);
    ensure!(host.sign_of_life_within(patience), "it lives");
    let frozen = ["kernel", "repairs"].map(|name| thread_named(&agent, name).and_then(Frozen::freeze));
    ensure!(frozen.iter().all(Result::is_ok), "the threads that write to the kernel are held");
    ensure!(host.sign_of_life_within(patience), "a thread with nothing to do is not missed");
    host.ip("route del 10.1.0.0/24 proto 91 metric 100")?;
    // The signs of those looks at which the question was still new.
    while host.sign_of_life_within(period / 2) {}
    ensure!(
        !host.sign_of_life_within(2 * period),
        "the kernel's thread is stuck, and the manager is told that all is well"
    );
    drop(frozen);
    ensure!(host.sign_of_life_within(patience), "the thread goes on");
    until("the route is back", || Ok(host.routes()?.contains("10.1.0.0/24")))?;
    agent.signal(Signal::SIGSTOP)?;
    while host.sign_of_life_within(period / 2) {}
    ensure!(!host.sign_of_life_within(2 * period));
    agent.signal(Signal::SIGCONT)?;
    ensure!(host.sign_of_life_within(patience));
    Ok(())
}

fn thread_named(process: &Process, name: &str) -> Result<Pid> {
    for thread in std::fs::read_dir(format!("/proc/{}/task", process.pid()))? {
        let path = thread?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == name {
            return Ok(Pid::from_raw(path.file_name().context("a number")?.to_string_lossy().parse()?));
        }
    }
    bail!("there is no thread {name}")
}

/// One thread of a process, stopped by ptrace(2) until this is dropped; the others run.
struct Frozen(Pid);

impl Frozen {
    fn freeze(thread: Pid) -> Result<Frozen> {
        ptrace::seize(thread, ptrace::Options::empty())?;
        let frozen = Frozen(thread);
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        Ok(frozen)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The process may have ended.
        let _ = ptrace::detach(self.0, None);
    }
}

#[test]
fn a_second_agent_is_refused_or_takes_over_from_one_that_is_gone_for_good() -> Result<()> {
    if !it::may_make_namespaces("a_second_agent") {
        return Ok(());
    }
    let host = Host::new("second")?;
    let [old, new] = [("old", 1, "10.1.0.0/24"), ("new", 2, "10.2.0.0/24")]
        .map(|(name, index, prefix)| host.state(name, index, &[prefix]));
    let (old, new) = (old?, new?);
    let first = host.start(&old, &[])?;
    host.hears("READY=1")?;
    let pid = format!("pid {}", first.pid());
    for state in [&old, &new] {
        let (status, words) = host.refused(state, &[])?;
        ensure!(!status.success() && words.contains(&pid) && words.contains("--take-over"), "{words}");
    }
    ensure!(host.routes()?.contains("10.1.0.0/24"));
    // Asked to go, it goes.
    let second = host.start(&new, &["--take-over"])?;
    host.hears("STOPPING=1")?;
    host.hears("READY=1")?;
    ensure!(first.ended()?.0.success());
    let others = |routes: BTreeSet<String>| routes.contains("10.2.0.0/24") && !routes.contains("10.1.0.0/24");
    ensure!(others(host.routes()?), "{:?}", host.routes()?);
    // Stopped, it cannot hear; it must not write when it wakes up. It lacks a route, and would put it back.
    second.signal(Signal::SIGSTOP)?;
    host.ip("route del 10.2.0.0/24 proto 91 metric 100")?;
    let (_third, began) = (host.start(&old, &["--take-over"])?, Instant::now());
    host.hears("READY=1")?;
    ensure!(
        began.elapsed() < Duration::from_secs(4),
        "a stopped process is not asked first: {:?}",
        began.elapsed()
    );
    // Sent before it is waited for: the signal that would wake it up finds it dead.
    second.signal(Signal::SIGCONT)?;
    let (status, _) = second.ended()?;
    ensure!(!status.success(), "it was ended while it was stopped: {status}");
    ensure!(
        host.routes()?.contains("10.1.0.0/24") && !host.routes()?.contains("10.2.0.0/24"),
        "{:?}",
        host.routes()?
    );
    Ok(())
}

/// A routing daemon of Debian's, if it is installed, in a namespace.
fn daemon(host: &Host, name: &str, folder: &Path) -> Result<Option<Process>> {
    let path = |file: &str| folder.join(file).display().to_string();
    std::fs::write(
        path("bird.conf"),
        "router id 192.0.2.1; protocol device {} protocol kernel { learn; ipv4 {}; }",
    )?;
    let (program, arguments) = match name {
        "bird" => (
            "/usr/sbin/bird",
            vec!["-f".into(), "-c".into(), path("bird.conf"), "-s".into(), path("bird.ctl")],
        ),
        _ => {
            let frr = nix::unistd::User::from_name("frr")?.map(|user| user.uid.as_raw());
            std::os::unix::fs::chown(folder, frr, None)?;
            let words =
                ["-f", "/dev/null", "--vty_socket", &path(""), "-z", &path("api"), "-i", &path("pid")];
            ("/usr/lib/frr/zebra", words.map(String::from).to_vec())
        }
    };
    if !Path::new(program).exists() {
        println!("SKIPPED: no {program} here: apt-get install bird2 frr");
        return Ok(None);
    }
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &host.netns, program]).args(arguments);
    let process = Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    let comm = format!("/proc/{}/comm", process.pid());
    until("the daemon runs", || Ok(std::fs::read_to_string(&comm)?.trim() == name))?;
    Ok(Some(process))
}

#[test]
fn routing_daemons_in_the_agents_namespace_are_named_in_its_status() -> Result<()> {
    if !it::may_make_namespaces("routing_daemons_in_the_agents_namespace") {
        return Ok(());
    }
    let (host, elsewhere) = (Host::new("daemons")?, Host::new("elsewhere")?);
    let state = host.state("state", 1, &["10.1.0.0/24"])?;
    let (folder, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let warned = || -> Result<BTreeSet<String>> {
        let _agent = host.start(&state, &[])?;
        host.hears("READY=1")?;
        let agent = binary("ballast-agent")?.display().to_string();
        let socket = host.path("agent.sock").display().to_string();
        let status: Value = serde_json::from_str(&run(&agent, &["status", "--json", "--socket", &socket])?)?;
        let warnings = status["warnings"].as_array().context("warnings")?;
        Ok(warnings.iter().filter_map(|warning| Some(warning["name"].as_str()?.to_string())).collect())
    };
    let _elsewhere = daemon(&elsewhere, "bird", other.path())?;
    let before = warned()?;
    ensure!(!before.contains("bird"), "one in another namespace does not count: {before:?}");
    for (name, warning) in [("bird", "bird"), ("zebra", "frr")] {
        let Some(_process) = daemon(&host, name, folder.path())? else { continue };
        let after = warned()?;
        ensure!(after.contains(warning), "{name} runs, and of it is said nothing: {after:?}");
    }
    Ok(())
}

#[test]
fn an_agent_that_wakes_up_without_its_lock_ends_before_it_writes() -> Result<()> {
    if !it::may_make_namespaces("an_agent_that_wakes_up_without_its_lock") {
        return Ok(());
    }
    let host = Host::new("lost")?;
    let state = host.state("state", 1, &["10.1.0.0/24"])?;
    let agent = host.start(&state, &[])?;
    host.hears("READY=1")?;
    // While it has its lock, waking up means repairing.
    agent.signal(Signal::SIGSTOP)?;
    host.ip("route del 10.1.0.0/24 proto 91 metric 100")?;
    agent.signal(Signal::SIGCONT)?;
    until("the route is back", || Ok(host.routes()?.contains("10.1.0.0/24")))?;
    agent.signal(Signal::SIGSTOP)?;
    host.ip("route del 10.1.0.0/24 proto 91 metric 100")?;
    std::fs::remove_file(state.join("lock"))?;
    std::fs::write(state.join("lock"), "4711 1\n")?;
    agent.signal(Signal::SIGCONT)?;
    let (status, words) = agent.ended()?;
    ensure!(!status.success() && words.contains("another file has its place"), "{words}");
    ensure!(!host.routes()?.contains("10.1.0.0/24"), "it wrote without its lock");
    Ok(())
}
