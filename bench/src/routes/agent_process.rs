//! The real agent as a process: its ledger on disk, its certificates, its local socket; no controller anywhere.

use super::ground::{self, Size};
use crate::space::Running;
use agent::io::store::Store;
use anyhow::{Context, Result, ensure};
use ipnetwork::IpNetwork;
use it::bed::binary;
use lab::certificates::Authority;
use plan::{ClassId, Facts, PrefixTable};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use topology::Topology;
use wire::Generation;
use wire::ledger::Kept;

/// A host with two links, so that every route to `b` has a second one by way of `c`.
const TOPOLOGY: &str = "
version: 1
name: bench
management: separate
addressing: { loopbacks: [10.255.0.0/16, fd00:ba11::/64] }
nodes:
  a: {}
  b: { prefixes: [10.0.0.0/32] }
  c: {}
links:
  - { endpoints: [a:eth1, b:eth1] }
  - { endpoints: [a:eth2, c:eth1] }
  - { endpoints: [b:eth2, c:eth2] }
";
const HOST: &str = "a";
/// Between two questions to the agent's socket: rare enough to cost it nothing.
const ASK: Duration = Duration::from_millis(10);

/// An agent's files. The namespace has to have the links already.
pub(super) struct Home {
    folder: TempDir,
    /// Kernel routes of the program, second routes included.
    pub(super) routes: usize,
}

impl Home {
    /// A ledger with a confirmed program of about so many kernel routes, half of them second ones; or all first ones.
    pub(super) fn new(size: Size, second_routes: bool) -> Result<Home> {
        ground::links()?;
        let folder = tempfile::tempdir()?;
        let authority = Authority::new("ballast bench")?;
        authority.write(folder.path())?;
        authority.agent(HOST, folder.path())?;
        let kept = kept(size, second_routes)?;
        let routes = plan::Objects::of(&kept.program, &kept.table).routes.len();
        let blank = agent::core::ledger::blank(HOST);
        let adopted = agent::core::ledger::adopt(&blank, kept, false, 0);
        let ledger =
            agent::core::ledger::confirm(&adopted, adopted.highest).context("a program to confirm")?;
        let state = folder.path().join("state");
        std::fs::create_dir(&state)?;
        Store::new(&state).save(&ledger)?;
        Ok(Home { folder, routes })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command line; nobody listens at the controller's address.
    pub(super) fn command(&self) -> Result<Vec<String>> {
        let text = |path: PathBuf| path.display().to_string();
        Ok(vec![
            text(binary("ballast-agent")?),
            "run".to_string(),
            format!("--host={HOST}"),
            "--controllers=127.0.0.1:9".to_string(),
            format!("--ca={}", text(self.at("ca.pem"))),
            format!("--cert={}", text(self.at("a.pem"))),
            format!("--key={}", text(self.at("a.key"))),
            format!("--state={}", text(self.at("state"))),
            format!("--socket={}", text(self.at("agent.sock"))),
        ])
    }

    /// Starts it in this thread's namespace.
    pub(super) fn start(&self) -> Result<Running> {
        let words = self.command()?;
        Running::start(Command::new(&words[0]).args(&words[1..]).env("BALLAST_LOG", "error"))
    }

    /// What it says of itself; `None` while it does not answer.
    pub(super) fn status(&self) -> Option<Value> {
        let text =
            agent::io::local::ask(&self.at("agent.sock"), &agent::io::local::Request::of("status")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Pid of the running agent: whose the state folder is.
    pub(super) fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.at("state/lock")).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// Waits until it has found all of its program in the kernel.
    pub(super) fn wait_installed(&self, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.status();
            if let Some(status) = &status
                && status["objects"]["installed"].as_u64().is_some_and(|all| all as usize >= self.routes)
                && status["objects"]["pending"] == 0
            {
                return Ok(Instant::now());
            }
            ensure!(
                Instant::now() < deadline,
                "the agent did not install its program within {limit:?}: {}",
                status.map_or_else(|| "no answer".to_string(), |status| status["objects"].to_string())
            );
            std::thread::sleep(ASK);
        }
    }
}

/// The host's program with many prefixes at `b`.
fn kept(size: Size, second_routes: bool) -> Result<Kept> {
    let reading = topology::read("bench.yaml", TOPOLOGY.as_bytes());
    let topology: Topology = reading.topology.context("the benchmark's topology")?;
    let network = plan::compile(&topology, &Facts::default());
    let (program, _) = network.host(HOST).context("the benchmark's host")?;
    let mut program = program.clone();
    let class = network.table.class_of(&"10.0.0.0/32".parse()?).context("the class of b")?;
    if !second_routes {
        let program = Arc::make_mut(&mut program);
        program.classes.retain(|route| route.metric == plan::program::METRIC_PRIMARY);
    }
    let prefixes = if second_routes { size.routes / 2 } else { size.routes };
    let table = Arc::new(table(&network.table, size.prefixes().take(prefixes), class));
    let digest = program.digest(table.digest());
    let generation = Generation { incarnation: 1, index: 1 };
    Ok(Kept { generation, revision: 1, digest, table, program, origin: wire::agent::Origin::default() })
}

fn table(small: &PrefixTable, prefixes: impl Iterator<Item = IpNetwork>, class: ClassId) -> PrefixTable {
    let mut entries = small.entries.clone();
    entries.extend(prefixes.map(|prefix| (prefix, class)));
    entries.sort_unstable();
    PrefixTable { classes: small.classes.clone(), entries }
}
