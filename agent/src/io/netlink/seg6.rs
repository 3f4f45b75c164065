//! SRv6 as the kernel's light-weight tunnels speak it (`linux/seg6_iptunnel.h`, `linux/seg6.h`).

use super::attribute::{Attributes, append, array, number};
use super::read::Names;
use crate::core::kernel::PROTOCOL;
use plan::objects::RouteKey;
use plan::program::{Behaviour, METRIC_PRIMARY, TABLE_SEGMENTS};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `enum lwtunnel_encap_types`.
pub(super) const LWTUNNEL_ENCAP_SEG6: u16 = 5;

/// `struct seg6_iptunnel_encap`: i32 mode, then the segment routing header.
const SEG6_IPTUNNEL_SRH: u16 = 1;
/// The packet goes whole into an outer one (`SEG6_IPTUN_MODE_ENCAP`).
const MODE_ENCAP: i32 = 1;
/// RFC 8754: next header, length in 8 octets without the first, type, segments left, last entry, flags, tag.
const HEADER_BYTES: usize = 8;
const ROUTING_TYPE_SEGMENTS: u8 = 4;
const SEGMENT_BYTES: usize = 16;

/// Content of an encapsulation attribute: the outer header's segments, in the order in which they are visited.
pub(super) fn encapsulation(segments: &[Ipv6Addr]) -> Vec<u8> {
    let mut body = MODE_ENCAP.to_ne_bytes().to_vec();
    // No program has more than `SEGMENTS_MAX`.
    let count = u8::try_from(segments.len()).unwrap_or(u8::MAX);
    let last = count.saturating_sub(1);
    body.extend([0, count.saturating_mul(2), ROUTING_TYPE_SEGMENTS, last, last, 0, 0, 0]);
    // On the wire the last segment comes first.
    body.extend(segments.iter().rev().flat_map(|segment| segment.octets()));
    let mut attribute = Vec::new();
    append(&mut attribute, SEG6_IPTUNNEL_SRH, &body);
    attribute
}

/// Reads what [`encapsulation`] writes; `None`: another mode, or damaged.
pub(super) fn segments(attribute: &[u8]) -> Option<Vec<Ipv6Addr>> {
    let (mode, header) = Attributes(attribute).find(SEG6_IPTUNNEL_SRH)?.split_first_chunk::<4>()?;
    let count = usize::from(*header.get(4)?) + 1;
    let list = header.get(HEADER_BYTES..HEADER_BYTES + count * SEGMENT_BYTES)?;
    if i32::from_ne_bytes(*mode) != MODE_ENCAP {
        return None;
    }
    let octets = list.chunks_exact(SEGMENT_BYTES).filter_map(|segment| <[u8; 16]>::try_from(segment).ok());
    Some(octets.map(Ipv6Addr::from).rev().collect())
}

const LWTUNNEL_ENCAP_SEG6_LOCAL: u16 = 7;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
pub(super) const RTA_ENCAP_TYPE: u16 = 21;
pub(super) const RTA_ENCAP: u16 = 22;
const NLA_F_NESTED: u16 = 0x8000;

/// `linux/seg6_local.h`.
const SEG6_LOCAL_ACTION: u16 = 1;
const SEG6_LOCAL_TABLE: u16 = 3;
const SEG6_LOCAL_NH4: u16 = 4;
const SEG6_LOCAL_NH6: u16 = 5;
const SEG6_LOCAL_OIF: u16 = 7;
/// The kernel tells counters here when they are switched on.
const SEG6_LOCAL_COUNTERS: u16 = 10;
const ACTION_END: u32 = 1;
const ACTION_END_X: u32 = 2;
const ACTION_END_DX6: u32 = 5;
const ACTION_END_DX4: u32 = 6;
const ACTION_END_DT6: u32 = 7;

/// The place of a local segment's route.
pub(super) fn local_key(segment: Ipv6Addr) -> RouteKey {
    RouteKey { table: TABLE_SEGMENTS, prefix: IpAddr::V6(segment).into(), metric: METRIC_PRIMARY }
}

/// Body of a message that makes or replaces a local segment. `out`: number of the interface of `End.X`.
pub(super) fn local(segment: Ipv6Addr, oif: u32, behaviour: &Behaviour, out: Option<u32>) -> Vec<u8> {
    const AF_INET6: u8 = 10;
    const RTN_UNICAST: u8 = 1;
    let mut body = vec![AF_INET6, 128, 0, 0, 0, PROTOCOL, 0, RTN_UNICAST, 0, 0, 0, 0];
    let key = local_key(segment);
    append(&mut body, RTA_DST, &segment.octets());
    append(&mut body, RTA_PRIORITY, &key.metric.to_ne_bytes());
    append(&mut body, RTA_TABLE, &key.table.to_ne_bytes());
    append(&mut body, RTA_OIF, &oif.to_ne_bytes());
    let mut action = Vec::new();
    let mut put = |kind: u16, value: &[u8]| append(&mut action, kind, value);
    match behaviour {
        Behaviour::End => put(SEG6_LOCAL_ACTION, &ACTION_END.to_ne_bytes()),
        Behaviour::EndX { next_hop, .. } => {
            put(SEG6_LOCAL_ACTION, &ACTION_END_X.to_ne_bytes());
            put(SEG6_LOCAL_NH6, &next_hop.octets());
            if let Some(out) = out {
                put(SEG6_LOCAL_OIF, &out.to_ne_bytes());
            }
        }
        Behaviour::EndDx4 { next_hop } => {
            put(SEG6_LOCAL_ACTION, &ACTION_END_DX4.to_ne_bytes());
            put(SEG6_LOCAL_NH4, &next_hop.octets());
        }
        Behaviour::EndDx6 { next_hop } => {
            put(SEG6_LOCAL_ACTION, &ACTION_END_DX6.to_ne_bytes());
            put(SEG6_LOCAL_NH6, &next_hop.octets());
        }
        Behaviour::EndDt6 { table } => {
            put(SEG6_LOCAL_ACTION, &ACTION_END_DT6.to_ne_bytes());
            put(SEG6_LOCAL_TABLE, &table.to_ne_bytes());
        }
    }
    append(&mut body, RTA_ENCAP_TYPE, &LWTUNNEL_ENCAP_SEG6_LOCAL.to_ne_bytes());
    append(&mut body, RTA_ENCAP | NLA_F_NESTED, &action);
    body
}

/// What a route's message says of a local segment: the interface that it hangs on and what is done; `None`: something else.
pub(super) fn parse_local(body: &[u8], names: &Names) -> Option<(String, Behaviour)> {
    let attributes = Attributes(body.get(12..)?);
    let kind = attributes.find(RTA_ENCAP_TYPE).and_then(|value| array(value, 0)).map(u16::from_ne_bytes)?;
    let name = |value: &[u8]| names.get(&number(value, 0)?).cloned();
    let interface = attributes.find(RTA_OIF).and_then(name)?;
    if kind != LWTUNNEL_ENCAP_SEG6_LOCAL {
        return None;
    }
    let action = Attributes(attributes.find(RTA_ENCAP)?);
    let known = [SEG6_LOCAL_ACTION, SEG6_LOCAL_TABLE, SEG6_LOCAL_NH4, SEG6_LOCAL_NH6, SEG6_LOCAL_OIF];
    if action.clone().any(|(kind, _)| !known.contains(&kind) && kind != SEG6_LOCAL_COUNTERS) {
        return None;
    }
    let six = || Some(Ipv6Addr::from(array::<16>(action.find(SEG6_LOCAL_NH6)?, 0)?));
    let behaviour = match number(action.find(SEG6_LOCAL_ACTION)?, 0)? {
        ACTION_END => Behaviour::End,
        ACTION_END_X => {
            Behaviour::EndX { interface: action.find(SEG6_LOCAL_OIF).and_then(name)?, next_hop: six()? }
        }
        ACTION_END_DX4 => {
            let next_hop = Ipv4Addr::from(array::<4>(action.find(SEG6_LOCAL_NH4)?, 0)?);
            Behaviour::EndDx4 { next_hop }
        }
        ACTION_END_DX6 => Behaviour::EndDx6 { next_hop: six()? },
        ACTION_END_DT6 => Behaviour::EndDt6 { table: number(action.find(SEG6_LOCAL_TABLE)?, 0)? },
        _ => return None,
    };
    Some((interface, behaviour))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let names = Names::from([(7, "eth1".to_string()), (8, "eth2".to_string())]);
        let next_hop: Ipv6Addr = "fe80::2".parse().unwrap();
        for behaviour in [
            Behaviour::End,
            Behaviour::EndX { interface: "eth2".to_string(), next_hop },
            Behaviour::EndDx4 { next_hop: Ipv4Addr::UNSPECIFIED },
            Behaviour::EndDx6 { next_hop },
            Behaviour::EndDt6 { table: 254 },
        ] {
            let out = matches!(behaviour, Behaviour::EndX { .. }).then_some(8);
            let body = local("fd00::1".parse().unwrap(), 7, &behaviour, out);
            assert_eq!(parse_local(&body, &names), Some(("eth1".to_string(), behaviour)));
        }
        let list: Vec<Ipv6Addr> = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap()).into();
        assert_eq!(segments(&encapsulation(&list)), Some(list));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (segments(&bytes), parse_local(&bytes, &Names::new()));
        }
    }
}
