//! What the log makes: intents, facts, changes, assignments, releases.
//!
//! `apply` is total: whatever bytes the log holds, every replica gets the same state from them, and an entry
//! that makes no sense is set aside (quarantined) with its author and the reason. Nothing here knows who leads,
//! what agents say, or what time it is; programs are only known by their digests.

mod codec;
mod records;
#[cfg(test)]
mod tests;

use codec::encode;
pub(crate) use codec::{decode_snapshot, encode_snapshot};
pub(crate) use records::{
    Assignment, ChangeKind, ChangeRecord, ChunkRecord, IdempotencyRecord, IntentRecord, QuarantineRecord,
    ReleaseRecord,
};

use crate::core::programs::Key;
use plan::{Digest, Facts};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Topology;
use wire::Generation;
use wire::log::{
    Assigned, ChangeState, Command, ENTRY_BYTES_TOTAL_MAX, Entry, Fact, Intent, Release, RequestId,
};

/// Intents that are kept beside those that assignments refer to.
const INTENTS_KEPT: usize = 64;
/// Changes that are kept; older ones go when they have ended.
const CHANGES_KEPT: usize = 256;
/// Releases that are kept beside those that assignments refer to.
const RELEASES_KEPT: usize = 256;
/// Idempotency keys that are remembered, the newest.
const IDEMPOTENCY_KEPT: usize = 4_096;
/// Quarantined entries that are remembered, the newest.
const QUARANTINE_KEPT: usize = 64;
/// Large entries that may be in the making at once; the oldest goes for a newer one.
const CHUNKED_KEPT: usize = 4;
/// Longest text of a quarantine reason that is kept, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// The replicated state at one index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// 0: no cluster yet.
    pub(crate) incarnation: u64,
    pub(crate) cluster: String,
    pub(crate) operator_key: Vec<u8>,
    /// Newest revision; 0: none.
    pub(crate) head_revision: u64,
    /// Index of the newest facts; 0: none.
    pub(crate) fact_index: u64,
    /// Index of the newest release; 0: none.
    pub(crate) release_index: u64,
    /// Number of the newest change.
    pub(crate) last_change: u64,
    /// By revision.
    pub(crate) intents: BTreeMap<u64, IntentRecord>,
    /// By index.
    pub(crate) fact_sets: BTreeMap<u64, Arc<Facts>>,
    /// By number.
    pub(crate) changes: BTreeMap<u64, ChangeRecord>,
    /// By host.
    pub(crate) assignments: BTreeMap<String, Assignment>,
    /// By index.
    pub(crate) releases: BTreeMap<u64, ReleaseRecord>,
    /// Oldest first.
    pub(crate) idempotency: Vec<IdempotencyRecord>,
    /// Oldest first.
    pub(crate) chunks: Vec<ChunkRecord>,
    /// Oldest first.
    pub(crate) quarantine: Vec<QuarantineRecord>,
}

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The entry's own id.
    pub(crate) request_id: RequestId,
    /// What came of it.
    pub(crate) kind: OutcomeKind,
}

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutcomeKind {
    /// An intent was accepted, now or, with the same key, before.
    Accepted { change: u64, revision: u64 },
    /// The client demanded another head revision.
    Stale { head: u64, expected: u64 },
    /// The idempotency key stands for another request.
    KeyTaken,
    /// It was made for another state: whoever proposed it judges anew.
    Rebase,
    /// Anything else that took effect.
    Done,
    /// Set aside.
    Quarantined,
}

impl State {
    /// Facts at `index`; none before the first.
    pub(crate) fn facts(&self, index: u64) -> Arc<Facts> {
        self.fact_sets.get(&index).cloned().unwrap_or_default()
    }

    /// The newest facts.
    pub(crate) fn facts_now(&self) -> Arc<Facts> {
        self.facts(self.fact_index)
    }

    /// The newest intent.
    pub(crate) fn head(&self) -> Option<&IntentRecord> {
        self.intents.get(&self.head_revision)
    }

    /// What an earlier request with this key came to.
    pub(crate) fn remembered(&self, key: &str) -> Option<&IdempotencyRecord> {
        self.idempotency.iter().rev().find(|record| record.key == key)
    }

    /// Takes one entry.
    pub(crate) fn apply(&mut self, index: u64, data: &[u8]) -> Option<Outcome> {
        if data.is_empty() {
            // A new leader's first entry.
            return None;
        }
        let outcome = match Entry::decode(data) {
            Ok(entry) => self.apply_entry(index, entry),
            Err(error) => {
                self.quarantine(index, "", &error.to_string());
                None
            }
        };
        self.prune();
        outcome
    }

    fn apply_entry(&mut self, index: u64, mut entry: Entry) -> Option<Outcome> {
        if let Command::Chunk { id, index: part, count, data } = entry.command {
            let whole = match self.chunk(id, part, count, data) {
                Ok(whole) => whole?,
                Err(reason) => {
                    self.quarantine(index, &entry.author, &reason);
                    return Some(Outcome { request_id: entry.request_id, kind: OutcomeKind::Quarantined });
                }
            };
            entry = match Entry::decode(&whole) {
                Ok(inner) => inner,
                Err(error) => {
                    self.quarantine(index, &entry.author, &error.to_string());
                    return Some(Outcome { request_id: entry.request_id, kind: OutcomeKind::Quarantined });
                }
            };
        }
        let request_id = entry.request_id;
        let author = entry.author.clone();
        let kind = self.command(index, entry).unwrap_or_else(|reason| {
            self.quarantine(index, &author, &reason);
            OutcomeKind::Quarantined
        });
        Some(Outcome { request_id, kind })
    }

    /// Err: why the entry is impossible.
    fn command(&mut self, index: u64, entry: Entry) -> Result<OutcomeKind, String> {
        let Entry { request_id, idempotency_key, author, at_unix_ms, command } = entry;
        if self.incarnation == 0 && !matches!(command, Command::Found { .. }) {
            return Err("the cluster was not founded before this entry".to_string());
        }
        match command {
            Command::Found { incarnation, cluster, operator_key } => {
                if self.incarnation == 0 {
                    self.incarnation = incarnation.max(1);
                    self.cluster = cluster;
                    self.operator_key = operator_key;
                }
                Ok(OutcomeKind::Done)
            }
            Command::Intent(intent) => {
                let key = idempotency_key_of(&idempotency_key, request_id);
                self.intent(key, author, at_unix_ms, intent)
            }
            Command::Fact(fact) => self.fact(index, author, at_unix_ms, fact),
            Command::Release(release) => self.release(index, release),
            Command::Void { release, reason } => self.void(release, &reason),
            Command::Progress { change, state, reason } => self.progress(change, state, reason),
            Command::RaiseIncarnation { above, .. } => {
                let next = above.checked_add(1).ok_or("an incarnation cannot be raised any further")?;
                self.incarnation = self.incarnation.max(next);
                Ok(OutcomeKind::Done)
            }
            Command::Chunk { .. } => Err("a part of a large entry holds a part again".to_string()),
        }
    }

    fn intent(
        &mut self,
        key: String,
        author: String,
        at_unix_ms: u64,
        intent: Intent,
    ) -> Result<OutcomeKind, String> {
        let body_digest = intent_digest(&intent);
        if let Some(record) = self.remembered(&key) {
            return Ok(if record.body_digest == body_digest {
                OutcomeKind::Accepted { change: record.change, revision: record.revision }
            } else {
                OutcomeKind::KeyTaken
            });
        }
        if let Some(expected) = intent.expected_revision
            && expected != self.head_revision
        {
            return Ok(OutcomeKind::Stale { head: self.head_revision, expected });
        }
        if intent.base_revision != self.head_revision {
            return Ok(OutcomeKind::Rebase);
        }
        let Some(topology) = topology::read(&intent.file, &intent.topology).topology else {
            return Err(format!("the topology {} has errors", intent.file));
        };
        let revision = self.head_revision + 1;
        let number = self.last_change + 1;
        let superseded = format!("superseded by change {number}");
        for change in self.changes.values_mut() {
            if change.kind == ChangeKind::Intent && change.runs() {
                change.state = ChangeState::Halted;
                change.detail.clone_from(&superseded);
            }
        }
        let overridden = intent.overrides.as_ref().map(|word| word.guards.clone()).unwrap_or_default();
        self.changes.insert(
            number,
            ChangeRecord {
                revision,
                fact_index: self.fact_index,
                author: author.clone(),
                reason: intent.reason.clone(),
                at_unix_ms,
                guards: intent.guards,
                overridden,
                ..ChangeRecord::new(number, ChangeKind::Intent)
            },
        );
        self.intents.insert(
            revision,
            IntentRecord {
                revision,
                topology_digest: *blake3::hash(&intent.topology).as_bytes(),
                bytes: Arc::new(intent.topology),
                topology: Arc::new(topology),
                file: intent.file,
                author,
                reason: intent.reason,
                at_unix_ms,
                change: number,
                overrides: intent.overrides,
            },
        );
        self.idempotency.push(IdempotencyRecord { key, change: number, revision, body_digest });
        self.head_revision = revision;
        self.last_change = number;
        Ok(OutcomeKind::Accepted { change: number, revision })
    }

    fn fact(
        &mut self,
        index: u64,
        author: String,
        at_unix_ms: u64,
        fact: Fact,
    ) -> Result<OutcomeKind, String> {
        if fact.base_fact_index != self.fact_index || fact.base_release_index != self.release_index {
            return Ok(OutcomeKind::Rebase);
        }
        let mut facts = Facts::clone(&self.facts_now());
        let news = if fact.down {
            facts.links_down.insert(fact.link.clone())
        } else {
            facts.links_down.remove(&fact.link)
        };
        if !news {
            return Ok(OutcomeKind::Rebase);
        }
        if let Some(release) = &fact.release {
            self.check_assigned(&release.hosts)?;
        }
        let number = self.last_change + 1;
        let mut change = ChangeRecord {
            revision: self.head_revision,
            fact_index: index,
            author,
            at_unix_ms,
            reason: format!("{} is {}", fact.link, if fact.down { "down" } else { "back" }),
            evidence: fact.evidence,
            link: fact.link,
            down: fact.down,
            ..ChangeRecord::new(number, ChangeKind::Failure)
        };
        self.last_change = number;
        self.fact_index = index;
        self.fact_sets.insert(index, Arc::new(facts));
        // Whoever is in no step has the same program under the new facts: that is what replicas vote on. Hosts of later steps
        // keep what they run, and the facts it was computed from.
        let later = fact.release.iter().flat_map(|release| release.steps.iter().skip(1));
        let later: BTreeSet<&String> = later.flat_map(|step| &step.hosts).collect();
        for (host, assignment) in &mut self.assignments {
            if !later.contains(host) {
                assignment.fact_index = index;
            }
        }
        match fact.release {
            Some(release) => {
                change.steps.clone_from(&release.steps);
                self.changes.insert(number, change);
                self.assign(index, number, &release);
            }
            None => {
                change.state = ChangeState::Done;
                change.detail = "no host's program changes".to_string();
                self.changes.insert(number, change);
            }
        }
        Ok(OutcomeKind::Done)
    }

    fn release(&mut self, index: u64, release: Release) -> Result<OutcomeKind, String> {
        if release.base_release_index != self.release_index {
            return Ok(OutcomeKind::Rebase);
        }
        let Some(change) = self.changes.get(&release.change) else {
            return Err(format!("a release for change {}, which does not exist", release.change));
        };
        let next = release.step == change.step;
        let again = release.step.checked_add(1) == Some(change.step);
        // A change that is done is opened again when what it rests on turns out to be void.
        let reopened = change.state == ChangeState::Done
            && change.kind == ChangeKind::Intent
            && change.revision == self.head_revision;
        if !(change.runs() && (next || again) || reopened && next) {
            return Ok(OutcomeKind::Rebase);
        }
        self.check_assigned(&release.hosts)?;
        self.assign(index, release.change, &release);
        Ok(OutcomeKind::Done)
    }

    fn check_assigned(&self, hosts: &[Assigned]) -> Result<(), String> {
        for Assigned { host, revision, .. } in hosts {
            let Some(intent) = self.intents.get(revision) else {
                return Err(format!("a release of revision {revision} for {host}, which does not exist"));
            };
            if intent.topology.node_index(host).is_none() {
                return Err(format!("a release for {host}, which revision {revision} does not have"));
            }
        }
        Ok(())
    }

    /// Puts a checked release in force.
    fn assign(&mut self, index: u64, number: u64, release: &Release) {
        let generation = Generation { incarnation: self.incarnation, index };
        for Assigned { host, revision, digest } in &release.hosts {
            let assignment = Assignment {
                revision: *revision,
                fact_index: self.fact_index,
                generation,
                digest: *digest,
                classes_done: Vec::new(),
            };
            self.assignments.insert(host.clone(), assignment);
        }
        self.release_index = index;
        self.releases.insert(
            index,
            ReleaseRecord {
                index,
                change: number,
                step: release.step,
                digest: release_digest(&release.hosts),
                void: false,
                hosts: release.hosts.iter().map(|assigned| assigned.host.clone()).collect(),
            },
        );
        if let Some(change) = self.changes.get_mut(&number) {
            change.release = index;
            change.step = release.step.saturating_add(1);
            change.state = ChangeState::Releasing;
            if !release.steps.is_empty() {
                change.steps.clone_from(&release.steps);
            }
        }
    }

    fn void(&mut self, index: u64, reason: &str) -> Result<OutcomeKind, String> {
        let Some(release) = self.releases.get_mut(&index) else {
            return Err(format!("release {index}, which is to be void, does not exist"));
        };
        release.void = true;
        if let Some(change) = self.changes.get_mut(&release.change)
            && change.runs()
        {
            change.detail = format!("release {index} is void: {reason}");
        }
        Ok(OutcomeKind::Done)
    }

    fn progress(&mut self, number: u64, state: ChangeState, reason: String) -> Result<OutcomeKind, String> {
        if !matches!(state, ChangeState::Done | ChangeState::Halted) {
            return Err(format!("change {number} cannot be moved to {state:?} by an entry"));
        }
        let Some(change) = self.changes.get_mut(&number) else {
            return Err(format!("change {number}, which reached an end, does not exist"));
        };
        if !change.runs() {
            return Ok(OutcomeKind::Rebase);
        }
        change.state = state;
        change.detail = reason;
        if state == ChangeState::Done && change.kind == ChangeKind::Intent {
            let revision = change.revision;
            self.settle(revision);
        }
        Ok(OutcomeKind::Done)
    }

    /// Every host of `revision` runs it now, those too whose program it did not change; hosts that it does not
    /// have are assigned nothing any more.
    fn settle(&mut self, revision: u64) {
        let Some(intent) = self.intents.get(&revision) else { return };
        self.assignments.retain(|host, _| intent.topology.node_index(host).is_some());
        for assignment in self.assignments.values_mut() {
            assignment.revision = revision;
            assignment.fact_index = self.fact_index;
        }
    }

    /// The whole entry when its last part is there. Parts come in order: one leader proposes them one after the
    /// other, and begins anew with another id when it has to.
    fn chunk(
        &mut self,
        id: [u8; 16],
        part: u32,
        count: u32,
        data: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, String> {
        let known = self.chunks.iter().position(|chunk| chunk.id == id);
        let at = known.unwrap_or_else(|| {
            self.chunks.push(ChunkRecord { id, count, parts: Vec::new() });
            self.chunks.len() - 1
        });
        let chunk = &mut self.chunks[at];
        if part >= count || chunk.count != count || chunk.parts.len() != part as usize {
            let parts = chunk.parts.len();
            self.chunks.remove(at);
            return Err(format!("part {part} of {count} of a large entry came after {parts} parts"));
        }
        chunk.parts.push(data);
        if chunk.parts.len() == count as usize {
            return Ok(Some(self.chunks.remove(at).parts.concat()));
        }
        let bytes = |chunk: &ChunkRecord| chunk.parts.iter().map(Vec::len).sum::<usize>();
        while self.chunks.len() > CHUNKED_KEPT
            || self.chunks.iter().map(bytes).sum::<usize>() > ENTRY_BYTES_TOTAL_MAX
        {
            // Of a leader that did not get to the end.
            self.chunks.remove(0);
        }
        Ok(None)
    }

    fn quarantine(&mut self, index: u64, author: &str, reason: &str) {
        tracing::warn!(index, author, reason, "entry quarantined");
        let cut = |text: &str| text.chars().take(REASON_BYTES_MAX / 4).collect::<String>();
        self.quarantine.push(QuarantineRecord { index, author: cut(author), reason: cut(reason) });
    }

    /// Keeps every list within its bound.
    fn prune(&mut self) {
        drop_oldest(&mut self.idempotency, IDEMPOTENCY_KEPT);
        drop_oldest(&mut self.quarantine, QUARANTINE_KEPT);
        let revisions: BTreeSet<u64> = self.assignments.values().map(|one| one.revision).collect();
        let oldest = self.intents.keys().rev().nth(INTENTS_KEPT - 1).copied().unwrap_or(0);
        self.intents.retain(|revision, _| *revision >= oldest || revisions.contains(revision));
        let facts: BTreeSet<u64> = self.assignments.values().map(|one| one.fact_index).collect();
        self.fact_sets.retain(|index, _| *index == self.fact_index || facts.contains(index));
        let releases: BTreeSet<u64> = self.assignments.values().map(|one| one.generation.index).collect();
        let oldest = self.releases.keys().rev().nth(RELEASES_KEPT - 1).copied().unwrap_or(0);
        self.releases.retain(|index, _| *index >= oldest || releases.contains(index));
        let oldest = self.changes.keys().rev().nth(CHANGES_KEPT - 1).copied().unwrap_or(0);
        self.changes.retain(|number, change| *number >= oldest || change.runs());
    }

    /// Names this state: equal on all replicas at the same index.
    pub(crate) fn digest(&self) -> Digest {
        wire::snapshot::state_digest(&encode(self))
    }

    /// The topology of `revision`.
    pub(crate) fn topology(&self, revision: u64) -> Option<&Arc<Topology>> {
        self.intents.get(&revision).map(|intent| &intent.topology)
    }

    /// What the programs of `revision` under `facts` are computed from.
    pub(crate) fn key(&self, revision: u64, facts: &Arc<Facts>) -> Option<Key> {
        let topology = self.intents.get(&revision)?.topology_digest;
        Some(Key { topology, facts: facts.clone() })
    }

    /// Releases that an assignment refers to and that are not void, in the order of the log.
    pub(crate) fn live_releases(&self) -> Vec<&ReleaseRecord> {
        let indexes: BTreeSet<u64> =
            self.assignments.values().map(|assignment| assignment.generation.index).collect();
        let releases = indexes.iter().filter_map(|index| self.releases.get(index));
        releases.filter(|release| !release.void).collect()
    }

    /// Whether the release that an assignment comes from is void: nobody is served it.
    pub(crate) fn is_void(&self, assignment: &Assignment) -> bool {
        self.releases.get(&assignment.generation.index).is_some_and(|release| release.void)
    }

    /// Whether the log itself shows that a majority computed this release: the next step is only released after
    /// agents ran this one, and agents are only served what a majority computed.
    pub(crate) fn settled(&self, release: &ReleaseRecord) -> bool {
        self.changes.get(&release.change).is_none_or(|change| {
            change.state == ChangeState::Done || change.step > release.step.saturating_add(1)
        })
    }
}

fn drop_oldest<T>(list: &mut Vec<T>, kept: usize) {
    if list.len() > kept {
        list.drain(..list.len() - kept);
    }
}

/// A request without a key of the client's is known by its own id, so that it can be proposed again by another
/// leader and still takes effect once.
pub(crate) fn idempotency_key_of(key: &str, request_id: RequestId) -> String {
    if key.is_empty() {
        let hex: String = request_id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("request {hex}")
    } else {
        format!("key {key}")
    }
}

/// Names what a client asked for, without what the leader added to it.
pub(crate) fn intent_digest(intent: &Intent) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("ballast intent request v1");
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(&intent.topology);
    field(intent.file.as_bytes());
    field(intent.reason.as_bytes());
    field(&intent.expected_revision.map(u64::to_be_bytes).map(Vec::from).unwrap_or_default());
    if let Some(word) = &intent.overrides {
        field(&word.signed_bytes());
        field(&word.signature);
    }
    *hasher.finalize().as_bytes()
}

/// What replicas vote on: which host gets which program.
pub(crate) fn release_digest(hosts: &[Assigned]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("ballast release v1");
    for Assigned { host, revision, digest } in hosts {
        hasher.update(&(host.len() as u64).to_be_bytes());
        hasher.update(host.as_bytes());
        hasher.update(&revision.to_be_bytes());
        hasher.update(&digest.0);
    }
    Digest(*hasher.finalize().as_bytes())
}
