//! UDP sockets of control packets, bound to interfaces: one to receive per interface and family, one to send per session,
//! each with a source port of its own (RFC 5881, section 4).

use crate::core::packet::{HOP_LIMIT, PACKET_BYTES_MAX, PORT, SOURCE_PORTS};
use crate::core::session::random;
use crate::core::sessions::{Key, Outgoing};
use nix::errno::Errno;
use nix::libc;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn,
    SockaddrIn6, SockaddrStorage, bind, recvmsg, sendmsg, setsockopt, socket, sockopt,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Datagrams taken from one socket before others have their turn.
const DATAGRAMS_MAX: usize = 64;
/// Source ports tried for one session before it is said that none is free.
const PORTS_TRIED_MAX: usize = 32;
/// Internetwork control (RFC 5880, section 7 asks for more than best effort).
const TRAFFIC_CLASS: i32 = 0xC0;

#[derive(Debug)]
struct Bound {
    socket: OwnedFd,
    /// Index of the interface that it was bound to.
    index: u32,
}

/// A received datagram.
#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) interface: &'a str,
    pub(crate) source: IpAddr,
    pub(crate) hop_limit: Option<u8>,
    pub(crate) bytes: &'a [u8],
}

/// All sockets.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// By interface, and whether it is for IPv6.
    receivers: BTreeMap<(String, bool), Bound>,
    /// By the session's own discriminator.
    senders: BTreeMap<u32, Bound>,
    problems: BTreeMap<Key, String>,
    random: u64,
}

impl Sockets {
    pub(crate) fn new(seed: u64) -> Sockets {
        Sockets {
            receivers: BTreeMap::new(),
            senders: BTreeMap::new(),
            problems: BTreeMap::new(),
            random: seed,
        }
    }

    /// Has sockets for exactly these sessions; anew where an interface was made again.
    pub(crate) fn keep<'a>(&mut self, sessions: impl Iterator<Item = (&'a Key, u32)>) {
        let (mut receivers, mut senders, mut keys) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut indexes: BTreeMap<&str, Result<u32, Errno>> = BTreeMap::new();
        for (key, discriminator) in sessions {
            let index =
                *indexes.entry(&key.interface).or_insert_with(|| if_nametoindex(key.interface.as_str()));
            let place = (key.interface.clone(), key.remote.is_ipv6());
            let opened = index
                .map_err(|_| format!("there is no interface {}", key.interface))
                .and_then(|index| self.open(key, &place, discriminator, index));
            match opened {
                Ok(()) => {
                    receivers.insert(place);
                    senders.insert(discriminator);
                }
                Err(why) => {
                    self.problems.insert(key.clone(), why);
                }
            }
            keys.insert(key.clone());
        }
        self.receivers.retain(|place, _| receivers.contains(place));
        self.senders.retain(|discriminator, _| senders.contains(discriminator));
        self.problems.retain(|key, _| keys.contains(key));
    }

    fn open(
        &mut self,
        key: &Key,
        place: &(String, bool),
        discriminator: u32,
        index: u32,
    ) -> Result<(), String> {
        let (interface, v6) = (key.interface.as_str(), key.remote.is_ipv6());
        if self.receivers.get(place).is_none_or(|bound| bound.index != index) {
            self.receivers.remove(place);
            let socket = receiver(interface, v6).map_err(|error| match error {
                Errno::EADDRINUSE => {
                    format!("port {PORT} of {interface} is taken: another BFD daemon runs here")
                }
                other => format!("no socket to receive on {interface}: {}", other.desc()),
            })?;
            self.receivers.insert(place.clone(), Bound { socket, index });
            self.problems.remove(key);
        }
        if self.senders.get(&discriminator).is_none_or(|bound| bound.index != index) {
            let random = &mut self.random;
            let socket = sender(interface, v6, random)
                .map_err(|error| format!("no socket to send on {interface}: {}", error.desc()))?;
            self.senders.insert(discriminator, Bound { socket, index });
            self.problems.remove(key);
        }
        Ok(())
    }

    /// Why a session cannot send or receive.
    pub(crate) fn problem(&self, key: &Key) -> Option<String> {
        self.problems.get(key).cloned()
    }

    /// Sends; says whether the session's problem, or the lack of one, is news.
    pub(crate) fn send(&mut self, outgoing: &Outgoing) -> bool {
        let Some(bound) = self.senders.get(&outgoing.discriminator) else { return false };
        let bytes = outgoing.packet.encode();
        match send_packet(bound, outgoing.local, outgoing.key.remote, &bytes) {
            Ok(()) => self.problems.remove(&outgoing.key).is_some(),
            Err(error) => {
                let words = format!(
                    "packets cannot be sent from {} on {}: {}",
                    outgoing.local,
                    outgoing.key.interface,
                    error.desc()
                );
                self.problems.insert(outgoing.key.clone(), words.clone()) != Some(words)
            }
        }
    }

    /// Sockets to be waited for.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.receivers.values().map(|bound| bound.socket.as_fd())
    }

    /// Takes what has come in on the `at`-th of [`Sockets::descriptors`].
    pub(crate) fn receive(&self, at: usize, mut take: impl FnMut(Datagram<'_>)) {
        let Some(((interface, _), bound)) = self.receivers.iter().nth(at) else { return };
        for _ in 0..DATAGRAMS_MAX {
            let mut bytes = [0; PACKET_BYTES_MAX];
            let mut space = nix::cmsg_space!(i32, i32);
            let mut slices = [IoSliceMut::new(&mut bytes)];
            let message = recvmsg::<SockaddrStorage>(
                bound.socket.as_raw_fd(),
                &mut slices,
                Some(&mut space),
                MsgFlags::empty(),
            );
            // Nothing more, or an error of an earlier packet (the neighbour's port was closed): the next one counts.
            let Ok(message) = message else { return };
            let source = message.address.and_then(|address| {
                let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
            });
            let hop_limit = message.cmsgs().ok().and_then(|mut parts| {
                parts.find_map(|part| match part {
                    ControlMessageOwned::Ipv4Ttl(ttl) | ControlMessageOwned::Ipv6HopLimit(ttl) => {
                        u8::try_from(ttl).ok()
                    }
                    _ => None,
                })
            });
            let length = message.bytes;
            if let Some(source) = source {
                take(Datagram {
                    interface,
                    source,
                    hop_limit,
                    bytes: &bytes[..length.min(PACKET_BYTES_MAX)],
                });
            }
        }
    }
}

fn on_interface(interface: &str, v6: bool) -> Result<OwnedFd, Errno> {
    let family = if v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Datagram, flags, None)?;
    setsockopt(&socket, sockopt::BindToDevice, &OsString::from(interface))?;
    if v6 {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    Ok(socket)
}

fn bind_port(socket: &OwnedFd, v6: bool, port: u16) -> Result<(), Errno> {
    if v6 {
        bind(socket.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0)))
    } else {
        bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))
    }
}

fn receiver(interface: &str, v6: bool) -> Result<OwnedFd, Errno> {
    let socket = on_interface(interface, v6)?;
    if v6 {
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
    }
    bind_port(&socket, v6, PORT)?;
    Ok(socket)
}

fn sender(interface: &str, v6: bool, random_state: &mut u64) -> Result<OwnedFd, Errno> {
    let socket = on_interface(interface, v6)?;
    if v6 {
        setsockopt(&socket, sockopt::Ipv6Ttl, &i32::from(HOP_LIMIT))?;
        setsockopt(&socket, sockopt::Ipv6TClass, &TRAFFIC_CLASS)?;
    } else {
        setsockopt(&socket, sockopt::Ipv4Ttl, &i32::from(HOP_LIMIT))?;
        setsockopt(&socket, sockopt::Ipv4Tos, &TRAFFIC_CLASS)?;
    }
    let count = u64::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
    let mut last = Errno::EADDRINUSE;
    for _ in 0..PORTS_TRIED_MAX {
        let port = SOURCE_PORTS.start() + (random(random_state) % count) as u16;
        match bind_port(&socket, v6, port) {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The source address goes with each packet: it may come later than the socket, and come again after a link was down.
fn send_packet(bound: &Bound, local: IpAddr, remote: IpAddr, bytes: &[u8]) -> Result<(), Errno> {
    let slices = [IoSlice::new(bytes)];
    let descriptor = bound.socket.as_raw_fd();
    match (local, remote) {
        (IpAddr::V6(local), IpAddr::V6(remote)) => {
            let source = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: local.octets() },
                ipi6_ifindex: bound.index,
            };
            let to = SockaddrIn6::from(SocketAddrV6::new(remote, PORT, 0, bound.index));
            sendmsg(
                descriptor,
                &slices,
                &[ControlMessage::Ipv6PacketInfo(&source)],
                MsgFlags::empty(),
                Some(&to),
            )?;
        }
        (IpAddr::V4(local), IpAddr::V4(remote)) => {
            let source = libc::in_pktinfo {
                ipi_ifindex: bound.index.cast_signed(),
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(local.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let to = SockaddrIn::from(SocketAddrV4::new(remote, PORT));
            sendmsg(
                descriptor,
                &slices,
                &[ControlMessage::Ipv4PacketInfo(&source)],
                MsgFlags::empty(),
                Some(&to),
            )?;
        }
        _ => return Err(Errno::EAFNOSUPPORT),
    }
    Ok(())
}
