//! The file's shape: what type and range each value has.
//!
//! `keys` says which keys exist. Looks at each value alone; what templates give is `templates`' business,
//! how values fit together is `validate`'s. A value with a problem is reported and left out, and reading
//! goes on, so that one reading finds everything.

mod controllers;
mod intents;
mod links;
mod nodes;
mod safety;
mod values;

use crate::diagnostic::{Code, Place, Problems, Spanned};
use crate::keys::{self, LOOPBACKS_DEFAULT};
use crate::model::{Management, Safety};
use crate::suggest::Suggester;
use crate::yaml::{Kind, Value};
use crate::{address, units};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::IpAddr;
use values::Scope;

pub(crate) use controllers::RawController;
pub(crate) use intents::{RawDemand, RawExternal, RawInvariant, RawRule};
pub(crate) use links::{LinkSettings, RawEnd, RawGroup, RawLink, RawLiveness};
pub(crate) use nodes::{NodeSettings, RawKind, RawNode};

/// The file, value by value.
pub(crate) struct RawTopology {
    pub(crate) name: String,
    /// Nothing when the file's word could not be read.
    pub(crate) management: Option<Management>,
    /// Where the file says how agents reach controllers, else where it begins.
    pub(crate) management_place: Place,
    /// Nothing when the file has no list of them.
    pub(crate) controllers: Option<Spanned<Vec<RawController>>>,
    /// Without a place: the default range.
    pub(crate) loopback_ranges: Vec<(IpNetwork, Option<Place>)>,
    pub(crate) defaults: RawDefaults,
    /// Nothing when the file's kinds could not be read: then nobody can say which names are wrong.
    pub(crate) kinds: Option<BTreeMap<String, RawKind>>,
    /// Nothing when the file's list could not be read.
    pub(crate) zones: Option<Vec<Spanned<String>>>,
    pub(crate) nodes: Option<Vec<RawNode>>,
    pub(crate) links: Vec<RawLink>,
    /// Nothing when the file's list could not be read.
    pub(crate) groups: Option<Vec<RawGroup>>,
    pub(crate) external: Vec<RawExternal>,
    pub(crate) demands: Vec<RawDemand>,
    pub(crate) invariants: Vec<RawInvariant>,
    pub(crate) weigh_by_capacity: bool,
    pub(crate) safety: Safety,
}

/// What holds for nodes and links that do not say otherwise.
#[derive(Default)]
pub(crate) struct RawDefaults {
    pub(crate) node: NodeSettings,
    pub(crate) link: LinkSettings,
    pub(crate) affinity: Vec<String>,
}

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
            let version = pairs.iter().find(|(key, _)| key.is_text("version"));
            if let Some((_, version)) = version {
                self.version(version)?;
            }
        }
        let fields = self.fields(root, &keys::TOP)?;
        self.required(&fields, "version", "write `version: 1`");
        let name = self.required(&fields, "name", "write `name: NAME`");
        let name = name.and_then(|value| self.name(value, "the network's name")).unwrap_or_default();
        let management = fields.get("management");
        let defaults = self.defaults(fields.get("defaults"));
        let loopback_ranges = self.loopback_ranges(fields.get("addressing"));
        let kinds = self.kinds(fields.get("kinds"));
        let zones = self.zones(fields.get("zones"));
        let nodes =
            self.required(&fields, "nodes", "write `nodes:` and below it one line per node, as `NAME: {}`");
        let nodes = nodes.and_then(|value| self.nodes(value));
        Some(RawTopology {
            name,
            management: management.map_or(Some(Management::Separate), |value| self.management(value)),
            management_place: management.map_or(fields.place, |value| value.place),
            controllers: fields.get("controllers").map(|value| self.controllers(value)),
            loopback_ranges,
            defaults,
            kinds,
            zones,
            nodes,
            links: fields.get("links").map(|value| self.links(value)).unwrap_or_default(),
            groups: self.groups(fields.get("link_groups")),
            external: fields.get("external").map(|value| self.externals(value)).unwrap_or_default(),
            demands: fields.get("demands").map(|value| self.demands(value)).unwrap_or_default(),
            invariants: fields.get("invariants").map(|value| self.invariants(value)).unwrap_or_default(),
            weigh_by_capacity: self.weigh_by_capacity(fields.get("routing")),
            safety: self.safety(fields.get("safety")),
        })
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

    fn weigh_by_capacity(&mut self, routing: Option<&Value<'_>>) -> bool {
        let fields = routing.and_then(|value| self.fields(value, &keys::ROUTING));
        let value = fields.and_then(|fields| fields.get("weigh_by_capacity"));
        value.and_then(|value| self.flag(value, "`weigh_by_capacity`")).unwrap_or(false)
    }

    fn management(&mut self, value: &Value<'_>) -> Option<Management> {
        let help = "write `management: separate` for a management network that no program touches, or `management: \
                    in_band` with the places of all `controllers`";
        match self.text(value, "`management`", help)? {
            "separate" => Some(Management::Separate),
            "in_band" => Some(Management::InBand),
            _ => {
                self.wrong_type(value, "`management`", "`separate` or `in_band`", help);
                None
            }
        }
    }

    fn defaults(&mut self, value: Option<&Value<'_>>) -> RawDefaults {
        let mut defaults = RawDefaults::default();
        let Some(fields) = value.and_then(|value| self.fields(value, &keys::DEFAULTS)) else {
            return defaults;
        };
        if let Some(node) = fields.get("node").and_then(|value| self.fields(value, &keys::DEFAULTS_NODE)) {
            defaults.node = self.node_settings(&node);
        }
        if let Some(link) = fields.get("link").and_then(|value| self.fields(value, &keys::DEFAULTS_LINK)) {
            defaults.link = self.link_settings(&link, links::COST_HELP);
            defaults.affinity = self.affinity(link.get("affinity")).unwrap_or_default();
        }
        defaults
    }

    fn loopback_ranges(&mut self, addressing: Option<&Value<'_>>) -> Vec<(IpNetwork, Option<Place>)> {
        let fields = addressing.and_then(|value| self.fields(value, &keys::ADDRESSING));
        let Some(value) = fields.and_then(|fields| fields.get("loopbacks")) else {
            let ranges = LOOPBACKS_DEFAULT.iter().filter_map(|text| address::cidr(text));
            return ranges.map(|range| (range, None)).collect();
        };
        let help = "write at most one IPv4 and one IPv6 range, as in `[10.255.0.0/16, fd00:ba11::/64]`";
        let mut ranges: Vec<(IpNetwork, Option<Place>)> = Vec::new();
        let items = self.list(value, "`addressing.loopbacks`", help).unwrap_or(&[]);
        for item in items {
            let Some(Spanned { value: range, place }) = self.network(item, "a loopback range", Scope::Inside)
            else {
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
                let help = "write a shorter prefix length";
                self.problems.error(Code::BAD_LOOPBACK_RANGE, place, message, help);
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
            let fields = self.fields(item, &keys::ZONE)?;
            let name = self.required(&fields, "name", "write `name: NAME`")?;
            Some(Spanned { value: self.name(name, "a zone's name")?, place: name.place })
        });
        Some(zones.collect())
    }

    /// One address without a length, which may be a host's own.
    fn address(&mut self, value: &Value<'_>, what: &str, help: &str) -> Option<Spanned<IpAddr>> {
        let text = self.text(value, what, help)?;
        match text.parse::<IpAddr>() {
            Ok(address) => Some(Spanned { value: address, place: value.place }),
            Err(_) => {
                let message = format!("{} is no address for {what}", crate::diagnostic::quote(text));
                self.problems.error(Code::BAD_ADDRESS, value.place, message, help);
                None
            }
        }
    }
}
