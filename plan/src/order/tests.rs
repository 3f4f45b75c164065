//! Orders of real and random changes, and every mixture of every step, one by one.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::tests::fixture::safety;
use crate::tests::mixtures::{Change, change, programs, try_all};
use proptest::prelude::*;
use topology::Share;

fn bounds() -> impl Strategy<Value = Safety> {
    (
        proptest::option::of(1_u32..3),
        prop_oneof![Just(Share::Percent(100)), (1_u32..4).prop_map(Share::Count)],
    )
        .prop_map(|(canary_hosts, max_hosts_per_step)| Safety {
            canary_hosts,
            max_hosts_per_step,
            ..safety()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn no_mixture_of_any_step_loops_or_cuts_a_pair(change in change(), safety in bounds()) {
        let plan = change.plan(&safety);
        let steps = programs(&plan);
        // Prefixes that move are on a new table with everything else: not all of them have an order.
        prop_assert!(plan.unproven.iter().all(|class| class.old != class.new), "{:?}", plan.unproven);
        prop_assert_eq!(try_all(&change, &steps, &plan.unproven), Ok(()));
        prop_assert_eq!(change.verify(&steps, &plan.proof).is_ok(), plan.unproven.is_empty());
        prop_assert_eq!(&change.plan(&safety), &plan);
        let fresh = |step: &OrderedStep| {
            step.programs.iter().filter(|(host, _)| change.old.1.host(host).is_none()).count()
        };
        prop_assert!(plan.steps.iter().skip(1).all(|step| fresh(step) == 0), "{:?}", plan.steps);
        let bound = safety.max_hosts_per_step.of(change.new.1.programs.len()).max(1);
        let mut known = plan.steps.iter().filter(|step| fresh(step) == 0).map(|step| step.programs.len());
        let first = known.next().unwrap_or(0);
        prop_assert!(first <= safety.canary_hosts.map_or(bound, |hosts| bound.min(hosts as usize)));
        prop_assert!(known.all(|hosts| hosts <= bound));
    }
}

/// The hosts of each step; `b*` gets an intermediate program.
#[track_caller]
fn check(change: &Change, safety: &Safety, expected: &[&str]) {
    let plan = change.plan(safety);
    let steps = programs(&plan);
    assert_eq!(try_all(change, &steps, &[]), Ok(()));
    assert_eq!(change.verify(&steps, &plan.proof), Ok(()));
    let hosts = |step: &OrderedStep| -> String {
        let part = |host: &String| step.held.iter().any(|(held, _)| held == host);
        step.programs
            .iter()
            .map(|(host, _)| if part(host) { format!("{host}*") } else { host.clone() })
            .collect()
    };
    assert_eq!(plan.steps.iter().map(hosts).collect::<Vec<_>>(), expected);
}

fn all_at_once() -> Safety {
    Safety { max_hosts_per_step: Share::Percent(100), ..safety() }
}

fn compare(old: &str, new: &str, safety: &Safety, expected: &[&str]) {
    check(&Change::new(old, new, Facts::default()), safety, expected);
}

#[test]
fn a_common_change_is_one_step() {
    let square = "a-b 1, b-d 1, a-c 2, c-d 2";
    compare(square, "a-b 1, b-d 1, a-c 1, c-d 2", &all_at_once(), &["bcd"]);
    compare(square, "a-b 1, b-d 1, a-c 2, c-d 3", &all_at_once(), &["bcd"]);
    compare(square, "a-b 1, b-d 1, a-c 2, c-d 2, a-d 1", &all_at_once(), &["abd"]);
    compare(square, "a-b 1, b-d 1, a-c 2, c-d 2, a-e 1", &all_at_once(), &["e", "abcd"]);
}

#[test]
fn a_node_more_is_its_own_step_and_one_of_all_others() {
    compare("a-b 1, b-c 1, a-c 1", "a-b 1, b-c 1, a-c 1, a-d 1, c-d 1", &all_at_once(), &["d", "abc"]);
    check(&Change::new("", "a-b 1, b-c 1", Facts::default()), &safety(), &["abc"]);
}

#[test]
fn who_sent_through_the_host_moves_before_it_does() {
    // d will reach c through b, which may still reach it through d.
    compare("a-b 1, b-d 1, a-c 2, c-d 2", "a-b 1, b-d 1, a-c 2, c-d 9", &all_at_once(), &["abc", "d"]);
    compare("a-b 1, b-d 1, a-c 2, c-d 2", "a-b 1, b-d 1, c-d 2", &all_at_once(), &["bcd", "a"]);
    let ring = "a-b 1, b-c 1, c-d 1, d-e 1, a-e";
    compare(&format!("{ring} 9"), &format!("{ring} 1"), &all_at_once(), &["ace", "bd"]);
}

#[test]
fn a_host_splits_by_destination_where_no_order_of_whole_hosts_works() {
    // x and y swap: towards p packets went y > x and shall go x > y, towards q the other way round.
    let old = "p-x 1, p-y 10, q-x 10, q-y 1, x-y 1";
    let new = "p-x 10, p-y 1, q-x 1, q-y 10, x-y 1";
    let change = Change::new(old, new, Facts::default());
    check(&change, &all_at_once(), &["pqx*y*", "xy"]);
    let held = &change.plan(&all_at_once()).steps[0].held;
    let held: Vec<String> = held.iter().map(|(host, held)| format!("{host}: {}", held.join(" "))).collect();
    assert_eq!(held, ["x: p", "y: q"]);
}

#[test]
fn the_first_step_is_the_canary() {
    let safety = Safety { canary_hosts: Some(1), max_hosts_per_step: Share::Count(2), ..safety() };
    let (old, new) = ("a-b 1, b-c 1, a-c 1, c-d 1, d-e 1", "a-b 5, b-c 1, a-c 1, c-d 1, d-e 1, e-f 1");
    compare(old, new, &safety, &["f", "a", "bc", "de"]);
}
