//! One agent's life: reads its ledger, then its kernel, makes the kernel hold the ledger's program, and only then looks for
//! a controller.
//!
//! One piece of work at a time: save the ledger, read the kernel, write to it, read again. Whatever comes in between is
//! kept and done next. Missing information never removes anything: a reading that failed is tried again, never taken for an
//! empty one; without a program nothing is written at all.

use crate::core::config::Config;
use crate::core::confirm::Confirm;
use crate::core::event::{Effect, Event, Millis};
use crate::core::guard::{self, Limits, Verdict};
use crate::core::health::Health;
use crate::core::hold;
use crate::core::kernel::{Actual, Link, OpResults};
use crate::core::ledger::{self, Fence};
use crate::core::local;
use crate::core::memory::{Memory, Purpose};
use crate::core::questions::Questions;
use crate::core::reconcile::{self, Reconciliation, Waiting, reconcile};
use plan::objects::RouteKey;
use plan::{Digest, Objects};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info, warn};
use wire::agent::{
    Ack, Beat, Held, Hello, LinkState, ObjectCounts, ObjectFailure, Offer, Outcome, ToAgent, ToController,
};
use wire::ledger::Ledger;

/// Rounds of write and read-back for one reason; more would be a fight with the kernel.
const ROUNDS_MAX: u32 = 4;
/// Between two attempts to read a kernel that could not be read, in milliseconds.
const READ_AGAIN_MS: u64 = 200;
/// Between two attempts to install what the kernel refused, in milliseconds.
const REFUSED_AGAIN_MS: u64 = 5_000;
/// Objects listed in an acknowledgement.
const FAILURES_MAX: usize = 100;

/// The machine.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) ledger: Ledger,
    /// Objects of the running program.
    pub(crate) desired: Option<Objects>,
    pub(crate) links: BTreeMap<String, Link>,
    /// Links were told of since the last reading of the kernel began: they are newer than what it finds.
    links_told: bool,
    pub(crate) work: Work,
    /// The newest offer that has not been looked at.
    pub(crate) waiting_offer: Option<Box<Offer>>,
    /// The adopted offer that is being installed, and writes made for it.
    pub(crate) installing: Option<Installing>,
    /// What the disk said, and what is to be told to whom once a ledger is on it.
    pub(crate) memory: Memory,
    /// Whether a controller answered under the program in force.
    pub(crate) confirm: Confirm,
    /// What people and offers wait for.
    pub(crate) questions: Questions,
    /// The kernel must be looked at again, not before this time.
    look_at: Option<Millis>,
    pub(crate) last_right: Option<Millis>,
    pub(crate) found: Found,
    /// How well the kernel is seen.
    pub(crate) health: Health,
    pub(crate) started: bool,
    pub(crate) connected: bool,
    pub(crate) controller: Option<u64>,
    pub(crate) writes_total: u64,
    pub(crate) beat_at: Millis,
    audit_at: Millis,
    next_number: u64,
}

/// What the last complete look at the kernel found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) counts: ObjectCounts,
    pub(crate) pending: Vec<Waiting>,
    pub(crate) refused: Vec<Waiting>,
    /// Default routes of others in the main table.
    pub(crate) foreign_defaults: BTreeSet<RouteKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installing {
    generation: wire::Generation,
    digest: Digest,
    writes: u64,
}

#[derive(Debug, Default)]
pub(crate) enum Work {
    /// Before the ledger was read.
    #[default]
    Unborn,
    Idle,
    /// The ledger is on its way to the disk, with an offer to install afterwards or without.
    Saving {
        save: u64,
        next: Box<Ledger>,
        offer: Option<Installing>,
    },
    Reading {
        round: u32,
        refusals: BTreeMap<String, String>,
    },
    /// A reading failed.
    Blind {
        again: Millis,
    },
    Writing {
        batch: u64,
        round: u32,
        objects: Vec<String>,
        writes: u64,
        refusals: BTreeMap<String, String>,
    },
}

impl Agent {
    /// An agent before it has read anything.
    pub fn new(config: Config) -> Agent {
        Agent {
            ledger: ledger::blank(&config.host),
            config,
            desired: None,
            links: BTreeMap::new(),
            links_told: false,
            work: Work::Unborn,
            waiting_offer: None,
            installing: None,
            memory: Memory::default(),
            confirm: Confirm::default(),
            questions: Questions::default(),
            look_at: None,
            last_right: None,
            found: Found::default(),
            health: Health::default(),
            started: false,
            connected: false,
            controller: None,
            writes_total: 0,
            beat_at: Millis(0),
            audit_at: Millis(0),
            next_number: 0,
        }
    }

    /// Takes one event and appends what is to be done. Never blocks, never panics on any event.
    pub fn handle(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        self.health.note(now, &event);
        match event {
            Event::LedgerRead(ledger) => self.ledger_read(ledger, out),
            Event::Tick => self.tick(now, out),
            Event::KernelRead(Ok(actual)) => self.kernel_read(now, *actual, out),
            Event::KernelRead(Err(why)) => {
                warn!(%why, "the kernel could not be read; nothing is concluded from that");
                // Other work in between stays: only a reading that was asked for is asked for again.
                if matches!(self.work, Work::Reading { .. }) {
                    self.work = Work::Blind { again: Millis(now.0 + READ_AGAIN_MS) };
                }
            }
            Event::Applied { batch, results } => self.applied(batch, results, out),
            Event::LedgerSaved { save, result } => self.ledger_saved(now, save, result, out),
            Event::Unmarked => self.memory.unmarked = true,
            Event::LookedUp { ask, ways } => self.looked_up(ask, ways, out),
            Event::LinksChanged(links) => self.links_changed(now, links, out),
            Event::Liveness(alive) => debug!(?alive, "liveness"),
            Event::KernelChanged => self.look(Millis(now.0 + self.config.audit_ms_min)),
            Event::Connected => {
                self.connected = true;
                self.beat_at = Millis(now.0 + self.config.beat_ms);
                out.push(Effect::Send(ToController::Hello(Hello {
                    host: self.config.host.clone(),
                    version: self.config.version.clone(),
                    held: self.held(),
                    highest: self.ledger.highest,
                })));
                out.push(Effect::Send(ToController::Links(self.link_states())));
                self.tell_reverted(out);
            }
            Event::Disconnected => {
                self.connected = false;
                self.controller = None;
            }
            Event::Controller(message) => self.controller_says(message, out),
            Event::Local { id, request } => self.asked(now, id, request, out),
        }
        self.go_on(now, out);
    }

    /// What is in force, for controllers.
    pub fn held(&self) -> Option<Held> {
        let running = self.ledger.running.as_ref()?;
        Some(Held {
            generation: running.generation,
            revision: running.revision,
            digest: running.digest,
            table_digest: running.table.digest(),
            effective_digest: self.effective_digest(running.digest),
            unconfirmed: self.ledger.trial_ms > 0,
        })
    }

    /// How the host stands, in one line.
    pub fn status_line(&self) -> String {
        local::line(self)
    }

    /// The program's own digest where the kernel holds all of it; else one over the program and what is missing.
    pub(crate) fn effective_digest(&self, program: Digest) -> Digest {
        if self.found.pending.is_empty() && self.found.refused.is_empty() {
            return program;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"ballast effective v1").update(&program.0);
        let missing: BTreeSet<&str> = self
            .found
            .pending
            .iter()
            .chain(&self.found.refused)
            .map(|waiting| waiting.object.as_str())
            .collect();
        for object in missing {
            hasher.update(&(object.len() as u64).to_be_bytes()).update(object.as_bytes());
        }
        Digest(*hasher.finalize().as_bytes())
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The kernel is to be looked at by `at` at the latest.
    pub(crate) fn look(&mut self, at: Millis) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    fn ledger_read(&mut self, ledger: Option<Box<Ledger>>, out: &mut Vec<Effect>) {
        if !matches!(self.work, Work::Unborn) {
            return;
        }
        match ledger.filter(|ledger| ledger.host == self.config.host) {
            Some(ledger) => self.ledger = *ledger,
            None => info!("no ledger: nothing is written before a controller sends a program"),
        }
        self.take_desired();
        self.read(0, BTreeMap::new(), out);
    }

    pub(crate) fn read(&mut self, round: u32, refusals: BTreeMap<String, String>, out: &mut Vec<Effect>) {
        self.look_at = None;
        self.links_told = false;
        self.work = Work::Reading { round, refusals };
        let sysctls = self.desired.iter().flat_map(|desired| desired.sysctls.keys().cloned()).collect();
        out.push(Effect::ReadKernel { sysctls });
    }

    fn tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if now >= self.audit_at {
            self.audit_at = Millis(now.0 + self.config.audit_ms);
            self.look(now);
        }
        if self.connected && now >= self.beat_at {
            self.beat_at = Millis(now.0 + self.config.beat_ms);
            // Fresh counters for the next beat.
            out.push(Effect::ReadLinks);
            out.push(Effect::Send(ToController::Beat(Beat {
                held: self.held(),
                highest: self.ledger.highest,
                links: self.link_states(),
                // While a program is being installed the last look speaks of another one: it is no evidence.
                objects: if self.installing.is_some() { ObjectCounts::default() } else { self.found.counts },
                writes_total: self.writes_total,
                applied_age_ms: self.applied_age_ms(now),
                pinned: self.ledger.pin.is_some(),
                frozen: self.ledger.freeze.is_some(),
                probe: self.confirm.probe(),
                hold: hold::both(&self.ledger),
            })));
        }
    }

    pub(crate) fn applied_age_ms(&self, now: Millis) -> u64 {
        now.0.saturating_sub(self.last_right.unwrap_or(Millis(0)).0)
    }

    fn link_states(&self) -> Vec<LinkState> {
        let state = |(interface, link): (&String, &Link)| LinkState {
            interface: interface.clone(),
            carrier: link.carrier,
            rx_packets: link.rx_packets,
            tx_packets: link.tx_packets,
        };
        self.links.iter().filter(|(interface, _)| interface.as_str() != "lo").map(state).collect()
    }

    fn links_changed(&mut self, now: Millis, links: BTreeMap<String, Link>, out: &mut Vec<Effect>) {
        self.links_told = true;
        if self.note_links(links, out) {
            // At once: a link that came back needs its addresses, neighbours and next hops again.
            self.look(now);
        }
    }

    /// Takes over what the links are now and tells the controller of a change, whoever saw it first.
    fn note_links(&mut self, links: BTreeMap<String, Link>, out: &mut Vec<Effect>) -> bool {
        let states = |links: &BTreeMap<String, Link>| -> Vec<(String, u32, bool, bool)> {
            links.iter().map(|(name, link)| (name.clone(), link.index, link.up, link.carrier)).collect()
        };
        let changed = states(&self.links) != states(&links);
        self.links = links;
        if changed && self.connected {
            out.push(Effect::Send(ToController::Links(self.link_states())));
        }
        changed
    }

    fn controller_says(&mut self, message: ToAgent, out: &mut Vec<Effect>) {
        match message {
            ToAgent::Welcome { controller, beat_ms } => {
                self.controller = Some(controller);
                if beat_ms > 0 {
                    self.config.beat_ms = u64::from(beat_ms);
                }
            }
            ToAgent::Pulse { echo, .. } => self.confirm.echoed(echo),
            ToAgent::Offer(offer) => {
                self.waiting_offer = Some(offer);
                self.memory.forget_offer();
                self.ask_ways(out);
            }
        }
    }

    /// Takes up the next piece of work when there is none.
    fn go_on(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if let Work::Blind { again } = self.work
            && now >= again
        {
            self.read(0, BTreeMap::new(), out);
        }
        if !matches!(self.work, Work::Idle) {
            return;
        }
        self.begin_act(now, out);
        if !matches!(self.work, Work::Idle) {
            return;
        }
        self.offer_again(now, out);
        if self.questions.ways_known()
            && let Some(offer) = self.waiting_offer.take()
        {
            self.consider(*offer, out);
        }
        if !matches!(self.work, Work::Idle) {
            return;
        }
        if self.look_at.is_some_and(|at| now >= at) {
            return self.read(0, BTreeMap::new(), out);
        }
        self.remember(now, out);
    }

    fn consider(&mut self, offer: Offer, out: &mut Vec<Effect>) {
        let (generation, digest) = (offer.generation, offer.digest);
        match self.judge(&offer) {
            Judgement::Answer(outcome) => {
                info!(%generation, ?outcome, "offer answered without a write");
                self.answer(generation, digest, outcome, 0, Vec::new(), out);
            }
            Judgement::Adopt { next, writes } => {
                info!(%generation, digest = %digest.short(), writes, "program adopted");
                self.memory.keep_offer(offer);
                self.save(*next, Some(Installing { generation, digest, writes: 0 }), Purpose::Offer, out);
            }
        }
    }

    fn judge(&self, offer: &Offer) -> Judgement {
        let unsupported =
            |detail: &str| Judgement::Answer(Outcome::Unsupported { detail: detail.to_string() });
        match ledger::fence(&self.ledger, offer) {
            Fence::Refuse(outcome) => return Judgement::Answer(outcome),
            Fence::Same => return Judgement::Answer(Outcome::Unchanged),
            Fence::Newer => {}
        }
        if offer.program.host != self.config.host {
            return unsupported(&format!(
                "the program is for {}, this is {}",
                offer.program.host, self.config.host
            ));
        }
        let running = self.ledger.running.as_ref();
        if running.is_none_or(|running| running.digest != offer.digest)
            && let Some(outcome) = hold::refusal(&self.ledger)
        {
            return Judgement::Answer(outcome);
        }
        let held =
            running.filter(|running| running.table.digest() == offer.table_digest).map(|r| r.table.clone());
        let Some(table) = offer.table.clone().or(held) else { return Judgement::Answer(Outcome::NeedTable) };
        if table.digest() != offer.table_digest || offer.program.digest(offer.table_digest) != offer.digest {
            return unsupported(
                "the digest is not that of the program: it was damaged, or made by another version",
            );
        }
        let offered = Objects::of(&offer.program, &table);
        let nothing = Objects::default();
        let before = self.desired.as_ref().unwrap_or(&nothing);
        let limits = Limits {
            operator_key: self.config.operator_key.as_ref(),
            routes_max: self.config.routes_max,
            ways: self.questions.ways(),
            foreign_defaults: &self.found.foreign_defaults,
        };
        let used = match guard::judge(before, &offered, offer, &self.ledger, limits) {
            Verdict::Refuse(outcome) => return Judgement::Answer(outcome),
            Verdict::PassByOverride => true,
            Verdict::Pass => false,
        };
        let writes = plan::diff::diff(before, &offered).writes();
        let next = ledger::adopt(&self.ledger, ledger::kept(offer, table), used, ledger::trial_ms(offer));
        Judgement::Adopt { next: Box::new(next), writes }
    }

    pub(crate) fn save(
        &mut self,
        next: Ledger,
        offer: Option<Installing>,
        purpose: Purpose,
        out: &mut Vec<Effect>,
    ) {
        let save = self.number();
        self.memory.purpose = purpose;
        out.push(Effect::SaveLedger { save, ledger: Box::new(next.clone()) });
        self.work = Work::Saving { save, next: Box::new(next), offer };
    }

    fn ledger_saved(&mut self, now: Millis, save: u64, result: Result<(), String>, out: &mut Vec<Effect>) {
        let (next, offer) = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Saving { save: expected, next, offer } if expected == save => (next, offer),
            other => {
                self.work = other;
                return;
            }
        };
        self.memory.disk_said(now, &result);
        match (result, offer) {
            (result, None) => self.remembered(now, *next, result, out),
            (Ok(()), Some(offer)) => {
                let before = self.ledger.running.as_ref().map(|running| running.digest);
                self.ledger = *next;
                if before == Some(offer.digest)
                    && self.found.refused.is_empty()
                    && self.found.pending.is_empty()
                {
                    let Installing { generation, digest, .. } = offer;
                    self.confirm.in_force(now, self.ledger.trial_ms);
                    self.beat_at = now;
                    return self.answer(generation, digest, Outcome::Unchanged, 0, Vec::new(), out);
                }
                self.take_desired();
                self.confirm.suspend();
                self.installing = Some(offer);
                self.read(0, BTreeMap::new(), out);
            }
            // Nothing was written: the program in force stays in force, on disk and in the kernel.
            (Err(why), Some(Installing { generation, digest, .. })) => {
                self.memory.defer_offer(now);
                warn!(%why, "the ledger cannot be written; the offer is refused");
                let failure = ObjectFailure { object: "ledger".to_string(), reason: why, pending: false };
                self.answer(generation, digest, Outcome::Failed, 0, vec![failure], out);
            }
        }
    }

    fn kernel_read(&mut self, now: Millis, actual: Actual, out: &mut Vec<Effect>) {
        let (round, refusals) = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Reading { round, refusals } => (round, refusals),
            other => {
                self.work = other;
                return;
            }
        };
        if !self.links_told {
            self.note_links(actual.links.clone(), out);
        }
        self.found.foreign_defaults = guard::foreign_defaults(&actual);
        self.begin_after_reboot(&actual);
        let Some(desired) = &self.desired else { return self.settled(now, Reconciliation::default(), out) };
        let mut found = reconcile(desired, &actual);
        if let Some(freeze) = &self.ledger.freeze {
            hold::withhold(&mut found, freeze);
        }
        // What the kernel refused a moment ago is not tried again in the same breath.
        let (again, refused): (Vec<_>, Vec<_>) = found
            .ops
            .into_iter()
            .partition(|op| round < ROUNDS_MAX && !refusals.contains_key(&reconcile::object(op)));
        for op in refused {
            let object = reconcile::object(&op);
            let reason = refusals.get(&object).cloned().unwrap_or_else(|| "it does not stay".to_string());
            found.refused.push(Waiting { object, reason });
        }
        if again.is_empty() {
            found.ops = again;
            return self.settled(now, found, out);
        }
        let batch = self.number();
        let writes = reconcile::writes(&again);
        debug!(batch, round, operations = again.len(), "writing");
        let objects = again.iter().map(reconcile::object).collect();
        self.work = Work::Writing { batch, round, objects, writes, refusals };
        out.push(Effect::Apply { batch, ops: again });
    }

    fn applied(&mut self, batch: u64, results: OpResults, out: &mut Vec<Effect>) {
        let (round, objects, writes, mut refusals) = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Writing { batch: expected, round, objects, writes, refusals } if expected == batch => {
                (round, objects, writes, refusals)
            }
            other => {
                self.work = other;
                return;
            }
        };
        self.writes_total += writes;
        if let Some(installing) = &mut self.installing {
            installing.writes += writes;
        }
        for (object, result) in objects.into_iter().zip(results) {
            if let Err(error) = result {
                warn!(%object, errno = error.errno, text = %error.text, "the kernel refused an object");
                refusals.insert(object, format!("{} (errno {})", error.text, error.errno));
            }
        }
        self.read(round + 1, refusals, out);
    }

    /// The kernel holds what it can hold.
    fn settled(&mut self, now: Millis, found: Reconciliation, out: &mut Vec<Effect>) {
        self.last_right = Some(now);
        self.found = Found {
            counts: ObjectCounts {
                installed: found.installed,
                pending: found.pending.len() as u64,
                refused: found.refused.len() as u64,
            },
            pending: found.pending,
            refused: found.refused,
            foreign_defaults: std::mem::take(&mut self.found.foreign_defaults),
        };
        if !self.found.refused.is_empty() {
            self.look(Millis(now.0 + REFUSED_AGAIN_MS));
        }
        if let Some(Installing { generation, digest, writes }) = self.installing.take() {
            let outcome = if self.found.refused.is_empty() { Outcome::Applied } else { Outcome::Failed };
            let failures = self.failures();
            self.confirm.in_force(now, self.ledger.trial_ms);
            self.beat_at = now;
            self.answer(generation, digest, outcome, writes, failures, out);
        }
        self.settled_again(now, out);
        if !self.started {
            self.started = true;
            info!(installed = self.found.counts.installed, "the kernel holds the ledger's program");
            self.confirm.in_force(now, self.ledger.trial_ms);
            out.push(Effect::Connect);
        }
    }

    fn failures(&self) -> Vec<ObjectFailure> {
        let failure = |waiting: &Waiting, pending| ObjectFailure {
            object: waiting.object.clone(),
            reason: waiting.reason.clone(),
            pending,
        };
        let refused = self.found.refused.iter().map(|waiting| failure(waiting, false));
        let pending = self.found.pending.iter().map(|waiting| failure(waiting, true));
        refused.chain(pending).take(FAILURES_MAX).collect()
    }

    fn answer(
        &mut self,
        generation: wire::Generation,
        digest: Digest,
        outcome: Outcome,
        writes: u64,
        failures: Vec<ObjectFailure>,
        out: &mut Vec<Effect>,
    ) {
        let holds = self.ledger.running.as_ref().is_some_and(|running| running.digest == digest);
        let effective_digest = holds.then(|| self.effective_digest(digest));
        let unconfirmed = holds && self.ledger.trial_ms > 0;
        let ack = Ack { generation, digest, outcome, effective_digest, failures, writes, unconfirmed };
        self.confirm.remember(&ack);
        out.push(Effect::Send(ToController::Ack(ack)));
    }
}

enum Judgement {
    Answer(Outcome),
    Adopt { next: Box<Ledger>, writes: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(carrier: bool) -> BTreeMap<String, Link> {
        let link = Link { index: 7, mac: None, up: true, carrier, mtu: 9_000, rx_packets: 0, tx_packets: 0 };
        BTreeMap::from([("eth1".to_string(), link)])
    }

    /// What a connected agent tells its controller of the carrier, event by event.
    fn told(events: impl IntoIterator<Item = Event>) -> Vec<bool> {
        let mut agent = Agent::new(Config::default());
        let mut out = Vec::new();
        let reading =
            |carrier| Event::KernelRead(Ok(Box::new(Actual { links: links(carrier), ..Actual::default() })));
        for event in [Event::LedgerRead(None), reading(true), Event::Connected] {
            agent.handle(Millis(0), event, &mut out);
        }
        out.clear();
        for event in events {
            agent.handle(Millis(1), event, &mut out);
        }
        let carrier = |effect| match effect {
            Effect::Send(ToController::Links(links)) => links.first().map(|link| link.carrier),
            _ => None,
        };
        out.into_iter().filter_map(carrier).collect()
    }

    fn reading(carrier: bool) -> Event {
        Event::KernelRead(Ok(Box::new(Actual { links: links(carrier), ..Actual::default() })))
    }

    #[test]
    fn a_lost_carrier_is_told_once_whether_an_event_or_a_reading_saw_it_first() {
        let event = |carrier| Event::LinksChanged(links(carrier));
        let look = || Event::LinksChanged(BTreeMap::new());
        assert_eq!(told([event(false), reading(false)]), [false]);
        // The reading began before the carrier went, and ends after the event: it is older than the event.
        assert_eq!(told([look(), event(false), reading(true)]), [false]);
        // The reading saw the loss first; the event follows and says nothing new.
        assert_eq!(told([Event::KernelChanged, Event::Tick, reading(false), event(false)]), [false]);
    }
}
