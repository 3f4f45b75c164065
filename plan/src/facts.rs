//! What was believed about the data plane and entered the log.

use std::collections::BTreeSet;

/// The accepted facts at one point of the log. Names instead of positions: a fact outlives the revision
/// of the topology under which it was seen; a name that a topology does not have is of no effect there.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts {
    /// Ids of the links that are down, as in `topology::Link::id`.
    pub links_down: BTreeSet<String>,
}
