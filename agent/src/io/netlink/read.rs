//! Dumps of the kernel's tables to one complete [`Actual`]; a table that could not be read fails the whole reading.
//!
//! Messages are read by hand, a few attributes of each: what others have put into the tables may be of any kind, and there
//! may be very much of it (a full BGP table), so it is passed over without being understood.

use super::attribute::{Attributes, append, array, number};
use super::message::Request;
use super::socket::RequestSocket;
use super::{nexthop, rule, seg6, vxlan};
use crate::core::event::RouteReading;
use crate::core::features::Feature;
use crate::core::kernel::{Actual, ActualNexthop, ActualRoute, Link, PROTOCOL};
use crate::core::ownership::{address_is_ours, neighbour_is_ours, route_is_ours};
use crate::core::wanted::{Places, Wanted};
use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use plan::objects::{Family, RouteKey, RouteValue, VxlanLink};
use plan::program::{Behaviour, DiscardKind, OWN_TABLES, Rule, TABLE_SEGMENTS};
use plan::program::{METRIC_BACKUP, METRIC_PRIMARY, TABLE_MAIN};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWNEIGH: u16 = 28;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Reads everything but the sysctls.
pub(super) fn read(
    socket: &mut RequestSocket,
    routes: &RouteReading,
    missing: BTreeMap<Feature, String>,
) -> Result<Actual, String> {
    let (links, vxlans) = links_and_vxlans(socket)?;
    let names: Names = links.iter().map(|(name, link)| (link.index, name.clone())).collect();
    let indexes: Vec<u32> = vxlans.keys().filter_map(|name| Some(links.get(name)?.index)).collect();
    let (neighbours, vxlan_neighbours) = neighbours(socket, &names, &indexes)?;
    let Routes { right, ours, foreign, .. } = match routes {
        RouteReading::None => Routes::default(),
        RouteReading::All => self::routes(socket, None)?,
        RouteReading::Compared(wanted) => self::routes(socket, Some(wanted))?,
    };
    Ok(Actual {
        addresses: addresses(socket, &names)?,
        neighbours,
        vxlan_neighbours,
        vxlans,
        forwarding: forwarding(socket, &names, &indexes)?,
        local_segments: local_segments(socket, &names)?,
        rules: rules(socket)?,
        nexthops: if missing.contains_key(&Feature::NexthopObjects) {
            BTreeMap::new()
        } else {
            nexthops(socket, &names)?
        },
        routes: ours,
        foreign_routes: foreign,
        right,
        links,
        sysctls: BTreeMap::new(),
        missing,
        asked_for_features: false,
    })
}

/// ifindex -> interface name.
pub(super) type Names = BTreeMap<u32, String>;

/// A message that is too short for its own fixed part.
pub(super) struct Damaged;

/// An entry of a table, or nothing where the message is of no interest.
pub(super) type Entry<K, V> = Result<Option<(K, V)>, Damaged>;

impl From<Damaged> for String {
    fn from(_: Damaged) -> String {
        "a message is cut off".to_string()
    }
}

/// Dumps one table; `keep` turns a message's body into an entry or passes over it. The collection is made of all entries at once:
/// a map is half as large then as one that grew.
fn dump<E, C: FromIterator<E>>(
    socket: &mut RequestSocket,
    table: &str,
    kind: u16,
    request: &Request,
    keep: impl Fn(&[u8]) -> Result<Option<E>, Damaged>,
) -> Result<C, String> {
    let take = |entries: &mut Vec<E>, body: &[u8]| {
        entries.extend(keep(body)?);
        Ok(())
    };
    dump_into(socket, table, kind, request, Vec::new, take).map(|entries| entries.into_iter().collect())
}

/// The same into anything; begun again with a new one where the dump was interrupted.
fn dump_into<T>(
    socket: &mut RequestSocket,
    table: &str,
    kind: u16,
    request: &Request,
    new: impl Fn() -> T,
    mut take: impl FnMut(&mut T, &[u8]) -> Result<(), Damaged>,
) -> Result<T, String> {
    let found = RefCell::new((new(), Ok(())));
    let each = |received: u16, body: &[u8]| {
        let (entries, whole) = &mut *found.borrow_mut();
        if received == kind
            && let Err(damaged) = take(entries, body)
        {
            *whole = Err(damaged);
        }
    };
    match socket.dump(request, each, || *found.borrow_mut() = (new(), Ok(()))) {
        Ok(()) => {}
        // A routing table in which nothing has ever been.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(format!("the kernel's {table} cannot be read: {error}")),
    }
    let (entries, whole) = found.into_inner();
    whole.map_err(|damaged| format!("the kernel's {table} cannot be read: {}", String::from(damaged)))?;
    Ok(entries)
}

/// All interfaces.
pub(super) fn links(socket: &mut RequestSocket) -> Result<BTreeMap<String, Link>, String> {
    let request = Request::route(&RouteNetlinkMessage::GetLink(LinkMessage::default()), 0);
    dump(socket, "links", RTM_NEWLINK, &request, link)
}

type Vxlans = BTreeMap<String, Option<VxlanLink>>;

fn links_and_vxlans(socket: &mut RequestSocket) -> Result<(BTreeMap<String, Link>, Vxlans), String> {
    let request = Request::route(&RouteNetlinkMessage::GetLink(LinkMessage::default()), 0);
    let both = |body: &[u8]| Ok(link(body)?.map(|found| (found, vxlan::parse(body))));
    let found: Vec<_> = dump(socket, "links", RTM_NEWLINK, &request, both)?;
    let (links, vxlans): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Ok((links.into_iter().collect(), vxlans.into_iter().flatten().collect()))
}

/// `struct ifinfomsg` and `IFLA_*` (`linux/if_link.h`).
pub(super) fn link(body: &[u8]) -> Entry<String, Link> {
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_STATS64: u16 = 23;
    const IFF_UP: u32 = 1;
    // The driver has a carrier; IFF_RUNNING follows later, through the operational state.
    const IFF_LOWER_UP: u32 = 1 << 16;
    let index = number(body, 4).ok_or(Damaged)?;
    let flags = number(body, 8).ok_or(Damaged)?;
    let attributes = Attributes(body.get(16..).ok_or(Damaged)?);
    let up = flags & IFF_UP != 0;
    let carrier = up && flags & IFF_LOWER_UP != 0;
    let mut name = None;
    let mut link = Link { index, mac: None, up, carrier, mtu: 0, rx_packets: 0, tx_packets: 0 };
    for (kind, value) in attributes {
        match kind {
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_IFNAME => {
                let text = value.split(|byte| *byte == 0).next().unwrap_or(value);
                name = Some(String::from_utf8_lossy(text).into_owned());
            }
            IFLA_MTU => link.mtu = number(value, 0).unwrap_or(0),
            IFLA_STATS64 => {
                let counter = |at| array(value, at).map_or(0, u64::from_ne_bytes);
                (link.rx_packets, link.tx_packets) = (counter(0), counter(8));
            }
            _ => {}
        }
    }
    Ok(name.map(|name| (name, link)))
}

fn addresses(
    socket: &mut RequestSocket,
    names: &Names,
) -> Result<BTreeMap<(String, IpNetwork), bool>, String> {
    let request = Request::route(&RouteNetlinkMessage::GetAddress(AddressMessage::default()), 0);
    dump(socket, "addresses", RTM_NEWADDR, &request, |body| address(body, names))
}

/// `struct ifaddrmsg` and `IFA_*` (`linux/if_addr.h`).
fn address(body: &[u8], names: &Names) -> Entry<(String, IpNetwork), bool> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_PROTO: u16 = 11;
    let [_, prefix_length, ..] = array::<4>(body, 0).ok_or(Damaged)?;
    let index = number(body, 4).ok_or(Damaged)?;
    let attributes = Attributes(body.get(8..).ok_or(Damaged)?);
    // With a peer, IFA_ADDRESS is the peer's.
    let own = attributes.find(IFA_LOCAL).or_else(|| attributes.find(IFA_ADDRESS));
    let ours = address_is_ours(attributes.find(IFA_PROTO).and_then(|value| value.first().copied()));
    let network = own.and_then(ip).and_then(|ip| IpNetwork::new(ip, prefix_length).ok());
    Ok(network.zip(names.get(&index)).map(|(network, name)| ((name.clone(), network), ours)))
}

type Neighbours = (BTreeSet<(String, IpAddr)>, BTreeMap<(String, IpAddr), [u8; 6]>);

/// Managed ones, and the permanent ones on VXLAN links of ours.
fn neighbours(socket: &mut RequestSocket, names: &Names, vxlans: &[u32]) -> Result<Neighbours, String> {
    let request = Request::route(&RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default()), 0);
    let either = |body: &[u8]| {
        let managed = neighbour(body, names)?.map(|(neighbour, ())| neighbour);
        let permanent = vxlan::parse_neighbour(body).filter(|(index, ..)| vxlans.contains(index));
        let permanent =
            permanent.and_then(|(index, address, mac)| Some(((names.get(&index)?.clone(), address), mac)));
        Ok((managed.is_some() || permanent.is_some()).then_some((managed, permanent)))
    };
    let found: Vec<_> = dump(socket, "neighbours", RTM_NEWNEIGH, &request, either)?;
    let (managed, permanent): (Vec<_>, Vec<_>) = found.into_iter().unzip();
    Ok((managed.into_iter().flatten().collect(), permanent.into_iter().flatten().collect()))
}

/// Forwarding entries of these links.
fn forwarding(
    socket: &mut RequestSocket,
    names: &Names,
    vxlans: &[u32],
) -> Result<BTreeSet<(String, [u8; 6], IpAddr)>, String> {
    let mut all = BTreeSet::new();
    for index in vxlans {
        let request = Request::by_hand(vxlan::RTM_GETNEIGH, vxlan::all_forwarding(*index), 0);
        let found: Vec<_> = dump(socket, "forwarding entries", RTM_NEWNEIGH, &request, |body| {
            let entry = vxlan::parse_forwarding(body).filter(|(of, ..)| of == index);
            Ok(entry.and_then(|(of, mac, remote)| Some((names.get(&of)?.clone(), mac, remote))))
        })?;
        all.extend(found);
    }
    Ok(all)
}

fn rules(socket: &mut RequestSocket) -> Result<BTreeSet<(Family, Rule)>, String> {
    let mut all = BTreeSet::new();
    for family in [Family::V4, Family::V6] {
        let request = Request::by_hand(rule::RTM_GETRULE, rule::all(family), 0);
        let found: Vec<_> = dump(socket, "rules", rule::RTM_NEWRULE, &request, |body| {
            rule::parse(body).map_err(|()| Damaged)
        })?;
        all.extend(found);
    }
    Ok(all)
}

/// A route, and whether it is ours.
type Found = ((RouteKey, bool), ActualRoute);

/// Routes of ours in tables of ours; the main table has `in_main` of them.
fn routes_of_own_tables(
    socket: &mut RequestSocket,
    family: u8,
    in_main: usize,
) -> Result<Vec<Found>, String> {
    /// Up to so many routes are read twice sooner than 255 tables are looked into, which takes 10 ms and more.
    const TWICE_MAX: usize = 10_000;
    if in_main > TWICE_MAX {
        let mut found = Vec::new();
        for table in OWN_TABLES {
            let more: Vec<_> = dump(socket, "routes", RTM_NEWROUTE, &routes_of(family, table), route)?;
            found.extend(more);
        }
        return Ok(found);
    }
    const PROTOCOL_AT: usize = 5;
    let mut request = routes_of(family, 0);
    request.body[PROTOCOL_AT] = PROTOCOL;
    let is_in_own = |((key, _), _): &Found| OWN_TABLES.contains(&key.table);
    dump(socket, "routes", RTM_NEWROUTE, &request, |body| Ok(route(body)?.filter(is_in_own)))
}

/// Asks for all routes of a table, or (0) of all tables; the kernel itself leaves the others out, since checking is strict.
fn routes_of(family: u8, table: u32) -> Request {
    const RTA_TABLE: u16 = 15;
    const RTM_GETROUTE: u16 = 26;
    let mut body = vec![family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    append(&mut body, RTA_TABLE, &table.to_ne_bytes());
    Request::by_hand(RTM_GETROUTE, body, 0)
}

type LocalSegments = BTreeMap<RouteKey, Option<(String, Behaviour)>>;

fn local_segments(socket: &mut RequestSocket, names: &Names) -> Result<LocalSegments, String> {
    let request = routes_of(AF_INET6, TABLE_SEGMENTS);
    dump(socket, "local segments", RTM_NEWROUTE, &request, |body| {
        let found = route(body)?.filter(|((_, is_ours), _)| *is_ours);
        Ok(found.map(|((key, _), _)| (key, seg6::parse_local(body, names))))
    })
}

/// Whether an event speaks of a neighbour entry of ours.
pub(super) fn is_our_neighbour(body: &[u8]) -> bool {
    let names = number(body, 4).map(|index| (index, String::new())).into_iter().collect();
    matches!(neighbour(body, &names), Ok(Some(_)))
}

/// `struct ndmsg` and `NDA_*` (`linux/neighbour.h`).
fn neighbour(body: &[u8], names: &Names) -> Entry<(String, IpAddr), ()> {
    const NDA_DST: u16 = 1;
    const NDA_PROTOCOL: u16 = 12;
    const NDA_FLAGS_EXT: u16 = 15;
    const NTF_EXT_MANAGED: u32 = 1;
    let index = number(body, 4).ok_or(Damaged)?;
    let attributes = Attributes(body.get(12..).ok_or(Damaged)?);
    let protocol = attributes.find(NDA_PROTOCOL).and_then(|value| value.first().copied());
    let flags = attributes.find(NDA_FLAGS_EXT).and_then(|value| number(value, 0)).unwrap_or(0);
    if !neighbour_is_ours(protocol, flags & NTF_EXT_MANAGED != 0) {
        return Ok(None);
    }
    let to = attributes.find(NDA_DST).and_then(ip);
    Ok(to.zip(names.get(&index)).map(|(to, name)| ((name.clone(), to), ())))
}

fn nexthops(socket: &mut RequestSocket, names: &Names) -> Result<BTreeMap<u32, ActualNexthop>, String> {
    let request = Request::by_hand(nexthop::RTM_GETNEXTHOP, nexthop::header(0, 0), 0);
    dump(socket, "nexthop objects", nexthop::RTM_NEWNEXTHOP, &request, |body| {
        nexthop::parse(body, names).map(Some).ok_or(Damaged)
    })
}

/// Ours, and foreign ones that stand where ours would. Both can stand in one place: the kernel lets others append.
#[derive(Default)]
struct Routes {
    right: Places,
    ours: BTreeMap<RouteKey, ActualRoute>,
    foreign: BTreeSet<RouteKey>,
    /// Of ours.
    count: usize,
}

impl Routes {
    fn take(&mut self, body: &[u8], wanted: Option<&Wanted>) -> Result<(), Damaged> {
        let Some(((key, is_ours), found)) = route(body)? else { return Ok(()) };
        self.count += usize::from(is_ours);
        let place = wanted.filter(|_| is_ours).and_then(|wanted| wanted.place(&key));
        match place {
            Some((place, value)) if found.value == Some(value) => self.right.set(place, true),
            _ if is_ours => drop(self.ours.insert(key, found)),
            _ => drop(self.foreign.insert(key)),
        }
        Ok(())
    }
}

/// Compared while it is read: of a million routes that stand as wanted a bit each is kept.
fn routes(socket: &mut RequestSocket, wanted: Option<&Wanted>) -> Result<Routes, String> {
    let places = || wanted.map_or_else(Places::default, |wanted| Places::none_of(wanted.places()));
    let new = || Routes { right: places(), ..Routes::default() };
    let mut all = new();
    for family in [AF_INET, AF_INET6] {
        let take = |routes: &mut Routes, body: &[u8]| routes.take(body, wanted);
        let found = dump_into(socket, "routes", RTM_NEWROUTE, &routes_of(family, TABLE_MAIN), new, take)?;
        all.right.add(&found.right);
        all.ours.extend(found.ours);
        all.foreign.extend(found.foreign);
        for ((key, is_ours), route) in routes_of_own_tables(socket, family, found.count)? {
            if is_ours {
                all.ours.insert(key, route);
            } else {
                all.foreign.insert(key);
            }
        }
    }
    Ok(all)
}

/// `struct rtmsg` and `RTA_*` (`linux/rtnetlink.h`).
pub(super) fn route(body: &[u8]) -> Entry<(RouteKey, bool), ActualRoute> {
    const RTA_DST: u16 = 1;
    const RTA_PRIORITY: u16 = 6;
    const RTA_METRICS: u16 = 8;
    /// In `RTA_METRICS` (`RTAX_MTU`).
    const MTU: u16 = 2;
    const RTN_UNICAST: u8 = 1;
    const RTN_BLACKHOLE: u8 = 6;
    const RTN_UNREACHABLE: u8 = 7;
    const RTA_PREFSRC: u16 = 7;
    const RTA_TABLE: u16 = 15;
    const RTA_NH_ID: u16 = 30;
    let [family, prefix_length, _, service] = array(body, 0).ok_or(Damaged)?;
    let [table, protocol, _, kind_of_route] = array::<4>(body, 4).ok_or(Damaged)?;
    let attributes = Attributes(body.get(12..).ok_or(Damaged)?);
    let is_ours = route_is_ours(protocol);
    let (mut to, mut table, mut metric) = (None, u32::from(table), 0);
    let (mut group, mut preferred_source, mut mtu_bytes) = (None, None, None);
    for (kind, value) in attributes {
        match kind {
            RTA_DST => to = ip(value),
            RTA_TABLE => table = number(value, 0).unwrap_or(table),
            RTA_PRIORITY => metric = number(value, 0).unwrap_or(0),
            RTA_NH_ID => group = number(value, 0),
            RTA_PREFSRC => preferred_source = ip(value),
            RTA_METRICS => {
                mtu_bytes = Attributes(value).find(MTU).and_then(|value| number(value, 0));
            }
            _ => {}
        }
    }
    // Another type of service is another place for the kernel. The default route of somebody else is of interest in any case.
    let in_the_way = [METRIC_PRIMARY, METRIC_BACKUP].contains(&metric) || prefix_length == 0;
    if !is_ours && (service != 0 || !in_the_way) {
        return Ok(None);
    }
    let to = match (to, family) {
        (Some(to), _) => to,
        (None, AF_INET) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        (None, AF_INET6) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        (None, _) => return Ok(None),
    };
    let Ok(prefix) = IpNetwork::new(to, prefix_length) else { return Err(Damaged) };
    let value = match (kind_of_route, group) {
        (RTN_BLACKHOLE, None) => Some(RouteValue::Discard(DiscardKind::Blackhole)),
        (RTN_UNREACHABLE, None) => Some(RouteValue::Discard(DiscardKind::Unreachable)),
        (RTN_UNICAST, Some(group)) => {
            let mtu_bytes = mtu_bytes.and_then(NonZeroU32::new);
            Some(RouteValue::Via { group, preferred_source, mtu_bytes })
        }
        _ => None,
    };
    Ok(Some(((RouteKey { table, prefix, metric }, is_ours), ActualRoute { value })))
}

/// An address of 4 or 16 bytes.
pub(super) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Every decoder of this file over any bytes.
#[cfg(any(test, feature = "fuzz"))]
pub(super) fn anything(bytes: &[u8], names: &Names) {
    let _ = (link(bytes), address(bytes, names), neighbour(bytes, names), route(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let names = BTreeMap::from([(0, "eth1".to_string())]);
            anything(&bytes, &names);
        }
    }
}
