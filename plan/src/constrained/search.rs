//! One search with bounded labels, and the enumeration on top of it.

use super::TooManyWays;
use crate::graph::{Edge, Graph};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use topology::{NodeIndex, Topology};

/// Partial paths that one search keeps at most.
pub(crate) const LABELS_MAX: usize = 1_000_000;

/// The graph with, per node, how many of the nodes to pass have been passed: a *state* is both.
pub(crate) struct Network<'a> {
    topology: &'a Topology,
    graph: &'a Graph,
    via: Vec<u32>,
    to: u32,
}

impl<'a> Network<'a> {
    pub(crate) fn new(topology: &'a Topology, graph: &'a Graph, via: &[NodeIndex], to: u32) -> Network<'a> {
        Network { topology, graph, via: via.iter().map(|node| node.0).collect(), to }
    }

    fn states(&self) -> usize {
        self.graph.nodes() * (self.via.len() + 1)
    }

    /// The state at `node` after `passed` of the nodes to pass, this one perhaps among them.
    fn state(&self, node: u32, mut passed: usize) -> u32 {
        while self.via.get(passed) == Some(&node) {
            passed += 1;
        }
        (passed * self.graph.nodes()) as u32 + node
    }

    fn start(&self, from: u32) -> u32 {
        self.state(from, 0)
    }

    fn goal(&self) -> u32 {
        (self.via.len() * self.graph.nodes()) as u32 + self.to
    }

    fn edges(&self, state: u32) -> &'a [Edge] {
        self.graph.edges(NodeIndex(state % self.graph.nodes() as u32))
    }

    fn after(&self, state: u32, edge: &Edge) -> u32 {
        self.state(edge.to, state as usize / self.graph.nodes())
    }

    fn latency_us(&self, edge: &Edge) -> u64 {
        self.topology.links[edge.link as usize].latency_us.unwrap_or(0)
    }

    /// The edge out of `state` over `link`.
    fn edge(&self, state: u32, link: u32) -> Option<&'a Edge> {
        self.edges(state).iter().find(|edge| edge.link == link)
    }
}

/// A partial path that is not worse than another one to the same state in both cost and latency.
struct Label {
    state: u32,
    /// The label before and the link between; `None` at the start.
    before: Option<(u32, u32)>,
}

/// The cheapest way from `start` to the goal as links: within the budget, through no banned state, and not over a
/// banned link out of the start.
fn search(
    network: &Network<'_>,
    start: u32,
    budget_us: u64,
    banned_states: &BTreeSet<u32>,
    banned_links: &BTreeSet<u32>,
) -> Result<Option<Vec<u32>>, TooManyWays> {
    let mut labels = vec![Label { state: start, before: None }];
    // Labels come in the order of (cost, latency): one is worth going on from when its latency is below that of all
    // before it at its state.
    let mut least_latency: Vec<Option<u64>> = vec![None; network.states()];
    let mut heap = BinaryHeap::from([Reverse((0_u64, 0_u64, 0_u32))]);
    while let Some(Reverse((cost, latency_us, at))) = heap.pop() {
        let state = labels[at as usize].state;
        if least_latency[state as usize].is_some_and(|least| least <= latency_us) {
            continue;
        }
        least_latency[state as usize] = Some(latency_us);
        if state == network.goal() {
            return Ok(Some(trace(&labels, at)));
        }
        for edge in network.edges(state) {
            let next = network.after(state, edge);
            let latency_us = latency_us.saturating_add(network.latency_us(edge));
            let banned = banned_states.contains(&next) || state == start && banned_links.contains(&edge.link);
            let useless = least_latency[next as usize].is_some_and(|least| least <= latency_us);
            if banned || useless || latency_us > budget_us {
                continue;
            }
            if labels.len() == LABELS_MAX {
                return Err(TooManyWays);
            }
            heap.push(Reverse((cost.saturating_add(edge.cost), latency_us, labels.len() as u32)));
            labels.push(Label { state: next, before: Some((at, edge.link)) });
        }
    }
    Ok(None)
}

fn trace(labels: &[Label], last: u32) -> Vec<u32> {
    let mut links = Vec::new();
    let mut at = last;
    while let Some((before, link)) = labels[at as usize].before {
        links.push(link);
        at = before;
    }
    links.reverse();
    links
}

/// Ways to the goal in the order of cost (Yen's algorithm).
pub(crate) struct Ways<'a> {
    network: &'a Network<'a>,
    start: u32,
    budget_us: u64,
    given: Vec<Vec<u32>>,
    /// (cost, latency, links) of ways that are not given yet.
    candidates: BTreeSet<(u64, u64, Vec<u32>)>,
}

impl<'a> Ways<'a> {
    pub(crate) fn new(network: &'a Network<'a>, from: u32, budget_us: u64) -> Ways<'a> {
        let start = network.start(from);
        Ways { network, start, budget_us, given: Vec::new(), candidates: BTreeSet::new() }
    }

    /// The next way as links; `None` when there is no other.
    pub(crate) fn next_way(&mut self) -> Result<Option<Vec<u32>>, TooManyWays> {
        match self.given.last().cloned() {
            None => {
                let first =
                    search(self.network, self.start, self.budget_us, &BTreeSet::new(), &BTreeSet::new())?;
                self.add(first);
            }
            Some(last) => self.branch(&last)?,
        }
        let next = self.candidates.pop_first().map(|(_, _, links)| links);
        self.given.extend(next.clone());
        Ok(next)
    }

    fn add(&mut self, links: Option<Vec<u32>>) {
        let Some(links) = links else { return };
        let (mut state, mut cost, mut latency_us) = (self.start, 0_u64, 0_u64);
        for link in &links {
            let Some(edge) = self.network.edge(state, *link) else { return };
            cost = cost.saturating_add(edge.cost);
            latency_us = latency_us.saturating_add(self.network.latency_us(edge));
            state = self.network.after(state, edge);
        }
        self.candidates.insert((cost, latency_us, links));
    }

    /// For each node of the way: the cheapest that leaves it there by another link than all given ways that begin alike.
    fn branch(&mut self, last: &[u32]) -> Result<(), TooManyWays> {
        let mut passed = BTreeSet::new();
        let (mut state, mut latency_us) = (self.start, 0_u64);
        for (at, link) in last.iter().enumerate() {
            let alike = self.given.iter().filter(|way| way.len() > at && way[..at] == last[..at]);
            let taken: BTreeSet<u32> = alike.map(|way| way[at]).collect();
            passed.insert(state);
            let rest =
                search(self.network, state, self.budget_us.saturating_sub(latency_us), &passed, &taken)?;
            self.add(rest.map(|rest| [&last[..at], &rest[..]].concat()));
            let Some(edge) = self.network.edge(state, *link) else { break };
            latency_us = latency_us.saturating_add(self.network.latency_us(edge));
            state = self.network.after(state, edge);
        }
        Ok(())
    }
}
