//! Nexthop objects (`RTM_NEWNEXTHOP` and kin, `linux/nexthop.h`), which netlink-packet-route does not have.

use super::attribute::{Attributes, append, array, number};
use super::read::ip;
use super::seg6;
use crate::core::kernel::{ActualNexthop, NexthopKind, PROTOCOL};
use plan::objects::{GroupValue, NexthopValue};
use plan::program::{Encapsulation, Member, Resilient};
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
const NHA_GROUP_TYPE: u16 = 3;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
const NHA_RES_GROUP: u16 = 12;
const NHA_RES_GROUP_BUCKETS: u16 = 1;
const NHA_RES_GROUP_IDLE_TIMER: u16 = 2;
const NHA_RES_GROUP_UNBALANCED_TIMER: u16 = 3;
const GROUP_TYPE_RESILIENT: u16 = 1;
/// Timers are in `clock_t`, 100 a second.
const MS_OF_TICK: u32 = 10;
const NLA_F_NESTED: u16 = 0x8000;

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
pub(super) fn single(id: u32, oif: u32, value: &NexthopValue) -> Vec<u8> {
    let (family, octets) = match value.gateway {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    let mut body = header(family, PROTOCOL);
    append(&mut body, NHA_ID, &id.to_ne_bytes());
    append(&mut body, NHA_OIF, &oif.to_ne_bytes());
    append(&mut body, NHA_GATEWAY, &octets);
    if let Some(Encapsulation::Seg6 { segments }) = &value.encapsulation {
        append(&mut body, NHA_ENCAP_TYPE, &seg6::LWTUNNEL_ENCAP_SEG6.to_ne_bytes());
        append(&mut body, NHA_ENCAP | NLA_F_NESTED, &seg6::encapsulation(segments));
    }
    body
}

/// Body of a message that makes or replaces a group.
pub(super) fn group(id: u32, value: &GroupValue) -> Vec<u8> {
    let GroupValue { members, resilient } = value;
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
    if let Some(resilient) = resilient {
        append(&mut body, NHA_GROUP_TYPE, &GROUP_TYPE_RESILIENT.to_ne_bytes());
        let mut options = Vec::new();
        append(&mut options, NHA_RES_GROUP_BUCKETS, &resilient.buckets.to_ne_bytes());
        append(&mut options, NHA_RES_GROUP_IDLE_TIMER, &ticks(resilient.idle_timer_ms));
        append(&mut options, NHA_RES_GROUP_UNBALANCED_TIMER, &ticks(resilient.unbalanced_timer_ms));
        append(&mut body, NHA_RES_GROUP | NLA_F_NESTED, &options);
    }
    body
}

/// Milliseconds to the kernel's hundredths of a second.
fn ticks(ms: u32) -> [u8; 4] {
    (ms / MS_OF_TICK).to_ne_bytes()
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
    let has = |kind: u16| attributes.find(kind).is_some();
    let id = id(body)?;
    let kind = match (attributes.find(NHA_GROUP), attributes.find(NHA_GATEWAY)) {
        _ if has(NHA_BLACKHOLE) || has(NHA_FDB) => None,
        (Some(legs), _) => match attributes.find(NHA_RES_GROUP).map(resilient) {
            None => Some(NexthopKind::Group(GroupValue::new(members(legs)))),
            Some(None) => None,
            Some(resilient) => Some(NexthopKind::Group(GroupValue { members: members(legs), resilient })),
        },
        (None, Some(gateway)) => single_of(attributes, gateway, names).map(NexthopKind::Single),
        (None, None) => None,
    };
    Some((id, ActualNexthop { ours: protocol == PROTOCOL, kind: kind.unwrap_or(NexthopKind::Other) }))
}

fn single_of(
    attributes: Attributes<'_>,
    gateway: &[u8],
    names: &BTreeMap<u32, String>,
) -> Option<NexthopValue> {
    let oif = attributes.find(NHA_OIF).and_then(|value| number(value, 0))?;
    let encapsulation = match attributes.find(NHA_ENCAP) {
        None => None,
        Some(encapsulation) => {
            let kind = attributes.find(NHA_ENCAP_TYPE).and_then(|value| array(value, 0))?;
            if u16::from_ne_bytes(kind) != seg6::LWTUNNEL_ENCAP_SEG6 {
                return None;
            }
            Some(Encapsulation::Seg6 { segments: seg6::segments(encapsulation)? })
        }
    };
    Some(NexthopValue { interface: names.get(&oif)?.clone(), gateway: ip(gateway)?, encapsulation })
}

fn resilient(options: &[u8]) -> Option<Resilient> {
    let options = Attributes(options);
    let ms = |kind| number(options.find(kind)?, 0)?.checked_mul(MS_OF_TICK);
    Some(Resilient {
        buckets: u16::from_ne_bytes(array(options.find(NHA_RES_GROUP_BUCKETS)?, 0)?),
        idle_timer_ms: ms(NHA_RES_GROUP_IDLE_TIMER)?,
        unbalanced_timer_ms: ms(NHA_RES_GROUP_UNBALANCED_TIMER)?,
    })
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
        let plain = NexthopValue::new("eth1", "fe80::2".parse().unwrap());
        let segments = vec!["fd00::1".parse().unwrap(), "fd00::2".parse().unwrap()];
        let wrapped = NexthopValue { encapsulation: Some(Encapsulation::Seg6 { segments }), ..plain.clone() };
        for value in [plain, wrapped] {
            let found = parse(&single(0x5B00_0001, 7, &value), &names).unwrap();
            assert_eq!(found, (0x5B00_0001, ActualNexthop { ours: true, kind: NexthopKind::Single(value) }));
        }
        let members = vec![Member { nexthop: 1, weight: 1 }, Member { nexthop: 2, weight: 256 }];
        let resilient = Resilient { buckets: 64, idle_timer_ms: 500, unbalanced_timer_ms: 60_000 };
        for resilient in [None, Some(resilient)] {
            let value = GroupValue { members: members.clone(), resilient };
            let found = parse(&group(9, &value), &names).unwrap();
            assert_eq!(found, (9, ActualNexthop { ours: true, kind: NexthopKind::Group(value) }));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &BTreeMap::new());
        }
    }
}
