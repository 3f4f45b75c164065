//! What a change does to the network, and the guards that judge it.
//!
//! Reads compiled programs and topologies, never agents: it says what will be, not what is.

use crate::forwarding::Forwarding;
use crate::{Facts, Network, management};
use ipnetwork::IpNetwork;
use std::collections::BTreeSet;
use topology::Topology;

/// The guard of in-band management.
pub const TOO_FEW_CONTROLLERS: &str = "too_few_controllers";

/// What goes from one state to the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Impact {
    /// Prefixes (loopbacks included) that some node had and no node has afterwards, sorted as text.
    pub prefixes_lost: Vec<String>,
    /// Prefixes before.
    pub prefixes_before: usize,
    /// Of those that were lost, how many were neither loopbacks nor of controllers.
    pub behind_lost: usize,
    /// Prefixes before that were neither loopbacks nor of controllers.
    pub behind_before: usize,
    /// Nodes that are gone, sorted.
    pub nodes_lost: Vec<String>,
    /// Nodes before.
    pub nodes_before: usize,
    /// Hosts whose program differs (also the new ones), sorted.
    pub hosts_changed: Vec<String>,
    /// Ordered pairs of nodes (that both states have) that could reach each other before and cannot afterwards.
    pub pairs_lost: Vec<(String, String)>,
    /// Hosts that would have too few controllers ([`management::too_few`]), sorted; `None` where management is not
    /// in-band.
    pub short_of_controllers: Option<Vec<String>>,
}

/// One guard's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `max_prefixes_lost`, `every_prefix_gone`, `every_node_gone` or `too_few_controllers`.
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
        let short_of_controllers = management::too_few(None, (topology, network), facts);
        return Impact { hosts_changed: hosts.collect(), short_of_controllers, ..Impact::default() };
    };
    let prefixes: BTreeSet<_> = network.table.entries.iter().map(|(prefix, _)| prefix).collect();
    let gone = old_network.table.entries.iter().filter(|(prefix, _)| !prefixes.contains(prefix));
    let gone: Vec<IpNetwork> = gone.map(|(prefix, _)| *prefix).collect();
    let loopbacks = old_topology.nodes.iter().flat_map(|node| &node.loopbacks);
    let controllers = old_topology.controllers.iter().map(|controller| controller.prefix());
    let own: BTreeSet<IpNetwork> =
        loopbacks.map(|address| IpNetwork::from(*address)).chain(controllers).collect();
    let behind = |prefix: &&IpNetwork| !own.contains(*prefix);
    let mut prefixes_lost: Vec<String> = gone.iter().map(ToString::to_string).collect();
    prefixes_lost.sort_unstable();
    let nodes = old_topology.nodes.iter().map(|node| &node.name);
    let programs = network.programs.iter().zip(&network.digests);
    let changed = programs.filter(|(program, digest)| {
        old_network.host(&program.host).is_none_or(|(_, before)| before != **digest)
    });
    Impact {
        prefixes_lost,
        prefixes_before: old_network.table.entries.len(),
        behind_lost: gone.iter().filter(behind).count(),
        behind_before: old_network.table.entries.iter().map(|(prefix, _)| prefix).filter(behind).count(),
        nodes_lost: nodes.filter(|name| topology.node_index(name).is_none()).cloned().collect(),
        nodes_before: old_topology.nodes.len(),
        hosts_changed: changed.map(|(program, _)| program.host.clone()).collect(),
        pairs_lost: pairs_lost((old_topology, old_facts, old_network), (topology, facts, network)),
        short_of_controllers: management::too_few(
            Some((old_topology, old_network)),
            (topology, network),
            facts,
        ),
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
/// of what was there is left. Loopbacks and controllers are no prefixes to the former. `too_few_controllers` judges
/// where management is in-band, before or after.
pub fn guards(impact: &Impact, safety: &topology::Safety) -> Vec<Verdict> {
    let verdict = |guard, value: usize, limit: usize| Verdict {
        guard,
        value: value as u64,
        limit: limit as u64,
        ok: value <= limit,
    };
    let short = impact.short_of_controllers.as_ref();
    let (prefixes, nodes) = (impact.prefixes_lost.len(), impact.nodes_lost.len());
    let always = [
        verdict("max_prefixes_lost", prefixes, safety.max_prefixes_lost.of(impact.prefixes_before)),
        verdict("every_prefix_gone", impact.behind_lost, impact.behind_before.saturating_sub(1)),
        verdict("every_node_gone", nodes, impact.nodes_before.saturating_sub(1)),
    ];
    always.into_iter().chain(short.map(|short| verdict(TOO_FEW_CONTROLLERS, short.len(), 0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;
    use crate::tests::fixture::{down, safety, topology};
    use topology::{Safety, Share};

    fn impact_of(old: &str, new: &str) -> Impact {
        let (old, new) = (topology(old), topology(new));
        let facts = Facts::default();
        let (before, after) = (compile(&old, &facts), compile(&new, &facts));
        impact(Some((&old, &facts, &before)), (&new, &facts, &after))
    }

    /// `guard value/limit ok` of each guard.
    fn verdicts(impact: &Impact, max_prefixes_lost: Share) -> Vec<String> {
        let safety = Safety { max_prefixes_lost, ..safety() };
        let text = |verdict: Verdict| {
            format!("{} {}/{} {}", verdict.guard, verdict.value, verdict.limit, verdict.ok)
        };
        guards(impact, &safety).into_iter().map(text).collect()
    }

    #[test]
    fn the_first_topology_loses_nothing() {
        let new = topology("a-b 1");
        let facts = Facts::default();
        let impact = impact(None, (&new, &facts, &compile(&new, &facts)));
        assert_eq!(impact, Impact { hosts_changed: vec!["a".into(), "b".into()], ..Impact::default() });
        assert!(verdicts(&impact, Share::Count(0)).iter().all(|verdict| verdict.ends_with("0/0 true")));
    }

    #[test]
    fn the_same_topology_changes_nothing() {
        let impact = impact_of("a-b 1, b-c 1", "a-b 1, b-c 1");
        let expected = Impact { prefixes_before: 9, behind_before: 3, nodes_before: 3, ..Impact::default() };
        assert_eq!(impact, expected);
    }

    #[test]
    fn a_node_less_loses_its_prefixes_but_no_pair_of_the_others() {
        let impact = impact_of("a-b 1, b-c 1", "a-b 1");
        assert_eq!(impact.prefixes_lost, ["10.255.0.3/32", "10.3.0.0/24", "fd00::3/128"]);
        assert_eq!(impact.nodes_lost, ["c"]);
        assert_eq!(impact.hosts_changed, ["a", "b"]);
        assert!(impact.pairs_lost.is_empty());
        assert_eq!(
            verdicts(&impact, Share::Percent(33)),
            ["max_prefixes_lost 3/2 false", "every_prefix_gone 1/2 true", "every_node_gone 1/2 true"]
        );
        assert_eq!(verdicts(&impact, Share::Percent(34))[0], "max_prefixes_lost 3/3 true");
        assert_eq!(verdicts(&impact, Share::Count(3))[0], "max_prefixes_lost 3/3 true");
    }

    #[test]
    fn a_link_less_loses_the_pairs_that_it_joined() {
        let impact = impact_of("a-b 1, b-c 1", "a-b 1, c");
        let pairs: Vec<String> = impact.pairs_lost.iter().map(|(from, to)| format!("{from}{to}")).collect();
        assert_eq!(pairs, ["ac", "bc", "ca", "cb"]);
        assert!(impact.prefixes_lost.is_empty());
    }

    #[test]
    fn a_change_after_which_nothing_is_left_passes_no_budget() {
        // All names and so all nodes are new; their prefixes are the old ones.
        let impact = impact_of("a-b 1", "x-y 1");
        assert_eq!(
            verdicts(&impact, Share::Percent(100)),
            ["max_prefixes_lost 0/6 true", "every_prefix_gone 0/1 true", "every_node_gone 2/1 false"]
        );
        // The nodes stay, with their loopbacks: nothing behind them is reached any more.
        let mut emptied = topology("a-b 1");
        for node in &mut emptied.nodes {
            node.prefixes.clear();
        }
        let old = topology("a-b 1");
        let facts = Facts::default();
        let (before, after) = (compile(&old, &facts), compile(&emptied, &facts));
        let impact = super::impact(Some((&old, &facts, &before)), (&emptied, &facts, &after));
        assert_eq!(
            verdicts(&impact, Share::Percent(100)),
            ["max_prefixes_lost 2/6 true", "every_prefix_gone 2/1 false", "every_node_gone 0/1 true"]
        );
    }

    #[test]
    fn facts_that_cut_a_node_off_lose_its_pairs() {
        let topology = topology("a-b 1, b-c 1");
        let (none, cut) = (Facts::default(), down(&topology, &[1]));
        let (before, after) = (compile(&topology, &none), compile(&topology, &cut));
        let impact = impact(Some((&topology, &none, &before)), (&topology, &cut, &after));
        assert_eq!(impact.pairs_lost.len(), 4);
        assert!(impact.hosts_changed.is_empty(), "{:?}", impact.hosts_changed);
    }

    #[test]
    fn a_prefix_that_moves_to_another_node_is_not_lost() {
        let (old, mut new) = (topology("a-b 1"), topology("a-b 1"));
        let moved = new.nodes[0].prefixes.remove(0);
        new.nodes[1].prefixes.push(moved);
        let facts = Facts::default();
        let (before, after) = (compile(&old, &facts), compile(&new, &facts));
        assert!(impact(Some((&old, &facts, &before)), (&new, &facts, &after)).prefixes_lost.is_empty());
    }
}
