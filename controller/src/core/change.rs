//! What a new topology would do, and whether it may: pure functions over models and programs.
//!
//! Knows neither the log nor agents; the leader asks here before it proposes.

use plan::impact::{self, Impact};
use plan::{Facts, Network};
use ring::signature::{ED25519, UnparsedPublicKey};
use topology::Topology;
use wire::log::GuardRecord;
use wire::overrides::Override;

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
