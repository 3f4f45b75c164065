//! Cases of the agent as a process: boot, restart over unchanged routes, drift, idling.

use super::agent_process::Home;
use super::bare::{Bare, Verb};
use super::ground::Size;
use super::wanted;
use super::watcher::{Watcher, What};
use super::wire::Route;
use crate::Figure;
use crate::space::in_fresh_namespace;
use agent::core::kernel::PROTOCOL;
use anyhow::{Context, Result, ensure};
use it::tracer::{Tracer, Writes};
use plan::program::METRIC_PRIMARY;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(120);
const REPAIR_MAX: Duration = Duration::from_secs(10);
const BALLAST: &str = "ballast";
/// Deletions between which the agent rests: repairs of a fight are held back on purpose.
const DRIFTS: usize = 20;
const DRIFT_REST: Duration = Duration::from_millis(1_500);
/// A full minute: the regular audit is part of idling.
const IDLE: Duration = Duration::from_secs(65);
const IDLE_QUICK: Duration = Duration::from_secs(15);
/// Bytes a route at the peak.
const MEMORY_MAX: f64 = 400.0;

pub(super) fn figures(rounds: usize, quick: bool, only: &str) -> Result<Vec<Figure>> {
    let hundred_thousand = Size { routes: 100_000, ipv6: false };
    let million = Size { routes: 1_000_000, ipv6: false };
    let few = rounds.min(super::LONG_ROUNDS_MAX);
    let restarted = if quick { hundred_thousand } else { million };
    let mut figures = Vec::new();
    if wanted(&format!("{hundred_thousand}: boot without a controller"), only) {
        figures.extend(boot(hundred_thousand, true, few)?);
    }
    if wanted(&format!("{restarted}: boot and restart"), only) {
        figures.extend(boot(restarted, false, 1)?);
        figures.extend(in_fresh_namespace(|| restart(restarted, few))?);
    }
    if wanted(&format!("{hundred_thousand}: drift and idling"), only) {
        figures.extend(in_fresh_namespace(|| drift_and_idling(hundred_thousand, quick))?);
    }
    Ok(figures)
}

/// From the start of the process to the kernel's last notification; memory at the peak.
fn boot(size: Size, second_routes: bool, rounds: usize) -> Result<Vec<Figure>> {
    let (mut samples, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        in_fresh_namespace(|| {
            let home = Home::new(size, second_routes)?;
            // Loopback routes are no host routes of these prefixes: the last notification is that of all others.
            let count = Watcher::open()?.count(What::New, home.routes, LIMIT);
            let began = Instant::now();
            let agent = home.start()?;
            samples.push((count.finish()? - began).as_secs_f64() * 1e3);
            home.wait_installed(LIMIT)?;
            memory.push(agent.peak_bytes()? as f64 / home.routes as f64);
            Ok(())
        })?;
    }
    let what = if second_routes { "routes, second ones counted" } else { "routes" };
    let time = Figure::of(&format!("boot of {size} {what}"), BALLAST, "ms", samples);
    let memory = Figure::of(&format!("boot of {size} {what}, peak"), BALLAST, "bytes a route", memory);
    let time = time.map(|figure| if size.routes <= 100_000 { figure.with_limit(1_000.0) } else { figure });
    Ok(time.into_iter().chain(memory.map(|figure| figure.with_limit(MEMORY_MAX))).collect())
}

/// Restarts over a kernel that holds everything: time until the agent knows that, writes seen by strace, memory.
fn restart(size: Size, rounds: usize) -> Result<Vec<Figure>> {
    let home = Home::new(size, false)?;
    let mut agent = home.start()?;
    home.wait_installed(LIMIT)?;
    let (mut samples, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        agent.kill();
        let began = Instant::now();
        agent = home.start()?;
        samples.push((home.wait_installed(LIMIT)? - began).as_secs_f64() * 1e3);
        memory.push(agent.peak_bytes()? as f64 / home.routes as f64);
    }
    agent.kill();
    let unchanged = traced_start(&home)?;
    // The control: the same tracer sees the one write of a restart with one route missing.
    delete(size.prefixes().nth(size.routes / 2).into_iter())?;
    let repaired = traced_start(&home)?;
    ensure!(repaired.total() > 0, "the tracer sees no write at all: its zero proves nothing");
    let case = format!("restart with {size} unchanged routes");
    let time = Figure::of(&case, BALLAST, "ms", samples).map(|figure| figure.with_limit(3_000.0));
    let peak = Figure::of(&format!("{case}, peak"), BALLAST, "bytes a route", memory);
    let writes = Figure::of(&format!("{case}, writes"), BALLAST, "writes", vec![unchanged.total() as f64]);
    let control = Figure::of(
        "control: the same restart with one route missing, writes",
        BALLAST,
        "writes",
        vec![repaired.total() as f64],
    );
    let peak = peak.map(|figure| figure.with_limit(MEMORY_MAX));
    let writes = writes.map(|figure| figure.with_limit(0.0));
    Ok(time.into_iter().chain(peak).chain(writes).chain(control).collect())
}

/// One start under strace until everything is installed; its writes.
fn traced_start(home: &Home) -> Result<Writes> {
    let command = home.command()?;
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let tracer = Tracer::launch(&words)?;
    let installed = home.wait_installed(LIMIT);
    let pid = home.pid();
    let writes = tracer.stop();
    // strace detaches and the agent lives on.
    if let Some(pid) = pid {
        crate::space::kill_and_wait(pid)?;
    }
    installed?;
    writes
}

/// A foreign hand takes routes away.
fn delete(prefixes: impl Iterator<Item = ipnetwork::IpNetwork>) -> Result<()> {
    let route = |prefix| Route { prefix, metric: METRIC_PRIMARY, protocol: PROTOCOL, way: None };
    Bare::open()?.send(&Bare::prebuild(prefixes.map(route), Verb::Delete))
}

fn drift_and_idling(size: Size, quick: bool) -> Result<Vec<Figure>> {
    let home = Home::new(size, false)?;
    let agent = home.start()?;
    home.wait_installed(LIMIT)?;
    std::thread::sleep(DRIFT_REST);
    let mut samples = Vec::new();
    let prefixes: Vec<_> = size.prefixes().step_by(size.routes / DRIFTS).take(DRIFTS).collect();
    for prefix in prefixes {
        let watcher = Watcher::open()?;
        let bare = Bare::open()?;
        let route = Route { prefix, metric: METRIC_PRIMARY, protocol: PROTOCOL, way: None };
        let prebuilt = Bare::prebuild(std::iter::once(route), Verb::Delete);
        let began = Instant::now();
        bare.send(&prebuilt)?;
        samples.push((watcher.wait_for(prefix, REPAIR_MAX)? - began).as_secs_f64() * 1e3);
        std::thread::sleep(DRIFT_REST);
    }
    let drift =
        Figure::of(&format!("one of {size} routes deleted, until it is back"), BALLAST, "ms", samples);
    let idle = if quick { IDLE_QUICK } else { IDLE };
    let before = agent.cpu()?;
    std::thread::sleep(idle);
    let share = (agent.cpu()? - before).as_secs_f64() / idle.as_secs_f64() * 100.0;
    let idling = Figure::of(&format!("idle with {size} routes"), BALLAST, "% of a core", vec![share]);
    let status = home.status().context("the agent answers")?;
    ensure!(status["objects"]["refused"] == 0, "objects were refused: {}", status["refused"]);
    let drift = drift.map(|figure| figure.with_limit(5.0));
    Ok(drift.into_iter().chain(idling.map(|figure| figure.with_limit(1.0))).collect())
}
