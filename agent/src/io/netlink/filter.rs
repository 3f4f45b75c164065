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
    const GROUP_LINK: u32 = 1;
    const GROUP_IPV4_ADDRESS: u32 = 5;

    /// Kinds of events until the link's alias has changed, which happens last.
    fn kinds(listener: &Socket) -> Vec<(u16, bool)> {
        let mut kinds = Vec::new();
        loop {
            let (bytes, _) = listener.recv_from_full().unwrap();
            for message in messages(&bytes) {
                kinds.push((message.kind, message.port == 0));
            }
            if kinds.iter().filter(|(kind, _)| *kind == RTM_NEWLINK).count() == 2 {
                return kinds;
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
            ip("link set eth2 alias last");
            let seen: Vec<u16> = kinds(&listener).into_iter().map(|(kind, _)| kind).collect();
            assert_eq!(
                seen,
                [RTM_NEWLINK, RTM_NEWADDR, RTM_NEWLINK],
                "ours, the other's address, the other's"
            );
        });
    }
}
