//! Against the real store in a directory of its own. A crash is a copy of the directory, taken while the store is
//! open: what a killed process leaves behind.

use super::*;
use proptest::prelude::*;
use std::sync::mpsc as channel;

fn open(dir: &Path) -> FjallLog {
    FjallLog::open(dir, 1, "lab").unwrap()
}

fn entry(index: u64, text: &str) -> StoredEntry {
    StoredEntry { index, bytes: text.as_bytes().to_vec() }
}

fn entries(indexes: Range<u64>, text: &str) -> Vec<StoredEntry> {
    indexes.map(|index| entry(index, &format!("{text}{index}"))).collect()
}

fn persist(number: u64, entries: Vec<StoredEntry>) -> Persist {
    Persist { number, clear_entries: false, snapshot: None, entries, hard_state: None, sync: true }
}

fn snapshot(index: u64) -> StoredSnapshot {
    StoredSnapshot { index, term: 3, conf_state: vec![1, 2], data: vec![7; 100_000] }
}

fn crash(dir: &Path) -> tempfile::TempDir {
    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for item in std::fs::read_dir(from).unwrap() {
            let item = item.unwrap();
            let target = to.join(item.file_name());
            if item.file_type().unwrap().is_dir() {
                copy(&item.path(), &target);
            } else {
                std::fs::copy(item.path(), target).unwrap();
            }
        }
    }
    let left = tempfile::tempdir().unwrap();
    copy(dir, left.path());
    left
}

#[test]
fn a_new_log_is_empty_and_reopens_empty() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(open(dir.path()).load().unwrap(), StoredState::default());
    assert_eq!(open(dir.path()).load().unwrap(), StoredState::default());
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(persist(1, entries(1..4, "a"))).unwrap();
    log.append(Persist { hard_state: Some(vec![9]), ..persist(2, entries(4..6, "a")) }).unwrap();
    drop(log);
    let stored = open(dir.path()).load().unwrap();
    let wanted = StoredState { snapshot: None, entries: entries(1..6, "a"), hard_state: Some(vec![9]) };
    assert_eq!(stored, wanted);
}

#[test]
fn what_was_reported_survives_a_crash_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for number in 1..20 {
        log.append(persist(number, entries(number..number + 1, "a"))).unwrap();
        let left = crash(dir.path());
        assert_eq!(open(left.path()).load().unwrap().entries, entries(1..number + 1, "a"));
    }
}

/// The power goes in the middle of a write: the journal ends anywhere, or in zeros.
#[test]
fn a_journal_that_is_cut_anywhere_gives_back_whole_writes_from_the_first_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    for number in 1..8 {
        let hard_state = Some(vec![number as u8]);
        let new = entries(2 * number - 1..2 * number + 1, "a");
        log.append(Persist { hard_state, ..persist(number, new) }).unwrap();
    }
    let journal = |dir: &Path| {
        let files = std::fs::read_dir(dir).unwrap().map(|item| item.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "jnl")).max().unwrap()
    };
    let whole = std::fs::read(journal(dir.path())).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut seen = std::collections::BTreeSet::new();
    for length in (0..=used).rev().step_by(31) {
        for zeros in [0, used - length] {
            let left = crash(dir.path());
            let torn = [&whole[..length], &vec![0; zeros]].concat();
            std::fs::write(journal(left.path()), torn).unwrap();
            let stored = open(left.path()).load().unwrap();
            let count = stored.entries.len() as u64;
            assert_eq!(stored.entries, entries(1..count + 1, "a"), "{length}");
            assert_eq!(stored.hard_state, (count > 0).then(|| vec![(count / 2) as u8]), "{length}");
            seen.insert(count);
        }
    }
    assert_eq!(seen, (0..8).map(|number| 2 * number).collect());
}

#[test]
fn a_conflicting_tail_is_replaced_with_all_that_followed_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(persist(1, entries(1..10, "old"))).unwrap();
    log.append(persist(2, entries(4..6, "new"))).unwrap();
    let wanted = [entries(1..4, "old"), entries(4..6, "new")].concat();
    assert_eq!(log.load().unwrap().entries, wanted);
    log.append(persist(3, entries(6..8, "new"))).unwrap();
    drop(log);
    assert_eq!(open(dir.path()).load().unwrap().entries, [wanted, entries(6..8, "new")].concat());
}

#[test]
fn a_snapshot_hides_what_it_covers_and_compaction_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(persist(1, entries(1..10, "a"))).unwrap();
    log.append(Persist { snapshot: Some(snapshot(6)), ..persist(2, Vec::new()) }).unwrap();
    let wanted = StoredState { snapshot: Some(snapshot(6)), entries: entries(7..10, "a"), hard_state: None };
    assert_eq!(log.load().unwrap(), wanted);
    log.compact(4).unwrap();
    assert_eq!(log.load().unwrap(), wanted);
    assert_eq!(log.entries.len().unwrap(), 5);
    log.compact(6).unwrap();
    assert_eq!(log.entries.len().unwrap(), 3);
    log.append(persist(3, entries(10..12, "a"))).unwrap();
    drop(log);
    let wanted = StoredState { entries: entries(7..12, "a"), ..wanted };
    assert_eq!(open(dir.path()).load().unwrap(), wanted);
}

#[test]
fn a_snapshot_from_the_leader_takes_the_place_of_the_whole_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(persist(1, entries(1..10, "a"))).unwrap();
    let restore = Persist { clear_entries: true, snapshot: Some(snapshot(6)), ..persist(2, Vec::new()) };
    log.append(restore).unwrap();
    assert_eq!(log.load().unwrap().entries, []);
    log.append(persist(3, entries(7..9, "b"))).unwrap();
    let left = crash(dir.path());
    let wanted = StoredState { snapshot: Some(snapshot(6)), entries: entries(7..9, "b"), hard_state: None };
    assert_eq!(open(left.path()).load().unwrap(), wanted);
}

#[test]
fn an_entry_that_follows_nothing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(persist(1, entries(1..4, "a"))).unwrap();
    for bad in [entries(5..6, "a"), vec![entry(4, "a"), entry(6, "a")], vec![entry(4, "a"), entry(4, "a")]] {
        let error = log.append(persist(2, bad)).unwrap_err();
        assert!(matches!(error, DiskError::Gap { .. }), "{error}");
    }
    assert_eq!(log.load().unwrap().entries, entries(1..4, "a"));
}

#[test]
fn a_missing_entry_is_told_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    log.append(persist(1, entries(1..6, "a"))).unwrap();
    log.entries.remove(3u64.to_be_bytes()).unwrap();
    drop(log);
    let error = open(dir.path()).load().unwrap_err();
    insta::assert_snapshot!(error, @"the log is damaged: entry 3 is missing; keep the data directory for a look at it; the other controllers carry on without this one");
}

#[test]
fn a_flipped_bit_and_a_value_under_a_wrong_key_are_told_as_damage() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path());
    let hard_state = Some(vec![1]);
    log.append(Persist { hard_state, snapshot: Some(snapshot(1)), ..persist(1, entries(1..4, "a")) })
        .unwrap();
    let whole = log.load().unwrap();
    let (two, three) = (2u64.to_be_bytes(), 3u64.to_be_bytes());
    let other = log.entries.get(three).unwrap().unwrap();
    for (keyspace, key, value) in [
        (&log.entries, two.as_slice(), None),
        (&log.entries, two.as_slice(), Some(other)),
        (&log.meta, b"snapshot".as_slice(), None),
        (&log.meta, b"hard_state".as_slice(), None),
    ] {
        let good = keyspace.get(key).unwrap().unwrap();
        let bad = value.map_or_else(
            || {
                let mut flipped = good.to_vec();
                *flipped.last_mut().unwrap() ^= 4;
                flipped
            },
            |value| value.to_vec(),
        );
        keyspace.insert(key, bad).unwrap();
        let error = log.load().unwrap_err();
        assert!(matches!(error, DiskError::Damaged { .. }), "{error}");
        keyspace.insert(key, good).unwrap();
    }
    assert_eq!(log.load().unwrap(), whole);
}

#[test]
fn a_log_of_a_newer_ballast_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.meta.insert("format", 2u32.to_be_bytes()).unwrap();
    drop(log);
    let error = FjallLog::open(dir.path(), 1, "lab").err().unwrap();
    assert!(matches!(error, DiskError::TooNew { version: 2, .. }), "{error}");
}

#[test]
fn a_log_of_another_replica_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    for (id, cluster) in [(2, "lab"), (1, "production")] {
        let error = FjallLog::open(dir.path(), id, cluster).err().unwrap();
        assert!(matches!(error, DiskError::OtherOwner { found_id: 1, .. }), "{error}");
    }
}

#[test]
fn a_log_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _log = open(dir.path());
    let error = FjallLog::open(dir.path(), 1, "lab").err().unwrap();
    assert!(matches!(error, DiskError::Locked { .. }), "{error}");
}

#[test]
fn the_writer_reports_all_that_it_was_given_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = channel::channel();
    let writer = spawn(open(dir.path()), move |report| tell.send(report).unwrap()).unwrap();
    for number in 1..200 {
        writer.jobs.blocking_send(Job::Persist(persist(number, entries(number..number + 1, "a")))).unwrap();
    }
    writer
        .jobs
        .blocking_send(Job::Persist(Persist { snapshot: Some(snapshot(150)), ..persist(200, vec![]) }))
        .unwrap();
    writer.jobs.blocking_send(Job::Compact { index: 100 }).unwrap();
    drop(writer.jobs);
    writer.thread.join().unwrap();
    let numbers: Vec<u64> = told
        .iter()
        .map(|report| match report {
            Report::Persisted { number } => number,
            Report::Failed(error) => panic!("{error}"),
        })
        .collect();
    assert!(numbers.is_sorted() && numbers.last() == Some(&200), "{numbers:?}");
    let log = open(dir.path());
    assert_eq!(log.load().unwrap().entries, entries(151..200, "a"));
    assert_eq!(log.entries.len().unwrap(), 99);
}

/// Fails from the second write on.
struct Failing(u32);

impl Log for Failing {
    fn load(&self) -> Result<StoredState, DiskError> {
        Ok(StoredState::default())
    }

    fn append(&mut self, persist: Persist) -> Result<(), DiskError> {
        self.0 += 1;
        if self.0 < 2 { Ok(()) } else { Err(DiskError::Gap { first: persist.number, last: 0 }) }
    }

    fn compact(&mut self, _index: u64) -> Result<(), DiskError> {
        Ok(())
    }
}

#[test]
fn after_a_failure_nothing_more_is_reported_or_taken() {
    let (tell, told) = channel::channel();
    let writer = spawn(Failing(0), move |report| tell.send(report).unwrap()).unwrap();
    writer.jobs.blocking_send(Job::Persist(persist(1, vec![]))).unwrap();
    assert!(matches!(told.recv().unwrap(), Report::Persisted { number: 1 }));
    writer.jobs.blocking_send(Job::Persist(persist(2, vec![]))).unwrap();
    assert!(matches!(told.recv().unwrap(), Report::Failed(_)));
    assert!(writer.jobs.blocking_send(Job::Persist(persist(3, vec![]))).is_err());
    writer.thread.join().unwrap();
    assert!(told.recv().is_err());
}

/// A legal write after `last`: how far back it begins, how many entries, whether it restores.
#[derive(Clone, Debug)]
struct Write {
    back: u64,
    count: u64,
    restore: bool,
    hard_state: Option<u8>,
}

fn write() -> impl Strategy<Value = Write> {
    (0u64..4, 0u64..5, prop::bool::weighted(0.1), prop::option::of(any::<u8>()))
        .prop_map(|(back, count, restore, hard_state)| Write { back, count, restore, hard_state })
}

fn persists(writes: &[Write]) -> Vec<Persist> {
    let (mut last, mut floor) = (0, 0);
    let mut made = Vec::new();
    for (write, number) in writes.iter().zip(1..) {
        let restored = write.restore.then(|| snapshot(last + 5));
        if let Some(snapshot) = &restored {
            (last, floor) = (snapshot.index, snapshot.index);
        }
        let first = (last + 1).saturating_sub(write.back).max(floor + 1);
        let new = entries(first..first + write.count, &format!("{number}-"));
        last = new.last().map_or(last, |entry| entry.index);
        made.push(Persist {
            clear_entries: restored.is_some(),
            snapshot: restored,
            hard_state: write.hard_state.map(|byte| vec![byte]),
            ..persist(number, new)
        });
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn merged_writes_leave_what_single_writes_leave(writes in prop::collection::vec(write(), 1..12)) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut single, mut merged) = (open(one.path()), open(two.path()));
        let mut batch = Batch::default();
        for persist in persists(&writes) {
            single.append(persist).unwrap();
        }
        for persist in persists(&writes) {
            batch.add(Job::Persist(persist));
        }
        batch.write(&mut merged).unwrap();
        prop_assert_eq!(single.load().unwrap(), merged.load().unwrap());
        prop_assert_eq!(&single.stored, &merged.stored);
        prop_assert_eq!(single.stored.clone(), single.stored_range().unwrap());
    }
}
