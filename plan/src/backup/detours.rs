//! Ways for hosts without a loop-free alternate: up against the flow, then out to a node that is unaffected.
//!
//! A host u whose only next hop for d is gone sends packets to a neighbour v whose own next hop is u. From u
//! alone v never gets packets for d while all is well: what comes in by that interface has been turned back,
//! so v may forward it by other rules than its own packets (U-turn alternates; failure inferencing, Nelakuditi
//! et al. 2007). It climbs on like that, or takes an edge to a node none of whose shortest paths passes u.
//! From there packets go as ever.
//!
//! One arc (an edge that some node uses in the other direction as a next hop) leads on in one way only,
//! whichever failure brought the packet. Hosts near the destination choose first; others that come to a taken
//! arc follow it. That is always right: only climb from nodes *all* of whose shortest paths pass u, and two
//! hosts that share such an arc are one behind the other; what avoids the nearer avoids the farther. And such
//! a way exists whenever the graph without the link connects u and d (docs/decisions/0009 has the proof), so
//! what is left out is left out to keep the death of a node from making a loop, nothing else.

use super::alternates::Rank;
use super::faults::{Towards, Way};
use crate::graph::Edge;
use crate::paths::UNREACHABLE;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// A packet that has come over a link into a node: (link, node).
pub(crate) type Arc = (u32, u32);

/// What interfaces know about one destination beside the hosts' own routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Packets that come in by an arc leave by an edge: (link, node behind it).
    pub(crate) onward: BTreeMap<Arc, (u32, u32)>,
    /// Packets that come in by these arcs use the node's own next hops and no backup.
    pub(crate) guarded: std::collections::BTreeSet<Arc>,
}

/// What one host can reach by climbing.
struct Climb {
    /// Position of the host's primary link.
    primary: u32,
    /// Nodes some of whose shortest paths pass the host -> how they are reached.
    nodes: BTreeMap<u32, Reached>,
}

/// How a node is reached by climbing.
#[derive(Clone, Copy)]
struct Reached {
    /// Whether all its shortest paths pass the host.
    dominated: bool,
    /// Cost of climbing here over arcs that lead nowhere yet; [`UNREACHABLE`] if there is no such way.
    cost: u64,
    /// Drained nodes and links on that way.
    drained: u32,
    /// The last arc of it with the node that it comes from; none for the host itself.
    by: Option<(Arc, u32)>,
}

/// A way with what it is worth, the least the best: drained nodes and links on it, then the rank.
type Ranked = ((u32, Rank), Way);

/// Gives ways to the hosts with one next hop that have none yet, nearest to the destination first.
pub(crate) fn choose(towards: &mut Towards<'_>) -> Turns {
    let mut turns = Turns::default();
    let mut hosts: Vec<u32> = (0..towards.ways.len() as u32).collect();
    hosts.sort_by_key(|host| towards.field.distance(*host, towards.to));
    for host in hosts {
        if host == towards.to || towards.ways[host as usize].is_some() {
            continue;
        }
        let Some(primary) = towards.only_next_hop(host) else { continue };
        let mut ranked = ways(towards, &turns, host, primary);
        ranked.sort_unstable_by_key(|(rank, _)| *rank);
        let guarded =
            ranked.iter().filter_map(|(rank, way)| guard(towards, host, way).map(|way| (*rank, way)));
        let all: Vec<Ranked> = guarded.collect();
        let found = ranked.into_iter().chain(all).find(|((_, rank), way)| {
            rank.avoids_faults(primary, towards.to) || !towards.comes_back(host, primary, way)
        });
        if let Some((_, way)) = found {
            turns.learn(&way);
            towards.ways[host as usize] = Some(way);
        }
    }
    turns
}

/// The way with a guard at its exit; none where the exit gets such packets without any failure as well.
fn guard(towards: &Towards<'_>, host: u32, way: &Way) -> Option<Way> {
    let hops: Vec<Arc> = way.hops().collect();
    let from = hops.len().checked_sub(2).map_or(host, |at| hops[at].1);
    let (link, _) = hops.last()?;
    let is_normal = towards.field.next_hops(from, towards.to).any(|edge| edge.link == *link);
    (!is_normal).then(|| Way { guarded: true, ..way.clone() })
}

impl Turns {
    /// What interfaces must know so that packets take the way.
    fn learn(&mut self, way: &Way) {
        let hops: Vec<Arc> = way.hops().collect();
        for pair in hops.windows(2) {
            self.onward.insert(pair[0], pair[1]);
        }
        if way.guarded {
            self.guarded.extend(hops.last());
        }
    }
}

/// All ways of `host` around `primary`.
fn ways(towards: &Towards<'_>, turns: &Turns, host: u32, primary: &Edge) -> Vec<Ranked> {
    let climb = Climb::new(towards, turns, host, primary);
    let mut found = Vec::new();
    for (node, reached) in climb.nodes.iter().filter(|(_, reached)| reached.cost != UNREACHABLE) {
        for edge in towards.edges(*node).iter().filter(|edge| edge.link != primary.link) {
            let far = climb.nodes.get(&edge.to);
            let onward = turns.onward.get(&(edge.link, edge.to));
            let tail: Vec<Arc> = match (far, onward) {
                // Out of reach of the failure.
                (None, _) if towards.field.distance(edge.to, towards.to) != UNREACHABLE => Vec::new(),
                (Some(_), Some(_)) if reached.dominated && is_against_flow(towards, edge, *node) => {
                    follow(turns, (edge.link, edge.to))
                }
                _ => continue,
            };
            found.push(climb.ranked(towards, host, primary, (*node, *reached), edge, tail));
        }
    }
    found
}

/// Whether the far end of the edge would use it to send to `node`.
fn is_against_flow(towards: &Towards<'_>, edge: &Edge, node: u32) -> bool {
    let own = towards.field.distance(edge.to, towards.to);
    let through = towards.field.distance(node, towards.to).saturating_add(edge.cost_back);
    own == through && own != UNREACHABLE
}

/// Where packets that come in by `arc` go until they are out.
fn follow(turns: &Turns, arc: Arc) -> Vec<Arc> {
    std::iter::successors(turns.onward.get(&arc).copied(), |arc| turns.onward.get(arc).copied()).collect()
}

impl Climb {
    /// All nodes some of whose shortest paths pass `host`, nearest to the destination first: a node's next hops
    /// are all looked at before it.
    fn new(towards: &Towards<'_>, turns: &Turns, host: u32, primary: &Edge) -> Climb {
        let (field, to) = (towards.field, towards.to);
        let mut climb = Climb { primary: primary.link, nodes: BTreeMap::new() };
        let start = Reached { dominated: true, cost: 0, drained: 0, by: None };
        let mut queue = BinaryHeap::from([Reverse((field.distance(host, to), host))]);
        while let Some(Reverse((_, node))) = queue.pop() {
            if climb.nodes.contains_key(&node) {
                continue;
            }
            let reached = if node == host { start } else { climb.reached(towards, turns, node) };
            climb.nodes.insert(node, reached);
            for edge in towards.edges(node).iter().filter(|edge| is_against_flow(towards, edge, node)) {
                queue.push(Reverse((field.distance(edge.to, to), edge.to)));
            }
        }
        climb
    }

    /// How `node` is reached from those of its next hops that are reached.
    fn reached(&self, towards: &Towards<'_>, turns: &Turns, node: u32) -> Reached {
        let mut found = Reached { dominated: true, cost: UNREACHABLE, drained: 0, by: None };
        for leg in towards.field.next_hops(node, towards.to) {
            let Some(below) = self.nodes.get(&leg.to).filter(|below| below.dominated) else {
                found.dominated = false;
                continue;
            };
            let arc = (leg.link, node);
            if below.cost == UNREACHABLE || turns.onward.contains_key(&arc) {
                continue;
            }
            let climbed = Edge { to: node, ..*leg };
            let drained = below.drained + u32::from(towards.risks.avoids(&climbed, towards.to));
            let cost = below.cost.saturating_add(leg.cost_back);
            if (drained, cost) < (found.drained, found.cost) || found.by.is_none() {
                found = Reached { cost, drained, by: Some((arc, leg.to)), ..found };
            }
        }
        found
    }

    /// The way that climbs to `at`, takes `edge` and then `tail`.
    fn ranked(
        &self,
        towards: &Towards<'_>,
        host: u32,
        primary: &Edge,
        (at, reached): (u32, Reached),
        edge: &Edge,
        tail: Vec<Arc>,
    ) -> Ranked {
        let mut hops = vec![(edge.link, edge.to)];
        let mut below = reached.by;
        while let Some((arc, from)) = below {
            hops.push(arc);
            below = self.nodes.get(&from).and_then(|reached| reached.by);
        }
        hops.reverse();
        hops.extend(tail);
        let exit = hops.last().map_or(at, |(_, node)| *node);
        let (field, risks, to) = (towards.field, towards.risks, towards.to);
        let rest = field.distance(exit, to);
        let through = field.distance(exit, primary.to).saturating_add(field.distance(primary.to, to));
        let shares = hops.iter().any(|(link, _)| risks.share(self.primary, *link));
        let rank = Rank {
            shares_risk: shares || towards.meets_groups_of(self.primary, exit),
            protects_node: Reverse(rest < through),
            downstream: Reverse(rest < field.distance(host, to)),
            cost: reached.cost.saturating_add(edge.cost).saturating_add(rest),
            link: edge.link,
        };
        let drained = reached.drained + u32::from(risks.avoids(edge, to));
        let way =
            Way { link: hops[0].0, next: hops[0].1, rest: hops[1..].to_vec(), guarded: false, segments: 0 };
        ((drained, rank), way)
    }
}
