//! Ways out, demands and invariants as written.

use super::Reader;
use super::values::{Fields, Scope};
use crate::address;
use crate::diagnostic::{Code, Place, Spanned, quote};
use crate::keys::{self, HOPS};
use crate::yaml::{Kind, Value};
use ipnetwork::IpNetwork;
use std::net::IpAddr;

/// What to write for a set of nodes.
const SELECTOR_HELP: &str = "write `any`, a node's name, `zone:NAME` or `label:KEY=VALUE`";

/// How an invariant looks.
const INVARIANT_HELP: &str = "write one key for each item, as in `- {reach: {from: any, to: zone:west}}`";

/// A way out of the network.
pub(crate) struct RawExternal {
    pub(crate) place: Place,
    pub(crate) node: Spanned<String>,
    pub(crate) interface: Spanned<String>,
    pub(crate) next_hop: IpAddr,
    pub(crate) prefixes: Vec<Spanned<IpNetwork>>,
}

/// Expected traffic.
pub(crate) struct RawDemand {
    pub(crate) place: Place,
    pub(crate) from: Spanned<String>,
    pub(crate) to: Spanned<String>,
    pub(crate) rate_bps: u64,
}

/// What must hold.
pub(crate) struct RawInvariant {
    pub(crate) place: Place,
    pub(crate) from: Spanned<String>,
    pub(crate) to: Spanned<String>,
    pub(crate) rule: RawRule,
}

/// What must hold for a pair of nodes.
pub(crate) enum RawRule {
    Reach,
    Isolate,
    Waypoint(Spanned<String>),
    MaxHops(u32),
    MaxLatencyUs(u64),
    MinMtuBytes(u32),
}

impl Reader<'_> {
    pub(super) fn externals(&mut self, value: &Value<'_>) -> Vec<RawExternal> {
        let help = "write a list, one `- {node: a, interface: wan0, next_hop: 192.0.2.1, prefixes: [0.0.0.0/0]}` \
                    for each way out";
        let items = self.list(value, "`external`", help).unwrap_or(&[]);
        items.iter().filter_map(|item| self.external(item)).collect()
    }

    fn external(&mut self, value: &Value<'_>) -> Option<RawExternal> {
        let fields = self.fields(value, &keys::EXTERNAL)?;
        let node = self.node_of(&fields, "node");
        let help = "write the interface of the uplink, as in `interface: wan0`";
        let interface = self.required(&fields, "interface", help).and_then(|value| {
            let text = self.text(value, "`interface`", help)?;
            let good = self.check_interface(text, value.place);
            good.then(|| Spanned { value: text.to_owned(), place: value.place })
        });
        let help = "write the gateway's address without a length, as in `next_hop: 192.0.2.1`";
        let next_hop = self.required(&fields, "next_hop", help);
        let next_hop = next_hop.and_then(|value| self.next_hop(value, help));
        let help = "write a list of prefixes of one family, as in `prefixes: [0.0.0.0/0]`";
        let list = self.required(&fields, "prefixes", help);
        let prefixes = list.map(|value| self.outside_prefixes(value, help)).unwrap_or_default();
        let next_hop = next_hop?;
        let strange = prefixes.iter().find(|prefix| prefix.value.is_ipv4() != next_hop.value.is_ipv4());
        if let Some(prefix) = strange {
            let message = format!(
                "{} is not of the family of the next hop {}: an entry has one family",
                prefix.value, next_hop.value
            );
            let help = "write an entry of its own for the other family, with its own next hop";
            self.problems.error(Code::MIXED_FAMILIES, prefix.place, message, help);
        }
        Some(RawExternal {
            place: value.place,
            node: node?,
            interface: interface?,
            next_hop: next_hop.value,
            prefixes,
        })
    }

    fn outside_prefixes(&mut self, value: &Value<'_>, help: &str) -> Vec<Spanned<IpNetwork>> {
        let Some(items) = self.list(value, "`prefixes`", help) else { return Vec::new() };
        if items.is_empty() {
            let message = "this way out leads nowhere: it has no prefixes";
            self.problems.error(Code::MISSING_KEY, value.place, message, help);
        }
        items.iter().filter_map(|item| self.network(item, "an external prefix", Scope::Outside)).collect()
    }

    /// A gateway on the uplink's own subnet; IPv6 routers are often known by their link-local address alone.
    fn next_hop(&mut self, value: &Value<'_>, help: &str) -> Option<Spanned<IpAddr>> {
        let address = self.address(value, "a next hop", help)?;
        let link_local = match address.value {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        if !link_local && address::reserved(&IpNetwork::from(address.value)).is_some() {
            let message = format!("{} is no address of a gateway", address.value);
            self.problems.error(Code::BAD_ADDRESS, value.place, message, help);
            return None;
        }
        Some(address)
    }

    pub(super) fn node_of(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<Spanned<String>> {
        let help = "write the name of a node";
        let value = self.required(fields, key, help)?;
        self.reference(value, &format!("`{key}`"), help)
    }

    pub(super) fn demands(&mut self, value: &Value<'_>) -> Vec<RawDemand> {
        let help = "write a list, one `- {from: a, to: b, rate: 1G}` for each demand";
        let items = self.list(value, "`demands`", help).unwrap_or(&[]);
        items.iter().filter_map(|item| self.demand(item)).collect()
    }

    fn demand(&mut self, value: &Value<'_>) -> Option<RawDemand> {
        let fields = self.fields(value, &keys::DEMAND)?;
        let from = self.node_of(&fields, "from");
        let to = self.node_of(&fields, "to");
        let rate = self.required(&fields, "rate", "write how much it is, as in `rate: 2.5G`");
        let rate_bps = rate.and_then(|value| self.bits_per_second(value, "`rate`"));
        Some(RawDemand { place: value.place, from: from?, to: to?, rate_bps: rate_bps? })
    }

    pub(super) fn invariants(&mut self, value: &Value<'_>) -> Vec<RawInvariant> {
        let items = self.list(value, "`invariants`", INVARIANT_HELP).unwrap_or(&[]);
        items.iter().filter_map(|item| self.invariant(item)).collect()
    }

    fn invariant(&mut self, value: &Value<'_>) -> Option<RawInvariant> {
        let rules = match &value.kind {
            Kind::Mapping(pairs) => pairs.len(),
            _ => 1,
        };
        if value.is_null() || rules != 1 {
            let message =
                format!("an invariant has one key, here are {}", if rules == 1 { 0 } else { rules });
            self.problems.error(Code::MISSING_KEY, value.place, message, INVARIANT_HELP);
            return None;
        }
        let fields = self.fields(value, &keys::INVARIANT)?;
        let (rule, value) = fields.entries().next()?;
        let shape = match rule {
            "reach" => &keys::REACH,
            "isolate" => &keys::ISOLATE,
            "waypoint" => &keys::WAYPOINT,
            "max_hops" => &keys::MAX_HOPS,
            "max_latency" => &keys::MAX_LATENCY,
            _ => &keys::MIN_MTU,
        };
        let inner = self.fields(value, shape)?;
        let from = self.selector(&inner, "from");
        let to = self.selector(&inner, "to");
        let rule = self.rule(rule, &inner);
        Some(RawInvariant { place: fields.place, from: from?, to: to?, rule: rule? })
    }

    fn rule(&mut self, rule: &str, fields: &Fields<'_, '_>) -> Option<RawRule> {
        Some(match rule {
            "reach" => RawRule::Reach,
            "isolate" => RawRule::Isolate,
            "waypoint" => RawRule::Waypoint(self.selector(fields, "via")?),
            "max_hops" => {
                let help = "write the most links of a path, from 1 to 255, as in `hops: 4`";
                let value = self.required(fields, "hops", help)?;
                let hops = self.integer(value, "`hops`", HOPS, Code::OUT_OF_RANGE, help)?;
                RawRule::MaxHops(hops as u32)
            }
            "max_latency" => {
                let value =
                    self.required(fields, "latency", "write the longest time, as in `latency: 30ms`")?;
                RawRule::MaxLatencyUs(self.latency(value)?)
            }
            _ => {
                let value =
                    self.required(fields, "bytes", "write the size of a packet, as in `bytes: 9000`")?;
                RawRule::MinMtuBytes(self.mtu(value, "`bytes`")?)
            }
        })
    }

    /// A set of nodes, its form checked; whether the names exist is seen later.
    fn selector(&mut self, fields: &Fields<'_, '_>, key: &str) -> Option<Spanned<String>> {
        let value = self.required(fields, key, SELECTOR_HELP)?;
        let selector = self.reference(value, &format!("`{key}`"), SELECTOR_HELP)?;
        let known = match selector.value.split_once(':') {
            None => true,
            Some(("zone", name)) => !name.is_empty(),
            Some(("label", pair)) => pair.split_once('=').is_some_and(|(label, _)| !label.is_empty()),
            Some(_) => false,
        };
        if !known {
            let message = format!("{} is no set of nodes", quote(&selector.value));
            self.problems.error(Code::WRONG_TYPE, value.place, message, SELECTOR_HELP);
            return None;
        }
        Some(selector)
    }
}
