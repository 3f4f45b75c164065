//! All sessions of a host: which are wanted, which one a packet is for (RFC 5880, section 6.3; RFC 5881, sections 3 and 5), and
//! which is due next.

use crate::core::Micros;
use crate::core::control::{Dropped, SESSIONS_MAX, SessionReport, WantedSession};
use crate::core::packet::{HOP_LIMIT, Packet, State};
use crate::core::session::{Session, Verdict, Wishes, random};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Shortest interval, in milliseconds; shorter wishes are raised to it.
pub const INTERVAL_MS_MIN: u32 = 1;
/// Longest interval, in milliseconds; longer wishes are lowered to it.
pub const INTERVAL_MS_MAX: u32 = 60_000;

/// What makes a session the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Interface name.
    pub interface: String,
    /// The neighbour's address.
    pub remote: IpAddr,
}

/// A packet to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Through which session's socket.
    pub key: Key,
    /// The session's own name: a session that comes again under the same key is another one.
    pub discriminator: u32,
    /// Source address.
    pub local: IpAddr,
    /// The packet.
    pub packet: Packet,
}

#[derive(Clone, Debug)]
struct Entry {
    session: Session,
    local: IpAddr,
    since: Micros,
    failures: u64,
    received: u64,
    sent: u64,
}

/// What a client hears of at once when it changes.
#[derive(PartialEq, Eq)]
struct Seen {
    state: State,
    verdict: Verdict,
    transmit_us: u32,
    detection_us: u64,
}

impl Seen {
    fn of(session: &Session) -> Seen {
        Seen {
            state: session.state(),
            verdict: session.verdict(),
            transmit_us: session.transmit_us(),
            detection_us: session.detection_us(),
        }
    }
}

/// All sessions.
#[derive(Clone, Debug)]
pub struct Sessions {
    entries: BTreeMap<Key, Entry>,
    /// Under which key each of our discriminators is.
    names: BTreeMap<u32, Key>,
    due: BTreeSet<(Micros, Key)>,
    dropped: Dropped,
    changed: bool,
    naming: u64,
    random: u64,
}

impl Sessions {
    /// None. `seed`: for names and jitter; another one in every life.
    pub fn new(seed: u64) -> Sessions {
        Sessions {
            entries: BTreeMap::new(),
            names: BTreeMap::new(),
            due: BTreeSet::new(),
            dropped: Dropped::default(),
            changed: false,
            naming: !seed,
            random: seed,
        }
    }

    /// Makes these the sessions: new ones begin, changed ones ask their neighbours to confirm, missing ones leave
    /// through administratively down. Beyond [`SESSIONS_MAX`] nothing begins.
    pub fn want(&mut self, now: Micros, wanted: &[WantedSession]) {
        let mut listed = BTreeMap::new();
        for one in wanted.iter().take(SESSIONS_MAX) {
            listed.entry(Key { interface: one.interface.clone(), remote: one.remote }).or_insert(one);
        }
        let missing: Vec<Key> =
            self.entries.keys().filter(|key| !listed.contains_key(key)).cloned().collect();
        for key in missing {
            self.with(now, &key, |entry| entry.session.leave(now));
        }
        for (key, one) in listed {
            let wishes = wishes(one);
            // One that is leaving is not called back: its neighbour has heard the farewell.
            if self.entries.get(&key).is_some_and(|entry| entry.session.state() == State::AdminDown) {
                self.forget(&key);
            }
            if self.entries.contains_key(&key) {
                self.with(now, &key, |entry| {
                    entry.local = one.local;
                    entry.session.wish(now, wishes);
                });
            } else {
                self.begin(now, key, one.local, wishes);
            }
        }
        self.changed = true;
    }

    fn begin(&mut self, now: Micros, key: Key, local: IpAddr, wishes: Wishes) {
        let discriminator = self.name(&key);
        let session = Session::new(discriminator, wishes, random(&mut self.random), now);
        self.names.insert(discriminator, key.clone());
        let entry = Entry { session, local, since: now, failures: 0, received: 0, sent: 0 };
        self.entries.insert(key.clone(), entry);
        self.with(now, &key, |_| ());
    }

    /// The same for the same key through this life: a neighbour may remember it when the session comes again.
    fn name(&self, key: &Key) -> u32 {
        let address = match key.remote {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let bytes = key.interface.bytes().chain(address.to_be_bytes());
        let mut state = bytes.fold(self.naming, |state, byte| {
            (state ^ u64::from(byte)).rotate_left(9).wrapping_mul(0x0100_0000_01B3)
        });
        loop {
            let drawn = (random(&mut state) >> 32) as u32;
            if drawn != 0 && !self.names.contains_key(&drawn) {
                return drawn;
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.names.remove(&entry.session.discriminator());
            if let Some(at) = entry.session.next_deadline() {
                self.due.remove(&(at, key.clone()));
            }
            self.changed = true;
        }
    }

    /// Acts on a session and brings what is kept about it in line.
    fn with<T>(&mut self, now: Micros, key: &Key, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let entry = self.entries.get_mut(key)?;
        let before = Seen::of(&entry.session);
        let deadline = entry.session.next_deadline();
        let result = act(entry);
        if let Some(at) = deadline {
            self.due.remove(&(at, key.clone()));
        }
        if let Some(at) = entry.session.next_deadline() {
            self.due.insert((at, key.clone()));
        }
        let after = Seen::of(&entry.session);
        if after.state != before.state {
            entry.since = now;
        }
        self.changed |= after != before;
        entry.failures += u64::from(after.verdict == Verdict::Dead && before.verdict == Verdict::Alive);
        if entry.session.is_gone() {
            self.forget(key);
        }
        Some(result)
    }

    /// A datagram that came in on `interface`.
    pub fn receive(
        &mut self,
        now: Micros,
        interface: &str,
        source: IpAddr,
        hop_limit: Option<u8>,
        bytes: &[u8],
    ) -> Option<Outgoing> {
        if hop_limit != Some(HOP_LIMIT) {
            self.dropped.far += 1;
            return None;
        }
        let Ok(packet) = Packet::decode(bytes) else {
            self.dropped.malformed += 1;
            return None;
        };
        let here = Key { interface: interface.to_string(), remote: source };
        let key = match packet.your_discriminator {
            0 => Some(&here).filter(|key| self.entries.contains_key(key)),
            // A name of ours from elsewhere than the session's own link is not the neighbour's word.
            name => self.names.get(&name).filter(|key| **key == here),
        };
        let Some(key) = key.cloned() else {
            self.dropped.unknown += 1;
            return None;
        };
        let answer = self.with(now, &key, |entry| {
            entry.received += 1;
            let answer = entry.session.receive(now, &packet);
            entry.sent += u64::from(answer.is_some());
            answer.map(|packet| (entry.session.discriminator(), entry.local, packet))
        });
        let (discriminator, local, packet) = answer.flatten()?;
        Some(Outgoing { key, discriminator, local, packet })
    }

    /// Time passed: appends the packets that are due.
    pub fn tick(&mut self, now: Micros, out: &mut Vec<Outgoing>) {
        let due: Vec<Key> =
            self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| key.clone()).collect();
        for key in due {
            let sent = self.with(now, &key, |entry| {
                let packet = entry.session.tick(now);
                entry.sent += u64::from(packet.is_some());
                packet.map(|packet| (entry.session.discriminator(), entry.local, packet))
            });
            if let Some((discriminator, local, packet)) = sent.flatten() {
                out.push(Outgoing { key, discriminator, local, packet });
            }
        }
    }

    /// When [`Sessions::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Micros> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether a state, a verdict, a pace or the list changed since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Keys of all sessions with their own names, those that are leaving included.
    pub fn keys(&self) -> impl Iterator<Item = (&Key, u32)> {
        self.entries.iter().map(|(key, entry)| (key, entry.session.discriminator()))
    }

    /// What was dropped.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// All sessions as they stand; `problem` says why one has no socket.
    pub fn report(&self, now: Micros, problem: impl Fn(&Key) -> Option<String>) -> Vec<SessionReport> {
        let one = |(key, entry): (&Key, &Entry)| SessionReport {
            interface: key.interface.clone(),
            local: entry.local,
            remote: key.remote,
            state: entry.session.state().word().to_string(),
            alive: match entry.session.verdict() {
                Verdict::Unknown | Verdict::Left => None,
                Verdict::Alive => Some(true),
                Verdict::Dead => Some(false),
            },
            left: entry.session.verdict() == Verdict::Left,
            diagnostic: entry.session.diagnostic().words().to_string(),
            remote_diagnostic: entry.session.remote_diagnostic().words().to_string(),
            transmit_us: entry.session.transmit_us(),
            detection_us: entry.session.detection_us(),
            since_ms: now.0.saturating_sub(entry.since.0) / 1_000,
            failures: entry.failures,
            received: entry.received,
            sent: entry.sent,
            problem: problem(key),
        };
        self.entries.iter().map(one).collect()
    }
}

fn wishes(wanted: &WantedSession) -> Wishes {
    let interval_ms = wanted.interval_ms.clamp(INTERVAL_MS_MIN, INTERVAL_MS_MAX);
    Wishes {
        interval_us: interval_ms * 1_000,
        multiplier: wanted.multiplier.max(1),
        is_passive: wanted.passive,
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
