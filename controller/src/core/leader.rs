//! What a leader does: it finds the next entry that the state asks for, and proposes it, one at a time.
//!
//! Everything is derived from the replicated state and from evidence, so that a new leader carries on where the
//! old one was. One entry of a leader is in the log without an outcome at any time: each is judged on the state
//! that it will meet.

use crate::core::Controller;
use crate::core::change::{self, Overridden, Refusal, Side};
use crate::core::event::{Effect, Millis};
use crate::core::evidence::Verdict;
use crate::core::fleet::Standing;
use crate::core::requests::{answer, key_taken, stale};
use crate::core::state::{ChangeKind, ChangeRecord, Outcome, OutcomeKind, idempotency_key_of, intent_digest};
use plan::proof::State;
use plan::reaction;
use plan::steps::{Step, steps};
use plan::{Digest, Facts, Network};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use topology::Topology;
use wire::log::{
    Assigned, ChangeState, Command, ENTRY_BYTES_TOTAL_MAX, Entry, Fact, Intent, Release, RequestId,
};
use wire::peer::{ClientAnswer, ClientBody, ClientRequest, PeerBody, PeerMessage};
use wire::rest;
use wire::{Generation, document};

/// How often a write is judged anew because the state moved under it.
const REBASES_MAX: u32 = 8;
/// How long a step of a failure or a return waits for its hosts before the next is released.
const REACTION_STEP_MAX_MS: u64 = 500;
/// Hosts that a sentence names.
const HOSTS_NAMED_MAX: usize = 8;

/// What only a leader remembers.
#[derive(Debug)]
pub(crate) struct Leader {
    term: u64,
    /// Raft index of our newest entry: nothing is proposed before it was applied.
    proposed: u64,
    puts: VecDeque<Put>,
    /// Change -> its release, and since when all hosts of the step have acknowledged.
    baking: BTreeMap<u64, (u64, Millis)>,
    /// Failure or return -> its release, and since when its hosts are waited for.
    asked: BTreeMap<u64, (u64, Millis)>,
}

/// A new topology that waits to be judged.
#[derive(Debug)]
struct Put {
    id: RequestId,
    /// Replica that the client spoke to.
    origin: u64,
    author: String,
    key: String,
    dry_run: bool,
    intent: Intent,
    topology: Arc<Topology>,
    topology_digest: [u8; 32],
    rebases: u32,
}

/// What became of a judged topology.
enum Judged {
    /// Programs are being computed.
    Waits,
    Answer(ClientAnswer),
    Propose(Intent),
}

/// An entry to propose.
struct Proposal {
    request_id: RequestId,
    key: String,
    author: String,
    command: Command,
}

impl Leader {
    fn new(term: u64) -> Leader {
        Leader { term, proposed: 0, puts: VecDeque::new(), baking: BTreeMap::new(), asked: BTreeMap::new() }
    }
}

impl Controller {
    /// Does what a leader has to do now; nothing on other replicas.
    pub(crate) fn lead(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if !self.replica.leads() {
            if self.leader.take().is_some() {
                tracing::info!(controller = self.config.id, "no longer the leader");
            }
            return;
        }
        let term = self.replica.term();
        if self.leader.as_ref().is_none_or(|leader| leader.term != term) {
            tracing::info!(controller = self.config.id, term, "leader");
            self.leader = Some(Leader::new(term));
        }
        self.collect_writes(now, out);
        if self.outvoted.is_some() || !self.replica.leads_with_full_state() {
            return;
        }
        // The state moves only through entries, and ours are proposed one at a time.
        let applied = self.replica.applied();
        if self.leader.as_ref().is_some_and(|leader| leader.proposed > applied) {
            return;
        }
        if let Some(proposal) = self.next_proposal(now, out) {
            self.propose(proposal);
        }
    }

    /// Writes that came to this replica.
    fn collect_writes(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let leader = Some((self.config.id, self.replica.term()));
        for (id, request) in self.requests.hand_over(self.config.id, leader, now, out) {
            self.take_write(self.config.id, id, request, out);
        }
    }

    /// A client's write, from here or from a peer. Ignored where we do not lead: who sent it will see so.
    pub(crate) fn take_write(
        &mut self,
        origin: u64,
        id: RequestId,
        request: ClientRequest,
        out: &mut Vec<Effect>,
    ) {
        let Some(leader) = &self.leader else { return };
        if leader.puts.iter().any(|put| put.id == id) {
            return;
        }
        if let Some(reason) = &self.outvoted {
            let words = answer("outvoted", reason.clone());
            self.reply(origin, id, words, out);
            return;
        }
        if leader.puts.len() >= self.config.limits.requests {
            self.reply(origin, id, answer("no_leader", "too many writes at once: try again"), out);
            return;
        }
        match read_put(origin, id, request) {
            Ok(put) => {
                if let Some(leader) = &mut self.leader {
                    leader.puts.push_back(*put);
                }
            }
            Err(words) => self.reply(origin, id, *words, out),
        }
    }

    /// Answers a write that no log entry answers.
    fn reply(&mut self, origin: u64, id: RequestId, words: ClientAnswer, out: &mut Vec<Effect>) {
        if origin == self.config.id {
            self.requests.answer(id, words, out);
        } else {
            let body = PeerBody::ForwardReply { request_id: id, answer: words };
            out.push(Effect::SendPeer { to: origin, message: PeerMessage { from: self.config.id, body } });
        }
    }

    /// An entry took effect, or did not.
    pub(crate) fn lead_applied(&mut self, outcome: &Outcome, out: &mut Vec<Effect>) {
        let Some(leader) = &mut self.leader else { return };
        let Some(at) = leader.puts.iter().position(|put| put.id == outcome.request_id) else { return };
        let put = &mut leader.puts[at];
        put.rebases += 1;
        if outcome.kind == OutcomeKind::Rebase && put.rebases <= REBASES_MAX {
            return;
        }
        let Some(put) = leader.puts.remove(at) else { return };
        if outcome.kind == OutcomeKind::Rebase {
            let words = answer("no_leader", "the state changed too often meanwhile: try again");
            self.reply(put.origin, put.id, words, out);
        }
    }

    fn propose(&mut self, proposal: Proposal) {
        let entry = Entry {
            request_id: proposal.request_id,
            idempotency_key: proposal.key,
            author: proposal.author,
            at_unix_ms: self.unix_ms,
            command: proposal.command,
        };
        let chunks = self.draw.request_id().0;
        for part in entry.split(chunks) {
            if self.replica.propose(part.encode()).is_err() {
                // Leadership is going; whoever leads next finds the same work in the state, and clients' writes
                // are handed over again by the replica that they came to.
                tracing::debug!("a proposal was dropped");
                return;
            }
        }
        if let Some(leader) = &mut self.leader {
            leader.proposed = self.replica.last_index();
        }
    }

    fn own(&mut self, command: Command) -> Proposal {
        Proposal {
            request_id: self.draw.request_id(),
            key: String::new(),
            author: format!("controller {}", self.config.id),
            command,
        }
    }

    /// What the state asks for first. Failures come before what people want.
    fn next_proposal(&mut self, now: Millis, out: &mut Vec<Effect>) -> Option<Proposal> {
        if self.state.incarnation == 0 {
            let (cluster, operator_key) = (self.config.cluster.clone(), self.config.operator_key.to_vec());
            return Some(self.own(Command::Found { incarnation: 1, cluster, operator_key }));
        }
        let command = self.raise_incarnation();
        let command = command.or_else(|| self.void());
        let command = command.or_else(|| self.release_again(out));
        let command = command.or_else(|| self.fact(now, out));
        if let Some(command) = command {
            return Some(self.own(command));
        }
        if let Some(proposal) = self.next_put(out) {
            return Some(proposal);
        }
        for number in self.changes_in_work() {
            let change = self.state.changes.get(&number)?.clone();
            if let Some(command) = self.advance(&change, now, out) {
                return Some(self.own(command));
            }
        }
        None
    }

    /// Changes that have not ended, and the newest intent's when hosts have nothing but a void release.
    fn changes_in_work(&self) -> Vec<u64> {
        let running = self.state.changes.values().filter(|change| change.runs());
        let mut numbers: Vec<u64> = running.map(|change| change.number).collect();
        if let Some(intent) = self.state.head()
            && self.state.changes.get(&intent.change).is_some_and(|one| one.state == ChangeState::Done)
            && self.state.assignments.values().any(|assignment| self.state.is_void(assignment))
        {
            numbers.push(intent.change);
        }
        numbers
    }

    /// A cluster founded anew over running agents must begin above what they hold.
    fn raise_incarnation(&self) -> Option<Command> {
        if self.state.release_index != 0 {
            return None;
        }
        let (host, highest) = (self.fleet.hosts())
            .filter(|(_, view)| view.highest > Generation::default())
            .map(|(host, view)| (host, view.highest))
            .max_by_key(|(_, highest)| *highest)?;
        (highest.incarnation >= self.state.incarnation).then(|| Command::RaiseIncarnation {
            above: highest.incarnation,
            reason: format!("{host} holds generation {highest}, which this cluster did not release"),
        })
    }

    /// A release about which a majority thinks otherwise, and so do we.
    fn void(&self) -> Option<Command> {
        self.state.live_releases().into_iter().find_map(|release| {
            let own = self.votes.of(self.config.id, release.index)?;
            let wrong = own != release.digest && self.votes.rejected(release, self.majority());
            (wrong && !self.state.settled(release)).then(|| Command::Void {
                release: release.index,
                reason: "a majority of the controllers computed other programs".to_string(),
            })
        })
    }

    /// What a void release should have been.
    fn release_again(&mut self, out: &mut Vec<Effect>) -> Option<Command> {
        let void = self.state.assignments.values().find_map(|assignment| {
            let index = assignment.generation.index;
            let release = self.state.releases.get(&index).filter(|release| release.void)?;
            let change = self.state.changes.get(&release.change)?;
            (change.runs() && change.release == index).then(|| (release.clone(), change.kind))
        });
        let (release, kind) = void?;
        let facts = self.state.facts_now();
        let networks = self.networks_assigned(&facts, out)?;
        let mut hosts = Vec::new();
        for (host, assignment) in &self.state.assignments {
            let digest = networks.get(&assignment.revision)?.host(host).map(|(_, digest)| digest);
            let Some(digest) = digest else { continue };
            let of_it = assignment.generation.index == release.index;
            // A fact concerns all hosts, but for those of its later steps: it may have left some out.
            let concerned = assignment.fact_index == self.state.fact_index;
            let left_out = kind == ChangeKind::Failure && concerned && digest != assignment.digest;
            if of_it || left_out {
                hosts.push(Assigned { host: host.clone(), revision: assignment.revision, digest });
            }
        }
        Some(Command::Release(Release {
            change: release.change,
            step: release.step,
            steps: Vec::new(),
            hosts,
            base_release_index: self.state.release_index,
        }))
    }

    /// The programs of every revision that a host is assigned, under `facts`.
    fn networks_assigned(
        &mut self,
        facts: &Arc<Facts>,
        out: &mut Vec<Effect>,
    ) -> Option<BTreeMap<u64, Arc<Network>>> {
        let mut networks = BTreeMap::new();
        let mut complete = true;
        for assignment in self.state.assignments.values() {
            let revision = assignment.revision;
            if networks.contains_key(&revision) {
                continue;
            }
            let key = self.state.key(revision, facts)?;
            match self.programs.get(key, self.state.topology(revision)?, out) {
                Some(network) => {
                    networks.insert(revision, network);
                }
                None => complete = false,
            }
        }
        complete.then_some(networks)
    }

    /// The next link about which the log is wrong, with what follows from it.
    fn fact(&mut self, now: Millis, out: &mut Vec<Effect>) -> Option<Command> {
        let facts = self.state.facts_now();
        let down =
            (self.fleet.suspects()).filter(|link| !facts.links_down.contains(*link)).find_map(|link| {
                match self.fleet.verdict(link, now) {
                    Verdict::Down(why) => Some((link.clone(), true, self.fleet.words(link, why))),
                    _ => None,
                }
            });
        let news = down.or_else(|| {
            let back = facts.links_down.iter().find(|link| self.returned(link, now))?;
            Some((back.clone(), false, "both ends have carrier and run what they are assigned".to_string()))
        });
        let (link, down, words) = news?;
        let mut supposed = Facts::clone(&facts);
        if down {
            supposed.links_down.insert(link.clone());
        } else {
            supposed.links_down.remove(&link);
        }
        let facts_after = Arc::new(supposed);
        let networks = self.networks_assigned(&facts_after, out)?;
        let back = self.gone_back(&facts_after, out)?;
        let mut hosts = Vec::new();
        for (host, assignment) in &self.state.assignments {
            let network = networks.get(&assignment.revision)?;
            // A host that went back by itself gets the reaction on top of what it runs, never on top of what it left.
            if let Some((revision, digest)) = back.get(host) {
                hosts.push(Assigned { host: host.clone(), revision: *revision, digest: *digest });
            } else if let Some((_, digest)) = network.host(host)
                && (digest != assignment.digest || self.state.is_void(assignment))
            {
                hosts.push(Assigned { host: host.clone(), revision: assignment.revision, digest });
            }
        }
        let base_release_index = self.state.release_index;
        let mut release = None;
        if !hosts.is_empty() {
            let steps = self.reaction(&hosts, &networks, &facts_after, &link, out)?;
            hosts.retain(|assigned| steps[0].hosts.binary_search(&assigned.host).is_ok());
            release = Some(Release { change: 0, step: 0, steps, hosts, base_release_index });
        }
        tracing::info!(%link, down, evidence = %words, "link believed");
        Some(Command::Fact(Fact {
            link,
            down,
            evidence: vec![words],
            base_fact_index: self.state.fact_index,
            base_release_index,
            release,
        }))
    }

    /// The steps of a link's failure or return for `hosts`: never none. Everybody at once where hosts are not all at one
    /// revision and one set of facts, or one of them went back: there is no state to begin an order from. `None` while
    /// programs are being computed.
    fn reaction(
        &mut self,
        hosts: &[Assigned],
        networks: &BTreeMap<u64, Arc<Network>>,
        facts: &Arc<Facts>,
        link: &str,
        out: &mut Vec<Effect>,
    ) -> Option<Vec<Step>> {
        let names: BTreeSet<String> = hosts.iter().map(|assigned| assigned.host.clone()).collect();
        let at_once = |names: BTreeSet<String>| vec![Step { hosts: names.into_iter().collect(), bake_ms: 0 }];
        let even = self.state.assignments.iter().all(|(host, assignment)| {
            assignment.revision == self.state.head_revision
                && assignment.fact_index == self.state.fact_index
                && !self.state.is_void(assignment)
                && self.fleet.host(host).is_none_or(|view| !view.went_back(assignment))
        });
        let revision = self.state.head_revision;
        let (true, Some(topology), Some(new)) =
            (even, self.state.topology(revision).cloned(), networks.get(&revision))
        else {
            return Some(at_once(names));
        };
        let key = self.state.key(revision, &self.state.facts_now())?;
        let old = self.programs.get(key, &topology, out)?;
        let state = |network| State { topology: &topology, network };
        let mut steps = reaction::steps(state(&old), state(new), facts, link);
        for step in &mut steps {
            step.hosts.retain(|host| names.contains(host));
        }
        steps.retain(|step| !step.hosts.is_empty());
        let ordered = steps.iter().map(|step| step.hosts.len()).sum::<usize>() == names.len();
        Some(if ordered { steps } else { at_once(names) })
    }

    /// Hosts that went back by themselves: the revision that each runs, and its program of that under `facts`. `None` while a
    /// program is being computed.
    fn gone_back(
        &mut self,
        facts: &Arc<Facts>,
        out: &mut Vec<Effect>,
    ) -> Option<BTreeMap<String, (u64, Digest)>> {
        let back = self.state.assignments.iter().filter_map(|(host, assignment)| {
            let view = self.fleet.host(host).filter(|view| view.went_back(assignment))?;
            // Until its next beat says what it runs, nothing can be made for it.
            let held = view.held.as_ref().filter(|held| held.generation != assignment.generation);
            Some((host.clone(), held.map(|held| held.revision)))
        });
        let mut found = BTreeMap::new();
        for (host, revision) in back.collect::<Vec<_>>() {
            let revision = revision?;
            // Of a revision that is forgotten nothing can be made.
            let Some(key) = self.state.key(revision, facts) else { continue };
            let Some(topology) = self.state.topology(revision) else { continue };
            let network = self.programs.get(key, topology, out)?;
            if let Some((_, digest)) = network.host(&host) {
                found.insert(host, (revision, digest));
            }
        }
        Some(found)
    }

    /// Whether a link that is held to be down is to be used again.
    pub(crate) fn returned(&self, link: &str, now: Millis) -> bool {
        let Verdict::Carrier(since) = self.fleet.verdict(link, now) else { return false };
        let Some(hosts) = self.fleet.hosts_of(link) else { return false };
        let current = hosts.iter().all(|host| {
            self.state.assignments.get(host).is_none_or(|assignment| {
                // Who went back by itself runs what it ran a moment ago, and gets its next program with this return.
                (self.fleet.host(host)).is_some_and(|view| {
                    view.went_back(assignment) || view.standing(assignment) == Standing::Acknowledged
                })
            })
        });
        current && now.0.saturating_sub(since.0) >= self.link_up_hold_ms()
    }

    /// How long a returned link must keep its carrier.
    pub(crate) fn link_up_hold_ms(&self) -> u64 {
        self.state.head().map_or(0, |intent| intent.topology.safety.link_up_hold_ms)
    }

    fn next_put(&mut self, out: &mut Vec<Effect>) -> Option<Proposal> {
        // Each round takes one away, waits, or ends with a proposal.
        while let Some(put) = self.leader.as_mut()?.puts.pop_front() {
            match self.judge(&put, out) {
                Judged::Answer(words) => self.reply(put.origin, put.id, words, out),
                Judged::Waits => {
                    self.leader.as_mut()?.puts.push_front(put);
                    return None;
                }
                Judged::Propose(intent) => {
                    let proposal = Proposal {
                        request_id: put.id,
                        key: put.key.clone(),
                        author: put.author.clone(),
                        command: Command::Intent(intent),
                    };
                    self.leader.as_mut()?.puts.push_front(put);
                    return Some(proposal);
                }
            }
        }
        None
    }

    /// Judges a new topology against the state as it is.
    fn judge(&mut self, put: &Put, out: &mut Vec<Effect>) -> Judged {
        if let Some(words) = self.answered_before(put) {
            return Judged::Answer(words);
        }
        if let Some(expected) = put.intent.expected_revision
            && expected != self.state.head_revision
        {
            return Judged::Answer(stale(self.state.head_revision, expected));
        }
        let facts = self.state.facts_now();
        let new_key = crate::core::programs::Key { topology: put.topology_digest, facts: facts.clone() };
        let new = self.programs.get(new_key, &put.topology, out);
        let head = self.state.head().map(|intent| (intent.topology.clone(), intent.revision));
        let old = match &head {
            None => None,
            Some((topology, revision)) => {
                let key = self.state.key(*revision, &facts);
                match key.and_then(|key| self.programs.get(key, topology, out)) {
                    Some(network) => Some((topology, network)),
                    None => return Judged::Waits,
                }
            }
        };
        let Some(new) = new else { return Judged::Waits };
        let new_side = Side { topology: &put.topology, facts: &facts, network: &new };
        let old_side = old.as_ref().map(|(topology, network)| Side { topology, facts: &facts, network });
        let judgement = change::judge(old_side, new_side);
        if put.dry_run {
            let Some(running) = self.running(out) else { return Judged::Waits };
            let document =
                document::plan(&running, &put.topology, &new, &judgement.impact, &judgement.guards);
            let body = serde_json::to_vec(&document).unwrap_or_default();
            let revision = self.state.head_revision;
            return Judged::Answer(ClientAnswer { body, revision, ..answer("dry_run", "") });
        }
        let fits = Overridden {
            key: &self.state.operator_key,
            revision: self.state.head_revision + 1,
            topology: put.topology_digest,
            reason: &put.intent.reason,
        };
        match change::admit(&judgement.guards, put.intent.overrides.as_ref(), &fits) {
            Err(refusal) => Judged::Answer(refused(refusal, &judgement.impact)),
            Ok(()) => Judged::Propose(Intent {
                base_revision: self.state.head_revision,
                guards: judgement.guards,
                ..put.intent.clone()
            }),
        }
    }

    /// The same request, or the same key, took effect before.
    fn answered_before(&self, put: &Put) -> Option<ClientAnswer> {
        if put.dry_run {
            return None;
        }
        let record = self.state.remembered(&idempotency_key_of(&put.key, put.id))?;
        if record.body_digest != intent_digest(&put.intent) {
            return Some(key_taken());
        }
        let (change, revision) = (record.change, record.revision);
        Some(ClientAnswer { change, revision, ..answer("accepted", "") })
    }

    /// What hosts run now.
    fn running(&mut self, out: &mut Vec<Effect>) -> Option<document::Running<'_>> {
        let facts = self.state.facts_now();
        let networks = self.networks_assigned(&facts, out)?;
        let assignments = &self.state.assignments;
        Some(document::Running {
            digests: assignments.iter().map(|(host, one)| (host.clone(), one.digest)).collect(),
            networks: (assignments.iter())
                .filter_map(|(host, one)| Some((host.as_str(), networks.get(&one.revision)?.clone())))
                .collect(),
        })
    }

    /// The next entry of a change in work, once its gate is open.
    fn advance(&mut self, change: &ChangeRecord, now: Millis, out: &mut Vec<Effect>) -> Option<Command> {
        match self.gate(change, now) {
            Gate::Closed => return None,
            Gate::Refused(reason) => {
                let reason = format!("{reason}; hosts keep what they run, nothing is rolled back");
                return Some(Command::Progress { change: change.number, state: ChangeState::Halted, reason });
            }
            Gate::Open => {}
        }
        if change.kind == ChangeKind::Failure {
            return self.react_on(change, out);
        }
        let facts = self.state.facts_now();
        let key = self.state.key(change.revision, &facts)?;
        let topology = self.state.topology(change.revision)?.clone();
        let network = self.programs.get(key, &topology, out)?;
        let wanted = network.digests_by_host();
        let running = (self.state.assignments.iter())
            .map(|(host, assignment)| {
                // What comes from a void release, or what a host went back from, runs nowhere: it is released again,
                // whatever it is.
                let back = self.fleet.host(host).is_some_and(|view| view.went_back(assignment));
                let nothing = back || self.state.is_void(assignment);
                (host.clone(), if nothing { Digest([0; 32]) } else { assignment.digest })
            })
            .collect();
        // Planned anew at each gate: facts may have moved programs since the change began, and what is left to
        // do always follows from what hosts are assigned.
        let rest = steps(&running, &wanted, &topology.safety, topology.management.into());
        let Some(next) = rest.first() else {
            return change.runs().then(|| done(change.number, self.left_behind(&topology)));
        };
        let hosts = (next.hosts.iter())
            .filter_map(|host| {
                let digest = *wanted.get(host)?;
                Some(Assigned { host: host.clone(), revision: change.revision, digest })
            })
            .collect();
        let released = change.steps.iter().take(change.step as usize).cloned();
        let planned: Vec<Step> = released.chain(rest.iter().cloned()).collect();
        let steps = if planned == change.steps { Vec::new() } else { planned };
        tracing::info!(change = change.number, step = change.step, hosts = next.hosts.len(), "release");
        Some(Command::Release(Release {
            change: change.number,
            step: change.step,
            steps,
            hosts,
            base_release_index: self.state.release_index,
        }))
    }

    /// The next step of a link's failure or return, or its end. Later facts and topologies take along whom they find.
    fn react_on(&mut self, change: &ChangeRecord, out: &mut Vec<Effect>) -> Option<Command> {
        let now = self.state.fact_index;
        if change.fact_index != now {
            return Some(done(change.number, String::new()));
        }
        let waits = |host: &String| {
            self.state.assignments.get(host).is_some_and(|assignment| assignment.fact_index != now)
        };
        let mut rest: Vec<Step> = change.steps.iter().skip(change.step as usize).cloned().collect();
        for step in &mut rest {
            step.hosts.retain(waits);
        }
        rest.retain(|step| !step.hosts.is_empty());
        let Some(next) = rest.first().cloned() else {
            return Some(done(change.number, String::new()));
        };
        let facts = self.state.facts_now();
        let networks = self.networks_assigned(&facts, out)?;
        let back = self.gone_back(&facts, out)?;
        let assigned = |host: &String| {
            let assignment = self.state.assignments.get(host)?;
            let own = || Some((assignment.revision, networks.get(&assignment.revision)?.host(host)?.1));
            let (revision, digest) = back.get(host).copied().or_else(own)?;
            Some(Assigned { host: host.clone(), revision, digest })
        };
        let hosts = next.hosts.iter().filter_map(assigned).collect();
        let released = change.steps.iter().take(change.step as usize).cloned();
        let planned: Vec<Step> = released.chain(rest).collect();
        let steps = if planned == change.steps { Vec::new() } else { planned };
        tracing::info!(change = change.number, step = change.step, hosts = next.hosts.len(), "release");
        Some(Command::Release(Release {
            change: change.number,
            step: change.step,
            steps,
            hosts,
            base_release_index: self.state.release_index,
        }))
    }

    /// Words about hosts that the topology does not have any more.
    fn left_behind(&self, topology: &Topology) -> String {
        let gone: Vec<&str> = (self.state.assignments.keys())
            .filter(|host| topology.node_index(host).is_none())
            .map(String::as_str)
            .collect();
        if gone.is_empty() {
            return String::new();
        }
        let more = gone.len().saturating_sub(HOSTS_NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let named = gone.iter().take(HOSTS_NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        format!("{named}{more} left the topology: nothing is assigned there, agents keep what they run")
    }

    /// Whether the step in work is through: every host of it said, for exactly what it is assigned, that its
    /// kernel holds it, and has been well for the bake time.
    fn gate(&mut self, change: &ChangeRecord, now: Millis) -> Gate {
        if change.release == 0 {
            return Gate::Open;
        }
        let step = change.step.checked_sub(1).and_then(|at| change.steps.get(at as usize));
        let hosts = self.state.releases.get(&change.release).map_or(&[][..], |release| &release.hosts);
        let reaction = change.kind == ChangeKind::Failure;
        // The network has failed or healed whatever one host says: the others are not kept from what follows from it. At the
        // end all are waited for.
        let goes_on = reaction && (change.step as usize) < change.steps.len();
        let ends = reaction && !goes_on;
        let earlier = change.steps.iter().filter(|_| ends).flat_map(|step| &step.hosts);
        let of_change =
            |index| self.state.releases.get(&index).is_some_and(|one| one.change == change.number);
        let mut waiting = false;
        for host in hosts.iter().chain(earlier) {
            let Some(assignment) = self.state.assignments.get(host) else { continue };
            let index = assignment.generation.index;
            let overtaken = index != change.release && !(ends && of_change(index));
            // What is void is released again before anything else.
            if overtaken && reaction || self.state.is_void(assignment) {
                continue;
            }
            match self.fleet.host(host).map(|view| view.standing(assignment)) {
                Some(Standing::Acknowledged) => {}
                Some(Standing::Refused(_) | Standing::Failed(_)) if goes_on => {}
                Some(Standing::Refused(words) | Standing::Failed(words)) => {
                    return Gate::Refused(format!("{host}: {words}"));
                }
                Some(Standing::Waiting) | None => waiting = true,
            }
        }
        let Some(leader) = &mut self.leader else { return Gate::Closed };
        if waiting && goes_on {
            let asked = leader.asked.entry(change.number).or_insert((change.release, now));
            if asked.0 != change.release {
                *asked = (change.release, now);
            }
            waiting = now.0.saturating_sub(asked.1.0) < REACTION_STEP_MAX_MS;
        }
        if waiting {
            leader.baking.remove(&change.number);
            return Gate::Closed;
        }
        leader.asked.remove(&change.number);
        let bake_ms = step.map_or(0, |step| step.bake_ms);
        let baking = leader.baking.entry(change.number).or_insert((change.release, now));
        if baking.0 != change.release {
            *baking = (change.release, now);
        }
        if now.0.saturating_sub(baking.1.0) < bake_ms {
            return Gate::Closed;
        }
        leader.baking.remove(&change.number);
        Gate::Open
    }

    /// Hands leadership on when a majority computes other programs than this replica.
    pub(crate) fn yield_leadership(&mut self, release: u64, digest: Digest) {
        if let Some(peer) =
            self.votes.agreeing(release, digest).into_iter().find(|peer| *peer != self.config.id)
        {
            tracing::warn!(controller = self.config.id, to = peer, "outvoted: leadership is handed on");
            self.replica.transfer(peer);
        }
    }
}

/// A gate.
enum Gate {
    Open,
    Closed,
    Refused(String),
}

fn done(change: u64, reason: String) -> Command {
    tracing::info!(change, "change done");
    Command::Progress { change, state: ChangeState::Done, reason }
}

/// Reads a client's write; the answer when it can never be accepted.
fn read_put(origin: u64, id: RequestId, request: ClientRequest) -> Result<Box<Put>, Box<ClientAnswer>> {
    let ClientRequest { author, idempotency_key: key, body } = request;
    let ClientBody::PutTopology { topology: bytes, file, reason, expected_revision, dry_run, overrides } =
        body;
    let most = topology::FILE_BYTES_MAX.min(ENTRY_BYTES_TOTAL_MAX / 2);
    if bytes.len() > most {
        let detail = format!("the topology has {} bytes, at most {most} are accepted", bytes.len());
        return Err(Box::new(answer("too_large", detail)));
    }
    let reading = topology::read(&file, &bytes);
    let Some(model) = reading.topology else {
        let errors: Vec<rest::Diagnostic> = reading.diagnostics.iter().map(document::diagnostic).collect();
        let detail = match reading.diagnostics.first() {
            Some(first) => format!("{} problems, the first: {first}", reading.total),
            None => "the topology cannot be read".to_string(),
        };
        let body = serde_json::to_vec(&errors).unwrap_or_default();
        return Err(Box::new(ClientAnswer { body, ..answer("invalid_topology", detail) }));
    };
    Ok(Box::new(Put {
        id,
        origin,
        author,
        key,
        dry_run,
        topology: Arc::new(model),
        topology_digest: *blake3::hash(&bytes).as_bytes(),
        intent: Intent {
            base_revision: 0,
            expected_revision,
            topology: bytes,
            file,
            reason,
            guards: Vec::new(),
            overrides,
        },
        rebases: 0,
    }))
}

fn refused(refusal: Refusal, impact: &plan::impact::Impact) -> ClientAnswer {
    match refusal {
        Refusal::Guard(guard) => {
            let list = |names: &mut dyn Iterator<Item = &String>| {
                names.take(HOSTS_NAMED_MAX).cloned().collect::<Vec<_>>().join(", ")
            };
            let what = if guard.guard == plan::impact::TOO_FEW_CONTROLLERS {
                let hosts = list(&mut impact.short_of_controllers.iter().flatten());
                format!("fewer than two controllers would be in reach, then or between two steps, of {hosts}")
            } else {
                format!("going: {}", list(&mut impact.prefixes_lost.iter().chain(&impact.nodes_lost)))
            };
            let detail = format!(
                "{}: {}, the limit is {}; {what}; correct the file, or override the guard with a reason \
                 and the operator's key",
                guard.guard, guard.value, guard.limit
            );
            ClientAnswer { guard: Some(guard), ..answer("guard_refused", detail) }
        }
        Refusal::BadOverride(why) => answer("bad_override", format!("the override does not count: {why}")),
    }
}
