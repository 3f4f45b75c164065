//! A program as text that a network engineer reads.

use crate::diff::{route, route_name, via};
use crate::{Objects, PrefixTable, Program};
use std::fmt::Write;

/// All of a program, a line per object, in the order in which an agent installs them.
///
/// Routes name their next hops and the node that they lead to.
pub(crate) fn render_program(program: &Program, table: &PrefixTable) -> String {
    let objects = Objects::of(program, table);
    let mut lines = vec![format!("host {}", program.host)];
    lines.extend(objects.sysctls.iter().map(|(name, value)| format!("sysctl {name} = {value}")));
    lines.extend(objects.mtus.iter().map(|(interface, mtu_bytes)| format!("mtu {interface} {mtu_bytes}")));
    let addresses = objects.addresses.iter();
    lines.extend(addresses.map(|(interface, address)| format!("address {address} on {interface}")));
    let neighbours = objects.neighbours.iter();
    lines.extend(neighbours.map(|(interface, address)| format!("neighbour {address} on {interface}")));
    let nexthops = objects.nexthops.iter();
    lines.extend(nexthops.map(|(id, hop)| format!("nexthop {id:#x} {} {}", hop.interface, hop.gateway)));
    lines.extend(objects.groups.keys().map(|id| format!("group {id:#x} {}", via(&objects, *id))));
    for (key, value) in &objects.routes {
        let mut line = format!("{} {}", route_name(key), route(&objects, value));
        let destination = table.class_of(&key.prefix).and_then(|class| table.class_name(class));
        // Writing to a `String` cannot fail.
        let _ = destination.map(|name| write!(line, " to {name}"));
        lines.push(line);
    }
    lines.push(String::new());
    lines.join("\n")
}
