//! `scripts/bench NAME [--json]`: figures of the whole system, taken on this machine, peers beside it.
//!
//! Everything is measured from outside: packets, process memory, the time between a command and its effect. Figures
//! are medians with their range; machines are noisy, so quote ratios of one run.

#[cfg(feature = "lab")]
mod convergence;
mod graphs;
#[cfg(feature = "lab")]
mod main_job;
mod paths_case;
mod paths_job;
#[cfg(feature = "lab")]
mod routes;
#[cfg(feature = "lab")]
mod space;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use std::process::ExitCode;

/// Takes figures of the running system.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which set of figures.
    name: Name,
    /// Print the document `ballast.bench/v1` instead of a table.
    #[arg(long)]
    json: bool,
    /// Rounds of each repeated case; without it 10, and 20 cuts for `convergence`.
    #[arg(long)]
    rounds: Option<usize>,
    /// `routes`, `convergence`: fewer rounds and no million.
    #[arg(long)]
    quick: bool,
    /// `routes`, `convergence`: only the parts whose names, as they are printed while it works, contain this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// `paths`: also count instructions with callgrind.
    #[arg(long)]
    callgrind: bool,
    /// `paths`: take the cost curve instead, nodes against time and memory, as a table of tab-separated values.
    #[arg(long)]
    curve: bool,
    /// One case of `paths` in a process of its own, so that its memory is its own.
    #[arg(long, hide = true)]
    case: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// All shortest paths beside networkx, rustworkx, igraph and scipy; one link's failure; a large compilation.
    Paths,
    /// Apply to last acknowledgement, loss on a link cut and on a leader's death, memory, sizes.
    #[cfg(feature = "lab")]
    Main,
    /// Routes into the kernel beside a bare netlink sender, `ip -batch`, zebra and BIRD; an agent with many routes.
    #[cfg(feature = "lab")]
    Routes,
    /// Packets lost when a link goes and returns, beside FRR and BIRD on the same network.
    #[cfg(feature = "lab")]
    Convergence,
}

#[derive(Debug, Serialize)]
struct Document {
    schema: &'static str,
    name: String,
    machine: String,
    results: Vec<Figure>,
}

/// One case's figures.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    case: String,
    subject: String,
    unit: &'static str,
    n: usize,
    median: f64,
    min: f64,
    /// Nearest rank.
    p95: f64,
    max: f64,
    peer: Option<String>,
    ratio: Option<f64>,
    /// What is demanded, where something is.
    #[serde(skip_serializing_if = "Option::is_none")]
    floor: Option<Floor>,
}

/// A demand and whether the figure meets it.
#[derive(Clone, Debug, Serialize)]
struct Floor {
    demand: String,
    met: bool,
}

impl Figure {
    /// Figures of Ballast itself; no sample gives no figure.
    pub(crate) fn of(case: &str, subject: &str, unit: &'static str, mut samples: Vec<f64>) -> Option<Figure> {
        samples.sort_by(f64::total_cmp);
        let (min, max) = (*samples.first()?, *samples.last()?);
        let median = samples[samples.len() / 2];
        let p95 = samples[(samples.len() * 95).div_ceil(100).saturating_sub(1)];
        let (case, subject) = (case.to_string(), subject.to_string());
        Some(Figure {
            case,
            subject,
            unit,
            n: samples.len(),
            median,
            min,
            p95,
            max,
            peer: None,
            ratio: None,
            floor: None,
        })
    }

    /// The same beside another subject's median: how many times this one's that is.
    pub(crate) fn beside(mut self, peer: &str, median: f64) -> Figure {
        self.ratio = Some(median / self.median);
        self.peer = Some(peer.to_string());
        self
    }

    /// The ratio has to be at least this.
    pub(crate) fn with_ratio_floor(mut self, least: f64) -> Figure {
        let met = self.ratio.is_some_and(|ratio| ratio >= least);
        self.floor = Some(Floor { demand: format!("at least {least}x"), met });
        self
    }

    /// What was demanded, and that the 95th percentile lies below a number.
    pub(crate) fn with_p95_below(mut self, bound: f64) -> Figure {
        let met = self.p95 < bound;
        let before = self.floor.take();
        let demand = before.as_ref().map_or(String::new(), |floor| format!("{}, ", floor.demand));
        let demand = format!("{demand}p95 below {bound} {}", self.unit);
        self.floor = Some(Floor { demand, met: met && before.is_none_or(|floor| floor.met) });
        self
    }

    /// The median has to be at most this, in the figure's unit.
    pub(crate) fn with_limit(mut self, most: f64) -> Figure {
        self.floor =
            Some(Floor { demand: format!("at most {most} {}", self.unit), met: self.median <= most });
        self
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(text: &str) {
    println!("{text}");
}

fn run(arguments: &Arguments) -> Result<String> {
    let rounds = arguments.rounds.unwrap_or(10);
    if let Some(case) = &arguments.case {
        return paths_case::run(case, rounds);
    }
    if arguments.curve {
        return paths_job::curve();
    }
    let results = match arguments.name {
        Name::Paths => paths_job::figures(rounds, arguments.callgrind)?,
        #[cfg(feature = "lab")]
        Name::Main => main_job::figures(rounds)?,
        #[cfg(feature = "lab")]
        Name::Routes => routes::figures(rounds, arguments.quick, &arguments.only)?,
        #[cfg(feature = "lab")]
        Name::Convergence => {
            convergence::figures(arguments.rounds.unwrap_or(20), arguments.quick, &arguments.only)?
        }
    };
    let name = format!("{:?}", arguments.name).to_lowercase();
    let document = Document { schema: "ballast.bench/v1", name, machine: machine()?, results };
    if arguments.json {
        return Ok(serde_json::to_string_pretty(&document)?);
    }
    let mut lines = vec![document.machine.clone()];
    lines.push(format!(
        "{:<52} {:<30} {:>10} {:>10} {:>10} {:>10}  n",
        "case", "subject", "median", "min", "p95", "max"
    ));
    for figure in &document.results {
        let case = format!("{} ({})", figure.case, figure.unit);
        let numbers = [figure.median, figure.min, figure.p95, figure.max]
            .map(|number| format!("{number:>10.*}", if number < 10.0 { 3 } else { 1 }))
            .join(" ");
        let peer = match (&figure.peer, figure.ratio) {
            (Some(peer), Some(ratio)) => format!("  {ratio:.2}x {peer}"),
            _ => String::new(),
        };
        let floor = figure.floor.as_ref().map_or(String::new(), |floor| {
            format!("  [{}: {}]", floor.demand, if floor.met { "met" } else { "NOT met" })
        });
        lines.push(format!("{case:<52} {:<30} {numbers}  {}{peer}{floor}", figure.subject, figure.n));
    }
    Ok(lines.join("\n"))
}

/// Processor, cores, memory and kernel in one line.
fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism()?;
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let total = memory.lines().next().unwrap_or_default().replace("MemTotal:", "");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {cores} cores, {} memory, Linux {}", total.trim(), kernel.trim()))
}
