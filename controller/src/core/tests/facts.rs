//! From what agents report to what the log believes, and what follows.

use super::harness::Temper;
use super::*;
use crate::core::*;

const AB: &str = "a:eth1--b:eth1";

fn links_down(cluster: &mut Cluster) -> Vec<String> {
    let leader = cluster.leader().unwrap();
    let ReadAnswer::Status(status) = cluster.read(leader, ReadRequest::Status) else { panic!() };
    status.links_down
}

fn link_state(cluster: &mut Cluster, node: u64, id: &str) -> (String, String) {
    let ReadAnswer::Links(links) = cluster.read(node, ReadRequest::Links) else { panic!() };
    let link = links.links.into_iter().find(|link| link.id == id).unwrap();
    (link.state, link.detail)
}

#[test]
fn a_cut_that_both_ends_report_is_routed_around_at_once() {
    let mut cluster = running(3);
    cluster.carrier("a", "eth1", false);
    cluster.carrier("b", "eth1", false);
    cluster.run(60);
    assert_eq!(links_down(&mut cluster), [AB]);
    cluster.until(200, "all hosts run it", |cluster| cluster.state_of(2) == "done");
    assert!(cluster.converged());
    let change = cluster.change(2).unwrap();
    assert_eq!(change.evidence, ["a and b report no carrier"]);
    assert_eq!(change.steps.len(), 1, "a failure reaction is one step");
    for id in cluster.ids() {
        assert_eq!(link_state(&mut cluster, id, AB).0, "down", "every replica shows it");
    }
}

#[test]
fn a_node_whose_uplink_fails_stops_attracting_and_starts_again() {
    let topology = TRIANGLE.replace(
        "links:",
        "external:\n\
         - { node: a, interface: wan0, next_hop: 203.0.113.1, prefixes: [0.0.0.0/0] }\n\
         - { node: c, interface: wan0, next_hop: 203.0.113.9, prefixes: [0.0.0.0/0] }\nlinks:",
    );
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.add_agents(&topology);
    apply(&mut cluster, leader, &topology);
    let before = cluster.agents["b"].held.as_ref().unwrap().digest;
    cluster.carrier("a", "wan0", false);
    cluster.until(3_000, "done", |cluster| cluster.state_of(2) == "done");
    assert_eq!(links_down(&mut cluster), ["a:wan0"]);
    assert_eq!(cluster.change(2).unwrap().evidence, ["a reports no carrier on its uplink"]);
    assert!(cluster.converged());
    assert_ne!(cluster.agents["b"].held.as_ref().unwrap().digest, before, "b goes out by c");
    cluster.carrier("a", "wan0", true);
    cluster.until(20_000, "done", |cluster| cluster.state_of(3) == "done");
    assert_eq!(links_down(&mut cluster), Vec::<String>::new());
    assert_eq!(cluster.agents["b"].held.as_ref().unwrap().digest, before);
}

#[test]
fn a_report_against_the_evidence_is_held_for_as_long_as_packets_arrive() {
    let mut cluster = running(3);
    cluster.agents.get_mut("b").unwrap().receiving.insert("eth1".to_string());
    cluster.carrier("a", "eth1", false);
    cluster.run(20_000);
    assert_eq!(links_down(&mut cluster), Vec::<String>::new());
    let leader = cluster.leader().unwrap();
    let (state, detail) = link_state(&mut cluster, leader, AB);
    assert_eq!(state, "disagreement");
    assert!(detail.contains("b has carrier and goes on receiving packets"), "{detail}");
    let ReadAnswer::Status(status) = cluster.read(leader, ReadRequest::Status) else { panic!() };
    assert_eq!(status.disagreements, [AB]);
    assert_eq!(cluster.change(2), None, "nothing moved");
    cluster.agents.get_mut("b").unwrap().receiving.clear();
    cluster.until(8_000, "believed", |cluster| cluster.change(2).is_some());
}

#[test]
fn a_report_of_one_end_is_believed_when_the_other_receives_nothing() {
    let mut cluster = running(3);
    cluster.run(200);
    cluster.carrier("a", "eth1", false);
    cluster.run(200);
    assert_eq!(links_down(&mut cluster), Vec::<String>::new(), "it is too early to tell");
    cluster.until(2_000, "believed", |cluster| cluster.change(2).is_some());
    let evidence = &cluster.change(2).unwrap().evidence;
    assert_eq!(evidence, &["a reports no carrier, b has received nothing since"]);
}

#[test]
fn a_silent_far_end_needs_all_its_living_neighbours() {
    let mut cluster = running(3);
    cluster.disconnect("b");
    cluster.carrier("a", "eth1", false);
    cluster.run(5_000);
    assert_eq!(links_down(&mut cluster), Vec::<String>::new(), "c still sees b");
    cluster.carrier("c", "eth1", false);
    cluster.run(300);
    assert_eq!(links_down(&mut cluster), [AB, "b:eth2--c:eth1"]);
    cluster.run(3_000);
    assert!(cluster.agents["a"].held.as_ref().unwrap().generation > Default::default());
}

#[test]
fn a_lost_session_is_not_a_dead_host() {
    let mut cluster = running(3);
    for host in ["a", "b", "c"] {
        cluster.disconnect(host);
    }
    cluster.run(10_000);
    assert_eq!(cluster.change(2), None);
    let leader = cluster.leader().unwrap();
    let ReadAnswer::Status(status) = cluster.read(leader, ReadRequest::Status) else { panic!() };
    assert_eq!(status.hosts.connected, 0);
    assert!(status.alarms.iter().any(|alarm| alarm.starts_with("host a: its agent was last heard")));
}

#[test]
fn a_link_returns_after_its_hold_time_and_only_if_it_stays() {
    let mut cluster = running(3);
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", false);
    }
    cluster.until(300, "down", |cluster| cluster.state_of(2) == "done");
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", true);
    }
    cluster.run(700);
    assert_eq!(links_down(&mut cluster), [AB], "the hold time is one second");
    let leader = cluster.leader().unwrap();
    assert_eq!(link_state(&mut cluster, leader, AB).0, "returning");
    // It flaps: the hold time begins anew.
    cluster.carrier("a", "eth1", false);
    cluster.run(50);
    cluster.carrier("a", "eth1", true);
    cluster.run(700);
    assert_eq!(links_down(&mut cluster), [AB]);
    cluster.until(600, "back", |cluster| cluster.state_of(3) == "done");
    assert_eq!(links_down(&mut cluster), Vec::<String>::new());
    assert!(cluster.converged());
}

#[test]
fn a_link_does_not_return_before_both_ends_run_what_they_are_assigned() {
    let mut cluster = running(3);
    cluster.agents.get_mut("b").unwrap().temper = harness::Temper::Silent;
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", false);
    }
    cluster.run(500);
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", true);
    }
    cluster.run(4_000);
    assert_eq!(links_down(&mut cluster), [AB]);
    cluster.agents.get_mut("b").unwrap().temper = harness::Temper::Willing;
    cluster.until(12_000, "back", |cluster| cluster.state_of(3) == "done");
}

#[test]
fn a_fact_during_a_change_moves_each_host_by_its_own_revision() {
    let mut cluster = running(3);
    let careful = dearer().replace("bake: 0s, max_hosts_per_step: 100%", "bake: 3s, max_hosts_per_step: 1");
    let id = cluster.put(1, &careful);
    let change = cluster.answer(id).change;
    cluster.until(2_000, "the first step", |cluster| {
        cluster.agents["a"].held.as_ref().is_some_and(|held| held.revision == 2)
    });
    for (host, interface) in [("b", "eth2"), ("c", "eth1")] {
        cluster.carrier(host, interface, false);
    }
    cluster.until(300, "the failure is through", |cluster| cluster.state_of(3) == "done");
    assert_eq!(cluster.state_of(change), "releasing", "the change goes on");
    let leader = cluster.leader().unwrap();
    let revisions: Vec<u64> =
        cluster.core(leader).state.assignments.values().map(|one| one.revision).collect();
    assert_eq!(revisions, [2, 1, 1]);
    cluster.until(12_000, "done", |cluster| cluster.state_of(change) == "done");
    assert!(cluster.converged());
    let leader = cluster.leader().unwrap();
    let core = cluster.core(leader);
    let head = core.state.head().unwrap();
    let wanted = plan::compile(&head.topology, &core.state.facts_now());
    for (host, assignment) in &core.state.assignments {
        assert_eq!(assignment.digest, wanted.host(host).unwrap().1, "{host}");
        assert_eq!(assignment.revision, 2);
    }
}

#[test]
fn reports_reach_a_leader_that_was_elected_after_them() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    for host in ["a", "b", "c"] {
        cluster.disconnect(host);
        cluster.connect(host, leader % 3 + 1);
    }
    cluster.run(500);
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", false);
    }
    cluster.run(1);
    cluster.kill(leader);
    cluster.until(3_000, "routed around", |cluster| cluster.leader().is_some() && cluster.converged());
    cluster.until(3_000, "done", |cluster| cluster.state_of(2) == "done");
}

#[test]
fn nothing_older_is_offered_to_an_agent_of_another_life() {
    let mut cluster = Cluster::new(3);
    cluster.elect();
    cluster.add_agents(TRIANGLE);
    // The agents ran under a cluster that is gone.
    let foreign = wire::Generation { incarnation: 4, index: 900 };
    for host in ["a", "b", "c"] {
        cluster.disconnect(host);
        cluster.agents.get_mut(host).unwrap().highest = foreign;
        cluster.connect(host, 1);
    }
    cluster.run(500);
    let leader = cluster.elect();
    assert_eq!(cluster.core(leader).state.incarnation, 5);
    apply(&mut cluster, 1, TRIANGLE);
    // Later, when this cluster has released programs, it is an alarm.
    cluster.disconnect("a");
    cluster.agents.get_mut("a").unwrap().highest = wire::Generation { incarnation: 9, index: 1 };
    cluster.connect("a", 2);
    let offers = cluster.sent.len();
    cluster.run(1_000);
    let ReadAnswer::Host(host) = cluster.read(2, ReadRequest::Host("a".to_string())) else { panic!() };
    assert!(host.alarms.iter().any(|alarm| alarm.contains("generation 9.1")), "{:?}", host.alarms);
    let id = cluster.put(1, &dearer());
    assert_eq!(cluster.answer(id).code, "accepted");
    cluster.run(2_000);
    assert!(cluster.sent[offers..].iter().all(|(host, ..)| host != "a"));
}

/// Five hosts in a ring: a link that comes back moves two of them before the others.
const RING: &str = "\
version: 1
name: ring
addressing:
  loopbacks: [10.255.0.0/24]
nodes: { a: {}, b: {}, c: {}, d: {}, e: {} }
links:
  - { endpoints: ['a:eth1', 'b:eth1'] }
  - { endpoints: ['b:eth2', 'c:eth1'] }
  - { endpoints: ['c:eth2', 'd:eth1'] }
  - { endpoints: ['d:eth2', 'e:eth1'] }
  - { endpoints: ['e:eth2', 'a:eth2'] }
safety: { bake: 0s, max_hosts_per_step: 100%, link_up_hold: 1s }
";

/// The ring without a-b, just before the link is back.
fn broken_ring() -> Cluster {
    let mut cluster = Cluster::new(3);
    let leader = cluster.elect();
    cluster.add_agents(RING);
    apply(&mut cluster, leader, RING);
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", false);
    }
    cluster.until(3_000, "without the link", |cluster| cluster.state_of(2) == "done");
    assert_eq!(cluster.change(2).unwrap().steps.len(), 1, "packets without a way do not wait for others");
    for host in ["a", "b"] {
        cluster.carrier(host, "eth1", true);
    }
    cluster
}

fn offers(cluster: &Cluster, host: &str) -> usize {
    cluster.agents[host].offers.len()
}

#[test]
fn a_link_that_comes_back_moves_its_ends_first_and_others_when_these_have_answered() {
    let mut cluster = broken_ring();
    let before = ["c", "e"].map(|host| offers(&cluster, host));
    cluster.agents.get_mut("b").unwrap().temper = Temper::Silent;
    cluster.until(3_000, "the ends have an offer", |cluster| {
        cluster.agents["a"].offers.last().unwrap().generation
            == cluster.agents["b"].offers.last().unwrap().generation
            && cluster.state_of(3) == "releasing"
    });
    assert_eq!(["c", "e"].map(|host| offers(&cluster, host)), before, "b has not answered");
    let steps: Vec<String> =
        cluster.change(3).unwrap().steps.iter().map(|step| step.hosts.join("")).collect();
    assert_eq!(steps, ["abd", "ce"]);
    // Whoever never answers keeps the others waiting for a moment only.
    cluster.until(3_000, "the others, too", |cluster| {
        ["c", "e"].iter().zip(before).all(|(host, before)| offers(cluster, host) > before)
    });
    assert!(cluster.change(3).unwrap().runs(), "b has still not answered");
    cluster.agents.get_mut("b").unwrap().temper = Temper::Willing;
    cluster.disconnect("b");
    cluster.connect("b", 1);
    cluster.until(3_000, "done", |cluster| cluster.state_of(3) == "done");
    assert!(cluster.converged());
    assert_eq!(links_down(&mut cluster), Vec::<String>::new());
}

#[test]
fn a_host_that_refuses_keeps_nobody_from_a_returned_link() {
    let mut cluster = broken_ring();
    let before = offers(&cluster, "c");
    cluster.agents.get_mut("d").unwrap().temper = Temper::Refuses;
    cluster.until(3_000, "c has its program", |cluster| offers(cluster, "c") > before);
}

#[test]
fn a_failure_between_the_steps_of_a_return_takes_everybody_along() {
    let mut cluster = broken_ring();
    cluster.agents.get_mut("b").unwrap().temper = Temper::Silent;
    cluster.until(3_000, "the first step", |cluster| cluster.state_of(3) == "releasing");
    cluster.carrier("c", "eth2", false);
    cluster.carrier("d", "eth1", false);
    cluster.agents.get_mut("b").unwrap().temper = Temper::Willing;
    cluster.until(3_000, "done", |cluster| cluster.state_of(4) == "done" && cluster.state_of(3) == "done");
    assert_eq!(links_down(&mut cluster), ["c:eth2--d:eth1"]);
    assert!(cluster.converged());
}

#[test]
fn a_leader_that_dies_between_the_steps_of_a_return_leaves_the_rest_to_the_next() {
    let mut cluster = broken_ring();
    cluster.agents.get_mut("b").unwrap().temper = Temper::Silent;
    cluster.until(3_000, "the first step", |cluster| cluster.state_of(3) == "releasing");
    let leader = cluster.leader().unwrap();
    cluster.kill(leader);
    cluster.agents.get_mut("b").unwrap().temper = Temper::Willing;
    for host in ["a", "b", "c", "d", "e"] {
        cluster.disconnect(host);
        cluster.connect(host, if leader == 1 { 2 } else { 1 });
    }
    cluster.until(20_000, "done", |cluster| cluster.leader().is_some() && cluster.state_of(3) == "done");
    assert!(cluster.converged());
    assert_eq!(links_down(&mut cluster), Vec::<String>::new());
}
