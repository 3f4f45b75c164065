//! Links and bundles: both ends exist, no interface is used twice, subnets have partners, bundles are alike.

use super::Names;
use crate::address;
use crate::diagnostic::{Code, Place, Problems, quote};
use crate::keys::{COST_DEFAULT, LIVENESS_INTERVAL_MS_DEFAULT, LIVENESS_MULTIPLIER_DEFAULT};
use crate::model::{End, Link, LinkGroup, Liveness};
use crate::raw::{RawEnd, RawGroup, RawLink, RawLiveness};
use crate::suggest::Suggester;
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

/// Addresses of the first and second end of every link. Link-local (RFC 4291, 2.5.6), so that links need no
/// address plan, and one next hop serves both families.
const LINK_LOCAL: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2)];

pub(super) fn endpoint(end: &RawEnd) -> String {
    format!("{}:{}", end.node, end.interface)
}

pub(super) fn link_id(link: &RawLink) -> String {
    format!("{}--{}", endpoint(&link.ends[0]), endpoint(&link.ends[1]))
}

pub(super) fn check_endpoints(
    links: &[RawLink],
    names: &Names<'_>,
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
pub(super) fn check_interfaces(links: &[RawLink], problems: &mut Problems) {
    let mut ends: Vec<(&RawEnd, &RawLink)> =
        links.iter().flat_map(|link| link.ends.iter().map(move |end| (end, link))).collect();
    ends.sort_by_key(|(end, _)| end.place);
    let mut users: BTreeMap<(&str, &str), Place> = BTreeMap::new();
    for (end, link) in ends {
        let itself = link.ends[0].node == link.ends[1].node;
        let user = users.insert((&end.node, &end.interface), end.place);
        if itself {
            let message = format!("this link connects {} to itself: it can carry nothing", quote(&end.node));
            // Once per link, where the second endpoint stands.
            if link.ends.iter().all(|other| other.place <= end.place) {
                let help = "correct the node's name at one end, or remove the link";
                problems.error(Code::SELF_LINK, end.place, message, help);
            }
        } else if let Some(user) = user {
            let line = problems.line(user, end.place);
            let message = format!("the interface {} is already at the link on {line}", quote(&endpoint(end)));
            let help = "give each link an interface of its own: links are point to point";
            problems.error(Code::INTERFACE_USED_TWICE, end.place, message, help);
        }
    }
}

/// On a numbered link, each address needs a partner in the same subnet at the other end.
pub(super) fn check_subnets(link: &RawLink, problems: &mut Problems) {
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

/// Each group that a link names exists; its links join the same two nodes, at equal costs, and are enough.
pub(super) fn check_groups(
    groups: &[RawGroup],
    links: &[RawLink],
    problems: &mut Problems,
    suggester: &mut Suggester,
) {
    let mut known: BTreeMap<&str, Place> = BTreeMap::new();
    for RawGroup { name, .. } in groups {
        if let Some(first) = known.get(name.value.as_str()) {
            let line = problems.line(*first, name.place);
            let message = format!("the link group {} is already there, on {line}", quote(&name.value));
            problems.error(Code::DUPLICATE_GROUP, name.place, message, "remove one of the two, or rename it");
        } else {
            known.insert(&name.value, name.place);
        }
    }
    let mut members: BTreeMap<&str, Vec<&RawLink>> = BTreeMap::new();
    for link in links {
        let Some(group) = &link.group else { continue };
        if known.contains_key(group.value.as_str()) {
            members.entry(&group.value).or_default().push(link);
            continue;
        }
        let help = match suggester.nearest(&group.value, known.keys().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add {} to `link_groups`", quote(&format!("{{name: {}}}", group.value))),
        };
        let message = format!("{} is not in `link_groups`", quote(&group.value));
        problems.error(Code::UNKNOWN_GROUP, group.place, message, help);
    }
    for group in groups {
        let members = members.get(group.name.value.as_str()).map(Vec::as_slice).unwrap_or(&[]);
        check_group(group, members, problems);
    }
}

fn check_group(group: &RawGroup, members: &[&RawLink], problems: &mut Problems) {
    let RawGroup { name, min_links } = group;
    if members.len() < *min_links as usize {
        let message = format!(
            "the link group {} has {} of the {min_links} links that it needs: it would never carry anything",
            quote(&name.value),
            members.len()
        );
        let help = format!("write `group: {}` at its links, or lower `min_links`", name.value);
        problems.error(Code::GROUP_MISMATCH, name.place, message, help);
    }
    let Some((first, rest)) = members.split_first() else { return };
    let sides = |link: &RawLink| {
        let mut sides = link.ends.each_ref().map(|end| (end.node.clone(), end.cost));
        sides.sort();
        sides
    };
    let wanted = sides(first);
    for link in rest {
        let found = sides(link);
        let place = link.group.as_ref().map_or(link.place, |group| group.place);
        let line = problems.line(first.place, place);
        let same_nodes = [0, 1].iter().all(|side| found[*side].0 == wanted[*side].0);
        let (message, help) = if !same_nodes {
            let message = format!(
                "this link joins {} and {}, but the link of the group {} on {line} joins {} and {}",
                quote(&found[0].0),
                quote(&found[1].0),
                quote(&name.value),
                quote(&wanted[0].0),
                quote(&wanted[1].0)
            );
            (message, "give each pair of nodes a group of its own")
        } else if found != wanted {
            let message = format!(
                "this link has other costs than the link of the group {} on {line}: a bundle has one cost for \
                 each direction",
                quote(&name.value)
            );
            (message, "give the links of a group equal costs")
        } else {
            continue;
        };
        problems.error(Code::GROUP_MISMATCH, place, message, help);
    }
}

/// The bundles, sorted by name.
pub(super) fn build_groups(groups: Vec<RawGroup>) -> Vec<LinkGroup> {
    let mut groups: Vec<LinkGroup> = groups
        .into_iter()
        .map(|group| LinkGroup { name: group.name.value, min_links: group.min_links })
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

fn liveness(written: Option<RawLiveness>) -> Option<Liveness> {
    let (interval_ms, multiplier) = match written {
        Some(RawLiveness::Off) => return None,
        Some(RawLiveness::On { interval_ms, multiplier }) => (interval_ms, multiplier),
        None => (None, None),
    };
    Some(Liveness {
        interval_ms: interval_ms.unwrap_or(LIVENESS_INTERVAL_MS_DEFAULT),
        multiplier: multiplier.unwrap_or(LIVENESS_MULTIPLIER_DEFAULT),
    })
}

/// Nothing only when a node is missing, which was reported before.
pub(super) fn build_link(link: RawLink, names: &Names<'_>, problems: &Problems) -> Option<Link> {
    let id = link_id(&link);
    let RawLink { place, ends: [first, second], settings, srlgs, affinity, group, drained } = link;
    let end = |end: RawEnd, link_local: Ipv6Addr| {
        let mut addresses: Vec<IpNetwork> =
            end.addresses.iter().flatten().map(|address| address.value).collect();
        addresses.sort();
        let node = *names.get(end.node.as_str())?;
        Some(End {
            node,
            interface: end.interface,
            cost: end.cost.unwrap_or(COST_DEFAULT),
            link_local,
            addresses,
        })
    };
    Some(Link {
        id,
        ends: [end(first, LINK_LOCAL[0])?, end(second, LINK_LOCAL[1])?],
        capacity_bps: settings.capacity_bps,
        latency_us: settings.latency_us,
        mtu_bytes: settings.mtu_bytes,
        liveness: liveness(settings.liveness),
        srlgs,
        affinity: affinity.unwrap_or_default(),
        group: group.map(|group| group.value),
        drained,
        line: problems.running_line(place),
    })
}
