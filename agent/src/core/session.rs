//! One agent's life: reads its ledger, then its kernel, makes the kernel hold the ledger's program, and only then looks for
//! a controller.
//!
//! One piece of work at a time: save the ledger, read the kernel, write to it, read again. Whatever comes in between is
//! kept and done next. Missing information never removes anything: a reading that failed is tried again, never taken for an
//! empty one; without a program nothing is written at all.

use crate::core::config::Config;
use crate::core::confirm::Confirm;
use crate::core::damping::Holds;
use crate::core::event::{Effect, Event, Millis};
use crate::core::fights::Fights;
use crate::core::guard::{self, Limits, Verdict};
use crate::core::health::Health;
use crate::core::histogram::Histogram;
use crate::core::hold;
use crate::core::kernel::{Link, Op};
use crate::core::ledger::{self, Fence};
use crate::core::local;
use crate::core::memory::{Memory, Purpose};
use crate::core::mirror::{Change, Mirror, Noticed};
use crate::core::neighbours::Neighbours;
use crate::core::questions::Questions;
use crate::core::repair::Overlay;
use crate::core::states::Refusals;
use crate::core::wanted::Wanted;
use crate::core::work;
pub(crate) use crate::core::work::{Found, Looks, Work};
use plan::{Digest, Objects};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::{info, warn};
use wire::agent::{
    Ack, Beat, Held, Hello, LinkState, ObjectCounts, ObjectFailure, Offer, Outcome, ToAgent, ToController,
};
use wire::ledger::Ledger;

/// The machine.
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) ledger: Ledger,
    /// The running program.
    pub(crate) wanted: Option<Arc<Wanted>>,
    /// What the kernel holds, compared with `wanted`; absent until it was read for it.
    pub(crate) mirror: Option<Mirror>,
    pub(crate) links: BTreeMap<String, Link>,
    /// Links were told of since the last reading of the kernel began: they are newer than what it finds.
    pub(crate) links_told: bool,
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
    pub(crate) looks: Looks,
    pub(crate) last_right: Option<Millis>,
    pub(crate) found: Found,
    /// How well the kernel is seen.
    pub(crate) health: Health,
    pub(crate) refusals: Refusals,
    pub(crate) fights: Fights,
    /// Links that came back, by their carrier.
    pub(crate) holds: Holds,
    /// Hardware address that an interface had first.
    pub(crate) macs: BTreeMap<String, [u8; 6]>,
    /// Interfaces that have another one now: (first, now, since).
    pub(crate) strangers: BTreeMap<String, ([u8; 6], [u8; 6], Millis)>,
    /// Interfaces whose neighbour liveness has given up.
    pub(crate) dead: BTreeSet<String>,
    /// The same as `holds`, by signs of life.
    pub(crate) silent: Holds,
    pub(crate) overlay: Overlay,
    /// Since when a group is repaired, and why.
    pub(crate) repaired_since: BTreeMap<u32, (Millis, String)>,
    /// Repairs on their way: operations, and when their reason was heard of.
    pub(crate) repairing: BTreeMap<u64, (Vec<Op>, u64)>,
    /// From hearing of it to the kernel's acknowledgement: silent neighbours, and foreign hands.
    pub(crate) repair_us: Histogram,
    pub(crate) drift_us: Histogram,
    pub(crate) started: bool,
    pub(crate) connected: bool,
    pub(crate) controller: Option<u64>,
    /// What liveness says of the neighbours.
    pub(crate) neighbours: Neighbours,
    pub(crate) writes_total: u64,
    /// The clock in microseconds, where the shell tells it.
    pub(crate) micros: u64,
    pub(crate) beat_at: Millis,
    audit_at: Millis,
    /// When holds end and attempts are due.
    timer: Option<Millis>,
    next_number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Installing {
    pub(crate) generation: wire::Generation,
    pub(crate) digest: Digest,
    pub(crate) writes: u64,
}

impl Agent {
    /// An agent before it has read anything.
    pub fn new(config: Config) -> Agent {
        Agent {
            ledger: ledger::blank(&config.host),
            config,
            wanted: None,
            mirror: None,
            links: BTreeMap::new(),
            links_told: false,
            work: Work::Unborn,
            waiting_offer: None,
            installing: None,
            memory: Memory::default(),
            confirm: Confirm::default(),
            questions: Questions::default(),
            looks: Looks::default(),
            last_right: None,
            found: Found::default(),
            health: Health::default(),
            refusals: Refusals::default(),
            fights: Fights::default(),
            holds: Holds::default(),
            macs: BTreeMap::new(),
            strangers: BTreeMap::new(),
            dead: BTreeSet::new(),
            silent: Holds::default(),
            overlay: Overlay::new(),
            repaired_since: BTreeMap::new(),
            repairing: BTreeMap::new(),
            repair_us: Histogram::default(),
            drift_us: Histogram::default(),
            started: false,
            connected: false,
            controller: None,
            neighbours: Neighbours::default(),
            writes_total: 0,
            micros: 0,
            beat_at: Millis(0),
            audit_at: Millis(0),
            timer: None,
            next_number: 0,
        }
    }

    /// The agent's clock in microseconds, for durations that are shorter than [`Millis`] can tell.
    pub fn clock(&mut self, micros: u64) {
        self.micros = micros;
    }

    /// When the agent wants [`Event::Tick`] next; until then only events give it anything to do.
    pub fn due(&self, now: Millis) -> Millis {
        let beat = self.connected.then_some(self.beat_at);
        let again = match self.work {
            Work::Blind { again } => Some(again),
            _ => None,
        };
        let trial = self.confirm.deadline().filter(|at| now < *at);
        let looks = matches!(self.work, Work::Idle).then(|| self.looks.due(now)).flatten();
        [beat, again, looks, self.timer, trial].into_iter().flatten().fold(self.audit_at, Millis::min)
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
                self.kernel_unread(now);
            }
            Event::Applied { batch, results } => self.applied(now, batch, results, out),
            Event::LedgerSaved { save, result } => self.ledger_saved(now, save, result, out),
            Event::Unmarked => self.memory.unmarked = true,
            Event::LookedUp { ask, ways } => self.looked_up(now, ask, ways, out),
            Event::LinksChanged(links) => self.links_changed(now, links, out),
            Event::Liveness(alive) => self.liveness(now, &alive, out),
            Event::LivenessSays(process) => {
                if let Some(news) = self.process_says(process, out) {
                    return self.handle(now, news, out);
                }
            }
            Event::KernelChanged => self.looks.all(Millis(now.0 + self.config.audit_ms_min)),
            Event::KernelSaid(noticed) => self.kernel_said(now, noticed),
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
        if self.timer.is_none() {
            self.timer = work::next_due(self, now);
        }
        self.watch_neighbours(out);
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
        if self.found.is_whole() && self.overlay.is_empty() {
            return program;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"ballast effective v2").update(&program.0);
        hasher.update(&self.found.pending.digest()).update(&self.found.refused.digest());
        let mut text = |text: &str| {
            hasher.update(&(text.len() as u64).to_be_bytes()).update(text.as_bytes());
        };
        self.found.fought.iter().for_each(|object| text(object));
        for (group, repair) in &self.overlay {
            text(&format!("group {group:#x} {repair:?}"));
        }
        Digest(*hasher.finalize().as_bytes())
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
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
        self.read_all(out);
    }

    fn tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if now >= self.audit_at {
            self.audit_at = Millis(now.0 + self.config.audit_ms);
            self.looks.all(now);
        }
        if self.timer.is_some_and(|at| now >= at) {
            self.timer = None;
            self.repair(now, out);
            self.looks.walk();
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
                objects: if self.installing.is_some() {
                    ObjectCounts::default()
                } else {
                    self.found.counts()
                },
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

    pub(crate) fn link_states(&self) -> Vec<LinkState> {
        let state = |(interface, link): (&String, &Link)| LinkState {
            interface: interface.clone(),
            carrier: link.carrier,
            rx_packets: link.rx_packets,
            tx_packets: link.tx_packets,
            neighbour: self.neighbours.alive.get(interface).copied(),
        };
        self.links.iter().filter(|(interface, _)| interface.as_str() != "lo").map(state).collect()
    }

    fn links_changed(&mut self, now: Millis, links: BTreeMap<String, Link>, out: &mut Vec<Effect>) {
        self.links_told = true;
        if self.note_links(now, links, out) {
            // At once: a link that came back needs its addresses, neighbours and next hops again.
            self.looks.objects();
        }
    }

    fn kernel_said(&mut self, now: Millis, noticed: Vec<Noticed>) {
        for noticed in noticed {
            if let Change::Link { interface, carrier: false } = &noticed.change {
                self.holds.lost(now, interface);
            }
            self.looks.notice(noticed);
        }
    }

    /// Takes over what the links are now and tells the controller of a change, whoever saw it first.
    pub(crate) fn note_links(
        &mut self,
        now: Millis,
        links: BTreeMap<String, Link>,
        out: &mut Vec<Effect>,
    ) -> bool {
        let states = |links: &BTreeMap<String, Link>| -> Vec<(String, u32, bool, bool)> {
            links.iter().map(|(name, link)| (name.clone(), link.index, link.up, link.carrier)).collect()
        };
        let changed = states(&self.links) != states(&links);
        self.watch_links(now, &links);
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
            self.read_all(out);
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
        self.look(now, out);
        if !matches!(self.work, Work::Idle) {
            return;
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
        let before = running.map(|kept| Objects::of(&kept.program, &kept.table)).unwrap_or_default();
        let foreign_defaults = self.foreign_defaults();
        let limits = Limits {
            operator_key: self.config.operator_key.as_ref(),
            routes_max: self.config.routes_max,
            ways: self.questions.ways(),
            foreign_defaults: &foreign_defaults,
        };
        let used = match guard::judge(&before, &offered, offer, &self.ledger, limits) {
            Verdict::Refuse(outcome) => return Judgement::Answer(outcome),
            Verdict::PassByOverride => true,
            Verdict::Pass => false,
        };
        let writes = plan::diff::diff(&before, &offered).writes();
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
                if before == Some(offer.digest) && self.found.is_whole() {
                    let Installing { generation, digest, .. } = offer;
                    self.confirm.in_force(now, self.ledger.trial_ms);
                    self.beat_at = now;
                    return self.answer(generation, digest, Outcome::Unchanged, 0, Vec::new(), out);
                }
                self.take_desired();
                self.confirm.suspend();
                self.installing = Some(offer);
                self.read_all(out);
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

    pub(crate) fn answer(
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
    use crate::core::kernel::Actual;

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
