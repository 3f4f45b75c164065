//! One operation to the bytes of one netlink message.

use super::nexthop;
use crate::core::kernel::{Op, OpError, PROTOCOL};
use ipnetwork::IpNetwork;
use netlink_packet_core::NetlinkSerializable;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope,
};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use plan::objects::{RouteKey, RouteValue};
use plan::program::DiscardKind;
use std::net::IpAddr;

const HEADER_BYTES: usize = 16;

/// A message without its sequence number.
pub(super) struct Request {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// Any message that netlink-packet-route knows.
    pub(super) fn route(message: &RouteNetlinkMessage, flags: u16) -> Request {
        let mut body = vec![0; message.buffer_len()];
        message.serialize(&mut body);
        Request { kind: message.message_type(), flags: NLM_F_REQUEST | flags, body }
    }

    /// A message about a nexthop object.
    pub(super) fn nexthop(kind: u16, body: Vec<u8>, flags: u16) -> Request {
        Request { kind, flags: NLM_F_REQUEST | flags, body }
    }

    /// Length on the wire.
    pub(super) fn bytes(&self) -> usize {
        (HEADER_BYTES + self.body.len()).next_multiple_of(4)
    }

    /// Appends the message with its number; `extra` flags are added.
    pub(super) fn append(&self, buffer: &mut Vec<u8>, sequence: u32, extra: u16) {
        let length = HEADER_BYTES + self.body.len();
        buffer.extend((length as u32).to_ne_bytes());
        buffer.extend(self.kind.to_ne_bytes());
        buffer.extend((self.flags | extra).to_ne_bytes());
        buffer.extend(sequence.to_ne_bytes());
        buffer.extend(0u32.to_ne_bytes());
        buffer.extend(&self.body);
        buffer.resize(buffer.len().next_multiple_of(4), 0);
    }
}

/// What carries an operation out.
pub(super) enum Act<'a> {
    /// A message.
    Send(Request),
    /// A value for a file of `/proc/sys`.
    Write { sysctl: &'a str, value: &'a str },
}

/// What carries an operation out; `index` finds an interface's number.
pub(super) fn act(op: &Op, index: impl Fn(&str) -> Option<u32>) -> Result<Act<'_>, OpError> {
    let on = |interface: &str| {
        let text = || format!("there is no interface {interface}");
        index(interface).ok_or_else(|| OpError { errno: 0, text: text() })
    };
    let put = create(true);
    Ok(Act::Send(match op {
        Op::SetSysctl { name, value } => return Ok(Act::Write { sysctl: name, value }),
        Op::SetMtu { interface, mtu } => {
            let mut message = LinkMessage::default();
            message.header.index = on(interface)?;
            message.attributes.push(LinkAttribute::Mtu(*mtu));
            Request::route(&RouteNetlinkMessage::NewLink(message), 0)
        }
        Op::PutAddress { interface, address: network } => {
            Request::route(&RouteNetlinkMessage::NewAddress(address(on(interface)?, *network)), put)
        }
        Op::DelAddress { interface, address: network } => {
            Request::route(&RouteNetlinkMessage::DelAddress(address(on(interface)?, *network)), 0)
        }
        Op::PutNeighbour { interface, address } => {
            Request::route(&RouteNetlinkMessage::NewNeighbour(neighbour(on(interface)?, *address)), put)
        }
        Op::DelNeighbour { interface, address } => {
            Request::route(&RouteNetlinkMessage::DelNeighbour(neighbour(on(interface)?, *address)), 0)
        }
        Op::PutNexthop { replace, id, value } => {
            let body = nexthop::single(*id, on(&value.interface)?, value);
            Request::nexthop(nexthop::RTM_NEWNEXTHOP, body, create(*replace))
        }
        Op::PutGroup { replace, id, value } => {
            let body = nexthop::group(*id, value);
            Request::nexthop(nexthop::RTM_NEWNEXTHOP, body, create(*replace))
        }
        Op::DelNexthop { id } => Request::nexthop(nexthop::RTM_DELNEXTHOP, nexthop::removal(*id), 0),
        Op::PutRoute { replace, key, value } => {
            let message = RouteNetlinkMessage::NewRoute(route(key, Some(value)));
            Request::route(&message, create(*replace))
        }
        Op::DelRoute { key } => Request::route(&RouteNetlinkMessage::DelRoute(route(key, None)), 0),
    }))
}

/// A new object never replaces one that is there already: that would be another owner's.
fn create(replace: bool) -> u16 {
    NLM_F_CREATE | if replace { NLM_F_REPLACE } else { NLM_F_EXCL }
}

/// The family of an address.
pub(super) fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(index: u32, network: IpNetwork) -> AddressMessage {
    let ip = network.ip();
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
    message.header.prefix_len = network.prefix();
    message.header.index = index;
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    message.header.scope = if link_local { AddressScope::Link } else { AddressScope::Universe };
    message.attributes.push(AddressAttribute::Local(ip));
    message.attributes.push(AddressAttribute::Address(ip));
    if ip.is_ipv6() {
        // Without duplicate-address detection: there is nobody else on a point-to-point link, and a tentative address
        // cannot be a preferred source.
        let mut flags = AddressFlags::Nodad;
        if network.prefix() == 128 {
            // Nothing else is on that prefix, and the local table has the address itself.
            flags |= AddressFlags::Noprefixroute;
        }
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)));
    message
}

/// Kept resolved by the kernel itself, and never taken for one that it learned.
fn neighbour(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::None;
    message.header.flags = NeighbourFlags::ExtLearned;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Other(PROTOCOL)));
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message
}

/// The protocol number stands in removals too: they never hit a route of another owner.
fn route(key: &RouteKey, value: Option<&RouteValue>) -> RouteMessage {
    let prefix = key.prefix;
    let mut message = RouteMessage::default();
    message.header.address_family = family(prefix.ip());
    message.header.destination_prefix_length = prefix.prefix();
    message.header.table = u8::try_from(key.table).unwrap_or(0);
    message.header.protocol = RouteProtocol::Other(PROTOCOL);
    message.header.scope = RouteScope::Universe;
    // A removal of any type.
    message.header.kind = if value.is_some() { RouteType::Unicast } else { RouteType::Unspec };
    message.attributes.push(RouteAttribute::Destination(prefix.ip().into()));
    message.attributes.push(RouteAttribute::Priority(key.metric));
    message.attributes.push(RouteAttribute::Table(key.table));
    match value {
        None => {}
        Some(RouteValue::Discard(DiscardKind::Blackhole)) => message.header.kind = RouteType::BlackHole,
        Some(RouteValue::Discard(DiscardKind::Unreachable)) => message.header.kind = RouteType::Unreachable,
        Some(RouteValue::Via { group, preferred_source, mtu_bytes }) => {
            message.attributes.push(RouteAttribute::NhId(*group));
            if let Some(source) = preferred_source {
                message.attributes.push(RouteAttribute::PrefSource((*source).into()));
            }
            if let Some(bytes) = mtu_bytes {
                message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(bytes.get())]));
            }
        }
    }
    message
}
