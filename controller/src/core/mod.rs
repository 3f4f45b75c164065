//! The replica as a pure machine: `handle(now, event, &mut effects)`.
//!
//! `state` is what the log makes (apply, digest, snapshot), `replica` drives raft-rs over `storage`, `fleet` and
//! `evidence` turn what agents say into what is to be believed, `change` judges a new topology, `leader` finds
//! the next entry to propose, `programs` and `votes` know who computed what, `serve` brings programs to agents,
//! `requests` and `views` answer clients. None of them knows a clock, a random generator, a socket or a task:
//! the shell in `io` and the simulator in `tests/drills` run the same code.

mod change;
mod compiler;
pub mod config;
mod draw;
pub mod event;
mod evidence;
mod fleet;
mod leader;
mod programs;
mod replica;
mod requests;
mod serve;
mod state;
mod storage;
mod views;
mod votes;

pub use compiler::Compiler;
pub use config::{Config, Limits, StartError};
pub use event::{
    AgentSession, ComputeJob, Effect, Event, JobId, Millis, Persist, ReadAnswer, ReadRequest, Reply, Request,
    RequestBody, StoredEntry, StoredSnapshot, StoredState,
};

use crate::core::draw::Draw;
use crate::core::fleet::Fleet;
use crate::core::leader::Leader;
use crate::core::programs::{Key, Programs};
use crate::core::replica::{Committed, Replica};
use crate::core::requests::Requests;
use crate::core::serve::{Origins, Session};
use crate::core::state::{ReleaseRecord, State, decode_snapshot, encode_snapshot};
use crate::core::storage::Storage;
use crate::core::votes::Votes;
use plan::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Topology;
use wire::log::Assigned;
use wire::peer::{PeerBody, PeerMessage};

/// A vote about this release, which cannot exist, asks for all votes of the receiver.
const ALL_VOTES: u64 = 0;
/// Rounds of work after one event; each round needs news from the one before.
const ROUNDS_MAX: usize = 1_000;

/// One replica.
#[derive(Debug)]
pub struct Controller {
    config: Config,
    draw: Draw,
    replica: Replica,
    state: State,
    programs: Programs,
    votes: Votes,
    fleet: Fleet,
    sessions: BTreeMap<AgentSession, Session>,
    requests: Requests,
    origins: Origins,
    /// Only on the leader.
    leader: Option<Leader>,
    /// Why this replica serves nothing: a majority computes other programs than it does.
    outvoted: Option<String>,
    unix_ms: u64,
    beat: Millis,
    /// Since when no leader is known.
    leaderless_since: Option<Millis>,
    /// The state or the programs changed since votes and offers were looked at.
    stirred: bool,
    /// The state's digest and the index that it belongs to: it is shown often and made of many bytes.
    digest: Option<(u64, Digest)>,
    /// Entries and bytes applied since the last snapshot.
    applied_since_snapshot: (u64, u64),
}

impl Controller {
    /// A replica over what its disk gave back (empty at the first start).
    ///
    /// # Errors
    /// The settings contradict themselves, or what is stored is not a log of ours.
    pub fn new(
        config: Config,
        stored: StoredState,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Result<Controller, StartError> {
        config.check()?;
        let state = match &stored.snapshot {
            None => State::default(),
            Some(snapshot) => decode_snapshot(&snapshot.data)
                .map_err(|error| StartError::Stored { why: error.to_string() })?,
        };
        let storage = Storage::load(&config, stored)?;
        let replica = Replica::new(&config, storage, now)?;
        // Another sequence than the one of elections: the two must not disturb each other.
        let draw = Draw::new(!config.seed, config.id);
        let mut controller = Controller {
            draw,
            replica,
            state,
            programs: Programs::default(),
            votes: Votes::default(),
            fleet: Fleet::new(config.beat_ms),
            sessions: BTreeMap::new(),
            requests: Requests::default(),
            origins: Origins::default(),
            leader: None,
            outvoted: None,
            unix_ms: 0,
            beat: now,
            leaderless_since: Some(now),
            stirred: true,
            digest: None,
            applied_since_snapshot: (0, 0),
            config,
        };
        controller.settle(now, out);
        Ok(controller)
    }

    /// Takes one event and appends what is to be done. Never blocks, never panics on any event.
    pub fn handle(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Tick { unix_ms } => self.tick(now, unix_ms, out),
            Event::Peer(message) => self.peer(message, now, out),
            Event::PeerLost { peer } => self.replica.peer_lost(peer),
            Event::Persisted { number } => self.replica.persisted(number, now, out),
            Event::Computed { job, network } => {
                self.programs.computed(job, network);
                self.stirred = true;
            }
            Event::AgentOpened { session, host } => self.agent_opened(session, host, now, out),
            Event::Agent { session, message } => self.agent_says(session, message, now, out),
            Event::AgentClosed { session } => self.agent_closed(session, now, out),
            Event::Request(request) => self.request(request, now, out),
        }
        self.settle(now, out);
    }

    fn tick(&mut self, now: Millis, unix_ms: u64, out: &mut Vec<Effect>) {
        self.unix_ms = unix_ms;
        self.replica.tick(now);
        if self.replica.leader().is_some() {
            self.leaderless_since = None;
        } else {
            self.leaderless_since.get_or_insert(now);
        }
        if now.0.saturating_sub(self.beat.0) >= u64::from(self.config.beat_ms) {
            self.beat = now;
            self.requests.expire(now, out);
            self.fleet.note_behind(&self.state.assignments, now);
            self.repeat_votes(out);
            self.pulse(out);
            self.offer_all(now, out);
        }
    }

    fn peer(&mut self, message: PeerMessage, now: Millis, out: &mut Vec<Effect>) {
        let from = message.from;
        if from == self.config.id || !self.config.peers.contains(&from) {
            tracing::warn!(from, "a message of somebody who is no member is dropped");
            return;
        }
        match message.body {
            PeerBody::Raft(bytes) => {
                self.replica.step(from, &bytes, now, |snapshot| decode_snapshot(snapshot).is_ok());
            }
            PeerBody::Vote { release: ALL_VOTES, .. } => self.tell_votes(from, out),
            PeerBody::Vote { release, digest } => {
                self.stirred |= self.votes.record(from, release, digest);
            }
            PeerBody::Forward { request_id, request } => self.take_write(from, request_id, request, out),
            PeerBody::ForwardReply { request_id, answer } => self.requests.answer(request_id, answer, out),
            PeerBody::Observation { host, connected, message } => match &message {
                Some(message) if connected => self.fleet.heard(&host, from, message, now),
                _ => self.fleet.session(&host, from, connected, now),
            },
        }
    }

    fn request(&mut self, request: Request, now: Millis, out: &mut Vec<Effect>) {
        let Request { id, body } = request;
        match body {
            RequestBody::Read(read) => {
                let answer = self.read(&read, now, out);
                out.push(Effect::Reply { id, reply: Reply::Read(answer) });
            }
            RequestBody::Write(write) => {
                if let Some(reason) = &self.outvoted {
                    let words = requests::answer("outvoted", reason.clone());
                    out.push(Effect::Reply { id, reply: Reply::Write(words) });
                } else if !self.requests.take(id, write, self.config.limits.requests, now) {
                    let words = requests::answer("no_leader", "too many writes at once: try again");
                    out.push(Effect::Reply { id, reply: Reply::Write(words) });
                }
            }
        }
    }

    /// Carries on until nothing follows from what happened.
    fn settle(&mut self, now: Millis, out: &mut Vec<Effect>) {
        for _ in 0..ROUNDS_MAX {
            while let Some(committed) = self.replica.ready(now, out) {
                for one in committed {
                    self.apply(one, out);
                }
                self.snapshot_when_due(out);
            }
            if self.stirred {
                self.stirred = false;
                self.compute_needed(now, out);
                self.vote(out);
                self.judge_votes(now, out);
                self.offer_all(now, out);
            }
            if !self.replica.leads()
                && let Some(leader) = self.replica.leader()
            {
                let to = Some((leader, self.replica.term()));
                self.requests.hand_over(self.config.id, to, now, out);
            }
            let effects = out.len();
            self.lead(now, out);
            // Only what a leader proposed or asked for can make more work.
            if !self.replica.has_ready() && out.len() == effects {
                return;
            }
        }
    }

    fn apply(&mut self, committed: Committed, out: &mut Vec<Effect>) {
        self.stirred = true;
        match committed {
            Committed::Entry { index, data } => {
                self.applied_since_snapshot.0 += 1;
                self.applied_since_snapshot.1 += data.len() as u64;
                if let Some(outcome) = self.state.apply(index, &data) {
                    self.requests.applied(&outcome, out);
                    self.lead_applied(&outcome, out);
                }
            }
            Committed::Snapshot { data } => match decode_snapshot(&data) {
                Ok(state) => {
                    self.state = state;
                    self.applied_since_snapshot = (0, 0);
                }
                // It was read once before raft-rs was allowed to take it.
                Err(error) => tracing::error!(%error, "a snapshot cannot be read"),
            },
        }
    }

    fn snapshot_when_due(&mut self, out: &mut Vec<Effect>) {
        let (entries, bytes) = self.applied_since_snapshot;
        let limits = &self.config.limits;
        if entries < limits.snapshot_entries && bytes < limits.snapshot_bytes {
            return;
        }
        self.applied_since_snapshot = (0, 0);
        let data = encode_snapshot(&self.state, self.replica.applied());
        self.replica.snapshot(data, limits.kept_entries, out);
    }

    /// Asks for all programs that an assignment refers to, and for those of the newest intent.
    fn compute_needed(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let mut needed: BTreeMap<Key, Arc<Topology>> = BTreeMap::new();
        let head = (self.state.head_revision, self.state.fact_index);
        let assigned = self.state.assignments.values().map(|one| (one.revision, one.fact_index));
        let wanted: BTreeSet<(u64, u64)> = assigned.chain([head]).collect();
        for (revision, fact_index) in wanted {
            let facts = self.state.facts(fact_index);
            if let Some(key) = self.state.key(revision, &facts)
                && let Some(topology) = self.state.topology(revision)
            {
                needed.insert(key, topology.clone());
            }
        }
        for (key, topology) in &needed {
            self.programs.get(key.clone(), topology, out);
        }
        let topologies: Vec<Arc<Topology>> = needed.values().cloned().collect();
        self.fleet.watch(&topologies, now);
        self.programs.trim(&needed.into_keys().collect());
        self.votes.trim(&self.state.releases);
    }

    /// Says what this replica computes for every release in force, where that is news. Who disagreed once goes on
    /// doing so: hosts that were released anew since then do not make the release right.
    fn vote(&mut self, out: &mut Vec<Effect>) {
        let mut news = Vec::new();
        for release in self.state.live_releases() {
            let before = self.votes.of(self.config.id, release.index);
            if before.is_some_and(|digest| digest != release.digest) {
                continue;
            }
            if let Some(digest) = self.own_vote(release)
                && before != Some(digest)
            {
                news.push((release.index, digest));
            }
        }
        for (release, digest) in news {
            self.votes.record(self.config.id, release, digest);
            self.broadcast(PeerBody::Vote { release, digest }, out);
        }
    }

    /// The release's own digest when this replica computes the same programs for all hosts that still have them
    /// from it; `None` while programs are being computed. After a fact every host counts: one may be missing in
    /// the release.
    fn own_vote(&self, release: &ReleaseRecord) -> Option<Digest> {
        let every_host = self.state.fact_index == release.index;
        let mut own = Vec::new();
        let mut differs = false;
        for (host, assignment) in &self.state.assignments {
            let of_it = assignment.generation.index == release.index;
            if !of_it && !every_host {
                continue;
            }
            let facts = self.state.facts(assignment.fact_index);
            let network = self.programs.peek(&self.state.key(assignment.revision, &facts)?)?;
            let digest = network.host(host).map_or(Digest([0; 32]), |(_, digest)| digest);
            differs |= digest != assignment.digest;
            if of_it || digest != assignment.digest {
                own.push(Assigned { host: host.clone(), revision: assignment.revision, digest });
            }
        }
        Some(if differs { state::release_digest(&own) } else { release.digest })
    }

    /// A release about which a majority computes something else than this replica, and what they compute.
    fn outvoted_about(&self) -> Option<(u64, Digest)> {
        self.state.live_releases().into_iter().find_map(|release| {
            let votes::Verdict::Decided(digest) = self.votes.verdict(release.index, self.majority()) else {
                return None;
            };
            let own = self.votes.of(self.config.id, release.index)?;
            // Votes are about the hosts that still have their program from the release, and replicas may be at
            // different places of the log. So a difference only counts where it is one here and now.
            let differs = if digest == release.digest {
                self.own_vote(release)? != release.digest
            } else {
                own == release.digest && self.whole(release)
            };
            differs.then_some((release.index, digest))
        })
    }

    /// Whether all hosts of the release still have their program from it.
    fn whole(&self, release: &ReleaseRecord) -> bool {
        release.hosts.iter().all(|host| {
            (self.state.assignments.get(host)).is_some_and(|one| one.generation.index == release.index)
        })
    }

    /// Stops serving when a majority computes something else, and leading too.
    fn judge_votes(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let Some((release, digest)) = self.outvoted_about() else { return };
        if self.outvoted.is_none() {
            let reason = format!(
                "controller {} computes other programs than the majority for release {release}: it serves \
                 nothing until it is restarted; if that happens again, replace the machine or the version",
                self.config.id
            );
            tracing::error!(controller = self.config.id, release, "outvoted");
            self.close_all(&reason, now, out);
            self.outvoted = Some(reason);
            self.replica.bar();
        }
        if self.replica.leads() {
            self.yield_leadership(release, digest);
        }
    }

    /// Says again what may have been lost, and asks for what was not heard.
    fn repeat_votes(&mut self, out: &mut Vec<Effect>) {
        let open: Vec<(u64, Digest)> = (self.state.live_releases().into_iter())
            .filter_map(|release| {
                let digest = self.votes.of(self.config.id, release.index)?;
                let verdict = self.votes.verdict(release.index, self.majority());
                let clear = verdict == votes::Verdict::Decided(release.digest) && digest == release.digest;
                (!clear).then_some((release.index, digest))
            })
            .collect();
        if open.is_empty() {
            return;
        }
        for (release, digest) in open {
            self.broadcast(PeerBody::Vote { release, digest }, out);
        }
        self.broadcast(PeerBody::Vote { release: ALL_VOTES, digest: Digest([0; 32]) }, out);
        self.stirred = true;
    }

    /// All our votes for `peer`, who may have been restarted.
    fn tell_votes(&self, peer: u64, out: &mut Vec<Effect>) {
        for release in self.state.live_releases() {
            if let Some(digest) = self.votes.of(self.config.id, release.index) {
                let body = PeerBody::Vote { release: release.index, digest };
                let message = PeerMessage { from: self.config.id, body };
                out.push(Effect::SendPeer { to: peer, message });
            }
        }
    }

    /// Sends to all other members.
    fn broadcast(&self, body: PeerBody, out: &mut Vec<Effect>) {
        for peer in self.config.peers.iter().filter(|peer| **peer != self.config.id) {
            let message = PeerMessage { from: self.config.id, body: body.clone() };
            out.push(Effect::SendPeer { to: *peer, message });
        }
    }

    /// Replicas that make a majority.
    fn majority(&self) -> usize {
        self.config.peers.len() / 2 + 1
    }
}

#[cfg(test)]
mod tests;
