//! The canonical layout of a topology file: one order, one style, every comment kept.
//!
//! Works on the YAML tree and never on the model, so that it keeps what it does not know. It checks its own work: the
//! new text must give the same tree and the same comments, or the file is left as it is. Touches no file itself.

mod layout;
mod source;

use crate::diagnostic::{Place, Problems};
use crate::keys::{self, Type};
use crate::{Reading, Topology, read};
use source::{Body, Collection, Document, Entry, Node, Scalar};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Keys of the file in their order.
const TOP: &[&str] = &[
    "version",
    "name",
    "management",
    "controllers",
    "defaults",
    "kinds",
    "addressing",
    "zones",
    "nodes",
    "links",
    "link_groups",
    "external",
    "policies",
    "demands",
    "invariants",
    "routing",
    "safety",
];

/// What to do besides the layout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FormatOptions {
    /// Write each node's loopbacks into the file, so that a new name or range cannot move them.
    pub pin: bool,
}

/// A topology file in canonical layout: the same network with the same comments, ended by one line feed. A second
/// run changes nothing.
///
/// # Errors
///
/// The reading of a file that has errors, or that uses what another layout would lose: anchors, aliases, directives,
/// text of several lines. `file` only names the place of problems.
pub fn format(file: &str, bytes: &[u8], options: FormatOptions) -> Result<String, Box<Reading>> {
    let reading = read(file, bytes);
    let Some(topology) = &reading.topology else { return Err(Box::new(reading)) };
    let pins = options.pin.then(|| pins(topology));
    format_part(file, bytes, pins.as_ref())
}

/// Loopbacks of each node, as text.
pub type Pins = BTreeMap<String, Vec<String>>;

/// What [`format_part`] pins: the loopbacks of all nodes by name.
pub fn pins(topology: &Topology) -> Pins {
    let loopbacks = |node: &crate::Node| node.loopbacks.iter().map(ToString::to_string).collect();
    topology.nodes.iter().map(|node| (node.name.clone(), loopbacks(node))).collect()
}

/// As [`format()`], for a file that is only a part of a network and so need not be valid by itself.
///
/// # Errors
///
/// A reading without a network that tells why the text cannot be laid out.
pub fn format_part(file: &str, bytes: &[u8], pins: Option<&Pins>) -> Result<String, Box<Reading>> {
    let (sources, mut problems) = crate::read::sources(&[(file, bytes)]);
    let text = sources.first().filter(|_| !problems.has_errors()).map(|source| source.text);
    let laid_out = text.and_then(|text| lay_out(text, pins, &mut problems));
    laid_out.ok_or_else(|| {
        let (diagnostics, total) = problems.finish(&sources);
        Box::new(Reading { topology: None, diagnostics, total, files: 1 })
    })
}

fn lay_out(text: &str, pins: Option<&Pins>, problems: &mut Problems) -> Option<String> {
    let mut documents = source::parse(text, problems)?;
    if documents.is_empty() {
        return Some(text.to_owned());
    }
    for document in &mut documents {
        if let Some(root) = document.root.collection_mut() {
            if let Some(pins) = pins {
                pin(root, pins);
            }
            canonical(root);
        }
    }
    let wanted = meaning(&documents);
    let new = layout::write(documents);
    let mut found = source::parse(&new, problems)?;
    for root in found.iter_mut().filter_map(|document| document.root.collection_mut()) {
        canonical(root);
    }
    if meaning(&found) != wanted {
        source::refuse(problems, Place::START, "something of what it says");
        return None;
    }
    Some(new)
}

/// Puts everything whose order has no meaning into the one order.
fn canonical(root: &mut Collection<'_>) {
    if !root.mapping {
        return;
    }
    order(root, |key| TOP.iter().position(|known| *known == key));
    for section in &mut root.entries {
        let name = section.key_text().to_owned();
        if name == "nodes" {
            spell_out_nodes(section);
        }
        if let Some(key) = keys::TOP.known.iter().find(|key| key.name == name) {
            arrange(&mut section.value, &key.takes);
        }
        let Some(values) = section.value.collection_mut() else { continue };
        match name.as_str() {
            "nodes" => values.entries.sort_by(|a, b| a.key_text().cmp(b.key_text())),
            "links" => {
                values.entries.iter_mut().for_each(sort_endpoints);
                values.entries.sort_by_cached_key(|entry| ends(&entry.value));
            }
            _ => {}
        }
    }
}

/// Puts keys into the order of the format's table, and values of a link's two ends into the order of their nodes.
fn arrange(node: &mut Node<'_>, takes: &Type) {
    if let Type::Either(one, other) = takes {
        arrange(node, one);
        arrange(node, other);
    }
    let Some(values) = node.collection_mut() else { return };
    let inner = match takes {
        Type::Object(shape) | Type::OneKey(shape) if values.mapping => {
            order(values, |key| shape.names().position(|known| known == key));
            for entry in &mut values.entries {
                if let Some(key) = shape.known.iter().find(|key| key.name == entry.key_text()) {
                    arrange(&mut entry.value, &key.takes);
                }
            }
            return;
        }
        Type::ByEnd(inner) => {
            values.entries.sort_by(|a, b| a.key_text().cmp(b.key_text()));
            inner
        }
        Type::List(inner, ..) | Type::Map(_, inner) => inner,
        _ => return,
    };
    for entry in &mut values.entries {
        arrange(&mut entry.value, inner);
    }
}

/// A node may be written as nothing; the one form is `{}`.
fn spell_out_nodes(section: &mut Entry<'_>) {
    let Some(nodes) = section.value.collection_mut() else { return };
    for node in &mut nodes.entries {
        if matches!(&node.value.body, Body::Scalar(scalar) if is_null(scalar)) {
            node.value.body =
                Body::Collection(Collection { mapping: true, entries: Vec::new(), tail: Vec::new() });
        }
    }
}

fn sort_endpoints(link: &mut Entry<'_>) {
    let Some(fields) = link.value.collection_mut() else { return };
    let endpoints = fields.get_mut("endpoints").and_then(|field| field.value.collection_mut());
    if let Some(endpoints) = endpoints {
        endpoints.entries.sort_by(|a, b| a.value.text().cmp(&b.value.text()));
    }
}

/// The two ends of a link, sorted before.
fn ends(link: &Node<'_>) -> Vec<String> {
    let fields = link.collection().map_or(&[][..], |fields| &fields.entries);
    let endpoints = fields.iter().find(|field| field.key_text() == "endpoints");
    let items = endpoints.and_then(|field| field.value.collection()).map_or(&[][..], |list| &list.entries);
    items.iter().map(|item| item.value.text().unwrap_or_default().to_owned()).collect()
}

/// Keys by their rank; those without one come last, in the file's order.
fn order(mapping: &mut Collection<'_>, rank: impl Fn(&str) -> Option<usize>) {
    mapping.entries.sort_by_key(|entry| rank(entry.key_text()).unwrap_or(usize::MAX));
}

/// Adds what is missing of each node's loopbacks.
fn pin(root: &mut Collection<'_>, pins: &Pins) {
    let Some(nodes) = root.get_mut("nodes") else { return };
    spell_out_nodes(nodes);
    let Some(nodes) = nodes.value.collection_mut() else { return };
    for node in &mut nodes.entries {
        let Some(wanted) = pins.get(node.key_text()) else { continue };
        let Some(fields) = node.value.collection_mut() else { continue };
        if fields.get_mut("loopbacks").is_none() {
            fields.entries.push(Entry::new(Some(plain("loopbacks")), empty_list()));
        }
        let Some(field) = fields.get_mut("loopbacks") else { continue };
        if field.value.collection().is_none() {
            field.value = empty_list();
        }
        let Some(list) = field.value.collection_mut() else { continue };
        let has = |list: &Collection<'_>, address: &str| {
            let given =
                list.entries.iter().filter_map(|item| item.value.text()?.parse::<std::net::IpAddr>().ok());
            given.into_iter().any(|given| given.to_string() == address)
        };
        for address in wanted {
            if !has(list, address) {
                list.entries.push(Entry::new(None, Node::new(Body::Scalar(plain(address)))));
            }
        }
    }
}

fn empty_list<'t>() -> Node<'t> {
    Node::new(Body::Collection(Collection { mapping: false, entries: Vec::new(), tail: Vec::new() }))
}

fn plain<'t>(text: &str) -> Scalar<'t> {
    // A colon at the end would make it a key.
    let source = if text.ends_with(':') { format!("\"{text}\"") } else { text.to_owned() };
    let plain = source == text;
    Scalar { source: Cow::Owned(source), text: Cow::Owned(text.to_owned()), plain }
}

fn is_null(scalar: &Scalar<'_>) -> bool {
    scalar.plain && matches!(&*scalar.text, "" | "~" | "null" | "Null" | "NULL")
}

/// What must be equal before and after: all values in order, and all comments in any order.
fn meaning(documents: &[Document<'_>]) -> (Vec<String>, Vec<String>) {
    let (mut values, mut comments) = (Vec::new(), Vec::new());
    for document in documents {
        comments.extend(document.header.iter().map(|comment| comment.text.to_owned()));
        values.push("document".to_owned());
        tell(&document.root, &mut values, &mut comments);
    }
    comments.sort();
    (values, comments)
}

fn tell(node: &Node<'_>, values: &mut Vec<String>, comments: &mut Vec<String>) {
    let collection = match &node.body {
        Body::Scalar(scalar) => return values.push(word(scalar)),
        Body::Collection(collection) => collection,
    };
    values.push(format!(
        "{} of {}",
        if collection.mapping { "mapping" } else { "list" },
        collection.entries.len()
    ));
    for entry in &collection.entries {
        values.extend(entry.key.as_ref().map(word));
        tell(&entry.value, values, comments);
        comments.extend(entry.before.iter().map(|comment| comment.text.to_owned()));
        comments.extend(entry.marks.iter().map(|mark| (*mark).to_owned()));
    }
    comments.extend(collection.tail.iter().map(|comment| comment.text.to_owned()));
}

/// A scalar, told from all others that mean something else. Quotes make no difference to a text that no number,
/// switch or null could be.
fn word(scalar: &Scalar<'_>) -> String {
    if is_null(scalar) {
        "null".to_owned()
    } else if layout::is_plain_in_brackets(scalar) {
        format!("plain {}", scalar.text)
    } else {
        format!("text {}", scalar.text)
    }
}

#[cfg(test)]
mod tests;
