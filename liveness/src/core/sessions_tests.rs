//! Which session a packet is for, and what becomes of sessions that are wanted no more.

use super::*;
use crate::core::packet::Diagnostic;

const HERE: &str = "fe80::1";
const THERE: &str = "fe80::2";

fn wanted(interface: &str, remote: &str) -> WantedSession {
    WantedSession {
        interface: interface.to_string(),
        local: HERE.parse().unwrap(),
        remote: remote.parse().unwrap(),
        interval_ms: 50,
        multiplier: 3,
        passive: false,
    }
}

fn packet(state: State, your_discriminator: u32) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: 77,
        your_discriminator,
        desired_min_tx_us: 50_000,
        required_min_rx_us: 50_000,
        required_min_echo_rx_us: 0,
    }
}

fn hears(
    sessions: &mut Sessions,
    interface: &str,
    source: &str,
    hop_limit: Option<u8>,
    packet: &Packet,
) -> bool {
    let before = sessions.entries.values().map(|entry| entry.received).sum::<u64>();
    sessions.receive(Micros(1), interface, source.parse().unwrap(), hop_limit, &packet.encode());
    sessions.entries.values().map(|entry| entry.received).sum::<u64>() > before
}

fn up(keys: &[(&str, &str)]) -> Sessions {
    let mut sessions = Sessions::new(1);
    sessions.want(
        Micros(0),
        &keys.iter().map(|(interface, remote)| wanted(interface, remote)).collect::<Vec<_>>(),
    );
    for (interface, remote) in keys {
        assert!(hears(&mut sessions, interface, remote, Some(255), &packet(State::Down, 0)));
        let name = name(&sessions, interface);
        assert!(hears(&mut sessions, interface, remote, Some(255), &packet(State::Up, name)));
    }
    sessions
}

fn name(sessions: &Sessions, interface: &str) -> u32 {
    sessions.keys().find(|(key, _)| key.interface == interface).map(|(_, name)| name).unwrap()
}

#[test]
fn a_packet_finds_its_session_by_our_name_or_by_its_link() {
    let mut sessions = up(&[("eth1", THERE), ("eth2", THERE)]);
    let (one, two) = (name(&sessions, "eth1"), name(&sessions, "eth2"));
    assert_ne!(one, two);
    let cases = [
        ("eth1", THERE, Some(255), one, true),
        ("eth1", THERE, Some(255), 0, true),
        ("eth2", THERE, Some(255), two, true),
        ("eth1", THERE, Some(255), two, false),
        ("eth1", THERE, Some(255), one ^ 1, false),
        ("eth1", "fe80::3", Some(255), one, false),
        ("eth1", "fe80::3", Some(255), 0, false),
        ("eth3", THERE, Some(255), 0, false),
        ("eth1", THERE, Some(254), one, false),
        ("eth1", THERE, None, one, false),
    ];
    for (interface, source, hop_limit, name, found) in cases {
        let packet = packet(if name == 0 { State::Down } else { State::Up }, name);
        assert_eq!(
            hears(&mut sessions, interface, source, hop_limit, &packet),
            found,
            "{interface} {source} {hop_limit:?} {name}"
        );
    }
    assert_eq!(sessions.dropped().far, 2);
    assert_eq!(sessions.dropped().unknown, 5);
}

#[test]
fn bytes_that_are_no_packet_are_counted() {
    let mut sessions = up(&[("eth1", THERE)]);
    sessions.receive(Micros(1), "eth1", THERE.parse().unwrap(), Some(255), &[0; 24]);
    assert_eq!(sessions.dropped().malformed, 1);
}

#[test]
fn what_is_wanted_no_more_says_goodbye_and_is_gone() {
    let mut sessions = up(&[("eth1", THERE), ("eth2", THERE)]);
    sessions.take_changed();
    sessions.want(Micros(10), &[wanted("eth2", THERE)]);
    assert!(sessions.take_changed());
    let mut goodbyes = 0;
    while let Some(at) = sessions.next_deadline().filter(|at| at.0 < 140_000) {
        let mut out = Vec::new();
        sessions.tick(at, &mut out);
        goodbyes += out.iter().filter(|out| out.packet.state == State::AdminDown).count();
    }
    assert_eq!(goodbyes, 3);
    assert_eq!(sessions.keys().map(|(key, _)| key.interface.as_str()).collect::<Vec<_>>(), ["eth2"]);
    assert!(sessions.take_changed());
}

#[test]
fn the_same_list_again_changes_nothing_for_the_neighbour() {
    let mut sessions = up(&[("eth1", THERE)]);
    let before = name(&sessions, "eth1");
    sessions.want(Micros(10), &[wanted("eth1", THERE)]);
    let report = sessions.report(Micros(10), |_| None);
    assert_eq!(
        (name(&sessions, "eth1"), report[0].state.as_str(), report[0].alive),
        (before, "up", Some(true))
    );
}

#[test]
fn one_that_left_and_is_wanted_again_begins_anew() {
    let mut sessions = up(&[("eth1", THERE)]);
    let before = name(&sessions, "eth1");
    sessions.want(Micros(10), &[]);
    sessions.want(Micros(20), &[wanted("eth1", THERE)]);
    assert_eq!(name(&sessions, "eth1"), before, "the neighbour may still use it");
    assert_eq!(sessions.report(Micros(20), |_| None)[0].alive, None);
}

#[test]
fn a_failure_is_counted_once_and_the_list_is_bounded() {
    let mut sessions = up(&[("eth1", THERE)]);
    sessions.tick(Micros(200_000), &mut Vec::new());
    sessions.tick(Micros(2_000_000), &mut Vec::new());
    let report = sessions.report(Micros(2_200_000), |_| None);
    assert_eq!((report[0].alive, report[0].failures, report[0].since_ms), (Some(false), 1, 2_000));
    let many: Vec<WantedSession> =
        (0..SESSIONS_MAX + 9).map(|at| wanted(&format!("eth{at}"), THERE)).collect();
    sessions.want(Micros(3_000_000), &many);
    assert!(sessions.keys().count() <= SESSIONS_MAX + 1);
}
