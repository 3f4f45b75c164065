//! Adopt or refuse: what an agent's memory on disk says to an offer.

use wire::Generation;
use wire::agent::{Offer, Outcome};
use wire::ledger::{KNOWN_DIGESTS_MAX, Kept, Ledger};

/// A host that never ran a program.
pub fn blank(host: &str) -> Ledger {
    Ledger {
        host: host.to_string(),
        highest: Generation::default(),
        running: None,
        confirmed: None,
        known_digests: Vec::new(),
        override_revision_used: 0,
    }
}

/// What an offer is to this ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// Newer: may be adopted.
    Newer,
    /// The very program in force, under the same generation.
    Same,
    /// Refused.
    Refuse(Outcome),
}

/// Older is stale; the same generation must mean the same program.
pub fn fence(ledger: &Ledger, offer: &Offer) -> Fence {
    if offer.generation < ledger.highest {
        return Fence::Refuse(Outcome::Stale { highest: ledger.highest });
    }
    match &ledger.running {
        Some(running) if running.generation == offer.generation => {
            if running.digest == offer.digest {
                Fence::Same
            } else {
                Fence::Refuse(Outcome::Conflict)
            }
        }
        _ => Fence::Newer,
    }
}

/// The ledger with a program adopted. `used_override` uses up the operator's word for its revision.
pub fn adopt(ledger: &Ledger, kept: Kept, used_override: bool) -> Ledger {
    let mut next = ledger.clone();
    next.highest = next.highest.max(kept.generation);
    if used_override {
        next.override_revision_used = kept.revision;
    }
    next.known_digests.retain(|digest| *digest != kept.digest);
    next.known_digests.insert(0, kept.digest);
    next.known_digests.truncate(KNOWN_DIGESTS_MAX);
    next.running = Some(kept);
    next
}

/// The ledger with its running program confirmed; `None` when nothing would change.
pub fn confirm(ledger: &Ledger, generation: Generation) -> Option<Ledger> {
    let running = ledger.running.as_ref().filter(|running| running.generation == generation)?;
    let known = ledger.confirmed.as_ref().is_some_and(|confirmed| confirmed.generation == generation);
    (!known).then(|| Ledger { confirmed: Some(running.clone()), ..ledger.clone() })
}
