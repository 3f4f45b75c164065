//! Labs of containerlab (`.clab.yml`): nodes with their kind and labels, links in every spelling.
//!
//! What is not a link between two nodes of the lab (to the host, the management network, a VXLAN) is told and
//! left out. Never runs a template and never reads the environment.

use super::{Found, FoundLink, FoundNode, ImportError, first_problem};
use crate::address;
use crate::diagnostic::{Problems, quote};
use crate::read::FILE_BYTES_MAX;
use crate::yaml::{self, Kind, Value};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};

/// Words that stand for something else than a node in an endpoint, where no node is called so.
const NOT_NODES: [&str; 6] = ["host", "mgmt-net", "macvlan", "vxlan", "vxlan-stitch", "dummy"];

/// Types of links that join two nodes.
const LINK_TYPES: [&str; 2] = ["veth", "veth-stitch"];

/// Kinds of nodes that are a segment of several ends rather than a host.
const BRIDGES: [&str; 2] = ["bridge", "ovs-bridge"];

/// Settings of a node that are read; the others say nothing about the network.
const NODE_KEYS: [&str; 4] = ["kind", "group", "type", "labels"];

/// What an endpoint says.
struct End<'v> {
    node: String,
    interface: String,
    line: u32,
    addresses: Vec<&'v str>,
}

/// Reads one lab.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    refuse_templates(text)?;
    let mut problems = Problems::new(Vec::new());
    let documents = yaml::parse(text, 0, &mut yaml::Budget::default(), &mut problems);
    if problems.has_errors() {
        return Err(first_problem(problems));
    }
    let mut documents = documents.unwrap_or_default().into_iter();
    let root = documents.next().unwrap_or_else(yaml::nothing);
    let lab = mapping(&root, "the file")?;
    let mut reader = Reader::default();
    for more in documents {
        reader.drop(
            more.place.line,
            "another YAML document, which containerlab does not read either".to_owned(),
        );
    }
    reader.found.name = get(lab, "name").and_then(scalar).map(str::to_owned);
    for (key, value) in lab {
        match scalar(key) {
            Some("name" | "topology") | None => {}
            Some(key) => reader.drop(value.place.line, format!("`{key}` of the lab")),
        }
    }
    let Some(topology) = get(lab, "topology") else {
        let help = "check that this is a containerlab file: nodes and links are below `topology:`";
        return Err(error(root.place.line, "there is no `topology`", help));
    };
    let topology = mapping(topology, "`topology`")?;
    reader.nodes(topology)?;
    let Some(links) = get(topology, "links").filter(|links| !links.is_null()) else {
        return Ok(reader.finish());
    };
    let Kind::List(links) = &links.kind else {
        let help = "write a list, one `- endpoints: [\"a:eth1\", \"b:eth1\"]` for each link";
        return Err(error(links.place.line, "`links` is not a list", help));
    };
    for (index, link) in links.iter().enumerate() {
        reader.link(index, link)?;
    }
    Ok(reader.finish())
}

/// A Go template is text from which other text is made: what it says depends on values that are not here.
fn refuse_templates(text: &str) -> Result<(), ImportError> {
    let without_comment = |line: &str| line.split(" #").next().unwrap_or_default().trim_start().to_owned();
    let found = text.lines().map(without_comment).enumerate().find(|(_, line)| {
        !line.starts_with('#') && line.find("{{").is_some_and(|at| line[at..].contains("}}"))
    });
    let Some((at, line)) = found else { return Ok(()) };
    Err(error(
        at as u32 + 1,
        format!(
            "{} is a directive of a Go template: the network depends on values that are not in this file",
            quote(&line)
        ),
        "fill in the template first, as `containerlab deploy --vars` does, and import the result",
    ))
}

fn error(line: u32, message: impl Into<String>, help: impl Into<String>) -> ImportError {
    ImportError { line: Some(line), message: message.into(), help: help.into() }
}

/// The pairs of a mapping.
type Pairs<'v, 't> = &'v [(Value<'t>, Value<'t>)];

/// What a node, or what nodes inherit from, says of it.
#[derive(Clone, Copy, Default)]
struct Layer<'v, 't> {
    kind: Option<&'v str>,
    group: Option<&'v str>,
    model: Option<&'v str>,
    labels: Option<&'v Value<'t>>,
}

/// What nodes inherit.
struct Shared<'v, 't> {
    defaults: Layer<'v, 't>,
    kinds: BTreeMap<&'v str, Layer<'v, 't>>,
    groups: BTreeMap<&'v str, Layer<'v, 't>>,
}

#[derive(Default)]
struct Reader {
    found: Found,
    /// Bytes of all labels: what nodes inherit can be far more than the lab has.
    label_bytes: usize,
    /// Position and line of each node.
    nodes: BTreeMap<String, (usize, u32)>,
    /// Lines of endpoints that are taken.
    used: BTreeMap<(usize, String), u32>,
    /// Settings of nodes that say nothing about the network.
    unread: BTreeSet<String>,
    /// Values of variables' defaults.
    expanded: BTreeSet<String>,
}

impl Reader {
    fn drop(&mut self, line: u32, what: String) {
        self.found.dropped.push(format!("line {line}: {what}"));
    }

    fn finish(mut self) -> Found {
        if !self.unread.is_empty() {
            let keys: Vec<&str> = self.unread.iter().map(String::as_str).collect();
            let what = "settings of nodes that say nothing about the network:";
            self.found.dropped.push(format!("{what} {}", keys.join(", ")));
        }
        for text in self.expanded {
            let how = "its default is used, whatever the environment says";
            self.found.invented.push(format!("{}: {how}", quote(&text)));
        }
        self.found
    }

    fn nodes(&mut self, topology: Pairs<'_, '_>) -> Result<(), ImportError> {
        for (key, value) in topology {
            let known = ["nodes", "links", "kinds", "groups", "defaults"];
            if let Some(key) = scalar(key).filter(|key| !known.contains(key)) {
                self.drop(value.place.line, format!("`{key}` of the topology"));
            }
        }
        let Some(nodes) = get(topology, "nodes").filter(|nodes| !nodes.is_null()) else {
            let line = topology.first().map_or(1, |(key, _)| key.place.line);
            return Err(error(line, "the lab has no `nodes`", "add nodes below `topology.nodes`"));
        };
        let shared = Shared {
            defaults: self.layer(pairs_of(get(topology, "defaults"))),
            kinds: self.section(topology, "kinds"),
            groups: self.section(topology, "groups"),
        };
        for (key, value) in mapping(nodes, "`nodes`")? {
            let Some(name) = scalar(key).filter(|name| !name.is_empty()) else {
                return Err(error(key.place.line, "a node's name is not text", "write `NAME:`"));
            };
            let at = self.found.nodes.len();
            if let Some((_, line)) = self.nodes.insert(name.to_owned(), (at, key.place.line)) {
                let message = format!("the node {} is already there, on line {line}", quote(name));
                return Err(error(key.place.line, message, "remove one of the two, or rename it"));
            }
            let node = self.node(name, value, &shared)?;
            let bytes: usize = node.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
            self.label_bytes = self.label_bytes.saturating_add(bytes);
            if self.label_bytes > FILE_BYTES_MAX {
                let message = "with what nodes inherit, the labels are larger than a topology file may be";
                return Err(error(
                    key.place.line,
                    message,
                    "remove labels from `defaults`, `kinds` and `groups`",
                ));
            }
            self.found.nodes.push(node);
        }
        Ok(())
    }

    /// The mappings of `topology.SECTION` by name.
    fn section<'v, 't>(
        &mut self,
        topology: Pairs<'v, 't>,
        section: &str,
    ) -> BTreeMap<&'v str, Layer<'v, 't>> {
        let all = pairs_of(get(topology, section)).iter();
        all.filter_map(|(key, value)| Some((scalar(key)?, self.layer(pairs_of(Some(value)))))).collect()
    }

    fn layer<'v, 't>(&mut self, pairs: Pairs<'v, 't>) -> Layer<'v, 't> {
        let unread = pairs.iter().filter_map(|(key, _)| scalar(key));
        self.unread.extend(unread.filter(|key| !NODE_KEYS.contains(key) && *key != "<<").map(str::to_owned));
        let text = |key: &str| get(pairs, key).and_then(scalar);
        let labels = get(pairs, "labels").filter(|labels| !labels.is_null());
        Layer { kind: text("kind"), group: text("group"), model: text("type"), labels }
    }

    /// A node with what its group, kind and the defaults say.
    fn node(
        &mut self,
        name: &str,
        value: &Value<'_>,
        shared: &Shared<'_, '_>,
    ) -> Result<FoundNode, ImportError> {
        let own =
            if value.is_null() { &[][..] } else { mapping(value, &format!("the node {}", quote(name)))? };
        let own = self.layer(own);
        let defaults = shared.defaults;
        let group = own.group.or(defaults.group);
        let of_group = group.and_then(|group| shared.groups.get(group)).copied().unwrap_or_default();
        let kind = own.kind.or(of_group.kind).or(defaults.kind);
        let of_kind = kind.and_then(|kind| shared.kinds.get(kind)).copied().unwrap_or_default();
        // The nearest to the node wins, as in containerlab.
        let layers = [own, of_group, of_kind, defaults];
        let mut labels: BTreeMap<&str, &str> = BTreeMap::new();
        for pairs in layers.iter().rev().filter_map(|layer| layer.labels) {
            for (key, value) in mapping(pairs, "`labels`")? {
                match (scalar(key), scalar(value)) {
                    (Some(key), Some(text)) => {
                        labels.insert(key, text);
                    }
                    _ => self.drop(value.place.line, format!("a label of {name} that is not text")),
                }
            }
        }
        let model = layers.iter().find_map(|layer| layer.model);
        for (key, text) in [("kind", kind), ("group", group), ("type", model)] {
            let Some(text) = text else { continue };
            if let Some(other) = labels.insert(key, text) {
                let (line, other) = (value.place.line, quote(other));
                let why = format!("since the node's {key} is called so");
                self.drop(line, format!("the label `{key}: {other}` of {name}, {why}"));
            }
        }
        if kind.is_some_and(|kind| BRIDGES.contains(&kind)) {
            let what = "is a bridge: it becomes a node that forwards, since a link has two ends";
            self.found.invented.push(format!("{} {what}", quote(name)));
        }
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Ok(FoundNode { source_id: name.to_owned(), labels, ..FoundNode::default() })
    }

    fn link(&mut self, index: usize, value: &Value<'_>) -> Result<(), ImportError> {
        let link = mapping(value, "a link")?;
        let line = value.place.line;
        let kind = get(link, "type").and_then(scalar).unwrap_or("veth");
        if !LINK_TYPES.contains(&kind) {
            let ends = self.ends(link, line)?;
            let of: Vec<String> = ends.iter().map(|end| format!("{}:{}", end.node, end.interface)).collect();
            self.drop(
                line,
                format!("link of type {} at {}: not between two nodes", quote(kind), of.join(" and ")),
            );
            return Ok(());
        }
        let ends = self.ends(link, line)?;
        let [first, second] = ends.as_slice() else {
            let message = format!("a link between nodes has two endpoints, here are {}", ends.len());
            return Err(error(line, message, "write `endpoints: [\"a:eth1\", \"b:eth1\"]`"));
        };
        let other = [first, second]
            .into_iter()
            .find(|end| NOT_NODES.contains(&end.node.as_str()) && !self.nodes.contains_key(&end.node));
        if let Some(other) = other {
            let node = if std::ptr::eq(other, first) { second } else { first };
            let (node, other) = (format!("{}:{}", node.node, node.interface), quote(&other.node));
            self.drop(line, format!("link of {node} to {other}: not between two nodes"));
            return Ok(());
        }
        let positions = [self.place_of(first)?, self.place_of(second)?];
        let [mut a, mut b] = [first, second].map(|end| self.addresses_of(end));
        for key in ["ipv4", "ipv6"] {
            let Some(Kind::List(items)) = get(link, key).map(|value| &value.kind) else { continue };
            for (list, item) in [&mut a, &mut b].into_iter().zip(items.iter()) {
                list.extend(scalar(item).filter(|text| !text.is_empty()).map(str::to_owned));
            }
        }
        let addresses = [self.parse_addresses(line, a), self.parse_addresses(line, b)];
        let mtu_bytes = get(link, "mtu").and_then(scalar).and_then(|text| text.parse().ok());
        for (key, value) in link {
            let known = ["type", "endpoints", "mtu", "ipv4", "ipv6"];
            if let Some(key) = scalar(key).filter(|key| !known.contains(key) && *key != "<<") {
                self.drop(value.place.line, format!("`{key}` of the link"));
            }
        }
        self.found.links.push(FoundLink {
            source_index: index.to_string(),
            ends: positions,
            interfaces: [Some(first.interface.clone()), Some(second.interface.clone())],
            mtu_bytes,
            addresses,
            ..FoundLink::default()
        });
        Ok(())
    }

    /// The node of an endpoint, whose interface nobody else may use.
    fn place_of(&mut self, end: &End<'_>) -> Result<usize, ImportError> {
        let Some((at, _)) = self.nodes.get(&end.node).copied() else {
            let message = format!("this endpoint is at {}, which is not in `nodes`", quote(&end.node));
            return Err(error(end.line, message, "correct the node's name, or add the node"));
        };
        if let Some(line) = self.used.insert((at, end.interface.clone()), end.line) {
            let both = quote(&format!("{}:{}", end.node, end.interface));
            let message = format!("the interface {both} is already at the link on line {line}");
            return Err(error(end.line, message, "give each link an interface of its own"));
        }
        Ok(at)
    }

    fn addresses_of(&self, end: &End<'_>) -> Vec<String> {
        end.addresses.iter().filter(|text| !text.is_empty()).map(|text| (*text).to_owned()).collect()
    }

    fn parse_addresses(&mut self, line: u32, texts: Vec<String>) -> Vec<IpNetwork> {
        let mut addresses = Vec::new();
        for text in texts {
            match address::cidr(&text) {
                Some(address) => addresses.push(address),
                None => self.drop(line, format!("the address {}, which is not ADDRESS/LENGTH", quote(&text))),
            }
        }
        addresses
    }

    /// The endpoints of a link in any spelling.
    fn ends<'v>(
        &mut self,
        link: &'v [(Value<'_>, Value<'_>)],
        line: u32,
    ) -> Result<Vec<End<'v>>, ImportError> {
        let help = "write `endpoints: [\"a:eth1\", \"b:eth1\"]`";
        let items: Vec<&Value<'_>> = match (get(link, "endpoints"), get(link, "endpoint")) {
            (Some(value), _) => match &value.kind {
                Kind::List(items) => items.iter().collect(),
                _ => return Err(error(value.place.line, "`endpoints` is not a list", help)),
            },
            (None, Some(value)) => vec![value],
            (None, None) => return Err(error(line, "this link has no `endpoints`", help)),
        };
        items.into_iter().map(|item| self.end(item)).collect()
    }

    fn end<'v>(&mut self, value: &'v Value<'_>) -> Result<End<'v>, ImportError> {
        let line = value.place.line;
        if let Kind::Mapping(pairs) = &value.kind {
            let text = |key: &str| get(pairs, key).and_then(scalar);
            let (Some(node), Some(interface)) = (text("node"), text("interface")) else {
                return Err(error(line, "this endpoint lacks `node` or `interface`", "write both"));
            };
            let addresses = ["ipv4", "ipv6"].into_iter().filter_map(text).collect();
            let (node, interface) = (self.expand(node, line)?, self.expand(interface, line)?);
            return Ok(End { node, interface, line, addresses });
        }
        let text = self.expand(scalar(value).unwrap_or_default(), line)?;
        let parts =
            text.split_once(':').filter(|(node, interface)| !node.is_empty() && !interface.is_empty());
        let Some((node, interface)) = parts else {
            let message = format!("the endpoint {} is not `node:interface`", value.describe());
            return Err(error(line, message, "write the node and its interface, as in `leaf1:eth1`"));
        };
        Ok(End { node: node.to_owned(), interface: interface.to_owned(), line, addresses: Vec::new() })
    }

    /// `text` with the defaults of its variables: `${NAME:=default}` and `${NAME:-default}`.
    fn expand(&mut self, text: &str, line: u32) -> Result<String, ImportError> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let inner = after.split_once('}');
            let default =
                inner.and_then(|(inner, _)| inner.split_once(":=").or_else(|| inner.split_once(":-")));
            let (Some((_, left)), Some((_, default))) = (inner, default) else {
                let message = format!("{} depends on a variable that has no default here", quote(text));
                return Err(error(
                    line,
                    message,
                    "write the value in its place, or a default: `${NAME:=value}`",
                ));
            };
            self.expanded.insert(text.to_owned());
            out.push_str(default);
            rest = left;
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The text of a single value.
fn scalar<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match &value.kind {
        Kind::Plain(text) | Kind::Quoted(text) if !value.is_null() => Some(text),
        _ => None,
    }
}

fn mapping<'v, 't>(value: &'v Value<'t>, what: &str) -> Result<&'v [(Value<'t>, Value<'t>)], ImportError> {
    match &value.kind {
        Kind::Mapping(pairs) => Ok(pairs),
        _ => {
            let message = format!("{what} is {}, but must be a mapping of keys to values", value.describe());
            Err(error(value.place.line, message, "write `key: value` pairs"))
        }
    }
}

/// The value of a key, of the mapping itself or merged into it by `<<` (YAML 1.1).
fn get<'v, 't>(pairs: &'v [(Value<'t>, Value<'t>)], wanted: &str) -> Option<&'v Value<'t>> {
    let own = pairs.iter().find(|(key, _)| scalar(key) == Some(wanted)).map(|(_, value)| value);
    own.or_else(|| {
        let (_, merged) = pairs.iter().find(|(key, _)| scalar(key) == Some("<<"))?;
        let find = |value: &'v Value<'t>| match &value.kind {
            Kind::Mapping(pairs) => {
                pairs.iter().find(|(key, _)| scalar(key) == Some(wanted)).map(|(_, value)| value)
            }
            _ => None,
        };
        match &merged.kind {
            Kind::List(items) => items.iter().find_map(find),
            _ => find(merged),
        }
    })
}

/// The pairs of a value; none where it is no mapping.
fn pairs_of<'v, 't>(value: Option<&'v Value<'t>>) -> Pairs<'v, 't> {
    match value.map(|value| &value.kind) {
        Some(Kind::Mapping(pairs)) => pairs,
        _ => &[],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_link_is_read_or_told() {
        let text = "
name: spellings
topology:
  kinds: {linux: {image: x}}
  nodes:
    a: {kind: linux}
    b:
    host: {}
  links:
    - endpoints: [a:eth1, b:eth1]
    - {type: veth, endpoints: [{node: a, interface: eth2, ipv4: 192.0.2.1/30}, {node: b, interface: eth2, ipv4: 192.0.2.2/30}], mtu: 9000}
    - endpoints: [\"a:${PORT:=eth3}\", \"host:eth1\"]
    - endpoints: [a:eth4, mgmt-net:x]
    - {type: dummy, endpoint: {node: a, interface: d0}}
    - {type: vxlan, endpoint: {node: b, interface: e1-1}, remote: 10.0.0.1, vni: 7}
    - {endpoints: [a:eth5, b:eth5], ipv4: [\"\", 192.0.2.6/30], vars: {x: y}}
";
        let found = read(text).unwrap();
        let ends: Vec<_> = found.links.iter().map(|link| (link.source_index.as_str(), link.ends)).collect();
        assert_eq!(ends, [("0", [0, 1]), ("1", [0, 1]), ("2", [0, 2]), ("6", [0, 1])]);
        assert_eq!(found.links[1].mtu_bytes, Some(9000));
        assert_eq!(found.links[1].addresses[1], [address::cidr("192.0.2.2/30").unwrap()]);
        assert_eq!(found.links[2].interfaces[0].as_deref(), Some("eth3"));
        assert_eq!(found.links[3].addresses[0], []);
        assert_eq!(
            found.dropped,
            [
                "line 13: link of a:eth4 to `mgmt-net`: not between two nodes",
                "line 14: link of type `dummy` at a:d0: not between two nodes",
                "line 15: link of type `vxlan` at b:e1-1: not between two nodes",
                "line 16: `vars` of the link",
                "settings of nodes that say nothing about the network: image",
            ]
        );
        assert_eq!(
            found.invented,
            ["`${PORT:=eth3}`: its default is used, whatever the environment says"]
                .map(|line| line.replace("`${", "`a:${"))
        );
    }

    #[test]
    fn labels_come_from_the_nearest_of_node_group_kind_and_defaults() {
        let text = "
topology:
  defaults: {kind: linux, labels: {who: defaults, only: defaults}}
  kinds: {srl: {type: ixrd3, labels: {who: kind}}}
  groups: {leaf: {kind: srl, labels: {who: group}}}
  nodes:
    a: {group: leaf, labels: {who: node}}
    b: {group: leaf}
    c: {}
    d: {kind: bridge}
";
        let found = read(text).unwrap();
        let labels = |at: usize| {
            found.nodes[at]
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(labels(0), "group=leaf kind=srl only=defaults type=ixrd3 who=node");
        assert_eq!(labels(1), "group=leaf kind=srl only=defaults type=ixrd3 who=group");
        assert_eq!(labels(2), "kind=linux only=defaults who=defaults");
        assert_eq!(
            found.invented,
            ["`d` is a bridge: it becomes a node that forwards, since a link has two ends"]
        );
    }

    #[test]
    fn labels_that_nodes_inherit_are_bounded() {
        let nodes: String = (0..2_000).map(|node| format!("    n{node}: {{}}\n")).collect();
        let text =
            format!("topology:\n  defaults: {{labels: {{a: {}}}}}\n  nodes:\n{nodes}", "x".repeat(10_000));
        let refused = read(&text).unwrap_err();
        assert!(refused.message.contains("larger than a topology file"), "{refused}");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, message) in [
            ("topology:\n  nodes:\n    a: {}\n{{- if .x }}\n    b: {}\n{{- end }}\n", 4, "Go template"),
            (
                "topology:\n  nodes:\n    a: {}\n  links:\n    - endpoints: [\"a:1\", \"c:1\"]\n",
                5,
                "`c`, which is not in",
            ),
            (
                "topology:\n  nodes: {a: {}, b: {}}\n  links:\n    - endpoints: [a:1]\n",
                4,
                "two endpoints, here are 1",
            ),
            (
                "topology:\n  nodes: {a: {}, b: {}}\n  links:\n    - endpoints: [a:1, b:1]\n    - endpoints: [a:1, b:2]\n",
                5,
                "already at the link on line 4",
            ),
            (
                "topology:\n  nodes: {a: {}, b: {}}\n  links:\n    - endpoints: [a, b:1]\n",
                4,
                "not `node:interface`",
            ),
            (
                "topology:\n  nodes: {a: {}, b: {}}\n  links:\n    - endpoints: [\"a:${X}\", b:1]\n",
                4,
                "no default here",
            ),
            ("topology:\n  nodes: {a: {}}\n  links:\n    - type: veth\n", 4, "no `endpoints`"),
            ("topology:\n  nodes:\n    a: {}\n    a: {}\n", 4, "already there, on line 3"),
            ("name: x\n", 1, "no `topology`"),
            ("topology: {}\n", 1, "no `nodes`"),
            ("topology: [\n", 1, "not YAML"),
            ("topology:\n\tnodes: {}\n", 2, "a tab"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.message.contains(message), "{text}: {refused}");
            assert_eq!(refused.line, Some(line), "{text}: {refused}");
        }
    }
}
