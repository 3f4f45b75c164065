//! TopoHub: JSON in the node-link form of NetworkX, with places, lengths and, in some, demands.

use super::source::{Collector, OneWay, check_size, error, not_negative, place_nodes};
use super::{Found, FoundLink, FoundNode, ImportError};
use crate::diagnostic::quote;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Bits per second of a demand's unit. The files state none.
const DEMAND_UNIT_BPS: f64 = 1e6;

/// Reads one file.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    check_size(text)?;
    let document: Document = serde_json::from_str(text).map_err(|problem| {
        let help = if problem.is_eof() {
            "the file is cut off: fetch it again"
        } else {
            "correct the JSON there, or say which format the file has"
        };
        error(u32::try_from(problem.line()).ok(), format!("this is not a TopoHub file: {problem}"), help)
    })?;
    let mut into = Collector::default();
    let mut coordinates = Vec::new();
    for (position, node) in document.nodes.into_iter().enumerate() {
        coordinates.push(node.pos);
        let label = node.name.map(|name| name.0);
        into.node(FoundNode { source_id: node.id.0, label, ..FoundNode::default() }, None)
            .map_err(|problem| at("nodes", position, problem))?;
    }
    place_nodes(&coordinates, &mut into);
    for (position, edge) in document.edges.into_iter().enumerate() {
        add_edge(&edge, position, document.directed, &mut into)
            .map_err(|problem| at("edges", position, problem))?;
    }
    let mut demands = 0;
    for (from, row) in &document.graph.demands {
        for (to, value) in row {
            let name = format!("the demand from {} to {}", quote(from), quote(to));
            let ends = (into.position(from, &name, None)?, into.position(to, &name, None)?);
            into.demand(ends, (*value, DEMAND_UNIT_BPS), &name, None)?;
            demands += 1;
        }
    }
    if demands > 0 {
        into.found.invented.push("the unit of the demands: the file has none, and Mbit/s is taken".into());
    }
    into.found.name = document.graph.name.map(|name| name.0);
    Ok(into.finish())
}

/// JSON has no line for what is wrong in meaning; the place in its list takes over.
fn at(list: &str, position: usize, problem: ImportError) -> ImportError {
    ImportError { message: format!("{list}[{position}]: {}", problem.message), ..problem }
}

fn add_edge(edge: &Edge, position: usize, directed: bool, into: &mut Collector) -> Result<(), ImportError> {
    let from = into.position(&edge.source.0, "the link", None)?;
    let to = into.position(&edge.target.0, "the link", None)?;
    let distance_km = edge.dist.map(|dist| not_negative(dist, "dist", None)).transpose()?;
    let source_index = position.to_string();
    if directed {
        return into.one_way(OneWay { source_index, from, to, distance_km, ..OneWay::default() }, None);
    }
    into.link(FoundLink { source_index, ends: [from, to], distance_km, ..FoundLink::default() }, None)
}

#[derive(serde::Deserialize)]
struct Document {
    #[serde(default)]
    directed: bool,
    #[serde(default)]
    graph: Graph,
    nodes: Vec<Node>,
    #[serde(alias = "links")]
    edges: Vec<Edge>,
}

#[derive(Default, serde::Deserialize)]
struct Graph {
    name: Option<Key>,
    /// Rates by origin and destination.
    #[serde(default)]
    demands: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(serde::Deserialize)]
struct Node {
    id: Key,
    name: Option<Key>,
    pos: Option<(f64, f64)>,
}

#[derive(serde::Deserialize)]
struct Edge {
    source: Key,
    target: Key,
    dist: Option<f64>,
}

/// A key of a node: text, or a number in some files.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("text or a whole number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Key, E> {
                Ok(Key(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Key, E> {
                Ok(Key(number.to_string()))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::survives_damage;
    use super::*;

    const NETWORK: &str = r#"{"directed": false, "multigraph": false,
        "graph": {"name": "example", "demands": {"a": {"7": 2.5, "c": 0}}, "stats": {"nodes": 3}},
        "nodes": [{"id": "a", "name": "Ulm", "pos": [10.0, 48.4]},
                  {"id": 7, "name": "Ulm", "pos": [8.0, 50]}, {"id": "c"}],
        "edges": [{"source": "a", "target": 7, "dist": 12.5, "ecmp_fwd": {"uni": 1}},
                  {"source": 7, "target": "c"}]}"#;

    #[test]
    fn nodes_lengths_and_demands_arrive() {
        let found = read(NETWORK).unwrap();
        assert_eq!(found.name.as_deref(), Some("example"));
        let nodes: Vec<_> = found
            .nodes
            .iter()
            .map(|node| (node.source_id.as_str(), node.label.as_deref(), node.location))
            .collect();
        let expected = [
            ("a", Some("Ulm"), Some((48.4, 10.0))),
            ("7", Some("Ulm"), Some((50.0, 8.0))),
            ("c", None, None),
        ];
        assert_eq!(nodes, expected);
        assert_eq!(found.links.iter().map(|link| link.distance_km).collect::<Vec<_>>(), [Some(12.5), None]);
        assert_eq!(
            found.demands.iter().map(|d| (d.from, d.to, d.rate_bps)).collect::<Vec<_>>(),
            [(0, 1, 2_500_000)]
        );
        assert_eq!((found.invented.len(), found.dropped.len()), (1, 1), "{:?}", found.dropped);
    }

    #[test]
    fn links_is_another_name_of_edges_and_directions_are_paired() {
        let text = r#"{"directed": true, "nodes": [{"id": 1}, {"id": 2}],
            "links": [{"source": 1, "target": 2}, {"source": 2, "target": 1}]}"#;
        assert_eq!(read(text).unwrap().links.len(), 1);
    }

    #[test]
    fn broken_files_say_where_and_what_to_do() {
        let cases = [
            (
                NETWORK.replace("\"target\": 7", "\"target\": 8"),
                None,
                "edges[0]: the link names the node `8`",
            ),
            (NETWORK.replace("\"id\": 7", "\"id\": \"a\""), None, "nodes[1]"),
            (NETWORK.replace("\"id\": 7", "\"id\": 7.5"), Some(4), "whole number"),
            (NETWORK.replace("\"id\": 7", "\"no\": 7"), Some(4), "missing field `id`"),
            (NETWORK.replace("12.5", "-12.5"), None, "below zero"),
            (NETWORK.replace("12.5", "1e999"), Some(5), "number out of range"),
            (NETWORK.replace("\"7\": 2.5", "\"9\": 2.5"), None, "`9`"),
            (NETWORK.replace("50]}", "50, 1]}"), Some(4), "trailing"),
            (NETWORK[..300].to_owned(), Some(5), "EOF"),
            ("[".repeat(100_000), Some(1), "invalid"),
            (String::new(), Some(1), "EOF"),
        ];
        for (text, line, word) in cases {
            let problem = read(&text).unwrap_err();
            assert!(problem.message.contains(word), "{word}: {problem}");
            assert_eq!(problem.line, line, "{word}: {problem}");
        }
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        survives_damage(NETWORK, read);
    }
}
