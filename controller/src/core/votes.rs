//! Who computed what for which release. Soft state; knows neither programs nor agents.

use crate::core::state::ReleaseRecord;
use plan::Digest;
use std::collections::BTreeMap;

/// Releases whose votes are kept although no assignment refers to them (yet): a peer may be ahead of us.
const RELEASES_AHEAD_MAX: usize = 256;

/// What a majority thinks of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not enough votes agree.
    Open,
    /// A majority computed this digest.
    Decided(Digest),
}

/// All votes heard, our own ones too.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    /// Release -> replica -> digest.
    by_release: BTreeMap<u64, BTreeMap<u64, Digest>>,
}

impl Votes {
    /// Takes a vote; true when it is news.
    pub(crate) fn record(&mut self, replica: u64, release: u64, digest: Digest) -> bool {
        self.by_release.entry(release).or_default().insert(replica, digest) != Some(digest)
    }

    /// What `replica` computed.
    pub(crate) fn of(&self, replica: u64, release: u64) -> Option<Digest> {
        self.by_release.get(&release)?.get(&replica).copied()
    }

    /// What at least `majority` replicas computed.
    pub(crate) fn verdict(&self, release: u64, majority: usize) -> Verdict {
        let mut counts: BTreeMap<Digest, usize> = BTreeMap::new();
        for digest in self.by_release.get(&release).into_iter().flat_map(BTreeMap::values) {
            *counts.entry(*digest).or_default() += 1;
        }
        let decided = counts.into_iter().find(|(_, count)| *count >= majority);
        decided.map_or(Verdict::Open, |(digest, _)| Verdict::Decided(digest))
    }

    /// Whether at least `majority` replicas computed something else than the release says.
    pub(crate) fn rejected(&self, release: &ReleaseRecord, majority: usize) -> bool {
        let votes = self.by_release.get(&release.index).into_iter().flat_map(BTreeMap::values);
        votes.filter(|digest| **digest != release.digest).count() >= majority
    }

    /// Replicas that computed `digest`, sorted.
    pub(crate) fn agreeing(&self, release: u64, digest: Digest) -> Vec<u64> {
        let votes = self.by_release.get(&release).into_iter().flatten();
        votes.filter(|(_, vote)| **vote == digest).map(|(replica, _)| *replica).collect()
    }

    /// Forgets the votes about releases that nothing refers to any more.
    pub(crate) fn trim(&mut self, live: &BTreeMap<u64, ReleaseRecord>) {
        let newest = live.keys().next_back().copied().unwrap_or(0);
        self.by_release.retain(|release, _| *release > newest || live.contains_key(release));
        while self.by_release.len() > live.len() + RELEASES_AHEAD_MAX {
            self.by_release.pop_last();
        }
    }
}
