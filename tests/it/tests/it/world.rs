//! Loads that others published or computed, against the loads of compiled programs.
//!
//! The data are not part of the project: see `it::data`.

use it::data::{files, folder};
use plan::Facts;
use plan::load::{Demands, Load, load};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use topology::import::{CostRule, Format, Options, import};
use topology::{Demand, Direction, LinkIndex, NodeIndex, Topology};

/// A link between nodes by number.
struct Edge {
    ends: [usize; 2],
}

/// Reads the network back from a topology file of its own; gives the position of each edge's link, too.
fn network(nodes: usize, edges: &[Edge]) -> (Topology, Vec<LinkIndex>) {
    let name = |node: usize| format!("n{node:04}");
    let mut text = "version: 1\nname: world\nnodes:\n".to_string();
    for node in 0..nodes {
        writeln!(text, "  {}: {{}}", name(node)).unwrap();
    }
    text.push_str("links:\n");
    let mut used = vec![0; nodes];
    let mut ids = Vec::new();
    for edge in edges {
        let mut ends = edge.ends.map(|node| {
            used[node] += 1;
            format!("{}:e{}", name(node), used[node])
        });
        let [a, b] = &ends;
        writeln!(text, "  - {{endpoints: ['{a}', '{b}'], cost: 1}}").unwrap();
        ends.sort();
        ids.push(ends.join("--"));
    }
    let reading = topology::read("world.yaml", text.as_bytes());
    let topology = reading.topology.unwrap_or_else(|| panic!("{:?}", reading.diagnostics));
    let links = ids.iter().map(|id| topology.link_index(id).unwrap()).collect();
    (topology, links)
}

fn demand(from: usize, to: usize, rate_bps: u64) -> Demand {
    Demand { from: NodeIndex(from as u32), to: NodeIndex(to as u32), rate_bps, line: 0 }
}

/// What the link carries from the edge's first end, and from its second.
fn both_ways(topology: &Topology, load: &Load, edge: &Edge, link: LinkIndex) -> [f64; 2] {
    let forward = topology.link(link).ends[0].node.0 as usize == edge.ends[0];
    let ways = [Direction::Forward, Direction::Backward].map(|way| load.carried(link, way));
    if forward { ways } else { [ways[1], ways[0]] }
}

/// Loads in hundredths of the most loaded link, as TopoHub publishes them: two decimals, so half a hundredth
/// off at most.
const TOPOHUB_ROUNDING: f64 = 0.005 + 1e-6;

#[test]
fn loads_are_those_that_topohub_publishes() {
    let Some(folder) = folder("topohub") else { return };
    let (mut cases, mut values, mut disagreements) = (0, 0, Vec::new());
    for path in files(&folder, &[".json"]) {
        let document: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let position: BTreeMap<String, usize> = document["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["id"].to_string())
            .zip(0..)
            .collect();
        let of_text = |id: &str| position.get(id).or_else(|| position.get(&format!("\"{id}\""))).copied();
        let listed = document["edges"].as_array().unwrap();
        let edge =
            |edge: &Value| Edge { ends: ["source", "target"].map(|end| position[&edge[end].to_string()]) };
        let edges: Vec<Edge> = listed.iter().map(edge).collect();
        let (topology, links) = network(position.len(), &edges);
        let compiled = plan::compile(&topology, &Facts::default());
        // TopoHub routes each stored demand in both directions.
        let mut stored = Vec::new();
        for (from, row) in document["graph"]["demands"].as_object().into_iter().flatten() {
            for (to, rate) in row.as_object().unwrap() {
                let (from, to) = (of_text(from).unwrap(), of_text(to).unwrap());
                // In hundredths: some rates have two decimals.
                let rate = (rate.as_f64().unwrap() * 100.0).round() as u64;
                stored.extend([demand(from, to, rate), demand(to, from, rate)]);
            }
        }
        for model in listed[0]["ecmp_fwd"].as_object().unwrap().keys() {
            let demands = match model.as_str() {
                "uni" => Demands::Uniform,
                "deg" => Demands::Degree,
                "org" => Demands::Listed(&stored),
                other => panic!("{}: no demand model is called {other}", path.display()),
            };
            let load = load(&topology, &Facts::default(), &compiled, demands);
            let ways: Vec<[f64; 2]> = edges
                .iter()
                .zip(&links)
                .map(|(edge, link)| both_ways(&topology, &load, edge, *link))
                .collect();
            let most = ways.iter().flatten().copied().fold(0.0, f64::max);
            let mut worst: f64 = 0.0;
            for (listed, ways) in listed.iter().zip(&ways) {
                for (key, way) in [("ecmp_fwd", ways[0]), ("ecmp_bwd", ways[1])] {
                    worst = worst.max((way / most * 100.0 - listed[key][model].as_f64().unwrap()).abs());
                    values += 1;
                }
            }
            cases += 1;
            if worst > TOPOHUB_ROUNDING {
                let file = path.strip_prefix(&folder).unwrap().display();
                disagreements.push(format!("{file} {model}: off by {worst:.3} of 100 at most"));
            }
        }
    }
    let agree = cases - disagreements.len();
    println!("topohub: {cases} cases with {values} loads, {agree} agree, {} do not", disagreements.len());
    assert!(cases > 0 && disagreements.is_empty(), "{}", disagreements.join("\n"));
}

#[test]
fn the_greatest_link_use_is_the_one_computed_for_every_repetita_matrix() {
    let Some(folder) = folder("repetita") else { return };
    let expected = std::fs::read_to_string(folder.join("expected-mlu-computed.tsv")).unwrap();
    let (mut cases, mut disagreements) = (0, Vec::new());
    for line in expected.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let matrix = columns[0];
        let stem = matrix.trim_end_matches(".demands").trim_end_matches(|c: char| c.is_ascii_digit());
        let named = [format!("{}.graph", stem.trim_end_matches('.')), matrix.replace(".demands", ".graph")];
        let graph = named.iter().map(|name| folder.join(name)).find(|path| path.exists()).unwrap();
        let options = Options { format: Some(Format::Repetita), cost: Some(CostRule::Source) };
        let imported = import("x.graph", &std::fs::read(graph).unwrap(), None, options).unwrap();
        let topology = topology::read("x.yaml", imported.text.as_bytes()).topology.unwrap();
        let compiled = plan::compile(&topology, &Facts::default());
        let matrix_text = std::fs::read_to_string(folder.join(matrix)).unwrap();
        let demands = plan::demands::read(&topology, &matrix_text).unwrap();
        let found = load(&topology, &Facts::default(), &compiled, Demands::Listed(&demands));
        let (found, wanted) = (found.max_utilisation(&topology).unwrap(), columns[5].parse::<f64>().unwrap());
        cases += 1;
        // Nine digits are given.
        if (found - wanted).abs() > wanted * 1e-8 {
            disagreements.push(format!("{matrix}: {found}, expected {wanted}"));
        }
    }
    let agree = cases - disagreements.len();
    println!("repetita: {cases} matrices, {agree} agree, {} do not", disagreements.len());
    assert!(cases > 0 && disagreements.is_empty(), "{}", disagreements.join("\n"));
}
