//! A lab as a user has it: every step is a `ballast` command, every answer its JSON. Taken down on drop, also when
//! the test fails.

use anyhow::{Context, Result, bail, ensure};
use lab::probe::{Pair, Probes};
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// How long what must come is waited for. Speed is not a test's matter: a busy machine was seen to let a process wait for a
/// processor for five seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running lab.
#[derive(Debug)]
pub struct Bed {
    document: Value,
    run_id: String,
    folder: PathBuf,
}

/// A folder of this process for files of one bed.
fn fresh_folder() -> Result<PathBuf> {
    let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let folder = std::env::temp_dir().join(format!("ballast-it-{}-{stamp}", std::process::id()));
    std::fs::create_dir(&folder)?;
    Ok(folder)
}

/// A program that was built beside this one.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // A test lives in target/PROFILE/deps, a benchmark in target/PROFILE.
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|path| path.exists());
    found.with_context(|| format!("{name} is not built: scripts/test and scripts/bench build it first"))
}

/// A sample topology with budgets under which a change goes out at once.
pub fn sample(name: &str) -> Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../topology/files").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let without_budgets = text.split("\nsafety:").next().unwrap_or_default();
    Ok(format!("{without_budgets}\nsafety: {{ max_hosts_per_step: 100%, bake: 0s, link_up_hold: 1s }}\n"))
}

impl Bed {
    /// Makes the lab of a topology text: namespaces, three controllers, agents, first apply, pings.
    pub fn up(topology: &str) -> Result<Bed> {
        let folder = fresh_folder()?;
        let file = folder.join("topology.yaml");
        std::fs::write(&file, topology)?;
        let owner = std::process::id().to_string();
        let output = Command::new(binary("ballast")?)
            .args(["lab", "up", "--json", "--owner-pid", &owner])
            .arg(&file)
            .output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lab up ended with {}\n{words}", output.status);
        let document: Value = serde_json::from_slice(&output.stdout).context("lab up prints JSON")?;
        let run_id = document["run_id"].as_str().context("run_id")?.to_string();
        Ok(Bed { document, run_id, folder })
    }

    /// What `lab up` printed.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Writes a file for a command of this bed.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Runs `ballast` with the lab's address and credentials.
    pub fn ballast(&self, arguments: &[&str]) -> Result<Output> {
        let text = |key: &str| self.document[key].as_str().unwrap_or_default().to_string();
        let controllers = self.document["controllers"].as_array().cloned().unwrap_or_default();
        let urls: Vec<&str> =
            controllers.iter().filter_map(|controller| controller["url"].as_str()).collect();
        let mut command = Command::new(binary("ballast")?);
        command.args(arguments).env("BALLAST_URL", urls.join(",")).env("BALLAST_CA", text("ca_file"));
        Ok(command.env("BALLAST_TOKEN_FILE", text("token_file")).output()?)
    }

    /// Runs `ballast ... --json` and demands success. A change that is waited for has half a minute.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let bound: &[&str] = if arguments.contains(&"--wait") && !arguments.contains(&"--timeout") {
            &["--timeout", "30"]
        } else {
            &[]
        };
        let arguments: Vec<&str> = arguments.iter().chain(bound).copied().chain(["--json"]).collect();
        let output = self.ballast(&arguments)?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "ballast {} ended with {}\n{words}",
            arguments.join(" "),
            output.status
        );
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("ballast {} prints JSON", arguments.join(" ")))
    }

    /// Runs `ballast lab VERB ...` on this lab and demands success.
    pub fn lab(&self, arguments: &[&str]) -> Result<Output> {
        let output = Command::new(binary("ballast")?)
            .arg("lab")
            .args(arguments)
            .args(["--run", &self.run_id])
            .output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "lab {} ended with {}\n{words}", arguments.join(" "), output.status);
        Ok(output)
    }

    /// Runs a command in a host's namespaces and demands success.
    pub fn lab_exec(&self, host: &str, command: &[&str]) -> Result<()> {
        let output = Command::new(binary("ballast")?)
            .args(["lab", "exec", host, "--run", &self.run_id, "--"])
            .args(command)
            .output()?;
        ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// The lab's run id: part of the names of all its namespaces.
    pub fn run_id(&self) -> &str {
        &self.run_id
    }

    /// `ballast lab VERB ...` as words of a command line, for a tracer.
    pub fn lab_command(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let ballast = binary("ballast")?.display().to_string();
        let words = [ballast.as_str(), "lab"]
            .into_iter()
            .chain(arguments.iter().copied())
            .chain(["--run", &self.run_id]);
        Ok(words.map(str::to_string).collect())
    }

    /// Pairs that answer a ping now: ((ipv4 ok, total), (ipv6 ok, total)).
    pub fn pairs(&self) -> Result<((u64, u64), (u64, u64))> {
        // Exit 1 where a pair does not answer: that is an answer, too.
        let arguments = ["lab", "ping", "--json", "--run", &self.run_id];
        let output = Command::new(binary("ballast")?).args(arguments).output()?;
        let document: Value = serde_json::from_slice(&output.stdout).context("lab ping prints JSON")?;
        Ok(pairs_in(&document))
    }

    /// Names of all hosts.
    pub fn hosts(&self) -> Vec<String> {
        let hosts = self.document["hosts"].as_array().cloned().unwrap_or_default();
        hosts.iter().filter_map(|host| host["name"].as_str().map(str::to_string)).collect()
    }

    fn host(&self, name: &str) -> Result<&Value> {
        let hosts = self.document["hosts"].as_array().context("hosts")?;
        hosts.iter().find(|host| host["name"] == name).with_context(|| format!("no host {name}"))
    }

    /// A host's network namespace.
    pub fn netns(&self, name: &str) -> Result<String> {
        Ok(self.host(name)?["netns"].as_str().context("netns")?.to_string())
    }

    /// A host's loopback address of a family.
    pub fn loopback(&self, name: &str, ipv6: bool) -> Result<IpAddr> {
        let all = self.host(name)?["loopbacks"].as_array().context("loopbacks")?;
        let addresses = all.iter().filter_map(|address| address.as_str()?.parse::<IpAddr>().ok());
        addresses.into_iter().find(|address| address.is_ipv6() == ipv6).context("a loopback of each family")
    }

    /// REST address of a controller (`c1`).
    pub fn controller_url(&self, name: &str) -> Result<String> {
        let all = self.document["controllers"].as_array().context("controllers")?;
        let found =
            all.iter().find(|one| format!("c{}", one["id"]) == name).with_context(|| format!("no {name}"))?;
        Ok(found["url"].as_str().context("url")?.to_string())
    }

    /// The pid of a host's agent now.
    pub fn agent_pid(&self, name: &str) -> Result<u32> {
        let document: Value = serde_json::from_slice(&self.lab(&["status", "--json"])?.stdout)?;
        let hosts = document["hosts"].as_array().context("hosts")?;
        let host =
            hosts.iter().find(|host| host["name"] == name).with_context(|| format!("no host {name}"))?;
        let pid = host["agent_pid"].as_u64().with_context(|| format!("the agent of {name} does not run"))?;
        Ok(u32::try_from(pid)?)
    }

    /// What a host's agent says of itself.
    pub fn agent_status(&self, name: &str) -> Result<Value> {
        let socket = self.host(name)?["agent_socket"].as_str().context("agent_socket")?.to_string();
        let output = Command::new(binary("ballast-agent")?)
            .args(["status", "--json", "--socket", &socket])
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// `ip -n NAMESPACE -j ...` on a host.
    pub fn ip(&self, name: &str, arguments: &str) -> Result<Value> {
        let netns = self.netns(name)?;
        let output = Command::new("ip").args(["-n", &netns, "-j"]).args(arguments.split(' ')).output()?;
        ensure!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.trim_ascii().is_empty() {
            return Ok(Value::Array(Vec::new()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Routes of ours in a host's kernel, both families, as sorted text.
    pub fn routes(&self, name: &str) -> Result<Vec<String>> {
        let mut routes = Vec::new();
        for family in ["-4", "-6"] {
            let found = self.ip(name, &format!("{family} route show proto 91"))?;
            routes.extend(
                found.as_array().context("routes")?.iter().map(|route| {
                    format!("{} nhid {} metric {}", route["dst"], route["nhid"], route["metric"])
                }),
            );
        }
        routes.sort();
        Ok(routes)
    }

    /// Starts probes of both families between ordered pairs of hosts.
    pub fn probes(&self, pairs: &[(&str, &str)], interval: Duration) -> Result<Probes> {
        let mut all = Vec::new();
        for (from, to) in pairs {
            for ipv6 in [false, true] {
                all.push(Pair {
                    from_netns: self.netns(from)?,
                    from: self.loopback(from, ipv6)?,
                    to_netns: self.netns(to)?,
                    to: self.loopback(to, ipv6)?,
                });
            }
        }
        Probes::start(all, interval)
    }

    /// The leader's name in the lab, `c1`, waited for.
    pub fn leader(&self) -> Result<String> {
        let mut leader = None;
        wait("a leader", PATIENCE, || {
            let status = self.json(&["status"]).ok();
            leader = status.and_then(|status| status["leader"].as_u64());
            Ok(leader.is_some())
        })?;
        Ok(format!("c{}", leader.context("a leader")?))
    }

    /// Waits until every host runs what it is assigned, with nothing refused and `pending` as demanded.
    pub fn wait_current(&self, revision: u64, limit: Duration) -> Result<()> {
        wait(&format!("every host at revision {revision}"), limit, || {
            let hosts = self.json(&["hosts"])?;
            let all = hosts["hosts"].as_array().context("hosts")?;
            Ok(!all.is_empty()
                && all.iter().all(|host| {
                    host["revision"].as_u64() == Some(revision)
                        && host["generation"] == host["assigned_generation"]
                        && host["digest"] == host["effective_digest"]
                }))
        })
    }
}

/// The two counts of `ballast lab up|ping --json`.
pub fn pairs_in(document: &Value) -> ((u64, u64), (u64, u64)) {
    let count = |family: &str, key: &str| document["pairs"][family][key].as_u64().unwrap_or(0);
    ((count("ipv4", "ok"), count("ipv4", "total")), (count("ipv6", "ok"), count("ipv6", "total")))
}

/// Waits until `done` says so.
pub fn wait(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match done() {
            Ok(true) => return Ok(()),
            Ok(false) => String::new(),
            Err(error) => format!(" ({error:#})"),
        };
        if Instant::now() > deadline {
            bail!("not within {limit:?}: {what}{last}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("lab {} failed; its logs follow", self.run_id);
            let _ = self
                .lab(&["logs", "--tail", "40"])
                .map(|output| eprintln!("{}", String::from_utf8_lossy(&output.stdout)));
        }
        if let Err(error) = self.lab(&["down"]) {
            eprintln!("{error:#}");
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
