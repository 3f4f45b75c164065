//! The order in which hosts get their new programs.
//!
//! Only the split into steps; what opens a step's gate is the controller's part.

use crate::{Digest, digest};
use std::collections::BTreeMap;
use topology::{Management, Safety};

/// Hosts that are released together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Sorted names.
    pub hosts: Vec<String>,
    /// Pause after the last acknowledgement before the next step, in milliseconds; 0 where every host of the
    /// step had no program before: there is nothing to compare with.
    pub bake_ms: u64,
}

/// Where hosts without a program go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fresh {
    /// In front: they forward before any other host's new program sends transit to them.
    First,
    /// At the end: under in-band management they are reached only once the others have routes to them.
    Last,
}

impl From<Management> for Fresh {
    fn from(management: Management) -> Fresh {
        match management {
            Management::Separate => Fresh::First,
            Management::InBand => Fresh::Last,
        }
    }
}

/// Splits a change of intent into steps of at most `max(1, safety.max_hosts_per_step)` hosts that have a program
/// already; hosts without one are exempt and all in one step, the first or the last. Hosts whose digest stays are in no
/// step.
///
/// The step of the hosts without a program holds nobody else. The others are sorted by name. A share is one of all hosts
/// that shall have a program.
pub fn steps(
    running: &BTreeMap<String, Digest>,
    wanted: &BTreeMap<String, Digest>,
    safety: &Safety,
    place: Fresh,
) -> Vec<Step> {
    let changed = wanted.iter().filter(|(host, digest)| running.get(*host) != Some(digest));
    let (known, fresh): (Vec<String>, Vec<String>) =
        changed.map(|(host, _)| host.clone()).partition(|host| running.contains_key(host));
    let hosts_per_step = safety.max_hosts_per_step.of(wanted.len()).max(1);
    let fresh = (!fresh.is_empty()).then_some(Step { hosts: fresh, bake_ms: 0 });
    let (first, last) = match place {
        Fresh::First => (fresh, None),
        Fresh::Last => (None, fresh),
    };
    let others = known.chunks(hosts_per_step);
    let others = others.map(|hosts| Step { hosts: hosts.to_vec(), bake_ms: safety.bake_ms });
    first.into_iter().chain(others).chain(last).collect()
}

/// Names a plan: BLAKE3 over what the hosts run, what they shall run, and the steps. A plan that is applied
/// by this hash is refused when any of the three has changed since.
pub fn plan_hash(
    running: &BTreeMap<String, Digest>,
    wanted: &BTreeMap<String, Digest>,
    steps: &[Step],
) -> Digest {
    digest::of_plan(running.iter(), wanted.iter(), steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixture::safety;
    use topology::Share;

    /// `"a1 b1 c2"`: hosts and a number that stands for their digest.
    fn digests(text: &str) -> BTreeMap<String, Digest> {
        let of = |entry: &str| {
            let (host, number) = entry.split_at(1);
            (host.to_string(), Digest([number.parse().expect("a digit"); 32]))
        };
        text.split_whitespace().map(of).collect()
    }

    #[track_caller]
    fn check(share: Share, running: &str, wanted: &str, expected: &str) {
        let safety = Safety { max_hosts_per_step: share, ..safety() };
        let steps = steps(&digests(running), &digests(wanted), &safety, Fresh::First);
        let text: Vec<String> =
            steps.iter().map(|step| format!("{} {}", step.hosts.join(""), step.bake_ms)).collect();
        assert_eq!(text.join(", "), expected);
    }

    #[test]
    fn hosts_without_a_program_are_all_in_the_first_step_and_do_not_bake() {
        check(Share::Count(1), "", "a1 b1 c1 d1", "abcd 0");
        check(Share::Count(1), "b1 c1", "a2 b2 c2 d2", "ad 0, b 10000, c 10000");
    }

    #[test]
    fn under_in_band_management_they_are_in_the_last_one() {
        let safety = Safety { max_hosts_per_step: Share::Count(1), ..safety() };
        let of = |running, wanted| {
            let steps = steps(&digests(running), &digests(wanted), &safety, Management::InBand.into());
            steps.iter().map(|step| format!("{} {}", step.hosts.join(""), step.bake_ms)).collect::<Vec<_>>()
        };
        assert_eq!(of("", "a1 b1"), ["ab 0"]);
        assert_eq!(of("b1 c1", "a2 b2 c2 d2"), ["b 10000", "c 10000", "ad 0"]);
    }

    #[test]
    fn a_step_has_at_most_its_share_of_all_hosts_but_never_none() {
        check(Share::Percent(25), "a1 b1 c1 d1 e1 f1 g1 h1", "a2 b2 c2 d1 e1 f1 g1 h1", "ab 10000, c 10000");
        check(Share::Percent(0), "a1 b1", "a2 b2", "a 10000, b 10000");
        check(Share::Count(0), "a1 b1", "a2 b2", "a 10000, b 10000");
        check(Share::Percent(100), "a1 b1 c1", "a2 b2 c2", "abc 10000");
    }

    #[test]
    fn hosts_whose_program_stays_are_in_no_step() {
        check(Share::Percent(100), "a1 b1 c1", "a1 b2 c1", "b 10000");
        check(Share::Percent(100), "a1 b1", "a1 b1", "");
        check(Share::Percent(100), "a1 b1", "a1", "");
    }

    #[test]
    fn a_plan_hash_names_what_runs_what_shall_run_and_the_steps() {
        let (running, wanted) = (digests("a1 b1"), digests("a2 b2"));
        let together = steps(
            &running,
            &wanted,
            &Safety { max_hosts_per_step: Share::Count(2), ..safety() },
            Fresh::First,
        );
        let apart = steps(
            &running,
            &wanted,
            &Safety { max_hosts_per_step: Share::Count(1), ..safety() },
            Fresh::First,
        );
        let unbaked = steps(
            &running,
            &wanted,
            &Safety { bake_ms: 0, max_hosts_per_step: Share::Count(2), ..safety() },
            Fresh::First,
        );
        let hashes: std::collections::BTreeSet<Digest> = [
            plan_hash(&running, &wanted, &together),
            plan_hash(&running, &wanted, &apart),
            plan_hash(&running, &wanted, &unbaked),
            plan_hash(&wanted, &wanted, &together),
            plan_hash(&running, &running, &together),
        ]
        .into();
        assert_eq!(hashes.len(), 5);
        assert_eq!(plan_hash(&running, &wanted, &together), plan_hash(&running, &wanted, &together));
    }
}
