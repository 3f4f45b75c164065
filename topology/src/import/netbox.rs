//! JSON as NetBox's REST API returns it: devices, interfaces, cables, prefixes and addresses.
//!
//! Result sets come in one object keyed by endpoint, as a list of pages, or as a plain list of objects. A device
//! is a node, a cable between interfaces of two devices is a link (through patch panels where the interfaces say
//! what they reach). Never asks a server.

use super::json::Json;
use super::source::Several;
use super::{Found, FoundLink, FoundNode, ImportError};
use crate::address;
use std::collections::{BTreeMap, BTreeSet};

/// Endpoints that are read.
const ENDPOINTS: [&str; 5] = ["devices", "interfaces", "cables", "prefixes", "ip-addresses"];

/// Kilometres in each unit of a cable's length.
const LENGTH_UNITS_KM: [(&str, f64); 6] = [
    ("km", 1.0),
    ("m", 0.001),
    ("cm", 0.000_01),
    ("mi", 1.609_344),
    ("ft", 0.000_304_8),
    ("in", 0.000_025_4),
];

/// Reads one export.
pub(crate) fn read(text: &str) -> Result<Found, ImportError> {
    let root: Json = serde_json::from_str(text).map_err(|cause| ImportError {
        line: u32::try_from(cause.line()).ok(),
        message: format!("this is not JSON: {cause}"),
        help: "save what the REST API returns, for example `curl .../api/dcim/devices/?limit=0`".to_owned(),
    })?;
    let mut sets = Sets::default();
    sets.add(&root, None)?;
    let sets = sets.complete()?;
    let mut reader = Reader::default();
    for device in sets.get("devices") {
        reader.device(device)?;
    }
    for interface in sets.get("interfaces") {
        reader.interface(interface);
    }
    for cable in sets.get("cables") {
        reader.cable(cable);
    }
    reader.reached();
    reader.addresses(sets.get("ip-addresses"), sets.get("prefixes"));
    Ok(reader.finish())
}

fn error(message: impl Into<String>, help: impl Into<String>) -> ImportError {
    ImportError { line: None, message: message.into(), help: help.into() }
}

/// Objects by endpoint, in the source's order.
#[derive(Default)]
struct Sets<'j> {
    objects: BTreeMap<String, Vec<&'j Json>>,
    /// How many the server says there are.
    counts: BTreeMap<String, u64>,
}

impl<'j> Sets<'j> {
    /// A page, a list of pages or objects, or result sets by endpoint. Nested by at most the parser's own bound.
    fn add(&mut self, value: &'j Json, endpoint: Option<&str>) -> Result<(), ImportError> {
        match value {
            Json::List(items) => items.iter().try_for_each(|item| self.add(item, endpoint)),
            Json::Object(object) => {
                if let Some(Json::List(results)) = value.get("results") {
                    let of_page = endpoint.map(str::to_owned).or_else(|| results.first().and_then(kind_of));
                    if let (Some(endpoint), Some(count)) =
                        (&of_page, value.get("count").and_then(Json::as_u64))
                    {
                        self.counts.insert(endpoint.clone(), count);
                    }
                    return results.iter().try_for_each(|item| self.add(item, of_page.as_deref()));
                }
                if value.get("id").is_some() {
                    let endpoint = endpoint.map(str::to_owned).or_else(|| kind_of(value));
                    self.objects
                        .entry(endpoint.unwrap_or_else(|| "others".to_owned()))
                        .or_default()
                        .push(value);
                    return Ok(());
                }
                if endpoint.is_some() {
                    return Err(error(
                        "an object has no `id`",
                        "export whole objects, not chosen fields of them",
                    ));
                }
                object.iter().try_for_each(|(key, value)| match value {
                    Json::List(_) | Json::Object(_) => self.add(value, Some(&endpoint_of(key))),
                    _ => Ok(()),
                })
            }
            _ => Err(error(
                "this JSON holds no result sets of NetBox",
                "save what `/api/dcim/devices/` and the like return",
            )),
        }
    }

    /// An export with missing pages would be a network with missing links.
    fn complete(self) -> Result<Sets<'j>, ImportError> {
        for (endpoint, count) in &self.counts {
            let here = self.get(endpoint).len() as u64;
            if here < *count && ENDPOINTS.contains(&endpoint.as_str()) {
                return Err(error(
                    format!("{endpoint}: {here} of {count} are in this file: pages are missing"),
                    "ask for all with `?limit=0`, or put all pages into one list",
                ));
            }
        }
        if self.get("devices").is_empty() {
            return Err(error(
                "there are no devices in this file",
                "add the results of `/api/dcim/devices/`",
            ));
        }
        Ok(self)
    }

    fn get(&self, endpoint: &str) -> &[&'j Json] {
        self.objects.get(endpoint).map_or(&[], Vec::as_slice)
    }
}

/// `/api/ipam/ip-addresses/` and `ip_addresses` are `ip-addresses`.
fn endpoint_of(key: &str) -> String {
    key.trim_matches('/').rsplit('/').next().unwrap_or_default().replace('_', "-")
}

/// The endpoint that an object comes from, by its address or else by its fields.
fn kind_of(object: &Json) -> Option<String> {
    if let Some(url) = text(object, "url") {
        let mut parts = url.trim_end_matches('/').rsplit('/');
        // Behind the endpoint stands the object's number.
        return parts.nth(1).map(str::to_owned);
    }
    let has = |key: &str| object.get(key).is_some();
    let endpoint = if has("a_terminations") || has("termination_a_id") {
        "cables"
    } else if has("device_type") {
        "devices"
    } else if has("device") {
        "interfaces"
    } else if has("prefix") {
        "prefixes"
    } else if has("address") {
        "ip-addresses"
    } else {
        return None;
    };
    Some(endpoint.to_owned())
}

fn text<'j>(object: &'j Json, key: &str) -> Option<&'j str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// The id of an object, or of one that a field refers to.
fn id(object: &Json) -> Option<u64> {
    object.as_u64().or_else(|| object.get("id")?.as_u64())
}

/// A choice is `{"value": .., "label": ..}`, in older versions its value alone.
fn choice<'j>(object: &'j Json, key: &str) -> Option<&'j str> {
    let value = object.get(key)?;
    value.as_str().or_else(|| text(value, "value"))
}

/// The short name of an object that a field refers to.
fn slug<'j>(object: &'j Json, key: &str) -> Option<&'j str> {
    let value = object.get(key)?;
    text(value, "slug").or_else(|| text(value, "name")).or_else(|| text(value, "model"))
}

/// An interface as the network sees it.
struct Port<'j> {
    node: usize,
    name: String,
    speed_bps: Option<u64>,
    mtu_bytes: Option<u32>,
    management: bool,
    /// Part of something larger or smaller than the port: its addresses are not those of a cable.
    indirect: bool,
    object: &'j Json,
}

#[derive(Default)]
struct Reader<'j> {
    found: Found,
    devices: BTreeMap<u64, usize>,
    ports: BTreeMap<u64, Port<'j>>,
    /// Position of the link at each port.
    linked: BTreeMap<u64, usize>,
    homeless: Several,
    to_elsewhere: Several,
    not_built: Several,
    management: Several,
    bundled: Several,
    not_addresses: Several,
    idle_prefixes: Several,
}

impl<'j> Reader<'j> {
    fn device(&mut self, device: &Json) -> Result<(), ImportError> {
        let Some(number) = id(device) else {
            return Err(error("a device has no `id`", "export whole objects, not chosen fields of them"));
        };
        if self.devices.insert(number, self.found.nodes.len()).is_some() {
            let message = format!("the device {number} is there twice");
            return Err(error(message, "export each page once"));
        }
        let mut labels = Vec::new();
        for (key, value) in [
            ("role", slug(device, "role").or_else(|| slug(device, "device_role"))),
            ("type", slug(device, "device_type")),
            ("platform", slug(device, "platform")),
            ("rack", slug(device, "rack")),
            ("status", choice(device, "status")),
        ] {
            labels.extend(value.map(|value| (key.to_owned(), value.to_owned())));
        }
        let tags = device.get("tags").map(Json::items).unwrap_or_default();
        let tags: Vec<&str> =
            tags.iter().filter_map(|tag| tag.as_str().or_else(|| text(tag, "slug"))).collect();
        if !tags.is_empty() {
            labels.push(("tags".to_owned(), tags.join(",")));
        }
        let degrees = |key: &str| device.get(key).and_then(Json::as_f64);
        self.found.nodes.push(FoundNode {
            source_id: number.to_string(),
            label: text(device, "name").or_else(|| text(device, "display")).map(str::to_owned),
            zone: slug(device, "site").map(str::to_owned),
            location: degrees("latitude").zip(degrees("longitude")),
            prefixes: Vec::new(),
            labels,
        });
        Ok(())
    }

    fn interface(&mut self, object: &'j Json) {
        let (Some(number), Some(device)) = (id(object), object.get("device").and_then(id)) else { return };
        let name = text(object, "name").or_else(|| text(object, "display")).unwrap_or_default().to_owned();
        let Some(node) = self.devices.get(&device).copied() else {
            self.homeless.add(|| format!("{name} (id {number})"));
            return;
        };
        let kind = choice(object, "type").unwrap_or_default();
        // NetBox has the speed in kilobits per second.
        let stated = object.get("speed").and_then(Json::as_u64).and_then(|kbps| kbps.checked_mul(1_000));
        let refers = |key: &str| object.get(key).is_some_and(|value| *value != Json::Null);
        let port = Port {
            node,
            name,
            speed_bps: stated.filter(|bps| *bps > 0).or_else(|| speed_of(kind)),
            mtu_bytes: object.get("mtu").and_then(Json::as_u64).and_then(|bytes| u32::try_from(bytes).ok()),
            management: object.get("mgmt_only").and_then(Json::as_bool).unwrap_or(false),
            indirect: kind == "lag" || refers("lag") || refers("parent") || refers("bridge"),
            object,
        };
        if port.management {
            self.management.add(|| format!("{}:{}", self.found.nodes[node].source_id, port.name));
        }
        self.ports.insert(number, port);
    }

    fn cable(&mut self, cable: &Json) {
        let number = id(cable).map_or_else(String::new, |number| number.to_string());
        if matches!(choice(cable, "status"), Some("planned" | "decommissioning")) {
            self.not_built.add(|| number);
            return;
        }
        let sides =
            [("a", "a_terminations"), ("b", "b_terminations")].map(|(side, list)| side_of(cable, side, list));
        let [Some(a), Some(b)] = sides else {
            self.to_elsewhere.add(|| number);
            return;
        };
        let several = a.len() > 1 || b.len() > 1;
        let pairs: Vec<(u64, u64)> = match (a.as_slice(), b.as_slice()) {
            ([one], many) => many.iter().map(|other| (*one, *other)).collect(),
            (many, [one]) => many.iter().map(|other| (*other, *one)).collect(),
            (many, others) if many.len() == others.len() => {
                many.iter().copied().zip(others.iter().copied()).collect()
            }
            _ => {
                self.to_elsewhere.add(|| number);
                return;
            }
        };
        let length = cable.get("length").and_then(Json::as_f64);
        let unit = choice(cable, "length_unit");
        let unit = LENGTH_UNITS_KM.iter().find(|(name, _)| Some(*name) == unit).map(|(_, km)| km);
        let distance_km = length.zip(unit).map(|(length, km)| (length * km * 1e6).round() / 1e6);
        for (at, (a, b)) in pairs.into_iter().enumerate() {
            let index = if several { format!("{number}.{at}") } else { number.clone() };
            self.link(index, [a, b], distance_km);
        }
    }

    fn link(&mut self, source_index: String, ports: [u64; 2], distance_km: Option<f64>) {
        let [Some(a), Some(b)] = ports.map(|port| self.ports.get(&port)) else {
            self.to_elsewhere.add(|| source_index);
            return;
        };
        if a.management || b.management {
            return;
        }
        let least = |a: Option<u64>, b: Option<u64>| a.into_iter().chain(b).min();
        let mtu = least(a.mtu_bytes.map(u64::from), b.mtu_bytes.map(u64::from));
        let link = FoundLink {
            source_index,
            ends: [a.node, b.node],
            interfaces: [a, b].map(|port| Some(port.name.clone()).filter(|name| !name.is_empty())),
            capacity_bps: least(a.speed_bps, b.speed_bps),
            mtu_bytes: mtu.and_then(|bytes| u32::try_from(bytes).ok()),
            distance_km,
            ..FoundLink::default()
        };
        for port in ports {
            self.linked.insert(port, self.found.links.len());
        }
        self.found.links.push(link);
    }

    /// What interfaces reach through patch panels and circuits, where no cable joins them directly.
    fn reached(&mut self) {
        let mut pairs = Vec::new();
        let mut seen = BTreeSet::new();
        for (number, port) in &self.ports {
            let kind = text(port.object, "connected_endpoints_type");
            let Some(Json::List(ends)) = port.object.get("connected_endpoints") else { continue };
            if kind.is_some_and(|kind| kind != "dcim.interface") || self.linked.contains_key(number) {
                continue;
            }
            for other in ends.iter().filter_map(id) {
                let pair = [*number.min(&other), *number.max(&other)];
                let known = self.ports.contains_key(&other) && !self.linked.contains_key(&other);
                if known && other != *number && seen.insert(pair) {
                    let cable = port.object.get("cable").and_then(id);
                    let index =
                        cable.map_or_else(|| format!("interface {number}"), |cable| cable.to_string());
                    pairs.push((index, pair));
                }
            }
        }
        for (index, pair) in pairs {
            self.link(index, pair, None);
        }
    }

    /// Addresses of cabled interfaces number links; the subnets of all others are behind the node.
    fn addresses(&mut self, addresses: &[&'j Json], prefixes: &[&'j Json]) {
        let mut served = BTreeSet::new();
        for object in addresses {
            let shown = text(object, "address").unwrap_or_default();
            let vrf = object.get("vrf").is_some_and(|vrf| *vrf != Json::Null);
            let on_interface =
                text(object, "assigned_object_type").is_none_or(|kind| kind == "dcim.interface");
            let assigned = object.get("assigned_object_id").or_else(|| object.get("assigned_object"));
            let port = assigned.and_then(id).and_then(|port| Some((port, self.ports.get(&port)?)));
            let (Some(address), Some((number, port)), true, false) =
                (address::cidr(shown), port, on_interface, vrf)
            else {
                self.not_addresses.add(|| shown.to_owned());
                continue;
            };
            let subnet = address::canonical(&address);
            served.insert(subnet);
            if port.management {
                continue;
            }
            if let Some(link) = self.linked.get(&number) {
                let link = &mut self.found.links[*link];
                let end = usize::from(link.ends[0] != port.node);
                link.addresses[end].push(address);
            } else if port.indirect && address::host_bits(&address) > 0 {
                self.bundled.add(|| shown.to_owned());
            } else {
                self.found.nodes[port.node].prefixes.push(subnet);
            }
        }
        for object in prefixes {
            let shown = text(object, "prefix").unwrap_or_default();
            let known =
                address::cidr(shown).is_some_and(|prefix| served.contains(&address::canonical(&prefix)));
            if !known {
                self.idle_prefixes.add(|| shown.to_owned());
            }
        }
    }

    fn finish(mut self) -> Found {
        let dropped = &mut self.found.dropped;
        self.homeless.tell(dropped, "interfaces of devices that are not in this file");
        self.management.tell(dropped, "management interfaces, and their cables and addresses");
        self.to_elsewhere.tell(dropped, "cables that do not join interfaces of two devices");
        self.not_built.tell(dropped, "cables that are planned or taken away");
        self.bundled.tell(dropped, "addresses of bundles and subinterfaces");
        self.not_addresses.tell(dropped, "addresses of no interface here, or of a VRF");
        self.idle_prefixes.tell(dropped, "prefixes in which no interface has an address");
        self.found
    }
}

/// Ids of the interfaces at one side of a cable; nothing when one is no interface.
fn side_of(cable: &Json, side: &str, list: &str) -> Option<Vec<u64>> {
    let is_interface = |kind: Option<&str>| kind == Some("dcim.interface");
    if let Some(Json::List(ends)) = cable.get(list) {
        let ids = ends.iter().map(|end| {
            let number = end.get("object_id").or_else(|| end.get("object")).and_then(id);
            number.filter(|_| is_interface(text(end, "object_type")))
        });
        return ids.collect::<Option<Vec<u64>>>().filter(|ids| !ids.is_empty());
    }
    // Before NetBox 3.3, a cable had one end at each side.
    let number = cable.get(&format!("termination_{side}_id")).and_then(id);
    Some(vec![number.filter(|_| is_interface(text(cable, &format!("termination_{side}_type"))))?])
}

/// Bits per second of a kind of interface: `1000base-t`, `10gbase-x-sfpp`.
fn speed_of(kind: &str) -> Option<u64> {
    let (speed, _) = kind.split_once("base")?;
    let (number, unit_bps) = match (speed.strip_suffix('g'), speed.strip_suffix('t')) {
        (Some(number), _) => (number, 1e9),
        (_, Some(number)) => (number, 1e12),
        _ => (speed, 1e6),
    };
    let number: f64 = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0)?;
    Some((number * unit_bps).round() as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ipnetwork::IpNetwork;

    /// Two routers and a switch in two sites, as the API shows them (fields that are not read left out).
    const EXPORT: &str = r#"{
  "dcim/devices": {"count": 3, "next": null, "results": [
    {"id": 1, "name": "core-1", "site": {"id": 1, "slug": "ams"}, "role": {"slug": "core"}, "device_type": {"model": "X", "slug": "x"},
     "status": {"value": "active"}, "latitude": 52.37, "longitude": 4.9, "tags": [{"slug": "a"}, {"slug": "b"}]},
    {"id": 2, "name": "core-1", "site": {"id": 2, "slug": "fra"}, "device_role": {"slug": "core"}},
    {"id": 3, "name": null, "display": "switch (3)", "site": {"id": 2, "slug": "fra"}}]},
  "interfaces": [
    {"id": 11, "device": {"id": 1}, "name": "xe-0/0/0", "type": {"value": "10gbase-x-sfpp"}, "mtu": 9192},
    {"id": 12, "device": {"id": 1}, "name": "fxp0", "type": {"value": "1000base-t"}, "mgmt_only": true},
    {"id": 13, "device": {"id": 1}, "name": "lo0", "type": {"value": "virtual"}},
    {"id": 21, "device": {"id": 2}, "name": "xe-0/0/0", "type": {"value": "100gbase-x-cfp"}, "speed": 40000000, "mtu": 9000},
    {"id": 22, "device": {"id": 2}, "name": "xe-0/0/1", "type": {"value": "1000base-t"},
     "cable": {"id": 8}, "connected_endpoints": [{"id": 31}], "connected_endpoints_type": "dcim.interface"},
    {"id": 23, "device": {"id": 2}, "name": "ae0", "type": {"value": "lag"}},
    {"id": 31, "device": {"id": 3}, "name": "1", "type": {"value": "1000base-t"},
     "cable": {"id": 9}, "connected_endpoints": [{"id": 22}], "connected_endpoints_type": "dcim.interface"},
    {"id": 32, "device": {"id": 3}, "name": "vlan10", "type": {"value": "virtual"}}],
  "cables": [{"count": 4, "results": [
    {"id": 7, "a_terminations": [{"object_type": "dcim.interface", "object_id": 11}],
     "b_terminations": [{"object_type": "dcim.interface", "object_id": 21}], "length": "12.50", "length_unit": {"value": "km"}},
    {"id": 8, "a_terminations": [{"object_type": "dcim.interface", "object_id": 22}],
     "b_terminations": [{"object_type": "dcim.frontport", "object_id": 5}]}]},
    {"count": 4, "results": [
    {"id": 10, "status": {"value": "planned"}, "a_terminations": [], "b_terminations": []},
    {"id": 11, "termination_a_type": "dcim.interface", "termination_a_id": 12, "termination_b_type": "dcim.interface", "termination_b_id": 32}]}],
  "ip_addresses": [
    {"id": 1, "address": "192.0.2.0/31", "assigned_object_type": "dcim.interface", "assigned_object_id": 11},
    {"id": 2, "address": "192.0.2.1/31", "assigned_object_type": "dcim.interface", "assigned_object_id": 21},
    {"id": 3, "address": "198.51.100.1/32", "assigned_object_type": "dcim.interface", "assigned_object_id": 13},
    {"id": 4, "address": "10.3.0.1/24", "assigned_object_type": "dcim.interface", "assigned_object_id": 32},
    {"id": 5, "address": "10.4.0.1/24", "assigned_object_type": "dcim.interface", "assigned_object_id": 23},
    {"id": 6, "address": "10.5.0.1/24", "assigned_object_type": null, "assigned_object_id": null}],
  "prefixes": [{"id": 1, "prefix": "10.3.0.0/24"}, {"id": 2, "prefix": "10.0.0.0/8"}]
}"#;

    fn texts(networks: &[IpNetwork]) -> Vec<String> {
        networks.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_export_becomes_nodes_links_prefixes_and_numbers() {
        let found = read(EXPORT).unwrap();
        let core = &found.nodes[0];
        assert_eq!(
            (core.source_id.as_str(), core.label.as_deref(), core.zone.as_deref()),
            ("1", Some("core-1"), Some("ams"))
        );
        assert_eq!(core.location, Some((52.37, 4.9)));
        let labels: Vec<String> = core.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(labels, ["role=core", "type=x", "status=active", "tags=a,b"]);
        assert_eq!(texts(&core.prefixes), ["198.51.100.1/32"]);
        assert_eq!(texts(&found.nodes[2].prefixes), ["10.3.0.0/24"]);
        let links: Vec<_> = found.links.iter().map(|link| (link.source_index.as_str(), link.ends)).collect();
        assert_eq!(links, [("7", [0, 1]), ("8", [1, 2])]);
        let direct = &found.links[0];
        assert_eq!(
            (direct.capacity_bps, direct.mtu_bytes, direct.distance_km),
            (Some(10_000_000_000), Some(9_000), Some(12.5))
        );
        assert_eq!(direct.addresses.clone().map(|list| texts(&list)), [["192.0.2.0/31"], ["192.0.2.1/31"]]);
        assert_eq!(
            found.dropped,
            [
                "management interfaces, and their cables and addresses (1): 1:fxp0",
                "cables that do not join interfaces of two devices (1): 8",
                "cables that are planned or taken away (1): 10",
                "addresses of bundles and subinterfaces (1): 10.4.0.1/24",
                "addresses of no interface here, or of a VRF (1): 10.5.0.1/24",
                "prefixes in which no interface has an address (1): 10.0.0.0/8",
            ]
        );
    }

    #[test]
    fn pages_without_keys_are_told_apart_by_address_or_fields() {
        let text = r#"[
          {"count": 2, "results": [{"id": 1, "url": "http://netbox/api/dcim/devices/1/", "name": "a"}, {"id": 2, "url": "http://netbox/api/dcim/devices/2/", "name": "b"}]},
          {"count": 2, "results": [{"id": 1, "device": {"id": 1}, "name": "e1"}, {"id": 2, "device": {"id": 2}, "name": "e1"}]},
          {"id": 1, "a_terminations": [{"object_type": "dcim.interface", "object_id": 1}], "b_terminations": [{"object_type": "dcim.interface", "object_id": 2}]}
        ]"#;
        let found = read(text).unwrap();
        assert_eq!((found.nodes.len(), found.links.len()), (2, 1));
        assert_eq!(found.dropped, [""; 0]);
    }

    #[test]
    fn exports_that_are_not_whole_are_refused() {
        for (text, wanted) in [
            ("{", "not JSON"),
            ("7", "no result sets"),
            ("{}", "no devices"),
            ("{\"devices\": {\"count\": 2, \"results\": [{\"id\": 1}]}}", "devices: 1 of 2"),
            ("{\"devices\": [{\"name\": \"a\"}]}", "no `id`"),
            ("{\"devices\": [{\"id\": 1}, {\"id\": 1}]}", "there twice"),
        ] {
            let refused = read(text).unwrap_err();
            assert!(refused.message.contains(wanted), "{text}: {refused}");
        }
    }

    #[test]
    fn kinds_of_interfaces_have_their_speed() {
        for (kind, bps) in [
            ("100base-tx", Some(100_000_000)),
            ("1000base-t", Some(1_000_000_000)),
            ("2.5gbase-t", Some(2_500_000_000)),
            ("400gbase-x-qsfpdd", Some(400_000_000_000)),
            ("virtual", None),
            ("lag", None),
        ] {
            assert_eq!(speed_of(kind), bps, "{kind}");
        }
    }
}
