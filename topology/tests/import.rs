//! What holds for every import: the text is a valid file, says what was announced, and is the same each time.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use topology::import::{CostRule, Format, Import, Options, import};

/// A lab with what is legal, what must be escaped, and what is no link.
const LAB: &str = r#"name: branch lab
mgmt: { network: mgmt }
topology:
  defaults: { kind: linux }
  groups:
    spine: { kind: nokia_srlinux, labels: { tier: "2" } }
  nodes:
    spine 1: { group: spine }
    leaf-1: { labels: { role: leaf, graph/icon: switch } }
    br1: { kind: bridge }
  links:
    - endpoints: ["spine 1:ethernet-1/1", "leaf-1:eth1"]
      mtu: 9000
    - type: veth
      endpoints:
        - { node: leaf-1, interface: GigabitEthernet0/0/0/2, ipv4: 192.0.2.0/31 }
        - { node: spine 1, interface: e1-2, ipv4: 192.0.2.1/31 }
    - endpoints: ["leaf-1:eth3", "br1:a"]
    - endpoints: ["leaf-1:eth4", "host:veth9"]
"#;

/// Weights of both directions, names with blanks.
const WEIGHTS: &str = "Alice+Springs,+AU7 Perth,+AU9 2.5\nPerth,+AU9 Alice+Springs,+AU7 2.5\n\
                       Perth,+AU9 Darwin1 0.25\nDarwin1 Perth,+AU9 1\n";

fn of(name: &str, text: &str) -> Import {
    import(name, text.as_bytes(), None, Options::default()).unwrap()
}

#[test]
fn a_lab_becomes_a_file_that_says_how_it_came_about() {
    insta::assert_snapshot!(of("labs/branch.clab.yml", LAB).text);
}

#[test]
fn a_map_of_weights_becomes_a_file_with_costs_of_each_direction() {
    insta::assert_snapshot!(of("1.weights.intra", WEIGHTS).text);
}

#[test]
fn a_source_is_refused_with_the_reason() {
    let none = Options::default();
    let as_ = |format| Options { format: Some(format), cost: None };
    let latency = Options { format: None, cost: Some(CostRule::Latency) };
    for (bytes, companion, options, wanted) in [
        (&b"hello"[..], None, none, "cannot be told"),
        (b"", None, none, "cannot be told"),
        (b"a\0b", None, none, "NUL byte"),
        (b"name: \xff\n", None, none, "not UTF-8"),
        (LAB.as_bytes(), Some(&b"x"[..]), none, "a second file"),
        (LAB.as_bytes(), None, latency, "no link has a latency"),
        (LAB.as_bytes(), None, as_(Format::Graphml), "line 1"),
        (b"topology: {nodes: {}}", None, as_(Format::Containerlab), "no node"),
        (&vec![b' '; topology::FILE_BYTES_MAX + 1], None, none, "more than the"),
    ] {
        let refused = import("source", bytes, companion, options).unwrap_err().to_string();
        assert!(refused.contains(wanted), "{wanted}: {refused}");
        assert!(refused.contains("help: "), "{refused}");
    }
}

/// Positions of two nodes, and an interface of each.
type Ends = (usize, usize, String, String);

/// A lab of nodes and interfaces called anything, some of them twice.
fn lab() -> impl Strategy<Value = (Vec<String>, Vec<Ends>)> {
    let word = "[a-zA-Z0-9 ._|/é-]{1,70}|n[12]|n 1|lo|all";
    let nodes = proptest::collection::btree_set(word, 2..8);
    nodes.prop_flat_map(move |nodes| {
        let nodes: Vec<String> = nodes.into_iter().collect();
        let ends = (0..nodes.len(), 0..nodes.len(), "[a-z0-9/.-]{1,20}", "[a-z0-9/.-]{1,20}");
        (Just(nodes), proptest::collection::vec(ends, 0..10))
    })
}

/// JSON is YAML, and quotes every name.
fn written(nodes: &[String], links: &[Ends]) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let nodes_of: Vec<String> = nodes.iter().map(|node| format!("{}: {{}}", quoted(node))).collect();
    // Numbers keep interfaces apart, as containerlab asks for.
    let links_of = links.iter().enumerate().map(|(at, (a, b, here, there))| {
        let end = |node: &str, side: u8, interface: &str| {
            let interface = quoted(&format!("{at}{side}{interface}"));
            format!("{{\"node\": {}, \"interface\": {interface}}}", quoted(node))
        };
        format!("{{\"endpoints\": [{}, {}]}}", end(&nodes[*a], 0, here), end(&nodes[*b], 1, there))
    });
    let links_of: Vec<String> = links_of.collect();
    format!("topology: {{nodes: {{{}}}, links: [{}]}}\n", nodes_of.join(", "), links_of.join(", "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_imported_text_is_a_valid_file((nodes, links) in lab()) {
        let source = written(&nodes, &links);
        let options = Options { format: Some(Format::Containerlab), cost: None };
        let made = import("x", source.as_bytes(), None, options);
        let made = match made {
            Ok(made) => made,
            Err(refused) => return Err(TestCaseError::fail(format!("{refused}\n{source}"))),
        };
        let topology = topology::read("x", made.text.as_bytes()).topology.unwrap();
        prop_assert_eq!(topology.nodes.len(), nodes.len());
        prop_assert_eq!(topology.links.len(), links.iter().filter(|(a, b, ..)| a != b).count());
        let mut names: Vec<&str> = made.nodes.iter().map(|(_, name)| name.as_str()).collect();
        names.sort_unstable();
        prop_assert_eq!(names, topology.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>());
        let mut ids: Vec<&str> = made.links.iter().map(|(_, id)| id.as_str()).collect();
        ids.sort_unstable();
        prop_assert_eq!(ids, topology.links.iter().map(|link| link.id.as_str()).collect::<Vec<_>>());
        prop_assert_eq!(import("x", source.as_bytes(), None, options).unwrap(), made);
    }
}
