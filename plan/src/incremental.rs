//! A network that follows its topology and facts: what a change does not touch is kept.
//!
//! The result is always the one of [`compile`](crate::compile), byte for byte. After a change of facts, costs or drains the
//! distances and next hops that it touches are computed again, then the backups towards the destinations where an input of
//! theirs differs, then the routes that these give, or a host's whole program where it needs another group. A link or a
//! node that goes is one that fails first; one that comes has dead links first; in between everything known is carried over to the new
//! numbers. A change of half the network starts from nothing.

use crate::backup::Risks;
use crate::graph::Graph;
use crate::network::{Backups, Build, Destinations, Network, Touched};
use crate::origins::{self, Destination, Origin};
use crate::paths::{Paths, UNREACHABLE};
use crate::program::Settings;
use crate::renumber::Renumbering;
use crate::settings;
use crate::spf::{Changed, Cores};
use crate::{ClassId, Digest, Facts, Program};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::{External, Link, NodeIndex, Topology};

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
        let mut work = Work::new(&self.network);
        if let Some(topology) = topology {
            let places = Renumbering::new(&self.topology, &topology);
            if !places.is_identity() && !self.take_places(&topology, &places, &mut work) {
                return self.start_anew(topology, facts);
            }
            self.compare(topology, &places, &mut work);
        }
        let old_facts = std::mem::replace(&mut self.facts, facts);
        if self.uplinks_down(&old_facts) != self.uplinks_down(&self.facts) {
            work.whole.extend(0..self.topology.nodes.len() as u32);
        }
        if !self.follow_paths(|_| true, &mut work) {
            self.backups = Backups::new(&self.paths, &self.risks, self.cores);
            work.whole.extend(0..self.topology.nodes.len() as u32);
        }
        self.rebuild(work)
    }

    /// Fails the links that go, then takes the new numbers for everything; links that come are dead until the update that
    /// follows. `false` when that does not pay.
    fn take_places(&mut self, topology: &Topology, places: &Renumbering, work: &mut Work) -> bool {
        let goes: Vec<bool> = places.links.iter().map(Option::is_none).collect();
        if goes.contains(&true) && !self.follow_paths(|link| !goes[link as usize], work) {
            return false;
        }
        self.paths.renumber(topology, places, self.cores);
        self.backups = self.backups.renumbered(places, self.cores);
        let new_place = |node: u32| places.nodes[node as usize];
        work.whole = work.whole.iter().filter_map(|node| new_place(*node)).collect();
        work.routes.retain_mut(|(from, to)| {
            let now = new_place(*from).zip(new_place(*to));
            (*from, *to) = now.unwrap_or_default();
            now.is_some()
        });
        let before = places.old_nodes.iter();
        work.before = before.map(|old| old.and_then(|old| work.before[old as usize].take())).collect();
        let added = (0_u32..).zip(&places.old_nodes).filter(|(_, old)| old.is_none());
        work.whole.extend(added.map(|(node, _)| node));
        true
    }

    /// Takes the topology, and finds the hosts for which it says other things that are not about paths.
    fn compare(&mut self, topology: Topology, places: &Renumbering, work: &mut Work) {
        let old = std::mem::replace(&mut self.topology, topology);
        let new = &self.topology;
        let everybody = 0..new.nodes.len() as u32;
        if (&old.nodes, &old.external, &old.controllers) != (&new.nodes, &new.external, &new.controllers) {
            let (table, destinations) = origins::destinations(new);
            self.network.table_digest = table.digest();
            self.network.table = Arc::new(table);
            let before = std::mem::replace(&mut self.all_destinations, destinations);
            match classes_gone(&before, &self.all_destinations, places) {
                Some(gone) if has_same_uplinks(&old, new, places) => work.gone = gone,
                _ => work.whole.extend(everybody.clone()),
            }
            let node_before = |now: usize| Some(&old.nodes[places.old_nodes[now]? as usize]);
            let has_other_source = |at: &u32| {
                node_before(*at as usize)
                    .is_some_and(|was| was.loopbacks != new.nodes[*at as usize].loopbacks)
            };
            work.whole.extend(everybody.clone().filter(has_other_source));
            work.same_table = false;
        }
        // Weights of groups follow capacities.
        let capacity_stays = |(old_link, now): (&Link, &Option<u32>)| {
            now.is_none_or(|now| new.links[now as usize].capacity_bps == old_link.capacity_bps)
        };
        if old.weigh_by_capacity != new.weigh_by_capacity
            || !old.links.iter().zip(&places.links).all(capacity_stays)
        {
            work.whole.extend(everybody);
        }
        let risks = Risks::new(new);
        work.same_risks = self.risks.carry_over(&risks, places);
        self.risks = risks;
        let settings = settings::settings(new);
        let pairs = (0_u32..).zip(work.before.iter().zip(&settings));
        let has_other = |(before, settings): (&Before, &Settings)| {
            before.as_ref().is_some_and(|(program, _)| program.settings != *settings)
        };
        work.whole.extend(pairs.filter(|(_, pair)| has_other(*pair)).map(|(at, _)| at));
        work.settings = Some(settings);
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

    /// Brings paths and backups up to date with links that exist. Adds to the work the hosts of which anything may be another
    /// one, and (host, destination) where a route may be; `false` when all may be, and backups are still to be chosen.
    fn follow_paths(&mut self, exists: impl Fn(u32) -> bool, work: &mut Work) -> bool {
        let before = self.paths.living().graph.clone();
        let lines_of_all = |paths: &Paths| paths.without_facts().map(|field| field.graph.lines().to_vec());
        let all_before = lines_of_all(&self.paths);
        let Some(changed) = self.paths.update(&self.topology, &self.facts, exists, self.cores) else {
            return false;
        };
        let nodes = self.topology.nodes.len();
        let lines = changed_lines(&before, &self.paths.living().graph);
        let mut touched = Touched::everything(nodes);
        // Who is cut off may have any link as alternate.
        let same_for_cut_off =
            all_before.zip(lines_of_all(&self.paths)).is_none_or(|(before, now)| before == now);
        if work.same_risks && (same_for_cut_off || !self.risks.has_groups()) {
            touched.stale = stale_destinations(&self.paths, &before, &changed, &lines);
            if !self.risks.has_groups() {
                touched.nodes = Some(nodes_by_destination(nodes, &changed));
                touched.near = near_hosts(&before, &self.paths.living().graph, &changed, &lines);
                touched.sides = self.paths.sides();
            }
        }
        work.routes.extend(self.backups.update(&self.paths, &self.risks, &touched, self.cores));
        let other = changed.iter().filter(|pair| pair.next_hops);
        work.routes.extend(other.map(|pair| (pair.from, pair.to)));
        let ends = lines.iter().flat_map(|link| self.topology.links[*link as usize].ends.iter());
        work.whole.extend(ends.map(|end| end.node.0));
        work.whole.extend(self.near_shared_places(&changed));
        true
    }

    /// Hosts whose way to a prefix of several places may be another one.
    fn near_shared_places(&self, changed: &[Changed]) -> Vec<u32> {
        let destinations = self.destinations();
        let places: BTreeSet<u32> = destinations.shared().flatten().map(|origin| origin.node).collect();
        let graphs = [Some(self.paths.living()), self.paths.without_facts()];
        let mut near = Vec::new();
        for pair in changed.iter().filter(|pair| places.contains(&pair.to)) {
            near.push(pair.from);
            for field in graphs.iter().flatten() {
                near.extend(field.graph.edges(NodeIndex(pair.from)).iter().map(|edge| edge.to));
            }
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

    /// Makes what the work names again.
    fn rebuild(&mut self, mut work: Work) -> Update {
        work.routes.sort_unstable();
        work.routes.dedup();
        let hosts = work.hosts();
        let to: Vec<u32> = work.routes.iter().map(|(_, to)| *to).collect();
        let mut nodes_of_host = vec![0..0; work.before.len()];
        let mut start = 0;
        for of_host in work.routes.chunk_by(|a, b| a.0 == b.0) {
            nodes_of_host[of_host[0].0 as usize] = start..start + of_host.len();
            start += of_host.len();
        }
        let touches_all = !work.same_table || !work.gone.is_empty();
        let mut patches = Vec::new();
        for (at, (before, nodes)) in work.before.iter().zip(nodes_of_host).enumerate() {
            let Some((program, _)) = before else { continue };
            if (touches_all || !nodes.is_empty()) && !work.whole.contains(&(at as u32)) {
                patches.push((at, &to[nodes], program.clone()));
            }
        }
        let patched: Vec<u32> = patches.iter().map(|(at, _, _)| *at as u32).collect();
        let destinations = self.destinations();
        let build = self.build(&destinations);
        let mut programs: Vec<(u32, (Arc<Program>, Digest))> =
            work.whole.iter().copied().zip(build.programs(hosts, self.cores)).collect();
        programs.extend(patched.into_iter().zip(build.patched(patches, &work.gone, self.cores)));
        programs.sort_unstable_by_key(|(at, _)| *at);
        let mut changed = Vec::new();
        for (at, after) in programs {
            let place = &mut work.before[at as usize];
            let before = place.replace(after.clone());
            if before.as_ref().is_none_or(|(_, digest)| *digest != after.1) {
                changed.push((after.0.host.clone(), before.map(|(program, _)| program)));
            }
        }
        (self.network.programs, self.network.digests) = work.before.into_iter().flatten().unzip();
        Update { changed, from_nothing: false }
    }
}

/// A host's program and digest before; none for a node that was added.
type Before = Option<(Arc<Program>, Digest)>;

/// What is to be made again.
struct Work {
    /// By node.
    before: Vec<Before>,
    /// Hosts of which anything may be another one.
    whole: BTreeSet<u32>,
    /// (host, destination) where a route may be another one.
    routes: Vec<(u32, u32)>,
    /// Classes that no host has routes for any more, sorted.
    gone: Vec<ClassId>,
    /// Of all hosts, where these may be others.
    settings: Option<Vec<Settings>>,
    same_table: bool,
    same_risks: bool,
}

impl Work {
    fn new(network: &Network) -> Work {
        let programs = network.programs.iter().cloned().zip(network.digests.iter().copied());
        Work {
            before: programs.map(Some).collect(),
            whole: BTreeSet::new(),
            routes: Vec::new(),
            gone: Vec::new(),
            settings: None,
            same_table: true,
            same_risks: true,
        }
    }

    /// The hosts to be made as a whole, with their settings.
    fn hosts(&self) -> Vec<(usize, Settings)> {
        let settings = |at: usize| match &self.settings {
            Some(all) => Some(all[at].clone()),
            None => self.before[at].as_ref().map(|(program, _)| program.settings.clone()),
        };
        self.whole.iter().filter_map(|at| Some((*at as usize, settings(*at as usize)?))).collect()
    }
}

/// Classes of nodes that are gone, sorted; `None` when a class has another number now, or other places beside one node.
fn classes_gone(old: &[Destination], new: &[Destination], places: &Renumbering) -> Option<Vec<ClassId>> {
    let mut now = BTreeMap::new();
    let mut shared_now = Vec::new();
    for destination in new {
        match destination.node() {
            Some(node) => _ = now.insert(node, destination.id),
            None => shared_now.push((destination.id, destination.origins.clone())),
        }
    }
    let (mut gone, mut shared) = (Vec::new(), Vec::new());
    for destination in old {
        let place = |origin: &Origin| Some(Origin { node: places.nodes[origin.node as usize]?, ..*origin });
        match destination.node().map(|node| places.nodes[node as usize]) {
            Some(None) => gone.push(destination.id),
            Some(Some(node)) if now.get(&node) != Some(&destination.id) => return None,
            Some(Some(_)) => {}
            None => {
                let origins: Option<Vec<Origin>> = destination.origins.iter().map(place).collect();
                shared.push((destination.id, origins?));
            }
        }
    }
    (shared == shared_now).then_some(gone)
}

/// Whether both have the same uplinks, in the same order.
fn has_same_uplinks(old: &Topology, new: &Topology, places: &Renumbering) -> bool {
    let now = |external: &External| {
        let node = NodeIndex(places.nodes[external.node.0 as usize]?);
        Some(External { node, ..external.clone() })
    };
    old.external.iter().map(now).eq(new.external.iter().cloned().map(Some))
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
