//! A replica's disk: what was synced survives a crash, what was not may be gone.

use controller::core::{Persist, StoredState};
use std::collections::VecDeque;

/// Synced state and what is on its way.
#[derive(Debug, Default)]
pub struct SimDisk {
    synced: StoredState,
    on_the_way: VecDeque<Persist>,
}

impl SimDisk {
    /// Takes a write that is finished later.
    pub fn write(&mut self, persist: Persist) {
        self.on_the_way.push_back(persist);
    }

    /// Everything up to `number` is on the platter; `None` when a crash was faster.
    pub fn finish(&mut self, number: u64) -> Option<u64> {
        let mut finished = None;
        while self.on_the_way.front().is_some_and(|persist| persist.number <= number) {
            let persist = self.on_the_way.pop_front()?;
            finished = Some(persist.number);
            self.apply(persist);
        }
        finished
    }

    /// Power is gone: of the writes on their way, the first `kept` made it.
    pub fn crash(&mut self, kept: usize) {
        for _ in 0..kept {
            if let Some(persist) = self.on_the_way.pop_front() {
                self.apply(persist);
            }
        }
        self.on_the_way.clear();
    }

    /// Forgets entries up to `index`, which a stored snapshot covers.
    pub fn compact(&mut self, index: u64) {
        self.synced.entries.retain(|entry| entry.index > index);
    }

    /// Writes on their way.
    pub fn unsynced(&self) -> usize {
        self.on_the_way.len()
    }

    /// What a restart finds.
    pub fn load(&self) -> StoredState {
        self.synced.clone()
    }

    fn apply(&mut self, persist: Persist) {
        if persist.clear_entries {
            self.synced.entries.clear();
        }
        if persist.clear_entries {
            self.synced.entries.clear();
        }
        if let Some(snapshot) = persist.snapshot {
            self.synced.entries.retain(|entry| entry.index > snapshot.index);
            self.synced.snapshot = Some(snapshot);
        }
        if let Some(first) = persist.entries.first() {
            let from = first.index;
            self.synced.entries.retain(|entry| entry.index < from);
            self.synced.entries.extend(persist.entries);
        }
        if persist.hard_state.is_some() {
            self.synced.hard_state = persist.hard_state;
        }
    }
}
