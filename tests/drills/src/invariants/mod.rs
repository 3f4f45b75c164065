//! What must hold after every event, one file each; this one collects them.

mod digests;
mod foreign;
mod generations;
mod leaders;
mod offers;

use crate::kernel::Foreign;
use wire::agent::Offer;
use wire::ledger::Ledger;
use wire::rest::Status;

/// All invariants and the first that broke.
#[derive(Debug, Default)]
pub struct Invariants {
    leaders: leaders::Leaders,
    digests: digests::Digests,
    generations: generations::Generations,
    offers: offers::Offers,
    broken: Option<String>,
}

impl Invariants {
    /// The first that broke, in words.
    ///
    /// # Errors
    /// See above.
    pub fn verdict(&self) -> Result<(), String> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Something broke that no file of its own stands for.
    pub fn broke(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    /// A replica handled an event.
    pub fn replica_moved(&mut self, status: &Status) {
        let verdict = self.leaders.check(status).and_then(|()| self.digests.check(status));
        self.note(verdict);
    }

    /// An agent's ledger reached its disk.
    pub fn ledger_saved(&mut self, host: &str, ledger: &Ledger) {
        let verdict = self.generations.check(host, ledger);
        self.note(verdict);
    }

    /// A replica offered a program.
    pub fn offered(&mut self, id: u64, offer: &Offer) {
        let verdict = self.offers.check(id, offer);
        self.note(verdict);
    }

    /// An agent wrote to its kernel.
    pub fn foreign_state(&mut self, host: &str, before: &Foreign, after: &Foreign) {
        self.note(foreign::check(host, before, after));
    }

    fn note(&mut self, verdict: Result<(), String>) {
        if let Err(broken) = verdict {
            self.broke(broken);
        }
    }
}
