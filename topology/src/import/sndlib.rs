//! SNDlib networks, in the library's own text format and in its XML.
//!
//! Both say the same: nodes with places, links with capacities and routing costs, demands. Costs of
//! installing capacity and lists of admissible paths belong to design problems and are not read.

use super::source::{
    Collector, OneWay, Several, check_size, error, line_number, not_negative, number, place_nodes, rate_bps,
    unit_bps,
};
use super::{Found, FoundLink, FoundNode, ImportError, xml};
use crate::diagnostic::quote;
use roxmltree::Node;
use std::collections::BTreeMap;

/// Bits per second of capacities and demands whose unit a file does not name.
const UNIT_BPS_DEFAULT: f64 = 1e6;

/// What to do about a text that does not follow the format.
const HELP_NATIVE: &str =
    "compare with the format's comment above the section; a file that was cut off lacks its end";

/// Reads a file of either kind.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    check_size(text)?;
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        read_xml(text)
    } else {
        read_native(text)
    }
}

/// A link as both formats state it.
struct SourceLink<'a> {
    id: &'a str,
    ends: [&'a str; 2],
    preinstalled: f64,
    routing_cost: f64,
    /// Capacity of the smallest module that can be installed.
    smallest_module: Option<f64>,
}

#[derive(Default)]
struct Reader {
    into: Collector,
    unit_name: Option<String>,
    coordinates: Vec<Option<(f64, f64)>>,
    links: Vec<(OneWay, Option<u32>)>,
    from_modules: Several,
    has_rates: bool,
}

impl Reader {
    fn unit_bps(&self) -> f64 {
        self.unit_name.as_deref().and_then(unit_bps).unwrap_or(UNIT_BPS_DEFAULT)
    }

    fn node(
        &mut self,
        id: &str,
        coordinates: Option<(f64, f64)>,
        line: Option<u32>,
    ) -> Result<(), ImportError> {
        self.coordinates.push(coordinates);
        self.into.node(FoundNode { source_id: id.to_owned(), ..FoundNode::default() }, line)
    }

    fn link(&mut self, link: &SourceLink<'_>, line: Option<u32>) -> Result<(), ImportError> {
        let of = format!("the link {}", quote(link.id));
        let ends =
            [self.into.position(link.ends[0], &of, line)?, self.into.position(link.ends[1], &of, line)?];
        let what = format!("the capacity of the link {}", quote(link.id));
        let mut capacity_bps = rate_bps(link.preinstalled, self.unit_bps(), &what, line)?;
        if let (None, Some(module)) = (capacity_bps, link.smallest_module) {
            capacity_bps = rate_bps(module, self.unit_bps(), &what, line)?;
            self.from_modules.add(|| quote(link.id));
        }
        self.has_rates |= capacity_bps.is_some();
        let routing_cost = not_negative(link.routing_cost, "the routing cost", line)?;
        let one_way = OneWay {
            source_index: link.id.to_owned(),
            from: ends[0],
            to: ends[1],
            weight: (routing_cost > 0.0).then_some(routing_cost),
            capacity_bps,
            ..OneWay::default()
        };
        self.links.push((one_way, line));
        Ok(())
    }

    fn demand(
        &mut self,
        id: &str,
        ends: [&str; 2],
        value: f64,
        line: Option<u32>,
    ) -> Result<(), ImportError> {
        let of = format!("the demand {}", quote(id));
        let ends = (self.into.position(ends[0], &of, line)?, self.into.position(ends[1], &of, line)?);
        let unit_bps = self.unit_bps();
        self.has_rates = true;
        self.into.demand(ends, (value, unit_bps), &of, line)
    }

    /// The formats do not say whether links have a direction: they do when each has its opposite.
    fn finish(mut self) -> Result<Found, ImportError> {
        place_nodes(&self.coordinates, &mut self.into);
        let mut balance: BTreeMap<[usize; 2], i64> = BTreeMap::new();
        for (way, _) in &self.links {
            let forward = way.from < way.to;
            let ends = if forward { [way.from, way.to] } else { [way.to, way.from] };
            *balance.entry(ends).or_default() += if forward { 1 } else { -1 };
        }
        let directed = balance.values().all(|balance| *balance == 0);
        for (way, line) in std::mem::take(&mut self.links) {
            if directed {
                self.into.one_way(way, line)?;
                continue;
            }
            let link = FoundLink {
                source_index: way.source_index,
                ends: [way.from, way.to],
                weights: [way.weight, way.weight],
                capacity_bps: way.capacity_bps,
                ..FoundLink::default()
            };
            self.into.link(link, line)?;
        }
        let mut found = self.into.finish();
        if self.has_rates && self.unit_name.as_deref().and_then(unit_bps).is_none() {
            let named = self.unit_name.map_or_else(|| "none".to_owned(), |name| quote(&name));
            found.invented.push(format!(
                "the unit of capacities and demands: the file has {named}, and Mbit/s is taken"
            ));
        }
        self.from_modules.tell(
            &mut found.invented,
            "capacities: none is installed, and the smallest module is taken, of links",
        );
        Ok(found)
    }
}

fn read_xml(text: &str) -> Result<Found, ImportError> {
    let document = xml::parse(text)?;
    let root = xml::root(&document, "network", "SNDlib")?;
    let structure = xml::child(root, "networkStructure");
    let Some(nodes) = structure.and_then(|structure| xml::child(structure, "nodes")) else {
        let message = "there is no <networkStructure> with <nodes>: this file has no network";
        return Err(error(xml::line(root), message, "say which format the file has"));
    };
    let mut reader = Reader::default();
    let meta = xml::child(root, "meta");
    reader.unit_name = meta.and_then(|meta| xml::text(xml::child(meta, "unit")?)).map(str::to_owned);
    let drawn = nodes.attribute("coordinatesType") == Some("pixel");
    for node in xml::children(nodes, "node") {
        let coordinates = match xml::child(node, "coordinates").filter(|_| !drawn) {
            Some(coordinates) => inner_number(coordinates, &["x"])?.zip(inner_number(coordinates, &["y"])?),
            None => None,
        };
        let id = xml::attribute(node, "id")?;
        reader
            .node(id, coordinates, None)
            .map_err(|problem| ImportError { line: xml::line(node), ..problem })?;
    }
    if drawn {
        reader.into.found.dropped.push("the nodes' positions: they are those of a drawing (pixel)".into());
    }
    let links = structure.and_then(|structure| xml::child(structure, "links"));
    for link in links.into_iter().flat_map(|links| xml::children(links, "link")) {
        let mut smallest_module: Option<f64> = None;
        for modules in xml::children(link, "additionalModules") {
            for module in xml::children(modules, "addModule") {
                smallest_module = smaller(smallest_module, inner_number(module, &["capacity"])?);
            }
        }
        let stated = SourceLink {
            id: xml::attribute(link, "id")?,
            ends: [inner_text(link, "source")?, inner_text(link, "target")?],
            preinstalled: inner_number(link, &["preInstalledModule", "capacity"])?.unwrap_or_default(),
            routing_cost: inner_number(link, &["routingCost"])?.unwrap_or_default(),
            smallest_module,
        };
        reader.link(&stated, None).map_err(|problem| ImportError { line: xml::line(link), ..problem })?;
    }
    for demand in xml::child(root, "demands").into_iter().flat_map(|demands| xml::children(demands, "demand"))
    {
        let routing_unit = inner_number(demand, &["routingUnit"])?.unwrap_or(1.0);
        let value = inner_number(demand, &["demandValue"])?.unwrap_or_default();
        let ends = [inner_text(demand, "source")?, inner_text(demand, "target")?];
        let id = demand.attribute("id").unwrap_or_default();
        reader
            .demand(id, ends, value * routing_unit, None)
            .map_err(|problem| ImportError { line: xml::line(demand), ..problem })?;
    }
    reader.finish()
}

/// The text of a child that must be there.
fn inner_text<'a>(node: Node<'a, '_>, name: &'static str) -> Result<&'a str, ImportError> {
    xml::child(node, name).and_then(xml::text).ok_or_else(|| {
        let message = format!("<{}> has no <{name}>", node.tag_name().name());
        error(xml::line(node), message, "add it, or remove the element around it")
    })
}

/// The number below `path`, when it is there.
fn inner_number(node: Node<'_, '_>, path: &[&'static str]) -> Result<Option<f64>, ImportError> {
    let inner = path.iter().try_fold(node, |node, name| xml::child(node, name));
    let Some(text) = inner.and_then(xml::text) else { return Ok(None) };
    number(text, &path.join("/"), None)
        .map(Some)
        .map_err(|problem| ImportError { line: xml::line(node), ..problem })
}

/// The smaller of two capacities, of those that are any.
fn smaller(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other.filter(|capacity| *capacity > 0.0)) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn read_native(text: &str) -> Result<Found, ImportError> {
    let mut reader = Reader::default();
    let mut tokens = Tokens::new(text);
    let mut sections: Vec<&str> = Vec::new();
    while let Some(name) = tokens.next() {
        tokens.expect("(", "the section's opening parenthesis")?;
        if ["NODES", "LINKS", "DEMANDS"].contains(&name) {
            if sections.contains(&name) {
                return Err(error(tokens.line, format!("the section {name} is here twice"), "join the two"));
            }
            sections.push(name);
        }
        match name {
            "META" => reader.meta(&mut tokens)?,
            "NODES" => tokens.entries(|id, tokens| reader.native_node(id, tokens))?,
            "LINKS" => tokens.entries(|id, tokens| reader.native_link(id, tokens))?,
            "DEMANDS" => tokens.entries(|id, tokens| reader.native_demand(id, tokens))?,
            _ => tokens.skip_section()?,
        }
    }
    if sections.first() != Some(&"NODES") {
        let message = "there is no section NODES ( ... ) in front: this is not an SNDlib network";
        return Err(error(None, message, "say which format the file has"));
    }
    reader.finish()
}

impl Reader {
    /// Of the words `key = value`, the unit.
    fn meta(&mut self, tokens: &mut Tokens<'_>) -> Result<(), ImportError> {
        let mut last = ["", ""];
        let mut depth = 1;
        while depth > 0 {
            let token = tokens.need("the end of the section META")?;
            match token {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ if last == ["unit", "="] => self.unit_name = Some(token.to_owned()),
                _ => {}
            }
            last = [last[1], token];
        }
        Ok(())
    }

    fn native_node(&mut self, id: &str, tokens: &mut Tokens<'_>) -> Result<(), ImportError> {
        let line = tokens.line;
        let mut coordinates = None;
        if tokens.peek() == Some("(") {
            tokens.next();
            coordinates = Some((tokens.number("a longitude")?, tokens.number("a latitude")?));
            tokens.expect(")", "the end of the coordinates")?;
        }
        self.node(id, coordinates, line)
    }

    fn native_link(&mut self, id: &str, tokens: &mut Tokens<'_>) -> Result<(), ImportError> {
        let line = tokens.line;
        let ends = tokens.ends()?;
        let preinstalled = tokens.number("a capacity")?;
        tokens.number("the cost of the capacity")?;
        let routing_cost = tokens.number("a routing cost")?;
        tokens.number("a set-up cost")?;
        tokens.expect("(", "the list of modules")?;
        let mut smallest_module = None;
        while tokens.peek() != Some(")") {
            smallest_module = smaller(smallest_module, Some(tokens.number("the capacity of a module")?));
            tokens.number("the cost of a module")?;
        }
        tokens.next();
        self.link(&SourceLink { id, ends, preinstalled, routing_cost, smallest_module }, line)
    }

    fn native_demand(&mut self, id: &str, tokens: &mut Tokens<'_>) -> Result<(), ImportError> {
        let line = tokens.line;
        let ends = tokens.ends()?;
        let routing_unit = tokens.number("a routing unit")?;
        let value = tokens.number("a demand's value")?;
        tokens.need("the longest path, or UNLIMITED")?;
        self.demand(id, ends, value * routing_unit, line)
    }
}

/// Words and parentheses, without comments.
struct Tokens<'a> {
    lines: std::iter::Enumerate<std::str::Lines<'a>>,
    rest: &'a str,
    peeked: Option<&'a str>,
    /// Of the last token.
    line: Option<u32>,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Tokens<'a> {
        Tokens { lines: text.lines().enumerate(), rest: "", peeked: None, line: None }
    }

    fn peek(&mut self) -> Option<&'a str> {
        if self.peeked.is_none() {
            self.peeked = self.advance();
        }
        self.peeked
    }

    fn next(&mut self) -> Option<&'a str> {
        self.peeked.take().or_else(|| self.advance())
    }

    fn advance(&mut self) -> Option<&'a str> {
        loop {
            self.rest = self.rest.trim_start();
            if !self.rest.is_empty() && !self.rest.starts_with('#') {
                let parenthesis = |c: char| c == '(' || c == ')';
                let end = match self.rest.find(|c: char| c.is_whitespace() || parenthesis(c)) {
                    Some(0) => 1,
                    Some(end) => end,
                    None => self.rest.len(),
                };
                let (token, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Some(token);
            }
            let (position, line) = self.lines.next()?;
            self.line = line_number(position);
            // The first line names the format: `?SNDlib native format; ...`.
            self.rest = if line.trim_start_matches('\u{feff}').starts_with('?') { "" } else { line };
        }
    }

    fn need(&mut self, what: &str) -> Result<&'a str, ImportError> {
        self.next()
            .ok_or_else(|| error(self.line, format!("the file ends where {what} should follow"), HELP_NATIVE))
    }

    fn expect(&mut self, token: &str, what: &str) -> Result<(), ImportError> {
        let found = self.need(what)?;
        if found == token {
            return Ok(());
        }
        let message = format!("{what} should stand here, `{token}`, not {}", quote(found));
        Err(error(self.line, message, HELP_NATIVE))
    }

    fn number(&mut self, what: &str) -> Result<f64, ImportError> {
        let token = self.need(what)?;
        number(token, what, self.line)
    }

    fn ends(&mut self) -> Result<[&'a str; 2], ImportError> {
        self.expect("(", "the two nodes")?;
        let ends = [self.need("a node")?, self.need("a node")?];
        self.expect(")", "the end of the two nodes")?;
        Ok(ends)
    }

    /// Calls `entry` with the first word of each entry, up to the end of the section.
    fn entries(
        &mut self,
        mut entry: impl FnMut(&'a str, &mut Self) -> Result<(), ImportError>,
    ) -> Result<(), ImportError> {
        loop {
            match self.need("the end of the section, `)`")? {
                ")" => return Ok(()),
                "(" => return Err(error(self.line, "a name should stand here, not `(`", HELP_NATIVE)),
                id => entry(id, self)?,
            }
        }
    }

    fn skip_section(&mut self) -> Result<(), ImportError> {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.need("the end of the section, `)`")? {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::source::survives_damage;
    use super::*;

    const NATIVE: &str = "?SNDlib native format; type: network; version: 1.0\n# network example\n\
META (\n  unit = GBITPERSEC\n)\n\
NODES (\n  Ulm ( 10.0 48.4 )\n  Kiel (10.1 54.3)\n  Bonn\n)\n\
LINKS (\n  L1 ( Ulm Kiel ) 40.00 0.00 7.50 0.00 ( 10.00 1.00 )\n  L2 ( Kiel Bonn ) 0 0 0 0 ( 20.0 2 10.0 1 ) # trailing\n)\n\
DEMANDS (\n  D1 ( Ulm Bonn ) 2 3.00 UNLIMITED\n)\n\
ADMISSIBLE_PATHS (\n  D1 ( P0 ( L1 L2 ) )\n)\n";

    const XML: &str = r#"<?xml version="1.0" encoding="ISO-8859-1"?>
<network xmlns="http://sndlib.zib.de/network" version="1.0"><meta><unit>GBITPERSEC</unit></meta>
<networkStructure><nodes coordinatesType="geographical">
<node id="Ulm"><coordinates><x>10.0</x><y>48.4</y></coordinates></node>
<node id="Kiel"><coordinates><x>10.1</x><y>54.3</y></coordinates></node><node id="Bonn"/></nodes><links>
<link id="L1"><source>Ulm</source><target>Kiel</target><preInstalledModule><capacity>40.0</capacity><cost>0.0</cost></preInstalledModule><routingCost>7.5</routingCost></link>
<link id="L2"><source>Kiel</source><target>Bonn</target><additionalModules><addModule><capacity>20.0</capacity><cost>2</cost></addModule><addModule><capacity>10.0</capacity><cost>1</cost></addModule></additionalModules></link>
</links></networkStructure><demands>
<demand id="D1"><source>Ulm</source><target>Bonn</target><routingUnit>2</routingUnit><demandValue>3.0</demandValue></demand>
</demands></network>"#;

    #[test]
    fn both_formats_say_the_same() {
        let found = read(NATIVE).unwrap();
        assert_eq!(
            found.nodes.iter().map(|node| node.location).collect::<Vec<_>>(),
            [Some((48.4, 10.0)), Some((54.3, 10.1)), None]
        );
        let links: Vec<_> =
            found.links.iter().map(|link| (link.ends, link.capacity_bps, link.weights)).collect();
        let expected = [
            ([0, 1], Some(40_000_000_000), [Some(7.5), Some(7.5)]),
            ([1, 2], Some(10_000_000_000), [None, None]),
        ];
        assert_eq!(links, expected);
        assert_eq!(
            found.demands.iter().map(|d| (d.from, d.to, d.rate_bps)).collect::<Vec<_>>(),
            [(0, 2, 6_000_000_000)]
        );
        assert_eq!(found.invented.len(), 1, "the module: {:?}", found.invented);
        assert_eq!(read(XML).unwrap(), found);
    }

    #[test]
    fn links_that_all_have_an_opposite_are_directions() {
        let text = NATIVE.replace("L2 ( Kiel Bonn ) 0 0 0 0", "L2 ( Kiel Ulm ) 40 0 2.5 0");
        let found = read(&text).unwrap();
        assert_eq!(found.links.iter().map(|link| link.weights).collect::<Vec<_>>(), [[Some(7.5), Some(2.5)]]);
    }

    #[test]
    fn a_unit_that_the_file_does_not_name_is_invented_and_pixels_are_no_places() {
        let found = read(&NATIVE.replace("GBITPERSEC", "STM-1")).unwrap();
        assert_eq!(found.links[0].capacity_bps, Some(40_000_000));
        assert!(found.invented[0].contains("`STM-1`"), "{:?}", found.invented);
        let found = read(&XML.replace("geographical", "pixel")).unwrap();
        assert_eq!(found.nodes[0].location, None);
        assert_eq!(found.dropped.len(), 1);
    }

    #[test]
    fn broken_files_say_where_and_what_to_do() {
        let cases = [
            (NATIVE.replace("( Ulm Kiel )", "( Ulm Kyel )"), Some(12), "`Kyel`"),
            (NATIVE.replace("40.00 0.00", "forty 0.00"), Some(12), "`forty`"),
            (NATIVE.replace("( 10.0 48.4 )", "( 10.0 )"), Some(7), "`)`"),
            (NATIVE.replace("  Bonn\n", "  Ulm\n"), Some(9), "two nodes"),
            (NATIVE.replace("NODES (", "NODES"), Some(7), "parenthesis"),
            (NATIVE.replace("LINKS (", "NODES ("), Some(11), "twice"),
            (NATIVE.replace("D1 ( P0", "( P0 ( ("), Some(20), "ends"),
            (NATIVE.replace("NODES (", "KNOTEN ("), Some(12), "`Ulm`"),
            ("hello".to_owned(), Some(1), "ends where"),
            (String::new(), None, "NODES"),
            (XML.replace("<source>Ulm</source><target>Kiel", "<target>Kiel"), Some(6), "no <source>"),
            (XML.replace("<x>10.0</x>", "<x>east</x>"), Some(4), "`east`"),
            (XML.replace("<demandValue>3.0", "<demandValue>-3.0"), Some(9), "below zero"),
            ("<network/>".to_owned(), Some(1), "networkStructure"),
        ];
        for (text, line, word) in cases {
            let problem = read(&text).unwrap_err();
            assert!(problem.message.contains(word), "{word}: {problem}");
            assert_eq!(problem.line, line, "{word}: {problem}");
            assert!(!problem.help.is_empty());
        }
    }

    #[test]
    fn no_cut_panics_and_none_inside_of_a_section_is_accepted() {
        for end in 0..NATIVE.len() {
            let complete = ["NODES", "LINKS", "DEMANDS", "ADMISSIBLE_PATHS"].iter().any(|next| {
                NATIVE[end..].starts_with(next)
                    || NATIVE[..end].ends_with(")\n")
                    || NATIVE[..end].ends_with("\n)")
            });
            assert!(read(&NATIVE[..end]).is_err() || complete, "{end}: {}", &NATIVE[..end]);
            assert!(read(&XML[..end.min(XML.len() - 1)]).is_err());
        }
    }

    #[test]
    fn damage_is_told_and_never_a_panic() {
        survives_damage(NATIVE, read);
        survives_damage(XML, read);
    }
}
