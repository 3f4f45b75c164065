//! A foreign hand takes every kind of object of a running agent and adds, removes or changes it, attribute by attribute: each
//! time the kernel must hold again what it held before. The real agent in a namespace of its own, ip(8) as hand and judge.

use agent::core::ledger;
use anyhow::{Context, Result, ensure};
use it::bed::{PATIENCE, binary};
use lab::certificates::Authority;
use plan::Facts;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::Generation;
use wire::ledger::Kept;

struct Host {
    netns: String,
    folder: tempfile::TempDir,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Nothing else can be done about a namespace that does not go.
        let _ = run("ip", &["netns", "del", &self.netns]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {}: {words}", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Host {
    /// Two cables, and a ledger with a program that has a primary and a backup route for each of these prefixes.
    fn new() -> Result<Host> {
        let netns = format!("bm-{}", std::process::id());
        run("ip", &["netns", "add", &netns])?;
        let host = Host { netns, folder: tempfile::tempdir()? };
        host.ip("link set lo up")?;
        for (number, near, far) in [(1, 101, 201), (2, 102, 202)] {
            host.ip(&format!(
                "link add eth{number} address 02:00:00:00:01:0{number} index {near} type veth peer name far{number} address 02:00:00:00:02:0{number} index {far}"
            ))?;
            host.ip(&format!("link set eth{number} up"))?;
            host.ip(&format!("link set far{number} up"))?;
        }
        let authority = Authority::new("test")?;
        authority.write(host.folder.path())?;
        authority.agent("a", host.folder.path())?;
        let text = "version: 1\nname: t\nnodes:\n  a: { loopbacks: [10.255.0.1, \"fd00:255::1\"] }\n  b: {}\n  c: { prefixes: [10.1.0.0/24, 10.1.1.0/24, 10.1.2.0/24, \"fd00:1::/64\"] }\n\
                    links:\n- { endpoints: [\"a:eth1\", \"b:eth1\"] }\n- { endpoints: [\"a:eth2\", \"c:eth1\"] }\n- { endpoints: [\"b:eth2\", \"c:eth2\"] }\n";
        let reading = topology::read("t.yaml", text.as_bytes());
        let topology = reading.topology.with_context(|| format!("{:?}", reading.diagnostics))?;
        let network = plan::compile(&topology, &Facts::default());
        let (program, digest) = network.host("a").context("the host")?;
        let kept = Kept {
            generation: Generation { incarnation: 1, index: 1 },
            revision: 1,
            digest,
            table: network.table.clone(),
            program: Arc::clone(program),
            origin: wire::agent::Origin::default(),
        };
        let ledger = ledger::adopt(&ledger::blank("a"), kept, false, 0);
        std::fs::write(host.path("ledger"), ledger.encode())?;
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ip(&self, arguments: &str) -> Result<Value> {
        let words: Vec<&str> =
            ["-n", &self.netns, "-j", "-d"].into_iter().chain(arguments.split(' ')).collect();
        Ok(serde_json::from_str(&run("ip", &words)?).unwrap_or(Value::Null))
    }

    fn start(&self) -> Result<Process> {
        let mut command = Command::new(binary("ballast-agent")?);
        // Port 9 of the loopback: nobody answers there.
        command.args(["run", "--host", "a", "--controllers", "127.0.0.1:9", "--netns", &self.netns]);
        for (flag, name) in [
            ("--ca", "ca.pem"),
            ("--cert", "a.pem"),
            ("--key", "a.key"),
            ("--socket", "agent.sock"),
            ("--state", ""),
        ] {
            command.arg(flag).arg(self.path(name));
        }
        Ok(Process(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    fn status(&self) -> Result<Value> {
        let socket = self.path("agent.sock");
        let words = run(
            &binary("ballast-agent")?.to_string_lossy(),
            &["status", "--json", "--socket", &socket.to_string_lossy()],
        )?;
        Ok(serde_json::from_str(&words)?)
    }

    /// Everything that the kernel holds of the program, in words, without what changes by itself.
    fn held(&self) -> Result<String> {
        let mut all = Vec::new();
        for (what, keys) in [
            ("-4 route show proto 91", &["dst", "metric", "nhid", "prefsrc", "metrics", "type", "table"][..]),
            ("-6 route show proto 91", &["dst", "metric", "nhid", "prefsrc", "metrics", "type", "table"]),
            ("nexthop show", &["id", "gateway", "dev", "group", "protocol"]),
            ("neigh show", &["dst", "dev", "managed", "extern_learn", "protocol"]),
        ] {
            for object in self.ip(what)?.as_array().into_iter().flatten() {
                let one: Vec<String> = keys.iter().map(|key| object[key].to_string()).collect();
                all.push(format!("{what}: {}", one.join(" ")));
            }
        }
        for link in self.ip("addr show")?.as_array().into_iter().flatten() {
            for address in link["addr_info"].as_array().into_iter().flatten() {
                // Of the kernel's own link-local addresses nothing is said.
                if address["protocol"] != "kernel_ll" {
                    all.push(format!("{} {} {}", link["ifname"], address["local"], address["prefixlen"]));
                }
            }
        }
        let forward = ["netns", "exec", &self.netns, "cat", "/proc/sys/net/ipv4/ip_forward"];
        all.push(format!("ip_forward {}", run("ip", &forward)?.trim()));
        all.sort();
        Ok(all.join("\n"))
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<Duration> {
        let began = Instant::now();
        while !holds()? {
            ensure!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(began.elapsed())
    }

    /// One cell: the hand acts, the agent writes, and all is as it was.
    fn cell(&self, name: &str, acts: &[String], before: &str) -> Result<()> {
        let writes = self.status()?["writes_total"].as_u64();
        for act in acts {
            match act.strip_prefix("exec ") {
                Some(words) => {
                    let words: Vec<&str> =
                        ["netns", "exec", &self.netns].into_iter().chain(words.split(' ')).collect();
                    run("ip", &words)?;
                }
                None => drop(self.ip(act).with_context(|| format!("{name}: the hand itself failed"))?),
            }
        }
        let mut last = String::new();
        let took = self.until(name, || {
            last = self.held()?;
            // The positive control: what is right again was written again (a setting is a file and no write).
            let wrote = name == "sysctl change" || self.status()?["writes_total"].as_u64() > writes;
            Ok(wrote && last == before)
        });
        let took = took.with_context(|| format!("{name}: {}", difference(before, &last)))?;
        println!("{name}: repaired and judged within {} ms", took.as_millis());
        Ok(())
    }
}

/// Lines that only one side has.
fn difference(before: &str, after: &str) -> String {
    let only = |a: &str, b: &str, mark: &str| -> String {
        let lines = a.lines().filter(|line| !b.lines().any(|other| other == *line));
        lines.map(|line| format!("\n{mark} {line}")).collect()
    };
    only(before, after, "-") + &only(after, before, "+")
}

/// What the hand needs to know of the objects.
struct Names {
    primary: u64,
    backup: u64,
    near: u64,
    far: u64,
}

impl Names {
    fn of(host: &Host) -> Result<Names> {
        let number =
            |value: &Value, key: &str| value[key].as_u64().with_context(|| format!("{key} in {value}"));
        let group = |metric: u64| -> Result<u64> {
            let routes = host.ip("-4 route show 10.1.0.0/24")?;
            let all = routes.as_array().context("routes")?;
            let found =
                all.iter().find(|route| route["metric"] == metric).context("a route of this metric")?;
            number(found, "nhid")
        };
        let on = |interface: &str| -> Result<u64> {
            let nexthops = host.ip("nexthop show")?;
            let all = nexthops.as_array().context("nexthops")?;
            number(all.iter().find(|found| found["dev"] == interface).context("a nexthop there")?, "id")
        };
        Ok(Names { primary: group(100)?, backup: group(200)?, near: on("eth2")?, far: on("eth1")? })
    }

    /// Every cell of the matrix with what the hand does.
    fn cells(&self) -> Vec<(&'static str, Vec<String>)> {
        let Names { primary, backup, near, far } = self;
        let one = |name, act: String| (name, vec![act]);
        let source = "proto 91 src 10.255.0.1";
        vec![
            one("route delete", "route del 10.1.0.0/24 metric 100".into()),
            one("route delete, backup", "route del 10.1.1.0/24 metric 200".into()),
            one("route delete, IPv6", "-6 route del fd00:1::/64 metric 100".into()),
            one("route add", format!("route add 203.0.113.0/24 nhid {primary} metric 100 proto 91")),
            one("route add, IPv6", format!("-6 route add fd00:99::/64 nhid {primary} metric 100 proto 91")),
            one(
                "route change, group",
                format!("route replace 10.1.1.0/24 nhid {backup} metric 100 {source}"),
            ),
            one(
                "route change, source",
                format!("route replace 10.1.2.0/24 nhid {primary} metric 100 proto 91"),
            ),
            one(
                "route change, MTU",
                format!("route replace 10.1.2.0/24 nhid {primary} metric 100 mtu 1300 {source}"),
            ),
            one("route change, type", "route replace blackhole 10.1.0.0/24 metric 100 proto 91".into()),
            one("group delete", format!("nexthop del id {primary}")),
            one("group change, members", format!("nexthop replace id {backup} group {near} proto 91")),
            one("group change, weight", format!("nexthop replace id {backup} group {far},7 proto 91")),
            one("group add", format!("nexthop add id {} group {near} proto 91", 0x5B80_0001_u32)),
            one("nexthop delete", format!("nexthop del id {near}")),
            one(
                "nexthop change, gateway",
                format!("nexthop replace id {far} via fe80::99 dev eth1 proto 91"),
            ),
            one(
                "nexthop change, interface",
                format!("nexthop replace id {far} via fe80::2 dev eth2 proto 91"),
            ),
            one("nexthop add", format!("nexthop add id {} via fe80::9 dev eth1 proto 91", 0x5B00_0001_u32)),
            one("address delete", "addr del 10.255.0.1/32 dev lo".into()),
            one("address delete, IPv6", "-6 addr del fd00:255::1/128 dev lo".into()),
            one("neighbour delete", "-6 neigh flush dev eth2".into()),
            one("sysctl change", "exec sysctl -qw net.ipv4.ip_forward=0".into()),
            ("link down and up", vec!["link set eth2 down".into(), "link set eth2 up".into()]),
            ("carrier lost and back", vec!["link set far1 down".into(), "link set far1 up".into()]),
            (
                "link made anew",
                [
                    "link del eth2",
                    "link add eth2 address 02:00:00:00:01:02 index 302 type veth peer name far2 address 02:00:00:00:02:02 index 402",
                    "link set eth2 up",
                    "link set far2 up",
                ]
                .map(String::from)
                .to_vec(),
            ),
        ]
    }
}

fn matrix(rounds: usize) -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: the mutation matrix needs root to make network namespaces");
        return Ok(());
    }
    for round in 0..rounds {
        let host = Host::new()?;
        let _agent = host.start()?;
        host.until("the program is in the kernel", || {
            Ok(host.status().is_ok_and(|status| status["objects"]["installed"].as_u64() > Some(10)))
        })?;
        let names = Names::of(&host)?;
        let before = host.held()?;
        let mut cells = names.cells();
        // Each round in another order, so that what a cell leaves behind meets another one.
        let from = round % cells.len();
        cells.rotate_left(from);
        for (name, acts) in cells {
            host.cell(name, &acts, &before)?;
        }
        let status = host.status()?;
        ensure!(status["digest"] == status["effective_digest"], "{status}");
    }
    Ok(())
}

#[test]
fn whatever_a_foreign_hand_does_to_an_object_of_ours_is_undone() -> Result<()> {
    matrix(1)
}

#[test]
fn long_agent_mutations() -> Result<()> {
    if std::env::var_os("BALLAST_LONG").is_none() {
        return Ok(());
    }
    matrix(24)
}
