//! Prefixes of several nodes and of uplinks: the nearest place attracts, equally near ones share, nothing loops.

use crate::program::{METRIC_BACKUP, METRIC_PRIMARY, Program};
use crate::{Facts, Network, compile};
use ipnetwork::IpNetwork;
use proptest::prelude::*;
use std::collections::BTreeMap;
use topology::Topology;

fn read(text: &str) -> Topology {
    let reading = topology::read("test.yaml", text.as_bytes());
    reading.topology.unwrap_or_else(|| panic!("{:?}", reading.diagnostics))
}

/// `a - b - c - d`, `a` and `d` with a prefix in common and an uplink each; `b` and `c` have one of IPv6 each.
fn line() -> Topology {
    read(
        "version: 1\nname: t\nnodes:\n  a: { prefixes: [192.0.2.53/32] }\n  b: {}\n  c: {}\n  d: { prefixes: [192.0.2.53/32] }\n\
         links:\n- { endpoints: [\"a:e1\", \"b:e1\"], cost: 10 }\n- { endpoints: [\"b:e2\", \"c:e1\"], cost: 10 }\n\
         - { endpoints: [\"c:e2\", \"d:e1\"], cost: 10 }\nexternal:\n\
         - { node: a, interface: wan0, next_hop: 203.0.113.1, prefixes: [0.0.0.0/0] }\n\
         - { node: d, interface: wan0, next_hop: 203.0.113.9, prefixes: [0.0.0.0/0] }\n\
         - { node: d, interface: wan0, next_hop: \"fe80::99\", prefixes: [\"::/0\"] }\n",
    )
}

/// Interfaces and gateways of the route to a prefix; empty: none.
fn route(network: &Network, host: &str, prefix: &str, metric: u32) -> String {
    let (program, _) = network.host(host).expect("there");
    let prefix: IpNetwork = prefix.parse().expect("a prefix");
    let class = network.table.class_of(&prefix).expect("in the table");
    let route = program.class_routes(class).iter().find(|route| route.metric == metric);
    route.map(|route| legs(program, route.group).join(" ")).unwrap_or_default()
}

fn legs(program: &Program, group: u32) -> Vec<String> {
    let group = program.groups.iter().find(|found| found.id == group).expect("there");
    let mut legs: Vec<String> = (group.members.iter())
        .filter_map(|member| program.nexthop(member.nexthop))
        .map(|hop| {
            if hop.interface == "wan0" { format!("wan0 via {}", hop.gateway) } else { hop.interface.clone() }
        })
        .collect();
    legs.sort();
    legs
}

#[test]
fn the_nearest_place_attracts_and_the_uplink_itself_is_used_where_it_is() {
    let network = compile(&line(), &Facts::default());
    for (host, service, default_v4, default_v6) in [
        ("a", "", "wan0 via 203.0.113.1", "e1"),
        ("b", "e1", "e1", "e2"),
        ("c", "e2", "e2", "e2"),
        ("d", "", "wan0 via 203.0.113.9", "wan0 via fe80::99"),
    ] {
        let found = [("192.0.2.53/32", service), ("0.0.0.0/0", default_v4), ("::/0", default_v6)];
        for (prefix, wanted) in found {
            assert_eq!(route(&network, host, prefix, METRIC_PRIMARY), wanted, "{host} {prefix}");
        }
    }
    // A node's own loopbacks stay in a class of their own.
    assert_eq!(network.table.classes.iter().filter(|class| class.name == "a").count(), 1);
    let names: Vec<&str> =
        network.table.classes.iter().map(|class| &*class.name).filter(|name| name.len() > 1).collect();
    let mut names = names;
    names.sort_unstable();
    assert_eq!(names, ["a + d", "a:wan0 via 203.0.113.1 + d:wan0 via 203.0.113.9", "d:wan0 via fe80::99"]);
}

#[test]
fn an_uplink_that_is_down_attracts_nobody_while_another_is_left() {
    let topology = line();
    let down = |uplinks: &[&str]| Facts { links_down: uplinks.iter().map(ToString::to_string).collect() };
    let all = compile(&topology, &Facts::default());
    let without_a = compile(&topology, &down(&["a:wan0"]));
    for host in ["a", "b", "c"] {
        let wanted = if host == "a" { "e1" } else { "e2" };
        assert_eq!(route(&without_a, host, "0.0.0.0/0", METRIC_PRIMARY), wanted, "{host}");
    }
    assert_eq!(without_a.table_digest, all.table_digest, "a fact moves no prefix to another class");
    // None is left: facts never remove a prefix.
    let without = compile(&topology, &down(&["a:wan0", "d:wan0"]));
    assert_eq!(without.digests, all.digests);
}

#[test]
fn equally_near_places_share_and_one_way_has_a_downstream_backup() {
    let square = "version: 1\nname: t\nnodes: { a: {prefixes: [192.0.2.1/32]}, b: {}, c: {prefixes: [192.0.2.1/32]}, d: {} }\nlinks:\n\
        - { endpoints: [\"a:e1\", \"b:e1\"], cost: 10 }\n- { endpoints: [\"b:e2\", \"c:e1\"], cost: 10 }\n\
        - { endpoints: [\"c:e2\", \"d:e1\"], cost: 4 }\n- { endpoints: [\"d:e2\", \"b:e3\"], cost: 10 }\n";
    let network = compile(&read(square), &Facts::default());
    assert_eq!(route(&network, "b", "192.0.2.1/32", METRIC_PRIMARY), "e1 e2");
    assert_eq!(route(&network, "b", "192.0.2.1/32", METRIC_BACKUP), "", "two legs shed by themselves");
    assert_eq!(route(&network, "d", "192.0.2.1/32", METRIC_PRIMARY), "e1");
    // b is farther from a place than d: it might send back. No backup rather than a loop.
    assert_eq!(route(&network, "d", "192.0.2.1/32", METRIC_BACKUP), "");
    let nearer = square.replace("cost: 4", "cost: 11").replace("\"b:e3\"], cost: 10", "\"b:e3\"], cost: 2");
    let network = compile(&read(&nearer), &Facts::default());
    assert_eq!(route(&network, "d", "192.0.2.1/32", METRIC_PRIMARY), "e1");
    assert_eq!(route(&network, "d", "192.0.2.1/32", METRIC_BACKUP), "e2");
}

/// A random network of up to seven nodes in which some announce one prefix together.
fn networks() -> impl Strategy<Value = (Topology, Vec<usize>)> {
    let costs = proptest::collection::vec(proptest::option::weighted(0.5, 1..4_u32), 21);
    (3..8_usize, costs, proptest::collection::vec(any::<bool>(), 7)).prop_map(|(nodes, costs, announce)| {
        let mut places: Vec<usize> = (0..nodes).filter(|node| announce[*node]).collect();
        if places.is_empty() {
            places.push(0);
        }
        let mut text = "version: 1\nname: t\nnodes:\n".to_string();
        for node in 0..nodes {
            let prefix = if places.contains(&node) { "192.0.2.1/32" } else { "" };
            text += &format!("  n{node}: {{ prefixes: [{prefix}] }}\n");
        }
        text += "links:\n- { endpoints: [\"n0:x\", \"n1:x\"], cost: 9 }\n";
        let pairs = (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b)));
        for ((a, b), cost) in pairs.zip(costs) {
            if let Some(cost) = cost {
                text += &format!("- {{ endpoints: [\"n{a}:e{b}\", \"n{b}:e{a}\"], cost: {cost} }}\n");
            }
        }
        (read(&text), places)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn next_hops_are_those_of_a_search_from_all_places_at_once((topology, places) in networks()) {
        let network = compile(&topology, &Facts::default());
        // Bellman and Ford's way, from all places at once.
        let mut distance = vec![u64::MAX; topology.nodes.len()];
        places.iter().for_each(|place| distance[*place] = 0);
        for _ in 0..topology.nodes.len() {
            for link in &topology.links {
                for (own, far) in [(0, 1), (1, 0)] {
                    let (from, to) = (link.ends[own].node.0 as usize, link.ends[far].node.0 as usize);
                    let through = distance[to].saturating_add(u64::from(link.ends[own].cost));
                    distance[from] = distance[from].min(through);
                }
            }
        }
        for (at, node) in topology.nodes.iter().enumerate() {
            let mut wanted: BTreeMap<String, u64> = BTreeMap::new();
            for link in &topology.links {
                for (own, far) in [(0, 1), (1, 0)] {
                    let end = &link.ends[own];
                    let rest = distance[link.ends[far].node.0 as usize];
                    if end.node.0 as usize == at && rest.saturating_add(u64::from(end.cost)) == distance[at]
                        && distance[at] != u64::MAX && distance[at] > 0
                    {
                        wanted.insert(end.interface.clone(), rest);
                    }
                }
            }
            let wanted: Vec<String> = wanted.into_keys().collect();
            prop_assert_eq!(route(&network, &node.name, "192.0.2.1/32", METRIC_PRIMARY), wanted.join(" "));
        }
    }
}
