//! Asks the kernel which way a packet takes. Two questions for each address: the route that matches (`RTM_F_FIB_MATCH`),
//! and the next hop that this packet gets of it.

use super::attribute::{Attributes, array, number};
use super::message::Request;
use super::read::{self, ip};
use super::socket::RequestSocket;
use crate::core::{Way, WayRoute};
use ipnetwork::IpNetwork;
use netlink_packet_core::NLM_F_REQUEST;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
/// `struct rtmsg`.
const FIXED_BYTES: usize = 12;

/// The ways to all these addresses; one that cannot be found out says so.
pub(super) fn ways(socket: &mut RequestSocket, addresses: &[IpAddr]) -> BTreeMap<IpAddr, Way> {
    let names = match read::links(socket) {
        Ok(links) => links.into_iter().map(|(name, link)| (link.index, name)).collect(),
        Err(why) => return addresses.iter().map(|address| (*address, Way::Unknown(why.clone()))).collect(),
    };
    addresses.iter().map(|address| (*address, way(socket, *address, &names))).collect()
}

fn way(socket: &mut RequestSocket, address: IpAddr, names: &BTreeMap<u32, String>) -> Way {
    let mut ask = |flags: u32| socket.ask(&question(address, flags), RTM_NEWROUTE);
    let matched = match ask(RTM_F_FIB_MATCH | RTM_F_LOOKUP_TABLE) {
        Err(error) => return Way::Unknown(format!("the kernel cannot be asked: {error}")),
        Ok(Err(refusal)) if no_way(refusal.errno) => return Way::None,
        Ok(Err(refusal)) => return Way::Unknown(refusal.text),
        Ok(Ok(body)) => body,
    };
    let Some(mut route) = route(&matched, address) else {
        return Way::Unknown("the kernel's answer is cut off".to_string());
    };
    // The next hop is told where one can be found out.
    if let Ok(Ok(body)) = ask(RTM_F_LOOKUP_TABLE) {
        let attributes = || Attributes(body.get(FIXED_BYTES..).unwrap_or(&[]));
        let index = attributes().find(RTA_OIF).and_then(|value| number(value, 0));
        route.interface = index.and_then(|index| names.get(&index).cloned());
        let via = || attributes().find(RTA_VIA).and_then(|value| ip(value.get(2..)?));
        route.gateway = attributes().find(RTA_GATEWAY).and_then(ip).or_else(via);
    }
    Way::Route(route)
}

/// What the kernel says where there is no route, or one that sends packets nowhere.
fn no_way(errno: i32) -> bool {
    [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EINVAL, Errno::EACCES].contains(&Errno::from_raw(errno))
}

fn question(address: IpAddr, flags: u32) -> Request {
    let (family, bytes) = match address {
        IpAddr::V4(four) => (AF_INET, four.octets().to_vec()),
        IpAddr::V6(six) => (AF_INET6, six.octets().to_vec()),
    };
    let length = (bytes.len() * 8) as u8;
    let mut body = vec![family, length, 0, 0, 0, 0, 0, 0];
    body.extend(flags.to_ne_bytes());
    body.extend((4 + bytes.len() as u16).to_ne_bytes());
    body.extend(RTA_DST.to_ne_bytes());
    body.extend(bytes);
    Request { kind: RTM_GETROUTE, flags: NLM_F_REQUEST, body }
}

/// The route that matched; `None` where the message is cut off.
fn route(body: &[u8], address: IpAddr) -> Option<WayRoute> {
    let [_, length, _, _] = array(body, 0)?;
    let [table, protocol, ..] = array::<4>(body, 4)?;
    let attributes = || Attributes(body.get(FIXED_BYTES..).unwrap_or(&[]));
    let value = |kind| attributes().find(kind).and_then(|value| number(value, 0));
    let around = IpNetwork::new(address, length).ok()?;
    Some(WayRoute {
        prefix: IpNetwork::new(around.network(), length).ok()?,
        table: value(RTA_TABLE).unwrap_or(u32::from(table)),
        metric: value(RTA_PRIORITY).unwrap_or(0),
        protocol,
        group: value(RTA_NH_ID),
        interface: None,
        gateway: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::namespace::{in_namespace, ip as run};
    use crate::io::netlink::Netlink;
    use proptest::prelude::*;

    #[test]
    fn the_kernel_says_which_way_a_packet_takes() {
        in_namespace("lookup", || {
            run("addr add 192.0.2.1/24 dev eth1");
            run("route add 10.1.0.0/16 via 192.0.2.9 metric 7 proto 200");
            run("nexthop add id 77 via 192.0.2.8 dev eth1");
            run("route add 10.1.2.0/24 nhid 77 metric 100 proto 91");
            run("route add unreachable 10.9.0.0/16");
            let addresses = ["10.1.9.9", "10.1.2.3", "10.9.0.1", "203.0.113.1", "192.0.2.7", "2001:db8::1"]
                .map(|address| address.parse().unwrap());
            let ways = Netlink::open().unwrap().ways(&addresses);
            let text = |at: usize| match &ways[&addresses[at]] {
                Way::Unknown(why) => format!("unknown: {why}"),
                Way::None => "none".to_string(),
                Way::Route(route) => format!(
                    "{} metric {} protocol {} group {:?} {} {:?}",
                    route.prefix,
                    route.metric,
                    route.protocol,
                    route.group,
                    route.interface.as_deref().unwrap_or("-"),
                    route.gateway.map(|gateway| gateway.to_string()),
                ),
            };
            assert_eq!(text(0), "10.1.0.0/16 metric 7 protocol 200 group None eth1 Some(\"192.0.2.9\")");
            assert_eq!(text(1), "10.1.2.0/24 metric 100 protocol 91 group Some(77) eth1 Some(\"192.0.2.8\")");
            assert_eq!([text(2), text(3), text(5)], ["none", "none", "none"]);
            assert_eq!(text(4), "192.0.2.0/24 metric 0 protocol 2 group None eth1 None");
        });
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = route(&bytes, "10.0.0.1".parse().unwrap());
        }
    }
}
