//! The sample files' programs, as snapshots to read, and the order of a file's lines.

use super::render::render_program;
use crate::walk::{Fate, paths};
use crate::{Facts, Network, compile};
use proptest::prelude::*;
use std::fmt::Write;
use topology::Topology;

const ABILENE: &str = include_str!("../../../topology/files/abilene.yaml");
const LEAF_SPINE: &str = include_str!("../../../topology/files/leaf-spine.yaml");
const LEAF_SPINE_64: &str = include_str!("../../../topology/files/leaf-spine-64.yaml");
const LINE: &str = include_str!("../../../topology/files/line.yaml");
const TRIANGLE: &str = include_str!("../../../topology/files/triangle.yaml");

#[track_caller]
fn read(text: &str) -> Topology {
    let reading = topology::read("sample", text.as_bytes());
    reading.topology.unwrap_or_else(|| panic!("{:?}\n{text}", reading.diagnostics))
}

/// A line per host and destination: `seattle: denver 100 via eth1 (denver)`; what is in force comes first.
fn forwarding(topology: &Topology, network: &Network) -> String {
    let mut text = String::new();
    for program in &network.programs {
        let mut lines = Vec::new();
        for route in &program.classes {
            let members = &program.group(route.group).unwrap().members;
            let mut hops: Vec<String> = members
                .iter()
                .map(|member| {
                    let interface = &program.nexthop(member.nexthop).unwrap().interface;
                    format!("{interface} ({})", far_end(topology, &program.host, interface))
                })
                .collect();
            hops.sort();
            let to = network.table.class_name(route.class).unwrap();
            lines.push(format!("{}: {to} {} via {}", program.host, route.metric, hops.join(", ")));
        }
        lines.sort();
        lines.iter().for_each(|line| writeln!(text, "{line}").unwrap());
    }
    text
}

fn far_end<'a>(topology: &'a Topology, host: &str, interface: &str) -> &'a str {
    let node = topology.node_index(host).unwrap();
    let is_near = |end: &topology::End| end.node == node && end.interface == interface;
    let link = topology.links.iter().find(|link| link.ends.iter().any(is_near)).unwrap();
    let far = link.ends.iter().find(|end| !is_near(end)).unwrap();
    &topology.node(far.node).name
}

#[test]
fn a_whole_program_of_the_triangle() {
    let network = compile(&read(TRIANGLE), &Facts::default());
    insta::assert_snapshot!(render_program(network.host("a").unwrap().0, &network.table));
}

#[test]
fn forwarding_of_the_samples() {
    for (name, text) in [("abilene", ABILENE), ("leaf-spine", LEAF_SPINE), ("line", LINE)] {
        let topology = read(text);
        let network = compile(&topology, &Facts::default());
        insta::assert_snapshot!(format!("forwarding_{name}"), forwarding(&topology, &network));
    }
}

#[test]
fn abilene_after_the_loss_of_denver_kansas() {
    let topology = read(ABILENE);
    let link = topology.link_index("denver--kansas").unwrap();
    let facts = Facts { links_down: [topology.link(link).id.clone()].into() };
    let network = compile(&topology, &facts);
    insta::assert_snapshot!(forwarding(&topology, &network));
}

#[test]
fn every_pair_of_every_sample_is_delivered() {
    for text in [ABILENE, LEAF_SPINE, LEAF_SPINE_64, LINE, TRIANGLE] {
        let topology = read(text);
        let facts = Facts::default();
        let network = compile(&topology, &facts);
        let forwarding = crate::forwarding::Forwarding::new(&topology, &facts, &network);
        for to in 0..topology.nodes.len() as u32 {
            assert!(forwarding.arrives(to).iter().all(|arrives| *arrives), "{} to {to}", topology.name);
        }
    }
}

#[test]
fn a_path_tells_cost_latency_and_share() {
    let topology = read(ABILENE);
    let facts = Facts::default();
    let found = paths(&topology, &facts, &compile(&topology, &facts), "seattle", "newyork");
    let [path] = &found[..] else { panic!("one path, not {found:?}") };
    assert_eq!(path.fate, Fate::Delivered);
    assert_eq!(path.hops, ["seattle", "denver", "kansas", "indianapolis", "chicago", "newyork"]);
    assert_eq!(path.cost, 2095 + 639 + 548 + 260 + 700);
    let known = path.links.iter().map(|id| topology.link(topology.link_index(id).unwrap()).latency_us);
    assert_eq!(path.latency_us, known.sum::<Option<u64>>());
    assert_eq!(path.share, 1.0);
    let spread =
        paths(&read(LEAF_SPINE_64), &facts, &compile(&read(LEAF_SPINE_64), &facts), "leaf01", "leaf02");
    assert!(spread.len() > 1, "{spread:?}");
    assert!(spread.iter().all(|path| path.share == 1.0 / spread.len() as f64), "{spread:?}");
}

/// A random network as the lines of a file.
#[derive(Clone, Debug)]
struct Lines {
    nodes: Vec<String>,
    links: Vec<String>,
}

impl Lines {
    fn text(&self) -> String {
        let (nodes, links) = (self.nodes.join("\n"), self.links.join("\n"));
        format!(
            "version: 1\nname: t\naddressing: {{ loopbacks: [10.255.0.0/16, fd00::/64] }}\nnodes:\n{nodes}\nlinks:\n{links}\n"
        )
    }
}

/// The same lines in two orders; the second time each link's ends change places as well.
fn shuffled() -> impl Strategy<Value = (Lines, Lines)> {
    let costs = prop::collection::vec((0..7_usize, 0..7_usize, 1..9_u32), 1..14);
    costs.prop_flat_map(|links| {
        let nodes: Vec<String> =
            (0..7).map(|n| format!("  n{n}: {{ prefixes: [10.{n}.0.0/24, 10.{n}.1.0/24] }}")).collect();
        let link = |at: usize, a: usize, b: usize, cost: u32| {
            format!("  - {{ endpoints: [\"n{a}:l{at}\", \"n{b}:r{at}\"], cost: {cost} }}")
        };
        let turned = |at: usize, a: usize, b: usize, cost: u32| {
            format!("  - {{ endpoints: [\"n{b}:r{at}\", \"n{a}:l{at}\"], cost: {cost} }}")
        };
        let links: Vec<_> = links.into_iter().filter(|(a, b, _)| a != b).enumerate().collect();
        let first = links.iter().map(|(at, (a, b, cost))| link(*at, *a, *b, *cost)).collect::<Vec<_>>();
        let second = links.iter().map(|(at, (a, b, cost))| turned(*at, *a, *b, *cost)).collect::<Vec<_>>();
        let first = Lines { nodes: nodes.clone(), links: first };
        (Just(first), Just(nodes).prop_shuffle(), Just(second).prop_shuffle())
            .prop_map(|(first, nodes, links)| (first, Lines { nodes, links }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_a_file_changes_no_byte((one, other) in shuffled()) {
        prop_assume!(!one.links.is_empty());
        let (one, other) = (read(&one.text()), read(&other.text()));
        let (one, other) = (compile(&one, &Facts::default()), compile(&other, &Facts::default()));
        prop_assert_eq!(one, other);
    }
}
