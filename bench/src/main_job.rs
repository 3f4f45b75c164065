//! The main job: from a file to kernels, and what the death of a link or of the leader costs.

use crate::Figure;
use anyhow::{Context, Result};
use it::bed::{Bed, binary, sample, wait};
use serde_json::Value;
use std::time::{Duration, Instant};

const MILLISECOND: Duration = Duration::from_millis(1);
/// Between two cuts of a link: carrier events of veth pairs come late when it was brought up just before.
const REST: Duration = Duration::from_secs(2);

/// All figures of `scripts/bench main`.
pub(crate) fn figures(rounds: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    sizes(&mut figures)?;
    let abilene = sample("abilene.yaml")?;
    let bed = Bed::up(&abilene)?;
    figures.extend(first_apply(&bed, "abilene"));
    figures.extend(applies(&bed, "abilene", &abilene, rounds)?);
    figures.extend(memory(&bed, "abilene")?);
    figures.extend(cuts(&bed, rounds)?);
    figures.extend(leader_kills(&bed, rounds)?);
    drop(bed);
    let fabric = sample("leaf-spine-64.yaml")?;
    let bed = Bed::up(&fabric)?;
    figures.extend(first_apply(&bed, "leaf-spine-64"));
    figures.extend(applies(&bed, "leaf-spine-64", &fabric, rounds)?);
    figures.extend(memory(&bed, "leaf-spine-64")?);
    Ok(figures)
}

fn sizes(figures: &mut Vec<Figure>) -> Result<()> {
    for name in ["ballast", "ballast-controller", "ballast-agent"] {
        let bytes = std::fs::metadata(binary(name)?)?.len();
        figures.extend(Figure::of("binary size", name, "MB", vec![bytes as f64 / 1e6]));
    }
    Ok(())
}

/// The first apply of a fresh lab: every host gets its whole program.
fn first_apply(bed: &Bed, subject: &str) -> Option<Figure> {
    let converge = bed.document()["converge_ms"].as_f64()?;
    Figure::of("first apply to last acknowledgement", subject, "ms", vec![converge])
}

/// A prefix comes and goes at one node, which changes every host's program: apply to the last host's
/// acknowledgement.
fn applies(bed: &Bed, subject: &str, text: &str, rounds: usize) -> Result<Option<Figure>> {
    let text = text.replace("max_hosts_per_step", "max_prefixes_lost: 1, max_hosts_per_step");
    let mut samples = Vec::new();
    for round in 0..rounds {
        let more = if round % 2 == 0 { "prefixes: [10.99.0.0/24, " } else { "prefixes: [" };
        let changed = text.replacen("prefixes: [", more, 1);
        let file = bed.file("changed.yaml", &changed)?;
        let applied = bed.json(&["apply", &file, "--reason", "benchmark", "--wait"])?;
        samples.push(applied["elapsed_ms"].as_f64().context("elapsed_ms")?);
    }
    Ok(Figure::of("prefix change to last acknowledgement", subject, "ms", samples))
}

fn resident_mb(pid: u64) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn memory(bed: &Bed, subject: &str) -> Result<Vec<Figure>> {
    let status: Value = serde_json::from_slice(&bed.lab(&["status", "--json"])?.stdout)?;
    let of = |list: &str, key: &str| -> Result<Vec<f64>> {
        let all = status[list].as_array().context("a list of processes")?;
        all.iter().filter_map(|one| one[key].as_u64()).map(resident_mb).collect()
    };
    let controllers = Figure::of("idle controller, resident", subject, "MB", of("controllers", "pid")?);
    let agents = Figure::of("idle agent, resident", subject, "MB", of("hosts", "agent_pid")?);
    Ok(controllers.into_iter().chain(agents).collect())
}

/// Packets lost at 1 ms spacing on each cut and each return of a link on the probes' path.
fn cuts(bed: &Bed, rounds: usize) -> Result<Vec<Figure>> {
    let paths = bed.json(&["path", "seattle", "newyork"])?;
    let links = paths["paths"][0]["links"].as_array().context("links")?;
    let link = links.get(links.len() / 2).and_then(Value::as_str).context("a link on the path")?.to_string();
    let (mut lost_on_cut, mut lost_on_return) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for (verb, down, lost) in [("cut", true, &mut lost_on_cut), ("mend", false, &mut lost_on_return)] {
            std::thread::sleep(REST);
            let probes = bed.probes(&[("seattle", "newyork")], MILLISECOND)?;
            std::thread::sleep(Duration::from_millis(200));
            bed.lab(&[verb, &link])?;
            wait("the fact", Duration::from_secs(15), || {
                let status = bed.json(&["status"])?;
                let facts = status["links_down"].as_array().map_or(0, Vec::len);
                Ok((facts == 1) == down)
            })?;
            std::thread::sleep(Duration::from_millis(500));
            // Both families run beside each other: the worse of the two.
            let report = probes.stop()?;
            lost.push(report.pairs.iter().map(|pair| pair.lost_packets()).max().unwrap_or(0) as f64);
        }
    }
    let cut = Figure::of("link cut (carrier), packets lost at 1 ms", "abilene", "packets", lost_on_cut);
    let back = Figure::of("link returns, packets lost at 1 ms", "abilene", "packets", lost_on_return);
    Ok(cut.into_iter().chain(back).collect())
}

/// Packets lost on `kill -9` of the leader, and the time until another leads.
fn leader_kills(bed: &Bed, rounds: usize) -> Result<Vec<Figure>> {
    let (mut lost, mut dark) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let leader = bed.leader()?;
        let probes = bed.probes(&[("seattle", "newyork"), ("newyork", "losangeles")], MILLISECOND)?;
        std::thread::sleep(Duration::from_millis(200));
        bed.lab(&["kill", &leader])?;
        let killed = Instant::now();
        wait("another leader", Duration::from_secs(20), || {
            let status = bed.json(&["status"])?;
            Ok(status["leader"].as_u64().is_some_and(|id| format!("c{id}") != leader))
        })?;
        dark.push(killed.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(Duration::from_millis(500));
        lost.push(probes.stop()?.lost() as f64);
        bed.lab(&["start", &leader])?;
        let url = bed.controller_url(&leader)?;
        wait("it answers again", Duration::from_secs(20), || {
            let status = bed.json(&["status", "--url", &url])?;
            Ok(status["leader"].is_u64() && status["hosts"]["connected"] == status["hosts"]["total"])
        })?;
    }
    let lost = Figure::of("leader killed, packets lost at 1 ms", "abilene", "packets", lost);
    let dark = Figure::of("leader killed, until another leads", "abilene", "ms", dark);
    Ok(lost.into_iter().chain(dark).collect())
}
