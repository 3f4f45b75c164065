//! Test topologies from one line of text: `"a-b 1, b-c 1/3, a-c 5"`. Only compiled for tests.
//!
//! `x-y C` is a link of cost C, `x-y C/D` costs C from x to y and D back; a lone name is a node without
//! links. Interfaces are `eth1`, `eth2`, ... in the order of the text. Node number n by name has loopbacks
//! 10.255.0.n and fd00::n and the prefix 10.n.0.0/24.

use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use topology::{Addressing, End, Link, Management, Node, NodeIndex, Safety, Share, Topology};

pub(crate) fn topology(text: &str) -> Topology {
    let entries: Vec<&str> = text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let names: BTreeSet<&str> =
        entries.iter().flat_map(|entry| entry.split(' ').next().unwrap().split('-')).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut used = vec![0; names.len()];
    let mut links: Vec<Link> = Vec::new();
    for entry in entries {
        let Some((pair, costs)) = entry.split_once(' ') else { continue };
        let (from, to) = pair.split_once('-').unwrap();
        let (there, back) = costs.split_once('/').unwrap_or((costs, costs));
        let mut ends = [(from, there), (to, back)].map(|(name, cost)| {
            let node = names.binary_search(&name).unwrap();
            used[node] += 1;
            (format!("{name}:eth{}", used[node]), node, cost.parse().unwrap())
        });
        ends.sort();
        let id = format!("{}--{}", ends[0].0, ends[1].0);
        let mut host = 0;
        let ends = ends.map(|(endpoint, node, cost)| {
            host += 1;
            End {
                node: NodeIndex(node as u32),
                interface: endpoint.split_once(':').unwrap().1.to_string(),
                cost,
                link_local: format!("fe80::{host}").parse().unwrap(),
                addresses: Vec::new(),
            }
        });
        links.push(Link {
            id,
            ends,
            capacity_bps: None,
            latency_us: None,
            mtu_bytes: None,
            liveness: None,
            srlgs: Vec::new(),
            affinity: Vec::new(),
            group: None,
            drained: false,
            line: 0,
        });
    }
    links.sort_by(|a, b| a.id.cmp(&b.id));
    Topology {
        name: "test".to_string(),
        management: Management::Separate,
        controllers: Vec::new(),
        addressing: Addressing { loopbacks: Vec::new() },
        zones: Vec::new(),
        nodes: names.iter().enumerate().map(|(at, name)| node(at + 1, name)).collect(),
        links,
        link_groups: Vec::new(),
        weigh_by_capacity: false,
        external: Vec::new(),
        demands: Vec::new(),
        invariants: Vec::new(),
        safety: safety(),
        sources: topology::Sources::default(),
    }
}

fn node(number: usize, name: &str) -> Node {
    let prefix: IpNetwork = format!("10.{number}.0.0/24").parse().unwrap();
    Node {
        name: name.to_string(),
        zone: None,
        loopbacks: [format!("10.255.0.{number}"), format!("fd00::{number:x}")]
            .map(|address| address.parse().unwrap())
            .to_vec(),
        prefixes: vec![prefix],
        prefix_owners: BTreeMap::new(),
        labels: BTreeMap::new(),
        drained: false,
        location: None,
        line: 0,
    }
}

pub(crate) fn safety() -> Safety {
    Safety {
        max_hosts_per_step: Share::Percent(25),
        max_prefixes_lost: Share::Count(0),
        bake_ms: 10_000,
        link_up_hold_ms: 2_000,
        max_link_load_percent: None,
        canary_hosts: None,
        confirm_within_ms: 10_000,
    }
}

/// Facts that the links of the given positions are down.
pub(crate) fn down(topology: &Topology, links: &[usize]) -> crate::Facts {
    crate::Facts { links_down: links.iter().map(|at| topology.links[*at].id.clone()).collect() }
}
