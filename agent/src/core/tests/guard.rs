//! The host's own veto, row by row.

use super::{HOST, Host, network, offer};
use crate::core::guard::{DEFAULT_ROUTE, MANAGEMENT_ROUTE, MAX_ROUTES, MAX_ROUTES_REMOVED};
use crate::core::way::{Way, WayRoute};
use plan::objects::RouteKey;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::net::IpAddr;
use wire::agent::{Offer, Outcome};
use wire::overrides::Override;

/// Runs `before` prefixes, offers `after`; how many routes each prefix costs is the compiler's business: the numbers
/// below are routes.
fn verdict(before: usize, after: usize) -> (Outcome, usize) {
    let mut host = Host::connected();
    host.offer(offer(&network(before), 5, 1));
    let routes = host.kernel.routes.len();
    host.offer(offer(&network(after), 6, 2));
    (host.acks[1].outcome.clone(), routes.saturating_sub(routes_of(after)))
}

fn routes_of(prefixes: usize) -> usize {
    let network = network(prefixes);
    let (program, _) = network.host(HOST).expect("there");
    plan::Objects::of(program, &network.table).routes.len()
}

#[test]
fn more_than_half_and_more_than_ten_routes_going_is_refused() {
    for (before, after, refused) in [
        // 10 going of 18: more than half, but ten may always go.
        (5, 0, false),
        // 12 going of 20.
        (6, 0, true),
        // 40 going of 88: less than half.
        (40, 20, false),
        // 60 of 88.
        (40, 10, true),
        (10, 40, false),
        (40, 40, false),
    ] {
        let (outcome, going) = verdict(before, after);
        match outcome {
            Outcome::RefusedByGuard { guard, value, limit } => {
                assert!(refused, "{before} -> {after}: {value} of limit {limit}");
                assert_eq!((guard.as_str(), value as usize), (MAX_ROUTES_REMOVED, going));
                assert!(value > limit);
            }
            other => assert!(!refused, "{before} -> {after}: {other:?}"),
        }
    }
}

#[test]
fn a_program_without_any_route_is_refused_however_few_go() {
    let mut host = Host::connected();
    host.offer(offer(&network(0), 5, 1));
    let before = host.kernel.clone();
    assert!(before.routes.len() <= 10);
    let alone = super::compile("version: 1\nname: t\nnodes: { a: {} }\n");
    host.offer(offer(&alone, 6, 2));
    assert!(matches!(host.acks[1].outcome, Outcome::RefusedByGuard { .. }), "{:?}", host.acks[1].outcome);
    assert_eq!(host.kernel, before);
}

#[test]
fn a_return_to_a_program_of_its_own_ledger_passes() {
    let (few, many) = (network(1), network(40));
    let mut host = Host::connected();
    host.offer(offer(&few, 5, 1));
    host.offer(offer(&many, 6, 2));
    host.offer(offer(&few, 7, 3));
    assert_eq!(host.outcomes(), [&Outcome::Applied; 3]);
    // Also after the agent's death: its ledger remembers.
    host.offer(offer(&many, 8, 4));
    host.restart();
    host.event(crate::core::event::Event::Connected);
    host.offer(offer(&few, 9, 5));
    assert_eq!(host.outcomes().last(), Some(&&Outcome::Applied));
}

struct Operator(Ed25519KeyPair);

impl Operator {
    fn new(seed: u8) -> Operator {
        Operator(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes"))
    }

    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("32 bytes")
    }

    fn word(&self, guard: &str, revision: u64) -> Override {
        let mut word = Override {
            guards: vec![guard.to_string()],
            revision,
            topology_digest: [7; 32],
            reason: "the old prefixes are gone for good".to_string(),
            signature: Vec::new(),
        };
        word.signature = self.0.sign(&word.signed_bytes()).as_ref().to_vec();
        word
    }
}

#[test]
fn the_operators_word_counts_once_for_its_revision_alone() {
    let operator = Operator::new(1);
    let (few, fewer, many) = (network(1), network(2), network(40));
    let mut config = Host::config();
    config.operator_key = Some(operator.public());
    let with = |offer: Offer, word: &Override| Offer { overrides: Some(word.clone()), ..offer };
    let (word, other_guard) = (operator.word(MAX_ROUTES_REMOVED, 2), operator.word("max_prefixes_lost", 2));
    let mut forged = Operator::new(2).word(MAX_ROUTES_REMOVED, 2);
    let mut altered = word.clone();
    altered.reason.push('!');
    for (name, word, revision, passes) in [
        ("right", &word, 2, true),
        ("another revision", &word, 3, false),
        ("another guard", &other_guard, 2, false),
        ("another key", &forged, 2, false),
        ("altered", &altered, 2, false),
    ] {
        let mut host = Host::unborn(config.clone());
        host.boot();
        host.offer(offer(&many, 5, 1));
        host.offer(with(offer(&few, 6, revision), word));
        assert_eq!(host.acks[1].outcome == Outcome::Applied, passes, "{name}: {:?}", host.acks[1].outcome);
    }
    // Used up: the same word does not open the same revision for another program, nor after a restart.
    let mut host = Host::unborn(config.clone());
    host.boot();
    host.offer(offer(&many, 5, 1));
    host.offer(with(offer(&few, 6, 2), &word));
    host.offer(offer(&many, 7, 2));
    host.restart();
    host.offer(with(offer(&fewer, 8, 2), &word));
    assert!(matches!(host.acks.last().expect("there").outcome, Outcome::RefusedByGuard { .. }));
    // A host without the operator's key accepts no word at all.
    forged.revision = 2;
    let mut host = Host::connected();
    host.offer(offer(&many, 5, 1));
    host.offer(with(offer(&few, 6, 2), &word));
    assert!(matches!(host.acks[1].outcome, Outcome::RefusedByGuard { .. }));
}

/// The guard that refused, with its numbers; `None`: applied.
fn refused(host: &Host) -> Option<(String, u64, u64)> {
    match &host.acks.last().expect("an answer").outcome {
        Outcome::RefusedByGuard { guard, value, limit } => Some((guard.clone(), *value, *limit)),
        Outcome::Applied => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn more_routes_than_the_host_takes_are_refused() {
    let mut config = Host::config();
    let routes = routes_of(6) as u64;
    config.routes_max = routes;
    let mut host = Host::unborn(config);
    host.boot();
    host.offer(offer(&network(6), 5, 1));
    assert_eq!(refused(&host), None);
    host.offer(offer(&network(7), 6, 2));
    assert_eq!(refused(&host), Some((MAX_ROUTES.to_string(), routes_of(7) as u64, routes)));
}

fn way(prefix: &str, metric: u32, protocol: u8) -> Way {
    let prefix = prefix.parse().expect("a prefix");
    Way::Route(WayRoute { prefix, table: 254, metric, protocol, group: None, interface: None, gateway: None })
}

#[test]
fn a_program_does_not_take_the_way_to_the_controllers_over() {
    // The program has 10.1.0.0/24 to 10.1.2.0/24 at metrics 100 and 200, and an address 10.255... of the host itself.
    let controller: IpAddr = "10.1.1.9".parse().expect("an address");
    let elsewhere: IpAddr = "192.0.2.9".parse().expect("an address");
    for (name, at, way, refuses) in [
        ("a shorter route of somebody else", controller, way("10.0.0.0/8", 0, 3), true),
        ("a default route", controller, way("0.0.0.0/0", 1_024, 16), true),
        ("the same prefix at a worse metric", controller, way("10.1.1.0/24", 1_024, 16), true),
        ("the same prefix at a better metric", controller, way("10.1.1.0/24", 50, 16), false),
        ("a longer route", controller, way("10.1.1.9/32", 9_999, 3), false),
        ("ours already: in-band management", controller, way("10.0.0.0/8", 0, 91), false),
        ("none at all", controller, Way::None, false),
        ("nobody knows", controller, Way::Unknown("no buffer space".to_string()), true),
        ("a controller that the program does not touch", elsewhere, way("0.0.0.0/0", 0, 16), false),
    ] {
        let mut config = Host::config();
        config.controllers = vec![at];
        let mut host = Host::unborn(config);
        host.boot();
        host.ways.insert(at, way);
        host.offer(offer(&network(3), 5, 1));
        let wanted = refuses.then(|| (MANAGEMENT_ROUTE.to_string(), 1, 0));
        assert_eq!(refused(&host), wanted, "{name}");
        assert_eq!(host.kernel.routes.is_empty(), refuses, "{name}");
    }
}

#[test]
fn a_controller_on_the_host_itself_is_taken_from_nobody_by_the_address_that_it_has() {
    let network = network(3);
    let (program, _) = network.host(super::HOST).expect("the host is in the network");
    let own: IpAddr = program.preferred_source_v4.expect("the host has a loopback").into();
    let mut config = Host::config();
    config.controllers = vec![own];
    let mut host = Host::unborn(config);
    host.boot();
    host.offer(offer(&network, 5, 1));
    assert_eq!(refused(&host), None, "before it is there, nothing is taken");
    host.ways.insert(own, way(&format!("{own}/32"), 0, 2));
    host.offer(offer(&super::network(4), 6, 2));
    assert_eq!(refused(&host), None, "the kernel's own route is that of the address in force");
}

#[test]
fn a_default_route_of_somebody_else_is_not_overridden() {
    let text = "version: 1\nname: t\nnodes: { a: {}, b: {} }\nlinks:\n- { endpoints: [\"a:eth1\", \"b:eth1\"] }\n\
                external: [ { node: b, interface: up0, next_hop: 192.0.2.1, prefixes: [0.0.0.0/0] } ]\n";
    let network = super::compile(text);
    for (metric, refuses) in [(1_024, true), (101, true), (100, false), (0, false)] {
        let mut host = Host::unborn(Host::config());
        let prefix = "0.0.0.0/0".parse().expect("a prefix");
        host.kernel.foreign_routes.insert(RouteKey { table: 254, prefix, metric });
        host.boot();
        host.offer(offer(&network, 5, 1));
        match &host.acks.last().expect("an answer").outcome {
            Outcome::RefusedByGuard { guard, value, limit } => {
                assert!(refuses, "{metric}");
                assert_eq!((guard.as_str(), *value, *limit), (DEFAULT_ROUTE, 100, u64::from(metric)));
            }
            other => assert!(!refuses, "{metric}: {other:?}"),
        }
    }
}

#[test]
fn each_guard_needs_its_own_name_in_the_operators_word() {
    let operator = Operator::new(1);
    let controller: IpAddr = "10.1.1.9".parse().expect("an address");
    let mut config = Host::config();
    config.operator_key = Some(operator.public());
    config.controllers = vec![controller];
    config.routes_max = 3;
    for (guards, passes) in [
        (vec![MANAGEMENT_ROUTE], false),
        (vec![MAX_ROUTES], false),
        (vec![MANAGEMENT_ROUTE, MAX_ROUTES], true),
    ] {
        let mut word = operator.word(MAX_ROUTES, 1);
        word.guards = guards.iter().map(ToString::to_string).collect();
        word.guards.sort();
        word.signature = operator.0.sign(&word.signed_bytes()).as_ref().to_vec();
        let mut host = Host::unborn(config.clone());
        host.boot();
        host.ways.insert(controller, way("0.0.0.0/0", 0, 3));
        host.offer(Offer { overrides: Some(word), ..offer(&network(3), 5, 1) });
        assert_eq!(refused(&host).is_none(), passes, "{guards:?}");
    }
}
