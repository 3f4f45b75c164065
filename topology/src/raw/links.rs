//! Links and bundles as written.

use super::Reader;
use super::values::Fields;
use crate::diagnostic::{Code, Place, Spanned, quote};
use crate::keys::{
    self, CAPACITY_BPS_MAX, LATENCY_US_MAX, LIVENESS_INTERVAL_MS, LIVENESS_MULTIPLIER, MIN_LINKS, MTU_BYTES,
};
use crate::yaml::{Kind, Value};
use crate::{address, names, units};
use ipnetwork::IpNetwork;

/// What to do about a link's wrong cost.
const LINK_COST_HELP: &str =
    "write a whole number from 1 to 4294967295, or one for each direction as `{seattle: 7, denver: 9}`";

/// What to do about a template's wrong cost.
pub(super) const COST_HELP: &str = "write a whole number from 1 to 4294967295";

/// What to do about endpoints.
const ENDPOINTS_HELP: &str =
    "write both ends as `node:interface`, as in `endpoints: [\"seattle:eth1\", \"denver:eth2\"]`";

/// A link with two readable endpoints.
pub(crate) struct RawLink {
    pub(crate) place: Place,
    /// In the file's order.
    pub(crate) ends: [RawEnd; 2],
    /// What the link itself says.
    pub(crate) settings: LinkSettings,
    pub(crate) srlgs: Vec<String>,
    pub(crate) affinity: Option<Vec<String>>,
    pub(crate) group: Option<Spanned<String>>,
    pub(crate) drained: bool,
}

/// One end of a link as written.
pub(crate) struct RawEnd {
    pub(crate) place: Place,
    pub(crate) node: String,
    pub(crate) interface: String,
    /// When the link gives this direction a cost of its own.
    pub(crate) cost: Option<u32>,
    /// Nothing when the file's addresses could not all be read.
    pub(crate) addresses: Option<Vec<Spanned<IpNetwork>>>,
}

/// What `defaults.link`, a kind's `link` and each link can set.
#[derive(Clone, Copy, Default)]
pub(crate) struct LinkSettings {
    /// For both directions.
    pub(crate) cost: Option<u32>,
    pub(crate) capacity_bps: Option<u64>,
    pub(crate) latency_us: Option<u64>,
    pub(crate) mtu_bytes: Option<u32>,
    pub(crate) liveness: Option<RawLiveness>,
}

/// Liveness as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RawLiveness {
    Off,
    /// What is not said comes from the defaults.
    On {
        interval_ms: Option<u32>,
        multiplier: Option<u8>,
    },
}

/// A bundle as written.
pub(crate) struct RawGroup {
    pub(crate) name: Spanned<String>,
    pub(crate) min_links: u32,
}

impl Reader<'_> {
    /// The cost only when it is one number.
    pub(super) fn link_settings(&mut self, fields: &Fields<'_, '_>, cost_help: &str) -> LinkSettings {
        let cost = fields.get("cost").filter(|value| !matches!(value.kind, Kind::Mapping(_)));
        let capacity = fields.get("capacity");
        let latency_us = fields.get("latency").and_then(|value| self.latency(value));
        let mtu_bytes = fields.get("mtu").and_then(|value| self.mtu(value, "`mtu`"));
        let liveness = fields.get("liveness").and_then(|value| self.liveness(value));
        LinkSettings {
            cost: cost.and_then(|value| self.cost(value, cost_help)),
            capacity_bps: capacity.and_then(|value| self.bits_per_second(value, "`capacity`")),
            latency_us,
            mtu_bytes,
            liveness,
        }
    }

    fn liveness(&mut self, value: &Value<'_>) -> Option<RawLiveness> {
        if let Kind::Plain(text) | Kind::Quoted(text) = &value.kind
            && !value.is_null()
        {
            if text == "off" {
                return Some(RawLiveness::Off);
            }
            let help =
                "write `off`, or an interval and a multiplier, as in `{interval: 50ms, multiplier: 3}`";
            self.wrong_type(value, "`liveness`", "`off` or a mapping", help);
            return None;
        }
        let fields = self.fields(value, &keys::LIVENESS)?;
        let help = "write a number and `ms` or `s`, from 10ms to 10s, as in `50ms`";
        let interval_ms = fields.get("interval").and_then(|value| {
            self.quantity(value, "`interval`", units::DURATION_MS, LIVENESS_INTERVAL_MS, help)
        });
        let help = "write how many packets in a row may be missed, from 1 to 50, as in `3`";
        let multiplier = fields.get("multiplier").and_then(|value| {
            self.integer(value, "`multiplier`", LIVENESS_MULTIPLIER, Code::OUT_OF_RANGE, help)
        });
        // Both are within ranges that fit.
        Some(RawLiveness::On {
            interval_ms: interval_ms.map(|ms| ms as u32),
            multiplier: multiplier.map(|count| count as u8),
        })
    }

    pub(super) fn bits_per_second(&mut self, value: &Value<'_>, what: &str) -> Option<u64> {
        let help = "write a number and `k`, `M`, `G` or `T` (bits per second), as in `10G`";
        let range = if what == "`capacity`" { 1..=CAPACITY_BPS_MAX } else { 0..=CAPACITY_BPS_MAX };
        self.quantity(value, what, units::CAPACITY, range, help)
    }

    pub(super) fn latency(&mut self, value: &Value<'_>) -> Option<u64> {
        let help = "write a number and `us`, `ms` or `s`, one way, at most 60s, as in `4.5ms`";
        self.quantity(value, "`latency`", units::LATENCY_US, 0..=LATENCY_US_MAX, help)
    }

    pub(super) fn mtu(&mut self, value: &Value<'_>, what: &str) -> Option<u32> {
        let help = "write the largest IP packet in bytes, without a unit, as in `9000`";
        self.integer(value, what, MTU_BYTES, Code::OUT_OF_RANGE, help).map(|bytes| bytes as u32)
    }

    pub(super) fn affinity(&mut self, value: Option<&Value<'_>>) -> Option<Vec<String>> {
        value.map(|value| self.names(value, "`affinity`", "an affinity label"))
    }

    pub(super) fn links(&mut self, value: &Value<'_>) -> Vec<RawLink> {
        let help = "write a list, one `- {endpoints: [\"a:eth1\", \"b:eth1\"]}` for each link";
        let items = self.list(value, "`links`", help).unwrap_or(&[]);
        items.iter().filter_map(|item| self.link(item)).collect()
    }

    fn link(&mut self, value: &Value<'_>) -> Option<RawLink> {
        let fields = self.fields(value, &keys::LINK)?;
        let settings = self.link_settings(&fields, LINK_COST_HELP);
        let srlgs = fields.get("srlg").map(|value| self.names(value, "`srlg`", "a shared-risk group"));
        let affinity = self.affinity(fields.get("affinity"));
        let group = fields
            .get("group")
            .and_then(|value| self.reference(value, "`group`", "write the name of a link group"));
        let drained = fields.get("drained").and_then(|value| self.flag(value, "`drained`"));
        let endpoints = self.required(&fields, "endpoints", ENDPOINTS_HELP);
        let mut ends = endpoints.and_then(|value| self.endpoints(value))?;
        // The keys of a self-link's ends would be the same: it is refused as a whole later.
        if ends[0].node != ends[1].node {
            self.by_end(&fields, &mut ends);
        }
        Some(RawLink {
            place: value.place,
            ends,
            settings,
            srlgs: srlgs.unwrap_or_default(),
            affinity,
            group,
            drained: drained.unwrap_or(false),
        })
    }

    /// What a link says for each end.
    fn by_end(&mut self, fields: &Fields<'_, '_>, ends: &mut [RawEnd; 2]) {
        if let Some(value) = fields.get("cost").filter(|value| matches!(value.kind, Kind::Mapping(_))) {
            for (end, value) in self.per_end(value, "`cost`", ends, ["7", "9"]) {
                ends[end].cost = self.cost(value, LINK_COST_HELP);
            }
        }
        if let Some(value) = fields.get("addresses") {
            let found = self.per_end(value, "`addresses`", ends, ["[192.0.2.0/31]", "[192.0.2.1/31]"]);
            ends.iter_mut().for_each(|end| end.addresses = None);
            for (end, value) in found {
                ends[end].addresses = self.addresses(value);
            }
        }
    }

    fn endpoints(&mut self, value: &Value<'_>) -> Option<[RawEnd; 2]> {
        let items = self.list(value, "`endpoints`", ENDPOINTS_HELP)?;
        let [first, second] = items else {
            let message = format!("a link has two endpoints, here are {}", items.len());
            self.problems.error(Code::BAD_ENDPOINT, value.place, message, ENDPOINTS_HELP);
            return None;
        };
        // Both are read before either decides, so that both are reported.
        let ends = [first, second].map(|item| self.endpoint(item));
        let [Some(first), Some(second)] = ends else { return None };
        Some([first, second])
    }

    fn endpoint(&mut self, value: &Value<'_>) -> Option<RawEnd> {
        let text = self.text(value, "an endpoint", ENDPOINTS_HELP)?;
        let parts =
            text.split_once(':').filter(|(node, interface)| !node.is_empty() && !interface.is_empty());
        let Some((node, interface)) = parts else {
            let message = format!("the endpoint {} is not `node:interface`", quote(text));
            self.problems.error(Code::BAD_ENDPOINT, value.place, message, ENDPOINTS_HELP);
            return None;
        };
        let node_is_good = self.check_name(node, value.place, "a node's name");
        if !self.check_interface(interface, value.place) || !node_is_good {
            return None;
        }
        Some(RawEnd {
            place: value.place,
            node: node.to_owned(),
            interface: interface.to_owned(),
            cost: None,
            addresses: Some(Vec::new()),
        })
    }

    pub(super) fn check_interface(&mut self, interface: &str, place: Place) -> bool {
        let Err(rule) = names::interface(interface) else { return true };
        let message = format!("the interface name {} {rule}", quote(interface));
        let help = "write the name that `ip link` shows, 1 to 15 characters, as in `eth1`";
        self.problems.error(Code::BAD_NAME, place, message, help);
        false
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

    pub(super) fn groups(&mut self, value: Option<&Value<'_>>) -> Option<Vec<RawGroup>> {
        let Some(value) = value else { return Some(Vec::new()) };
        let items =
            self.list(value, "`link_groups`", "write a list, as in `[{name: trunk, min_links: 2}]`")?;
        let groups = items.iter().filter_map(|item| {
            let fields = self.fields(item, &keys::LINK_GROUP)?;
            let help = "write the number of links that must live, as in `2`";
            let min_links = fields
                .get("min_links")
                .and_then(|value| self.integer(value, "`min_links`", MIN_LINKS, Code::OUT_OF_RANGE, help));
            let name = self.required(&fields, "name", "write `name: NAME`")?;
            let name = Spanned { value: self.name(name, "a link group's name")?, place: name.place };
            Some(RawGroup { name, min_links: min_links.unwrap_or(1) as u32 })
        });
        Some(groups.collect())
    }
}
