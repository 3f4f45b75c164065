//! Two programs of a host compared, object by object.
//!
//! [`diff`] is what an agent carries out, [`apply`] is what comes out of it, [`render`] is what an engineer
//! reads. Never decides an order: adds before deletes is the agent's rule.

use crate::Objects;
use crate::objects::{RouteKey, RouteValue};
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
    gone(&old.nexthops, &new.nexthops, &mut remove.nexthops);
    gone(&old.groups, &new.groups, &mut remove.groups);
    gone(&old.routes, &new.routes, &mut remove.routes);
    upsert.addresses.extend(new.addresses.difference(&old.addresses).cloned());
    remove.addresses.extend(old.addresses.difference(&new.addresses).cloned());
    upsert.neighbours.extend(new.neighbours.difference(&old.neighbours).cloned());
    remove.neighbours.extend(old.neighbours.difference(&new.neighbours).cloned());
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
    objects.nexthops.retain(|id, _| !remove.nexthops.contains_key(id));
    objects.nexthops.extend(upsert.nexthops.clone());
    objects.groups.retain(|id, _| !remove.groups.contains_key(id));
    objects.groups.extend(upsert.groups.clone());
    objects.routes.retain(|key, _| !remove.routes.contains_key(key));
    objects.routes.extend(upsert.routes.iter());
    objects
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
    for id in both(&upsert.nexthops, &remove.nexthops) {
        let [before, after] = [old, new].map(|side| side.nexthops.get(id).map(|(i, g)| format!("{i} {g}")));
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
    text
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

fn route(objects: &Objects, value: &RouteValue) -> String {
    let source = value.preferred_source.map(|address| format!(" src {address}")).unwrap_or_default();
    format!("{}{source}", via(objects, value.group))
}

/// `via eth1 fe80::2, eth2 fe80::2`, with weights where they are not 1.
pub(crate) fn via(objects: &Objects, group: u32) -> String {
    let Some(members) = objects.groups.get(&group) else { return format!("group {group:#x}") };
    let legs: Vec<String> = members
        .iter()
        .map(|member| {
            let weight =
                if member.weight == 1 { String::new() } else { format!(" weight {}", member.weight) };
            match objects.nexthops.get(&member.nexthop) {
                Some((interface, gateway)) => format!("{interface} {gateway}{weight}"),
                None => format!("nexthop {:#x}{weight}", member.nexthop),
            }
        })
        .collect();
    format!("via {}", legs.join(", "))
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
