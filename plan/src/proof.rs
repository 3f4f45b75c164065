//! Proofs that the steps of a change are right, and their checker.
//!
//! The checker reads programs by code of its own and knows nothing of how an order is found: it does not use
//! the modules that order, walk or judge changes, so that a mistake there shows here. It trusts the two states
//! for themselves; whether they loop or lose anything is another question.

use crate::{Facts, Network, Program};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use topology::Topology;

mod check;
mod read;

/// One state of the network: what was compiled, and from what.
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    /// Where interfaces lead.
    pub topology: &'a Topology,
    /// What each host runs.
    pub network: &'a Network,
}

/// Why no step of a change loops a packet or cuts a pair that is joined before and after: for each destination
/// that the change touches an order of the hosts that change, in which all their ways only lead to hosts before
/// them. Hosts that do not change need no place: their ways are followed to the next that does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// Names of the hosts that some order lists, sorted.
    pub hosts: Vec<String>,
    /// Sorted by their first destination; each destination is in one.
    pub witnesses: Vec<Witness>,
}

/// Orders that hold for several destinations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// Destinations, sorted.
    pub destinations: Vec<Destination>,
    /// Sorted by `from_step`; each holds until the next begins.
    pub orders: Vec<Order>,
}

/// The same prefixes in both states, by their class's name, which is the node's or tells the places where they
/// end: another one afterwards when prefixes move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// Class before the change.
    pub old: String,
    /// Class after it.
    pub new: String,
}

/// Hosts from the destination outwards: a host's place is its rank.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Position of the first step for which it holds, from 0.
    pub from_step: u32,
    /// Positions in [`Proof::hosts`]; every host whose next hops for the destinations change is there.
    pub hosts: Vec<u32>,
}

/// Why steps or their proof are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// A step names a host that the new state does not have, or the same host twice.
    #[error("step {step} names {host}, which is no host of the new state or is there twice")]
    Host {
        /// Number of the step, from 1.
        step: usize,
        /// The host.
        host: String,
    },
    /// The steps end elsewhere.
    #[error("after the last step {host} does not run its program of the new state")]
    Unfinished {
        /// The host.
        host: String,
    },
    /// The proof is not one: a number without a name, a name twice, orders out of order.
    #[error("the proof contradicts itself: {reason}")]
    Malformed {
        /// What.
        reason: String,
    },
    /// A host changes its next hops for a destination, and no order lists it.
    #[error(
        "in step {step} {host} changes its way to {destination}, and the proof does not say where it stands"
    )]
    Uncovered {
        /// Number of the step, from 1.
        step: usize,
        /// The host.
        host: String,
        /// The destination's class after the change.
        destination: String,
    },
    /// A host may send to one that does not come before it.
    #[error(
        "in step {step} {host} may send what goes to {destination} to {next}, which does not come before it: packets may loop"
    )]
    Order {
        /// Number of the step, from 1.
        step: usize,
        /// The host.
        host: String,
        /// The destination's class after the change.
        destination: String,
        /// The host that it meets.
        next: String,
    },
    /// A pair that is joined before and after may be cut.
    #[error(
        "in step {step} packets from {host} to {destination} may be lost, which arrive before and after the change"
    )]
    Lost {
        /// Number of the step, from 1.
        step: usize,
        /// The host.
        host: String,
        /// The destination's class after the change.
        destination: String,
    },
    /// For a destination that is new, a host sends neither as in the new state nor not at all.
    #[error(
        "in step {step} {host} has a way to {destination}, which is new, that the new state does not have"
    )]
    Stray {
        /// Number of the step, from 1.
        step: usize,
        /// The host.
        host: String,
        /// The destination's class.
        destination: String,
    },
}

/// Checks `steps`, each a list of hosts and what they get, and the proof that they are right.
///
/// While a step is under way each of its hosts may send by what it runs before, by the repair in that, or by
/// what it gets, whatever the others do.
///
/// # Errors
/// The first thing that is wrong, in the order of destinations and steps.
pub fn verify(
    old: Option<State<'_>>,
    steps: &[&[(String, Arc<Program>)]],
    new: State<'_>,
    facts: &Facts,
    proof: &Proof,
) -> Result<(), Wrong> {
    check::verify(old, steps, new, facts, proof)
}

#[cfg(test)]
mod tests;
