//! The control packet of RFC 5880, section 4.1, as a value. It judges a packet by itself alone (the first half of section
//! 6.8.6); which session it belongs to, and what follows from it, is not known here.

use thiserror::Error;

/// UDP port of control packets (RFC 5881, section 4).
pub const PORT: u16 = 3_784;
/// Source ports of control packets (RFC 5881, section 4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// TTL and hop limit of every packet, sent and received (RFC 5881, section 5).
pub const HOP_LIMIT: u8 = 255;
/// Bytes of a packet without authentication.
pub const PACKET_BYTES: usize = 24;
/// A packet's length is one byte.
pub const PACKET_BYTES_MAX: usize = 255;

const VERSION: u8 = 1;
const POLL: u8 = 0b10_0000;
const FINAL: u8 = 0b01_0000;
const CONTROL_PLANE_INDEPENDENT: u8 = 0b00_1000;
const AUTHENTICATION: u8 = 0b00_0100;
const DEMAND: u8 = 0b00_0010;
const MULTIPOINT: u8 = 0b00_0001;

/// A session's state, as its owner sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Held down by its owner.
    AdminDown,
    /// No word from the other end.
    Down,
    /// The other end speaks, and does not know yet that it is heard.
    Init,
    /// Both ends hear each other.
    Up,
}

impl State {
    const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            State::AdminDown => "admin-down",
            State::Down => "down",
            State::Init => "init",
            State::Up => "up",
        }
    }
}

/// Why a session's state changed last: 0 to 31 (RFC 5880, section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// No diagnostic.
    pub const NONE: Diagnostic = Diagnostic(0);
    /// The detection time passed without a packet.
    pub const TIME_EXPIRED: Diagnostic = Diagnostic(1);
    /// The neighbour says that the session is down.
    pub const NEIGHBOUR_SIGNALLED_DOWN: Diagnostic = Diagnostic(3);
    /// Held down by its owner.
    pub const ADMINISTRATIVELY_DOWN: Diagnostic = Diagnostic(7);

    /// In words.
    pub fn words(self) -> &'static str {
        match self.0 {
            0 => "none",
            1 => "detection time expired",
            2 => "echo function failed",
            3 => "neighbour signalled down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            _ => "unknown",
        }
    }
}

/// A control packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's state changed last.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// The sender wants its parameters confirmed.
    pub poll: bool,
    /// The sender confirms parameters.
    pub is_final: bool,
    /// The sender's liveness goes on while its control plane restarts.
    pub control_plane_independent: bool,
    /// The sender wants no periodic packets once the session is up.
    pub demand: bool,
    /// Packets in a row that may be missed; never 0.
    pub multiplier: u8,
    /// The sender's name for the session; never 0.
    pub my_discriminator: u32,
    /// The receiver's name for the session; 0: not known.
    pub your_discriminator: u32,
    /// The sender would send this often, in microseconds.
    pub desired_min_tx_us: u32,
    /// The sender can take packets this often, in microseconds; 0: it wants none.
    pub required_min_rx_us: u32,
    /// The same for echo packets; 0: it reflects none.
    pub required_min_echo_rx_us: u32,
}

/// Why bytes are no packet that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Fewer bytes than a packet has, or than it says to have.
    #[error("it is cut short")]
    Short,
    /// Another version.
    #[error("version {0} is not known")]
    Version(u8),
    /// The A bit: authentication is not in use here.
    #[error("it carries authentication, which is not in use")]
    Authenticated,
    /// The M bit, which must be zero.
    #[error("its multipoint bit is set")]
    Multipoint,
    /// Multiplier 0.
    #[error("its multiplier is 0")]
    NoMultiplier,
    /// Discriminator 0.
    #[error("its discriminator is 0")]
    NoDiscriminator,
    /// No discriminator of ours in a state that needs one.
    #[error("it names no session, though it is past the state down")]
    NoSession,
}

impl Packet {
    /// Its bytes.
    pub fn encode(&self) -> [u8; PACKET_BYTES] {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let mut bytes = [0; PACKET_BYTES];
        bytes[0] = VERSION << 5 | self.diagnostic.0 & 0x1F;
        bytes[1] = (self.state as u8) << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.demand, DEMAND);
        bytes[2] = self.multiplier;
        bytes[3] = PACKET_BYTES as u8;
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx_us,
            self.required_min_rx_us,
            self.required_min_echo_rx_us,
        ];
        for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Reads the payload of a datagram.
    ///
    /// # Errors
    /// It must be discarded (RFC 5880, section 6.8.6), for the reason given.
    pub fn decode(bytes: &[u8]) -> Result<Packet, Malformed> {
        let (head, body) = bytes.split_first_chunk::<4>().ok_or(Malformed::Short)?;
        let version = head[0] >> 5;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        let length = usize::from(head[3]);
        if length < PACKET_BYTES || length > bytes.len() {
            return Err(Malformed::Short);
        }
        if head[1] & AUTHENTICATION != 0 {
            return Err(Malformed::Authenticated);
        }
        if head[1] & MULTIPOINT != 0 {
            return Err(Malformed::Multipoint);
        }
        let mut words =
            body.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        let mut next = || words.next().ok_or(Malformed::Short);
        let packet = Packet {
            diagnostic: Diagnostic(head[0] & 0x1F),
            state: State::ALL[usize::from(head[1] >> 6)],
            poll: head[1] & POLL != 0,
            is_final: head[1] & FINAL != 0,
            control_plane_independent: head[1] & CONTROL_PLANE_INDEPENDENT != 0,
            demand: head[1] & DEMAND != 0,
            multiplier: head[2],
            my_discriminator: next()?,
            your_discriminator: next()?,
            desired_min_tx_us: next()?,
            required_min_rx_us: next()?,
            required_min_echo_rx_us: next()?,
        };
        if packet.multiplier == 0 {
            return Err(Malformed::NoMultiplier);
        }
        if packet.my_discriminator == 0 {
            return Err(Malformed::NoDiscriminator);
        }
        if packet.your_discriminator == 0 && packet.state > State::Down {
            return Err(Malformed::NoSession);
        }
        Ok(packet)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn sample() -> Packet {
        Packet {
            diagnostic: Diagnostic::NEIGHBOUR_SIGNALLED_DOWN,
            state: State::Init,
            poll: true,
            is_final: false,
            control_plane_independent: true,
            demand: false,
            multiplier: 3,
            my_discriminator: 0x0102_0304,
            your_discriminator: 0x0506_0708,
            desired_min_tx_us: 1_000_000,
            required_min_rx_us: 50_000,
            required_min_echo_rx_us: 0,
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_standard() {
        let wanted = [
            0x23, 0xA8, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8, 0x00, 0x0F, 0x42, 0x40, 0x00, 0x00, 0xC3, 0x50, 0, 0,
            0, 0,
        ];
        assert_eq!(sample().encode(), wanted);
        assert_eq!(Packet::decode(&wanted), Ok(sample()));
    }

    #[test]
    fn what_must_be_discarded_is_discarded() {
        let bytes = sample().encode();
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes;
            bytes[at] = value;
            Packet::decode(&bytes)
        };
        assert_eq!(changed(0, 0x43), Err(Malformed::Version(2)));
        assert_eq!(changed(1, 0xA8 | AUTHENTICATION), Err(Malformed::Authenticated));
        assert_eq!(changed(1, 0xA8 | MULTIPOINT), Err(Malformed::Multipoint));
        assert_eq!(changed(2, 0), Err(Malformed::NoMultiplier));
        assert_eq!(changed(3, 23), Err(Malformed::Short));
        assert_eq!(changed(3, 25), Err(Malformed::Short), "longer than the datagram");
        assert_eq!(Packet::decode(&bytes[..23]), Err(Malformed::Short));
        assert_eq!(
            Packet::decode(&Packet { my_discriminator: 0, ..sample() }.encode()),
            Err(Malformed::NoDiscriminator)
        );
        let unnamed = |state| Packet::decode(&Packet { state, your_discriminator: 0, ..sample() }.encode());
        for state in [State::Init, State::Up] {
            assert_eq!(unnamed(state), Err(Malformed::NoSession));
        }
        for state in [State::Down, State::AdminDown] {
            assert!(unnamed(state).is_ok());
        }
        let mut padded = bytes.to_vec();
        padded.push(9);
        assert_eq!(Packet::decode(&padded), Ok(sample()), "a datagram may be longer than its packet");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn any_bytes_are_a_packet_or_a_reason(mut bytes in prop::collection::vec(any::<u8>(), 0..64), plausible: bool) {
            if plausible && bytes.len() >= 4 {
                bytes[0] = bytes[0] & 0x1F | VERSION << 5;
                bytes[1] &= !(AUTHENTICATION | MULTIPOINT);
                bytes[3] = PACKET_BYTES as u8;
            }
            if let Ok(packet) = Packet::decode(&bytes) {
                prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
            }
        }
    }
}
