//! What follows from the disk: why a ledger is being written, who waits for it, what the disk refused and when it is tried
//! again. A disk that refuses never stops forwarding, and never what a person or a timer decided.

use crate::core::event::{Effect, Millis};
use crate::core::hold::{self, Act, Decision, Verb};
use crate::core::kernel::Actual;
use crate::core::ledger;
use crate::core::local;
use crate::core::ownership::nexthop_is_ours;
use crate::core::session::{Agent, Work};
use crate::core::states::Refusals;
use crate::core::wanted::Wanted;
use std::collections::VecDeque;
use std::sync::Arc;
use tracing::{error, info, warn};
use wire::agent::{Ack, Offer, Outcome, ToController};
use wire::ledger::{Ledger, Reverted};

/// Between two attempts to write what the disk refused, in milliseconds.
const DISK_AGAIN_MS: u64 = 5_000;
/// Local commands that wait; more people are not answered at a time.
const ACTS_MAX: usize = 16;

/// The state of the disk and of what waits for it.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// There is no sign that an agent ran since the host was started.
    pub(crate) unmarked: bool,
    /// Why the ledger is being written now.
    pub(crate) purpose: Purpose,
    /// What the disk said to the newest ledger, where it refused it.
    pub(crate) disk_error: Option<String>,
    /// The ledger in force is newer than the one on disk.
    pub(crate) unsaved: bool,
    disk_again: Millis,
    acts: VecDeque<(u64, Act)>,
    /// The offer whose ledger is being written, or was refused by the disk.
    offer: Option<Box<Offer>>,
    deferred: bool,
    /// To be told once the kernel holds the program that is in force now.
    told_when_settled: Option<Told>,
}

/// Why a ledger is written.
#[derive(Debug, Default)]
pub(crate) enum Purpose {
    /// A program was offered.
    #[default]
    Offer,
    /// A controller answered under the program.
    Confirm,
    /// None did in time.
    Revert,
    /// A person said so: whom to answer, and what.
    Act { id: u64, act: Act, words: String },
    /// The disk refused it before.
    Again,
}

/// Who waits until the kernel holds the program.
#[derive(Debug)]
enum Told {
    Controller,
    Person { id: u64, act: Act, words: String },
}

impl Memory {
    /// The disk took a ledger or refused it.
    pub(crate) fn disk_said(&mut self, now: Millis, result: &Result<(), String>) {
        match result {
            Ok(()) => {
                if self.disk_error.take().is_some() {
                    info!("the ledger can be written again");
                }
                self.unsaved = false;
                if !self.deferred {
                    self.offer = None;
                }
            }
            Err(why) => {
                self.disk_error = Some(why.clone());
                self.disk_again = Millis(now.0 + DISK_AGAIN_MS);
            }
        }
    }

    /// The offer that is about to be on disk.
    pub(crate) fn keep_offer(&mut self, offer: Offer) {
        (self.offer, self.deferred) = (Some(Box::new(offer)), false);
    }

    /// The disk refused it: it is tried again when there may be room.
    pub(crate) fn defer_offer(&mut self, now: Millis) {
        self.deferred = self.offer.is_some();
        self.disk_again = Millis(now.0 + DISK_AGAIN_MS);
    }

    /// A newer one came.
    pub(crate) fn forget_offer(&mut self) {
        (self.offer, self.deferred) = (None, false);
    }
}

impl Agent {
    /// The program in force is what the kernel should hold from now on; it has to be read for it.
    pub(crate) fn take_desired(&mut self) {
        let running = self.ledger.running.as_ref();
        self.wanted = running.map(|kept| Arc::new(Wanted::of(&kept.program, &kept.table)));
        self.mirror = None;
        self.refusals = Refusals::default();
    }

    /// A local command that changes something.
    pub(crate) fn take_act(&mut self, now: Millis, id: u64, act: Act, out: &mut Vec<Effect>) {
        if self.memory.acts.len() < ACTS_MAX && !matches!(self.work, Work::Unborn) {
            self.memory.acts.push_back((id, act));
            return;
        }
        let words = "the agent is busy: try again";
        out.push(Effect::AnswerLocal { id, answer: local::act(self, now, &act, false, false, words) });
    }

    /// Takes up what a person wants, one at a time. Called when there is nothing else to do.
    pub(crate) fn begin_act(&mut self, now: Millis, out: &mut Vec<Effect>) {
        while let Some((id, act)) = self.memory.acts.pop_front() {
            match hold::decide(&self.ledger, &act) {
                Decision::No { holds, words } => {
                    let answer = local::act(self, now, &act, holds, false, &words);
                    out.push(Effect::AnswerLocal { id, answer });
                }
                Decision::Yes { next, words } => {
                    warn!(verb = act.verb.name(), by = %act.hold.by, reason = %act.hold.reason, "local command");
                    return self.save(*next, None, Purpose::Act { id, act, words }, out);
                }
            }
        }
    }

    /// Puts an offer that the disk refused forward again.
    pub(crate) fn offer_again(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.memory.deferred && now >= self.memory.disk_again && self.waiting_offer.is_none() {
            self.memory.deferred = false;
            self.waiting_offer = self.memory.offer.take();
            self.ask_ways(out);
        }
    }

    /// What the ledger has to become by itself. Called when there is nothing else to do.
    pub(crate) fn remember(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let frozen = self.ledger.freeze.is_some();
        if self.confirm.expired(now) && !frozen {
            let within_ms = self.ledger.trial_ms;
            let reason =
                format!("no controller answered within {within_ms} ms after the program was in force");
            if let Some(next) = ledger::revert(&self.ledger, &reason) {
                error!(%reason, "going back to the program before");
                return self.save(next, None, Purpose::Revert, out);
            }
        }
        if now < self.memory.disk_again && self.memory.disk_error.is_some() {
            return;
        }
        let running = self.ledger.running.as_ref().map(|running| running.generation);
        if self.confirm.proved()
            && let Some(next) = running.and_then(|generation| ledger::confirm(&self.ledger, generation))
        {
            self.save(next, None, Purpose::Confirm, out);
        } else if self.memory.unsaved {
            self.save(self.ledger.clone(), None, Purpose::Again, out);
        }
    }

    /// A ledger without an offer is on disk, or was refused.
    pub(crate) fn remembered(
        &mut self,
        now: Millis,
        next: Ledger,
        result: Result<(), String>,
        out: &mut Vec<Effect>,
    ) {
        let before = self.ledger.running.as_ref().map(|kept| kept.digest);
        let refused = result.err();
        if let Some(why) = &refused {
            warn!(%why, "the ledger cannot be written");
        }
        match std::mem::take(&mut self.memory.purpose) {
            Purpose::Offer | Purpose::Again => {}
            // What is not on disk is not confirmed.
            Purpose::Confirm if refused.is_some() => {}
            Purpose::Confirm => {
                self.ledger = next;
                self.beat_at = now;
                if let Some(ack) = self.confirm.take_ack() {
                    out.push(Effect::Send(ToController::Ack(ack)));
                }
            }
            Purpose::Revert => {
                (self.ledger, self.memory.unsaved) = (next, refused.is_some());
                self.memory.told_when_settled = Some(Told::Controller);
            }
            Purpose::Act { id, act, mut words } => {
                (self.ledger, self.memory.unsaved) = (next, refused.is_some());
                if let Some(why) = &refused {
                    words.push_str(&format!(
                        " (not on disk: {why}; until there is room, a restart of the agent forgets it)"
                    ));
                }
                self.confirm.suspend();
                // A frozen agent cannot go back: its time begins when it is unfrozen.
                let trial_ms = if self.ledger.freeze.is_some() { 0 } else { self.ledger.trial_ms };
                self.confirm.in_force(now, trial_ms);
                self.beat_at = now;
                self.memory.told_when_settled = Some(Told::Person { id, act, words });
            }
        }
        let after = self.ledger.running.as_ref().map(|kept| kept.digest);
        if before != after {
            self.confirm.suspend();
            self.take_desired();
        }
        // What changes the kernel is told when the kernel holds it.
        match &self.memory.told_when_settled {
            Some(Told::Person { act, .. }) if !matches!(act.verb, Verb::Rollback | Verb::Unfreeze) => {
                self.settled_again(now, out);
            }
            Some(_) => self.read_all(out),
            None => {}
        }
    }

    /// The kernel holds what it can hold: tells those who wait for that.
    pub(crate) fn settled_again(&mut self, now: Millis, out: &mut Vec<Effect>) {
        match self.memory.told_when_settled.take() {
            None => {}
            Some(Told::Controller) => {
                self.confirm.in_force(now, self.ledger.trial_ms);
                self.tell_reverted(out);
                self.beat_at = now;
            }
            Some(Told::Person { id, act, words }) => {
                if act.verb == Verb::Rollback {
                    self.confirm.in_force(now, self.ledger.trial_ms);
                    self.tell_reverted(out);
                }
                let answer = local::act(self, now, &act, true, true, &words);
                out.push(Effect::AnswerLocal { id, answer });
            }
        }
    }

    /// Tells the controller of the program that this host went back from, unless something newer is in force.
    pub(crate) fn tell_reverted(&self, out: &mut Vec<Effect>) {
        let Some(Reverted { generation, digest, reason }) = self.ledger.reverted.clone() else { return };
        out.push(Effect::Send(ToController::Ack(Ack {
            generation,
            digest,
            outcome: Outcome::Reverted { detail: reason },
            effective_digest: None,
            failures: Vec::new(),
            writes: 0,
            unconfirmed: false,
        })));
    }

    /// Before the first write: a host that was rebooted begins from what was proven.
    pub(crate) fn begin_after_reboot(&mut self, actual: &Actual) {
        if self.started || !std::mem::take(&mut self.memory.unmarked) {
            return;
        }
        let ours = !actual.routes.is_empty()
            || actual.right.count() > 0
            || actual.nexthops.iter().any(|(id, nexthop)| nexthop_is_ours(*id, nexthop));
        if ours {
            return;
        }
        if let Some(next) = ledger::reboot(&self.ledger) {
            let generation = next.running.as_ref().map(|kept| kept.generation).unwrap_or_default();
            warn!(%generation, "the host was rebooted: it begins from the program that was confirmed");
            (self.ledger, self.memory.unsaved) = (next, true);
            self.take_desired();
        }
    }
}
