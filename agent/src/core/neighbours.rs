//! Which neighbours are to be watched, and what is kept in mind of what liveness says of them.
//!
//! Never takes "unknown" for "dead": only a session that was up and then timed out, or was signalled down, makes a neighbour dead; and
//! it stays dead until something says that it is alive or left on purpose, also when the liveness process itself is gone.

use crate::core::event::{Effect, Event};
use crate::core::session::Agent;
use liveness::core::control::{Report, Wanted, WantedSession};
use plan::Program;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use wire::agent::ToController;

/// What the liveness process said last.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Process {
    /// The agent was started without its socket.
    #[default]
    NotUsed,
    /// It does not answer, for this reason.
    Silent(String),
    /// It answers.
    Answers(Box<Report>),
}

/// What is known of the neighbours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Neighbours {
    process: Process,
    /// Interface -> alive; what is not here is unknown.
    pub(crate) alive: BTreeMap<String, bool>,
    /// What was asked for last, and the program that it came from.
    wanted: Option<(Arc<Program>, Wanted)>,
}

impl Agent {
    /// Tells the liveness process which sessions there are, when that has changed. Without a program nothing is said:
    /// that a host has none is no wish to take sessions down.
    pub(crate) fn watch_neighbours(&mut self, out: &mut Vec<Effect>) {
        let Some(running) = &self.ledger.running else { return };
        let program = &running.program;
        let before = self.neighbours.wanted.as_ref();
        if before.is_some_and(|(known, _)| Arc::ptr_eq(known, program)) {
            return;
        }
        let wanted = Wanted { sessions: sessions(program) };
        let is_news = before.is_none_or(|(_, before)| *before != wanted);
        self.neighbours.wanted = Some((program.clone(), wanted.clone()));
        if is_news {
            out.push(Effect::Watch(Box::new(wanted)));
        }
    }

    /// The process said something, or fell silent: what changed of the neighbours goes to local repair and to the controller.
    pub(crate) fn process_says(&mut self, process: Process, out: &mut Vec<Effect>) -> Option<Event> {
        let sessions = self.neighbours.wanted.as_ref().map(|(_, wanted)| wanted.sessions.as_slice());
        let alive = remembered(&self.neighbours.alive, sessions.unwrap_or_default(), &process);
        self.neighbours.process = process;
        if alive == self.neighbours.alive {
            return None;
        }
        self.neighbours.alive = alive.clone();
        if self.connected {
            out.push(Effect::Send(ToController::Links(self.link_states())));
        }
        Some(Event::Liveness(alive))
    }
}

/// What is known after the process's word, by interface.
fn remembered(
    before: &BTreeMap<String, bool>,
    wanted: &[WantedSession],
    process: &Process,
) -> BTreeMap<String, bool> {
    let mut after = BTreeMap::new();
    for session in wanted {
        let said = match process {
            Process::Answers(report) => report
                .sessions
                .iter()
                .find(|said| (&said.interface, said.remote) == (&session.interface, session.remote)),
            _ => None,
        };
        let word = match said {
            Some(said) if said.left => None,
            Some(said) if said.alive.is_some() => said.alive,
            // A process that has just begun, or none at all: a death that was seen is not undone by that.
            _ => before.get(&session.interface).copied().filter(|alive| !alive),
        };
        after.extend(word.map(|alive| (session.interface.clone(), alive)));
    }
    after
}

/// One session for each watched link, over IPv6 link-local addresses.
fn sessions(program: &Program) -> Vec<WantedSession> {
    let settings = &program.settings;
    let is_link_local =
        |address: IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let session = |watched: &plan::program::Liveness| {
        let own = settings.addresses.iter().filter(|own| own.interface == watched.interface);
        let far = settings.neighbours.iter().filter(|far| far.interface == watched.interface);
        Some(WantedSession {
            interface: watched.interface.clone(),
            local: own.map(|own| own.address.ip()).find(|address| is_link_local(*address))?,
            remote: far.map(|far| far.address).find(|address| is_link_local(*address))?,
            interval_ms: watched.interval_ms,
            multiplier: watched.multiplier,
            passive: false,
        })
    };
    settings.liveness.iter().filter_map(session).collect()
}

/// For `ballast-agent status`.
pub(crate) fn status(neighbours: &Neighbours) -> Value {
    let (state, report) = match &neighbours.process {
        Process::NotUsed => ("not used", None),
        Process::Silent(_) => ("silent", None),
        Process::Answers(report) => ("answers", Some(report)),
    };
    let why = match &neighbours.process {
        Process::Silent(why) => Some(why.as_str()),
        _ => None,
    };
    json!({
        "process": state,
        "why": why,
        "neighbours": neighbours.alive,
        "sessions": report.map(|report| &report.sessions),
        "lacks": report.map(|report| &report.lacks),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn session(interface: &str) -> WantedSession {
        WantedSession {
            interface: interface.to_string(),
            local: "fe80::1".parse().unwrap(),
            remote: "fe80::2".parse().unwrap(),
            interval_ms: 300,
            multiplier: 3,
            passive: false,
        }
    }

    /// `eth1 up`, `eth1 dead`, `eth1 left`, `eth1 new`.
    fn says(words: &str) -> Process {
        let sessions: Vec<Value> = (words.split(", ").filter(|words| !words.is_empty()))
            .map(|words| {
                let (interface, word) = words.split_once(' ').unwrap();
                let alive = match word {
                    "up" => Some(true),
                    "dead" => Some(false),
                    _ => None,
                };
                json!({
                    "interface": interface, "local": "fe80::1", "remote": "fe80::2", "state": word, "alive": alive,
                    "left": word == "left", "diagnostic": "", "remote_diagnostic": "", "transmit_us": 0, "detection_us": 0,
                    "since_ms": 0, "failures": 0, "received": 0, "sent": 0, "problem": null,
                })
            })
            .collect();
        Process::Answers(serde_json::from_value(json!({"sessions": sessions})).unwrap())
    }

    #[test]
    fn only_a_session_that_was_up_makes_a_neighbour_dead_and_only_a_word_brings_it_back() {
        let silent = || Process::Silent("gone".to_string());
        let cases = [
            ("", says("eth1 new, eth2 new"), ""),
            ("", says("eth1 up, eth2 dead"), "eth1 up, eth2 dead"),
            // The process goes: who lived is unknown, who was dead is dead.
            ("eth1 up, eth2 dead", silent(), "eth2 dead"),
            ("eth2 dead", says("eth1 new, eth2 new"), "eth2 dead"),
            ("eth2 dead", says(""), "eth2 dead"),
            ("eth2 dead", says("eth1 new, eth2 up"), "eth2 up"),
            // Who leaves on purpose is not dead, and not dead any more.
            ("eth1 up, eth2 dead", says("eth1 left, eth2 left"), ""),
            // What is not watched is not known.
            ("eth9 dead", says("eth9 dead, eth1 up"), "eth1 up"),
        ];
        let known = |words: &str| -> BTreeMap<String, bool> {
            let pairs = words.split(", ").filter_map(|words| words.split_once(' '));
            pairs.map(|(interface, word)| (interface.to_string(), word == "up")).collect()
        };
        for (before, process, after) in cases {
            let wanted = [session("eth1"), session("eth2")];
            assert_eq!(remembered(&known(before), &wanted, &process), known(after), "{before:?} {process:?}");
        }
    }
}
