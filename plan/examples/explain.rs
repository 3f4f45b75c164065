//! Prints why a host uses its next hops for a prefix: `explain FILE HOST PREFIX`.
//!
//! Every neighbour is a candidate; what counts is the cost of the link plus the cost of the neighbour's own
//! way to the node that has the prefix. A way that comes back through the host is none.

#![allow(clippy::print_stdout)]

use plan::walk::{Fate, paths};
use plan::{Facts, compile};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, host, prefix] = &arguments[..] else { return Err("usage: explain FILE HOST PREFIX".into()) };
    let reading = topology::read(file, &std::fs::read(file)?);
    for diagnostic in &reading.diagnostics {
        eprintln!("{diagnostic}");
    }
    let topology = reading.topology.ok_or("the file is not a valid topology")?;
    let facts = Facts::default();
    let network = compile(&topology, &facts);
    let (program, _) = network.host(host).ok_or(format!("{file} has no node called {host}"))?;
    let class = network.table.class_of(&prefix.parse()?).ok_or(format!("no node has {prefix}"))?;
    let destination = network.table.class_name(class).ok_or("the class has a name")?;
    println!("{host} sends {prefix} to {destination}, like all of {destination}'s prefixes");
    for link in &topology.links {
        let Some(own) = link.ends.iter().position(|end| &topology.node(end.node).name == host) else {
            continue;
        };
        let (near, far) = (&link.ends[own], &link.ends[1 - own]);
        let neighbour = &topology.node(far.node).name;
        let ways = paths(&topology, &facts, &network, neighbour, destination);
        let way = match ways.iter().find(|way| way.fate == Fate::Delivered) {
            None => "no way from there".to_string(),
            Some(way) if way.hops.contains(host) => "its way comes back here".to_string(),
            Some(way) => {
                format!("cost {} + {} = {}", near.cost, way.cost, u64::from(near.cost) + way.cost)
            }
        };
        let metric = program.class_routes(class).iter().find_map(|route| {
            let mut members = program.group(route.group)?.members.iter();
            let used = members.any(|member| {
                program.nexthop(member.nexthop).is_some_and(|hop| hop.interface == near.interface)
            });
            used.then_some(route.metric)
        });
        let verdict = metric.map_or("not used".to_string(), |metric| format!("used at metric {metric}"));
        println!("  {} to {neighbour}: {way}: {verdict}", near.interface);
    }
    Ok(())
}
