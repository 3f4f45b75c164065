//! Raw values to the model: every name resolves, nothing is used twice, nothing overlaps.
//!
//! Reports everything that it finds; builds the model only when nobody reported an error.

mod controllers;
mod intents;
mod links;

use crate::diagnostic::{Code, Place, Problems, Spanned, quote};
use crate::model::{Addressing, Link, Management, Node, NodeIndex, Sources, Topology, Zone, ZoneIndex};
use crate::overlap::{self, Claim, Owner};
use crate::raw::{RawNode, RawTopology};
use crate::suggest::Suggester;
use crate::{address, loopback, parts};
use intents::Selectors;
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Nodes by name.
type Names<'n> = BTreeMap<&'n str, NodeIndex>;

/// The checked network; nothing when `problems` has an error.
pub(crate) fn validate(
    mut raw: RawTopology,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Option<Topology> {
    let mut nodes = raw.nodes.take().unwrap_or_default();
    nodes.sort_by(|a, b| a.name.value.cmp(&b.name.value));
    for link in &mut raw.links {
        link.ends.sort_by_key(links::endpoint);
    }
    let zones = raw.zones.take().map(|zones| zone_names(&zones, problems));
    if let Some(zones) = &zones {
        let templates = raw.kinds.iter().flat_map(BTreeMap::values).map(|kind| &kind.settings);
        let settings = nodes.iter().map(|node| &node.settings).chain(templates).chain([&raw.defaults.node]);
        check_zones(settings.filter_map(|settings| settings.zone.as_ref()), zones, problems, suggester);
    }
    let names: Names<'_> =
        nodes.iter().enumerate().map(|(at, node)| (node.name.value.as_str(), NodeIndex(at as u32))).collect();
    if !names.is_empty() {
        links::check_endpoints(&raw.links, &names, problems, suggester);
    }
    links::check_interfaces(&raw.links, problems);
    raw.links.iter().for_each(|link| links::check_subnets(link, problems));
    if let Some(groups) = &raw.groups {
        links::check_groups(groups, &raw.links, problems, suggester);
    }
    let mut selectors = Selectors::new(&nodes, &names, zones.as_ref());
    let external = intents::externals(&raw.external, &raw.links, &names, problems, suggester);
    let demands = intents::demands(&raw.demands, &names, problems, suggester);
    let invariants = intents::invariants(raw.invariants.as_slice(), &mut selectors, problems, suggester);
    let mut ranges: Vec<IpNetwork> = raw.loopback_ranges.iter().map(|(range, _)| *range).collect();
    ranges.sort();
    let loopbacks = assign_loopbacks(&nodes, &ranges, problems);
    let controllers = controllers::controllers(&raw, &names, problems, suggester);
    controllers::check_anycast(&controllers, &nodes, problems);
    let mut claims = claims(&raw, &nodes);
    claims.extend(controllers::claims(&controllers, &nodes, &loopbacks));
    overlap::check(claims, problems);
    if problems.has_errors() {
        return None;
    }
    let mut links: Vec<Link> =
        raw.links.into_iter().filter_map(|link| links::build_link(link, &names, problems)).collect();
    links.sort_by(|a, b| a.id.cmp(&b.id));
    let places: Vec<_> = nodes.iter().map(|node| node.name.clone()).collect();
    parts::check(&places, &links, problems);
    let zones: Vec<String> = zones.unwrap_or_default().into_iter().collect();
    let nodes = nodes.into_iter().zip(loopbacks).map(|(node, loopbacks)| {
        let line = problems.running_line(node.name.place);
        build_node(node, line, loopbacks, &zones)
    });
    Some(Topology {
        name: raw.name,
        management: raw.management.unwrap_or(Management::Separate),
        controllers: controllers.into_iter().map(|found| found.controller).collect(),
        addressing: Addressing { loopbacks: ranges },
        nodes: nodes.collect(),
        zones: zones.into_iter().map(|name| Zone { name }).collect(),
        links,
        link_groups: links::build_groups(raw.groups.unwrap_or_default()),
        external,
        demands,
        invariants,
        weigh_by_capacity: raw.weigh_by_capacity,
        safety: raw.safety,
        sources: Sources { files: problems.texts().to_vec() },
    })
}

fn zone_names(zones: &[Spanned<String>], problems: &mut Problems) -> BTreeSet<String> {
    let mut places: BTreeMap<&str, Place> = BTreeMap::new();
    for zone in zones {
        if let Some(first) = places.get(zone.value.as_str()) {
            let line = problems.line(*first, zone.place);
            let message = format!("the zone {} is already there, on {line}", quote(&zone.value));
            problems.error(Code::DUPLICATE_ZONE, zone.place, message, "remove one of the two, or rename it");
        } else {
            places.insert(&zone.value, zone.place);
        }
    }
    places.into_keys().map(str::to_owned).collect()
}

fn check_zones<'z>(
    used: impl Iterator<Item = &'z Spanned<String>>,
    zones: &BTreeSet<String>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) {
    // A template's zone is one problem, however many nodes have it.
    let unknown: BTreeMap<Place, &Spanned<String>> =
        used.filter(|zone| !zones.contains(&zone.value)).map(|zone| (zone.place, zone)).collect();
    for zone in unknown.into_values() {
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

/// Everything that takes addresses for itself.
fn claims(raw: &RawTopology, nodes: &[RawNode]) -> Vec<Claim> {
    let ranges = &raw.loopback_ranges;
    let mut claims: Vec<Claim> = ranges
        .iter()
        .map(|(network, place)| Claim { network: *network, owner: Owner::LoopbackRange, place: *place })
        .collect();
    for node in nodes {
        claims.extend(node.prefixes.iter().map(|owned| Claim {
            network: owned.prefix.value,
            owner: Owner::Node(node.name.value.clone()),
            place: Some(owned.prefix.place),
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
    for link in &raw.links {
        let mut subnets: BTreeMap<IpNetwork, Place> = BTreeMap::new();
        for address in link.ends.iter().flat_map(|end| end.addresses.iter().flatten()) {
            let first = subnets.entry(address::canonical(&address.value)).or_insert(address.place);
            *first = (*first).min(address.place);
        }
        let id = links::link_id(link);
        claims.extend(subnets.into_iter().map(|(network, place)| Claim {
            network,
            owner: Owner::Link(id.clone()),
            place: Some(place),
        }));
    }
    for external in &raw.external {
        let uplink = format!("{}:{}", external.node.value, external.interface.value);
        claims.extend(external.prefixes.iter().map(|prefix| Claim {
            network: prefix.value,
            owner: Owner::External(uplink.clone()),
            place: Some(prefix.place),
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

fn build_node(node: RawNode, line: u32, loopbacks: Vec<IpAddr>, zones: &[String]) -> Node {
    let settings = node.settings;
    let zone =
        settings.zone.and_then(|zone| zones.binary_search(&zone.value).ok()).map(|at| ZoneIndex(at as u32));
    let mut prefixes: Vec<IpNetwork> = node.prefixes.iter().map(|owned| owned.prefix.value).collect();
    prefixes.sort();
    let owners = node.prefixes.into_iter().filter_map(|owned| Some((owned.prefix.value, owned.owner?)));
    Node {
        name: node.name.value,
        zone,
        loopbacks,
        prefixes,
        prefix_owners: owners.collect(),
        labels: settings.labels,
        drained: settings.drained.unwrap_or(false),
        location: node.location,
        line,
    }
}
