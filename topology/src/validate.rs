//! Raw values to the model: every name resolves, nothing is used twice, nothing overlaps.
//!
//! Reports everything that it finds; builds the model only when nobody reported an error.

use crate::diagnostic::{Code, Problems, quote};
use crate::model::{Addressing, End, Link, Management, Node, NodeIndex, Topology, Zone, ZoneIndex};
use crate::overlap::{self, Claim, Owner};
use crate::raw::{RawEnd, RawLink, RawNode, RawTopology};
use crate::suggest::Suggester;
use crate::{address, loopback, parts};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// Addresses of the first and second end of every link. Link-local (RFC 4291, 2.5.6), so that links need no
/// address plan, and one next hop serves both families.
const LINK_LOCAL: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2)];

/// The checked network; nothing when `problems` has an error.
pub(crate) fn validate(
    raw: RawTopology,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Option<Topology> {
    let RawTopology { name, loopback_ranges, zones, nodes, mut links, safety } = raw;
    let mut nodes = nodes.unwrap_or_default();
    nodes.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    for link in &mut links {
        link.ends.sort_by_key(endpoint);
    }
    let zones = zones.map(|zones| zone_names(&zones, problems));
    if let Some(zones) = &zones {
        check_zones(&nodes, zones, problems, suggester);
    }
    let names: BTreeMap<&str, NodeIndex> =
        nodes.iter().enumerate().map(|(at, node)| (node.name.value.as_str(), NodeIndex(at as u32))).collect();
    if !names.is_empty() {
        check_endpoints(&links, &names, problems, suggester);
    }
    check_interfaces(&links, problems);
    links.iter().for_each(|link| check_subnets(link, problems));
    overlap::check(claims(&loopback_ranges, &nodes, &links), problems);
    let mut ranges: Vec<IpNetwork> = loopback_ranges.iter().map(|(range, _)| *range).collect();
    ranges.sort();
    let loopbacks = assign_loopbacks(&nodes, &ranges, problems);
    if problems.has_errors() {
        return None;
    }
    let mut links: Vec<Link> = links.into_iter().filter_map(|link| build_link(link, &names)).collect();
    links.sort_by(|a, b| a.id.cmp(&b.id));
    let places: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
    parts::check(&places, &links, problems);
    let zones: Vec<String> = zones.unwrap_or_default().into_iter().collect();
    let nodes = nodes.into_iter().zip(loopbacks).map(|(node, loopbacks)| build_node(node, loopbacks, &zones));
    Some(Topology {
        name,
        management: Management::Separate,
        addressing: Addressing { loopbacks: ranges },
        nodes: nodes.collect(),
        zones: zones.into_iter().map(|name| Zone { name }).collect(),
        links,
        link_groups: Vec::new(),
        external: Vec::new(),
        demands: Vec::new(),
        invariants: Vec::new(),
        safety,
    })
}

fn endpoint(end: &RawEnd) -> String {
    format!("{}:{}", end.node, end.interface)
}

fn link_id(link: &RawLink) -> String {
    format!("{}--{}", endpoint(&link.ends[0]), endpoint(&link.ends[1]))
}

fn zone_names(zones: &[crate::diagnostic::Spanned<String>], problems: &mut Problems) -> BTreeSet<String> {
    let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
    for zone in zones {
        if let Some(line) = lines.get(zone.value.as_str()) {
            let message = format!("the zone {} is already there, on line {line}", quote(&zone.value));
            problems.error(Code::DUPLICATE_ZONE, zone.place, message, "remove one of the two, or rename it");
        } else {
            lines.insert(&zone.value, zone.place.line);
        }
    }
    lines.into_keys().map(str::to_owned).collect()
}

fn check_zones(
    nodes: &[RawNode],
    zones: &BTreeSet<String>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) {
    for zone in nodes.iter().filter_map(|node| node.zone.as_ref()).filter(|zone| !zones.contains(&zone.value))
    {
        let help = match suggester.nearest(&zone.value, zones.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add {} to `zones`", quote(&format!("{{name: {}}}", zone.value))),
        };
        problems.error(
            Code::UNKNOWN_ZONE,
            zone.place,
            format!("{} is not in `zones`", quote(&zone.value)),
            help,
        );
    }
}

fn check_endpoints(
    links: &[RawLink],
    names: &BTreeMap<&str, NodeIndex>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) {
    for end in links.iter().flat_map(|link| &link.ends).filter(|end| !names.contains_key(end.node.as_str())) {
        let help = match suggester.nearest(&end.node, names.keys().copied()) {
            Some(near) => format!("did you mean `{near}:{}`?", end.interface),
            None => format!("add `{}: {{}}` to `nodes`, or remove the link", end.node),
        };
        let message = format!("this endpoint is at {}, which is not in `nodes`", quote(&end.node));
        problems.error(Code::DANGLING_ENDPOINT, end.place, message, help);
    }
}

/// A self-link, and an interface at two links.
fn check_interfaces(links: &[RawLink], problems: &mut Problems) {
    let mut ends: Vec<(&RawEnd, &RawLink)> =
        links.iter().flat_map(|link| link.ends.iter().map(move |end| (end, link))).collect();
    ends.sort_by_key(|(end, _)| end.place);
    let mut users: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (end, link) in ends {
        let itself = link.ends[0].node == link.ends[1].node;
        let user = users.insert((&end.node, &end.interface), end.place.line);
        if itself {
            let message = format!("this link connects {} to itself: it can carry nothing", quote(&end.node));
            // Once per link, where the second endpoint stands.
            if link.ends.iter().all(|other| other.place <= end.place) {
                let help = "correct the node's name at one end, or remove the link";
                problems.error(Code::SELF_LINK, end.place, message, help);
            }
        } else if let Some(line) = user {
            let message =
                format!("the interface {} is already at the link on line {line}", quote(&endpoint(end)));
            let help = "give each link an interface of its own: links are point to point";
            problems.error(Code::INTERFACE_USED_TWICE, end.place, message, help);
        }
    }
}

/// On a numbered link, each address needs a partner in the same subnet at the other end.
fn check_subnets(link: &RawLink, problems: &mut Problems) {
    let [Some(first), Some(second)] = [0, 1].map(|end| link.ends[end].addresses.as_ref()) else { return };
    for (here, there, other) in [(first, second, &link.ends[1]), (second, first, &link.ends[0])] {
        for address in here {
            let subnet = address::canonical(&address.value);
            let partner = there.iter().find(|other| address::canonical(&other.value) == subnet);
            let message = match partner {
                Some(partner) if partner.value.ip() == address.value.ip() => {
                    format!("{} is at both ends of the link", address.value)
                }
                Some(_) => continue,
                None => format!("{} has no partner in {subnet} at {}", address.value, quote(&other.node)),
            };
            let help = "give each end one address of each subnet of the link";
            problems.error(Code::LINK_SUBNET_MISMATCH, address.place, message, help);
        }
    }
}

/// Everything that takes addresses for itself.
fn claims(
    ranges: &[(IpNetwork, Option<crate::diagnostic::Place>)],
    nodes: &[RawNode],
    links: &[RawLink],
) -> Vec<Claim> {
    let mut claims: Vec<Claim> = ranges
        .iter()
        .map(|(network, place)| Claim { network: *network, owner: Owner::LoopbackRange, place: *place })
        .collect();
    for node in nodes {
        claims.extend(node.prefixes.iter().map(|prefix| Claim {
            network: prefix.value,
            owner: Owner::Node(node.name.value.clone()),
            place: Some(prefix.place),
        }));
        // Within the range is where pins belong; equal pins are the loopbacks' own problem.
        let outside =
            node.loopbacks.iter().filter(|pin| !ranges.iter().any(|(range, _)| range.contains(pin.value)));
        claims.extend(outside.map(|pin| Claim {
            network: IpNetwork::from(pin.value),
            owner: Owner::Loopback(node.name.value.clone()),
            place: Some(pin.place),
        }));
    }
    for link in links {
        let mut subnets: BTreeMap<IpNetwork, crate::diagnostic::Place> = BTreeMap::new();
        for address in link.ends.iter().flat_map(|end| end.addresses.iter().flatten()) {
            let first = subnets.entry(address::canonical(&address.value)).or_insert(address.place);
            *first = (*first).min(address.place);
        }
        let id = link_id(link);
        claims.extend(subnets.into_iter().map(|(network, place)| Claim {
            network,
            owner: Owner::Link(id.clone()),
            place: Some(place),
        }));
    }
    claims
}

fn assign_loopbacks(nodes: &[RawNode], ranges: &[IpNetwork], problems: &mut Problems) -> Vec<Vec<IpAddr>> {
    let mut family = |ipv4: bool| {
        let range = ranges.iter().find(|range| range.is_ipv4() == ipv4);
        loopback::assign(nodes, range, ipv4, problems)
    };
    let (v4, v6) = (family(true), family(false));
    v4.into_iter().zip(v6).map(|pair| [pair.0, pair.1].into_iter().flatten().collect()).collect()
}

fn build_node(node: RawNode, loopbacks: Vec<IpAddr>, zones: &[String]) -> Node {
    let zone =
        node.zone.and_then(|zone| zones.binary_search(&zone.value).ok()).map(|at| ZoneIndex(at as u32));
    let mut prefixes: Vec<IpNetwork> = node.prefixes.into_iter().map(|prefix| prefix.value).collect();
    prefixes.sort();
    Node {
        name: node.name.value,
        zone,
        loopbacks,
        prefixes,
        prefix_owners: BTreeMap::new(),
        labels: node.labels,
        drained: false,
        location: None,
        line: node.name.place.line,
    }
}

/// Nothing only when a node is missing, which was reported before.
fn build_link(link: RawLink, names: &BTreeMap<&str, NodeIndex>) -> Option<Link> {
    let id = link_id(&link);
    let RawLink { place, ends: [first, second], settings } = link;
    let end = |end: RawEnd, link_local: Ipv6Addr| {
        let mut addresses: Vec<IpNetwork> =
            end.addresses.iter().flatten().map(|address| address.value).collect();
        addresses.sort();
        let node = *names.get(end.node.as_str())?;
        Some(End { node, interface: end.interface, cost: end.cost, link_local, addresses })
    };
    Some(Link {
        id,
        ends: [end(first, LINK_LOCAL[0])?, end(second, LINK_LOCAL[1])?],
        capacity_bps: settings.capacity_bps,
        latency_us: settings.latency_us,
        mtu_bytes: settings.mtu_bytes,
        srlgs: Vec::new(),
        affinity: Vec::new(),
        group: None,
        drained: false,
        line: place.line,
    })
}
