//! The replica's log on disk: what [`Effect::Persist`](crate::core::Effect) asks for, durable when it is reported.
//!
//! One thread owns the store. It takes all that is queued, merges it to one atomic batch and one fsync (group
//! commit), then reports. It never answers before the disk did, and it never goes on after the disk failed: what
//! an fsync error left behind is unknown, so the process must end (see [`Report::Failed`]).
//!
//! Layout (format version 1), in one fjall database:
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `meta` | `format` | u32, big endian |
//! | `meta` | `owner` | sealed: controller id (u64, big endian), the cluster's name |
//! | `meta` | `hard_state` | sealed: raft-rs hard state |
//! | `meta` | `snapshot` | sealed: index, term (u64, big endian), length of the membership (u32, big endian), membership, data |
//! | `entries` | index (u64, big endian) | sealed: raft-rs entry |
//!
//! Sealed: BLAKE3 of key and value before the value, so that damage and a value under a wrong key are noticed.

use crate::core::{Persist, StoredEntry, StoredSnapshot, StoredState};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Version of the layout.
pub const FORMAT_VERSION: u32 = 1;

/// Jobs that wait for the disk. Raft's own window (messages in flight) keeps the queue far shorter.
pub const JOBS_MAX: usize = 4_096;
/// Bytes after which a batch takes no further job: one fsync should not wait for more than this.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Entries are small and short-lived: large memtables and caches would only cost memory.
const MEMTABLE_BYTES: u64 = 4 << 20;
const CACHE_BYTES: u64 = 1 << 20;
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
const SEAL_BYTES: usize = blake3::OUT_LEN;

/// Why the log cannot be used (any more).
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it: end that one, or name another directory.
    #[error("{} is in use by another process: does this controller run already?", dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// Made by a newer Ballast.
    #[error(
        "{} has format version {version}, this Ballast reads up to {FORMAT_VERSION}: start the newer Ballast again",
        dir.display()
    )]
    TooNew {
        /// The data directory.
        dir: PathBuf,
        /// The version found.
        version: u32,
    },
    /// The log of another replica: two replicas with one log would both vote with it.
    #[error(
        "{} belongs to controller {found_id} of cluster {found_cluster:?}, not to controller {id} of cluster {cluster:?}: \
         correct --id, --cluster or --data",
        dir.display()
    )]
    OtherOwner {
        /// The data directory.
        dir: PathBuf,
        /// Id of the owner.
        found_id: u64,
        /// Its cluster.
        found_cluster: String,
        /// Our id.
        id: u64,
        /// Our cluster.
        cluster: String,
    },
    /// The bytes are not what was written.
    #[error(
        "the log is damaged: {what} {why}; keep the data directory for a look at it; the other controllers carry on \
         without this one"
    )]
    Damaged {
        /// Which part.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// What is to be stored does not follow what is there.
    #[error("entry {first} cannot follow entry {last} in the log")]
    Gap {
        /// First new entry.
        first: u64,
        /// Last stored one.
        last: u64,
    },
    /// The file system said no.
    #[error("the log in {} cannot be {verb}: {source}", dir.display())]
    Store {
        /// The data directory.
        dir: PathBuf,
        /// `opened`, `read`, `written`.
        verb: &'static str,
        /// The store's error.
        source: fjall::Error,
    },
}

/// A durable log. `append` and `compact` are called by one thread, in the order of the effects.
pub trait Log: Send {
    /// All that is stored.
    ///
    /// # Errors
    /// [`DiskError::Damaged`] when what is there is not what was written, [`DiskError::Store`].
    fn load(&self) -> Result<StoredState, DiskError>;

    /// Stores all parts in one atomic write; on disk when it returns, if `persist.sync`.
    ///
    /// # Errors
    /// [`DiskError::Gap`], [`DiskError::Store`]: nothing may be assumed about what is on disk, the process must end.
    fn append(&mut self, persist: Persist) -> Result<(), DiskError>;

    /// Forgets entries up to and including `index`. Not synced: forgetting less is no harm.
    ///
    /// # Errors
    /// [`DiskError::Store`]: as for [`Log::append`].
    fn compact(&mut self, index: u64) -> Result<(), DiskError>;
}

/// [`Log`] in a fjall database.
pub struct FjallLog {
    dir: PathBuf,
    database: fjall::Database,
    meta: fjall::Keyspace,
    entries: fjall::Keyspace,
    /// Indexes of the stored entries.
    stored: Range<u64>,
}

impl FjallLog {
    /// Opens the log of controller `id` in `dir`, or makes it.
    ///
    /// # Errors
    /// The directory is in use, of a newer Ballast, another replica's, damaged, or the file system said no.
    pub fn open(dir: &Path, id: u64, cluster: &str) -> Result<FjallLog, DiskError> {
        let opening = |source| match source {
            fjall::Error::Locked => DiskError::Locked { dir: dir.to_path_buf() },
            source => DiskError::Store { dir: dir.to_path_buf(), verb: "opened", source },
        };
        let database = fjall::Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(1)
            .open()
            .map_err(opening)?;
        let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let meta = database.keyspace("meta", options).map_err(opening)?;
        let entries = database.keyspace("entries", options).map_err(opening)?;
        let mut log = FjallLog { dir: dir.to_path_buf(), database, meta, entries, stored: 0..0 };
        log.own(id, cluster)?;
        log.stored = log.stored_range()?;
        Ok(log)
    }

    /// Checks format and owner, or writes them into a new database.
    fn own(&self, id: u64, cluster: &str) -> Result<(), DiskError> {
        let Some(format) = self.meta.get("format").map_err(|source| self.error("read", source))? else {
            let mut batch = self.database.batch();
            batch.insert(&self.meta, "format", FORMAT_VERSION.to_be_bytes());
            batch.insert(&self.meta, "owner", seal(b"owner", &[&id.to_be_bytes(), cluster.as_bytes()]));
            return self.commit(batch, true);
        };
        let version = <[u8; 4]>::try_from(&*format).map(u32::from_be_bytes);
        let version = version.map_err(|_| damaged("its format version", "has a wrong length"))?;
        if version > FORMAT_VERSION {
            return Err(DiskError::TooNew { dir: self.dir.clone(), version });
        }
        let owner = self.sealed("owner")?.ok_or_else(|| damaged("its owner", "is missing"))?;
        let (found, name) =
            owner.split_first_chunk::<8>().ok_or_else(|| damaged("its owner", "is cut short"))?;
        if u64::from_be_bytes(*found) == id && name == cluster.as_bytes() {
            return Ok(());
        }
        Err(DiskError::OtherOwner {
            dir: self.dir.clone(),
            found_id: u64::from_be_bytes(*found),
            found_cluster: String::from_utf8_lossy(name).into_owned(),
            id,
            cluster: cluster.to_string(),
        })
    }

    fn error(&self, verb: &'static str, source: fjall::Error) -> DiskError {
        DiskError::Store { dir: self.dir.clone(), verb, source }
    }

    fn sealed(&self, key: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let value = self.meta.get(key).map_err(|source| self.error("read", source))?;
        value.map(|value| unseal(key.as_bytes(), &value, || format!("its {key}"))).transpose()
    }

    fn stored_range(&self) -> Result<Range<u64>, DiskError> {
        let index = |guard: fjall::Guard| -> Result<u64, DiskError> {
            entry_index(&guard.key().map_err(|source| self.error("read", source))?)
        };
        let first = self.entries.first_key_value().map(index).transpose()?;
        let last = self.entries.last_key_value().map(index).transpose()?;
        Ok(first.zip(last).map_or(0..0, |(first, last)| first..last.saturating_add(1)))
    }

    fn commit(&self, batch: fjall::OwnedWriteBatch, sync: bool) -> Result<(), DiskError> {
        batch.commit().map_err(|source| self.error("written", source))?;
        if sync {
            // fdatasync: the journal's length is part of what it makes durable.
            let synced = self.database.persist(fjall::PersistMode::SyncData);
            synced.map_err(|source| self.error("written", source))?;
        }
        Ok(())
    }
}

impl Log for FjallLog {
    fn load(&self) -> Result<StoredState, DiskError> {
        let snapshot = self.sealed("snapshot")?.map(|bytes| read_snapshot(&bytes)).transpose()?;
        let covered = snapshot.as_ref().map_or(0, |snapshot| snapshot.index);
        let mut entries: Vec<StoredEntry> = Vec::new();
        for guard in self.entries.iter() {
            let (key, value) = guard.into_inner().map_err(|source| self.error("read", source))?;
            let index = entry_index(&key)?;
            let bytes = unseal(&key, &value, || format!("entry {index}"))?;
            if index <= covered {
                continue;
            }
            let before = entries.last().map_or(covered, |entry| entry.index);
            if index != before + 1 {
                return Err(damaged(&format!("entry {}", before + 1), "is missing"));
            }
            entries.push(StoredEntry { index, bytes });
        }
        Ok(StoredState { snapshot, entries, hard_state: self.sealed("hard_state")? })
    }

    fn append(&mut self, persist: Persist) -> Result<(), DiskError> {
        let mut batch = self.database.batch();
        if let Some(snapshot) = &persist.snapshot {
            batch.insert(&self.meta, "snapshot", seal_snapshot(snapshot));
        }
        let kept = if persist.clear_entries { 0..0 } else { self.stored.clone() };
        let stored = stored_after(kept, &persist.entries)?;
        for entry in &persist.entries {
            let key = entry.index.to_be_bytes();
            batch.insert(&self.entries, key, seal(&key, &[&entry.bytes]));
        }
        for gone in self.stored.clone().filter(|index| !stored.contains(index)) {
            batch.remove(&self.entries, gone.to_be_bytes());
        }
        if let Some(hard_state) = &persist.hard_state {
            batch.insert(&self.meta, "hard_state", seal(b"hard_state", &[hard_state]));
        }
        self.stored = stored;
        self.commit(batch, persist.sync)
    }

    fn compact(&mut self, index: u64) -> Result<(), DiskError> {
        let end = index.saturating_add(1).min(self.stored.end);
        let mut batch = self.database.batch();
        for gone in self.stored.start..end {
            batch.remove(&self.entries, gone.to_be_bytes());
        }
        self.stored.start = self.stored.start.max(end);
        self.commit(batch, false)
    }
}

/// What is stored after `entries` came to `kept`: without a gap, or not at all.
fn stored_after(kept: Range<u64>, entries: &[StoredEntry]) -> Result<Range<u64>, DiskError> {
    let mut stored = kept;
    for (position, entry) in entries.iter().enumerate() {
        if stored.is_empty() {
            stored.start = entry.index;
        } else if entry.index > stored.end || (position > 0 && entry.index < stored.end) {
            return Err(DiskError::Gap { first: entry.index, last: stored.end - 1 });
        }
        stored = stored.start.min(entry.index)..entry.index.saturating_add(1);
    }
    Ok(stored)
}

fn damaged(what: &str, why: &str) -> DiskError {
    DiskError::Damaged { what: what.to_string(), why: why.to_string() }
}

fn entry_index(key: &[u8]) -> Result<u64, DiskError> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| damaged("an entry's key", "has a wrong length"))
}

fn seal(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut sealed = vec![0; SEAL_BYTES];
    for part in parts {
        sealed.extend_from_slice(part);
    }
    let digest = seal_digest(key, &sealed[SEAL_BYTES..]);
    sealed[..SEAL_BYTES].copy_from_slice(digest.as_bytes());
    sealed
}

fn unseal(key: &[u8], sealed: &[u8], what: impl Fn() -> String) -> Result<Vec<u8>, DiskError> {
    let (digest, value) =
        sealed.split_first_chunk::<SEAL_BYTES>().ok_or_else(|| damaged(&what(), "is cut short"))?;
    if seal_digest(key, value) == *digest {
        return Ok(value.to_vec());
    }
    Err(damaged(&what(), "does not have its checksum"))
}

fn seal_digest(key: &[u8], value: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(value);
    hasher.finalize()
}

fn seal_snapshot(snapshot: &StoredSnapshot) -> Vec<u8> {
    let StoredSnapshot { index, term, conf_state, data } = snapshot;
    let length = (conf_state.len() as u32).to_be_bytes();
    seal(b"snapshot", &[&index.to_be_bytes(), &term.to_be_bytes(), &length, conf_state, data])
}

fn read_snapshot(bytes: &[u8]) -> Result<StoredSnapshot, DiskError> {
    let cut = || damaged("its snapshot", "is cut short");
    let (index, rest) = bytes.split_first_chunk::<8>().ok_or_else(cut)?;
    let (term, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let (conf_state, data) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(cut)?;
    Ok(StoredSnapshot {
        index: u64::from_be_bytes(*index),
        term: u64::from_be_bytes(*term),
        conf_state: conf_state.to_vec(),
        data: data.to_vec(),
    })
}

/// Something for the writer.
#[derive(Debug)]
pub enum Job {
    /// Store.
    Persist(Persist),
    /// Forget entries up to and including `index`.
    Compact {
        /// The last entry to forget.
        index: u64,
    },
}

/// What the writer tells.
#[derive(Debug)]
pub enum Report {
    /// Everything up to and including this [`Persist::number`] is stored, and synced where that was asked.
    Persisted {
        /// The newest finished one.
        number: u64,
    },
    /// The disk failed: the writer has stopped and the process must end without answering anybody.
    Failed(DiskError),
}

/// The thread that owns the log. It ends, with everything stored, when `jobs` and all its clones are dropped.
#[derive(Debug)]
pub struct Writer {
    /// Jobs in the order of the effects.
    pub jobs: mpsc::Sender<Job>,
    /// The thread.
    pub thread: JoinHandle<()>,
}

/// Starts the writer. `report` is called on its thread.
///
/// # Errors
/// The system gives no further thread.
pub fn spawn(
    mut log: impl Log + 'static,
    mut report: impl FnMut(Report) + Send + 'static,
) -> std::io::Result<Writer> {
    let (jobs, mut queue) = mpsc::channel(JOBS_MAX);
    let run = move || {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = Batch::default();
            batch.add(first);
            while batch.bytes < BATCH_BYTES_MAX
                && let Ok(next) = queue.try_recv()
            {
                batch.add(next);
            }
            match batch.write(&mut log) {
                Ok(Some(number)) => report(Report::Persisted { number }),
                Ok(None) => {}
                Err(error) => {
                    // Closed before the report: whoever hears of the failure finds the queue refusing.
                    queue.close();
                    report(Report::Failed(error));
                    return;
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("disk".to_string()).spawn(run)?;
    Ok(Writer { jobs, thread })
}

/// Jobs merged to one write.
#[derive(Default)]
struct Batch {
    persist: Option<Persist>,
    compact: Option<u64>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, job: Job) {
        match job {
            Job::Compact { index } => self.compact = self.compact.max(Some(index)),
            Job::Persist(persist) => {
                self.bytes += persist.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
                self.bytes += persist.snapshot.as_ref().map_or(0, |snapshot| snapshot.data.len());
                self.persist = Some(match self.persist.take() {
                    None => persist,
                    Some(before) => merge(before, persist),
                });
            }
        }
    }

    /// Compacts after the write: the snapshot that covers what is forgotten must be there first.
    fn write(self, log: &mut impl Log) -> Result<Option<u64>, DiskError> {
        let mut number = None;
        if let Some(persist) = self.persist {
            number = Some(persist.number);
            log.append(persist)?;
        }
        if let Some(index) = self.compact {
            log.compact(index)?;
        }
        Ok(number)
    }
}

/// One write with the effect of two.
fn merge(before: Persist, after: Persist) -> Persist {
    let mut entries = if after.clear_entries { Vec::new() } else { before.entries };
    if let Some(first) = after.entries.first() {
        entries.retain(|entry| entry.index < first.index);
    }
    entries.extend(after.entries);
    Persist {
        number: after.number,
        clear_entries: before.clear_entries || after.clear_entries,
        snapshot: after.snapshot.or(before.snapshot),
        entries,
        hard_state: after.hard_state.or(before.hard_state),
        sync: before.sync || after.sync,
    }
}

#[cfg(test)]
mod tests;
