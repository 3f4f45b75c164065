//! An agent under script: programs compiled from small topologies, a kernel that holds what it is told, and a disk that
//! can fail. Only compiled for tests.

mod boot;
mod guard;
mod hold;
mod ledger;
mod mirror;
mod provision;
mod reconcile;
mod session;
mod trial;

use crate::core::config::Config;
use crate::core::event::{Effect, Event, LocalAnswer, LocalRequest, Millis, RouteReading};
use crate::core::fights::Who;
use crate::core::hold::{Act, Verb};
use crate::core::kernel::{Actual, ActualNexthop, ActualRoute, Link, NexthopKind, Op, OpError, OpResults};
use crate::core::mirror::{Change, Noticed};
use crate::core::session::Agent;
use crate::core::way::Way;
use plan::{Facts, Network};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use wire::Generation;
use wire::agent::{Ack, Offer, Outcome, ToAgent, ToController};
use wire::ledger::{Hold, Ledger};

/// The host of all tests.
pub(super) const HOST: &str = "a";

/// Two routers on one host's two links, with so many prefixes behind `c`.
pub(super) fn network(prefixes: usize) -> Network {
    let behind: Vec<String> = (0..prefixes).map(|n| format!("10.{}.{}.0/24", 1 + n / 250, n % 250)).collect();
    let text = format!(
        "version: 1\nname: t\nnodes:\n  a: {{}}\n  b: {{}}\n  c: {{ prefixes: [{}] }}\nlinks:\n\
         - {{ endpoints: [\"a:eth1\", \"b:eth1\"] }}\n- {{ endpoints: [\"a:eth2\", \"c:eth1\"] }}\n\
         - {{ endpoints: [\"b:eth2\", \"c:eth2\"], cost: 10 }}\n",
        behind.join(", ")
    );
    compile(&text)
}

/// The networks of a file.
pub(super) fn compile(text: &str) -> Network {
    let reading = topology::read("test.yaml", text.as_bytes());
    let topology = reading.topology.unwrap_or_else(|| panic!("{:?}", reading.diagnostics));
    plan::compile(&topology, &Facts::default())
}

/// An offer of the host's program in `network`.
pub(super) fn offer(network: &Network, index: u64, revision: u64) -> Offer {
    let (program, digest) = network.host(HOST).expect("the host is in the network");
    Offer {
        generation: Generation { incarnation: 1, index },
        revision,
        digest,
        table_digest: network.table_digest,
        table: Some(network.table.clone()),
        program: program.clone(),
        unconfirmed: false,
        allowed_removals: 0,
        overrides: None,
        confirm_within_ms: 0,
        origin: wire::agent::Origin::default(),
    }
}

pub(super) fn link(carrier: bool) -> Link {
    Link { index: 7, mac: None, up: true, carrier, mtu: 1_500, rx_packets: 0, tx_packets: 0 }
}

/// A host: the agent, what its kernel holds and what is on its disk.
pub(super) struct Host {
    pub(super) agent: Agent,
    pub(super) kernel: Actual,
    pub(super) disk: Option<Ledger>,
    pub(super) now: Millis,
    /// Everything that the agent did, in order: "read", "save", "apply 12", "connect", "ack Applied writes 12", "hello",
    /// "links", "beat", "answer".
    pub(super) told: Vec<String>,
    pub(super) acks: Vec<Ack>,
    pub(super) beats: Vec<wire::agent::Beat>,
    pub(super) answers: Vec<String>,
    /// Objects that the kernel refuses.
    pub(super) refuses: BTreeSet<String>,
    /// The disk refuses writes.
    pub(super) disk_full: bool,
    /// How the kernel reaches addresses.
    pub(super) ways: BTreeMap<IpAddr, Way>,
    /// Effects that are not carried out yet: the world stands still when this is on.
    pub(super) still: bool,
    pub(super) open: Vec<Effect>,
}

impl Host {
    /// Before its first event.
    pub(super) fn unborn(config: Config) -> Host {
        let links = ["lo", "eth1", "eth2"].map(|name| (name.to_string(), link(true)));
        Host {
            agent: Agent::new(config),
            kernel: Actual { links: BTreeMap::from(links), ..Actual::default() },
            disk: None,
            now: Millis(0),
            told: Vec::new(),
            acks: Vec::new(),
            beats: Vec::new(),
            answers: Vec::new(),
            refuses: BTreeSet::new(),
            disk_full: false,
            ways: BTreeMap::new(),
            still: false,
            open: Vec::new(),
        }
    }

    pub(super) fn config() -> Config {
        Config { host: HOST.to_string(), ..Config::default() }
    }

    /// Started without a ledger and connected.
    pub(super) fn connected() -> Host {
        let mut host = Host::unborn(Host::config());
        host.boot();
        host.event(Event::Connected);
        host.tick(0);
        host.told.clear();
        host
    }

    /// Starts the agent with what is on the disk.
    pub(super) fn boot(&mut self) {
        let ledger = self.disk.clone().map(Box::new);
        self.event(Event::LedgerRead(ledger));
    }

    /// The agent dies and comes back; the kernel and the disk stay.
    pub(super) fn restart(&mut self) {
        self.agent = Agent::new(self.agent.config.clone());
        self.open.clear();
        self.told.clear();
        self.boot();
    }

    pub(super) fn offer(&mut self, offer: Offer) {
        self.event(Event::Controller(ToAgent::Offer(Box::new(offer))));
    }

    pub(super) fn tick(&mut self, milliseconds: u64) {
        self.now.0 += milliseconds;
        self.event(Event::Tick);
    }

    /// One event and everything that follows from it, unless the world stands still.
    pub(super) fn event(&mut self, event: Event) {
        let mut out = Vec::new();
        self.agent.handle(self.now, event, &mut out);
        self.open.extend(out);
        while !self.still && !self.open.is_empty() {
            self.carry_out();
        }
    }

    /// Carries out the oldest open effect.
    pub(super) fn carry_out(&mut self) {
        let effect = self.open.remove(0);
        let event = match effect {
            Effect::ReadKernel { sysctls, routes } => {
                let whole = !matches!(routes, RouteReading::None);
                self.told.push(if whole { "read" } else { "look" }.to_string());
                let mut actual = self.kernel.clone();
                if !whole {
                    (actual.routes, actual.foreign_routes) = Default::default();
                }
                for name in sysctls {
                    actual.sysctls.entry(name).or_insert_with(|| "?".to_string());
                }
                Event::KernelRead(Ok(Box::new(actual)))
            }
            Effect::ReadLinks => Event::LinksChanged(self.kernel.links.clone()),
            Effect::Apply { batch, ops } => {
                self.told.push(format!("apply {}", crate::core::reconcile::writes(&ops)));
                Event::Applied { batch, results: self.apply(ops) }
            }
            Effect::Repair { batch, ops } => {
                self.told.push(format!("repair {}", crate::core::reconcile::writes(&ops)));
                Event::Applied { batch, results: self.apply(ops) }
            }
            Effect::SaveLedger { save, ledger } => {
                self.told.push("save".to_string());
                let result = if self.disk_full { Err("no space left on device".to_string()) } else { Ok(()) };
                if result.is_ok() {
                    self.disk = Some(*ledger);
                }
                Event::LedgerSaved { save, result }
            }
            Effect::LookUp { ask, addresses } => {
                self.told.push("look up".to_string());
                let way = |address| (address, self.ways.get(&address).cloned().unwrap_or(Way::None));
                Event::LookedUp { ask, ways: addresses.into_iter().map(way).collect() }
            }
            // What is wanted of liveness is asked for after every program.
            Effect::Watch(_) => return,
            Effect::Connect => return self.told.push("connect".to_string()),
            Effect::Send(ToController::Ack(ack)) => {
                let outcome = format!("{:?}", ack.outcome);
                let outcome = outcome.split(' ').next().unwrap_or_default();
                self.told.push(format!("ack {outcome} writes {}", ack.writes));
                return self.acks.push(ack);
            }
            Effect::Send(ToController::Beat(beat)) => return self.beats.push(beat),
            Effect::Send(ToController::Hello(_)) => return self.told.push("hello".to_string()),
            Effect::Send(_) => return self.told.push("links".to_string()),
            Effect::AnswerLocal { answer: LocalAnswer(text), .. } => return self.answers.push(text),
        };
        self.event_open(event);
    }

    fn event_open(&mut self, event: Event) {
        let mut out = Vec::new();
        self.agent.handle(self.now, event, &mut out);
        self.open.extend(out);
    }

    fn apply(&mut self, ops: Vec<Op>) -> OpResults {
        let refuses = self.refuses.clone();
        let one = |op: Op| {
            if refuses.contains(&crate::core::reconcile::object(&op)) {
                return Err(OpError { errno: 22, text: "Nexthop id does not exist".to_string() });
            }
            put(&mut self.kernel, op);
            Ok(())
        };
        ops.into_iter().map(one).collect()
    }

    /// The kernel says that something changed; `told` speaks only of what follows.
    pub(super) fn says(&mut self, port: u32, changes: Vec<Change>) {
        let who = Who { port, process: (port != 0).then(|| "zebra".to_string()), protocol: None };
        let noticed = |change| Noticed { change, who: who.clone(), heard_us: 0 };
        self.told.clear();
        self.event(Event::KernelSaid(changes.into_iter().map(noticed).collect()));
    }

    pub(super) fn status(&mut self) -> serde_json::Value {
        self.event(Event::Local { id: 1, request: LocalRequest::Status });
        serde_json::from_str(&self.answers.pop().expect("an answer")).expect("JSON")
    }

    /// A beat goes out, and a controller answers it.
    pub(super) fn round_trip(&mut self) {
        self.tick(500);
        let echo = self.beats.last().map_or(0, |beat| beat.probe);
        self.event(Event::Controller(ToAgent::Pulse { assigned: None, echo }));
    }

    /// A local command and its answer.
    pub(super) fn act(&mut self, verb: Verb, reason: &str) -> serde_json::Value {
        let hold = Hold { by: "root (ada)".to_string(), reason: reason.to_string(), since_unix_ms: 0 };
        self.event(Event::Local { id: 3, request: LocalRequest::Act(Act { verb, hold }) });
        serde_json::from_str(&self.answers.pop().expect("an answer")).expect("JSON")
    }

    pub(super) fn outcomes(&self) -> Vec<&Outcome> {
        self.acks.iter().map(|ack| &ack.outcome).collect()
    }

    /// Pulls the cable of an interface or plugs it in; the kernel drops the next hops on it, and what hangs on them.
    pub(super) fn carrier(&mut self, interface: &str, carrier: bool) {
        self.plug(interface, carrier);
        self.event(Event::LinksChanged(self.kernel.links.clone()));
    }

    /// The same, and nobody says so.
    pub(super) fn plug(&mut self, interface: &str, carrier: bool) {
        self.kernel.links.insert(interface.to_string(), link(carrier));
        if !carrier {
            let on = |kind: &NexthopKind| matches!(kind, NexthopKind::Single(value) if value.interface == interface);
            self.kernel.nexthops.retain(|_, nexthop| !on(&nexthop.kind));
            let left: BTreeSet<u32> = self.kernel.nexthops.keys().copied().collect();
            for nexthop in self.kernel.nexthops.values_mut() {
                if let NexthopKind::Group(value) = &mut nexthop.kind {
                    value.members.retain(|member| left.contains(&member.nexthop));
                }
            }
            let is_empty =
                |kind: &NexthopKind| matches!(kind, NexthopKind::Group(value) if value.members.is_empty());
            self.kernel.nexthops.retain(|_, nexthop| !is_empty(&nexthop.kind));
            let left: BTreeSet<u32> = self.kernel.nexthops.keys().copied().collect();
            let stands = |group: Option<u32>| group.is_none_or(|group| left.contains(&group));
            self.kernel.routes.retain(|_, route| route.value.is_some_and(|value| stands(value.group())));
        }
    }
}

fn link_of(vxlan: &plan::objects::VxlanLink) -> Link {
    Link { mac: Some(vxlan.mac), mtu: vxlan.mtu_bytes, ..link(true) }
}

/// The kernel does as told.
fn put(kernel: &mut Actual, op: Op) {
    match op {
        Op::SetSysctl { name, value } => {
            kernel.sysctls.insert(name, value);
        }
        Op::SetMtu { interface, mtu } => {
            if let Some(link) = kernel.links.get_mut(&interface) {
                link.mtu = mtu;
            }
        }
        Op::PutAddress { interface, address } => {
            kernel.addresses.insert((interface, address), true);
        }
        Op::DelAddress { interface, address } => {
            kernel.addresses.remove(&(interface, address));
        }
        Op::PutNeighbour { interface, address } => {
            kernel.neighbours.insert((interface, address));
        }
        Op::DelNeighbour { interface, address } => {
            kernel.neighbours.remove(&(interface, address));
        }
        Op::PutNexthop { id, value, .. } => {
            let kind = NexthopKind::Single(value);
            kernel.nexthops.insert(id, ActualNexthop { ours: true, kind });
        }
        Op::PutGroup { id, value, .. } => {
            kernel.nexthops.insert(id, ActualNexthop { ours: true, kind: NexthopKind::Group(value) });
        }
        Op::DelNexthop { id } => {
            kernel.nexthops.remove(&id);
        }
        Op::PutRoute { key, value, .. } => {
            kernel.routes.insert(key, ActualRoute { value: Some(value) });
        }
        Op::DelRoute { key } => {
            kernel.routes.remove(&key);
            kernel.local_segments.remove(&key);
        }
        Op::PutVxlan { name, link, .. } => {
            let up = link_of(&link);
            kernel.links.insert(name.clone(), up);
            kernel.vxlans.insert(name, Some(link));
        }
        Op::DelVxlan { name } => {
            kernel.links.remove(&name);
            kernel.vxlans.remove(&name);
            kernel.forwarding.retain(|(link, ..)| *link != name);
            kernel.vxlan_neighbours.retain(|(link, _), _| *link != name);
        }
        Op::PutForwarding { link, mac, remote } => {
            kernel.forwarding.retain(|(at, known, _)| (at, known) != (&link, &mac));
            kernel.forwarding.insert((link, mac, remote));
        }
        Op::DelForwarding { link, mac, remote } => {
            kernel.forwarding.remove(&(link, mac, remote));
        }
        Op::PutVxlanNeighbour { link, address, mac } => {
            kernel.vxlan_neighbours.insert((link, address), mac);
        }
        Op::DelVxlanNeighbour { link, address } => {
            kernel.vxlan_neighbours.remove(&(link, address));
        }
        Op::PutLocalSegment { segment, interface, behaviour, .. } => {
            let prefix = std::net::IpAddr::V6(segment).into();
            let key = plan::objects::RouteKey { table: 91_255, prefix, metric: 100 };
            kernel.local_segments.insert(key, Some((interface, behaviour)));
        }
        Op::PutRule { family, rule } => {
            kernel.rules.insert((family, rule));
        }
        Op::DelRule { family, rule } => {
            kernel.rules.remove(&(family, rule));
        }
    }
}
