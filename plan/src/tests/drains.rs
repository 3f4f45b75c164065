//! Drained nodes and links: avoided while another way is left, never a reason to lose anything.

use crate::Facts;
use crate::compile;
use crate::tests::fixture::{down, topology};
use crate::tests::laws::{any_topology, node_pairs, simple_paths, walk};
use crate::walk::Fate;
use proptest::prelude::*;
use std::collections::BTreeSet;
use topology::{LinkGroup, Topology};

/// All paths over the fewest drained links, of these the cheapest.
fn best(topology: &Topology, from: u32, to: u32) -> BTreeSet<Vec<String>> {
    let drained_link = |id: &String| {
        let link = topology.links.iter().find(|link| link.id == *id).unwrap();
        link.drained || link.ends.iter().any(|end| topology.node(end.node).drained)
    };
    let all = simple_paths(topology, &Facts::default(), from, to);
    let key =
        |(cost, links): &(u64, Vec<String>)| (links.iter().filter(|id| drained_link(id)).count(), *cost);
    let least = all.iter().map(key).min();
    all.into_iter().filter(|path| Some(key(path)) == least).map(|(_, links)| links).collect()
}

fn drained_topology() -> impl Strategy<Value = Topology> {
    (any_topology(), any::<u32>(), any::<u32>()).prop_map(|(mut topology, nodes, links)| {
        for (at, node) in topology.nodes.iter_mut().enumerate() {
            node.drained = nodes >> (2 * at) & 3 == 3;
        }
        for (at, link) in topology.links.iter_mut().enumerate() {
            link.drained = links >> (at % 32) & 1 == 1 && at % 3 == 0;
        }
        topology
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_take_the_cheapest_of_the_paths_over_the_fewest_drained_links(topology in drained_topology()) {
        let facts = Facts::default();
        let network = compile(&topology, &facts);
        for (from, to) in node_pairs(&topology) {
            let expected = best(&topology, from, to);
            let walked = walk(&topology, &facts, &network, from, to);
            let delivered = walked.iter().filter(|path| path.fate == Fate::Delivered);
            let links: BTreeSet<Vec<String>> = delivered.map(|path| path.links.clone()).collect();
            prop_assert_eq!(links, expected, "{} to {}", from, to);
        }
    }
}

#[track_caller]
fn assert_way(topology: &Topology, facts: &Facts, from: u32, to: u32, expected: &[&str]) {
    let network = compile(topology, facts);
    let walked = walk(topology, facts, &network, from, to);
    let hops: Vec<String> = walked.iter().map(|path| path.hops.concat()).collect();
    assert_eq!(hops, expected);
}

#[test]
fn a_drained_node_is_passed_only_where_nothing_else_is_left() {
    let mut topology = topology("a-b 1, b-c 1, a-d 4000000000, d-c 4000000000, c-e 1");
    assert_way(&topology, &Facts::default(), 0, 4, &["abce"]);
    topology.nodes[1].drained = true;
    assert_way(&topology, &Facts::default(), 0, 4, &["adce"]);
    assert_way(&topology, &Facts::default(), 0, 1, &["ab"]);
    topology.nodes[2].drained = true;
    assert_way(&topology, &Facts::default(), 0, 4, &["adce"]);
}

#[test]
fn a_group_with_too_few_living_links_is_avoided() {
    let mut topology = topology("a-b 1, a-b 1, a-c 5, c-b 5");
    topology.link_groups.push(LinkGroup { name: "bundle".to_string(), min_links: 2 });
    for link in &mut topology.links[..2] {
        link.group = Some("bundle".to_string());
    }
    assert_way(&topology, &Facts::default(), 0, 1, &["ab", "ab"]);
    assert_way(&topology, &down(&topology, &[0]), 0, 1, &["acb"]);
    // Without the detour the rest of the bundle still carries.
    topology.links.truncate(2);
    assert_way(&topology, &down(&topology, &[0]), 0, 1, &["ab"]);
}
