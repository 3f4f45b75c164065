//! Every decoder over any bytes, for the fuzz target `netlink`: what is understood must be written so that it reads back the
//! same.

use super::read::{self, Names};
use super::socket::{self, messages};
use super::{nexthop, rule, seg6, vxlan};
use crate::core::kernel::NexthopKind;

/// The bytes as what one receive gave, and as the body of one message.
pub fn read_anything(bytes: &[u8]) {
    for message in messages(bytes) {
        body(message.body);
    }
    body(bytes);
}

fn body(bytes: &[u8]) {
    const INDEX: u32 = 7;
    let names = Names::from([(INDEX, "eth1".to_string())]);
    read::anything(bytes, &names);
    let _ = (socket::refusal(bytes), nexthop::id(bytes));
    if let Some((id, found)) = nexthop::parse(bytes, &names) {
        let again = match &found.kind {
            NexthopKind::Single(value) => Some(nexthop::single(id, INDEX, value)),
            NexthopKind::Group(value) => Some(nexthop::group(id, value)),
            NexthopKind::Other => None,
        };
        let again = again.and_then(|again| nexthop::parse(&again, &names));
        assert!(again.is_none_or(|(again, read)| again == id && read.kind == found.kind));
    }
    if let Ok(Some((family, found))) = rule::parse(bytes) {
        assert_eq!(rule::parse(&rule::body(family, &found)), Ok(Some((family, found))));
    }
    if let Some((name, Some(link))) = vxlan::parse(bytes) {
        assert_eq!(vxlan::parse(&vxlan::new(&name, &link)), Some((name, Some(link))));
    }
    if let Some((index, mac, remote)) = vxlan::parse_forwarding(bytes) {
        assert_eq!(
            vxlan::parse_forwarding(&vxlan::forwarding(index, mac, remote)),
            Some((index, mac, remote))
        );
    }
    if let Some((index, address, mac)) = vxlan::parse_neighbour(bytes) {
        let again = vxlan::neighbour(index, address, Some(mac));
        assert_eq!(vxlan::parse_neighbour(&again), Some((index, address, mac)));
    }
    if let Some((interface, behaviour)) = seg6::parse_local(bytes, &names) {
        let again = seg6::local(std::net::Ipv6Addr::LOCALHOST, INDEX, &behaviour, Some(INDEX));
        assert_eq!(seg6::parse_local(&again, &names), Some((interface, behaviour)));
    }
}
