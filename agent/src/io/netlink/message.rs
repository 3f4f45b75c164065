//! One operation to the bytes of one netlink message.

use super::attribute::append;
use super::{nexthop, rule, seg6, vxlan};
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
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use plan::objects::{RouteKey, RouteValue};
use plan::program::{Behaviour, DiscardKind};
use std::net::IpAddr;

const HEADER_BYTES: usize = 16;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;

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

    /// A message whose body was written by hand.
    pub(super) fn by_hand(kind: u16, body: Vec<u8>, flags: u16) -> Request {
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
pub(super) fn act(op: &Op, mut index: impl FnMut(&str) -> Option<u32>) -> Result<Act<'_>, OpError> {
    let mut on = |interface: &str| {
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
            Request::by_hand(nexthop::RTM_NEWNEXTHOP, body, create(*replace))
        }
        Op::PutGroup { replace, id, value } => {
            let body = nexthop::group(*id, value);
            Request::by_hand(nexthop::RTM_NEWNEXTHOP, body, create(*replace))
        }
        Op::DelNexthop { id } => Request::by_hand(nexthop::RTM_DELNEXTHOP, nexthop::removal(*id), 0),
        Op::PutRoute { replace, key, value } => {
            Request::by_hand(RTM_NEWROUTE, route(key, Some(value)), create(*replace))
        }
        Op::PutVxlan { replace: false, name, link } => {
            Request::by_hand(vxlan::RTM_NEWLINK, vxlan::new(name, link), create(false))
        }
        Op::PutVxlan { replace: true, name, link } => {
            Request::by_hand(vxlan::RTM_NEWLINK, vxlan::changed(on(name)?, link), 0)
        }
        Op::DelVxlan { name } => Request::by_hand(vxlan::RTM_DELLINK, vxlan::removal(on(name)?), 0),
        Op::PutForwarding { link, mac, remote } => {
            Request::by_hand(vxlan::RTM_NEWNEIGH, vxlan::forwarding(on(link)?, *mac, *remote), put)
        }
        Op::DelForwarding { link, mac, remote } => {
            Request::by_hand(vxlan::RTM_DELNEIGH, vxlan::forwarding(on(link)?, *mac, *remote), 0)
        }
        Op::PutVxlanNeighbour { link, address, mac } => {
            let body = vxlan::neighbour(on(link)?, *address, Some(*mac));
            Request::by_hand(vxlan::RTM_NEWNEIGH, body, put)
        }
        Op::DelVxlanNeighbour { link, address } => {
            Request::by_hand(vxlan::RTM_DELNEIGH, vxlan::neighbour(on(link)?, *address, None), 0)
        }
        Op::PutLocalSegment { replace, segment, interface, behaviour } => {
            let out = match behaviour {
                Behaviour::EndX { interface, .. } => Some(on(interface)?),
                _ => None,
            };
            let body = seg6::local(*segment, on(interface)?, behaviour, out);
            Request::by_hand(RTM_NEWROUTE, body, create(*replace))
        }
        Op::PutRule { family, rule } => {
            Request::by_hand(rule::RTM_NEWRULE, rule::body(*family, rule), create(false))
        }
        Op::DelRule { family, rule } => Request::by_hand(rule::RTM_DELRULE, rule::body(*family, rule), 0),
        Op::DelRoute { key } => Request::by_hand(RTM_DELROUTE, route(key, None), 0),
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

/// `struct rtmsg` and `RTA_*` (`linux/rtnetlink.h`), by hand: a program may have a million of these. The protocol number stands
/// in removals too: they never hit a route of another owner.
fn route(key: &RouteKey, value: Option<&RouteValue>) -> Vec<u8> {
    const RTN_UNICAST: u8 = 1;
    const RTN_BLACKHOLE: u8 = 6;
    const RTN_UNREACHABLE: u8 = 7;
    /// `RTA_DST`, and its kin below.
    const DESTINATION: u16 = 1;
    const PRIORITY: u16 = 6;
    const PREFERRED_SOURCE: u16 = 7;
    const METRICS: u16 = 8;
    const TABLE: u16 = 15;
    const NEXTHOP_ID: u16 = 30;
    /// In `RTA_METRICS` (`RTAX_MTU`).
    const MTU: u16 = 2;
    /// The longest one: IPv6 with everything.
    const BYTES_MAX: usize = 96;
    let prefix = key.prefix;
    let kind = match value {
        // A removal of any type.
        None => 0,
        Some(RouteValue::Via { .. }) => RTN_UNICAST,
        Some(RouteValue::Discard(DiscardKind::Blackhole)) => RTN_BLACKHOLE,
        Some(RouteValue::Discard(DiscardKind::Unreachable)) => RTN_UNREACHABLE,
    };
    let mut body = Vec::with_capacity(BYTES_MAX);
    let table = u8::try_from(key.table).unwrap_or(0);
    body.extend([u8::from(family(prefix.ip())), prefix.prefix(), 0, 0, table, PROTOCOL, 0, kind, 0, 0, 0, 0]);
    append_ip(&mut body, DESTINATION, prefix.ip());
    append(&mut body, PRIORITY, &key.metric.to_ne_bytes());
    append(&mut body, TABLE, &key.table.to_ne_bytes());
    if let Some(RouteValue::Via { group, preferred_source, mtu_bytes }) = value {
        append(&mut body, NEXTHOP_ID, &group.to_ne_bytes());
        if let Some(source) = preferred_source {
            append_ip(&mut body, PREFERRED_SOURCE, *source);
        }
        if let Some(bytes) = mtu_bytes {
            let mut metrics = Vec::new();
            append(&mut metrics, MTU, &bytes.get().to_ne_bytes());
            append(&mut body, METRICS, &metrics);
        }
    }
    body
}

/// 4 or 16 bytes.
pub(super) fn append_ip(body: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => append(body, kind, &v4.octets()),
        IpAddr::V6(v6) => append(body, kind, &v6.octets()),
    }
}
