//! What all readers of other tools' files share: bounds, the keys of nodes, the pairing of directions,
//! quantities, and the lines that tell a person what was added or left out.
//!
//! Never knows a format.

use super::{Found, FoundDemand, FoundLink, FoundNode, ImportError};
use crate::diagnostic::quote;
use crate::read::FILE_BYTES_MAX;
use std::collections::{BTreeMap, VecDeque};

/// Most nodes of one source.
pub(super) const NODES_MAX: usize = 100_000;

/// Most links of one source; each direction counts where the source lists them apart.
const LINKS_MAX: usize = 1_000_000;

/// Most demands of one source.
const DEMANDS_MAX: usize = 1_000_000;

/// Largest rate or capacity, the same as in a topology file.
const RATE_BPS_MAX: f64 = 1e15;

/// Elements that a line for people names; the others are counted.
const NAMED_MAX: usize = 5;

/// Mean radius of the Earth (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// An error with its place and a remedy.
pub(super) fn error(line: Option<u32>, message: impl Into<String>, help: impl Into<String>) -> ImportError {
    ImportError { line, message: message.into(), help: help.into() }
}

/// The number of a line, from its position.
pub(super) fn line_number(position: usize) -> Option<u32> {
    u32::try_from(position).ok().and_then(|position| position.checked_add(1))
}

/// Refuses a text that is larger than any topology file may be: time and memory are bounded by a multiple of
/// it (below 30 bytes of memory for each byte of text, measured on texts made to cost).
pub(super) fn check_size(text: &str) -> Result<(), ImportError> {
    if text.len() <= FILE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the file has {} bytes, more than the {FILE_BYTES_MAX} that are read", text.len());
    Err(error(None, message, "import a part of the network, or a file without its history and drawings"))
}

/// A finite number.
pub(super) fn number(text: &str, what: &str, line: Option<u32>) -> Result<f64, ImportError> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(error(
            line,
            format!("{what} is {}, which is not a number", quote(text)),
            "write a plain decimal number there, or remove it",
        )),
    }
}

/// `value` in units of `unit_bps` as bits per second; none when it is zero, which sources write for unknown.
pub(super) fn rate_bps(
    value: f64,
    unit_bps: f64,
    what: &str,
    line: Option<u32>,
) -> Result<Option<u64>, ImportError> {
    let rate = value * unit_bps;
    if !(0.0..=RATE_BPS_MAX).contains(&rate) {
        let message = format!("{what} is {value}: below zero, or more than 1 Pbit/s");
        return Err(error(line, message, "correct the number, or its unit"));
    }
    if rate == 0.0 {
        return Ok(None);
    }
    // In range by the check above; a rate below one bit per second is still traffic.
    Ok(Some((rate.round() as u64).max(1)))
}

/// A number that may not be below zero: a length, a delay, a weight.
pub(super) fn not_negative(value: f64, what: &str, line: Option<u32>) -> Result<f64, ImportError> {
    if value >= 0.0 && value.is_finite() {
        return Ok(value);
    }
    Err(error(line, format!("{what} is {value}, and cannot be below zero"), "correct the number"))
}

/// Bits per second of a unit's name, as sources spell them; none for a word that is not one.
pub(super) fn unit_bps(name: &str) -> Option<f64> {
    match name.trim().to_ascii_lowercase().as_str() {
        "bps" | "bit/s" | "bits/s" | "bitpersec" => Some(1.0),
        "k" | "kbps" | "kbit/s" | "kb/s" | "kbitpersec" => Some(1e3),
        "m" | "mbps" | "mbit/s" | "mb/s" | "mbitpersec" => Some(1e6),
        "g" | "gbps" | "gbit/s" | "gb/s" | "gbitpersec" => Some(1e9),
        "t" | "tbps" | "tbit/s" | "tb/s" | "tbitpersec" => Some(1e12),
        _ => None,
    }
}

/// (latitude, longitude) when both are degrees.
pub(super) fn location(latitude: f64, longitude: f64) -> Option<(f64, f64)> {
    let degrees = (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude);
    degrees.then_some((latitude, longitude))
}

/// Length of the great circle between two places in kilometres, to the metre (haversine formula).
pub(super) fn great_circle_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (latitude_from, latitude_to) = (from.0.to_radians(), to.0.to_radians());
    let half_latitude = (latitude_to - latitude_from) / 2.0;
    let half_longitude = (to.1 - from.1).to_radians() / 2.0;
    let square =
        half_latitude.sin().powi(2) + latitude_from.cos() * latitude_to.cos() * half_longitude.sin().powi(2);
    let km = 2.0 * EARTH_RADIUS_KM * square.sqrt().min(1.0).asin();
    (km * 1000.0).round() / 1000.0
}

/// Sets the locations of a source whose coordinates may be those of a drawing: `coordinates` has (x, y) of
/// each node, x the longitude. One pair that is not degrees condemns all; (0, 0) is how sources write none.
pub(super) fn place_nodes(coordinates: &[Option<(f64, f64)>], into: &mut Collector) {
    let known: Vec<Option<(f64, f64)>> =
        coordinates.iter().map(|pair| pair.filter(|(x, y)| *x != 0.0 || *y != 0.0)).collect();
    if known.iter().flatten().any(|(x, y)| location(*y, *x).is_none()) {
        into.found
            .dropped
            .push("the nodes' positions: they are not longitudes and latitudes in degrees".into());
        return;
    }
    for (node, pair) in into.found.nodes.iter_mut().zip(&known) {
        node.location = pair.and_then(|(x, y)| location(y, x));
    }
}

/// Some elements for a line to people: the first few by name, the rest as a number.
#[derive(Debug, Default)]
pub(super) struct Several {
    count: usize,
    first: Vec<String>,
}

impl Several {
    /// One more.
    pub(super) fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < NAMED_MAX {
            self.first.push(name());
        }
    }

    /// Adds a line to `lines` when there are any: `what` in front of the number and the names.
    pub(super) fn tell(&self, lines: &mut Vec<String>, what: &str) {
        if self.count == 0 {
            return;
        }
        let more = self.count - self.first.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("{what} ({}): {}{more}", self.count, self.first.join(", ")));
    }
}

/// One direction of a link, in sources that list both.
#[derive(Clone, Debug, Default)]
pub(super) struct OneWay {
    /// The source's own number or key.
    pub(super) source_index: String,
    /// Position of the node where it begins.
    pub(super) from: usize,
    /// Position of the node where it ends.
    pub(super) to: usize,
    /// The source's own routing weight.
    pub(super) weight: Option<f64>,
    /// Bits per second.
    pub(super) capacity_bps: Option<u64>,
    /// Microseconds.
    pub(super) latency_us: Option<f64>,
    /// Kilometres.
    pub(super) distance_km: Option<f64>,
    /// The `source_index` of the other direction, where the source says it.
    pub(super) partner: Option<String>,
}

impl OneWay {
    /// What two directions of one cable have in common: bits per second, nanoseconds, millimetres. Coarser
    /// than what sources state, since the two directions may be rounded in different ways.
    fn medium(&self) -> Medium {
        let coarse = |value: Option<f64>, parts: f64| value.map(|value| (value * parts).round().to_bits());
        (self.capacity_bps, coarse(self.latency_us, 1e3), coarse(self.distance_km, 1e6))
    }
}

/// Gathers what a reader finds, with the checks that hold for every format.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// What was found so far; readers add the name and lines for people.
    pub(super) found: Found,
    positions: BTreeMap<String, usize>,
    one_ways: Vec<OneWay>,
    self_loops: Several,
    self_demands: Several,
    zero_demands: Several,
}

impl Collector {
    /// Adds a node; its key must be new.
    pub(super) fn node(&mut self, node: FoundNode, line: Option<u32>) -> Result<(), ImportError> {
        let position = self.found.nodes.len();
        if position >= NODES_MAX {
            let message = format!("more than {NODES_MAX} nodes");
            return Err(error(line, message, "import a part of the network"));
        }
        if self.positions.insert(node.source_id.clone(), position).is_some() {
            let message =
                format!("two nodes have the key {}: links cannot tell them apart", quote(&node.source_id));
            return Err(error(line, message, "give each node a key of its own"));
        }
        self.found.nodes.push(node);
        Ok(())
    }

    /// The position of a node that a link or a demand names.
    pub(super) fn position(&self, key: &str, of: &str, line: Option<u32>) -> Result<usize, ImportError> {
        self.positions.get(key).copied().ok_or_else(|| {
            let message = format!("{of} names the node {}, which does not exist", quote(key));
            error(line, message, "correct the name, or add the node; a file that was cut off lacks its end")
        })
    }

    /// What a person calls the node at `position`.
    pub(super) fn node_name(&self, position: usize) -> String {
        let Some(node) = self.found.nodes.get(position) else { return String::new() };
        quote(node.label.as_deref().unwrap_or(&node.source_id))
    }

    /// The two ends of a link in words.
    pub(super) fn link_name(&self, ends: [usize; 2]) -> String {
        format!("{} - {}", self.node_name(ends[0]), self.node_name(ends[1]))
    }

    /// Adds a link of a source that lists each once. A link from a node to itself is left out with a line.
    pub(super) fn link(&mut self, link: FoundLink, line: Option<u32>) -> Result<(), ImportError> {
        if self.admits(link.ends, self.found.links.len(), line)? {
            self.found.links.push(link);
        }
        Ok(())
    }

    /// Adds one direction of a link; [`Collector::finish`] pairs them.
    pub(super) fn one_way(&mut self, one_way: OneWay, line: Option<u32>) -> Result<(), ImportError> {
        if self.admits([one_way.from, one_way.to], self.one_ways.len(), line)? {
            self.one_ways.push(one_way);
        }
        Ok(())
    }

    fn admits(&mut self, ends: [usize; 2], before: usize, line: Option<u32>) -> Result<bool, ImportError> {
        if before >= LINKS_MAX {
            let message = format!("more than {LINKS_MAX} links");
            return Err(error(line, message, "import a part of the network"));
        }
        if ends[0] == ends[1] {
            let name = self.node_name(ends[0]);
            self.self_loops.add(|| name);
            return Ok(false);
        }
        Ok(true)
    }

    /// Adds traffic. `what` names it in an error.
    pub(super) fn demand(
        &mut self,
        (from, to): (usize, usize),
        (value, unit_bps): (f64, f64),
        what: &str,
        line: Option<u32>,
    ) -> Result<(), ImportError> {
        if self.found.demands.len() >= DEMANDS_MAX {
            let message = format!("more than {DEMANDS_MAX} demands");
            return Err(error(line, message, "import a part of the demands"));
        }
        let rate = rate_bps(value, unit_bps, what, line)?;
        match rate {
            Some(rate_bps) if from != to => self.found.demands.push(FoundDemand { from, to, rate_bps }),
            _ => {
                let name = format!("{} to {}", self.node_name(from), self.node_name(to));
                let list = if from == to { &mut self.self_demands } else { &mut self.zero_demands };
                list.add(|| name);
            }
        }
        Ok(())
    }

    /// Directions added so far.
    pub(super) fn one_ways(&self) -> usize {
        self.one_ways.len()
    }

    /// Pairs the directions and writes the lines about what was left out.
    pub(super) fn finish(mut self) -> Found {
        pair(&mut self);
        let dropped = &mut self.found.dropped;
        self.self_loops.tell(dropped, "links from a node to itself");
        self.self_demands.tell(dropped, "demands from a node to itself");
        self.zero_demands.tell(dropped, "demands of rate zero");
        self.found
    }
}

/// Makes a link of each two opposite directions: first those that the source calls partners, then those
/// that share capacity, delay and length, then what is left, each time in the source's order.
fn pair(into: &mut Collector) {
    let one_ways = std::mem::take(&mut into.one_ways);
    let mut partner: Vec<Option<usize>> = vec![None; one_ways.len()];
    let by_key: BTreeMap<&str, usize> =
        one_ways.iter().enumerate().map(|(at, way)| (way.source_index.as_str(), at)).collect();
    for (at, way) in one_ways.iter().enumerate() {
        let Some(other) = way.partner.as_deref().and_then(|key| by_key.get(key).copied()) else { continue };
        let opposite = one_ways[other].from == way.to && one_ways[other].to == way.from;
        if opposite && partner[at].is_none() && partner[other].is_none() {
            partner[at] = Some(other);
            partner[other] = Some(at);
        }
    }
    match_opposite(&one_ways, &mut partner, |way| Some(way.medium()));
    match_opposite(&one_ways, &mut partner, |_| None);
    let (mut unpaired, mut unequal) = (Several::default(), Several::default());
    for (at, there) in one_ways.iter().enumerate() {
        let back = match partner[at] {
            Some(other) if other < at => continue,
            Some(other) => &one_ways[other],
            None => {
                unpaired.add(|| into.link_name([there.from, there.to]));
                there
            }
        };
        if there.medium() != back.medium() {
            unequal.add(|| into.link_name([there.from, there.to]));
        }
        into.found.links.push(joined(there, back));
    }
    unpaired.tell(&mut into.found.invented, "the way back of links that the source has in one direction");
    let what = "differences between two directions of a link; the smaller capacity, the larger delay and length are kept";
    unequal.tell(&mut into.found.dropped, what);
}

type Medium = (Option<u64>, Option<u64>, Option<u64>);

/// Partners each direction that has none with the first opposite one of the same `kind` that has none.
fn match_opposite(
    one_ways: &[OneWay],
    partner: &mut [Option<usize>],
    kind: impl Fn(&OneWay) -> Option<Medium>,
) {
    let mut waiting: BTreeMap<(usize, usize, Option<Medium>), VecDeque<usize>> = BTreeMap::new();
    for (at, way) in one_ways.iter().enumerate() {
        if partner[at].is_some() {
            continue;
        }
        let kind = kind(way);
        if let Some(other) = waiting.get_mut(&(way.to, way.from, kind)).and_then(VecDeque::pop_front) {
            partner[at] = Some(other);
            partner[other] = Some(at);
        } else {
            waiting.entry((way.from, way.to, kind)).or_default().push_back(at);
        }
    }
}

fn joined(there: &OneWay, back: &OneWay) -> FoundLink {
    let larger = |one: Option<f64>, other: Option<f64>| match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        _ => one.or(other),
    };
    FoundLink {
        source_index: there.source_index.clone(),
        ends: [there.from, there.to],
        weights: [there.weight, back.weight],
        capacity_bps: match (there.capacity_bps, back.capacity_bps) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        },
        latency_us: larger(there.latency_us, back.latency_us),
        distance_km: larger(there.distance_km, back.distance_km),
        ..FoundLink::default()
    }
}

/// Calls `read` with `text` damaged at each place in ways that break grammars and numbers: it must come back.
#[cfg(test)]
pub(super) fn survives_damage(text: &str, read: impl Fn(&str) -> Result<Found, ImportError>) {
    const DAMAGES: [&str; 12] =
        ["", "<", ">", "(", ")", "\"", "{", "&", "-", "9e999", "NaN", "99999999999999999999"];
    for (at, c) in text.char_indices() {
        for damage in DAMAGES.iter().cycle().skip(at).step_by(5).take(3) {
            let damaged = [&text[..at], *damage, &text[at + c.len_utf8()..]].concat();
            match read(&damaged) {
                Ok(found) => {
                    let nodes = found.nodes.len();
                    assert!(
                        found.links.iter().all(|link| link.ends.iter().all(|end| *end < nodes)),
                        "{damaged}"
                    );
                }
                Err(problem) => assert!(!problem.message.is_empty() && !problem.help.is_empty(), "{damaged}"),
            }
        }
        if at % 16 == 0 {
            // A cut-off file, and one twice.
            let _ = read(&text[..at]);
            let _ = read(&[&text[..at], text].concat());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Collector {
        let mut into = Collector::default();
        for at in 0..count {
            into.node(FoundNode { source_id: at.to_string(), ..FoundNode::default() }, None).unwrap();
        }
        into
    }

    fn way(from: usize, to: usize, index: &str, capacity_bps: u64) -> OneWay {
        OneWay {
            source_index: index.into(),
            from,
            to,
            weight: Some(f64::from(u32::try_from(from).unwrap()) + 1.0),
            capacity_bps: Some(capacity_bps),
            ..OneWay::default()
        }
    }

    fn paired(ways: &[OneWay]) -> Found {
        let mut into = nodes(3);
        for way in ways {
            into.one_way(way.clone(), None).unwrap();
        }
        into.finish()
    }

    #[test]
    fn opposite_directions_become_one_link_with_a_weight_each_way() {
        let found = paired(&[way(0, 1, "a", 5), way(1, 0, "b", 5), way(2, 1, "c", 5), way(1, 2, "d", 5)]);
        let links: Vec<_> =
            found.links.iter().map(|link| (link.source_index.as_str(), link.ends, link.weights)).collect();
        assert_eq!(links, [("a", [0, 1], [Some(1.0), Some(2.0)]), ("c", [2, 1], [Some(3.0), Some(2.0)])]);
        assert!(found.invented.is_empty() && found.dropped.is_empty());
    }

    #[test]
    fn parallel_links_pair_by_what_the_source_says_then_by_equal_media() {
        let found = paired(&[way(0, 1, "a", 5), way(0, 1, "b", 7), way(1, 0, "c", 7), way(1, 0, "d", 5)]);
        assert_eq!(found.links.iter().map(|link| link.capacity_bps).collect::<Vec<_>>(), [Some(5), Some(7)]);
        let mut named = way(0, 1, "a", 5);
        named.partner = Some("c".into());
        let found = paired(&[named, way(0, 1, "b", 7), way(1, 0, "c", 7), way(1, 0, "d", 5)]);
        assert_eq!(found.links.iter().map(|link| link.capacity_bps).collect::<Vec<_>>(), [Some(5), Some(5)]);
        assert_eq!(found.dropped.len(), 1, "{:?}", found.dropped);
    }

    #[test]
    fn a_direction_without_its_opposite_becomes_a_link_and_a_line() {
        let found = paired(&[way(0, 1, "a", 5)]);
        assert_eq!(found.links[0].weights, [Some(1.0), Some(1.0)]);
        assert_eq!(found.invented.len(), 1);
        assert!(found.invented[0].contains("`0` - `1`"), "{:?}", found.invented);
    }

    #[test]
    fn a_link_from_a_node_to_itself_is_left_out_with_a_line() {
        let found = paired(&[way(1, 1, "a", 5)]);
        assert!(found.links.is_empty());
        assert!(found.dropped[0].contains("(1): `1`"), "{:?}", found.dropped);
    }

    #[test]
    fn great_circles_have_their_known_lengths() {
        // A quarter of a meridian, and half of the equator.
        assert!((great_circle_km((0.0, 0.0), (90.0, 0.0)) - 10_007.557).abs() < 0.01);
        assert!((great_circle_km((0.0, -90.0), (0.0, 90.0)) - 20_015.115).abs() < 0.01);
        assert!(great_circle_km((12.5, 7.0), (12.5, 7.0)).abs() < 1e-9);
    }

    #[test]
    fn rates_are_bounded_and_zero_is_unknown() {
        assert_eq!(rate_bps(2.5, 1e9, "x", None), Ok(Some(2_500_000_000)));
        assert_eq!(rate_bps(0.0, 1e9, "x", None), Ok(None));
        assert_eq!(rate_bps(0.1, 1.0, "x", None), Ok(Some(1)));
        for bad in [-1.0, 1e16, f64::NAN, f64::INFINITY] {
            assert!(rate_bps(bad, 1.0, "x", None).is_err(), "{bad}");
        }
    }

    #[test]
    fn positions_of_a_drawing_are_not_taken_for_degrees() {
        let mut into = nodes(2);
        place_nodes(&[Some((10.0, 50.0)), Some((0.0, 0.0))], &mut into);
        assert_eq!(into.found.nodes[0].location, Some((50.0, 10.0)));
        assert_eq!(into.found.nodes[1].location, None);
        let mut into = nodes(2);
        place_nodes(&[Some((10.0, 50.0)), Some((10.0, 500.0))], &mut into);
        assert_eq!(into.found.nodes[0].location, None);
        assert_eq!(into.found.dropped.len(), 1);
    }
}
