//! Changes: accepted, refused, stepped, halted, carried on by another leader.

use super::harness::{Cluster, Temper, operator, put};
use super::*;
use crate::core::*;
use wire::log::RequestId;
use wire::overrides::Override;
use wire::peer::{ClientBody, ClientRequest};

/// A put with its parts adjusted.
fn adjusted(topology: &str, adjust: impl FnOnce(&mut ClientBody)) -> RequestBody {
    let mut request = put(topology);
    adjust(&mut request.body);
    RequestBody::Write(request)
}

fn signed(topology: &str, guards: &[&str], revision: u64, reason: &str) -> Override {
    let mut word = Override {
        guards: guards.iter().map(ToString::to_string).collect(),
        revision,
        topology_digest: *blake3::hash(topology.as_bytes()).as_bytes(),
        reason: reason.to_string(),
        signature: Vec::new(),
    };
    word.signature = operator().sign(&word.signed_bytes()).as_ref().to_vec();
    word
}

#[test]
fn any_replica_takes_a_topology_and_serves_its_agents() {
    for size in [1, 3] {
        let mut cluster = running(size);
        let changed = [dearer(), TRIANGLE.to_string(), dearer()];
        for (node, topology) in cluster.ids().into_iter().zip(changed) {
            apply(&mut cluster, node, &topology);
        }
        let digests: std::collections::BTreeSet<String> = cluster
            .ids()
            .into_iter()
            .map(|id| match cluster.read(id, ReadRequest::Status) {
                ReadAnswer::Status(status) => {
                    assert_eq!((status.hosts.total, status.hosts.connected, status.hosts.current), (3, 3, 3));
                    assert_eq!(status.alarms, Vec::<String>::new());
                    status.state_digest
                }
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(digests.len(), 1, "one state on all replicas");
    }
}

#[test]
fn a_stale_writer_is_refused_and_loses_nothing() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    let expect = |revision| {
        adjusted(&dearer(), move |body| {
            let ClientBody::PutTopology { expected_revision, .. } = body;
            *expected_revision = Some(revision);
        })
    };
    let id = cluster.request(leader, expect(0));
    let stale = cluster.answer(id);
    assert_eq!((stale.code.as_str(), stale.revision), ("stale_revision", 1));
    let id = cluster.request(leader, expect(1));
    assert_eq!(cluster.answer(id).code, "accepted");
}

#[test]
fn two_writers_with_the_same_revision_one_wins() {
    let mut cluster = running(3);
    let ids: Vec<RequestId> = [dearer(), TRIANGLE.replace("cost: 15", "cost: 16")]
        .iter()
        .zip(cluster.ids())
        .map(|(topology, node)| {
            let body = adjusted(topology, |body| {
                let ClientBody::PutTopology { expected_revision, .. } = body;
                *expected_revision = Some(1);
            });
            cluster.request(node, body)
        })
        .collect();
    let mut codes: Vec<String> = ids.into_iter().map(|id| cluster.answer(id).code).collect();
    codes.sort();
    assert_eq!(codes, ["accepted", "stale_revision"]);
}

#[test]
fn a_broken_topology_is_answered_with_every_problem() {
    let mut cluster = running(1);
    let id = cluster.put(1, "version: 1\nname: x\nnodes: {}\nlinkz: []\n");
    let answer = cluster.answer(id);
    assert_eq!(answer.code, "invalid_topology");
    let problems: Vec<wire::rest::Diagnostic> = serde_json::from_slice(&answer.body).unwrap();
    assert!(problems.len() >= 2, "{problems:?}");
}

#[test]
fn a_change_that_takes_controllers_out_of_a_hosts_reach_is_refused_by_a_guard_that_names_it() {
    let managed = |topology: &str| {
        let controllers: String = (1..=3)
            .zip(["a", "b", "c"])
            .map(|(id, node)| format!("  - {{id: {id}, node: {node}, address: 10.250.0.{id}}}\n"))
            .collect();
        format!("{topology}\nmanagement: in_band\ncontrollers:\n{controllers}")
    };
    let mut cluster = running(3);
    let leader = cluster.elect();
    let id = cluster.put(leader, &managed(TRIANGLE));
    assert_eq!(cluster.answer(id).code, "accepted");
    cluster.until(30_000, "done", |cluster| cluster.state_of(2) == "done");
    let cut: String = TRIANGLE
        .lines()
        .filter(|line| !(line.contains("endpoints") && line.contains("'c:")))
        .map(|line| format!("{line}\n"))
        .collect();
    let id = cluster.put(leader, &managed(&cut));
    let refused = cluster.answer(id);
    assert_eq!(refused.code, "guard_refused", "{}", refused.detail);
    let guard = refused.guard.unwrap();
    assert_eq!((guard.guard.as_str(), guard.limit), ("too_few_controllers", 0));
    assert!(refused.detail.contains("in reach, then or between two steps, of"), "{}", refused.detail);
    let word = signed(&managed(&cut), &["too_few_controllers"], 3, "test");
    let body = adjusted(&managed(&cut), |body| {
        let ClientBody::PutTopology { overrides, .. } = body;
        *overrides = Some(word);
    });
    let id = cluster.request(leader, body);
    assert_eq!(cluster.answer(id).code, "accepted");
}

#[test]
fn a_guard_refuses_and_only_the_operators_word_for_this_change_overrides_it() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    let gutted = gutted();
    let id = cluster.put(leader, &gutted);
    let refused = cluster.answer(id);
    assert_eq!(refused.code, "guard_refused");
    let guard = refused.guard.unwrap();
    assert_eq!((guard.guard.as_str(), guard.value, guard.limit), ("max_prefixes_lost", 1, 0));
    let good = signed(&gutted, &["max_prefixes_lost"], 2, "test");
    let mut forged = good.clone();
    forged.signature[0] ^= 1;
    let cases = [
        (forged, "bad_override"),
        (signed(&gutted, &["max_prefixes_lost"], 3, "test"), "bad_override"),
        (signed(TRIANGLE, &["max_prefixes_lost"], 2, "test"), "bad_override"),
        (signed(&gutted, &["max_prefixes_lost"], 2, "another reason"), "bad_override"),
        (signed(&gutted, &["every_node_gone"], 2, "test"), "guard_refused"),
        (good.clone(), "accepted"),
        // Once used it is of no use any more.
        (good, "bad_override"),
    ];
    for (at, (word, code)) in cases.into_iter().enumerate() {
        let body = adjusted(&gutted, |body| {
            let ClientBody::PutTopology { overrides, .. } = body;
            *overrides = Some(word);
        });
        let id = cluster.request(leader, body);
        assert_eq!(cluster.answer(id).code, code, "case {at}");
    }
    cluster.until(3_000, "done", |cluster| cluster.state_of(2) == "done");
    assert_eq!(cluster.change(2).unwrap().overridden, ["max_prefixes_lost"]);
    let offer = cluster.agents["a"].offers.last().unwrap();
    assert!(offer.overrides.is_some(), "the agent's own guard needs the word too");
}

#[test]
fn a_dry_run_tells_the_plan_and_changes_nothing() {
    let mut cluster = running(3);
    let body = adjusted(&dearer(), |body| {
        let ClientBody::PutTopology { dry_run, .. } = body;
        *dry_run = true;
    });
    let id = cluster.request(2, body);
    let answer = cluster.answer(id);
    assert_eq!(answer.code, "dry_run");
    let plan: wire::rest::PlanDocument = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(plan.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(plan.hosts.iter().all(|host| host.writes > 0));
    assert_eq!(cluster.change(2), None);
}

#[test]
fn a_null_change_is_done_with_no_step_and_no_offer() {
    let mut cluster = running(3);
    let offers = cluster.sent.len();
    let change = apply(&mut cluster, 1, TRIANGLE);
    let change = cluster.change(change).unwrap();
    assert_eq!((change.step, change.steps.len(), change.revision), (0, 0, 2));
    assert_eq!(cluster.sent.len(), offers);
    let leader = cluster.elect();
    let assignments = &cluster.core(leader).state.assignments;
    assert!(assignments.values().all(|one| one.revision == 2), "all hosts run the newest revision");
}

#[test]
fn steps_are_bounded_and_each_waits_for_acknowledgement_and_bake() {
    let mut cluster = running(3);
    let careful = dearer().replace("bake: 0s, max_hosts_per_step: 100%", "bake: 2s, max_hosts_per_step: 1");
    cluster.agents.get_mut("a").unwrap().temper = Temper::Silent;
    let id = cluster.put(1, &careful);
    let change = cluster.answer(id).change;
    cluster.run(5_000);
    let record = cluster.change(change).unwrap();
    assert_eq!(record.steps.iter().map(|step| step.hosts.len()).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(record.step, 1, "silence opens no gate");
    let shown = |cluster: &mut Cluster| match cluster.read(1, ReadRequest::Change(change)) {
        ReadAnswer::Change(change) => change.state,
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(&mut cluster), "acknowledging");
    // It is offered again, to an agent that answers now.
    cluster.agents.get_mut("a").unwrap().temper = Temper::Willing;
    cluster.until(6_000, "a runs it", |cluster| {
        cluster.agents["a"].held.as_ref().is_some_and(|held| held.revision == 2)
    });
    cluster.run(1_000);
    assert_eq!(shown(&mut cluster), "baking");
    assert_eq!(cluster.change(change).unwrap().step, 1, "the bake time has not passed");
    cluster.run(1_500);
    assert_eq!(cluster.change(change).unwrap().step, 2);
    cluster.until(8_000, "done", |cluster| cluster.state_of(change) == "done");
}

#[test]
fn a_host_that_says_no_halts_the_change_with_its_words() {
    for (temper, words, state) in [
        (Temper::Refuses, "its own guard removals says no: 11, the limit is 10", "refused"),
        (Temper::Fails, "route 10.1.0.0/24 metric 100: File exists (EEXIST)", "failed"),
    ] {
        let mut cluster = running(3);
        let careful = dearer().replace("max_hosts_per_step: 100%", "max_hosts_per_step: 1");
        cluster.agents.get_mut("a").unwrap().temper = temper;
        let id = cluster.put(1, &careful);
        let change = cluster.answer(id).change;
        cluster.until(3_000, "halted", |cluster| cluster.state_of(change) == "halted");
        let detail = &cluster.change(change).unwrap().detail;
        assert!(detail.starts_with("a: ") && detail.contains(words), "{detail}");
        cluster.run(3_000);
        let held = cluster.agents["c"].held.as_ref().unwrap();
        assert_eq!(held.revision, 1, "the next step never began");
        let ReadAnswer::Change(shown) = cluster.read(2, ReadRequest::Change(change)) else { panic!() };
        let states: Vec<(&str, &str)> =
            shown.hosts.iter().map(|host| (host.name.as_str(), host.state.as_str())).collect();
        assert_eq!(states, [("a", state), ("b", "waiting"), ("c", "waiting")]);
    }
}

#[test]
fn what_people_want_comes_on_trial_and_a_step_waits_until_it_is_confirmed() {
    let mut cluster = running(3);
    assert!(
        cluster.agents["a"].offers.iter().all(|offer| offer.unconfirmed && offer.confirm_within_ms == 10_000)
    );
    let careful = dearer().replace("max_hosts_per_step: 100%", "max_hosts_per_step: 1, confirm_within: 3s");
    cluster.agents.get_mut("a").unwrap().temper = Temper::Tries;
    let id = cluster.put(1, &careful);
    let change = cluster.answer(id).change;
    cluster.run(3_000);
    let offer = cluster.agents["a"].offers.last().unwrap().clone();
    assert_eq!((offer.unconfirmed, offer.confirm_within_ms, offer.origin.change), (true, 3_000, change));
    assert_eq!(offer.origin.place(0).map(|(file, _)| file), Some("t.yaml"));
    assert_eq!(cluster.change(change).unwrap().step, 1, "it is acknowledged, on trial");
    let ReadAnswer::Change(shown) = cluster.read(2, ReadRequest::Change(change)) else { panic!() };
    assert!(shown.hosts[0].detail.contains("goes back by itself"), "{:?}", shown.hosts);
    cluster.confirm("a");
    cluster.until(3_000, "done", |cluster| cluster.state_of(change) == "done");
    // A reaction to a failure and a link's return stay in any case.
    cluster.carrier("a", "eth1", false);
    cluster.carrier("b", "eth1", false);
    cluster.until(3_000, "done", |cluster| cluster.state_of(change + 1) == "done");
    cluster.carrier("a", "eth1", true);
    cluster.carrier("b", "eth1", true);
    cluster.until(20_000, "done", |cluster| cluster.state_of(change + 2) == "done");
    for offer in cluster.agents["a"].offers.iter().filter(|offer| offer.origin.change > change) {
        assert!(!offer.unconfirmed && offer.confirm_within_ms == 0, "{offer:?}");
    }
    assert!(cluster.converged());
}

#[test]
fn a_host_that_goes_back_halts_the_change_and_gets_reactions_to_failures_on_top_of_what_it_runs() {
    let mut cluster = running(3);
    let careful = dearer().replace("max_hosts_per_step: 100%", "max_hosts_per_step: 1");
    cluster.agents.get_mut("a").unwrap().temper = Temper::Tries;
    let id = cluster.put(1, &careful);
    let change = cluster.answer(id).change;
    cluster.run(1_000);
    let offers = cluster.agents["a"].offers.len();
    cluster.go_back("a");
    cluster.until(3_000, "halted", |cluster| cluster.state_of(change) == "halted");
    let detail = cluster.change(change).unwrap().detail.clone();
    assert!(detail.starts_with("a: it went back") && detail.contains("no controller answered"), "{detail}");
    cluster.run(5_000);
    assert_eq!(cluster.agents["a"].offers.len(), offers, "the same is not pushed again");
    assert_eq!(cluster.agents["c"].held.as_ref().unwrap().revision, 1, "the next step never began");
    // A failure: a gets its reaction by the revision that it runs, and not on trial.
    cluster.carrier("b", "eth2", false);
    cluster.carrier("c", "eth1", false);
    cluster.until(3_000, "done", |cluster| cluster.state_of(change + 1) == "done");
    let held = cluster.agents["a"].held.clone().unwrap();
    assert_eq!(held.revision, 1);
    assert!(!cluster.agents["a"].offers.last().unwrap().unconfirmed);
    // It goes back from a second change while the link is down: the link's return does not wait for the operator.
    let again = careful.replace("[10.3.0.0/24]", "[10.3.0.0/24, 10.4.0.0/24]");
    let id = cluster.put(1, &again);
    let second = cluster.answer(id).change;
    cluster.until(3_000, "a has it", |cluster| {
        cluster.agents["a"].held.as_ref().is_some_and(|held| held.unconfirmed)
    });
    cluster.go_back("a");
    cluster.until(3_000, "halted", |cluster| cluster.state_of(second) == "halted");
    cluster.carrier("b", "eth2", true);
    cluster.carrier("c", "eth1", true);
    cluster.until(20_000, "the link is used again", |cluster| cluster.state_of(second + 1) == "done");
    // The operator mends what cut it off and applies the same again: every host gets there.
    cluster.agents.get_mut("a").unwrap().temper = Temper::Willing;
    apply(&mut cluster, 1, &again);
}

#[test]
fn the_same_topology_applied_again_reaches_a_host_that_went_back() {
    let mut cluster = running(3);
    cluster.agents.get_mut("a").unwrap().temper = Temper::Tries;
    let id = cluster.put(1, &dearer());
    let change = cluster.answer(id).change;
    cluster.run(1_000);
    cluster.go_back("a");
    cluster.until(3_000, "halted", |cluster| cluster.state_of(change) == "halted");
    cluster.agents.get_mut("a").unwrap().temper = Temper::Willing;
    apply(&mut cluster, 1, &dearer());
    assert_eq!(cluster.agents["a"].held.as_ref().unwrap().revision, 3);
}

#[test]
fn a_pinned_host_is_shown_halts_its_change_and_is_served_when_it_is_let_go() {
    let mut cluster = running(3);
    cluster.agents.get_mut("a").unwrap().temper = Temper::Pinned;
    let id = cluster.put(1, &dearer());
    let change = cluster.answer(id).change;
    cluster.until(3_000, "halted", |cluster| cluster.state_of(change) == "halted");
    assert!(cluster.change(change).unwrap().detail.contains("a: it is pinned by root: measuring"));
    cluster.run(1_000);
    for node in cluster.ids() {
        let ReadAnswer::Host(host) = cluster.read(node, ReadRequest::Host("a".to_string())) else { panic!() };
        assert!(host.pinned && host.alarms.iter().any(|alarm| alarm.contains("pinned")), "{host:?}");
    }
    cluster.agents.get_mut("a").unwrap().temper = Temper::Willing;
    cluster.until(6_000, "a runs it", |cluster| {
        cluster.agents["a"].held.as_ref().is_some_and(|held| held.revision == 2)
    });
}

#[test]
fn a_newer_topology_supersedes_a_change_in_work() {
    let mut cluster = running(3);
    cluster.agents.get_mut("a").unwrap().temper = Temper::Silent;
    let id = cluster.put(1, &dearer());
    let first = cluster.answer(id).change;
    cluster.run(500);
    cluster.agents.get_mut("a").unwrap().temper = Temper::Willing;
    apply(&mut cluster, 2, TRIANGLE);
    let first = cluster.change(first).unwrap();
    assert_eq!(first.state.name(), "halted");
    assert_eq!(first.detail, "superseded by change 3");
}

#[test]
fn a_host_that_leaves_keeps_what_it_runs() {
    let mut cluster = running(3);
    let smaller = "version: 1\nname: triangle\naddressing: { loopbacks: [10.255.0.0/24, 'fd00::/64'] }\n\
        nodes: { a: { prefixes: [10.1.0.0/24] }, b: { prefixes: [10.2.0.0/24] } }\n\
        links: [ { endpoints: ['a:eth1', 'b:eth1'], cost: 10 } ]\n\
        safety: { bake: 0s, max_hosts_per_step: 100%, max_prefixes_lost: 3 }\n";
    let change = apply(&mut cluster, 1, smaller);
    assert!(cluster.change(change).unwrap().detail.starts_with("c left the topology"));
    let offers = cluster.agents["c"].offers.len();
    cluster.run(2_000);
    assert_eq!(cluster.agents["c"].offers.len(), offers);
    assert_eq!(cluster.agents["c"].held.as_ref().unwrap().revision, 1);
}

#[test]
fn a_killed_leader_leaves_a_change_that_another_one_completes() {
    // At each of these moments after the write was handed over.
    for delay_ms in [0, 2, 4, 6, 8, 12, 20, 300, 1_500] {
        let mut cluster = running(3);
        let careful =
            dearer().replace("bake: 0s, max_hosts_per_step: 100%", "bake: 1s, max_hosts_per_step: 1");
        let leader = cluster.elect();
        let other = leader % 3 + 1;
        for (at, host) in ["a", "b", "c"].iter().enumerate() {
            // Two of three agents lose their controller too.
            if at < 2 {
                cluster.disconnect(host);
                cluster.connect(host, leader);
            }
        }
        let id = cluster.put(other, &careful);
        let end = cluster.now + delay_ms;
        while cluster.now < end {
            cluster.run(10);
        }
        cluster.kill(leader);
        for host in ["a", "b", "c"] {
            if cluster.agents[host].at.is_none() {
                cluster.connect(host, other);
            }
        }
        let answer = cluster.answer(id);
        assert_eq!(answer.code, "accepted", "{delay_ms}");
        cluster.until(8_000, "done", |cluster| cluster.state_of(answer.change) == "done");
        assert!(cluster.converged());
        assert_eq!(cluster.change(answer.change + 1), None, "it took effect once");
    }
}

#[test]
fn a_write_without_a_leader_waits_for_one_or_is_told_so() {
    let mut cluster = running(3);
    cluster.kill(1);
    cluster.kill(2);
    let id = cluster.put(3, &dearer());
    let code = cluster.answer(id).code;
    assert!(code == "no_leader" || code == "outcome_unknown", "{code}");
    cluster.start(1);
    let id = cluster.put(3, &dearer());
    assert_eq!(cluster.answer(id).code, "accepted");
}

#[test]
fn a_key_is_applied_once() {
    let mut cluster = running(3);
    let keyed = |topology: &str| {
        let request = ClientRequest { idempotency_key: "k".to_string(), ..put(topology) };
        RequestBody::Write(request)
    };
    let mut answers = Vec::new();
    for node in [1, 2, 3] {
        let id = cluster.request(node, keyed(&dearer()));
        answers.push(cluster.answer(id));
    }
    assert!(answers.iter().all(|answer| answer == &answers[0] && answer.code == "accepted"), "{answers:?}");
    let id = cluster.request(1, keyed(TRIANGLE));
    assert_eq!(cluster.answer(id).code, "bad_request");
    assert_eq!(cluster.change(3), None);
}

#[test]
fn a_topology_of_megabytes_goes_through_in_parts() {
    let mut cluster = Cluster::new(3);
    cluster.elect();
    cluster.add_agents(TRIANGLE);
    let large = format!("{TRIANGLE}{}", "# a comment that makes the file large\n".repeat(60_000));
    let change = apply(&mut cluster, 3, &large);
    assert_eq!(change, 1);
    let ReadAnswer::Topology { bytes, revision, .. } = cluster.read(2, ReadRequest::Topology) else {
        panic!()
    };
    assert_eq!((bytes.len(), revision), (large.len(), 1));
}
