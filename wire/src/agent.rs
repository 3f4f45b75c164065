//! The agent protocol as values: what an agent says to a controller and the other way round.

use crate::convert::Format;
use crate::overrides::Override;
use crate::program::{read_program, read_table, write_program, write_table};
use crate::proto::agent::v1::{self as proto, to_agent as down, to_controller as up};
use crate::{DecodeError, Generation};
use plan::{Digest, PrefixTable, Program};
use prost::Message;
use std::sync::Arc;

/// Version of this protocol.
pub const PROTOCOL: u32 = 1;

/// What an agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Generation of the program in force.
    pub generation: Generation,
    /// Revision of the topology that it was made from.
    pub revision: u64,
    /// The program's digest.
    pub digest: Digest,
    /// Digest of the prefix table.
    pub table_digest: Digest,
    /// Digest of program and overlay as read back from the kernel; equal to `digest` when the kernel holds
    /// the program and nothing is missing.
    pub effective_digest: Digest,
    /// On trial: without a round trip to a controller under it, the host goes back to the program before.
    pub unconfirmed: bool,
}

/// Agent to controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToController {
    /// First message of a session.
    Hello(Hello),
    /// On a fixed beat.
    Beat(Beat),
    /// Answer to an offer.
    Ack(Ack),
    /// Links changed; all links of the host, sent at once.
    Links(Vec<LinkState>),
}

/// First message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The host's name.
    pub host: String,
    /// The agent's version.
    pub version: String,
    /// What is in force; `None`: no program yet.
    pub held: Option<Held>,
    /// Highest generation ever accepted.
    pub highest: Generation,
}

/// Sent on a fixed beat, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What is in force.
    pub held: Option<Held>,
    /// Highest generation ever accepted.
    pub highest: Generation,
    /// All links of the host, with counters.
    pub links: Vec<LinkState>,
    /// Objects of the program by state; all zero while a program is being installed.
    pub objects: ObjectCounts,
    /// Object messages sent to the kernel since the agent started.
    pub writes_total: u64,
    /// Milliseconds since the kernel was last read.
    pub applied_age_ms: u64,
    /// Pinned by a local command.
    pub pinned: bool,
    /// Frozen by a local command.
    pub frozen: bool,
    /// Grows with every program that comes in force; [`ToAgent::Pulse`] names the highest one that was read.
    pub probe: u64,
    /// Who pinned or froze the host, why and since when; empty when nobody did.
    pub hold: String,
}

/// One interface as its host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Interface name.
    pub interface: String,
    /// Up and with carrier.
    pub carrier: bool,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Whether the other end is alive, as liveness (BFD) says; `None`: not known.
    pub neighbour: Option<bool>,
}

/// Objects of the program in force, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    /// In the kernel as they should be.
    pub installed: u64,
    /// Waiting for a link, an address or another object.
    pub pending: u64,
    /// Refused by the kernel.
    pub refused: u64,
}

/// Answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The offer's generation.
    pub generation: Generation,
    /// The offer's digest.
    pub digest: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// What the kernel holds now.
    pub effective_digest: Option<Digest>,
    /// Objects that are not installed.
    pub failures: Vec<ObjectFailure>,
    /// Object messages sent to the kernel for this offer.
    pub writes: u64,
    /// The program is in force, on trial; the answer is given again when it is confirmed.
    pub unconfirmed: bool,
}

/// What came of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel holds the program, but for objects that wait for a dead link.
    Applied,
    /// Same digest as before: the generation was adopted, nothing was written.
    Unchanged,
    /// Older than what this host accepted before.
    Stale {
        /// The fence.
        highest: Generation,
    },
    /// Same generation, other digest.
    Conflict,
    /// The agent's own guard said no.
    RefusedByGuard {
        /// Its name.
        guard: String,
        /// What the program would do.
        value: u64,
        /// What it may do.
        limit: u64,
    },
    /// The program has parts that this agent cannot install.
    Unsupported {
        /// Which.
        detail: String,
    },
    /// The kernel refused objects (listed in `failures`).
    Failed,
    /// The offer left the table out and the agent does not hold it.
    NeedTable,
    /// The host was pinned by a local command and stays on what it runs.
    Pinned {
        /// By whom, why, since when.
        detail: String,
    },
    /// The host was frozen by a local command: its agent writes nothing.
    Frozen {
        /// By whom, why, since when.
        detail: String,
    },
    /// The program was in force, and the host went back to the one before by itself.
    Reverted {
        /// Why.
        detail: String,
    },
}

/// One object that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFailure {
    /// The object in words: `route 10.1.0.0/24 metric 100`.
    pub object: String,
    /// The kernel's own text with the errno, or what the object waits for.
    pub reason: String,
    /// Waits for an event that can cure it.
    pub pending: bool,
}

/// Controller to agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// Answer to `Hello`.
    Welcome {
        /// Id of the controller.
        controller: u64,
        /// The beat that it wants, in milliseconds.
        beat_ms: u32,
    },
    /// A program.
    Offer(Box<Offer>),
    /// The controller's half of the beat.
    Pulse {
        /// What this host is assigned.
        assigned: Option<(Generation, Digest)>,
        /// The highest [`Beat::probe`] that was read in this session; 0: none.
        echo: u64,
    },
}

/// A program with its right to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Generation of the release.
    pub generation: Generation,
    /// Revision of the topology.
    pub revision: u64,
    /// The program's digest.
    pub digest: Digest,
    /// Digest of the prefix table.
    pub table_digest: Digest,
    /// The prefix table; `None` when the agent holds it already.
    pub table: Option<Arc<PrefixTable>>,
    /// The host's part.
    pub program: Arc<Program>,
    /// Commit-confirm is armed.
    pub unconfirmed: bool,
    /// Routes that may go beyond the agent's own guard; 0: none.
    pub allowed_removals: u64,
    /// The operator's signed word for a refused change.
    pub overrides: Option<Override>,
    /// With `unconfirmed`: the time for the round trip once the program is in force, in milliseconds.
    pub confirm_within_ms: u32,
    /// Where it comes from, for people on the host.
    pub origin: Origin,
}

/// Where a program comes from, for people. Takes no part in any digest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The change that released it; 0: not known.
    pub change: u64,
    /// The topology's files with the number of lines before each, sorted by that.
    pub files: Vec<(String, u32)>,
    /// Line of each class of the prefix table, in its order, counted over all files; 0: not known. Empty: of none.
    pub lines: Vec<u32>,
}

impl Origin {
    /// File and line, from 1, of the table's class at this place.
    pub fn place(&self, class: usize) -> Option<(&str, u32)> {
        let line = self.lines.get(class).copied().filter(|line| *line > 0)?;
        let (name, before) = self.files.iter().rev().find(|(_, before)| *before < line)?;
        Some((name, line - before))
    }
}

const UP: Format = Format("agent message");
const DOWN: Format = Format("controller message");

impl ToController {
    /// Bytes of protocol version 1.
    pub fn encode(&self) -> Vec<u8> {
        proto::ToController::from(self).encode_to_vec()
    }

    /// Reads what [`ToController::encode`] writes.
    ///
    /// # Errors
    /// The bytes are not such a message, or of a newer protocol.
    pub fn decode(bytes: &[u8]) -> Result<ToController, DecodeError> {
        UP.message::<proto::ToController>(bytes)?.try_into()
    }
}

impl ToAgent {
    /// Bytes of protocol version 1.
    pub fn encode(&self) -> Vec<u8> {
        proto::ToAgent::from(self).encode_to_vec()
    }

    /// Reads what [`ToAgent::encode`] writes.
    ///
    /// # Errors
    /// The bytes are not such a message, of a newer protocol, or carry a part that no agent of this version installs.
    pub fn decode(bytes: &[u8]) -> Result<ToAgent, DecodeError> {
        DOWN.message::<proto::ToAgent>(bytes)?.try_into()
    }
}

pub(crate) fn generation(generation: Generation) -> Option<proto::Generation> {
    Some(proto::Generation { incarnation: generation.incarnation, index: generation.index })
}

pub(crate) fn read_generation(
    format: Format,
    part: Option<proto::Generation>,
    name: &str,
) -> Result<Generation, DecodeError> {
    let part = format.need(part, name)?;
    Ok(Generation { incarnation: part.incarnation, index: part.index })
}

impl From<&ToController> for proto::ToController {
    fn from(message: &ToController) -> proto::ToController {
        use up::Body;
        let body = match message {
            ToController::Hello(hello) => Body::Hello(proto::Hello {
                protocol: PROTOCOL,
                host: hello.host.clone(),
                version: hello.version.clone(),
                held: hello.held.as_ref().map(held),
                highest: generation(hello.highest),
            }),
            ToController::Beat(beat) => Body::Beat(proto::Beat {
                held: beat.held.as_ref().map(held),
                highest: generation(beat.highest),
                links: beat.links.iter().map(link).collect(),
                objects: Some(proto::ObjectCounts {
                    installed: beat.objects.installed,
                    pending: beat.objects.pending,
                    refused: beat.objects.refused,
                }),
                writes_total: beat.writes_total,
                applied_age_ms: beat.applied_age_ms,
                pinned: beat.pinned,
                frozen: beat.frozen,
                probe: beat.probe,
                hold: beat.hold.clone(),
            }),
            ToController::Ack(ack) => Body::Ack(write_ack(ack)),
            ToController::Links(links) => {
                Body::Links(proto::Links { links: links.iter().map(link).collect() })
            }
        };
        proto::ToController { body: Some(body) }
    }
}

impl TryFrom<proto::ToController> for ToController {
    type Error = DecodeError;

    fn try_from(message: proto::ToController) -> Result<ToController, DecodeError> {
        use up::Body;
        Ok(match UP.need(message.body, "its body")? {
            Body::Hello(hello) => {
                UP.version(hello.protocol, PROTOCOL)?;
                ToController::Hello(Hello {
                    host: hello.host,
                    version: hello.version,
                    held: hello.held.map(read_held).transpose()?,
                    highest: read_generation(UP, hello.highest, "hello.highest")?,
                })
            }
            Body::Beat(beat) => {
                let objects = UP.need(beat.objects, "beat.objects")?;
                let (installed, pending, refused) = (objects.installed, objects.pending, objects.refused);
                ToController::Beat(Beat {
                    held: beat.held.map(read_held).transpose()?,
                    highest: read_generation(UP, beat.highest, "beat.highest")?,
                    links: beat.links.into_iter().map(read_link).collect(),
                    objects: ObjectCounts { installed, pending, refused },
                    writes_total: beat.writes_total,
                    applied_age_ms: beat.applied_age_ms,
                    pinned: beat.pinned,
                    frozen: beat.frozen,
                    probe: beat.probe,
                    hold: beat.hold,
                })
            }
            Body::Ack(ack) => ToController::Ack(read_ack(ack)?),
            Body::Links(links) => ToController::Links(links.links.into_iter().map(read_link).collect()),
        })
    }
}

fn held(held: &Held) -> proto::Held {
    proto::Held {
        generation: generation(held.generation),
        revision: held.revision,
        digest: held.digest.0.to_vec(),
        table_digest: held.table_digest.0.to_vec(),
        effective_digest: held.effective_digest.0.to_vec(),
        unconfirmed: held.unconfirmed,
    }
}

fn read_held(held: proto::Held) -> Result<Held, DecodeError> {
    Ok(Held {
        generation: read_generation(UP, held.generation, "held.generation")?,
        revision: held.revision,
        digest: UP.digest(&held.digest, "held.digest")?,
        table_digest: UP.digest(&held.table_digest, "held.table_digest")?,
        effective_digest: UP.digest(&held.effective_digest, "held.effective_digest")?,
        unconfirmed: held.unconfirmed,
    })
}

fn link(link: &LinkState) -> proto::LinkState {
    let LinkState { interface, carrier, rx_packets, tx_packets, neighbour } = link.clone();
    let neighbour = match neighbour {
        None => proto::Alive::Unknown,
        Some(true) => proto::Alive::Yes,
        Some(false) => proto::Alive::No,
    };
    proto::LinkState { interface, carrier, rx_packets, tx_packets, neighbour: neighbour.into() }
}

fn read_link(link: proto::LinkState) -> LinkState {
    // What a later version says otherwise is not known here.
    let neighbour = match link.neighbour() {
        proto::Alive::Unknown => None,
        proto::Alive::Yes => Some(true),
        proto::Alive::No => Some(false),
    };
    let proto::LinkState { interface, carrier, rx_packets, tx_packets, .. } = link;
    LinkState { interface, carrier, rx_packets, tx_packets, neighbour }
}

fn write_ack(ack: &Ack) -> proto::Ack {
    let mut message = proto::Ack {
        generation: generation(ack.generation),
        digest: ack.digest.0.to_vec(),
        effective_digest: ack.effective_digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
        writes: ack.writes,
        unconfirmed: ack.unconfirmed,
        ..proto::Ack::default()
    };
    for ObjectFailure { object, reason, pending } in &ack.failures {
        let (object, reason) = (object.clone(), reason.clone());
        message.failures.push(proto::ObjectFailure { object, reason, pending: *pending });
    }
    let outcome = match &ack.outcome {
        Outcome::Applied => proto::Outcome::Applied,
        Outcome::Unchanged => proto::Outcome::Unchanged,
        Outcome::Stale { highest } => {
            message.detail = highest.to_string();
            proto::Outcome::Stale
        }
        Outcome::Conflict => proto::Outcome::Conflict,
        Outcome::RefusedByGuard { guard, value, limit } => {
            (message.guard, message.guard_value, message.guard_limit) = (guard.clone(), *value, *limit);
            proto::Outcome::RefusedGuard
        }
        Outcome::Unsupported { detail } => {
            message.detail = detail.clone();
            proto::Outcome::Unsupported
        }
        Outcome::Failed => proto::Outcome::Failed,
        Outcome::NeedTable => proto::Outcome::NeedTable,
        Outcome::Pinned { detail } => {
            message.detail = detail.clone();
            proto::Outcome::Pinned
        }
        Outcome::Frozen { detail } => {
            message.detail = detail.clone();
            proto::Outcome::Frozen
        }
        Outcome::Reverted { detail } => {
            message.detail = detail.clone();
            proto::Outcome::Reverted
        }
    };
    message.outcome = outcome.into();
    message
}

fn read_ack(ack: proto::Ack) -> Result<Ack, DecodeError> {
    let outcome = match ack.outcome() {
        proto::Outcome::Unspecified => return Err(UP.bad(format!("ack.outcome is {}", ack.outcome))),
        proto::Outcome::Applied => Outcome::Applied,
        proto::Outcome::Unchanged => Outcome::Unchanged,
        proto::Outcome::Stale => {
            let highest = ack.detail.parse().map_err(|_| UP.bad("ack.detail is not a generation"))?;
            Outcome::Stale { highest }
        }
        proto::Outcome::Conflict => Outcome::Conflict,
        proto::Outcome::RefusedGuard => {
            let (guard, value, limit) = (ack.guard, ack.guard_value, ack.guard_limit);
            Outcome::RefusedByGuard { guard, value, limit }
        }
        proto::Outcome::Unsupported => Outcome::Unsupported { detail: ack.detail },
        proto::Outcome::Failed => Outcome::Failed,
        proto::Outcome::NeedTable => Outcome::NeedTable,
        proto::Outcome::Pinned => Outcome::Pinned { detail: ack.detail },
        proto::Outcome::Frozen => Outcome::Frozen { detail: ack.detail },
        proto::Outcome::Reverted => Outcome::Reverted { detail: ack.detail },
    };
    let failure = |failure: proto::ObjectFailure| {
        let proto::ObjectFailure { object, reason, pending } = failure;
        ObjectFailure { object, reason, pending }
    };
    Ok(Ack {
        generation: read_generation(UP, ack.generation, "ack.generation")?,
        digest: UP.digest(&ack.digest, "ack.digest")?,
        outcome,
        effective_digest: UP.optional_digest(&ack.effective_digest, "ack.effective_digest")?,
        failures: ack.failures.into_iter().map(failure).collect(),
        writes: ack.writes,
        unconfirmed: ack.unconfirmed,
    })
}

impl From<&ToAgent> for proto::ToAgent {
    fn from(message: &ToAgent) -> proto::ToAgent {
        use down::Body;
        let body = match message {
            ToAgent::Welcome { controller, beat_ms } => Body::Welcome(proto::Welcome {
                protocol: PROTOCOL,
                controller: *controller,
                beat_ms: *beat_ms,
            }),
            ToAgent::Offer(offer) => Body::Offer(write_offer(offer)),
            ToAgent::Pulse { assigned, echo } => Body::Pulse(proto::Pulse {
                generation: assigned.and_then(|(assigned, _)| generation(assigned)),
                digest: assigned.map(|(_, digest)| digest.0.to_vec()).unwrap_or_default(),
                echo: *echo,
            }),
        };
        proto::ToAgent { body: Some(body) }
    }
}

impl TryFrom<proto::ToAgent> for ToAgent {
    type Error = DecodeError;

    fn try_from(message: proto::ToAgent) -> Result<ToAgent, DecodeError> {
        use down::Body;
        Ok(match DOWN.need(message.body, "its body")? {
            Body::Welcome(welcome) => {
                DOWN.version(welcome.protocol, PROTOCOL)?;
                ToAgent::Welcome { controller: welcome.controller, beat_ms: welcome.beat_ms }
            }
            Body::Offer(offer) => ToAgent::Offer(Box::new(read_offer(offer)?)),
            Body::Pulse(pulse) => {
                let assigned = match pulse.generation {
                    None if pulse.digest.is_empty() => None,
                    generation => Some((
                        read_generation(DOWN, generation, "pulse.generation")?,
                        DOWN.digest(&pulse.digest, "pulse.digest")?,
                    )),
                };
                ToAgent::Pulse { assigned, echo: pulse.echo }
            }
        })
    }
}

/// Reads a controller's message. One that cannot be read but is recognized as an offer comes back with the
/// acknowledgement that tells the controller so: a change must not wait for an answer that never comes.
pub fn read_to_agent(message: proto::ToAgent) -> Result<ToAgent, (DecodeError, Option<Box<Ack>>)> {
    let offered = match &message.body {
        Some(down::Body::Offer(offer)) => offer.generation.zip(Some(offer.digest.clone())),
        _ => None,
    };
    ToAgent::try_from(message).map_err(|why| {
        let ack = offered.and_then(|(generation, digest)| {
            let generation = read_generation(DOWN, Some(generation), "offer.generation").ok()?;
            let digest = DOWN.digest(&digest, "offer.digest").ok()?;
            let outcome = Outcome::Unsupported { detail: why.to_string() };
            Some(Box::new(Ack {
                generation,
                digest,
                outcome,
                effective_digest: None,
                failures: Vec::new(),
                writes: 0,
                unconfirmed: false,
            }))
        });
        (why, ack)
    })
}

fn write_offer(offer: &Offer) -> proto::Offer {
    proto::Offer {
        generation: generation(offer.generation),
        revision: offer.revision,
        digest: offer.digest.0.to_vec(),
        table_digest: offer.table_digest.0.to_vec(),
        table: offer.table.as_deref().map(write_table),
        program: Some(write_program(&offer.program)),
        unconfirmed: offer.unconfirmed,
        allowed_removals: offer.allowed_removals,
        r#override: offer.overrides.as_ref().map(write_override),
        confirm_within_ms: offer.confirm_within_ms,
        origin: write_origin(&offer.origin),
    }
}

/// Nothing for an origin that says nothing.
pub(crate) fn write_origin(origin: &Origin) -> Option<proto::Origin> {
    let file =
        |(name, before): &(String, u32)| proto::SourceFile { name: name.clone(), lines_before: *before };
    (*origin != Origin::default()).then(|| proto::Origin {
        change: origin.change,
        files: origin.files.iter().map(file).collect(),
        lines: origin.lines.clone(),
    })
}

pub(crate) fn read_origin(format: Format, origin: Option<proto::Origin>) -> Result<Origin, DecodeError> {
    let Some(origin) = origin else { return Ok(Origin::default()) };
    format.rising(origin.files.iter().map(|file| file.lines_before), "the origin's files")?;
    let files = origin.files.into_iter().map(|file| (file.name, file.lines_before)).collect();
    Ok(Origin { change: origin.change, files, lines: origin.lines })
}

fn read_offer(offer: proto::Offer) -> Result<Offer, DecodeError> {
    Ok(Offer {
        generation: read_generation(DOWN, offer.generation, "offer.generation")?,
        revision: offer.revision,
        digest: DOWN.digest(&offer.digest, "offer.digest")?,
        table_digest: DOWN.digest(&offer.table_digest, "offer.table_digest")?,
        table: offer.table.map(read_table).transpose()?.map(Arc::new),
        program: Arc::new(read_program(DOWN.need(offer.program, "offer.program")?)?),
        unconfirmed: offer.unconfirmed,
        allowed_removals: offer.allowed_removals,
        overrides: offer.r#override.map(|word| read_override(DOWN, word)).transpose()?,
        confirm_within_ms: offer.confirm_within_ms,
        origin: read_origin(DOWN, offer.origin)?,
    })
}

pub(crate) fn write_override(word: &Override) -> proto::Override {
    proto::Override {
        guards: word.guards.clone(),
        revision: word.revision,
        topology_digest: word.topology_digest.to_vec(),
        reason: word.reason.clone(),
        signature: word.signature.clone(),
    }
}

pub(crate) fn read_override(format: Format, word: proto::Override) -> Result<Override, DecodeError> {
    format.rising(&word.guards, "the guards of the override")?;
    Ok(Override {
        topology_digest: format.array(&word.topology_digest, "override.topology_digest")?,
        guards: word.guards,
        revision: word.revision,
        reason: word.reason,
        signature: word.signature,
    })
}
