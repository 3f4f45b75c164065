//! What a change does to the network, and the guards that judge it.
//!
//! Reads compiled programs and topologies, never agents: it says what will be, not what is.

use crate::walk::Forwarding;
use crate::{Facts, Network};
use std::collections::BTreeSet;
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
    let (topology, facts, network) = new;
    let Some((old_topology, old_facts, old_network)) = old else {
        let hosts = network.programs.iter().map(|program| program.host.clone());
        return Impact { hosts_changed: hosts.collect(), ..Impact::default() };
    };
    let prefixes: BTreeSet<_> = network.table.entries.iter().map(|(prefix, _)| prefix).collect();
    let gone = old_network.table.entries.iter().filter(|(prefix, _)| !prefixes.contains(prefix));
    let mut prefixes_lost: Vec<String> = gone.map(|(prefix, _)| prefix.to_string()).collect();
    prefixes_lost.sort_unstable();
    let nodes = old_topology.nodes.iter().map(|node| &node.name);
    let programs = network.programs.iter().zip(&network.digests);
    let changed = programs.filter(|(program, digest)| {
        old_network.host(&program.host).is_none_or(|(_, before)| before != **digest)
    });
    Impact {
        prefixes_lost,
        prefixes_before: old_network.table.entries.len(),
        nodes_lost: nodes.filter(|name| topology.node_index(name).is_none()).cloned().collect(),
        nodes_before: old_topology.nodes.len(),
        hosts_changed: changed.map(|(program, _)| program.host.clone()).collect(),
        pairs_lost: pairs_lost((old_topology, old_facts, old_network), (topology, facts, network)),
    }
}

/// Sorted by sender, then destination.
fn pairs_lost(
    (old_topology, old_facts, old_network): (&Topology, &Facts, &Network),
    (topology, facts, network): (&Topology, &Facts, &Network),
) -> Vec<(String, String)> {
    let before = Forwarding::new(old_topology, old_facts, old_network);
    let after = Forwarding::new(topology, facts, network);
    // Position before, position after, of every node that both states have.
    let kept: Vec<(u32, u32)> = (0_u32..)
        .zip(&old_topology.nodes)
        .filter_map(|(at, node)| Some((at, topology.node_index(&node.name)?.0)))
        .collect();
    let mut lost = Vec::new();
    for (to_before, to_after) in &kept {
        let (reached, reaches) = (before.arrives(*to_before), after.arrives(*to_after));
        let cut = kept.iter().filter(|(was, is)| reached[*was as usize] && !reaches[*is as usize]);
        lost.extend(cut.map(|(from, _)| (*from, *to_before)));
    }
    lost.sort_unstable();
    let name = |at: u32| old_topology.nodes[at as usize].name.clone();
    lost.into_iter().map(|(from, to)| (name(from), name(to))).collect()
}

/// Judges an impact by the new topology's own safety budget.
///
/// `every_prefix_gone` and `every_node_gone` refuse what no budget can allow: a change after which nothing
/// of what was there is left.
pub fn guards(impact: &Impact, safety: &topology::Safety) -> Vec<Verdict> {
    let verdict = |guard, value: usize, limit: usize| Verdict {
        guard,
        value: value as u64,
        limit: limit as u64,
        ok: value <= limit,
    };
    let (prefixes, nodes) = (impact.prefixes_lost.len(), impact.nodes_lost.len());
    vec![
        verdict("max_prefixes_lost", prefixes, safety.max_prefixes_lost.of(impact.prefixes_before)),
        verdict("every_prefix_gone", prefixes, impact.prefixes_before.saturating_sub(1)),
        verdict("every_node_gone", nodes, impact.nodes_before.saturating_sub(1)),
    ]
}
