//! Compiling: a topology and the facts about it to one program per host.

use crate::backup::{Choice, Marks, Risks};
use crate::origins::{self, Destination, Leg, Origin};
use crate::paths::{Paths, Sides};
use crate::program::{
    ClassRoute, GROUP_IDS, GROUP_MEMBERS_MAX, Group, METRIC_BACKUP, METRIC_PRIMARY, Member, NEXTHOP_IDS,
    Nexthop, Settings, TABLE_MAIN,
};
use crate::renumber::Renumbering;
use crate::spf::Cores;
use crate::{ClassId, Digest, Facts, PrefixTable, Program, backup, digest, settings};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use topology::{Node, NodeIndex, Topology};

/// The programs of all hosts under one topology and one set of facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The table that all programs share.
    pub table: Arc<PrefixTable>,
    /// `table.digest()`.
    pub table_digest: Digest,
    /// One per node, sorted by host name.
    pub programs: Vec<Arc<Program>>,
    /// Whole-program digests, in the order of `programs`.
    pub digests: Vec<Digest>,
}

impl Network {
    /// The program and digest of `host`.
    pub fn host(&self, host: &str) -> Option<(&Arc<Program>, Digest)> {
        let at = self.programs.binary_search_by(|program| program.host.as_str().cmp(host)).ok()?;
        Some((&self.programs[at], self.digests[at]))
    }

    /// Host name -> digest of its program.
    pub fn digests_by_host(&self) -> BTreeMap<String, Digest> {
        self.programs
            .iter()
            .zip(&self.digests)
            .map(|(program, digest)| (program.host.clone(), *digest))
            .collect()
    }
}

/// Computes all programs. Total: any checked topology compiles.
pub fn compile(topology: &Topology, facts: &Facts) -> Network {
    compile_on(topology, facts, Cores::All)
}

/// [`compile`] on the given cores; the result does not depend on them.
pub fn compile_on(topology: &Topology, facts: &Facts, cores: Cores) -> Network {
    let (table, destinations) = origins::destinations(topology);
    let table = Arc::new(table);
    let table_digest = table.digest();
    let paths = Paths::new(topology, facts, cores);
    let backups = Backups::new(&paths, &Risks::new(topology), cores);
    let destinations = Destinations::new(topology, facts, destinations);
    let build =
        Build { topology, paths: &paths, backups: &backups, destinations: &destinations, table_digest };
    let hosts = settings::settings(topology).into_iter().enumerate().collect();
    let (programs, digests) = build.programs(hosts, cores).into_iter().unzip();
    Network { table, table_digest, programs, digests }
}

/// All that a host's program is made from.
pub(crate) struct Build<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) paths: &'a Paths,
    pub(crate) backups: &'a Backups,
    pub(crate) destinations: &'a Destinations,
    pub(crate) table_digest: Digest,
}

impl Build<'_> {
    /// The programs and their digests of the hosts at these positions.
    pub(crate) fn programs(
        &self,
        hosts: Vec<(usize, Settings)>,
        cores: Cores,
    ) -> Vec<(Arc<Program>, Digest)> {
        let program = |(at, settings): (usize, Settings)| self.program(NodeIndex(at as u32), settings);
        match cores {
            Cores::One => hosts.into_iter().map(program).collect(),
            Cores::All => hosts.into_par_iter().map(program).collect(),
        }
    }

    /// The programs of hosts of which only the routes to the given nodes may be other ones, and those of the classes `gone`
    /// have no place any more: (position, those nodes, the program before).
    pub(crate) fn patched(
        &self,
        hosts: Vec<(usize, &[u32], Arc<Program>)>,
        gone: &[ClassId],
        cores: Cores,
    ) -> Vec<(Arc<Program>, Digest)> {
        let class_of_node = self.destinations.class_of_node(self.topology.nodes.len());
        let program = |(at, nodes, before): (usize, &[u32], Arc<Program>)| {
            let node = NodeIndex(at as u32);
            let mut routes: Vec<ClassRoute> = Vec::new();
            let mut sets = KnownSets::new(self.topology, node, &before);
            let mut classes = gone.to_vec();
            let mut known = true;
            for to in nodes.iter().copied().filter(|to| *to as usize != at) {
                let class = class_of_node[to as usize];
                classes.push(class);
                routes_to(self.paths, self.backups, node.0, to, |metric, legs| match sets.group(legs) {
                    Some(group) => routes.push(ClassRoute { class, metric, table: TABLE_MAIN, group }),
                    None => known = false,
                });
            }
            classes.sort_unstable();
            classes.dedup();
            routes.sort_unstable();
            if classes.is_empty() {
                let digest = before.digest(self.table_digest);
                return (before, digest);
            }
            let after =
                Program { classes: merged(&before.classes, &classes, &routes), ..without_routes(&before) };
            // Ids of groups and next hops follow from all that a program has: with others it is made anew.
            if !known || !uses_all(&after, &before, &classes) {
                return self.program(node, before.settings.clone());
            }
            let digest = after.digest(self.table_digest);
            (Arc::new(after), digest)
        };
        match cores {
            Cores::One => hosts.into_iter().map(program).collect(),
            Cores::All => hosts.into_par_iter().map(program).collect(),
        }
    }

    fn program(&self, at: NodeIndex, settings: Settings) -> (Arc<Program>, Digest) {
        let routes = HostRoutes::new(self.paths, self.backups, self.destinations, at.0);
        let program = routes.into_program(self.topology, at, self.topology.node(at), settings);
        let digest = program.digest(self.table_digest);
        (Arc::new(program), digest)
    }
}

/// The routes of `before` but for those of the given classes, and `routes` in their places; all sorted.
fn merged(before: &[ClassRoute], classes: &[ClassId], routes: &[ClassRoute]) -> Vec<ClassRoute> {
    let mut all = Vec::with_capacity(before.len() + routes.len());
    let (mut rest, mut routes) = (before, routes);
    for class in classes {
        let kept = rest.partition_point(|route| route.class < *class);
        all.extend_from_slice(&rest[..kept]);
        rest = &rest[kept..];
        rest = &rest[rest.partition_point(|route| route.class == *class)..];
        let own = routes.partition_point(|route| route.class == *class);
        all.extend_from_slice(&routes[..own]);
        routes = &routes[own..];
    }
    all.extend_from_slice(rest);
    all
}

fn without_routes(program: &Program) -> Program {
    Program {
        host: program.host.clone(),
        settings: program.settings.clone(),
        preferred_source_v4: program.preferred_source_v4,
        preferred_source_v6: program.preferred_source_v6,
        nexthops: program.nexthops.clone(),
        groups: program.groups.clone(),
        classes: Vec::new(),
        rules: program.rules.clone(),
        discards: program.discards.clone(),
        local_segments: program.local_segments.clone(),
        vxlans: program.vxlans.clone(),
    }
}

/// Whether each group that `classes` used before still has a route: one without is in no program.
fn uses_all(after: &Program, before: &Program, classes: &[ClassId]) -> bool {
    let old = classes.iter().flat_map(|class| before.class_routes(*class));
    let mut groups: Vec<u32> = old.map(|route| route.group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into_iter().all(|group| after.classes.iter().any(|route| route.group == group))
}

/// Finds sets of legs among a program's groups.
struct KnownSets<'a> {
    topology: &'a Topology,
    at: NodeIndex,
    program: &'a Program,
    found: BTreeMap<Vec<Leg>, Option<u32>>,
}

impl<'a> KnownSets<'a> {
    fn new(topology: &'a Topology, at: NodeIndex, program: &'a Program) -> KnownSets<'a> {
        KnownSets { topology, at, program, found: BTreeMap::new() }
    }

    /// The group over these legs and no others; `None` where the program has none.
    fn group(&mut self, legs: &[Leg]) -> Option<u32> {
        let legs = kept(legs);
        if let Some(known) = self.found.get(legs) {
            return *known;
        }
        let group = self.search(legs);
        self.found.insert(legs.to_vec(), group);
        group
    }

    fn search(&self, legs: &[Leg]) -> Option<u32> {
        let nexthop = |leg: &Leg| {
            let (interface, gateway) = way_out(self.topology, self.at, *leg);
            let mut all = self.program.nexthops.iter();
            all.find(|nexthop| nexthop.interface == interface && nexthop.gateway == gateway)
        };
        let member = |(leg, weight)| Some(Member { nexthop: nexthop(leg)?.id, weight });
        let members = legs.iter().zip(weights(self.topology, legs)).map(member);
        let mut members: Vec<Member> = members.collect::<Option<_>>()?;
        members.sort_unstable();
        self.program.groups.iter().find(|group| group.members == members).map(|group| group.id)
    }
}

/// All destinations with the places that count, sorted by class.
pub(crate) struct Destinations(Vec<(Destination, Vec<Origin>)>);

impl Destinations {
    pub(crate) fn new(topology: &Topology, facts: &Facts, all: Vec<Destination>) -> Destinations {
        let with_living = |destination: Destination| {
            let living = origins::living(topology, facts, &destination);
            (destination, living)
        };
        Destinations(all.into_iter().map(with_living).collect())
    }

    /// By node: the class of its own prefixes.
    fn class_of_node(&self, nodes: usize) -> Vec<ClassId> {
        let mut classes = vec![ClassId(0); nodes];
        for (destination, _) in &self.0 {
            if let Some(node) = destination.node() {
                classes[node as usize] = destination.id;
            }
        }
        classes
    }

    /// The living places of each destination that is not one node's own.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &[Origin]> {
        let shared = self.0.iter().filter(|(destination, _)| destination.node().is_none());
        shared.map(|(_, living)| living.as_slice())
    }
}

/// Every host's backup towards every destination.
pub(crate) struct Backups {
    nodes: usize,
    /// `choices[to * nodes + from]`.
    choices: Vec<Choice>,
}

/// What a change may have done to backups.
pub(crate) struct Touched {
    /// By destination: whether a backup towards it may be another one.
    pub(crate) stale: Vec<bool>,
    /// By destination: nodes whose distance or next hops changed. `None`: choose anew.
    pub(crate) nodes: Option<Vec<Vec<u32>>>,
    /// Hosts with other links or other distances between their neighbours.
    pub(crate) near: Vec<u32>,
    /// Who is cut off from whom; only asked for with `nodes`.
    pub(crate) sides: Sides,
}

impl Touched {
    pub(crate) fn everything(nodes: usize) -> Touched {
        Touched { stale: vec![true; nodes], nodes: None, near: Vec::new(), sides: Sides::default() }
    }
}

impl Backups {
    pub(crate) fn new(paths: &Paths, risks: &Risks, cores: Cores) -> Backups {
        let nodes = risks.nodes();
        let mut backups = Backups { nodes, choices: vec![Choice::NONE; nodes * nodes] };
        backups.update(paths, risks, &Touched::everything(nodes), cores);
        backups
    }

    /// Chooses again where a change may have touched; gives (host, destination) wherever that gave another link.
    pub(crate) fn update(
        &mut self,
        paths: &Paths,
        risks: &Risks,
        touched: &Touched,
        cores: Cores,
    ) -> Vec<(u32, u32)> {
        let nodes = self.nodes;
        let towards = |marks: &mut Marks, (to, choices): (usize, &mut [Choice])| match &touched.nodes {
            Some(nodes) => {
                let (field, near, node) = (paths.living(), &touched.near, to as u32);
                let mut other = Vec::new();
                if touched.stale[to] {
                    other = backup::follow(field, risks, node, &nodes[to], near, choices, marks);
                }
                let cut_off = touched.sides.cut_off_from(node);
                other.extend(backup::follow_cut_off(paths, risks, node, &cut_off, choices, marks));
                other
            }
            None if !touched.stale[to] => Vec::new(),
            None => {
                let new = backup::alternates(paths, risks, to as u32);
                let pairs = (0_u32..).zip(choices.iter_mut().zip(new));
                let other = pairs.filter_map(|(from, (choice, new))| {
                    (std::mem::replace(choice, new).link() != new.link()).then_some(from)
                });
                other.collect()
            }
        };
        let columns = nodes.max(1);
        let changed: Vec<Vec<u32>> = match cores {
            Cores::One => {
                let mut marks = Marks::new(nodes);
                let columns = self.choices.chunks_mut(columns).enumerate();
                columns.map(|column| towards(&mut marks, column)).collect()
            }
            Cores::All => {
                let columns = self.choices.par_chunks_mut(columns).enumerate();
                columns.map_init(|| Marks::new(nodes), towards).collect()
            }
        };
        let pairs = (0_u32..).zip(changed);
        pairs.flat_map(|(to, hosts)| hosts.into_iter().map(move |from| (from, to))).collect()
    }

    /// The same under other numbers; what comes has none. No choice may be a link that goes.
    pub(crate) fn renumbered(&self, places: &Renumbering, cores: Cores) -> Backups {
        let nodes = places.old_nodes.len();
        let mut choices = vec![Choice::NONE; nodes * nodes];
        let column = |(to, column): (usize, &mut [Choice])| {
            let Some(to) = places.old_nodes[to].map(|to| to as usize) else { return };
            let old = &self.choices[to * self.nodes..(to + 1) * self.nodes];
            for (choice, from) in column.iter_mut().zip(&places.old_nodes) {
                *choice = from.map_or(Choice::NONE, |from| old[from as usize].renumbered(&places.links));
            }
        };
        match cores {
            Cores::One => choices.chunks_mut(nodes.max(1)).enumerate().for_each(column),
            Cores::All => choices.par_chunks_mut(nodes.max(1)).enumerate().for_each(column),
        }
        Backups { nodes, choices }
    }

    fn link(&self, from: u32, to: u32) -> Option<u32> {
        self.choices[to as usize * self.nodes + from as usize].link()
    }
}

/// One host's routes while sets of next hops are still sets of links.
#[derive(Default)]
struct HostRoutes {
    /// What packets leave by, sorted -> position of that set in the order of first use.
    sets: BTreeMap<Vec<Leg>, usize>,
    /// The same for sets of one link, most of all: by the link's position.
    singles: BTreeMap<u32, usize>,
    /// (class, metric, position of the set).
    routes: Vec<(ClassId, u32, usize)>,
}

impl HostRoutes {
    /// The routes of host `from`, sorted by class and metric.
    fn new(paths: &Paths, backups: &Backups, destinations: &Destinations, from: u32) -> HostRoutes {
        let mut host = HostRoutes::default();
        for (destination, living) in &destinations.0 {
            let class = destination.id;
            let Some(to) = destination.node() else {
                if let Some((legs, backup)) = origins::way(paths, living, from) {
                    host.add(class, METRIC_PRIMARY, &legs);
                    backup.iter().for_each(|backup| host.add(class, METRIC_BACKUP, &[*backup]));
                }
                continue;
            };
            if to == from {
                continue;
            }
            routes_to(paths, backups, from, to, |metric, legs| host.add(class, metric, legs));
        }
        host
    }

    fn add(&mut self, class: ClassId, metric: u32, legs: &[Leg]) {
        let legs = kept(legs);
        let single = match legs {
            [Leg::Link(link)] => Some(*link),
            _ => None,
        };
        let known = single.map_or_else(|| self.sets.get(legs), |link| self.singles.get(&link)).copied();
        let set = known.unwrap_or_else(|| {
            let set = self.sets.len();
            self.sets.insert(legs.to_vec(), set);
            self.singles.extend(single.map(|link| (link, set)));
            set
        });
        self.routes.push((class, metric, set));
    }

    /// Gives next hops and groups their ids and puts the program together.
    fn into_program(self, topology: &Topology, at: NodeIndex, node: &Node, settings: Settings) -> Program {
        let (nexthops, nexthop_of_leg) =
            nexthops(topology, at, self.sets.keys().flatten().copied().collect());
        let mut sets: Vec<(Vec<Member>, usize)> = self
            .sets
            .into_iter()
            .map(|(legs, set)| {
                let weights = weights(topology, &legs);
                let member = |(leg, weight)| Member { nexthop: nexthop_of_leg[leg], weight };
                let mut members: Vec<Member> = legs.iter().zip(weights).map(member).collect();
                members.sort_unstable();
                (members, set)
            })
            .collect();
        sets.sort_unstable();
        let mut taken = BTreeSet::new();
        let mut group_of_set = vec![0; sets.len()];
        let mut groups: Vec<Group> = sets
            .into_iter()
            .map(|(members, set)| {
                let id = free_id(digest::of_members(&members), &GROUP_IDS, &mut taken);
                group_of_set[set] = id;
                Group { id, members, resilient: None, route_mtu_bytes: None }
            })
            .collect();
        groups.sort_unstable_by_key(|group| group.id);
        let classes = self.routes.into_iter().map(|(class, metric, set)| ClassRoute {
            class,
            metric,
            table: TABLE_MAIN,
            group: group_of_set[set],
        });
        Program {
            host: node.name.clone(),
            settings,
            preferred_source_v4: node.loopbacks.iter().find_map(|address| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            }),
            preferred_source_v6: node.loopbacks.iter().find_map(|address| match address {
                IpAddr::V4(_) => None,
                IpAddr::V6(address) => Some(*address),
            }),
            nexthops,
            groups,
            classes: classes.collect(),
            rules: Vec::new(),
            discards: Vec::new(),
            local_segments: Vec::new(),
            vxlans: Vec::new(),
        }
    }
}

/// Tells metric and sorted legs of each route of `from` to the node `to`.
fn routes_to(paths: &Paths, backups: &Backups, from: u32, to: u32, mut tell: impl FnMut(u32, &[Leg])) {
    let Some(field) = paths.field(from, to) else { return };
    let mut hops = field.next_hops(from, to).map(|edge| Leg::Link(edge.link));
    match (hops.next(), hops.next()) {
        (Some(only), None) => tell(METRIC_PRIMARY, &[only]),
        (first, second) => {
            let legs: Vec<Leg> = first.into_iter().chain(second).chain(hops).collect();
            tell(METRIC_PRIMARY, &legs);
        }
    }
    if let Some(backup) = backups.link(from, to) {
        tell(METRIC_BACKUP, &[Leg::Link(backup)]);
    }
}

/// Highest weight of a member: the kernel keeps it less one in 8 bits (`struct nexthop_grp`).
const WEIGHT_MAX: u64 = 256;

/// The legs that a group has: the first [`GROUP_MEMBERS_MAX`], of more.
fn kept(legs: &[Leg]) -> &[Leg] {
    &legs[..legs.len().min(GROUP_MEMBERS_MAX)]
}

/// The members' weights, in the order of the legs: all 1, or, where the file wants it and every leg's link states a
/// capacity, in proportion to these, in lowest terms and at most [`WEIGHT_MAX`].
fn weights(topology: &Topology, legs: &[Leg]) -> Vec<u16> {
    let capacity = |leg: &Leg| match leg {
        Leg::Link(link) => topology.links[*link as usize].capacity_bps.filter(|bps| *bps > 0),
        Leg::Exit(_) => None,
    };
    let capacities: Option<Vec<u64>> = legs.iter().map(capacity).collect();
    let Some(capacities) = capacities.filter(|_| topology.weigh_by_capacity) else {
        return vec![1; legs.len()];
    };
    let divisor = capacities.iter().fold(0, |sum, bps| greatest_common_divisor(sum, *bps)).max(1);
    let most = capacities.iter().max().map_or(1, |bps| bps / divisor);
    // Rounded to the nearest, and never to nothing.
    let scaled = |bps: &u64| {
        let share = bps / divisor;
        if most <= WEIGHT_MAX {
            return share as u16;
        }
        ((u128::from(share) * u128::from(WEIGHT_MAX) * 2 / u128::from(most)).div_ceil(2)).clamp(1, 256) as u16
    };
    capacities.iter().map(scaled).collect()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Interface and gateway of a leg of the node `at`.
fn way_out(topology: &Topology, at: NodeIndex, leg: Leg) -> (&str, IpAddr) {
    match leg {
        Leg::Link(position) => {
            let link = &topology.links[position as usize];
            let own = usize::from(link.ends[0].node != at);
            (&link.ends[own].interface, IpAddr::V6(link.ends[1 - own].link_local))
        }
        Leg::Exit(position) => {
            let external = &topology.external[position as usize];
            (&external.interface, external.next_hop)
        }
    }
}

/// Next hops over `legs`, sorted by id, and leg -> id.
fn nexthops(topology: &Topology, at: NodeIndex, legs: BTreeSet<Leg>) -> (Vec<Nexthop>, BTreeMap<Leg, u32>) {
    let mut hops: Vec<(&str, IpAddr, Leg)> = legs
        .into_iter()
        .map(|leg| {
            let (interface, gateway) = way_out(topology, at, leg);
            (interface, gateway, leg)
        })
        .collect();
    hops.sort_unstable();
    let mut taken = BTreeSet::new();
    let mut id_of_leg = BTreeMap::new();
    let mut nexthops: Vec<Nexthop> = hops
        .into_iter()
        .map(|(interface, gateway, leg)| {
            let id = free_id(digest::of_next_hop(interface, gateway, None), &NEXTHOP_IDS, &mut taken);
            id_of_leg.insert(leg, id);
            Nexthop { id, interface: interface.to_string(), gateway, encapsulation: None }
        })
        .collect();
    nexthops.sort_unstable_by_key(|nexthop| nexthop.id);
    (nexthops, id_of_leg)
}

/// An id out of `range` that follows from `hash`; where it is taken, the next free one. Callers go through
/// contents in their sorted order, so who has to give way is the same everywhere. A host has far fewer next
/// hops and groups than a range has ids (8 million).
pub(crate) fn free_id(hash: Digest, range: &RangeInclusive<u32>, taken: &mut BTreeSet<u32>) -> u32 {
    let size = range.end() - range.start() + 1;
    let mut offset = u32::from_be_bytes([hash.0[0], hash.0[1], hash.0[2], hash.0[3]]) % size;
    while !taken.insert(range.start() + offset) {
        offset = (offset + 1) % size;
    }
    range.start() + offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::topology;

    #[test]
    fn weights_follow_capacities_in_lowest_terms_where_the_file_wants_it() {
        const G: u64 = 1_000_000_000;
        for (capacities, wanted) in [
            ([Some(10 * G), Some(10 * G), Some(10 * G)], [1, 1, 1]),
            ([Some(100 * G), Some(40 * G), Some(10 * G)], [10, 4, 1]),
            ([Some(100 * G), None, Some(10 * G)], [1, 1, 1]),
            ([Some(1_000_000 * G), Some(1), Some(500_000 * G)], [256, 1, 128]),
            ([Some(257), Some(256), Some(1)], [256, 255, 1]),
        ] {
            let mut topology = topology("a-b 1, a-c 1, a-d 1");
            for (link, capacity) in topology.links.iter_mut().zip(capacities) {
                link.capacity_bps = capacity;
            }
            let legs = [0, 1, 2].map(Leg::Link);
            assert_eq!(weights(&topology, &legs), [1, 1, 1], "not asked for");
            topology.weigh_by_capacity = true;
            assert_eq!(weights(&topology, &legs), wanted, "{capacities:?}");
            assert_eq!(weights(&topology, &[Leg::Link(0), Leg::Exit(0)]), [1, 1]);
        }
    }

    #[test]
    fn an_id_that_is_taken_gives_the_next_free_one_and_wraps_at_the_end() {
        let mut taken = BTreeSet::new();
        // 7 modulo 4 is the last of four ids.
        let hash = Digest([0, 0, 0, 7].repeat(8).try_into().expect("32 bytes"));
        let ids: Vec<u32> = (0..4).map(|_| free_id(hash, &(10..=13), &mut taken)).collect();
        assert_eq!(ids, [13, 10, 11, 12]);
    }
}
