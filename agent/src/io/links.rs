//! Kernel events. They are hints: what they announce is read again, and lost ones only mean "look again".
//!
//! Left out: echoes of what the agent's own writes did (each carries the number of the socket that asked, and what was
//! written is read back anyway), and routes that are neither ours nor in a place of ours (another routing daemon's table
//! may change all day).

use crate::core::kernel::PROTOCOL;
use crate::core::ownership::id_is_ours;
use crate::io::netlink::{drop_own_echo, nexthops_in_events};
use futures::StreamExt;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use nix::sys::socket::{setsockopt, sockopt};
use plan::program::{METRIC_BACKUP, METRIC_PRIMARY};
use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::io;
use tokio::sync::mpsc;

/// Room for bursts: 100,000 route events and more.
const SOCKET_BYTES: usize = 32 << 20;
/// One receive: an event is one message, and a group of a thousand legs has 8 KiB.
const EVENTS_BYTES: usize = 64 << 10;
/// `RTNLGRP_NEXTHOP` (`linux/rtnetlink.h`).
const GROUP_NEXTHOP: u32 = 32;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Interfaces: read the links at once.
    Links,
    /// Addresses, routes, nexthop objects, or events were lost: look at everything soon.
    Objects,
}

/// Tells of changes until the kernel or the receiver goes away. `own_port` is the number of the socket that writes.
///
/// # Errors
/// In words: an event socket could not be opened, or died.
pub async fn watch(own_port: u32, out: mpsc::Sender<Change>) -> Result<(), String> {
    let (links, nexthops) = (links_addresses_routes(own_port, &out), nexthops(own_port, &out));
    tokio::select! {
        ended = links => ended,
        ended = nexthops => ended,
    }
}

fn no_socket(error: impl std::fmt::Display) -> String {
    format!("no socket for kernel events ({error}): the agent needs CAP_NET_ADMIN")
}

/// Whether the receiver is still there.
async fn tell(change: Change, out: &mpsc::Sender<Change>) -> bool {
    match change {
        Change::Links => out.send(change).await.is_ok(),
        // A full queue already holds a reason to look; a link event above waits for its place.
        Change::Objects => !matches!(out.try_send(change), Err(mpsc::error::TrySendError::Closed(_))),
    }
}

async fn links_addresses_routes(own_port: u32, out: &mpsc::Sender<Change>) -> Result<(), String> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (mut connection, _handle, mut events) =
        rtnetlink::new_multicast_connection(&groups).map_err(no_socket)?;
    setsockopt(connection.socket_mut().socket_ref(), sockopt::RcvBufForce, &SOCKET_BYTES)
        .map_err(no_socket)?;
    // Without it echoes are only read and passed over.
    let _ = drop_own_echo(connection.socket_mut().socket_ref(), own_port);
    let pump = tokio::spawn(connection);
    while let Some((message, _)) = events.next().await {
        let (links, objects) = meaning(&message, own_port);
        if links && !tell(Change::Links, out).await || objects && !tell(Change::Objects, out).await {
            break;
        }
    }
    pump.abort();
    if out.is_closed() { Ok(()) } else { Err("the socket for kernel events was closed".to_string()) }
}

/// Whether the links, and whether other objects, are to be looked at.
fn meaning(message: &NetlinkMessage<RouteNetlinkMessage>, own_port: u32) -> (bool, bool) {
    match &message.payload {
        // A link that lost its carrier and has it again when it is read has lost its next hops all the same.
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_)) => {
            (true, true)
        }
        NetlinkPayload::InnerMessage(_) if message.header.port_number == own_port => (false, false),
        NetlinkPayload::InnerMessage(
            RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
        ) => (false, concerns_us(route)),
        NetlinkPayload::InnerMessage(_) => (false, true),
        // Events were lost, and nobody knows which.
        _ => (true, true),
    }
}

/// Whether a route is ours or stands where one of ours could.
fn concerns_us(route: &RouteMessage) -> bool {
    let of_us = |attribute: &RouteAttribute| {
        matches!(attribute, RouteAttribute::Priority(METRIC_PRIMARY | METRIC_BACKUP))
    };
    u8::from(route.header.protocol) == PROTOCOL || route.attributes.iter().any(of_us)
}

/// Events of nexthop objects, which rtnetlink cannot read: where one goes, its routes go without an event of their own.
async fn nexthops(own_port: u32, out: &mpsc::Sender<Change>) -> Result<(), String> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE).map_err(no_socket)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0)).map_err(no_socket)?;
    socket.socket_mut().add_membership(GROUP_NEXTHOP).map_err(no_socket)?;
    setsockopt(socket.socket_ref(), sockopt::RcvBufForce, &SOCKET_BYTES).map_err(no_socket)?;
    let _ = drop_own_echo(socket.socket_ref(), own_port);
    let mut events = Vec::with_capacity(EVENTS_BYTES);
    loop {
        events.clear();
        let lost_or_ours = match socket.recv(&mut events).await {
            Ok(_) => nexthops_in_events(&events, own_port).any(id_is_ours),
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => false,
            Err(error) => return Err(format!("the socket for kernel events died: {error}")),
        };
        if lost_or_ours && !tell(Change::Objects, out).await {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::namespace::{in_namespace, ip};
    use netlink_packet_core::NetlinkHeader;
    use netlink_packet_route::AddressFamily;
    use netlink_packet_route::address::AddressMessage;
    use netlink_packet_route::link::LinkMessage;
    use netlink_packet_route::route::RouteProtocol;
    use std::time::Duration;

    const OWN_PORT: u32 = 4_711;
    const NOTHING: (bool, bool) = (false, false);
    const OBJECTS: (bool, bool) = (false, true);
    const ALL: (bool, bool) = (true, true);

    fn route(protocol: u8, metric: u32) -> RouteNetlinkMessage {
        let mut route = RouteMessage::default();
        route.header.address_family = AddressFamily::Inet;
        route.header.protocol = RouteProtocol::Other(protocol);
        route.attributes.push(RouteAttribute::Priority(metric));
        RouteNetlinkMessage::DelRoute(route)
    }

    #[test]
    fn only_what_concerns_us_and_is_not_our_own_doing_is_told() {
        let address = || RouteNetlinkMessage::NewAddress(AddressMessage::default());
        let link = || RouteNetlinkMessage::NewLink(LinkMessage::default());
        let cases = [
            (OWN_PORT, NetlinkPayload::InnerMessage(link()), ALL, "links are always read again"),
            (0, NetlinkPayload::InnerMessage(link()), ALL, "a flap that is over took the next hops along"),
            (0, NetlinkPayload::InnerMessage(address()), OBJECTS, "an address that another owner changed"),
            (OWN_PORT, NetlinkPayload::InnerMessage(address()), NOTHING, "our own address"),
            (7, NetlinkPayload::InnerMessage(route(91, 300)), OBJECTS, "our route, removed by another"),
            (OWN_PORT, NetlinkPayload::InnerMessage(route(91, 100)), NOTHING, "our own route"),
            (7, NetlinkPayload::InnerMessage(route(4, 100)), OBJECTS, "a foreign route in our place"),
            (7, NetlinkPayload::InnerMessage(route(186, 20)), NOTHING, "a routing daemon's own business"),
            (0, NetlinkPayload::Overrun(Vec::new()), ALL, "events were lost"),
        ];
        for (port, payload, expected, what) in cases {
            let mut header = NetlinkHeader::default();
            header.port_number = port;
            assert_eq!(meaning(&NetlinkMessage::new(header, payload), OWN_PORT), expected, "{what}");
        }
    }

    /// Does the act again and again until the wanted change is told: the watcher listens only from some moment on.
    async fn told(changes: &mut mpsc::Receiver<Change>, wanted: Change, act: &str) {
        loop {
            ip(act);
            let next = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await;
            if next == Ok(Some(wanted)) {
                return;
            }
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), test).await }).unwrap();
    }

    #[test]
    fn a_nexthop_of_our_range_that_another_touches_is_told() {
        in_namespace("a_nexthop_of_our_range", || {
            run(async {
                let (sender, mut changes) = mpsc::channel(64);
                tokio::spawn(async move { nexthops(OWN_PORT, &sender).await });
                told(
                    &mut changes,
                    Change::Objects,
                    "nexthop replace id 1526726657 via fe80::9 dev eth1 proto 91",
                )
                .await;
                while changes.try_recv().is_ok() {}
                ip("nexthop add id 77 via fe80::9 dev eth1");
                ip("nexthop del id 1526726657");
                assert_eq!(changes.recv().await, Some(Change::Objects));
                assert!(changes.try_recv().is_err(), "another owner's nexthop is none of our business");
            });
        });
    }

    #[test]
    fn a_lost_carrier_and_an_addresss_removal_are_told() {
        in_namespace("a_lost_carrier_is_told", || {
            run(async {
                let (sender, mut changes) = mpsc::channel(64);
                tokio::spawn(watch(OWN_PORT, sender));
                told(&mut changes, Change::Links, "link set eth1 alias one").await;
                ip("link set far2 down");
                while changes.recv().await != Some(Change::Links) {}
                ip("addr add 192.0.2.1/24 dev eth1");
                while changes.recv().await != Some(Change::Objects) {}
            });
        });
    }
}
