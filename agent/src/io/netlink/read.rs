//! Dumps of the kernel's tables to one complete [`Actual`]; a table that could not be read fails the whole reading.

use super::message::Request;
use super::nexthop;
use super::socket::{Received, RequestSocket};
use crate::core::kernel::{Actual, ActualNexthop, ActualRoute, Link, PROTOCOL};
use crate::core::ownership::{address_is_ours, neighbour_is_ours, route_is_ours};
use ipnetwork::IpNetwork;
use netlink_packet_core::{NetlinkDeserializable, NetlinkHeader};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use plan::objects::{RouteKey, RouteValue};
use plan::program::{METRIC_BACKUP, METRIC_PRIMARY, TABLE_MAIN};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Reads everything but the sysctls.
pub(super) fn read(socket: &mut RequestSocket) -> Result<Actual, String> {
    let links = links(socket)?;
    let names: BTreeMap<u32, String> = links.iter().map(|(name, link)| (link.index, name.clone())).collect();
    let (routes, foreign_routes) = routes(socket)?;
    Ok(Actual {
        addresses: addresses(socket, &names)?,
        neighbours: neighbours(socket, &names)?,
        nexthops: nexthops(socket, &names)?,
        routes,
        foreign_routes,
        links,
        sysctls: BTreeMap::new(),
    })
}

/// Dumps one table; `keep` turns a message into an entry or passes over it.
fn dump<K: Ord, V>(
    socket: &mut RequestSocket,
    table: &str,
    request: &Request,
    keep: impl Fn(Received<'_>) -> Result<Option<(K, V)>, String>,
) -> Result<BTreeMap<K, V>, String> {
    let found = std::cell::RefCell::new(BTreeMap::new());
    let damaged = std::cell::RefCell::new(None);
    let each = |message: Received<'_>| match keep(message) {
        Ok(Some((key, value))) => {
            found.borrow_mut().insert(key, value);
        }
        Ok(None) => {}
        Err(why) => {
            damaged.borrow_mut().get_or_insert(why);
        }
    };
    socket
        .dump(request, each, || found.borrow_mut().clear())
        .map_err(|error| format!("the kernel's {table} cannot be read: {error}"))?;
    match damaged.into_inner() {
        Some(why) => Err(format!("the kernel's {table} cannot be understood: {why}")),
        None => Ok(found.into_inner()),
    }
}

fn parse(message: &Received<'_>) -> Result<RouteNetlinkMessage, String> {
    let mut header = NetlinkHeader::default();
    header.message_type = message.kind;
    RouteNetlinkMessage::deserialize(&header, message.body).map_err(|error| error.to_string())
}

/// All interfaces.
pub(super) fn links(socket: &mut RequestSocket) -> Result<BTreeMap<String, Link>, String> {
    let request = Request::route(&RouteNetlinkMessage::GetLink(LinkMessage::default()), 0);
    dump(socket, "links", &request, |message| match parse(&message)? {
        RouteNetlinkMessage::NewLink(link) => Ok(link_of(&link)),
        _ => Ok(None),
    })
}

fn link_of(message: &LinkMessage) -> Option<(String, Link)> {
    let flags = message.header.flags;
    let mut name = None;
    let mut link = Link {
        index: message.header.index,
        mac: None,
        up: flags.contains(LinkFlags::Up),
        // IFF_LOWER_UP: the driver has a carrier; IFF_RUNNING follows later, through the operational state.
        carrier: flags.contains(LinkFlags::Up) && flags.contains(LinkFlags::LowerUp),
        mtu: 0,
        rx_packets: 0,
        tx_packets: 0,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = Some(found.clone()),
            LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Stats64(stats) => {
                (link.rx_packets, link.tx_packets) = (stats.rx_packets, stats.tx_packets)
            }
            _ => {}
        }
    }
    Some((name?, link))
}

type OnInterface<A> = (String, A);

fn addresses(
    socket: &mut RequestSocket,
    names: &BTreeMap<u32, String>,
) -> Result<BTreeMap<OnInterface<IpNetwork>, bool>, String> {
    let request = Request::route(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), 0);
    dump(socket, "addresses", &request, |message| match parse(&message)? {
        RouteNetlinkMessage::NewAddress(address) => Ok(address_of(&address, names)),
        _ => Ok(None),
    })
}

fn address_of(
    message: &AddressMessage,
    names: &BTreeMap<u32, String>,
) -> Option<(OnInterface<IpNetwork>, bool)> {
    let (mut local, mut address, mut protocol) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Protocol(AddressProtocol::Other(number)) => protocol = Some(*number),
            _ => {}
        }
    }
    let network = IpNetwork::new(local.or(address)?, message.header.prefix_len).ok()?;
    Some(((names.get(&message.header.index)?.clone(), network), address_is_ours(protocol)))
}

fn neighbours(
    socket: &mut RequestSocket,
    names: &BTreeMap<u32, String>,
) -> Result<BTreeSet<OnInterface<IpAddr>>, String> {
    let request = Request::route(&RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), 0);
    let found = dump(socket, "neighbours", &request, |message| match parse(&message)? {
        RouteNetlinkMessage::NewNeighbour(neighbour) => {
            Ok(neighbour_of(&neighbour, names).map(|key| (key, ())))
        }
        _ => Ok(None),
    })?;
    Ok(found.into_keys().collect())
}

fn neighbour_of(message: &NeighbourMessage, names: &BTreeMap<u32, String>) -> Option<OnInterface<IpAddr>> {
    let (mut address, mut protocol, mut managed) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::Protocol(number) => protocol = Some(u8::from(*number)),
            NeighbourAttribute::ExtFlags(flags) => managed = flags.contains(NeighbourExtFlags::Managed),
            _ => {}
        }
    }
    let interface = names.get(&message.header.ifindex)?.clone();
    neighbour_is_ours(protocol, managed).then_some((interface, address?))
}

fn nexthops(
    socket: &mut RequestSocket,
    names: &BTreeMap<u32, String>,
) -> Result<BTreeMap<u32, ActualNexthop>, String> {
    let request = Request::nexthop(nexthop::RTM_GETNEXTHOP, nexthop::header(0, 0), 0);
    dump(socket, "nexthop objects", &request, |message| match message.kind {
        nexthop::RTM_NEWNEXTHOP => match nexthop::parse(message.body, names) {
            Some(found) => Ok(Some(found)),
            None => Err("a nexthop object without an id".to_string()),
        },
        _ => Ok(None),
    })
}

type Routes = (BTreeMap<RouteKey, ActualRoute>, BTreeSet<RouteKey>);

/// Ours, and foreign ones that stand where ours would.
fn routes(socket: &mut RequestSocket) -> Result<Routes, String> {
    let mut ours = BTreeMap::new();
    let mut foreign = BTreeSet::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        // With strict checking the kernel itself leaves the other tables out.
        message.header.table = TABLE_MAIN as u8;
        let request = Request::route(&RouteNetlinkMessage::GetRoute(message), 0);
        let found = dump(socket, "routes", &request, |message| match parse(&message)? {
            RouteNetlinkMessage::NewRoute(route) => Ok(route_of(&route)),
            _ => Ok(None),
        })?;
        for (key, (protocol, value)) in found {
            if route_is_ours(protocol) {
                ours.insert(key, ActualRoute { value });
            } else if [METRIC_PRIMARY, METRIC_BACKUP].contains(&key.metric) {
                foreign.insert(key);
            }
        }
    }
    debug_assert_eq!(PROTOCOL, 91);
    Ok((ours, foreign))
}

fn route_of(message: &RouteMessage) -> Option<(RouteKey, (u8, Option<RouteValue>))> {
    let unspecified: IpAddr = match message.header.address_family {
        AddressFamily::Inet => IpAddr::from([0; 4]),
        AddressFamily::Inet6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut key = (unspecified, u32::from(message.header.table), 0);
    let (mut group, mut preferred_source) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => key.0 = ip(address)?,
            RouteAttribute::Table(table) => key.1 = *table,
            RouteAttribute::Priority(metric) => key.2 = *metric,
            RouteAttribute::NhId(id) => group = Some(*id),
            RouteAttribute::PrefSource(address) => preferred_source = ip(address),
            _ => {}
        }
    }
    let prefix = IpNetwork::new(key.0, message.header.destination_prefix_length).ok()?;
    let key = RouteKey { table: key.1, prefix, metric: key.2 };
    let value = group.map(|group| RouteValue { group, preferred_source });
    Some((key, (u8::from(message.header.protocol), value)))
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
