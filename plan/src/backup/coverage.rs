//! How much of a network is repaired before anybody computes anything, by which means, and what no means can.

use super::alternates;
use super::bypasses::{Bypasses, overhead_bytes};
use super::detours;
use super::faults::{Risks, Towards, Way};
use crate::Facts;
use crate::graph::Graph;
use crate::paths::{Paths, UNREACHABLE};
use crate::spf::Cores;
use std::collections::BTreeSet;
use topology::{LinkIndex, NodeIndex, Topology};

/// What is left of a network's traffic right after any one link has failed.
///
/// Shares are from 0 to 1 over all ordered pairs (host, destination) that are connected. A pair counts as the
/// share of its primary links whose failure is covered (RFC 6571, section 3.1, with equal-cost next hops taken
/// as each other's alternates). A network without pairs has shares of 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Coverage {
    /// By equal-cost next hops and loop-free alternates: what programs install.
    pub lfa: f64,
    /// By detours and bypasses as well, which programs do not have yet.
    pub all: f64,
    /// Where the destination is still connected without the link: the most that any repair can reach.
    pub possible: f64,
    /// Interfaces that need a table of their own for the detours.
    pub turn_interfaces: usize,
    /// Entries (destinations) in all these tables.
    pub turn_entries: usize,
    /// Tunnels for the bypasses: one per host and link.
    pub tunnels: usize,
    /// All repairs, sorted by host, destination and link.
    pub entries: Vec<Entry>,
    /// All cases without a repair, in the same order.
    pub unprotected: Vec<Unprotected>,
}

/// By what a host goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Its other next hops of equal cost.
    Ecmp,
    /// A loop-free alternate (RFC 5286).
    Lfa,
    /// A detour by forwarding on the incoming interface: not installed.
    Detour,
    /// A tunnel to the node behind the link: not installed.
    Bypass,
}

/// One repair: what `host` does with packets for `destination` when `link` is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who repairs.
    pub host: NodeIndex,
    /// Where packets go.
    pub destination: NodeIndex,
    /// The primary link that fails.
    pub link: LinkIndex,
    /// By what.
    pub kind: Kind,
    /// The link that packets leave by instead; the first by id of several.
    pub via: LinkIndex,
    /// Nodes after the host up to the one that forwards as ever.
    pub hops: Vec<NodeIndex>,
    /// Whether packets also avoid the node behind the failed link.
    pub protects_node: bool,
    /// Whether packets meet no link that shares a risk group with the failed one.
    pub protects_groups: bool,
    /// By how many bytes packets grow on the way: what links' MTUs must have to spare.
    pub overhead_bytes: u32,
}

/// One case without a repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprotected {
    /// Who loses its next hop.
    pub host: NodeIndex,
    /// Where packets go.
    pub destination: NodeIndex,
    /// The primary link that fails.
    pub link: LinkIndex,
    /// Whether the destination is still connected without the link.
    pub possible: bool,
}

/// Computes all backups of a network without failures, and what they cover.
pub fn coverage(topology: &Topology) -> Coverage {
    let paths = Paths::new(topology, &Facts::default(), Cores::All);
    let risks = Risks::new(topology);
    let bridges = bridges(&Graph::new(topology, |_| true), topology.links.len());
    let nodes = topology.nodes.len() as u32;
    let mut sums = Sums::default();
    let (mut entries, mut unprotected) = (Vec::new(), Vec::new());
    let (mut interfaces, mut turn_entries, mut tunnels) = (BTreeSet::new(), 0, BTreeSet::new());
    let mut bypasses = Bypasses::default();
    for to in 0..nodes {
        // Without facts there is one graph.
        let Some(field) = (0..nodes).find_map(|from| paths.field(from, to)) else { continue };
        let mut towards = Towards::new(field, &risks, to);
        let hosts = || (0..nodes).filter(|from| *from != to && field.distance(*from, to) != UNREACHABLE);
        alternates::choose(&mut towards, hosts(), |_| false);
        let has_alternate: Vec<bool> = towards.ways.iter().map(Option::is_some).collect();
        let turns = detours::choose(&mut towards);
        bypasses.choose(&mut towards);
        let arcs: BTreeSet<_> = turns.onward.keys().chain(&turns.guarded).copied().collect();
        turn_entries += arcs.len();
        interfaces.extend(arcs);
        for from in hosts() {
            let kind = |way: &Way| match (has_alternate[from as usize], way.segments) {
                (true, _) => Kind::Lfa,
                (false, 0) => Kind::Detour,
                (false, _) => Kind::Bypass,
            };
            let backup = towards.ways[from as usize].as_ref().map(|way| (kind(way), way.clone()));
            let case = Case { from, backup, bridges: &bridges };
            case.count(&towards, &mut sums, &mut entries, &mut unprotected);
        }
    }
    let tunnelled = entries.iter().filter(|entry| entry.kind == Kind::Bypass);
    tunnels.extend(tunnelled.map(|entry| (entry.host, entry.link)));
    entries.sort_by_key(|entry| (entry.host, entry.destination, entry.link));
    unprotected.sort_by_key(|case| (case.host, case.destination, case.link));
    let share = |sum: f64| if sums.pairs == 0 { 1.0 } else { sum / sums.pairs as f64 };
    Coverage {
        lfa: share(sums.lfa),
        all: share(sums.all),
        possible: share(sums.possible),
        turn_interfaces: interfaces.len(),
        turn_entries,
        tunnels: tunnels.len(),
        entries,
        unprotected,
    }
}

#[derive(Default)]
struct Sums {
    pairs: u64,
    lfa: f64,
    all: f64,
    possible: f64,
}

/// A host and all its primary links towards one destination.
struct Case<'a> {
    from: u32,
    /// What it does without its only next hop.
    backup: Option<(Kind, Way)>,
    bridges: &'a [bool],
}

impl Case<'_> {
    fn count(
        &self,
        towards: &Towards<'_>,
        sums: &mut Sums,
        entries: &mut Vec<Entry>,
        unprotected: &mut Vec<Unprotected>,
    ) {
        let legs: Vec<_> = towards.field.next_hops(self.from, towards.to).collect();
        let (host, destination) = (NodeIndex(self.from), NodeIndex(towards.to));
        sums.pairs += 1;
        let (mut by_lfa, mut by_all, mut possible_links) = (0_u32, 0_u32, 0_u32);
        for leg in &legs {
            let link = LinkIndex(leg.link);
            let possible = !self.bridges[leg.link as usize];
            possible_links += u32::from(possible);
            let others: Vec<Way> =
                legs.iter().filter(|other| other.link != leg.link).map(|other| Way::over(other)).collect();
            let way = self.backup.as_ref().map(|(kind, way)| (*kind, std::slice::from_ref(way)));
            let found = if others.is_empty() { way } else { Some((Kind::Ecmp, &others[..])) };
            let Some((kind, ways @ [first, ..])) = found else {
                unprotected.push(Unprotected { host, destination, link, possible });
                continue;
            };
            by_all += 1;
            by_lfa += u32::from(matches!(kind, Kind::Ecmp | Kind::Lfa));
            entries.push(Entry {
                host,
                destination,
                link,
                kind,
                via: LinkIndex(first.link),
                hops: first.hops().map(|(_, node)| NodeIndex(node)).collect(),
                protects_node: ways.iter().all(|way| towards.avoids_node(leg.to, way)),
                protects_groups: ways.iter().all(|way| towards.avoids_groups_of(leg.link, way)),
                overhead_bytes: overhead_bytes(first.segments),
            });
        }
        // One division for each pair: what is covered whole counts exactly 1.
        for (sum, links) in
            [(&mut sums.lfa, by_lfa), (&mut sums.all, by_all), (&mut sums.possible, possible_links)]
        {
            *sum += f64::from(links) / legs.len() as f64;
        }
    }
}

/// By link: whether its loss cuts the graph in two. Depth-first search with the lowest order that a subtree
/// reaches over edges outside the tree (Tarjan 1974); a parallel link is such an edge.
fn bridges(graph: &Graph, links: usize) -> Vec<bool> {
    const NEW: u32 = u32::MAX;
    let nodes = graph.nodes();
    let mut bridges = vec![false; links];
    let (mut order, mut lowest) = (vec![NEW; nodes], vec![NEW; nodes]);
    let mut next_order = 0;
    for root in 0..nodes as u32 {
        if order[root as usize] != NEW {
            continue;
        }
        // (node, the link it was entered by, how many of its edges are done)
        let mut stack = vec![(root, NEW, 0)];
        while let Some((node, entered_by, done)) = stack.last_mut() {
            let (node, entered_by, at) = (*node, *entered_by, *done);
            *done += 1;
            if at == 0 {
                (order[node as usize], lowest[node as usize]) = (next_order, next_order);
                next_order += 1;
            }
            match graph.edges(NodeIndex(node)).get(at) {
                Some(edge) if edge.link == entered_by => {}
                Some(edge) if order[edge.to as usize] == NEW => stack.push((edge.to, edge.link, 0)),
                Some(edge) => lowest[node as usize] = lowest[node as usize].min(order[edge.to as usize]),
                None => {
                    stack.pop();
                    let Some((parent, _, _)) = stack.last() else { continue };
                    if lowest[node as usize] > order[*parent as usize] {
                        bridges[entered_by as usize] = true;
                    }
                    lowest[*parent as usize] = lowest[*parent as usize].min(lowest[node as usize]);
                }
            }
        }
    }
    bridges
}
