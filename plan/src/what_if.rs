//! What a failure, a drain or another cost would do to the network: forwarding, pairs that are cut, links over load.
//!
//! Compares compiled programs before and after; the topology and the facts stay as they are.

use crate::failures::Element;
use crate::forwarding::{Forwarding, Leg};
use crate::load::{self, Demands, Load};
use crate::{Facts, Network, compile};
use topology::{Demand, Direction, LinkIndex, NodeIndex, Topology};

/// Changes of forwarding that an [`Effect`] lists at most.
pub const CHANGES_MAX: usize = 10_000;

/// Load above which a link is over load where the file sets no `safety.max_link_load`, in hundredths of its capacity.
pub const LOAD_PERCENT_DEFAULT: u32 = 100;

/// What is supposed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supposed {
    /// Links and nodes that fail, all at once.
    pub fail: Vec<Element>,
    /// Nodes that are drained.
    pub drain: Vec<NodeIndex>,
    /// Links with another cost, in both directions.
    pub costs: Vec<(LinkIndex, u32)>,
}

/// What would come of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// Hosts that would send a destination's packets elsewhere, by host and destination; at most [`CHANGES_MAX`]. Hosts that
    /// fail are not among them.
    pub changed: Vec<Change>,
    /// How many changes there are.
    pub changed_total: usize,
    /// Ordered pairs of nodes that reach each other and would not; not those with a node that fails.
    pub pairs_lost: Vec<(String, String)>,
    /// Directions of links over load under the file's demands, those of nodes that fail left out.
    pub overloaded: Vec<Overload>,
    /// The greatest link use before and after.
    pub max_utilisation: [Option<f64>; 2],
}

/// One host's change for one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The host.
    pub host: String,
    /// The destination's class: a node's name, or the places that share a prefix.
    pub destination: String,
    /// Its next hops before.
    pub before: Vec<Hop>,
    /// Its next hops afterwards; empty: none.
    pub after: Vec<Hop>,
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Interface of the host.
    pub interface: String,
    /// The link's id.
    pub link: String,
    /// The neighbour.
    pub via: String,
}

/// A direction of a link that would be over load.
#[derive(Clone, Debug, PartialEq)]
pub struct Overload {
    /// The link.
    pub link: LinkIndex,
    /// The direction.
    pub direction: Direction,
    /// What it would carry, in bits per second.
    pub load_bps: f64,
    /// That as a share of its capacity.
    pub utilisation: f64,
    /// The share before.
    pub utilisation_before: f64,
}

/// Compares the network as it is (`network` is compiled from `topology` and `facts`) with what is supposed.
pub fn what_if(topology: &Topology, facts: &Facts, network: &Network, supposed: &Supposed) -> Effect {
    let (after_topology, after_facts) = suppose(topology, facts, supposed);
    let after_network = compile(&after_topology, &after_facts);
    let before = Forwarding::new(topology, facts, network);
    let (after, touched) =
        before.follow((topology, facts, network), (&after_topology, &after_facts, &after_network));
    let dead: Vec<NodeIndex> = supposed.fail.iter().filter_map(|element| element.dead()).collect();
    let name = |node: u32| topology.nodes[node as usize].name.clone();
    let mut touched: Vec<(u32, &str, u32)> = touched
        .iter()
        .filter(|touched| !dead.contains(&NodeIndex(touched.node)))
        .map(|touched| {
            (touched.node, network.table.classes[touched.class as usize].name.as_str(), touched.class)
        })
        .collect();
    touched.sort_unstable();
    let change = |(node, destination, class): &(u32, &str, u32)| Change {
        host: name(*node),
        destination: (*destination).to_string(),
        before: hops(topology, *node, before.legs(*node, *class)),
        after: hops(topology, *node, after.legs(*node, *class)),
    };
    let loads = |forwarding: &Forwarding, dead: &[NodeIndex]| {
        let alive = |demand: &&Demand| !dead.contains(&demand.from) && !dead.contains(&demand.to);
        let demands: Vec<Demand> = topology.demands.iter().filter(alive).copied().collect();
        load::of_forwarding(topology, forwarding, Demands::Listed(&demands))
    };
    let (load_before, load_after) = (loads(&before, &[]), loads(&after, &dead));
    Effect {
        changed_total: touched.len(),
        changed: touched.iter().take(CHANGES_MAX).map(change).collect(),
        pairs_lost: pairs_lost(topology, &before, &after, &dead),
        overloaded: overloaded(topology, &load_before, &load_after),
        max_utilisation: [load_before.max_utilisation(topology), load_after.max_utilisation(topology)],
    }
}

fn suppose(topology: &Topology, facts: &Facts, supposed: &Supposed) -> (Topology, Facts) {
    let (mut topology, mut facts) = (topology.clone(), facts.clone());
    for element in &supposed.fail {
        facts = element.failed(&topology, &facts);
    }
    for node in &supposed.drain {
        topology.nodes[node.0 as usize].drained = true;
    }
    for (link, cost) in &supposed.costs {
        for end in &mut topology.links[link.0 as usize].ends {
            end.cost = *cost;
        }
    }
    (topology, facts)
}

fn hops(topology: &Topology, node: u32, legs: &[Leg]) -> Vec<Hop> {
    let hop = |leg: &Leg| {
        let link = &topology.links[leg.link as usize];
        let own = usize::from(link.ends[0].node.0 != node);
        Hop {
            interface: link.ends[own].interface.clone(),
            link: link.id.clone(),
            via: topology.node(link.ends[1 - own].node).name.clone(),
        }
    };
    legs.iter().map(hop).collect()
}

/// Sorted by sender, then destination.
fn pairs_lost(
    topology: &Topology,
    before: &Forwarding,
    after: &Forwarding,
    dead: &[NodeIndex],
) -> Vec<(String, String)> {
    let alive: Vec<u32> = (0..before.nodes()).filter(|node| !dead.contains(&NodeIndex(*node))).collect();
    let mut lost = Vec::new();
    for to in &alive {
        let (reached, reaches) = (before.arrives(*to), after.arrives(*to));
        let cut = alive.iter().filter(|from| reached[**from as usize] && !reaches[**from as usize]);
        lost.extend(cut.map(|from| (*from, *to)));
    }
    lost.sort_unstable();
    let name = |node: u32| topology.nodes[node as usize].name.clone();
    lost.into_iter().map(|(from, to)| (name(from), name(to))).collect()
}

/// Sorted by link, then direction.
fn overloaded(topology: &Topology, before: &Load, after: &Load) -> Vec<Overload> {
    let limit = f64::from(topology.safety.max_link_load_percent.unwrap_or(LOAD_PERCENT_DEFAULT)) / 100.0;
    let mut found = Vec::new();
    for link in (0..topology.links.len() as u32).map(LinkIndex) {
        for direction in [Direction::Forward, Direction::Backward] {
            let Some(utilisation) = after.utilisation(topology, link, direction) else { continue };
            if utilisation > limit * (1.0 + load::ROUNDING) {
                found.push(Overload {
                    link,
                    direction,
                    load_bps: after.carried(link, direction),
                    utilisation,
                    utilisation_before: before.utilisation(topology, link, direction).unwrap_or_default(),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::topology;

    fn square() -> Topology {
        let mut topology = topology("a-b 1, b-c 1, c-d 1, d-a 1, c-e 1");
        for link in &mut topology.links {
            link.capacity_bps = Some(100);
        }
        let node = |name| topology.node_index(name).unwrap();
        let demand = |from, to, rate_bps| Demand { from: node(from), to: node(to), rate_bps, line: 0 };
        topology.demands = vec![demand("a", "b", 80), demand("a", "d", 60)];
        topology
    }

    fn told(topology: &Topology, supposed: &Supposed) -> Vec<String> {
        let up = Facts::default();
        let effect = what_if(topology, &up, &compile(topology, &up), supposed);
        assert_eq!(effect.changed.len(), effect.changed_total);
        let vias = |hops: &[Hop]| hops.iter().map(|hop| hop.via.as_str()).collect::<Vec<_>>().join("+");
        let change = |change: &Change| {
            let (before, after) = (vias(&change.before), vias(&change.after));
            format!("{} to {}: {before} -> {after}", change.host, change.destination)
        };
        let overload = |over: &Overload| {
            let (id, way) = (&topology.link(over.link).id, over.direction);
            format!("{id} {way:?} {} -> {}", over.utilisation_before, over.utilisation)
        };
        let lost = effect.pairs_lost.iter().map(|(from, to)| format!("{from} loses {to}"));
        (effect.changed.iter().map(change))
            .chain(lost)
            .chain(effect.overloaded.iter().map(overload))
            .collect()
    }

    #[test]
    fn a_link_that_fails_moves_traffic_and_overloads() {
        let topology = square();
        let fail = vec![Element::Link(topology.link_index("a--b").unwrap())];
        assert_eq!(
            told(&topology, &Supposed { fail, ..Supposed::default() }),
            [
                "a to b: b -> d",
                "a to c: b+d -> d",
                "a to e: b+d -> d",
                "b to a: a -> c",
                "b to d: a+c -> c",
                "c to a: b+d -> d",
                "d to b: a+c -> c",
                "a:eth2--d:eth2 Forward 0.6 -> 1.4",
            ]
        );
    }

    #[test]
    fn pairs_of_a_node_that_fails_are_not_missed_but_those_behind_it_are() {
        let topology = square();
        let fail = vec![Element::Node(topology.node_index("c").unwrap())];
        let found = told(&topology, &Supposed { fail, ..Supposed::default() });
        let lost: Vec<&String> = found.iter().filter(|line| line.contains("loses")).collect();
        let wanted = ["a loses e", "b loses e", "d loses e", "e loses a", "e loses b", "e loses d"];
        assert_eq!(lost, wanted.iter().collect::<Vec<_>>());
        assert!(!found.iter().any(|line| line.starts_with("c to")), "{found:?}");
    }

    #[test]
    fn a_drain_and_a_cost_move_traffic_without_loss() {
        let topology = square();
        let drain = vec![topology.node_index("b").unwrap()];
        let costs = vec![(topology.link_index("c--d").unwrap(), 5)];
        let drained = told(&topology, &Supposed { drain, ..Supposed::default() });
        assert_eq!(drained, ["a to c: b+d -> d", "a to e: b+d -> d", "c to a: b+d -> d"].map(str::to_string));
        let dearer = told(&topology, &Supposed { costs, ..Supposed::default() });
        assert!(dearer.contains(&"d to c: c -> a".to_string()), "{dearer:?}");
    }
}
