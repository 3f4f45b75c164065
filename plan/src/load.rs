//! How much traffic each link carries: demands sent through the compiled programs.
//!
//! One pass per destination, outermost nodes first: what a node sends on is divided over its group's living
//! next hops by their weights. Loads are sums of `f64` in one fixed order (destinations, nodes, links), so
//! the same input gives the same bits everywhere. Never looks at costs or paths: a load is what the
//! forwarding state makes of the demands.

use crate::forwarding::{Forwarding, Leg, Order};
use crate::{Facts, Network};
use topology::{Demand, Direction, LinkIndex, NodeIndex, Topology};

/// Sums of fractions of demands are off by parts of 10^16 of themselves: a load is over a limit when it is over by this part.
pub(crate) const ROUNDING: f64 = 1e-9;

/// Traffic between nodes.
#[derive(Clone, Copy, Debug)]
pub enum Demands<'d> {
    /// As listed, in bits per second; a pair may occur more than once.
    Listed(&'d [Demand]),
    /// One unit from every node to every other.
    Uniform,
    /// From every node to every other the product of their numbers of links, in units.
    Degree,
}

/// What every link carries.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// By position of the link and by [`Direction`]; in bits per second, or in units for demands in units.
    carried: Vec<[f64; 2]>,
    /// What does not arrive: it has no route, meets a dead end, or is caught in a loop.
    pub lost: f64,
    /// What was sent.
    pub sent: f64,
}

impl Load {
    /// What the link carries in that direction.
    pub fn carried(&self, link: LinkIndex, direction: Direction) -> f64 {
        self.carried[link.0 as usize][direction as usize]
    }

    /// What the link carries as a share of its capacity: 1 is full. `None` without a capacity.
    pub fn utilisation(&self, topology: &Topology, link: LinkIndex, direction: Direction) -> Option<f64> {
        let capacity = topology.link(link).capacity_bps.filter(|capacity| *capacity > 0)?;
        Some(self.carried(link, direction) / capacity as f64)
    }

    /// The greatest share of a capacity in use, over all links that state one.
    pub fn max_utilisation(&self, topology: &Topology) -> Option<f64> {
        let links = (0..topology.links.len() as u32).map(LinkIndex);
        let shares = links.flat_map(|link| {
            [Direction::Forward, Direction::Backward]
                .into_iter()
                .filter_map(move |direction| self.utilisation(topology, link, direction))
        });
        shares.reduce(f64::max)
    }
}

/// A rate for people: `9.500Gbps`.
pub fn rate_text(bps: f64) -> String {
    let scaled = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    match scaled.iter().find(|(factor, _)| bps >= *factor) {
        Some((factor, unit)) => format!("{:.3}{unit}bps", bps / factor),
        None => format!("{bps:.0}bps"),
    }
}

/// The load of every link. Demands of and to nodes that are not in the topology's range do not exist: a
/// checked topology has none.
pub fn load(topology: &Topology, facts: &Facts, network: &Network, demands: Demands<'_>) -> Load {
    of_forwarding(topology, &Forwarding::new(topology, facts, network), demands)
}

/// The load under a forwarding state that is already there.
pub(crate) fn of_forwarding(topology: &Topology, forwarding: &Forwarding, demands: Demands<'_>) -> Load {
    let mut load = Load { carried: vec![[0.0; 2]; topology.links.len()], lost: 0.0, sent: 0.0 };
    let (mut order, mut flow) = (Order::default(), vec![0.0; topology.nodes.len()]);
    let sources = Sources::new(topology, demands);
    for to in 0..topology.nodes.len() as u32 {
        flow.fill(0.0);
        if !sources.send(to, &mut flow) {
            continue;
        }
        let legs = forwarding.towards(to);
        order.sort(&legs);
        load.add(topology, to, &legs, &order, &mut flow);
    }
    load
}

impl Load {
    /// Sends `flow`, by node, through one class.
    fn add(&mut self, topology: &Topology, to: u32, legs: &[&[Leg]], order: &Order, flow: &mut [f64]) {
        self.sent += flow.iter().sum::<f64>();
        for node in order.sinks_first().iter().rev() {
            let rate = std::mem::take(&mut flow[*node as usize]);
            if rate == 0.0 || *node == to {
                continue;
            }
            let legs = legs[*node as usize];
            if legs.is_empty() {
                self.lost += rate;
                continue;
            }
            let weights: f64 = legs.iter().map(|leg| f64::from(leg.weight)).sum();
            for leg in legs {
                let part = rate * f64::from(leg.weight) / weights;
                let own = usize::from(topology.links[leg.link as usize].ends[0].node.0 != *node);
                self.carried[leg.link as usize][own] += part;
                flow[leg.to as usize] += part;
            }
        }
        // Only nodes from which a loop can be reached are left: what circles has no load that it settles at.
        self.lost += flow.iter().sum::<f64>();
    }
}

/// Demands by destination.
struct Sources<'d> {
    demands: Demands<'d>,
    /// Positions of listed demands, sorted by destination.
    by_destination: Vec<u32>,
    /// Links at each node.
    degrees: Vec<f64>,
}

impl<'d> Sources<'d> {
    fn new(topology: &Topology, demands: Demands<'d>) -> Sources<'d> {
        let mut by_destination = Vec::new();
        if let Demands::Listed(list) = demands {
            by_destination.extend(0..list.len() as u32);
            by_destination.sort_by_key(|at| list[*at as usize].to);
        }
        let mut degrees = vec![0.0; topology.nodes.len()];
        for end in topology.links.iter().flat_map(|link| &link.ends) {
            degrees[end.node.0 as usize] += 1.0;
        }
        Sources { demands, by_destination, degrees }
    }

    /// Adds what every node sends to `to`; says whether that is anything.
    fn send(&self, to: u32, flow: &mut [f64]) -> bool {
        match self.demands {
            Demands::Listed(list) => {
                let to = NodeIndex(to);
                let start = self.by_destination.partition_point(|at| list[*at as usize].to < to);
                let own = self.by_destination[start..].iter().map(|at| &list[*at as usize]);
                for demand in own.take_while(|demand| demand.to == to).filter(|demand| demand.from != to) {
                    flow[demand.from.0 as usize] += demand.rate_bps as f64;
                }
            }
            Demands::Uniform => flow.fill(1.0),
            Demands::Degree => {
                let own = self.degrees[to as usize];
                for (flow, degree) in flow.iter_mut().zip(&self.degrees) {
                    *flow = own * degree;
                }
            }
        }
        flow[to as usize] = 0.0;
        flow.iter().any(|rate| *rate > 0.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::compile;
    use crate::tests::fixture::{down, topology};

    /// `from>to=load` of every direction that carries something.
    fn loads(topology: &Topology, load: &Load) -> Vec<String> {
        let mut found = Vec::new();
        for (at, link) in (0..).zip(&topology.links) {
            for (direction, from, to) in [(Direction::Forward, 0, 1), (Direction::Backward, 1, 0)] {
                let carried = load.carried(LinkIndex(at), direction);
                if carried > 0.0 {
                    let name = |end: usize| &topology.node(link.ends[end].node).name;
                    found.push(format!("{}>{}={carried}", name(from), name(to)));
                }
            }
        }
        found
    }

    fn demand(topology: &Topology, from: &str, to: &str, rate_bps: u64) -> Demand {
        let node = |name| topology.node_index(name).unwrap();
        Demand { from: node(from), to: node(to), rate_bps, line: 0 }
    }

    #[test]
    fn equal_next_hops_share_at_every_node() {
        // Two ways at a, and the upper one splits again at b: a half and two quarters.
        let topology = topology("a-b 1, a-c 2, b-d 2, b-e 1, e-d 1, c-d 1");
        let network = compile(&topology, &Facts::default());
        let demands = [demand(&topology, "a", "d", 100), demand(&topology, "a", "d", 20)];
        let load = load(&topology, &Facts::default(), &network, Demands::Listed(&demands));
        assert_eq!(
            loads(&topology, &load),
            ["a>b=60", "a>c=60", "b>d=30", "b>e=30", "c>d=60", "e>d=30"].map(str::to_string)
        );
        assert_eq!((load.sent, load.lost), (120.0, 0.0));
    }

    #[test]
    fn weights_divide_a_group() {
        let topology = topology("a-b 1, a-b 1, b-c 1");
        let mut network = compile(&topology, &Facts::default());
        let mut program = (*network.programs[0]).clone();
        for group in program.groups.iter_mut().filter(|group| group.members.len() == 2) {
            group.members[0].weight = 3;
        }
        network.programs[0] = program.into();
        let demands = [demand(&topology, "a", "c", 100)];
        let load = load(&topology, &Facts::default(), &network, Demands::Listed(&demands));
        let mut shares = [0, 1].map(|link| load.carried(LinkIndex(link), Direction::Forward));
        shares.sort_by(f64::total_cmp);
        assert_eq!(shares, [25.0, 75.0]);
        assert_eq!(load.carried(LinkIndex(2), Direction::Forward), 100.0);
    }

    #[test]
    fn a_backup_in_force_carries_and_a_dead_end_loses() {
        let topology = topology("a-b 1, b-c 1, a-c 1");
        let network = compile(&topology, &Facts::default());
        let demands = [demand(&topology, "b", "c", 8), demand(&topology, "a", "b", 4)];
        let cut =
            |links: &[usize]| load(&topology, &down(&topology, links), &network, Demands::Listed(&demands));
        let id = |text: &str| topology.link_index(text).unwrap().0 as usize;
        let found = cut(&[id("b--c")]);
        assert_eq!(loads(&topology, &found), ["a>b=4", "b>a=8", "a>c=8"]);
        assert_eq!(found.lost, 0.0);
        let found = cut(&[id("b--c"), id("a--c")]);
        assert_eq!(found.lost, 8.0, "{:?}", loads(&topology, &found));
    }

    #[test]
    fn generated_demands_are_between_all_pairs() {
        let topology = topology("a-b 1, b-c 1");
        let network = compile(&topology, &Facts::default());
        let uniform = load(&topology, &Facts::default(), &network, Demands::Uniform);
        assert_eq!(loads(&topology, &uniform), ["a>b=2", "b>a=2", "b>c=2", "c>b=2"]);
        // a and c have one link each, b two: a to b 2, a to c 1.
        let degree = load(&topology, &Facts::default(), &network, Demands::Degree);
        assert_eq!(loads(&topology, &degree), ["a>b=3", "b>a=3", "b>c=3", "c>b=3"]);
    }

    #[test]
    fn use_is_the_share_of_the_capacity_and_no_capacity_is_no_share() {
        let mut topology = topology("a-b 1, b-c 1");
        let network = compile(&topology, &Facts::default());
        let demands = [demand(&topology, "a", "c", 50)];
        let load = load(&topology, &Facts::default(), &network, Demands::Listed(&demands));
        assert_eq!(load.max_utilisation(&topology), None);
        topology.links[1].capacity_bps = Some(200);
        assert_eq!(load.max_utilisation(&topology), Some(0.25));
        assert_eq!(load.utilisation(&topology, LinkIndex(1), Direction::Backward), Some(0.0));
        assert_eq!(load.utilisation(&topology, LinkIndex(0), Direction::Forward), None);
    }

    #[test]
    fn what_is_caught_in_a_loop_is_lost_and_ends() {
        let topology = topology("a-b 1, b-c 1");
        let mut network = compile(&topology, &Facts::default());
        // b sends all that is for c back to a.
        let class = network.table.class_of(&topology.nodes[2].prefixes[0]).unwrap();
        let to_a = network.table.class_of(&topology.nodes[0].prefixes[0]).unwrap();
        let mut program = (*network.programs[1]).clone();
        let wrong = program.class_routes(to_a)[0].group;
        program.classes.iter_mut().filter(|route| route.class == class).for_each(|route| route.group = wrong);
        network.programs[1] = program.into();
        let demands = [demand(&topology, "a", "c", 7), demand(&topology, "a", "b", 1)];
        let load = load(&topology, &Facts::default(), &network, Demands::Listed(&demands));
        assert_eq!(loads(&topology, &load), ["a>b=1"]);
        assert_eq!((load.sent, load.lost), (8.0, 7.0));
    }
}
