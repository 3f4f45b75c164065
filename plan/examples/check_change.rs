//! Takes the time of judging a change: `check_change [NODES] [PREFIXES_PER_NODE]`, 1,000 and 10 by default.
//!
//! A ring with as many random chords as nodes; 21 links fail and return one after the other. The programs are compiled
//! before the clock starts: what counts is the check alone, and of five
//! runs the fastest.

#![allow(clippy::print_stdout)]

use plan::check::{Checked, State};
use plan::{Facts, compile};
use std::fmt::Write;
use std::time::Instant;

/// Runs of each change; the fastest counts.
const RUNS: usize = 5;

fn least(run: impl Fn() -> Checked) -> (Checked, f64) {
    let (mut found, mut least) = (None, f64::INFINITY);
    for _ in 0..RUNS {
        let start = Instant::now();
        found = Some(run());
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    (found.expect("there is a run"), least)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |at: usize, default: usize| {
        std::env::args().nth(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (nodes, prefixes) = (number(1, 1_000)?, number(2, 10)?);
    let mut text = "version: 1\nname: random\nnodes:\n".to_string();
    for node in 0..nodes {
        let prefix = |at| {
            let index = node * prefixes + at;
            format!("10.{}.{}.{}/30", index / 16_384, index / 64 % 256, index % 64 * 4)
        };
        let list: Vec<String> = (0..prefixes).map(prefix).collect();
        writeln!(
            text,
            "  n{node}: {{loopbacks: [10.255.{}.{}], prefixes: [{}]}}",
            node / 256,
            node % 256,
            list.join(", ")
        )?;
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
    let topology = reading.topology.ok_or(format!("{:?}", reading.diagnostics))?;
    let up = Facts::default();
    let before = compile(&topology, &up);
    let old = State { topology: &topology, facts: &up, network: &before, dead: None };
    let (checked, ms) = least(|| Checked::new(old));
    println!("all: {ms:.2} ms");
    let (mut down_ms, mut up_ms) = (Vec::new(), Vec::new());
    for link in (0..topology.links.len()).step_by(topology.links.len() / 21) {
        let facts = Facts { links_down: [topology.links[link].id.clone()].into() };
        let after = compile(&topology, &facts);
        let new = State { topology: &topology, facts: &facts, network: &after, dead: None };
        let (failed, ms) = least(|| checked.follow(old, new));
        down_ms.push(ms);
        let (returned, ms) = least(|| failed.follow(new, old));
        up_ms.push(ms);
        let violations = failed.violations().count() + returned.violations().count();
        if violations > 0 {
            println!("{violations} violations around {}", topology.links[link].id);
        }
    }
    for (name, mut ms) in [("a link down", down_ms), ("a link up", up_ms)] {
        ms.sort_by(f64::total_cmp);
        let (least, median, most) = (ms[0], ms[ms.len() / 2], ms[ms.len() - 1]);
        println!("{name}: {median:.2} ms [{least:.2}..{most:.2}], n={}", ms.len());
    }
    Ok(())
}
