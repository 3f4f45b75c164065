//! What `check` finds, on programs that were broken on purpose, and that judging a change finds the same.

use crate::check::{Checked, State, Violation};
use crate::failures::Element;
use crate::tests::fixture::{down, topology};
use crate::{Facts, Network, check, compile};
use proptest::prelude::*;
use std::sync::Arc;
use topology::{Demand, External, Invariant, InvariantRule, NodeIndex, Selector, Topology};

fn selector(topology: &Topology, text: &str) -> Selector {
    let all = (0..topology.nodes.len() as u32).map(NodeIndex);
    let nodes = match text {
        "any" => all.collect(),
        names => {
            let mut nodes: Vec<NodeIndex> =
                names.split('+').map(|name| topology.node_index(name).unwrap()).collect();
            nodes.sort_unstable();
            nodes
        }
    };
    Selector { text: text.to_string(), nodes }
}

fn demanding(topology: &mut Topology, from: &str, to: &str, rule: InvariantRule) {
    let (from, to) = (selector(topology, from), selector(topology, to));
    let line = 100 + topology.invariants.len() as u32;
    topology.invariants.push(Invariant { from, to, rule, line });
}

/// Sends what `host` has for `to` over the link to `over` instead, as the only next hop; nowhere for `None`.
fn rerouted(topology: &Topology, network: &mut Network, host: &str, to: &str, over: Option<&str>) {
    let at = topology.node_index(host).unwrap().0 as usize;
    let class = |name: &str| network.table.classes.iter().find(|class| class.name == name).unwrap().id;
    let (to, over) = (class(to), over.map(class));
    let mut program = (*network.programs[at]).clone();
    let group = over.map(|over| program.class_routes(over)[0].group);
    program.classes.retain(|route| route.class != to || (group.is_some() && route.metric == 100));
    for route in program.classes.iter_mut().filter(|route| route.class == to) {
        route.group = group.unwrap();
    }
    network.digests[at] = program.digest(network.table_digest);
    network.programs[at] = Arc::new(program);
}

/// `line code: message` and the nodes of the walk.
fn told(violations: &[Violation]) -> Vec<String> {
    let walk = |violation: &Violation| {
        let hops = violation.trace.hops.iter().map(|hop| hop.node.as_str());
        hops.chain([violation.trace.last.as_str()]).collect::<Vec<_>>().join(">")
    };
    violations
        .iter()
        .map(|violation| {
            format!("{} {}: {violation} [{}]", violation.line, violation.rule.code(), walk(violation))
        })
        .collect()
}

fn found(topology: &Topology) -> Vec<String> {
    told(&check(topology, &Facts::default(), &compile(topology, &Facts::default())))
}

const SQUARE: &str = "a-b 1, b-c 1, c-d 1, d-a 1";

#[test]
fn compiled_programs_need_no_invariant_to_be_free_of_loops_and_dead_ends() {
    let topology = topology(SQUARE);
    assert!(found(&topology).is_empty());
    let cut = down(&topology, &[0, 1]);
    assert!(check(&topology, &cut, &compile(&topology, &cut)).is_empty(), "what is cut off is no dead end");
}

#[test]
fn a_loop_is_shown_by_the_walk_around_it() {
    let topology = topology("a-b 1, b-c 1, c-d 1");
    let mut network = compile(&topology, &Facts::default());
    rerouted(&topology, &mut network, "c", "d", Some("b"));
    let violations = check(&topology, &Facts::default(), &network);
    assert_eq!(
        told(&violations),
        ["0 loop: packets from a to d loop; the same for 2 sources more [a>b>c>b]"]
    );
    insta::assert_snapshot!(violations[0].trace);
}

#[test]
fn a_dead_end_counts_only_while_a_way_is_left() {
    let topology = topology(SQUARE);
    let mut network = compile(&topology, &Facts::default());
    rerouted(&topology, &mut network, "b", "c", None);
    rerouted(&topology, &mut network, "a", "c", Some("b"));
    let whole = told(&check(&topology, &Facts::default(), &network));
    assert_eq!(
        whole,
        [
            "0 black-hole: packets from a to c meet a dead end though a way is left; the same for 1 source more [a>b]"
        ]
    );
    // The only neighbour that reaches c is d now, and d is gone: nothing is left to forward to.
    let id = |pair: &str| topology.link_index(pair).unwrap().0 as usize;
    let cut = down(&topology, &[id("b--c"), id("c--d")]);
    assert!(check(&topology, &cut, &network).is_empty());
}

#[test]
fn every_invariant_is_judged_on_every_path() {
    let mut topology = topology("a-b 1, b-d 1, a-c 1, c-d 1, d-e 1");
    for (link, latency) in topology.links.iter_mut().zip([1, 2, 3, 4, 5]) {
        link.latency_us = Some(latency);
    }
    let latency = |topology: &Topology, pair: &str| {
        topology.link(topology.link_index(pair).unwrap()).latency_us.unwrap()
    };
    let over_b = latency(&topology, "a--b") + latency(&topology, "b--d");
    let over_c = latency(&topology, "a--c") + latency(&topology, "c--d");
    assert!(over_b < over_c);
    let slow = over_c + latency(&topology, "d--e");
    let narrow = topology.link_index("b--d").unwrap().0 as usize;
    topology.links[narrow].mtu_bytes = Some(1400);
    let waypoint = |topology: &Topology, name| InvariantRule::Waypoint(selector(topology, name));
    let (by_b, by_both) = (waypoint(&topology, "b"), waypoint(&topology, "b+c"));
    for (from, to, rule, wanted) in [
        ("any", "any", InvariantRule::Reach, None),
        ("a", "e", InvariantRule::Isolate, Some("isolate: a reaches e, which it must not [a>b>d>e]")),
        (
            "a+c",
            "e",
            by_b,
            Some("waypoint: a path from a to e does not pass b; the same for 1 source more [a>c>d>e]"),
        ),
        ("a", "e", by_both, None),
        ("a+b", "d+e", InvariantRule::MaxHops(3), None),
        (
            "a+b",
            "d+e",
            InvariantRule::MaxHops(2),
            Some("max-hops: a path from a to e has 3 links, more than 2 [a>b>d>e]"),
        ),
        ("a", "e", InvariantRule::MaxLatencyUs(slow), None),
        (
            "a",
            "e",
            InvariantRule::MaxLatencyUs(slow - 1),
            Some("max-latency: a path from a to e takes 11 us, more than 10 us [a>c>d>e]"),
        ),
        ("a", "e", InvariantRule::MinMtuBytes(1400), None),
        (
            "a+c",
            "e",
            InvariantRule::MinMtuBytes(1500),
            Some(
                "min-mtu: a path from a to e carries packets of 1400 bytes at most, less than 1500 [a>b>d>e]",
            ),
        ),
    ] {
        let mut topology = topology.clone();
        demanding(&mut topology, from, to, rule);
        let wanted: Vec<String> = wanted.iter().map(|wanted| format!("100 {wanted}")).collect();
        assert_eq!(found(&topology), wanted);
    }
}

#[test]
fn a_pair_that_must_be_joined_and_is_cut_is_told() {
    let mut topology = topology("a-b 1, b-c 1");
    demanding(&mut topology, "any", "c", InvariantRule::Reach);
    demanding(&mut topology, "b", "c", InvariantRule::Isolate);
    let cut = down(&topology, &[1]);
    let network = compile(&topology, &cut);
    assert_eq!(
        told(&check(&topology, &cut, &network)),
        ["100 reach: a does not reach c; the same for 1 source more [a>b]"]
    );
    // Of a dead node nothing is asked.
    let dead = State { topology: &topology, facts: &cut, network: &network, dead: topology.node_index("c") };
    assert_eq!(Checked::new(dead).violations().count(), 0);
}

/// A prefix at `nodes`, and ways out of the network at `uplinks`.
fn sharing(topology: &mut Topology, nodes: &[&str], uplinks: &[&str]) {
    for name in nodes {
        let at = topology.node_index(name).unwrap().0 as usize;
        topology.nodes[at].prefixes.push("192.0.2.0/24".parse().unwrap());
    }
    topology.external = uplinks
        .iter()
        .map(|name| External {
            node: topology.node_index(name).unwrap(),
            interface: "up0".to_string(),
            next_hop: "198.51.100.1".parse().unwrap(),
            prefixes: vec!["0.0.0.0/0".parse().unwrap()],
            line: 0,
        })
        .collect();
}

#[test]
fn prefixes_of_several_places_and_of_uplinks_are_judged_too() {
    let mut topology = topology("a-b 1, b-c 1, c-d 1");
    sharing(&mut topology, &["a", "d"], &["a", "c"]);
    assert!(found(&topology).is_empty());
    // b's packets for the shared prefix go to c, and c's to b.
    let mut network = compile(&topology, &Facts::default());
    rerouted(&topology, &mut network, "b", "a + d", Some("c"));
    rerouted(&topology, &mut network, "c", "a + d", Some("b"));
    assert_eq!(
        told(&check(&topology, &Facts::default(), &network)),
        ["0 loop: packets from b to a + d loop; the same for 1 source more [b>c>b]"]
    );
    // c forgets its own uplink: who leaves there is lost.
    let mut network = compile(&topology, &Facts::default());
    let exits = "a:up0 via 198.51.100.1 + c:up0 via 198.51.100.1";
    rerouted(&topology, &mut network, "c", exits, None);
    assert_eq!(
        told(&check(&topology, &Facts::default(), &network)),
        [format!(
            "0 black-hole: packets from b to {exits} meet a dead end though a way is left; the same for 2 sources more [b>c]"
        )]
    );
}

fn loaded(limit_percent: u32) -> Topology {
    let mut topology = topology("a-b 1, b-c 1, a-c 1");
    for link in &mut topology.links {
        link.capacity_bps = Some(100);
    }
    let demand = |from, to, rate_bps| Demand { from: NodeIndex(from), to: NodeIndex(to), rate_bps, line: 0 };
    topology.demands = vec![demand(0, 2, 50), demand(1, 2, 30)];
    topology.safety.max_link_load_percent = Some(limit_percent);
    topology
}

#[test]
fn a_link_over_load_is_shown_by_its_greatest_demand_also_after_a_failure() {
    assert!(found(&loaded(50)).is_empty());
    let topology = loaded(49);
    assert_eq!(
        found(&topology),
        [
            "0 link-load: a:eth2--c:eth2 carries 50bps from a to c, 50.0% of its capacity and more than 49% [a>c]"
        ]
    );
    let id = |pair: &str| topology.link_index(pair).unwrap().0 as usize;
    let cut = down(&topology, &[id("a--c")]);
    let network = compile(&topology, &cut);
    assert_eq!(
        told(&check(&topology, &cut, &network)),
        [
            "0 link-load: a:eth1--b:eth1 carries 50bps from a to b, 50.0% of its capacity and more than 49% [a>b>c]",
            "0 link-load: b:eth2--c:eth1 carries 80bps from b to c, 80.0% of its capacity and more than 49% [a>b>c]"
        ]
    );
    let dead = State { topology: &topology, facts: &cut, network: &network, dead: Some(NodeIndex(0)) };
    assert_eq!(Checked::new(dead).violations().count(), 0, "a dead node sends nothing");
}

/// A change of a network of `nodes` nodes in a ring with chords.
#[derive(Clone, Debug)]
enum Event {
    Down(usize),
    Up(usize),
    Cost(usize, u32),
    Remove(usize),
    Uplink(usize),
    /// Somebody's program goes wrong: (host, destination, over).
    Break(usize, usize, usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..20_usize).prop_map(Event::Down),
        (0..20_usize).prop_map(Event::Up),
        (0..20_usize, 1..4_u32).prop_map(|(link, cost)| Event::Cost(link, cost)),
        (0..20_usize).prop_map(Event::Remove),
        (0..2_usize).prop_map(Event::Uplink),
        (0..8_usize, 0..8_usize, 0..8_usize).prop_map(|(host, to, over)| Event::Break(host, to, over)),
    ]
}

/// Lets it happen; gives the programs afterwards.
fn happen(event: Event, topology: &mut Topology, facts: &mut Facts, old_network: &Network) -> Network {
    let links = topology.links.len();
    match event {
        Event::Down(at) => {
            facts.links_down.insert(topology.links[at % links].id.clone());
            compile(topology, facts)
        }
        Event::Up(at) => {
            facts.links_down.remove(&topology.links[at % links].id);
            compile(topology, facts)
        }
        Event::Cost(at, cost) => {
            topology.links[at % links].ends[0].cost = cost;
            topology.links[at % links].mtu_bytes = Some(1300 + 100 * cost);
            compile(topology, facts)
        }
        Event::Remove(at) => {
            topology.links.remove(at % links);
            compile(topology, facts)
        }
        Event::Uplink(at) => {
            let name = ["n2:up0", "n6:up0"][at].to_string();
            if !facts.links_down.remove(&name) {
                facts.links_down.insert(name);
            }
            compile(topology, facts)
        }
        Event::Break(host, to, over) if host != to && host != over => {
            let mut network = old_network.clone();
            let name = |node: usize| format!("n{node}");
            let class = network.table.classes.iter().find(|class| class.name == name(over)).unwrap().id;
            let routed = !network.programs[host].class_routes(class).is_empty();
            let over = Some(name(over)).filter(|_| routed);
            rerouted(topology, &mut network, &name(host), &name(to), over.as_deref());
            network
        }
        Event::Break(..) => old_network.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn judging_a_change_finds_what_judging_all_finds(
        chords in prop::collection::vec((0..8_u32, 0..8_u32, 1..4_u32), 0..6),
        events in prop::collection::vec(event(), 1..8),
        rules in prop::collection::vec(0..5_usize, 0..3),
        shares in any::<bool>(),
        dies in 0..8_u32,
    ) {
        let mut text: Vec<String> = (0..8).map(|node| format!("n{node}-n{} 1", (node + 1) % 8)).collect();
        text.extend(chords.iter().filter(|(a, b, _)| a != b).map(|(a, b, cost)| format!("n{a}-n{b} {cost}")));
        let mut topology = topology(&text.join(", "));
        if shares {
            sharing(&mut topology, &["n1", "n5"], &["n2", "n6"]);
        }
        for rule in rules {
            let rule = match rule {
                0 => InvariantRule::Reach,
                1 => InvariantRule::MaxHops(4),
                2 => InvariantRule::Waypoint(selector(&topology, "n1+n3+n5")),
                3 => InvariantRule::MinMtuBytes(1400),
                _ => InvariantRule::Isolate,
            };
            let to = if rule == InvariantRule::Isolate { "n7" } else { "any" };
            demanding(&mut topology, if to == "any" { to } else { "n0" }, to, rule);
        }
        let mut facts = Facts::default();
        let mut network = compile(&topology, &facts);
        let mut checked = Checked::new(State { topology: &topology, facts: &facts, network: &network, dead: None });
        for event in events {
            let (old_topology, old_facts, old_network) = (topology.clone(), facts.clone(), network);
            network = happen(event, &mut topology, &mut facts, &old_network);
            let old = State { topology: &old_topology, facts: &old_facts, network: &old_network, dead: None };
            let new = State { topology: &topology, facts: &facts, network: &network, dead: None };
            checked = checked.follow(old, new);
            let followed: Vec<&Violation> = checked.violations().collect();
            let fresh = Checked::new(new);
            prop_assert_eq!(followed, fresh.violations().collect::<Vec<_>>());
            let dead = Element::Node(NodeIndex(dies));
            let facts = dead.failed(&topology, &facts);
            let network = compile(&topology, &facts);
            let after = State { topology: &topology, facts: &facts, network: &network, dead: dead.dead() };
            let followed = checked.follow(new, after);
            let fresh = Checked::new(after);
            prop_assert_eq!(followed.violations().collect::<Vec<_>>(), fresh.violations().collect::<Vec<_>>());
        }
    }
}
