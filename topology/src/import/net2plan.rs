//! Net2Plan designs (`.n2p`, XML) in their three layouts: without a version (`physicalTopology`, nodes by
//! position), version 3 and version 6 (nodes and links by id, links and demands in layers).
//!
//! Reads the network and its offered traffic; routes, protection and resources of a design are not read.

use super::source::{Collector, OneWay, Several, error, not_negative, place_nodes, rate_bps, unit_bps};
use super::{Found, FoundNode, ImportError, xml};
use crate::diagnostic::quote;
use roxmltree::Node;

/// Bits per second of an Erlang, and of capacities whose unit a design does not name: Net2Plan's default.
const UNIT_BPS_DEFAULT: f64 = 1e9;

const MICROSECONDS_PER_SECOND: f64 = 1e6;

/// What the layouts call the same things.
struct Words {
    capacity: &'static str,
    length: &'static str,
    demand: &'static str,
    traffic: &'static str,
}

const WITHOUT_VERSION: Words = Words {
    capacity: "linkCapacityInErlangs",
    length: "linkLengthInKm",
    demand: "demandEntry",
    traffic: "offeredTrafficInErlangs",
};

const WITH_VERSION: Words =
    Words { capacity: "capacity", length: "lengthInKm", demand: "demand", traffic: "offeredTraffic" };

/// Reads one design, or a traffic matrix with its nodes and no links.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    let document = xml::parse(text)?;
    let root = xml::root(&document, "network", "Net2Plan")?;
    let mut reader = Reader::default();
    reader.into.found.name = root.attribute("name").filter(|name| !name.is_empty()).map(str::to_owned);
    if let Some(physical) = xml::child(root, "physicalTopology") {
        reader.nodes(physical, false)?;
        reader.links(physical, &WITHOUT_VERSION, UNIT_BPS_DEFAULT)?;
        for set in xml::children(root, "demandSet") {
            reader.demands(set, &WITHOUT_VERSION, UNIT_BPS_DEFAULT)?;
        }
        reader.unit_assumed = true;
        return Ok(reader.finish());
    }
    let layers: Vec<Node<'_, '_>> = xml::children(root, "layer").collect();
    let default =
        layers.iter().position(|layer| layer.attribute("isDefaultLayer") == Some("true")).unwrap_or(0);
    let Some(layer) = layers.get(default).copied() else {
        let message = "there is neither <physicalTopology> nor <layer>: this design has no links";
        return Err(error(
            xml::line(root),
            message,
            "say which format the file has, or save the design again",
        ));
    };
    reader.nodes(root, true)?;
    let capacity_unit_bps = reader.unit(layer, "linkCapacityUnitsName");
    reader.links(layer, &WITH_VERSION, capacity_unit_bps)?;
    let traffic_unit_bps = reader.unit(layer, "demandTrafficUnitsName");
    reader.demands(layer, &WITH_VERSION, traffic_unit_bps)?;
    for (_, layer) in layers.iter().enumerate().filter(|(position, _)| *position != default) {
        let name = layer.attribute("name").filter(|name| !name.is_empty()).or(layer.attribute("id"));
        reader.layers.add(|| quote(name.unwrap_or_default()));
    }
    Ok(reader.finish())
}

#[derive(Default)]
struct Reader {
    into: Collector,
    /// Some rate had no unit.
    unit_assumed: bool,
    has_rates: bool,
    down: Several,
    layers: Several,
}

impl Reader {
    /// Bits per second of the unit that a layer names.
    fn unit(&mut self, layer: Node<'_, '_>, attribute: &str) -> f64 {
        let named = layer.attribute(attribute).and_then(unit_bps);
        self.unit_assumed |= named.is_none();
        named.unwrap_or(UNIT_BPS_DEFAULT)
    }

    fn nodes(&mut self, parent: Node<'_, '_>, by_id: bool) -> Result<(), ImportError> {
        let mut coordinates = Vec::new();
        for node in xml::children(parent, "node") {
            let source_id = match by_id {
                true => xml::attribute(node, "id")?.to_owned(),
                false => self.into.found.nodes.len().to_string(),
            };
            let (x, y) = (xml::number_attribute(node, "xCoord")?, xml::number_attribute(node, "yCoord")?);
            coordinates.push(x.zip(y));
            let label = node.attribute("name").filter(|name| !name.trim().is_empty());
            if node.attribute("isUp") == Some("false") {
                self.down.add(|| quote(label.unwrap_or(&source_id)));
            }
            let labels = xml::children(node, "attribute").filter_map(|attribute| {
                Some((attribute.attribute("key")?.into(), attribute.attribute("value")?.into()))
            });
            let found = FoundNode {
                label: label.map(str::to_owned),
                labels: labels.collect(),
                source_id,
                ..FoundNode::default()
            };
            self.into
                .node(found, None)
                .map_err(|problem| ImportError { line: xml::line(node), ..problem })?;
        }
        place_nodes(&coordinates, &mut self.into);
        Ok(())
    }

    fn links(&mut self, parent: Node<'_, '_>, words: &Words, unit_bps: f64) -> Result<(), ImportError> {
        for (position, link) in xml::children(parent, "link").enumerate() {
            let place = |problem| ImportError { line: xml::line(link), ..problem };
            let from =
                self.into.position(xml::attribute(link, "originNodeId")?, "a link", None).map_err(place)?;
            let to = self
                .into
                .position(xml::attribute(link, "destinationNodeId")?, "a link", None)
                .map_err(place)?;
            if link.attribute("isUp") == Some("false") {
                let name = self.into.link_name([from, to]);
                self.down.add(|| name);
            }
            let capacity = xml::number_attribute(link, words.capacity)?.unwrap_or_default();
            let capacity_bps = rate_bps(capacity, unit_bps, words.capacity, None).map_err(place)?;
            self.has_rates |= capacity_bps.is_some();
            let distance_km = xml::number_attribute(link, words.length)?
                .map(|km| not_negative(km, words.length, None))
                .transpose()
                .map_err(place)?;
            let speed =
                xml::number_attribute(link, "propagationSpeedInKmPerSecond")?.filter(|speed| *speed > 0.0);
            let latency_us = distance_km.zip(speed).map(|(km, speed)| km / speed * MICROSECONDS_PER_SECOND);
            let partner = link.attribute("bidirectionalPairId").filter(|id| *id != "-1");
            let one_way = OneWay {
                source_index: link.attribute("id").map_or_else(|| position.to_string(), str::to_owned),
                from,
                to,
                weight: None,
                capacity_bps,
                latency_us: latency_us.filter(|latency_us| latency_us.is_finite()),
                distance_km,
                partner: partner.map(str::to_owned),
            };
            self.into.one_way(one_way, None).map_err(place)?;
        }
        Ok(())
    }

    fn demands(&mut self, parent: Node<'_, '_>, words: &Words, unit_bps: f64) -> Result<(), ImportError> {
        for demand in xml::children(parent, words.demand) {
            let place = |problem| ImportError { line: xml::line(demand), ..problem };
            let from = self
                .into
                .position(xml::attribute(demand, "ingressNodeId")?, "a demand", None)
                .map_err(place)?;
            let to = self
                .into
                .position(xml::attribute(demand, "egressNodeId")?, "a demand", None)
                .map_err(place)?;
            let traffic = xml::number_attribute(demand, words.traffic)?.unwrap_or_default();
            self.into.demand((from, to), (traffic, unit_bps), words.traffic, None).map_err(place)?;
            self.has_rates = true;
        }
        Ok(())
    }

    fn finish(self) -> Found {
        let mut found = self.into.finish();
        if self.unit_assumed && self.has_rates {
            let line = "the unit of capacities or demands: the design names none, and Gbit/s is taken, as Net2Plan does";
            found.invented.push(line.into());
        }
        self.down.tell(
            &mut found.dropped,
            "nodes and links that are down in the design; each is kept as one in use",
        );
        self.layers.tell(&mut found.dropped, "layers beside the default one");
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::survives_damage;
    use super::*;

    const OLD: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<network name="old"><physicalTopology>
<node name="Ulm" xCoord="10.0" yCoord="48.4"/><node name="" xCoord="8" yCoord="50"/><node name="Ulm" xCoord="0.0" yCoord="0.0"/>
<link originNodeId="0" destinationNodeId="1" linkCapacityInErlangs="2.5" linkLengthInKm="200"/>
<link originNodeId="1" destinationNodeId="0" linkCapacityInErlangs="2.5" linkLengthInKm="200"/>
<link originNodeId="1" destinationNodeId="2" linkCapacityInErlangs="0" linkLengthInKm="7"/>
</physicalTopology><demandSet>
<demandEntry ingressNodeId="0" egressNodeId="2" offeredTrafficInErlangs="0.5"/>
</demandSet></network>"#;

    const LAYERED: &str = r#"<network name="new" version="6">
<node id="2" name="A" xCoord="1" yCoord="2" isUp="true"><attribute key="state" value="X"/></node>
<node id="5" name="B" xCoord="1000" yCoord="2" isUp="false"/>
<layer id="1" name="fibre"/>
<layer id="3" isDefaultLayer="true" linkCapacityUnitsName="Mbps" demandTrafficUnitsName="kbps">
<link id="10" originNodeId="2" destinationNodeId="5" capacity="40" lengthInKm="100" bidirectionalPairId="13" propagationSpeedInKmPerSecond="200000.0"/>
<link id="11" originNodeId="2" destinationNodeId="5" capacity="40" lengthInKm="100" bidirectionalPairId="12" propagationSpeedInKmPerSecond="200000.0"/>
<link id="12" originNodeId="5" destinationNodeId="2" capacity="30" lengthInKm="100" bidirectionalPairId="11"/>
<link id="13" originNodeId="5" destinationNodeId="2" capacity="40" lengthInKm="100" bidirectionalPairId="10"/>
<demand id="20" ingressNodeId="5" egressNodeId="2" offeredTraffic="3"/>
</layer></network>"#;

    #[test]
    fn the_layout_without_a_version_numbers_nodes_by_position() {
        let found = read(OLD).unwrap();
        assert_eq!(found.name.as_deref(), Some("old"));
        let nodes: Vec<_> = found
            .nodes
            .iter()
            .map(|node| (node.source_id.as_str(), node.label.as_deref(), node.location))
            .collect();
        let expected = [
            ("0", Some("Ulm"), Some((48.4, 10.0))),
            ("1", None, Some((50.0, 8.0))),
            ("2", Some("Ulm"), None),
        ];
        assert_eq!(nodes, expected);
        let links: Vec<_> =
            found.links.iter().map(|link| (link.ends, link.capacity_bps, link.distance_km)).collect();
        assert_eq!(links, [([0, 1], Some(2_500_000_000), Some(200.0)), ([1, 2], None, Some(7.0))]);
        assert_eq!(
            found.demands.iter().map(|d| (d.from, d.to, d.rate_bps)).collect::<Vec<_>>(),
            [(0, 2, 500_000_000)]
        );
        assert_eq!(found.invented.len(), 2, "one way back, and the unit: {:?}", found.invented);
    }

    #[test]
    fn layouts_with_a_version_have_ids_layers_and_units() {
        let found = read(LAYERED).unwrap();
        let links: Vec<_> = found
            .links
            .iter()
            .map(|link| (link.source_index.as_str(), link.capacity_bps, link.latency_us))
            .collect();
        assert_eq!(links, [("10", Some(40_000_000), Some(500.0)), ("11", Some(30_000_000), Some(500.0))]);
        assert_eq!(
            found.demands.iter().map(|d| (d.from, d.to, d.rate_bps)).collect::<Vec<_>>(),
            [(1, 0, 3000)]
        );
        assert_eq!(found.nodes[0].labels, [("state".to_owned(), "X".to_owned())]);
        assert!(found.invented.is_empty());
        for word in ["positions", "two directions", "down", "layers"] {
            assert!(found.dropped.iter().any(|line| line.contains(word)), "{word}: {:#?}", found.dropped);
        }
        let found = read(
            &LAYERED
                .replace(" version=\"6\"", " version=\"3\"")
                .replace("linkCapacityUnitsName=\"Mbps\"", ""),
        )
        .unwrap();
        assert_eq!(found.links[0].capacity_bps, Some(40_000_000_000));
        assert_eq!(found.invented.len(), 1, "the unit");
    }

    #[test]
    fn broken_files_say_where_and_what_to_do() {
        let cases = [
            (OLD.replace("destinationNodeId=\"2\"", "destinationNodeId=\"3\""), Some(6), "`3`"),
            (OLD.replace("destinationNodeId=\"2\"", ""), Some(6), "no attribute destinationNodeId"),
            (OLD.replace("\"2.5\"", "\"much\""), Some(4), "`much`"),
            (OLD.replace("\"200\"", "\"-200\""), Some(4), "below zero"),
            (OLD.replace("\"0.5\"", "\"1e9\""), Some(8), "1 Pbit/s"),
            (LAYERED.replace("<node id=\"5\"", "<node id=\"2\""), Some(3), "two nodes"),
            (LAYERED.replace("<node id=\"5\"", "<node"), Some(3), "no attribute id"),
            ("<network/>".to_owned(), Some(1), "neither"),
            ("<net/>".to_owned(), Some(1), "`net`"),
        ];
        for (text, line, word) in cases {
            let problem = read(&text).unwrap_err();
            assert!(problem.message.contains(word), "{word}: {problem}");
            assert_eq!(problem.line, line, "{word}: {problem}");
        }
        for end in 0..LAYERED.len() - 1 {
            assert!(read(&LAYERED[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        survives_damage(OLD, read);
        survives_damage(LAYERED, read);
    }
}
