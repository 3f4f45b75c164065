//! What agents say: soft state of every host, whichever replica its session is with, and the evidence about links.
//!
//! A report never changes what should be: it is shown, and it can become a fact through the log. Nothing here
//! proposes or answers.

use crate::core::event::Millis;
use crate::core::evidence::{LinkEvidence, Verdict, Why};
use crate::core::state::Assignment;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Topology;
use wire::Generation;
use wire::agent::{Ack, Held, LinkState, ObjectCounts, Outcome, ToController};

/// Beats without a message after which a session counts as dead.
const BEATS_UNTIL_SILENT: u64 = 3;
/// Hosts that are remembered; certificates for more are not expected.
const HOSTS_MAX: usize = 16_384;
/// Interfaces of one host that are remembered.
const INTERFACES_MAX: usize = 1_024;

/// One host as its agent describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostView {
    /// Replica that holds its session.
    pub(crate) home: Option<u64>,
    /// When its agent was last heard, on whatever replica.
    pub(crate) heard: Option<Millis>,
    /// Its agent's version.
    pub(crate) version: Option<String>,
    /// What is in force there.
    pub(crate) held: Option<Held>,
    /// Its fence.
    pub(crate) highest: Generation,
    /// Its newest answer to an offer.
    pub(crate) ack: Option<Ack>,
    /// Interface -> last report.
    pub(crate) links: BTreeMap<String, LinkState>,
    /// From its last beat.
    pub(crate) objects: ObjectCounts,
    /// From its last beat.
    pub(crate) writes_total: u64,
    /// From its last beat.
    pub(crate) applied_age_ms: Option<u64>,
    /// From its last beat.
    pub(crate) pinned: bool,
    /// From its last beat.
    pub(crate) frozen: bool,
    /// From its last beat: who pinned or froze it, why and since when.
    pub(crate) hold: String,
    /// Since when it does not run what it is assigned.
    pub(crate) behind_since: Option<Millis>,
}

/// Whether a host runs what it is assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It said so, for exactly this generation and digest.
    Acknowledged,
    /// Not heard yet.
    Waiting,
    /// Its agent said no.
    Refused(String),
    /// Its kernel said no.
    Failed(String),
}

impl HostView {
    /// Where it stands with `assignment`: fresh, positive evidence that is bound to this digest, or none.
    pub(crate) fn standing(&self, assignment: &Assignment) -> Standing {
        let wanted = (assignment.generation, assignment.digest);
        let ack = self.ack.as_ref().filter(|ack| (ack.generation, ack.digest) == wanted);
        let held = self.held.as_ref().is_some_and(|held| (held.generation, held.digest) == wanted);
        let held = held && !self.on_trial(assignment);
        if held && self.objects.refused == 0 && self.objects != ObjectCounts::default() {
            return Standing::Acknowledged;
        }
        ack.map_or(Standing::Waiting, answered)
    }

    /// Whether it runs what it is assigned, and would go back by itself without an answer to it.
    pub(crate) fn on_trial(&self, assignment: &Assignment) -> bool {
        let wanted = (assignment.generation, assignment.digest);
        match &self.held {
            Some(held) if (held.generation, held.digest) == wanted => held.unconfirmed,
            _ => false,
        }
    }

    /// Whether it went back from its assignment by itself.
    pub(crate) fn went_back(&self, assignment: &Assignment) -> bool {
        let wanted = (assignment.generation, assignment.digest);
        let ack = self.ack.as_ref().filter(|ack| (ack.generation, ack.digest) == wanted);
        ack.is_some_and(|ack| matches!(ack.outcome, Outcome::Reverted { .. }))
    }
}

/// What an answer that is no success means, in words.
fn answered(ack: &Ack) -> Standing {
    match &ack.outcome {
        Outcome::Applied | Outcome::Unchanged if ack.unconfirmed => Standing::Waiting,
        Outcome::Applied | Outcome::Unchanged => Standing::Acknowledged,
        Outcome::NeedTable | Outcome::Stale { .. } => Standing::Waiting,
        Outcome::Conflict => Standing::Refused("it holds another program of the same generation".to_string()),
        Outcome::RefusedByGuard { guard, value, limit } => {
            Standing::Refused(format!("its own guard {guard} says no: {value}, the limit is {limit}"))
        }
        Outcome::Unsupported { detail } => {
            Standing::Refused(format!("its agent cannot install this program: {detail}"))
        }
        Outcome::Pinned { detail } => Standing::Refused(format!("it is pinned {detail}")),
        Outcome::Frozen { detail } => Standing::Refused(format!("it is frozen {detail}")),
        Outcome::Reverted { detail } => {
            Standing::Refused(format!("it went back to the program before by itself: {detail}"))
        }
        Outcome::Failed => {
            let mut refused = ack.failures.iter().filter(|failure| !failure.pending);
            let first = refused.next();
            if let Some(ledger) = first.filter(|failure| failure.object == "ledger") {
                let why = &ledger.reason;
                return Standing::Failed(format!(
                    "its disk does not take the program ({why}): it runs the one before"
                ));
            }
            let first = first.map(|failure| format!(", as {}: {}", failure.object, failure.reason));
            let count = refused.count() + usize::from(first.is_some());
            Standing::Failed(format!("its kernel refused {count} objects{}", first.unwrap_or_default()))
        }
    }
}

/// A link between two hosts by name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LinkEnds {
    hosts: [String; 2],
    interfaces: [String; 2],
}

/// All hosts and links.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    beat_ms: u64,
    hosts: BTreeMap<String, HostView>,
    links: BTreeMap<String, LinkEnds>,
    evidence: BTreeMap<String, LinkEvidence>,
    /// Host -> its links.
    links_of: BTreeMap<String, Vec<String>>,
    /// Links that an end calls down.
    suspects: BTreeSet<String>,
}

impl Fleet {
    /// Nobody heard yet.
    pub(crate) fn new(beat_ms: u32) -> Fleet {
        Fleet { beat_ms: u64::from(beat_ms), ..Fleet::default() }
    }

    /// Links of these topologies are watched from now on, those of others no more.
    pub(crate) fn watch(&mut self, topologies: &[Arc<Topology>], now: Millis) {
        let mut links = BTreeMap::new();
        for topology in topologies {
            for link in &topology.links {
                let ends = LinkEnds {
                    hosts: [0, 1].map(|end| topology.node(link.ends[end].node).name.clone()),
                    interfaces: [0, 1].map(|end| link.ends[end].interface.clone()),
                };
                links.insert(link.id.clone(), ends);
            }
            // An uplink has one end here: its host's word is the word of both.
            for external in &topology.external {
                let host = topology.node(external.node).name.clone();
                let interfaces = [0, 1].map(|_| external.interface.clone());
                let ends = LinkEnds { hosts: [host.clone(), host], interfaces };
                links.insert(topology.uplink(external), ends);
            }
        }
        if links == self.links {
            return;
        }
        self.links = links;
        self.evidence.retain(|id, _| self.links.contains_key(id));
        self.suspects.retain(|id| self.links.contains_key(id));
        self.links_of.clear();
        for (id, ends) in &self.links {
            for host in BTreeSet::from_iter(&ends.hosts) {
                self.links_of.entry(host.clone()).or_default().push(id.clone());
            }
        }
        // Hosts may have spoken of these interfaces before.
        let hosts: Vec<String> = self.links_of.keys().cloned().collect();
        for host in hosts {
            self.weigh(&host, false, now);
        }
    }

    /// A session with `replica` began or ended.
    pub(crate) fn session(&mut self, host: &str, replica: u64, open: bool, now: Millis) {
        if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(host) {
            return;
        }
        let view = self.hosts.entry(host.to_string()).or_default();
        if open {
            view.home = Some(replica);
            view.heard = Some(now);
        } else if view.home == Some(replica) {
            view.home = None;
        }
    }

    /// A message of `host`'s agent to `replica`.
    pub(crate) fn heard(&mut self, host: &str, replica: u64, message: &ToController, now: Millis) {
        self.session(host, replica, true, now);
        let Some(view) = self.hosts.get_mut(host) else { return };
        match message {
            ToController::Hello(hello) => {
                view.version = Some(hello.version.clone());
                view.held.clone_from(&hello.held);
                view.highest = hello.highest;
                view.objects = ObjectCounts::default();
                view.doubt_ack();
            }
            ToController::Beat(beat) => {
                view.held.clone_from(&beat.held);
                view.highest = beat.highest;
                view.objects = beat.objects;
                view.writes_total = beat.writes_total;
                view.applied_age_ms = Some(beat.applied_age_ms);
                view.pinned = beat.pinned;
                view.frozen = beat.frozen;
                view.hold.clone_from(&beat.hold);
                view.doubt_ack();
                view.take_links(&beat.links);
                self.weigh(host, true, now);
            }
            ToController::Ack(ack) => view.ack = Some(ack.clone()),
            ToController::Links(links) => {
                view.take_links(links);
                self.weigh(host, false, now);
            }
        }
    }

    /// Brings what `host` says about its interfaces to the links that they belong to.
    fn weigh(&mut self, host: &str, beat: bool, now: Millis) {
        let Some(view) = self.hosts.get(host) else { return };
        for id in self.links_of.get(host).into_iter().flatten() {
            let Some(ends) = self.links.get(id) else { continue };
            let evidence = self.evidence.entry(id.clone()).or_default();
            for end in 0..2 {
                if ends.hosts[end] == host
                    && let Some(link) = view.links.get(&ends.interfaces[end])
                {
                    let said = (link.carrier, link.neighbour);
                    evidence.report(end, said, link.rx_packets, beat, now);
                }
            }
            if evidence.suspect() {
                self.suspects.insert(id.clone());
            } else {
                self.suspects.remove(id);
            }
        }
    }

    /// Whether `host` has a session somewhere and was heard lately.
    pub(crate) fn live(&self, host: &str, now: Millis) -> bool {
        self.hosts.get(host).is_some_and(|view| {
            view.home.is_some()
                && view
                    .heard
                    .is_some_and(|heard| now.0.saturating_sub(heard.0) <= BEATS_UNTIL_SILENT * self.beat_ms)
        })
    }

    /// All hosts that were ever heard, sorted.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = (&String, &HostView)> {
        self.hosts.iter()
    }

    /// One host.
    pub(crate) fn host(&self, host: &str) -> Option<&HostView> {
        self.hosts.get(host)
    }

    /// Notes since when hosts do not run what they are assigned.
    pub(crate) fn note_behind(&mut self, assignments: &BTreeMap<String, Assignment>, now: Millis) {
        for (host, assignment) in assignments {
            if self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(host) {
                continue;
            }
            let view = self.hosts.entry(host.clone()).or_default();
            if view.standing(assignment) == Standing::Acknowledged {
                view.behind_since = None;
            } else {
                view.behind_since.get_or_insert(now);
            }
        }
        for (host, view) in &mut self.hosts {
            if !assignments.contains_key(host) {
                view.behind_since = None;
            }
        }
    }

    /// Links that an end calls down, sorted.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = &String> {
        self.suspects.iter()
    }

    /// The two hosts of a link.
    pub(crate) fn hosts_of(&self, link: &str) -> Option<&[String; 2]> {
        self.links.get(link).map(|ends| &ends.hosts)
    }

    /// What each end of a link said last.
    pub(crate) fn carriers(&self, link: &str) -> [Option<bool>; 2] {
        let evidence = self.evidence.get(link);
        [0, 1].map(|end| evidence.and_then(|evidence| evidence.carrier(end)))
    }

    /// What is to be believed about a link.
    pub(crate) fn verdict(&self, link: &str, now: Millis) -> Verdict {
        let (Some(ends), Some(evidence)) = (self.links.get(link), self.evidence.get(link)) else {
            return Verdict::Up;
        };
        let live = [0, 1].map(|end| self.live(&ends.hosts[end], now));
        evidence.verdict(live, |end| self.cut_off(&ends.hosts[end], link, now))
    }

    /// Whether all links of `host` but `link`, as far as living hosts are at their other ends, are reported down by
    /// these.
    fn cut_off(&self, host: &str, link: &str, now: Millis) -> bool {
        let others = self.links_of.get(host).into_iter().flatten().filter(|id| *id != link);
        others.filter_map(|id| Some((id, self.links.get(id)?))).all(|(id, ends)| {
            let other = usize::from(ends.hosts[0] == host);
            !self.live(&ends.hosts[other], now)
                || self.evidence.get(id).is_some_and(|evidence| evidence.carrier(other) == Some(false))
        })
    }

    /// A reason in words: who says what about `link`.
    pub(crate) fn words(&self, link: &str, why: Why) -> String {
        let Some(ends) = self.links.get(link) else { return String::new() };
        let name = |end: usize| &ends.hosts[end];
        let says = |end: usize| {
            let complaint = self.evidence.get(link).map_or("no carrier", |evidence| evidence.complaint(end));
            format!("{} reports {complaint}", name(end))
        };
        match why {
            Why::BothEnds if name(0) == name(1) => format!("{} on its uplink", says(0)),
            Why::BothEnds
                if self.evidence.get(link).is_none_or(|one| one.complaint(0) == one.complaint(1)) =>
            {
                format!("{} and {}", name(0), says(1).replacen("reports", "report", 1))
            }
            Why::BothEnds => format!("{}, {}", says(0), says(1)),
            Why::NothingReceived(end) => {
                format!("{}, {} has received nothing since", says(end), name(1 - end))
            }
            Why::Hears(end) => {
                format!("{}, but {} still hears its liveness packets", says(end), name(1 - end))
            }
            Why::Receiving(end) => {
                format!("{}, but {} has carrier and goes on receiving packets", says(end), name(1 - end))
            }
            Why::Waiting(end) => format!("{}, waiting for what {} receives", says(end), name(1 - end)),
            Why::SilentAndCutOff(end) => {
                format!("{}, {} is silent and no living neighbour has a link to it", says(end), name(1 - end))
            }
            Why::SilentButSeen(end) => format!(
                "{}, {} is silent but another living neighbour still has carrier to it",
                says(end),
                name(1 - end)
            ),
        }
    }
}

impl HostView {
    /// An agent that says later that it runs something else has taken its word back, as after a lost disk.
    fn doubt_ack(&mut self) {
        let held = self.held.as_ref().map(|held| (held.generation, held.digest));
        let positive = |ack: &Ack| matches!(ack.outcome, Outcome::Applied | Outcome::Unchanged);
        if self.ack.as_ref().is_some_and(|ack| positive(ack) && held != Some((ack.generation, ack.digest))) {
            self.ack = None;
        }
    }

    fn take_links(&mut self, links: &[LinkState]) {
        self.links =
            (links.iter().take(INTERFACES_MAX)).map(|link| (link.interface.clone(), link.clone())).collect();
    }
}
