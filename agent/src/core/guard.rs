//! The host's own veto, written apart from the controller's guards: whatever a controller says, a program that takes
//! most of the routes away needs the operator's signed word.

use plan::Objects;
use ring::signature::{ED25519, UnparsedPublicKey};
use wire::agent::{Offer, Outcome};
use wire::ledger::Ledger;

/// Name of the guard, for refusals and overrides.
pub const MAX_ROUTES_REMOVED: &str = "agent_max_routes_removed";
/// So many routes may always go.
const ROUTES_ALWAYS_FREE: usize = 10;

/// What the guard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to object to.
    Pass,
    /// Passes by the operator's word for this revision, which is used up by it.
    PassByOverride,
    /// Refused.
    Refuse(Outcome),
}

/// Judges the way from the objects in force to those of an offer: more than half *and* more than ten of the routes going
/// is refused, and so is a program that leaves no route at all. A return to a program that was in force before is not counted.
pub fn judge(
    running: &Objects,
    offered: &Objects,
    offer: &Offer,
    ledger: &Ledger,
    operator_key: Option<&[u8; 32]>,
) -> Verdict {
    let before = running.routes.len();
    let going = running.routes.keys().filter(|key| !offered.routes.contains_key(key)).count();
    let limit = ROUTES_ALWAYS_FREE.max(before / 2);
    let blank = before > 0 && offered.routes.is_empty();
    if (going <= limit && !blank) || ledger.known_digests.contains(&offer.digest) {
        return Verdict::Pass;
    }
    if overridden(offer, ledger, operator_key) {
        return Verdict::PassByOverride;
    }
    let limit = if blank { going.saturating_sub(1).min(limit) } else { limit };
    Verdict::Refuse(Outcome::RefusedByGuard {
        guard: MAX_ROUTES_REMOVED.to_string(),
        value: going as u64,
        limit: limit as u64,
    })
}

fn overridden(offer: &Offer, ledger: &Ledger, operator_key: Option<&[u8; 32]>) -> bool {
    let (Some(word), Some(key)) = (&offer.overrides, operator_key) else { return false };
    word.guards.iter().any(|guard| guard == MAX_ROUTES_REMOVED)
        && word.revision == offer.revision
        && word.revision > ledger.override_revision_used
        && UnparsedPublicKey::new(&ED25519, key).verify(&word.signed_bytes(), &word.signature).is_ok()
}
