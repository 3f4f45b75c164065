//! One case of `paths`, in a process of its own.

use crate::graphs;
use anyhow::{Context, Result, anyhow, bail, ensure};
use plan::check::{self, Checked};
use plan::incremental::{Incremental, Update};
use plan::order::order;
use plan::proof::{State, verify};
use plan::spf::{AllPairs, Cores, Line, UNREACHABLE};
use plan::{Facts, Network, Program};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use topology::{NodeIndex, Share, Topology};

/// What a case prints, ours and the peers' alike.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) samples_ms: Vec<f64>,
    pub(crate) next_hops: Option<u64>,
    pub(crate) distances: Option<u128>,
    pub(crate) peak_mb: f64,
}

/// `pairs:CORES:FILE`, `compile:NODES:PREFIXES:CORES`, `update:NODES`, `failure:NODES`, `death:NODES`,
/// `removal:NODES`, `check:NODES:PREFIXES`, `order:NODES:PREFIXES`,
/// `verify:NODES:PREFIXES`.
pub(crate) fn run(case: &str, rounds: usize) -> Result<String> {
    let parts: Vec<&str> = case.split(':').collect();
    let (samples_ms, sums) = match parts[..] {
        ["pairs", cores, file] => pairs(Path::new(file), self::cores(cores), rounds)?,
        ["compile", nodes, prefixes, cores] => {
            (compile(nodes.parse()?, prefixes.parse()?, self::cores(cores), rounds)?, None)
        }
        ["update", nodes] => (updates(nodes.parse()?, rounds)?, None),
        ["failure", nodes] => (failures(nodes.parse()?, rounds)?, None),
        ["death", nodes] => (deaths(nodes.parse()?, rounds)?, None),
        ["removal", nodes] => (removals(nodes.parse()?, rounds)?, None),
        ["check", nodes, prefixes] => (checks(nodes.parse()?, prefixes.parse()?, rounds)?, None),
        ["order", nodes, prefixes] => (orders(nodes.parse()?, prefixes.parse()?, rounds)?.0, None),
        ["verify", nodes, prefixes] => (orders(nodes.parse()?, prefixes.parse()?, rounds)?.1, None),
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

/// Links fail and return one by one: distances and next hops alone. The first sample is the computation from nothing.
fn updates(nodes: usize, rounds: usize) -> Result<Vec<f64>> {
    let (nodes, mut lines) = graphs::random(nodes);
    let (from_nothing, mut pairs) = timed(|| AllPairs::new(nodes, &lines, Cores::All));
    let mut samples = vec![from_nothing];
    for round in 0..rounds {
        let at = round * lines.len() / rounds;
        let alive = lines[at];
        let dead = Line { cost: UNREACHABLE, cost_back: UNREACHABLE, ..alive };
        for line in [dead, alive] {
            lines[at] = line;
            let (elapsed, changed) = timed(|| pairs.update(&lines, Cores::All));
            ensure!(changed.is_some(), "a link's failure was computed from nothing");
            samples.push(elapsed);
        }
    }
    Ok(samples)
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

/// All links of a node fail, which cuts it off, and return; the first sample is the computation from nothing.
fn deaths(nodes: usize, rounds: usize) -> Result<Vec<f64>> {
    let topology = topology(nodes, nodes)?;
    let links_of: Vec<BTreeSet<String>> = (0..rounds)
        .map(|round| {
            let node = NodeIndex((round * nodes / rounds) as u32);
            let own = topology.links.iter().filter(|link| link.ends.iter().any(|end| end.node == node));
            own.map(|link| link.id.clone()).collect()
        })
        .collect();
    let (from_nothing, mut state) = timed(|| Incremental::new(topology, Facts::default(), Cores::All));
    let mut samples = vec![from_nothing];
    for links_down in links_of {
        for facts in [Facts { links_down }, Facts::default()] {
            let (elapsed, update) = timed(|| state.take_facts(facts));
            ensure!(!update.from_nothing, "a node's death was computed from nothing");
            eprintln!("{elapsed:.1} ms, {} hosts differ", update.changed.len());
            samples.push(elapsed);
        }
    }
    Ok(samples)
}

/// A node leaves the file, and comes back to it; the first sample is the computation from nothing.
fn removals(nodes: usize, rounds: usize) -> Result<Vec<f64>> {
    let whole = topology(nodes, nodes)?;
    let (from_nothing, mut state) = timed(|| Incremental::new(whole.clone(), Facts::default(), Cores::All));
    let mut samples = vec![from_nothing];
    for round in 0..rounds {
        let gone = (round * nodes / rounds) as u32;
        let mut fewer = whole.clone();
        fewer.nodes.remove(gone as usize);
        fewer.links.retain(|link| link.ends.iter().all(|end| end.node.0 != gone));
        for end in fewer.links.iter_mut().flat_map(|link| &mut link.ends) {
            end.node.0 -= u32::from(end.node.0 > gone);
        }
        for topology in [fewer, whole.clone()] {
            let (elapsed, update) = timed(|| state.take_topology(topology, Facts::default()));
            ensure!(!update.from_nothing, "a node's removal was computed from nothing");
            eprintln!("{elapsed:.1} ms, {} hosts differ", update.changed.len());
            samples.push(elapsed);
        }
    }
    Ok(samples)
}

/// Links fail one by one: the check of what that changes. The first sample is the check of everything. The programs are
/// compiled before the clock starts.
fn checks(nodes: usize, prefixes: usize, rounds: usize) -> Result<Vec<f64>> {
    let topology = topology(nodes, prefixes)?;
    let up = Facts::default();
    let before = plan::compile(&topology, &up);
    let old = check::State { topology: &topology, facts: &up, network: &before, dead: None };
    let (whole, checked) = timed(|| Checked::new(old));
    let mut samples = vec![whole];
    for round in 0..rounds {
        let link = topology.links[round * topology.links.len() / rounds].id.clone();
        let facts = Facts { links_down: [link].into() };
        let after = plan::compile(&topology, &facts);
        let new = check::State { topology: &topology, facts: &facts, network: &after, dead: None };
        samples.push(timed(|| checked.follow(old, new)).0);
    }
    Ok(samples)
}

/// Links get a higher cost one by one: ordering the change into steps, and verifying the order's proof.
fn orders(nodes: usize, prefixes: usize, rounds: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut topology = topology(nodes, prefixes)?;
    // All steps that the order needs and none more: how large one may be is another question.
    topology.safety.max_hosts_per_step = Share::Percent(100);
    let facts = Facts::default();
    let before = plan::compile(&topology, &facts);
    let old = State { topology: &topology, network: &before };
    let (mut order_ms, mut verify_ms) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut changed = topology.clone();
        let link = round * topology.links.len() / rounds;
        changed.links[link].ends.iter_mut().for_each(|end| end.cost += 2);
        let after = plan::compile(&changed, &facts);
        let new = State { topology: &changed, network: &after };
        let (elapsed, plan) = timed(|| order(Some(old), new, &facts, &changed.safety));
        order_ms.push(elapsed);
        let steps: Vec<&[(String, Arc<Program>)]> =
            plan.steps.iter().map(|step| step.programs.as_slice()).collect();
        let (elapsed, verdict) = timed(|| verify(Some(old), &steps, new, &facts, &plan.proof));
        verdict.map_err(|wrong| anyhow!("the proof is refused: {wrong}"))?;
        verify_ms.push(elapsed);
    }
    Ok((order_ms, verify_ms))
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
