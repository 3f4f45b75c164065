//! Paths: ours and the peers' in one run, each case in a process of its own, on files that all read.

use crate::Figure;
use crate::graphs::{self, Network};
use crate::paths_case::Answer;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PEERS: [&str; 4] = ["networkx", "rustworkx", "igraph", "scipy"];
/// Rounds of a peer, which may take minutes for one.
const PEER_ROUNDS_MAX: usize = 3;
const PEER_SLOW_NODES: usize = 5_000;
/// Links that fail, or get another cost.
const FAILURES: usize = 20;
/// Nodes that are cut off, or leave the file.
const NODES_CHANGED: usize = 5;

/// All figures of `scripts/bench paths`.
pub(crate) fn figures(rounds: usize, callgrind: bool) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, networks) in networks()? {
        eprintln!("{name}");
        let file = file(&name, &networks)?;
        let nodes = networks.iter().map(|(nodes, _)| *nodes).max().unwrap_or(0);
        figures.extend(all_pairs(&name, &file, nodes, rounds)?);
        if callgrind && nodes <= 1_280 {
            figures.extend(instructions(&name, &file)?);
        }
    }
    figures.extend(one_update(5_000)?);
    figures.extend(one_event(5_000)?);
    figures.extend(one_change(1_000, 10_000)?);
    figures.extend(compilation(1_000, 100_000, rounds.min(5))?);
    Ok(figures)
}

fn networks() -> Result<Vec<(String, Vec<Network>)>> {
    let mut all = vec![
        ("fat-tree k=16".to_string(), vec![graphs::fat_tree(16)]),
        ("fat-tree k=32".to_string(), vec![graphs::fat_tree(32)]),
    ];
    for nodes in [1_000, 5_000, 10_000] {
        all.push((format!("random {nodes}"), vec![graphs::random(nodes)]));
    }
    let data = std::env::var("BALLAST_DATA").unwrap_or_else(|_| "../shared/data".to_string());
    match graphs::zoo(&Path::new(&data).join("topology-zoo"))? {
        Some(networks) => all.push((format!("Topology Zoo ({} networks)", networks.len()), networks)),
        None => eprintln!("skipped: the Topology Zoo, BALLAST_DATA names no folder with it"),
    }
    Ok(all)
}

fn file(name: &str, networks: &[Network]) -> Result<PathBuf> {
    let folder = Path::new("target/bench");
    std::fs::create_dir_all(folder)?;
    let plain: String =
        name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    let path = folder.join(plain);
    graphs::write(&path, networks)?;
    Ok(path)
}

fn answer(command: &mut Command) -> Result<Answer> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed");
    serde_json::from_slice(&output.stdout).with_context(|| format!("the answer of {command:?}"))
}

fn ours(case: &str, rounds: usize) -> Result<Answer> {
    let rounds = rounds.to_string();
    answer(Command::new(std::env::current_exe()?).args(["paths", "--rounds", &rounds, "--case", case]))
}

fn peer(library: &str, file: &Path, rounds: usize) -> Result<Answer> {
    let mut command = Command::new("target/peers/bin/python");
    answer(command.arg("bench/peers/paths.py").arg(library).arg(file).arg(rounds.to_string()))
}

fn median(samples: &[f64]) -> f64 {
    let mut samples = samples.to_vec();
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn all_pairs(name: &str, file: &Path, nodes: usize, rounds: usize) -> Result<Vec<Figure>> {
    let (time, memory) = (format!("all pairs, {name}"), format!("all pairs, {name}, peak"));
    let mut figures = Vec::new();
    let peer_rounds = if nodes >= PEER_SLOW_NODES { 1 } else { rounds.min(PEER_ROUNDS_MAX) };
    let mut answers = Vec::new();
    for library in PEERS {
        // Far the slowest: its spread is nobody's question.
        let rounds = if library == "networkx" { 1 } else { peer_rounds };
        let answer = peer(library, file, rounds)?;
        eprintln!("{name}, {library}: {:.1} ms", median(&answer.samples_ms));
        answers.push((library, answer));
    }
    let fastest = answers.iter().map(|(library, answer)| (*library, median(&answer.samples_ms)));
    let (fastest, peer_median) =
        fastest.min_by(|(_, one), (_, other)| one.total_cmp(other)).context("there are peers")?;
    for (cores, subject) in [("1", "ballast, 1 core"), ("all", "ballast, all")] {
        let own = ours(&format!("pairs:{cores}:{}", file.display()), rounds)?;
        for (library, answer) in answers.iter().filter(|(_, answer)| answer.next_hops.is_some()) {
            let theirs = (answer.next_hops, answer.distances);
            ensure!(
                (own.next_hops, own.distances) == theirs,
                "{name}: {library} finds other paths: {theirs:?}"
            );
        }
        eprintln!("{name}, {subject}: {:.1} ms, {:.0} MB", median(&own.samples_ms), own.peak_mb);
        let figure = Figure::of(&time, subject, "ms", own.samples_ms);
        figures.extend(figure.map(|figure| figure.beside(fastest, peer_median)));
        figures.extend(Figure::of(&memory, subject, "MB", vec![own.peak_mb]));
    }
    for (library, answer) in answers {
        figures.extend(Figure::of(&time, library, "ms", answer.samples_ms));
        figures.extend(Figure::of(&memory, library, "MB", vec![answer.peak_mb]));
    }
    Ok(figures)
}

/// Instructions of a whole process on one core, in millions: the same on every run.
fn instructions(name: &str, file: &Path) -> Result<Option<Figure>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe()?);
    let case = format!("pairs:1:{}", file.display());
    let output = command.args(["paths", "--rounds", "1", "--case", &case]).output().context("valgrind")?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let count =
        text.lines().find_map(|line| line.split("Collected :").nth(1)).context("callgrind's count")?;
    let millions = count.trim().parse::<f64>()? / 1e6;
    Ok(Figure::of(&format!("all pairs, {name}, instructions"), "ballast, 1 core", "millions", vec![millions]))
}

/// Distances and next hops alone after one event.
fn one_update(nodes: usize) -> Result<Vec<Figure>> {
    let case = format!("random {nodes}, all pairs");
    let answer = ours(&format!("update:{nodes}"), FAILURES)?;
    let (from_nothing, samples) = answer.samples_ms.split_first().context("samples")?;
    let figure = Figure::of(&case, "one link fails or returns", "ms", samples.to_vec());
    Ok(figure.map(|figure| figure.beside("from nothing", *from_nothing)).into_iter().collect())
}

/// All programs, backups and digests after one event.
fn one_event(nodes: usize) -> Result<Vec<Figure>> {
    let case = format!("random {nodes}, all programs");
    let mut figures = Vec::new();
    let events = [
        ("failure", "one link fails", FAILURES),
        ("death", "a node is cut off or comes back", NODES_CHANGED),
        ("removal", "a node leaves the file or comes to it", NODES_CHANGED),
    ];
    for (name, subject, rounds) in events {
        let answer = ours(&format!("{name}:{nodes}"), rounds)?;
        let (from_nothing, samples) = answer.samples_ms.split_first().context("samples")?;
        if figures.is_empty() {
            figures.extend(Figure::of(&case, "from nothing", "ms", vec![*from_nothing]));
            let peak = format!("{case}, peak");
            figures.extend(Figure::of(&peak, "ballast, all", "MB", vec![answer.peak_mb]));
        }
        let figure = Figure::of(&case, subject, "ms", samples.to_vec());
        figures.extend(figure.map(|figure| figure.beside("from nothing", *from_nothing)));
    }
    Ok(figures)
}

/// Judging and ordering the change of one link.
fn one_change(nodes: usize, prefixes: usize) -> Result<Vec<Figure>> {
    let size = format!("{nodes}:{prefixes}");
    let case = |what: &str| format!("{what}, random {nodes}, {prefixes} prefixes");
    let check = ours(&format!("check:{size}"), FAILURES)?;
    let (whole, follow) = check.samples_ms.split_first().context("samples")?;
    let mut figures = Vec::new();
    figures.extend(Figure::of(&case("check"), "everything", "ms", vec![*whole]));
    let follow = Figure::of(&case("check"), "one link fails", "ms", follow.to_vec());
    figures.extend(follow.map(|figure| figure.beside("everything", *whole)));
    for (what, subject) in [("order", "steps and proof"), ("verify", "the proof")] {
        let answer = ours(&format!("{what}:{size}"), FAILURES)?;
        figures.extend(Figure::of(&case(&format!("{what}, one cost")), subject, "ms", answer.samples_ms));
    }
    Ok(figures)
}

fn compilation(nodes: usize, prefixes: usize, rounds: usize) -> Result<Vec<Figure>> {
    let case = format!("compile {nodes} hosts, {prefixes} prefixes");
    let mut figures = Vec::new();
    for (cores, subject) in [("1", "ballast, 1 core"), ("all", "ballast, all")] {
        let answer = ours(&format!("compile:{nodes}:{prefixes}:{cores}"), rounds)?;
        figures.extend(Figure::of(&case, subject, "ms", answer.samples_ms));
        figures.extend(Figure::of(&format!("{case}, peak"), subject, "MB", vec![answer.peak_mb]));
    }
    Ok(figures)
}

/// Nodes against time and memory: lines of subject, nodes, milliseconds, megabytes.
pub(crate) fn curve() -> Result<String> {
    let mut rows = vec!["subject\tnodes\tms\tpeak_mb".to_string()];
    for nodes in [100, 300, 1_000, 3_000, 10_000] {
        let file = file(&format!("curve {nodes}"), &[graphs::random(nodes)])?;
        let own = ours(&format!("pairs:1:{}", file.display()), 3)?;
        rows.push(format!("all pairs, 1 core\t{nodes}\t{:.3}\t{:.1}", median(&own.samples_ms), own.peak_mb));
        let scipy = peer("scipy", &file, 1)?;
        rows.push(format!(
            "all pairs, scipy\t{nodes}\t{:.3}\t{:.1}",
            median(&scipy.samples_ms),
            scipy.peak_mb
        ));
        if nodes <= 3_000 {
            let own = ours(&format!("compile:{nodes}:{nodes}:1"), 1)?;
            rows.push(format!(
                "all programs, 1 core\t{nodes}\t{:.3}\t{:.1}",
                median(&own.samples_ms),
                own.peak_mb
            ));
        }
    }
    Ok(rows.join("\n"))
}
