//! What is asked: by people on the host, and of the kernel about its ways. Nothing here changes anything.

use crate::core::event::{Effect, LocalRequest, Millis};
use crate::core::local;
use crate::core::session::Agent;
use crate::core::states::Waitings;
use crate::core::way::Way;
use crate::core::why;
use ipnetwork::IpNetwork;
use plan::objects::RouteKey;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Questions to the kernel that are open at a time.
const OPEN_MAX: usize = 64;

/// Open questions and the newest answer about the controllers.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    /// Number -> who waits for it.
    open: BTreeMap<u64, Asker>,
    /// How the controllers are reached, as asked for the offer that waits.
    ways: BTreeMap<IpAddr, Way>,
    /// The question for the offer that waits, until it is answered.
    for_offer: Option<u64>,
}

#[derive(Debug)]
enum Asker {
    Offer,
    Person { id: u64, asked: IpNetwork },
}

impl Questions {
    /// Whether the kernel said how the controllers are reached, since the newest offer came.
    pub(crate) fn ways_known(&self) -> bool {
        self.for_offer.is_none()
    }

    /// How they are reached.
    pub(crate) fn ways(&self) -> &BTreeMap<IpAddr, Way> {
        &self.ways
    }
}

impl Agent {
    /// An offer came: how the controllers are reached now decides whether it may be installed.
    pub(crate) fn ask_ways(&mut self, out: &mut Vec<Effect>) {
        if self.config.controllers.is_empty() {
            return;
        }
        let ask = self.number();
        self.questions.open.retain(|_, asker| !matches!(asker, Asker::Offer));
        self.questions.open.insert(ask, Asker::Offer);
        self.questions.for_offer = Some(ask);
        out.push(Effect::LookUp { ask, addresses: self.config.controllers.clone() });
    }

    /// The kernel's answer.
    pub(crate) fn looked_up(
        &mut self,
        now: Millis,
        ask: u64,
        ways: BTreeMap<IpAddr, Way>,
        out: &mut Vec<Effect>,
    ) {
        match self.questions.open.remove(&ask) {
            None => {}
            Some(Asker::Offer) => {
                self.questions.ways = ways;
                self.questions.for_offer = None;
            }
            Some(Asker::Person { id, asked }) => {
                let unknown = Way::Unknown("the kernel was not asked".to_string());
                let answer = why::answer(self, now, asked, ways.get(&asked.ip()).unwrap_or(&unknown));
                out.push(Effect::AnswerLocal { id, answer });
            }
        }
    }

    /// A person asks or commands.
    pub(crate) fn asked(&mut self, now: Millis, id: u64, request: LocalRequest, out: &mut Vec<Effect>) {
        let answer = match request {
            LocalRequest::Status => local::status(self, now),
            LocalRequest::Dump => local::dump(self, now),
            LocalRequest::Act(act) => return self.take_act(now, id, act, out),
            LocalRequest::Why(asked) if self.questions.open.len() < OPEN_MAX => {
                let ask = self.number();
                self.questions.open.insert(ask, Asker::Person { id, asked });
                return out.push(Effect::LookUp { ask, addresses: vec![asked.ip()] });
            }
            LocalRequest::Why(asked) => {
                why::answer(self, now, asked, &Way::Unknown("too many questions at once".to_string()))
            }
        };
        out.push(Effect::AnswerLocal { id, answer });
    }

    /// Whether a route of the program is in the kernel, and if not why.
    pub(crate) fn state_of(&self, key: &RouteKey) -> (&'static str, String) {
        let object = crate::core::reconcile::route(key);
        let among = |list: &Waitings| {
            list.iter().find(|waiting| waiting.object == object).map(|waiting| waiting.reason.clone())
        };
        if let Some(reason) = among(&self.found.refused) {
            ("refused", reason)
        } else if let Some(reason) = among(&self.found.pending) {
            ("pending", reason)
        } else if self.installing.is_some() {
            ("on its way", "the program is being installed".to_string())
        } else if self.stands(key) {
            ("installed", String::new())
        } else {
            ("pending", "it is not in the kernel: see what waits for what in status".to_string())
        }
    }
}
