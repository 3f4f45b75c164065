//! Nexthop objects (`RTM_NEWNEXTHOP` and kin, `linux/nexthop.h`), which netlink-packet-route does not have.

use super::attribute::{Attributes, append, number};
use super::read::ip;
use crate::core::kernel::{ActualNexthop, NexthopKind, PROTOCOL};
use plan::program::Member;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(super) const RTM_NEWNEXTHOP: u16 = 104;
pub(super) const RTM_DELNEXTHOP: u16 = 105;
pub(super) const RTM_GETNEXTHOP: u16 = 106;

const NHA_ID: u16 = 1;
/// Array of `struct nexthop_grp`: u32 id, u8 weight - 1, u8 high byte of it, u16 reserved.
const NHA_GROUP: u16 = 2;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
/// 4 or 16 bytes, by the header's family.
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
const NHA_RES_GROUP: u16 = 12;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// `struct nhmsg`: family, scope, protocol, reserved, u32 flags.
const HEADER_BYTES: usize = 8;

/// `struct nhmsg`, without attributes.
pub(super) fn header(family: u8, protocol: u8) -> Vec<u8> {
    vec![family, 0, protocol, 0, 0, 0, 0, 0]
}

/// Body of a message that makes or replaces a single next hop.
pub(super) fn single(id: u32, oif: u32, gateway: IpAddr) -> Vec<u8> {
    let (family, octets) = match gateway {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    let mut body = header(family, PROTOCOL);
    append(&mut body, NHA_ID, &id.to_ne_bytes());
    append(&mut body, NHA_OIF, &oif.to_ne_bytes());
    append(&mut body, NHA_GATEWAY, &octets);
    body
}

/// Body of a message that makes or replaces a group.
pub(super) fn group(id: u32, members: &[Member]) -> Vec<u8> {
    let mut body = header(AF_UNSPEC, PROTOCOL);
    append(&mut body, NHA_ID, &id.to_ne_bytes());
    let mut legs = Vec::with_capacity(members.len() * 8);
    for member in members {
        legs.extend(member.nexthop.to_ne_bytes());
        // Weights are 1 to 256 and stored as one less; older kernels know the low byte only.
        let [low, high] = member.weight.saturating_sub(1).to_le_bytes();
        legs.extend([low, high, 0, 0]);
    }
    append(&mut body, NHA_GROUP, &legs);
    body
}

/// Body of a message that removes an object of either kind.
pub(super) fn removal(id: u32) -> Vec<u8> {
    let mut body = header(AF_UNSPEC, 0);
    append(&mut body, NHA_ID, &id.to_ne_bytes());
    body
}

/// The object's id.
pub(super) fn id(body: &[u8]) -> Option<u32> {
    Attributes(body.get(HEADER_BYTES..)?).find(NHA_ID).and_then(|value| number(value, 0))
}

/// Reads one object of a dump; `None` when the message is damaged. Interfaces are named by `names`.
pub(super) fn parse(body: &[u8], names: &BTreeMap<u32, String>) -> Option<(u32, ActualNexthop)> {
    let protocol = *body.get(2)?;
    let attributes = Attributes(body.get(HEADER_BYTES..)?);
    let number = |kind: u16| attributes.find(kind).and_then(|value| number(value, 0));
    let has = |kind: u16| attributes.find(kind).is_some();
    let id = id(body)?;
    let other = [NHA_BLACKHOLE, NHA_FDB, NHA_ENCAP, NHA_RES_GROUP].into_iter().any(has);
    let kind = match (attributes.find(NHA_GROUP), attributes.find(NHA_GATEWAY)) {
        (Some(legs), _) if !other => NexthopKind::Group(members(legs)),
        (None, Some(gateway)) if !other => {
            match (ip(gateway), number(NHA_OIF).and_then(|oif| names.get(&oif))) {
                (Some(gateway), Some(interface)) => {
                    NexthopKind::Single { interface: interface.clone(), gateway }
                }
                _ => NexthopKind::Other,
            }
        }
        _ => NexthopKind::Other,
    };
    Some((id, ActualNexthop { ours: protocol == PROTOCOL, kind }))
}

fn members(legs: &[u8]) -> Vec<Member> {
    let mut members: Vec<Member> = legs
        .chunks_exact(8)
        .map(|leg| Member {
            nexthop: u32::from_ne_bytes([leg[0], leg[1], leg[2], leg[3]]),
            weight: u16::from_le_bytes([leg[4], leg[5]]).saturating_add(1),
        })
        .collect();
    members.sort();
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let names = BTreeMap::from([(7, "eth1".to_string())]);
        let gateway: IpAddr = "fe80::2".parse().unwrap();
        let found = parse(&single(0x5B00_0001, 7, gateway), &names).unwrap();
        let kind = NexthopKind::Single { interface: "eth1".to_string(), gateway };
        assert_eq!(found, (0x5B00_0001, ActualNexthop { ours: true, kind }));
        let members = vec![Member { nexthop: 1, weight: 1 }, Member { nexthop: 2, weight: 256 }];
        let found = parse(&group(9, &members), &names).unwrap();
        assert_eq!(found, (9, ActualNexthop { ours: true, kind: NexthopKind::Group(members) }));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &BTreeMap::new());
        }
    }
}
