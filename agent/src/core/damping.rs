//! Damping of links: a link that came back carries traffic again only after it has stayed for a hold time, which doubles
//! with each loss in a row. Under a working backup waiting costs nothing, and every return that does not last costs packets.

use crate::core::event::Millis;
use std::collections::{BTreeMap, BTreeSet};

/// The first hold, in milliseconds: longer than the neighbour entry of the link needs to resolve.
pub const HOLD_MS_MIN: u64 = 200;
/// The longest, in milliseconds.
pub const HOLD_MS_MAX: u64 = 30_000;
/// A link that stayed for so many of its holds is a good one again.
const CALM_HOLDS: u64 = 8;

/// Links that were lost, by interface name.
#[derive(Clone, Debug, Default)]
pub struct Holds(BTreeMap<String, Hold>);

#[derive(Clone, Copy, Debug)]
struct Hold {
    losses: u32,
    /// When it was lost, or came back.
    last: Millis,
    /// `None` while it is lost.
    until: Option<Millis>,
}

fn wait_ms(losses: u32) -> u64 {
    (HOLD_MS_MIN << losses.saturating_sub(1).min(16)).min(HOLD_MS_MAX)
}

impl Holds {
    /// A link was lost; said again while it is lost, nothing changes.
    pub fn lost(&mut self, now: Millis, interface: &str) {
        let fresh = Hold { losses: 0, last: now, until: Some(now) };
        let hold = self.0.entry(interface.to_string()).or_insert(fresh);
        if hold.until.take().is_none() {
            return;
        }
        let calm = CALM_HOLDS * wait_ms(hold.losses);
        hold.losses = if now.0 >= hold.last.0 + calm { 1 } else { hold.losses.saturating_add(1) };
        hold.last = now;
    }

    /// A lost link is there again.
    pub fn back(&mut self, now: Millis, interface: &str) {
        if let Some(hold) = self.0.get_mut(interface)
            && hold.until.is_none()
        {
            hold.last = now;
            hold.until = Some(Millis(now.0 + wait_ms(hold.losses)));
        }
    }

    /// Links that are back and must stay for a while longer.
    pub fn held(&self, now: Millis) -> BTreeSet<String> {
        let held = self.0.iter().filter(|(_, hold)| hold.until.is_some_and(|until| now < until));
        held.map(|(interface, _)| interface.clone()).collect()
    }

    /// When the next hold ends.
    pub fn due(&self, now: Millis) -> Option<Millis> {
        self.0.values().filter_map(|hold| hold.until).filter(|until| now < *until).min()
    }

    /// Losses in a row.
    pub fn losses(&self, interface: &str) -> u32 {
        self.0.get(interface).map_or(0, |hold| hold.losses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_link_waits_longer_each_time_and_a_calm_one_is_forgiven() {
        let (mut holds, mut now) = (Holds::default(), Millis(1_000));
        assert!(holds.held(now).is_empty(), "a link that was never lost is not held");
        let mut waits = Vec::new();
        for _ in 0..10 {
            holds.lost(now, "eth1");
            holds.lost(now, "eth1");
            assert!(holds.held(now).is_empty() && holds.due(now).is_none(), "it is away");
            holds.back(now, "eth1");
            let until = holds.due(now).unwrap();
            assert_eq!(holds.held(now).len(), 1);
            waits.push(until.0 - now.0);
            now = until;
            assert!(holds.held(now).is_empty());
        }
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(holds.losses("eth1"), 10);
        now.0 += 8 * HOLD_MS_MAX - HOLD_MS_MAX - 1;
        holds.lost(now, "eth1");
        holds.back(now, "eth1");
        assert_eq!(holds.due(now), Some(Millis(now.0 + HOLD_MS_MAX)), "not calm for long enough");
        now.0 += 8 * HOLD_MS_MAX;
        holds.lost(now, "eth1");
        holds.back(now, "eth1");
        assert_eq!(holds.due(now), Some(Millis(now.0 + HOLD_MS_MIN)));
    }
}
