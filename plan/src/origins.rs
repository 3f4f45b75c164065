//! Where prefixes come from: a class per set of places that announce the same prefixes, and the way to the nearest of them.
//!
//! Most classes are one node's loopbacks and prefixes. A prefix of several nodes (anycast) and a prefix behind uplinks
//! (`external`) form classes of their own. Their shortest paths are those of one search that starts at all places at once: the
//! nearest place decides, equally near ones share the traffic. The distance to the nearest falls on every hop, so nothing loops.
//!
//! A controller under in-band management is one more prefix of its node.
//!
//! Facts. An uplink is called `node:interface` there; one that is down attracts nobody while another place is left. When all
//! are down they count as if they were up: facts never remove a prefix.

use crate::graph::Edge;
use crate::paths::{Field, Paths, UNREACHABLE};
use crate::program::Class;
use crate::{ClassId, Facts, PrefixTable, class};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use topology::{NodeIndex, Topology};

/// A place that announces a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// The node.
    pub(crate) node: u32,
    /// Position of the uplink in `Topology::external`; `None`: the prefix is the node's own.
    pub(crate) exit: Option<u32>,
}

/// One class and the places that announce its prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The class.
    pub(crate) id: ClassId,
    /// Sorted, never empty.
    pub(crate) origins: Vec<Origin>,
}

impl Destination {
    /// The node, where the class is one node's own prefixes and nothing else.
    pub(crate) fn node(&self) -> Option<u32> {
        match self.origins[..] {
            [Origin { node, exit: None }] => Some(node),
            _ => None,
        }
    }
}

/// A way out of a host: over a link, or over an uplink of its own. Links sort before uplinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Leg {
    /// Position of the link.
    Link(u32),
    /// Position of the uplink in `Topology::external`.
    Exit(u32),
}

/// The prefix table and all destinations, sorted by class. Every node has a class, also one without a prefix.
pub(crate) fn destinations(topology: &Topology) -> (PrefixTable, Vec<Destination>) {
    let own = |node: u32| Origin { node, exit: None };
    let mut origins: BTreeMap<IpNetwork, BTreeSet<Origin>> = BTreeMap::new();
    for (node, at) in topology.nodes.iter().zip(0..) {
        let loopbacks = node.loopbacks.iter().map(|address| IpNetwork::from(*address));
        for prefix in loopbacks.chain(node.prefixes.iter().copied()) {
            origins.entry(prefix).or_default().insert(own(at));
        }
    }
    // A controller is a part of its node's class: with the same paths and backups, and as sure to stay.
    for controller in &topology.controllers {
        origins.entry(controller.prefix()).or_default().insert(own(controller.node.0));
    }
    for (external, at) in topology.external.iter().zip(0..) {
        for prefix in &external.prefixes {
            let exit = Origin { node: external.node.0, exit: Some(at) };
            origins.entry(*prefix).or_default().insert(exit);
        }
    }
    let nodes = (0..topology.nodes.len() as u32).map(|node| vec![own(node)]);
    let mut sets: BTreeMap<Vec<Origin>, ClassId> = nodes.zip(class::ids(topology)).collect();
    let mut classes: Vec<Class> = (sets.iter())
        .map(|(set, id)| Class { id: *id, name: topology.nodes[set[0].node as usize].name.clone() })
        .collect();
    let mut taken: BTreeSet<u32> = sets.values().map(|id| id.0).collect();
    let shared: BTreeSet<Vec<Origin>> = origins.values().map(|set| set.iter().copied().collect()).collect();
    let mut named: Vec<(String, Vec<Origin>)> = shared
        .into_iter()
        .filter(|set| !sets.contains_key(set))
        .map(|set| (set.iter().map(|origin| name(topology, *origin)).collect::<Vec<_>>().join(" + "), set))
        .collect();
    named.sort_unstable();
    for (name, set) in named {
        let id = class::free_id(&name, &mut taken);
        classes.push(Class { id, name });
        sets.insert(set, id);
    }
    let entries =
        origins.into_iter().map(|(prefix, set)| (prefix, sets[&set.into_iter().collect::<Vec<_>>()]));
    classes.sort_unstable_by_key(|class| class.id);
    let table = PrefixTable { classes, entries: entries.collect() };
    let mut all: Vec<Destination> =
        sets.into_iter().map(|(origins, id)| Destination { id, origins }).collect();
    all.sort_unstable_by_key(|destination| destination.id);
    (table, all)
}

/// What people read: the node, or the uplink and the gateway behind it.
fn name(topology: &Topology, origin: Origin) -> String {
    match origin.exit {
        None => topology.nodes[origin.node as usize].name.clone(),
        Some(exit) => {
            let external = &topology.external[exit as usize];
            format!("{} via {}", topology.uplink(external), external.next_hop)
        }
    }
}

/// The places that count under `facts`.
pub(crate) fn living(topology: &Topology, facts: &Facts, destination: &Destination) -> Vec<Origin> {
    let lives = |origin: &Origin| {
        origin.exit.is_none_or(|exit| {
            !facts.links_down.contains(&topology.uplink(&topology.external[exit as usize]))
        })
    };
    let living: Vec<Origin> = destination.origins.iter().copied().filter(lives).collect();
    if living.is_empty() { destination.origins.clone() } else { living }
}

/// How `from` reaches the nearest of `origins`: its legs, sorted, and a backup where there is one leg over a link.
/// Nothing for a host whose own prefix it is, or that reaches none of them.
pub(crate) fn way(paths: &Paths, origins: &[Origin], from: u32) -> Option<(Vec<Leg>, Option<Leg>)> {
    let here: Vec<&Origin> = origins.iter().filter(|origin| origin.node == from).collect();
    if !here.is_empty() {
        let exits: Option<Vec<Leg>> = here.iter().map(|origin| origin.exit.map(Leg::Exit)).collect();
        // Its own prefix needs no route. An uplink that fails is the controller's to repair: the nearest other
        // place may route through this very host.
        return exits.map(|exits| (exits, None));
    }
    let (field, distance) = nearest(paths, origins, from)?;
    let places = origins.iter().filter(|origin| field.distance(from, origin.node) == distance);
    let mut edges: Vec<&Edge> = places.flat_map(|origin| field.next_hops(from, origin.node)).collect();
    edges.sort_unstable_by_key(|edge| edge.link);
    edges.dedup_by_key(|edge| edge.link);
    let backup = match edges[..] {
        [primary] if !paths.is_down(primary) => downstream(field, origins, from, primary, distance),
        _ => None,
    };
    Some((edges.into_iter().map(|edge| Leg::Link(edge.link)).collect(), backup.map(Leg::Link)))
}

/// The graph by which `from` goes, and the distance to the nearest place there. One that is reached over living links
/// comes before one that is not.
fn nearest<'p>(paths: &'p Paths, origins: &[Origin], from: u32) -> Option<(&'p Field, u64)> {
    let reached = origins.iter().filter_map(|origin| {
        let field = paths.field(from, origin.node)?;
        Some((!paths.is_living(field), field.distance(from, origin.node), field))
    });
    let (_, distance, field) = reached.min_by_key(|(cut_off, distance, _)| (*cut_off, *distance))?;
    Some((field, distance))
}

/// The cheapest neighbour over another link that is nearer to a place than `from` itself (RFC 5286, inequality 2, with a set
/// in the place of the destination): along such neighbours and next hops the distance falls, whatever fails.
fn downstream(field: &Field, origins: &[Origin], from: u32, primary: &Edge, own: u64) -> Option<u32> {
    let rest = |edge: &Edge| origins.iter().map(|origin| field.distance(edge.to, origin.node)).min();
    let others = field.graph.edges(NodeIndex(from)).iter().filter(|edge| edge.link != primary.link);
    let nearer = others.filter_map(|edge| Some((rest(edge).filter(|rest| *rest < own)?, edge)));
    nearer
        .filter(|(rest, _)| *rest != UNREACHABLE)
        .min_by_key(|(rest, edge)| (rest.saturating_add(edge.cost), edge.link))
        .map(|(_, edge)| edge.link)
}
