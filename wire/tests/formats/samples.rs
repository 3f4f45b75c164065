//! One value of each kind of each format, with every field set to something of its own. They are what the fixtures of
//! the current version say: never change one, add another.

use plan::program::{
    Address, Behaviour, Class, ClassId, ClassRoute, Discard, DiscardKind, Encapsulation, Group, Liveness,
    LocalSegment, Member, Neighbour, Nexthop, Resilient, Rule, Settings, Vxlan, VxlanForwarding,
    VxlanNeighbour,
};
use plan::steps::Step;
use plan::{Digest, PrefixTable, Program};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use wire::Generation;
use wire::agent::{
    Ack, Beat, Held, Hello, LinkState, ObjectCounts, ObjectFailure, Offer, Origin, Outcome, ToAgent,
    ToController,
};
use wire::ledger::{Hold, Kept, Ledger, Reverted};
use wire::log::{Assigned, ChangeState, Command, Entry, Fact, GuardRecord, Intent, Release, RequestId};
use wire::overrides::Override;
use wire::package::Package;
use wire::peer::{ClientAnswer, ClientBody, ClientRequest, PeerBody, PeerMessage};
use wire::proto::replica::v1 as proto;
use wire::snapshot::Snapshot;

/// All samples: `FORMAT-NAME` and their bytes.
pub(crate) fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |format: &str, name: &str, bytes: Vec<u8>| all.push((format!("{format}-{name}"), bytes));
    for (name, message) in to_controller() {
        add("to_controller", name, message.encode());
    }
    for (name, message) in to_agent() {
        add("to_agent", name, message.encode());
    }
    for (name, message) in peer() {
        add("peer", name, message.encode());
    }
    for (name, command) in commands() {
        add("log", name, entry(command).encode());
    }
    for (name, ledger) in ledgers() {
        add("ledger", name, ledger.encode());
    }
    let (table, program) = (Arc::new(table()), Arc::new(program()));
    let digest = program.digest(table.digest());
    add("package", "whole", Package { table, program, digest }.encode());
    add("snapshot", "whole", snapshot().encode());
    add("snapshot", "empty", Snapshot { applied: 1, state: proto::State::default() }.encode());
    all
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn generation(index: u64) -> Generation {
    Generation { incarnation: 2, index }
}

fn held() -> Held {
    Held {
        generation: generation(40),
        revision: 3,
        digest: digest(0x11),
        table_digest: digest(0x22),
        effective_digest: digest(0x33),
        unconfirmed: false,
    }
}

fn links() -> Vec<LinkState> {
    vec![
        LinkState {
            interface: "eth1".to_string(),
            carrier: true,
            rx_packets: 1_000_000,
            tx_packets: 999_999,
            neighbour: None,
        },
        LinkState {
            interface: "eth2".to_string(),
            carrier: false,
            rx_packets: 0,
            tx_packets: 7,
            neighbour: None,
        },
    ]
}

fn ack(outcome: Outcome) -> ToController {
    ToController::Ack(Ack {
        generation: generation(41),
        digest: digest(0x44),
        outcome,
        effective_digest: Some(digest(0x55)),
        failures: vec![
            ObjectFailure {
                object: "route 10.1.0.0/24 metric 100".to_string(),
                reason: "Nexthop id does not exist (ENOENT)".to_string(),
                pending: false,
            },
            ObjectFailure {
                object: "nexthop 0x5b000001".to_string(),
                reason: "waits for eth2".to_string(),
                pending: true,
            },
        ],
        writes: 12,
        unconfirmed: false,
    })
}

fn to_controller() -> Vec<(&'static str, ToController)> {
    let hello = |held: Option<Held>, highest| {
        let (host, version) = ("seattle".to_string(), "0.1.0".to_string());
        ToController::Hello(Hello { host, version, held, highest })
    };
    let beat = Beat {
        held: Some(held()),
        highest: generation(41),
        links: links(),
        objects: ObjectCounts { installed: 70, pending: 2, refused: 1 },
        writes_total: 85,
        applied_age_ms: 1_500,
        pinned: true,
        frozen: true,
        probe: 0,
        hold: String::new(),
    };
    let unconfirmed = Held { unconfirmed: true, ..held() };
    let words = "by root (ada): the spare path is being measured, since 2026-11-24T16:50:00Z";
    let on_trial = Beat { held: Some(unconfirmed), probe: 7, hold: words.to_string(), ..beat.clone() };
    let detail = || words.to_string();
    vec![
        ("hello", hello(Some(held()), generation(41))),
        ("hello-new", hello(None, Generation::default())),
        ("beat", ToController::Beat(beat)),
        ("links", ToController::Links(links())),
        ("ack-applied", ack(Outcome::Applied)),
        ("ack-unchanged", ack(Outcome::Unchanged)),
        ("ack-stale", ack(Outcome::Stale { highest: generation(50) })),
        ("ack-conflict", ack(Outcome::Conflict)),
        (
            "ack-guard",
            ack(Outcome::RefusedByGuard { guard: "agent_removals".to_string(), value: 30, limit: 10 }),
        ),
        ("ack-unsupported", ack(Outcome::Unsupported { detail: "flows".to_string() })),
        ("ack-failed", ack(Outcome::Failed)),
        ("ack-need-table", ack(Outcome::NeedTable)),
        ("beat-on-trial", ToController::Beat(on_trial)),
        ("ack-pinned", ack(Outcome::Pinned { detail: detail() })),
        ("ack-frozen", ack(Outcome::Frozen { detail: detail() })),
        ("ack-reverted", ack(Outcome::Reverted { detail: detail() })),
    ]
}

fn overriding() -> Override {
    Override {
        guards: vec!["max_prefixes_lost".to_string(), "removals".to_string()],
        revision: 4,
        topology_digest: [0x66; 32],
        reason: "denver is decommissioned".to_string(),
        signature: vec![0x77; 64],
    }
}

pub(crate) fn table() -> PrefixTable {
    let class = |id, name: &str| Class { id: ClassId(id), name: name.to_string() };
    PrefixTable {
        classes: vec![class(17, "denver"), class(0xfedc_ba98, "seattle")],
        entries: vec![
            ("10.1.0.0/24".parse().unwrap(), ClassId(0xfedc_ba98)),
            ("10.255.0.7/32".parse().unwrap(), ClassId(17)),
            ("2001:db8:1::/64".parse().unwrap(), ClassId(0xfedc_ba98)),
        ],
    }
}

pub(crate) fn program() -> Program {
    let nexthop = |id, interface: &str, gateway: &str| Nexthop {
        encapsulation: None,
        id,
        interface: interface.to_string(),
        gateway: gateway.parse().unwrap(),
    };
    Program {
        host: "seattle".to_string(),
        settings: Settings {
            sysctls: BTreeMap::from([("net.ipv4.ip_forward".to_string(), "1".to_string())]),
            mtus: BTreeMap::from([("eth1".to_string(), 9_000)]),
            addresses: vec![
                Address { interface: "eth1".to_string(), address: "fe80::1/64".parse().unwrap() },
                Address { interface: "lo".to_string(), address: "10.255.0.9/32".parse().unwrap() },
            ],
            neighbours: vec![Neighbour {
                interface: "eth1".to_string(),
                address: "fe80::2".parse().unwrap(),
            }],
            liveness: Vec::new(),
        },
        preferred_source_v4: Some("10.255.0.9".parse().unwrap()),
        preferred_source_v6: Some("fd00:ba11::9".parse().unwrap()),
        nexthops: vec![nexthop(0x5b00_0001, "eth1", "fe80::2"), nexthop(0x5b00_0002, "eth2", "192.0.2.1")],
        groups: vec![Group {
            id: 0x5b80_0001,
            members: vec![
                Member { nexthop: 0x5b00_0001, weight: 1 },
                Member { nexthop: 0x5b00_0002, weight: 256 },
            ],
            resilient: None,
            route_mtu_bytes: None,
        }],
        classes: vec![
            ClassRoute { class: ClassId(17), metric: 100, table: 254, group: 0x5b80_0001 },
            ClassRoute { class: ClassId(17), metric: 200, table: 254, group: 0x5b80_0001 },
        ],
        rules: Vec::new(),
        discards: Vec::new(),
        local_segments: Vec::new(),
        vxlans: Vec::new(),
    }
}

/// The same with everything that programs have had since v0.2.
pub(crate) fn extended() -> Program {
    let mut program = program();
    let six = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let prefix = |text: &str| text.parse().unwrap();
    let local =
        |segment, behaviour| LocalSegment { segment: six(segment), interface: "eth1".to_string(), behaviour };
    let segments = vec![six("fd00:5e9::1"), six("fd00:5e9::2")];
    program.settings.liveness =
        vec![Liveness { interface: "eth1".to_string(), interval_ms: 300, multiplier: 3 }];
    program.nexthops[0].encapsulation = Some(Encapsulation::Seg6 { segments });
    program.groups[0].resilient =
        Some(Resilient { buckets: 128, idle_timer_ms: 60_000, unbalanced_timer_ms: 120_000 });
    program.groups[0].route_mtu_bytes = NonZeroU32::new(1_400);
    program.rules = vec![Rule { priority: 9_100, incoming_interface: "eth2".to_string(), table: 91_000 }];
    program.discards = vec![
        Discard { table: 254, prefix: prefix("10.0.0.0/8"), metric: 900, kind: DiscardKind::Blackhole },
        Discard { table: 91_000, prefix: prefix("::/0"), metric: 901, kind: DiscardKind::Unreachable },
    ];
    program.local_segments = vec![
        local("fd00:5e9::1", Behaviour::End),
        local("fd00:5e9::2", Behaviour::EndX { interface: "eth2".to_string(), next_hop: six("fe80::2") }),
        local("fd00:5e9::3", Behaviour::EndDx4 { next_hop: Ipv4Addr::UNSPECIFIED }),
        local("fd00:5e9::4", Behaviour::EndDx6 { next_hop: six("fe80::1") }),
        local("fd00:5e9::5", Behaviour::EndDt6 { table: 254 }),
    ];
    program.vxlans = vec![Vxlan {
        name: "blx7".to_string(),
        vni: 7,
        local: "10.255.0.9".parse().unwrap(),
        port: 4_789,
        mac: [2, 0, 0, 0, 0, 9],
        mtu_bytes: 1_450,
        forwarding: vec![VxlanForwarding { mac: [2, 0, 0, 0, 0, 7], remote: "10.255.0.7".parse().unwrap() }],
        neighbours: vec![VxlanNeighbour { address: IpAddr::V6(six("fe80::7")), mac: [2, 0, 0, 0, 0, 7] }],
    }];
    program
}

pub(crate) fn offer() -> Offer {
    Offer {
        generation: generation(41),
        revision: 4,
        digest: digest(0x44),
        table_digest: digest(0x22),
        table: Some(Arc::new(table())),
        program: Arc::new(program()),
        unconfirmed: true,
        allowed_removals: 30,
        overrides: Some(overriding()),
        confirm_within_ms: 0,
        origin: Origin::default(),
    }
}

fn origin() -> Origin {
    let files = vec![("nodes.yaml".to_string(), 0), ("links.yaml".to_string(), 300)];
    Origin { change: 9, files, lines: vec![0, 305] }
}

fn to_agent() -> Vec<(&'static str, ToAgent)> {
    let bare = Offer { table: None, overrides: None, unconfirmed: false, allowed_removals: 0, ..offer() };
    let on_trial = Offer { confirm_within_ms: 10_000, origin: origin(), ..offer() };
    vec![
        ("welcome", ToAgent::Welcome { controller: 3, beat_ms: 500 }),
        ("offer", ToAgent::Offer(Box::new(offer()))),
        ("offer-bare", ToAgent::Offer(Box::new(bare))),
        ("offer-extended", ToAgent::Offer(Box::new(Offer { program: Arc::new(extended()), ..offer() }))),
        ("offer-on-trial", ToAgent::Offer(Box::new(on_trial))),
        ("pulse", ToAgent::Pulse { assigned: Some((generation(41), digest(0x44))), echo: 0 }),
        ("pulse-echo", ToAgent::Pulse { assigned: None, echo: 7 }),
        ("pulse-nothing", ToAgent::Pulse { assigned: None, echo: 0 }),
    ]
}

fn peer() -> Vec<(&'static str, PeerMessage)> {
    let request_id = RequestId([0x88; 16]);
    let put = ClientBody::PutTopology {
        topology: b"version: 1\n".to_vec(),
        file: "abilene.yaml".to_string(),
        reason: "a new link".to_string(),
        expected_revision: Some(0),
        dry_run: true,
        overrides: Some(overriding()),
    };
    let request =
        ClientRequest { author: "ada".to_string(), idempotency_key: "key-1".to_string(), body: put };
    let answer = ClientAnswer {
        code: "guard_refused".to_string(),
        change: 9,
        revision: 4,
        detail: "2 prefixes would be lost".to_string(),
        guard: Some(GuardRecord { guard: "max_prefixes_lost".to_string(), value: 2, limit: 0, ok: false }),
        body: b"{}".to_vec(),
    };
    let observation =
        |connected, message| PeerBody::Observation { host: "denver".to_string(), connected, message };
    [
        ("raft", PeerBody::Raft(vec![1, 2, 3])),
        ("vote", PeerBody::Vote { release: 41, digest: digest(0x44) }),
        ("forward", PeerBody::Forward { request_id, request }),
        ("forward-reply", PeerBody::ForwardReply { request_id, answer }),
        ("observation", observation(true, Some(ToController::Links(links())))),
        ("observation-end", observation(false, None)),
    ]
    .map(|(name, body)| (name, PeerMessage { from: 2, body }))
    .into()
}

pub(crate) fn entry(command: Command) -> Entry {
    Entry {
        request_id: RequestId([0x99; 16]),
        idempotency_key: "key-1".to_string(),
        author: "ada".to_string(),
        at_unix_ms: 1_795_000_000_000,
        command,
    }
}

fn release() -> Release {
    let assigned = |host: &str, byte| Assigned { host: host.to_string(), revision: 4, digest: digest(byte) };
    Release {
        change: 9,
        step: 1,
        steps: vec![
            Step { hosts: vec!["denver".to_string()], bake_ms: 10_000 },
            Step { hosts: vec!["kansas".to_string(), "seattle".to_string()], bake_ms: 0 },
        ],
        hosts: vec![assigned("denver", 1), assigned("seattle", 2)],
        base_release_index: 40,
    }
}

/// The command with this name.
pub(crate) fn command(name: &str) -> Command {
    commands().into_iter().find(|(known, _)| *known == name).unwrap().1
}

fn commands() -> Vec<(&'static str, Command)> {
    let fact = |release| {
        Command::Fact(Fact {
            link: "denver:eth1--kansas:eth2".to_string(),
            down: true,
            evidence: vec!["denver: eth1 has no carrier".to_string()],
            base_fact_index: 38,
            base_release_index: 40,
            release,
        })
    };
    let intent = Intent {
        base_revision: 3,
        expected_revision: Some(3),
        topology: b"version: 1\n".to_vec(),
        file: "abilene.yaml".to_string(),
        reason: "a new link".to_string(),
        guards: vec![GuardRecord { guard: "max_prefixes_lost".to_string(), value: 0, limit: 0, ok: true }],
        overrides: Some(overriding()),
    };
    let plain = Intent { expected_revision: None, guards: Vec::new(), overrides: None, ..intent.clone() };
    let found = Command::Found { incarnation: 2, cluster: "lab".to_string(), operator_key: vec![0xaa; 32] };
    vec![
        ("found", found),
        ("intent", Command::Intent(intent)),
        ("intent-plain", Command::Intent(plain)),
        ("fact", fact(Some(release()))),
        ("fact-alone", fact(None)),
        ("release", Command::Release(release())),
        ("void", Command::Void { release: 41, reason: "outvoted".to_string() }),
        (
            "progress",
            Command::Progress {
                change: 9,
                state: ChangeState::Halted,
                reason: "superseded by change 10".to_string(),
            },
        ),
        ("raise-incarnation", Command::RaiseIncarnation { above: 5, reason: "denver runs 5.12".to_string() }),
        ("chunk", Command::Chunk { id: [0xbb; 16], index: 1, count: 3, data: vec![4, 5, 6] }),
    ]
}

pub(crate) fn ledgers() -> Vec<(&'static str, Ledger)> {
    let kept = |index| Kept {
        generation: generation(index),
        revision: 4,
        digest: digest(0x44),
        table: Arc::new(table()),
        program: Arc::new(program()),
        origin: Origin::default(),
    };
    let whole = Ledger {
        host: "seattle".to_string(),
        highest: generation(50),
        running: Some(kept(41)),
        confirmed: Some(kept(40)),
        known_digests: vec![digest(1), digest(2)],
        override_revision_used: 4,
        previous: None,
        trial_ms: 0,
        reverted: None,
        pin: None,
        freeze: None,
    };
    let hold = |reason: &str| Hold {
        by: "root (ada)".to_string(),
        reason: reason.to_string(),
        since_unix_ms: 1_795_000_000_000,
    };
    let held = Ledger {
        running: Some(Kept { origin: origin(), ..kept(41) }),
        previous: Some(kept(40)),
        trial_ms: 10_000,
        reverted: Some(Reverted {
            generation: generation(39),
            digest: digest(3),
            reason: "no answer of a controller within 10 s".to_string(),
        }),
        pin: Some(hold("the spare path is being measured")),
        freeze: Some(hold("")),
        ..whole.clone()
    };
    let new = Ledger {
        host: "seattle".to_string(),
        highest: Generation::default(),
        running: None,
        confirmed: None,
        known_digests: Vec::new(),
        override_revision_used: 0,
        previous: None,
        trial_ms: 0,
        reverted: None,
        pin: None,
        freeze: None,
    };
    vec![("whole", whole), ("new", new), ("held", held)]
}

/// The state in its protobuf form; what it means is the controller's business and has its own tests there.
pub(crate) fn snapshot() -> Snapshot {
    let state = proto::State {
        incarnation: 2,
        cluster: "lab".to_string(),
        operator_key: vec![0xaa; 32],
        head_revision: 1,
        fact_index: 38,
        release_index: 40,
        next_change: 10,
        fact_sets: vec![proto::FactSet {
            index: 38,
            links_down: vec!["denver:eth1--kansas:eth2".to_string()],
        }],
        assignments: vec![proto::Assignment {
            host: "seattle".to_string(),
            revision: 4,
            fact_index: 38,
            generation: Some(wire::proto::agent::v1::Generation { incarnation: 2, index: 40 }),
            digest: vec![0x44; 32],
            classes_done: vec![17],
        }],
        releases: vec![proto::ReleaseRecord {
            index: 40,
            change: 9,
            step: 0,
            digest: vec![0x44; 32],
            void: false,
            hosts: vec!["seattle".to_string()],
        }],
        quarantine: vec![proto::QuarantineRecord {
            index: 39,
            author: "ada".to_string(),
            reason: "the entry cannot be read".to_string(),
        }],
        ..proto::State::default()
    };
    Snapshot { applied: 41, state }
}
