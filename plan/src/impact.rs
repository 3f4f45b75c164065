//! What a change does to the network, and the guards that judge it.

use crate::{Facts, Network};
use topology::Topology;

/// What goes from one state to the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// Prefixes (loopbacks included) that some node had and no node has afterwards, sorted as text.
    pub prefixes_lost: Vec<String>,
    /// Prefixes before.
    pub prefixes_before: usize,
    /// Nodes that are gone, sorted.
    pub nodes_lost: Vec<String>,
    /// Nodes before.
    pub nodes_before: usize,
    /// Hosts whose program differs (also the new ones), sorted.
    pub hosts_changed: Vec<String>,
    /// Ordered pairs of nodes (that both states have) that could reach each other before and cannot afterwards.
    pub pairs_lost: Vec<(String, String)>,
}

/// One guard's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `max_prefixes_lost`, `every_prefix_gone` or `every_node_gone`.
    pub guard: &'static str,
    /// What the change would do.
    pub value: u64,
    /// What it may do.
    pub limit: u64,
    /// Whether the change passes.
    pub ok: bool,
}

/// Compares two states. `old` is `None` for the first topology ever.
pub fn impact(old: Option<(&Topology, &Facts, &Network)>, new: (&Topology, &Facts, &Network)) -> Impact {
    let _ = (old, new);
    panic!("not yet")
}

/// Judges an impact by the new topology's own safety budget.
///
/// `every_prefix_gone` and `every_node_gone` refuse what no budget can allow: a change after which nothing
/// of what was there is left.
pub fn guards(impact: &Impact, safety: &topology::Safety) -> Vec<Verdict> {
    let _ = (impact, safety);
    panic!("not yet")
}
