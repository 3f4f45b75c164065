//! What holds for every file.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::sample::subsequence;
use topology::{Code, Share, Topology, read};

const SAMPLES: [&str; 5] = [
    include_str!("../files/abilene.yaml"),
    include_str!("../files/leaf-spine.yaml"),
    include_str!("../files/leaf-spine-64.yaml"),
    include_str!("../files/line.yaml"),
    include_str!("../files/triangle.yaml"),
];

/// A file in pieces whose order carries no meaning: top-level keys, of which some hold pieces again.
#[derive(Clone, Debug)]
struct Pieces {
    nodes: Vec<String>,
    links: Vec<String>,
    zones: Vec<String>,
    ranges: Vec<String>,
}

fn file(pieces: &Pieces, order: &[usize]) -> String {
    let block = |key: &str, items: &[String], mark: &str| -> String {
        let lines: String = items.iter().map(|item| format!("  {mark}{item}\n")).collect();
        format!("{key}:\n{lines}")
    };
    let sections = [
        "version: 1\n".to_owned(),
        "name: law\n".to_owned(),
        block("zones", &pieces.zones, "- "),
        block("nodes", &pieces.nodes, ""),
        block("links", &pieces.links, "- "),
        format!("safety: {{bake: 0s}}\naddressing: {{loopbacks: [{}]}}\n", pieces.ranges.join(", ")),
    ];
    order.iter().map(|at| sections[*at].as_str()).collect()
}

/// A random network as pieces, and the same pieces in another order, links with their ends swapped.
fn shuffled() -> impl Strategy<Value = (Pieces, Pieces, Vec<usize>)> {
    let pairs: Vec<(usize, usize)> = (0..7).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let links = subsequence(pairs, 1..12);
    (links, proptest::collection::vec((1..100u32, 1..100u32, any::<bool>()), 12)).prop_flat_map(
        |(pairs, costs)| {
            let keys = |at: usize| {
                [format!("prefixes: [10.{at}.0.0/16, \"2001:db8:{at}::/48\"]"), format!("zone: z{}", at % 2)]
            };
            let node = |at: usize, flip: bool| {
                let [a, b] = keys(at);
                let (a, b) = if flip { (b, a) } else { (a, b) };
                format!("n{at}: {{{a}, {b}}}")
            };
            let link = |((a, b), (there, back, _)): (&(usize, usize), &(u32, u32, bool)), flip: bool| {
                let (a, b) = if flip { (b, a) } else { (a, b) };
                let (there, back) = if flip { (back, there) } else { (there, back) };
                format!(
                    "{{endpoints: [\"n{a}:to{b}\", \"n{b}:to{a}\"], cost: {{n{a}: {there}, n{b}: {back}}}}}"
                )
            };
            let one = Pieces {
                nodes: (0..7).map(|at| node(at, false)).collect(),
                links: pairs.iter().zip(&costs).map(|pair| link(pair, false)).collect(),
                zones: vec!["{name: z0}".into(), "{name: z1}".into()],
                ranges: vec!["10.255.0.0/16".into(), "\"fd00::/64\"".into()],
            };
            let other_nodes: Vec<String> = (0..7).map(|at| node(at, costs[at].2)).collect();
            let other_links: Vec<String> =
                pairs.iter().zip(&costs).map(|pair| link(pair, pair.1.2)).collect();
            (
                Just(one.clone()),
                Just(other_nodes).prop_shuffle(),
                Just(other_links).prop_shuffle(),
                Just(one.zones).prop_shuffle(),
                Just(one.ranges).prop_shuffle(),
                Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
            )
                .prop_map(|(one, nodes, links, zones, ranges, order)| {
                    (one, Pieces { nodes, links, zones, ranges }, order)
                })
        },
    )
}

/// Everything that a reading promises, whatever the bytes.
fn check_promises(bytes: &[u8]) {
    let reading = read("x.yaml", bytes);
    let errors = reading.diagnostics.iter().any(|d| d.severity == topology::Severity::Error);
    assert_eq!(reading.topology.is_none(), errors);
    assert!(reading.diagnostics.len() <= reading.total);
    let places: Vec<_> = reading.diagnostics.iter().map(|d| (d.line, d.column)).collect();
    assert!(places.is_sorted());
    for diagnostic in &reading.diagnostics {
        assert!(Code::ALL.contains(&diagnostic.code));
        assert!(diagnostic.line >= 1 && diagnostic.column >= 1 && diagnostic.width >= 1);
        assert!(!diagnostic.message.is_empty() && !diagnostic.help.is_empty());
        let length = diagnostic.snippet.chars().count();
        assert!(length <= 120 && diagnostic.snippet_column as usize <= 121, "{diagnostic:?}");
    }
    assert!(!reading.render(true).chars().any(|c| c.is_control() && c != '\n' && c != '\x1b'));
    if let Some(topology) = reading.topology {
        check_model(&topology);
    }
}

/// What later stages trust without looking.
fn check_model(topology: &Topology) {
    assert!(topology.nodes.is_sorted_by(|a, b| a.name < b.name));
    assert!(topology.links.is_sorted_by(|a, b| a.id < b.id));
    assert!(topology.zones.is_sorted_by(|a, b| a.name < b.name));
    let mut loopbacks: Vec<_> = topology.nodes.iter().flat_map(|node| &node.loopbacks).collect();
    loopbacks.sort();
    assert!(loopbacks.is_sorted_by(|a, b| a < b), "a loopback twice");
    for link in &topology.links {
        let [first, second] = &link.ends;
        assert!(topology.endpoint(first) < topology.endpoint(second));
        assert_eq!(link.id, format!("{}--{}", topology.endpoint(first), topology.endpoint(second)));
        assert!(first.cost >= 1 && second.cost >= 1 && first.node != second.node);
        assert_eq!([first.link_local.to_string(), second.link_local.to_string()], ["fe80::1", "fe80::2"]);
        assert_eq!(topology.link_index(&link.id).map(|at| topology.link(at)), Some(link));
    }
    for node in &topology.nodes {
        assert_eq!(topology.node_index(&node.name).map(|at| topology.node(at)), Some(node));
        assert!(node.prefixes.is_sorted_by(|a, b| a < b));
        assert!(node.prefixes.iter().all(|prefix| prefix.ip() == prefix.network()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_order_of_the_file_has_no_meaning((one, other, order) in shuffled()) {
        let first = read("one.yaml", file(&one, &[0, 1, 2, 3, 4, 5]).as_bytes());
        let second = read("other.yaml", file(&other, &order).as_bytes());
        prop_assert!(first.topology.is_some(), "{}", first.render(false));
        prop_assert_eq!(first.topology, second.topology);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_promises(&bytes);
    }

    #[test]
    fn arbitrary_yaml_like_text_never_panics(text in "[-\\[\\]{}:,&*!|>'\"#%@?a-c0-9 \n\t\r./~é]{0,200}") {
        check_promises(text.as_bytes());
        check_promises(format!("version: 1\nname: x\nnodes:\n  {text}\n").as_bytes());
    }

    /// Cuts, doubles and overwrites pieces of a good file.
    #[test]
    fn mutated_samples_never_panic(
        sample in 0..SAMPLES.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..40usize, "[-\\[{}:,&*'\"\n\t 0-9a-z/.%]{0,6}"), 1..6),
    ) {
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, length, piece) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, piece.bytes());
        }
        check_promises(&bytes);
    }
}

#[test]
fn samples_keep_every_promise() {
    SAMPLES.iter().for_each(|sample| check_promises(sample.as_bytes()));
}

#[test]
fn line_ends_and_a_byte_order_mark_have_no_meaning() {
    for sample in SAMPLES {
        let plain = read("x.yaml", sample.as_bytes());
        for same in [sample.replace('\n', "\r\n"), format!("\u{feff}{sample}"), sample.replace('\n', "\r")] {
            assert_eq!(read("x.yaml", same.as_bytes()), plain);
        }
    }
}

#[test]
fn places_are_right_whatever_the_line_ends() {
    for end in ["\n", "\r\n", "\r"] {
        let text = "\u{feff}version: 1\nname: x\n# é\nnodes: {a: {}, é: {}}\n".replace('\n', end);
        let reading = read("x.yaml", text.as_bytes());
        let places: Vec<_> =
            reading.diagnostics.iter().map(|d| (d.line, d.column, d.snippet.as_str())).collect();
        assert_eq!(places[0], (4, 16, "nodes: {a: {}, é: {}}"), "{end:?}");
    }
}

#[test]
fn json_is_read_too() {
    let json = "{\n\t\"version\": 1,\n\t\"name\": \"j\",\n\t\"nodes\": {\"a\": {}, \"b\": {}},\n\t\"links\": [\n\t\t{\"endpoints\": \
                [\"a:e\", \"b:e\"], \"cost\": {\"a\": 1, \"b\": 2}}\n\t]\n}\n";
    let reading = read("x.json", json.as_bytes());
    assert_eq!(reading.render(false), "");
    assert_eq!(reading.topology.unwrap().links[0].ends.each_ref().map(|end| end.cost), [1, 2]);
}

#[test]
fn values_arrive_in_their_units() {
    let topology = read("line.yaml", SAMPLES[3].as_bytes()).topology.unwrap();
    let link = topology.link(topology.link_index("n1--n2").unwrap());
    assert_eq!(
        (link.latency_us, link.capacity_bps, link.mtu_bytes),
        (Some(1_500), Some(1_000_000_000), Some(1_500))
    );
    let one_way = topology.link(topology.link_index("n4--n3").unwrap());
    assert_eq!(one_way.ends.each_ref().map(|end| end.cost), [5, 20]);
    let numbered = topology.link(topology.link_index("n2--n3").unwrap());
    let addresses =
        numbered.ends.each_ref().map(|end| end.addresses.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(
        addresses,
        [["192.0.2.0/31", "2001:db8:ffff::/127"], ["192.0.2.1/31", "2001:db8:ffff::1/127"]]
    );
    assert_eq!(topology.nodes[2].loopbacks[0].to_string(), "10.255.3.3");
    let safety = topology.safety;
    assert_eq!((safety.max_hosts_per_step, safety.max_prefixes_lost), (Share::Percent(25), Share::Count(0)));
    assert_eq!((safety.bake_ms, safety.link_up_hold_ms), (10_000, 2_000));
}
