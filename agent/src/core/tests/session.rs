//! The agent's life, event by event.

use super::{HOST, Host, compile, network, offer};
use crate::core::damping::HOLD_MS_MIN;
use crate::core::event::{Effect, Event, Millis};
use plan::Objects;
use std::sync::Arc;
use wire::Generation;
use wire::agent::{Outcome, ToAgent};

fn generation(index: u64) -> Generation {
    Generation { incarnation: 1, index }
}

/// Whether the host's kernel holds exactly the program of `network`.
pub(super) fn holds(host: &Host, network: &plan::Network) -> bool {
    let (program, _) = network.host(HOST).expect("there");
    let wanted = Objects::of(program, &network.table);
    crate::core::reconcile::reconcile(&wanted, &host.kernel).ops.is_empty()
        && host.kernel.routes.len() == wanted.routes.len()
}

#[test]
fn an_offer_is_on_disk_before_the_kernel_is_touched_and_acknowledged_after_it_was_read_back() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    let writes = host.acks[0].writes;
    let applied = format!("apply {writes}");
    let acknowledged = format!("ack Applied writes {writes}");
    assert_eq!(host.told, ["save", "read", &applied, "read", &acknowledged]);
    assert!(writes > 10, "{writes}");
    assert!(holds(&host, &network));
    let digest = network.host(HOST).map(|(_, digest)| digest);
    assert_eq!(host.acks[0].effective_digest, digest, "nothing is missing: effective is the program's own");
    assert_eq!(host.disk.as_ref().map(|ledger| ledger.highest), Some(generation(5)));
}

#[test]
fn the_fence_refuses_older_generations_and_the_same_one_with_other_content() {
    let (few, many) = (network(3), network(4));
    let damaged = offer(&few, 9, 2);
    for (name, second, wanted) in [
        ("an older one", offer(&many, 4, 1), Outcome::Stale { highest: generation(5) }),
        ("the same generation, another program", offer(&many, 5, 1), Outcome::Conflict),
        ("the very same", offer(&few, 5, 1), Outcome::Unchanged),
        ("the same program, newer", damaged, Outcome::Unchanged),
    ] {
        let mut host = Host::connected();
        host.offer(offer(&few, 5, 1));
        host.told.clear();
        host.acks.clear();
        host.offer(second);
        assert_eq!(host.outcomes(), [&wanted], "{name}");
        assert!(!host.told.iter().any(|told| told.starts_with("apply")), "{name}: {:?}", host.told);
        assert!(holds(&host, &few), "{name}");
    }
}

#[test]
fn a_newer_generation_of_the_same_program_moves_the_fence_on_disk() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.offer(offer(&network, 9, 2));
    assert_eq!(host.disk.as_ref().map(|ledger| ledger.highest), Some(generation(9)));
    host.offer(offer(&network, 7, 1));
    assert_eq!(host.outcomes().last(), Some(&&Outcome::Stale { highest: generation(9) }));
}

#[test]
fn the_same_program_is_looked_at_again_where_something_is_missing() {
    let (mut host, network) = (Host::connected(), network(3));
    host.carrier("eth2", false);
    host.offer(offer(&network, 5, 1));
    assert_ne!(host.acks[0].effective_digest, Some(host.acks[0].digest), "a leg is missing");
    host.told.clear();
    host.offer(offer(&network, 6, 2));
    assert!(host.told.contains(&"read".to_string()), "{:?}", host.told);
    assert_eq!(host.outcomes().last(), Some(&&Outcome::Applied));
}

#[test]
fn an_offer_that_is_not_for_this_host_or_is_damaged_changes_nothing() {
    let (network, other) = (network(3), network(4));
    let mut for_another = offer(&network, 5, 1);
    for_another.program = network.host("b").expect("there").0.clone();
    let mut damaged = offer(&network, 5, 1);
    damaged.digest = other.host(HOST).expect("there").1;
    let mut wrong_table = offer(&network, 5, 1);
    wrong_table.table = Some(other.table.clone());
    let mut without_table = offer(&network, 5, 1);
    without_table.table = None;
    for (name, offer, wanted) in [
        ("for another host", for_another, "the program is for b, this is a"),
        ("damaged", damaged, "damaged"),
        ("another table", wrong_table, "damaged"),
        ("no table", without_table, ""),
    ] {
        let mut host = Host::connected();
        host.offer(offer);
        match host.outcomes()[..] {
            [Outcome::Unsupported { detail }] => {
                assert!(detail.contains(wanted) && !wanted.is_empty(), "{detail}")
            }
            [Outcome::NeedTable] => assert!(wanted.is_empty(), "{name}"),
            ref other => panic!("{name}: {other:?}"),
        }
        assert!(host.disk.is_none() && !host.told.contains(&"save".to_string()), "{name}");
    }
}

#[test]
fn a_table_that_the_host_holds_need_not_be_sent_again() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    let mut again = offer(&network, 6, 2);
    again.table = None;
    host.offer(again);
    assert_eq!(host.outcomes(), [&Outcome::Applied, &Outcome::Unchanged]);
}

#[test]
fn a_ledger_that_cannot_be_written_refuses_the_offer_and_the_old_program_stays() {
    let (mut host, few, many) = (Host::connected(), network(3), network(4));
    host.offer(offer(&few, 5, 1));
    host.disk_full = true;
    host.told.clear();
    host.offer(offer(&many, 6, 2));
    assert_eq!(host.outcomes().last(), Some(&&Outcome::Failed));
    let failure = &host.acks.last().expect("there").failures[0];
    assert_eq!((&*failure.object, &*failure.reason), ("ledger", "no space left on device"));
    assert!(holds(&host, &few) && !host.told.iter().any(|told| told.starts_with("apply")));
    // Nothing of the refused offer is remembered: it is taken as soon as the disk is.
    host.disk_full = false;
    host.offer(offer(&many, 6, 2));
    assert!(holds(&host, &many));
}

#[test]
fn a_crash_between_disk_and_kernel_is_finished_by_the_next_life_before_it_looks_for_a_controller() {
    let (mut host, few, many) = (Host::connected(), network(3), network(4));
    host.offer(offer(&few, 5, 1));
    host.still = true;
    host.offer(offer(&many, 6, 2));
    // Only the ledger is written; then the agent dies.
    host.carry_out();
    host.open.clear();
    host.still = false;
    assert!(holds(&host, &few));
    host.restart();
    assert!(holds(&host, &many));
    assert_eq!(host.told.last().map(String::as_str), Some("connect"), "{:?}", host.told);
    assert_eq!(host.told.iter().filter(|told| *told == "connect").count(), 1);
}

#[test]
fn a_life_without_a_ledger_writes_nothing() {
    let mut host = Host::unborn(Host::config());
    let network = network(3);
    let (program, _) = network.host(HOST).expect("there");
    // The kernel holds routes with Ballast's mark from who knows when: no program, no opinion.
    for (key, value) in Objects::of(program, &network.table).routes {
        host.kernel.routes.insert(key, crate::core::kernel::ActualRoute { value: Some(value) });
    }
    let before = host.kernel.clone();
    host.boot();
    host.tick(100_000);
    assert_eq!(host.kernel, before);
    assert_eq!(host.told.first().map(String::as_str), Some("read"));
    assert!(host.told.contains(&"connect".to_string()));
}

#[test]
fn a_ledger_of_another_host_is_no_ledger() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    let mut ledger = host.disk.clone().expect("saved");
    ledger.host = "b".to_string();
    let mut fresh = Host::unborn(Host::config());
    fresh.disk = Some(ledger);
    fresh.boot();
    assert!(fresh.kernel.routes.is_empty());
}

#[test]
fn a_restart_over_a_right_kernel_writes_nothing() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.restart();
    assert_eq!(host.told, ["read", "connect"]);
}

#[test]
fn a_reading_that_failed_is_asked_for_again_and_is_never_an_empty_one() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.tick(1);
    let before = host.kernel.clone();
    host.still = true;
    host.event(Event::KernelChanged);
    host.tick(100);
    assert!(matches!(host.open[..], [Effect::ReadKernel { .. }]), "{:?}", host.open);
    host.open.clear();
    host.event(Event::KernelRead(Err("interrupted dump".to_string())));
    assert!(host.open.is_empty(), "not at once");
    host.tick(200);
    assert!(matches!(host.open[0], Effect::ReadKernel { .. }), "{:?}", host.open);
    assert_eq!(host.kernel, before);
}

#[test]
fn a_failed_reading_that_nobody_asked_for_drops_no_other_work() {
    for steps in [0, 2] {
        let (mut host, network) = (Host::connected(), network(3));
        host.still = true;
        host.offer(offer(&network, 5, 1));
        // 0: the ledger is being saved; 2: saved and read, the kernel is being written.
        for _ in 0..steps {
            host.carry_out();
        }
        host.event(Event::KernelRead(Err("interrupted dump".to_string())));
        host.still = false;
        host.tick(0);
        assert_eq!(host.outcomes(), [&Outcome::Applied], "{steps}");
        assert!(holds(&host, &network), "{steps}");
    }
}

#[test]
fn answers_to_questions_of_a_former_piece_of_work_are_dropped() {
    let (mut host, network) = (Host::connected(), network(3));
    host.still = true;
    host.offer(offer(&network, 5, 1));
    host.event(Event::LedgerSaved { save: 999, result: Ok(()) });
    host.event(Event::Applied { batch: 999, results: Vec::new() });
    host.event(Event::KernelRead(Ok(Box::default())));
    assert!(host.acks.is_empty());
    host.still = false;
    host.tick(0);
    assert!(holds(&host, &network));
}

#[test]
fn a_lost_link_leaves_objects_pending_and_its_return_brings_them_back_after_a_hold() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.carrier("eth2", false);
    let status = host.status();
    assert!(status["objects"]["pending"].as_u64() > Some(0), "{status}");
    assert_eq!(status["objects"]["refused"], 0);
    assert_ne!(status["digest"], status["effective_digest"]);
    assert!(status["pending"].to_string().contains("interface eth2 has no carrier"), "{status}");
    host.told.clear();
    host.carrier("eth2", true);
    assert!(!holds(&host, &network), "{:?}", host.told);
    assert!(host.status()["pending"].to_string().contains("eth2 came back and must stay"));
    host.tick(HOLD_MS_MIN);
    assert!(holds(&host, &network));
    let status = host.status();
    assert_eq!(status["objects"]["pending"], 0);
    assert_eq!(status["digest"], status["effective_digest"]);
}

#[test]
fn what_the_kernel_refuses_is_reported_with_its_words_and_tried_again_later() {
    let (mut host, network) = (Host::connected(), network(3));
    host.refuses.insert("route 10.1.0.0/24 metric 100".to_string());
    host.offer(offer(&network, 5, 1));
    assert_eq!(host.outcomes(), [&Outcome::Failed]);
    let failure = &host.acks[0].failures[0];
    assert_eq!(failure.object, "route 10.1.0.0/24 metric 100");
    assert_eq!(failure.reason, "Nexthop id does not exist (errno 22)");
    assert!(!failure.pending);
    // The rest is there, and the kernel is not hammered.
    assert!(host.kernel.routes.len() > 3);
    host.told.clear();
    host.tick(4_000);
    assert!(!host.told.iter().any(|told| told.starts_with("apply")), "{:?}", host.told);
    host.refuses.clear();
    host.tick(2_000);
    assert!(holds(&host, &network), "{:?}", host.told);
}

#[test]
fn of_several_offers_that_wait_the_newest_wins() {
    let (mut host, few, more, most) = (Host::connected(), network(3), network(4), network(5));
    host.still = true;
    host.offer(offer(&few, 5, 1));
    host.offer(offer(&more, 6, 2));
    host.offer(offer(&most, 7, 3));
    host.still = false;
    host.tick(0);
    assert!(holds(&host, &most));
    let generations: Vec<u64> = host.acks.iter().map(|ack| ack.generation.index).collect();
    assert_eq!(generations, [5, 7]);
}

#[test]
fn beats_go_out_on_their_beat_only_while_connected_and_are_no_evidence_during_an_installation() {
    let (mut host, network) = (Host::connected(), network(3));
    host.tick(499);
    assert!(host.beats.is_empty());
    host.tick(1);
    assert_eq!(host.beats.len(), 1);
    assert!(host.beats[0].held.is_none());
    host.offer(offer(&network, 5, 1));
    host.tick(500);
    assert!(host.beats[1].objects.installed > 10);
    assert_eq!(host.beats[1].held.as_ref().map(|held| held.generation), Some(generation(5)));
    host.still = true;
    host.offer(offer(&super::network(4), 6, 2));
    host.carry_out();
    host.tick(500);
    let beat = host.open.iter().find_map(|effect| match effect {
        Effect::Send(wire::agent::ToController::Beat(beat)) => Some(beat.clone()),
        _ => None,
    });
    assert_eq!(beat.expect("a beat").objects.installed, 0);
    host.still = false;
    host.event(Event::Disconnected);
    let before = host.beats.len();
    host.tick(10_000);
    assert_eq!(host.beats.len(), before);
}

#[test]
fn a_program_is_confirmed_once_by_a_word_of_a_controller_after_it_was_installed() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    assert!(
        host.disk.as_ref().is_some_and(|ledger| ledger.confirmed.is_none()),
        "its own offer confirms nothing"
    );
    host.told.clear();
    host.event(Event::Controller(ToAgent::Pulse { assigned: None, echo: 0 }));
    assert!(host.told.is_empty(), "what was on its way proves nothing: {:?}", host.told);
    host.round_trip();
    host.round_trip();
    assert_eq!(host.told, ["save"]);
    let confirmed = host.disk.as_ref().and_then(|ledger| ledger.confirmed.as_ref());
    assert_eq!(confirmed.map(|kept| kept.generation), Some(generation(5)));
}

#[test]
fn a_full_disk_does_not_confirm_and_is_not_hammered() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.disk_full = true;
    host.told.clear();
    host.round_trip();
    host.tick(10);
    host.round_trip();
    assert_eq!(host.told.iter().filter(|told| *told == "save").count(), 1, "{:?}", host.told);
    host.disk_full = false;
    host.tick(5_000);
    let confirmed = host.disk.as_ref().and_then(|ledger| ledger.confirmed.as_ref());
    assert_eq!(confirmed.map(|kept| kept.generation), Some(generation(5)));
}

#[test]
fn kernel_events_lead_to_one_paced_look() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.tick(1);
    host.told.clear();
    for _ in 0..100 {
        host.event(Event::KernelChanged);
    }
    assert!(host.told.is_empty(), "{:?}", host.told);
    host.tick(50);
    assert_eq!(host.told.iter().filter(|told| *told == "read").count(), 1);
}

#[test]
fn a_foreign_hand_that_wipes_routes_is_repaired_and_counted() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    let writes = host.status()["writes_total"].as_u64();
    let gone = host.kernel.routes.len() as u64;
    host.kernel.routes.clear();
    host.event(Event::KernelChanged);
    host.tick(60);
    assert!(holds(&host, &network));
    assert_eq!(host.status()["writes_total"].as_u64(), writes.map(|writes| writes + gone));
}

#[test]
fn a_host_that_leaves_its_links_keeps_what_is_left() {
    // The next file has no link from a to c: adds come before deletes, and nothing foreign is touched.
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    let line = compile(
        "version: 1\nname: t\nnodes: { a: {}, b: {}, c: { prefixes: [10.1.0.0/24, 10.1.1.0/24, 10.1.2.0/24] } }\nlinks:\n\
         - { endpoints: [\"a:eth1\", \"b:eth1\"] }\n- { endpoints: [\"b:eth2\", \"c:eth2\"], cost: 30 }\n",
    );
    host.offer(offer(&line, 6, 2));
    assert!(holds(&host, &line));
    assert!(!host.kernel.nexthops.values().any(|nexthop| matches!(
        &nexthop.kind,
        crate::core::kernel::NexthopKind::Single(value) if value.interface == "eth2"
    )));
}

#[test]
fn a_dump_holds_the_program_as_objects() {
    let (mut host, network) = (Host::connected(), network(3));
    host.offer(offer(&network, 5, 1));
    host.event(Event::Local { id: 2, request: crate::core::event::LocalRequest::Dump });
    let dump: serde_json::Value = serde_json::from_str(&host.answers[0]).expect("JSON");
    assert_eq!(dump["schema"], "ballast.agent_dump/v1");
    let routes = dump["program"]["routes"].as_array().expect("a list").len();
    assert_eq!(routes, host.kernel.routes.len());
    assert_eq!(dump["status"]["generation"], "1.5");
}

#[test]
fn every_event_in_every_state_is_survived() {
    // Events that make no sense where they come: none panics, none writes.
    let network = network(3);
    let events: [fn(&plan::Network) -> Event; 8] = [
        |_| Event::LedgerRead(None),
        |_| Event::Tick,
        |_| Event::KernelRead(Ok(Box::default())),
        |_| Event::KernelRead(Err(String::new())),
        |_| Event::Applied { batch: 1, results: Vec::new() },
        |_| Event::LedgerSaved { save: 1, result: Ok(()) },
        |_| Event::Disconnected,
        |network| Event::Controller(ToAgent::Offer(Box::new(offer(network, 3, 1)))),
    ];
    for first in events {
        for second in events {
            let mut host = Host::unborn(Host::config());
            host.now = Millis(1);
            host.event(first(&network));
            host.event(second(&network));
            assert!(host.kernel.routes.is_empty() || host.disk.is_some());
        }
    }
    assert!(Arc::strong_count(&network.table) > 0);
}
