//! What a topology file cannot hold is left out, and told.
//!
//! Works on what a reader found, before names are given. Knows the file's ranges, never a source's format.

use super::{Found, FoundLink, FoundNode, names};
use crate::keys::{CAPACITY_BPS_MAX, LATENCY_US_MAX, LOOPBACKS_DEFAULT, MTU_BYTES};
use crate::{address, loopback};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Nodes for which a /16 of loopbacks is too tight: half of its addresses.
const CROWDED_NODES: usize = 32_000;

/// Leaves out what the file does not allow. Positions of nodes stay; links and demands may become fewer.
pub(crate) fn fit(found: &mut Found) {
    let mut dropped = Vec::new();
    let links = std::mem::take(&mut found.links);
    found.links = links.into_iter().filter(|link| is_link(link, &found.nodes, &mut dropped)).collect();
    quantities(found, &mut dropped);
    demands(found, &mut dropped);
    let (mut claims, mut served, mut renamed) = (Claims::default(), BTreeSet::new(), BTreeSet::new());
    for node in &mut found.nodes {
        prefixes(node, &mut served, &mut claims, &mut dropped);
        labels(node, &mut renamed, &mut dropped);
    }
    for link in &mut found.links {
        addresses(link, &found.nodes, &mut claims, &mut dropped);
    }
    found.invented.extend(renamed);
    found.dropped.append(&mut dropped);
}

fn is_link(link: &FoundLink, nodes: &[FoundNode], dropped: &mut Vec<String>) -> bool {
    let [a, b] = link.ends;
    let (Some(first), Some(_)) = (nodes.get(a), nodes.get(b)) else { return false };
    if a == b {
        let (index, node) = (&link.source_index, &first.source_id);
        dropped.push(format!("link {index}: it connects {node} to itself, and can carry nothing"));
    }
    a != b
}

/// Numbers outside of the file's ranges.
fn quantities(found: &mut Found, dropped: &mut Vec<String>) {
    let (mut capacities, mut latencies, mut mtus, mut locations) = (0, 0, 0, 0);
    for link in &mut found.links {
        let capacity = |bps: &u64| (1..=CAPACITY_BPS_MAX).contains(bps);
        capacities += usize::from(!keep(&mut link.capacity_bps, capacity));
        latencies +=
            usize::from(!keep(&mut link.latency_us, |us| (0.0..=LATENCY_US_MAX as f64).contains(us)));
        mtus += usize::from(!keep(&mut link.mtu_bytes, |bytes| MTU_BYTES.contains(&u64::from(*bytes))));
        // Nothing is further away than half around the earth, but a cable may wind; beyond this it is no length.
        keep(&mut link.distance_km, |km| km.is_finite() && *km >= 0.0);
    }
    for node in &mut found.nodes {
        let on_earth = |(lat, lon): &(f64, f64)| lat.abs() <= 90.0 && lon.abs() <= 180.0;
        locations += usize::from(!keep(&mut node.location, on_earth));
    }
    let mut told = |count: usize, what: &str| {
        if count > 0 {
            dropped.push(format!("{count} {what}"));
        }
    };
    told(capacities, "capacities of 0 or of more than 1000T");
    told(latencies, "latencies that are negative or more than 60s");
    told(mtus, "MTUs below 1280 or above 65535 bytes");
    told(locations, "locations outside of 90 degrees north and south, 180 east and west");
}

/// Empties `value` when it is not `good`; whether it stayed as it was.
fn keep<T>(value: &mut Option<T>, good: impl Fn(&T) -> bool) -> bool {
    let bad = value.as_ref().is_some_and(|value| !good(value));
    if bad {
        *value = None;
    }
    !bad
}

fn demands(found: &mut Found, dropped: &mut Vec<String>) {
    let (all, nodes) = (found.demands.len(), found.nodes.len());
    found.demands.retain(|demand| {
        let in_range = (1..=CAPACITY_BPS_MAX).contains(&demand.rate_bps);
        in_range && demand.from != demand.to && demand.from < nodes && demand.to < nodes
    });
    let gone = all - found.demands.len();
    if gone > 0 {
        dropped.push(format!("{gone} demands of rate 0, of more than 1000T, or from a node to itself"));
    }
}

/// Prefixes that are taken, none of which overlap: by family and first address, the last one.
#[derive(Default)]
struct Claims(BTreeMap<(bool, u128), u128>);

impl Claims {
    /// Whether nobody had an address of `network`, which is then taken.
    fn take(&mut self, network: &IpNetwork) -> bool {
        let free = self.is_free(network);
        if free {
            let (first, last) = address::bounds(network);
            self.0.insert((network.is_ipv4(), first), last);
        }
        free
    }

    fn is_free(&self, network: &IpNetwork) -> bool {
        let (family, (first, last)) = (network.is_ipv4(), address::bounds(network));
        // The nearest claim that starts at or below the last address is the only one that can reach in.
        let below = self.0.range((family, 0)..=(family, last)).next_back();
        below.is_none_or(|(_, end)| *end < first)
    }
}

fn prefixes(
    node: &mut FoundNode,
    served: &mut BTreeSet<IpNetwork>,
    claims: &mut Claims,
    dropped: &mut Vec<String>,
) {
    let id = &node.source_id;
    let mut kept: Vec<IpNetwork> = Vec::new();
    let mut seen = BTreeSet::new();
    for prefix in &node.prefixes {
        let canonical = address::canonical(prefix);
        if !seen.insert(canonical) {
            continue;
        }
        if let Some(reserved) = address::reserved(&canonical) {
            dropped.push(format!("prefix {canonical} of {id}: {reserved} is never forwarded"));
        } else if served.contains(&canonical) || claims.take(&canonical) {
            // The same prefix at several nodes is anycast.
            served.insert(canonical);
            kept.push(canonical);
        } else {
            dropped.push(format!("prefix {canonical} of {id}: it overlaps with one that came before"));
        }
    }
    node.prefixes = kept;
}

/// Keys become legal and unique; values too long or of control characters go. `renamed` has a line for each key.
fn labels(node: &mut FoundNode, renamed: &mut BTreeSet<String>, dropped: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    let id = &node.source_id;
    let labels = std::mem::take(&mut node.labels);
    node.labels = labels
        .into_iter()
        .filter_map(|(key, value)| {
            let name = names::legal(&key);
            let good = !name.is_empty() && crate::names::label_value(&value).is_ok();
            if !good || !seen.insert(name.clone()) {
                let key = crate::diagnostic::quote(&key);
                dropped.push(format!("label {key} of {id}: not allowed in a topology file, or there twice"));
                return None;
            }
            if name != key {
                renamed.insert(format!("label {name} for {}", crate::diagnostic::quote(&key)));
            }
            Some((name, value))
        })
        .collect();
}

/// An address stays when its subnet has one at each end of this link, and nobody else has that subnet.
fn addresses(link: &mut FoundLink, nodes: &[FoundNode], claims: &mut Claims, dropped: &mut Vec<String>) {
    let all = std::mem::take(&mut link.addresses);
    let mut by_subnet: BTreeMap<IpNetwork, [Vec<IpNetwork>; 2]> = BTreeMap::new();
    for (end, addresses) in all.iter().enumerate() {
        for address in addresses {
            by_subnet.entry(address::canonical(address)).or_default()[end].push(*address);
        }
    }
    let mut subnets = BTreeSet::new();
    // In the order of the source, so that of two subnets that overlap the first one stays.
    for subnet in all[0].iter().map(address::canonical) {
        let Some([[here], [there]]) = by_subnet.get(&subnet).map(|ends| ends.each_ref().map(Vec::as_slice))
        else {
            continue;
        };
        let usable = [here, there].into_iter().all(|address| address::unusable(address).is_none());
        if usable && here.ip() != there.ip() && claims.take(&subnet) {
            subnets.insert(subnet);
        }
    }
    for (end, addresses) in all.into_iter().enumerate() {
        let (kept, gone): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|address| subnets.contains(&address::canonical(address)));
        let id = nodes.get(link.ends[end]).map_or("", |node| node.source_id.as_str());
        for address in gone {
            let why = "no partner of its own in the same subnet at the other end, or the subnet is not free";
            dropped.push(format!("address {address} of {id}, link {}: {why}", link.source_index));
        }
        link.addresses[end] = kept;
    }
}

/// Where loopbacks come from, and the pins of nodes whose loopback by name is another node's.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Loopbacks {
    /// Other than the file's default.
    pub(crate) ranges: Option<[IpNetwork; 2]>,
    /// By position of the node.
    pub(crate) pins: BTreeMap<usize, Vec<IpAddr>>,
}

/// Ranges that share no address with what `found` uses, and pins where two names meet.
pub(crate) fn loopbacks(found: &Found, given: &[String]) -> Loopbacks {
    let mut claims = Claims::default();
    let prefixes = found.nodes.iter().flat_map(|node| &node.prefixes);
    let subnets = found.links.iter().flat_map(|link| link.addresses.iter().flatten()).map(address::canonical);
    for network in prefixes.copied().chain(subnets) {
        claims.take(&network);
    }
    let default = LOOPBACKS_DEFAULT.iter().filter_map(|text| address::cidr(text));
    // After the defaults, from the least used private space (RFC 1918) to that of carriers (RFC 6598).
    let wide = ["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12"].into_iter();
    let wide = wide.filter_map(address::cidr).filter(|_| given.len() > CROWDED_NODES);
    let v4 = (0..255).rev().map(|byte| format!("10.{byte}.0.0/16"));
    let v4 = v4.chain((16..32).map(|byte| format!("172.{byte}.0.0/16")));
    let v4 = v4.chain((64..128).map(|byte| format!("100.{byte}.0.0/16")));
    let v6 = (1..=255).map(|group| format!("fd00:ba11:{group:x}::/64"));
    let all: Vec<IpNetwork> =
        wide.chain(default).chain(v4.chain(v6).filter_map(|text| address::cidr(&text))).collect();
    let free =
        |ipv4: bool| all.iter().find(|range| range.is_ipv4() == ipv4 && claims.is_free(range)).copied();
    let (Some(v4), Some(v6)) = (free(true), free(false)) else { return Loopbacks::default() };
    let mut pins: BTreeMap<usize, Vec<IpAddr>> = BTreeMap::new();
    for range in [v4, v6] {
        for (node, address) in pinned(given, &range) {
            pins.entry(node).or_default().push(address);
        }
    }
    let ranges = [v4, v6];
    let is_default = ranges.iter().map(ToString::to_string).eq(LOOPBACKS_DEFAULT);
    Loopbacks { ranges: (!is_default).then_some(ranges), pins }
}

/// Free addresses for the nodes whose own is taken by a node that sorts before.
fn pinned(given: &[String], range: &IpNetwork) -> Vec<(usize, IpAddr)> {
    let mut order: Vec<usize> = (0..given.len()).collect();
    order.sort_by_key(|at| &given[*at]);
    let mut taken = BTreeSet::new();
    let clashes: Vec<usize> =
        order.into_iter().filter(|at| !taken.insert(loopback::hashed(&given[*at], range))).collect();
    let (first, last) = address::bounds(range);
    let mut free = (first + 1..last).map(|number| address::from_number(range, number));
    let pins = clashes.into_iter().map_while(|at| Some((at, free.find(|address| !taken.contains(address))?)));
    pins.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::FoundDemand;
    use super::*;

    fn cidrs(texts: &[&str]) -> Vec<IpNetwork> {
        texts.iter().map(|text| address::cidr(text).unwrap()).collect()
    }

    fn node(source_id: &str, prefixes: &[&str]) -> FoundNode {
        FoundNode { source_id: source_id.into(), prefixes: cidrs(prefixes), ..FoundNode::default() }
    }

    #[test]
    fn what_overlaps_or_has_no_partner_is_left_out_and_told() {
        let nodes = vec![
            node("a", &["10.1.0.9/24", "10.1.0.0/24", "224.0.0.0/8"]),
            node("b", &["10.1.0.128/25", "10.1.0.0/24"]),
        ];
        let link = |index: &str, here: &[&str], there: &[&str]| FoundLink {
            source_index: index.into(),
            ends: [0, 1],
            addresses: [cidrs(here), cidrs(there)],
            ..FoundLink::default()
        };
        let links = vec![
            link("0", &["192.0.2.0/31", "2001:db8::1/64"], &["192.0.2.1/31"]),
            link("1", &["192.0.2.0/31"], &["192.0.2.1/31"]),
            link("2", &["10.1.0.1/30"], &["10.1.0.2/30"]),
            link("3", &["10.2.0.1/30"], &["10.2.0.1/30"]),
            FoundLink { source_index: "4".into(), ends: [1, 1], ..FoundLink::default() },
        ];
        let mut found = Found { nodes, links, ..Found::default() };
        fit(&mut found);
        assert_eq!(found.nodes[0].prefixes, cidrs(&["10.1.0.0/24"]));
        assert_eq!(found.nodes[1].prefixes, cidrs(&["10.1.0.0/24"]));
        let kept: Vec<_> = found.links.iter().map(|link| link.addresses[1].clone()).collect();
        assert_eq!(kept, [cidrs(&["192.0.2.1/31"]), vec![], vec![], vec![]]);
        assert_eq!(found.dropped.len(), 1 + 1 + 1 + 1 + 2 + 2 + 2, "{:#?}", found.dropped);
    }

    #[test]
    fn numbers_out_of_range_are_left_out_and_counted() {
        let mut found = Found { nodes: vec![node("a", &[]), node("b", &[])], ..Found::default() };
        found.nodes[0].location = Some((91.0, 0.0));
        found.links.push(FoundLink {
            ends: [0, 1],
            capacity_bps: Some(0),
            latency_us: Some(-1.0),
            mtu_bytes: Some(576),
            ..FoundLink::default()
        });
        let demand = |from, to, rate_bps| FoundDemand { from, to, rate_bps };
        found.demands = vec![demand(0, 1, 0), demand(0, 0, 1), demand(0, 1, 7)];
        fit(&mut found);
        assert_eq!(found.dropped.len(), 5, "{:?}", found.dropped);
        assert_eq!(found.demands, [demand(0, 1, 7)]);
        assert_eq!((found.links[0].capacity_bps, found.nodes[0].location), (None, None));
    }

    #[test]
    fn loopbacks_keep_out_of_the_way_of_the_network() {
        let mut found =
            Found { nodes: vec![node("a", &["10.255.3.0/24", "fd00:ba11::/48"])], ..Found::default() };
        let told = loopbacks(&found, &["a".into()]);
        assert_eq!(
            told.ranges.unwrap().map(|range| range.to_string()),
            ["10.254.0.0/16", "fd00:ba11:1::/64"]
        );
        found.nodes[0].prefixes.clear();
        assert_eq!(loopbacks(&found, &["a".into()]), Loopbacks::default());
        let many: Vec<String> = (0..40_000).map(|number| format!("n{number}")).collect();
        assert_eq!(loopbacks(&found, &many).ranges.unwrap()[0].to_string(), "10.0.0.0/8");
    }

    #[test]
    fn names_that_meet_on_one_loopback_are_pinned_apart() {
        let given: Vec<String> = (0..2_000).map(|number| format!("n{number}")).collect();
        let range = address::cidr("10.255.0.0/16").unwrap();
        let pins: BTreeMap<usize, IpAddr> = pinned(&given, &range).into_iter().collect();
        let all: BTreeSet<IpAddr> = (0..given.len())
            .map(|at| pins.get(&at).copied().unwrap_or_else(|| loopback::hashed(&given[at], &range)))
            .collect();
        assert!(!pins.is_empty());
        assert_eq!(all.len(), given.len());
    }
}
