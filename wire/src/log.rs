//! Entries of the replicated log.

use crate::DecodeError;
use crate::agent::{read_override, write_override};
use crate::convert::Format;
use crate::overrides::Override;
use crate::proto::replica::v1 as proto;
use plan::Digest;
use plan::impact::Verdict;
use plan::steps::Step;
use prost::Message;

/// Version of this format.
pub const LOG_VERSION: u32 = 1;

/// Largest entry that is proposed in one piece; a larger one is cut into [`Command::Chunk`]s.
pub const ENTRY_BYTES_MAX: usize = 512 << 10;
/// Largest entry in all.
pub const ENTRY_BYTES_TOTAL_MAX: usize = 64 << 20;

/// Names one request for ever: its reply is matched by it, on whatever replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which request made it.
    pub request_id: RequestId,
    /// The client's key: the same key is applied once. Empty: none.
    pub idempotency_key: String,
    /// Who.
    pub author: String,
    /// Wall clock of the proposer, for people only.
    pub at_unix_ms: u64,
    /// What.
    pub command: Command,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// First entry of a cluster.
    Found {
        /// Incarnation to begin with.
        incarnation: u64,
        /// The cluster's name.
        cluster: String,
        /// Ed25519 public key of the operator, 32 bytes.
        operator_key: Vec<u8>,
    },
    /// A topology becomes the newest intent.
    Intent(Intent),
    /// Something about the data plane is believed.
    Fact(Fact),
    /// Programs are released to hosts.
    Release(Release),
    /// A release that was outvoted is void.
    Void {
        /// Its index.
        release: u64,
        /// Why.
        reason: String,
    },
    /// A change reached an end.
    Progress {
        /// Its number.
        change: u64,
        /// The state.
        state: ChangeState,
        /// Why, for `Halted`.
        reason: String,
    },
    /// Agents were seen with a generation of a later incarnation than ours.
    RaiseIncarnation {
        /// The new incarnation is above this.
        above: u64,
        /// What was seen.
        reason: String,
    },
    /// A part of a large entry.
    Chunk {
        /// Same for all parts.
        id: [u8; 16],
        /// From 0.
        index: u32,
        /// Number of parts.
        count: u32,
        /// Bytes of an encoded [`Entry`].
        data: Vec<u8>,
    },
}

/// A new topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Head revision on which the guards were judged.
    pub base_revision: u64,
    /// Head revision that the client demanded.
    pub expected_revision: Option<u64>,
    /// The file's bytes, as sent.
    pub topology: Vec<u8>,
    /// The file's name, for diagnostics.
    pub file: String,
    /// Why.
    pub reason: String,
    /// How the guards judged.
    pub guards: Vec<GuardRecord>,
    /// The operator's word.
    pub overrides: Option<Override>,
}

/// A guard's verdict as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardRecord {
    /// Its name.
    pub guard: String,
    /// What the change does.
    pub value: u64,
    /// What it may do.
    pub limit: u64,
    /// Whether it passed.
    pub ok: bool,
}

impl From<&Verdict> for GuardRecord {
    fn from(verdict: &Verdict) -> GuardRecord {
        let Verdict { guard, value, limit, ok } = *verdict;
        GuardRecord { guard: guard.to_string(), value, limit, ok }
    }
}

/// A link went down or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The link's id.
    pub link: String,
    /// Down, or back.
    pub down: bool,
    /// Who said so, for people.
    pub evidence: Vec<String>,
    /// Index of the facts on which `release` was computed.
    pub base_fact_index: u64,
    /// Index of the newest release on which `release` was computed.
    pub base_release_index: u64,
    /// What is released with it; `None`: no program changes.
    pub release: Option<Release>,
}

/// Programs for hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Number of the change; 0 inside a fact, which makes its own change.
    pub change: u64,
    /// Position of the step, from 0.
    pub step: u32,
    /// All steps of the change, with step 0; empty otherwise.
    pub steps: Vec<plan::steps::Step>,
    /// (host, revision, digest), sorted by host.
    pub hosts: Vec<Assigned>,
    /// Index of the newest release on which it was computed.
    pub base_release_index: u64,
}

/// One host's share of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The host.
    pub host: String,
    /// Revision that its program is made from.
    pub revision: u64,
    /// Digest of its program.
    pub digest: Digest,
}

/// State of a change, as in the REST interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// In the log.
    Proposed,
    /// Steps are known.
    Planned,
    /// A second person agreed.
    Approved,
    /// A step's release is in the log.
    Releasing,
    /// Waiting for the step's hosts.
    Acknowledging,
    /// Waiting for probes.
    Probing,
    /// Waiting out the step's bake time.
    Baking,
    /// All hosts run it.
    Done,
    /// Stopped; hosts stay as they are.
    Halted,
    /// Being undone.
    RollingBack,
    /// Undone.
    RolledBack,
}

const LOG: Format = Format("log entry");

impl Entry {
    /// Bytes of format version 1.
    pub fn encode(&self) -> Vec<u8> {
        proto::LogEntry {
            version: LOG_VERSION,
            request_id: self.request_id.0.to_vec(),
            idempotency_key: self.idempotency_key.clone(),
            author: self.author.clone(),
            at_unix_ms: self.at_unix_ms,
            command: Some(write_command(&self.command)),
        }
        .encode_to_vec()
    }

    /// Reads what [`Entry::encode`] writes.
    ///
    /// # Errors
    /// The bytes are not an entry, or one of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Entry, DecodeError> {
        let entry: proto::LogEntry = LOG.message(bytes)?;
        LOG.version(entry.version, LOG_VERSION)?;
        Ok(Entry {
            request_id: RequestId(LOG.array(&entry.request_id, "request_id")?),
            idempotency_key: entry.idempotency_key,
            author: entry.author,
            at_unix_ms: entry.at_unix_ms,
            command: read_command(LOG.need(entry.command, "command")?)?,
        })
    }

    /// The entry as what is proposed: itself, or, when it is larger than [`ENTRY_BYTES_MAX`], its parts in order. `id`
    /// names the parts; every part carries this entry's request id and author.
    pub fn split(&self, id: [u8; 16]) -> Vec<Entry> {
        let bytes = self.encode();
        if bytes.len() <= ENTRY_BYTES_MAX {
            return vec![self.clone()];
        }
        let parts: Vec<&[u8]> = bytes.chunks(ENTRY_BYTES_MAX / 2).collect();
        let count = parts.len() as u32;
        let part = |(index, data): (usize, &&[u8])| Entry {
            request_id: self.request_id,
            idempotency_key: String::new(),
            author: self.author.clone(),
            at_unix_ms: self.at_unix_ms,
            command: Command::Chunk { id, index: index as u32, count, data: data.to_vec() },
        };
        parts.iter().enumerate().map(part).collect()
    }
}

impl ChangeState {
    const ALL: [ChangeState; 11] = [
        ChangeState::Proposed,
        ChangeState::Planned,
        ChangeState::Approved,
        ChangeState::Releasing,
        ChangeState::Acknowledging,
        ChangeState::Probing,
        ChangeState::Baking,
        ChangeState::Done,
        ChangeState::Halted,
        ChangeState::RollingBack,
        ChangeState::RolledBack,
    ];

    /// Its number in stored formats, from 1.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The state with this number.
    pub fn from_number(number: u32) -> Option<ChangeState> {
        ChangeState::ALL.get((number as usize).checked_sub(1)?).copied()
    }

    /// Its name in the REST interface.
    pub fn name(self) -> &'static str {
        match self {
            ChangeState::Proposed => "proposed",
            ChangeState::Planned => "planned",
            ChangeState::Approved => "approved",
            ChangeState::Releasing => "releasing",
            ChangeState::Acknowledging => "acknowledging",
            ChangeState::Probing => "probing",
            ChangeState::Baking => "baking",
            ChangeState::Done => "done",
            ChangeState::Halted => "halted",
            ChangeState::RollingBack => "rolling_back",
            ChangeState::RolledBack => "rolled_back",
        }
    }
}

fn write_command(command: &Command) -> proto::log_entry::Command {
    use proto::log_entry::Command as Out;
    match command.clone() {
        Command::Found { incarnation, cluster, operator_key } => {
            Out::Found(proto::Found { incarnation, cluster, operator_key })
        }
        Command::Intent(intent) => Out::Intent(proto::Intent {
            base_revision: intent.base_revision,
            has_expected_revision: intent.expected_revision.is_some(),
            expected_revision: intent.expected_revision.unwrap_or(0),
            guards: intent.guards.iter().map(write_guard).collect(),
            r#override: intent.overrides.as_ref().map(write_override),
            topology: intent.topology,
            file: intent.file,
            reason: intent.reason,
        }),
        Command::Fact(fact) => Out::Fact(proto::Fact {
            link: fact.link,
            down: fact.down,
            evidence: fact.evidence,
            base_fact_index: fact.base_fact_index,
            base_release_index: fact.base_release_index,
            release: fact.release.as_ref().map(write_release),
        }),
        Command::Release(release) => Out::Release(write_release(&release)),
        Command::Void { release, reason } => Out::Void(proto::Void { release, reason }),
        Command::Progress { change, state, reason } => {
            Out::Progress(proto::Progress { change, state: state.number(), reason })
        }
        Command::RaiseIncarnation { above, reason } => {
            Out::RaiseIncarnation(proto::RaiseIncarnation { above, reason })
        }
        Command::Chunk { id, index, count, data } => {
            Out::Chunk(proto::Chunk { id: id.to_vec(), index, count, data })
        }
    }
}

fn read_command(command: proto::log_entry::Command) -> Result<Command, DecodeError> {
    use proto::log_entry::Command as In;
    Ok(match command {
        In::Found(proto::Found { incarnation, cluster, operator_key }) => {
            LOG.array::<32>(&operator_key, "found.operator_key")?;
            Command::Found { incarnation, cluster, operator_key }
        }
        In::Intent(intent) => Command::Intent(Intent {
            base_revision: intent.base_revision,
            expected_revision: intent.has_expected_revision.then_some(intent.expected_revision),
            topology: intent.topology,
            file: intent.file,
            reason: intent.reason,
            guards: intent.guards.into_iter().map(read_guard).collect(),
            overrides: intent.r#override.map(|word| read_override(LOG, word)).transpose()?,
        }),
        In::Fact(fact) => Command::Fact(Fact {
            link: fact.link,
            down: fact.down,
            evidence: fact.evidence,
            base_fact_index: fact.base_fact_index,
            base_release_index: fact.base_release_index,
            release: fact.release.map(read_release).transpose()?,
        }),
        In::Release(release) => Command::Release(read_release(release)?),
        In::Void(proto::Void { release, reason }) => Command::Void { release, reason },
        In::Progress(proto::Progress { change, state, reason }) => {
            let known = ChangeState::from_number(state);
            let state = known.ok_or_else(|| LOG.bad(format!("progress.state is {state}")))?;
            Command::Progress { change, state, reason }
        }
        In::RaiseIncarnation(proto::RaiseIncarnation { above, reason }) => {
            Command::RaiseIncarnation { above, reason }
        }
        In::Chunk(proto::Chunk { id, index, count, data }) => {
            Command::Chunk { id: LOG.array(&id, "chunk.id")?, index, count, data }
        }
    })
}

/// A guard's verdict in stored formats.
pub fn write_guard(guard: &GuardRecord) -> proto::GuardRecord {
    let GuardRecord { guard, value, limit, ok } = guard.clone();
    proto::GuardRecord { guard, value, limit, ok }
}

/// The other way round.
pub fn read_guard(guard: proto::GuardRecord) -> GuardRecord {
    let proto::GuardRecord { guard, value, limit, ok } = guard;
    GuardRecord { guard, value, limit, ok }
}

/// A step in stored formats.
pub fn write_step(step: &Step) -> proto::Step {
    proto::Step { hosts: step.hosts.clone(), bake_ms: step.bake_ms }
}

/// The other way round.
pub fn read_step(step: proto::Step) -> Step {
    Step { hosts: step.hosts, bake_ms: step.bake_ms }
}

fn write_release(release: &Release) -> proto::Release {
    let assigned = |assigned: &Assigned| proto::Assigned {
        host: assigned.host.clone(),
        revision: assigned.revision,
        digest: assigned.digest.0.to_vec(),
    };
    proto::Release {
        change: release.change,
        step: release.step,
        steps: release.steps.iter().map(write_step).collect(),
        hosts: release.hosts.iter().map(assigned).collect(),
        base_release_index: release.base_release_index,
    }
}

fn read_release(release: proto::Release) -> Result<Release, DecodeError> {
    let assigned = |assigned: proto::Assigned| -> Result<Assigned, DecodeError> {
        let digest = LOG.digest(&assigned.digest, "a released digest")?;
        Ok(Assigned { host: assigned.host, revision: assigned.revision, digest })
    };
    let hosts: Vec<Assigned> = release.hosts.into_iter().map(assigned).collect::<Result<_, _>>()?;
    LOG.rising(hosts.iter().map(|assigned| &assigned.host), "released hosts")?;
    Ok(Release {
        change: release.change,
        step: release.step,
        steps: release.steps.into_iter().map(read_step).collect(),
        hosts,
        base_release_index: release.base_release_index,
    })
}
