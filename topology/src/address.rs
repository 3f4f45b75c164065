//! Arithmetic on prefixes. Knows no file and no node.

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefixes that hosts keep for themselves or never forward (RFC 6890), in both families.
const RESERVED: [&str; 9] = [
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/3",
    "::/127",
    "::ffff:0:0/96",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// Reads `ADDRESS/LENGTH`; host bits may be set.
pub(crate) fn cidr(text: &str) -> Option<IpNetwork> {
    let (address, length) = text.split_once('/')?;
    let plain = !length.is_empty() && length.len() <= 3 && length.bytes().all(|byte| byte.is_ascii_digit());
    let leading_zero = length.len() > 1 && length.starts_with('0');
    if !plain || leading_zero {
        return None;
    }
    IpNetwork::new(address.parse().ok()?, length.parse().ok()?).ok()
}

/// The prefix that holds `network`, without host bits.
pub(crate) fn canonical(network: &IpNetwork) -> IpNetwork {
    match network {
        IpNetwork::V4(v4) => Ipv4Network::new(v4.network(), v4.prefix()).map_or(*network, IpNetwork::V4),
        IpNetwork::V6(v6) => Ipv6Network::new(v6.network(), v6.prefix()).map_or(*network, IpNetwork::V6),
    }
}

/// Bits of an address that the prefix leaves free.
pub(crate) fn host_bits(network: &IpNetwork) -> u32 {
    let all = if network.is_ipv4() { 32 } else { 128 };
    all - u32::from(network.prefix())
}

/// First and last address as numbers.
pub(crate) fn bounds(network: &IpNetwork) -> (u128, u128) {
    let first = number(network.network());
    let span = 1u128.checked_shl(host_bits(network)).map_or(u128::MAX, |size| size - 1);
    (first, first | span)
}

/// An address as a number.
pub(crate) fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// The address with this number in the family of `network`.
pub(crate) fn from_number(network: &IpNetwork, number: u128) -> IpAddr {
    match network {
        IpNetwork::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(number as u32)),
        IpNetwork::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(number)),
    }
}

/// Whether the two prefixes have an address in common.
pub(crate) fn overlap(a: &IpNetwork, b: &IpNetwork) -> bool {
    let ((a_first, a_last), (b_first, b_last)) = (bounds(a), bounds(b));
    a.is_ipv4() == b.is_ipv4() && a_first <= b_last && b_first <= a_last
}

/// Whether all addresses of `inner` are addresses of `outer`.
pub(crate) fn within(inner: &IpNetwork, outer: &IpNetwork) -> bool {
    overlap(inner, outer) && inner.prefix() >= outer.prefix()
}

/// The reserved prefix that shares addresses with `network`.
pub(crate) fn reserved(network: &IpNetwork) -> Option<IpNetwork> {
    RESERVED.iter().filter_map(|text| cidr(text)).find(|reserved| overlap(reserved, network))
}

/// Why an address with its length cannot be put on an interface.
pub(crate) fn unusable(network: &IpNetwork) -> Option<&'static str> {
    let (first, last) = bounds(network);
    let at = number(network.ip());
    if reserved(&canonical(network)).is_some() {
        return Some("its subnet is reserved");
    }
    match (host_bits(network), network) {
        (0, _) => Some("a subnet of one address cannot hold both ends"),
        (1, _) => None,
        (_, IpNetwork::V4(_)) if at == first => Some("it is the subnet's own address"),
        (_, IpNetwork::V4(_)) if at == last => Some("it is the subnet's broadcast address"),
        (_, IpNetwork::V6(_)) if at == first => Some("it is the subnet's router anycast address (RFC 4291)"),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_have_one_spelling() {
        for bad in [
            "10.0.0.0",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/255.0.0.0",
            "10.0.0/8",
            "::/129",
            "/8",
            "fe80::1%eth0/64",
        ] {
            assert_eq!(cidr(bad), None, "{bad}");
        }
        assert_eq!(canonical(&cidr("10.1.2.3/24").unwrap()), cidr("10.1.2.0/24").unwrap());
        assert_eq!(canonical(&cidr("2001:db8::1/64").unwrap()), cidr("2001:db8::/64").unwrap());
    }

    #[test]
    fn bounds_reach_from_one_address_to_all() {
        for (text, wanted) in [
            ("10.0.0.1/32", (0x0a00_0001, 0x0a00_0001)),
            ("0.0.0.0/0", (0, 0xffff_ffff)),
            ("::/0", (0, u128::MAX)),
            ("::1/128", (1, 1)),
        ] {
            assert_eq!(bounds(&cidr(text).unwrap()), wanted, "{text}");
        }
    }

    #[test]
    fn addresses_of_an_interface_leave_out_the_ends_of_wide_subnets() {
        for (text, good) in [
            ("192.0.2.0/31", true),
            ("192.0.2.1/31", true),
            ("192.0.2.1/30", true),
            ("192.0.2.0/30", false),
            ("192.0.2.3/30", false),
            ("192.0.2.3/32", false),
            ("2001:db8::/127", true),
            ("2001:db8::/64", false),
            ("127.0.0.1/8", false),
            ("fe80::5/64", false),
        ] {
            assert_eq!(unusable(&cidr(text).unwrap()).is_none(), good, "{text}");
        }
    }
}
