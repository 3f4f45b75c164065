//! Fights: an object that a foreign hand removes or changes again and again is repaired at once the first times, then after
//! waits that double, and said so by name. A host on which two daemons write the same routes a thousand times a second
//! serves nobody.

use crate::core::event::Millis;
use std::collections::BTreeMap;

/// So many repairs of an object are made at once.
pub const REPAIRS_AT_ONCE: u32 = 3;
/// The first wait, doubled with each disturbance, and the longest, in milliseconds.
const WAIT_MS_MIN: u64 = 200;
const WAIT_MS_MAX: u64 = 60_000;
/// An object that was left alone for so long is at peace again: this, or twice its last wait, in milliseconds.
const PEACE_MS_MIN: u64 = 30_000;
/// Objects watched one by one; a hand that touches more than this at once is answered as a whole.
const FIGHTS_MAX: usize = 4_096;

/// Whose hand it was, as far as it can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Number of the netlink socket that asked; 0: the kernel itself, or unknown.
    pub port: u32,
    /// The process that has that number, if it was still there.
    pub process: Option<String>,
    /// Protocol number of the route that stands there now.
    pub protocol: Option<u8>,
}

impl Who {
    /// In words.
    pub fn words(&self) -> String {
        let process = match (&self.process, self.port) {
            (Some(name), port) => format!("process {name} (pid {port})"),
            (None, 0) => "an unknown owner".to_string(),
            (None, port) => format!("netlink socket {port} (its process has ended)"),
        };
        match self.protocol {
            Some(protocol) => format!("{process}, route protocol {protocol}"),
            None => process,
        }
    }
}

/// One object's fight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fight {
    /// Disturbances without a time of peace between them.
    pub times: u32,
    /// The first of them.
    pub since: Millis,
    /// The last.
    pub last: Millis,
    /// Not repaired before.
    pub until: Millis,
    /// The last known hand.
    pub who: Who,
    wait_ms: u64,
}

impl Fight {
    fn is_over(&self, now: Millis) -> bool {
        now.0 >= self.last.0 + PEACE_MS_MIN.max(2 * self.wait_ms)
    }
}

/// Objects that were disturbed, by name.
#[derive(Clone, Debug, Default)]
pub struct Fights(BTreeMap<String, Fight>);

/// What is to be done about a disturbed object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Repair it.
    Now,
    /// It has just become, or grown into, a fight: say so; repair it later.
    Alarm,
    /// Repair it later.
    Later,
}

impl Fights {
    /// An object of ours was found removed or changed.
    pub fn disturbed(&mut self, now: Millis, object: &str, who: &Who) -> Answer {
        if !self.0.contains_key(object) && self.0.len() >= FIGHTS_MAX {
            self.0.retain(|_, fight| !fight.is_over(now));
            if self.0.len() >= FIGHTS_MAX {
                return Answer::Now;
            }
        }
        let fresh = Fight { times: 0, since: now, last: now, until: now, who: who.clone(), wait_ms: 0 };
        let fight = self.0.entry(object.to_string()).or_insert_with(|| fresh.clone());
        if fight.is_over(now) {
            *fight = fresh;
        }
        fight.times += 1;
        fight.last = now;
        if *who != Who::default() {
            fight.who = who.clone();
        }
        if now < fight.until {
            return Answer::Later;
        }
        if fight.times <= REPAIRS_AT_ONCE {
            return Answer::Now;
        }
        fight.wait_ms = (fight.wait_ms * 2).clamp(WAIT_MS_MIN, WAIT_MS_MAX);
        fight.until = Millis(now.0 + fight.wait_ms);
        Answer::Alarm
    }

    /// Whether an object's repair waits.
    pub fn waits(&self, now: Millis, object: &str) -> bool {
        self.0.get(object).is_some_and(|fight| now < fight.until)
    }

    /// Whether no object was ever disturbed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Fights in progress: those beyond [`REPAIRS_AT_ONCE`].
    pub fn alarms(&self, now: Millis) -> impl Iterator<Item = (&String, &Fight)> {
        self.0.iter().filter(move |(_, fight)| fight.times > REPAIRS_AT_ONCE && !fight.is_over(now))
    }

    /// The next repair that waits.
    pub fn due(&self, now: Millis) -> Option<Millis> {
        self.0.values().map(|fight| fight.until).filter(|until| now < *until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand() -> Who {
        Who { port: 77, process: Some("zebra".to_string()), protocol: Some(11) }
    }

    #[test]
    fn the_first_repairs_are_made_at_once_then_each_waits_twice_as_long_and_peace_forgives() {
        let (mut fights, mut now) = (Fights::default(), Millis(0));
        for _ in 0..REPAIRS_AT_ONCE {
            assert_eq!(fights.disturbed(now, "route x", &hand()), Answer::Now);
        }
        assert_eq!(fights.alarms(now).count(), 0);
        let mut waits = Vec::new();
        for _ in 0..10 {
            assert_eq!(fights.disturbed(now, "route x", &hand()), Answer::Alarm);
            assert!(fights.waits(now, "route x") && !fights.waits(now, "route y"));
            let until = fights.due(now).unwrap();
            waits.push(until.0 - now.0);
            now = until;
            assert!(!fights.waits(now, "route x"));
        }
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000]);
        assert_eq!(fights.disturbed(Millis(now.0 + 1), "route x", &hand()), Answer::Alarm);
        assert_eq!(fights.disturbed(Millis(now.0 + 2), "route x", &hand()), Answer::Later);
        let (name, fight) = fights.alarms(now).next().unwrap();
        assert_eq!((name.as_str(), fight.times), ("route x", 15));
        assert_eq!(fight.who.words(), "process zebra (pid 77), route protocol 11");
        now.0 += 130_000;
        assert_eq!(fights.alarms(now).count(), 0);
        assert_eq!(fights.disturbed(now, "route x", &Who::default()), Answer::Now);
    }

    #[test]
    fn a_hand_that_touches_very_many_objects_is_not_remembered_for_each() {
        let mut fights = Fights::default();
        for n in 0..2 * FIGHTS_MAX {
            assert_eq!(fights.disturbed(Millis(0), &format!("route {n}"), &hand()), Answer::Now);
        }
        assert!(fights.0.len() <= FIGHTS_MAX);
    }
}
