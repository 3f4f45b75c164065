//! What stands how: objects that are not in the kernel as they should be, each with its reason, counted in full and listed
//! within a bound. Nothing that is missing is ever passed over: what is not listed is in the counts and in the digest.

use crate::core::event::Millis;
use crate::core::kernel::OpError;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Objects listed of each state; all of them are counted.
pub const LISTED_MAX: usize = 256;
/// Refused objects whose attempts are remembered one by one; any more are tried again with each audit.
const REFUSALS_MAX: usize = 4_096;
/// Between two attempts at what the kernel refused: the first wait, doubled with each refusal, and the longest, in milliseconds.
const REFUSED_AGAIN_MS: u64 = 5_000;
const REFUSED_AGAIN_MS_MAX: u64 = 300_000;
/// An event that may cure brings attempts forward, but no more often than this, in milliseconds.
const CURE_MS_MIN: u64 = 500;

/// What an object waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// An interface that is absent, down or without carrier.
    Link(String),
    /// An interface that came back a moment ago.
    Hold(String),
    /// A local address.
    Address(IpAddr),
    /// A nexthop object or group that cannot be installed now.
    Nexthop(u32),
    /// Something that this kernel does not have.
    Kernel,
    /// The end of a freeze.
    Freeze,
    /// Another owner's object in the same place, or the kernel's refusal.
    Refusal,
}

impl On {
    /// (kind, which one), for people.
    pub fn words(&self) -> (&'static str, String) {
        match self {
            On::Link(name) => ("link", name.clone()),
            On::Hold(name) => ("hold", name.clone()),
            On::Address(address) => ("address", address.to_string()),
            On::Nexthop(id) => ("nexthop", format!("{id:#x}")),
            On::Kernel => ("kernel", String::new()),
            On::Freeze => ("freeze", String::new()),
            On::Refusal => ("refusal", String::new()),
        }
    }
}

/// An object that is not installed, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// In words: `route 10.1.0.0/24 metric 100`.
    pub object: String,
    /// In words.
    pub reason: String,
    /// What it waits for.
    pub on: On,
}

/// Objects of one state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waitings {
    listed: Vec<Waiting>,
    count: u64,
    by: BTreeMap<On, u64>,
    digest: [u64; 4],
}

impl Waitings {
    /// Adds one.
    pub fn push(&mut self, object: String, on: On, reason: impl FnOnce() -> String) {
        // A sum does not depend on the order in which objects are found.
        let hash = blake3::hash(object.as_bytes());
        for (sum, bytes) in self.digest.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            *sum = sum.wrapping_add(bytes.try_into().map_or(0, u64::from_be_bytes));
        }
        self.count += 1;
        *self.by.entry(on.clone()).or_default() += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(Waiting { object, reason: reason(), on });
        }
    }

    /// The first [`LISTED_MAX`].
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.listed.iter()
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many wait for what.
    pub fn by(&self) -> &BTreeMap<On, u64> {
        &self.by
    }

    /// A sum over the names of all.
    pub fn digest(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, sum) in bytes.chunks_exact_mut(8).zip(self.digest) {
            to.copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }
}

/// What the kernel said to an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its words, with the errno.
    pub reason: String,
    /// Attempts so far.
    pub attempts: u32,
    /// First refused.
    pub since: Millis,
    /// Tried again not before.
    pub again: Millis,
}

/// Refused objects by name, with their next attempts.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    objects: BTreeMap<String, Refusal>,
    cured: Option<Millis>,
}

impl Refusals {
    /// The kernel refused an object.
    pub fn note(&mut self, now: Millis, object: String, error: &OpError) {
        if self.objects.len() >= REFUSALS_MAX && !self.objects.contains_key(&object) {
            return;
        }
        let fresh = Refusal { reason: String::new(), attempts: 0, since: now, again: now };
        let refusal = self.objects.entry(object).or_insert(fresh);
        let doublings = refusal.attempts.min(16);
        refusal.attempts += 1;
        refusal.reason = format!("{} (errno {})", error.text, error.errno);
        refusal.again = Millis(now.0 + (REFUSED_AGAIN_MS << doublings).min(REFUSED_AGAIN_MS_MAX));
    }

    /// Why an object is not tried now.
    pub fn waits(&self, now: Millis, object: &str) -> Option<&Refusal> {
        self.objects.get(object).filter(|refusal| now < refusal.again)
    }

    /// What is known of a refused object.
    pub fn of(&self, object: &str) -> Option<&Refusal> {
        self.objects.get(object)
    }

    /// Whether nothing is refused.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Only these are still refused.
    pub fn keep(&mut self, still: impl Fn(&str) -> bool) {
        self.objects.retain(|object, _| still(object));
    }

    /// A link, an address or a nexthop changed: everything may be tried again now. Says whether there is anything to try.
    pub fn cure(&mut self, now: Millis) -> bool {
        if self.objects.is_empty() || self.cured.is_some_and(|last| now.0 < last.0 + CURE_MS_MIN) {
            return false;
        }
        self.cured = Some(now);
        self.objects.values_mut().for_each(|refusal| refusal.again = now);
        true
    }

    /// The next attempt.
    pub fn due(&self) -> Option<Millis> {
        self.objects.values().map(|refusal| refusal.again).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_digested_and_a_bounded_part_is_listed() {
        let many = |order: &mut dyn Iterator<Item = u32>| {
            let mut all = Waitings::default();
            order.for_each(|n| all.push(format!("route {n}"), On::Nexthop(n % 2), String::new));
            all
        };
        let (up, down) = (many(&mut (0..1_000)), many(&mut (0..1_000).rev()));
        assert_eq!((up.count(), up.iter().count()), (1_000, LISTED_MAX));
        assert_eq!(up.digest(), down.digest(), "the order in which they are found does not matter");
        assert_ne!(up.digest(), many(&mut (0..999)).digest());
        assert_eq!(up.by()[&On::Nexthop(1)], 500);
    }

    #[test]
    fn attempts_double_their_wait_within_a_bound_and_a_cure_brings_them_forward() {
        let error = OpError { errno: 28, text: "No space left".to_string() };
        let (mut refusals, mut now) = (Refusals::default(), Millis(0));
        let mut waits = Vec::new();
        for _ in 0..8 {
            refusals.note(now, "route x".to_string(), &error);
            let again = refusals.due().unwrap();
            assert!(refusals.waits(now, "route x").is_some() && refusals.waits(again, "route x").is_none());
            waits.push(again.0 - now.0);
            now = again;
        }
        assert_eq!(waits, [5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
        refusals.note(now, "route x".to_string(), &error);
        assert!(refusals.cure(now) && refusals.waits(now, "route x").is_none());
        assert!(!refusals.cure(Millis(now.0 + 100)), "a storm of events is no storm of attempts");
        refusals.keep(|object| object != "route x");
        assert!(refusals.is_empty() && refusals.due().is_none());
    }
}
