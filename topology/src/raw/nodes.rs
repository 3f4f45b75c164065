//! Nodes and their templates as written.

use super::Reader;
use super::links::{COST_HELP, LinkSettings};
use super::values::{Fields, Scope};
use crate::diagnostic::{Code, Place, Spanned, quote};
use crate::keys;
use crate::model::Location;
use crate::yaml::{Kind, Value};
use crate::{address, units};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What to write where a prefix belongs to somebody.
const OWNER_HELP: &str = "write a prefix, or `{prefix: 10.1.0.0/24, owner: NAME}`";

/// What defaults, kinds and nodes can all set.
#[derive(Clone, Default)]
pub(crate) struct NodeSettings {
    /// Never set in a kind.
    pub(crate) kind: Option<Spanned<String>>,
    pub(crate) zone: Option<Spanned<String>>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) drained: Option<bool>,
}

/// A template of nodes.
pub(crate) struct RawKind {
    pub(crate) settings: NodeSettings,
    pub(crate) prefixes: Vec<OwnedPrefix>,
    pub(crate) link: LinkSettings,
}

/// A prefix, and who answers for it.
#[derive(Clone)]
pub(crate) struct OwnedPrefix {
    pub(crate) prefix: Spanned<IpNetwork>,
    pub(crate) owner: Option<String>,
}

/// A node as written.
pub(crate) struct RawNode {
    pub(crate) name: Spanned<String>,
    pub(crate) settings: NodeSettings,
    pub(crate) prefixes: Vec<OwnedPrefix>,
    /// Pinned loopback addresses.
    pub(crate) loopbacks: Vec<Spanned<IpAddr>>,
    pub(crate) location: Option<Location>,
}

impl Reader<'_> {
    pub(super) fn kinds(&mut self, value: Option<&Value<'_>>) -> Option<BTreeMap<String, RawKind>> {
        let Some(value) = value else { return Some(BTreeMap::new()) };
        let pairs = self.pairs(value, "`kinds`", Code::DUPLICATE_KEY)?;
        let kinds = pairs.into_iter().map(|(name, place, value)| {
            self.check_name(name, place, "a kind's name");
            (name.to_owned(), self.kind(value))
        });
        Some(kinds.collect())
    }

    fn kind(&mut self, value: &Value<'_>) -> RawKind {
        let mut kind = RawKind {
            settings: NodeSettings::default(),
            prefixes: Vec::new(),
            link: LinkSettings::default(),
        };
        let Some(fields) = self.fields(value, &keys::KIND) else { return kind };
        kind.settings = self.node_settings(&fields);
        kind.prefixes = self.prefixes(fields.get("prefixes"));
        if let Some(link) = fields.get("link").and_then(|value| self.fields(value, &keys::KIND_LINK)) {
            kind.link = self.link_settings(&link, COST_HELP);
        }
        kind
    }

    pub(super) fn nodes(&mut self, value: &Value<'_>) -> Option<Vec<RawNode>> {
        let pairs = self.pairs(value, "`nodes`", Code::DUPLICATE_NODE)?;
        if pairs.is_empty() {
            let help = "write one line per node below `nodes:`, as `NAME: {}`";
            self.problems.error(Code::NO_NODES, value.place, "the network has no nodes", help);
        }
        Some(pairs.into_iter().map(|(name, place, value)| self.node(name, place, value)).collect())
    }

    fn node(&mut self, name: &str, place: Place, value: &Value<'_>) -> RawNode {
        self.check_name(name, place, "a node's name");
        let mut node = RawNode {
            name: Spanned { value: name.to_owned(), place },
            settings: NodeSettings::default(),
            prefixes: Vec::new(),
            loopbacks: Vec::new(),
            location: None,
        };
        let Some(fields) = self.fields(value, &keys::NODE) else { return node };
        node.settings = self.node_settings(&fields);
        node.prefixes = self.prefixes(fields.get("prefixes"));
        if let Some(value) = fields.get("loopbacks") {
            node.loopbacks = self.pins(value);
        }
        node.location = fields.get("location").and_then(|value| self.location(value));
        node
    }

    pub(super) fn node_settings(&mut self, fields: &Fields<'_, '_>) -> NodeSettings {
        NodeSettings {
            kind: fields
                .get("kind")
                .and_then(|value| self.reference(value, "`kind`", "write the name of a kind")),
            zone: fields
                .get("zone")
                .and_then(|value| self.reference(value, "`zone`", "write the name of a zone")),
            labels: fields.get("labels").map(|value| self.labels(value)).unwrap_or_default(),
            drained: fields.get("drained").and_then(|value| self.flag(value, "`drained`")),
        }
    }

    fn prefixes(&mut self, value: Option<&Value<'_>>) -> Vec<OwnedPrefix> {
        let Some(value) = value else { return Vec::new() };
        let items = self.list(value, "`prefixes`", "write a list, as in `[10.1.0.0/24, 2001:db8:1::/64]`");
        items.unwrap_or(&[]).iter().filter_map(|item| self.prefix(item)).collect()
    }

    fn prefix(&mut self, value: &Value<'_>) -> Option<OwnedPrefix> {
        if !matches!(value.kind, Kind::Mapping(_)) {
            let prefix = self.network(value, "a node's prefix", Scope::Inside)?;
            return Some(OwnedPrefix { prefix, owner: None });
        }
        let fields = self.fields(value, &keys::OWNED_PREFIX)?;
        let prefix = self.required(&fields, "prefix", OWNER_HELP);
        let owner = self.required(&fields, "owner", OWNER_HELP);
        let owner = owner.and_then(|value| {
            let owner = self.words(value, "the owner of a prefix")?;
            if owner.is_empty() {
                let message = "the owner of a prefix is empty";
                self.problems.error(Code::BAD_NAME, value.place, message, OWNER_HELP);
            }
            Some(owner.to_owned())
        });
        let prefix = prefix.and_then(|value| self.network(value, "a node's prefix", Scope::Inside))?;
        Some(OwnedPrefix { prefix, owner })
    }

    fn pins(&mut self, value: &Value<'_>) -> Vec<Spanned<IpAddr>> {
        let help = "write at most one IPv4 and one IPv6 address without a length, as in `[10.255.0.7]`";
        let mut pins: Vec<Spanned<IpAddr>> = Vec::new();
        for item in self.list(value, "`loopbacks`", help).unwrap_or(&[]) {
            let Some(pin) = self.address(item, "a loopback", help) else { continue };
            if address::reserved(&IpNetwork::from(pin.value)).is_some() {
                let message = format!("{} is no address for a loopback", quote(&pin.value.to_string()));
                self.problems.error(Code::BAD_ADDRESS, item.place, message, help);
            } else if pins.iter().any(|other| other.value.is_ipv4() == pin.value.is_ipv4()) {
                let message =
                    format!("{} is a second loopback of its family: a node has one per family", pin.value);
                self.problems.error(Code::BAD_ADDRESS, item.place, message, help);
            } else {
                pins.push(pin);
            }
        }
        pins
    }

    fn labels(&mut self, value: &Value<'_>) -> BTreeMap<String, String> {
        let pairs = self.pairs(value, "`labels`", Code::DUPLICATE_KEY).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for (key, place, value) in pairs {
            let name_is_good = self.check_name(key, place, "a label's name");
            if let (true, Some(text)) = (name_is_good, self.words(value, "a label's value")) {
                labels.insert(key.to_owned(), text.to_owned());
            }
        }
        labels
    }

    fn location(&mut self, value: &Value<'_>) -> Option<Location> {
        let help =
            "write latitude and longitude in degrees, north and east positive, as in `[47.6, -122.33]`";
        let items = self.list(value, "`location`", help)?;
        let [latitude, longitude] = items else {
            let message = format!("a location is latitude and longitude, here are {} values", items.len());
            self.problems.error(Code::WRONG_TYPE, value.place, message, help);
            return None;
        };
        let latitude = self.degrees(latitude, "the latitude", 90, help);
        let longitude = self.degrees(longitude, "the longitude", 180, help);
        Some(Location { latitude_microdegrees: latitude?, longitude_microdegrees: longitude? })
    }

    /// Millionths of a degree, within `most` degrees.
    fn degrees(&mut self, value: &Value<'_>, what: &str, most: i32, help: &str) -> Option<i32> {
        let Kind::Plain(text) = &value.kind else {
            self.wrong_type(value, what, "a number, without quotes", help);
            return None;
        };
        let Some(degrees) = units::microdegrees(text) else {
            self.wrong_type(value, what, "a number in degrees", help);
            return None;
        };
        if degrees.unsigned_abs() > most.unsigned_abs() as u64 * 1_000_000 {
            let message = format!("{what} is {}, but must be from -{most} to {most}", quote(text));
            self.problems.error(Code::OUT_OF_RANGE, value.place, message, help);
            return None;
        }
        i32::try_from(degrees).ok()
    }
}
