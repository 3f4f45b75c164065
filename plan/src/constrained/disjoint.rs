//! Pairs of paths that share as little as possible.

use super::search::{Network, Ways};
use super::{Allowed, Route, TooManyWays};
use crate::Facts;
use crate::graph::Graph;
use std::collections::BTreeSet;
use std::ops::{Add, Neg};
use topology::{LinkIndex, NodeIndex, Topology};

/// Candidates for the cheaper path of a pair that is disjoint in risk groups.
const CANDIDATES_MAX: usize = 500;

/// Two paths between the same nodes, the cheaper one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The two paths.
    pub paths: [Route; 2],
    /// Nodes between the ends that both pass, sorted.
    pub shared_nodes: Vec<NodeIndex>,
    /// Links that both use, sorted.
    pub shared_links: Vec<LinkIndex>,
    /// Risk groups that both meet, sorted.
    pub shared_risks: Vec<String>,
    /// Whether no pair is better: shares less or, sharing as much, is cheaper.
    pub is_proven: bool,
}

/// What is minimized, in this order. Sums and differences go component by component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Price {
    shared_nodes: i64,
    shared_links: i64,
    cost: i128,
}

impl Add for Price {
    type Output = Price;
    fn add(self, other: Price) -> Price {
        Price {
            shared_nodes: self.shared_nodes + other.shared_nodes,
            shared_links: self.shared_links + other.shared_links,
            cost: self.cost + other.cost,
        }
    }
}

impl Neg for Price {
    type Output = Price;
    fn neg(self) -> Price {
        Price { shared_nodes: -self.shared_nodes, shared_links: -self.shared_links, cost: -self.cost }
    }
}

/// An arc of unit capacity; the arc at the position with the last bit flipped is its opposite.
struct Arc {
    to: usize,
    price: Price,
    is_free: bool,
    /// The link that it stands for; `None` within a node.
    link: Option<u32>,
}

/// Every node is an entrance and an exit with two arcs between them, the second at the price of a shared node; every
/// direction of a link is two arcs, the second at the price of a shared link.
struct Flow {
    arcs: Vec<Arc>,
    out: Vec<Vec<usize>>,
}

fn entrance(node: u32) -> usize {
    2 * node as usize
}

fn exit(node: u32) -> usize {
    2 * node as usize + 1
}

impl Flow {
    fn new(graph: &Graph, ends: [u32; 2]) -> Flow {
        let mut flow = Flow { arcs: Vec::new(), out: vec![Vec::new(); 2 * graph.nodes()] };
        for node in 0..graph.nodes() as u32 {
            let price_of_sharing = i64::from(!ends.contains(&node));
            for shared_nodes in [0, price_of_sharing] {
                let price = Price { shared_nodes, ..Price::default() };
                flow.add(entrance(node), exit(node), price, None);
            }
            for edge in graph.edges(NodeIndex(node)) {
                for shared_links in [0, 1] {
                    let price = Price { shared_links, cost: i128::from(edge.cost), ..Price::default() };
                    flow.add(exit(node), entrance(edge.to), price, Some(edge.link));
                }
            }
        }
        flow
    }

    fn add(&mut self, from: usize, to: usize, price: Price, link: Option<u32>) {
        self.out[from].push(self.arcs.len());
        self.arcs.push(Arc { to, price, is_free: true, link });
        self.out[to].push(self.arcs.len());
        self.arcs.push(Arc { to: from, price: -price, is_free: false, link });
    }

    /// Sends one unit at the lowest price; says whether there is a way. Prices may be negative on the opposites of used
    /// arcs, but no circle is (Bellman 1958, Ford 1956).
    fn send(&mut self, from: usize, to: usize) -> bool {
        let mut best: Vec<Option<(Price, usize)>> = vec![None; self.out.len()];
        best[from] = Some((Price::default(), usize::MAX));
        let mut queue = std::collections::VecDeque::from([from]);
        let mut is_queued = vec![false; self.out.len()];
        while let Some(at) = queue.pop_front() {
            is_queued[at] = false;
            let Some((price, _)) = best[at] else { continue };
            for arc in self.out[at].iter().copied().filter(|arc| self.arcs[*arc].is_free) {
                let (far, offered) = (self.arcs[arc].to, price + self.arcs[arc].price);
                if best[far].is_none_or(|(known, _)| offered < known) {
                    best[far] = Some((offered, arc));
                    if !std::mem::replace(&mut is_queued[far], true) {
                        queue.push_back(far);
                    }
                }
            }
        }
        if best[to].is_none() {
            return false;
        }
        let mut at = to;
        while at != from
            && let Some((_, arc)) = best[at]
        {
            self.arcs[arc].is_free = false;
            self.arcs[arc ^ 1].is_free = true;
            at = self.arcs[arc ^ 1].to;
        }
        true
    }

    /// Takes one unit's links out of the flow.
    fn take(&mut self, from: usize, to: usize) -> Vec<u32> {
        let mut links = Vec::new();
        let mut at = from;
        // Forward arcs have even positions; a used one is not free. Each is given back, so this ends.
        while at != to
            && let Some(arc) =
                self.out[at].iter().copied().find(|arc| arc % 2 == 0 && !self.arcs[*arc].is_free)
        {
            self.arcs[arc].is_free = true;
            links.extend(self.arcs[arc].link);
            at = self.arcs[arc].to;
        }
        links
    }
}

/// Two paths that share the fewest nodes, of these pairs the fewest links, of these the one of the lowest cost together.
/// `None` when there is no path at all, or both ends are one node.
pub fn disjoint_pair(
    topology: &Topology,
    facts: &Facts,
    allowed: &Allowed,
    from: NodeIndex,
    to: NodeIndex,
) -> Option<Pair> {
    if from == to {
        return None;
    }
    let graph = allowed.graph(topology, facts, [from, to]);
    let mut flow = Flow::new(&graph, [from.0, to.0]);
    let (source, sink) = (exit(from.0), entrance(to.0));
    // Where there is one way there are two: all may be shared.
    if !flow.send(source, sink) || !flow.send(source, sink) {
        return None;
    }
    let mut taken = || Route::new(topology, &graph, from.0, &flow.take(source, sink));
    let paths = [taken(), taken()];
    Some(Pair::new(topology, paths, true))
}

impl Pair {
    fn new(topology: &Topology, mut paths: [Route; 2], is_proven: bool) -> Pair {
        paths.sort_by_key(|path| (path.drained_links, path.cost, path.links.clone()));
        let inner = |path: &Route| -> BTreeSet<NodeIndex> {
            path.nodes.iter().skip(1).rev().skip(1).copied().collect()
        };
        let links = |path: &Route| -> BTreeSet<LinkIndex> { path.links.iter().copied().collect() };
        let [a, b] = &paths;
        let shared_nodes = inner(a).intersection(&inner(b)).copied().collect();
        let shared_links = links(a).intersection(&links(b)).copied().collect();
        let shared_risks = risks(topology, a).intersection(&risks(topology, b)).cloned().collect();
        Pair { shared_nodes, shared_links, shared_risks, is_proven, paths }
    }

    /// What is minimized.
    fn rank(&self) -> (usize, usize, usize, u64, u64) {
        let [a, b] = &self.paths;
        let (drained, cost) = (a.drained_links + b.drained_links, a.cost.saturating_add(b.cost));
        (self.shared_risks.len(), self.shared_nodes.len(), self.shared_links.len(), drained, cost)
    }

    fn is_disjoint(&self) -> bool {
        self.shared_risks.is_empty() && self.shared_nodes.is_empty() && self.shared_links.is_empty()
    }
}

fn risks(topology: &Topology, route: &Route) -> BTreeSet<String> {
    route.links.iter().flat_map(|link| topology.link(*link).srlgs.iter().cloned()).collect()
}

/// Two paths without a common risk group, node or link, of the lowest cost together; the least sharing pair that was met
/// where there is none or none was found (then [`Pair::is_proven`] is `false`). `None` when there is no path at
/// all, or both ends are one node.
///
/// A pair costs at least twice its cheaper path, so the search ends with a proof as soon as twice the cost of the next
/// candidate reaches the best pair's; it gives up after 500 candidates.
pub fn risk_disjoint_pair(
    topology: &Topology,
    facts: &Facts,
    allowed: &Allowed,
    from: NodeIndex,
    to: NodeIndex,
) -> Result<Option<Pair>, TooManyWays> {
    if from == to {
        return Ok(None);
    }
    let graph = allowed.graph(topology, facts, [from, to]);
    let network = Network::new(topology, &graph, &[], to.0);
    let mut ways = Ways::new(&network, from.0, u64::MAX);
    // What two paths can do without risk groups in mind, to have an answer in any case.
    let mut best = disjoint_pair(topology, facts, allowed, from, to);
    let mut is_proven = false;
    for _ in 0..CANDIDATES_MAX {
        let Some(links) = ways.next_way()? else {
            is_proven = true;
            break;
        };
        let first = Route::new(topology, &graph, from.0, &links);
        let floor = (2 * first.drained_links, first.cost.saturating_mul(2));
        let costs =
            best.as_ref().filter(|pair| pair.is_disjoint()).map(|pair| (pair.rank().3, pair.rank().4));
        if costs.is_some_and(|costs| costs <= floor) {
            is_proven = true;
            break;
        }
        let Some(second) = partner(topology, facts, allowed, &first)? else { continue };
        let pair = Pair::new(topology, [first, second], false);
        if best.as_ref().is_none_or(|best| pair.rank() < best.rank()) {
            best = Some(pair);
        }
    }
    // Where none is disjoint, another pair may still share less than those that were met.
    Ok(best.map(|pair| Pair { is_proven: is_proven && pair.is_disjoint(), ..pair }))
}

/// The cheapest path that shares no risk group, node or link with `first`.
fn partner(
    topology: &Topology,
    facts: &Facts,
    allowed: &Allowed,
    first: &Route,
) -> Result<Option<Route>, TooManyWays> {
    let mut apart = allowed.clone();
    apart.avoid_nodes.extend(first.nodes.iter().copied());
    apart.avoid_links.extend(first.links.iter().copied());
    apart.avoid_risks.extend(risks(topology, first));
    let (Some(from), Some(to)) = (first.nodes.first(), first.nodes.last()) else { return Ok(None) };
    let constraints = super::Constraints { allowed: apart, ..super::Constraints::default() };
    super::cheapest_path(topology, facts, &constraints, *from, *to)
}
