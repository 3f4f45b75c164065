//! Alternates after a change, chosen again only where an input of theirs differs. Gives what `alternates` would.
//!
//! A host's best alternate and whether it is a *risky* one (see `alternates::choose`) follow from the distances and
//! next hops of itself and its neighbours, the links at itself, and the distances between its neighbours. What a risky
//! host gets follows, beside that, from how packets go that come near the primary's node E: only nodes with E on a shortest
//! path are looked at. So a change at a node concerns the risky hosts whose E lies downstream of it.
//!
//! Hosts that facts cut off go by another graph and are few: theirs are chosen anew. For networks without risk groups; with
//! them all are.

use super::alternates::{First, first_choice, safe_alternates};
use super::faults::{Risks, Towards};
use crate::graph::Edge;
use crate::paths::{Field, Paths, UNREACHABLE};
use std::collections::BTreeSet;
use topology::NodeIndex;

/// A host's alternate towards one destination in 32 bits: the link's position, and whether it is a risky one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice(u32);

const RISKY: u32 = 1 << 31;
const NOTHING: u32 = RISKY - 1;

impl Choice {
    /// No alternate, and none was to be judged.
    pub(crate) const NONE: Choice = Choice(NOTHING);

    pub(crate) fn new(link: Option<u32>, is_risky: bool) -> Choice {
        Choice(link.unwrap_or(NOTHING) | if is_risky { RISKY } else { 0 })
    }

    /// The link that packets take.
    pub(crate) fn link(self) -> Option<u32> {
        let link = self.0 & !RISKY;
        (link != NOTHING).then_some(link)
    }

    /// The same under other numbers of links.
    pub(crate) fn renumbered(self, links: &[Option<u32>]) -> Choice {
        Choice::new(self.link().and_then(|link| links[link as usize]), self.is_risky())
    }

    fn is_risky(self) -> bool {
        self.0 & RISKY != 0
    }
}

/// Marks of nodes, kept from destination to destination.
pub(crate) struct Marks {
    turn: u32,
    stale: Vec<u32>,
    downstream: Vec<u32>,
    search: u32,
    seen: Vec<u32>,
}

impl Marks {
    pub(crate) fn new(nodes: usize) -> Marks {
        Marks { turn: 0, stale: vec![0; nodes], downstream: vec![0; nodes], search: 0, seen: vec![0; nodes] }
    }
}

/// One destination whose choices are brought up to date.
struct Follow<'a> {
    towards: Towards<'a>,
    choices: &'a mut [Choice],
    marks: &'a mut Marks,
    /// For hosts that facts cut off the living graph: packets that come to a node that is not cut off find no backup there.
    living: Option<&'a Field>,
    /// Hosts whose choice is another one, with that before.
    changed: Vec<(u32, Choice)>,
}

/// Brings the choices towards `to` up to date after the distance or next hops of the nodes `touched` changed, and the links
/// or the distances between neighbours at the hosts `near`. Gives the hosts that have another alternate.
pub(crate) fn follow(
    field: &Field,
    risks: &Risks,
    to: u32,
    touched: &[u32],
    near: &[u32],
    choices: &mut [Choice],
    marks: &mut Marks,
) -> Vec<u32> {
    marks.turn += 1;
    let nodes = choices.len() as u32;
    let towards = Towards::without_ways(field, risks, to);
    let mut follow = Follow { towards, choices, marks, living: None, changed: Vec::new() };
    let stale = follow.stale_hosts(touched, near);
    // What packets passed before begins at a neighbour of a touched node or is the same as now.
    for node in touched {
        follow.mark_downstream(*node);
        for edge in field.graph.edges(NodeIndex(*node)) {
            follow.mark_downstream(edge.to);
        }
    }
    for host in near {
        follow.mark_downstream(*host);
    }
    follow.first_choices(&stale, |_| false);
    follow.risky_choices(0..nodes);
    follow.with_other_link()
}

/// Chooses anew for the `hosts`, sorted, that facts cut off from `to`. Gives those that have another alternate.
pub(crate) fn follow_cut_off(
    paths: &Paths,
    risks: &Risks,
    to: u32,
    hosts: &BTreeSet<u32>,
    choices: &mut [Choice],
    marks: &mut Marks,
) -> Vec<u32> {
    let Some(field) = paths.without_facts().filter(|_| !hosts.is_empty()) else { return Vec::new() };
    marks.turn += 1;
    let towards = Towards::without_ways(field, risks, to);
    let living = Some(paths.living());
    let mut follow = Follow { towards, choices, marks, living, changed: Vec::new() };
    for host in hosts {
        follow.marks.stale[*host as usize] = follow.marks.turn;
    }
    follow.first_choices(hosts, |primary| paths.is_down(primary));
    follow.risky_choices(hosts.iter().copied());
    follow.with_other_link()
}

impl Follow<'_> {
    fn stale_hosts(&mut self, touched: &[u32], near: &[u32]) -> BTreeSet<u32> {
        let mut stale: BTreeSet<u32> = touched.iter().chain(near).copied().collect();
        for node in touched {
            stale.extend(self.towards.edges(*node).iter().map(|edge| edge.to));
        }
        for host in &stale {
            self.marks.stale[*host as usize] = self.marks.turn;
        }
        stale
    }

    /// Marks the node and all that its packets pass.
    fn mark_downstream(&mut self, node: u32) {
        let (field, to) = (self.towards.field, self.towards.to);
        let mut stack = vec![node];
        while let Some(node) = stack.pop() {
            if std::mem::replace(&mut self.marks.downstream[node as usize], self.marks.turn)
                != self.marks.turn
            {
                stack.extend(field.next_hops(node, to).map(|edge| edge.to));
            }
        }
    }

    fn set(&mut self, host: u32, choice: Choice) {
        let before = std::mem::replace(&mut self.choices[host as usize], choice);
        if before != choice {
            self.changed.push((host, before));
            self.mark_downstream(host);
        }
    }

    /// The hosts with another link than before.
    fn with_other_link(self) -> Vec<u32> {
        let Follow { choices, changed, .. } = self;
        let is_other = |(host, before): &(u32, Choice)| choices[*host as usize].link() != before.link();
        changed.iter().filter(|change| is_other(change)).map(|(host, _)| *host).collect()
    }

    fn first_choices(&mut self, stale: &BTreeSet<u32>, is_down: impl Fn(&Edge) -> bool) {
        let to = self.towards.to;
        for host in stale.iter().copied().filter(|host| *host != to) {
            let primary = self.towards.only_next_hop(host).filter(|primary| !is_down(primary));
            let choice = match primary.map(|primary| first_choice(&self.towards, host, primary)) {
                Some(First::Taken(edge)) => Choice::new(Some(edge.link), false),
                // A risky host's link is settled below; until then it keeps the one it had.
                Some(First::Risky) => Choice::new(self.choices[host as usize].link(), true),
                Some(First::Nothing) | None => Choice::NONE,
            };
            self.set(host, choice);
        }
    }

    /// In the order of nodes, as they were chosen: each sees the risky hosts before it and no other.
    fn risky_choices(&mut self, hosts: impl Iterator<Item = u32>) {
        for host in hosts {
            if !self.choices[host as usize].is_risky() {
                continue;
            }
            let Some(primary) = self.towards.only_next_hop(host) else { continue };
            let is_concerned = self.marks.stale[host as usize] == self.marks.turn
                || self.marks.downstream[primary.to as usize] == self.marks.turn;
            if is_concerned {
                let ranked = safe_alternates(&self.towards, host, primary);
                let kept = ranked
                    .into_iter()
                    .find(|(is_safe, edge)| *is_safe || !self.comes_back(host, primary, edge.to));
                self.set(host, Choice::new(kept.map(|(_, edge)| edge.link), true));
            }
        }
    }

    /// Whether a packet at `exit` can get to `host` when the primary's node is dead (`Towards::comes_back`).
    fn comes_back(&mut self, host: u32, primary: &Edge, exit: u32) -> bool {
        let (field, to) = (self.towards.field, self.towards.to);
        let dead = primary.to;
        if dead == to || exit == dead {
            return false;
        }
        self.marks.search += 1;
        let mut stack = vec![exit];
        while let Some(node) = stack.pop() {
            if node == host {
                return true;
            }
            let search = self.marks.search;
            let is_new = std::mem::replace(&mut self.marks.seen[node as usize], search) != search;
            if node == to || !is_new || !self.towards.passes(node, dead) {
                continue;
            }
            let before = stack.len();
            stack.extend(field.next_hops(node, to).map(|leg| leg.to).filter(|next| *next != dead));
            let choice = self.choices[node as usize];
            let has_choice = self.living.is_none_or(|living| living.distance(node, to) == UNREACHABLE);
            if stack.len() == before
                && has_choice
                && (!choice.is_risky() || node < host)
                && let Some(link) = choice.link()
            {
                let way = self.towards.edges(node).iter().find(|edge| edge.link == link);
                stack.extend(way.map(|edge| edge.to).filter(|next| *next != dead));
            }
        }
        false
    }
}
