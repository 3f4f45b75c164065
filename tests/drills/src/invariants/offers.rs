//! One generation, one program: whoever offers it, to whomever, at whatever time; and the digest is the program's own.

use plan::Digest;
use std::collections::BTreeMap;
use wire::Generation;
use wire::agent::Offer;

/// (generation, host) -> digest that was offered.
#[derive(Debug, Default)]
pub(super) struct Offers(BTreeMap<(Generation, String), Digest>);

impl Offers {
    /// Looks at an offer of replica `id`.
    ///
    /// # Errors
    /// The digest is not the program's, or another was offered under the same generation.
    pub(super) fn check(&mut self, id: u64, offer: &Offer) -> Result<(), String> {
        let host = offer.program.host.clone();
        let own = offer.program.digest(offer.table_digest);
        if own != offer.digest {
            return Err(format!("replica {id} offers {host} a program of digest {own} as {}", offer.digest));
        }
        let first = *self.0.entry((offer.generation, host.clone())).or_insert(offer.digest);
        if first == offer.digest {
            return Ok(());
        }
        Err(format!(
            "generation {} of {host} was {first} and replica {id} offers {}",
            offer.generation, offer.digest
        ))
    }
}
