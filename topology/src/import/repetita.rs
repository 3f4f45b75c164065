//! REPETITA: `.graph` files with nodes and one-way edges, and `.demands` files with traffic between nodes
//! by number.
//!
//! A `.graph` file is `NODES n`, a header, n lines `label x y` (longitude, latitude), then `EDGES m`, a header,
//! m lines `label src dest weight bw delay`; a `.demands` file is `DEMANDS d`, a header, d lines
//! `label src dest bw`. Rates are in kbit/s, delays in microseconds, nodes count from 0.

use super::source::{
    Collector, OneWay, check_size, error, line_number, not_negative, number, place_nodes, rate_bps,
};
use super::{Found, FoundNode, ImportError};
use crate::diagnostic::quote;

/// Bits per second of the formats' unit of rate.
const UNIT_BPS: f64 = 1e3;

/// Reads a `.graph` file, and with it a `.demands` file of the same network.
pub(crate) fn read(graph: &str, demands: Option<&str>) -> Result<Found, ImportError> {
    let mut into = Collector::default();
    let mut lines = Lines::new(graph)?;
    let nodes = lines.section("NODES")?;
    let mut coordinates = Vec::new();
    for _ in 0..nodes {
        let (line, [label, x, y]) = lines.fields("a node: label x y")?;
        coordinates.push(Some((number(x, "x", line)?, number(y, "y", line)?)));
        // Edges name nodes by number; labels need not differ.
        let source_id = into.found.nodes.len().to_string();
        into.node(FoundNode { source_id, label: Some(spoken(label)), ..FoundNode::default() }, line)?;
    }
    place_nodes(&coordinates, &mut into);
    for _ in 0..lines.section("EDGES")? {
        let (line, [label, from, to, weight, rate, delay]) =
            lines.fields("an edge: label src dest weight bw delay")?;
        let one_way = OneWay {
            source_index: label.to_owned(),
            from: into.position(from, "an edge", line)?,
            to: into.position(to, "an edge", line)?,
            weight: Some(not_negative(number(weight, "weight", line)?, "weight", line)?),
            capacity_bps: rate_bps(number(rate, "bw", line)?, UNIT_BPS, "bw", line)?,
            latency_us: Some(not_negative(number(delay, "delay", line)?, "delay", line)?),
            ..OneWay::default()
        };
        into.one_way(one_way, line)?;
    }
    lines.end()?;
    if let Some(demands) = demands {
        read_demands(demands, &mut into)?;
    }
    Ok(into.finish())
}

fn read_demands(text: &str, into: &mut Collector) -> Result<(), ImportError> {
    let of_demands = |problem: ImportError| ImportError {
        message: format!("in the file of demands: {}", problem.message),
        ..problem
    };
    let mut read = || {
        let mut lines = Lines::new(text)?;
        for _ in 0..lines.section("DEMANDS")? {
            let (line, [_, from, to, rate]) = lines.fields("a demand: label src dest bw")?;
            let ends = (into.position(from, "a demand", line)?, into.position(to, "a demand", line)?);
            into.demand(ends, (number(rate, "bw", line)?, UNIT_BPS), "bw", line)?;
        }
        lines.end()
    };
    read().map_err(of_demands)
}

/// `0_New_York`, as the files write a label of two words behind a number, for a person.
fn spoken(label: &str) -> String {
    let words = label.split_once('_').filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    words
        .map_or(label, |(_, words)| words)
        .split('_')
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The lines of a file that hold something, with their numbers.
struct Lines<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    last: Option<u32>,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Result<Lines<'a>, ImportError> {
        check_size(text)?;
        Ok(Lines { lines: text.lines().enumerate(), last: None })
    }

    fn next(&mut self) -> Option<(Option<u32>, &'a str)> {
        let (position, line) = self.lines.by_ref().find(|(_, line)| !line.trim().is_empty())?;
        self.last = line_number(position);
        Some((self.last, line))
    }

    /// The head of a section, `NAME count`, and the header line below it. The count is trusted only as far
    /// as there are lines.
    fn section(&mut self, name: &str) -> Result<usize, ImportError> {
        let help = "check that this is the whole file, and a REPETITA one";
        let Some((line, text)) = self.next() else {
            let message = format!("the file ends where `{name} count` should follow");
            return Err(error(self.last, message, help));
        };
        let mut words = text.split_whitespace();
        let count = (words.next() == Some(name)).then(|| words.next()?.parse::<usize>().ok()).flatten();
        let Some(count) = count else {
            return Err(error(line, format!("`{name} count` should stand here, not {}", quote(text)), help));
        };
        if self.next().is_none_or(|(_, header)| !header.trim_start().starts_with("label")) {
            let message = format!("the header (label ...) below {name} is missing");
            return Err(error(self.last, message, help));
        }
        Ok(count)
    }

    fn fields<const COUNT: usize>(
        &mut self,
        what: &str,
    ) -> Result<(Option<u32>, [&'a str; COUNT]), ImportError> {
        let Some((line, text)) = self.next() else {
            let help = "the file is cut off, or the count above the list is too large";
            return Err(error(
                self.last,
                format!("the file ends where a line with {what} should follow"),
                help,
            ));
        };
        let fields: Vec<&str> = text.split_whitespace().take(COUNT + 1).collect();
        match <[&str; COUNT]>::try_from(fields) {
            Ok(fields) => Ok((line, fields)),
            Err(_) => {
                let message = format!("{} is not a line with {what}", quote(text));
                Err(error(line, message, "correct the line, or the count above the list"))
            }
        }
    }

    fn end(&mut self) -> Result<(), ImportError> {
        let Some((line, text)) = self.next() else { return Ok(()) };
        let message = format!("{} stands behind the end of the list", quote(text));
        Err(error(line, message, "correct the count above the list, or remove the line"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::survives_damage;
    use super::*;

    const GRAPH: &str = "NODES 3\nlabel x y\n0_New_York -74.0 40.7\n1_B 0.0 0.0\n2_C 8.0 50.0\n\n\
        EDGES 4\nlabel src dest weight bw delay\ne0 0 1 10 1000000 588\ne1 1 0 12 1000000 588\n\
        e2 1 2 1 0 7\ne3 2 1 1 0 7\n";
    const DEMANDS: &str = "DEMANDS 3\nlabel src dest bw\nd0 0 2 41\nd1 2 0 0\nd2 1 1 5\n";

    #[test]
    fn directions_pair_and_units_are_converted() {
        let found = read(GRAPH, Some(DEMANDS)).unwrap();
        assert_eq!(found.nodes[0].label.as_deref(), Some("New York"));
        assert_eq!(found.nodes[0].location, Some((40.7, -74.0)));
        assert_eq!(found.nodes[1].location, None);
        let link = &found.links[0];
        assert_eq!(
            (link.source_index.as_str(), link.ends, link.weights),
            ("e0", [0, 1], [Some(10.0), Some(12.0)])
        );
        assert_eq!((link.capacity_bps, link.latency_us), (Some(1_000_000_000), Some(588.0)));
        assert_eq!(found.links[1].capacity_bps, None);
        assert_eq!(found.links.len(), 2);
        assert_eq!(
            found.demands.iter().map(|d| (d.from, d.to, d.rate_bps)).collect::<Vec<_>>(),
            [(0, 2, 41_000)]
        );
        assert_eq!(found.dropped.len(), 2, "{:?}", found.dropped);
    }

    #[test]
    fn broken_files_say_where_and_what_to_do() {
        let cases = [
            (GRAPH.replace("NODES 3", "NODES 18446744073709551615"), 7, "a node: label x y"),
            (GRAPH.replace("NODES 3", "KNOTEN 3"), 1, "`KNOTEN 3`"),
            (GRAPH.replace("NODES 3", "NODES 2"), 5, "`EDGES count`"),
            (GRAPH.replace("e1 1 0", "e1 1 9"), 10, "`9`"),
            (GRAPH.replace("e1 1 0 12", "e1 1 0 many"), 10, "`many`"),
            (GRAPH.replace("e1 1 0 12", "e1 1 0 -12"), 10, "below zero"),
            (GRAPH.replace("588\ne2", "588 7\ne2"), 10, "not a line"),
            (GRAPH.replace("EDGES 4", "EDGES 5"), 12, "ends where"),
            (GRAPH.replace("EDGES 4", "EDGES 3"), 12, "behind the end"),
            (String::new(), 0, "ends where"),
        ];
        for (text, line, word) in cases {
            let problem = read(&text, None).unwrap_err();
            assert!(problem.message.contains(word), "{word}: {problem}");
            assert_eq!(problem.line.unwrap_or(0), line, "{word}: {problem}");
        }
        let problem = read(GRAPH, Some(&DEMANDS.replace("d0 0 2", "d0 0 3"))).unwrap_err();
        assert!(
            problem.message.starts_with("in the file of demands") && problem.line == Some(3),
            "{problem}"
        );
    }

    #[test]
    fn every_cut_between_lines_is_refused() {
        for end in GRAPH.match_indices('\n').map(|(at, _)| at).filter(|at| *at + 1 < GRAPH.len()) {
            assert!(read(&GRAPH[..end], None).is_err(), "{end}");
        }
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        survives_damage(GRAPH, |text| read(text, Some(DEMANDS)));
        survives_damage(DEMANDS, |text| read(GRAPH, Some(text)));
    }
}
