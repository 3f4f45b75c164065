//! Ways out, demands and invariants: their nodes exist, their selectors select.

use super::Names;
use super::links::endpoint;
use crate::diagnostic::{Code, Place, Problems, Spanned, quote};
use crate::model::{Demand, External, Invariant, InvariantRule, NodeIndex, Selector};
use crate::raw::{RawDemand, RawExternal, RawInvariant, RawLink, RawNode, RawRule};
use crate::suggest::Suggester;
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes that all selectors stand for together: the model lists them, so that a short file with many
/// invariants about `any` could fill the memory.
const SELECTED_MAX: usize = 20_000_000;

/// The node called so; a problem when there is none.
pub(super) fn node_of(
    name: &Spanned<String>,
    names: &Names<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Option<NodeIndex> {
    let found = names.get(name.value.as_str()).copied();
    // Without any node, the list itself was the problem.
    if found.is_none() && !names.is_empty() {
        let help = match suggester.nearest(&name.value, names.keys().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write the name of a node in `nodes`".to_owned(),
        };
        let message = format!("{} is not in `nodes`", quote(&name.value));
        problems.error(Code::UNKNOWN_NODE, name.place, message, help);
    }
    found
}

/// Sorted by node, interface and family. An uplink carries no link, and one entry of each family.
pub(super) fn externals(
    raw: &[RawExternal],
    links: &[RawLink],
    names: &Names<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Vec<External> {
    let of_links: BTreeMap<String, Place> =
        links.iter().flat_map(|link| &link.ends).map(|end| (endpoint(end), end.place)).collect();
    let mut uplinks: BTreeMap<(String, bool), Place> = BTreeMap::new();
    let mut externals = Vec::new();
    for external in raw {
        let RawExternal { place, node, interface, next_hop, prefixes } = external;
        let uplink = format!("{}:{}", node.value, interface.value);
        let taken = match of_links.get(&uplink) {
            Some(user) => Some(("the link", *user)),
            None => uplinks
                .insert((uplink.clone(), next_hop.is_ipv4()), *place)
                .map(|user| ("the external of the same family", user)),
        };
        if let Some((thing, user)) = taken {
            let line = problems.line(user, interface.place);
            let message = format!("the interface {} is already at {thing} on {line}", quote(&uplink));
            let help =
                "give the way out an interface of its own, or put all prefixes of a family in one entry";
            problems.error(Code::INTERFACE_USED_TWICE, interface.place, message, help);
        }
        let Some(node) = node_of(node, names, problems, suggester) else { continue };
        let mut prefixes: Vec<_> = prefixes.iter().map(|prefix| prefix.value).collect();
        prefixes.sort();
        let (interface, next_hop, line) = (interface.value.clone(), *next_hop, problems.running_line(*place));
        externals.push(External { node, interface, next_hop, prefixes, line });
    }
    externals.sort_by(|a, b| {
        (a.node, &a.interface, a.next_hop.is_ipv6()).cmp(&(b.node, &b.interface, b.next_hop.is_ipv6()))
    });
    externals
}

/// Sorted by (from, to, rate).
pub(super) fn demands(
    raw: &[RawDemand],
    names: &Names<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Vec<Demand> {
    let mut demands = Vec::with_capacity(raw.len());
    for RawDemand { place, from, to, rate_bps } in raw {
        let source = node_of(from, names, problems, suggester);
        let target = node_of(to, names, problems, suggester);
        let (Some(source), Some(target)) = (source, target) else { continue };
        if source == target {
            let message =
                format!("this demand goes from {} to itself: no link carries it", quote(&from.value));
            problems.error(
                Code::SELF_DEMAND,
                to.place,
                message,
                "correct one of the two, or remove the demand",
            );
        }
        demands.push(Demand {
            from: source,
            to: target,
            rate_bps: *rate_bps,
            line: problems.running_line(*place),
        });
    }
    demands.sort_by_key(|demand| (demand.from, demand.to, demand.rate_bps, demand.line));
    demands
}

/// What selectors can stand for.
pub(super) struct Selectors<'n> {
    names: &'n Names<'n>,
    /// Nothing when the zones could not be read.
    zones: Option<&'n BTreeSet<String>>,
    by_zone: BTreeMap<&'n str, Vec<NodeIndex>>,
    by_label: BTreeMap<(&'n str, &'n str), Vec<NodeIndex>>,
    selected: usize,
}

impl<'n> Selectors<'n> {
    pub(super) fn new(
        nodes: &'n [RawNode],
        names: &'n Names<'n>,
        zones: Option<&'n BTreeSet<String>>,
    ) -> Self {
        let mut by_zone: BTreeMap<&str, Vec<NodeIndex>> = BTreeMap::new();
        let mut by_label: BTreeMap<(&str, &str), Vec<NodeIndex>> = BTreeMap::new();
        for (at, node) in nodes.iter().enumerate() {
            let index = NodeIndex(at as u32);
            if let Some(zone) = &node.settings.zone {
                by_zone.entry(&zone.value).or_default().push(index);
            }
            for (label, text) in &node.settings.labels {
                by_label.entry((label, text)).or_default().push(index);
            }
        }
        Selectors { names, zones, by_zone, by_label, selected: 0 }
    }

    /// The selector with its nodes, sorted; nothing, and a problem, when there are none.
    fn resolve(
        &mut self,
        text: &Spanned<String>,
        problems: &mut Problems,
        suggester: &mut Suggester,
    ) -> Option<Selector> {
        if self.names.is_empty() {
            return None;
        }
        let nodes: Vec<NodeIndex> = match text.value.split_once(':') {
            None if text.value == "any" => (0..self.names.len()).map(|at| NodeIndex(at as u32)).collect(),
            None => vec![node_of(text, self.names, problems, suggester)?],
            Some(("zone", zone)) => {
                self.check_zone(zone, text.place, problems, suggester)?;
                self.by_zone.get(zone).cloned().unwrap_or_default()
            }
            Some((_, pair)) => {
                let pair = pair.split_once('=').unwrap_or((pair, ""));
                self.by_label.get(&pair).cloned().unwrap_or_default()
            }
        };
        if nodes.is_empty() {
            let message = format!("no node is in {}: this would hold whatever happens", quote(&text.value));
            problems.error(
                Code::SELECTS_NOTHING,
                text.place,
                message,
                "select nodes that exist, or remove it",
            );
            return None;
        }
        self.selected = self.selected.saturating_add(nodes.len());
        if self.selected > SELECTED_MAX {
            return None;
        }
        Some(Selector { text: text.value.clone(), nodes })
    }

    /// Nothing, and a problem, when the zone does not exist.
    fn check_zone(
        &self,
        zone: &str,
        place: Place,
        problems: &mut Problems,
        suggester: &mut Suggester,
    ) -> Option<()> {
        let zones = self.zones?;
        if zones.contains(zone) {
            return Some(());
        }
        let help = match suggester.nearest(zone, zones.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `zone:{near}`?"),
            None => "write the name of a zone in `zones`".to_owned(),
        };
        let message = format!("{} is not in `zones`", quote(zone));
        problems.error(Code::UNKNOWN_ZONE, place, message, help);
        None
    }
}

/// Sorted by rule and selectors, so that the order in the file has no meaning.
pub(super) fn invariants(
    raw: &[RawInvariant],
    selectors: &mut Selectors<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Vec<Invariant> {
    let mut invariants = Vec::with_capacity(raw.len());
    for invariant in raw {
        if let Some(invariant) = resolve(invariant, selectors, problems, suggester) {
            invariants.push(invariant);
        }
        if selectors.selected > SELECTED_MAX {
            let message = format!("the invariants select more than {SELECTED_MAX} nodes together");
            let help = "say with fewer invariants what must hold: `any` covers all nodes";
            problems.error(Code::TOO_LARGE, invariant.place, message, help);
            break;
        }
    }
    invariants.sort_by(|a, b| order(a).cmp(&order(b)));
    invariants
}

fn resolve(
    raw: &RawInvariant,
    selectors: &mut Selectors<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Option<Invariant> {
    let from = selectors.resolve(&raw.from, problems, suggester);
    let to = selectors.resolve(&raw.to, problems, suggester);
    let rule = match &raw.rule {
        RawRule::Reach => InvariantRule::Reach,
        RawRule::Isolate => InvariantRule::Isolate,
        RawRule::Waypoint(via) => InvariantRule::Waypoint(selectors.resolve(via, problems, suggester)?),
        RawRule::MaxHops(hops) => InvariantRule::MaxHops(*hops),
        RawRule::MaxLatencyUs(latency_us) => InvariantRule::MaxLatencyUs(*latency_us),
        RawRule::MinMtuBytes(bytes) => InvariantRule::MinMtuBytes(*bytes),
    };
    let (from, to) = (from?, to?);
    if from.nodes.len() == 1 && from.nodes == to.nodes {
        let message = format!(
            "this is about {} and itself: there is no pair that it could hold for",
            quote(&raw.from.value)
        );
        let help = "write other nodes in `from` or `to`, or remove the invariant";
        problems.error(Code::SELECTS_NOTHING, raw.to.place, message, help);
        return None;
    }
    Some(Invariant { from, to, rule, line: problems.running_line(raw.place) })
}

/// Sorts by what is said, then by line.
fn order(invariant: &Invariant) -> (u8, &str, &str, &str, u64, u32) {
    let (kind, via, bound) = match &invariant.rule {
        InvariantRule::Reach => (0, "", 0),
        InvariantRule::Isolate => (1, "", 0),
        InvariantRule::Waypoint(via) => (2, via.text.as_str(), 0),
        InvariantRule::MaxHops(hops) => (3, "", u64::from(*hops)),
        InvariantRule::MaxLatencyUs(latency_us) => (4, "", *latency_us),
        InvariantRule::MinMtuBytes(bytes) => (5, "", u64::from(*bytes)),
    };
    (kind, &invariant.from.text, &invariant.to.text, via, bound, invariant.line)
}
