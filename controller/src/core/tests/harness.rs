//! A cluster of real cores in one thread: messages through wire bytes, scripted agents, disks that survive.
//!
//! Time is a number that `run` moves. Nothing here draws anything.

use crate::core::*;
use plan::{Digest, Network};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use wire::Generation;
use wire::agent::*;
use wire::log::RequestId;
use wire::peer::{ClientAnswer, ClientBody, ClientRequest, PeerMessage};

/// One way between controllers, and from the disk.
pub(super) const DELAY_MS: u64 = 1;

enum Item {
    Peer { to: u64, bytes: Vec<u8> },
    Persisted { node: u64, boot: u64, number: u64 },
    Computed { node: u64, boot: u64, job: JobId, network: Arc<Network> },
    ToAgent { host: String, session: AgentSession, bytes: Vec<u8> },
    Closed { host: String, session: AgentSession },
    FromAgent { node: u64, session: AgentSession, bytes: Vec<u8> },
}

struct Node {
    core: Option<Controller>,
    boot: u64,
    config: Config,
    disk: StoredState,
    writes: VecDeque<Persist>,
    compiler: Compiler,
}

/// How a scripted agent answers an offer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Temper {
    Willing,
    Refuses,
    Fails,
    Silent,
    /// Runs what it is offered, on trial for as long as the test wants.
    Tries,
    Pinned,
}

pub(super) struct Agent {
    pub(super) at: Option<u64>,
    session: AgentSession,
    pub(super) temper: Temper,
    pub(super) held: Option<Held>,
    /// What was in force before that.
    before: Option<Held>,
    pub(super) highest: Generation,
    pub(super) offers: Vec<Offer>,
    pub(super) links: BTreeMap<String, LinkState>,
    /// Interfaces whose counter moves with each beat.
    pub(super) receiving: BTreeSet<String>,
    pub(super) closed: Vec<String>,
    /// Sends no beats.
    pub(super) frozen: bool,
    has_table: bool,
}

pub(super) struct Cluster {
    pub(super) now: u64,
    nodes: BTreeMap<u64, Node>,
    pub(super) agents: BTreeMap<String, Agent>,
    items: BTreeMap<(u64, u64), Item>,
    sequence: u64,
    sessions: u64,
    requests: u64,
    pub(super) replies: BTreeMap<RequestId, Reply>,
    /// Pairs (from, to) that do not reach each other.
    pub(super) cut: BTreeSet<(u64, u64)>,
    /// Replicas that compute something else.
    pub(super) wrong: BTreeSet<u64>,
    /// Of a hundred messages between controllers so many are lost.
    pub(super) loss_percent: u64,
    losses: crate::core::draw::Draw,
    /// Votes between controllers are lost.
    pub(super) deaf_to_votes: bool,
    pub(super) snapshots: u64,
    /// Releases to agents: host, generation, digest.
    pub(super) sent: Vec<(String, Generation, Digest)>,
}

pub(super) fn operator() -> ring::signature::Ed25519KeyPair {
    ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

impl Cluster {
    pub(super) fn new(size: u64) -> Cluster {
        Cluster::with(size, |_| {})
    }

    pub(super) fn with(size: u64, adjust: impl Fn(&mut Config)) -> Cluster {
        use ring::signature::KeyPair;
        let key: [u8; 32] = operator().public_key().as_ref().try_into().unwrap();
        let mut cluster = Cluster {
            now: 0,
            nodes: BTreeMap::new(),
            agents: BTreeMap::new(),
            items: BTreeMap::new(),
            sequence: 0,
            sessions: 0,
            requests: 0,
            replies: BTreeMap::new(),
            cut: BTreeSet::new(),
            wrong: BTreeSet::new(),
            loss_percent: 0,
            losses: crate::core::draw::Draw::new(1, 1),
            deaf_to_votes: false,
            snapshots: 0,
            sent: Vec::new(),
        };
        for id in 1..=size {
            let mut config = Config::new(id, (1..=size).collect(), "test", key, 42);
            adjust(&mut config);
            let node = Node {
                core: None,
                boot: 0,
                config,
                disk: StoredState::default(),
                writes: VecDeque::new(),
                compiler: Compiler::default(),
            };
            cluster.nodes.insert(id, node);
            cluster.start(id);
        }
        cluster
    }

    pub(super) fn start(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.boot += 1;
        node.config.seed += 1;
        let mut out = Vec::new();
        let core =
            Controller::new(node.config.clone(), node.disk.clone(), Millis(self.now), &mut out).unwrap();
        node.core = Some(core);
        self.take(id, out);
    }

    /// Power off: what was not synced is gone.
    pub(super) fn kill(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.core = None;
        node.compiler = Compiler::default();
        node.writes.clear();
        for other in self.ids() {
            if other != id {
                self.event(other, Event::PeerLost { peer: id });
            }
        }
        for agent in self.agents.values_mut().filter(|agent| agent.at == Some(id)) {
            agent.at = None;
        }
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(super) fn running(&self) -> Vec<u64> {
        self.ids().into_iter().filter(|id| self.nodes[id].core.is_some()).collect()
    }

    pub(super) fn core(&self, id: u64) -> &Controller {
        self.nodes[&id].core.as_ref().unwrap()
    }

    fn after(&mut self, delay_ms: u64, item: Item) {
        self.sequence += 1;
        self.items.insert((self.now + delay_ms, self.sequence), item);
    }

    pub(super) fn event(&mut self, id: u64, event: Event) {
        let now = Millis(self.now);
        let mut out = Vec::new();
        let Some(core) = self.nodes.get_mut(&id).and_then(|node| node.core.as_mut()) else { return };
        core.handle(now, event, &mut out);
        self.take(id, out);
    }

    fn take(&mut self, id: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::SendPeer { to, message } => {
                    let lost = self.losses.next() % 100 < self.loss_percent;
                    let vote = matches!(message.body, wire::peer::PeerBody::Vote { .. });
                    let lost = lost || (vote && self.deaf_to_votes);
                    if !lost && !self.cut.contains(&(id, to)) {
                        self.after(DELAY_MS, Item::Peer { to, bytes: message.encode() });
                    }
                }
                Effect::Persist(persist) => {
                    let node = self.nodes.get_mut(&id).unwrap();
                    self.snapshots += u64::from(persist.snapshot.is_some());
                    let (number, boot) = (persist.number, node.boot);
                    node.writes.push_back(persist);
                    self.after(DELAY_MS, Item::Persisted { node: id, boot, number });
                }
                Effect::Compact { index } => {
                    let node = self.nodes.get_mut(&id).unwrap();
                    node.disk.entries.retain(|entry| entry.index > index);
                }
                Effect::Compute(job) => {
                    let node = self.nodes.get_mut(&id).unwrap();
                    let mut network = node.compiler.compile(&job.topology, job.facts.clone());
                    let fresh = plan::compile(&job.topology, &job.facts);
                    assert!(network == fresh, "replica {id} computes other programs than from nothing");
                    if self.wrong.contains(&id) {
                        network.digests[0] = Digest([9; 32]);
                    }
                    let boot = self.nodes[&id].boot;
                    let network = Arc::new(network);
                    self.after(DELAY_MS, Item::Computed { node: id, boot, job: job.job, network });
                }
                Effect::SendAgent { session, message } => {
                    let agent = self.agents.iter().find(|(_, agent)| agent.session == session);
                    if let Some((host, _)) = agent {
                        let (host, bytes) = (host.clone(), message.encode());
                        self.after(DELAY_MS, Item::ToAgent { host, session, bytes });
                    }
                }
                Effect::CloseAgent { session, reason } => {
                    if let Some((host, agent)) =
                        self.agents.iter_mut().find(|(_, agent)| agent.session == session)
                    {
                        agent.closed.push(reason);
                        let host = host.clone();
                        self.after(DELAY_MS, Item::Closed { host, session });
                    }
                }
                Effect::Reply { id, reply } => {
                    assert!(self.replies.insert(id, reply).is_none(), "answered twice");
                }
            }
        }
    }

    fn deliver(&mut self, item: Item) {
        match item {
            Item::Peer { to, bytes } => {
                let message = PeerMessage::decode(&bytes).unwrap();
                self.event(to, Event::Peer(message));
            }
            Item::Persisted { node: id, boot, number } => {
                let node = self.nodes.get_mut(&id).unwrap();
                if node.boot != boot {
                    return;
                }
                while node.writes.front().is_some_and(|write| write.number <= number) {
                    write(&mut node.disk, node.writes.pop_front().unwrap());
                }
                self.event(id, Event::Persisted { number });
            }
            Item::Computed { node, boot, job, network } => {
                if self.nodes[&node].boot == boot {
                    self.event(node, Event::Computed { job, network });
                }
            }
            Item::FromAgent { node, session, bytes } => {
                let message = ToController::decode(&bytes).unwrap();
                self.event(node, Event::Agent { session, message });
            }
            Item::Closed { host, session } => {
                let agent = self.agents.get_mut(&host).unwrap();
                if agent.session == session {
                    agent.at = None;
                }
            }
            Item::ToAgent { host, session, bytes } => {
                let message = ToAgent::decode(&bytes).unwrap();
                let agent = self.agents.get_mut(&host).unwrap();
                if let (ToAgent::Offer(offer), true) = (message, agent.session == session) {
                    self.sent.push((host.clone(), offer.generation, offer.digest));
                    if let Some(ack) = self.agents.get_mut(&host).unwrap().offered(*offer) {
                        self.say(&host, ToController::Ack(ack));
                    }
                }
            }
        }
    }

    /// Moves time, in steps of 10 ms.
    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            let next = self.now + 10;
            while let Some(entry) = self.items.first_entry().filter(|entry| entry.key().0 <= next) {
                let ((due, _), item) = entry.remove_entry();
                self.now = self.now.max(due);
                self.deliver(item);
            }
            self.now = next;
            for id in self.ids() {
                self.event(id, Event::Tick { unix_ms: 1_700_000_000_000 + self.now });
            }
            if self.now.is_multiple_of(500) {
                self.beats();
            }
        }
    }

    /// Moves time until something holds, at most `ms`.
    #[track_caller]
    pub(super) fn until(&mut self, ms: u64, what: &str, holds: impl Fn(&Cluster) -> bool) {
        let end = self.now + ms;
        while !holds(self) {
            assert!(self.now < end, "not within {ms} ms: {what}");
            self.run(10);
        }
    }

    fn beats(&mut self) {
        let hosts: Vec<String> = self.agents.keys().cloned().collect();
        for host in hosts {
            let agent = self.agents.get_mut(&host).unwrap();
            if agent.frozen {
                continue;
            }
            for interface in agent.receiving.clone() {
                agent.links.get_mut(&interface).unwrap().rx_packets += 100;
            }
            let beat = agent.beat();
            self.say(&host, ToController::Beat(beat));
        }
    }

    pub(super) fn say(&mut self, host: &str, message: ToController) {
        let agent = &self.agents[host];
        if let Some(node) = agent.at {
            let session = agent.session;
            self.after(DELAY_MS, Item::FromAgent { node, session, bytes: message.encode() });
        }
    }

    /// An agent of each node of the topology, connected to the replicas in turn.
    pub(super) fn add_agents(&mut self, topology: &str) {
        let reading = topology::read("t.yaml", topology.as_bytes());
        let topology = reading.topology.unwrap();
        for (at, node) in topology.nodes.iter().enumerate() {
            let mut links = BTreeMap::new();
            for link in &topology.links {
                for end in &link.ends {
                    if topology.node(end.node).name == node.name {
                        let interface = end.interface.clone();
                        let state = LinkState {
                            interface,
                            carrier: true,
                            rx_packets: 1,
                            tx_packets: 1,
                            neighbour: None,
                        };
                        links.insert(end.interface.clone(), state);
                    }
                }
            }
            let uplinks =
                topology.external.iter().filter(|external| topology.node(external.node).name == node.name);
            for interface in uplinks.map(|external| external.interface.clone()) {
                let state =
                    LinkState { interface, carrier: true, rx_packets: 1, tx_packets: 1, neighbour: None };
                links.insert(state.interface.clone(), state);
            }
            let agent = Agent {
                at: None,
                session: AgentSession(0),
                temper: Temper::Willing,
                held: None,
                before: None,
                highest: Generation::default(),
                offers: Vec::new(),
                links,
                receiving: BTreeSet::new(),
                closed: Vec::new(),
                frozen: false,
                has_table: false,
            };
            self.agents.insert(node.name.clone(), agent);
            let ids = self.ids();
            self.connect(&node.name, ids[at % ids.len()]);
        }
    }

    pub(super) fn connect(&mut self, host: &str, node: u64) {
        self.sessions += 1;
        let session = AgentSession(self.sessions);
        let agent = self.agents.get_mut(host).unwrap();
        agent.at = Some(node);
        agent.session = session;
        let hello = Hello {
            host: host.to_string(),
            version: "0.1.0".to_string(),
            held: agent.held.clone(),
            highest: agent.highest,
        };
        self.event(node, Event::AgentOpened { session, host: host.to_string() });
        self.say(host, ToController::Hello(hello));
        let links = self.agents[host].links.values().cloned().collect();
        self.say(host, ToController::Links(links));
    }

    /// An agent whose time was over goes back to what it ran before, and says so.
    pub(super) fn go_back(&mut self, host: &str) {
        let agent = self.agents.get_mut(host).unwrap();
        let left = std::mem::replace(&mut agent.held, agent.before.take()).unwrap();
        let ack = Ack {
            generation: left.generation,
            digest: left.digest,
            outcome: Outcome::Reverted { detail: "no controller answered".to_string() },
            effective_digest: None,
            failures: Vec::new(),
            writes: 0,
            unconfirmed: false,
        };
        self.say(host, ToController::Ack(ack));
    }

    /// An agent on trial was answered.
    pub(super) fn confirm(&mut self, host: &str) {
        let agent = self.agents.get_mut(host).unwrap();
        agent.held.as_mut().unwrap().unconfirmed = false;
        let beat = agent.beat();
        self.say(host, ToController::Beat(beat));
    }

    /// The agent's stream ends.
    pub(super) fn disconnect(&mut self, host: &str) {
        let agent = self.agents.get_mut(host).unwrap();
        if let Some(node) = agent.at.take() {
            let session = agent.session;
            self.event(node, Event::AgentClosed { session });
        }
    }

    /// One end of a link loses or gets carrier; its agent says so at once.
    pub(super) fn carrier(&mut self, host: &str, interface: &str, carrier: bool) {
        let agent = self.agents.get_mut(host).unwrap();
        agent.links.get_mut(interface).unwrap().carrier = carrier;
        let links = agent.links.values().cloned().collect();
        self.say(host, ToController::Links(links));
    }

    pub(super) fn leader(&self) -> Option<u64> {
        let term = |id: &u64| self.core(*id).replica.term();
        let running = |id: &u64| self.nodes[id].core.is_some();
        let leads = |id: &u64| self.core(*id).replica.leads_with_full_state();
        self.ids().into_iter().filter(running).filter(leads).max_by_key(term)
    }

    pub(super) fn elect(&mut self) -> u64 {
        let founded = |cluster: &Cluster| {
            cluster.leader().is_some_and(|leader| cluster.core(leader).state.incarnation > 0)
        };
        self.until(5_000, "a leader", founded);
        self.leader().unwrap()
    }

    pub(super) fn request(&mut self, node: u64, body: RequestBody) -> RequestId {
        self.requests += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.requests.to_be_bytes());
        let id = RequestId(id);
        self.event(node, Event::Request(Request { id, body }));
        id
    }

    pub(super) fn put(&mut self, node: u64, topology: &str) -> RequestId {
        self.request(node, RequestBody::Write(put(topology)))
    }

    /// Waits for the answer to a write.
    #[track_caller]
    pub(super) fn answer(&mut self, id: RequestId) -> ClientAnswer {
        self.until(40_000, "an answer", |cluster| cluster.replies.contains_key(&id));
        match &self.replies[&id] {
            Reply::Write(answer) => answer.clone(),
            Reply::Read(answer) => panic!("{answer:?}"),
        }
    }

    pub(super) fn read(&mut self, node: u64, read: ReadRequest) -> ReadAnswer {
        let id = self.request(node, RequestBody::Read(read));
        match self.replies.get(&id) {
            Some(Reply::Read(answer)) => answer.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The state of a change on some replica that runs.
    pub(super) fn change(&self, number: u64) -> Option<&crate::core::state::ChangeRecord> {
        let id = self.ids().into_iter().filter(|id| self.nodes[id].core.is_some());
        let newest = id.max_by_key(|id| self.core(*id).replica.applied())?;
        self.core(newest).state.changes.get(&number)
    }

    pub(super) fn state_of(&self, change: u64) -> String {
        self.change(change).map_or("absent".to_string(), |change| change.state.name().to_string())
    }

    /// Every host holds what the newest state assigns to it.
    pub(super) fn converged(&self) -> bool {
        let leader = match self.leader() {
            Some(leader) => leader,
            None => return false,
        };
        self.core(leader).state.assignments.iter().all(|(host, assignment)| {
            self.agents[host].held.as_ref().is_some_and(|held| {
                (held.generation, held.digest) == (assignment.generation, assignment.digest)
            })
        })
    }

    /// An entry that no leader of ours would propose.
    pub(super) fn propose_raw(&mut self, id: u64, bytes: Vec<u8>) {
        self.nodes.get_mut(&id).unwrap().core.as_mut().unwrap().replica.propose(bytes).unwrap();
    }

    pub(super) fn disk(&self, id: u64) -> &StoredState {
        &self.nodes[&id].disk
    }
}

pub(super) fn put(topology: &str) -> ClientRequest {
    ClientRequest {
        author: "tester".to_string(),
        idempotency_key: String::new(),
        body: ClientBody::PutTopology {
            topology: topology.as_bytes().to_vec(),
            file: "t.yaml".to_string(),
            reason: "test".to_string(),
            expected_revision: None,
            dry_run: false,
            overrides: None,
        },
    }
}

fn write(disk: &mut StoredState, persist: Persist) {
    if persist.clear_entries {
        disk.entries.clear();
    }
    if let Some(snapshot) = persist.snapshot {
        disk.snapshot = Some(snapshot);
    }
    if let Some(first) = persist.entries.first() {
        let from = first.index;
        disk.entries.retain(|entry| entry.index < from);
        disk.entries.extend(persist.entries);
    }
    if persist.hard_state.is_some() {
        disk.hard_state = persist.hard_state;
    }
}

impl Agent {
    fn beat(&self) -> Beat {
        Beat {
            held: self.held.clone(),
            highest: self.highest,
            links: self.links.values().cloned().collect(),
            objects: ObjectCounts { installed: 10, pending: 0, refused: 0 },
            writes_total: 0,
            applied_age_ms: 5,
            pinned: self.temper == Temper::Pinned,
            frozen: false,
            probe: 0,
            hold: String::new(),
        }
    }

    fn offered(&mut self, offer: Offer) -> Option<Ack> {
        let mut ack = Ack {
            generation: offer.generation,
            digest: offer.digest,
            outcome: Outcome::Applied,
            effective_digest: Some(offer.digest),
            failures: Vec::new(),
            writes: 3,
            unconfirmed: false,
        };
        assert!(offer.generation >= self.highest, "an older program was offered");
        self.offers.push(offer.clone());
        match self.temper {
            Temper::Silent => return None,
            Temper::Refuses => {
                ack.outcome = Outcome::RefusedByGuard { guard: "removals".to_string(), value: 11, limit: 10 };
            }
            Temper::Fails => {
                ack.outcome = Outcome::Failed;
                ack.failures = vec![ObjectFailure {
                    object: "route 10.1.0.0/24 metric 100".to_string(),
                    reason: "File exists (EEXIST)".to_string(),
                    pending: false,
                }];
            }
            Temper::Pinned => ack.outcome = Outcome::Pinned { detail: "by root: measuring".to_string() },
            Temper::Willing if offer.table.is_none() && !self.has_table => ack.outcome = Outcome::NeedTable,
            Temper::Willing | Temper::Tries => {
                ack.unconfirmed = self.temper == Temper::Tries && offer.unconfirmed;
                self.before = self.held.clone();
                self.has_table = true;
                self.highest = offer.generation;
                self.held = Some(Held {
                    generation: offer.generation,
                    revision: offer.revision,
                    digest: offer.digest,
                    table_digest: offer.table_digest,
                    effective_digest: offer.digest,
                    unconfirmed: ack.unconfirmed,
                });
            }
        }
        Some(ack)
    }
}
