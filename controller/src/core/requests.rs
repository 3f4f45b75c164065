//! Clients' writes at the replica that they came to: on to the leader, and the answer back.
//!
//! Decides nothing about a write; the leader does. A request is asked again when the leader changes, which is
//! safe: it is known by its id and takes effect once.

use crate::core::event::{Effect, Millis, Reply};
use crate::core::state::{Outcome, OutcomeKind};
use std::collections::BTreeMap;
use wire::log::RequestId;
use wire::peer::{ClientAnswer, ClientRequest, PeerBody, PeerMessage};

/// How long a write waits for a leader.
const LEADER_WAIT_MS: u64 = 5_000;
/// How long a write that was handed to a leader waits for its outcome.
const OUTCOME_WAIT_MS: u64 = 30_000;
/// After so long without an answer a write is handed to the same leader again: messages may be lost.
const FORWARD_AGAIN_MS: u64 = 3_000;

#[derive(Debug)]
struct Pending {
    request: ClientRequest,
    since: Millis,
    /// Leader and term that it was handed to, and when.
    handed: Option<(u64, u64, Millis)>,
}

/// Writes without an answer.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<RequestId, Pending>,
}

/// An answer without more than a code and words.
pub(crate) fn answer(code: &str, detail: impl Into<String>) -> ClientAnswer {
    ClientAnswer {
        code: code.to_string(),
        change: 0,
        revision: 0,
        detail: detail.into(),
        guard: None,
        body: Vec::new(),
    }
}

/// The answer that an entry's outcome gives to who asked for it; `None` while there is none.
pub(crate) fn answer_of(outcome: &OutcomeKind) -> Option<ClientAnswer> {
    match outcome {
        OutcomeKind::Accepted { change, revision } => {
            Some(ClientAnswer { change: *change, revision: *revision, ..answer("accepted", "") })
        }
        OutcomeKind::Stale { head, expected } => Some(stale(*head, *expected)),
        OutcomeKind::KeyTaken => Some(key_taken()),
        OutcomeKind::Quarantined => {
            Some(answer("bad_request", "the controllers set this entry aside: see the status for the reason"))
        }
        OutcomeKind::Rebase | OutcomeKind::Done => None,
    }
}

/// The client saw another head revision.
pub(crate) fn stale(head: u64, expected: u64) -> ClientAnswer {
    let detail = format!(
        "the newest revision is {head}, not {expected}: look at what changed, bring your file up to date, and \
         apply it with revision {head}"
    );
    ClientAnswer { revision: head, ..answer("stale_revision", detail) }
}

/// The idempotency key was used for something else.
pub(crate) fn key_taken() -> ClientAnswer {
    answer("bad_request", "this idempotency key was used for another request: use a new key")
}

impl Requests {
    /// Takes a client's write; false when there are already `most`.
    pub(crate) fn take(&mut self, id: RequestId, request: ClientRequest, most: usize, now: Millis) -> bool {
        if self.pending.len() >= most {
            return false;
        }
        self.pending.insert(id, Pending { request, since: now, handed: None });
        true
    }

    /// Hands writes to a leader that does not know them yet: those for ourselves are returned, others are sent.
    pub(crate) fn hand_over(
        &mut self,
        own: u64,
        leader: Option<(u64, u64)>,
        now: Millis,
        out: &mut Vec<Effect>,
    ) -> Vec<(RequestId, ClientRequest)> {
        let Some((leader, term)) = leader else { return Vec::new() };
        let mut ours = Vec::new();
        for (id, pending) in &mut self.pending {
            let known = pending.handed.is_some_and(|(to, at_term, at)| {
                let fresh = to == own || now.0.saturating_sub(at.0) < FORWARD_AGAIN_MS;
                (to, at_term) == (leader, term) && fresh
            });
            if known {
                continue;
            }
            pending.handed = Some((leader, term, now));
            if leader == own {
                ours.push((*id, pending.request.clone()));
            } else {
                let body = PeerBody::Forward { request_id: *id, request: pending.request.clone() };
                out.push(Effect::SendPeer { to: leader, message: PeerMessage { from: own, body } });
            }
        }
        ours
    }

    /// Answers a write if it came to this replica.
    pub(crate) fn answer(&mut self, id: RequestId, answer: ClientAnswer, out: &mut Vec<Effect>) {
        if self.pending.remove(&id).is_some() {
            out.push(Effect::Reply { id, reply: Reply::Write(answer) });
        }
    }

    /// What the log says about a write.
    pub(crate) fn applied(&mut self, outcome: &Outcome, out: &mut Vec<Effect>) {
        if let Some(answer) = answer_of(&outcome.kind) {
            self.answer(outcome.request_id, answer, out);
        }
    }

    /// Gives up on writes that waited too long.
    pub(crate) fn expire(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let waited = |pending: &Pending| now.0.saturating_sub(pending.since.0);
        let late: Vec<(RequestId, bool)> = self
            .pending
            .iter()
            .filter_map(|(id, pending)| match pending.handed {
                None if waited(pending) >= LEADER_WAIT_MS => Some((*id, false)),
                Some(_) if waited(pending) >= OUTCOME_WAIT_MS => Some((*id, true)),
                _ => None,
            })
            .collect();
        for (id, handed) in late {
            let words = if handed {
                answer(
                    "outcome_unknown",
                    "the leader did not say in time what came of it: look at the changes before you try again",
                )
            } else {
                answer(
                    "no_leader",
                    "the controllers have no leader: check that a majority of them runs and reaches each other; \
                     hosts go on forwarding meanwhile",
                )
            };
            self.answer(id, words, out);
        }
    }
}
