//! Two programs of a host compared, object by object.
//!
//! [`diff`] is what an agent carries out, [`apply`] is what comes out of it, [`render`] is what an engineer
//! reads. Never decides an order: adds before deletes is the agent's rule.

use crate::Objects;
use crate::objects::{Family, NexthopValue, RouteKey, RouteValue};
use crate::program::{Behaviour, DiscardKind, Encapsulation, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What turns one set of objects into another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Objects that only the new side has, and new values of objects that both have.
    pub upsert: Objects,
    /// Objects that only the old side has, with their old values. (Sysctls and MTUs are never removed: a
    /// setting that no program names any more keeps its value.)
    pub remove: Objects,
    /// Old values of the objects whose new values are in `upsert`.
    pub replaced: Objects,
}

/// Computes `new - old`.
pub fn diff(old: &Objects, new: &Objects) -> Diff {
    let mut diff = Diff::default();
    let Diff { upsert, remove, replaced } = &mut diff;
    changed(&old.sysctls, &new.sysctls, &mut upsert.sysctls, &mut replaced.sysctls);
    changed(&old.mtus, &new.mtus, &mut upsert.mtus, &mut replaced.mtus);
    changed(&old.nexthops, &new.nexthops, &mut upsert.nexthops, &mut replaced.nexthops);
    changed(&old.groups, &new.groups, &mut upsert.groups, &mut replaced.groups);
    changed(&old.routes, &new.routes, &mut upsert.routes, &mut replaced.routes);
    changed(&old.vxlans, &new.vxlans, &mut upsert.vxlans, &mut replaced.vxlans);
    changed(&old.forwarding, &new.forwarding, &mut upsert.forwarding, &mut replaced.forwarding);
    let [before, after] = [old, new].map(|side| &side.vxlan_neighbours);
    changed(before, after, &mut upsert.vxlan_neighbours, &mut replaced.vxlan_neighbours);
    gone(before, after, &mut remove.vxlan_neighbours);
    let [before, after] = [old, new].map(|side| &side.local_segments);
    changed(before, after, &mut upsert.local_segments, &mut replaced.local_segments);
    gone(before, after, &mut remove.local_segments);
    gone(&old.vxlans, &new.vxlans, &mut remove.vxlans);
    gone(&old.forwarding, &new.forwarding, &mut remove.forwarding);
    gone(&old.nexthops, &new.nexthops, &mut remove.nexthops);
    gone(&old.groups, &new.groups, &mut remove.groups);
    gone(&old.routes, &new.routes, &mut remove.routes);
    upsert.addresses.extend(new.addresses.difference(&old.addresses).cloned());
    remove.addresses.extend(old.addresses.difference(&new.addresses).cloned());
    upsert.neighbours.extend(new.neighbours.difference(&old.neighbours).cloned());
    remove.neighbours.extend(old.neighbours.difference(&new.neighbours).cloned());
    upsert.rules.extend(new.rules.difference(&old.rules).cloned());
    remove.rules.extend(old.rules.difference(&new.rules).cloned());
    diff
}

/// New values of what is new or different, and the old ones of what is different.
fn changed<K: Clone + Ord, V: Clone + PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    upsert: &mut BTreeMap<K, V>,
    replaced: &mut BTreeMap<K, V>,
) {
    for (key, value) in new {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        upsert.insert(key.clone(), value.clone());
        if let Some(before) = before {
            replaced.insert(key.clone(), before.clone());
        }
    }
}

/// Old values of what the new side does not have.
fn gone<K: Clone + Ord, V: Clone>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>, remove: &mut BTreeMap<K, V>) {
    let missing = old.iter().filter(|(key, _)| !new.contains_key(key));
    remove.extend(missing.map(|(key, value)| (key.clone(), value.clone())));
}

/// Carries out a diff on the objects that it was computed from.
///
/// `apply(&diff(old, new), old)` is `new`, plus the sysctls and MTUs that only `old` names.
pub fn apply(diff: &Diff, old: &Objects) -> Objects {
    let mut objects = old.clone();
    let Diff { upsert, remove, .. } = diff;
    objects.sysctls.extend(upsert.sysctls.clone());
    objects.mtus.extend(upsert.mtus.clone());
    objects.addresses.retain(|address| !remove.addresses.contains(address));
    objects.addresses.extend(upsert.addresses.iter().cloned());
    objects.neighbours.retain(|neighbour| !remove.neighbours.contains(neighbour));
    objects.neighbours.extend(upsert.neighbours.iter().cloned());
    edit(&mut objects.nexthops, &upsert.nexthops, &remove.nexthops);
    edit(&mut objects.groups, &upsert.groups, &remove.groups);
    edit(&mut objects.routes, &upsert.routes, &remove.routes);
    edit(&mut objects.vxlans, &upsert.vxlans, &remove.vxlans);
    edit(&mut objects.forwarding, &upsert.forwarding, &remove.forwarding);
    edit(&mut objects.vxlan_neighbours, &upsert.vxlan_neighbours, &remove.vxlan_neighbours);
    edit(&mut objects.local_segments, &upsert.local_segments, &remove.local_segments);
    objects.rules.retain(|rule| !remove.rules.contains(rule));
    objects.rules.extend(upsert.rules.iter().cloned());
    objects
}

/// Takes out, then puts in.
fn edit<K: Clone + Ord, V: Clone>(
    objects: &mut BTreeMap<K, V>,
    upsert: &BTreeMap<K, V>,
    remove: &BTreeMap<K, V>,
) {
    objects.retain(|key, _| !remove.contains_key(key));
    objects.extend(upsert.iter().map(|(key, value)| (key.clone(), value.clone())));
}

/// Objects of every kind.
fn count(objects: &Objects) -> usize {
    objects.sysctls.len() + messages(objects)
}

/// Objects that a netlink message sets or removes: all but sysctls, which are files.
fn messages(objects: &Objects) -> usize {
    objects.mtus.len()
        + objects.addresses.len()
        + objects.neighbours.len()
        + objects.nexthops.len()
        + objects.groups.len()
        + objects.routes.len()
        + objects.vxlans.len()
        + objects.forwarding.len()
        + objects.vxlan_neighbours.len()
        + objects.local_segments.len()
        + objects.rules.len()
}

impl Diff {
    /// Number of NEW and DEL object messages that an agent sends for it (a changed object is one message; an
    /// MTU is one, too; a sysctl is a file and none).
    pub fn writes(&self) -> usize {
        messages(&self.upsert) + messages(&self.remove)
    }

    /// Objects that only the new side has.
    pub fn added(&self) -> usize {
        count(&self.upsert) - count(&self.replaced)
    }

    /// Objects that both sides have with different values.
    pub fn changed(&self) -> usize {
        count(&self.replaced)
    }

    /// Objects that only the old side has.
    pub fn removed(&self) -> usize {
        count(&self.remove)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        count(&self.upsert) + count(&self.remove) == 0
    }
}

/// The difference as text, a line per object: `+` added, `~` changed, `-` removed. Empty when equal.
///
/// Routes name their next hops instead of a group's number.
pub fn render(old: &Objects, new: &Objects) -> String {
    let Diff { upsert, remove, replaced } = diff(old, new);
    let mut text = String::new();
    let out = &mut text;
    for (name, value) in &upsert.sysctls {
        line(out, &format!("sysctl {name} ="), replaced.sysctls.get(name), Some(value));
    }
    for (interface, mtu_bytes) in &upsert.mtus {
        line(out, &format!("mtu {interface}"), replaced.mtus.get(interface), Some(mtu_bytes));
    }
    for (sign, side) in [("+", &upsert), ("-", &remove)] {
        for (interface, address) in &side.addresses {
            push(out, format_args!("{sign} address {address} on {interface}"));
        }
    }
    for (sign, side) in [("+", &upsert), ("-", &remove)] {
        for (interface, address) in &side.neighbours {
            push(out, format_args!("{sign} neighbour {address} on {interface}"));
        }
    }
    let out = &mut text;
    tunnels(out, [old, new], [&upsert, &remove]);
    for id in both(&upsert.nexthops, &remove.nexthops) {
        let [before, after] = [old, new].map(|side| side.nexthops.get(id).map(nexthop));
        line(out, &format!("nexthop {id:#x}"), before.as_ref(), after.as_ref());
    }
    for id in both(&upsert.groups, &remove.groups) {
        let [before, after] = [old, new].map(|side| side.groups.contains_key(id).then(|| via(side, *id)));
        line(out, &format!("group {id:#x}"), before.as_ref(), after.as_ref());
    }
    for key in both(&upsert.routes, &remove.routes) {
        let [before, after] = [old, new].map(|side| side.routes.get(key).map(|value| route(side, value)));
        line(out, &route_name(key), before.as_ref(), after.as_ref());
    }
    for segment in both(&upsert.local_segments, &remove.local_segments) {
        let [before, after] = [old, new].map(|side| {
            let (interface, behaviour) = side.local_segments.get(segment)?;
            Some(format!("{} on {interface}", behaviour_text(behaviour)))
        });
        line(out, &format!("local segment {segment}"), before.as_ref(), after.as_ref());
    }
    for (sign, side) in [("+", &upsert), ("-", &remove)] {
        for (family, rule) in &side.rules {
            push(out, format_args!("{sign} {}", rule_text(*family, rule)));
        }
    }
    text
}

/// VXLAN links with their entries.
fn tunnels(out: &mut String, [old, new]: [&Objects; 2], [upsert, remove]: [&Objects; 2]) {
    for name in both(&upsert.vxlans, &remove.vxlans) {
        let [before, after] = [old, new].map(|side| {
            let link = side.vxlans.get(name)?;
            let mac = mac_text(&link.mac);
            let (vni, local, port, mtu) = (link.vni, link.local, link.port, link.mtu_bytes);
            Some(format!("vni {vni} local {local} port {port} {mac} mtu {mtu}"))
        });
        line(out, &format!("VXLAN link {name}"), before.as_ref(), after.as_ref());
    }
    for key in both(&upsert.forwarding, &remove.forwarding) {
        let [before, after] = [old, new].map(|side| side.forwarding.get(key));
        line(out, &format!("forwarding of {} on {} to", mac_text(&key.1), key.0), before, after);
    }
    for key in both(&upsert.vxlan_neighbours, &remove.vxlan_neighbours) {
        let [before, after] = [old, new].map(|side| side.vxlan_neighbours.get(key).map(mac_text));
        line(out, &format!("neighbour {} on {} at", key.1, key.0), before.as_ref(), after.as_ref());
    }
}

/// `02:00:00:00:00:07`.
pub fn mac_text(mac: &[u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// `IPv4 rule 9100 from eth1 to table 91000`.
pub fn rule_text(family: Family, rule: &Rule) -> String {
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let Rule { priority, incoming_interface, table } = rule;
    let from = if incoming_interface.is_empty() { "everywhere" } else { incoming_interface };
    format!("{family} rule {priority} from {from} to table {table}")
}

/// As ip-route(8) writes it: `End.X nh6 fe80::2 oif eth1`.
pub fn behaviour_text(behaviour: &Behaviour) -> String {
    match behaviour {
        Behaviour::End => "End".to_string(),
        Behaviour::EndX { interface, next_hop } => format!("End.X nh6 {next_hop} oif {interface}"),
        Behaviour::EndDx4 { next_hop } => format!("End.DX4 nh4 {next_hop}"),
        Behaviour::EndDx6 { next_hop } => format!("End.DX6 nh6 {next_hop}"),
        Behaviour::EndDt6 { table } => format!("End.DT6 table {table}"),
    }
}

/// `eth1 fe80::2`, and the segments of an encapsulation.
fn nexthop(value: &NexthopValue) -> String {
    let plain = format!("{} {}", value.interface, value.gateway);
    match &value.encapsulation {
        None => plain,
        Some(Encapsulation::Seg6 { segments }) => {
            let segments: Vec<String> = segments.iter().map(ToString::to_string).collect();
            format!("{plain} segments {}", segments.join(","))
        }
    }
}

/// Keys of either map, sorted.
fn both<'a, K: Ord, V>(a: &'a BTreeMap<K, V>, b: &'a BTreeMap<K, V>) -> BTreeSet<&'a K> {
    a.keys().chain(b.keys()).collect()
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(out, "{text}");
}

fn line<T: std::fmt::Display>(out: &mut String, name: &str, before: Option<&T>, after: Option<&T>) {
    match (before, after) {
        (None, Some(after)) => push(out, format_args!("+ {name} {after}")),
        (Some(before), None) => push(out, format_args!("- {name} {before}")),
        (Some(before), Some(after)) => push(out, format_args!("~ {name} {before} -> {after}")),
        (None, None) => {}
    }
}

/// `route 10.1.0.0/24 metric 100`; a table that is not the main one is named.
pub(crate) fn route_name(key: &RouteKey) -> String {
    let table = match key.table {
        crate::program::TABLE_MAIN => String::new(),
        table => format!(" table {table}"),
    };
    format!("route {}{table} metric {}", key.prefix, key.metric)
}

pub(crate) fn route(objects: &Objects, value: &RouteValue) -> String {
    match value {
        RouteValue::Discard(DiscardKind::Blackhole) => "blackhole".to_string(),
        RouteValue::Discard(DiscardKind::Unreachable) => "unreachable".to_string(),
        RouteValue::Via { group, preferred_source, mtu_bytes } => {
            let source = preferred_source.map(|address| format!(" src {address}")).unwrap_or_default();
            let mtu = mtu_bytes.map(|bytes| format!(" mtu {bytes}")).unwrap_or_default();
            format!("{}{source}{mtu}", via(objects, *group))
        }
    }
}

/// `via eth1 fe80::2, eth2 fe80::2`, with weights where they are not 1.
pub(crate) fn via(objects: &Objects, group: u32) -> String {
    let Some(value) = objects.groups.get(&group) else { return format!("group {group:#x}") };
    let legs: Vec<String> = value
        .members
        .iter()
        .map(|member| {
            let weight =
                if member.weight == 1 { String::new() } else { format!(" weight {}", member.weight) };
            match objects.nexthops.get(&member.nexthop) {
                Some(hop) => format!("{}{weight}", nexthop(hop)),
                None => format!("nexthop {:#x}{weight}", member.nexthop),
            }
        })
        .collect();
    let resilient = match value.resilient {
        Some(resilient) => format!(" resilient, {} buckets", resilient.buckets),
        None => String::new(),
    };
    format!("via {}{resilient}", legs.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::{down, topology};
    use crate::{Facts, compile};

    fn objects_of_a(text: &str, links_down: &[usize]) -> Objects {
        let topology = topology(text);
        let network = compile(&topology, &down(&topology, links_down));
        Objects::of(network.host("a").unwrap().0, &network.table)
    }

    #[test]
    fn equal_programs_differ_in_nothing() {
        let objects = objects_of_a("a-b 1, b-c 1", &[]);
        let diff = diff(&objects, &objects);
        assert_eq!((diff.writes(), diff.is_empty(), render(&objects, &objects)), (0, true, String::new()));
    }

    #[test]
    fn a_lost_link_reads_as_the_routes_that_move() {
        let (old, new) =
            (objects_of_a("a-b 1, b-c 1, a-c 5", &[]), objects_of_a("a-b 1, b-c 1, a-c 5", &[0]));
        insta::assert_snapshot!(render(&old, &new));
        let diff = diff(&old, &new);
        assert_eq!((diff.added(), diff.changed(), diff.removed(), diff.writes()), (0, 6, 8, 14));
    }

    #[test]
    fn a_new_node_reads_as_its_routes() {
        let (old, new) = (objects_of_a("a-b 1", &[]), objects_of_a("a-b 1, a-c 1", &[]));
        insta::assert_snapshot!(render(&old, &new));
        let diff = diff(&old, &new);
        // Sysctls are files: they count as objects, not as messages.
        assert_eq!(diff.added() - diff.writes(), diff.upsert.sysctls.len());
    }

    #[test]
    fn weights_other_tables_and_dangling_ids_show() {
        let network = compile(&topology("a-b 1, a-b 1"), &Facts::default());
        let mut program = (**network.host("a").unwrap().0).clone();
        let old = Objects::of(&program, &network.table);
        program.groups[0].members[0].weight = 3;
        program.nexthops.pop();
        program.classes[0].table = 91_000;
        let new = Objects::of(&program, &network.table);
        insta::assert_snapshot!(render(&old, &new));
    }
}
