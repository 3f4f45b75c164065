//! Takes the time of ordering a change and of checking the order: `order_change [NODES] [PREFIXES_PER_NODE]`, 1,000 and 10 by
//! default.
//!
//! A ring with as many random chords as nodes, of which 21 links get a higher cost, one after the other, or go. The programs
//! are compiled before the clock starts. Processor time; of five runs the fastest.

#![allow(clippy::print_stdout)]

use plan::order::{Plan, order};
use plan::proof::{State, verify};
use plan::{Facts, Network, Program, compile};
use std::fmt::Write;
use std::sync::Arc;
use topology::{Share, Topology};

/// Runs of each change; the fastest counts.
const RUNS: usize = 5;

/// Processor time of this thread: what else the machine does counts little. Linux, proc_pid_schedstat.
fn processor_ms() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default() / 1e6
}

fn least<T>(run: impl Fn() -> T) -> (T, f64) {
    let start = processor_ms();
    let (mut found, mut least) = (run(), processor_ms() - start);
    for _ in 1..RUNS {
        let start = processor_ms();
        found = run();
        least = least.min(processor_ms() - start);
    }
    (found, least)
}

fn network(nodes: usize, prefixes: usize) -> Result<Topology, Box<dyn std::error::Error>> {
    let mut text = "version: 1\nname: random\nnodes:\n".to_string();
    for node in 0..nodes {
        let prefix = |at| {
            let index = node * prefixes + at;
            format!("10.{}.{}.{}/30", index / 16_384, index / 64 % 256, index % 64 * 4)
        };
        let (list, high, low) = ((0..prefixes).map(prefix).collect::<Vec<_>>(), node / 256, node % 256);
        writeln!(text, "  n{node}: {{loopbacks: [10.255.{high}.{low}], prefixes: [{}]}}", list.join(", "))?;
    }
    text.push_str("links:\n");
    let mut state = 1_u64;
    let mut random = |bound: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for link in 0..2 * nodes {
        let (a, b) = if link < nodes { (link, (link + 1) % nodes) } else { (random(nodes), random(nodes)) };
        if a != b {
            writeln!(text, "- {{endpoints: ['n{a}:e{link}a', 'n{b}:e{link}b'], cost: {}}}", 1 + random(3))?;
        }
    }
    let reading = topology::read("random.yaml", text.as_bytes());
    Ok(reading.topology.ok_or(format!("{:?}", reading.diagnostics))?)
}

/// Takes the times of one change; gives the plan as well.
fn one(old: &(Topology, Network), new: &(Topology, Network), facts: &Facts) -> (Plan, f64, f64) {
    let [before, after] = [old, new].map(|(topology, network)| State { topology, network });
    let (plan, order_ms) = least(|| order(Some(before), after, facts, &new.0.safety));
    let steps: Vec<&[(String, Arc<Program>)]> =
        plan.steps.iter().map(|step| step.programs.as_slice()).collect();
    let (verdict, verify_ms) = least(|| verify(Some(before), &steps, after, facts, &plan.proof));
    if let Err(wrong) = verdict {
        println!("refused: {wrong}");
    }
    (plan, order_ms, verify_ms)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |at: usize, default: usize| {
        std::env::args().nth(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let mut topology = network(number(1, 1_000)?, number(2, 10)?)?;
    // All steps that the order needs and none more: how large one may be is another question.
    topology.safety.max_hosts_per_step = Share::Percent(100);
    let facts = Facts::default();
    let old = (topology.clone(), compile(&topology, &facts));
    for kind in ["a cost up", "a link less"] {
        let (mut order_ms, mut verify_ms, mut steps, mut hosts) = (vec![], vec![], vec![], vec![]);
        for link in (0..topology.links.len()).step_by(topology.links.len() / 21) {
            let mut changed = topology.clone();
            match kind {
                "a cost up" => changed.links[link].ends.iter_mut().for_each(|end| end.cost += 2),
                _ => _ = changed.links.remove(link),
            }
            let network = compile(&changed, &facts);
            let (plan, order, verify) = one(&old, &(changed, network), &facts);
            order_ms.push(order);
            verify_ms.push(verify);
            steps.push(plan.steps.len() as f64);
            hosts.push(plan.steps.iter().map(|step| step.programs.len()).sum::<usize>() as f64);
        }
        for (what, mut all) in
            [("order ms", order_ms), ("verify ms", verify_ms), ("steps", steps), ("programs", hosts)]
        {
            all.sort_by(f64::total_cmp);
            let (least, median, most) = (all[0], all[all.len() / 2], all[all.len() - 1]);
            println!("{kind}: {what} {median:.2} [{least:.2}..{most:.2}], n={}", all.len());
        }
    }
    Ok(())
}
