//! A reboot begins from what was proven, a restart from what is there.

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

/// The kernel is empty and the runtime folder too.
fn reboot(host: &mut Host) {
    let links = host.kernel.links.clone();
    host.kernel = crate::core::kernel::Actual { links, ..Default::default() };
    start(host, true);
}

fn start(host: &mut Host, unmarked: bool) {
    host.agent = crate::core::Agent::new(Host::config());
    host.told.clear();
    if unmarked {
        host.event(Event::Unmarked);
    }
    host.boot();
}

/// Confirmed on the first network, then another program without a round trip.
fn ahead(second: Offer) -> Host {
    let mut host = Host::connected();
    host.offer(offer(&network(3), 5, 1));
    host.round_trip();
    host.offer(second);
    host
}

#[test]
fn a_reboot_begins_from_the_confirmed_program_and_takes_the_newer_one_again() {
    let more = network(4);
    let mut host = ahead(offer(&more, 6, 2));
    reboot(&mut host);
    assert_eq!(running(&host), digest(&network(3)));
    assert!(!host.kernel.routes.is_empty());
    host.tick(1);
    assert_eq!(
        host.disk.as_ref().and_then(|disk| disk.running.as_ref()).map(|kept| kept.generation.index),
        Some(5)
    );
    host.event(Event::Connected);
    host.offer(offer(&more, 6, 2));
    assert_eq!(running(&host), digest(&more));
}

#[test]
fn a_trial_that_a_reboot_cut_short_has_failed() {
    let more = network(4);
    let trial = Offer { unconfirmed: true, ..offer(&more, 6, 2) };
    let mut host = ahead(trial.clone());
    reboot(&mut host);
    assert_eq!(running(&host), digest(&network(3)));
    host.event(Event::Connected);
    host.offer(trial);
    let Outcome::Reverted { detail } = &host.acks.last().expect("told").outcome else {
        panic!("{:?}", host.acks)
    };
    assert!(detail.contains("restarted"), "{detail}");
}

#[test]
fn a_restart_goes_on_with_the_running_program() {
    let more = network(4);
    // Its mark is there, whatever somebody did to the kernel meanwhile.
    let mut host = ahead(offer(&more, 6, 2));
    host.kernel.routes.clear();
    host.kernel.nexthops.clear();
    start(&mut host, false);
    assert_eq!(running(&host), digest(&more));
    // Its mark is gone, and objects of ours are in the kernel.
    let mut host = ahead(offer(&more, 6, 2));
    start(&mut host, true);
    assert_eq!(running(&host), digest(&more));
}

#[test]
fn a_pin_holds_over_a_reboot_and_a_freeze_becomes_one() {
    let more = network(4);
    for (verb, wanted) in [(Verb::Pin, "pinned"), (Verb::Freeze, "frozen")] {
        let mut host = ahead(offer(&more, 6, 2));
        host.act(verb, "measuring");
        reboot(&mut host);
        assert_eq!(running(&host), digest(&more), "{wanted}");
        assert!(!host.kernel.routes.is_empty(), "{wanted}: an empty kernel is filled");
        let status = host.status();
        assert_eq!((&status["pinned"], &status["frozen"]), (&true.into(), &false.into()), "{wanted}");
    }
}

#[test]
fn a_first_program_without_a_round_trip_is_better_than_none() {
    let mut host = Host::connected();
    host.offer(offer(&network(3), 5, 1));
    reboot(&mut host);
    assert_eq!(running(&host), digest(&network(3)));
    assert!(!host.kernel.routes.is_empty());
}
