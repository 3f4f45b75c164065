//! Replicas: snapshots, restarts, votes, entries that make no sense.

use super::*;
use crate::core::*;
use plan::Digest;

fn small_snapshots(config: &mut Config) {
    config.limits.snapshot_entries = 8;
    config.limits.kept_entries = 2;
}

fn digest(cluster: &Cluster, id: u64) -> Digest {
    cluster.core(id).state.digest()
}

#[test]
fn a_follower_that_was_away_gets_a_snapshot() {
    let mut cluster = Cluster::with(3, small_snapshots);
    let leader = cluster.elect();
    cluster.add_agents(TRIANGLE);
    apply(&mut cluster, leader, TRIANGLE);
    let away = leader % 3 + 1;
    cluster.kill(away);
    for round in 0..6 {
        for host in ["a", "b", "c"] {
            if cluster.agents[host].at.is_none() {
                cluster.connect(host, leader);
            }
        }
        let topology = if round % 2 == 0 { dearer() } else { TRIANGLE.to_string() };
        apply(&mut cluster, leader, &topology);
    }
    assert!(cluster.snapshots > 2, "snapshots are really taken");
    cluster.start(away);
    cluster.until(3_000, "caught up", |cluster| digest(cluster, away) == digest(cluster, leader));
    cluster.run(50);
    let from_leader = cluster.disk(away).snapshot.as_ref().unwrap().index;
    assert!(from_leader > 8, "a snapshot of the leader is on its disk: {from_leader}");
    // It is a full member: the cluster goes on without the leader that it had.
    cluster.kill(leader);
    for host in ["a", "b", "c"] {
        if cluster.agents[host].at.is_none() {
            cluster.connect(host, away);
        }
    }
    apply(&mut cluster, away, &TRIANGLE.replace("cost: 15", "cost: 17"));
    assert!(cluster.disk(away).entries.len() < 30, "old entries are forgotten");
}

#[test]
fn a_snapshot_that_is_lost_on_its_way_is_sent_again() {
    let mut cluster = Cluster::with(3, small_snapshots);
    let leader = cluster.elect();
    cluster.add_agents(TRIANGLE);
    let away = leader % 3 + 1;
    for host in ["a", "b", "c"] {
        cluster.disconnect(host);
        cluster.connect(host, leader);
    }
    cluster.kill(away);
    for topology in [TRIANGLE.to_string(), dearer(), TRIANGLE.to_string(), dearer()] {
        apply(&mut cluster, leader, &topology);
    }
    cluster.start(away);
    // It answers heartbeats, but what is sent to it just now does not arrive.
    let before = cluster.core(leader).replica.applied();
    for _ in 0..40 {
        cluster.cut.insert((leader, away));
        cluster.run(10);
        cluster.cut.clear();
        cluster.run(20);
    }
    cluster.until(8_000, "caught up", |cluster| cluster.core(away).replica.applied() >= before);
}

#[test]
fn a_restart_of_all_loses_nothing_and_serves_again() {
    let mut cluster = Cluster::with(3, small_snapshots);
    let leader = cluster.elect();
    cluster.add_agents(TRIANGLE);
    for topology in [TRIANGLE.to_string(), dearer(), TRIANGLE.to_string(), dearer()] {
        apply(&mut cluster, leader, &topology);
    }
    cluster.run(100);
    let before = digest(&cluster, leader);
    for id in cluster.ids() {
        cluster.kill(id);
    }
    for id in cluster.ids() {
        cluster.start(id);
    }
    cluster.elect();
    for id in cluster.ids() {
        cluster.until(2_000, "replayed", |cluster| digest(cluster, id) == before);
    }
    // An agent that lost its program gets it from any of them.
    for id in cluster.ids() {
        let agent = cluster.agents.get_mut("b").unwrap();
        agent.held = None;
        cluster.disconnect("b");
        cluster.connect("b", id);
        cluster.until(2_000, "served", |cluster| cluster.agents["b"].held.is_some());
    }
}

#[test]
fn one_replica_alone_survives_a_restart_at_any_moment() {
    for delay_ms in [0, 10, 20, 30, 40, 60] {
        let mut cluster = running(1);
        let id = cluster.put(1, &dearer());
        cluster.run(delay_ms);
        cluster.kill(1);
        cluster.start(1);
        for host in ["a", "b", "c"] {
            cluster.connect(host, 1);
        }
        cluster.elect();
        cluster.run(1_000);
        if cluster.replies.contains_key(&id) {
            assert_eq!(cluster.state_of(2), "done", "an acknowledged write is never lost");
        }
        apply(&mut cluster, 1, &dearer());
    }
}

#[test]
fn a_follower_that_computes_otherwise_is_outvoted_and_serves_nothing() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    let wrong = leader % 3 + 1;
    cluster.wrong.insert(wrong);
    for host in ["a", "b"] {
        cluster.disconnect(host);
        cluster.connect(host, wrong);
    }
    cluster.run(100);
    let id = cluster.put(leader, &dearer());
    let change = cluster.answer(id).change;
    cluster.until(1_000, "sessions closed", |cluster| !cluster.agents["a"].closed.is_empty());
    let ReadAnswer::Status(status) = cluster.read(wrong, ReadRequest::Status) else { panic!() };
    assert!(!status.serving);
    assert!(status.alarms[0].contains("computes other programs than the majority"), "{:?}", status.alarms);
    assert!(cluster.agents["a"].closed[0].contains("serves nothing"));
    for host in ["a", "b"] {
        cluster.connect(host, leader);
    }
    cluster.until(2_000, "done", |cluster| cluster.state_of(change) == "done");
    assert!(cluster.sent.iter().all(|(_, _, digest)| *digest != Digest([9; 32])));
    let id = cluster.put(wrong, TRIANGLE);
    assert_eq!(cluster.answer(id).code, "outvoted");
    // It never leads.
    cluster.kill(leader);
    cluster.until(6_000, "another leader", |cluster| cluster.leader().is_some());
    assert_ne!(cluster.leader(), Some(wrong));
}

#[test]
fn an_outvoted_leader_steps_down_and_its_release_is_void() {
    for failure in [false, true] {
        let mut cluster = running(3);
        let leader = cluster.elect();
        cluster.wrong.insert(leader);
        let change = if failure {
            for host in ["a", "b"] {
                cluster.carrier(host, "eth1", false);
            }
            2
        } else {
            let id = cluster.put(leader, &dearer());
            cluster.answer(id).change
        };
        cluster.until(3_000, "another leader", |cluster| cluster.leader().is_some_and(|now| now != leader));
        let next = cluster.leader().unwrap();
        for host in ["a", "b", "c"] {
            cluster.disconnect(host);
            cluster.connect(host, next);
        }
        cluster.until(5_000, "done", |cluster| cluster.state_of(change) == "done");
        let core = cluster.core(next);
        assert!(core.state.releases.values().any(|release| release.void), "{failure}");
        let head = core.state.head().unwrap();
        let wanted = plan::compile(&head.topology, &core.state.facts_now());
        for (host, assignment) in &core.state.assignments {
            assert_eq!(assignment.digest, wanted.host(host).unwrap().1, "{host}");
        }
        assert!(cluster.sent.iter().all(|(_, _, digest)| *digest != Digest([9; 32])));
        let ReadAnswer::Status(status) = cluster.read(leader, ReadRequest::Status) else { panic!() };
        assert!(!status.serving);
    }
}

#[test]
fn entries_that_make_no_sense_are_set_aside_on_every_replica_and_on_replay() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    let entry = |command| {
        let request_id = wire::log::RequestId([1; 16]);
        let author = "mallory".to_string();
        let entry =
            wire::log::Entry { request_id, idempotency_key: String::new(), author, at_unix_ms: 0, command };
        entry.encode()
    };
    let nonsense = [
        vec![0xff; 100],
        entry(wire::log::Command::Void { release: 99_999, reason: "because".to_string() }),
        entry(wire::log::Command::Progress {
            change: 77,
            state: wire::log::ChangeState::Done,
            reason: String::new(),
        }),
        entry(wire::log::Command::RaiseIncarnation { above: u64::MAX, reason: String::new() }),
    ];
    for bytes in nonsense {
        cluster.propose_raw(leader, bytes);
        cluster.run(50);
    }
    for id in cluster.ids() {
        assert_eq!(cluster.core(id).state.quarantine.len(), 4);
        let ReadAnswer::Status(status) = cluster.read(id, ReadRequest::Status) else { panic!() };
        assert!(status.alarms.iter().any(|alarm| alarm.contains("mallory")), "{:?}", status.alarms);
    }
    for id in cluster.ids() {
        cluster.kill(id);
        cluster.start(id);
    }
    for host in ["a", "b", "c"] {
        cluster.connect(host, 1);
    }
    let leader = cluster.elect();
    assert_eq!(cluster.core(leader).state.quarantine.len(), 4);
    apply(&mut cluster, leader, &dearer());
}

#[test]
fn a_partition_leaves_one_leader_and_heals() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    for other in &others {
        cluster.cut.insert((leader, *other));
        cluster.cut.insert((*other, leader));
    }
    for host in ["a", "b", "c"] {
        cluster.disconnect(host);
        cluster.connect(host, others[0]);
    }
    cluster.until(5_000, "a new leader", |cluster| cluster.leader().is_some_and(|now| now != leader));
    apply(&mut cluster, others[0], &dearer());
    cluster.run(1_500);
    assert!(!cluster.core(leader).replica.leads(), "a leader without a quorum steps down");
    cluster.cut.clear();
    cluster.run(1_500);
    assert_eq!(digest(&cluster, leader), digest(&cluster, others[0]));
}

#[test]
fn what_is_stored_is_checked() {
    let key = [0; 32];
    let mut out = Vec::new();
    let bad = [
        StoredState { hard_state: Some(vec![0xff; 7]), ..StoredState::default() },
        StoredState {
            entries: vec![StoredEntry { index: 1, bytes: vec![0xff; 7] }],
            ..StoredState::default()
        },
        StoredState {
            snapshot: Some(StoredSnapshot { index: 5, term: 1, conf_state: Vec::new(), data: vec![1, 2, 3] }),
            ..StoredState::default()
        },
    ];
    for stored in bad {
        let config = Config::new(1, vec![1], "test", key, 1);
        let error = Controller::new(config, stored, Millis(0), &mut out).unwrap_err();
        assert!(matches!(error, StartError::Stored { .. }), "{error}");
    }
    for (id, peers) in [(0, vec![0]), (1, vec![2, 3]), (1, vec![1, 1])] {
        let config = Config::new(id, peers, "test", key, 1);
        let error = Controller::new(config, StoredState::default(), Millis(0), &mut out).unwrap_err();
        assert!(matches!(error, StartError::Config { .. }), "{error}");
    }
}

#[test]
fn a_void_release_of_a_change_that_ended_is_made_good_by_the_newest_change() {
    let mut cluster = running(3);
    let leader = cluster.elect();
    cluster.wrong.insert(leader);
    // Votes do not get through, so that the wrong leader goes on unhindered: its release of change 2, and change 3
    // that finds nothing left to do.
    let others: Vec<u64> = cluster.ids().into_iter().filter(|id| *id != leader).collect();
    cluster.deaf_to_votes = true;
    for _ in 0..2 {
        let id = cluster.put(leader, &dearer());
        assert_eq!(cluster.answer(id).code, "accepted");
        cluster.run(100);
    }
    assert_eq!((cluster.state_of(2).as_str(), cluster.state_of(3).as_str()), ("halted", "done"));
    cluster.deaf_to_votes = false;
    cluster.until(3_000, "another leader", |cluster| cluster.leader().is_some_and(|now| now != leader));
    for host in ["a", "b", "c"] {
        cluster.disconnect(host);
        cluster.connect(host, others[0]);
    }
    cluster.until(3_000, "made good", |cluster| {
        cluster.converged() && cluster.agents["a"].held.as_ref().is_some_and(|held| held.revision == 3)
    });
    assert!(cluster.sent.iter().all(|(_, _, digest)| *digest != Digest([9; 32])));
    cluster.until(1_000, "done", |cluster| cluster.state_of(3) == "done");
}

#[test]
fn one_replica_alone_leads_at_once_and_three_within_a_second() {
    for (size, within_ms) in [(1, 20), (3, 1_100)] {
        let mut cluster = Cluster::new(size);
        cluster.until(within_ms, "a leader", |cluster| cluster.leader().is_some());
    }
}
