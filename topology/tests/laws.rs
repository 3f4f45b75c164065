//! What holds for every file.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::sample::subsequence;
use topology::{Code, InvariantRule, Share, Topology, join, read, read_all};

const SAMPLES: [&str; 7] = [
    include_str!("../files/everything.yaml"),
    include_str!("../files/abilene.yaml"),
    include_str!("../files/leaf-spine.yaml"),
    include_str!("../files/leaf-spine-64.yaml"),
    include_str!("../files/line.yaml"),
    include_str!("../files/metro.yaml"),
    include_str!("../files/triangle.yaml"),
];

/// A file in pieces whose order carries no meaning: top-level keys, of which some hold pieces again.
#[derive(Clone, Debug)]
struct Pieces {
    nodes: Vec<String>,
    links: Vec<String>,
    zones: Vec<String>,
    ranges: Vec<String>,
    kinds: Vec<String>,
    groups: Vec<String>,
    external: Vec<String>,
    demands: Vec<String>,
    invariants: Vec<String>,
    controllers: Vec<String>,
}

fn sections(pieces: &Pieces) -> [String; 13] {
    let block = |key: &str, items: &[String], mark: &str| -> String {
        let lines: String = items.iter().map(|item| format!("  {mark}{item}\n")).collect();
        format!("{key}:\n{lines}")
    };
    [
        "version: 1\nmanagement: in_band\n".to_owned(),
        block("controllers", &pieces.controllers, "- "),
        "name: law\n".to_owned(),
        "defaults: {link: {mtu: 1500, affinity: [all]}, node: {kind: even, labels: {all: \"yes\"}}}\n"
            .to_owned(),
        block("kinds", &pieces.kinds, ""),
        block("link_groups", &pieces.groups, "- "),
        block("external", &pieces.external, "- "),
        block("demands", &pieces.demands, "- "),
        block("invariants", &pieces.invariants, "- "),
        block("zones", &pieces.zones, "- "),
        block("nodes", &pieces.nodes, ""),
        block("links", &pieces.links, "- "),
        format!("safety: {{bake: 0s}}\naddressing: {{loopbacks: [{}]}}\n", pieces.ranges.join(", ")),
    ]
}

fn file(pieces: &Pieces, order: &[usize]) -> String {
    let sections = sections(pieces);
    order.iter().map(|at| sections[*at].as_str()).collect()
}

/// The same sections, dealt out to documents.
fn documents(pieces: &Pieces, order: &[usize], deal: &[usize]) -> Vec<String> {
    let sections = sections(pieces);
    let mut documents = vec![String::new(); 3];
    for (at, to) in order.iter().zip(deal) {
        documents[*to].push_str(&sections[*at]);
    }
    documents
}

/// Node `at`, its keys in one of two orders.
fn node_piece(at: usize, flip: bool) -> String {
    let prefixes =
        format!("prefixes: [10.{at}.0.0/16, {{prefix: \"2001:db8:{at}::/48\", owner: o}}, 192.0.2.53/32]");
    let kind = ["kind: odd, location: [1.5, -2]", "drained: true"][at % 2];
    let rest = format!("zone: z{}, {kind}", at % 2);
    let (first, second) = if flip { (rest, prefixes) } else { (prefixes, rest) };
    format!("n{at}: {{{first}, {second}}}")
}

/// The two nodes of a link, its costs, and whether the other file has it the other way round.
type LinkPiece = ((usize, usize), (u32, u32, bool));

fn link_piece(((a, b), (there, back, _)): LinkPiece, flip: bool) -> String {
    let (a, b) = if flip { (b, a) } else { (a, b) };
    let (there, back) = if flip { (back, there) } else { (there, back) };
    let srlg = if flip { "x, y" } else { "y, x, y" };
    let more = if (a + b) % 2 == 0 { "affinity: [b, a]" } else { "drained: true" };
    format!(
        "{{endpoints: [\"n{a}:to{b}\", \"n{b}:to{a}\"], cost: {{n{a}: {there}, n{b}: {back}}}, \
         srlg: [{srlg}], {more}}}"
    )
}

/// Everything but nodes and links.
fn other_pieces() -> Pieces {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    Pieces {
        nodes: Vec::new(),
        links: Vec::new(),
        zones: texts(&["{name: z0}", "{name: z1}"]),
        ranges: texts(&["10.255.0.0/16", "\"fd00::/64\""]),
        kinds: texts(&[
            "odd: {labels: {k: odd}, link: {capacity: 1G}}",
            "even: {labels: {k: even}, link: {mtu: 9000}}",
        ]),
        groups: texts(&["{name: g1}", "{name: g0, min_links: 2}"]),
        external: texts(&[
            "{node: n0, interface: w, next_hop: 203.0.113.1, prefixes: [0.0.0.0/0, 198.51.100.0/24]}",
            "{node: n0, interface: w, next_hop: \"fe80::9\", prefixes: [\"::/0\"]}",
            "{node: n1, interface: w, next_hop: 203.0.113.2, prefixes: [0.0.0.0/0]}",
        ]),
        demands: texts(&[
            "{from: n0, to: n1, rate: 1G}",
            "{from: n0, to: n1, rate: 2G}",
            "{from: n1, to: n0, rate: 3G}",
        ]),
        invariants: texts(&[
            "reach: {from: any, to: \"zone:z0\"}",
            "waypoint: {from: n0, to: n1, via: \"label:k=odd\"}",
            "max_hops: {from: n0, to: n1, hops: 3}",
            "max_hops: {from: n0, to: n1, hops: 2}",
        ]),
        controllers: texts(&[
            "{id: 2, node: n1, address: 10.1.0.9}",
            "{id: 1, node: n0, interface: c, address: 10.250.0.1}",
            "{id: 3, node: n0, address: \"fd01::3\"}",
        ]),
    }
}

/// Two files that say the same: nodes and links in two spellings.
fn two_spellings(links: &[LinkPiece]) -> (Pieces, Pieces) {
    // Bundles need links of equal costs.
    let bundles = [("g0", 1), ("g0", 2), ("g1", 3)]
        .map(|(group, at)| format!("{{endpoints: [\"n0:b{at}\", \"n1:b{at}\"], cost: 5, group: {group}}}"));
    let spell = |other: bool| Pieces {
        nodes: (0..7).map(|at| node_piece(at, other && at % 3 == 0)).collect(),
        links: links.iter().map(|link| link_piece(*link, other && link.1.2)).chain(bundles.clone()).collect(),
        ..other_pieces()
    };
    (spell(false), spell(true))
}

/// The same pieces in any order.
fn shuffled_pieces(pieces: Pieces) -> impl Strategy<Value = Pieces> {
    let Pieces { nodes, links, zones, ranges, kinds, groups, external, demands, invariants, controllers } =
        pieces;
    let shuffle = |list: Vec<String>| Just(list).prop_shuffle();
    let first = (shuffle(nodes), shuffle(links), shuffle(zones), shuffle(ranges), shuffle(kinds));
    let second =
        (shuffle(groups), shuffle(external), shuffle(demands), shuffle(invariants), shuffle(controllers));
    (first, second).prop_map(
        |((nodes, links, zones, ranges, kinds), (groups, external, demands, invariants, controllers))| {
            Pieces { nodes, links, zones, ranges, kinds, groups, external, demands, invariants, controllers }
        },
    )
}

/// A random network as pieces, and the same pieces in another order, links with their ends swapped.
fn shuffled() -> impl Strategy<Value = (Pieces, Pieces, Vec<usize>)> {
    let pairs: Vec<(usize, usize)> = (0..7).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let links = subsequence(pairs, 1..12);
    let costs = proptest::collection::vec((1..100u32, 1..100u32, any::<bool>()), 12);
    (links, costs).prop_flat_map(|(pairs, costs)| {
        let links: Vec<LinkPiece> = pairs.into_iter().zip(costs).collect();
        let (one, other) = two_spellings(&links);
        let order: Vec<usize> = (0..13).collect();
        (Just(one), shuffled_pieces(other), Just(order).prop_shuffle())
    })
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

/// As two files, cut at the first end of a line after `at`: where they are good, so is the text of both.
fn check_promises_of_two(bytes: &[u8], at: usize) {
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end + 1);
    let files = [("a.yaml", &bytes[..end]), ("b.yaml", &bytes[end..])];
    let reading = read_all(&files);
    assert!(reading.diagnostics.iter().all(|d| d.file == "a.yaml" || d.file == "b.yaml"));
    if let Some(topology) = &reading.topology {
        check_model(topology);
        assert_eq!(read("joined.yaml", &join(&files)).topology.as_ref(), Some(topology));
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
    assert!(topology.link_groups.is_sorted_by(|a, b| a.name < b.name));
    let uplink = |external: &topology::External| {
        (external.node, external.interface.clone(), external.next_hop.is_ipv6())
    };
    assert!(topology.external.is_sorted_by(|a, b| uplink(a) < uplink(b)));
    assert!(
        topology
            .external
            .iter()
            .all(|external| !external.prefixes.is_empty() && external.prefixes.is_sorted())
    );
    assert!(topology.demands.is_sorted_by_key(|demand| (demand.from, demand.to, demand.rate_bps)));
    for invariant in &topology.invariants {
        let via = match &invariant.rule {
            InvariantRule::Waypoint(via) => Some(via),
            _ => None,
        };
        for selector in [&invariant.from, &invariant.to].into_iter().chain(via) {
            assert!(
                !selector.nodes.is_empty() && selector.nodes.is_sorted_by(|a, b| a < b),
                "{}",
                selector.text
            );
        }
    }
    assert!(topology.controllers.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!(topology.management == topology::Management::InBand, !topology.controllers.is_empty());
    for controller in &topology.controllers {
        assert!(controller.prefix().contains(controller.address));
        let port = controller.port_address();
        assert_eq!(port.is_some(), controller.interface.is_some());
        assert!(port.is_none_or(|port| {
            port.ip() != controller.address && controller.prefix().contains(port.ip())
        }));
    }
    for link in &topology.links {
        assert!(link.srlgs.is_sorted_by(|a, b| a < b) && link.affinity.is_sorted_by(|a, b| a < b));
        let known = |name: &String| topology.link_groups.iter().any(|group| group.name == *name);
        assert!(link.group.as_ref().is_none_or(known));
    }
    for node in &topology.nodes {
        assert!(node.prefix_owners.keys().all(|prefix| node.prefixes.contains(prefix)));
        assert_eq!(topology.node_index(&node.name).map(|at| topology.node(at)), Some(node));
        assert!(node.prefixes.is_sorted_by(|a, b| a < b));
        assert!(node.prefixes.iter().all(|prefix| prefix.ip() == prefix.network()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_order_of_the_file_has_no_meaning((one, other, order) in shuffled()) {
        let first = read("one.yaml", file(&one, &(0..13).collect::<Vec<_>>()).as_bytes());
        let second = read("other.yaml", file(&other, &order).as_bytes());
        prop_assert!(first.topology.is_some(), "{}", first.render(false));
        prop_assert_eq!(first.topology, second.topology);
    }

    #[test]
    fn how_a_network_is_spread_over_documents_and_files_has_no_meaning(
        (one, other, order) in shuffled(),
        deal in proptest::collection::vec(0..3usize, 13),
    ) {
        let wanted = read("one.yaml", file(&one, &order).as_bytes());
        let documents = documents(&other, &order, &deal);
        let files: Vec<(&str, &[u8])> =
            ["a.yaml", "b.yaml", "c.yaml"].into_iter().zip(documents.iter().map(String::as_bytes)).collect();
        let folder = read_all(&files);
        prop_assert!(wanted.topology.is_some(), "{}", wanted.render(false));
        prop_assert_eq!(&folder.topology, &wanted.topology);
        prop_assert_eq!(&read("joined.yaml", &join(&files)).topology, &wanted.topology);
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
        cut in any::<prop::sample::Index>(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..40usize, "[-\\[{}:,&*'\"\n\t 0-9a-z/.%]{0,6}"), 1..6),
    ) {
        let mut bytes = SAMPLES[sample].as_bytes().to_vec();
        for (at, length, piece) in edits {
            let start = at.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            bytes.splice(start..end, piece.bytes());
        }
        check_promises(&bytes);
        check_promises_of_two(&bytes, cut.index(bytes.len() + 1));
    }
}

#[test]
fn samples_keep_every_promise() {
    for sample in SAMPLES {
        check_promises(sample.as_bytes());
        (0..=sample.len())
            .step_by(sample.len() / 40)
            .for_each(|at| check_promises_of_two(sample.as_bytes(), at));
    }
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
    let topology = read("line.yaml", SAMPLES[4].as_bytes()).topology.unwrap();
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

#[test]
fn every_key_arrives_in_the_model() {
    let topology = read("everything.yaml", SAMPLES[0].as_bytes()).topology.unwrap();
    let name = |index| topology.node(index).name.as_str();
    let text =
        |list: &[ipnetwork::IpNetwork]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut told = Vec::new();
    for node in &topology.nodes {
        let zone = node.zone.map(|zone| topology.zones[zone.0 as usize].name.as_str());
        let place = node.location.map(|at| (at.latitude_microdegrees, at.longitude_microdegrees));
        let labels: Vec<String> = node.labels.iter().map(|(label, text)| format!("{label}={text}")).collect();
        let owners: Vec<String> =
            node.prefix_owners.iter().map(|(prefix, owner)| format!("{prefix} of {owner}")).collect();
        let (labels, owners, drained) = (labels.join(" "), owners.join(", "), node.drained);
        told.push(format!("node {}: zone {zone:?}, {labels}, drained {drained}, at {place:?}", node.name));
        told.push(format!("  prefixes {} ({owners})", text(&node.prefixes)));
    }
    for link in &topology.links {
        let costs = link.ends.each_ref().map(|end| end.cost);
        let (capacity, latency, mtu) =
            (link.capacity_bps.unwrap(), link.latency_us.unwrap(), link.mtu_bytes.unwrap());
        told.push(format!("link {}: cost {costs:?}, {capacity} bps, {latency} us, {mtu} bytes", link.id));
        told.push(match link.liveness {
            Some(liveness) => format!("  dead after {} of {} ms", liveness.multiplier, liveness.interval_ms),
            None => "  watched by carrier alone".to_string(),
        });
        told.push(format!(
            "  risks {:?}, affinity {:?}, group {:?}, drained {}",
            link.srlgs, link.affinity, link.group, link.drained
        ));
    }
    for group in &topology.link_groups {
        told.push(format!("group {}: {} links", group.name, group.min_links));
    }
    for external in &topology.external {
        let uplink = format!("{}:{}", name(external.node), external.interface);
        told.push(format!("external {uplink}: {} via {}", text(&external.prefixes), external.next_hop));
    }
    for demand in &topology.demands {
        told.push(format!("demand {} to {}: {} bps", name(demand.from), name(demand.to), demand.rate_bps));
    }
    for invariant in &topology.invariants {
        let nodes = |selector: &topology::Selector| -> Vec<String> {
            selector.nodes.iter().map(|node| name(*node).to_owned()).collect()
        };
        let (from, to) = (nodes(&invariant.from), nodes(&invariant.to));
        let rule = match &invariant.rule {
            InvariantRule::Waypoint(via) => format!("waypoint {:?}", nodes(via)),
            rule => format!("{rule:?}"),
        };
        told.push(format!("{rule} from {from:?} to {to:?}, line {}", invariant.line));
    }
    told.push(format!("weigh_by_capacity {}", topology.weigh_by_capacity));
    told.push(format!("{:?}", topology.safety));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn the_worse_end_of_a_link_counts_and_the_link_itself_has_the_last_word() {
    let read_link = |link: &str| {
        let text = format!(
            "version: 1\nname: x\ndefaults: {{link: {{cost: 3, mtu: 1400, latency: 1s}}}}\n\
             kinds: {{fast: {{link: {{cost: 1, capacity: 100G, mtu: 9000, latency: 2ms}}}}, slow: {{link: {{cost: 7, capacity: 1G, \
             latency: 5ms}}}}}}\nnodes: {{a: {{kind: fast}}, b: {{kind: slow}}, c: {{}}}}\n\
             links: [{{endpoints: {link}}}, {{endpoints: [\"a:z\", \"b:z\"]}}, {{endpoints: [\"b:y\", \"c:y\"]}}]\n"
        );
        let reading = read("x.yaml", text.as_bytes());
        assert_eq!(reading.render(false), "");
        let link = reading.topology.unwrap().links[0].clone();
        (link.ends.map(|end| end.cost), link.capacity_bps, link.mtu_bytes, link.latency_us)
    };
    const G: u64 = 1_000_000_000;
    for (link, wanted) in [
        ("[\"a:e\", \"b:e\"]", ([1, 7], Some(G), Some(9_000), Some(5_000))),
        ("[\"b:e\", \"a:e\"]", ([1, 7], Some(G), Some(9_000), Some(5_000))),
        ("[\"a:e\", \"c:e\"]", ([1, 3], Some(100 * G), Some(9_000), Some(2_000))),
        (
            "[\"a:e\", \"b:e\"], cost: 9, capacity: 2G, mtu: 1500, latency: 0",
            ([9, 9], Some(2 * G), Some(1_500), Some(0)),
        ),
        ("[\"a:e\", \"b:e\"], cost: {a: 4, b: 5}", ([4, 5], Some(G), Some(9_000), Some(5_000))),
    ] {
        assert_eq!(read_link(link), wanted, "{link}");
    }
}

#[test]
fn problems_of_several_files_name_their_own_file_and_the_other_place() {
    let files: [(&str, &[u8]); 3] = [
        ("a.yaml", b"version: 1\nname: x\nnodes:\n  a: {}\n"),
        ("b.yaml", b"# more\n---\nnodes: {b: {}, a: {}}\nsafety: {bake: 1s}\n"),
        ("c.yaml", b"safety: {bake: 2s}\nlinks:\n- {endpoints: [\"a:e\", \"d:e\"]}\n"),
    ];
    let reading = read_all(&files);
    let told: Vec<String> = reading.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "b.yaml:3:16: the node `a` is already there, on line 4 of `a.yaml`",
            "c.yaml:1:16: `safety.bake` is `2s` here, but `1s` on line 4 of `b.yaml`",
            "c.yaml:3:23: this endpoint is at `d`, which is not in `nodes`",
        ]
    );
    assert!(reading.render(false).ends_with("error: the network of 3 files is refused: 3 problems\n"));
}

#[test]
fn joined_files_read_like_the_files_whatever_their_ends_and_beginnings() {
    let head: &[u8] = b"\xef\xbb\xbf%YAML 1.2\n---\nversion: 1\nname: x\n...";
    let files: [(&str, &[u8]); 4] = [
        ("a\nb.yaml", head),
        ("b.yaml", b"nodes: {a: {}, b: {}}"),
        ("c.yaml", b"%YAML 1.2\n---\nlinks: [{endpoints: [\"a:e\", \"b:e\"]}]\n---\n"),
        ("d.yaml", b"# nothing\n"),
    ];
    let wanted = read_all(&files);
    assert_eq!(wanted.render(false), "");
    let joined = read("joined.yaml", &join(&files));
    assert_eq!(joined.render(false), "");
    assert_eq!(joined.topology, wanted.topology);
    let (joined, wanted) = (joined.topology.unwrap(), wanted.topology.unwrap());
    assert_eq!((joined.nodes[0].line, joined.links[0].line), (wanted.nodes[0].line, wanted.links[0].line));
    assert_eq!(wanted.sources.place(wanted.nodes[0].line), Some(("b.yaml", 1)));
    assert_eq!(wanted.sources.place(wanted.links[0].line), Some(("c.yaml", 3)));
    assert_eq!(joined.sources.place(7), Some(("joined.yaml", 7)));
}

#[test]
fn anchors_end_with_their_document() {
    let text = "version: 1\nname: x\nnodes: {a: &n {}, b: *n}\nlinks: [{endpoints: [\"a:e\", \"b:e\"]}]\n---\nnodes: {c: *n}\n";
    let codes: Vec<_> = read("x.yaml", text.as_bytes()).diagnostics.iter().map(|d| d.code).collect();
    assert!(codes.contains(&Code::UNKNOWN_ALIAS), "{codes:?}");
}
