//! What would the agent do? Prints the operations that lead a kernel without any of Ballast's objects to a host's program.
//!
//! `cargo run -p agent --example dry_run -- topology/files/triangle.yaml a` reads the file, compiles it, and asks the very
//! function that the agent asks. It talks to no kernel and to no controller.

#![allow(clippy::print_stdout, reason = "printing is all that it does")]

use agent::core::kernel::{Actual, Link};
use agent::core::reconcile::{object, reconcile, writes};
use anyhow::{Context, Result, bail};
use plan::{Facts, Objects};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, host] = &arguments[..] else { bail!("usage: dry_run FILE HOST") };
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {file}"))?;
    let reading = topology::read(file, &bytes);
    let Some(topology) = &reading.topology else { bail!("{}", reading.render(false)) };
    let network = plan::compile(topology, &Facts::default());
    let Some((program, digest)) = network.host(host) else { bail!("there is no node {host} in {file}") };
    let desired = Objects::of(program, &network.table);

    // A kernel whose interfaces are all up, with other values in all sysctls.
    let interfaces = desired.nexthops.values().map(|value| value.interface.as_str()).chain(["lo"]);
    let up = Link { index: 1, mac: None, up: true, carrier: true, mtu: 1_500, rx_packets: 0, tx_packets: 0 };
    let actual = Actual {
        links: interfaces.map(|name| (name.to_string(), up.clone())).collect(),
        sysctls: desired.sysctls.keys().map(|name| (name.clone(), String::new())).collect(),
        ..Actual::default()
    };
    let found = reconcile(&desired, &actual);
    println!(
        "{host}: program {}, {} operations, {} writes",
        digest.short(),
        found.ops.len(),
        writes(&found.ops)
    );
    for op in &found.ops {
        println!("  {}", object(op));
    }
    for waiting in found.pending.iter() {
        println!("  waits: {} ({})", waiting.object, waiting.reason);
    }
    Ok(())
}
