//! GraphML as the Internet Topology Zoo writes it: attributes by the names that the `key` elements give them.
//!
//! Names of nodes may repeat, links may be parallel, places and speeds may be missing, the network may fall
//! into parts: all of it is kept as it is.

use super::source::{
    Collector, OneWay, Several, error, great_circle_km, location, number, rate_bps, unit_bps,
};
use super::{Found, FoundLink, FoundNode, ImportError, xml};
use crate::diagnostic::quote;
use roxmltree::Node;
use std::collections::BTreeMap;

/// Attributes of a node that become labels, as the Topology Zoo names them.
const NODE_LABELS: [&str; 5] = ["Country", "type", "Internal", "hyperedge", "doubted"];

/// Reads one GraphML file.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    let document = xml::parse(text)?;
    let root = xml::root(&document, "graphml", "GraphML")?;
    let keys: Keys<'_> = xml::children(root, "key")
        .filter_map(|key| Some((key.attribute("id")?, key.attribute("attr.name")?)))
        .collect();
    let Some(graph) = xml::child(root, "graph") else {
        let help = "fetch the file again if it was cut off";
        return Err(error(xml::line(root), "there is no <graph> in this file: it has no network", help));
    };
    let mut reader = Reader { keys, ..Reader::default() };
    let of_graph = reader.values(graph);
    reader.into.found.name =
        ["Network", "label"].iter().find_map(|name| of_graph.get(name)).map(|name| (*name).into());
    for node in xml::children(graph, "node") {
        reader.node(node)?;
    }
    let directed = graph.attribute("edgedefault") == Some("directed");
    for (position, edge) in xml::children(graph, "edge").enumerate() {
        reader.edge(edge, position, directed)?;
    }
    reader.unread.add_elements(root, graph);
    Ok(reader.finish())
}

/// From the id of a key to the name of its attribute.
type Keys<'a> = BTreeMap<&'a str, &'a str>;

#[derive(Default)]
struct Reader<'a> {
    keys: Keys<'a>,
    into: Collector,
    hyperedges: Several,
    external: Several,
    odd_places: Several,
    not_built: Several,
    odd_speeds: Several,
    unread: Unread,
}

impl<'a> Reader<'a> {
    /// The values of an element by the names of its attributes; empty ones count as absent.
    fn values(&self, of: Node<'a, '_>) -> BTreeMap<&'a str, &'a str> {
        let data = xml::children(of, "data");
        data.filter_map(|data| Some((*self.keys.get(data.attribute("key")?)?, xml::text(data)?))).collect()
    }

    fn node(&mut self, node: Node<'a, '_>) -> Result<(), ImportError> {
        let source_id = xml::attribute(node, "id")?;
        let values = self.values(node);
        let label = values.get("label").filter(|label| **label != "None");
        let name = || quote(label.unwrap_or(&source_id));
        if values.get("hyperedge") == Some(&"1") {
            self.hyperedges.add(name);
        }
        if values.get("Internal") == Some(&"0") {
            self.external.add(name);
        }
        let mut place = None;
        if let (Some(latitude), Some(longitude)) = (values.get("Latitude"), values.get("Longitude")) {
            let coordinate =
                |text: &str, what| number(text, what, None).map_err(|_| number_error(node, text, what));
            place = location(coordinate(latitude, "Latitude")?, coordinate(longitude, "Longitude")?);
            if place.is_none() {
                self.odd_places.add(name);
            }
        }
        if xml::child(node, "graph").is_some() {
            self.unread.graphs.add(name);
        }
        let labels = NODE_LABELS.iter().filter_map(|key| Some(((*key).into(), (*values.get(key)?).into())));
        let found = FoundNode {
            source_id: source_id.into(),
            label: label.map(|label| (*label).into()),
            location: place,
            labels: labels.collect(),
            ..FoundNode::default()
        };
        self.into.node(found, None).map_err(|problem| ImportError { line: xml::line(node), ..problem })
    }

    fn edge(&mut self, edge: Node<'a, '_>, position: usize, directed: bool) -> Result<(), ImportError> {
        let place = |problem| ImportError { line: xml::line(edge), ..problem };
        let from = self.into.position(xml::attribute(edge, "source")?, "a link", None).map_err(place)?;
        let to = self.into.position(xml::attribute(edge, "target")?, "a link", None).map_err(place)?;
        let values = self.values(edge);
        let name = self.into.link_name([from, to]);
        if let Some(status) = values.get("LinkStatus") {
            self.not_built.add(|| format!("{name} ({})", quote(status)));
        }
        let capacity_bps = match capacity(&values) {
            Ok(capacity_bps) => capacity_bps,
            Err(_) => {
                self.odd_speeds.add(|| name);
                None
            }
        };
        let source_index = edge.attribute("id").map_or_else(|| position.to_string(), str::to_owned);
        let nodes = &self.into.found.nodes;
        let distance_km = match (nodes[from].location, nodes[to].location) {
            (Some(one), Some(other)) => Some(great_circle_km(one, other)),
            _ => None,
        };
        if edge.attribute("directed").map_or(directed, |directed| directed == "true") {
            let one_way = OneWay { source_index, from, to, capacity_bps, distance_km, ..OneWay::default() };
            return self.into.one_way(one_way, None).map_err(place);
        }
        let link =
            FoundLink { source_index, ends: [from, to], capacity_bps, distance_km, ..FoundLink::default() };
        self.into.link(link, None).map_err(place)
    }

    fn finish(self) -> Found {
        let mut found = self.into.finish();
        let dropped = &mut found.dropped;
        self.hyperedges
            .tell(dropped, "nodes that stand for a shared medium (hyperedge); each is kept as a router");
        self.external
            .tell(dropped, "nodes outside of the network (Internal is 0); each is kept as a router of it");
        self.odd_places.tell(dropped, "places that are not degrees, of nodes");
        self.odd_speeds.tell(dropped, "speeds that are no number of bits per second, of links");
        self.not_built.tell(dropped, "links that are not in use yet; each is kept as one that is");
        self.unread.hyperedges.tell(dropped, "hyperedges");
        self.unread.graphs.tell(dropped, "graphs inside of nodes or beside the first graph");
        found
    }
}

/// Parts of GraphML beyond nodes and edges.
#[derive(Default)]
struct Unread {
    hyperedges: Several,
    graphs: Several,
}

impl Unread {
    fn add_elements(&mut self, root: Node<'_, '_>, graph: Node<'_, '_>) {
        let name = |element: Node<'_, '_>| quote(element.attribute("id").unwrap_or("without id"));
        for hyperedge in xml::children(graph, "hyperedge") {
            self.hyperedges.add(|| name(hyperedge));
        }
        for other in xml::children(root, "graph").skip(1) {
            self.graphs.add(|| name(other));
        }
    }
}

fn number_error(node: Node<'_, '_>, text: &str, what: &str) -> ImportError {
    let message = format!("{what} is {}, which is not a number", quote(text));
    error(xml::line(node), message, "write degrees as a plain decimal number, or remove the line")
}

/// Bits per second: the raw value, or else the speed with its unit.
fn capacity(values: &BTreeMap<&str, &str>) -> Result<Option<u64>, ImportError> {
    if let Some(raw) = values.get("LinkSpeedRaw") {
        return rate_bps(number(raw, "LinkSpeedRaw", None)?, 1.0, "LinkSpeedRaw", None);
    }
    let (Some(speed), Some(unit)) = (values.get("LinkSpeed"), values.get("LinkSpeedUnits")) else {
        return Ok(None);
    };
    let Some(unit_bps) = unit_bps(unit) else {
        return Err(error(None, format!("{} is not a unit of speed", quote(unit)), "write K, M, G or T"));
    };
    rate_bps(number(speed, "LinkSpeed", None)?, unit_bps, "LinkSpeed", None)
}

#[cfg(test)]
mod tests {
    use super::super::source::survives_damage;
    use super::*;

    const HEAD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
<key attr.name="label" attr.type="string" for="node" id="d0"/><key attr.name="Latitude" for="node" id="d1"/>
<key attr.name="Longitude" for="node" id="d2"/><key attr.name="LinkSpeedRaw" for="edge" id="d3"/>
<key attr.name="Network" for="graph" id="d4"/><key attr.name="hyperedge" for="node" id="d5"/>
<key attr.name="LinkSpeed" for="edge" id="d6"/><key attr.name="LinkSpeedUnits" for="edge" id="d7"/>
<key attr.name="Internal" for="node" id="d8"/><key attr.name="LinkStatus" for="edge" id="d9"/>
"#;

    fn graph(body: &str) -> String {
        format!("{HEAD}<graph edgedefault=\"undirected\">{body}</graph></graphml>")
    }

    const NODES: &str = r#"<data key="d4">Example &amp; Co</data>
<node id="0"><data key="d0">Ost</data><data key="d1">50</data><data key="d2">8</data><data key="d8">1</data></node>
<node id="1"><data key="d0">Ost</data><data key="d1">51</data><data key="d2">8</data><data key="d8">0</data></node>
<node id="2"><data key="d5">1</data></node>"#;

    #[test]
    fn names_places_and_speeds_arrive_with_what_was_left_out() {
        let edges = r#"<edge source="0" target="1"><data key="d3">2500000000.0</data></edge>
            <edge source="0" target="1"><data key="d6">34</data><data key="d7">M</data></edge>
            <edge source="1" target="2"><data key="d3">fast</data><data key="d9">Planned</data></edge>
            <edge source="2" target="2"/>"#;
        let found = read(&graph(&format!("{NODES}{edges}"))).unwrap();
        assert_eq!(found.name.as_deref(), Some("Example & Co"));
        assert_eq!(
            found.nodes.iter().map(|node| node.label.as_deref()).collect::<Vec<_>>(),
            [Some("Ost"), Some("Ost"), None]
        );
        assert_eq!(found.nodes[1].location, Some((51.0, 8.0)));
        assert_eq!(found.nodes[2].labels, [("hyperedge".to_owned(), "1".to_owned())]);
        let links: Vec<_> = found
            .links
            .iter()
            .map(|link| (link.source_index.as_str(), link.ends, link.capacity_bps))
            .collect();
        assert_eq!(
            links,
            [("0", [0, 1], Some(2_500_000_000)), ("1", [0, 1], Some(34_000_000)), ("2", [1, 2], None)]
        );
        assert_eq!(found.links[0].distance_km, Some(111.195));
        assert_eq!(found.links[2].distance_km, None);
        let words = ["itself", "shared medium", "outside", "speeds", "not in use"];
        for word in words {
            assert!(found.dropped.iter().any(|line| line.contains(word)), "{word}: {:#?}", found.dropped);
        }
        assert_eq!(found.dropped.len(), words.len());
    }

    #[test]
    fn directions_of_a_directed_graph_are_paired() {
        let text = graph(
            r#"<node id="a"/><node id="b"/><edge source="a" target="b"/><edge source="b" target="a"/>"#,
        );
        let found = read(&text.replace("\"undirected\"", "\"directed\"")).unwrap();
        assert_eq!((found.links.len(), found.invented.len()), (1, 0));
        assert_eq!(read(&text).unwrap().links.len(), 2, "undirected: parallel links");
    }

    #[test]
    fn broken_files_say_where_and_what_to_do() {
        let cases = [
            (graph("<node id='a'/>\n<edge source='a' target='b'/>"), Some(9), "`b`"),
            (graph("<node id='a'/>\n\n<node id='a'/>"), Some(10), "two nodes"),
            (graph("<node/>"), Some(8), "attribute id"),
            (
                graph("<node id='a'><data key='d1'>north</data><data key='d2'>1</data></node>"),
                Some(8),
                "`north`",
            ),
            ("<graphml/>".to_owned(), Some(1), "no <graph>"),
            ("<svg/>".to_owned(), Some(1), "`svg`"),
            (graph(NODES)[..600].to_owned(), None, "XML"),
        ];
        for (text, line, word) in cases {
            let problem = read(&text).unwrap_err();
            assert!(problem.message.contains(word), "{word}: {problem}");
            assert!(line.is_none() || problem.line == line, "{word}: {problem}");
            assert!(!problem.help.is_empty());
        }
    }

    #[test]
    fn every_cut_of_a_file_is_refused_without_a_panic() {
        let text = graph(&format!("{NODES}<edge source='0' target='1'/>"));
        for end in (0..text.len() - 1).filter(|end| text.is_char_boundary(*end)) {
            assert!(read(&text[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        survives_damage(&graph(&format!("{NODES}<edge source='0' target='1'/>")), read);
    }
}
