//! Kernel events. They are hints: what they announce is read again, and lost ones only mean "look again".

use futures::StreamExt;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::AsyncSocket;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;

/// Room for bursts: 100,000 route events and more.
const SOCKET_BYTES: usize = 32 << 20;

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Interfaces: read the links at once.
    Links,
    /// Addresses, routes or other objects, or events were lost: look at everything soon.
    Objects,
}

/// Tells of changes until the kernel or the receiver goes away.
///
/// # Errors
/// In words: the event socket could not be opened, or died.
pub async fn watch(out: mpsc::Sender<Change>) -> Result<(), String> {
    let groups = [
        MulticastGroup::Link,
        MulticastGroup::Ipv4Ifaddr,
        MulticastGroup::Ipv6Ifaddr,
        MulticastGroup::Ipv4Route,
        MulticastGroup::Ipv6Route,
    ];
    let (mut connection, _handle, mut events) = rtnetlink::new_multicast_connection(&groups)
        .map_err(|error| format!("no socket for kernel events ({error}): the agent needs CAP_NET_ADMIN"))?;
    setsockopt(connection.socket_mut().socket_ref(), sockopt::RcvBufForce, &SOCKET_BYTES)
        .map_err(|error| format!("the socket for kernel events stays small: {error}"))?;
    let pump = tokio::spawn(connection);
    while let Some((message, _)) = events.next().await {
        let change = match message.payload {
            NetlinkPayload::InnerMessage(
                RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_),
            ) => Change::Links,
            _ => Change::Objects,
        };
        // A full queue already holds a reason to look at everything; a link event waits for its place.
        let sent = match change {
            Change::Links => out.send(change).await.is_ok(),
            Change::Objects => !matches!(out.try_send(change), Err(mpsc::error::TrySendError::Closed(_))),
        };
        if !sent {
            break;
        }
    }
    pump.abort();
    if out.is_closed() { Ok(()) } else { Err("the socket for kernel events was closed".to_string()) }
}
