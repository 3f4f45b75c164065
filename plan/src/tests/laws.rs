//! Laws by brute force over all small graphs, and by random cases on larger ones.

use crate::diff::{apply, diff, render};
use crate::program::METRIC_BACKUP;
use crate::tests::fixture::{down, topology};
use crate::walk::{Fate, Path, paths};
use crate::{Facts, Network, Objects, Program, compile};
use proptest::prelude::*;
use std::collections::BTreeSet;
use topology::Topology;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// All pairs of `nodes` nodes.
fn pairs(nodes: usize) -> Vec<(usize, usize)> {
    (0..nodes).flat_map(|a| (a + 1..nodes).map(move |b| (a, b))).collect()
}

/// A network of `nodes` nodes with the edges whose bit is set; `cost` gives both costs of the n-th pair.
fn graph(nodes: usize, edges: u32, cost: impl Fn(usize) -> (u32, u32)) -> Topology {
    let mut entries: Vec<String> = NAMES[..nodes].iter().map(|name| name.to_string()).collect();
    for (at, (a, b)) in pairs(nodes).into_iter().enumerate().filter(|(at, _)| edges >> at & 1 == 1) {
        let (there, back) = cost(at);
        entries.push(format!("{}-{} {there}/{back}", NAMES[a], NAMES[b]));
    }
    topology(&entries.join(", "))
}

/// Costs that make many ties, few ties, and different ways there and back.
const COSTS: [fn(usize) -> (u32, u32); 3] =
    [|_| (1, 1), |at| (1 + at as u32 % 3, 1 + at as u32 % 3), |at| (1 + at as u32 % 2, 3 - at as u32 % 3)];

/// Every simple path from `from` to `to` over links that are not in `facts`, as (cost, links).
pub(crate) fn simple_paths(
    topology: &Topology,
    facts: &Facts,
    from: u32,
    to: u32,
) -> Vec<(u64, Vec<String>)> {
    fn extend(
        (topology, facts, to): (&Topology, &Facts, u32),
        nodes: &mut Vec<u32>,
        cost: u64,
        links: &mut Vec<String>,
        found: &mut Vec<(u64, Vec<String>)>,
    ) {
        let at = *nodes.last().unwrap();
        if at == to {
            found.push((cost, links.clone()));
            return;
        }
        for link in topology.links.iter().filter(|link| !facts.links_down.contains(&link.id)) {
            for (own, far) in [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])] {
                if own.node.0 == at && !nodes.contains(&far.node.0) {
                    nodes.push(far.node.0);
                    links.push(link.id.clone());
                    extend((topology, facts, to), nodes, cost + u64::from(own.cost), links, found);
                    links.pop();
                    nodes.pop();
                }
            }
        }
    }
    let mut found = Vec::new();
    extend((topology, facts, to), &mut vec![from], 0, &mut Vec::new(), &mut found);
    found
}

/// The cheapest of all simple paths, by the links they use.
fn shortest(topology: &Topology, facts: &Facts, from: u32, to: u32) -> (Option<u64>, BTreeSet<Vec<String>>) {
    let all = simple_paths(topology, facts, from, to);
    let best = all.iter().map(|(cost, _)| *cost).min();
    (best, all.into_iter().filter(|(cost, _)| Some(*cost) == best).map(|(_, links)| links).collect())
}

pub(crate) fn node_pairs(topology: &Topology) -> impl Iterator<Item = (u32, u32)> {
    let nodes = topology.nodes.len() as u32;
    (0..nodes).flat_map(move |from| (0..nodes).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

pub(crate) fn walk(topology: &Topology, facts: &Facts, network: &Network, from: u32, to: u32) -> Vec<Path> {
    let name = |at: u32| topology.nodes[at as usize].name.as_str();
    paths(topology, facts, network, name(from), name(to))
}

/// Programs forward over exactly the cheapest paths, or black-hole at the sender where there is none.
fn assert_forwards_over_shortest_paths(topology: &Topology) {
    let facts = Facts::default();
    let network = compile(topology, &facts);
    for (from, to) in node_pairs(topology) {
        let (cost, expected) = shortest(topology, &facts, from, to);
        let walked = walk(topology, &facts, &network, from, to);
        let Some(cost) = cost else {
            let [path] = &walked[..] else { panic!("{from} to {to}: {walked:?}") };
            assert_eq!((path.links.len(), matches!(path.fate, Fate::BlackHole { .. })), (0, true));
            continue;
        };
        for path in &walked {
            assert_eq!((&path.fate, path.cost), (&Fate::Delivered, cost), "{from} to {to}: {path:?}");
        }
        let links: BTreeSet<Vec<String>> = walked.iter().map(|path| path.links.clone()).collect();
        assert_eq!(links, expected, "{from} to {to}");
        let share: f64 = walked.iter().map(|path| path.share).sum();
        assert!((share - 1.0).abs() < 1e-9, "{from} to {to}: shares sum to {share}");
    }
}

/// Every graph of five nodes with each kind of costs; the smaller graphs are among them, beside lone nodes.
fn every_graph_of_up_to_five_nodes() -> impl Iterator<Item = Topology> {
    let edges = 0..1_u32 << pairs(5).len();
    edges.flat_map(|edges| COSTS.into_iter().map(move |cost| graph(5, edges, cost)))
}

#[test]
fn forwards_over_the_cheapest_paths_in_every_graph_of_up_to_five_nodes() {
    every_graph_of_up_to_five_nodes().for_each(|topology| assert_forwards_over_shortest_paths(&topology));
}

/// What facts may do: nothing to pairs that living links still join but to make them use the cheapest
/// living paths; to others not even that: they keep routes, which still work should the fact be wrong.
fn assert_facts_lose_nothing(topology: &Topology, facts: &Facts) {
    let network = compile(topology, facts);
    for (from, to) in node_pairs(topology) {
        let context = || format!("{from} to {to}, down {:?}", facts.links_down);
        let (living, _) = shortest(topology, facts, from, to);
        let (without_facts, _) = shortest(topology, &Facts::default(), from, to);
        let believed = walk(topology, facts, &network, from, to);
        let all_alive = walk(topology, &Facts::default(), &network, from, to);
        if without_facts.is_some() {
            assert!(
                all_alive.iter().all(|path| path.fate == Fate::Delivered),
                "{}: {all_alive:?}",
                context()
            );
        }
        match living {
            Some(cost) => assert!(
                believed.iter().all(|path| path.fate == Fate::Delivered && path.cost == cost),
                "{}: {believed:?}",
                context()
            ),
            None => assert!(
                believed.iter().all(|path| matches!(path.fate, Fate::BlackHole { .. })),
                "{}: {believed:?}",
                context()
            ),
        }
    }
}

#[test]
fn facts_lose_nothing_in_every_graph_of_four_nodes_under_all_facts() {
    for edges in 0..1_u32 << pairs(4).len() {
        let topology = graph(4, edges, COSTS[(edges % 3) as usize]);
        for facts in 0..1_u32 << topology.links.len() {
            let links: Vec<usize> = (0..topology.links.len()).filter(|at| facts >> at & 1 == 1).collect();
            assert_facts_lose_nothing(&topology, &down(&topology, &links));
        }
    }
}

/// With the one link of a lone next hop gone and nobody recomputing, the backup delivers.
fn assert_backups_deliver(topology: &Topology) {
    let network = compile(topology, &Facts::default());
    for (from, to) in node_pairs(topology) {
        let program = &network.programs[from as usize];
        let class = network.table.classes.iter().find(|class| class.name == topology.nodes[to as usize].name);
        let routes = program.class_routes(class.unwrap().id);
        let Some(backup) = routes.iter().find(|route| route.metric == METRIC_BACKUP) else { continue };
        let [best] = &program.group(routes[0].group).unwrap().members[..] else {
            panic!("a group over several devices has a backup: {from} to {to}");
        };
        assert!(!program.group(backup.group).unwrap().members.contains(best), "{from} to {to}");
        let interface = &program.nexthop(best.nexthop).unwrap().interface;
        let lost = topology
            .links
            .iter()
            .position(|link| link.ends.iter().any(|end| end.node.0 == from && end.interface == *interface));
        let facts = down(topology, &[lost.unwrap()]);
        let walked = walk(topology, &facts, &network, from, to);
        assert!(walked.iter().all(|path| path.fate == Fate::Delivered), "{from} to {to}: {walked:?}");
    }
}

#[test]
fn backups_deliver_in_every_graph_of_up_to_five_nodes() {
    every_graph_of_up_to_five_nodes().for_each(|topology| assert_backups_deliver(&topology));
}

/// Up to 8 nodes; any pair may have up to two links of any cost.
pub(crate) fn any_topology() -> impl Strategy<Value = Topology> {
    let link = (0..8_usize, 0..8_usize, 1..5_u32, 1..5_u32);
    prop::collection::vec(link, 0..16).prop_map(|links| {
        let links = links.into_iter().filter(|(a, b, _, _)| a != b);
        let mut entries: Vec<String> = NAMES[..2].iter().map(|name| name.to_string()).collect();
        entries.extend(links.map(|(a, b, there, back)| format!("{}-{} {there}/{back}", NAMES[a], NAMES[b])));
        topology(&entries.join(", "))
    })
}

fn with_facts() -> impl Strategy<Value = (Topology, Facts)> {
    (any_topology(), any::<u32>()).prop_map(|(topology, bits)| {
        let links: Vec<usize> = (0..topology.links.len()).filter(|at| bits >> at & 1 == 1).collect();
        let facts = down(&topology, &links);
        (topology, facts)
    })
}

fn objects(network: &Network, host: &str) -> Objects {
    network.host(host).map(|(program, _)| Objects::of(program, &network.table)).unwrap_or_default()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_lose_nothing((topology, facts) in with_facts()) {
        assert_facts_lose_nothing(&topology, &facts);
    }

    #[test]
    fn backups_deliver(topology in any_topology()) {
        assert_backups_deliver(&topology);
    }

    #[test]
    fn a_diff_turns_the_old_objects_into_the_new((old, old_facts) in with_facts(), (new, facts) in with_facts()) {
        let (old, new) = (compile(&old, &old_facts), compile(&new, &facts));
        for host in NAMES {
            let (old, new) = (objects(&old, host), objects(&new, host));
            let diff_of_both = diff(&old, &new);
            let applied = apply(&diff_of_both, &old);
            let mut expected = new.clone();
            // A setting that no program names any more keeps its value.
            for (name, value) in &old.sysctls {
                expected.sysctls.entry(name.clone()).or_insert(value.clone());
            }
            prop_assert_eq!(&applied, &expected);
            prop_assert!(diff(&applied, &new).is_empty());
            prop_assert_eq!(diff_of_both.is_empty(), render(&old, &new).is_empty());
            let lines = render(&old, &new).lines().count();
            prop_assert_eq!(lines, diff_of_both.added() + diff_of_both.changed() + diff_of_both.removed());
        }
    }

    #[test]
    fn equal_digests_mean_equal_programs((old, old_facts) in with_facts(), (new, facts) in with_facts()) {
        let (old, new) = (compile(&old, &old_facts), compile(&new, &facts));
        prop_assert_eq!(old.table_digest == new.table_digest, old.table == new.table);
        for (program, digest) in old.programs.iter().zip(&old.digests) {
            for (other, other_digest) in new.programs.iter().zip(&new.digests) {
                let equal: bool = program == other && old.table == new.table;
                prop_assert_eq!(digest == other_digest, equal);
            }
        }
    }

    #[test]
    fn every_reference_of_a_program_resolves((topology, facts) in with_facts()) {
        for program in &compile(&topology, &facts).programs {
            assert_well_formed(program);
        }
    }
}

fn assert_well_formed(program: &Program) {
    assert!(program.nexthops.is_sorted_by(|a, b| a.id < b.id), "{program:?}");
    assert!(program.groups.is_sorted_by(|a, b| a.id < b.id), "{program:?}");
    assert!(program.classes.is_sorted_by(|a, b| a < b), "{program:?}");
    let members = program.groups.iter().flat_map(|group| &group.members);
    let used: BTreeSet<u32> = members.map(|member| member.nexthop).collect();
    assert!(used.iter().eq(program.nexthops.iter().map(|nexthop| &nexthop.id)), "{program:?}");
    let groups: BTreeSet<u32> = program.classes.iter().map(|route| route.group).collect();
    assert!(groups.iter().eq(program.groups.iter().map(|group| &group.id)), "{program:?}");
    let distinct: BTreeSet<_> = program.groups.iter().map(|group| &group.members).collect();
    assert_eq!(distinct.len(), program.groups.len(), "a group per set of next hops: {program:?}");
}
