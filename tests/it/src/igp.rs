//! Networks and expected routing tables of other routing suites, read from their configurations (FRR, holo): just enough of
//! each to say who is linked to whom at which cost, who announces what, and what every router is expected to know.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// An interface of a router.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Prefixes of its subnets, without host bits, as text.
    pub subnets: Vec<String>,
    /// Its addresses, as text without a length.
    pub addresses: Vec<String>,
    /// Cost of sending out of it.
    pub cost: u32,
    /// The routing protocol runs on it.
    pub enabled: bool,
}

/// A router.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// Its name: the folder's.
    pub name: String,
    /// Its interfaces, loopbacks included.
    pub interfaces: Vec<Interface>,
    /// Connected prefixes that the protocol does not run on are announced at cost 0.
    pub redistributes: bool,
}

/// A route that a router is expected to have.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The router.
    pub router: String,
    /// The prefix.
    pub prefix: String,
    /// Its metric, where the source states it.
    pub metric: Option<u64>,
    /// Outgoing interfaces, one per next hop, sorted; empty: attached directly; `?` where the source numbers them only.
    pub out: Vec<String>,
    /// Interfaces of all backups that the source lists, sorted, each once.
    pub backups: Vec<String>,
    /// File that says so.
    pub file: String,
}

/// One scenario: a network and what is expected of it.
#[derive(Clone, Debug, Default)]
pub struct Scenario {
    /// Routers by name.
    pub routers: Vec<Router>,
    /// (router, prefix) -> metric at which the router itself announces it.
    pub announced: BTreeMap<(String, String), u64>,
    /// Expected routes.
    pub expected: Vec<Expected>,
}

/// A link of the topology file that a scenario becomes: `(router, interface)` of both ends, real names.
pub type Ends = [(String, String); 2];

/// (router, interface in the topology file) -> the router's real interface.
pub type Real = BTreeMap<(String, String), String>;

impl Scenario {
    /// Links: interfaces that share a subnet, or that name each other (`eth-rt2` of rt1, `eth-rt1` of rt2; `eth-sw1` of all).
    /// A subnet of more than two routers is a link of each to each: a packet pays its sender's cost alone.
    pub fn links(&self) -> Vec<Ends> {
        let mut segments: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for router in &self.routers {
            for interface in router.interfaces.iter().filter(|interface| interface.name != "lo") {
                let segment = match segment_by_name(&router.name, &interface.name) {
                    Some(segment) => segment,
                    None => match interface.subnets.first() {
                        Some(subnet) => subnet.clone(),
                        None => continue,
                    },
                };
                segments.entry(segment).or_default().push((router.name.clone(), interface.name.clone()));
            }
        }
        let mut links = Vec::new();
        for members in segments.values() {
            for (at, first) in members.iter().enumerate() {
                links.extend(members[at + 1..].iter().map(|second| [first.clone(), second.clone()]));
            }
        }
        links
    }

    /// The scenario as a topology file. An interface of several links gets a name per link; the map leads back.
    pub fn topology(&self, links: &[Ends]) -> Result<(String, Real)> {
        let mut text = "version: 1\nname: scenario\nnodes:\n".to_string();
        for router in &self.routers {
            writeln!(text, "  {}: {{}}", router.name)?;
        }
        text += "links:\n";
        let mut real = BTreeMap::new();
        let mut used: BTreeMap<(String, String), u32> = BTreeMap::new();
        for link in links {
            let mut ends = Vec::new();
            let mut costs = Vec::new();
            for (router, interface) in link {
                let count = used.entry((router.clone(), interface.clone())).or_insert(0);
                *count += 1;
                let name = if *count == 1 { interface.clone() } else { format!("{interface}.{count}") };
                real.insert((router.clone(), name.clone()), interface.clone());
                ends.push(format!("\"{router}:{name}\""));
                costs.push(format!("{router}: {}", self.interface(router, interface)?.cost));
            }
            writeln!(text, "  - {{ endpoints: [{}], cost: {{{}}} }}", ends.join(", "), costs.join(", "))?;
        }
        Ok((text, real))
    }

    fn interface(&self, router: &str, name: &str) -> Result<&Interface> {
        let found = self.routers.iter().find(|one| one.name == router);
        let found = found.and_then(|one| one.interfaces.iter().find(|interface| interface.name == name));
        found.with_context(|| format!("{router} has no interface {name}"))
    }
}

/// `eth-rt2-1` of rt4 and `eth-rt4-1` of rt2 are one link; all `eth-sw1` are one.
fn segment_by_name(router: &str, interface: &str) -> Option<String> {
    let peer = interface.strip_prefix("eth-")?;
    if peer.starts_with("sw") {
        return Some(peer.to_string());
    }
    let (peer, number) = peer.split_once('-').unwrap_or((peer, "1"));
    let (low, high) = if router < peer { (router, peer) } else { (peer, router) };
    Some(format!("{low} {high} {number}"))
}

/// An address with its prefix length as the prefix that it is in.
fn subnet(address: &str) -> Result<String> {
    let network: ipnetwork::IpNetwork = address.parse().with_context(|| address.to_string())?;
    Ok(format!("{}/{}", network.network(), network.prefix()))
}

fn lines(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Folders of routers within a scenario, by name.
pub fn routers_of(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_string();
        let digits = name.trim_start_matches(|letter: char| letter.is_ascii_lowercase());
        if path.is_dir()
            && name.starts_with('r')
            && !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
        {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// All `*.conf` of an FRR router.
pub fn frr_router(name: &str, folder: &Path) -> Result<Router> {
    let mut router = Router { name: name.to_string(), ..Router::default() };
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    let mut networks: Vec<ipnetwork::IpNetwork> = Vec::new();
    let mut current: Option<String> = None;
    for file in ["frr.conf", "zebra.conf", "isisd.conf", "ospfd.conf"] {
        let path = folder.join(file);
        if !path.exists() {
            continue;
        }
        for line in lines(&path)?.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["interface" | "int", interface] => {
                    current = Some(interface.to_string());
                    let fresh =
                        || Interface { name: interface.to_string(), cost: 10, ..Interface::default() };
                    interfaces.entry(interface.to_string()).or_insert_with(fresh);
                }
                ["router", ..] => current = None,
                ["network", network, "area", _] => networks.push(network.parse()?),
                ["redistribute", "ipv4" | "ipv6", "connected", ..] => router.redistributes = true,
                _ => {}
            }
            let Some(interface) = current.as_ref().and_then(|name| interfaces.get_mut(name)) else {
                continue;
            };
            match words[..] {
                ["ip" | "ipv6", "address", address] => {
                    interface.subnets.push(subnet(address)?);
                    interface.addresses.extend(address.split('/').next().map(str::to_string));
                }
                ["isis", "metric", metric] => interface.cost = metric.parse()?,
                ["ip", "ospf", "cost", cost] => interface.cost = cost.parse()?,
                ["ip" | "ipv6", "router", "isis", _] | ["ipv6", "ospf6", "area", _] => {
                    interface.enabled = true
                }
                _ => {}
            }
        }
    }
    for interface in interfaces.values_mut() {
        let covered = interface.subnets.iter().any(|subnet| {
            subnet
                .parse::<ipnetwork::IpNetwork>()
                .is_ok_and(|subnet| networks.iter().any(|network| network.contains(subnet.ip())))
        });
        interface.enabled |= covered;
    }
    router.interfaces = interfaces.into_values().collect();
    ensure!(!router.interfaces.is_empty(), "{}: no interface", folder.display());
    Ok(router)
}

/// `show ip route json` of FRR (also with backups): routes of `protocol`.
pub fn frr_routes(
    router: &str,
    path: &Path,
    protocol: &str,
    by_address: &BTreeMap<String, String>,
) -> Result<Vec<Expected>> {
    let document: Value = serde_json::from_str(&lines(path)?).with_context(|| path.display().to_string())?;
    let mut routes = Vec::new();
    for (prefix, entries) in document.as_object().context("an object")? {
        let of_protocol =
            entries.as_array().context("a list")?.iter().filter(|entry| entry["protocol"] == protocol);
        for entry in of_protocol {
            let out = |key: &str| -> Vec<String> {
                let hops = entry[key].as_array().cloned().unwrap_or_default();
                let mut names: Vec<String> = hops
                    .iter()
                    .filter_map(|hop| {
                        let named = hop["interfaceName"].as_str().map(str::to_string);
                        named.or_else(|| by_address.get(hop["ip"].as_str()?).cloned())
                    })
                    .collect();
                names.sort();
                names
            };
            let mut backups = out("backupNexthops");
            backups.dedup();
            routes.push(Expected {
                router: router.to_string(),
                prefix: subnet(prefix)?,
                metric: entry["metric"].as_u64(),
                out: out("nexthops"),
                backups,
                file: path.display().to_string(),
            });
        }
    }
    Ok(routes)
}

/// The network part of `show ip ospf route` of FRR: metric and outgoing interfaces.
pub fn frr_ospf_table(router: &str, path: &Path) -> Result<Vec<Expected>> {
    let mut routes: Vec<Expected> = Vec::new();
    let text = lines(path)?;
    let network_part = text.lines().skip(1).take_while(|line| !line.starts_with("====="));
    for line in network_part {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["N", prefix, metric, "area:", _] | ["N", "IA", prefix, metric, "area:", _] => {
                routes.push(Expected {
                    router: router.to_string(),
                    prefix: subnet(prefix)?,
                    metric: metric.trim_matches(['[', ']']).parse().ok(),
                    out: Vec::new(),
                    backups: Vec::new(),
                    file: path.display().to_string(),
                })
            }
            ["via", _, interface] => {
                routes.last_mut().context("a route before its next hop")?.out.push(interface.to_string());
            }
            ["directly", "attached", "to", _] | [] => {}
            _ => bail!("{}: {line:?} is not understood", path.display()),
        }
    }
    routes.iter_mut().for_each(|route| route.out.sort());
    Ok(routes)
}

/// `show ipv6 ospf6 route` of FRR: the selected lines (`*N`), outgoing interfaces alone.
pub fn frr_ospf6_table(router: &str, path: &Path) -> Result<Vec<Expected>> {
    let mut routes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in lines(path)?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["*N", "IA" | "IE", prefix, hop, interface, ..] => {
                let out = routes.entry(subnet(prefix)?).or_default();
                if hop != "::" {
                    out.push(interface.to_string());
                }
                last = Some(subnet(prefix)?);
            }
            ["N" | "*N", ..] => last = None,
            [hop, interface, ..] if hop.starts_with("fe80") => {
                if let Some(out) = last.as_ref().and_then(|prefix| routes.get_mut(prefix)) {
                    out.push(interface.to_string());
                }
            }
            _ => {}
        }
    }
    let expected = |(prefix, mut out): (String, Vec<String>)| {
        out.sort();
        let file = path.display().to_string();
        Expected { router: router.to_string(), prefix, metric: None, out, backups: Vec::new(), file }
    };
    Ok(routes.into_iter().map(expected).collect())
}

/// A holo router: interfaces of `config.json`; its `local-rib` where the state is there. What it reaches without a next
/// hop it announces itself, at the metric that it states.
pub fn holo_router(scenario: &mut Scenario, name: &str, folder: &Path) -> Result<()> {
    let config: Value = serde_json::from_str(&lines(&folder.join("config.json"))?)?;
    let mut costs: BTreeMap<String, u32> = BTreeMap::new();
    visit(&config, "interface", &mut |list| {
        for interface in list.as_array().into_iter().flatten() {
            if let Some(name) = interface["name"].as_str() {
                let cost = interface["cost"].as_u64().and_then(|cost| u32::try_from(cost).ok());
                let known = costs.entry(name.to_string()).or_insert(10);
                *known = cost.unwrap_or(*known);
            }
        }
    });
    let interface =
        |(name, cost): (String, u32)| Interface { name, cost, enabled: true, ..Interface::default() };
    let interfaces = costs.into_iter().map(interface).collect();
    scenario.routers.push(Router { name: name.to_string(), interfaces, redistributes: false });
    let state = folder.join("northbound-state.json");
    if !state.exists() {
        return holo_installed(scenario, name, &folder.join("ibus.jsonl"));
    }
    let document: Value = serde_json::from_str(&lines(&state)?)?;
    let mut routes = Vec::new();
    visit(&document, "local-rib", &mut |rib| {
        routes.extend(rib["route"].as_array().cloned().unwrap_or_default())
    });
    for route in routes {
        let prefix = subnet(route["prefix"].as_str().context("prefix")?)?;
        let hops = route["next-hops"]["next-hop"].as_array().cloned().unwrap_or_default();
        let metric = route["metric"].as_u64();
        if hops.iter().all(|hop| hop["next-hop"].is_null()) {
            scenario.announced.insert((name.to_string(), prefix), metric.unwrap_or(0));
            continue;
        }
        let mut out: Vec<String> =
            hops.iter().filter_map(|hop| hop["outgoing-interface"].as_str().map(str::to_string)).collect();
        out.sort();
        let file = state.display().to_string();
        let router = name.to_string();
        scenario.expected.push(Expected { router, prefix, metric, out, backups: Vec::new(), file });
    }
    Ok(())
}

/// Routes that a holo router installed, the last message for each prefix: metric and number of next hops.
fn holo_installed(scenario: &mut Scenario, name: &str, path: &Path) -> Result<()> {
    let mut last: BTreeMap<String, (Option<u64>, usize)> = BTreeMap::new();
    for line in lines(path)?.lines() {
        let message: Value = serde_json::from_str(line).with_context(|| path.display().to_string())?;
        let route = &message["RouteIpAdd"];
        if let Some(prefix) = route["prefix"].as_str() {
            let hops = route["nexthops"].as_array().map_or(0, Vec::len);
            last.insert(subnet(prefix)?, (route["metric"].as_u64(), hops));
        }
    }
    for (prefix, (metric, hops)) in last {
        let (router, file) = (name.to_string(), path.display().to_string());
        let out = vec!["?".to_string(); hops];
        scenario.expected.push(Expected { router, prefix, metric, out, backups: Vec::new(), file });
    }
    Ok(())
}

/// A host prefix that one router alone has no route to is that router's own, announced at 0.
pub fn announce_hosts_by_absence(scenario: &mut Scenario) {
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for route in &scenario.expected {
        known.entry(&route.prefix).or_default().insert(&route.router);
    }
    let mut found = Vec::new();
    for (prefix, routers) in known {
        let without: Vec<&str> = scenario
            .routers
            .iter()
            .map(|router| router.name.as_str())
            .filter(|name| !routers.contains(name))
            .collect();
        if let ([owner], true) = (&without[..], prefix.ends_with("/128") || prefix.ends_with("/32")) {
            found.push(((*owner).to_string(), prefix.to_string()));
        }
    }
    for own in found {
        scenario.announced.entry(own).or_insert(0);
    }
}

/// FRR's traffic engineering database as a scenario: `metric` picks what is the cost, `family` which links there are
/// (`local-address` or `local-address-v6`). Interfaces carry the address of the other end as their only address.
pub fn frr_database(path: &Path, family: &str, metric: impl Fn(&Value) -> Option<u64>) -> Result<Scenario> {
    let document: Value = serde_json::from_str(&lines(path)?)?;
    let mut scenario = Scenario::default();
    let mut names = BTreeMap::new();
    for vertex in document["ted"]["vertices"].as_array().context("vertices")? {
        let name = vertex["name"].as_str().context("name")?.to_string();
        names.insert(vertex["vertex-id"].as_u64().context("vertex-id")?, scenario.routers.len());
        scenario.routers.push(Router { name, ..Router::default() });
    }
    let remote = family.replace("local", "remote");
    for edge in document["ted"]["edges"].as_array().context("edges")? {
        let attributes = &edge["edge-attributes"];
        let (Some(here), Some(there)) = (attributes[family].as_str(), attributes[&remote].as_str()) else {
            continue;
        };
        let at = edge["local-vertex-id"].as_u64().and_then(|id| names.get(&id)).context("local-vertex-id")?;
        let cost = metric(edge).context("the edge has no such metric")?;
        let (low, high) = if here < there { (here, there) } else { (there, here) };
        let interfaces = &mut scenario.routers[*at].interfaces;
        interfaces.push(Interface {
            name: format!("te{}", interfaces.len()),
            subnets: vec![format!("{low} {high}")],
            addresses: vec![there.to_string()],
            cost: u32::try_from(cost)?,
            enabled: true,
        });
    }
    Ok(scenario)
}

/// Calls `with` for every value of `key` anywhere in a document.
fn visit(document: &Value, key: &str, with: &mut impl FnMut(&Value)) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == key {
                    with(value);
                }
                visit(value, key, with);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| visit(item, key, with)),
        _ => {}
    }
}

/// What FRR routers announce: enabled interfaces at their cost (`loopback` for `lo`), the rest at 0 where they redistribute.
pub fn announce(scenario: &mut Scenario, loopback: u64) {
    let mut seen = BTreeSet::new();
    for router in &scenario.routers {
        for interface in &router.interfaces {
            for subnet in &interface.subnets {
                let cost = match (interface.enabled, interface.name.as_str()) {
                    (true, "lo") => loopback,
                    (true, _) => u64::from(interface.cost),
                    (false, _) if router.redistributes => 0,
                    (false, _) => continue,
                };
                // A connected prefix is redistributed as well: the cheaper one counts.
                let cost = if router.redistributes { 0 } else { cost };
                if seen.insert((router.name.clone(), subnet.clone())) {
                    scenario.announced.insert((router.name.clone(), subnet.clone()), cost);
                }
            }
        }
    }
}
