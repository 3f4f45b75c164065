//! What the disk remembers.

use super::{network, offer};
use crate::core::ledger::{Fence, adopt, blank, confirm, fence};
use plan::Digest;
use wire::Generation;
use wire::agent::{Offer, Outcome};
use wire::ledger::{KNOWN_DIGESTS_MAX, Kept, Ledger};

fn kept(offer: &Offer) -> Kept {
    Kept {
        generation: offer.generation,
        revision: offer.revision,
        digest: offer.digest,
        table: offer.table.clone().expect("sent"),
        program: offer.program.clone(),
        origin: offer.origin.clone(),
    }
}

fn generation(incarnation: u64, index: u64) -> Generation {
    Generation { incarnation, index }
}

#[test]
fn generations_are_ordered_by_incarnation_first() {
    let network = network(1);
    let running = offer(&network, 5, 1);
    let ledger = adopt(&blank("a"), kept(&running), false, 0);
    for (incarnation, index, wanted) in [
        (1, 4, Fence::Refuse(Outcome::Stale { highest: generation(1, 5) })),
        (0, 99, Fence::Refuse(Outcome::Stale { highest: generation(1, 5) })),
        (1, 5, Fence::Same),
        (1, 6, Fence::Newer),
        (2, 1, Fence::Newer),
    ] {
        let next = Offer { generation: generation(incarnation, index), ..running.clone() };
        assert_eq!(fence(&ledger, &next), wanted, "{incarnation}.{index}");
    }
    assert_eq!(fence(&blank("a"), &running), Fence::Newer);
}

#[test]
fn a_fence_never_falls() {
    let network = network(1);
    let mut ledger = adopt(&blank("a"), kept(&offer(&network, 9, 1)), false, 0);
    ledger = adopt(&ledger, kept(&offer(&network, 7, 1)), false, 0);
    assert_eq!(ledger.highest, generation(1, 9));
}

#[test]
fn known_digests_are_the_newest_and_each_once() {
    let network = network(1);
    let mut ledger = blank("a");
    for n in 0..40_u8 {
        let mut next = offer(&network, u64::from(n) + 1, 1);
        next.digest = Digest([n % 36; 32]);
        ledger = adopt(&ledger, kept(&next), false, 0);
    }
    let numbers: Vec<u8> = ledger.known_digests.iter().map(|digest| digest.0[0]).collect();
    assert_eq!(numbers.len(), KNOWN_DIGESTS_MAX);
    assert_eq!(numbers[..6], [3, 2, 1, 0, 35, 34]);
}

#[test]
fn an_override_is_used_up_only_where_it_was_needed() {
    let network = network(1);
    let without = adopt(&blank("a"), kept(&offer(&network, 5, 7)), false, 0);
    assert_eq!(without.override_revision_used, 0);
    let with = adopt(&without, kept(&offer(&network, 6, 8)), true, 0);
    assert_eq!(with.override_revision_used, 8);
}

#[test]
fn only_the_running_generation_can_be_confirmed_and_only_once() {
    let network = network(1);
    let ledger = adopt(&blank("a"), kept(&offer(&network, 5, 1)), false, 0);
    assert_eq!(confirm(&ledger, generation(1, 4)), None);
    assert_eq!(confirm(&blank("a"), generation(1, 5)), None);
    let confirmed: Ledger = confirm(&ledger, generation(1, 5)).expect("the first time");
    assert_eq!(confirmed.confirmed, confirmed.running);
    assert_eq!(confirm(&confirmed, generation(1, 5)), None);
    // A newer program leaves the confirmed one: it is what boot and a timer return to.
    let newer = adopt(&confirmed, kept(&offer(&network, 6, 1)), false, 0);
    assert_eq!(newer.confirmed.map(|kept| kept.generation), Some(generation(1, 5)));
}
