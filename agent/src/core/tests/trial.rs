//! Commit-confirm: a program on trial stays when a controller answers under it, and goes by itself when none does.

use super::{HOST, Host, network, offer};
use crate::core::event::Event;
use plan::Network;
use wire::Generation;
use wire::agent::{Offer, Outcome, ToAgent};

fn on_trial(network: &Network, index: u64, revision: u64) -> Offer {
    Offer { unconfirmed: true, confirm_within_ms: 10_000, ..offer(network, index, revision) }
}

fn digest(network: &Network) -> plan::Digest {
    network.host(HOST).expect("there").1
}

fn in_force(host: &Host) -> (u64, plan::Digest) {
    let held = host.agent.held().expect("a program");
    (held.generation.index, held.digest)
}

/// Runs the first network, confirmed, and gets the second on trial.
fn tried(first: &Network, second: &Network) -> Host {
    let mut host = Host::connected();
    host.offer(offer(first, 5, 1));
    host.round_trip();
    host.offer(on_trial(second, 6, 2));
    host
}

#[test]
fn an_answer_under_the_program_confirms_it_and_it_is_acknowledged_again() {
    let (few, more) = (network(3), network(4));
    let mut host = tried(&few, &more);
    let ack = host.acks.last().expect("an answer").clone();
    assert_eq!((&ack.outcome, ack.unconfirmed), (&Outcome::Applied, true));
    assert!(host.agent.held().is_some_and(|held| held.unconfirmed));
    host.round_trip();
    let again = host.acks.last().expect("an answer");
    assert_eq!((&again.outcome, again.unconfirmed, again.writes), (&Outcome::Applied, false, ack.writes));
    host.tick(100_000);
    assert_eq!(in_force(&host), (6, digest(&more)));
    assert_eq!(host.status()["confirmed"], "1.6");
}

#[test]
fn without_an_answer_in_time_the_host_goes_back_and_the_same_is_not_taken_again() {
    let (few, more) = (network(3), network(4));
    let mut host = tried(&few, &more);
    let writes = host.kernel.routes.len();
    host.tick(9_999);
    assert_eq!(in_force(&host), (6, digest(&more)));
    // Stale words, of before the program was in force, do not help it.
    host.event(Event::Controller(ToAgent::Pulse { assigned: None, echo: host.beats[0].probe }));
    host.tick(1);
    assert_eq!(in_force(&host), (5, digest(&few)));
    assert!(host.kernel.routes.len() < writes);
    let disk = host.disk.clone().expect("a ledger");
    assert_eq!(disk.highest, Generation { incarnation: 1, index: 6 }, "the fence stays");
    assert_eq!(disk.running.map(|kept| kept.generation.index), Some(5));
    let Outcome::Reverted { detail } = &host.acks.last().expect("told").outcome else {
        panic!("{:?}", host.acks)
    };
    assert!(detail.contains("10000 ms"), "{detail}");
    // Offered again, also after a restart: no. Told again to whoever it connects to.
    host.offer(on_trial(&more, 6, 2));
    assert!(matches!(host.acks.last().expect("told").outcome, Outcome::Reverted { .. }));
    host.restart();
    let before = host.acks.len();
    host.event(Event::Connected);
    assert_eq!(host.acks.len(), before + 1);
    host.offer(on_trial(&more, 6, 2));
    assert!(matches!(host.acks.last().expect("told").outcome, Outcome::Reverted { .. }));
    assert_eq!(in_force(&host).0, 5);
    // A newer generation is another decision.
    host.offer(on_trial(&more, 7, 3));
    assert_eq!(host.outcomes().last(), Some(&&Outcome::Applied));
    assert!(host.status()["reverted"].is_null());
}

#[test]
fn what_comes_without_a_trial_never_goes_by_a_timer() {
    let (few, more, most) = (network(3), network(4), network(5));
    let mut host = tried(&few, &more);
    // A reaction to a failure ends the trial before it.
    host.offer(offer(&most, 7, 2));
    host.event(Event::Disconnected);
    host.tick(100_000);
    assert_eq!(in_force(&host), (7, digest(&most)));
    // The first program has nothing to go back to.
    let mut first = Host::connected();
    first.offer(on_trial(&few, 5, 1));
    assert!(first.acks.last().is_some_and(|ack| !ack.unconfirmed));
    first.tick(100_000);
    assert_eq!(in_force(&first).0, 5);
}

#[test]
fn an_accepted_failure_is_not_forgotten_by_going_back() {
    let (few, more, most) = (network(3), network(4), network(5));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    host.round_trip();
    // The reaction comes on top of the confirmed program, and the next trial before it was confirmed itself.
    host.offer(offer(&more, 6, 1));
    host.offer(on_trial(&most, 7, 2));
    host.tick(10_000);
    assert_eq!(in_force(&host), (6, digest(&more)));
}

#[test]
fn a_trial_on_top_of_a_trial_goes_back_to_what_was_none() {
    let (few, more, most) = (network(3), network(4), network(5));
    let mut host = tried(&few, &more);
    host.offer(on_trial(&most, 7, 3));
    host.tick(10_000);
    assert_eq!(in_force(&host), (5, digest(&few)));
}

#[test]
fn a_restart_in_the_middle_runs_on_and_has_its_whole_time_again() {
    let (few, more) = (network(3), network(4));
    let mut host = tried(&few, &more);
    host.tick(9_000);
    host.restart();
    host.event(Event::Connected);
    assert_eq!(in_force(&host).0, 6);
    host.tick(9_000);
    assert_eq!(in_force(&host).0, 6);
    host.tick(1_000);
    assert_eq!(in_force(&host), (5, digest(&few)));
}

#[test]
fn a_full_disk_does_not_keep_a_host_on_a_program_that_cuts_it_off() {
    let (few, more) = (network(3), network(4));
    let mut host = tried(&few, &more);
    host.disk_full = true;
    host.tick(10_000);
    assert_eq!(in_force(&host), (5, digest(&few)));
    assert_eq!(host.status()["ledger"]["saved"], false);
    host.disk_full = false;
    host.tick(5_000);
    assert_eq!(host.status()["ledger"]["saved"], true);
    assert_eq!(
        host.disk.as_ref().and_then(|disk| disk.running.as_ref()).map(|kept| kept.digest),
        Some(digest(&few))
    );
}

#[test]
fn an_offer_that_the_disk_refused_is_taken_when_there_is_room() {
    let (few, more) = (network(3), network(4));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    host.disk_full = true;
    host.offer(offer(&more, 6, 2));
    let ack = host.acks.last().expect("an answer");
    assert_eq!(
        (&ack.outcome, ack.failures[0].reason.as_str()),
        (&Outcome::Failed, "no space left on device")
    );
    assert_eq!(in_force(&host), (5, digest(&few)));
    assert_eq!(host.status()["ledger"]["error"], "no space left on device");
    host.tick(4_000);
    assert_eq!(host.acks.len(), 2, "not hammered");
    host.disk_full = false;
    host.tick(1_000);
    assert_eq!(in_force(&host), (6, digest(&more)));
    assert!(host.status()["ledger"]["error"].is_null());
}
