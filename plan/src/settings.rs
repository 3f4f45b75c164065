//! What a host's forwarding needs beside routes: sysctls, MTUs, addresses, managed neighbours.
//!
//! Depends on the topology alone: a fact changes no setting, so a failure rewrites none. Every sysctl named
//! here exists in each network namespace's `/proc/sys/net`.

use crate::program::{Address, Liveness, Neighbour, Settings};
use ipnetwork::{IpNetwork, Ipv6Network};
use std::collections::BTreeMap;
use std::net::IpAddr;
use topology::{Controller, End, Link, NodeIndex, Topology};

/// Where loopback addresses live.
const LOOPBACK_INTERFACE: &str = "lo";
/// Prefix length of link-local addresses (RFC 4291, section 2.5.6).
const LINK_LOCAL_PREFIX_BITS: u8 = 64;

/// Sysctls of the whole host.
const HOST_SYSCTLS: [(&str, &str); 7] = [
    ("net.ipv4.ip_forward", "1"),
    ("net.ipv6.conf.all.forwarding", "1"),
    // Equal-cost paths are chosen by the five-tuple: one flow keeps its path, flows spread.
    ("net.ipv4.fib_multipath_hash_policy", "1"),
    ("net.ipv6.fib_multipath_hash_policy", "1"),
    // Without it the kernel announces every route again when a nexthop group changes.
    ("net.ipv4.nexthop_compat_mode", "0"),
    ("net.ipv6.conf.all.keep_addr_on_down", "1"),
    // The effective reverse-path filter of an interface is the higher of this value and its own.
    ("net.ipv4.conf.all.rp_filter", "0"),
];

/// Sysctls of each interface that ends a link, and of a port to a controller, on which there is nobody else either:
/// (before the interface's name, after it, value).
const INTERFACE_SYSCTLS: [(&str, &str, &str); 8] = [
    ("net.ipv4.conf", "forwarding", "1"),
    ("net.ipv4.conf", "rp_filter", "0"),
    ("net.ipv6.conf", "forwarding", "1"),
    ("net.ipv6.conf", "disable_ipv6", "0"),
    ("net.ipv6.conf", "keep_addr_on_down", "1"),
    // A point-to-point link has one other end, and Ballast gives both their addresses: duplicate-address
    // detection could only delay the link-local address after a link-up.
    ("net.ipv6.conf", "accept_dad", "0"),
    ("net.ipv6.conf", "dad_transmits", "0"),
    // A neighbour's router advertisement must not add routes or addresses.
    ("net.ipv6.conf", "accept_ra", "0"),
];

/// Sysctls of an uplink.
const UPLINK_SYSCTLS: [(&str, &str, &str); 3] = [
    ("net.ipv4.conf", "forwarding", "1"),
    ("net.ipv4.conf", "rp_filter", "0"),
    ("net.ipv6.conf", "forwarding", "1"),
];

/// Settings of every node, in the order of the nodes.
pub(crate) fn settings(topology: &Topology) -> Vec<Settings> {
    let mut all: Vec<Settings> = topology
        .nodes
        .iter()
        .map(|node| Settings {
            sysctls: HOST_SYSCTLS.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            mtus: BTreeMap::new(),
            addresses: node.loopbacks.iter().map(|address| loopback(*address)).collect(),
            neighbours: Vec::new(),
            liveness: Vec::new(),
        })
        .collect();
    for link in &topology.links {
        for (own, far) in [(0, 1), (1, 0)] {
            let NodeIndex(node) = link.ends[own].node;
            add_end(&mut all[node as usize], link, &link.ends[own], &link.ends[far]);
        }
    }
    for external in &topology.external {
        let settings = &mut all[external.node.0 as usize];
        // Forwarding alone: how the uplink gets its addresses is its owner's business.
        let escaped = external.interface.replace('.', "/");
        for (before, after, value) in UPLINK_SYSCTLS {
            settings.sysctls.insert(format!("{before}.{escaped}.{after}"), value.to_string());
        }
        let (interface, address) = (external.interface.clone(), external.next_hop);
        settings.neighbours.push(Neighbour { interface, address });
    }
    for controller in &topology.controllers {
        add_controller(&mut all[controller.node.0 as usize], controller);
    }
    for settings in &mut all {
        settings.addresses.sort_unstable();
        settings.addresses.dedup();
        settings.neighbours.sort_unstable();
        settings.neighbours.dedup();
        settings.liveness.sort_unstable();
    }
    all
}

/// The last hop to a controller at a port of the node: the subnet of the two is the kernel's own route.
fn add_controller(settings: &mut Settings, controller: &Controller) {
    let (Some(interface), Some(address)) = (&controller.interface, controller.port_address()) else { return };
    let escaped = interface.replace('.', "/");
    for (before, after, value) in INTERFACE_SYSCTLS {
        settings.sysctls.insert(format!("{before}.{escaped}.{after}"), value.to_string());
    }
    settings.addresses.push(Address { interface: interface.clone(), address });
    let address = controller.address;
    settings.neighbours.push(Neighbour { interface: interface.clone(), address });
}

fn loopback(address: IpAddr) -> Address {
    Address { interface: LOOPBACK_INTERFACE.to_string(), address: IpNetwork::from(address) }
}

fn add_end(settings: &mut Settings, link: &Link, own: &End, far: &End) {
    let interface = &own.interface;
    // sysctl(8) separates with dots and writes a dot inside a name as a slash.
    let escaped = interface.replace('.', "/");
    for (before, after, value) in INTERFACE_SYSCTLS {
        settings.sysctls.insert(format!("{before}.{escaped}.{after}"), value.to_string());
    }
    if let Some(mtu_bytes) = link.mtu_bytes {
        settings.mtus.insert(interface.clone(), mtu_bytes);
    }
    if let Some(topology::Liveness { interval_ms, multiplier }) = link.liveness {
        settings.liveness.push(Liveness { interface: interface.clone(), interval_ms, multiplier });
    }
    let link_local = Ipv6Network::new(own.link_local, LINK_LOCAL_PREFIX_BITS)
        .expect("64 is within the 128 bits of an IPv6 address");
    let addresses = std::iter::once(IpNetwork::V6(link_local)).chain(own.addresses.iter().copied());
    settings.addresses.extend(addresses.map(|address| Address { interface: interface.clone(), address }));
    settings.neighbours.push(Neighbour { interface: interface.clone(), address: IpAddr::V6(far.link_local) });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::topology;

    #[test]
    fn a_numbered_link_with_an_mtu_on_a_vlan_interface() {
        let mut topology = topology("a-b 1");
        topology.links[0].mtu_bytes = Some(9000);
        topology.links[0].liveness = Some(topology::Liveness { interval_ms: 50, multiplier: 4 });
        topology.links[0].ends[0].interface = "eth1.100".to_string();
        topology.links[0].ends[0].addresses = vec!["192.0.2.0/31".parse().unwrap()];
        let settings = &settings(&topology)[0];
        let addresses: Vec<String> =
            settings.addresses.iter().map(|a| format!("{} {}", a.interface, a.address)).collect();
        assert_eq!(
            addresses,
            ["eth1.100 192.0.2.0/31", "eth1.100 fe80::1/64", "lo 10.255.0.1/32", "lo fd00::1/128"]
        );
        assert_eq!(settings.mtus.get("eth1.100"), Some(&9000));
        assert_eq!(settings.neighbours[0].address.to_string(), "fe80::2");
        let watched = Liveness { interface: "eth1.100".to_string(), interval_ms: 50, multiplier: 4 };
        assert_eq!(settings.liveness, [watched]);
        // As sysctl(8) writes it: dots separate, a slash is a dot.
        assert_eq!(settings.sysctls.get("net.ipv6.conf.eth1/100.accept_dad").map(String::as_str), Some("0"));
    }
}
