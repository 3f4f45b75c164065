//! Programs that were computed, by what they were computed from. Asks for what is missing; computes nothing.

use crate::core::event::{ComputeJob, Effect, JobId};
use plan::{Facts, Network};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Topology;

/// Networks that are kept beside those that assignments need, and beside as many again for a supposed fact: for a
/// planned change, a dry run.
const SPARE_NETWORKS: usize = 4;

/// What programs are computed from: the digest of a topology file's bytes, and the facts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// BLAKE3 of the file.
    pub(crate) topology: [u8; 32],
    /// The facts.
    pub(crate) facts: Arc<Facts>,
}

#[derive(Debug)]
enum Slot {
    Computing,
    Ready { network: Arc<Network>, used: u64 },
}

/// The cache and the computations under way.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    slots: BTreeMap<Key, Slot>,
    jobs: BTreeMap<JobId, Key>,
    last_job: u64,
    uses: u64,
}

impl Programs {
    /// The programs, or `None` and a computation that will bring them.
    pub(crate) fn get(
        &mut self,
        key: Key,
        topology: &Arc<Topology>,
        out: &mut Vec<Effect>,
    ) -> Option<Arc<Network>> {
        self.uses += 1;
        match self.slots.get_mut(&key) {
            Some(Slot::Ready { network, used }) => {
                *used = self.uses;
                return Some(network.clone());
            }
            Some(Slot::Computing) => return None,
            None => {}
        }
        self.last_job += 1;
        let job = JobId(self.last_job);
        self.jobs.insert(job, key.clone());
        let facts = Facts::clone(&key.facts);
        self.slots.insert(key, Slot::Computing);
        out.push(Effect::Compute(ComputeJob { job, topology: topology.clone(), facts }));
        None
    }

    /// The programs when they are there.
    pub(crate) fn peek(&self, key: &Key) -> Option<&Arc<Network>> {
        match self.slots.get(key)? {
            Slot::Ready { network, .. } => Some(network),
            Slot::Computing => None,
        }
    }

    /// A computation is done.
    pub(crate) fn computed(&mut self, job: JobId, network: Arc<Network>) {
        let Some(key) = self.jobs.remove(&job) else { return };
        self.uses += 1;
        self.slots.insert(key, Slot::Ready { network, used: self.uses });
    }

    /// Forgets what was not used for longest, but nothing that is `needed`.
    pub(crate) fn trim(&mut self, needed: &BTreeSet<Key>) {
        let mut spare: Vec<(u64, Key)> = self
            .slots
            .iter()
            .filter(|(key, _)| !needed.contains(key))
            .filter_map(|(key, slot)| match slot {
                Slot::Ready { used, .. } => Some((*used, key.clone())),
                Slot::Computing => None,
            })
            .collect();
        spare.sort_unstable_by_key(|(used, _)| std::cmp::Reverse(*used));
        for (_, key) in spare.into_iter().skip(needed.len() + SPARE_NETWORKS) {
            self.slots.remove(&key);
        }
    }
}
