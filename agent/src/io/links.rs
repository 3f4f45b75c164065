//! Kernel events, in the order in which the kernel made them: one socket for all kinds. They are hints: the audit is the truth
//! behind them, and lost ones mean "read everything".
//!
//! Left out: echoes of what the agent's own writes did (each carries the number of the socket that asked), and routes that are
//! neither ours nor in a place of ours (another routing daemon's table may change all day).

use crate::core::fights::Who;
use crate::core::mirror::{Change, Noticed};
use crate::io::netlink::{Said, drop_own_echo, said};
use futures::FutureExt;
use nix::sys::socket::{setsockopt, sockopt};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::collections::BTreeMap;
use std::io;
use std::time::Instant;
use tokio::sync::mpsc;

/// Room for bursts: 100,000 route events and more.
const SOCKET_BYTES: usize = 32 << 20;
/// One receive: an event is one message, and a group of a thousand legs has 8 KiB.
const EVENTS_BYTES: usize = 64 << 10;
/// Events told at once.
const BATCH_MAX: usize = 256;
/// `RTNLGRP_*` (`linux/rtnetlink.h`): links, neighbours, addresses, routes, rules of both families, settings of
/// interfaces of both families, nexthop objects.
const GROUPS: [u32; 11] = [1, 3, 5, 7, 8, 9, 11, 19, 24, 25, 32];

/// Tells of changes until the kernel or the receiver goes away. `own_ports` are the numbers of the sockets that write; the
/// first of them writes the most. Times are told in microseconds since `began`.
///
/// # Errors
/// In words: the event socket could not be opened, or died.
pub async fn watch(
    own_ports: Vec<u32>,
    began: Instant,
    out: mpsc::Sender<Vec<Noticed>>,
) -> Result<(), String> {
    let mut socket = open(own_ports.first().copied())
        .map_err(|error| format!("no socket for kernel events ({error}): the agent needs CAP_NET_ADMIN"))?;
    let mut buffer = Vec::with_capacity(EVENTS_BYTES);
    loop {
        let mut all = receive(&mut socket, &mut buffer, &own_ports).await?;
        // What has come in the meantime is told together.
        while all.len() < BATCH_MAX {
            match receive(&mut socket, &mut buffer, &own_ports).now_or_never() {
                Some(more) => all.extend(more?),
                None => break,
            }
        }
        if all.is_empty() {
            continue;
        }
        let heard_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if out.send(named(all, heard_us)).await.is_err() {
            return Ok(());
        }
    }
}

fn open(own_port: Option<u32>) -> io::Result<TokioSocket> {
    let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
    socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
    setsockopt(socket.socket_ref(), sockopt::RcvBufForce, &SOCKET_BYTES)?;
    if let Some(port) = own_port {
        // Without it echoes are only read and passed over.
        let _ = drop_own_echo(socket.socket_ref(), port);
    }
    for group in GROUPS {
        socket.socket_mut().add_membership(group)?;
    }
    Ok(socket)
}

async fn receive(socket: &mut TokioSocket, buffer: &mut Vec<u8>, own: &[u32]) -> Result<Vec<Said>, String> {
    buffer.clear();
    match socket.recv(buffer).await {
        Ok(_) => Ok(said(buffer, own)),
        // Events were lost, and nobody knows which.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
            Ok(vec![Said { change: Change::Lost, port: 0, protocol: None }])
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
        Err(error) => Err(format!("the socket for kernel events died: {error}")),
    }
}

/// Adds whose hand it was. A netlink socket's number is, by habit of the kernel, that of the process that opened it first:
/// asked at once, since many a process ends right after.
fn named(all: Vec<Said>, heard_us: u64) -> Vec<Noticed> {
    let mut processes: BTreeMap<u32, Option<String>> = BTreeMap::new();
    let mut process = |port: u32| {
        let name = || {
            let name = std::fs::read_to_string(format!("/proc/{port}/comm")).ok()?;
            Some(name.trim().to_string())
        };
        processes.entry(port).or_insert_with(|| (port != 0).then(name).flatten()).clone()
    };
    let one = |Said { change, port, protocol }| {
        let who = match port {
            0 => Who::default(),
            port => Who { port, process: process(port), protocol },
        };
        Noticed { change, who, heard_us }
    };
    all.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::namespace::{in_namespace, ip};
    use std::time::Duration;

    const OWN_PORT: u32 = 4_711;

    /// Does the act again and again until it is told: the watcher listens only from some moment on.
    async fn told(
        changes: &mut mpsc::Receiver<Vec<Noticed>>,
        wanted: impl Fn(&Change) -> bool,
        act: &str,
    ) -> Noticed {
        loop {
            ip(act);
            while let Ok(Some(batch)) = tokio::time::timeout(Duration::from_millis(50), changes.recv()).await
            {
                if let Some(noticed) = batch.into_iter().find(|noticed| wanted(&noticed.change)) {
                    return noticed;
                }
            }
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), test).await }).unwrap();
    }

    #[test]
    fn what_another_touches_is_told_by_name_and_what_is_none_of_our_business_is_not() {
        in_namespace("what_another_touches_is_told", || {
            run(async {
                let (sender, mut changes) = mpsc::channel(64);
                tokio::spawn(watch(vec![OWN_PORT], Instant::now(), sender));
                told(&mut changes, |change| matches!(change, Change::Link { .. }), "link set eth1 alias one")
                    .await;
                ip("nexthop add id 1526726657 via fe80::9 dev eth1 proto 91");
                ip("nexthop add id 77 via fe80::9 dev eth1");
                ip("route add 203.0.113.0/24 nhid 77 metric 20");
                ip("route add 198.51.100.0/24 nhid 1526726657 metric 300 proto 91");
                ip("route del 198.51.100.0/24 metric 300");
                ip("nexthop del id 77");
                ip("nexthop del id 1526726657");
                let mut seen = Vec::new();
                while !seen.contains(&Change::NexthopGone(0x5B00_0001)) {
                    seen.extend(changes.recv().await.unwrap().into_iter().map(|noticed| noticed.change));
                }
                let routes: Vec<bool> = (seen.iter())
                    .filter_map(|change| match change {
                        Change::Route { key, value, .. } if key.metric == 300 => Some(value.is_some()),
                        Change::Route { key, .. } => panic!("{key:?}"),
                        _ => None,
                    })
                    .collect();
                assert_eq!(routes, [true, false]);
                assert!(
                    !seen.contains(&Change::NexthopGone(77)) && !seen.contains(&Change::Lost),
                    "{seen:?}"
                );
            });
        });
    }

    #[test]
    fn a_lost_carrier_and_an_address_that_goes_are_told() {
        in_namespace("a_lost_carrier_is_told", || {
            run(async {
                let (sender, mut changes) = mpsc::channel(64);
                tokio::spawn(watch(vec![OWN_PORT], Instant::now(), sender));
                told(&mut changes, |change| matches!(change, Change::Link { .. }), "link set eth1 alias one")
                    .await;
                let lost = |change: &Change| {
                    *change == Change::Link { interface: "eth2".to_string(), carrier: false }
                };
                told(&mut changes, lost, "link set far2 down").await;
                let address = "192.0.2.1".parse().unwrap();
                ip("addr add 192.0.2.1/24 dev eth1");
                ip("addr del 192.0.2.1/24 dev eth1");
                let mut gone = None;
                while gone.is_none() {
                    let batch = changes.recv().await.unwrap();
                    gone = batch.into_iter().find(|noticed| noticed.change == Change::AddressGone(address));
                }
                assert_ne!(gone.unwrap().who.port, 0, "the one who did it has a number");
            });
        });
    }
}
