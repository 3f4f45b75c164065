//! Random walks of events: after each the state is that of a compilation from nothing.

use super::*;
use crate::compile;
use crate::tests::fixture::topology;
use proptest::prelude::*;
use topology::External;

const NAMES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

/// One event: what, which link or node, how much.
type Event = (u8, usize, u32);

fn networks() -> impl Strategy<Value = Topology> {
    let link = (0..12_usize, 0..12_usize, 1..6_u32, 1..6_u32);
    (prop::collection::vec(link, 4..36), any::<u16>(), any::<bool>(), any::<bool>()).prop_map(
        |(links, bits, shared, risks)| {
            let links = links.into_iter().filter(|(a, b, _, _)| a != b);
            let mut entries: Vec<String> = NAMES[..3].iter().map(|name| name.to_string()).collect();
            entries
                .extend(links.map(|(a, b, there, back)| format!("{}-{} {there}/{back}", NAMES[a], NAMES[b])));
            let mut topology = topology(&entries.join(", "));
            for (at, link) in
                topology.links.iter_mut().enumerate().filter(|(at, _)| risks && bits >> (at % 16) & 1 == 1)
            {
                link.srlgs = vec![format!("duct-{}", at % 3)];
            }
            topology.weigh_by_capacity = shared;
            if shared {
                topology.nodes[1].prefixes = topology.nodes[0].prefixes.clone();
                topology.external.push(External {
                    node: NodeIndex(0),
                    interface: "up0".to_string(),
                    next_hop: "192.0.2.1".parse().unwrap(),
                    prefixes: vec!["0.0.0.0/0".parse().unwrap()],
                    line: 0,
                });
                topology.external.push(External { node: NodeIndex(2), ..topology.external[0].clone() });
            }
            topology
        },
    )
}

fn happen(topology: &mut Topology, facts: &mut Facts, (what, at, much): Event) {
    if topology.links.is_empty() {
        return;
    }
    let link = at % topology.links.len();
    let node = at % topology.nodes.len();
    let mut toggle = |name: String| {
        if !facts.links_down.remove(&name) {
            facts.links_down.insert(name);
        }
    };
    match what {
        0..=3 => toggle(topology.links[link].id.clone()),
        4 => topology.links[link].ends[much as usize % 2].cost = 1 + much,
        5 => topology.links[link].drained ^= true,
        6 => topology.nodes[node].drained ^= true,
        7 => topology.links[link].mtu_bytes = Some(1_500 + much),
        8 => {
            topology.links.remove(link);
        }
        9 => {
            for link in
                topology.links.iter().filter(|link| link.ends.iter().any(|end| end.node.0 == node as u32))
            {
                facts.links_down.insert(link.id.clone());
            }
        }
        10 => topology.nodes[node].prefixes.push(format!("172.16.{much}.0/24").parse().unwrap()),
        11 => topology.links[link].capacity_bps = Some(u64::from(1 + much)),
        _ => toggle("a:up0".to_string()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_of_events_ends_where_a_compilation_from_nothing_does(
        mut topology in networks(),
        events in prop::collection::vec((0..13_u8, any::<usize>(), 0..9_u32), 1..12),
    ) {
        let mut facts = Facts::default();
        let mut state = Incremental::new(topology.clone(), facts.clone(), Cores::One);
        prop_assert_eq!(state.network(), &compile(&topology, &facts));
        for event in events {
            let (before, topology_before) = (state.network().clone(), topology.clone());
            happen(&mut topology, &mut facts, event);
            let update = if topology == topology_before {
                state.take_facts(facts.clone())
            } else {
                state.take_topology(topology.clone(), facts.clone())
            };
            let fresh = compile(&topology, &facts);
            prop_assert_eq!(state.network(), &fresh, "after {:?}", event);
            let hosts = fresh.programs.iter().map(|program| program.host.as_str());
            let differs = |host: &&str| before.host(host).map(|(_, digest)| digest) != fresh.host(host).map(|(_, digest)| digest);
            let expected: Vec<&str> = hosts.filter(differs).collect();
            let changed: Vec<&str> = update.changed.iter().map(|(host, _)| host.as_str()).collect();
            prop_assert_eq!(changed, expected, "after {:?}", event);
        }
    }
}
