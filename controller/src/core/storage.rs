//! The Raft log as raft-rs reads it: in memory, and mirrored by the disk through `Effect::Persist`.
//!
//! Never touches the disk itself, and knows nothing of what entries mean.

use crate::core::event::{StoredSnapshot, StoredState};
use crate::core::{Config, StartError};
use protobuf::Message as _;
use raft::prelude::{ConfState, Entry, HardState, Snapshot};
use raft::util::limit_size;
use raft::{Error, GetEntriesContext, RaftState, StorageError};
use std::collections::VecDeque;

/// Log, hard state and newest snapshot.
pub(crate) struct Storage {
    hard_state: HardState,
    conf_state: ConfState,
    /// What was forgotten: index and term of the entry before the first of `entries`.
    forgotten: (u64, u64),
    /// Without gaps.
    entries: VecDeque<Entry>,
    /// Newest snapshot; its index is at least `forgotten.0`, and 0 when there is none.
    snapshot: Snapshot,
}

impl Storage {
    /// What the disk gave back, or the first state of a cluster of `config.peers`.
    pub(crate) fn load(config: &Config, stored: StoredState) -> Result<Storage, StartError> {
        let mut storage = Storage {
            hard_state: HardState::default(),
            conf_state: ConfState { voters: config.peers.clone(), ..ConfState::default() },
            forgotten: (0, 0),
            entries: VecDeque::new(),
            snapshot: Snapshot::default(),
        };
        storage.conf_state.voters.sort_unstable();
        if let Some(snapshot) = stored.snapshot {
            storage.conf_state = parse("membership", &snapshot.conf_state)?;
            storage.forgotten = (snapshot.index, snapshot.term);
            storage.snapshot = to_raft(snapshot, storage.conf_state.clone());
        }
        for entry in stored.entries {
            let entry: Entry = parse("entry", &entry.bytes)?;
            let wanted = storage.last().0 + 1;
            if entry.index < wanted && storage.entries.is_empty() {
                // Covered by the snapshot; the disk forgets it with the next compaction.
                continue;
            }
            if entry.index != wanted || entry.term < storage.last().1 {
                let why = format!(
                    "entry {} of term {} follows entry {} of term {}",
                    entry.index,
                    entry.term,
                    wanted - 1,
                    storage.last().1
                );
                return Err(StartError::Stored { why });
            }
            storage.entries.push_back(entry);
        }
        if let Some(bytes) = stored.hard_state {
            storage.hard_state = parse("hard state", &bytes)?;
        }
        // A hard state may be older than the snapshot, since commit indexes are written without a sync; a
        // commit index is only ever a lower bound, so it can be moved into what is there.
        let (last, last_term) = storage.last();
        storage.hard_state.commit = storage.hard_state.commit.clamp(storage.forgotten.0, last);
        storage.hard_state.term = storage.hard_state.term.max(last_term);
        Ok(storage)
    }

    /// Index and term of the last entry.
    fn last(&self) -> (u64, u64) {
        self.entries.back().map_or(self.forgotten, |entry| (entry.index, entry.term))
    }

    fn first_index(&self) -> u64 {
        self.forgotten.0 + 1
    }

    fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.first_index())?).ok()?)
    }

    fn term_of(&self, index: u64) -> Result<u64, Error> {
        if index == self.forgotten.0 {
            return Ok(self.forgotten.1);
        }
        if index < self.forgotten.0 {
            return Err(Error::Store(StorageError::Compacted));
        }
        self.entry(index).map(|entry| entry.term).ok_or(Error::Store(StorageError::Unavailable))
    }

    /// Index of the newest snapshot; 0: none.
    pub(crate) fn snapshot_index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }

    /// Takes entries that follow what is there, or replace a part of it.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let kept = first.index.saturating_sub(self.first_index());
        self.entries.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        assert!(
            first.index == self.last().0 + 1,
            "entry {} does not follow entry {}",
            first.index,
            self.last().0
        );
        self.entries.extend(entries.iter().cloned());
    }

    /// Remembers term, vote and commit index.
    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// A snapshot from the leader takes the place of the whole log.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        let metadata = snapshot.get_metadata();
        self.forgotten = (metadata.index, metadata.term);
        self.conf_state = metadata.get_conf_state().clone();
        self.hard_state.commit = self.hard_state.commit.max(metadata.index);
        self.entries.clear();
        self.snapshot = snapshot;
    }

    /// A snapshot of our own state at `index`, which has been applied.
    pub(crate) fn take_snapshot(&mut self, index: u64, data: Vec<u8>) -> Result<StoredSnapshot, Error> {
        let term = self.term_of(index)?;
        let conf_state = self.conf_state.write_to_bytes().map_err(Error::CodecError)?;
        let stored = StoredSnapshot { index, term, conf_state, data };
        self.snapshot = to_raft(stored.clone(), self.conf_state.clone());
        Ok(stored)
    }

    /// Forgets entries up to and including `index`, which a snapshot covers.
    pub(crate) fn compact(&mut self, index: u64) {
        let index = index.min(self.snapshot_index());
        while let Some(entry) = self.entries.front().filter(|entry| entry.index <= index) {
            self.forgotten = (entry.index, entry.term);
            self.entries.pop_front();
        }
    }
}

fn to_raft(stored: StoredSnapshot, conf_state: ConfState) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let metadata = snapshot.mut_metadata();
    metadata.index = stored.index;
    metadata.term = stored.term;
    metadata.set_conf_state(conf_state);
    snapshot.data = stored.data.into();
    snapshot
}

fn parse<M: protobuf::Message>(what: &str, bytes: &[u8]) -> Result<M, StartError> {
    M::parse_from_bytes(bytes)
        .map_err(|error| StartError::Stored { why: format!("a stored {what} cannot be read: {error}") })
}

impl raft::Storage for Storage {
    fn initial_state(&self) -> Result<RaftState, Error> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>, Error> {
        if low < self.first_index() {
            return Err(Error::Store(StorageError::Compacted));
        }
        let mut entries: Vec<Entry> = (low..high).map_while(|index| self.entry(index).cloned()).collect();
        if entries.len() as u64 != high.saturating_sub(low) {
            return Err(Error::Store(StorageError::Unavailable));
        }
        limit_size(&mut entries, max_size.into());
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64, Error> {
        self.term_of(index)
    }

    fn first_index(&self) -> Result<u64, Error> {
        Ok(Storage::first_index(self))
    }

    fn last_index(&self) -> Result<u64, Error> {
        Ok(self.last().0)
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot, Error> {
        let index = self.snapshot_index();
        if index == 0 || index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(self.snapshot.clone())
    }
}
