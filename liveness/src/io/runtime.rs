//! The one loop, in one thread: packets and wishes in, packets and reports out. No decision is taken here.

use crate::core::Micros;
use crate::core::control::{Report, Request, Wanted};
use crate::core::sessions::Sessions;
use crate::io::clients::Clients;
use crate::io::priority;
use crate::io::sockets::Sockets;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;
use ring::rand::{SecureRandom, SystemRandom};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Between two looks at interfaces and sockets, in microseconds.
const HOUSEKEEPING_US: u64 = 1_000_000;
/// Goodbyes are over by then, in microseconds, whatever the sessions' pace.
const FAREWELL_US_MAX: u64 = 2_000_000;

/// Runs until a signal ends it; then all sessions leave through administratively down.
///
/// # Errors
/// The control socket cannot be made, or the system gives no signals or randomness.
pub fn run(socket: &Path) -> Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    ends.thread_block().context("signals")?;
    let signals =
        SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).context("signals")?;
    let clients =
        Clients::bind(socket).with_context(|| format!("the control socket {}", socket.display()))?;
    let lacks = priority::acquire();
    lacks.iter().for_each(|lack| warn!("{lack}"));
    info!(socket = %socket.display(), "waits for an agent to say which sessions it wants");
    let mut shell = Shell {
        began: Instant::now(),
        sessions: Sessions::new(seed()?),
        sockets: Sockets::new(seed()?),
        clients,
        signals,
        lacks,
        housekeeping_at: Micros(0),
        ends_at: None,
    };
    while !shell.is_over() {
        let ready = shell.wait()?;
        shell.take(&ready);
    }
    info!("all sessions have left; the end");
    Ok(())
}

fn seed() -> Result<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("the system gives no randomness"))?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Which descriptors have something, by their places.
#[derive(Debug, Default)]
struct Ready {
    signal: bool,
    connection: bool,
    /// (place, to be read, to be written).
    clients: Vec<(usize, bool, bool)>,
    receivers: Vec<usize>,
}

struct Shell {
    began: Instant,
    sessions: Sessions,
    sockets: Sockets,
    clients: Clients,
    signals: SignalFd,
    lacks: Vec<String>,
    housekeeping_at: Micros,
    /// Set by a signal: over by then.
    ends_at: Option<Micros>,
}

impl Shell {
    fn now(&self) -> Micros {
        Micros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn is_over(&self) -> bool {
        self.ends_at.is_some_and(|at| self.now() >= at || self.sessions.keys().next().is_none())
    }

    /// Sleeps until something comes in or is due.
    fn wait(&self) -> Result<Ready> {
        let due = [self.sessions.next_deadline(), Some(self.housekeeping_at), self.ends_at];
        let due = due.into_iter().flatten().min().unwrap_or_default();
        let rest = Duration::from_micros(due.0.saturating_sub(self.now().0));
        let mut polled = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for (descriptor, writes) in self.clients.descriptors() {
            let more = if writes { PollFlags::POLLOUT } else { PollFlags::empty() };
            polled.push(PollFd::new(descriptor, PollFlags::POLLIN | more));
        }
        let first_receiver = polled.len();
        polled
            .extend(self.sockets.descriptors().map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)));
        match ppoll(&mut polled, Some(TimeSpec::from_duration(rest)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for packets"),
        }
        let mut ready = Ready::default();
        for (at, events) in polled.iter().enumerate().filter_map(|(at, one)| Some((at, one.revents()?))) {
            let writes = events.contains(PollFlags::POLLOUT);
            // An error or a hang-up is found by reading.
            let reads = !events.difference(PollFlags::POLLOUT).is_empty();
            match at {
                0 => ready.signal = reads,
                1 => ready.connection = reads,
                _ if at < first_receiver && (reads || writes) => ready.clients.push((at - 2, reads, writes)),
                _ if reads => ready.receivers.push(at - first_receiver),
                _ => {}
            }
        }
        Ok(ready)
    }

    fn take(&mut self, ready: &Ready) {
        let mut out = Vec::new();
        // Packets before time: after a stall of this process the proof of life is in the sockets already.
        for at in &ready.receivers {
            let (sessions, now) = (&mut self.sessions, self.began);
            self.sockets.receive(*at, |datagram| {
                let now = Micros(u64::try_from(now.elapsed().as_micros()).unwrap_or(u64::MAX));
                out.extend(sessions.receive(
                    now,
                    datagram.interface,
                    datagram.source,
                    datagram.hop_limit,
                    datagram.bytes,
                ));
            });
        }
        self.sessions.tick(self.now(), &mut out);
        let mut news = false;
        for outgoing in &out {
            news |= self.sockets.send(outgoing);
        }
        for (at, reads, writes) in &ready.clients {
            if *writes {
                self.clients.flush(*at);
            }
            if *reads {
                self.clients.read(*at).into_iter().for_each(|request| self.heed(*at, request));
            }
        }
        self.clients.sweep();
        if ready.connection {
            self.clients.accept();
        }
        if ready.signal {
            self.end();
        }
        let housekeeping = self.now() >= self.housekeeping_at;
        let changed = self.sessions.take_changed();
        if housekeeping || changed {
            self.housekeeping_at = self.now().after(HOUSEKEEPING_US);
            self.sockets.keep(self.sessions.keys());
        }
        if news || changed {
            let report = self.report();
            self.clients.tell(&report);
        }
    }

    fn heed(&mut self, client: usize, request: Request) {
        if let Request::Watch(wanted) = request {
            self.want(&wanted);
        }
        let report = self.report();
        self.clients.answer(client, &report);
    }

    fn want(&mut self, wanted: &Wanted) {
        if self.ends_at.is_some() {
            return;
        }
        info!(sessions = wanted.sessions.len(), "an agent says what it wants");
        self.sessions.want(self.now(), &wanted.sessions);
        self.sockets.keep(self.sessions.keys());
    }

    fn end(&mut self) {
        // Only that it came counts.
        let _ = self.signals.read_signal();
        let now = self.now();
        self.ends_at.get_or_insert(now.after(FAREWELL_US_MAX));
        self.sessions.want(now, &[]);
    }

    fn report(&self) -> Report {
        Report {
            sessions: self.sessions.report(self.now(), |key| self.sockets.problem(key)),
            dropped: self.sessions.dropped(),
            lacks: self.lacks.clone(),
        }
    }
}
