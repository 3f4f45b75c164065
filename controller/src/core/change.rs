//! What a new topology would do, and whether it may: pure functions over models and programs.
//!
//! Knows neither the log nor agents; the leader asks here before it proposes.

use plan::impact::{self, Impact};
use plan::{Digest, Facts, Network, Objects, diff, steps};
use ring::signature::{ED25519, UnparsedPublicKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::Topology;
use wire::log::GuardRecord;
use wire::overrides::Override;
use wire::rest;

/// One side of a comparison.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) facts: &'a Facts,
    pub(crate) network: &'a Network,
}

/// What a change would do and how its guards judge it.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) impact: Impact,
    pub(crate) guards: Vec<GuardRecord>,
}

/// Judges the step from `old` (`None`: the first topology ever) to `new`, by the new file's safety budget.
pub(crate) fn judge(old: Option<Side<'_>>, new: Side<'_>) -> Judgement {
    let old = old.map(|side| (side.topology, side.facts, side.network));
    let impact = impact::impact(old, (new.topology, new.facts, new.network));
    let guards = impact::guards(&impact, &new.topology.safety).iter().map(GuardRecord::from).collect();
    Judgement { impact, guards }
}

/// Why a change may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A guard says no, and nobody with the right to do so overrode it.
    Guard(GuardRecord),
    /// The operator's word is not one for this change.
    BadOverride(String),
}

/// What an override must fit.
pub(crate) struct Overridden<'a> {
    /// The operator's public key.
    pub(crate) key: &'a [u8],
    /// The revision that the change would make.
    pub(crate) revision: u64,
    /// BLAKE3 of the file.
    pub(crate) topology: [u8; 32],
    /// The change's reason.
    pub(crate) reason: &'a str,
}

/// Whether the change may be made: every guard passes, or the operator's word for exactly this change names it.
pub(crate) fn admit(
    guards: &[GuardRecord],
    word: Option<&Override>,
    fits: &Overridden<'_>,
) -> Result<(), Refusal> {
    if let Some(word) = word {
        check_override(word, fits).map_err(Refusal::BadOverride)?;
    }
    let named = |guard: &GuardRecord| word.is_some_and(|word| word.guards.contains(&guard.guard));
    match guards.iter().find(|guard| !guard.ok && !named(guard)) {
        Some(guard) => Err(Refusal::Guard(guard.clone())),
        None => Ok(()),
    }
}

fn check_override(word: &Override, fits: &Overridden<'_>) -> Result<(), String> {
    if word.revision != fits.revision {
        return Err(format!(
            "it was signed for revision {}, this change would make revision {}: sign it again",
            word.revision, fits.revision
        ));
    }
    if word.topology_digest != fits.topology {
        return Err("it was signed for another topology file: sign it again with this one".to_string());
    }
    if word.reason != fits.reason {
        return Err("its reason is not the reason of the change: give the same text to both".to_string());
    }
    UnparsedPublicKey::new(&ED25519, fits.key).verify(&word.signed_bytes(), &word.signature).map_err(|_| {
        "its signature is not one by the operator's key of this cluster: sign it with that key".to_string()
    })
}

/// What hosts run now, as far as this replica can tell.
pub(crate) struct Running<'a> {
    /// Host -> digest assigned.
    pub(crate) digests: BTreeMap<String, Digest>,
    /// Host -> programs out of which its own one was assigned.
    pub(crate) networks: BTreeMap<&'a str, Arc<Network>>,
}

/// `ballast.plan/v1` of the way from what runs to `new`.
pub(crate) fn plan_document(
    running: &Running<'_>,
    new: Side<'_>,
    judgement: &Judgement,
) -> rest::PlanDocument {
    let wanted = new.network.digests_by_host();
    let steps = steps::steps(&running.digests, &wanted, &new.topology.safety);
    let mut hosts: Vec<rest::PlanHost> = wanted
        .iter()
        .filter(|(host, digest)| running.digests.get(*host) != Some(digest))
        .map(|(host, digest)| plan_host(host, *digest, running, new.network))
        .collect();
    // A host that goes is told nothing: its agent keeps what it runs.
    let gone = running.digests.keys().filter(|host| !wanted.contains_key(*host));
    hosts.extend(gone.map(|host| rest::PlanHost {
        name: host.clone(),
        digest: None,
        add: 0,
        change: 0,
        remove: 0,
        writes: 0,
    }));
    hosts.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    rest::PlanDocument {
        schema: "ballast.plan/v1".to_string(),
        plan_hash: steps::plan_hash(&running.digests, &wanted, &steps).to_string(),
        hosts,
        pairs_lost: judgement.impact.pairs_lost.iter().map(|(a, b)| [a.clone(), b.clone()]).collect(),
        guards: judgement.guards.iter().map(guard_document).collect(),
        steps: steps
            .iter()
            .map(|step| rest::PlanStep { hosts: step.hosts.clone(), gate: gate(step) })
            .collect(),
        proofs: Vec::new(),
    }
}

fn plan_host(host: &str, digest: Digest, running: &Running<'_>, new: &Network) -> rest::PlanHost {
    let objects = |network: &Network| {
        network.host(host).map(|(program, _)| Objects::of(program, &network.table)).unwrap_or_default()
    };
    let before = running.networks.get(host).map(|network| objects(network)).unwrap_or_default();
    let diff = diff::diff(&before, &objects(new));
    rest::PlanHost {
        name: host.to_string(),
        digest: Some(digest.to_string()),
        add: diff.added(),
        change: diff.changed(),
        remove: diff.removed(),
        writes: diff.writes(),
    }
}

/// A guard's verdict as shown.
pub(crate) fn guard_document(guard: &GuardRecord) -> rest::Guard {
    rest::Guard { name: guard.guard.clone(), value: guard.value, limit: guard.limit, ok: guard.ok }
}

/// What must be seen before the next step.
pub(crate) fn gate(step: &steps::Step) -> Vec<String> {
    let bake = match step.bake_ms {
        0 => None,
        ms if ms % 1_000 == 0 => Some(format!("bake {}s", ms / 1_000)),
        ms => Some(format!("bake {ms}ms")),
    };
    std::iter::once("ack".to_string()).chain(bake).collect()
}
