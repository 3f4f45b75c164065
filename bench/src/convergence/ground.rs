//! The same network for daemons: a namespace for each node of the file, a cable for each link, addresses, nothing else.

use crate::space::feed;
use anyhow::{Context, Result, ensure};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;
use topology::{NodeIndex, Topology};

/// Namespaces of this program, with the pid of whoever made them.
const PREFIX: &str = "bb-";

/// The network.
pub(super) struct Ground {
    pub(super) topology: Topology,
    folder: TempDir,
    made: Vec<String>,
}

/// One interface of a node.
pub(super) struct Port {
    pub(super) interface: String,
    pub(super) cost: u32,
}

/// Removes what a killed run has left behind.
pub(super) fn sweep() -> Result<()> {
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return Ok(()) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
    Ok(())
}

/// Ends what runs in a namespace and removes its name.
fn remove(name: &str) {
    let pids = Command::new("ip").args(["netns", "pids", name]).output();
    let pids = pids.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        let _ = crate::space::kill_and_wait(pid);
    }
    let _ = feed(Command::new("ip").args(["netns", "del", name]), "");
}

impl Drop for Ground {
    fn drop(&mut self) {
        self.made.iter().for_each(|name| remove(name));
    }
}

impl Ground {
    /// Makes all of it; a failure leaves nothing behind.
    pub(super) fn new(text: &str) -> Result<Ground> {
        let topology = topology::read("topology.yaml", text.as_bytes()).topology.context("a valid file")?;
        let mut ground = Ground { topology, folder: tempfile::tempdir()?, made: Vec::new() };
        for at in 0..ground.topology.nodes.len() {
            ground.node(at)?;
        }
        ground.links()?;
        // Daemons give up root for users of their own.
        std::fs::set_permissions(ground.folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(ground)
    }

    /// A node's namespace.
    pub(super) fn netns(&self, node: &str) -> String {
        format!("{PREFIX}{}-{node}", std::process::id())
    }

    /// A folder for a node's daemons.
    pub(super) fn folder(&self, node: &str) -> Result<PathBuf> {
        let folder = self.folder.path().join(node);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Its IPv4 loopback.
    pub(super) fn loopback(&self, node: &str) -> Result<IpAddr> {
        let node = self.topology.nodes.iter().find(|known| known.name == node).context("a node")?;
        node.loopbacks.iter().find(|address| address.is_ipv4()).copied().context("an IPv4 loopback")
    }

    /// A node's interfaces.
    pub(super) fn ports(&self, node: &str) -> Vec<Port> {
        let node = self.topology.nodes.iter().position(|known| known.name == node);
        let ends = self.topology.links.iter().flat_map(|link| &link.ends);
        let own = ends.filter(|end| Some(end.node) == node.map(|at| NodeIndex(at as u32)));
        own.map(|end| Port { interface: end.interface.clone(), cost: end.cost }).collect()
    }

    /// `node`'s interface towards `to`.
    pub(super) fn port(&self, node: &str, to: &str) -> Result<String> {
        let name = |end: &topology::End| self.topology.node(end.node).name.clone();
        let found = self.topology.links.iter().find_map(|link| {
            let [a, b] = &link.ends;
            let (a_name, b_name) = (name(a), name(b));
            (a_name == node && b_name == to)
                .then(|| a.interface.clone())
                .or_else(|| (b_name == node && a_name == to).then(|| b.interface.clone()))
        });
        found.with_context(|| format!("a link between {node} and {to}"))
    }

    fn node(&mut self, at: usize) -> Result<()> {
        let node = self.topology.nodes[at].clone();
        let netns = self.netns(&node.name);
        feed(Command::new("ip").args(["netns", "add", &netns]), "")?;
        self.made.push(netns.clone());
        let loopbacks = node.loopbacks.iter().map(|address| format!("addr add {address} dev lo\n"));
        self.ip(&node.name, &format!("link set lo up\n{}", loopbacks.collect::<String>()))?;
        let words = ["netns", "exec", &netns, "sysctl", "-q", "-w"];
        let values =
            ["net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0"];
        feed(Command::new("ip").args(words).args(values), "")
    }

    fn links(&self) -> Result<()> {
        for (number, link) in self.topology.links.iter().enumerate() {
            let [a, b] = [0, 1].map(|at| {
                let end = &link.ends[at];
                (self.topology.node(end.node).name.clone(), end.interface.clone())
            });
            let [near, far] = lab::names::indexes(number as u32);
            ensure!(near != far, "equal indexes delay carrier events");
            let cable = format!(
                "link add {} index {near} netns {} type veth peer name {} index {far} netns {}\n",
                a.1,
                self.netns(&a.0),
                b.1,
                self.netns(&b.0)
            );
            feed(Command::new("ip").args(["-batch", "-"]), &cable)?;
            for (host, (node, interface)) in (1..).zip([a, b]) {
                self.ip(
                    &node,
                    &format!("addr add 172.16.{number}.{host}/30 dev {interface}\nlink set {interface} up\n"),
                )?;
            }
        }
        Ok(())
    }

    /// Lines of `ip -batch` on a node.
    pub(super) fn ip(&self, node: &str, lines: &str) -> Result<()> {
        feed(Command::new("ip").args(["-n", &self.netns(node), "-batch", "-"]), lines)
    }

    /// The interface by which a node's kernel would send to an address; none where it has no route.
    pub(super) fn way(&self, node: &str, to: IpAddr) -> Option<String> {
        let words = ["-n", &self.netns(node), "-j", "route", "get", &to.to_string()];
        let output = Command::new("ip").args(words).output().ok()?;
        let routes: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        routes[0]["dev"].as_str().map(str::to_string)
    }
}
