//! Route messages by hand (`linux/rtnetlink.h`), for the bare sender and for the watcher: no code of the agent's.

use ipnetwork::IpNetwork;
use std::net::IpAddr;

pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_ACK: u16 = 4;
pub(super) const NLM_F_DUMP: u16 = 0x300;
pub(super) const NLM_F_REPLACE: u16 = 0x100;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
const RTA_DST: u16 = 1;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RTA_NH_ID: u16 = 30;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TABLE_MAIN: u8 = 254;
const UNICAST: u8 = 1;
/// Of `struct nlmsghdr` and of `struct rtmsg`.
pub(super) const HEADER_BYTES: usize = 16;
const ROUTE_BYTES: usize = 12;

/// A route as the agent would write it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) prefix: IpNetwork,
    pub(super) metric: u32,
    pub(super) protocol: u8,
    /// Group and preferred source; none in a removal.
    pub(super) way: Option<(u32, IpAddr)>,
}

/// Appends a whole message.
pub(super) fn append_route(buffer: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, route: &Route) {
    let begin = header(buffer, kind, flags, sequence);
    let family = if route.prefix.is_ipv4() { AF_INET } else { AF_INET6 };
    buffer.extend([family, route.prefix.prefix(), 0, 0, TABLE_MAIN, route.protocol, 0, UNICAST, 0, 0, 0, 0]);
    address(buffer, RTA_DST, route.prefix.ip());
    attribute(buffer, RTA_PRIORITY, &route.metric.to_ne_bytes());
    attribute(buffer, RTA_TABLE, &u32::from(TABLE_MAIN).to_ne_bytes());
    if let Some((group, source)) = route.way {
        attribute(buffer, RTA_NH_ID, &group.to_ne_bytes());
        address(buffer, RTA_PREFSRC, source);
    }
    finish(buffer, begin);
}

/// Appends the question for all routes of the main table.
pub(super) fn append_dump(buffer: &mut Vec<u8>, ipv6: bool, sequence: u32) {
    let begin = header(buffer, RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, sequence);
    let family = if ipv6 { AF_INET6 } else { AF_INET };
    buffer.extend([family, 0, 0, 0, TABLE_MAIN, 0, 0, 0, 0, 0, 0, 0]);
    finish(buffer, begin);
}

fn header(buffer: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32) -> usize {
    let begin = buffer.len();
    buffer.extend(0u32.to_ne_bytes());
    buffer.extend(kind.to_ne_bytes());
    buffer.extend(flags.to_ne_bytes());
    buffer.extend(sequence.to_ne_bytes());
    buffer.extend(0u32.to_ne_bytes());
    begin
}

fn finish(buffer: &mut [u8], begin: usize) {
    let length = (buffer.len() - begin) as u32;
    buffer[begin..begin + 4].copy_from_slice(&length.to_ne_bytes());
}

fn address(buffer: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => attribute(buffer, kind, &v4.octets()),
        IpAddr::V6(v6) => attribute(buffer, kind, &v6.octets()),
    }
}

/// All values here are a multiple of four bytes long.
fn attribute(buffer: &mut Vec<u8>, kind: u16, value: &[u8]) {
    buffer.extend(((4 + value.len()) as u16).to_ne_bytes());
    buffer.extend(kind.to_ne_bytes());
    buffer.extend(value);
}

/// Message type, sequence number and body of each message.
pub(super) fn messages(mut buffer: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(buffer.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(buffer.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(buffer.get(8..12)?.try_into().ok()?);
        let body = buffer.get(HEADER_BYTES..length)?;
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, sequence, body))
    })
}

/// Protocol and destination of a route message; `None` where it is none or has no destination.
pub(super) fn route_of(body: &[u8]) -> Option<(u8, IpNetwork)> {
    let [family, length, ..] = *body.first_chunk::<ROUTE_BYTES>()?;
    let protocol = body[5];
    let mut rest = &body[ROUTE_BYTES..];
    while let Some([a, b, c, d]) = rest.first_chunk::<4>() {
        let (bytes, kind) = (usize::from(u16::from_ne_bytes([*a, *b])), u16::from_ne_bytes([*c, *d]));
        let value = rest.get(4..bytes)?;
        if kind == RTA_DST {
            let ip = match family {
                AF_INET => IpAddr::from(<[u8; 4]>::try_from(value).ok()?),
                AF_INET6 => IpAddr::from(<[u8; 16]>::try_from(value).ok()?),
                _ => return None,
            };
            return Some((protocol, IpNetwork::new(ip, length).ok()?));
        }
        rest = rest.get(bytes.next_multiple_of(4)..).unwrap_or(&[]);
    }
    None
}
