//! Demands from a file of their own: `from,to,rate` with commas or tabs, or a REPETITA `.demands` file.
//!
//! Text in, demands out; never reads a file itself. One bad line refuses the whole file: a load computed from
//! a part of the demands would look like an answer.

use std::collections::BTreeMap;
use thiserror::Error;
use topology::{Demand, NodeIndex, Topology};

/// Most demands that one file may have.
pub const DEMANDS_MAX: usize = 4_000_000;

/// Label under which a topology file keeps a node's key in the source that it was imported from.
const SOURCE_ID_LABEL: &str = "source_id";

/// Units of a rate, in bits per second.
const UNITS: [(&str, f64); 9] = [
    ("bps", 1.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("kbps", 1e3),
    ("Mbps", 1e6),
    ("Gbps", 1e9),
    ("Tbps", 1e12),
];

/// Why a file of demands cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {message}; {help}")]
pub struct DemandsError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl DemandsError {
    fn new(line: usize, message: impl Into<String>, help: impl Into<String>) -> DemandsError {
        DemandsError { line, message: message.into(), help: help.into() }
    }
}

/// Reads demands between the topology's nodes.
///
/// `from,to,rate`, one a line, with commas or tabs between; empty lines, lines that begin with `#` and a heading
/// `from,to,rate` are passed over; a rate without a unit is in bits per second. A text that begins with
/// `DEMANDS` is REPETITA's format: rates in kbit/s, nodes by number, which are looked up in the label
/// `source_id` and, where no node has it, count the nodes in the order of the topology file.
pub fn read(topology: &Topology, text: &str) -> Result<Vec<Demand>, DemandsError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with("DEMANDS") {
        return repetita(topology, text);
    }
    let mut demands = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let columns: Vec<&str> = text.split([',', '\t']).map(str::trim).collect();
        let [from, to, rate] = columns[..] else {
            let message = format!("there are {} columns", columns.len());
            return Err(DemandsError::new(line, message, "write `from,to,rate`"));
        };
        if demands.is_empty() && (from, to) == ("from", "to") && topology.node_index(from).is_none() {
            continue;
        }
        let node = |name: &str| {
            topology.node_index(name).ok_or_else(|| {
                let help = "take a name from the topology file";
                DemandsError::new(line, format!("the topology has no node `{name}`"), help)
            })
        };
        let (from, to) = (node(from)?, node(to)?);
        push(&mut demands, line, from, to, rate_bps(rate, 1.0, line)?)?;
    }
    Ok(demands)
}

fn push(
    demands: &mut Vec<Demand>,
    line: usize,
    from: NodeIndex,
    to: NodeIndex,
    rate_bps: u64,
) -> Result<(), DemandsError> {
    if demands.len() == DEMANDS_MAX {
        let message = format!("there are more than {DEMANDS_MAX} demands");
        return Err(DemandsError::new(line, message, "sum up demands of the same pair, or split the file"));
    }
    demands.push(Demand { from, to, rate_bps, line: u32::try_from(line).unwrap_or(u32::MAX) });
    Ok(())
}

/// A rate with an optional unit (without one it counts in `base_bps`), rounded to whole bits per second.
fn rate_bps(text: &str, base_bps: f64, line: usize) -> Result<u64, DemandsError> {
    let end = text.find(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = if unit.is_empty() {
        Some(base_bps)
    } else {
        UNITS.iter().find(|known| known.0 == unit).map(|u| u.1)
    };
    let rate = number.trim().parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    match rate {
        Some(rate) if rate.is_finite() && (0.0..=u64::MAX as f64).contains(&rate) => Ok(rate.round() as u64),
        _ => {
            let help = "write bits per second, or a number with a unit such as `2.5G` or `300Mbps`";
            Err(DemandsError::new(line, format!("`{text}` is no rate"), help))
        }
    }
}

/// `DEMANDS n`, a heading, then `label from to rate`.
fn repetita(topology: &Topology, text: &str) -> Result<Vec<Demand>, DemandsError> {
    let nodes = numbered(topology);
    let mut demands = Vec::new();
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty());
    for (line, text) in lines.skip(2) {
        let columns: Vec<&str> = text.split_whitespace().collect();
        let [_, from, to, rate] = columns[..] else {
            let message = format!("there are {} columns", columns.len());
            return Err(DemandsError::new(line, message, "a demand is `label from to rate`"));
        };
        let node = |number: &str| {
            nodes.get(number).copied().ok_or_else(|| {
                let message = format!("the topology has no node number {number}");
                let help =
                    "use the demands together with the topology imported from the graph of the same name";
                DemandsError::new(line, message, help)
            })
        };
        let (from, to) = (node(from)?, node(to)?);
        push(&mut demands, line, from, to, rate_bps(rate, 1e3, line)?)?;
    }
    Ok(demands)
}

/// Nodes by their number in the source.
fn numbered(topology: &Topology) -> BTreeMap<String, NodeIndex> {
    let nodes = || (0..).map(NodeIndex).zip(&topology.nodes);
    let labelled: BTreeMap<String, NodeIndex> =
        nodes().filter_map(|(at, node)| Some((node.labels.get(SOURCE_ID_LABEL)?.clone(), at))).collect();
    if !labelled.is_empty() {
        return labelled;
    }
    let mut by_line: Vec<(u32, NodeIndex)> = nodes().map(|(at, node)| (node.line, at)).collect();
    by_line.sort_unstable();
    by_line.into_iter().zip(0_usize..).map(|((_, at), number)| (number.to_string(), at)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::topology;

    fn text_of(topology: &Topology, text: &str) -> String {
        match read(topology, text) {
            Err(error) => error.to_string(),
            Ok(demands) => {
                let name = |node| topology.node(node).name.as_str();
                let text = demands.iter().map(|d| format!("{}>{} {}", name(d.from), name(d.to), d.rate_bps));
                text.collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn demands_are_read_with_commas_tabs_units_and_comments() {
        let topology = topology("a-b 1, b-c 1");
        for (text, wanted) in [
            ("from,to,rate\r\na,b,10\r\n", "a>b 10"),
            ("\u{feff}# peak\n\na\tc\t2.5G\nc, a, 300Mbps\n", "a>c 2500000000, c>a 300000000"),
            ("a,b,1e3\na,b,0\n", "a>b 1000, a>b 0"),
            ("", ""),
            ("a,b\n", "line 1: there are 2 columns; write `from,to,rate`"),
            ("a,b,1\na,z,1\n", "line 2: the topology has no node `z`; take a name from the topology file"),
        ] {
            assert_eq!(text_of(&topology, text), wanted, "{text:?}");
        }
        for rate in ["-1", "", "G", "NaN", "inf", "1e40", "1x", "10g"] {
            let told = text_of(&topology, &format!("a,b,{rate}"));
            assert!(told.starts_with(&format!("line 1: `{rate}` is no rate; write")), "{rate}: {told}");
        }
    }

    #[test]
    fn repetita_counts_nodes_by_label_or_as_in_the_file_and_in_kilobits() {
        let mut topology = topology("a-b 1, b-c 1");
        for (node, line) in topology.nodes.iter_mut().zip([30, 10, 20]) {
            node.line = line;
        }
        let text = "DEMANDS 2\nlabel src dest bw\nd0 0 1 7\nd1 2 0 1.5\n";
        assert_eq!(text_of(&topology, text), "b>c 7000, a>b 1500");
        for (node, id) in topology.nodes.iter_mut().zip(["0", "1", "2"]) {
            node.labels.insert("source_id".into(), id.into());
        }
        assert_eq!(text_of(&topology, text), "a>b 7000, c>a 1500");
        let told = text_of(&topology, "DEMANDS 1\nlabel src dest bw\n\nd0 0 3 7\n");
        assert!(told.starts_with("line 4: the topology has no node number 3; use"), "{told}");
    }
}
