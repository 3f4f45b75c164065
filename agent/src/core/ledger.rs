//! Adopt, confirm, go back or refuse: what an agent's memory on disk becomes. Every function makes the next ledger from the
//! one in force; none of them writes.

use wire::Generation;
use wire::agent::{Offer, Outcome};
use wire::ledger::{KNOWN_DIGESTS_MAX, Kept, Ledger, Reverted};

/// The time for a round trip where an unconfirmed offer names none, in milliseconds.
pub const TRIAL_MS_DEFAULT: u32 = 10_000;

/// A host that never ran a program.
pub fn blank(host: &str) -> Ledger {
    Ledger {
        host: host.to_string(),
        highest: Generation::default(),
        running: None,
        confirmed: None,
        known_digests: Vec::new(),
        override_revision_used: 0,
        previous: None,
        trial_ms: 0,
        reverted: None,
        pin: None,
        freeze: None,
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

/// Older is stale; the same generation must mean the same program; what this host went back from by itself is not taken
/// again under the same generation.
pub fn fence(ledger: &Ledger, offer: &Offer) -> Fence {
    if offer.generation < ledger.highest {
        return Fence::Refuse(Outcome::Stale { highest: ledger.highest });
    }
    match (&ledger.running, &ledger.reverted) {
        (Some(running), _) if running.generation == offer.generation => {
            if running.digest == offer.digest {
                Fence::Same
            } else {
                Fence::Refuse(Outcome::Conflict)
            }
        }
        (_, Some(reverted)) if reverted.generation == offer.generation => {
            Fence::Refuse(Outcome::Reverted { detail: reverted.reason.clone() })
        }
        _ => Fence::Newer,
    }
}

/// The program that an offer holds.
pub fn kept(offer: &Offer, table: std::sync::Arc<plan::PrefixTable>) -> Kept {
    Kept {
        generation: offer.generation,
        revision: offer.revision,
        digest: offer.digest,
        table,
        program: offer.program.clone(),
        origin: offer.origin.clone(),
    }
}

/// The time for a round trip that an offer gives; 0: it never goes back by a timer.
pub fn trial_ms(offer: &Offer) -> u32 {
    match (offer.unconfirmed, offer.confirm_within_ms) {
        (false, _) => 0,
        (true, 0) => TRIAL_MS_DEFAULT,
        (true, within_ms) => within_ms,
    }
}

/// The ledger with a program adopted. `used_override` uses up the operator's word for its revision; `trial_ms` is the
/// time for a round trip, 0 for a program that stays in any case.
///
/// A host goes back to the program that was in force before and was itself not on trial. Programs are whole, and a
/// reaction to a failure comes without a trial: where one was adopted on top of the confirmed program, a later
/// trial goes back to the two of them together, and no accepted failure is forgotten by going back.
pub fn adopt(ledger: &Ledger, kept: Kept, used_override: bool, trial_ms: u32) -> Ledger {
    let mut next = ledger.clone();
    next.highest = next.highest.max(kept.generation);
    if used_override {
        next.override_revision_used = kept.revision;
    }
    next.known_digests.retain(|digest| *digest != kept.digest);
    next.known_digests.insert(0, kept.digest);
    next.known_digests.truncate(KNOWN_DIGESTS_MAX);
    // The same program under a newer generation is as proven as it was.
    if ledger.running.as_ref().is_none_or(|running| running.digest != kept.digest) {
        if ledger.trial_ms == 0 {
            next.previous.clone_from(&ledger.running);
        }
        next.trial_ms = if next.previous.is_some() { trial_ms } else { 0 };
    }
    next.reverted = None;
    next.running = Some(kept);
    next
}

/// The ledger with its running program confirmed; `None` when nothing would change.
pub fn confirm(ledger: &Ledger, generation: Generation) -> Option<Ledger> {
    let running = ledger.running.as_ref().filter(|running| running.generation == generation)?;
    let known = ledger.confirmed.as_ref().is_some_and(|confirmed| confirmed.generation == generation);
    (!known || ledger.trial_ms != 0).then(|| Ledger {
        confirmed: Some(running.clone()),
        trial_ms: 0,
        ..ledger.clone()
    })
}

/// The ledger of a host whose trial failed; `None` when nothing is on trial. The fence stays where it is.
pub fn revert(ledger: &Ledger, reason: &str) -> Option<Ledger> {
    let given_up = ledger.running.as_ref().filter(|_| ledger.trial_ms > 0)?;
    let reverted =
        Reverted { generation: given_up.generation, digest: given_up.digest, reason: reason.to_string() };
    Some(Ledger {
        running: Some(ledger.previous.clone()?),
        previous: None,
        trial_ms: 0,
        reverted: Some(reverted),
        ..ledger.clone()
    })
}

/// The ledger of a host that goes back because a person says so: from a trial to the program before it, else to the
/// confirmed program, else to the one before. `None` where there is no other program.
pub fn roll_back(ledger: &Ledger, reason: &str) -> Option<Ledger> {
    if ledger.trial_ms > 0 {
        return revert(ledger, reason);
    }
    let running = ledger.running.as_ref()?;
    let another = |kept: &&Kept| kept.digest != running.digest;
    let confirmed = ledger.confirmed.as_ref().filter(another);
    let target = confirmed.or(ledger.previous.as_ref().filter(another))?;
    Some(Ledger { running: Some(target.clone()), previous: Some(running.clone()), ..ledger.clone() })
}

/// The ledger from which a host begins after a reboot; `None`: the one that it has. It starts from what was proven:
/// back from a trial that the reboot cut short, else from the confirmed program. A pin holds; a freeze becomes a pin,
/// because an empty kernel is nothing to be frozen.
pub fn reboot(ledger: &Ledger) -> Option<Ledger> {
    let mut next = ledger.clone();
    if let Some(freeze) = next.freeze.take() {
        next.pin.get_or_insert(freeze);
    }
    if next.pin.is_none() {
        let proven = next.confirmed.as_ref();
        let other = proven
            .filter(|proven| next.running.as_ref().is_some_and(|running| running.digest != proven.digest));
        if let Some(reverted) = revert(&next, "the host was restarted before a controller had answered") {
            next = reverted;
        } else if let Some(confirmed) = other.cloned() {
            next.running = Some(confirmed);
            next.previous = None;
        }
    }
    (next != *ledger).then_some(next)
}
