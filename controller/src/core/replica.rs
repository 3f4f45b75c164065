//! raft-rs driven by events: messages and ticks in, effects and committed entries out.
//!
//! Never interprets an entry. Appends are asynchronous: entries go out as `Effect::Persist`, and what may
//! only be said once they are on disk waits for `Event::Persisted`.

use crate::core::draw::Draw;
use crate::core::event::{Effect, Millis, Persist, StoredEntry, StoredSnapshot};
use crate::core::storage::Storage;
use crate::core::{Config, StartError};
use protobuf::Message as _;
use raft::eraftpb::{EntryType, Message, MessageType};
use raft::prelude::{RawNode, Ready, SnapshotStatus};
use raft::{ProgressState, StateRole, Storage as _};
use std::collections::{BTreeMap, VecDeque};
use wire::peer::{PeerBody, PeerMessage};

/// Largest append message, so that one follower that is far behind does not fill the stream.
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
/// Append messages to one follower that may be without an answer.
const MESSAGES_IN_FLIGHT_MAX: usize = 256;
/// Committed entries handed over at a time, in bytes.
const COMMITTED_BYTES_MAX: u64 = 8 << 20;
/// A snapshot without an answer for so long is taken as lost and sent again.
const SNAPSHOT_RETRY_MS: u64 = 5_000;

/// What the log says, in its order.
#[derive(Debug)]
pub(crate) enum Committed {
    /// An entry; empty data is a leader's first entry.
    Entry {
        /// Raft index.
        index: u64,
        /// What was proposed.
        data: Vec<u8>,
    },
    /// The whole state at an index takes the place of ours.
    Snapshot {
        /// `wire::snapshot` bytes.
        data: Vec<u8>,
    },
}

/// No leader takes the proposal now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log takes no proposal now")]
pub(crate) struct Dropped;

/// What waits for the disk.
struct Waiting {
    persist: u64,
    ready: u64,
    messages: Vec<Message>,
    /// A snapshot's index: counts as applied only from then on.
    restored: Option<u64>,
}

/// One member of the Raft group.
pub(crate) struct Replica {
    id: u64,
    node: RawNode<Storage>,
    draw: Draw,
    tick_ms: u64,
    election_ticks: usize,
    /// When the last tick was counted.
    ticked: Millis,
    /// Ticks without a leader after which this replica campaigns, and the situation it was drawn for.
    campaign_ticks: usize,
    drawn_for: (u64, u64, StateRole),
    /// Never campaigns.
    barred: bool,
    persists: u64,
    waiting: VecDeque<Waiting>,
    /// Peer -> when a snapshot left for it.
    snapshots_sent: BTreeMap<u64, Millis>,
    /// Peer -> when it was last heard.
    heard: BTreeMap<u64, Millis>,
    last_index_applied: u64,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Replica").field("id", &self.id).field("term", &self.term()).finish_non_exhaustive()
    }
}

impl Replica {
    /// A follower over what is stored.
    pub(crate) fn new(config: &Config, storage: Storage, now: Millis) -> Result<Replica, StartError> {
        let applied = storage.snapshot_index();
        let settings = raft::Config {
            id: config.id,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            applied,
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: MESSAGES_IN_FLIGHT_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_MAX,
            check_quorum: true,
            pre_vote: true,
            // The upper end leaves room for a replica that must not campaign; which one of these ticks counts is
            // drawn here from the seed, since raft-rs itself draws from the thread's generator.
            min_election_tick: config.election_ticks,
            max_election_tick: NEVER_TICKS + 1,
            ..raft::Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let bad = |error: raft::Error| StartError::Config { id: config.id, why: error.to_string() };
        let mut node = RawNode::new(&settings, storage, &logger).map_err(bad)?;
        if config.peers.len() == 1 {
            // There is nobody whose leadership it could disturb.
            node.campaign().map_err(bad)?;
        }
        let mut draw = Draw::new(config.seed, config.id);
        let campaign_ticks = draw.between(config.election_ticks, 2 * config.election_ticks);
        Ok(Replica {
            id: config.id,
            node,
            draw,
            tick_ms: config.tick_ms.max(1),
            election_ticks: config.election_ticks,
            ticked: now,
            campaign_ticks,
            drawn_for: (0, 0, StateRole::Follower),
            barred: false,
            persists: 0,
            waiting: VecDeque::new(),
            snapshots_sent: BTreeMap::new(),
            heard: BTreeMap::new(),
            last_index_applied: applied,
        })
    }

    /// Counts ticks up to `now`. After a long pause only two: a replica that slept must hear its peers before it
    /// believes that they are silent.
    pub(crate) fn tick(&mut self, now: Millis) {
        let passed = now.0.saturating_sub(self.ticked.0) / self.tick_ms;
        for _ in 0..passed.min(2) {
            self.draw_campaign_ticks();
            self.node.tick();
        }
        self.ticked = if passed > 2 { now } else { Millis(self.ticked.0 + passed * self.tick_ms) };
        self.resend_snapshots(now);
    }

    /// Draws anew whenever the term, the leader or the role changed, so that two replicas that campaigned at
    /// once do not do so again.
    fn draw_campaign_ticks(&mut self) {
        let raft = &self.node.raft;
        let situation = (raft.term, raft.leader_id, raft.state);
        if self.drawn_for != situation {
            self.drawn_for = situation;
            self.campaign_ticks = self.draw.between(self.election_ticks, 2 * self.election_ticks);
        }
        let ticks = if self.barred { NEVER_TICKS } else { self.campaign_ticks };
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    fn resend_snapshots(&mut self, now: Millis) {
        let mut lost = Vec::new();
        for (peer, progress) in self.node.raft.prs().iter() {
            if progress.state == ProgressState::Snapshot
                && let Some(sent) = self.snapshots_sent.get(peer)
                && now.0.saturating_sub(sent.0) >= SNAPSHOT_RETRY_MS
            {
                lost.push(*peer);
            }
        }
        lost.sort_unstable();
        for peer in lost {
            self.snapshots_sent.remove(&peer);
            self.node.report_snapshot(peer, SnapshotStatus::Failure);
        }
    }

    /// Takes a peer's message. `acceptable` says whether the data of a snapshot can be read.
    pub(crate) fn step(&mut self, from: u64, bytes: &[u8], now: Millis, acceptable: impl Fn(&[u8]) -> bool) {
        let Ok(mut message) = Message::parse_from_bytes(bytes) else {
            tracing::warn!(from, "a Raft message cannot be read and is dropped");
            return;
        };
        let member = self.node.raft.prs().get(from).is_some();
        if message.from != from || message.to != self.id || !member {
            tracing::warn!(from, "a Raft message for or from somebody else is dropped");
            return;
        }
        self.heard.insert(from, now);
        match message.get_msg_type() {
            // raft-rs takes it as a broken invariant when a leader believes that this replica has more than it
            // has, which is what a lost disk looks like; a commit index is only a lower bound.
            MessageType::MsgHeartbeat => {
                message.commit = message.commit.min(self.node.raft.raft_log.last_index());
            }
            MessageType::MsgSnapshot if !acceptable(message.get_snapshot().get_data()) => {
                tracing::error!(from, "a snapshot cannot be read: is this controller older than the others?");
                return;
            }
            MessageType::MsgTimeoutNow if self.barred => return,
            // A proposal goes through `Forward`, which is answered; raft-rs would forward it without an answer.
            MessageType::MsgPropose => return,
            _ => {}
        }
        if let Err(error) = self.node.step(message) {
            tracing::debug!(from, %error, "a Raft message was not taken");
        }
    }

    /// The connection to `peer` broke.
    pub(crate) fn peer_lost(&mut self, peer: u64) {
        self.heard.remove(&peer);
        if self.node.raft.prs().get(peer).is_some_and(|progress| progress.state == ProgressState::Snapshot) {
            self.snapshots_sent.remove(&peer);
            self.node.report_snapshot(peer, SnapshotStatus::Failure);
        }
        self.node.report_unreachable(peer);
    }

    /// Proposes an entry; only the leader does.
    pub(crate) fn propose(&mut self, data: Vec<u8>) -> Result<(), Dropped> {
        if !self.leads() {
            return Err(Dropped);
        }
        self.node.propose(Vec::new(), data).map_err(|_| Dropped)
    }

    /// Everything up to `number` is on disk.
    pub(crate) fn persisted(&mut self, number: u64, now: Millis, out: &mut Vec<Effect>) {
        while self.waiting.front().is_some_and(|waiting| waiting.persist <= number) {
            if let Some(waiting) = self.waiting.pop_front() {
                self.finish(waiting, now, out);
            }
        }
    }

    fn finish(&mut self, waiting: Waiting, now: Millis, out: &mut Vec<Effect>) {
        self.node.on_persist_ready(waiting.ready);
        if let Some(index) = waiting.restored {
            self.node.advance_apply_to(index);
        }
        self.send(waiting.messages, now, out);
    }

    fn send(&mut self, messages: Vec<Message>, now: Millis, out: &mut Vec<Effect>) {
        for message in messages {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                tracing::info!(
                    to = message.to,
                    index = message.get_snapshot().get_metadata().index,
                    "snapshot sent"
                );
                self.snapshots_sent.insert(message.to, now);
            }
            match message.write_to_bytes() {
                Ok(bytes) => out.push(Effect::SendPeer {
                    to: message.to,
                    message: PeerMessage { from: self.id, body: PeerBody::Raft(bytes) },
                }),
                Err(error) => tracing::error!(%error, "a Raft message cannot be encoded"),
            }
        }
    }

    /// The next piece of work, with what became committed by it; `None` when there is nothing to do. The caller
    /// applies what it gets before it calls again.
    pub(crate) fn ready(&mut self, now: Millis, out: &mut Vec<Effect>) -> Option<Vec<Committed>> {
        if !self.node.has_ready() {
            return None;
        }
        let mut ready = self.node.ready();
        self.send(ready.take_messages(), now, out);
        let mut committed = Vec::new();
        let restored = self.take_snapshot_of(&ready, &mut committed);
        let number = self.persist(&mut ready, restored.is_some(), out);
        let entries = ready.take_committed_entries();
        let applied = !entries.is_empty();
        for entry in entries {
            self.last_index_applied = entry.index;
            // Membership is fixed in this version: nobody proposes other kinds.
            if entry.get_entry_type() == EntryType::EntryNormal {
                committed.push(Committed::Entry { index: entry.index, data: entry.data.to_vec() });
            }
        }
        let waiting = Waiting {
            persist: number.unwrap_or(self.persists),
            ready: ready.number(),
            messages: ready.take_persisted_messages(),
            restored,
        };
        self.node.advance_append_async(ready);
        if applied {
            self.node.advance_apply_to(self.last_index_applied);
        }
        if number.is_none() && self.waiting.is_empty() {
            self.finish(waiting, now, out);
        } else {
            self.waiting.push_back(waiting);
        }
        Some(committed)
    }

    /// Whether [`Replica::ready`] has something.
    pub(crate) fn has_ready(&self) -> bool {
        self.node.has_ready()
    }

    fn take_snapshot_of(&mut self, ready: &Ready, committed: &mut Vec<Committed>) -> Option<u64> {
        if ready.snapshot().get_metadata().index == 0 {
            return None;
        }
        let snapshot = ready.snapshot().clone();
        let index = snapshot.get_metadata().index;
        committed.push(Committed::Snapshot { data: snapshot.data.to_vec() });
        self.node.mut_store().restore(snapshot);
        self.last_index_applied = index;
        Some(index)
    }

    /// Hands what is new to the disk; `None` when nothing is.
    fn persist(&mut self, ready: &mut Ready, restored: bool, out: &mut Vec<Effect>) -> Option<u64> {
        let sync = ready.must_sync();
        let entries = ready.take_entries();
        let hard_state = ready.hs().cloned();
        self.node.mut_store().append(&entries);
        if let Some(hard_state) = &hard_state {
            self.node.mut_store().set_hard_state(hard_state.clone());
        }
        if entries.is_empty() && hard_state.is_none() && !restored {
            return None;
        }
        let encoded = |bytes: protobuf::ProtobufResult<Vec<u8>>| {
            bytes.expect("a Raft value that was made or decoded here can be encoded")
        };
        let stored = |entry: &raft::eraftpb::Entry| StoredEntry {
            index: entry.index,
            bytes: encoded(entry.write_to_bytes()),
        };
        let snapshot = restored.then(|| {
            let metadata = ready.snapshot().get_metadata();
            StoredSnapshot {
                index: metadata.index,
                term: metadata.term,
                conf_state: encoded(metadata.get_conf_state().write_to_bytes()),
                data: ready.snapshot().data.to_vec(),
            }
        });
        self.persists += 1;
        out.push(Effect::Persist(Persist {
            number: self.persists,
            clear_entries: restored,
            snapshot,
            entries: entries.iter().map(stored).collect(),
            hard_state: hard_state.map(|hard_state| encoded(hard_state.write_to_bytes())),
            sync,
        }));
        Some(self.persists)
    }

    /// Stores a snapshot of our own state at the last applied entry and forgets entries but for the newest
    /// `kept`.
    pub(crate) fn snapshot(&mut self, data: Vec<u8>, kept: u64, out: &mut Vec<Effect>) {
        let index = self.last_index_applied;
        let snapshot = match self.node.mut_store().take_snapshot(index, data) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::error!(index, %error, "no snapshot was taken");
                return;
            }
        };
        self.persists += 1;
        out.push(Effect::Persist(Persist {
            number: self.persists,
            clear_entries: false,
            snapshot: Some(snapshot),
            entries: Vec::new(),
            hard_state: None,
            sync: true,
        }));
        let compacted = index.saturating_sub(kept);
        if compacted > 0 {
            self.node.mut_store().compact(compacted);
            out.push(Effect::Compact { index: compacted });
        }
        tracing::info!(index, compacted, "snapshot taken");
    }

    /// Hands leadership to `peer`.
    pub(crate) fn transfer(&mut self, peer: u64) {
        self.node.transfer_leader(peer);
    }

    /// Never campaigns again.
    pub(crate) fn bar(&mut self) {
        self.barred = true;
    }

    /// Whether it is the leader.
    pub(crate) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// Whether it is the leader and its state holds everything that earlier leaders committed.
    pub(crate) fn leads_with_full_state(&self) -> bool {
        self.leads()
            && self.node.raft.commit_to_current_term()
            && self.node.store().term(self.last_index_applied).is_ok_and(|term| term == self.node.raft.term)
    }

    /// The leader, when one is known.
    pub(crate) fn leader(&self) -> Option<u64> {
        Some(self.node.raft.leader_id).filter(|id| *id != 0)
    }

    /// `leader`, `follower` or `candidate`.
    pub(crate) fn role(&self) -> &'static str {
        match self.node.raft.state {
            StateRole::Leader => "leader",
            StateRole::Follower => "follower",
            StateRole::Candidate | StateRole::PreCandidate => "candidate",
        }
    }

    /// Raft term.
    pub(crate) fn term(&self) -> u64 {
        self.node.raft.term
    }

    /// Last index that is committed, as far as this replica knows.
    pub(crate) fn committed(&self) -> u64 {
        self.node.raft.raft_log.committed
    }

    /// Index of the newest entry, committed or not.
    pub(crate) fn last_index(&self) -> u64 {
        self.node.raft.raft_log.last_index()
    }

    /// Last index that was handed over.
    pub(crate) fn applied(&self) -> u64 {
        self.last_index_applied
    }

    /// What the leader knows to be on the disk of `id`.
    pub(crate) fn matched(&self, id: u64) -> Option<u64> {
        if !self.leads() {
            return None;
        }
        self.node.raft.prs().get(id).map(|progress| progress.matched)
    }

    /// Whether `peer` was heard within twice the time of an election.
    pub(crate) fn reachable(&self, peer: u64, now: Millis) -> bool {
        let window = 2 * self.election_ticks as u64 * self.tick_ms;
        peer == self.id || self.heard.get(&peer).is_some_and(|heard| now.0.saturating_sub(heard.0) <= window)
    }
}

/// An election timeout that no process lives to see (12,000 years of 50 ms ticks).
const NEVER_TICKS: usize = 1 << 43;
