//! The state machine alone, and two of them over a link that loses, delays and repeats.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MS: u64 = 1_000;

fn wishes(interval_ms: u32, multiplier: u8) -> Wishes {
    Wishes { interval_us: interval_ms * 1_000, multiplier, is_passive: false }
}

/// What a neighbour that sends every 50 ms and takes as much would say.
fn says(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        multiplier: 3,
        my_discriminator: 7,
        your_discriminator: 1,
        desired_min_tx_us: 50_000,
        required_min_rx_us: 50_000,
        required_min_echo_rx_us: 0,
    }
}

/// A session that came to a state by the shortest way, at time 0.
fn in_state(state: State) -> Session {
    let mut session = Session::new(1, wishes(50, 3), 9, Micros(0));
    session.tick(Micros(0));
    match state {
        State::Down => {}
        State::Init => drop(session.receive(Micros(0), &says(State::Down))),
        State::Up => {
            session.receive(Micros(0), &says(State::Init));
            session.receive(Micros(0), &Packet { is_final: true, ..says(State::Up) });
        }
        State::AdminDown => {
            session.receive(Micros(0), &says(State::Down));
            session.leave(Micros(0));
        }
    }
    assert_eq!(session.state(), state);
    session
}

#[test]
fn states_follow_the_neighbours_as_the_standard_draws_them() {
    use State::{AdminDown, Down, Init, Up};
    use Verdict::{Alive, Dead, Left, Unknown};
    let cases = [
        (Down, AdminDown, Down, Left),
        (Down, Down, Init, Unknown),
        (Down, Init, Up, Alive),
        (Down, Up, Down, Unknown),
        (Init, AdminDown, Down, Left),
        (Init, Down, Init, Unknown),
        (Init, Init, Up, Alive),
        (Init, Up, Up, Alive),
        (Up, AdminDown, Down, Left),
        (Up, Down, Down, Dead),
        (Up, Init, Up, Alive),
        (Up, Up, Up, Alive),
        (AdminDown, AdminDown, AdminDown, Left),
        (AdminDown, Down, AdminDown, Left),
        (AdminDown, Init, AdminDown, Left),
        (AdminDown, Up, AdminDown, Left),
    ];
    for (from, heard, to, verdict) in cases {
        let mut session = in_state(from);
        let answer = session.receive(Micros(10), &says(heard));
        assert_eq!((session.state(), session.verdict()), (to, verdict), "{from:?} hears {heard:?}");
        assert_eq!(
            answer.map(|packet| packet.state),
            (from != to).then_some(to),
            "news is sent at once, and only news"
        );
        if (from, to) == (Up, Down) {
            assert_eq!(session.diagnostic(), Diagnostic::NEIGHBOUR_SIGNALLED_DOWN);
        }
    }
}

#[test]
fn silence_for_the_detection_time_is_death_only_after_up() {
    for (state, verdict) in [(State::Init, Verdict::Unknown), (State::Up, Verdict::Dead)] {
        let mut session = in_state(state);
        assert_eq!(session.detection_us(), 150 * MS);
        session.tick(Micros(150 * MS - 1));
        assert_eq!(session.state(), state, "one microsecond is left");
        let news = session.tick(Micros(150 * MS)).expect("the neighbour is told at once");
        assert_eq!((session.state(), session.verdict()), (State::Down, verdict));
        assert_eq!((news.state, news.diagnostic), (State::Down, Diagnostic::TIME_EXPIRED));
        assert_eq!(news.your_discriminator, 0, "the neighbour's name is forgotten with it");
    }
}

#[test]
fn what_is_not_up_is_slow_and_what_is_up_asks_for_its_pace() {
    let mut session = Session::new(1, wishes(50, 3), 9, Micros(0));
    let first = session.tick(Micros(0)).expect("the first packet is due at once");
    assert_eq!((first.desired_min_tx_us, first.required_min_rx_us, first.poll), (SLOW_US, 50_000, false));
    let next = session.next_deadline().expect("an active session goes on").0;
    assert!((750 * MS..=1_000 * MS).contains(&next), "{next}");
    let up = session.receive(Micros(1), &says(State::Init)).expect("a new state is told");
    assert_eq!((up.state, up.desired_min_tx_us, up.poll), (State::Up, 50_000, true));
    let next = session.next_deadline().expect("it goes on").0;
    assert!(next <= 50 * MS + 1, "{next}");
    session.receive(Micros(2), &Packet { is_final: true, ..says(State::Up) });
    let later = session.tick(Micros(next)).expect("due");
    assert!(!later.poll, "confirmed");
}

#[test]
fn a_slower_pace_waits_for_the_neighbours_word_and_so_does_a_shorter_detection_time() {
    let mut session = in_state(State::Up);
    session.wish(Micros(10), wishes(300, 3));
    let asks = session.tick(Micros(10)).expect("asked at once");
    assert_eq!((asks.poll, asks.desired_min_tx_us, asks.required_min_rx_us), (true, 300_000, 300_000));
    assert_eq!(session.transmit_us(), 50_000, "still as the neighbour counts");
    assert_eq!(session.detection_us(), 900 * MS, "the neighbour may slow down from now on");
    session.receive(Micros(20), &Packet { is_final: true, ..says(State::Up) });
    assert_eq!(session.transmit_us(), 300_000);

    session.wish(Micros(30), wishes(20, 3));
    assert_eq!(session.transmit_us(), 50_000, "as quick as the neighbour takes");
    assert_eq!(session.detection_us(), 900 * MS, "the neighbour does not know yet");
    // Two changes in a row: the answer may be to the first.
    session.wish(Micros(40), wishes(10, 3));
    session.receive(Micros(50), &Packet { is_final: true, ..says(State::Up) });
    assert_eq!(session.detection_us(), 900 * MS);
    assert!(session.tick(Micros(60)).expect("asks again").poll);
    session.receive(Micros(70), &Packet { is_final: true, ..says(State::Up) });
    assert_eq!(session.detection_us(), 150 * MS, "what the neighbour sends decides");
}

#[test]
fn a_poll_is_answered_at_once_and_never_with_a_poll() {
    let mut session = in_state(State::Up);
    session.wish(Micros(10), wishes(100, 3));
    let answer = session.receive(Micros(20), &Packet { poll: true, ..says(State::Up) }).expect("an answer");
    assert!(answer.is_final && !answer.poll);
    let next = session.next_deadline().expect("it goes on");
    assert!(session.tick(next).expect("due").poll, "its own question goes on");
}

#[test]
fn who_must_be_silent_is_silent() {
    let mut passive = Session::new(1, Wishes { is_passive: true, ..wishes(50, 3) }, 9, Micros(0));
    assert_eq!((passive.tick(Micros(0)), passive.next_deadline()), (None, None));
    let answer = passive.receive(Micros(5), &says(State::Down)).expect("it was asked");
    assert_eq!(answer.state, State::Init);

    let mut unwanted = in_state(State::Up);
    unwanted.receive(Micros(1), &Packet { required_min_rx_us: 0, ..says(State::Up) });
    assert_eq!(unwanted.tick(Micros(149 * MS)), None);
    assert_eq!(unwanted.next_deadline(), Some(Micros(150 * MS + 1)), "only the detection time is left");

    let mut on_demand = in_state(State::Up);
    on_demand.receive(Micros(1), &Packet { demand: true, ..says(State::Up) });
    assert_eq!(on_demand.tick(Micros(149 * MS)), None);
}

#[test]
fn leaving_is_said_more_than_once_at_the_agreed_pace_and_is_no_failure() {
    let mut session = in_state(State::Up);
    let mut neighbour = in_state(State::Up);
    session.leave(Micros(10));
    let mut said = Vec::new();
    while !session.is_gone() {
        let at = session.next_deadline().expect("there is something to be said until it is gone");
        said.push((at, session.tick(at).expect("due")));
    }
    assert_eq!(said.len(), 3);
    assert!(said.iter().all(|(_, packet)| packet.state == State::AdminDown));
    assert!(said[2].0.0 < 150 * MS, "all within the neighbour's detection time: {:?}", said[2].0);
    neighbour.receive(said[1].0, &said[1].1);
    assert_eq!((neighbour.state(), neighbour.verdict()), (State::Down, Verdict::Left));

    let mut lonely = in_state(State::Down);
    lonely.leave(Micros(10));
    assert!(lonely.is_gone(), "nobody to be told");
}

#[test]
fn jitter_stays_within_the_standards_bounds() {
    for (multiplier, most) in [(1, 90), (3, 100)] {
        let mut session = Session::new(1, wishes(100, multiplier), 9, Micros(0));
        let drawn: Vec<u64> = (0..2_000).map(|_| session.jittered(100_000)).collect();
        assert!(drawn.iter().all(|us| (75 * MS..=most * MS).contains(us)));
        let spread = drawn.iter().max().unwrap() - drawn.iter().min().unwrap();
        assert!(spread > (most - 76) * MS, "{spread}");
    }
}

/// Two sessions and the packets between them.
struct Link {
    ends: [Session; 2],
    now: Micros,
    /// Arrival and number -> receiving end, packet.
    travelling: BTreeMap<(Micros, u64), (usize, Packet)>,
    number: u64,
    random: u64,
    delay_us_max: u64,
    /// In percent.
    loss: u64,
    repeats: u64,
    /// Packets may overtake each other.
    overtakes: bool,
    latest: [Micros; 2],
    is_cut: bool,
}

impl Link {
    fn new(wishes: [Wishes; 2], seed: u64) -> Link {
        let ends = [0, 1].map(|end| Session::new(end as u32 + 1, wishes[end], seed ^ end as u64, Micros(0)));
        Link {
            ends,
            now: Micros(0),
            travelling: BTreeMap::new(),
            number: 0,
            random: seed,
            delay_us_max: 0,
            loss: 0,
            repeats: 0,
            overtakes: false,
            latest: [Micros(0); 2],
            is_cut: false,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        random(&mut self.random) % below.max(1)
    }

    fn send(&mut self, from: usize, packet: Packet) {
        let bytes = packet.encode();
        let packet = Packet::decode(&bytes).expect("what is sent can be read");
        assert!(!(packet.poll && packet.is_final), "never both");
        let copies = if self.draw(100) < self.repeats { 2 } else { 1 };
        for _ in 0..copies {
            let (lost, delay) = (self.draw(100) < self.loss, self.draw(self.delay_us_max + 1));
            if !self.is_cut && !lost {
                self.number += 1;
                let drawn = self.now.after(delay);
                let arrival = if self.overtakes { drawn } else { drawn.max(self.latest[from]) };
                self.latest[from] = arrival;
                self.travelling.insert((arrival, self.number), (1 - from, packet));
            }
        }
    }

    /// The next thing that happens, by `until` at the latest; false when that is reached.
    fn step(&mut self, until: Micros) -> bool {
        let arrival = self.travelling.keys().next().copied();
        let deadlines = [0, 1].map(|end| self.ends[end].next_deadline());
        let next = deadlines.into_iter().flatten().chain(arrival.map(|(at, _)| at)).min().unwrap_or(until);
        if next > until {
            self.now = until;
            return false;
        }
        self.now = self.now.max(next);
        if let Some(key) = arrival.filter(|(at, _)| *at <= self.now)
            && let Some((end, packet)) = self.travelling.remove(&key)
        {
            if let Some(answer) = self.ends[end].receive(self.now, &packet) {
                self.send(end, answer);
            }
            return true;
        }
        for end in 0..2 {
            if let Some(packet) = self.ends[end].tick(self.now) {
                self.send(end, packet);
            }
        }
        true
    }

    fn both_up(&self) -> bool {
        self.ends.iter().all(|end| end.state() == State::Up)
    }

    fn run_until_both_up(&mut self, limit_us: u64) -> bool {
        let until = self.now.after(limit_us);
        while !self.both_up() {
            if !self.step(until) {
                return false;
            }
        }
        true
    }
}

fn any_wishes() -> impl Strategy<Value = Wishes> {
    (prop::sample::select(vec![10u32, 20, 50, 100, 300]), 1u8..=5)
        .prop_map(|(ms, multiplier)| wishes(ms, multiplier))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn two_come_up_over_a_bad_link_and_fall_together_after_a_cut(
        a in any_wishes(), b in any_wishes(), seed: u64, loss in 0u64..35, repeats in 0u64..30, delay_ms in 0u64..40,
    ) {
        let mut link = Link::new([a, b], seed);
        (link.loss, link.repeats, link.delay_us_max, link.overtakes) = (loss, repeats, delay_ms * MS, true);
        prop_assert!(link.run_until_both_up(120_000 * MS), "never up");
        let cut = link.now;
        link.is_cut = true;
        link.loss = 100;
        let detection = link.ends.iter().map(Session::detection_us).max().unwrap_or(0);
        // What travels still arrives, and may change the detection time once more.
        while !link.travelling.is_empty() && link.step(cut.after(delay_ms * MS)) {}
        let detection = link.ends.iter().map(Session::detection_us).max().unwrap_or(0).max(detection);
        while link.step(cut.after(delay_ms * MS + detection)) {}
        for end in &link.ends {
            prop_assert_eq!(end.state(), State::Down);
            prop_assert_eq!(end.verdict(), Verdict::Dead);
        }
        link.is_cut = false;
        link.loss = loss;
        prop_assert!(link.run_until_both_up(120_000 * MS), "never up again");
    }

    #[test]
    fn a_sound_link_never_falls_whatever_is_wished(
        first in any_wishes(),
        changes in prop::collection::vec((0usize..2, any_wishes(), 0u64..2_000), 0..12),
        seed: u64,
    ) {
        let mut link = Link::new([first, first], seed);
        // Less than what jitter leaves of the shortest interval with a multiplier of 1.
        link.delay_us_max = 900;
        prop_assert!(link.run_until_both_up(3_000 * MS));
        for (end, wishes, pause_ms) in changes {
            let until = link.now.after(pause_ms * MS);
            while link.step(until) {
                prop_assert!(link.both_up(), "{:?} {:?}", link.ends, link.now);
            }
            link.ends[end].wish(link.now, wishes);
        }
        let until = link.now.after(10_000 * MS);
        while link.step(until) {
            prop_assert!(link.both_up());
        }
        for end in 0..2 {
            let (own, other) = (&link.ends[end], &link.ends[1 - end]);
            prop_assert!(!own.polling, "every question was answered");
            let agreed = own.wishes.interval_us.max(other.wishes.interval_us);
            prop_assert_eq!(own.transmit_us(), agreed);
            prop_assert_eq!(own.detection_us(), u64::from(agreed) * u64::from(other.wishes.multiplier));
        }
    }

    #[test]
    fn no_sequence_of_packets_breaks_a_session(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 24), 0u64..3_000_000), 0..40),
    ) {
        let mut session = Session::new(1, wishes(50, 3), 9, Micros(0));
        let mut now = Micros(0);
        for (mut bytes, pause) in packets {
            bytes[0] = bytes[0] & 0x1F | 0x20;
            bytes[1] &= !0b101;
            bytes[3] = 24;
            now = now.after(pause);
            if let Some(packet) = session.tick(now) {
                prop_assert!(!(packet.poll && packet.is_final));
            }
            if let Ok(packet) = Packet::decode(&bytes) {
                session.receive(now, &packet);
            }
            // It can always be driven on: a deadline that has come is worked off.
            for _ in 0..4 {
                session.tick(now);
            }
            prop_assert!(session.next_deadline().is_none_or(|at| at > now || session.transmit_us() == 0));
        }
    }
}
