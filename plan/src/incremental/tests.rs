//! Random walks of events: after each the state is that of a compilation from nothing.

use super::*;
use crate::compile;
use crate::tests::fixture::topology;
use proptest::prelude::*;
use topology::{Controller, External, Liveness};

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
        12 => toggle("a:up0".to_string()),
        13 => add_link(topology, node, (node + 1 + much as usize) % topology.nodes.len(), much),
        14 => remove_node(topology, node),
        15 => add_node(topology, &format!("{}{much}", NAMES[at % NAMES.len()]), node as u32 % 5),
        16 => {
            let place = NodeIndex(node as u32);
            match topology.controllers.first_mut() {
                Some(controller) if controller.node != place => controller.node = place,
                Some(_) => topology.controllers.clear(),
                None => topology.controllers.push(Controller {
                    id: 1,
                    node: place,
                    address: "10.253.0.1".parse().unwrap(),
                    interface: (much % 2 == 0).then(|| "ctl0".to_string()),
                    line: 0,
                }),
            }
        }
        17 => {
            let liveness = Liveness { interval_ms: 50 + much, multiplier: 3 };
            topology.links[link].liveness = Some(liveness).filter(|_| much > 2);
        }
        // One that takes the place of another, with links of its own.
        _ => {
            let ends = topology.links[link].ends.clone();
            remove_node(topology, node);
            add_node(topology, "bb", 7);
            let far = |at: usize| (ends[at].node.0 as usize).min(topology.nodes.len() - 1);
            let (own, far) = (topology.node_index("bb").unwrap().0 as usize, [far(0), far(1)]);
            far.into_iter().filter(|far| *far != own).for_each(|far| add_link(topology, own, far, much));
        }
    }
}

fn add_link(topology: &mut Topology, a: usize, b: usize, cost: u32) {
    if a == b {
        return;
    }
    let name = |node: usize| topology.nodes[node].name.clone();
    let mut ends = [(a, b), (b, a)].map(|(own, far)| (name(own), format!("to-{}", name(far)), own));
    ends.sort();
    let id = format!("{}:{}--{}:{}", ends[0].0, ends[0].1, ends[1].0, ends[1].1);
    if topology.links.iter().any(|link| link.id == id) {
        return;
    }
    let Some(mut link) = topology.links.first().cloned() else { return };
    link.id = id;
    for ((_, interface, node), end) in ends.into_iter().zip(&mut link.ends) {
        (end.interface, end.node, end.cost) = (interface, NodeIndex(node as u32), 1 + cost);
    }
    topology.links.push(link);
    topology.links.sort_by(|a, b| a.id.cmp(&b.id));
}

/// Gives every node the number that `place` says; what has none goes.
fn renumber(topology: &mut Topology, place: impl Fn(u32) -> Option<u32>) {
    topology.links.retain(|link| link.ends.iter().all(|end| place(end.node.0).is_some()));
    topology.external.retain(|external| place(external.node.0).is_some());
    topology.controllers.retain(|controller| place(controller.node.0).is_some());
    let ends = topology.links.iter_mut().flat_map(|link| &mut link.ends).map(|end| &mut end.node);
    let uplinks = topology.external.iter_mut().map(|external| &mut external.node);
    let controllers = topology.controllers.iter_mut().map(|controller| &mut controller.node);
    for node in ends.chain(uplinks).chain(controllers) {
        *node = NodeIndex(place(node.0).unwrap());
    }
}

fn remove_node(topology: &mut Topology, gone: usize) {
    if topology.nodes.len() > 1 {
        topology.nodes.remove(gone);
        let gone = gone as u32;
        renumber(topology, |node| (node != gone).then(|| if node < gone { node } else { node - 1 }));
    }
}

fn add_node(topology: &mut Topology, name: &str, number: u32) {
    let Err(at) = topology.nodes.binary_search_by(|node| node.name.as_str().cmp(name)) else { return };
    let mut node = topology.nodes[0].clone();
    node.name = name.to_string();
    node.loopbacks = vec![format!("10.254.0.{number}").parse().unwrap()];
    node.prefixes = vec![format!("10.{}.0.0/24", 20 + number).parse().unwrap()];
    topology.nodes.insert(at, node);
    renumber(topology, |node| Some(if node < at as u32 { node } else { node + 1 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_of_events_ends_where_a_compilation_from_nothing_does(
        mut topology in networks(),
        events in prop::collection::vec((0..19_u8, any::<usize>(), 0..9_u32), 1..12),
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
