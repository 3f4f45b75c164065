//! The order in which hosts get their new programs.
//!
//! Only the split into steps; what opens a step's gate is the controller's part.

use crate::{Digest, digest};
use std::collections::BTreeMap;
use topology::Safety;

/// Hosts that are released together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Sorted names.
    pub hosts: Vec<String>,
    /// Pause after the last acknowledgement before the next step, in milliseconds; 0 where every host of the
    /// step had no program before: there is nothing to compare with.
    pub bake_ms: u64,
}

/// Splits a change of intent into steps of at most `max(1, safety.max_hosts_per_step)` hosts that have a program
/// already; hosts without one are exempt and all in the first step. Hosts whose digest stays are in no step.
///
/// The first step holds the hosts without a program and nobody else: they forward before any other host's
/// new program sends transit to them. The others follow sorted by name. A share is one of all hosts that
/// shall have a program.
pub fn steps(
    running: &BTreeMap<String, Digest>,
    wanted: &BTreeMap<String, Digest>,
    safety: &Safety,
) -> Vec<Step> {
    let changed = wanted.iter().filter(|(host, digest)| running.get(*host) != Some(digest));
    let (known, fresh): (Vec<String>, Vec<String>) =
        changed.map(|(host, _)| host.clone()).partition(|host| running.contains_key(host));
    let hosts_per_step = safety.max_hosts_per_step.of(wanted.len()).max(1);
    let first = (!fresh.is_empty()).then_some(Step { hosts: fresh, bake_ms: 0 });
    let others = known.chunks(hosts_per_step);
    first
        .into_iter()
        .chain(others.map(|hosts| Step { hosts: hosts.to_vec(), bake_ms: safety.bake_ms }))
        .collect()
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
