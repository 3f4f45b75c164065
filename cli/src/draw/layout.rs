//! Where each node stands on a sheet of 1 by 1.

use force_graph::{ForceGraph, NodeData, SimulationParameters};
use std::f32::consts::TAU;
use topology::{Location, Topology};

/// Rounds of the force-directed layout, and the time that each stands for.
const ROUNDS: usize = 600;
const ROUND_SECONDS: f32 = 0.01;
/// Smallest distance between two nodes of a map, as a share of the sheet: those that are nearer are pushed apart.
const APART: f64 = 0.022;

/// Positions of all nodes.
pub(crate) struct Placed {
    /// By position of the node: (x, y), y downwards, both from 0 to 1.
    pub(crate) at: Vec<(f64, f64)>,
    /// Width of the sheet by its height.
    pub(crate) aspect: f64,
    /// Places on the earth, not a computed layout.
    pub(crate) geographic: bool,
}

/// A map where at least half of the nodes have a location, else a computed layout. The same topology gives the same places.
pub(crate) fn place(topology: &Topology) -> Placed {
    let located = topology.nodes.iter().filter(|node| node.location.is_some()).count();
    if located > 0 && located * 2 >= topology.nodes.len() { map(topology) } else { by_links(topology) }
}

/// Equirectangular, true to scale at the middle latitude. A node without a location stands amid its neighbours.
fn map(topology: &Topology) -> Placed {
    let degrees = |location: Location| {
        (f64::from(location.longitude_microdegrees) / 1e6, f64::from(location.latitude_microdegrees) / 1e6)
    };
    let known: Vec<Option<(f64, f64)>> =
        topology.nodes.iter().map(|node| node.location.map(degrees)).collect();
    let located: Vec<(f64, f64)> = known.iter().flatten().copied().collect();
    let mean =
        |pick: fn(&(f64, f64)) -> f64| located.iter().map(pick).sum::<f64>() / located.len().max(1) as f64;
    let middle = (mean(|at| at.0), mean(|at| at.1));
    let narrowing = middle.1.to_radians().cos().max(0.2);
    let spot = |at: usize| {
        known[at].unwrap_or_else(|| {
            let near: Vec<(f64, f64)> = neighbours(topology, at).filter_map(|other| known[other]).collect();
            let count = near.len() as f64;
            let sum = near.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
            if near.is_empty() { middle } else { (sum.0 / count, sum.1 / count) }
        })
    };
    let flat = (0..known.len()).map(spot).map(|(east, north)| (east * narrowing, -north));
    let mut placed = fit(flat.collect(), true);
    push_apart(&mut placed);
    placed
}

fn neighbours(topology: &Topology, at: usize) -> impl Iterator<Item = usize> {
    topology.links.iter().filter_map(move |link| {
        let [a, b] = [0, 1].map(|end| link.ends[end].node.0 as usize);
        if a == at { Some(b) } else { (b == at).then_some(a) }
    })
}

/// Nodes of one city stand side by side instead of on each other.
fn push_apart(placed: &mut Placed) {
    for _ in 0..60 {
        let mut moved = false;
        for a in 0..placed.at.len() {
            for b in a + 1..placed.at.len() {
                let (dx, dy) = (placed.at[b].0 - placed.at[a].0, placed.at[b].1 - placed.at[a].1);
                let distance = dx.hypot(dy);
                if distance >= APART {
                    continue;
                }
                moved = true;
                // On the very same place: a direction that depends on the pair alone.
                let angle = (a * 7 + b) as f64;
                let (dx, dy) =
                    if distance > 1e-6 { (dx / distance, dy / distance) } else { (angle.cos(), angle.sin()) };
                let by = (APART - distance) / 2.0 + 1e-4;
                placed.at[a] = (placed.at[a].0 - dx * by, placed.at[a].1 - dy * by);
                placed.at[b] = (placed.at[b].0 + dx * by, placed.at[b].1 + dy * by);
            }
        }
        if !moved {
            break;
        }
    }
    let (at, aspect) = (std::mem::take(&mut placed.at), placed.aspect);
    placed.at = fit(at, true).at;
    placed.aspect = aspect;
}

/// Springs along links, repulsion between all.
fn by_links(topology: &Topology) -> Placed {
    let nodes = topology.nodes.len();
    let mut graph: ForceGraph<usize> =
        ForceGraph::new(SimulationParameters { force_charge: 9_000.0, ..SimulationParameters::default() });
    let indexes: Vec<_> = walk_order(topology)
        .into_iter()
        .enumerate()
        .map(|(turn, node)| {
            let angle = TAU * turn as f32 / nodes.max(1) as f32;
            let radius = 60.0 * (nodes as f32).sqrt();
            let (x, y) = (radius * angle.cos(), radius * angle.sin());
            (node, graph.add_node(NodeData { x, y, user_data: node, ..NodeData::default() }))
        })
        .collect();
    let mut index_of = vec![None; nodes];
    for (node, index) in indexes {
        index_of[node] = Some(index);
    }
    for link in &topology.links {
        if let [Some(a), Some(b)] = [0, 1].map(|end| index_of[link.ends[end].node.0 as usize]) {
            graph.add_edge(a, b, Default::default());
        }
    }
    // All pairs repel each other in every round: fewer rounds for large networks.
    let rounds = ROUNDS.min(20_000_000 / (nodes * nodes).max(1)).max(30);
    for _ in 0..rounds {
        graph.update(ROUND_SECONDS);
    }
    let mut at = vec![(0.0, 0.0); nodes];
    graph.visit_nodes(|node| at[node.data.user_data] = (f64::from(node.x()), f64::from(node.y())));
    fit(at, false)
}

/// Nodes in the order of a walk along links, so that neighbours start near each other.
fn walk_order(topology: &Topology) -> Vec<usize> {
    let mut near = vec![Vec::new(); topology.nodes.len()];
    for link in &topology.links {
        let [a, b] = [0, 1].map(|end| link.ends[end].node.0 as usize);
        near[a].push(b);
        near[b].push(a);
    }
    let (mut seen, mut order) = (vec![false; near.len()], Vec::with_capacity(near.len()));
    for first in 0..near.len() {
        let mut stack = vec![first];
        while let Some(node) = stack.pop() {
            if !std::mem::replace(&mut seen[node], true) {
                order.push(node);
                stack.extend(near[node].iter().rev().filter(|next| !seen[**next]));
            }
        }
    }
    order
}

/// Scales to the sheet. `keep` keeps the proportions, within bounds that fit a screen.
fn fit(at: Vec<(f64, f64)>, keep: bool) -> Placed {
    let bounds = |pick: fn(&(f64, f64)) -> f64| {
        let values = at.iter().map(pick);
        values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let ((left, right), (top, bottom)) = (bounds(|at| at.0), bounds(|at| at.1));
    let (width, height) = ((right - left).max(1e-9), (bottom - top).max(1e-9));
    let aspect = if keep { (width / height).clamp(0.6, 2.4) } else { 1.4 };
    let scaled = at.iter().map(|(x, y)| ((x - left) / width, (y - top) / height));
    let centred = |(x, y): (f64, f64)| {
        let x = if right - left < 1e-6 { 0.5 } else { x };
        let y = if bottom - top < 1e-6 { 0.5 } else { y };
        (x, y)
    };
    Placed { at: scaled.map(centred).collect(), aspect, geographic: keep }
}
