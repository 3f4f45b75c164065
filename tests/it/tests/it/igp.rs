//! Routing tables that FRR and holo are expected to have in their own tests, against compiled programs of the same networks.
//!
//! A route agrees when metric and outgoing interfaces are the same, a backup when the one that Ballast installs is among those
//! that FRR lists and there is one exactly where FRR has one. Every disagreement and every case that cannot apply is printed.

use anyhow::{Context, Result, ensure};
use it::data::folder;
use it::igp::{
    Expected, Scenario, announce, announce_hosts_by_absence, frr_database, frr_ospf_table, frr_ospf6_table,
    frr_router, frr_routes, holo_router, routers_of,
};
use plan::program::{METRIC_BACKUP, METRIC_PRIMARY};
use plan::{Facts, Network};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use topology::Topology;

/// A scenario, compiled.
struct Compiled {
    topology: Topology,
    network: Network,
    /// (router, interface of the file) -> the router's real interface.
    real: BTreeMap<(String, String), String>,
    /// (router, interface of the file) -> (cost, next router); living links only.
    hops: BTreeMap<(String, String), (u64, String)>,
    announced: BTreeMap<(String, String), u64>,
}

impl Compiled {
    /// `down` are real interfaces whose links do not carry anything.
    fn new(scenario: &Scenario, down: &[(&str, &str)]) -> Result<Compiled> {
        let links = scenario.links();
        let (text, real) = scenario.topology(&links)?;
        let reading = topology::read("scenario.yaml", text.as_bytes());
        let topology = reading.topology.with_context(|| format!("{}\n{text}", reading.diagnostics.len()))?;
        let mut facts = Facts::default();
        let mut hops = BTreeMap::new();
        for link in &topology.links {
            let end = |at: usize| {
                let end = &link.ends[at];
                (topology.node(end.node).name.clone(), end.interface.clone())
            };
            let dead = [0, 1].iter().any(|at| {
                let (router, interface) = end(*at);
                let interface = real.get(&(router.clone(), interface)).cloned().unwrap_or_default();
                down.contains(&(&router, &interface))
            });
            if dead {
                facts.links_down.insert(link.id.clone());
                continue;
            }
            for at in [0, 1] {
                hops.insert(end(at), (u64::from(link.ends[at].cost), end(1 - at).0));
            }
        }
        let network = plan::compile(&topology, &facts);
        Ok(Compiled { topology, network, real, hops, announced: scenario.announced.clone() })
    }

    /// Interfaces of the file that the program of `from` sends by towards `to` at `metric`.
    fn out(&self, from: &str, to: &str, metric: u32) -> Vec<String> {
        let Some((program, _)) = self.network.host(from) else { return Vec::new() };
        let class = self.network.table.classes.iter().find(|class| class.name == to);
        let Some(class) = class else { return Vec::new() };
        let route = program.class_routes(class.id).iter().find(|route| route.metric == metric);
        let group = route.and_then(|route| program.groups.iter().find(|group| group.id == route.group));
        let members = group.map(|group| group.members.as_slice()).unwrap_or_default();
        members
            .iter()
            .filter_map(|member| program.nexthop(member.nexthop))
            .map(|nexthop| nexthop.interface.clone())
            .filter(|interface| self.hops.contains_key(&(from.to_string(), interface.clone())))
            .collect()
    }

    /// Cost of the way that the programs take; `None`: it does not arrive.
    fn cost(&self, from: &str, to: &str) -> Option<u64> {
        let mut at = from.to_string();
        let mut cost = 0;
        for _ in 0..=self.topology.nodes.len() {
            if at == to {
                return Some(cost);
            }
            let interface = self.out(&at, to, METRIC_PRIMARY).into_iter().next()?;
            let (step, next) = self.hops.get(&(at.clone(), interface))?;
            cost += step;
            at.clone_from(next);
        }
        None
    }

    /// Where the prefix is announced at the lowest total cost: that cost and the announcing routers.
    fn best(&self, from: &str, prefix: &str) -> Option<(u64, Vec<&str>)> {
        let owners = self.announced.iter().filter(|((_, announced), _)| announced == prefix);
        let reached: Vec<(u64, &str)> = owners
            .filter_map(|((owner, _), at)| Some((self.cost(from, owner)? + at, owner.as_str())))
            .collect();
        let best = reached.iter().map(|(cost, _)| *cost).min()?;
        Some((best, reached.into_iter().filter(|(cost, _)| *cost == best).map(|(_, owner)| owner).collect()))
    }

    /// One real interface per next hop, sorted.
    fn interfaces(&self, from: &str, owners: &[&str], metric: u32) -> Vec<String> {
        let all: BTreeSet<String> = owners.iter().flat_map(|owner| self.out(from, owner, metric)).collect();
        let real = |interface: String| self.real.get(&(from.to_string(), interface)).cloned();
        let mut interfaces: Vec<String> = all.into_iter().filter_map(real).collect();
        interfaces.sort();
        interfaces
    }
}

/// What came of one suite.
#[derive(Default)]
struct Tally {
    /// The source's repairs may carry labels.
    labels: bool,
    routes: usize,
    agree: usize,
    backups: usize,
    backups_agree: usize,
    differ: Vec<String>,
    not_applicable: BTreeMap<String, usize>,
}

impl Tally {
    fn route(&mut self, compiled: &Compiled, expected: &Expected) {
        let Expected { router, prefix, metric, out, file, .. } = expected;
        if out.is_empty() {
            return self.skip("attached directly: no next hop to compare");
        }
        let Some((cost, owners)) = compiled.best(router, prefix) else {
            return self.skip("announced by nobody in the configurations");
        };
        if owners.contains(&router.as_str()) {
            return self.skip("the router's own: attached directly");
        }
        self.routes += 1;
        let found = compiled.interfaces(router, &owners, METRIC_PRIMARY);
        let numbered = out[0] == "?";
        let same = if numbered { found.len() == out.len() } else { found == *out };
        if same && metric.is_none_or(|metric| metric == cost) {
            self.agree += 1;
        } else {
            self.differ
                .push(format!("{file}: {prefix}: expected {out:?} at {metric:?}, found {found:?} at {cost}"));
        }
    }

    fn backup(&mut self, compiled: &Compiled, expected: &Expected) {
        let Expected { router, prefix, backups, file, .. } = expected;
        let Some((_, owners)) = compiled.best(router, prefix) else {
            return self.skip("announced by nobody in the configurations");
        };
        if expected.out.len() != 1 || owners.len() != 1 {
            return self.skip("several next hops: the others are the repair");
        }
        if self.labels
            && compiled.interfaces(router, &owners, METRIC_BACKUP).is_empty()
            && !backups.is_empty()
        {
            return self.skip("the repair needs a label stack, which this kernel lacks");
        }
        self.backups += 1;
        let found = compiled.interfaces(router, &owners, METRIC_BACKUP);
        if found.is_empty() == backups.is_empty() && found.iter().all(|one| backups.contains(one)) {
            self.backups_agree += 1;
        } else {
            self.differ.push(format!("{file}: {prefix}: backups {backups:?}, found {found:?}"));
        }
    }

    fn skip(&mut self, why: &str) {
        *self.not_applicable.entry(why.to_string()).or_default() += 1;
    }

    /// Prints the counts and demands that nothing differs.
    fn judge(&self, suite: &str, at_least: usize) -> Result<()> {
        println!(
            "{suite}: routes {} of {} agree, backups {} of {}; does not apply: {:?}",
            self.agree, self.routes, self.backups_agree, self.backups, self.not_applicable
        );
        for line in &self.differ {
            println!("  {line}");
        }
        ensure!(self.differ.is_empty(), "{suite}: {} disagreements", self.differ.len());
        ensure!(self.routes + self.backups >= at_least, "{suite}: only {} cases", self.routes + self.backups);
        Ok(())
    }
}

fn frr(folder: &Path, loopback: u64) -> Result<Scenario> {
    let mut scenario = Scenario::default();
    for (name, folder) in routers_of(folder)? {
        scenario.routers.push(frr_router(&name, &folder)?);
    }
    announce(&mut scenario, loopback);
    Ok(scenario)
}

#[test]
fn world_frr_ospf_tables_before_and_after_a_link_goes_down() -> Result<()> {
    let Some(folder) = folder("igp-expected/frr/ospf_topo1") else { return Ok(()) };
    let scenario = frr(&folder, 0)?;
    let mut tally = Tally::default();
    // The test that these tables are from sets r3's interface to the common network down.
    for (down, suffix) in [(&[][..], ""), (&[("r3", "r3-eth0")][..], "_down")] {
        let compiled = Compiled::new(&scenario, down)?;
        for (router, folder) in routers_of(&folder)? {
            for expected in frr_ospf_table(&router, &folder.join(format!("ospfroute{suffix}.txt")))? {
                tally.route(&compiled, &expected);
            }
            for expected in frr_ospf6_table(&router, &folder.join(format!("ospf6route{suffix}.txt")))? {
                tally.route(&compiled, &expected);
            }
        }
    }
    tally.judge("FRR ospf_topo1", 30)
}

#[test]
fn world_frr_isis_tables() -> Result<()> {
    let Some(folder) = folder("igp-expected/frr/isis_topo1") else { return Ok(()) };
    let compiled = Compiled::new(&frr(&folder, 10)?, &[])?;
    let mut tally = Tally::default();
    for (router, folder) in routers_of(&folder)? {
        for file in [format!("{router}_route.json"), format!("{router}_route6.json")] {
            for expected in frr_routes(&router, &folder.join(file), "isis", &BTreeMap::new())? {
                tally.route(&compiled, &expected);
            }
        }
    }
    tally.judge("FRR isis_topo1", 15)
}

#[test]
fn world_frr_isis_loop_free_alternates() -> Result<()> {
    let Some(folder) = folder("igp-expected/frr/isis_lfa_topo1") else { return Ok(()) };
    let compiled = Compiled::new(&frr(&folder, 10)?, &[])?;
    let mut tally = Tally::default();
    for (router, folder) in routers_of(&folder)? {
        let file = folder.join("step1/show_ipv6_route.ref");
        for expected in frr_routes(&router, &file, "isis", &BTreeMap::new())? {
            tally.route(&compiled, &expected);
            tally.backup(&compiled, &expected);
        }
    }
    tally.judge("FRR isis_lfa_topo1", 60)
}

#[test]
fn world_holo_ospf_tables() -> Result<()> {
    let mut suites = 0;
    for name in ["ospfv2-topo1-1", "ospfv2-topo2-1", "ospfv3-topo2-1"] {
        let Some(folder) = folder(&format!("igp-expected/holo/holo-ospf-{name}")) else { continue };
        suites += 1;
        let mut scenario = Scenario::default();
        let mut tally = Tally::default();
        for (router, folder) in routers_of(&folder)? {
            holo_router(&mut scenario, &router, &folder)?;
        }
        announce_hosts_by_absence(&mut scenario);
        let compiled = Compiled::new(&scenario, &[])?;
        for expected in &scenario.expected {
            tally.route(&compiled, expected);
        }
        tally.judge(&format!("holo {name}"), if name.starts_with("ospfv2") { 60 } else { 30 })?;
    }
    println!("holo: {suites} networks");
    Ok(())
}

#[test]
fn world_frr_ospf_topology_independent_alternates() -> Result<()> {
    let Some(folder) = folder("igp-expected/frr/ospf_tilfa_topo1") else { return Ok(()) };
    let scenario = frr(&folder, 0)?;
    let compiled = Compiled::new(&scenario, &[])?;
    let mut tally = Tally { labels: true, ..Tally::default() };
    for (router, folder) in routers_of(&folder)? {
        let neighbours = neighbours(&scenario, &router);
        for (step, file) in
            [("step2", "show_ip_route_link_protection.ref"), ("step3", "show_ip_route_node_protection.ref")]
        {
            let file = folder.join(step).join(file);
            if !file.exists() {
                continue;
            }
            for expected in frr_routes(&router, &file, "ospf", &neighbours)? {
                tally.route(&compiled, &expected);
                tally.backup(&compiled, &expected);
            }
        }
    }
    tally.judge("FRR ospf_tilfa_topo1", 10)
}

/// Addresses of the others in the router's subnets -> its own interface there.
fn neighbours(scenario: &Scenario, router: &str) -> BTreeMap<String, String> {
    let own = scenario.routers.iter().filter(|one| one.name == router).flat_map(|one| &one.interfaces);
    let own: Vec<_> =
        own.flat_map(|one| one.subnets.iter().map(|subnet| (subnet.clone(), one.name.clone()))).collect();
    let mut found = BTreeMap::new();
    for interface in scenario.routers.iter().filter(|one| one.name != router).flat_map(|one| &one.interfaces)
    {
        for (subnet, name) in own.iter().filter(|(subnet, _)| interface.subnets.contains(subnet)) {
            let network: Option<ipnetwork::IpNetwork> = subnet.parse().ok();
            for address in &interface.addresses {
                if network
                    .zip(address.parse().ok())
                    .is_some_and(|(network, address)| network.contains(address))
                {
                    found.insert(address.clone(), name.clone());
                }
            }
        }
    }
    found
}

#[test]
fn world_frr_constrained_paths() -> Result<()> {
    let Some(folder) = folder("igp-expected/frr/cspf_topo1/reference") else { return Ok(()) };
    let mut agree = 0;
    for (family, key) in [("ipv4", "local-address"), ("ipv6", "local-address-v6")] {
        for metric in ["metric", "te-metric", "delay"] {
            let cost = |edge: &serde_json::Value| {
                let place = if metric == "metric" { edge } else { &edge["edge-attributes"] };
                place[metric].as_u64()
            };
            let scenario = frr_database(&folder.join("sharp-ted.json"), key, cost)?;
            let compiled = Compiled::new(&scenario, &[])?;
            let text = std::fs::read_to_string(folder.join(format!("cspf-{family}-{metric}.txt")))?;
            let word = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).map(str::trim);
            let cost: u64 = word("Cost:").context("Cost")?.parse()?;
            // The edges are named by the address at their far end; each must be one of the equal next hops.
            let edges = word("Edges:").context("Edges")?;
            let mut at = "r1".to_string();
            for edge in edges.split(' ') {
                let router = scenario.routers.iter().find(|one| one.name == at).context("its router")?;
                let leads_there = |interface: &String| {
                    let real = compiled.real.get(&(at.clone(), interface.clone()));
                    router.interfaces.iter().any(|one| Some(&one.name) == real && one.addresses[0] == edge)
                };
                let interface = compiled.out(&at, "r4", METRIC_PRIMARY).into_iter().find(leads_there);
                let interface =
                    interface.with_context(|| format!("{family} {metric}: {at} does not use {edge}"))?;
                at = compiled.hops.get(&(at.clone(), interface)).context("a hop")?.1.clone();
            }
            ensure!(at == "r4", "{family} {metric}: {edges} ends at {at}");
            ensure!(compiled.cost("r1", "r4") == Some(cost), "{family} {metric}: {cost}");
            agree += 1;
        }
    }
    println!(
        "FRR cspf_topo1: {agree} of 6 paths agree; does not apply: 4 (unknown or equal ends, a bandwidth that no link has)"
    );
    ensure!(agree == 6);
    Ok(())
}
