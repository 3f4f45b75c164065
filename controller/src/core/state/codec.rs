//! The replicated state as `wire::proto::replica::v1::State` and back.
//!
//! Decoding is total: what cannot be read is an error, never a part of a state.

use super::{
    Assignment, ChangeKind, ChangeRecord, ChunkRecord, IdempotencyRecord, IntentRecord, QuarantineRecord,
    ReleaseRecord, State,
};
use plan::{Digest, Facts};
use prost::Message as _;
use std::sync::Arc;
use wire::log::{ChangeState, read_guard, read_step, write_guard, write_step};
use wire::overrides::Override;
use wire::proto::agent::v1 as agent;
use wire::proto::replica::v1 as proto;
use wire::snapshot::Snapshot;
use wire::{DecodeError, Generation};

/// The format, in errors.
const WHAT: &str = "a snapshot of the controllers' state";

/// `state` alone: what its digest is made of.
pub(crate) fn encode(state: &State) -> Vec<u8> {
    to_proto(state).encode_to_vec()
}

/// A snapshot's bytes.
pub(crate) fn encode_snapshot(state: &State, applied: u64) -> Vec<u8> {
    Snapshot { applied, state: to_proto(state) }.encode()
}

/// The state of a snapshot.
pub(crate) fn decode_snapshot(bytes: &[u8]) -> Result<State, DecodeError> {
    from_proto(Snapshot::decode(bytes)?.state)
}

fn malformed(why: String) -> DecodeError {
    DecodeError::Malformed { what: WHAT, why }
}

fn to_proto(state: &State) -> proto::State {
    proto::State {
        incarnation: state.incarnation,
        cluster: state.cluster.clone(),
        operator_key: state.operator_key.clone(),
        head_revision: state.head_revision,
        fact_index: state.fact_index,
        release_index: state.release_index,
        next_change: state.last_change.saturating_add(1),
        intents: state.intents.values().map(intent_to_proto).collect(),
        fact_sets: (state.fact_sets.iter())
            .map(|(index, facts)| proto::FactSet {
                index: *index,
                links_down: facts.links_down.iter().cloned().collect(),
            })
            .collect(),
        changes: state.changes.values().map(change_to_proto).collect(),
        assignments: (state.assignments.iter())
            .map(|(host, assignment)| proto::Assignment {
                host: host.clone(),
                revision: assignment.revision,
                fact_index: assignment.fact_index,
                generation: Some(agent::Generation {
                    incarnation: assignment.generation.incarnation,
                    index: assignment.generation.index,
                }),
                digest: assignment.digest.0.to_vec(),
                classes_done: assignment.classes_done.clone(),
            })
            .collect(),
        releases: (state.releases.values())
            .map(|release| proto::ReleaseRecord {
                index: release.index,
                change: release.change,
                step: release.step,
                digest: release.digest.0.to_vec(),
                void: release.void,
                hosts: release.hosts.clone(),
            })
            .collect(),
        idempotency: (state.idempotency.iter())
            .map(|record| proto::IdempotencyRecord {
                key: record.key.clone(),
                change: record.change,
                revision: record.revision,
                body_digest: record.body_digest.to_vec(),
            })
            .collect(),
        chunks: (state.chunks.iter())
            .map(|chunk| proto::ChunkRecord {
                id: chunk.id.to_vec(),
                count: chunk.count,
                parts: chunk.parts.clone(),
            })
            .collect(),
        quarantine: (state.quarantine.iter())
            .map(|record| proto::QuarantineRecord {
                index: record.index,
                author: record.author.clone(),
                reason: record.reason.clone(),
            })
            .collect(),
    }
}

fn intent_to_proto(intent: &IntentRecord) -> proto::IntentRecord {
    proto::IntentRecord {
        revision: intent.revision,
        topology: intent.bytes.to_vec(),
        file: intent.file.clone(),
        author: intent.author.clone(),
        reason: intent.reason.clone(),
        at_unix_ms: intent.at_unix_ms,
        change: intent.change,
        r#override: intent.overrides.as_ref().map(|word| agent::Override {
            guards: word.guards.clone(),
            revision: word.revision,
            topology_digest: word.topology_digest.to_vec(),
            reason: word.reason.clone(),
            signature: word.signature.clone(),
        }),
    }
}

fn change_to_proto(change: &ChangeRecord) -> proto::ChangeRecord {
    proto::ChangeRecord {
        number: change.number,
        kind: match change.kind {
            ChangeKind::Intent => 1,
            ChangeKind::Failure => 2,
        },
        revision: change.revision,
        fact_index: change.fact_index,
        author: change.author.clone(),
        reason: change.reason.clone(),
        at_unix_ms: change.at_unix_ms,
        state: change.state.number(),
        step: change.step,
        steps: change.steps.iter().map(write_step).collect(),
        detail: change.detail.clone(),
        release: change.release,
        guards: change.guards.iter().map(write_guard).collect(),
        evidence: change.evidence.clone(),
        link: change.link.clone(),
        down: change.down,
        override_guards: change.overridden.clone(),
    }
}

fn from_proto(state: proto::State) -> Result<State, DecodeError> {
    let mut decoded = State {
        incarnation: state.incarnation,
        cluster: state.cluster,
        operator_key: state.operator_key,
        head_revision: state.head_revision,
        fact_index: state.fact_index,
        release_index: state.release_index,
        last_change: state.next_change.saturating_sub(1),
        ..State::default()
    };
    for intent in state.intents {
        decoded.intents.insert(intent.revision, intent_from_proto(intent)?);
    }
    for set in state.fact_sets {
        let facts = Facts { links_down: set.links_down.into_iter().collect() };
        decoded.fact_sets.insert(set.index, Arc::new(facts));
    }
    for change in state.changes {
        decoded.changes.insert(change.number, change_from_proto(change)?);
    }
    for assignment in state.assignments {
        let generation = assignment.generation.unwrap_or_default();
        let value = Assignment {
            revision: assignment.revision,
            fact_index: assignment.fact_index,
            generation: Generation { incarnation: generation.incarnation, index: generation.index },
            digest: digest(&assignment.digest)?,
            classes_done: assignment.classes_done,
        };
        decoded.assignments.insert(assignment.host, value);
    }
    for release in state.releases {
        let value = ReleaseRecord {
            index: release.index,
            change: release.change,
            step: release.step,
            digest: digest(&release.digest)?,
            void: release.void,
            hosts: release.hosts,
        };
        decoded.releases.insert(release.index, value);
    }
    for record in state.idempotency {
        let body_digest = digest(&record.body_digest)?.0;
        let (key, change, revision) = (record.key, record.change, record.revision);
        decoded.idempotency.push(IdempotencyRecord { key, change, revision, body_digest });
    }
    for chunk in state.chunks {
        let id = fixed("the id of a large entry", &chunk.id)?;
        decoded.chunks.push(ChunkRecord { id, count: chunk.count, parts: chunk.parts });
    }
    for proto::QuarantineRecord { index, author, reason } in state.quarantine {
        decoded.quarantine.push(QuarantineRecord { index, author, reason });
    }
    Ok(decoded)
}

fn intent_from_proto(intent: proto::IntentRecord) -> Result<IntentRecord, DecodeError> {
    let revision = intent.revision;
    let topology = topology::read(&intent.file, &intent.topology)
        .topology
        .ok_or_else(|| malformed(format!("the topology of revision {revision} has errors")))?;
    let overrides = match intent.r#override {
        None => None,
        Some(word) => Some(Override {
            guards: word.guards,
            revision: word.revision,
            topology_digest: fixed("the digest of a topology", &word.topology_digest)?,
            reason: word.reason,
            signature: word.signature,
        }),
    };
    Ok(IntentRecord {
        revision,
        topology_digest: *blake3::hash(&intent.topology).as_bytes(),
        bytes: Arc::new(intent.topology),
        topology: Arc::new(topology),
        file: intent.file,
        author: intent.author,
        reason: intent.reason,
        at_unix_ms: intent.at_unix_ms,
        change: intent.change,
        overrides,
    })
}

fn change_from_proto(change: proto::ChangeRecord) -> Result<ChangeRecord, DecodeError> {
    let kind = match change.kind {
        1 => ChangeKind::Intent,
        2 => ChangeKind::Failure,
        other => return Err(malformed(format!("change {} is of kind {other}", change.number))),
    };
    let state = ChangeState::from_number(change.state)
        .ok_or_else(|| malformed(format!("change {} is in state {}", change.number, change.state)))?;
    Ok(ChangeRecord {
        number: change.number,
        kind,
        revision: change.revision,
        fact_index: change.fact_index,
        author: change.author,
        reason: change.reason,
        at_unix_ms: change.at_unix_ms,
        state,
        step: change.step,
        steps: change.steps.into_iter().map(read_step).collect(),
        detail: change.detail,
        release: change.release,
        guards: change.guards.into_iter().map(read_guard).collect(),
        evidence: change.evidence,
        link: change.link,
        down: change.down,
        overridden: change.override_guards,
    })
}

fn digest(bytes: &[u8]) -> Result<Digest, DecodeError> {
    Ok(Digest(fixed("a digest", bytes)?))
}

fn fixed<const N: usize>(what: &str, bytes: &[u8]) -> Result<[u8; N], DecodeError> {
    bytes.try_into().map_err(|_| malformed(format!("{what} has {} bytes instead of {N}", bytes.len())))
}
