//! Agents' sessions on this replica: who gets which program, and when.
//!
//! A program is offered only when a majority of the controllers computed the same, this replica among them, and
//! never when the agent has accepted something newer.

use crate::core::event::{AgentSession, Effect, Millis};
use crate::core::state::{Assignment, ChangeKind, IntentRecord};
use crate::core::{Controller, votes};
use plan::{Digest, Network};
use std::sync::Arc;
use wire::Generation;
use wire::agent::{Offer, Origin, Outcome, ToAgent, ToController};
use wire::peer::PeerBody;

/// Beats without a word about an offer after which it is sent again.
const OFFER_AGAIN_BEATS: u64 = 10;

/// One agent's stream.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) host: String,
    /// It said hello.
    greeted: bool,
    /// What was offered last, and when.
    offered: Option<(Generation, Millis)>,
    /// It answered that offer.
    answered: bool,
    /// It does not hold the prefix table that it said it holds.
    needs_table: bool,
    /// The highest probe of its beats: the pulse names it.
    echo: u64,
}

/// Where the programs of one revision come from, made once for all hosts.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    revision: u64,
    table: Option<Digest>,
    origin: Origin,
}

impl Origins {
    /// The origin of a program of `intent`, released by `change`.
    fn of(&mut self, intent: &IntentRecord, network: &Network, change: u64) -> Origin {
        if (self.revision, self.table) != (intent.revision, Some(network.table_digest)) {
            let topology = &intent.topology;
            let line = |name: &str| topology.node_index(name).map_or(0, |node| topology.node(node).line);
            let lines = network.table.classes.iter().map(|class| line(&class.name)).collect();
            let files = topology.sources.files().to_vec();
            *self = Origins {
                revision: intent.revision,
                table: Some(network.table_digest),
                origin: Origin { change: 0, files, lines },
            };
        }
        Origin { change, ..self.origin.clone() }
    }
}

impl Controller {
    /// A stream began.
    pub(crate) fn agent_opened(
        &mut self,
        session: AgentSession,
        host: String,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        if let Some(reason) = &self.outvoted {
            out.push(Effect::CloseAgent { session, reason: reason.clone() });
            return;
        }
        if self.sessions.len() >= self.config.limits.sessions {
            out.push(Effect::CloseAgent { session, reason: "too many agents here: try another".to_string() });
            return;
        }
        let older: Vec<AgentSession> =
            self.sessions.iter().filter(|(_, other)| other.host == host).map(|(id, _)| *id).collect();
        for id in older {
            self.sessions.remove(&id);
            let reason = "a newer session of the same host began".to_string();
            out.push(Effect::CloseAgent { session: id, reason });
        }
        self.fleet.session(&host, self.config.id, true, now);
        self.observe(&host, true, None, out);
        let fresh =
            Session { host, greeted: false, offered: None, answered: false, needs_table: false, echo: 0 };
        self.sessions.insert(session, fresh);
    }

    /// A stream ended.
    pub(crate) fn agent_closed(&mut self, session: AgentSession, now: Millis, out: &mut Vec<Effect>) {
        let Some(Session { host, .. }) = self.sessions.remove(&session) else { return };
        self.fleet.session(&host, self.config.id, false, now);
        self.observe(&host, false, None, out);
    }

    /// An agent speaks.
    pub(crate) fn agent_says(
        &mut self,
        session: AgentSession,
        message: ToController,
        now: Millis,
        out: &mut Vec<Effect>,
    ) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let host = known.host.clone();
        match &message {
            ToController::Hello(hello) if hello.host != host => {
                let reason = format!(
                    "the certificate is one for {host}, the agent says that it is {}: correct --host or the \
                     certificate",
                    hello.host
                );
                out.push(Effect::CloseAgent { session, reason });
                self.agent_closed(session, now, out);
                return;
            }
            ToController::Hello(_) => {
                known.greeted = true;
                known.offered = None;
                let (controller, beat_ms) = (self.config.id, self.config.beat_ms);
                out.push(Effect::SendAgent { session, message: ToAgent::Welcome { controller, beat_ms } });
            }
            ToController::Ack(ack) => {
                if known.offered.is_some_and(|(generation, _)| generation == ack.generation) {
                    known.answered = true;
                    if ack.outcome == Outcome::NeedTable && !known.needs_table {
                        known.needs_table = true;
                        known.offered = None;
                    }
                }
            }
            ToController::Beat(beat) => {
                let held_before =
                    self.fleet.host(&host).is_some_and(|view| (view.pinned, view.frozen) != (false, false));
                if held_before && !beat.pinned && !beat.frozen {
                    // The person on the host let go of it.
                    known.offered = None;
                }
                if beat.probe > known.echo {
                    known.echo = beat.probe;
                    let pulse = self.pulse_of(session);
                    out.extend(pulse.map(|message| Effect::SendAgent { session, message }));
                }
            }
            ToController::Links(_) => {}
        }
        self.fleet.heard(&host, self.config.id, &message, now);
        self.observe(&host, true, Some(message), out);
        self.offer(session, now, out);
    }

    /// Tells the peers what an agent said: any of them may lead, and any answers about the fleet.
    fn observe(&self, host: &str, connected: bool, message: Option<ToController>, out: &mut Vec<Effect>) {
        let body = PeerBody::Observation { host: host.to_string(), connected, message };
        self.broadcast(body, out);
    }

    /// Offers to every agent here what it should run and does not.
    pub(crate) fn offer_all(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let sessions: Vec<AgentSession> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.offer(session, now, out);
        }
    }

    fn offer(&mut self, session: AgentSession, now: Millis, out: &mut Vec<Effect>) {
        let Some(known) = self.sessions.get(&session).filter(|known| known.greeted) else { return };
        let Some((assignment, network)) = self.served(&known.host) else { return };
        let (assignment, network) = (assignment.clone(), network.clone());
        let Some(view) = self.fleet.host(&known.host) else { return };
        let held = view.held.as_ref();
        if held.is_some_and(|held| held.generation >= assignment.generation)
            || view.highest > assignment.generation
        {
            // It runs this, or it holds something that is not ours to replace: shown as an alarm.
            return;
        }
        let again_ms = OFFER_AGAIN_BEATS * u64::from(self.config.beat_ms);
        let fresh = known.offered.is_some_and(|(generation, at)| {
            generation == assignment.generation && (known.answered || now.0.saturating_sub(at.0) < again_ms)
        });
        if fresh {
            return;
        }
        let Some((program, digest)) = network.host(&known.host) else { return };
        let holds_table =
            held.is_some_and(|held| held.table_digest == network.table_digest) && !known.needs_table;
        let (unconfirmed, confirm_within_ms) = self.trial(&assignment);
        let release = self.state.releases.get(&assignment.generation.index);
        let change = release.map_or(0, |release| release.change);
        let intent = self.state.intents.get(&assignment.revision);
        let origin = intent.map(|intent| self.origins.of(intent, &network, change)).unwrap_or_default();
        let offer = Offer {
            generation: assignment.generation,
            revision: assignment.revision,
            digest,
            table_digest: network.table_digest,
            table: (!holds_table).then(|| network.table.clone()),
            program: program.clone(),
            unconfirmed,
            allowed_removals: 0,
            overrides: intent.and_then(|intent| intent.overrides.clone()),
            confirm_within_ms,
            origin,
        };
        tracing::info!(host = %known.host, generation = %assignment.generation, digest = %digest.short(), "offer");
        out.push(Effect::SendAgent { session, message: ToAgent::Offer(Box::new(offer)) });
        let generation = assignment.generation;
        if let Some(known) = self.sessions.get_mut(&session) {
            known.offered = Some((generation, now));
            known.answered = false;
            known.needs_table = false;
        }
    }

    /// Whether an assignment is offered on trial, and the time for it. What people want is: a host that it cuts off comes
    /// back by itself. A reaction to a failure and a link's return are not: going back would undo what they answer.
    fn trial(&self, assignment: &Assignment) -> (bool, u32) {
        let release = self.state.releases.get(&assignment.generation.index);
        let change = release.and_then(|release| self.state.changes.get(&release.change));
        let wanted = change.is_some_and(|change| change.kind == ChangeKind::Intent);
        let within_ms = (self.state.topology(assignment.revision))
            .map_or(0, |topology| u32::try_from(topology.safety.confirm_within_ms).unwrap_or(u32::MAX));
        if wanted { (true, within_ms) } else { (false, 0) }
    }

    /// What may be served to `host`: its assignment and the programs that hold it.
    pub(crate) fn served(&self, host: &str) -> Option<(&Assignment, &Arc<Network>)> {
        if self.outvoted.is_some() {
            return None;
        }
        let assignment = self.state.assignments.get(host)?;
        if !self.decided(assignment.generation.index) {
            return None;
        }
        let facts = self.state.facts(assignment.fact_index);
        let network = self.programs.peek(&self.state.key(assignment.revision, &facts)?)?;
        let (_, digest) = network.host(host)?;
        (digest == assignment.digest).then_some((assignment, network))
    }

    /// Whether a majority computed what the release says.
    pub(crate) fn decided(&self, index: u64) -> bool {
        match self.state.releases.get(&index) {
            None => true,
            Some(release) if release.void => false,
            Some(release) => {
                let verdict = self.votes.verdict(index, self.majority());
                verdict == votes::Verdict::Decided(release.digest) || self.state.settled(release)
            }
        }
    }

    /// The controllers' half of the beat.
    pub(crate) fn pulse(&mut self, out: &mut Vec<Effect>) {
        for session in self.sessions.keys() {
            let pulse = self.pulse_of(*session);
            out.extend(pulse.map(|message| Effect::SendAgent { session: *session, message }));
        }
    }

    fn pulse_of(&self, session: AgentSession) -> Option<ToAgent> {
        let known = self.sessions.get(&session).filter(|known| known.greeted)?;
        let assigned: Option<(Generation, Digest)> =
            self.served(&known.host).map(|(assignment, _)| (assignment.generation, assignment.digest));
        Some(ToAgent::Pulse { assigned, echo: known.echo })
    }

    /// Ends all sessions: this replica serves nobody.
    pub(crate) fn close_all(&mut self, reason: &str, now: Millis, out: &mut Vec<Effect>) {
        let sessions: Vec<AgentSession> = self.sessions.keys().copied().collect();
        for session in sessions {
            out.push(Effect::CloseAgent { session, reason: reason.to_string() });
            self.agent_closed(session, now, out);
        }
    }
}
