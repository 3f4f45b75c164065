//! In-band management: which hosts a change would leave with too few controllers.
//!
//! A host has a controller when its packets to it arrive whichever of the equal next hops they take, and the controller's
//! answers to its loopback do. Follows packets by address through whatever programs hosts run, the new ones of some beside the
//! old ones of others, as they do between two steps; needs no agreement about classes. Never asks an agent.

use crate::steps::steps;
use crate::{Facts, Network, PrefixTable, Program};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use topology::{Management, Topology};

/// Hosts that would reach fewer controllers than they must, after the change or between two of its steps, and fewer
/// than before, sorted. `None` where neither state is managed in-band.
///
/// Hosts must reach two controllers, or the only one ([`Topology::controllers_wanted`]). After a change from in-band to
/// separate management no host reaches any. Between steps only controllers count that the change leaves where they are. A
/// host that `facts` have cut off already is none that the change cuts off.
pub fn too_few(
    old: Option<(&Topology, &Network)>,
    new: (&Topology, &Network),
    facts: &Facts,
) -> Option<Vec<String>> {
    let old = old.filter(|(topology, _)| topology.management == Management::InBand);
    if old.is_none() && new.0.management != Management::InBand {
        return None;
    }
    let controllers = sites(new.0);
    let after = Ways::new(&[new.0], facts, &runs(new.1)).in_reach(&controllers, new.0);
    let wanted = new.0.controllers_wanted();
    let Some(old) = old else {
        let short = after.into_iter().filter(|(_, reached)| *reached < wanted);
        return Some(short.map(|(host, _)| host.to_string()).collect());
    };
    // With none left, one is missing.
    let wanted = wanted.max(1);
    let before = Ways::new(&[old.0], facts, &runs(old.1)).in_reach(&sites(old.0), old.0);
    let is_short = |host: &str, reached: usize| {
        reached < wanted && before.get(host).is_none_or(|before| reached < *before)
    };
    let of = |found: BTreeMap<&str, usize>| -> Vec<String> {
        let short = found.into_iter().filter(|(host, reached)| is_short(host, *reached));
        short.map(|(host, _)| host.to_string()).collect()
    };
    let mut short: BTreeSet<String> = of(after).into_iter().collect();
    let kept: Vec<Site<'_>> = sites(old.0).into_iter().filter(|site| controllers.contains(site)).collect();
    let order =
        steps(&old.1.digests_by_host(), &new.1.digests_by_host(), &new.0.safety, new.0.management.into());
    let mut running = runs(old.1);
    // After the last step all is as after the change.
    for step in order.iter().take(order.len().saturating_sub(1)) {
        let programs = step.hosts.iter().filter_map(|host| new.1.host(host));
        running.extend(programs.map(|(program, _)| (program.host.as_str(), run(program, new.1))));
        let mut found = Ways::new(&[old.0, new.0], facts, &running).in_reach(&kept, old.0);
        found.retain(|host, _| new.0.node_index(host).is_some());
        short.extend(of(found));
    }
    Some(short.into_iter().collect())
}

/// A controller's number, node and prefix: what stays the same where a change leaves it alone.
type Site<'a> = (u64, &'a str, IpNetwork);

fn sites(topology: &Topology) -> Vec<Site<'_>> {
    let all = topology.controllers.iter();
    all.map(|found| (found.id, topology.node(found.node).name.as_str(), found.prefix())).collect()
}

/// What a host runs.
type Run<'a> = (&'a Program, &'a PrefixTable);

fn run<'a>(program: &'a Program, network: &'a Network) -> Run<'a> {
    (program, &network.table)
}

fn runs(network: &Network) -> BTreeMap<&str, Run<'_>> {
    network.programs.iter().map(|program| (program.host.as_str(), run(program, network))).collect()
}

/// Where hosts send what, by the programs that they run.
struct Ways<'a> {
    /// Names, sorted; other fields are in this order.
    hosts: Vec<&'a str>,
    running: Vec<Option<Run<'a>>>,
    /// Living interfaces: name -> host at the other end.
    far: Vec<BTreeMap<&'a str, usize>>,
}

impl<'a> Ways<'a> {
    /// All nodes and living links of the topologies; a cable that a change takes away carries packets until it is over.
    fn new(topologies: &[&'a Topology], facts: &Facts, running: &BTreeMap<&'a str, Run<'a>>) -> Ways<'a> {
        let names = topologies.iter().flat_map(|topology| &topology.nodes).map(|node| node.name.as_str());
        let hosts: Vec<&str> = names.collect::<BTreeSet<_>>().into_iter().collect();
        let mut far = vec![BTreeMap::new(); hosts.len()];
        for topology in topologies {
            for link in topology.links.iter().filter(|link| !facts.links_down.contains(&link.id)) {
                for (own, other) in [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])] {
                    let at =
                        |end: &topology::End| hosts.binary_search(&topology.node(end.node).name.as_str());
                    if let (Ok(host), Ok(other)) = (at(own), at(other)) {
                        far[host].insert(own.interface.as_str(), other);
                    }
                }
            }
        }
        let running = hosts.iter().map(|host| running.get(host).copied()).collect();
        Ways { hosts, running, far }
    }

    /// How many of `sites` each node of `topology` has, both ways.
    fn in_reach<'t>(&self, sites: &[Site<'_>], topology: &'t Topology) -> BTreeMap<&'t str, usize> {
        let mut reached: BTreeMap<&str, usize> =
            topology.nodes.iter().map(|node| (node.name.as_str(), 0)).collect();
        let (mut there, mut back) = (Search::new(self.hosts.len()), Search::new(self.hosts.len()));
        for (_, node, prefix) in sites {
            let Ok(end) = self.hosts.binary_search(node) else { continue };
            there.begin();
            for node in &topology.nodes {
                let Ok(host) = self.hosts.binary_search(&node.name.as_str()) else { continue };
                let answers = |loopback: &&IpAddr| loopback.is_ipv4() == prefix.is_ipv4();
                let answered = host == end
                    || node.loopbacks.iter().find(answers).is_some_and(|loopback| {
                        back.begin();
                        back.arrives(self, end, &IpNetwork::from(*loopback), host)
                    });
                if answered && there.arrives(self, host, prefix, end) {
                    *reached.entry(node.name.as_str()).or_default() += 1;
                }
            }
        }
        reached
    }

    /// The hosts to which `host` sends packets for exactly this prefix; none without a living route.
    fn next(&self, host: usize, prefix: &IpNetwork) -> Vec<usize> {
        let Some((program, table)) = self.running[host] else { return Vec::new() };
        let Some(class) = table.class_of(prefix) else { return Vec::new() };
        let living = |group: u32| -> Vec<usize> {
            let members = program.group(group).map(|group| group.members.as_slice()).unwrap_or_default();
            let hops = members.iter().filter_map(|member| program.nexthop(member.nexthop));
            hops.filter_map(|hop| self.far[host].get(hop.interface.as_str()).copied()).collect()
        };
        let routes = program.class_routes(class).iter().map(|route| living(route.group));
        routes.into_iter().find(|hops| !hops.is_empty()).unwrap_or_default()
    }
}

/// Follows packets for one prefix at a time, remembering what arrives.
struct Search {
    /// By host: the number of the prefix for which its packets are known to arrive.
    arrived: Vec<u32>,
    /// By host: the number of the search that has been there.
    seen: Vec<u32>,
    prefix: u32,
    search: u32,
}

impl Search {
    fn new(hosts: usize) -> Search {
        Search { arrived: vec![0; hosts], seen: vec![0; hosts], prefix: 0, search: 0 }
    }

    /// Another prefix comes.
    fn begin(&mut self) {
        self.prefix += 1;
    }

    /// Whether packets of `from` for `prefix` arrive at `end`, whichever next hops they take.
    fn arrives(&mut self, ways: &Ways<'_>, from: usize, prefix: &IpNetwork, end: usize) -> bool {
        self.search += 1;
        self.arrived[end] = self.prefix;
        if self.arrived[from] == self.prefix {
            return true;
        }
        self.seen[from] = self.search;
        let mut stack = vec![(from, ways.next(from, prefix), 0)];
        while let Some((host, hops, done)) = stack.last_mut() {
            let Some(hop) = hops.get(*done).copied() else {
                if hops.is_empty() {
                    return false;
                }
                self.arrived[*host] = self.prefix;
                stack.pop();
                continue;
            };
            *done += 1;
            if self.arrived[hop] == self.prefix {
                continue;
            }
            if self.seen[hop] == self.search {
                return false;
            }
            self.seen[hop] = self.search;
            stack.push((hop, ways.next(hop, prefix), 0));
        }
        true
    }
}

#[cfg(test)]
mod tests;
