//! The generation at an agent never falls, over any number of restarts.

use std::collections::BTreeMap;
use wire::Generation;
use wire::ledger::Ledger;

/// Host -> highest generation on its disk.
#[derive(Debug, Default)]
pub(super) struct Generations(BTreeMap<String, Generation>);

impl Generations {
    /// Looks at a ledger that was saved.
    ///
    /// # Errors
    /// It is older than one that the same host saved before.
    pub(super) fn check(&mut self, host: &str, ledger: &Ledger) -> Result<(), String> {
        let before = self.0.insert(host.to_string(), ledger.highest);
        let running = ledger.running.as_ref().map(|kept| kept.generation);
        match before {
            Some(before) if ledger.highest < before => {
                Err(format!("{host} fell from generation {before} to {}", ledger.highest))
            }
            _ if running.is_some_and(|running| running > ledger.highest) => {
                Err(format!("{host} runs a generation above its own fence {}", ledger.highest))
            }
            _ => Ok(()),
        }
    }
}
