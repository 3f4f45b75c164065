//! The agent's own code (`agent::io::netlink` through its `Kernel`) beside the bare sender: the same routes in the same
//! namespace layout, each with and without the sockets on which an agent listens to its kernel.

use super::Samples;
use super::bare::{Bare, Verb};
use super::ground::{self, GROUPS, NEXTHOPS, Size};
use super::watcher::{Watcher, What};
use super::wire::Route;
use crate::Figure;
use agent::core::kernel::{Op, PROTOCOL};
use agent::io::kernel::Kernel;
use agent::io::netlink::Netlink;
use anyhow::{Context, Result, anyhow, ensure};
use plan::objects::{GroupValue, RouteKey, RouteValue};
use plan::program::{METRIC_PRIMARY, Member, TABLE_MAIN};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// More than any case takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);
/// Operations in one call, as many as a large program has.
const MOVES_MIN: usize = 10;

/// Who writes, and who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The agent's code and the agent's listeners: what runs on a host.
    Ours,
    /// The agent's code alone.
    OursAlone,
    /// As on a host, and a stranger listens to all routes, as at the peers.
    OursWatched,
    /// The bare sender with the agent's listeners.
    Bare,
    /// The bare sender alone.
    BareAlone,
}

impl Subject {
    pub(super) const ALL: [Subject; 5] =
        [Subject::BareAlone, Subject::Ours, Subject::Bare, Subject::OursAlone, Subject::OursWatched];

    /// Its name in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Subject::Ours => "ballast",
            Subject::OursAlone => "ballast, no listener",
            Subject::OursWatched => "ballast, watched",
            Subject::Bare => "bare sender, same listeners",
            Subject::BareAlone => "bare sender",
        }
    }

    fn has_listeners(self) -> bool {
        !matches!(self, Subject::OursAlone | Subject::BareAlone)
    }
}

/// The sockets on which an agent listens, with the agent's own code behind them, on a thread of their own.
struct Listeners {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Listeners {
    fn start(own_port: u32) -> Result<Listeners> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let (changes, mut inbox) = mpsc::channel(64);
            runtime.block_on(async {
                let heard = async { while inbox.recv().await.is_some() {} };
                tokio::select! {
                    _ = agent::io::links::watch(vec![own_port], std::time::Instant::now(), changes) => {}
                    () = heard => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Listeners { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One subject's round: add, dump, replace, delete.
pub(super) fn measure(subject: Subject, size: Size, samples: &mut Samples) -> Result<()> {
    ground::links()?;
    ground::nexthops()?;
    match subject {
        Subject::Bare | Subject::BareAlone => measure_bare(subject, size, samples),
        Subject::Ours | Subject::OursAlone | Subject::OursWatched => measure_ours(subject, size, samples),
    }
}

/// A clock on the wall and one that only runs while this thread has a processor: the kernel does what a message asks for in the
/// sender's own time, so the second one compares senders also on a busy machine.
struct Stopwatch {
    began: Instant,
    processor_ns: u64,
}

impl Stopwatch {
    fn start() -> Result<Stopwatch> {
        Ok(Stopwatch { began: Instant::now(), processor_ns: processor_ns()? })
    }

    fn note(&self, samples: &mut Samples, case: &str, subject: Subject) -> Result<()> {
        let wall_ms = self.began.elapsed().as_secs_f64() * 1e3;
        let processor_ms = processor_ns()?.saturating_sub(self.processor_ns) as f64 / 1e6;
        samples.push(case, subject.name(), wall_ms);
        samples.push(&format!("{case}, processor time"), subject.name(), processor_ms);
        Ok(())
    }
}

/// This thread's time on a processor.
fn processor_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().context("schedstat")?.parse()?)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn measure_bare(subject: Subject, size: Size, samples: &mut Samples) -> Result<()> {
    let bare = Bare::open()?;
    let _listeners = subject.has_listeners().then(|| Listeners::start(bare.port())).transpose()?;
    for verb in Verb::ALL {
        let routes = size.prefixes().map(|prefix| Route {
            prefix,
            metric: METRIC_PRIMARY,
            protocol: PROTOCOL,
            way: (verb != Verb::Delete).then(|| (GROUPS[usize::from(verb == Verb::Replace)], size.source())),
        });
        let prebuilt = Bare::prebuild(routes, verb);
        let watch = Stopwatch::start()?;
        bare.send(&prebuilt)?;
        watch.note(samples, &verb.case(size), subject)?;
        if verb == Verb::Add {
            // Both families: a reading of the agent takes both.
            let watch = Stopwatch::start()?;
            let found = bare.dump(false)? + bare.dump(true)?;
            watch.note(samples, &format!("dump {size}"), subject)?;
            ensure!(found >= size.routes, "the kernel holds {found} of {} routes", size.routes);
        }
    }
    Ok(())
}

/// The operations that a reconciliation would give.
fn ops(size: Size, verb: Verb) -> Vec<Op> {
    let value = |group| RouteValue::Via { group, preferred_source: Some(size.source()), mtu_bytes: None };
    let keys = size.prefixes().map(|prefix| RouteKey { table: TABLE_MAIN, prefix, metric: METRIC_PRIMARY });
    keys.map(|key| match verb {
        Verb::Add => Op::PutRoute { replace: false, key, value: value(GROUPS[0]) },
        Verb::Replace => Op::PutRoute { replace: true, key, value: value(GROUPS[1]) },
        Verb::Delete => Op::DelRoute { key },
    })
    .collect()
}

fn open() -> Result<Netlink> {
    Netlink::open().map_err(|why| anyhow!(why))
}

fn carry_out(kernel: &mut Netlink, ops: &[Op]) -> Result<()> {
    let results = kernel.apply(ops);
    let refused = results.iter().find_map(|result| result.as_ref().err());
    ensure!(refused.is_none(), "the kernel refused an operation: {refused:?}");
    Ok(())
}

fn measure_ours(subject: Subject, size: Size, samples: &mut Samples) -> Result<()> {
    let mut kernel = open()?;
    let _listeners = subject.has_listeners().then(|| Listeners::start(kernel.port())).transpose()?;
    for verb in Verb::ALL {
        let ops = ops(size, verb);
        if subject == Subject::OursWatched {
            let what = if verb == Verb::Delete { What::Gone } else { What::New };
            let count = Watcher::open()?.count(what, size.routes, LIMIT);
            let began = Instant::now();
            carry_out(&mut kernel, &ops)?;
            let heard = count.finish()?;
            samples.push(&verb.case(size), subject.name(), (heard - began).as_secs_f64() * 1e3);
            continue;
        }
        let watch = Stopwatch::start()?;
        carry_out(&mut kernel, &ops)?;
        watch.note(samples, &verb.case(size), subject)?;
        drop(ops);
        if verb == Verb::Add {
            let watch = Stopwatch::start()?;
            let actual = kernel.read(&[]).map_err(|why| anyhow!(why))?;
            watch.note(samples, &format!("dump {size}"), subject)?;
            ensure!(actual.routes.len() == size.routes, "{} routes were read", actual.routes.len());
        }
    }
    Ok(())
}

/// All routes to another next hop and back: one message each time.
pub(super) fn moves(size: Size, rounds: usize) -> Result<Option<Figure>> {
    ground::links()?;
    ground::nexthops()?;
    let mut kernel = open()?;
    let _listeners = Listeners::start(kernel.port())?;
    carry_out(&mut kernel, &ops(size, Verb::Add))?;
    let mut samples = Vec::new();
    for round in 1..=rounds.max(MOVES_MIN) {
        let value = GroupValue::new(vec![Member { nexthop: NEXTHOPS[round % 2], weight: 1 }]);
        let op = Op::PutGroup { replace: true, id: GROUPS[0], value };
        let began = Instant::now();
        carry_out(&mut kernel, &[op])?;
        samples.push(milliseconds(began));
        // Not what the message said, but what the kernel does.
        ensure!(way(size)? == format!("eth{}", round % 2 + 1), "round {round}: the routes were not moved");
    }
    let floor_ms = if size.ipv6 { 0.4e-3 * size.routes as f64 } else { 1.0 };
    let case = format!("move {size} to another next hop");
    Ok(Figure::of(&case, Subject::Ours.name(), "ms", samples).map(|figure| figure.with_limit(floor_ms)))
}

/// The interface by which the kernel would send to the last of the prefixes.
fn way(size: Size) -> Result<String> {
    let last = size.prefixes().last().context("a route")?.ip().to_string();
    let output = std::process::Command::new("ip").args(["-j", "route", "get", &last]).output()?;
    let routes: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(routes[0]["dev"].as_str().context("a device")?.to_string())
}
