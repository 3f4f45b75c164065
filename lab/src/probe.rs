//! Packets between hosts at a fixed pace, each lost one counted and placed in time.
//!
//! One UDP socket per pair and end, made inside the hosts' namespaces, from loopback to loopback. One thread sends
//! for all pairs, one thread per pair receives. It never asks an agent or a controller.

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a receiver waits for stragglers after the last packet was sent.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// A probe run ends by itself after this many rounds: about ten minutes at 1 ms.
const ROUNDS_MAX: usize = 600_000;

/// One direction between two hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Namespace of the sender.
    pub from_netns: String,
    /// Its loopback address.
    pub from: IpAddr,
    /// Namespace of the receiver.
    pub to_netns: String,
    /// Its loopback address.
    pub to: IpAddr,
}

/// Probes at work.
#[derive(Debug)]
pub struct Probes {
    stop: Arc<AtomicBool>,
    began: Instant,
    sender: JoinHandle<Vec<Duration>>,
    receivers: Vec<JoinHandle<Vec<bool>>>,
    pairs: Vec<Pair>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the first packet was due.
    pub began: Instant,
    /// One per pair.
    pub pairs: Vec<PairReport>,
}

/// One pair's packets.
#[derive(Clone, Debug)]
pub struct PairReport {
    /// The pair.
    pub pair: Pair,
    /// Packets sent.
    pub sent: usize,
    /// Packets that never arrived, in runs.
    pub lost: Vec<LostRun>,
}

/// Consecutive lost packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostRun {
    /// When the first was sent, after [`Report::began`].
    pub after: Duration,
    /// How many.
    pub packets: usize,
}

impl Report {
    /// Lost packets of all pairs.
    pub fn lost(&self) -> usize {
        self.pairs.iter().map(PairReport::lost_packets).sum()
    }

    /// Sent packets of all pairs.
    pub fn sent(&self) -> usize {
        self.pairs.iter().map(|pair| pair.sent).sum()
    }

    /// One line per pair that lost something.
    pub fn losses(&self) -> String {
        let bad = self.pairs.iter().filter(|pair| !pair.lost.is_empty());
        bad.map(|p| {
            format!("{} -> {}: {} of {} lost {:?}", p.pair.from, p.pair.to, p.lost_packets(), p.sent, p.lost)
        })
        .collect::<Vec<_>>()
        .join("\n")
    }
}

impl PairReport {
    /// Lost packets.
    pub fn lost_packets(&self) -> usize {
        self.lost.iter().map(|run| run.packets).sum()
    }
}

/// Runs `act` on a thread of its own inside a named network namespace (as made by `ip netns add`).
pub fn in_netns<T: Send>(name: &str, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = format!("/run/netns/{name}");
    let namespace =
        File::open(&path).with_context(|| format!("there is no network namespace {name} ({path})"))?;
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || {
            setns(namespace, CloneFlags::CLONE_NEWNET)
                .context("entering the network namespace needs root")?;
            act()
        });
        inside.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread inside {name} panicked")))
    })
}

impl Probes {
    /// Starts to send a packet per pair and `interval`.
    pub fn start(pairs: Vec<Pair>, interval: Duration) -> Result<Probes> {
        let mut outgoing = Vec::new();
        let mut incoming = Vec::new();
        for pair in &pairs {
            let receiver = in_netns(&pair.to_netns, || bound(pair.to))?;
            receiver.set_read_timeout(Some(Duration::from_millis(50)))?;
            let to = SocketAddr::new(pair.to, receiver.local_addr()?.port());
            outgoing.push((in_netns(&pair.from_netns, || bound(pair.from))?, to));
            incoming.push(receiver);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let sending_done = Arc::new(AtomicBool::new(false));
        let receivers = incoming
            .into_iter()
            .map(|socket| {
                let done = sending_done.clone();
                std::thread::spawn(move || receive(&socket, &done))
            })
            .collect();
        let began = Instant::now();
        let (stopping, done) = (stop.clone(), sending_done);
        let sender = std::thread::spawn(move || {
            let times = send(&outgoing, began, interval, &stopping);
            done.store(true, Ordering::Release);
            times
        });
        Ok(Probes { stop, began, sender, receivers, pairs })
    }

    /// Stops sending, waits for stragglers and counts.
    pub fn stop(self) -> Result<Report> {
        self.stop.store(true, Ordering::Release);
        let panicked = |_| anyhow::anyhow!("a probe thread panicked");
        let times = self.sender.join().map_err(panicked)?;
        let mut reports = Vec::new();
        for (pair, receiver) in self.pairs.into_iter().zip(self.receivers) {
            let arrived = receiver.join().map_err(panicked)?;
            let lost = lost_runs(&times, &arrived);
            reports.push(PairReport { pair, sent: times.len(), lost });
        }
        Ok(Report { began: self.began, pairs: reports })
    }
}

fn bound(address: IpAddr) -> Result<UdpSocket> {
    UdpSocket::bind((address, 0)).with_context(|| format!("binding a probe to {address}"))
}

/// Sends the round's number to every receiver, round after round; returns when each round was sent. A send that
/// fails (no route) is a lost packet, nothing else.
fn send(
    sockets: &[(UdpSocket, SocketAddr)],
    began: Instant,
    interval: Duration,
    stop: &AtomicBool,
) -> Vec<Duration> {
    let mut times = Vec::new();
    while !stop.load(Ordering::Acquire) && times.len() < ROUNDS_MAX {
        let due = interval * u32::try_from(times.len()).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        let round = (times.len() as u64).to_be_bytes();
        times.push(began.elapsed());
        for (socket, to) in sockets {
            let _ = socket.send_to(&round, to);
        }
    }
    times
}

/// Which rounds arrived; ends when nothing came for a while after the last was sent.
fn receive(socket: &UdpSocket, done: &AtomicBool) -> Vec<bool> {
    let mut arrived = Vec::new();
    let mut quiet_since = None;
    loop {
        let mut round = [0u8; 8];
        match socket.recv_from(&mut round) {
            Ok((8, _)) => {
                quiet_since = None;
                let round = usize::try_from(u64::from_be_bytes(round)).unwrap_or(ROUNDS_MAX);
                if round < ROUNDS_MAX {
                    if arrived.len() <= round {
                        arrived.resize(round + 1, false);
                    }
                    arrived[round] = true;
                }
            }
            _ if done.load(Ordering::Acquire) => {
                let since = *quiet_since.get_or_insert_with(Instant::now);
                if since.elapsed() > STRAGGLERS {
                    return arrived;
                }
            }
            _ => {}
        }
    }
}

fn lost_runs(times: &[Duration], arrived: &[bool]) -> Vec<LostRun> {
    let mut runs: Vec<LostRun> = Vec::new();
    let mut last_lost = None;
    for (round, after) in times.iter().enumerate() {
        if arrived.get(round).copied().unwrap_or(false) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if last_lost.is_some_and(|last| last + 1 == round) => run.packets += 1,
            _ => runs.push(LostRun { after: *after, packets: 1 }),
        }
        last_lost = Some(round);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_packets_come_in_runs_with_their_time() {
        let times: Vec<Duration> = (0..6).map(Duration::from_millis).collect();
        let arrived = [true, false, false, true, false];
        let ms = Duration::from_millis;
        let expected = vec![LostRun { after: ms(1), packets: 2 }, LostRun { after: ms(4), packets: 2 }];
        assert_eq!(lost_runs(&times, &arrived), expected);
        assert_eq!(lost_runs(&times, &[true; 6]), vec![]);
    }
}
