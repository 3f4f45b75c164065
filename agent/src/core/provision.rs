//! The first program of a host, delivered by hand: for a network that is managed in-band, where the way to the controllers is
//! itself a matter of programs.

use crate::core::ledger;
use plan::Digest;
use wire::Generation;
use wire::agent::Origin;
use wire::ledger::{Kept, Ledger};
use wire::package::Package;

/// Why a host is not given the program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvisionError {
    /// The host has a program, and a controller that can replace it.
    #[error(
        "{host} runs generation {generation} already: a controller brings it forward; where none ever will, remove its state folder first"
    )]
    HasProgram {
        /// The host.
        host: String,
        /// Of what it runs.
        generation: Generation,
    },
    /// The folder belongs to another host.
    #[error("the state folder belongs to {owner}, the program is for {host}")]
    OtherHost {
        /// Whose folder it is.
        owner: String,
        /// Whom the program is for.
        host: String,
    },
}

/// The ledger of a host whose first program is that of `package`; `None` when it holds that very program already.
///
/// Whoever delivers the program vouches for it: it counts as confirmed, so that reboots start from it. Its generation is 0.0,
/// the lowest: whatever a controller offers is newer. One that was delivered before may be replaced by another.
///
/// # Errors
/// The host has a program from a controller, or is another one.
pub fn provision(held: Option<&Ledger>, package: &Package) -> Result<Option<Ledger>, ProvisionError> {
    let host = &package.program.host;
    let delivered = Generation::default();
    if let Some(held) = held {
        if held.host != *host {
            return Err(ProvisionError::OtherHost { owner: held.host.clone(), host: host.clone() });
        }
        if held.highest > delivered {
            return Err(ProvisionError::HasProgram { host: host.clone(), generation: held.highest });
        }
        let is_this = |kept: &Option<Kept>| kept.as_ref().map(|kept| kept.digest) == Some(package.digest);
        if is_this(&held.running) && is_this(&held.confirmed) {
            return Ok(None);
        }
    }
    let kept = Kept {
        generation: delivered,
        revision: 0,
        digest: package.digest,
        table: package.table.clone(),
        program: package.program.clone(),
        origin: Origin::default(),
    };
    let known: Vec<Digest> = vec![package.digest];
    Ok(Some(Ledger {
        running: Some(kept.clone()),
        confirmed: Some(kept),
        known_digests: known,
        ..ledger::blank(host)
    }))
}
