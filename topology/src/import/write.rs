//! The topology file: what was found, with names and costs, as commented text of version 1.
//!
//! One line for each node, link and demand, in the source's order, so that two imports can be compared line by
//! line.

use super::cost::{Costs, latency_us};
use super::fit::Loopbacks;
use super::{Found, FoundLink, FoundNode};
use crate::units::{capacity_text, latency_text};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Most lines of each kind in the header: a person reads a few, the JSON has all.
const NOTES_MAX: usize = 40;

/// Longest line of the header in characters.
const NOTE_CHARS_MAX: usize = 200;

/// Everything that goes into the file.
pub(crate) struct File<'f> {
    /// The source file's name.
    pub(crate) source: &'f str,
    /// The format in words.
    pub(crate) format: &'f str,
    pub(crate) network: &'f str,
    pub(crate) found: &'f Found,
    /// Names of nodes, by position.
    pub(crate) nodes: &'f [String],
    /// Names of zones, by the source's.
    pub(crate) zones: &'f BTreeMap<&'f str, String>,
    pub(crate) interfaces: &'f [[String; 2]],
    pub(crate) costs: &'f Costs,
    pub(crate) loopbacks: &'f Loopbacks,
    pub(crate) invented: &'f [String],
    pub(crate) dropped: &'f [String],
}

impl File<'_> {
    /// The whole text.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        self.header(&mut out);
        line(&mut out, "version: 1".to_owned());
        line(&mut out, format!("name: {}", scalar(self.network)));
        let common = self.common_cost();
        if let Some(cost) = common {
            line(&mut out, format!("defaults: {{ link: {{ cost: {cost} }} }}"));
        }
        if let Some([v4, v6]) = &self.loopbacks.ranges {
            line(&mut out, format!("addressing: {{ loopbacks: [\"{v4}\", \"{v6}\"] }}"));
        }
        if !self.zones.is_empty() {
            let mut names: Vec<&String> = self.zones.values().collect();
            names.sort();
            line(&mut out, "zones:".to_owned());
            names.into_iter().for_each(|name| line(&mut out, format!("  - {{ name: {} }}", scalar(name))));
        }
        line(&mut out, "nodes:".to_owned());
        for (at, node) in self.found.nodes.iter().enumerate() {
            self.node(&mut out, at, node);
        }
        if !self.found.links.is_empty() {
            line(&mut out, "links:".to_owned());
        }
        for (at, link) in self.found.links.iter().enumerate() {
            self.link(&mut out, at, link, common);
        }
        if !self.found.demands.is_empty() {
            line(&mut out, "demands:".to_owned());
        }
        for demand in &self.found.demands {
            let [from, to] = [demand.from, demand.to].map(|node| scalar(&self.nodes[node]));
            let rate = capacity_text(demand.rate_bps);
            line(&mut out, format!("  - {{ from: {from}, to: {to}, rate: {rate} }}"));
        }
        out
    }

    fn header(&self, out: &mut String) {
        let (nodes, links) = (self.found.nodes.len(), self.found.links.len());
        comment(out, &format!("Made by `ballast import` from {} ({}).", self.source, self.format));
        comment(out, &format!("{nodes} nodes, {links} links, {} demands.", self.found.demands.len()));
        comment(out, &format!("Costs by {}: {}.", self.costs.rule, self.costs.meaning));
        for (title, notes) in [("Invented", self.invented), ("Dropped", self.dropped)] {
            if notes.is_empty() {
                comment(out, &format!("{title}: nothing."));
                continue;
            }
            comment(out, &format!("{title}:"));
            notes.iter().take(NOTES_MAX).for_each(|note| comment(out, &format!("- {note}")));
            if notes.len() > NOTES_MAX {
                comment(
                    out,
                    &format!("- and {} more (see `ballast import --json`)", notes.len() - NOTES_MAX),
                );
            }
        }
    }

    /// The cost of every link in both directions, where there is one.
    fn common_cost(&self) -> Option<u32> {
        let costs = self.costs.links.as_flattened();
        let first = *costs.first()?;
        costs.iter().all(|cost| *cost == first).then_some(first)
    }

    fn node(&self, out: &mut String, at: usize, node: &FoundNode) {
        let mut keys = Vec::new();
        if let Some(zone) = node.zone.as_deref().and_then(|zone| self.zones.get(zone)) {
            keys.push(format!("zone: {}", scalar(zone)));
        }
        if let Some((lat, lon)) = node.location {
            keys.push(format!("location: [{}, {}]", degrees(lat), degrees(lon)));
        }
        if !node.prefixes.is_empty() {
            keys.push(format!("prefixes: [{}]", quoted(&node.prefixes)));
        }
        if let Some(pins) = self.loopbacks.pins.get(&at) {
            keys.push(format!("loopbacks: [{}]", quoted(pins)));
        }
        if !node.labels.is_empty() {
            let pairs = node.labels.iter().map(|(key, value)| format!("{}: {}", scalar(key), scalar(value)));
            keys.push(format!("labels: {{ {} }}", pairs.collect::<Vec<_>>().join(", ")));
        }
        line(out, format!("  {}: {}", scalar(&self.nodes[at]), mapping(&keys)));
    }

    fn link(&self, out: &mut String, at: usize, link: &FoundLink, common: Option<u32>) {
        let name = |end: usize| &self.nodes[link.ends[end]];
        let [a, b] = [0, 1].map(|end| double_quoted(&format!("{}:{}", name(end), self.interfaces[at][end])));
        let mut keys = vec![format!("endpoints: [{a}, {b}]")];
        let by_node = |values: [String; 2]| {
            format!("{{ {}: {}, {}: {} }}", scalar(name(0)), values[0], scalar(name(1)), values[1])
        };
        match self.costs.links[at] {
            [one, other] if one != other => {
                keys.push(format!("cost: {}", by_node([one, other].map(|cost| cost.to_string()))));
            }
            [cost, _] if common.is_none() => keys.push(format!("cost: {cost}")),
            _ => {}
        }
        if let Some(bps) = link.capacity_bps {
            keys.push(format!("capacity: {}", capacity_text(bps)));
        }
        // Less than a microsecond is a cable within a room, which says nothing.
        let us = latency_us(self.found, link).map_or(0, |us| us.round() as u64);
        if (1..=crate::keys::LATENCY_US_MAX).contains(&us) {
            keys.push(format!("latency: {}", latency_text(us)));
        }
        if let Some(bytes) = link.mtu_bytes {
            keys.push(format!("mtu: {bytes}"));
        }
        if link.addresses.iter().any(|addresses| !addresses.is_empty()) {
            let lists = [0, 1].map(|end| format!("[{}]", quoted(&link.addresses[end])));
            keys.push(format!("addresses: {}", by_node(lists)));
        }
        line(out, format!("  - {}", mapping(&keys)));
    }
}

fn line(out: &mut String, text: String) {
    // Writing into a String cannot fail.
    let _ = writeln!(out, "{}", text.trim_end());
}

/// A comment can hold no line break, and no control character belongs into a topology file.
fn comment(out: &mut String, text: &str) {
    let plain: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NOTE_CHARS_MAX).collect();
    line(out, format!("# {plain}"));
}

/// Degrees to a millionth, a tenth of a metre: what the file keeps.
fn degrees(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn mapping(keys: &[String]) -> String {
    if keys.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", keys.join(", ")) }
}

fn quoted<T: ToString>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(|value| double_quoted(&value.to_string())).collect();
    texts.join(", ")
}

/// Text as YAML, without quotes where no reader of YAML can take it for something else.
fn scalar(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let word =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n"].contains(&&*text.to_ascii_lowercase());
    if plain && letter && !word { text.to_owned() } else { double_quoted(text) }
}

/// A double-quoted scalar (YAML 1.2, section 7.3.1).
fn double_quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // What a reader may refuse or fold: control characters, line breaks, the byte order mark.
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_where_yaml_would_read_something_else() {
        for (text, wanted) in [
            ("spine-1.a", "spine-1.a"),
            ("no", "\"no\""),
            ("9", "\"9\""),
            ("1e3", "\"1e3\""),
            ("", "\"\""),
            ("a: b", "\"a: b\""),
            ("a\"\\", "\"a\\\"\\\\\""),
            ("a\u{2028}b", "\"a\\u2028b\""),
            ("Zürich", "\"Zürich\""),
        ] {
            assert_eq!(scalar(text), wanted);
        }
    }
}
