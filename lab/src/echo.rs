//! Does every host reach every other, there and back? A datagram per ordered pair and family, loopback to loopback,
//! answered by the far host's socket.

use crate::probe::in_netns;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Attempts per pair: the first packets may wait for a neighbour to be resolved.
const ROUNDS: u32 = 5;
/// How long a round waits for what is missing.
const ROUND_MAX: Duration = Duration::from_millis(400);

/// One end.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Name of the host.
    pub host: String,
    /// Its namespace.
    pub netns: String,
    /// Its loopback address.
    pub address: IpAddr,
}

/// (from, to) -> whether an answer came.
pub type Reached = BTreeMap<(String, String), bool>;

/// Asks every ordered pair of different hosts; all endpoints are of one family.
pub fn every_pair(endpoints: &[Endpoint]) -> Result<Reached> {
    let mut sockets = Vec::new();
    for endpoint in endpoints {
        let socket = in_netns(&endpoint.netns, || {
            UdpSocket::bind((endpoint.address, 0))
                .with_context(|| format!("{} does not have its loopback {}", endpoint.host, endpoint.address))
        });
        let socket = match socket {
            Ok(socket) => {
                socket.set_nonblocking(true)?;
                Some(socket)
            }
            // A host without its loopback reaches nobody; that is the finding, not an error.
            Err(_) => None,
        };
        sockets.push(socket);
    }
    let mut answered = vec![vec![false; endpoints.len()]; endpoints.len()];
    for _ in 0..ROUNDS {
        ask(endpoints, &sockets, &answered);
        let deadline = Instant::now() + ROUND_MAX;
        while Instant::now() < deadline && !complete(&answered) {
            if !listen(&sockets, &mut answered) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if complete(&answered) {
            break;
        }
    }
    let mut reached = Reached::new();
    for (from, row) in answered.iter().enumerate() {
        for (to, answered) in row.iter().enumerate().filter(|(to, _)| *to != from) {
            reached.insert((endpoints[from].host.clone(), endpoints[to].host.clone()), *answered);
        }
    }
    Ok(reached)
}

fn complete(answered: &[Vec<bool>]) -> bool {
    answered.iter().enumerate().all(|(from, row)| row.iter().enumerate().all(|(to, ok)| *ok || from == to))
}

fn ask(endpoints: &[Endpoint], sockets: &[Option<UdpSocket>], answered: &[Vec<bool>]) {
    for (from, socket) in sockets.iter().enumerate() {
        for (to, target) in sockets.iter().enumerate() {
            let (Some(socket), Some(target)) = (socket, target) else { continue };
            let Ok(port) = target.local_addr().map(|address| address.port()) else { continue };
            if from != to && !answered[from][to] {
                let question =
                    [b"ask".as_slice(), &(from as u32).to_be_bytes(), &(to as u32).to_be_bytes()].concat();
                // No route is an answer that never comes.
                let _ = socket.send_to(&question, SocketAddr::new(endpoints[to].address, port));
            }
        }
    }
}

/// Whether anything came in.
fn listen(sockets: &[Option<UdpSocket>], answered: &mut [Vec<bool>]) -> bool {
    let mut any = false;
    for (own, socket) in sockets.iter().enumerate() {
        let Some(socket) = socket else { continue };
        loop {
            let mut bytes = [0; 11];
            let (length, sender) = match socket.recv_from(&mut bytes) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP error that came back for an earlier send.
                Err(_) => continue,
            };
            any = true;
            let number = |at: usize| {
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
            };
            let (from, to) = (number(3), number(7));
            if length != bytes.len() || from >= answered.len() || to >= answered.len() {
                continue;
            }
            if bytes.starts_with(b"ask") && to == own {
                let answer = [b"yes".as_slice(), &bytes[3..]].concat();
                let _ = socket.send_to(&answer, sender);
            } else if bytes.starts_with(b"yes") && from == own {
                answered[from][to] = true;
            }
        }
    }
    any
}
