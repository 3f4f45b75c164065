//! What templates give: node over kind over defaults, link over its ends' kinds over defaults.
//!
//! Templates are merged value by value, never pasted as text: labels one by one, a node's prefixes on top of
//! its kind's, everything else replaced as a whole. Where both ends of a link have a kind, the worse of the
//! two counts, since a link does what both of its ends can. Never checks what the values say.

use crate::diagnostic::{Code, Place, Problems, Spanned, quote};
use crate::keys::COST_DEFAULT;
use crate::raw::{LinkSettings, NodeSettings, RawKind, RawLink, RawLiveness, RawNode, RawTopology};
use crate::suggest::Suggester;
use std::collections::BTreeMap;

/// Most bytes that templates may add to a network: they repeat, so that a short file could fill the memory.
const TEMPLATE_BYTES_MAX: usize = 128 << 20;

/// What one value takes besides its text.
const VALUE_BYTES: usize = 64;

/// Fills what nodes and links leave to templates.
pub(crate) fn apply(raw: &mut RawTopology, problems: &mut Problems, suggester: &mut Suggester) {
    let none = BTreeMap::new();
    let kinds = raw.kinds.as_ref().unwrap_or(&none);
    let mut kinds_of_nodes: BTreeMap<&str, &RawKind> = BTreeMap::new();
    let mut nodes = raw.nodes.take();
    if let (Some(name), Some(_)) = (&raw.defaults.node.kind, &raw.kinds)
        && !kinds.contains_key(&name.value)
    {
        unknown_kind(name, kinds, problems, suggester);
    }
    let mut added_bytes = 0;
    for node in nodes.iter_mut().flatten() {
        let kind = node.settings.kind.clone().or_else(|| raw.defaults.node.kind.clone());
        let kind = kind.and_then(|name| match kinds.get_key_value(&name.value) {
            Some((_, kind)) => Some(kind),
            None if raw.kinds.is_none() => None,
            None => {
                unknown_kind(&name, kinds, problems, suggester);
                None
            }
        });
        added_bytes += fill_node(node, kind, &raw.defaults.node);
        if let Some(kind) = kind {
            added_bytes += kind.prefixes.len() * VALUE_BYTES;
            node.prefixes.extend(kind.prefixes.iter().cloned());
        }
        if added_bytes > TEMPLATE_BYTES_MAX {
            too_large(node.name.place, problems);
            return;
        }
    }
    for node in nodes.iter().flatten() {
        let kind = node.settings.kind.as_ref().or(raw.defaults.node.kind.as_ref());
        if let Some(kind) = kind.and_then(|name| kinds.get(&name.value)) {
            kinds_of_nodes.insert(&node.name.value, kind);
        }
    }
    for link in &mut raw.links {
        let ends =
            link.ends.each_ref().map(|end| kinds_of_nodes.get(end.node.as_str()).map(|kind| &kind.link));
        added_bytes += fill_link(link, ends, &raw.defaults.link, &raw.defaults.affinity);
        if added_bytes > TEMPLATE_BYTES_MAX {
            too_large(link.place, problems);
            return;
        }
    }
    raw.nodes = nodes;
}

fn too_large(place: Place, problems: &mut Problems) {
    let message =
        format!("templates add more than {TEMPLATE_BYTES_MAX} bytes to the network: the rest was not read");
    let help = "give templates fewer labels, prefixes and affinities";
    problems.error(Code::TOO_LARGE, place, message, help);
}

fn unknown_kind(
    name: &Spanned<String>,
    kinds: &BTreeMap<String, RawKind>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) {
    let help = match suggester.nearest(&name.value, kinds.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add {} to `kinds`", quote(&format!("{}: {{}}", name.value))),
    };
    let message = format!("{} is not in `kinds`", quote(&name.value));
    problems.error(Code::UNKNOWN_KIND, name.place, message, help);
}

/// Gives the number of bytes that were added.
fn fill_node(node: &mut RawNode, kind: Option<&RawKind>, defaults: &NodeSettings) -> usize {
    let settings = &mut node.settings;
    let mut added_bytes = 0;
    for template in kind.map(|kind| &kind.settings).into_iter().chain([defaults]) {
        if settings.zone.is_none() {
            settings.zone.clone_from(&template.zone);
        }
        settings.drained = settings.drained.or(template.drained);
        for (label, text) in &template.labels {
            if !settings.labels.contains_key(label) {
                added_bytes += label.len() + text.len() + VALUE_BYTES;
                settings.labels.insert(label.clone(), text.clone());
            }
        }
    }
    added_bytes
}

/// What a link does not say of its liveness, from the defaults.
fn filled(own: RawLiveness, defaults: Option<RawLiveness>) -> RawLiveness {
    match (own, defaults) {
        (
            RawLiveness::On { interval_ms, multiplier },
            Some(RawLiveness::On { interval_ms: ms, multiplier: count }),
        ) => RawLiveness::On { interval_ms: interval_ms.or(ms), multiplier: multiplier.or(count) },
        (own, _) => own,
    }
}

/// Gives the number of bytes that were added.
fn fill_link(
    link: &mut RawLink,
    ends: [Option<&LinkSettings>; 2],
    defaults: &LinkSettings,
    affinity: &[String],
) -> usize {
    let own = link.settings;
    for (end, kind) in link.ends.iter_mut().zip(ends) {
        let kind_cost = kind.and_then(|kind| kind.cost);
        end.cost = end.cost.or(own.cost).or(kind_cost).or(defaults.cost).or(Some(COST_DEFAULT));
    }
    let kinds = || ends.into_iter().flatten();
    link.settings = LinkSettings {
        cost: None,
        capacity_bps: own
            .capacity_bps
            .or_else(|| kinds().filter_map(|kind| kind.capacity_bps).min())
            .or(defaults.capacity_bps),
        latency_us: own
            .latency_us
            .or_else(|| kinds().filter_map(|kind| kind.latency_us).max())
            .or(defaults.latency_us),
        mtu_bytes: own
            .mtu_bytes
            .or_else(|| kinds().filter_map(|kind| kind.mtu_bytes).min())
            .or(defaults.mtu_bytes),
        liveness: own.liveness.map(|own| filled(own, defaults.liveness)).or(defaults.liveness),
    };
    if link.affinity.is_some() {
        return 0;
    }
    link.affinity = Some(affinity.to_vec());
    affinity.iter().map(|label| label.len() + VALUE_BYTES).sum()
}
