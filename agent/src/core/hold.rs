//! The person on the host has the last word: pin, rollback, freeze, and what undoes them. Only makes the next ledger and the
//! words for it; who may ask is the shell's question.

use crate::core::ledger;
use crate::core::reconcile::{self, Reconciliation};
use crate::core::states::On;
use wire::agent::Outcome;
use wire::ledger::{Hold, Ledger};

/// What a person wants of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stay on the program in force.
    Pin,
    /// Take programs again.
    Unpin,
    /// Go back, and stay there.
    Rollback,
    /// Write nothing to the kernel.
    Freeze,
    /// Write again.
    Unfreeze,
}

impl Verb {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Pin => "pin",
            Verb::Unpin => "unpin",
            Verb::Rollback => "rollback",
            Verb::Freeze => "freeze",
            Verb::Unfreeze => "unfreeze",
        }
    }

    /// The one with this name.
    pub fn of(name: &str) -> Option<Verb> {
        let all = [Verb::Pin, Verb::Unpin, Verb::Rollback, Verb::Freeze, Verb::Unfreeze];
        all.into_iter().find(|verb| verb.name() == name)
    }
}

/// A local command that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What.
    pub verb: Verb,
    /// Who, why and when.
    pub hold: Hold,
}

/// What follows from a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is so already, or cannot be.
    No {
        /// Whether what was asked for is the case.
        holds: bool,
        words: String,
    },
    /// The next ledger.
    Yes { next: Box<Ledger>, words: String },
}

/// Decides a command.
pub(crate) fn decide(now: &Ledger, act: &Act) -> Decision {
    let set = |hold: &Hold| Some(hold.clone());
    let already = |words: String| Decision::No { holds: true, words };
    let yes = |next: Ledger, words: String| Decision::Yes { next: Box::new(next), words };
    match act.verb {
        Verb::Pin => match (&now.pin, &now.running) {
            (Some(pin), _) => already(format!("it was pinned before, {}", words(pin))),
            (None, None) => refuse("this host runs no program yet: there is nothing to stay on"),
            (None, Some(running)) => {
                let generation = running.generation;
                let accepted = if now.trial_ms > 0 {
                    ", which was on trial: it does not go back by itself any more"
                } else {
                    ""
                };
                let next = Ledger { pin: set(&act.hold), trial_ms: 0, ..now.clone() };
                yes(next, format!("pinned to generation {generation}{accepted}"))
            }
        },
        Verb::Unpin if now.pin.is_none() => already("it is not pinned".to_string()),
        Verb::Unpin => yes(
            Ledger { pin: None, ..now.clone() },
            "unpinned: it takes what the controllers assign to it again".to_string(),
        ),
        Verb::Freeze => match &now.freeze {
            Some(freeze) => already(format!("it was frozen before, {}", words(freeze))),
            None => yes(
                Ledger { freeze: set(&act.hold), ..now.clone() },
                "frozen: this agent writes nothing to the kernel until unfreeze".to_string(),
            ),
        },
        Verb::Unfreeze if now.freeze.is_none() => already("it is not frozen".to_string()),
        Verb::Unfreeze => yes(
            Ledger { freeze: None, ..now.clone() },
            "unfrozen: the kernel is brought to the program in force".to_string(),
        ),
        Verb::Rollback => roll_back(now, &act.hold),
    }
}

fn refuse(words: &str) -> Decision {
    Decision::No { holds: false, words: words.to_string() }
}

fn roll_back(now: &Ledger, hold: &Hold) -> Decision {
    if let Some(freeze) = &now.freeze {
        return refuse(&format!("it is frozen, {}: unfreeze it first", words(freeze)));
    }
    let reason = format!("rolled back, {}", words(hold));
    let (Some(running), Some(next)) = (&now.running, ledger::roll_back(now, &reason)) else {
        return refuse("there is no other program to go back to");
    };
    let generation = next.running.as_ref().map(|kept| kept.generation).unwrap_or_default();
    let words = format!(
        "rolled back from generation {} to {generation}, and pinned to it so that it is not replaced at once: unpin \
         it to take what the controllers assign",
        running.generation
    );
    Decision::Yes { next: Box::new(Ledger { pin: Some(hold.clone()), ..next }), words }
}

/// What a held host answers to an offer of another program; `None`: it is not held.
pub(crate) fn refusal(ledger: &Ledger) -> Option<Outcome> {
    let frozen = ledger.freeze.as_ref().map(|hold| Outcome::Frozen { detail: words(hold) });
    frozen.or_else(|| ledger.pin.as_ref().map(|hold| Outcome::Pinned { detail: words(hold) }))
}

/// Both holds for a person; empty where there is none.
pub(crate) fn both(ledger: &Ledger) -> String {
    let one = |verb: &str, hold: &Option<Hold>| hold.as_ref().map(|hold| format!("{verb} {}", words(hold)));
    let all: Vec<String> =
        [one("pinned", &ledger.pin), one("frozen", &ledger.freeze)].into_iter().flatten().collect();
    all.join("; ")
}

/// Who, why and since when.
pub(crate) fn words(hold: &Hold) -> String {
    let reason = if hold.reason.is_empty() { "no reason given" } else { &hold.reason };
    format!("by {} since {}: {reason}", hold.by, wire::time::rfc3339(hold.since_unix_ms))
}

/// Takes the writes out of what was found: what would be written is shown as waiting for the end of the freeze.
pub(crate) fn withhold(found: &mut Reconciliation, freeze: &Hold) {
    let reason = format!("frozen {}", words(freeze));
    for op in std::mem::take(&mut found.ops) {
        found.pending.push(reconcile::object(&op), On::Freeze, || reason.clone());
    }
    found.more = false;
}
