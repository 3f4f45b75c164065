//! Routing on small networks, written as text.

use crate::program::{GROUP_MEMBERS_MAX, METRIC_BACKUP};
use crate::tests::fixture::{down, topology};
use crate::walk::{Fate, paths};
use crate::{Facts, Objects, compile};

/// Routes of `host` as `to metric via interface ...` lines, without the prefixes.
fn routes(text: &str, links_down: &[usize], host: &str) -> Vec<String> {
    let topology = topology(text);
    let network = compile(&topology, &down(&topology, links_down));
    let (program, _) = network.host(host).unwrap();
    let mut lines: Vec<String> = program
        .classes
        .iter()
        .map(|route| {
            let group = program.group(route.group).unwrap();
            let mut interfaces: Vec<&str> = group
                .members
                .iter()
                .map(|member| program.nexthop(member.nexthop).unwrap().interface.as_str())
                .collect();
            interfaces.sort_unstable();
            let name = network.table.class_name(route.class).unwrap();
            format!("{name} {} {}", route.metric, interfaces.join("+"))
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn takes_the_cheaper_way_and_backs_it_up_by_the_other() {
    let text = "a-b 1, b-c 1, a-c 5";
    assert_eq!(routes(text, &[], "a"), ["b 100 eth1", "b 200 eth2", "c 100 eth1", "c 200 eth2"]);
    assert_eq!(routes(text, &[], "c"), ["a 100 eth1", "a 200 eth2", "b 100 eth1", "b 200 eth2"]);
}

#[test]
fn equal_costs_share_and_need_no_backup() {
    let text = "a-b 1, a-c 1, b-d 1, c-d 1";
    assert_eq!(routes(text, &[], "a"), ["b 100 eth1", "c 100 eth2", "d 100 eth1+eth2"]);
}

#[test]
fn a_group_has_no_more_members_than_a_dump_of_it_can_hold() {
    let text = vec!["a-b 1"; GROUP_MEMBERS_MAX + 500].join(", ");
    let lines = routes(&text, &[], "a");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].split('+').count(), GROUP_MEMBERS_MAX);
}

#[test]
fn parallel_links_are_next_hops_of_their_own() {
    assert_eq!(routes("a-b 2, a-b 2", &[], "a"), ["b 100 eth1+eth2"]);
    assert_eq!(routes("a-b 2, a-b 3", &[], "a"), ["b 100 eth1", "b 200 eth2"]);
}

#[test]
fn each_direction_has_its_cost() {
    let text = "a-b 1/9, a-c 2, b-c 2";
    assert_eq!(routes(text, &[], "a"), ["b 100 eth1", "b 200 eth2", "c 100 eth2", "c 200 eth1"]);
    assert_eq!(routes(text, &[], "b"), ["a 100 eth2", "a 200 eth1", "c 100 eth2", "c 200 eth1"]);
}

#[test]
fn prefers_a_backup_that_avoids_the_next_node_over_a_cheaper_one() {
    // From s to d through e costs 2. p is the cheaper way out but goes through e as well; n does not.
    let text = "s-e 1, e-d 1, s-p 2, p-e 1, s-n 5, n-d 5";
    assert_eq!(routes(text, &[], "s")[..2], ["d 100 eth1", "d 200 eth3"]);
}

#[test]
fn of_two_backups_that_would_loop_when_a_node_dies_the_second_is_left_out() {
    // p and s both reach d through e, and each other around it.
    let text = "s-e 1, e-d 1, s-p 2, p-e 1";
    assert_eq!(routes(text, &[], "p")[..2], ["d 100 eth2", "d 200 eth1"]);
    assert_eq!(routes(text, &[], "s")[..2], ["d 100 eth1", "e 100 eth1"]);
}

#[test]
fn a_neighbour_that_would_send_it_back_is_no_backup() {
    assert_eq!(routes("a-b 1, b-c 9, a-d 1", &[], "a"), ["b 100 eth1", "c 100 eth1", "d 100 eth2"]);
}

#[test]
fn a_link_that_is_down_is_left_out() {
    // Links by id: a-b, a-c, b-c.
    let text = "a-b 1, b-c 1, a-c 5";
    assert_eq!(routes(text, &[0], "a"), ["b 100 eth2", "c 100 eth2"]);
}

#[test]
fn a_destination_that_is_cut_off_keeps_its_routes() {
    // Links by id: a-b, b-c, c-d. Behind the dead link b-c nothing changes for anybody.
    let text = "a-b 1, b-c 1, c-d 1";
    for host in ["a", "b", "c", "d"] {
        assert_eq!(routes(text, &[1], host), routes(text, &[], host), "{host}");
    }
    let topology = topology(text);
    let facts = down(&topology, &[1]);
    let network = compile(&topology, &facts);
    let found = paths(&topology, &facts, &network, "a", "d");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fate, Fate::BlackHole { node: "b".to_string() });
}

#[test]
fn the_living_side_goes_round_while_the_cut_off_side_stays() {
    // x hangs on c by one dead link; a and b still reach c, though a's direct link is dead as well.
    let text = "a-b 1, b-c 1, a-c 1, c-x 1";
    let (a_c, c_x) = (1, 3);
    let facts = [a_c, c_x];
    assert_eq!(routes(text, &facts, "a"), ["b 100 eth1", "c 100 eth1", "x 100 eth2"]);
    assert_eq!(routes(text, &[c_x], "a")[2..], ["c 100 eth2", "c 200 eth1", "x 100 eth2", "x 200 eth1"]);
}

#[test]
fn neighbours_of_a_cut_off_node_do_not_send_its_packets_to_each_other() {
    // Links by id: b-c, b-x, c-x. Each of b and c backs x up by the other; with both links dead that would loop.
    let text = "b-x 1, c-x 1, b-c 1";
    assert_eq!(routes(text, &[], "b")[2..], ["x 100 eth1", "x 200 eth2"]);
    assert_eq!(routes(text, &[1, 2], "b"), ["c 100 eth2", "x 100 eth1"]);
}

#[test]
fn a_host_has_no_route_to_itself() {
    let topology = topology("a-b 1");
    let network = compile(&topology, &Facts::default());
    let (program, _) = network.host("a").unwrap();
    let objects = Objects::of(program, &network.table);
    let own: Vec<_> = topology.nodes[0].prefixes.clone();
    assert!(objects.routes.keys().all(|key| !own.contains(&key.prefix)));
    assert_eq!(objects.routes.len(), 3, "two loopbacks and one prefix of b");
    assert!(objects.routes.keys().all(|key| key.metric != METRIC_BACKUP));
}

#[test]
fn an_unknown_fact_changes_nothing() {
    let topology = topology("a-b 1, b-c 1");
    let facts = Facts { links_down: ["a:eth9--z:eth1".to_string()].into() };
    assert_eq!(compile(&topology, &facts), compile(&topology, &Facts::default()));
}
