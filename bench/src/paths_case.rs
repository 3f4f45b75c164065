//! One case of `paths`, in a process of its own.

use crate::graphs;
use anyhow::{Context, Result, bail};
use plan::incremental::{Incremental, Update};
use plan::spf::{AllPairs, Cores};
use plan::{Facts, Network, Program};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;
use topology::Topology;

/// What a case prints, ours and the peers' alike.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) samples_ms: Vec<f64>,
    pub(crate) next_hops: Option<u64>,
    pub(crate) distances: Option<u128>,
    pub(crate) peak_mb: f64,
}

/// `pairs:CORES:FILE`, `compile:NODES:PREFIXES:CORES`, `failure:NODES`.
pub(crate) fn run(case: &str, rounds: usize) -> Result<String> {
    let parts: Vec<&str> = case.split(':').collect();
    let (samples_ms, sums) = match parts[..] {
        ["pairs", cores, file] => pairs(Path::new(file), self::cores(cores), rounds)?,
        ["compile", nodes, prefixes, cores] => {
            (compile(nodes.parse()?, prefixes.parse()?, self::cores(cores), rounds)?, None)
        }
        ["failure", nodes] => (failures(nodes.parse()?, rounds)?, None),
        _ => bail!("{case} is no case"),
    };
    let (next_hops, distances) = sums.unzip();
    Ok(serde_json::to_string(&Answer { samples_ms, next_hops, distances, peak_mb: peak_mb()? })?)
}

fn cores(text: &str) -> Cores {
    if text == "1" { Cores::One } else { Cores::All }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let result = work();
    (begin.elapsed().as_secs_f64() * 1e3, result)
}

type Samples = (Vec<f64>, Option<(u64, u128)>);

fn pairs(file: &Path, cores: Cores, rounds: usize) -> Result<Samples> {
    let networks = graphs::read(file)?;
    let mut samples = Vec::new();
    let mut sums = (0, 0);
    for _ in 0..rounds {
        let mut spent = 0.0;
        sums = (0, 0);
        for (nodes, lines) in &networks {
            let (elapsed, pairs) = timed(|| AllPairs::new(*nodes, lines, cores));
            spent += elapsed;
            sums.0 += pairs.next_hops_of_all_pairs();
            sums.1 += pairs.sum_of_distances();
        }
        samples.push(spent);
    }
    Ok((samples, Some(sums)))
}

fn topology(nodes: usize, prefixes: usize) -> Result<Topology> {
    let text = graphs::topology_text(&graphs::random(nodes), prefixes)?;
    let reading = topology::read("bench.yaml", text.as_bytes());
    let problem = || format!("{:?}", reading.diagnostics.first());
    reading.topology.clone().with_context(problem)
}

fn compile(nodes: usize, prefixes: usize, cores: Cores, rounds: usize) -> Result<Vec<f64>> {
    let topology = topology(nodes, prefixes)?;
    let compiled = || timed(|| plan::network::compile_on(&topology, &Facts::default(), cores));
    Ok((0..rounds).map(|_| compiled().0).collect())
}

/// Links fail and return one by one: paths, programs, digests and what differs between the programs. The first sample
/// is the computation from nothing.
fn failures(nodes: usize, rounds: usize) -> Result<Vec<f64>> {
    let topology = topology(nodes, nodes)?;
    let links: Vec<String> = topology.links.iter().map(|link| link.id.clone()).collect();
    let (from_nothing, mut state) = timed(|| Incremental::new(topology, Facts::default(), Cores::All));
    let mut samples = vec![from_nothing];
    for round in 0..rounds {
        let link = links[round * links.len() / rounds].clone();
        let facts = Facts { links_down: [link].into() };
        let (elapsed, routes) = timed(|| {
            let update = state.take_facts(facts);
            differing_routes(&update, state.network())
        });
        eprintln!("{round}: {elapsed:.1} ms, {routes} routes differ");
        samples.push(elapsed);
        state.take_facts(Facts::default());
    }
    Ok(samples)
}

fn differing_routes(update: &Update, network: &Network) -> usize {
    let pairs =
        update.changed.iter().filter_map(|(host, before)| Some((before.as_deref()?, network.host(host)?.0)));
    pairs.map(|(before, now)| differing(before, now)).sum()
}

/// Class routes that only one of both has.
fn differing(before: &Program, now: &Program) -> usize {
    let (mut old, mut new) = (before.classes.iter().peekable(), now.classes.iter().peekable());
    let mut count = 0;
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => old.cmp(new),
            (None, None) => return count,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
        };
        count += usize::from(order.is_ne());
        if order.is_le() {
            old.next();
        }
        if order.is_ge() {
            new.next();
        }
    }
}

fn peak_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}
