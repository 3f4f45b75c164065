//! Routes to controllers, the guard, the check: on small networks whose answers a person can follow.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::check::{Checked, State};
use crate::failures::single_failures;
use crate::incremental::Incremental;
use crate::objects::RouteValue;
use crate::program::{METRIC_BACKUP, METRIC_PRIMARY};
use crate::spf::Cores;
use crate::tests::fixture::{down, topology};
use crate::{Objects, compile, impact};
use topology::{Controller, Share};

/// `"1@a 2@c"`: controllers at ports of nodes; number n has the address 10.250.0.(2n + 1). Without any, management is
/// separate.
fn in_band(links: &str, controllers: &str) -> Topology {
    let mut topology = topology(links);
    for entry in controllers.split_whitespace() {
        let (id, node) = entry.split_once('@').unwrap();
        let id: u64 = id.parse().unwrap();
        topology.controllers.push(Controller {
            id,
            node: topology.node_index(node).unwrap(),
            address: format!("10.250.0.{}", 2 * id + 1).parse().unwrap(),
            interface: Some(format!("ctl{id}")),
            line: 0,
        });
        topology.management = Management::InBand;
    }
    topology
}

const SQUARE: &str = "a-b 1, b-c 1, c-d 1, d-a 1, a-c 1";

fn short(old: &Topology, new: &Topology, facts: &Facts) -> Option<String> {
    let (before, after) = (compile(old, facts), compile(new, facts));
    Some(too_few(Some((old, &before)), (new, &after), facts)?.join(" "))
}

#[test]
fn every_program_has_routes_to_all_controllers_with_backups_and_the_loopback_as_source() {
    let topology = in_band(SQUARE, "1@a 2@b 3@c");
    let network = compile(&topology, &Facts::default());
    for program in &network.programs {
        let objects = Objects::of(program, &network.table);
        for controller in &topology.controllers {
            let own = topology.node(controller.node).name == program.host;
            let class = network.table.class_of(&controller.prefix()).unwrap();
            assert_eq!(program.class_routes(class).is_empty(), own, "{}", program.host);
            let routes: Vec<_> =
                objects.routes.iter().filter(|(key, _)| key.prefix == controller.prefix()).collect();
            assert_eq!(routes.is_empty(), own, "{}", program.host);
            let source = topology.node(topology.node_index(&program.host).unwrap()).loopbacks[0];
            let has_source = |route: &RouteValue| matches!(route, RouteValue::Via { preferred_source, .. } if *preferred_source == Some(source));
            assert!(routes.iter().all(|(_, route)| has_source(route)));
        }
    }
    let (program, _) = network.host("d").unwrap();
    let class = network.table.class_of(&topology.controllers[0].prefix()).unwrap();
    let metrics: Vec<u32> = program.class_routes(class).iter().map(|route| route.metric).collect();
    assert_eq!(metrics, [METRIC_PRIMARY, METRIC_BACKUP]);
}

#[test]
fn the_node_of_a_controller_has_the_last_hop_and_no_other_has_it() {
    let mut topology = in_band(SQUARE, "1@a 2@b");
    topology.controllers[1].interface = None;
    let network = compile(&topology, &Facts::default());
    let ports = |host: &str| {
        let settings = &network.host(host).unwrap().0.settings;
        let addresses = settings.addresses.iter().filter(|address| address.interface.starts_with("ctl"));
        let neighbours = settings.neighbours.iter().filter(|found| found.interface.starts_with("ctl"));
        let addresses = addresses.map(|found| format!("{} {}", found.interface, found.address));
        addresses.chain(neighbours.map(|found| found.address.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(ports("a"), ["ctl1 10.250.0.2/31", "10.250.0.3"]);
    let sysctls = &network.host("a").unwrap().0.settings.sysctls;
    assert_eq!(sysctls.get("net.ipv4.conf.ctl1.forwarding").map(String::as_str), Some("1"));
    assert!(["b", "c", "d"].iter().all(|host| ports(host).is_empty()));
    assert_eq!(topology.controllers[1].prefix().to_string(), "10.250.0.5/32");
}

#[test]
fn no_fact_removes_a_route_to_a_controller() {
    let topology = in_band(SQUARE, "1@a 2@b 3@c");
    let all: Vec<usize> = (0..topology.links.len()).collect();
    for links in [&all[..], &all[..1], &all[..3]] {
        let network = compile(&topology, &down(&topology, links));
        for program in &network.programs {
            for controller in &topology.controllers {
                let class = network.table.class_of(&controller.prefix()).unwrap();
                let own = topology.node(controller.node).name == program.host;
                assert!(own || !program.class_routes(class).is_empty(), "{} {links:?}", program.host);
            }
        }
    }
}

#[test]
fn a_network_follows_where_controllers_go() {
    let (old, new) = (in_band(SQUARE, "1@a 2@b"), in_band(SQUARE, "1@a 2@d 3@c"));
    let mut followed = Incremental::new(old, Facts::default(), Cores::One);
    followed.take_topology(new.clone(), Facts::default());
    assert_eq!(*followed.network(), compile(&new, &Facts::default()));
}

#[test]
fn a_change_may_leave_no_host_with_fewer_than_two() {
    let all = "1@a 2@b 3@c";
    let ring = "a-b 1, b-c 1, c-d 1, d-a 1";
    for (what, old, new, wanted) in [
        ("nothing", in_band(SQUARE, all), in_band(SQUARE, all), Some("")),
        ("a link less", in_band(SQUARE, all), in_band(ring, all), Some("")),
        ("d is cut off", in_band(SQUARE, all), in_band("a-b 1, b-c 1, d", all), Some("d")),
        // Until its own step comes, d sends half through a.
        ("a is alone with its own", in_band(SQUARE, all), in_band("b-c 1, c-d 1, a", all), Some("a d")),
        ("one of three goes", in_band(SQUARE, all), in_band(SQUARE, "1@a 2@b"), Some("")),
        ("two of three go", in_band(SQUARE, all), in_band(SQUARE, "1@a"), Some("")),
        ("one of three moves", in_band(SQUARE, all), in_band(SQUARE, "1@a 2@b 3@d"), Some("")),
        ("all go", in_band(SQUARE, all), topology(SQUARE), Some("a b c d")),
        ("the first time", topology(SQUARE), in_band(SQUARE, all), Some("")),
        ("the first time with d alone", topology(SQUARE), in_band("a-b 1, b-c 1, d", all), Some("d")),
        ("neither", topology(SQUARE), topology(ring), None),
        ("a new host alone", in_band("a-b 1, b-c 1", all), in_band("a-b 1, b-c 1, e", all), Some("e")),
    ] {
        assert_eq!(short(&old, &new, &Facts::default()).as_deref(), wanted, "{what}");
    }
}

#[test]
fn two_that_move_at_once_leave_too_few_between_the_steps() {
    let all = "1@a 2@b 3@c";
    let mut new = in_band(SQUARE, "1@a 2@d 3@b");
    new.safety.max_hosts_per_step = Share::Percent(100);
    let old = in_band(SQUARE, all);
    assert_eq!(short(&old, &new, &Facts::default()).as_deref(), Some(""), "one step has no between");
    new.safety.max_hosts_per_step = Share::Count(1);
    assert_eq!(short(&old, &new, &Facts::default()).as_deref(), Some("a b c d"));
}

#[test]
fn an_order_of_steps_that_cuts_hosts_off_in_between_is_seen() {
    // d moves its way from c to a; by name a goes first and sends to d over the new link what d still sends back.
    let old = in_band("a-b 1, b-c 1, c-d 1, a-d 9", "1@c 2@c 3@b");
    let mut new = in_band("a-b 9, b-c 9, c-d 9, a-d 1", "1@c 2@c 3@b");
    new.safety.max_hosts_per_step = Share::Count(1);
    let (facts, between) = (Facts::default(), short(&old, &new, &Facts::default()).unwrap());
    // What the steps do, followed by hand: hosts that loop between two steps are exactly those that are told.
    let (before, after) = (compile(&old, &facts), compile(&new, &facts));
    let mut looping = BTreeSet::new();
    for done in 1..4 {
        let mut mixed = before.clone();
        mixed.programs[..done].clone_from_slice(&after.programs[..done]);
        mixed.digests[..done].clone_from_slice(&after.digests[..done]);
        let ways = Ways::new(&[&old, &new], &facts, &runs(&mixed));
        let reached = ways.in_reach(&sites(&old), &old);
        looping.extend(reached.into_iter().filter(|(_, reached)| *reached < 2).map(|(host, _)| host));
    }
    assert_eq!(between, looping.into_iter().collect::<Vec<_>>().join(" "));
}

#[test]
fn who_is_cut_off_already_stops_no_change_and_who_becomes_so_does() {
    let all = "1@a 2@b 3@c";
    let old = in_band(SQUARE, all);
    let cd = old.link_index("c--d").unwrap().0 as usize;
    let da = old.link_index("a--d").unwrap().0 as usize;
    let mut other = old.clone();
    other.links[0].ends[0].cost = 5;
    assert_eq!(short(&old, &other, &down(&old, &[cd, da])).as_deref(), Some(""));
    // The last living link of d goes.
    let mut without = old.clone();
    without.links.remove(cd);
    let facts = Facts { links_down: [old.links[da].id.clone()].into() };
    assert_eq!(short(&old, &without, &facts).as_deref(), Some("d"));
}

#[test]
fn the_guard_counts_hosts_and_controllers_do_not_hide_that_every_prefix_goes() {
    let old = in_band(SQUARE, "1@a 2@b 3@c");
    let mut new = in_band("a-b 1, b-c 1, d", "1@a 2@b 3@c");
    new.nodes.iter_mut().for_each(|node| node.prefixes.clear());
    let facts = Facts::default();
    let (before, after) = (compile(&old, &facts), compile(&new, &facts));
    let impact = impact::impact(Some((&old, &facts, &before)), (&new, &facts, &after));
    let told: Vec<String> = (impact::guards(&impact, &new.safety).iter())
        .map(|verdict| format!("{} {}/{} {}", verdict.guard, verdict.value, verdict.limit, verdict.ok))
        .collect();
    assert_eq!(
        told[1..],
        ["every_prefix_gone 4/3 false", "every_node_gone 0/3 true", "too_few_controllers 1/0 false"]
    );
}

#[test]
fn a_failure_after_which_a_host_has_fewer_than_two_is_told() {
    let told = |topology: &Topology| -> Vec<String> {
        let facts = Facts::default();
        let network = compile(topology, &facts);
        let checked = Checked::new(State { topology, facts: &facts, network: &network, dead: None });
        let now = checked.violations().map(ToString::to_string);
        let later = single_failures(topology, &facts, &network, &checked);
        let later = later.iter().flat_map(|failure| {
            let name = failure.element.name(topology);
            failure.violations.iter().map(move |violation| format!("{name}: {violation}"))
        });
        now.chain(later).collect()
    };
    assert!(told(&in_band(SQUARE, "1@a 2@b 3@c")).is_empty());
    assert!(told(&topology("a-b 1, c")).is_empty(), "separate management asks nothing");
    // Of two controllers none may fail; e hangs on d alone.
    assert_eq!(
        told(&in_band("a-b 1, b-d 1, a-d 1, d-e 1", "1@a 2@b")),
        [
            "d:eth3--e:eth1: e reaches no controller, not the one at a either",
            "a: b reaches controller 2 alone, fewer than 2: it does not reach the one at a; the same for 2 sources more",
            "b: a reaches controller 1 alone, fewer than 2: it does not reach the one at b; the same for 2 sources more",
            "d: e reaches no controller, not the one at a either",
        ]
    );
    assert_eq!(told(&in_band("a-b 1, c", "1@a 2@b"))[0], "c reaches no controller, not the one at a either");
}
