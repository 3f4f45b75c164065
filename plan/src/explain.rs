//! Why a host sends a prefix where it does: the prefix that matches, the group, and for every neighbour what
//! its way would cost and why it is used or not.
//!
//! Ways are followed through the compiled programs, so that the answer is about what is forwarded and not
//! about what was meant. Never computes paths of its own.

use crate::forwarding::{Forwarding, Leg, Order};
use crate::program::{METRIC_BACKUP, METRIC_PRIMARY};
use crate::{ClassId, Facts, Network, Program, compile};
use ipnetwork::IpNetwork;
use std::net::IpAddr;
use thiserror::Error;
use topology::Topology;

/// Links that an explanation names at most.
const LINKS_NAMED_MAX: usize = 3;

/// Why there is nothing to explain.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExplainError {
    /// No such host.
    #[error("there is no node {0}")]
    NoHost(String),
    /// Neither an address nor a prefix.
    #[error("`{0}` is neither an address nor a prefix; write 10.1.2.3 or 10.1.0.0/16")]
    NotAPrefix(String),
    /// Nobody announces anything that holds it.
    #[error("no node has a prefix that holds {0}, so no host has a route to it")]
    NoPrefix(String),
}

/// What a host does with a prefix, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The longest prefix of the network that holds what was asked.
    pub prefix: IpNetwork,
    /// Its class.
    pub class: ClassId,
    /// What people call the class.
    pub class_name: String,
    /// Metric of the route in force; `None` without one.
    pub metric: Option<u32>,
    /// The group of that route; `None` where the prefix is the host's own, or there is no way.
    pub group: Option<u32>,
    /// The group's living members.
    pub next_hops: Vec<NextHop>,
    /// Every link of the host, cheapest first.
    pub candidates: Vec<Candidate>,
    /// The topology file's line that asks for the prefix: its node's or its uplink's.
    pub line: u32,
    /// The links that are down, where the host would use other next hops with all links up.
    pub fact: Option<String>,
}

/// A next hop in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Interface.
    pub interface: String,
    /// Gateway.
    pub gateway: IpAddr,
    /// The link's id; `None` for an uplink.
    pub link: Option<String>,
    /// The neighbour; `None` for an uplink.
    pub via: Option<String>,
    /// Weight in the group.
    pub weight: u16,
}

/// A link of the host, as a way to the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The neighbour.
    pub via: String,
    /// Interface of the host.
    pub interface: String,
    /// The link's id.
    pub link: String,
    /// Cost of the link and of the neighbour's own way together, also where that way comes back through the host; `None` where it
    /// does not arrive.
    pub cost: Option<u64>,
    /// Why it is not used; `None` for one that is.
    pub lost_because: Option<String>,
    /// Whether it is the way that the kernel falls to when the used one goes.
    pub backup: bool,
}

/// Explains what `host` does with `question`, an address or a prefix.
pub fn explain(
    topology: &Topology,
    facts: &Facts,
    network: &Network,
    host: &str,
    question: &str,
) -> Result<Explanation, ExplainError> {
    let no_host = || ExplainError::NoHost(host.to_string());
    let at = topology.node_index(host).ok_or_else(no_host)?.0;
    let (program, _) = network.host(host).ok_or_else(no_host)?;
    let asked: IpNetwork = question.parse().map_err(|_| ExplainError::NotAPrefix(question.to_string()))?;
    let holds = |prefix: &IpNetwork| {
        prefix.is_ipv4() == asked.is_ipv4()
            && prefix.prefix() <= asked.prefix()
            && prefix.contains(asked.network())
    };
    let entries = network.table.entries.iter().filter(|(prefix, _)| holds(prefix));
    let (prefix, class) = entries
        .max_by_key(|(prefix, _)| prefix.prefix())
        .ok_or_else(|| ExplainError::NoPrefix(question.to_string()))?;
    let ways = Ways::new(topology, facts, network, at, *class);
    let route =
        program.class_routes(*class).iter().find(|route| !living(&ways, program, route.group).is_empty());
    let next_hops = route.map(|route| living(&ways, program, route.group)).unwrap_or_default();
    Ok(Explanation {
        prefix: *prefix,
        class: *class,
        class_name: network.table.class_name(*class).unwrap_or_default().to_string(),
        metric: route.map(|route| route.metric),
        group: route.map(|route| route.group),
        candidates: candidates(&ways, program, &next_hops),
        line: line(topology, prefix),
        fact: fact(&ways, &next_hops),
        next_hops,
    })
}

/// The neighbours' ways to one class.
struct Ways<'a> {
    topology: &'a Topology,
    facts: &'a Facts,
    host: u32,
    class: ClassId,
    /// By node: cost of its way; `None` where packets get nowhere, or round in circles.
    costs: Vec<Option<u64>>,
    /// By node: whether its way passes the host.
    passes: Vec<bool>,
}

impl<'a> Ways<'a> {
    fn new(
        topology: &'a Topology,
        facts: &'a Facts,
        network: &Network,
        host: u32,
        class: ClassId,
    ) -> Ways<'a> {
        let forwarding = Forwarding::new(topology, facts, network);
        let at = network.table.classes.binary_search_by_key(&class, |class| class.id).unwrap_or_default();
        let ends = forwarding.ends(at as u32);
        let legs = forwarding.class_legs(at as u32);
        let mut order = Order::default();
        order.sort(&legs);
        let mut costs = vec![None; legs.len()];
        let mut passes = vec![false; legs.len()];
        for node in order.sinks_first() {
            let cost = |leg: &Leg| {
                let link = &topology.links[leg.link as usize];
                let own = usize::from(link.ends[0].node.0 != *node);
                Some(u64::from(link.ends[own].cost) + costs[leg.to as usize]?)
            };
            let here = ends.binary_search(node).is_ok().then_some(0);
            let cost = here.or_else(|| legs[*node as usize].iter().filter_map(cost).min());
            costs[*node as usize] = cost;
            passes[*node as usize] =
                *node == host || legs[*node as usize].iter().any(|leg| passes[leg.to as usize]);
        }
        Ways { topology, facts, host, class, costs, passes }
    }

    fn is_end(&self, node: u32) -> bool {
        self.costs[node as usize] == Some(0)
    }
}

/// The group's members that are not on a dead link.
fn living(ways: &Ways<'_>, program: &Program, group: u32) -> Vec<NextHop> {
    let members = program.group(group).map(|group| group.members.as_slice()).unwrap_or_default();
    let next_hop = |member: &crate::program::Member| {
        let hop = program.nexthop(member.nexthop)?;
        let own = |end: &topology::End| end.node.0 == ways.host && end.interface == hop.interface;
        let link = ways.topology.links.iter().find(|link| link.ends.iter().any(own));
        if link.is_some_and(|link| ways.facts.links_down.contains(&link.id)) {
            return None;
        }
        let far = link.and_then(|link| link.ends.iter().find(|end| !own(end)));
        Some(NextHop {
            interface: hop.interface.clone(),
            gateway: hop.gateway,
            link: link.map(|link| link.id.clone()),
            via: far.map(|end| ways.topology.node(end.node).name.clone()),
            weight: member.weight,
        })
    };
    let mut hops: Vec<NextHop> = members.iter().filter_map(next_hop).collect();
    hops.sort_by(|a, b| a.interface.cmp(&b.interface));
    hops
}

/// All links of the host, the cheapest way first.
fn candidates(ways: &Ways<'_>, program: &Program, next_hops: &[NextHop]) -> Vec<Candidate> {
    let backups: Vec<NextHop> = (program.class_routes(ways.class).iter())
        .filter(|route| route.metric == METRIC_BACKUP)
        .flat_map(|route| living(ways, program, route.group))
        .collect();
    let mut found = Vec::new();
    for link in &ways.topology.links {
        let Some(own) = link.ends.iter().position(|end| end.node.0 == ways.host) else { continue };
        let (near, far) = (&link.ends[own], &link.ends[1 - own]);
        let is_hop = |hop: &NextHop| hop.interface == near.interface;
        let (used, backup) = (next_hops.iter().any(is_hop), backups.iter().any(is_hop));
        let rest = ways.costs[far.node.0 as usize];
        found.push(Candidate {
            via: ways.topology.node(far.node).name.clone(),
            interface: near.interface.clone(),
            link: link.id.clone(),
            cost: rest.map(|rest| rest + u64::from(near.cost)),
            lost_because: (!used).then(String::new),
            backup: backup && !used,
        });
    }
    let best = found.iter().filter(|found| found.lost_because.is_none()).filter_map(|found| found.cost).min();
    for candidate in found.iter_mut().filter(|candidate| candidate.lost_because.is_some()) {
        candidate.lost_because = Some(lost_because(ways, candidate, best));
    }
    found.sort_by(|a, b| {
        let key = |of: &Candidate| (of.lost_because.is_some(), of.cost.is_none(), of.cost);
        key(a).cmp(&key(b)).then_with(|| a.link.cmp(&b.link))
    });
    found
}

fn lost_because(ways: &Ways<'_>, candidate: &Candidate, best: Option<u64>) -> String {
    let topology = ways.topology;
    let via = topology.node_index(&candidate.via);
    if ways.is_end(ways.host) {
        return "the prefix is the host's own".to_string();
    }
    if ways.facts.links_down.contains(&candidate.link) {
        return "the link is down".to_string();
    }
    let Some(cost) = candidate.cost else {
        return format!("{} has no way there", candidate.via);
    };
    if let Some(best) = best.filter(|best| via.is_some_and(|via| ways.passes[via.0 as usize]) && cost > *best)
    {
        let more = cost - best;
        return format!(
            "the way of {} comes back here: cost {cost} is {more} more than {best}",
            candidate.via
        );
    }
    let drained_link = topology.link_index(&candidate.link).is_some_and(|link| topology.link(link).drained);
    match best {
        Some(best) if cost > best => format!("cost {cost} is {} more than {best}", cost - best),
        _ if drained_link => "the link is drained".to_string(),
        _ if via.is_some_and(|via| topology.node(via).drained && !ways.is_end(via.0)) => {
            format!("{} is drained", candidate.via)
        }
        _ => "its way passes what is drained, or a link that is believed down".to_string(),
    }
}

/// Where the file asks for the prefix.
fn line(topology: &Topology, prefix: &IpNetwork) -> u32 {
    let has = |node: &&topology::Node| {
        node.prefixes.contains(prefix)
            || node.loopbacks.iter().any(|address| IpNetwork::from(*address) == *prefix)
    };
    let external = || topology.external.iter().find(|external| external.prefixes.contains(prefix));
    let controller = topology.controllers.iter().find(|controller| controller.prefix() == *prefix);
    let node = controller.map(|controller| controller.line);
    let node = node.or_else(|| topology.nodes.iter().find(has).map(|node| node.line));
    node.or_else(|| external().map(|external| external.line)).unwrap_or_default()
}

/// The links that are down, if with all links up the host would use other next hops.
fn fact(ways: &Ways<'_>, next_hops: &[NextHop]) -> Option<String> {
    let down: Vec<&str> = ways.facts.links_down.iter().map(String::as_str).collect();
    if down.is_empty() {
        return None;
    }
    let up = Facts::default();
    let network = compile(ways.topology, &up);
    let (program, _) = network.host(&ways.topology.nodes[ways.host as usize].name)?;
    let healthy = Ways { facts: &up, costs: Vec::new(), passes: Vec::new(), ..*ways };
    let primary = program.class_routes(ways.class).iter().find(|route| route.metric == METRIC_PRIMARY);
    let usual = primary.map(|route| living(&healthy, program, route.group)).unwrap_or_default();
    if usual == next_hops {
        return None;
    }
    let more = down.len().saturating_sub(LINKS_NAMED_MAX);
    let named = down[..down.len() - more].join(", ");
    Some(if more > 0 { format!("{named} and {more} more are down") } else { format!("{named} down") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::{down, topology};

    fn told(topology: &Topology, facts: &Facts, host: &str, question: &str) -> Vec<String> {
        let found = explain(topology, facts, &compile(topology, facts), host, question).unwrap();
        let hops: Vec<String> = found.next_hops.iter().filter_map(|hop| hop.via.clone()).collect();
        let metric = found.metric.map_or("-".to_string(), |metric| metric.to_string());
        let first = format!("{} of {} at {metric} by {}", found.prefix, found.class_name, hops.join("+"));
        let candidate = |of: &Candidate| {
            let cost = of.cost.map_or("-".to_string(), |cost| cost.to_string());
            let backup = if of.backup { " (backup)" } else { "" };
            format!("{} {cost}{backup}: {}", of.via, of.lost_because.as_deref().unwrap_or("used"))
        };
        let fact = found.fact.iter().cloned();
        std::iter::once(first).chain(found.candidates.iter().map(candidate)).chain(fact).collect()
    }

    #[test]
    fn every_neighbour_says_why_it_lost() {
        let mut topology = topology("a-b 1, b-d 1, a-c 1, c-d 2, a-e 1, a-d 9");
        let up = Facts::default();
        assert_eq!(
            told(&topology, &up, "a", "10.4.0.7"),
            [
                "10.4.0.0/24 of d at 100 by b",
                "b 2: used",
                "c 3: cost 3 is 1 more than 2",
                "e 4: the way of e comes back here: cost 4 is 2 more than 2",
                "d 9 (backup): cost 9 is 7 more than 2",
            ]
        );
        let bd = topology.link_index("b--d").unwrap().0 as usize;
        assert_eq!(
            told(&topology, &down(&topology, &[bd]), "a", "fd00::4")[..2],
            ["fd00::4/128 of d at 100 by c", "c 3: used"]
        );
        assert_eq!(told(&topology, &down(&topology, &[bd]), "a", "fd00::4")[5], "b:eth2--d:eth1 down");
        assert_eq!(told(&topology, &up, "d", "10.4.0.0/25")[1], "b 2: the prefix is the host's own");
        topology.nodes[1].drained = true;
        let drained = told(&topology, &up, "a", "10.4.0.7");
        assert_eq!(drained[1], "c 3: used");
        assert!(drained.contains(&"b 2: b is drained".to_string()), "{drained:?}");
    }

    #[test]
    fn what_cannot_be_explained_says_why() {
        let topology = topology("a-b 1");
        let network = compile(&topology, &Facts::default());
        for (host, question, wanted) in [
            ("z", "10.1.0.1", "there is no node z"),
            ("a", "b", "`b` is neither an address nor a prefix; write 10.1.2.3 or 10.1.0.0/16"),
            ("a", "10.9.0.1", "no node has a prefix that holds 10.9.0.1, so no host has a route to it"),
            ("a", "10.0.0.0/8", "no node has a prefix that holds 10.0.0.0/8, so no host has a route to it"),
        ] {
            let error = explain(&topology, &Facts::default(), &network, host, question).unwrap_err();
            assert_eq!(error.to_string(), wanted);
        }
    }
}
