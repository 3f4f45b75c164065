//! A socket filter that drops, inside the kernel, the echo of the agent's own writes: with it a listener costs a batch of
//! route messages next to nothing; without it the kernel wakes the listener once for each of them.
//!
//! Classic BPF over the first message header of each event (`linux/filter.h`, `linux/netlink.h`). It decides nothing that the
//! reader does not decide again: an event that passes by mistake is only read for nothing.

use socket2::{SockFilter, SockRef};
use std::io;
use std::os::fd::AsFd;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;

/// Offsets in `struct nlmsghdr`.
const KIND_AT: u32 = 4;
const PORT_AT: u32 = 12;

/// BPF: load a word, load a half word, jump if equal, return.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Events of objects that requests from `own_port` caused no longer reach this socket; those of links do, whoever caused them.
///
/// # Errors
/// The kernel takes no filter; the socket works without it, more slowly.
pub(crate) fn drop_own_echo(socket: &impl AsFd, own_port: u32) -> io::Result<()> {
    // BPF loads in network byte order what netlink holds in the host's.
    let port = u32::from_be_bytes(own_port.to_ne_bytes());
    let kind = |kind: u16| u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_WORD, 0, 0, PORT_AT),
        SockFilter::new(JUMP_EQUAL, 0, 4, port),
        SockFilter::new(LOAD_HALF, 0, 0, KIND_AT),
        SockFilter::new(JUMP_EQUAL, 2, 0, kind(RTM_NEWLINK)),
        SockFilter::new(JUMP_EQUAL, 1, 0, kind(RTM_DELLINK)),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::kernel::Op;
    use crate::io::kernel::Kernel;
    use crate::io::namespace::{in_namespace, ip};
    use crate::io::netlink::{Netlink, socket::messages};
    use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

    const RTM_NEWADDR: u16 = 20;
    const ALIAS: &[u8] = b"the-last-of-all";
    const GROUP_LINK: u32 = 1;
    const GROUP_IPV4_ADDRESS: u32 = 5;

    /// Kind and causing port of the events up to the one that tells the link's alias, which changes last.
    fn until_the_alias(listener: &Socket) -> Vec<(u16, u32)> {
        let mut events = Vec::new();
        loop {
            let (bytes, _) = listener.recv_from_full().unwrap();
            for message in messages(&bytes) {
                events.push((message.kind, message.port));
                if message.body.windows(ALIAS.len()).any(|part| part == ALIAS) {
                    return events;
                }
            }
        }
    }

    #[test]
    fn own_echoes_are_dropped_and_others_events_and_all_link_events_are_not() {
        in_namespace("own_echoes_are_dropped", || {
            let mut kernel = Netlink::open().unwrap();
            let mut listener = Socket::new(NETLINK_ROUTE).unwrap();
            listener.bind(&SocketAddr::new(0, 0)).unwrap();
            listener.add_membership(GROUP_LINK).unwrap();
            listener.add_membership(GROUP_IPV4_ADDRESS).unwrap();
            drop_own_echo(&listener, kernel.port()).unwrap();
            let own = |address: &str| Op::PutAddress {
                interface: "eth1".to_string(),
                address: address.parse().unwrap(),
            };
            let mtu = Op::SetMtu { interface: "eth1".to_string(), mtu: 1_400 };
            assert_eq!(kernel.apply(&[own("192.0.2.1/24"), mtu]), [Ok(()), Ok(())]);
            ip("addr add 198.51.100.1/24 dev eth1");
            ip("link set eth2 alias the-last-of-all");
            let events = until_the_alias(&listener);
            let of =
                |wanted: u16| events.iter().filter(move |(kind, _)| *kind == wanted).map(|(_, port)| *port);
            let addresses: Vec<u32> = of(RTM_NEWADDR).collect();
            assert!(
                addresses.len() == 1 && addresses[0] != kernel.port(),
                "the other's passes, ours does not: {events:?}"
            );
            // More come when the kernel finds the time to tell of links that are up (linkwatch).
            assert!(of(RTM_NEWLINK).count() >= 2, "our change to a link and the other's pass: {events:?}");
        });
    }
}
