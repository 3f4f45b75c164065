//! The person on the host has the last word.

use super::{HOST, Host, network, offer};
use crate::core::event::Event;
use crate::core::hold::Verb;
use plan::Network;
use wire::agent::{Offer, Outcome};

fn digest(network: &Network) -> plan::Digest {
    network.host(HOST).expect("there").1
}

fn running(host: &Host) -> plan::Digest {
    host.agent.held().expect("a program").digest
}

#[test]
fn a_pinned_host_refuses_other_programs_over_restarts_until_it_is_unpinned() {
    let (few, more) = (network(3), network(4));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    let answer = host.act(Verb::Pin, "measuring");
    assert_eq!(
        (&answer["schema"], &answer["ok"], &answer["changed"]),
        (&"ballast.agent_pin/v1".into(), &true.into(), &true.into())
    );
    assert_eq!(answer["status"]["pin"]["by"], "root (ada)");
    for _ in 0..2 {
        host.offer(offer(&more, 6, 2));
        let Outcome::Pinned { detail } = &host.acks.last().expect("told").outcome else {
            panic!("{:?}", host.acks)
        };
        assert_eq!(detail, "by root (ada) since 1970-01-01T00:00:00.000Z: measuring");
        assert_eq!(running(&host), digest(&few));
        host.restart();
        host.event(Event::Connected);
    }
    host.tick(500);
    let beat = host.beats.last().expect("a beat");
    assert!(beat.pinned && beat.hold.contains("measuring"), "{beat:?}");
    // The same program under a newer generation is no other program.
    host.offer(offer(&few, 7, 3));
    assert_eq!(host.outcomes().last(), Some(&&Outcome::Unchanged));
    let again = host.act(Verb::Pin, "");
    assert_eq!((&again["ok"], &again["changed"]), (&true.into(), &false.into()));
    assert_eq!(host.act(Verb::Unpin, "")["pinned"], false);
    host.offer(offer(&more, 8, 4));
    assert_eq!(running(&host), digest(&more));
}

#[test]
fn a_pin_ends_a_trial_because_a_person_said_stay() {
    let (few, more) = (network(3), network(4));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    host.offer(Offer { unconfirmed: true, ..offer(&more, 6, 2) });
    let answer = host.act(Verb::Pin, "");
    assert!(answer["detail"].as_str().is_some_and(|words| words.contains("on trial")), "{answer}");
    host.tick(100_000);
    assert_eq!(running(&host), digest(&more));
}

#[test]
fn a_rollback_goes_back_pins_and_says_so() {
    let (few, more) = (network(3), network(4));
    let mut host = Host::connected();
    assert_eq!(host.act(Verb::Rollback, "")["ok"], false, "nothing to go back to");
    host.offer(offer(&few, 5, 1));
    host.round_trip();
    host.offer(offer(&more, 6, 2));
    let answer = host.act(Verb::Rollback, "the new one is slow");
    assert_eq!((&answer["generation"], &answer["pinned"]), (&"1.5".into(), &true.into()));
    assert!(answer["detail"].as_str().is_some_and(|words| words.contains("unpin")), "{answer}");
    assert_eq!(answer["status"]["objects"]["installed"].as_u64(), Some(host.agent.found.counts().installed));
    assert_eq!(running(&host), digest(&few));
    host.offer(offer(&more, 6, 2));
    assert!(matches!(host.acks.last().expect("told").outcome, Outcome::Pinned { .. }));
    // Unpinned, the assigned program is taken again under its own generation.
    host.act(Verb::Unpin, "");
    host.offer(offer(&more, 6, 2));
    assert_eq!(running(&host), digest(&more));
    // From the confirmed program it is the one before.
    host.round_trip();
    assert_eq!(host.act(Verb::Rollback, "")["generation"], "1.5");
}

#[test]
fn a_frozen_agent_writes_nothing_whatever_happens() {
    let (few, more) = (network(3), network(4));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    host.act(Verb::Freeze, "something deletes routes");
    host.told.clear();
    host.kernel.routes.clear();
    host.event(Event::KernelChanged);
    host.tick(100);
    host.offer(offer(&more, 6, 2));
    assert!(matches!(host.acks.last().expect("told").outcome, Outcome::Frozen { .. }));
    assert_eq!(host.act(Verb::Rollback, "")["ok"], false);
    host.tick(100_000);
    assert!(!host.told.iter().any(|told| told.starts_with("apply")), "{:?}", host.told);
    let status = host.status();
    assert!(
        status["pending"][0]["reason"].as_str().is_some_and(|reason| reason.contains("frozen")),
        "{status}"
    );
    assert_ne!(status["digest"], status["effective_digest"]);
    host.restart();
    assert!(!host.told.iter().any(|told| told.starts_with("apply")), "{:?}", host.told);
    let answer = host.act(Verb::Unfreeze, "");
    assert_eq!((&answer["frozen"], &answer["status"]["objects"]["pending"]), (&false.into(), &0.into()));
    assert!(!host.kernel.routes.is_empty());
}

#[test]
fn a_freeze_holds_a_trial_and_its_time_begins_when_it_ends() {
    let (few, more) = (network(3), network(4));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    host.offer(Offer { unconfirmed: true, ..offer(&more, 6, 2) });
    host.act(Verb::Freeze, "");
    host.tick(100_000);
    assert_eq!(running(&host), digest(&more));
    host.act(Verb::Unfreeze, "");
    host.tick(9_999);
    assert_eq!(running(&host), digest(&more));
    host.tick(1);
    assert_eq!(running(&host), digest(&few));
}

#[test]
fn a_full_disk_does_not_stop_a_person_and_is_said() {
    let mut host = Host::connected();
    host.offer(offer(&network(3), 5, 1));
    host.disk_full = true;
    let answer = host.act(Verb::Freeze, "");
    assert_eq!(answer["frozen"], true);
    assert!(answer["detail"].as_str().is_some_and(|words| words.contains("not on disk")), "{answer}");
    host.disk_full = false;
    host.tick(5_000);
    assert!(host.disk.as_ref().is_some_and(|disk| disk.freeze.is_some()));
}

#[test]
fn why_says_class_next_hops_states_and_the_kernels_way() {
    let network = network(3);
    let mut host = Host::connected();
    let origin = wire::agent::Origin {
        change: 9,
        files: vec![("net.yaml".to_string(), 0)],
        lines: vec![4; network.table.classes.len()],
    };
    host.offer(Offer { origin, ..offer(&network, 5, 1) });
    let ask = |host: &mut Host, text: &str| -> serde_json::Value {
        let asked = crate::core::destination(text).expect("a prefix");
        host.event(Event::Local { id: 2, request: crate::core::LocalRequest::Why(asked) });
        serde_json::from_str(&host.answers.pop().expect("an answer")).expect("JSON")
    };
    let why = ask(&mut host, "10.1.1.7");
    assert_eq!((&why["prefix"], &why["class"]), (&"10.1.1.0/24".into(), &"c".into()));
    assert_eq!(why["origin"], serde_json::json!({"file": "net.yaml", "line": 4, "change": 9}));
    let routes = why["routes"].as_array().expect("a list");
    assert_eq!((&routes[0]["metric"], &routes[0]["state"]), (&100.into(), &"installed".into()));
    assert_eq!(routes[0]["next_hops"][0]["interface"], "eth2");
    assert_eq!(
        (&routes[1]["kind"], &routes[1]["next_hops"][0]["interface"]),
        (&"backup".into(), &"eth1".into())
    );
    assert_eq!(why["kernel"]["detail"], "there is no route");
    host.carrier("eth2", false);
    let why = ask(&mut host, "10.1.1.0/24");
    assert_eq!(
        (&why["routes"][0]["state"], &why["routes"][0]["next_hops"][0]["link"]),
        (&"pending".into(), &"no carrier".into())
    );
    assert_eq!(ask(&mut host, "203.0.113.1")["detail"], "the program in force says nothing of it");
}
