//! What is refused, and in which words: each case spoils one thing in a good message.

use crate::samples;
use prost::Message;
use std::sync::Arc;
use wire::agent::{Offer, Outcome, ToAgent, ToController, read_to_agent};
use wire::ledger::Ledger;
use wire::log::{Command, Entry};
use wire::peer::PeerMessage;
use wire::proto::agent::v1 as agent;
use wire::proto::replica::v1 as replica;
use wire::snapshot::Snapshot;

type Spoil<M> = (&'static str, fn(&mut M));

fn refusals<M: Message + Clone, V: std::fmt::Debug, E: std::fmt::Display>(
    good: M,
    decode: impl Fn(&[u8]) -> Result<V, E>,
    cases: &[Spoil<M>],
) -> String {
    assert!(decode(&good.encode_to_vec()).is_ok());
    let mut text = String::new();
    for (name, spoil) in cases {
        let mut bad = good.clone();
        spoil(&mut bad);
        let error = match decode(&bad.encode_to_vec()) {
            Ok(value) => panic!("{name}: {value:?} was accepted"),
            Err(error) => error,
        };
        text += &format!("{name}\n    {error}\n");
    }
    text
}

#[test]
fn an_offer_that_cannot_be_read_is_answered_as_unsupported() {
    let offer = samples::offer();
    let good = agent::ToAgent::from(&ToAgent::Offer(Box::new(offer.clone())));
    assert!(matches!(read_to_agent(good.clone()), Ok(ToAgent::Offer(_))));
    let spoilt = |spoil: fn(&mut agent::Offer)| {
        let mut bad = good.clone();
        if let Some(agent::to_agent::Body::Offer(offer)) = &mut bad.body {
            spoil(offer);
        }
        read_to_agent(bad).expect_err("it cannot be read")
    };
    let flows = |offer: &mut agent::Offer| {
        if let Some(program) = &mut offer.program {
            program.flows.push(1);
        }
    };
    let (why, ack) = spoilt(flows);
    let ack = ack.expect("an answer");
    assert_eq!((ack.generation, ack.digest), (offer.generation, offer.digest));
    assert_eq!(ack.outcome, Outcome::Unsupported { detail: why.to_string() });
    assert!(why.to_string().contains("cannot install: flows"), "{why}");
    // Without a generation nobody would know which offer is meant.
    assert!(spoilt(|offer| offer.generation = None).1.is_none());
    assert!(read_to_agent(agent::ToAgent { body: None }).expect_err("empty").1.is_none());
}

#[test]
fn programs_and_tables_are_refused_when_anything_is_odd() {
    let offer = Offer { program: Arc::new(samples::extended()), ..samples::offer() };
    let offer = agent::ToAgent::from(&ToAgent::Offer(Box::new(offer)));
    let cases = [ODD_KINDS, ODD_VALUES].concat();
    insta::assert_snapshot!(refusals(offer, ToAgent::decode, &cases));
}

fn offered(message: &mut agent::ToAgent) -> &mut agent::Offer {
    match &mut message.body {
        Some(agent::to_agent::Body::Offer(offer)) => offer,
        _ => panic!("an offer"),
    }
}

fn program(message: &mut agent::ToAgent) -> &mut agent::Program {
    offered(message).program.as_mut().unwrap()
}

fn settings(message: &mut agent::ToAgent) -> &mut agent::Settings {
    program(message).settings.as_mut().unwrap()
}

fn table(message: &mut agent::ToAgent) -> &mut agent::PrefixTable {
    offered(message).table.as_mut().unwrap()
}

/// What is missing, and objects of their kinds that cannot be.
const ODD_KINDS: &[Spoil<agent::ToAgent>] = &[
    ("no body", |m| m.body = None),
    ("no generation", |m| offered(m).generation = None),
    ("short digest", |m| offered(m).digest.truncate(31)),
    ("no table digest", |m| offered(m).table_digest.clear()),
    ("no program", |m| offered(m).program = None),
    ("no settings", |m| program(m).settings = None),
    ("flows", |m| program(m).flows.push(1)),
    ("a rule by mark", |m| program(m).rules[0].mark = 1),
    ("a rule's priority", |m| program(m).rules[0].priority = 100),
    ("a rule into the main table", |m| program(m).rules[0].table = 254),
    ("a rule without an interface", |m| program(m).rules[0].input_interface.clear()),
    ("a rule twice", |m| {
        let first = program(m).rules[0].clone();
        program(m).rules.push(first);
    }),
    ("a tunnel of another kind", |m| program(m).tunnels[0].kind = "gre".to_string()),
    ("a tunnel with another's name", |m| program(m).tunnels[0].name = "eth1".to_string()),
    ("a long name of a tunnel", |m| program(m).tunnels[0].name = "blx4567890123456".to_string()),
    ("an identifier of 25 bits", |m| program(m).tunnels[0].identifier = 1 << 24),
    ("a tunnel on port 0", |m| program(m).tunnels[0].port = 0),
    ("a tunnel's port", |m| program(m).tunnels[0].port = 1 << 16),
    ("a group address as hardware address", |m| program(m).tunnels[0].mac = vec![1, 0, 0, 0, 0, 1]),
    ("a hardware address of 5 bytes", |m| program(m).tunnels[0].forwarding[0].mac.truncate(5)),
    ("a tunnel's neighbour", |m| program(m).tunnels[0].neighbours[0].address.clear()),
    ("a discard of no kind", |m| program(m).discards[0].kind = 0),
    ("a discard in the local table", |m| program(m).discards[0].table = 255),
    ("discards unsorted", |m| program(m).discards.reverse()),
    ("a local segment without a behaviour", |m| program(m).local_segments[0].behaviour = None),
    ("a local segment of 4 bytes", |m| program(m).local_segments[0].segment.truncate(4)),
    ("local segments unsorted", |m| program(m).local_segments.reverse()),
    ("no segments", |m| program(m).nexthops[0].seg6.as_mut().unwrap().segments.clear()),
    ("nine segments", |m| {
        program(m).nexthops[0].seg6.as_mut().unwrap().segments = vec![vec![1; 16]; 9];
    }),
    ("no buckets", |m| program(m).groups[0].resilient.as_mut().unwrap().buckets = 0),
    ("a timer of 5 ms", |m| program(m).groups[0].resilient.as_mut().unwrap().idle_timer_ms = 5),
    ("a route in the local table", |m| program(m).classes[0].table = 255),
    ("a route in the table of segments", |m| program(m).classes[0].table = 91_255),
    ("liveness of no interval", |m| settings(m).liveness[0].interval_ms = 0),
    ("liveness times 256", |m| settings(m).liveness[0].multiplier = 256),
];

/// Values and orders that cannot be.
const ODD_VALUES: &[Spoil<agent::ToAgent>] = &[
    ("IPv6 source for IPv4", |m| program(m).preferred_source_v4 = vec![0; 16]),
    ("IPv4 source for IPv6", |m| program(m).preferred_source_v6 = vec![0; 4]),
    ("source of 5 bytes", |m| program(m).preferred_source_v4 = vec![0; 5]),
    ("foreign nexthop id", |m| program(m).nexthops[0].id = 5),
    ("gateway of 3 bytes", |m| program(m).nexthops[0].gateway.truncate(3)),
    ("nexthops unsorted", |m| program(m).nexthops.reverse()),
    ("a nexthop twice", |m| {
        let first = program(m).nexthops[0].clone();
        program(m).nexthops.insert(0, first);
    }),
    ("group id of a nexthop", |m| program(m).groups[0].id = 0x5b00_0001),
    ("empty group", |m| program(m).groups[0].members.clear()),
    ("weight 0", |m| program(m).groups[0].members[0].weight = 0),
    ("weight 257", |m| program(m).groups[0].members[0].weight = 257),
    ("members unsorted", |m| program(m).groups[0].members.reverse()),
    ("routes unsorted", |m| program(m).classes.reverse()),
    ("address of 0 bytes", |m| settings(m).addresses[0].address.clear()),
    ("address length 129", |m| settings(m).addresses[0].length = 129),
    ("address length 300", |m| settings(m).addresses[0].length = 300),
    ("addresses unsorted", |m| settings(m).addresses.reverse()),
    ("neighbour of 7 bytes", |m| settings(m).neighbours[0].address.truncate(7)),
    ("a sysctl twice", |m| {
        let first = settings(m).sysctls[0].clone();
        settings(m).sysctls.push(first);
    }),
    ("an MTU twice", |m| {
        let first = settings(m).mtus[0].clone();
        settings(m).mtus.push(first);
    }),
    ("prefix length 33", |m| table(m).entries[0].length = 33),
    ("host bits", |m| table(m).entries[0].address[3] = 1),
    ("prefixes unsorted", |m| table(m).entries.reverse()),
    ("classes unsorted", |m| table(m).classes.reverse()),
    ("override of a short file digest", |m| {
        offered(m).r#override.as_mut().unwrap().topology_digest.truncate(8);
    }),
    ("override's guards unsorted", |m| offered(m).r#override.as_mut().unwrap().guards.reverse()),
];

#[test]
fn messages_of_agents_are_refused_when_anything_is_odd() {
    let ack = ToController::decode(&sample("to_controller-ack-stale")).unwrap();
    let cases: &[Spoil<agent::ToController>] = &[
        ("no body", |m| m.body = None),
        ("no outcome", |m| acked(m).outcome = 0),
        ("unknown outcome", |m| acked(m).outcome = 99),
        ("no generation", |m| acked(m).generation = None),
        ("digest of 33 bytes", |m| acked(m).digest.push(0)),
        ("effective digest of 1 byte", |m| acked(m).effective_digest.truncate(1)),
        ("stale without the fence", |m| acked(m).detail.clear()),
    ];
    fn acked(message: &mut agent::ToController) -> &mut agent::Ack {
        match &mut message.body {
            Some(agent::to_controller::Body::Ack(ack)) => ack,
            _ => panic!("an ack"),
        }
    }
    let mut text = refusals((&ack).into(), ToController::decode, cases);
    let hello = ToController::decode(&sample("to_controller-hello")).unwrap();
    let cases: &[Spoil<agent::ToController>] = &[
        ("hello of protocol 0", |m| greeting(m).protocol = 0),
        ("hello of protocol 2", |m| greeting(m).protocol = 2),
        ("hello without the fence", |m| greeting(m).highest = None),
        ("hello with half of what is held", |m| greeting(m).held.as_mut().unwrap().table_digest.clear()),
    ];
    fn greeting(message: &mut agent::ToController) -> &mut agent::Hello {
        match &mut message.body {
            Some(agent::to_controller::Body::Hello(hello)) => hello,
            _ => panic!("a hello"),
        }
    }
    text += &refusals((&hello).into(), ToController::decode, cases);
    insta::assert_snapshot!(text);
}

#[test]
fn a_pulse_is_whole_or_empty() {
    let pulse = agent::ToAgent::decode(sample("to_agent-pulse").as_slice()).unwrap();
    fn pulsed(message: &mut agent::ToAgent) -> &mut agent::Pulse {
        match &mut message.body {
            Some(agent::to_agent::Body::Pulse(pulse)) => pulse,
            _ => panic!("a pulse"),
        }
    }
    let cases: &[Spoil<agent::ToAgent>] =
        &[("no digest", |m| pulsed(m).digest.clear()), ("no generation", |m| pulsed(m).generation = None)];
    insta::assert_snapshot!(refusals(pulse, ToAgent::decode, cases));
}

#[test]
fn log_entries_are_refused_when_anything_is_odd() {
    let entry = |name: &str| replica::LogEntry::decode(sample(name).as_slice()).unwrap();
    let mut text = refusals(
        entry("log-release"),
        Entry::decode,
        &[
            ("version 0", |m| m.version = 0),
            ("version 2", |m| m.version = 2),
            ("request id of 15 bytes", |m| m.request_id.truncate(15)),
            ("no command", |m| m.command = None),
            ("a released digest of 0 bytes", |m| released(m).hosts[0].digest.clear()),
            ("released hosts unsorted", |m| released(m).hosts.reverse()),
        ],
    );
    fn released(entry: &mut replica::LogEntry) -> &mut replica::Release {
        match &mut entry.command {
            Some(replica::log_entry::Command::Release(release)) => release,
            _ => panic!("a release"),
        }
    }
    fn command(entry: &mut replica::LogEntry) -> &mut replica::log_entry::Command {
        entry.command.as_mut().unwrap()
    }
    text += &refusals(
        entry("log-progress"),
        Entry::decode,
        &[
            ("state 0", |m| match command(m) {
                replica::log_entry::Command::Progress(progress) => progress.state = 0,
                _ => panic!("progress"),
            }),
            ("state 12", |m| match command(m) {
                replica::log_entry::Command::Progress(progress) => progress.state = 12,
                _ => panic!("progress"),
            }),
        ],
    );
    text += &refusals(
        entry("log-chunk"),
        Entry::decode,
        &[("chunk id of 17 bytes", |m| match command(m) {
            replica::log_entry::Command::Chunk(chunk) => chunk.id.push(0),
            _ => panic!("a chunk"),
        })],
    );
    text += &refusals(
        entry("log-found"),
        Entry::decode,
        &[("operator's key of 31 bytes", |m| match command(m) {
            replica::log_entry::Command::Found(found) => found.operator_key.truncate(31),
            _ => panic!("found"),
        })],
    );
    insta::assert_snapshot!(text);
}

#[test]
fn peer_messages_are_refused_when_anything_is_odd() {
    let message = |name: &str| replica::PeerMessage::decode(sample(name).as_slice()).unwrap();
    fn body(message: &mut replica::PeerMessage) -> &mut replica::peer_message::Body {
        message.body.as_mut().unwrap()
    }
    let mut text = refusals(
        message("peer-vote"),
        PeerMessage::decode,
        &[
            ("version 0", |m| m.version = 0),
            ("version 2", |m| m.version = 2),
            ("no body", |m| m.body = None),
            ("a vote's digest of 31 bytes", |m| match body(m) {
                replica::peer_message::Body::Vote(vote) => vote.digest.truncate(31),
                _ => panic!("a vote"),
            }),
        ],
    );
    text += &refusals(
        message("peer-forward"),
        PeerMessage::decode,
        &[
            ("no request id", |m| match body(m) {
                replica::peer_message::Body::Forward(forward) => forward.request_id.clear(),
                _ => panic!("a forward"),
            }),
            ("an empty request", |m| match body(m) {
                replica::peer_message::Body::Forward(forward) => forward.request.clear(),
                _ => panic!("a forward"),
            }),
            ("a request that is none", |m| match body(m) {
                replica::peer_message::Body::Forward(forward) => forward.request = vec![0xff; 9],
                _ => panic!("a forward"),
            }),
        ],
    );
    insta::assert_snapshot!(text);
}

#[test]
fn framed_formats_say_why_they_are_not_read() {
    let mut text = String::new();
    let mut add = |name: &str, error: wire::DecodeError| text += &format!("{name}\n    {error}\n");
    let ledger = sample("ledger-whole");
    let spoiled = |at: usize| {
        let mut bytes = ledger.clone();
        bytes[at] ^= 1;
        Ledger::decode(&bytes).unwrap_err()
    };
    add("empty", Ledger::decode(&[]).unwrap_err());
    add("another format", Ledger::decode(&sample("snapshot-whole")).unwrap_err());
    add("the other way round", Snapshot::decode(&ledger).unwrap_err());
    add("version 0", spoiled(11));
    let mut newer = ledger.clone();
    newer[11] = 2;
    add("version 2", Ledger::decode(&newer).unwrap_err());
    add("length", spoiled(19));
    add("checksum", spoiled(20));
    add("body", spoiled(60));
    add("cut in the frame", Ledger::decode(&ledger[..30]).unwrap_err());
    add("cut in the body", Ledger::decode(&ledger[..ledger.len() - 1]).unwrap_err());
    add("something behind it", Ledger::decode(&[ledger.as_slice(), b"x"].concat()).unwrap_err());
    let mut many = samples::ledgers().remove(0).1;
    many.known_digests = vec![plan::Digest([1; 32]); wire::ledger::KNOWN_DIGESTS_MAX + 1];
    add("too many known digests", Ledger::decode(&many.encode()).unwrap_err());
    insta::assert_snapshot!(text);
}

#[test]
fn a_large_entry_is_cut_and_put_together_again() {
    let command = |bytes: usize| match samples::command("intent") {
        Command::Intent(intent) => {
            let topology: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            Command::Intent(wire::log::Intent { topology, ..intent })
        }
        other => panic!("{other:?}"),
    };
    let small = samples::entry(command(1_000));
    assert_eq!(small.split([1; 16]), std::slice::from_ref(&small));
    for bytes in [wire::log::ENTRY_BYTES_MAX, 3 << 20] {
        let large = samples::entry(command(bytes));
        let mut whole = Vec::new();
        let parts = large.split([1; 16]);
        for (position, part) in parts.iter().enumerate() {
            assert!(part.encode().len() <= wire::log::ENTRY_BYTES_MAX);
            assert_eq!((part.request_id, part.author.as_str()), (large.request_id, "ada"));
            let Command::Chunk { id, index, count, data } = &part.command else { panic!("{part:?}") };
            assert_eq!((*id, *index as usize, *count as usize), ([1; 16], position, parts.len()));
            whole.extend(data);
        }
        assert_eq!(Entry::decode(&whole).unwrap(), large);
    }
}

fn sample(name: &str) -> Vec<u8> {
    samples::all().into_iter().find(|(known, _)| known == name).unwrap().1
}
