//! One session: the state machine of RFC 5880, section 6.8, in asynchronous mode, without echo and without authentication.
//!
//! Every event gives at most one packet to send now. It never looks at a clock: whoever drives it comes back at
//! [`Session::next_deadline`].

use crate::core::Micros;
use crate::core::packet::{Diagnostic, Packet, State};

/// Slowest rate that a session which is not up may advertise (section 6.8.3), in microseconds.
pub const SLOW_US: u32 = 1_000_000;
/// Fewest packets that say goodbye to a neighbour: a single one may be lost.
const FAREWELLS_MIN: u8 = 3;

/// What its owner wants of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Between two packets once the session is up, in both directions, in microseconds.
    pub interval_us: u32,
    /// Packets in a row that may be missed; never 0.
    pub multiplier: u8,
    /// Says nothing before it hears something (the passive role of section 6.1).
    pub is_passive: bool,
}

/// What may be concluded about the neighbour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The session was never up.
    #[default]
    Unknown,
    /// One end took it down on purpose: nothing is known of the neighbour any more.
    Left,
    /// It is up.
    Alive,
    /// It was up, and then no packet came for the detection time, or the neighbour said that it hears nothing.
    Dead,
}

/// What the other end said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Remote {
    /// 0: not known.
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    min_rx_us: u32,
    desired_tx_us: u32,
    multiplier: u8,
    demand: bool,
}

const SILENT: Remote = Remote {
    discriminator: 0,
    state: State::Down,
    diagnostic: Diagnostic::NONE,
    // Section 6.8.1: 1 until something is known.
    min_rx_us: 1,
    desired_tx_us: 0,
    multiplier: 0,
    demand: false,
};

/// A session.
#[derive(Clone, Debug)]
pub struct Session {
    discriminator: u32,
    wishes: Wishes,
    state: State,
    diagnostic: Diagnostic,
    verdict: Verdict,
    remote: Remote,
    /// Advertised (`bfd.DesiredMinTxInterval`).
    desired_tx_us: u32,
    /// Advertised (`bfd.RequiredMinRxInterval`).
    required_rx_us: u32,
    /// What the own pace follows: a slower one counts only when the neighbour has confirmed it.
    pace_tx_us: u32,
    /// What the detection time follows: a quicker one counts only when the neighbour has confirmed it.
    detect_rx_us: u32,
    polling: bool,
    /// Parameters changed while the neighbour was already asked: its answer may be to the earlier ones.
    poll_again: bool,
    heard_at: Micros,
    send_at: Micros,
    /// Leaving: packets still to be sent, and the pace of these.
    farewell: Option<(u8, u32)>,
    jitter: u64,
}

impl Session {
    /// A session in state down, whose first packet is due at once. `seed`: for its jitter.
    pub fn new(discriminator: u32, wishes: Wishes, seed: u64, now: Micros) -> Session {
        let slow = wishes.interval_us.max(SLOW_US);
        Session {
            discriminator,
            wishes,
            state: State::Down,
            diagnostic: Diagnostic::NONE,
            verdict: Verdict::Unknown,
            remote: SILENT,
            desired_tx_us: slow,
            required_rx_us: wishes.interval_us,
            pace_tx_us: slow,
            detect_rx_us: wishes.interval_us,
            polling: false,
            poll_again: false,
            heard_at: now,
            send_at: now,
            farewell: None,
            jitter: seed,
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// What may be concluded.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Why its state changed last.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// Why the other end's state changed last, as it says.
    pub fn remote_diagnostic(&self) -> Diagnostic {
        self.remote.diagnostic
    }

    /// Its own name.
    pub fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// Between two packets to the neighbour, before jitter, in microseconds.
    pub fn transmit_us(&self) -> u32 {
        self.pace_tx_us.max(self.remote.min_rx_us)
    }

    /// Silence that makes the neighbour dead (section 6.8.4), in microseconds; 0 before it was heard.
    pub fn detection_us(&self) -> u64 {
        u64::from(self.remote.multiplier) * u64::from(self.detect_rx_us.max(self.remote.desired_tx_us))
    }

    /// Whether it has left and said so often enough.
    pub fn is_gone(&self) -> bool {
        matches!(self.farewell, Some((0, _)))
    }

    /// When [`Session::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Micros> {
        let send = self.may_send().then_some(self.send_at);
        [send, self.expires_at()].into_iter().flatten().min()
    }

    /// Takes other wishes; a session that is up asks the neighbour to confirm them (section 6.8.3).
    pub fn wish(&mut self, now: Micros, wishes: Wishes) {
        if self.farewell.is_some() || self.wishes == wishes {
            return;
        }
        self.wishes = wishes;
        self.parameters(now);
        self.send_at = now;
    }

    /// Takes itself down on purpose, so that the neighbour sees no failure; it is over when [`Session::is_gone`].
    pub fn leave(&mut self, now: Micros) {
        if self.farewell.is_some() {
            return;
        }
        // At the pace that the neighbour agreed to, not at the slow one: the neighbour still counts in it.
        let pace = self.transmit_us();
        let packets =
            if self.remote.discriminator == 0 { 0 } else { self.wishes.multiplier.max(FAREWELLS_MIN) };
        self.enter(now, State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN, Verdict::Left);
        self.farewell = Some((packets, pace));
        self.send_at = now;
    }

    /// A packet that was found to be for this session. Gives the packet to be sent at once.
    pub fn receive(&mut self, now: Micros, packet: &Packet) -> Option<Packet> {
        let before = self.state;
        self.heard_at = now;
        self.remote = Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            min_rx_us: packet.required_min_rx_us,
            desired_tx_us: packet.desired_min_tx_us,
            multiplier: packet.multiplier,
            demand: packet.demand,
        };
        // A neighbour that takes more now must not wait for a packet that was planned when it took less.
        let soon = self.jittered(self.transmit_us());
        self.send_at = self.send_at.min(now.after(soon));
        if packet.is_final && self.polling {
            self.poll_confirmed();
        }
        if self.state == State::AdminDown {
            return None;
        }
        self.follow(now, packet.state);
        if packet.poll {
            return Some(self.packet(now, true));
        }
        (self.state != before).then(|| self.packet(now, false))
    }

    /// Time passed. Gives the packet to be sent now.
    pub fn tick(&mut self, now: Micros) -> Option<Packet> {
        if self.expires_at().is_some_and(|at| now >= at) {
            self.remote = Remote { diagnostic: self.remote.diagnostic, ..SILENT };
            if matches!(self.state, State::Init | State::Up) {
                let verdict = if self.state == State::Up { Verdict::Dead } else { self.verdict };
                self.enter(now, State::Down, Diagnostic::TIME_EXPIRED, verdict);
                // At once: the neighbour may hear though it is not heard.
                self.send_at = now;
            }
        }
        (self.may_send() && now >= self.send_at).then(|| self.packet(now, false))
    }

    fn expires_at(&self) -> Option<Micros> {
        (self.remote.discriminator != 0).then(|| self.heard_at.after(self.detection_us()))
    }

    /// Whether periodic packets may be sent (section 6.8.7).
    fn may_send(&self) -> bool {
        if let Some((left, _)) = self.farewell {
            return left > 0;
        }
        let nobody_asked = self.wishes.is_passive && self.remote.discriminator == 0;
        let demand =
            self.remote.demand && self.state == State::Up && self.remote.state == State::Up && !self.polling;
        !nobody_asked && self.remote.min_rx_us != 0 && !demand
    }

    /// The state that follows from the neighbour's (section 6.8.6).
    fn follow(&mut self, now: Micros, remote: State) {
        let signalled = Diagnostic::NEIGHBOUR_SIGNALLED_DOWN;
        match (self.state, remote) {
            (state, State::AdminDown) => {
                self.verdict = Verdict::Left;
                if state != State::Down {
                    self.enter(now, State::Down, signalled, Verdict::Left);
                }
            }
            (State::Down, State::Down) => self.enter(now, State::Init, self.diagnostic, self.verdict),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(now, State::Up, Diagnostic::NONE, Verdict::Alive);
            }
            (State::Up, State::Down) => self.enter(now, State::Down, signalled, Verdict::Dead),
            _ => {}
        }
    }

    fn enter(&mut self, now: Micros, state: State, diagnostic: Diagnostic, verdict: Verdict) {
        (self.state, self.diagnostic, self.verdict) = (state, diagnostic, verdict);
        self.parameters(now);
    }

    /// Brings what is advertised in line with wishes and state.
    fn parameters(&mut self, now: Micros) {
        let interval = self.wishes.interval_us;
        let is_up = self.state == State::Up;
        let desired = if is_up { interval } else { interval.max(SLOW_US) };
        let changed = (desired, interval) != (self.desired_tx_us, self.required_rx_us);
        (self.desired_tx_us, self.required_rx_us) = (desired, interval);
        if !is_up {
            (self.pace_tx_us, self.detect_rx_us) = (desired, interval);
            (self.polling, self.poll_again) = (false, false);
        } else if changed {
            self.pace_tx_us = self.pace_tx_us.min(desired);
            self.detect_rx_us = self.detect_rx_us.max(interval);
            self.poll_again = self.polling;
            self.polling = true;
        }
        let soon = self.jittered(self.transmit_us());
        self.send_at = self.send_at.min(now.after(soon));
    }

    fn poll_confirmed(&mut self) {
        if std::mem::take(&mut self.poll_again) {
            return;
        }
        self.polling = false;
        (self.pace_tx_us, self.detect_rx_us) = (self.desired_tx_us, self.required_rx_us);
    }

    /// A packet for now, and the time of the next one.
    fn packet(&mut self, now: Micros, is_final: bool) -> Packet {
        let pace = match &mut self.farewell {
            Some((left, pace)) => {
                *left = left.saturating_sub(1);
                *pace
            }
            None => self.transmit_us(),
        };
        self.send_at = now.after(self.jittered(pace));
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            // Never both (section 6.8.7).
            poll: self.polling && !is_final,
            is_final,
            // The agent may restart while this process goes on.
            control_plane_independent: true,
            demand: false,
            multiplier: self.wishes.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx_us: self.desired_tx_us,
            required_min_rx_us: self.required_rx_us,
            required_min_echo_rx_us: 0,
        }
    }

    /// 75 to 100 % of it; to 90 % where a single missed packet counts (section 6.8.7).
    fn jittered(&mut self, interval_us: u32) -> u64 {
        let spread = if self.wishes.multiplier == 1 { 15 } else { 25 };
        let least = u64::from(interval_us) * 75 / 100;
        least + (u64::from(interval_us) * spread / 100) * (random(&mut self.jitter) >> 48) / 0xFFFF
    }
}

/// The next number of a sequence (SplitMix64): for jitter and names, never for secrets.
pub(crate) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ mixed >> 31
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
