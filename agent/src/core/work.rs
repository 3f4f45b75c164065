//! The work on the kernel, one piece at a time: read what is in doubt, compare, write, read back. What comes in between is
//! kept and done next.
//!
//! Three depths, from the cheapest on: routes that an event named are mended from the mirror alone; everything but routes is
//! read again where an event speaks of it; everything is read by the audit, after a new program and whenever something was not
//! understood. Missing information never removes anything: a reading that failed is tried again, never taken for an empty one.

use crate::core::damping::Holds;
use crate::core::event::{Effect, Millis, RouteReading};
use crate::core::fights::{Answer, Who};
use crate::core::guard;
use crate::core::hold;
use crate::core::kernel::{Actual, Link, Op, OpResults};
use crate::core::mirror::{Mirror, Noticed, Touched};
use crate::core::reconcile::{self, Conditions, Reconciliation, compare, compare_routes};
use crate::core::repair;
use crate::core::session::{Agent, Installing};
use crate::core::states::{On, Waitings};
use crate::core::wanted::Places;
use plan::objects::RouteKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::{debug, info, warn};
use wire::agent::{ObjectCounts, ObjectFailure, Outcome};
use wire::ledger::Ledger;

/// Rounds of write and read-back for one reason; more would be a fight with the kernel.
const ROUNDS_MAX: u32 = 4;
/// Between two attempts to read a kernel that could not be read, in milliseconds.
pub(crate) const READ_AGAIN_MS: u64 = 200;
/// Between two readings of everything but routes, in milliseconds.
const OBJECTS_MS_MIN: u64 = 10;
/// Objects listed in an acknowledgement.
const FAILURES_MAX: usize = 100;
/// Events that wait while other work is done; more mean that everything is read.
const NOTICED_MAX: usize = 1 << 16;
/// Drift is looked at object by object up to so many operations; more are repaired as a whole.
const DRIFT_MAX: usize = 4_096;

/// What is in hand.
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
        whole: bool,
        pass: Pass,
    },
    /// A reading failed.
    Blind {
        again: Millis,
    },
    Writing {
        batch: u64,
        ops: Vec<Op>,
        /// The operations were cut off: there are more.
        more: bool,
        pass: Pass,
    },
}

/// Why, and how deep.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    depth: Depth,
    round: u32,
    /// What is found wrong was changed by a foreign hand.
    drift: Option<Who>,
    /// When the first of its reasons was heard of, in microseconds.
    heard_us: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Single routes: the kernel's acknowledgement is enough.
    Routes,
    /// Everything but routes is read back.
    Objects,
    /// Everything is read back.
    All,
}

/// What the last complete look at the kernel found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) installed: u64,
    pub(crate) pending: Waitings,
    pub(crate) refused: Waitings,
    /// Routes that are left as a foreign hand made them until their back-off is over.
    pub(crate) fought: BTreeSet<String>,
    /// Default routes of others, at the last whole reading.
    foreign_defaults: BTreeSet<RouteKey>,
}

impl Found {
    /// Whether the kernel holds all of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.pending.is_empty() && self.refused.is_empty() && self.fought.is_empty()
    }

    pub(crate) fn counts(&self) -> ObjectCounts {
        let fought = self.fought.len() as u64;
        ObjectCounts {
            installed: self.installed.saturating_sub(fought),
            pending: self.pending.count(),
            refused: self.refused.count() + fought,
        }
    }
}

/// What is to be looked at, and when.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// Everything, not before this time.
    all: Option<Millis>,
    objects_read: Option<Millis>,
    noticed: Vec<Noticed>,
    touched: Touched,
}

impl Looks {
    /// Everything is to be looked at by `at` at the latest.
    pub(crate) fn all(&mut self, at: Millis) {
        self.all = Some(self.all.map_or(at, |before| before.min(at)));
    }

    pub(crate) fn notice(&mut self, noticed: Noticed) {
        if self.noticed.len() < NOTICED_MAX {
            self.noticed.push(noticed);
        } else {
            self.touched.lost = true;
        }
    }

    /// Everything but routes is to be looked at, at once.
    pub(crate) fn objects(&mut self) {
        self.touched.objects = true;
        self.objects_read = None;
    }

    /// The mirror is to be compared again.
    pub(crate) fn walk(&mut self) {
        self.touched.walk = true;
    }

    fn objects_at(&self) -> Millis {
        Millis(self.objects_read.map_or(0, |last| last.0 + OBJECTS_MS_MIN))
    }

    /// When there is something to do.
    pub(crate) fn due(&self, now: Millis) -> Option<Millis> {
        let Touched { routes, walk, objects, lost, .. } = &self.touched;
        let soon = (!self.noticed.is_empty() || *walk || *lost || !routes.is_empty()).then_some(now);
        [self.all, objects.then(|| self.objects_at()), soon].into_iter().flatten().min()
    }
}

impl Agent {
    /// Takes up the next piece of work on the kernel; the caller has seen that there is none in hand.
    pub(crate) fn look(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.take_notice();
        let first = self.mirror.is_none() && self.wanted.is_some();
        if self.looks.all.is_some_and(|at| now >= at) || self.looks.touched.lost {
            let touched = std::mem::take(&mut self.looks.touched);
            // What a whole reading finds wrong after a peaceful time was made wrong by somebody.
            let drift = (self.started && !first).then_some(touched.who);
            return self.read(
                true,
                Pass { depth: Depth::All, round: 0, drift, heard_us: touched.heard_us },
                out,
            );
        }
        if self.looks.touched.objects && now >= self.looks.objects_at() {
            let cures = self.refusals.cure(now);
            let touched = &mut self.looks.touched;
            touched.objects = false;
            touched.walk |= cures;
            let drift = (touched.who != Who::default()).then(|| std::mem::take(&mut touched.who));
            let heard_us = touched.heard_us.take();
            return self.read(false, Pass { depth: Depth::Objects, round: 0, drift, heard_us }, out);
        }
        if !self.looks.touched.objects {
            self.mend(now, out);
        }
    }

    /// Takes events over into the mirror.
    fn take_notice(&mut self) {
        let noticed = std::mem::take(&mut self.looks.noticed);
        let (Some(mirror), Some(wanted)) = (&mut self.mirror, &self.wanted) else { return };
        for noticed in noticed {
            mirror.note(noticed, wanted, &mut self.looks.touched);
        }
    }

    /// Repairs from the mirror alone.
    fn mend(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let (Some(mirror), Some(wanted)) = (&self.mirror, &self.wanted) else { return };
        if self.looks.touched.routes.is_empty() && !self.looks.touched.walk {
            return;
        }
        let touched = std::mem::take(&mut self.looks.touched);
        let conditions = self.conditions(now);
        if touched.walk || self.ledger.freeze.is_some() {
            let drift = (touched.who != Who::default()).then_some(touched.who);
            let pass = Pass { depth: Depth::Objects, round: 0, drift, heard_us: touched.heard_us };
            return self.compare(now, pass, out);
        }
        let ops = compare_routes(&**wanted, mirror.actual(), &conditions, touched.routes.keys());
        let mut mended = Vec::new();
        let mut last = (String::new(), false);
        for op in ops {
            let object = reconcile::object(&op);
            let who = match &op {
                Op::PutRoute { key, .. } | Op::DelRoute { key } => touched.routes.get(key),
                _ => None,
            };
            // One object may need two operations.
            if last.0 != object {
                last = (object.clone(), self.may_repair(now, &object, who.unwrap_or(&touched.who)));
            }
            if last.1 {
                self.found.fought.remove(&object);
                mended.push(op);
            } else {
                self.found.fought.insert(object);
            }
        }
        let pass = Pass { depth: Depth::Routes, round: 0, drift: None, heard_us: touched.heard_us };
        if !mended.is_empty() {
            self.write(mended, false, pass, out);
        }
    }

    /// A foreign hand changed an object: whether it is repaired now.
    fn may_repair(&mut self, now: Millis, object: &str, who: &Who) -> bool {
        match self.fights.disturbed(now, object, who) {
            Answer::Now => true,
            Answer::Later => false,
            Answer::Alarm => {
                warn!(
                    object,
                    by = who.words(),
                    "this object of Ballast is removed or changed again and again: find the owner and stop it"
                );
                false
            }
        }
    }

    /// Whether a route stands as it should.
    pub(crate) fn stands(&self, key: &RouteKey) -> bool {
        let both = self.mirror.as_ref().zip(self.wanted.as_ref());
        both.is_some_and(|(mirror, wanted)| mirror.stands(key, wanted))
    }

    /// Default routes of others.
    pub(crate) fn foreign_defaults(&self) -> BTreeSet<RouteKey> {
        match &self.mirror {
            Some(mirror) => guard::foreign_defaults(mirror.actual()),
            None => self.found.foreign_defaults.clone(),
        }
    }

    /// What the kernel alone does not show.
    fn conditions(&self, now: Millis) -> Conditions {
        Conditions { overlay: self.overlay.clone(), held: self.held_links(now) }
    }

    /// Links that are back and not trusted yet, unless there is no other way out of this host.
    fn held_links(&self, now: Millis) -> BTreeSet<String> {
        let held = self.holds.held(now);
        let Some(wanted) = self.wanted.as_ref().filter(|_| !held.is_empty()) else { return BTreeSet::new() };
        let carries = |interface: &String| self.links.get(interface).is_some_and(|link| link.carrier);
        let mut others = wanted.program().nexthops.iter().map(|nexthop| &nexthop.interface);
        let another_way = others.any(|interface| !held.contains(interface) && carries(interface));
        if another_way { held } else { BTreeSet::new() }
    }

    /// Reads everything, or all but routes.
    fn read(&mut self, whole: bool, pass: Pass, out: &mut Vec<Effect>) {
        if whole {
            self.looks.all = None;
        }
        self.links_told = false;
        let wanted = self.wanted.as_ref();
        let sysctls =
            wanted.iter().flat_map(|wanted| reconcile::sysctls(&***wanted)).map(String::clone).collect();
        let routes = match wanted {
            _ if !whole => RouteReading::None,
            Some(wanted) => RouteReading::Compared(wanted.clone()),
            None => RouteReading::All,
        };
        self.work = Work::Reading { whole, pass };
        out.push(Effect::ReadKernel { sysctls, routes });
    }

    /// Reads everything for a new reason that is nobody's fault.
    pub(crate) fn read_all(&mut self, out: &mut Vec<Effect>) {
        self.looks.touched = Touched::default();
        self.read(true, Pass { depth: Depth::All, round: 0, drift: None, heard_us: None }, out);
    }

    /// A reading failed: only one that was asked for is asked for again.
    pub(crate) fn kernel_unread(&mut self, now: Millis) {
        if matches!(self.work, Work::Reading { .. }) {
            self.work = Work::Blind { again: Millis(now.0 + READ_AGAIN_MS) };
        }
    }

    pub(crate) fn kernel_read(&mut self, now: Millis, mut actual: Actual, out: &mut Vec<Effect>) {
        let (whole, pass) = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Reading { whole, pass } => (whole, pass),
            other => {
                self.work = other;
                return;
            }
        };
        if !self.links_told {
            self.note_links(now, actual.links.clone(), out);
        }
        let compared_with = self.wanted.clone();
        if whole {
            self.found.foreign_defaults = guard::foreign_defaults(&actual);
        }
        self.begin_after_reboot(&actual);
        self.repair(now, out);
        self.looks.objects_read = Some(now);
        let Some(wanted) = self.wanted.clone() else {
            return self.settled(now, Reconciliation::default(), out);
        };
        let changed = match &mut self.mirror {
            Some(mirror) if !whole => mirror.take(actual, &wanted),
            mirror => {
                if !compared_with.is_some_and(|before| Arc::ptr_eq(&before, &wanted)) {
                    actual.right = Places::default();
                }
                *mirror = Some(Mirror::of(actual, &wanted));
                true
            }
        };
        if changed || pass.round > 0 || self.looks.touched.walk {
            self.looks.touched.walk = false;
            return self.compare(now, pass, out);
        }
        self.last_right = Some(now);
    }

    /// Compares the mirror with what is wanted and writes what is wrong.
    fn compare(&mut self, now: Millis, pass: Pass, out: &mut Vec<Effect>) {
        let (Some(mirror), Some(wanted)) = (&self.mirror, &self.wanted) else { return };
        let mut found = compare(&**wanted, mirror.actual(), &self.conditions(now));
        if let Some(freeze) = &self.ledger.freeze {
            hold::withhold(&mut found, freeze);
        }
        let more = found.more;
        let ops = self.admit(now, &pass, &mut found);
        if ops.is_empty() {
            return self.settled(now, found, out);
        }
        self.write(ops, more, pass, out);
    }

    /// Keeps back what the kernel refused a moment ago, what does not stay, and what is fought over.
    fn admit(&mut self, now: Millis, pass: &Pass, found: &mut Reconciliation) -> Vec<Op> {
        let ops = std::mem::take(&mut found.ops);
        let drift = pass.drift.as_ref().filter(|_| pass.round == 0 && ops.len() <= DRIFT_MAX);
        if pass.round < ROUNDS_MAX && self.refusals.is_empty() && self.fights.is_empty() && drift.is_none() {
            return ops;
        }
        let (mut admitted, mut still) = (Vec::new(), BTreeSet::new());
        for op in ops {
            let object = reconcile::object(&op);
            let known = self.refusals.of(&object).is_some();
            let reason = match self.refusals.waits(now, &object) {
                Some(refusal) => Some(refusal.reason.clone()),
                None if pass.round >= ROUNDS_MAX => Some("it does not stay".to_string()),
                None => {
                    let free = match drift {
                        Some(who) if !known => self.may_repair(now, &object, who),
                        _ => !self.fights.waits(now, &object),
                    };
                    let fought = || "a foreign hand keeps changing it: see alarms".to_string();
                    (!free).then(fought)
                }
            };
            if known {
                still.insert(object.clone());
            }
            match reason {
                Some(reason) => found.refused.push(object, On::Refusal, || reason),
                None => admitted.push(op),
            }
        }
        self.refusals.keep(|object| still.contains(object));
        admitted
    }

    fn write(&mut self, ops: Vec<Op>, more: bool, pass: Pass, out: &mut Vec<Effect>) {
        let batch = self.number();
        debug!(batch, round = pass.round, operations = ops.len(), more, "writing");
        out.push(Effect::Apply { batch, ops: ops.clone() });
        self.work = Work::Writing { batch, ops, more, pass };
    }

    pub(crate) fn applied(&mut self, now: Millis, batch: u64, results: OpResults, out: &mut Vec<Effect>) {
        if let Some(repairing) = self.repairing.remove(&batch) {
            return self.repaired(now, repairing, results);
        }
        let (ops, more, mut pass) = match std::mem::replace(&mut self.work, Work::Idle) {
            Work::Writing { batch: expected, ops, more, pass } if expected == batch => (ops, more, pass),
            other => {
                self.work = other;
                return;
            }
        };
        let failed = self.take_results(now, &ops, results, pass.depth == Depth::All);
        if let Some(installing) = &mut self.installing {
            installing.writes += reconcile::writes(&ops);
        }
        if pass.drift.is_some() || pass.depth == Depth::Routes {
            let heard_us = pass.heard_us.take();
            heard_us.into_iter().for_each(|heard| self.drift_us.add(self.micros.saturating_sub(heard)));
        }
        if failed && pass.depth != Depth::All {
            // The mirror was wrong: the truth has to be read.
            pass = Pass { depth: Depth::All, round: pass.round, ..pass };
            return self.read(true, Pass { round: pass.round + 1, ..pass }, out);
        }
        match pass.depth {
            Depth::Routes => self.last_right = Some(now),
            _ if more => self.read(false, pass, out),
            depth => self.read(depth == Depth::All, Pass { round: pass.round + 1, ..pass }, out),
        }
    }

    /// Takes acknowledged writes over into the mirror; says whether one was refused, and remembers that where `note` says so.
    fn take_results(&mut self, now: Millis, ops: &[Op], results: OpResults, note: bool) -> bool {
        self.writes_total += reconcile::writes(ops);
        let mut failed = false;
        for (op, result) in ops.iter().zip(results) {
            match (result, &mut self.mirror, &self.wanted) {
                (Ok(()), Some(mirror), Some(wanted)) => mirror.wrote(op, wanted),
                (Ok(()), ..) => {}
                (Err(error), ..) => {
                    failed = true;
                    let object = reconcile::object(op);
                    if note {
                        warn!(%object, errno = error.errno, text = %error.text, "the kernel refused an object");
                        self.refusals.note(now, object, &error);
                    }
                }
            }
        }
        failed
    }

    /// The kernel holds what it can hold.
    fn settled(&mut self, now: Millis, found: Reconciliation, out: &mut Vec<Effect>) {
        self.last_right = Some(now);
        self.found = Found {
            installed: found.installed,
            pending: found.pending,
            refused: found.refused,
            fought: BTreeSet::new(),
            foreign_defaults: std::mem::take(&mut self.found.foreign_defaults),
        };
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
            info!(installed = self.found.installed, "the kernel holds the ledger's program");
            self.confirm.in_force(now, self.ledger.trial_ms);
            out.push(Effect::Connect);
        }
    }

    fn failures(&self) -> Vec<ObjectFailure> {
        let failure = |waiting: &crate::core::states::Waiting, pending| ObjectFailure {
            object: waiting.object.clone(),
            reason: waiting.reason.clone(),
            pending,
        };
        let refused = self.found.refused.iter().map(|waiting| failure(waiting, false));
        let pending = self.found.pending.iter().map(|waiting| failure(waiting, true));
        refused.chain(pending).take(FAILURES_MAX).collect()
    }

    /// What the links are now: damping, identity, and whether anything about them changed.
    pub(crate) fn watch_links(&mut self, now: Millis, links: &BTreeMap<String, Link>) {
        for (name, before) in &self.links {
            let after = links.get(name);
            let same = after.is_some_and(|after| after.index == before.index);
            if before.carrier && !(same && after.is_some_and(|after| after.carrier)) {
                self.holds.lost(now, name);
            }
        }
        for (name, link) in links {
            if link.carrier {
                self.holds.back(now, name);
            }
            let Some(mac) = link.mac.filter(|_| name != "lo") else { continue };
            let first = *self.macs.entry(name.clone()).or_insert(mac);
            if first == mac {
                self.strangers.remove(name);
            } else if self
                .strangers
                .insert(name.clone(), (first, mac, now))
                .is_none_or(|(_, last, _)| last != mac)
            {
                warn!(
                    interface = name,
                    was = mac_words(first),
                    is = mac_words(mac),
                    "the interface of this name has another hardware address: was the right one replaced?"
                );
            }
        }
    }

    /// What liveness says of neighbours.
    pub(crate) fn liveness(&mut self, now: Millis, alive: &BTreeMap<String, bool>, out: &mut Vec<Effect>) {
        for (interface, alive) in alive {
            let dead_before = self.dead.contains(interface);
            match (dead_before, alive) {
                (false, false) => {
                    warn!(interface, "the neighbour is silent though the link has carrier: repaired locally");
                    self.dead.insert(interface.clone());
                    self.silent.lost(now, interface);
                }
                (true, true) => {
                    self.dead.remove(interface);
                    self.silent.back(now, interface);
                }
                _ => {}
            }
        }
        // A session that is no longer known says nothing.
        let gone: Vec<String> = self.dead.iter().filter(|name| !alive.contains_key(*name)).cloned().collect();
        for interface in gone {
            self.dead.remove(&interface);
            self.silent.back(now, &interface);
        }
        self.repair(now, out);
    }

    /// Makes the overlay what it should be now, by the fewest messages and besides all other work.
    pub(crate) fn repair(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let Some(wanted) = self.wanted.as_ref().filter(|_| self.ledger.freeze.is_none()) else { return };
        let dead = self.dead.union(&self.silent.held(now)).cloned().collect();
        let overlay = repair::overlay(wanted.program(), &dead);
        if overlay == self.overlay {
            return;
        }
        let held =
            |id: u32| self.mirror.as_ref().is_some_and(|mirror| mirror.actual().nexthops.contains_key(&id));
        let ops = repair::messages(wanted.program(), &self.overlay, &overlay, held);
        self.repaired_since.retain(|group, _| overlay.contains_key(group));
        for (group, repair) in &overlay {
            if self.overlay.get(group) != Some(repair) {
                let silent = dead.iter().cloned().collect::<Vec<_>>().join(", ");
                self.repaired_since
                    .insert(*group, (now, format!("no sign of life from the neighbour on {silent}")));
            }
        }
        info!(groups = overlay.len(), messages = ops.len(), "local repair");
        self.overlay = overlay;
        self.looks.walk();
        if !ops.is_empty() {
            let batch = self.number();
            self.repairing.insert(batch, (ops.clone(), self.micros));
            out.push(Effect::Repair { batch, ops });
        }
    }

    fn repaired(&mut self, now: Millis, (ops, heard_us): (Vec<Op>, u64), results: OpResults) {
        self.repair_us.add(self.micros.saturating_sub(heard_us));
        if self.take_results(now, &ops, results, false) {
            // Something moved meanwhile: the comparison with a fresh reading puts it right.
            self.looks.all(now);
        }
        self.looks.walk();
    }
}

/// A hardware address in words.
pub(crate) fn mac_words(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Holds of links and of neighbours end, refused objects and fights have their next attempts: the earliest.
pub(crate) fn next_due(agent: &Agent, now: Millis) -> Option<Millis> {
    let holds = |holds: &Holds| holds.due(now);
    [
        holds(&agent.holds),
        holds(&agent.silent),
        agent.fights.due(now),
        agent.refusals.due(),
        agent.looks.due(now),
    ]
    .into_iter()
    .flatten()
    .min()
}
