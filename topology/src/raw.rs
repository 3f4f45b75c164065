//! The file's shape: which keys exist, what type and range each value has, and its defaults.
//!
//! Looks at each value alone; how values fit together is `validate`'s business. A value with a problem
//! is reported and left out, and reading goes on, so that one reading finds everything.

use crate::diagnostic::{Code, Place, Problems, Spanned, quote};
use crate::model::{Safety, Share};
use crate::suggest::Suggester;
use crate::units::{self, QuantityError};
use crate::yaml::{Kind, Value};
use crate::{address, names};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Cost of a link where neither the link nor the defaults say one.
const COST_DEFAULT: u32 = 10;

/// Smallest and largest MTU in bytes: IPv6 needs 1280 (RFC 8200, section 5), IP packets end at 65535.
const MTU_BYTES: RangeInclusive<u64> = 1280..=65_535;

/// Longest latency in microseconds: a minute is beyond any link, so it is a slip of the unit.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Longest pause in milliseconds: a change that waits for more than a day is one that was forgotten.
const DURATION_MS_MAX: u64 = 86_400_000;

/// Largest capacity in bits per second: a thousand terabits.
const CAPACITY_BPS_MAX: u64 = 1_000_000_000_000_000;

/// Where loopbacks come from when the file does not say.
const LOOPBACKS_DEFAULT: [&str; 2] = ["10.255.0.0/16", "fd00:ba11::/64"];

/// The keys of one kind of mapping.
struct Shape {
    /// What the mapping is, for messages.
    what: &'static str,
    known: &'static [&'static str],
    /// Keys of the format that this version does not implement.
    later: &'static [&'static str],
}

const TOP: Shape = Shape {
    what: "the file",
    known: &["version", "name", "management", "defaults", "addressing", "zones", "nodes", "links", "safety"],
    later: &[
        "external",
        "policies",
        "demands",
        "invariants",
        "services",
        "segments",
        "kinds",
        "srlg",
        "affinity",
    ],
};
const DEFAULTS: Shape = Shape { what: "`defaults`", known: &["link"], later: &["node"] };
const DEFAULTS_LINK: Shape = Shape {
    what: "`defaults.link`",
    known: &["cost", "capacity", "mtu", "latency"],
    later: &["srlg", "affinity", "drained"],
};
const ADDRESSING: Shape = Shape { what: "`addressing`", known: &["loopbacks"], later: &["links"] };
const ZONE: Shape = Shape { what: "a zone", known: &["name"], later: &["labels", "drained"] };
const NODE: Shape = Shape {
    what: "a node",
    known: &["zone", "prefixes", "labels", "loopbacks"],
    later: &["kind", "drained", "services", "segments", "external"],
};
const LINK: Shape = Shape {
    what: "a link",
    known: &["endpoints", "cost", "capacity", "mtu", "latency", "addresses"],
    later: &["srlg", "affinity", "drained", "kind", "labels"],
};
const SAFETY: Shape = Shape {
    what: "`safety`",
    known: &["max_hosts_per_step", "max_prefixes_lost", "bake", "link_up_hold"],
    later: &["max_link_load", "canary", "confirm_within"],
};

/// What to do about a link's wrong cost.
const LINK_COST_HELP: &str =
    "write a whole number from 1 to 4294967295, or one for each direction as `{seattle: 7, denver: 9}`";

/// Words of other tools for keys of this format.
const SYNONYMS: &[(&str, &str)] = &[
    ("bandwidth", "capacity"),
    ("bw", "capacity"),
    ("delay", "latency"),
    ("edges", "links"),
    ("hosts", "nodes"),
    ("metric", "cost"),
    ("networks", "prefixes"),
    ("speed", "capacity"),
    ("subnets", "prefixes"),
    ("weight", "cost"),
];

/// The file, value by value.
pub(crate) struct RawTopology {
    pub(crate) name: String,
    /// Without a place: the default range.
    pub(crate) loopback_ranges: Vec<(IpNetwork, Option<Place>)>,
    /// Nothing when the file's list could not be read: then nobody can say which names are wrong.
    pub(crate) zones: Option<Vec<Spanned<String>>>,
    pub(crate) nodes: Option<Vec<RawNode>>,
    pub(crate) links: Vec<RawLink>,
    pub(crate) safety: Safety,
}

/// A node as written.
pub(crate) struct RawNode {
    pub(crate) name: Spanned<String>,
    pub(crate) zone: Option<Spanned<String>>,
    pub(crate) prefixes: Vec<Spanned<IpNetwork>>,
    /// Pinned loopback addresses.
    pub(crate) loopbacks: Vec<Spanned<IpAddr>>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// A link with two readable endpoints.
pub(crate) struct RawLink {
    pub(crate) place: Place,
    /// In the file's order.
    pub(crate) ends: [RawEnd; 2],
    pub(crate) settings: LinkSettings,
}

/// One end of a link as written.
pub(crate) struct RawEnd {
    pub(crate) place: Place,
    pub(crate) node: String,
    pub(crate) interface: String,
    pub(crate) cost: u32,
    /// Nothing when the file's addresses could not all be read.
    pub(crate) addresses: Option<Vec<Spanned<IpNetwork>>>,
}

/// What `defaults.link` and each link can set, apart from the cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct LinkSettings {
    pub(crate) capacity_bps: Option<u64>,
    pub(crate) latency_us: Option<u64>,
    pub(crate) mtu_bytes: Option<u32>,
}

/// The values of one mapping by key.
struct Fields<'v, 't> {
    place: Place,
    what: &'static str,
    values: BTreeMap<&'v str, &'v Value<'t>>,
}

impl<'v, 't> Fields<'v, 't> {
    fn get(&self, key: &str) -> Option<&'v Value<'t>> {
        self.values.get(key).copied()
    }
}

/// A key, its place and its value.
type Pair<'v, 't> = (&'v str, Place, &'v Value<'t>);

struct Reader<'p> {
    problems: &'p mut Problems,
    suggester: &'p mut Suggester,
}

/// Reads the whole tree; nothing when no part of it can be trusted.
pub(crate) fn read(
    root: &Value<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Option<RawTopology> {
    if root.is_null() {
        let help = "start with `version: 1`, `name: NAME` and `nodes:`; topology/files holds examples";
        problems.error(Code::EMPTY_FILE, Place::START, "the file is empty: it describes no network", help);
        return None;
    }
    Reader { problems, suggester }.topology(root)
}

impl Reader<'_> {
    fn topology(&mut self, root: &Value<'_>) -> Option<RawTopology> {
        if let Kind::Mapping(pairs) = &root.kind {
            let version = pairs
                .iter()
                .find(|(key, _)| matches!(&key.kind, Kind::Plain(t) | Kind::Quoted(t) if t == "version"));
            if let Some((_, version)) = version {
                self.version(version)?;
            }
        }
        let fields = self.fields(root, &TOP)?;
        self.required(&fields, "version", "write `version: 1`");
        let name = self.required(&fields, "name", "write `name: NAME`");
        let name = name.and_then(|value| self.name(value, "the network's name")).unwrap_or_default();
        if let Some(value) = fields.get("management") {
            self.management(value);
        }
        let (cost, settings) = self.defaults(fields.get("defaults"));
        let loopback_ranges = self.loopback_ranges(fields.get("addressing"));
        let zones = self.zones(fields.get("zones"));
        let nodes =
            self.required(&fields, "nodes", "write `nodes:` and below it one line per node, as `NAME: {}`");
        let nodes = nodes.and_then(|value| self.nodes(value));
        let links = fields.get("links").map(|value| self.links(value, cost, settings)).unwrap_or_default();
        let safety = self.safety(fields.get("safety"));
        Some(RawTopology { name, loopback_ranges, zones, nodes, links, safety })
    }

    /// Nothing when the file is of another version: its keys then mean nothing here.
    fn version(&mut self, value: &Value<'_>) -> Option<()> {
        let number = match &value.kind {
            Kind::Plain(text) => units::whole_number(text),
            _ => None,
        };
        match number {
            Some(1) => Some(()),
            Some(_) => {
                let message =
                    format!("version {} of topology files is not known to this program", value.describe());
                self.problems.error(Code::BAD_VERSION, value.place, message, "write `version: 1`");
                None
            }
            None => {
                self.wrong_type(value, "`version`", "the number 1", "write `version: 1`, without quotes");
                Some(())
            }
        }
    }

    fn management(&mut self, value: &Value<'_>) {
        let help = "write `management: separate`, with a management network that no program touches";
        match self.text(value, "`management`", help) {
            Some("separate") | None => {}
            Some("in_band") => {
                let message = "`in_band` management is not supported yet";
                self.problems.error(Code::NOT_SUPPORTED_YET, value.place, message, help);
            }
            Some(_) => self.wrong_type(value, "`management`", "`separate`", help),
        }
    }

    fn defaults(&mut self, value: Option<&Value<'_>>) -> (u32, LinkSettings) {
        let nothing = (COST_DEFAULT, LinkSettings::default());
        let Some(fields) = value.and_then(|value| self.fields(value, &DEFAULTS)) else { return nothing };
        let Some(link) = fields.get("link").and_then(|value| self.fields(value, &DEFAULTS_LINK)) else {
            return nothing;
        };
        let help = "write a whole number from 1 to 4294967295";
        let cost = link.get("cost").and_then(|value| self.cost(value, help)).unwrap_or(COST_DEFAULT);
        (cost, self.link_settings(&link, LinkSettings::default()))
    }

    fn link_settings(&mut self, fields: &Fields<'_, '_>, defaults: LinkSettings) -> LinkSettings {
        let capacity_bps = fields.get("capacity").and_then(|value| {
            let help = "write a number and `k`, `M`, `G` or `T` (bits per second), as in `10G`";
            self.quantity(value, "`capacity`", units::CAPACITY, 1..=CAPACITY_BPS_MAX, help)
        });
        let latency_us = fields.get("latency").and_then(|value| {
            let help = "write a number and `us`, `ms` or `s`, one way, at most 60s, as in `4.5ms`";
            self.quantity(value, "`latency`", units::LATENCY_US, 0..=LATENCY_US_MAX, help)
        });
        let mtu_bytes = fields.get("mtu").and_then(|value| {
            let help = "write the largest IP packet in bytes, without a unit, as in `9000`";
            self.integer(value, "`mtu`", MTU_BYTES, Code::OUT_OF_RANGE, help)
        });
        LinkSettings {
            capacity_bps: capacity_bps.or(defaults.capacity_bps),
            latency_us: latency_us.or(defaults.latency_us),
            mtu_bytes: mtu_bytes.map(|bytes| bytes as u32).or(defaults.mtu_bytes),
        }
    }

    fn loopback_ranges(&mut self, addressing: Option<&Value<'_>>) -> Vec<(IpNetwork, Option<Place>)> {
        let fields = addressing.and_then(|value| self.fields(value, &ADDRESSING));
        let Some(value) = fields.and_then(|fields| fields.get("loopbacks")) else {
            let ranges = LOOPBACKS_DEFAULT.iter().filter_map(|text| address::cidr(text));
            return ranges.map(|range| (range, None)).collect();
        };
        let help = "write at most one IPv4 and one IPv6 range, as in `[10.255.0.0/16, fd00:ba11::/64]`";
        let mut ranges: Vec<(IpNetwork, Option<Place>)> = Vec::new();
        let items = self.list(value, "`addressing.loopbacks`", help).unwrap_or(&[]);
        for item in items {
            let Some(Spanned { value: range, place }) = self.network(item, "a loopback range") else {
                continue;
            };
            let twice = ranges.iter().any(|(other, _)| other.is_ipv4() == range.is_ipv4());
            let (spare_bits, needed) =
                (address::host_bits(&range), "a node's loopback needs room: at least 4 addresses");
            if twice {
                let message = format!(
                    "{range} is a second loopback range of its family: a node has one loopback per family"
                );
                self.problems.error(Code::BAD_LOOPBACK_RANGE, place, message, help);
            } else if spare_bits < 2 {
                let message = format!("the loopback range {range} is too small, {needed}");
                self.problems.error(
                    Code::BAD_LOOPBACK_RANGE,
                    place,
                    message,
                    "write a shorter prefix length",
                );
            } else {
                ranges.push((range, Some(place)));
            }
        }
        if items.is_empty() {
            let message = "there is no loopback range: nodes need loopbacks to be reached at";
            self.problems.error(Code::BAD_LOOPBACK_RANGE, value.place, message, help);
        }
        ranges
    }

    fn zones(&mut self, value: Option<&Value<'_>>) -> Option<Vec<Spanned<String>>> {
        let Some(value) = value else { return Some(Vec::new()) };
        let items = self.list(value, "`zones`", "write a list, as in `[{name: west}, {name: east}]`")?;
        let zones = items.iter().filter_map(|item| {
            let fields = self.fields(item, &ZONE)?;
            let name = self.required(&fields, "name", "write `name: NAME`")?;
            Some(Spanned { value: self.name(name, "a zone's name")?, place: name.place })
        });
        Some(zones.collect())
    }

    fn nodes(&mut self, value: &Value<'_>) -> Option<Vec<RawNode>> {
        let pairs = self.pairs(value, "`nodes`", Code::DUPLICATE_NODE)?;
        if pairs.is_empty() {
            let help = "write one line per node below `nodes:`, as `NAME: {}`";
            self.problems.error(Code::NO_NODES, value.place, "the network has no nodes", help);
        }
        Some(pairs.into_iter().map(|(name, place, value)| self.node(name, place, value)).collect())
    }

    fn node(&mut self, name: &str, place: Place, value: &Value<'_>) -> RawNode {
        self.check_name(name, place, "a node's name");
        let name = Spanned { value: name.to_owned(), place };
        let mut node = RawNode {
            name,
            zone: None,
            prefixes: Vec::new(),
            loopbacks: Vec::new(),
            labels: BTreeMap::new(),
        };
        let Some(fields) = self.fields(value, &NODE) else { return node };
        node.zone = fields.get("zone").and_then(|value| {
            let name = self.text(value, "`zone`", "write the name of a zone")?;
            Some(Spanned { value: name.to_owned(), place: value.place })
        });
        if let Some(value) = fields.get("prefixes") {
            let items =
                self.list(value, "`prefixes`", "write a list, as in `[10.1.0.0/24, 2001:db8:1::/64]`");
            node.prefixes = items
                .unwrap_or(&[])
                .iter()
                .filter_map(|item| self.network(item, "a node's prefix"))
                .collect();
        }
        if let Some(value) = fields.get("loopbacks") {
            node.loopbacks = self.pins(value);
        }
        if let Some(value) = fields.get("labels") {
            node.labels = self.labels(value);
        }
        node
    }

    fn pins(&mut self, value: &Value<'_>) -> Vec<Spanned<IpAddr>> {
        let help = "write at most one IPv4 and one IPv6 address without a length, as in `[10.255.0.7]`";
        let mut pins: Vec<Spanned<IpAddr>> = Vec::new();
        for item in self.list(value, "`loopbacks`", help).unwrap_or(&[]) {
            let Some(text) = self.text(item, "a loopback", help) else { continue };
            let pin = match text.parse::<IpAddr>() {
                Ok(pin) if address::reserved(&IpNetwork::from(pin)).is_none() => pin,
                _ => {
                    let message = format!("{} is no address for a loopback", quote(text));
                    self.problems.error(Code::BAD_ADDRESS, item.place, message, help);
                    continue;
                }
            };
            if pins.iter().any(|other| other.value.is_ipv4() == pin.is_ipv4()) {
                let message = format!("{pin} is a second loopback of its family: a node has one per family");
                self.problems.error(Code::BAD_ADDRESS, item.place, message, help);
            } else {
                pins.push(Spanned { value: pin, place: item.place });
            }
        }
        pins
    }

    fn labels(&mut self, value: &Value<'_>) -> BTreeMap<String, String> {
        let pairs = self.pairs(value, "`labels`", Code::DUPLICATE_KEY).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (key, place, value) in pairs {
            let text = self.text(value, "a label", "write text");
            if let (true, Some(text)) = (self.check_name(key, place, "a label's name"), text) {
                if let Err(rule) = names::label_value(text) {
                    let message = format!("a label's value {rule}");
                    self.problems.error(
                        Code::BAD_NAME,
                        value.place,
                        message,
                        "write a shorter, printable text",
                    );
                }
                labels.insert(key.to_owned(), text.to_owned());
            }
        }
        labels
    }

    fn links(&mut self, value: &Value<'_>, cost: u32, settings: LinkSettings) -> Vec<RawLink> {
        let help = "write a list, one `- {endpoints: [\"a:eth1\", \"b:eth1\"]}` for each link";
        let items = self.list(value, "`links`", help).unwrap_or(&[]);
        items.iter().filter_map(|item| self.link(item, cost, settings)).collect()
    }

    fn link(&mut self, value: &Value<'_>, cost: u32, settings: LinkSettings) -> Option<RawLink> {
        let fields = self.fields(value, &LINK)?;
        let settings = self.link_settings(&fields, settings);
        let help =
            "write both ends as `node:interface`, as in `endpoints: [\"seattle:eth1\", \"denver:eth2\"]`";
        let endpoints =
            self.required(&fields, "endpoints", help).and_then(|value| self.endpoints(value, help));
        let plain_cost = fields.get("cost").filter(|value| !matches!(value.kind, Kind::Mapping(_)));
        let both = plain_cost.and_then(|value| self.cost(value, LINK_COST_HELP)).unwrap_or(cost);
        let [first, second] = endpoints?;
        let end = |(place, node, interface)| RawEnd {
            place,
            node,
            interface,
            cost: both,
            addresses: Some(Vec::new()),
        };
        let mut ends = [end(first), end(second)];
        // The keys of a self-link's ends would be the same: it is refused as a whole later.
        if ends[0].node != ends[1].node {
            if let Some(value) = fields.get("cost").filter(|value| matches!(value.kind, Kind::Mapping(_))) {
                for (end, value) in self.per_end(value, "`cost`", &ends, ["7", "9"]) {
                    ends[end].cost = self.cost(value, LINK_COST_HELP).unwrap_or(both);
                }
            }
            if let Some(value) = fields.get("addresses") {
                let found = self.per_end(value, "`addresses`", &ends, ["[192.0.2.0/31]", "[192.0.2.1/31]"]);
                ends.iter_mut().for_each(|end| end.addresses = None);
                for (end, value) in found {
                    ends[end].addresses = self.addresses(value);
                }
            }
        }
        Some(RawLink { place: value.place, ends, settings })
    }

    fn endpoints(&mut self, value: &Value<'_>, help: &str) -> Option<[(Place, String, String); 2]> {
        let items = self.list(value, "`endpoints`", help)?;
        let [first, second] = items else {
            let message = format!("a link has two endpoints, here are {}", items.len());
            self.problems.error(Code::BAD_ENDPOINT, value.place, message, help);
            return None;
        };
        // Both are read before either decides, so that both are reported.
        let ends = [first, second].map(|item| self.endpoint(item, help));
        let [Some(first), Some(second)] = ends else { return None };
        Some([first, second])
    }

    fn endpoint(&mut self, value: &Value<'_>, help: &str) -> Option<(Place, String, String)> {
        let text = self.text(value, "an endpoint", help)?;
        let parts =
            text.split_once(':').filter(|(node, interface)| !node.is_empty() && !interface.is_empty());
        let Some((node, interface)) = parts else {
            let message = format!("the endpoint {} is not `node:interface`", quote(text));
            self.problems.error(Code::BAD_ENDPOINT, value.place, message, help);
            return None;
        };
        let node_is_good = self.check_name(node, value.place, "a node's name");
        if let Err(rule) = names::interface(interface) {
            let message = format!("the interface name {} {rule}", quote(interface));
            let help = "write the name that `ip link` shows, 1 to 15 characters, as in `eth1`";
            self.problems.error(Code::BAD_NAME, value.place, message, help);
            return None;
        }
        node_is_good.then(|| (value.place, node.to_owned(), interface.to_owned()))
    }

    /// The values of a mapping with one key for each end's node.
    fn per_end<'v, 't>(
        &mut self,
        value: &'v Value<'t>,
        what: &str,
        ends: &[RawEnd; 2],
        example: [&str; 2],
    ) -> Vec<(usize, &'v Value<'t>)> {
        let [a, b] = [&ends[0].node, &ends[1].node];
        let [for_a, for_b] = example;
        let help = format!("write one value for each end's node, as in `{{{a}: {for_a}, {b}: {for_b}}}`");
        let Some(pairs) = self.pairs(value, what, Code::DUPLICATE_KEY) else { return Vec::new() };
        let mut found = Vec::new();
        for (key, place, value) in pairs {
            match ends.iter().position(|end| end.node == key) {
                Some(end) => found.push((end, value)),
                None => {
                    let message = format!("{} in {what} is not a node of this link", quote(key));
                    self.problems.error(Code::UNKNOWN_KEY, place, message, help.as_str());
                }
            }
        }
        for (at, end) in ends.iter().enumerate() {
            if !found.iter().any(|(found, _)| *found == at) {
                let message = format!("{what} says nothing about the end at {}", quote(&end.node));
                self.problems.error(Code::MISSING_KEY, value.place, message, help.as_str());
            }
        }
        found
    }

    fn addresses(&mut self, value: &Value<'_>) -> Option<Vec<Spanned<IpNetwork>>> {
        let help = "write interface addresses with their length, as in `[192.0.2.0/31, 2001:db8::/127]`";
        let mut addresses = Vec::new();
        let items = self.list(value, "`addresses`", help)?;
        for item in items {
            let Some(text) = self.text(item, "an interface address", help) else { continue };
            let Some(network) = address::cidr(text) else {
                self.bad_cidr(item, text, help);
                continue;
            };
            if let Some(why) = address::unusable(&network) {
                let message = format!("{network} is no interface address: {why}");
                self.problems.error(Code::BAD_ADDRESS, item.place, message, help);
                continue;
            }
            addresses.push(Spanned { value: network, place: item.place });
        }
        (addresses.len() == items.len()).then_some(addresses)
    }

    fn safety(&mut self, value: Option<&Value<'_>>) -> Safety {
        let mut safety = Safety {
            max_hosts_per_step: Share::Percent(25),
            max_prefixes_lost: Share::Count(0),
            bake_ms: 10_000,
            link_up_hold_ms: 2_000,
            max_link_load_percent: None,
            canary_hosts: None,
            confirm_within_ms: None,
        };
        let Some(fields) = value.and_then(|value| self.fields(value, &SAFETY)) else { return safety };
        if let Some(share) =
            fields.get("max_hosts_per_step").and_then(|value| self.share(value, "`max_hosts_per_step`", 1))
        {
            safety.max_hosts_per_step = share;
        }
        if let Some(share) =
            fields.get("max_prefixes_lost").and_then(|value| self.share(value, "`max_prefixes_lost`", 0))
        {
            safety.max_prefixes_lost = share;
        }
        let help = "write a number and `ms`, `s`, `m` or `h`, at most 24h, as in `10s`";
        let mut duration = |key, what| {
            let value = fields.get(key)?;
            self.quantity(value, what, units::DURATION_MS, 0..=DURATION_MS_MAX, help)
        };
        safety.bake_ms = duration("bake", "`bake`").unwrap_or(safety.bake_ms);
        safety.link_up_hold_ms = duration("link_up_hold", "`link_up_hold`").unwrap_or(safety.link_up_hold_ms);
        safety
    }

    fn share(&mut self, value: &Value<'_>, what: &str, least: u64) -> Option<Share> {
        let help =
            format!("write a count from {least}, as in `5`, or a share from {least}% to 100%, as in `25%`");
        let text = self.text(value, what, &help)?;
        let (number, most) = match text.strip_suffix('%') {
            Some(number) => (number, 100),
            None => (text, u64::from(u32::MAX)),
        };
        let Some(count) = units::whole_number(number) else {
            self.wrong_type(value, what, "a count or a percentage", &help);
            return None;
        };
        if !(least..=most).contains(&count) {
            let message = format!("{what} is {}, out of its range", quote(text));
            self.problems.error(Code::OUT_OF_RANGE, value.place, message, help);
            return None;
        }
        Some(if number.len() < text.len() {
            Share::Percent(count as u32)
        } else {
            Share::Count(count as u32)
        })
    }

    fn cost(&mut self, value: &Value<'_>, help: &str) -> Option<u32> {
        self.integer(value, "`cost`", 1..=u64::from(u32::MAX), Code::BAD_COST, help).map(|cost| cost as u32)
    }

    fn integer(
        &mut self,
        value: &Value<'_>,
        what: &str,
        range: RangeInclusive<u64>,
        code: Code,
        help: &str,
    ) -> Option<u64> {
        let text = match &value.kind {
            Kind::Plain(text) => text.as_ref(),
            _ => "",
        };
        let negative = text.strip_prefix('-').is_some_and(|rest| units::whole_number(rest).is_some());
        match units::whole_number(text) {
            Some(number) if range.contains(&number) => Some(number),
            None if !negative => {
                self.wrong_type(value, what, "a whole number, without quotes", help);
                None
            }
            _ => {
                let (least, most) = (range.start(), range.end());
                let message = format!("{what} is {text}, but must be from {least} to {most}");
                self.problems.error(code, value.place, message, help);
                None
            }
        }
    }

    fn quantity(
        &mut self,
        value: &Value<'_>,
        what: &str,
        spellings: &[(&str, u64)],
        range: RangeInclusive<u64>,
        help: &str,
    ) -> Option<u64> {
        let text = self.text(value, what, help)?;
        let (code, why) = match units::quantity(text, spellings) {
            Ok(number) if range.contains(&number) => return Some(number),
            Ok(_) | Err(QuantityError::TooLarge) => (Code::OUT_OF_RANGE, "out of its range"),
            Err(QuantityError::NotANumber) => (Code::WRONG_TYPE, "not a number with a unit"),
            Err(QuantityError::NoUnit) => (Code::BAD_UNIT, "without a unit"),
            Err(QuantityError::UnknownUnit) => (Code::BAD_UNIT, "with a unit that is not known here"),
            Err(QuantityError::TooFine) => (Code::BAD_UNIT, "finer than the smallest unit"),
        };
        self.problems.error(code, value.place, format!("{what} is {}, {why}", quote(text)), help);
        None
    }

    /// A prefix with no host bits set, of addresses that may be routed.
    fn network(&mut self, value: &Value<'_>, what: &str) -> Option<Spanned<IpNetwork>> {
        let help = "write address and length, as in `10.1.0.0/24` or `2001:db8:1::/64`";
        let text = self.text(value, what, help)?;
        let Some(network) = address::cidr(text) else {
            self.bad_cidr(value, text, help);
            return None;
        };
        let right = address::canonical(&network);
        if right != network {
            let message = format!("{network} has host bits set: the prefix that holds it is {right}");
            let alone = IpNetwork::from(network.ip());
            let help = format!("write `{right}`, or `{alone}` if this one address is meant");
            self.problems.error(Code::HOST_BITS_SET, value.place, message, help);
        } else if let Some(reserved) = address::reserved(&network) {
            let message = format!("{network} shares addresses with {reserved}, which hosts never forward");
            let help = if network.prefix() == 0 {
                "remove it: a default route belongs into `external`, which is not supported yet"
            } else {
                "write a prefix of unicast addresses that is routed"
            };
            self.problems.error(Code::RESERVED_PREFIX, value.place, message, help);
            return None;
        }
        Some(Spanned { value: right, place: value.place })
    }

    fn bad_cidr(&mut self, value: &Value<'_>, text: &str, help: &str) {
        let (message, help) = match text.parse::<IpAddr>() {
            Ok(address) => {
                let all = if address.is_ipv4() { 32 } else { 128 };
                (
                    format!("{} has no prefix length", quote(text)),
                    format!("write `{text}/{all}` for one address"),
                )
            }
            Err(_) => (format!("{} is no prefix", quote(text)), help.to_owned()),
        };
        self.problems.error(Code::BAD_CIDR, value.place, message, help);
    }

    fn name(&mut self, value: &Value<'_>, what: &str) -> Option<String> {
        let text = self.text(value, what, "write a name")?;
        self.check_name(text, value.place, what).then(|| text.to_owned())
    }

    fn check_name(&mut self, text: &str, place: Place, what: &str) -> bool {
        let Err(rule) = names::name(text) else { return true };
        let help = "use letters, digits, `-`, `_` and `.`, at most 63, starting with a letter or digit";
        self.problems.error(Code::BAD_NAME, place, format!("{what} {} {rule}", quote(text)), help);
        false
    }

    fn text<'v>(&mut self, value: &'v Value<'_>, what: &str, help: &str) -> Option<&'v str> {
        match &value.kind {
            Kind::Plain(text) | Kind::Quoted(text) if !value.is_null() => Some(text),
            _ => {
                self.wrong_type(value, what, "a single value", help);
                None
            }
        }
    }

    /// Nothing there is an empty list.
    fn list<'v, 't>(&mut self, value: &'v Value<'t>, what: &str, help: &str) -> Option<&'v [Value<'t>]> {
        match &value.kind {
            Kind::List(items) => Some(items),
            _ if value.is_null() => Some(&[]),
            _ => {
                self.wrong_type(value, what, "a list", help);
                None
            }
        }
    }

    /// The pairs of a mapping in the file's order, each key once; nothing there is an empty mapping.
    fn pairs<'v, 't>(&mut self, value: &'v Value<'t>, what: &str, twice: Code) -> Option<Vec<Pair<'v, 't>>> {
        let Kind::Mapping(all) = &value.kind else {
            if value.is_null() {
                return Some(Vec::new());
            }
            self.wrong_type(value, what, "a mapping of keys to values", "write `key: value` pairs");
            return None;
        };
        let mut lines: BTreeMap<&str, u32> = BTreeMap::new();
        let mut pairs = Vec::with_capacity(all.len());
        for (key, value) in all.iter() {
            let text = match &key.kind {
                Kind::Plain(text) | Kind::Quoted(text) if !key.is_null() => text.as_ref(),
                _ => {
                    let message = format!("a key in {what} is {}, but must be text", key.describe());
                    self.problems.error(Code::BAD_KEY, key.place, message, "write `key: value`");
                    continue;
                }
            };
            if let Some(line) = lines.get(text) {
                let thing = if twice == Code::DUPLICATE_NODE { "the node" } else { "the key" };
                let message = format!("{thing} {} is already there, on line {line}", quote(text));
                let help = "remove one of the two, or rename it: neither silently wins";
                self.problems.error(twice, key.place, message, help);
                continue;
            }
            lines.insert(text, key.place.line);
            pairs.push((text, key.place, value));
        }
        Some(pairs)
    }

    /// The values of a mapping whose keys are known in advance.
    fn fields<'v, 't>(&mut self, value: &'v Value<'t>, shape: &Shape) -> Option<Fields<'v, 't>> {
        let pairs = self.pairs(value, shape.what, Code::DUPLICATE_KEY)?;
        let mut values = BTreeMap::new();
        for (key, place, value) in pairs {
            if shape.known.contains(&key) {
                values.insert(key, value);
            } else if shape.later.contains(&key) || key == "<<" {
                let message = format!("{} in {} is not supported yet", quote(key), shape.what);
                let help = if key == "<<" {
                    "write the merged keys out"
                } else {
                    "remove it, or use a version of Ballast that has it"
                };
                self.problems.error(Code::NOT_SUPPORTED_YET, place, message, help);
            } else {
                self.unknown_key(key, place, shape);
            }
        }
        Some(Fields { place: value.place, what: shape.what, values })
    }

    fn unknown_key(&mut self, key: &str, place: Place, shape: &Shape) {
        let synonym = SYNONYMS.iter().find(|(word, meant)| *word == key && shape.known.contains(meant));
        let near = match synonym {
            Some((_, meant)) => Some(*meant),
            None => self.suggester.nearest(key, shape.known.iter().copied()),
        };
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("remove it; the keys here are {}", shape.known.join(", ")),
        };
        let message = format!("{} is not a key of {}", quote(key), shape.what);
        self.problems.error(Code::UNKNOWN_KEY, place, message, help);
    }

    fn required<'v, 't>(&mut self, fields: &Fields<'v, 't>, key: &str, help: &str) -> Option<&'v Value<'t>> {
        let value = fields.get(key);
        if value.is_none() {
            let message = format!("{} has no `{key}`", fields.what);
            self.problems.error(Code::MISSING_KEY, fields.place, message, help);
        }
        value
    }

    fn wrong_type(&mut self, value: &Value<'_>, what: &str, wanted: &str, help: &str) {
        let message = format!("{what} is {}, but must be {wanted}", value.describe());
        self.problems.error(Code::WRONG_TYPE, value.place, message, help);
    }
}
