//! A network that follows its topology and facts: what a change does not touch is kept.
//!
//! The result is always the one of [`compile`](crate::compile), byte for byte. After a change of facts, costs or drains the
//! distances and next hops that it touches are computed again, then the backups towards the destinations where an input of
//! theirs differs, then the routes that these give, or a host's whole program where it needs another group. Other nodes or links, other
//! risk groups and a change of half the network start from nothing.

use crate::backup::Risks;
use crate::graph::Graph;
use crate::network::{Backups, Build, Destinations, Network, Touched};
use crate::origins::{self, Destination};
use crate::paths::{Paths, UNREACHABLE};
use crate::program::Settings;
use crate::settings;
use crate::spf::{Changed, Cores};
use crate::{Digest, Facts, Program};
use std::collections::BTreeSet;
use std::sync::Arc;
use topology::{NodeIndex, Topology};

/// A compiled network and what it was compiled from.
pub struct Incremental {
    topology: Topology,
    facts: Facts,
    cores: Cores,
    all_destinations: Vec<Destination>,
    paths: Paths,
    risks: Risks,
    backups: Backups,
    network: Network,
}

/// What an update did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The hosts whose program is another one than before or new, with that before, sorted by name.
    pub changed: Vec<(String, Option<Arc<Program>>)>,
    /// Whether everything was computed from nothing.
    pub from_nothing: bool,
}

impl Incremental {
    /// Compiles from nothing. Beside the programs, 4 bytes per pair of nodes for backups and what
    /// [`AllPairs`](crate::spf::AllPairs) needs are kept, the latter twice while facts cut a node off.
    pub fn new(topology: Topology, facts: Facts, cores: Cores) -> Incremental {
        let (table, all_destinations) = origins::destinations(&topology);
        let table_digest = table.digest();
        let paths = Paths::new(&topology, &facts, cores);
        let risks = Risks::new(&topology);
        let backups = Backups::new(&paths, &risks, cores);
        let network =
            Network { table: Arc::new(table), table_digest, programs: Vec::new(), digests: Vec::new() };
        let mut new =
            Incremental { topology, facts, cores, all_destinations, paths, risks, backups, network };
        let hosts = settings::settings(&new.topology).into_iter().enumerate().collect();
        (new.network.programs, new.network.digests) = new.programs(hosts).into_iter().unzip();
        new
    }

    /// The programs as things are.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Follows a change of the facts alone.
    pub fn take_facts(&mut self, facts: Facts) -> Update {
        self.follow(None, facts)
    }

    /// Follows a change of the topology and perhaps of the facts.
    pub fn take_topology(&mut self, topology: Topology, facts: Facts) -> Update {
        let topology = Some(topology).filter(|topology| *topology != self.topology);
        self.follow(topology, facts)
    }

    fn follow(&mut self, topology: Option<Topology>, facts: Facts) -> Update {
        let mut whole = BTreeSet::new();
        let mut settings = None;
        let mut same_risks = true;
        if let Some(topology) = topology {
            if !has_same_shape(&self.topology, &topology) {
                return self.start_anew(topology, facts);
            }
            let old = std::mem::replace(&mut self.topology, topology);
            let new = &self.topology;
            if (&old.nodes, &old.external) != (&new.nodes, &new.external) {
                let (table, destinations) = origins::destinations(new);
                self.network.table_digest = table.digest();
                self.network.table = Arc::new(table);
                self.all_destinations = destinations;
                whole.extend(0..new.nodes.len() as u32);
            }
            // Weights of groups follow capacities.
            let capacities =
                |of: &Topology| of.links.iter().map(|link| link.capacity_bps).collect::<Vec<_>>();
            if old.weigh_by_capacity != new.weigh_by_capacity || capacities(&old) != capacities(new) {
                whole.extend(0..new.nodes.len() as u32);
            }
            let risks = Risks::new(new);
            same_risks = std::mem::replace(&mut self.risks, risks) == self.risks;
            let new_settings = settings::settings(new);
            let pairs = (0_u32..).zip(self.network.programs.iter().zip(&new_settings));
            whole.extend(pairs.filter(|(_, (host, new))| host.settings != **new).map(|(at, _)| at));
            settings = Some(new_settings);
        }
        let old_facts = std::mem::replace(&mut self.facts, facts);
        if self.uplinks_down(&old_facts) != self.uplinks_down(&self.facts) {
            whole.extend(0..self.topology.nodes.len() as u32);
        }
        let routes = self.follow_paths(same_risks, &mut whole);
        self.rebuild(whole, routes, settings)
    }

    fn start_anew(&mut self, topology: Topology, facts: Facts) -> Update {
        let old = std::mem::replace(self, Incremental::new(topology, facts, self.cores));
        let before = old.network;
        let programs = self.network.programs.iter().zip(&self.network.digests);
        let changed = programs.filter_map(|(program, digest)| {
            let before = before.host(&program.host);
            let differs = before.is_none_or(|(_, before)| before != *digest);
            differs.then(|| (program.host.clone(), before.map(|(program, _)| program.clone())))
        });
        Update { changed: changed.collect(), from_nothing: true }
    }

    fn uplinks_down(&self, facts: &Facts) -> Vec<bool> {
        let names = self.topology.external.iter().map(|external| self.topology.uplink(external));
        names.map(|name| facts.links_down.contains(&name)).collect()
    }

    /// Brings paths and backups up to date. Adds to `whole` the hosts of which anything may be another one; gives (host,
    /// destination), sorted, where a route may be.
    fn follow_paths(&mut self, same_risks: bool, whole: &mut BTreeSet<u32>) -> Vec<(u32, u32)> {
        let before = self.paths.living().graph.clone();
        let was_cut = self.paths.is_cut();
        let changed = self.paths.update(&self.topology, &self.facts, self.cores);
        let nodes = self.topology.nodes.len();
        let Some(changed) = changed else {
            self.backups.update(&self.paths, &self.risks, &Touched::everything(nodes), self.cores);
            whole.extend(0..nodes as u32);
            return Vec::new();
        };
        let lines = changed_lines(&before, &self.paths.living().graph);
        let mut work = Touched::everything(nodes);
        if same_risks {
            work.stale = stale_destinations(&self.paths, &before, &changed, &lines);
            if !was_cut && !self.paths.is_cut() && !self.risks.has_groups() {
                work.nodes = Some(nodes_by_destination(nodes, &changed));
                work.near = near_hosts(&before, &self.paths.living().graph, &changed, &lines);
            }
        }
        let mut routes = self.backups.update(&self.paths, &self.risks, &work, self.cores);
        let other = changed.iter().filter(|pair| pair.next_hops);
        routes.extend(other.map(|pair| (pair.from, pair.to)));
        routes.sort_unstable();
        routes.dedup();
        let ends = lines.iter().flat_map(|link| self.topology.links[*link as usize].ends.iter());
        whole.extend(ends.map(|end| end.node.0));
        whole.extend(self.near_shared_places(&changed));
        routes
    }

    /// Hosts whose way to a prefix of several places may be another one.
    fn near_shared_places(&self, changed: &[Changed]) -> Vec<u32> {
        let destinations = self.destinations();
        let places: BTreeSet<u32> = destinations.shared().flatten().map(|origin| origin.node).collect();
        let graph = &self.paths.living().graph;
        let mut near = Vec::new();
        for pair in changed.iter().filter(|pair| places.contains(&pair.to)) {
            near.push(pair.from);
            near.extend(graph.edges(NodeIndex(pair.from)).iter().map(|edge| edge.to));
        }
        near
    }

    fn destinations(&self) -> Destinations {
        Destinations::new(&self.topology, &self.facts, self.all_destinations.clone())
    }

    fn programs(&self, hosts: Vec<(usize, Settings)>) -> Vec<(Arc<Program>, Digest)> {
        self.build(&self.destinations()).programs(hosts, self.cores)
    }

    fn build<'a>(&'a self, destinations: &'a Destinations) -> Build<'a> {
        Build {
            topology: &self.topology,
            paths: &self.paths,
            backups: &self.backups,
            destinations,
            table_digest: self.network.table_digest,
        }
    }

    /// Makes the programs of the hosts `whole` again, and of the others the routes that may be other ones.
    fn rebuild(
        &mut self,
        whole: BTreeSet<u32>,
        routes: Vec<(u32, u32)>,
        settings: Option<Vec<Settings>>,
    ) -> Update {
        let all = settings.as_deref();
        let settings_of = |at: usize| {
            let fresh = all.and_then(|all| all.get(at));
            fresh.unwrap_or(&self.network.programs[at].settings).clone()
        };
        let hosts: Vec<(usize, Settings)> =
            whole.iter().map(|at| (*at as usize, settings_of(*at as usize))).collect();
        let to: Vec<u32> = routes.iter().map(|(_, to)| *to).collect();
        let mut patches = Vec::new();
        let mut start = 0;
        for of_host in routes.chunk_by(|a, b| a.0 == b.0) {
            let (at, nodes) = (of_host[0].0, &to[start..start + of_host.len()]);
            start += of_host.len();
            if !whole.contains(&at) {
                patches.push((at as usize, nodes, self.network.programs[at as usize].clone()));
            }
        }
        let patched: Vec<u32> = patches.iter().map(|(at, _, _)| *at as u32).collect();
        let destinations = self.destinations();
        let build = self.build(&destinations);
        let mut programs: Vec<(u32, (Arc<Program>, Digest))> =
            whole.into_iter().zip(build.programs(hosts, self.cores)).collect();
        programs.extend(patched.into_iter().zip(build.patched(patches, self.cores)));
        programs.sort_unstable_by_key(|(at, _)| *at);
        let mut changed = Vec::new();
        for (at, (program, digest)) in programs {
            let at = at as usize;
            if std::mem::replace(&mut self.network.digests[at], digest) != digest {
                let host = program.host.clone();
                let before = std::mem::replace(&mut self.network.programs[at], program);
                changed.push((host, Some(before)));
            }
        }
        Update { changed, from_nothing: false }
    }
}

/// Whether both have the same nodes, and the same links between them.
fn has_same_shape(one: &Topology, other: &Topology) -> bool {
    let names = |topology: &Topology| topology.nodes.iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let ids = |topology: &Topology| topology.links.iter().map(|link| link.id.clone()).collect::<Vec<_>>();
    names(one) == names(other) && ids(one) == ids(other)
}

/// Positions of the links that have other costs, or are dead in one of both.
fn changed_lines(before: &Graph, now: &Graph) -> Vec<u32> {
    let pairs = (0_u32..).zip(before.lines().iter().zip(now.lines()));
    pairs.filter(|(_, (before, now))| before != now).map(|(link, _)| link).collect()
}

/// The destinations towards which a backup may be another one: those with other distances or next hops, and those where
/// a link that came, went or has another cost is an alternate of one of its hosts, or is trusted although it is dead.
///
/// Nothing else counts. The inequalities of RFC 5286 compare D(N, to) with D(N, X) + D(X, to), which is never less; that
/// both are equal says that X is on a shortest path from N to the destination, and so follows from the next hops
/// towards the destination alone, wherever D(N, X) has changed.
fn stale_destinations(paths: &Paths, before: &Graph, changed: &[Changed], lines: &[u32]) -> Vec<bool> {
    let living = paths.living();
    let mut stale = vec![false; living.graph.nodes()];
    for pair in changed {
        stale[pair.to as usize] = true;
    }
    for link in lines {
        let line = &living.graph.lines()[*link as usize];
        let lived = before.lines()[*link as usize].cost != UNREACHABLE;
        for (host, far) in [(line.a, line.b), (line.b, line.a)] {
            let back = living.distance(far, host);
            let is_alternate = |to: u32| {
                let (rest, own) = (living.distance(far, to), living.distance(host, to));
                let returns = rest >= back.saturating_add(own);
                rest != UNREACHABLE && !returns && living.next_hops(host, to).nth(1).is_none()
            };
            let lives = lived || line.cost != UNREACHABLE;
            for (to, stale) in (0_u32..).zip(&mut stale).filter(|(_, stale)| !**stale) {
                *stale = lives && is_alternate(to) || paths.trusts_dead_link(host, to, *link);
            }
        }
    }
    stale
}

fn nodes_by_destination(nodes: usize, changed: &[Changed]) -> Vec<Vec<u32>> {
    let mut by_destination = vec![Vec::new(); nodes];
    for pair in changed {
        by_destination[pair.to as usize].push(pair.from);
    }
    by_destination
}

/// Hosts with another link, or with another distance from a neighbour of theirs to themselves or to another neighbour.
fn near_hosts(before: &Graph, now: &Graph, changed: &[Changed], lines: &[u32]) -> Vec<u32> {
    let ends = lines.iter().map(|link| &now.lines()[*link as usize]).flat_map(|line| [line.a, line.b]);
    let mut near: BTreeSet<u32> = ends.collect();
    for graph in [before, now] {
        let neighbours = |node: u32| graph.edges(NodeIndex(node)).iter().map(|edge| edge.to);
        for pair in changed {
            near.extend(neighbours(pair.from).filter(|host| *host == pair.to));
            near.extend(neighbours(pair.from).filter(|host| neighbours(*host).any(|next| next == pair.to)));
        }
    }
    near.into_iter().collect()
}

#[cfg(test)]
mod tests;
