//! Rocketfuel backbone maps: a line `FROM TO VALUE` for each direction of a link, in one file with inferred
//! routing weights and one with delays in milliseconds.
//!
//! A router's name is its city and a number (`Perth,+Australia4160`); `+` stands for a space.

use super::source::{Collector, OneWay, check_size, error, line_number, not_negative, number};
use super::{Found, FoundNode, ImportError};
use crate::diagnostic::quote;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Microseconds of the delays' unit.
const DELAY_UNIT_US: f64 = 1e3;

/// Reads the file of weights (`.weights.intra`), that of delays (`.latencies.intra`), or both: then the
/// weights say which links there are.
pub(crate) fn read(weights: Option<&str>, latencies: Option<&str>) -> Result<Found, ImportError> {
    let weights = weights.map(|text| edges(text, "weight")).transpose()?;
    let latencies = latencies.map(|text| edges(text, "delay")).transpose()?;
    let (edges, mut delays) = match (&weights, &latencies) {
        (Some(weights), Some(latencies)) => (weights, by_ends(latencies)),
        (Some(edges), None) | (None, Some(edges)) => (edges, BTreeMap::new()),
        (None, None) => {
            return Err(error(
                None,
                "there is no file to read",
                "give a .weights.intra or a .latencies.intra file",
            ));
        }
    };
    let mut into = Collector::default();
    let mut known = BTreeSet::new();
    for edge in edges {
        for name in [edge.from, edge.to] {
            if known.insert(name) {
                into.node(node(name), edge.line)?;
            }
        }
        let delay = match weights {
            Some(_) => delays.get_mut(&(edge.from, edge.to)).and_then(VecDeque::pop_front),
            None => Some(edge.value),
        };
        let one_way = OneWay {
            source_index: edge.line.unwrap_or_default().to_string(),
            from: into.position(edge.from, "a link", edge.line)?,
            to: into.position(edge.to, "a link", edge.line)?,
            weight: weights.is_some().then_some(edge.value),
            latency_us: delay.map(|delay| delay * DELAY_UNIT_US),
            ..OneWay::default()
        };
        into.one_way(one_way, edge.line)?;
    }
    if into.one_ways() == 0 {
        return Err(error(
            None,
            "no line has a link",
            "check that this is a file of Rocketfuel weights or delays",
        ));
    }
    let left = delays.values().map(VecDeque::len).sum::<usize>();
    if left > 0 {
        into.found.dropped.push(format!("delays of links that the weights do not have ({left})"));
    }
    Ok(into.finish())
}

/// One line.
struct Edge<'a> {
    line: Option<u32>,
    from: &'a str,
    to: &'a str,
    value: f64,
}

fn edges<'a>(text: &'a str, what: &str) -> Result<Vec<Edge<'a>>, ImportError> {
    check_size(text)?;
    let mut edges = Vec::new();
    for (position, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = line_number(position);
        let fields: Vec<&str> = text.split_whitespace().take(4).collect();
        let [from, to, value] = fields[..] else {
            let message = format!("{} is not `FROM TO {}`", quote(text), what.to_uppercase());
            return Err(error(
                line,
                message,
                "write two names without spaces and a number, or remove the line",
            ));
        };
        let value = not_negative(number(value, what, line)?, what, line)?;
        edges.push(Edge { line, from, to, value });
    }
    Ok(edges)
}

fn by_ends<'a>(edges: &[Edge<'a>]) -> BTreeMap<(&'a str, &'a str), VecDeque<f64>> {
    let mut values: BTreeMap<(&str, &str), VecDeque<f64>> = BTreeMap::new();
    for edge in edges {
        values.entry((edge.from, edge.to)).or_default().push_back(edge.value);
    }
    values
}

/// The city of a router is a label: routers of one city fail together more often than others.
fn node(name: &str) -> FoundNode {
    let city = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let (spoken, number) = (city.replace('+', " "), &name[city.len()..]);
    let mut found = FoundNode { source_id: name.to_owned(), ..FoundNode::default() };
    if !spoken.trim().is_empty() {
        found.label = Some(format!("{spoken} {number}").trim().to_owned());
        found.labels.push(("city".to_owned(), spoken.trim().to_owned()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::source::survives_damage;
    use super::*;

    const WEIGHTS: &str = "Bad+Ems,+Germany1 Ulm2 2.5\nUlm2 Bad+Ems,+Germany1 3\nUlm2 7 1\n7 Ulm2 1\n";
    const LATENCIES: &str =
        "Bad+Ems,+Germany1 Ulm2 7\nUlm2 Bad+Ems,+Germany1 7\nUlm2 7 1\n7 Ulm2 1\n7 Ulm2 4\n";

    #[test]
    fn weights_and_delays_of_both_directions_meet_in_one_link() {
        let found = read(Some(WEIGHTS), Some(LATENCIES)).unwrap();
        assert_eq!(found.nodes[0].label.as_deref(), Some("Bad Ems, Germany 1"));
        assert_eq!(found.nodes[0].labels, [("city".to_owned(), "Bad Ems, Germany".to_owned())]);
        assert_eq!(found.nodes[2].label, None);
        let links: Vec<_> =
            found.links.iter().map(|link| (link.ends, link.weights, link.latency_us)).collect();
        let expected =
            [([0, 1], [Some(2.5), Some(3.0)], Some(7000.0)), ([1, 2], [Some(1.0), Some(1.0)], Some(1000.0))];
        assert_eq!(links, expected);
        assert_eq!(found.dropped, ["delays of links that the weights do not have (1)"]);
    }

    #[test]
    fn each_file_can_be_read_alone() {
        let found = read(Some(WEIGHTS), None).unwrap();
        assert_eq!((found.links.len(), found.links[0].latency_us), (2, None));
        let found = read(None, Some(LATENCIES)).unwrap();
        assert_eq!(
            (found.links.len(), found.links[0].weights, found.links[0].latency_us),
            (3, [None, None], Some(7000.0))
        );
        assert_eq!(found.invented.len(), 1, "the third delay has one direction");
    }

    #[test]
    fn broken_files_say_where_and_what_to_do() {
        let cases = [
            ("a b 1\na b\n", Some(2), "`a b`"),
            ("a b 1\n\na b c d\n", Some(3), "`a b c d`"),
            ("a b x\n", Some(1), "`x`"),
            ("a b NaN\n", Some(1), "`NaN`"),
            ("a b -1\n", Some(1), "below zero"),
            ("\n", None, "no line"),
        ];
        for (text, line, word) in cases {
            let problem = read(Some(text), None).unwrap_err();
            assert!(problem.line == line && problem.message.contains(word), "{word}: {problem:?}");
        }
        assert!(read(None, None).is_err());
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        survives_damage(WEIGHTS, |text| read(Some(text), Some(LATENCIES)));
        survives_damage(LATENCIES, |text| read(Some(WEIGHTS), Some(text)));
    }
}
