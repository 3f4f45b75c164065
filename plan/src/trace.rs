//! One packet's way through compiled programs, host by host, with the route that sent it on.
//!
//! For explanations: which of equal next hops it takes is the caller's choice. Never judges.

use crate::forwarding::Leg;
use crate::walk::Fate;
use crate::{ClassId, Facts, Network};
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::IpAddr;
use topology::Topology;

/// A packet's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// A prefix of the destination, which every host on the way looks up; `None` when it has none.
    pub prefix: Option<IpNetwork>,
    /// The hosts that send it on, in order.
    pub hops: Vec<Hop>,
    /// The node where it ends.
    pub last: String,
    /// How it ends.
    pub fate: Fate,
}

/// What one host does with the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The host.
    pub node: String,
    /// Metric of the route in force.
    pub metric: u32,
    /// Id of the route's group.
    pub group: u32,
    /// Id of the next hop that is taken out of the group.
    pub nexthop: u32,
    /// Interface that the packet leaves by.
    pub interface: String,
    /// The next hop's gateway.
    pub gateway: IpAddr,
    /// Id of the link that it goes over.
    pub link: String,
}

impl fmt::Display for Trace {
    /// A line per host; no line end after the last.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.map_or("destination".to_string(), |prefix| prefix.to_string());
        for hop in &self.hops {
            writeln!(
                out,
                "{}: {prefix} metric {} group {} nexthop {} -> {} via {}",
                hop.node, hop.metric, hop.group, hop.nexthop, hop.interface, hop.gateway
            )?;
        }
        write!(out, "{}: {}", self.last, self.fate)
    }
}

/// Follows a packet of the class at position `class` from `from` to one of `ends`, over the leg that `choose` gives at
/// each node.
pub(crate) fn trace(
    topology: &Topology,
    facts: &Facts,
    network: &Network,
    (from, class, ends): (u32, u32, &[u32]),
    choose: impl Fn(u32) -> Option<Leg>,
) -> Trace {
    let name = |node: u32| topology.nodes[node as usize].name.clone();
    let class = network.table.classes[class as usize].id;
    let (mut node, mut hops) = (from, Vec::new());
    let mut passed = vec![false; topology.nodes.len()];
    let fate = loop {
        if ends.contains(&node) {
            break Fate::Delivered;
        }
        if std::mem::replace(&mut passed[node as usize], true) {
            break Fate::Loop { node: name(node) };
        }
        let hop =
            choose(node).and_then(|leg| Some((leg.to, hop(topology, facts, network, (node, class), leg)?)));
        let Some((next, hop)) = hop else { break Fate::BlackHole { node: name(node) } };
        node = next;
        hops.push(hop);
    };
    Trace { prefix: prefix(topology, network, class), hops, last: name(node), fate }
}

/// A prefix of the class for people: of a node's class one that is no loopback, where there is one.
fn prefix(topology: &Topology, network: &Network, class: ClassId) -> Option<IpNetwork> {
    let own = network.table.class_name(class).and_then(|name| topology.node_index(name));
    let of_class = |prefix: &&IpNetwork| network.table.class_of(prefix) == Some(class);
    let behind = own.and_then(|node| topology.node(node).prefixes.iter().find(of_class).copied());
    behind.or_else(|| {
        let mut entries = network.table.entries.iter();
        entries.find(|(_, of)| *of == class).map(|(prefix, _)| *prefix)
    })
}

/// The route in force by which `node` sends packets of `class` over `leg`.
fn hop(
    topology: &Topology,
    facts: &Facts,
    network: &Network,
    (node, class): (u32, ClassId),
    leg: Leg,
) -> Option<Hop> {
    let name = &topology.nodes[node as usize].name;
    let (program, _) = network.host(name)?;
    let link = &topology.links[leg.link as usize];
    if facts.links_down.contains(&link.id) {
        return None;
    }
    let own = link.ends.iter().find(|end| end.node.0 == node)?;
    program.class_routes(class).iter().find_map(|route| {
        let mut members = program.group(route.group)?.members.iter();
        let nexthop = members.find_map(|member| {
            program.nexthop(member.nexthop).filter(|nexthop| nexthop.interface == own.interface)
        })?;
        Some(Hop {
            node: name.clone(),
            metric: route.metric,
            group: route.group,
            nexthop: nexthop.id,
            interface: nexthop.interface.clone(),
            gateway: nexthop.gateway,
            link: link.id.clone(),
        })
    })
}
