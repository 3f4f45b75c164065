//! In-band management of a lab: where controllers sit in the network itself, and the programs that hosts begin with.
//!
//! A controller has a namespace of its own with a cable to its node's port, or lives in the namespace of the host whose
//! loopback it is reached at. Nothing else reaches it but its REST listener.

use crate::certificates::Authority;
use crate::lab::{Binaries, Lab};
use crate::names::{self, FABRIC_INTERFACE, Member};
use crate::record::{ControllerRecord, Place};
use crate::{ip, names::netns};
use anyhow::{Context, Result, ensure};
use plan::Facts;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use topology::{Controller, Management, Node, Topology};
use wire::package::Package;

/// The lines of `controllers` for a topology that names none: `count` of them behind the nodes with most links, the first by
/// name of equal ones; where there are fewer nodes, they begin anew. Each has a port `ctlID` and an address of 198.18.0.0/15 (RFC
/// 2544).
pub fn chosen_places(topology: &Topology, count: u64) -> Vec<String> {
    let links = |node: u32| {
        topology.links.iter().filter(|link| link.ends.iter().any(|end| end.node.0 == node)).count()
    };
    let mut nodes: Vec<u32> = (0..topology.nodes.len() as u32).collect();
    nodes.sort_by_key(|node| std::cmp::Reverse(links(*node)));
    let places = (1..=count).zip(nodes.iter().cycle());
    let line = |(id, node): (u64, &u32)| {
        let name = &topology.nodes[*node as usize].name;
        format!(
            "{{ id: {id}, node: {name}, interface: {}, address: {} }}",
            names::port(id),
            names::in_band_address(id)
        )
    };
    places.map(line).collect()
}

impl Lab {
    /// Makes the controllers of the file; their nodes' namespaces are there.
    pub(crate) fn add_controllers_in_band(
        &mut self,
        topology: &Topology,
        authority: &Authority,
    ) -> Result<()> {
        for controller in &topology.controllers {
            let node = topology.node(controller.node);
            let place = place(controller, node);
            let host = self.record.host(&node.name)?.netns.clone();
            let (id, address) = (controller.id, controller.address);
            let own = match &place.port {
                // Its address comes with the host's program, perhaps after it.
                None => {
                    ip::sysctl(&host, "net.ipv4.ip_nonlocal_bind", "1")?;
                    ip::sysctl(&host, "net.ipv6.ip_nonlocal_bind", "1")?;
                    host.clone()
                }
                Some(port) => {
                    let own = netns(&self.record.run_id, Member::Controller(id));
                    let [near, far] = names::indexes(self.record.next_link);
                    self.record.next_link += 1;
                    let cable = format!(
                        "link add {FABRIC_INTERFACE} index {near} netns {own} type veth peer name {port} index {far} netns {host}"
                    );
                    ip::batch(None, &[format!("netns add {own}"), cable])?;
                    ip::batch(Some(&own), &inside(controller))?;
                    ip::batch(Some(&host), &[format!("link set {port} up")])?;
                    ip::batch(Some(&host), &last_hop(&place))?;
                    own
                }
            };
            let names = [IpAddr::from(Ipv4Addr::LOCALHOST), "::1".parse()?, address];
            authority.controller(id, &names, &self.folder().join("certificates"))?;
            self.record.controllers.push(ControllerRecord {
                id,
                netns: own,
                port: 0,
                process: None,
                address,
                place: Some(place),
            });
        }
        Ok(())
    }

    /// Ports of controllers at a host, and what is not in its program of the way to them.
    pub(crate) fn ports_of(&self, host: &str) -> (Vec<String>, Vec<String>) {
        let places = self.record.controllers.iter().filter_map(|controller| controller.place.as_ref());
        let at = places.filter(|place| place.host == host);
        let pairs = at.filter_map(|place| Some((place.port.clone()?, last_hop(place))));
        let (ports, lines): (Vec<String>, Vec<Vec<String>>) = pairs.unzip();
        (ports, lines.concat())
    }

    /// Gives hosts their first programs, as somebody who delivers them would: nothing else tells them the way to a
    /// controller.
    pub(crate) fn provision(&self, topology: &Topology, hosts: &[String], binaries: &Binaries) -> Result<()> {
        let network = plan::compile(topology, &Facts::default());
        for host in hosts {
            let (program, digest) = network.host(host).with_context(|| format!("no program for {host}"))?;
            let package = Package { table: network.table.clone(), program: program.clone(), digest };
            let file = self.folder().join("state").join(format!("{host}.program"));
            std::fs::write(&file, package.encode()).with_context(|| file.display().to_string())?;
            let output = Command::new(&binaries.agent)
                .arg("provision")
                .arg("--program")
                .arg(&file)
                .arg("--state")
                .arg(self.folder().join("state").join(host))
                .output()
                .context("ballast-agent provision")?;
            let words = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "ballast-agent provision for {host}: {}", words.trim());
        }
        Ok(())
    }

    /// Controllers of a lab stay where they are.
    pub(crate) fn refuse_other_places(&self, topology: &Topology) -> Result<()> {
        if self.record.controllers.iter().all(|controller| controller.place.is_none()) {
            ensure!(
                topology.management == Management::Separate,
                "this lab has a management network; make another one for {}, which is managed in-band",
                topology.name
            );
            return Ok(());
        }
        for controller in &self.record.controllers {
            let Some(known) = &controller.place else { continue };
            ensure!(
                topology.node_index(&known.host).is_some(),
                "controller {} of this lab is behind {}, which the file does not have: make a lab of that file instead",
                controller.id,
                known.host
            );
            // A file that says nothing leaves them where the lab put them.
            let told = topology.controllers.iter().find(|told| told.id == controller.id);
            let stays = |told: &Controller| place(told, topology.node(told.node)) == *known;
            ensure!(
                topology.controllers.is_empty() || told.is_some_and(stays),
                "controller {} of this lab is behind {}, the file has it elsewhere: make a lab of that file instead",
                controller.id,
                known.host
            );
        }
        Ok(())
    }
}

fn place(controller: &Controller, node: &Node) -> Place {
    let at_loopback = controller.interface.is_none() && node.loopbacks.contains(&controller.address);
    let port = controller.interface.clone().unwrap_or_else(|| names::port(controller.id));
    Place {
        host: node.name.clone(),
        port: (!at_loopback).then_some(port),
        // Without a port in the file, the last hop is the owner's business: here the lab's.
        last_hop: (!at_loopback && controller.interface.is_none()).then_some(controller.address),
    }
}

/// What a controller's own namespace has: its address, and its node as the default gateway.
fn inside(controller: &Controller) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_string(), format!("link set {FABRIC_INTERFACE} up")];
    let address = controller.address;
    match controller.port_address() {
        Some(gateway) => lines.extend([
            format!("addr add {address}/{} dev {FABRIC_INTERFACE} nodad", gateway.prefix()),
            format!("route add default via {} dev {FABRIC_INTERFACE}", gateway.ip()),
        ]),
        None => {
            let (bits, via) = if address.is_ipv4() { (32, "inet6 fe80::1") } else { (128, "fe80::1") };
            lines.extend([
                format!("addr add fe80::2/64 dev {FABRIC_INTERFACE} nodad"),
                format!("addr add {address}/{bits} dev {FABRIC_INTERFACE} nodad"),
                format!("route add default via {via} dev {FABRIC_INTERFACE} src {address}"),
            ]);
        }
    }
    lines
}

/// The node's side of a last hop that no program has.
fn last_hop(place: &Place) -> Vec<String> {
    let (Some(port), Some(address)) = (&place.port, place.last_hop) else { return Vec::new() };
    let (bits, via) = if address.is_ipv4() { (32, "inet6 fe80::2") } else { (128, "fe80::2") };
    vec![
        format!("addr add fe80::1/64 dev {port} nodad"),
        format!("route add {address}/{bits} via {via} dev {port}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Topology {
        topology::read("x.yaml", text.as_bytes()).topology.unwrap()
    }

    #[test]
    fn without_places_in_the_file_controllers_are_behind_the_nodes_with_most_links() {
        let text = "version: 1\nname: x\nnodes: {a: {}, b: {}, c: {}, d: {}}\nlinks: [{endpoints: [\"a:e1\", \"d:e1\"]}, \
                    {endpoints: [\"b:e1\", \"d:e2\"]}, {endpoints: [\"b:e2\", \"c:e1\"]}]\n";
        let places = chosen_places(&read(text), 3);
        assert_eq!(places[0], "{ id: 1, node: b, interface: ctl1, address: 198.18.0.3 }");
        assert_eq!(places[1], "{ id: 2, node: d, interface: ctl2, address: 198.18.0.5 }");
        assert_eq!(places[2], "{ id: 3, node: a, interface: ctl3, address: 198.18.0.7 }");
        let lines: String = places.iter().map(|place| format!("  - {place}\n")).collect();
        let whole = read(&format!("{text}---\nmanagement: in_band\ncontrollers:\n{lines}"));
        assert_eq!(whole.controllers.len(), 3);
        assert_eq!(whole.controllers[0].port_address().unwrap().to_string(), "198.18.0.2/31");
    }

    #[test]
    fn a_controller_is_at_a_port_behind_a_node_or_on_it() {
        let topology = read(
            "version: 1\nname: x\nmanagement: in_band\nnodes: {a: {loopbacks: [10.255.0.7]}, b: {prefixes: [10.4.0.0/24]}}\n\
             links: [{endpoints: [\"a:e1\", \"b:e1\"]}]\ncontrollers: [{id: 1, node: a, address: 10.255.0.7}, \
             {id: 2, node: b, address: 10.4.0.9}, {id: 3, node: b, interface: ctl0, address: 10.250.0.0}]\n",
        );
        let places: Vec<Place> =
            topology.controllers.iter().map(|found| place(found, topology.node(found.node))).collect();
        assert_eq!(places[0], Place { host: "a".into(), port: None, last_hop: None });
        assert_eq!((places[1].port.as_deref(), places[1].last_hop.is_some()), (Some("ctl2"), true));
        assert_eq!((places[2].port.as_deref(), places[2].last_hop.is_some()), (Some("ctl0"), false));
        assert_eq!(last_hop(&places[1])[1], "route add 10.4.0.9/32 via inet6 fe80::2 dev ctl2");
        assert!(
            inside(&topology.controllers[2])
                .contains(&"route add default via 10.250.0.1 dev fab0".to_string())
        );
    }
}
