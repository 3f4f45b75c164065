//! Foreign hands, the kernel's own cascades and silent neighbours: what is read, what is written, what is said of it.

use super::session::holds;
use super::{Host, link, network, offer};
use crate::core::damping::HOLD_MS_MIN;
use crate::core::event::Event;
use crate::core::kernel::{ActualRoute, NexthopKind};
use crate::core::mirror::Change;
use plan::objects::RouteKey;
use std::collections::{BTreeMap, BTreeSet};

/// A foreign process.
const ZEBRA: u32 = 77;

/// A host that holds the program of `network(3)`, at peace since a while.
fn settled() -> Host {
    let mut host = Host::connected();
    host.offer(offer(&network(3), 5, 1));
    host.tick(1_000);
    assert!(holds(&host, &network(3)));
    host.told.clear();
    host
}

fn route(prefix: &str, metric: u32) -> RouteKey {
    RouteKey { table: 254, prefix: prefix.parse().expect("a prefix"), metric }
}

fn gone(key: RouteKey) -> Change {
    Change::Route { key, ours: true, value: None, replaces: false }
}

/// A foreign hand deletes a route, and the kernel says so.
fn delete(host: &mut Host, key: RouteKey) {
    assert!(host.kernel.routes.remove(&key).is_some(), "{key:?}");
    host.says(ZEBRA, vec![gone(key)]);
}

#[test]
fn a_deleted_route_is_put_again_by_one_message_without_a_reading() {
    let mut host = settled();
    delete(&mut host, route("10.1.1.0/24", 100));
    assert_eq!(host.told, ["apply 1"]);
    assert!(holds(&host, &network(3)));
    let status = host.status();
    assert_eq!(status["drift_repair_time"]["count"], 1);
    assert_eq!(status["digest"], status["effective_digest"]);
}

#[test]
fn a_changed_or_surplus_route_is_put_right_by_one_message() {
    let mut host = settled();
    let (changed, surplus) = (route("10.1.1.0/24", 100), route("203.0.113.0/24", 100));
    for key in [changed, surplus] {
        let value = ActualRoute { value: None };
        host.kernel.routes.insert(key, value.clone());
        host.says(ZEBRA, vec![Change::Route { key, ours: true, value: Some(value), replaces: true }]);
        assert_eq!(host.told, ["apply 1"], "{key:?}");
        assert!(holds(&host, &network(3)), "{key:?}");
    }
}

#[test]
fn another_owners_route_in_our_place_is_reported_left_alone_and_its_end_brings_ours_back() {
    let mut host = settled();
    let key = route("10.1.1.0/24", 100);
    host.kernel.routes.remove(&key);
    host.kernel.foreign_routes.insert(key);
    let foreign = |value| Change::Route { key, ours: false, value, replaces: true };
    host.says(ZEBRA, vec![foreign(Some(ActualRoute { value: None }))]);
    assert!(host.told.is_empty(), "{:?}", host.told);
    let status = host.status();
    assert_eq!(status["objects"]["refused"], 1);
    assert!(status["refused"].to_string().contains("another owner stands there"), "{status}");
    host.kernel.foreign_routes.clear();
    host.says(ZEBRA, vec![foreign(None)]);
    assert!(holds(&host, &network(3)));
    assert_eq!(host.status()["objects"]["refused"], 0);
}

#[test]
fn a_deleted_group_takes_its_routes_along_and_all_of_it_is_put_again_without_reading_the_routes() {
    let mut host = settled();
    let routes = host.kernel.routes.len();
    let id = host.kernel.routes.values().find_map(|route| route.value?.group()).expect("a route");
    host.kernel.nexthops.remove(&id);
    host.kernel.routes.retain(|_, route| route.value.is_some_and(|value| value.group() != Some(id)));
    let lost = routes - host.kernel.routes.len();
    assert!(lost > 1);
    host.says(ZEBRA, vec![Change::NexthopGone(id)]);
    assert_eq!(host.told, ["look", &format!("apply {}", lost + 1), "look"]);
    assert!(holds(&host, &network(3)));
}

#[test]
fn a_mirror_that_was_wrong_costs_a_reading_and_is_no_refusal() {
    let mut host = settled();
    // The event is older than the agent's own repair: the route is there, and putting it anew is refused.
    host.refuses.insert("route 10.1.1.0/24 metric 100".to_string());
    host.says(ZEBRA, vec![gone(route("10.1.1.0/24", 100))]);
    assert_eq!(host.told, ["apply 1", "read"]);
    assert_eq!(host.status()["objects"]["refused"], 0);
}

#[test]
fn events_that_come_while_something_is_written_are_heeded_afterwards() {
    let mut host = settled();
    host.still = true;
    delete(&mut host, route("10.1.1.0/24", 100));
    delete(&mut host, route("10.1.2.0/24", 100));
    assert_eq!(host.open.len(), 1, "one thing at a time");
    host.still = false;
    host.tick(0);
    assert!(holds(&host, &network(3)));
    assert!(!host.told.contains(&"read".to_string()), "{:?}", host.told);
}

#[test]
fn an_object_that_is_fought_over_is_left_for_a_while_with_an_alarm_that_names_the_hand() {
    let mut host = settled();
    let key = route("10.1.1.0/24", 100);
    for _ in 0..3 {
        delete(&mut host, key);
        assert_eq!(host.told, ["apply 1"]);
    }
    delete(&mut host, key);
    assert!(host.told.is_empty(), "{:?}", host.told);
    let status = host.status();
    assert_eq!((&status["objects"]["refused"], &status["alarms"][0]["kind"]), (&1.into(), &"fight".into()));
    let text = status["alarms"][0]["text"].to_string();
    assert!(text.contains("4 times by process zebra (pid 77)"), "{text}");
    assert_eq!(status["alarms"][0]["object"], "route 10.1.1.0/24 metric 100");
    assert_ne!(status["digest"], status["effective_digest"]);
    delete(&mut host, route("10.1.2.0/24", 100));
    assert_eq!(host.told, ["apply 1"], "other objects are repaired at once");
    host.tick(200);
    assert!(holds(&host, &network(3)), "{:?}", host.told);
    let status = host.status();
    assert_eq!(status["digest"], status["effective_digest"]);
    assert_eq!(status["alarms"].as_array().map(Vec::len), Some(1), "the fight is not over yet");
    host.tick(60_000);
    assert_eq!(host.status()["alarms"].as_array().map(Vec::len), Some(0));
}

#[test]
fn what_the_kernel_refuses_is_tried_again_by_time_and_when_something_changes_that_may_cure_it() {
    for by_event in [false, true] {
        let mut host = Host::connected();
        host.refuses.insert("route 10.1.0.0/24 metric 100".to_string());
        host.offer(offer(&network(3), 5, 1));
        let refused = host.status()["refused"][0].clone();
        assert_eq!((&refused["attempts"], &refused["again_in_ms"]), (&1.into(), &5_000.into()));
        host.refuses.clear();
        host.tick(1_000);
        assert!(!holds(&host, &network(3)), "not before its time");
        if by_event {
            host.says(0, vec![Change::Objects]);
        } else {
            host.tick(4_000);
        }
        assert!(holds(&host, &network(3)), "{by_event}");
        assert_eq!(host.status()["objects"]["refused"], 0);
    }
}

#[test]
fn a_flap_that_was_over_before_it_was_read_puts_everything_on_the_link_again() {
    let mut host = settled();
    host.carrier("eth2", false);
    assert!(!holds(&host, &network(3)));
    host.carrier("eth2", true);
    host.tick(HOLD_MS_MIN);
    assert!(holds(&host, &network(3)));
    // The same without a look in between: only an event saw it.
    host.tick(60_000);
    host.plug("eth2", false);
    host.plug("eth2", true);
    host.says(0, vec![Change::Link { interface: "eth2".to_string(), carrier: false }]);
    host.event(Event::LinksChanged(host.kernel.links.clone()));
    host.tick(10);
    assert!(!holds(&host, &network(3)), "held: {:?}", host.told);
    host.tick(HOLD_MS_MIN);
    assert!(holds(&host, &network(3)), "{:?}", host.told);
}

#[test]
fn an_interface_made_anew_is_programmed_again_and_another_hardware_address_is_reported() {
    let mut host = settled();
    let with =
        |index, mac| crate::core::kernel::Link { index, mac: Some([2, 0, 0, 0, 0, mac]), ..link(true) };
    host.kernel.links.insert("eth2".to_string(), with(7, 1));
    host.event(Event::LinksChanged(host.kernel.links.clone()));
    for (index, mac, alarms) in [(8, 1, 0), (9, 2, 1), (10, 1, 0)] {
        host.carrier("eth2", false);
        host.kernel.links.insert("eth2".to_string(), with(index, mac));
        host.event(Event::LinksChanged(host.kernel.links.clone()));
        host.tick(60_000);
        assert!(holds(&host, &network(3)));
        let status = host.status();
        assert_eq!(status["alarms"].as_array().map(Vec::len), Some(alarms), "{status}");
        if alarms == 1 {
            assert_eq!(status["alarms"][0]["object"], "interface eth2");
            assert!(status["alarms"][0]["text"].to_string().contains("02:00:00:00:00:02"));
        }
    }
}

#[test]
fn a_link_without_an_alternative_is_not_held() {
    let mut host = settled();
    host.carrier("eth1", false);
    host.carrier("eth2", false);
    host.carrier("eth2", true);
    host.tick(10);
    assert!(host.kernel.routes.keys().any(|key| key.metric == 100), "{:?}", host.told);
}

/// Legs of every group in the kernel.
fn legs(host: &Host) -> BTreeMap<u32, BTreeSet<u32>> {
    let group = |kind: &NexthopKind| match kind {
        NexthopKind::Group(value) => Some(value.members.iter().map(|leg| leg.nexthop).collect()),
        _ => None,
    };
    host.kernel.nexthops.iter().filter_map(|(id, found)| Some((*id, group(&found.kind)?))).collect()
}

/// The next hop on an interface.
fn nexthop_on(host: &Host, interface: &str) -> u32 {
    let on = |kind: &NexthopKind| matches!(kind, NexthopKind::Single(value) if value.interface == interface);
    host.kernel.nexthops.iter().find(|(_, found)| on(&found.kind)).map(|(id, _)| *id).expect("there")
}

fn liveness(host: &mut Host, alive: bool) {
    host.told.clear();
    host.event(Event::Liveness(BTreeMap::from([("eth2".to_string(), alive)])));
}

#[test]
fn a_silent_neighbour_is_repaired_by_one_message_a_group_reported_and_kept_by_audits_until_it_lives_again() {
    let mut host = settled();
    let before = legs(&host);
    liveness(&mut host, true);
    assert!(host.told.is_empty());
    let dead = nexthop_on(&host, "eth2");
    let routes = host.kernel.routes.len();
    liveness(&mut host, false);
    // Before anything is read.
    assert_eq!(host.told.first().map(String::as_str), Some("repair 1"), "{:?}", host.told);
    assert!(legs(&host).values().any(|legs| !legs.contains(&dead)));
    assert_eq!(host.kernel.routes.len(), routes, "routes stay, their group has moved");
    let status = host.status();
    let repair = &status["repairs"][0];
    assert!(repair["repair"].to_string().contains("backup group"), "{status}");
    assert!(repair["reason"].to_string().contains("no sign of life from the neighbour on eth2"), "{status}");
    assert_ne!(status["digest"], status["effective_digest"]);
    assert_eq!(status["objects"]["pending"], 0);
    assert_eq!(status["repair_time"]["count"], 1);
    let repaired = (host.kernel.clone(), status["writes_total"].clone());
    host.tick(61_000);
    assert!(host.told.contains(&"read".to_string()));
    assert_eq!(
        (host.kernel.clone(), host.status()["writes_total"].clone()),
        repaired,
        "an audit is no end of it"
    );
    // It lives again: after the hold, not before.
    liveness(&mut host, true);
    host.tick(HOLD_MS_MIN - 1);
    assert_ne!(legs(&host), before);
    host.tick(1);
    assert_eq!(legs(&host), before, "{:?}", host.told);
    assert!(holds(&host, &network(3)));
    let status = host.status();
    assert_eq!(status["repairs"].as_array().map(Vec::len), Some(0));
    assert_eq!(status["digest"], status["effective_digest"]);
}

#[test]
fn a_repair_does_not_wait_for_other_work_and_outlives_it_and_a_restart_forgets_it() {
    let mut host = settled();
    let before = legs(&host);
    host.still = true;
    host.event(Event::KernelChanged);
    host.tick(60);
    assert_eq!(host.open.len(), 1, "a reading is on its way");
    liveness(&mut host, false);
    assert_eq!(host.open.len(), 2, "and the repair with it");
    host.still = false;
    host.tick(0);
    assert_ne!(legs(&host), before);
    assert_eq!(host.status()["repairs"].as_array().map(Vec::len), Some(1));
    // A new program is installed under the same overlay.
    host.offer(offer(&network(4), 6, 2));
    let dead = nexthop_on(&host, "eth2");
    let primary: BTreeSet<u32> = (host.kernel.routes.iter())
        .filter(|(key, _)| key.metric == 100)
        .filter_map(|(_, route)| route.value?.group())
        .collect();
    assert!(primary.iter().all(|group| !legs(&host)[group].contains(&dead)), "{:?}", legs(&host));
    host.restart();
    assert_eq!(host.status()["repairs"].as_array().map(Vec::len), Some(0));
    assert!(holds(&host, &network(4)));
}
