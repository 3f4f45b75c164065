//! SRv6 as the kernel's light-weight tunnels speak it (`linux/seg6_iptunnel.h`, `linux/seg6.h`).

use super::attribute::{Attributes, append};
use std::net::Ipv6Addr;

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
