//! The simulated world: replicas, agents, their disks and kernels, and the network between them.
//!
//! Owns the event heap and every double; the cores decide. Faults are methods; a scenario calls them between two calls
//! of [`World::run`]. After every event the invariants look at what changed.

use crate::disk::SimDisk;
use crate::heap::{Heap, Micros};
use crate::invariants::Invariants;
use crate::kernel::{Foreign, SimKernel};
use crate::random::Random;
use agent::core::kernel::Op;
use agent::core::{Agent, Effect as AgentEffect, Event as AgentEvent};
use controller::core::{
    AgentSession, ComputeJob, Controller, Effect, Event, ReadAnswer, ReadRequest, Reply, Request, RequestBody,
};
use plan::Network;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Topology;
use wire::agent::{ToAgent, ToController};
use wire::ledger::Ledger;
use wire::log::RequestId;
use wire::peer::{ClientAnswer, ClientBody, ClientRequest, PeerMessage};
use wire::rest::Status;

/// Virtual milliseconds between two ticks of a core, as in the shells.
const TICK: Micros = 10_000;
/// One way over the management network: 0.1 ms to 2 ms.
const DELAY: (Micros, Micros) = (100, 2_000);
/// An fsync: 0.1 ms to 5 ms.
const FSYNC: (Micros, Micros) = (100, 5_000);
/// A kernel's reading or batch: 0.2 ms to 3 ms.
const KERNEL: (Micros, Micros) = (200, 3_000);
/// A computation of all programs.
const COMPUTE: (Micros, Micros) = (1_000, 20_000);
/// From a broken session to the next attempt.
const RECONNECT: (Micros, Micros) = (100_000, 600_000);
/// From a cable's end to the kernel's event.
const CARRIER: (Micros, Micros) = (50, 500);

/// What a world is made of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Number of controllers.
    pub replicas: u64,
    /// The network.
    pub topology: Arc<Topology>,
    /// Operator's public key.
    pub operator_key: [u8; 32],
}

/// The message faults of the management network, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noise {
    /// Peer messages that vanish.
    pub lost: u64,
    /// Peer messages that come twice.
    pub doubled: u64,
    /// Peer messages that take 50 times as long.
    pub late: u64,
}

#[derive(Debug)]
enum Happening {
    ReplicaTick { id: u64, life: u64 },
    AgentTick { host: String, life: u64 },
    Peer { to: u64, bytes: Vec<u8> },
    Disk { id: u64, life: u64, number: u64 },
    Computed { id: u64, life: u64, job: ComputeJob },
    Connect { host: String, life: u64 },
    ToReplica { session: u64, bytes: Vec<u8> },
    ToAgent { session: u64, bytes: Vec<u8> },
    SessionLost { session: u64 },
    KernelRead { host: String, life: u64, sysctls: Vec<String> },
    KernelApply { host: String, life: u64, batch: u64, ops: Vec<Op> },
    LedgerSaved { host: String, life: u64, save: u64, bytes: Vec<u8> },
    Carrier { host: String },
}

#[derive(Debug, Default)]
struct Replica {
    core: Option<Controller>,
    /// What it said of itself after its last event.
    status: Option<Status>,
    disk: SimDisk,
    life: u64,
    lies: bool,
    disk_free_at: Micros,
}

#[derive(Debug)]
struct Host {
    agent: Option<Agent>,
    life: u64,
    ledger: Option<Vec<u8>>,
    kernel: SimKernel,
    foreign: Foreign,
    wants_session: bool,
    session: Option<u64>,
    kernel_free_at: Micros,
}

/// A stream: ordered, reliable until it breaks.
#[derive(Debug)]
struct Session {
    host: String,
    replica: u64,
    replica_life: u64,
    agent_life: u64,
    last_up: Micros,
    last_down: Micros,
}

/// The world.
#[derive(Debug)]
pub struct World {
    setting: Setting,
    heap: Heap<Happening>,
    random: Random,
    replicas: BTreeMap<u64, Replica>,
    hosts: BTreeMap<String, Host>,
    sessions: BTreeMap<u64, Session>,
    next_session: u64,
    next_request: u64,
    /// One-way cuts between controllers.
    cuts: BTreeSet<(u64, u64)>,
    noise: Noise,
    links_down: BTreeSet<String>,
    replies: BTreeMap<RequestId, ClientAnswer>,
    /// The newest computation: replicas compute the same one after the other.
    programs: Option<(Arc<Topology>, plan::Facts, Arc<Network>)>,
    invariants: Invariants,
    trace: blake3::Hasher,
    events: u64,
}

impl World {
    /// All replicas and agents start at once; no topology is known to anybody.
    pub fn new(setting: Setting) -> World {
        let mut world = World {
            random: Random::new(setting.seed).fork("network"),
            heap: Heap::default(),
            replicas: (1..=setting.replicas).map(|id| (id, Replica::default())).collect(),
            hosts: hosts_of(&setting.topology),
            sessions: BTreeMap::new(),
            next_session: 0,
            next_request: 0,
            cuts: BTreeSet::new(),
            noise: Noise::default(),
            links_down: BTreeSet::new(),
            replies: BTreeMap::new(),
            programs: None,
            invariants: Invariants::default(),
            trace: blake3::Hasher::new(),
            events: 0,
            setting,
        };
        for id in 1..=world.setting.replicas {
            world.start_replica(id);
        }
        for host in world.host_names() {
            world.start_agent(&host);
        }
        world
    }

    /// Names of all hosts.
    pub fn host_names(&self) -> Vec<String> {
        self.hosts.keys().cloned().collect()
    }

    /// Ids of all links.
    pub fn links(&self) -> Vec<String> {
        self.setting.topology.links.iter().map(|link| link.id.clone()).collect()
    }

    /// Links that the leader believes to be down.
    pub fn facts(&self) -> Vec<String> {
        let leader = self.leader().and_then(|id| self.status(id));
        leader.map(|status| status.links_down.clone()).unwrap_or_default()
    }

    /// Virtual milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.heap.now() / 1_000
    }

    /// Number of events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Hash over everything that happened: equal for two runs of one seed.
    pub fn trace_hash(&self) -> blake3::Hash {
        self.trace.finalize()
    }

    /// Lets `ms` virtual milliseconds pass.
    ///
    /// # Errors
    /// The first invariant that broke, in words.
    pub fn run(&mut self, ms: u64) -> Result<(), String> {
        let end = self.heap.now() + ms * 1_000;
        while let Some(happening) = self.heap.next_before(end) {
            self.events += 1;
            self.trace.update(&self.heap.now().to_le_bytes());
            self.trace.update(format!("{happening:?}").as_bytes());
            self.happen(happening);
            self.invariants.verdict().map_err(|broken| self.story(&broken))?;
        }
        Ok(())
    }

    /// Lets time pass until `done` holds, at most `ms_max`.
    ///
    /// # Errors
    /// A broken invariant, or `what` when the time is over.
    pub fn run_until(
        &mut self,
        what: &str,
        ms_max: u64,
        done: impl Fn(&World) -> bool,
    ) -> Result<(), String> {
        for _ in 0..ms_max.div_ceil(20) {
            if done(self) {
                return Ok(());
            }
            self.run(20)?;
        }
        if done(self) { Ok(()) } else { Err(self.story(&format!("not within {ms_max} ms: {what}"))) }
    }

    fn story(&self, broken: &str) -> String {
        let seed = self.setting.seed;
        let replicas: Vec<String> =
            self.replicas.iter().map(|(id, replica)| describe(*id, replica)).collect();
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|(name, host)| {
                let held =
                    ledger_of(host).and_then(|ledger| ledger.running).map(|kept| kept.generation.to_string());
                format!("{name}: generation {}", held.unwrap_or_else(|| "none".to_string()))
            })
            .collect();
        format!(
            "seed {seed}, {} ms, {} events: {broken}\n  {}\n  {}\n  links down: {:?}, cuts: {:?}",
            self.now_ms(),
            self.events,
            replicas.join("\n  "),
            hosts.join(", "),
            self.links_down,
            self.cuts
        )
    }

    fn draw(&mut self, range: (Micros, Micros)) -> Micros {
        self.random.between(range.0, range.1)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ReplicaTick { id, life } => {
                if self.alive(id, life) {
                    self.heap.after(TICK, Happening::ReplicaTick { id, life });
                    let unix_ms = 1_700_000_000_000 + self.now_ms();
                    self.tell_replica(id, Event::Tick { unix_ms });
                }
            }
            Happening::AgentTick { host, life } => {
                if self.agent_alive(&host, life) {
                    self.heap.after(TICK, Happening::AgentTick { host: host.clone(), life });
                    self.tell_agent(&host, AgentEvent::Tick);
                }
            }
            Happening::Peer { to, bytes } => match PeerMessage::decode(&bytes) {
                Ok(message) => self.tell_replica(to, Event::Peer(message)),
                Err(error) => {
                    self.invariants.broke(format!("a replica sent what its peer cannot read: {error}"))
                }
            },
            Happening::Disk { id, life, number } => {
                if self.alive(id, life)
                    && let Some(number) =
                        self.replicas.get_mut(&id).and_then(|replica| replica.disk.finish(number))
                {
                    self.tell_replica(id, Event::Persisted { number });
                }
            }
            Happening::Computed { id, life, job } => {
                if self.alive(id, life) {
                    let network = self.compute(id, &job);
                    self.tell_replica(id, Event::Computed { job: job.job, network });
                }
            }
            Happening::Connect { host, life } => self.connect(&host, life),
            Happening::ToReplica { session, bytes } => self.up_arrives(session, &bytes),
            Happening::ToAgent { session, bytes } => self.down_arrives(session, &bytes),
            Happening::SessionLost { session } => self.session_lost(session),
            Happening::KernelRead { host, life, sysctls } => {
                if self.agent_alive(&host, life) {
                    let actual = self.hosts[&host].kernel.read(&sysctls);
                    self.tell_agent(&host, AgentEvent::KernelRead(Ok(Box::new(actual))));
                }
            }
            Happening::KernelApply { host, life, batch, ops } => self.kernel_apply(&host, life, batch, &ops),
            Happening::LedgerSaved { host, life, save, bytes } => {
                if self.agent_alive(&host, life)
                    && let Some(slot) = self.hosts.get_mut(&host)
                {
                    slot.ledger = Some(bytes);
                    if let Some(ledger) = ledger_of(slot) {
                        self.invariants.ledger_saved(&host, &ledger);
                    }
                    self.tell_agent(&host, AgentEvent::LedgerSaved { save, result: Ok(()) });
                }
            }
            Happening::Carrier { host } => {
                let Some(slot) = self.hosts.get(&host) else { return };
                let links = slot.kernel.links();
                if slot.agent.is_some() {
                    self.tell_agent(&host, AgentEvent::LinksChanged(links));
                }
            }
        }
    }

    fn alive(&self, id: u64, life: u64) -> bool {
        self.replicas.get(&id).is_some_and(|replica| replica.core.is_some() && replica.life == life)
    }

    fn agent_alive(&self, host: &str, life: u64) -> bool {
        self.hosts.get(host).is_some_and(|slot| slot.agent.is_some() && slot.life == life)
    }

    // ---- replicas

    /// Starts a replica from what its disk holds.
    pub fn start_replica(&mut self, id: u64) {
        let now = controller::core::Millis(self.now_ms());
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        if replica.core.is_some() {
            return;
        }
        replica.life += 1;
        let life = replica.life;
        let seed = Random::new(self.setting.seed).fork(&format!("replica {id} life {life}")).next();
        let peers = (1..=self.setting.replicas).collect();
        let config = controller::core::Config::new(id, peers, "simulated", self.setting.operator_key, seed);
        let mut effects = Vec::new();
        match Controller::new(config, replica.disk.load(), now, &mut effects) {
            Ok(core) => replica.core = Some(core),
            Err(error) => {
                return self.invariants.broke(format!("replica {id} cannot start from its disk: {error}"));
            }
        }
        self.heap.after(0, Happening::ReplicaTick { id, life });
        self.run_effects(id, effects);
    }

    /// Kills a replica: unsynced writes are lost, but for a part that the seed decides.
    pub fn kill_replica(&mut self, id: u64) {
        let kept = self.random.next() as usize;
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        if replica.core.take().is_none() {
            return;
        }
        let unsynced = replica.disk.unsynced();
        replica.disk.crash(kept % (unsynced + 1));
        let broken: Vec<u64> =
            self.sessions.iter().filter(|(_, session)| session.replica == id).map(|(id, _)| *id).collect();
        for session in broken {
            let after = self.draw(DELAY);
            self.heap.after(after, Happening::SessionLost { session });
        }
        for peer in self.living_replicas() {
            self.tell_replica(peer, Event::PeerLost { peer: id });
        }
    }

    /// Ids of the replicas that run.
    pub fn living_replicas(&self) -> Vec<u64> {
        self.replicas.iter().filter(|(_, replica)| replica.core.is_some()).map(|(id, _)| *id).collect()
    }

    /// The living replica that leads in the newest term.
    pub fn leader(&self) -> Option<u64> {
        let leading = self.replicas.keys().filter_map(|id| self.status(*id)).filter(|status| leads(status));
        leading.max_by_key(|status| status.term).map(|status| status.controller)
    }

    /// What a living replica says of itself.
    pub fn status(&self, id: u64) -> Option<&Status> {
        self.replicas.get(&id).filter(|replica| replica.core.is_some())?.status.as_ref()
    }

    /// From now on this replica computes something else than the others.
    pub fn make_liar(&mut self, id: u64) {
        if let Some(replica) = self.replicas.get_mut(&id) {
            replica.lies = true;
        }
    }

    fn tell_replica(&mut self, id: u64, event: Event) {
        let now = controller::core::Millis(self.now_ms());
        let Some(core) = self.replicas.get_mut(&id).and_then(|replica| replica.core.as_mut()) else { return };
        let mut effects = Vec::new();
        core.handle(now, event, &mut effects);
        let status = status_of(core, now);
        self.invariants.replica_moved(&status);
        if let Some(replica) = self.replicas.get_mut(&id) {
            replica.status = Some(status);
        }
        self.run_effects(id, effects);
    }

    fn run_effects(&mut self, id: u64, effects: Vec<Effect>) {
        let life = self.replicas[&id].life;
        for effect in effects {
            match effect {
                Effect::SendPeer { to, message } => self.send_peer(id, to, &message),
                Effect::Persist(persist) => {
                    let (number, fsync) = (persist.number, self.draw(FSYNC));
                    let now = self.heap.now();
                    if let Some(replica) = self.replicas.get_mut(&id) {
                        replica.disk_free_at = replica.disk_free_at.max(now) + fsync;
                        replica.disk.write(persist);
                        let after = replica.disk_free_at - now;
                        self.heap.after(after, Happening::Disk { id, life, number });
                    }
                }
                Effect::Compact { index } => {
                    if let Some(replica) = self.replicas.get_mut(&id) {
                        replica.disk.compact(index);
                    }
                }
                Effect::Compute(job) => {
                    let after = self.draw(COMPUTE);
                    self.heap.after(after, Happening::Computed { id, life, job });
                }
                Effect::SendAgent { session, message } => {
                    if let ToAgent::Offer(offer) = &message {
                        self.invariants.offered(id, offer);
                    }
                    self.send_down(session.0, &message);
                }
                Effect::CloseAgent { session, .. } => {
                    let after = self.draw(DELAY);
                    self.heap.after(after, Happening::SessionLost { session: session.0 });
                }
                Effect::Reply { id: request, reply } => {
                    if let Reply::Write(answer) = reply {
                        self.replies.insert(request, answer);
                    }
                }
            }
        }
    }

    fn send_peer(&mut self, from: u64, to: u64, message: &PeerMessage) {
        if self.cuts.contains(&(from, to)) || self.random.chance(self.noise.lost) {
            return;
        }
        let copies = if self.random.chance(self.noise.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            let slow = if self.random.chance(self.noise.late) { 50 } else { 1 };
            let after = self.draw(DELAY) * slow;
            self.heap.after(after, Happening::Peer { to, bytes: message.encode() });
        }
    }

    fn compute(&mut self, id: u64, job: &ComputeJob) -> Arc<Network> {
        let right = match &self.programs {
            Some((topology, facts, network))
                if Arc::ptr_eq(topology, &job.topology) && *facts == job.facts =>
            {
                network.clone()
            }
            _ => Arc::new(plan::compile(&job.topology, &job.facts)),
        };
        self.programs = Some((job.topology.clone(), job.facts.clone(), right.clone()));
        if !self.replicas[&id].lies {
            return right;
        }
        // A miscompiled binary: the second host's settings differ by one sysctl.
        let mut wrong = (*right).clone();
        if let Some(program) = wrong.programs.get_mut(1) {
            let mut changed = (**program).clone();
            changed.settings.sysctls.insert("net.ipv4.ip_default_ttl".to_string(), "7".to_string());
            wrong.digests[1] = changed.digest(wrong.table_digest);
            *program = Arc::new(changed);
        }
        Arc::new(wrong)
    }

    // ---- clients

    /// Sends a topology to replica `to`; the answer comes later.
    pub fn put_topology(&mut self, to: u64, text: &str, expected_revision: Option<u64>) -> RequestId {
        self.next_request += 1;
        let mut id = [0u8; 16];
        id[..8].copy_from_slice(&self.next_request.to_be_bytes());
        let id = RequestId(id);
        let body = ClientBody::PutTopology {
            topology: text.as_bytes().to_vec(),
            file: "simulated.yaml".to_string(),
            reason: format!("request {}", self.next_request),
            expected_revision,
            dry_run: false,
            overrides: None,
        };
        let request = ClientRequest { author: "operator".to_string(), idempotency_key: String::new(), body };
        self.tell_replica(to, Event::Request(Request { id, body: RequestBody::Write(request) }));
        id
    }

    /// The answer to a request, once it came.
    pub fn answer(&self, id: RequestId) -> Option<&ClientAnswer> {
        self.replies.get(&id)
    }

    // ---- sessions

    fn connect(&mut self, host: &str, life: u64) {
        let wants = self.hosts.get(host).is_some_and(|slot| slot.wants_session && slot.session.is_none());
        if !self.agent_alive(host, life) || !wants {
            return;
        }
        let replica = self.random.between(1, self.setting.replicas);
        let Some(replica_life) =
            self.living_replicas().contains(&replica).then(|| self.replicas[&replica].life)
        else {
            let after = self.draw(RECONNECT);
            return self.heap.after(after, Happening::Connect { host: host.to_string(), life });
        };
        self.next_session += 1;
        let session = self.next_session;
        let now = self.heap.now();
        let made = Session {
            host: host.to_string(),
            replica,
            replica_life,
            agent_life: life,
            last_up: now,
            last_down: now,
        };
        self.sessions.insert(session, made);
        if let Some(slot) = self.hosts.get_mut(host) {
            slot.session = Some(session);
        }
        let opened = Event::AgentOpened { session: AgentSession(session), host: host.to_string() };
        self.tell_replica(replica, opened);
        self.tell_agent(host, AgentEvent::Connected);
    }

    fn send_up(&mut self, host: &str, message: &ToController) {
        let after = self.draw(DELAY);
        let now = self.heap.now();
        let Some(session) = self.hosts.get(host).and_then(|slot| slot.session) else { return };
        let Some(stream) = self.sessions.get_mut(&session) else { return };
        stream.last_up = stream.last_up.max(now + after);
        let after = stream.last_up - now;
        self.heap.after(after, Happening::ToReplica { session, bytes: message.encode() });
    }

    fn send_down(&mut self, session: u64, message: &ToAgent) {
        let after = self.draw(DELAY);
        let now = self.heap.now();
        let Some(stream) = self.sessions.get_mut(&session) else { return };
        stream.last_down = stream.last_down.max(now + after);
        let after = stream.last_down - now;
        self.heap.after(after, Happening::ToAgent { session, bytes: message.encode() });
    }

    fn up_arrives(&mut self, session: u64, bytes: &[u8]) {
        let Some(stream) = self.sessions.get(&session) else { return };
        let (replica, life) = (stream.replica, stream.replica_life);
        if !self.alive(replica, life) {
            return;
        }
        match ToController::decode(bytes) {
            Ok(message) => {
                self.tell_replica(replica, Event::Agent { session: AgentSession(session), message })
            }
            Err(error) => {
                self.invariants.broke(format!("an agent sent what a controller cannot read: {error}"))
            }
        }
    }

    fn down_arrives(&mut self, session: u64, bytes: &[u8]) {
        let Some(stream) = self.sessions.get(&session) else { return };
        let (host, life) = (stream.host.clone(), stream.agent_life);
        if !self.agent_alive(&host, life) {
            return;
        }
        match ToAgent::decode(bytes) {
            Ok(message) => self.tell_agent(&host, AgentEvent::Controller(message)),
            Err(error) => {
                self.invariants.broke(format!("a controller sent what an agent cannot read: {error}"))
            }
        }
    }

    fn session_lost(&mut self, session: u64) {
        let Some(stream) = self.sessions.remove(&session) else { return };
        if self.alive(stream.replica, stream.replica_life) {
            self.tell_replica(stream.replica, Event::AgentClosed { session: AgentSession(session) });
        }
        let life = stream.agent_life;
        if self.agent_alive(&stream.host, life) {
            if let Some(slot) = self.hosts.get_mut(&stream.host) {
                slot.session = None;
            }
            self.tell_agent(&stream.host, AgentEvent::Disconnected);
            let after = self.draw(RECONNECT);
            self.heap.after(after, Happening::Connect { host: stream.host, life });
        }
    }

    // ---- agents

    /// Starts a host's agent from its ledger.
    pub fn start_agent(&mut self, host: &str) {
        let Some(slot) = self.hosts.get_mut(host) else { return };
        if slot.agent.is_some() {
            return;
        }
        slot.life += 1;
        slot.wants_session = false;
        slot.session = None;
        let life = slot.life;
        let config = agent::core::Config {
            host: host.to_string(),
            operator_key: Some(self.setting.operator_key),
            ..agent::core::Config::default()
        };
        slot.agent = Some(Agent::new(config));
        let ledger = ledger_of(slot).map(Box::new);
        self.heap.after(0, Happening::AgentTick { host: host.to_string(), life });
        self.tell_agent(host, AgentEvent::LedgerRead(ledger));
    }

    /// Kills a host's agent; its kernel stays as it is.
    pub fn kill_agent(&mut self, host: &str) {
        let Some(slot) = self.hosts.get_mut(host) else { return };
        slot.agent = None;
        if let Some(session) = slot.session.take() {
            let after = self.draw(DELAY);
            self.heap.after(after, Happening::SessionLost { session });
        }
    }

    /// The host reboots: the agent dies, the kernel is empty but for its interfaces, the ledger stays.
    pub fn reboot(&mut self, host: &str) {
        self.kill_agent(host);
        if let Some(slot) = self.hosts.get_mut(host) {
            slot.kernel.reboot();
            slot.foreign = slot.kernel.foreign();
        }
        self.start_agent(host);
    }

    /// A host's kernel.
    pub fn kernel(&self, host: &str) -> Option<&SimKernel> {
        self.hosts.get(host).map(|slot| &slot.kernel)
    }

    /// Somebody wipes a host's routes.
    pub fn wipe_routes(&mut self, host: &str) {
        if let Some(slot) = self.hosts.get_mut(host) {
            slot.kernel.foreign_hand_wipes_our_routes();
            self.tell_agent(host, AgentEvent::KernelChanged);
        }
    }

    /// Somebody adds objects of his own on a host.
    pub fn foreign_hand(&mut self, host: &str, prefix: &str) {
        let Ok(prefix) = prefix.parse() else { return };
        if let Some(slot) = self.hosts.get_mut(host) {
            slot.kernel.foreign_hand_adds(prefix, 7);
            slot.foreign = slot.kernel.foreign();
            self.tell_agent(host, AgentEvent::KernelChanged);
        }
    }

    fn tell_agent(&mut self, host: &str, event: AgentEvent) {
        let now = agent::core::Millis(self.now_ms());
        let Some(agent) = self.hosts.get_mut(host).and_then(|slot| slot.agent.as_mut()) else { return };
        let mut effects = Vec::new();
        agent.handle(now, event, &mut effects);
        self.run_agent_effects(host, effects);
    }

    fn run_agent_effects(&mut self, host: &str, effects: Vec<AgentEffect>) {
        let Some(life) = self.hosts.get(host).map(|slot| slot.life) else { return };
        let host = host.to_string();
        for effect in effects {
            match effect {
                AgentEffect::ReadKernel { sysctls, .. } => {
                    let after = self.kernel_turn(&host);
                    self.heap.after(after, Happening::KernelRead { host: host.clone(), life, sysctls });
                }
                AgentEffect::ReadLinks => {
                    let after = self.draw(KERNEL);
                    self.heap.after(after, Happening::Carrier { host: host.clone() });
                }
                AgentEffect::Apply { batch, ops } | AgentEffect::Repair { batch, ops } => {
                    let after = self.kernel_turn(&host);
                    self.heap.after(after, Happening::KernelApply { host: host.clone(), life, batch, ops });
                }
                AgentEffect::SaveLedger { save, ledger } => {
                    let after = self.draw(FSYNC);
                    let bytes = ledger.encode();
                    self.heap.after(after, Happening::LedgerSaved { host: host.clone(), life, save, bytes });
                }
                AgentEffect::Connect => {
                    if let Some(slot) = self.hosts.get_mut(&host) {
                        slot.wants_session = true;
                    }
                    let after = self.draw(DELAY);
                    self.heap.after(after, Happening::Connect { host: host.clone(), life });
                }
                AgentEffect::Send(message) => self.send_up(&host, &message),
                // Its agents are told no addresses of controllers, nobody asks them, and they run without liveness.
                AgentEffect::AnswerLocal { .. } | AgentEffect::LookUp { .. } | AgentEffect::Watch(_) => {}
            }
        }
    }

    /// The kernel thread does one thing after the other.
    fn kernel_turn(&mut self, host: &str) -> Micros {
        let (takes, now) = (self.draw(KERNEL), self.heap.now());
        let Some(slot) = self.hosts.get_mut(host) else { return takes };
        slot.kernel_free_at = slot.kernel_free_at.max(now) + takes;
        slot.kernel_free_at - now
    }

    fn kernel_apply(&mut self, host: &str, life: u64, batch: u64, ops: &[Op]) {
        if !self.agent_alive(host, life) {
            return;
        }
        let Some(slot) = self.hosts.get_mut(host) else { return };
        let results = slot.kernel.apply(ops);
        self.invariants.foreign_state(host, &slot.foreign, &slot.kernel.foreign());
        self.tell_agent(host, AgentEvent::Applied { batch, results });
    }

    // ---- the data plane

    /// Pulls a link's cable, or plugs it in again.
    pub fn set_link(&mut self, link: &str, up: bool) {
        let Some(index) = self.setting.topology.link_index(link) else { return };
        let ends = self.setting.topology.link(index).ends.clone();
        if up {
            self.links_down.remove(link);
        } else {
            self.links_down.insert(link.to_string());
        }
        for end in ends {
            let host = self.setting.topology.node(end.node).name.clone();
            if let Some(slot) = self.hosts.get_mut(&host) {
                slot.kernel.set_carrier(&end.interface, up);
            }
            let after = self.draw(CARRIER);
            self.heap.after(after, Happening::Carrier { host });
        }
    }

    /// Ordered pairs of hosts whose loopbacks do not reach each other over the kernels' tables, with the reason.
    pub fn unreachable_pairs(&self) -> Vec<String> {
        let topology = &self.setting.topology;
        let mut bad = Vec::new();
        for from in &topology.nodes {
            for to in topology.nodes.iter().filter(|to| to.name != from.name) {
                for loopback in &to.loopbacks {
                    if let Err(why) = self.walk(&from.name, *loopback) {
                        bad.push(format!("{} -> {} ({loopback}): {why}", from.name, to.name));
                    }
                }
            }
        }
        bad
    }

    /// Follows every equal-cost leg of a packet through the kernels.
    fn walk(&self, from: &str, destination: std::net::IpAddr) -> Result<(), String> {
        let mut waiting = vec![(from.to_string(), vec![from.to_string()])];
        let mut seen = BTreeSet::new();
        while let Some((at, path)) = waiting.pop() {
            if path.len() > self.hosts.len() {
                return Err(format!("loops: {}", path.join(" > ")));
            }
            let Some(legs) = self.hosts.get(&at).map(|slot| slot.kernel.forward(destination)) else {
                return Err(format!("left the network at {at}"));
            };
            let Some(legs) = legs else { continue };
            if legs.is_empty() {
                return Err(format!("no route at {}", path.join(" > ")));
            }
            for interface in legs {
                let Some((next, link)) = self.far_end(&at, &interface) else {
                    return Err(format!("{at} sends it out of {interface}, which is on no link"));
                };
                if self.links_down.contains(&link) {
                    return Err(format!("{at} sends it over {link}, which is down"));
                }
                if path.contains(&next) {
                    return Err(format!("loops: {} > {next}", path.join(" > ")));
                }
                if seen.insert((at.clone(), interface)) {
                    let longer = path.iter().cloned().chain([next.clone()]).collect();
                    waiting.push((next, longer));
                }
            }
        }
        Ok(())
    }

    fn far_end(&self, host: &str, interface: &str) -> Option<(String, String)> {
        let topology = &self.setting.topology;
        topology.links.iter().find_map(|link| {
            let at = link
                .ends
                .iter()
                .position(|end| end.interface == interface && topology.node(end.node).name == host)?;
            Some((topology.node(link.ends[1 - at].node).name.clone(), link.id.clone()))
        })
    }

    // ---- faults of the management network

    /// Messages from one controller to another vanish, one way.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cuts.insert((from, to));
    }

    /// How bad the management network is from now on.
    pub fn set_noise(&mut self, noise: Noise) {
        self.noise = noise;
    }

    /// Everything works again: no cut, no noise, all replicas, agents and links are up.
    pub fn heal(&mut self) {
        self.cuts.clear();
        self.noise = Noise::default();
        for id in 1..=self.setting.replicas {
            self.start_replica(id);
        }
        for host in self.host_names() {
            self.start_agent(&host);
        }
        for link in self.links_down.clone() {
            self.set_link(&link, true);
        }
    }

    /// Whether every host holds its program of `network`, as its ledger says and as its kernel shows.
    pub fn settled(&self, network: &Network) -> bool {
        self.hosts.iter().all(|(name, slot)| {
            let running = ledger_of(slot).and_then(|ledger| ledger.running);
            let (Some(kept), Some((_, digest))) = (running, network.host(name)) else { return false };
            let wanted = plan::Objects::of(&kept.program, &kept.table);
            let routes = slot.kernel.read(&[]).routes;
            kept.digest == digest
                && routes.len() == wanted.routes.len()
                && routes.iter().all(|(key, route)| route.value.as_ref() == wanted.routes.get(key))
        })
    }
}

/// Asks a core for its own words; reads change nothing.
fn status_of(core: &mut Controller, now: controller::core::Millis) -> Status {
    let mut effects = Vec::new();
    let request = Request { id: RequestId([0xff; 16]), body: RequestBody::Read(ReadRequest::Status) };
    core.handle(now, Event::Request(request), &mut effects);
    let status = effects.into_iter().find_map(|effect| match effect {
        Effect::Reply { reply: Reply::Read(ReadAnswer::Status(status)), .. } => Some(status),
        _ => None,
    });
    status.expect("a core answers a read of its status at once")
}

/// Whether a replica leads, by its own words.
pub(crate) fn leads(status: &Status) -> bool {
    status.members.iter().any(|member| member.id == status.controller && member.role == "leader")
}

fn describe(id: u64, replica: &Replica) -> String {
    match (&replica.core, &replica.status) {
        (Some(_), Some(status)) => {
            let role = if leads(status) { "leader" } else { "follower" };
            let alarms = status.alarms.join("; ");
            format!(
                "replica {id}: {role} in term {}, applied {}, alarms: {alarms}",
                status.term, status.applied
            )
        }
        _ => format!("replica {id}: dead"),
    }
}

fn ledger_of(slot: &Host) -> Option<Ledger> {
    slot.ledger.as_ref().and_then(|bytes| Ledger::decode(bytes).ok())
}

fn hosts_of(topology: &Topology) -> BTreeMap<String, Host> {
    let host = |node: &topology::Node| {
        let index = topology.node_index(&node.name);
        let interfaces: Vec<&str> = topology
            .links
            .iter()
            .flat_map(|link| &link.ends)
            .filter(|end| Some(end.node) == index)
            .map(|end| end.interface.as_str())
            .collect();
        let mut kernel = SimKernel::new(&interfaces);
        for interface in interfaces {
            kernel.set_carrier(interface, true);
        }
        let foreign = kernel.foreign();
        let slot = Host {
            agent: None,
            life: 0,
            ledger: None,
            kernel,
            foreign,
            wants_session: false,
            session: None,
            kernel_free_at: 0,
        };
        (node.name.clone(), slot)
    };
    topology.nodes.iter().map(host).collect()
}
