//! What is installed: units that systemd understands, and packages that install, run and go without disturbing what
//! forwards. The long test boots a real systemd over a copy-on-write view of this machine, in namespaces of its own.

use crate::agent_process::{run, until, write_ledger};
use anyhow::{Context, Result, ensure};
use lab::certificates::Authority;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Crates with a package.
const CRATES: [&str; 3] = ["agent", "controller", "cli"];
const UNITS: [&str; 3] = ["ballast-agent.service", "ballast-liveness.service", "ballast-controller.service"];
/// `systemd-analyze security`: 0 is locked up, 10 is open. The agent must write the network's sysctls and speak netlink.
const EXPOSURE_MAX: f64 = 2.5;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `[package.metadata.deb]` of a crate.
fn metadata(name: &str) -> Result<toml::Table> {
    let text = std::fs::read_to_string(repository().join(name).join("Cargo.toml"))?;
    let manifest: toml::Table = toml::from_str(&text)?;
    let found = manifest["package"].get("metadata").and_then(|metadata| metadata.get("deb"));
    Ok(found.and_then(toml::Value::as_table).context("[package.metadata.deb]")?.clone())
}

/// What a package holds: (file in the repository, place below the root folder).
fn assets(name: &str) -> Result<Vec<(PathBuf, PathBuf)>> {
    let metadata = metadata(name)?;
    let all = metadata["assets"].as_array().context("assets")?;
    let pair = |asset: &toml::Value| {
        let [from, to] = [0, 1].map(|at| asset.get(at).and_then(toml::Value::as_str));
        let from = repository().join(name).join(from.context("a source")?);
        let file = from.file_name().context("a file")?.to_owned();
        Ok((from, Path::new(to.context("a place")?).join(file)))
    };
    all.iter().map(pair).collect()
}

/// Lays all packages' files out below `root`, with an empty program for each binary.
fn lay_out(root: &Path) -> Result<()> {
    for (from, to) in
        CRATES.iter().map(|name| assets(name)).collect::<Result<Vec<_>>>()?.into_iter().flatten()
    {
        let to = root.join(to);
        std::fs::create_dir_all(to.parent().context("a folder")?)?;
        if from.components().any(|part| part.as_os_str() == "target") {
            std::fs::copy("/bin/true", to)?;
        } else {
            std::fs::copy(&from, to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
}

#[test]
fn every_file_of_a_package_exists_and_what_is_in_etc_is_the_administrators() -> Result<()> {
    for name in CRATES {
        let metadata = metadata(name)?;
        let conffiles =
            metadata.get("conf-files").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let conffiles: BTreeSet<PathBuf> =
            conffiles.iter().filter_map(|file| Some(PathBuf::from(file.as_str()?))).collect();
        let mut in_etc = BTreeSet::new();
        for (from, to) in assets(name)? {
            let built = from.components().any(|part| part.as_os_str() == "target");
            ensure!(built || from.is_file(), "{name}: {} is missing", from.display());
            in_etc.extend(to.starts_with("etc").then(|| Path::new("/").join(&to)));
        }
        ensure!(in_etc == conffiles, "{name}: {in_etc:?} are in /etc, {conffiles:?} are conffiles");
    }
    Ok(())
}

/// A setting that the program does not know would be passed over without a word.
#[test]
fn every_setting_of_an_environment_file_is_one_that_the_program_reads() -> Result<()> {
    for (program, arguments, file) in [
        ("ballast-agent", &["run", "--help"][..], "agent/agent.env"),
        ("ballast-controller", &["--help"], "controller/controller.env"),
    ] {
        let text = std::fs::read_to_string(repository().join("packaging").join(file))?;
        let help = run(&it::bed::binary(program)?.display().to_string(), arguments)?;
        let names = text
            .lines()
            .filter_map(|line| line.trim_start_matches('#').split_once('='))
            .map(|(name, _)| name);
        let names: Vec<&str> = names.filter(|name| name.starts_with("BALLAST_")).collect();
        ensure!(names.len() > 4, "{names:?}");
        for name in names.into_iter().filter(|name| *name != "BALLAST_LOG") {
            ensure!(help.contains(&format!("[env: {name}=")), "{program} does not read {name}");
        }
    }
    Ok(())
}

#[test]
fn systemd_understands_every_unit_and_finds_it_locked_up() -> Result<()> {
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        println!("SKIPPED: no systemd-analyze here: apt-get install systemd");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    lay_out(folder.path())?;
    let root = format!("--root={}", folder.path().display());
    for target in ["sysinit", "basic", "shutdown", "network-pre", "network-online", "multi-user"] {
        let name = format!("lib/systemd/system/{target}.target");
        std::fs::copy(Path::new("/").join(&name), folder.path().join(&name))?;
    }
    for unit in UNITS {
        let output = Command::new("systemd-analyze").args(["verify", &root, unit]).output()?;
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        // Other units are not in this root folder; words about this one count.
        let about: Vec<&str> = words.lines().filter(|line| line.contains("ballast")).collect();
        ensure!(about.is_empty(), "{unit}: {words}");
        let text = run("systemd-analyze", &["security", "--offline=true", "--no-pager", &root, unit])?;
        let exposure = text.lines().rev().find_map(|line| line.split_once(".service: ")?.1.split(' ').next());
        let exposure: f64 = exposure.context("a score")?.parse()?;
        ensure!(exposure <= EXPOSURE_MAX, "{unit}: exposure {exposure}\n{text}");
    }
    Ok(())
}

/// The machine that `boot.sh` makes; gone with its first process.
struct Machine {
    first: Child,
    group: String,
    folder: tempfile::TempDir,
}

impl Machine {
    fn boot() -> Result<Machine> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("boot.sh"), include_str!("boot.sh"))?;
        let group = format!("ballast-package-{}", std::process::id());
        let mut command = Command::new("setsid");
        command.env("BALLAST_PACKAGES", repository().join("target/debian"));
        command.arg("bash").arg(folder.path().join("boot.sh")).arg(folder.path()).arg(&group);
        let first = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let machine = Machine { first, group, folder };
        until("systemd runs", || {
            Ok(machine.run(&["systemctl", "is-active", "ballast-test.target"]).is_ok())
        })?;
        Ok(machine)
    }

    /// Runs a command inside.
    fn run(&self, command: &[&str]) -> Result<String> {
        // The only child of the process that made the namespaces is their first one.
        let maker = self.first.id();
        let children = std::fs::read_to_string(format!("/proc/{maker}/task/{maker}/children"))?;
        let systemd = children.split_whitespace().next().context("not yet")?;
        let words =
            ["-k", "1", "30", "nsenter", "-t", systemd, "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w"];
        run("timeout", &words.into_iter().chain(command.iter().copied()).collect::<Vec<_>>())
    }

    /// One property of a unit.
    fn property(&self, unit: &str, name: &str) -> Result<String> {
        Ok(self.run(&["systemctl", "show", "--property", name, "--value", unit])?.trim().to_string())
    }

    fn put(&self, path: &str, content: &str) -> Result<()> {
        std::fs::write(self.folder.path().join("in"), content)?;
        let text = std::fs::read_to_string(self.folder.path().join("in"))?;
        self.run(&[
            "sh",
            "-c",
            &format!("mkdir -p $(dirname {path}) && printf %s \"$1\" >{path}"),
            "sh",
            &text,
        ])
        .map(drop)
    }

    fn routes(&self) -> Result<String> {
        // By the name that the package brings along.
        self.run(&["ip", "route", "show", "proto", "ballast"])
    }

    fn status(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.run(&["ballast-agent", "status", "--json"])?)?)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Its namespaces end with it, and everything in them.
        let _ = self.first.kill();
        let _ = self.first.wait();
        for root in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
            let group = format!("{root}/{}", self.group);
            // Processes leave a moment later.
            for _ in 0..100 {
                let gone = Command::new("find")
                    .args([&group, "-depth", "-type", "d", "-delete"])
                    .stderr(Stdio::null())
                    .status();
                if !Path::new(&group).exists() || gone.is_err() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

#[test]
fn long_agent_package_is_installed_runs_under_systemd_and_goes_without_touching_what_forwards() -> Result<()>
{
    if std::env::var_os("BALLAST_LONG").is_none() {
        println!(
            "SKIPPED: scripts/test --long agent_package boots a systemd and installs the packages in it"
        );
        return Ok(());
    }
    run("bash", &[&repository().join("scripts/package").display().to_string(), "--dev"])?;
    let machine = Machine::boot()?;
    install(&machine)?;
    agent_runs(&machine)?;
    restarts_cost_nothing(&machine)?;
    controller_runs(&machine)?;
    // An upgrade restarts what runs; a removal ends it; routes stay through both.
    install(&machine)?;
    until("the agent is back", || Ok(machine.property("ballast-agent", "ActiveState")? == "active"))?;
    ensure!(machine.status()?["writes_total"] == 0 && machine.routes()?.contains("10.1.0.0/24"));
    machine.run(&["dpkg", "--remove", "ballast-agent", "ballast-controller"])?;
    ensure!(machine.run(&["sh", "-c", "pgrep -x ballast-agent || true"])?.is_empty(), "it ended");
    ensure!(machine.routes()?.contains("10.1.0.0/24"), "the removal took routes away");
    machine.run(&["test", "-f", "/var/lib/ballast-agent/ledger"])?;
    machine.run(&["dpkg", "--purge", "ballast-agent", "ballast-controller"])?;
    ensure!(machine.run(&["test", "-e", "/var/lib/ballast-agent"]).is_err(), "a purge takes the ledger away");
    machine.run(&["ip", "route", "show", "proto", "91"]).and_then(|routes| {
        ensure!(routes.contains("10.1.0.0/24"), "the purge took routes away");
        Ok(())
    })
}

fn install(machine: &Machine) -> Result<()> {
    machine.run(&["sh", "-c", "dpkg --force-confold -i /opt/packages/*.deb"]).map(drop)
}

fn agent_runs(machine: &Machine) -> Result<()> {
    for unit in UNITS {
        ensure!(
            machine.property(unit, "ActiveState")? == "inactive",
            "{unit} was started by its installation"
        );
        ensure!(
            machine.property(unit, "UnitFileState")? == "disabled",
            "{unit} was enabled by its installation"
        );
    }
    for act in
        ["link add eth1 type veth peer name far1", "link set eth1 up", "link set far1 up", "link set lo up"]
    {
        machine.run(&[&["ip"][..], &act.split(' ').collect::<Vec<_>>()].concat())?;
    }
    let folder = machine.folder.path();
    let authority = Authority::new("test")?;
    authority.write(folder)?;
    authority.agent("a", folder)?;
    authority.controller(1, &[], folder)?;
    for (from, to) in [
        ("ca.pem", "ca.pem"),
        ("a.pem", "agent.pem"),
        ("a.key", "agent.key"),
        ("c1.pem", "controller.pem"),
        ("c1.key", "controller.key"),
    ] {
        machine.put(&format!("/etc/ballast/{to}"), &std::fs::read_to_string(folder.join(from))?)?;
    }
    machine.run(&[
        "sh",
        "-c",
        "printf 'BALLAST_HOST=a\\nBALLAST_CONTROLLERS=127.0.0.1:9\\n' >>/etc/ballast/agent.env",
    ])?;
    // The view below this machine's root shares the host's folder of this test.
    write_ledger(&folder.join("shared/state"), 1, &["10.1.0.0/24"])?;
    machine.run(&[
        "sh",
        "-c",
        "mkdir -m 700 -p /var/lib/ballast-agent && cp /opt/shared/state/ledger /var/lib/ballast-agent/",
    ])?;
    machine.run(&["systemctl", "start", "ballast-agent", "ballast-liveness"])?;
    // It is ready when the kernel holds the program, and not before.
    ensure!(machine.routes()?.contains("10.1.0.0/24"), "{}", machine.routes()?);
    ensure!(
        machine.run(&["cat", "/proc/sys/net/ipv4/ip_forward"])? == "1\n",
        "settings are written in the sandbox"
    );
    let status = machine.property("ballast-agent", "StatusText")?;
    ensure!(status.starts_with("generation 1.1"), "{status}");
    let liveness = machine.run(&["ballast-liveness", "status"])?;
    ensure!(!liveness.contains("CAP_SYS_NICE"), "{liveness}");
    Ok(())
}

/// A crash, and a process that is stopped: systemd starts another, which writes nothing.
fn restarts_cost_nothing(machine: &Machine) -> Result<()> {
    machine.put(
        "/etc/systemd/system/ballast-agent.service.d/short.conf",
        "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n",
    )?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "restart", "ballast-agent"])?;
    for (signal, expected) in [("KILL", 1), ("STOP", 2)] {
        machine.run(&["systemctl", "kill", "--signal", signal, "ballast-agent"])?;
        until("systemd started another agent", || {
            let restarts: u32 = machine.property("ballast-agent", "NRestarts")?.parse()?;
            Ok(restarts == expected && machine.property("ballast-agent", "ActiveState")? == "active")
        })?;
        ensure!(machine.status()?["writes_total"] == 0, "{}", machine.status()?);
        ensure!(machine.routes()?.contains("10.1.0.0/24"));
    }
    Ok(())
}

fn controller_runs(machine: &Machine) -> Result<()> {
    let settings = "BALLAST_ID=1\\nBALLAST_CLUSTER=t\\nBALLAST_PEERS=1=127.0.0.1:7601\\nBALLAST_LISTEN_PEERS=127.0.0.1:7601\\n\
                    BALLAST_LISTEN_AGENTS=127.0.0.1:7602\\nBALLAST_LISTEN_REST=127.0.0.1:7603\\n";
    machine.run(&["sh", "-c", &format!("printf '{settings}' >>/etc/ballast/controller.env")])?;
    machine.run(&["systemctl", "start", "ballast-controller"])?;
    let ask = "ballast status --url https://127.0.0.1:7603 --ca /etc/ballast/ca.pem --token-file /var/lib/ballast-controller/token --json";
    until("the controller answers", || Ok(machine.run(&ask.split(' ').collect::<Vec<_>>()).is_ok()))?;
    let pid = machine.property("ballast-controller", "MainPID")?;
    let status = machine.run(&["cat", &format!("/proc/{pid}/status")])?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:\t")?.split('\t').next());
    ensure!(user.is_some_and(|user| user != "0"), "{status}");
    ensure!(status.contains("CapBnd:\t0000000000000000"), "{status}");
    Ok(())
}
