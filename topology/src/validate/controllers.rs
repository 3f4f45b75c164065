//! Controllers: told apart, behind nodes that exist, at addresses and ports that nothing else has.

use super::Names;
use super::intents::node_of;
use super::links::endpoint;
use crate::diagnostic::{Code, Place, Problems, quote};
use crate::model::{Controller, Management};
use crate::overlap::{Claim, Owner};
use crate::raw::{RawController, RawNode, RawTopology};
use crate::suggest::Suggester;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A controller and where its address stands in the file.
pub(super) struct Found {
    pub(super) controller: Controller,
    address: Place,
}

/// Sorted by id. Says whether there are controllers where there must be some, and none where there must be none.
pub(super) fn controllers(
    raw: &RawTopology,
    names: &Names<'_>,
    problems: &mut Problems,
    suggester: &mut Suggester,
) -> Vec<Found> {
    let listed = raw.controllers.as_ref();
    match (raw.management, listed) {
        (Some(Management::InBand), None) => {
            let message = "in-band management without `controllers`: no program could have a route to any";
            let help = "write where each controller is, as in `controllers: [{id: 1, node: a, address: 10.250.0.1}]`";
            problems.error(Code::MANAGEMENT_MISMATCH, raw.management_place, message, help);
        }
        (Some(Management::InBand), Some(list)) if list.value.is_empty() && !problems.has_errors() => {
            let message =
                "in-band management with no controller in the list: no program could have a route to any";
            let help = "write where each controller is, as in `- {id: 1, node: a, address: 10.250.0.1}`";
            problems.error(Code::MANAGEMENT_MISMATCH, list.place, message, help);
        }
        (Some(Management::Separate), Some(list)) => {
            let message = "`controllers` says where controllers are, but management is `separate`: no program would have a \
                           route to them";
            let help = "write `management: in_band`, or remove `controllers`";
            problems.error(Code::MANAGEMENT_MISMATCH, list.place, message, help);
        }
        _ => {}
    }
    let Some(list) = listed else { return Vec::new() };
    let mut taken = Taken::new(raw);
    let mut found = Vec::new();
    for controller in &list.value {
        let apart = taken.check(controller, problems);
        let Some(node) = node_of(&controller.node, names, problems, suggester) else { continue };
        if !apart {
            continue;
        }
        let RawController { place, id, address, interface, .. } = controller;
        let line = problems.running_line(*place);
        let interface = interface.as_ref().map(|interface| interface.value.clone());
        let controller = Controller { id: id.value, node, address: address.value, interface, line };
        found.push(Found { controller, address: address.place });
    }
    found.sort_by_key(|found| found.controller.id);
    let nodes: BTreeSet<_> = found.iter().map(|found| found.controller.node).collect();
    if nodes.len() == 1 && found.len() == list.value.len() {
        let node = quote(&list.value[0].node.value);
        let message = format!("all controllers are behind the node {node}: without it no agent reaches any");
        let help = "put controllers behind different nodes, three where there are as many";
        problems.warning(Code::SINGLE_MANAGEMENT_NODE, list.place, message, help);
    }
    found
}

/// Numbers, addresses and interfaces that have an owner.
struct Taken {
    ids: BTreeMap<u64, Place>,
    addresses: BTreeMap<IpAddr, Place>,
    interfaces: BTreeMap<String, (&'static str, Place)>,
}

impl Taken {
    fn new(raw: &RawTopology) -> Taken {
        let ends = raw.links.iter().flat_map(|link| &link.ends);
        let mut interfaces: BTreeMap<String, (&'static str, Place)> =
            ends.map(|end| (endpoint(end), ("the link", end.place))).collect();
        for external in &raw.external {
            let uplink = format!("{}:{}", external.node.value, external.interface.value);
            interfaces.entry(uplink).or_insert(("the external", external.place));
        }
        Taken { ids: BTreeMap::new(), addresses: BTreeMap::new(), interfaces }
    }

    /// Whether the controller has a number, an address and a port that nobody before it has.
    fn check(&mut self, controller: &RawController, problems: &mut Problems) -> bool {
        let RawController { id, address, node, interface, .. } = controller;
        let mut apart = true;
        if let Some(first) = self.ids.get(&id.value) {
            let message =
                format!("there is a controller {} already, on {}", id.value, problems.line(*first, id.place));
            problems.error(
                Code::DUPLICATE_CONTROLLER,
                id.place,
                message,
                "give it the number that it has in the cluster",
            );
            apart = false;
        }
        if let Some(first) = self.addresses.get(&address.value) {
            let line = problems.line(*first, address.place);
            let message = format!("{} is already the address of a controller, on {line}", address.value);
            problems.error(
                Code::DUPLICATE_CONTROLLER,
                address.place,
                message,
                "give one of the two its own address",
            );
            apart = false;
        }
        if let Some(interface) = interface {
            let port = format!("{}:{}", node.value, interface.value);
            if let Some((thing, first)) = self.interfaces.get(&port) {
                let line = problems.line(*first, interface.place);
                let message = format!("the interface {} is already at {thing} on {line}", quote(&port));
                let help = "give the controller a port of its own";
                problems.error(Code::INTERFACE_USED_TWICE, interface.place, message, help);
                apart = false;
            }
            self.interfaces.entry(port).or_insert(("the controller", interface.place));
        }
        self.ids.entry(id.value).or_insert(id.place);
        self.addresses.entry(address.value).or_insert(address.place);
        apart
    }
}

/// An address in a prefix of several nodes leads to the nearest of them, which need not be the controller's.
pub(super) fn check_anycast(found: &[Found], nodes: &[RawNode], problems: &mut Problems) {
    for Found { controller, address } in found {
        let own = controller.node.0 as usize;
        let others =
            nodes.iter().enumerate().filter(|(at, _)| *at != own).flat_map(|(_, node)| &node.prefixes);
        if controller.interface.is_some() {
            continue;
        }
        let mut shared = others
            .filter(|other| nodes[own].prefixes.iter().any(|own| own.prefix.value == other.prefix.value));
        if let Some(prefix) = shared.find(|owned| owned.prefix.value.contains(controller.address)) {
            let message = format!(
                "{} is in {}, which several nodes have: packets to the controller would end at the nearest of them",
                controller.address, prefix.prefix.value
            );
            let help = "give the controller an address that only its node leads to";
            problems.error(Code::OVERLAPPING_PREFIXES, *address, message, help);
        }
    }
}

/// What controllers take for themselves. A machine behind the node, or at one of its loopbacks, takes nothing.
pub(super) fn claims(found: &[Found], nodes: &[RawNode], loopbacks: &[Vec<IpAddr>]) -> Vec<Claim> {
    let claim = |Found { controller, address }: &Found| {
        let at = controller.node.0 as usize;
        let port = controller.interface.is_some();
        let behind = nodes[at].prefixes.iter().any(|owned| owned.prefix.value.contains(controller.address));
        if !port && (behind || loopbacks[at].contains(&controller.address)) {
            return None;
        }
        let owner = Owner::Controller { id: controller.id, port };
        Some(Claim { network: controller.prefix(), owner, place: Some(*address) })
    };
    found.iter().filter_map(claim).collect()
}
