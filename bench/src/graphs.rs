//! Networks to measure on: fat-trees, random graphs, the Topology Zoo. The same bytes on every machine.

use anyhow::{Context, Result};
use plan::spf::Line;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use topology::import::CostRule;

/// Nodes and links.
pub(crate) type Network = (usize, Vec<Line>);

fn line(a: usize, b: usize, cost: u64) -> Line {
    Line { a: a as u32, b: b as u32, cost, cost_back: cost }
}

/// The switches of a fat-tree of `k`-port switches (Al-Fares, Loukissas, Vahdat 2008), all links of cost 1.
pub(crate) fn fat_tree(k: usize) -> Network {
    let half = k / 2;
    let core = half * half;
    let mut lines = Vec::new();
    for pod in 0..k {
        let aggregation = core + pod * k;
        for own in 0..half {
            let at = aggregation + own;
            lines.extend((0..half).map(|edge| line(at, aggregation + half + edge, 1)));
            lines.extend((0..half).map(|port| line(at, own * half + port, 1)));
        }
    }
    (core + k * k, lines)
}

/// A connected random network with two links per node on average and costs from 1 to 10.
pub(crate) fn random(nodes: usize) -> Network {
    let mut draw = Draw(nodes as u64);
    let mut taken = BTreeSet::new();
    let mut lines = Vec::new();
    let mut add = |a: usize, b: usize, cost: u64| {
        if a != b && taken.insert((a.min(b), a.max(b))) {
            lines.push(line(a, b, cost));
        }
        lines.len()
    };
    for node in 1..nodes {
        add(node, draw.below(node), 1 + draw.below(10) as u64);
    }
    while add(draw.below(nodes), draw.below(nodes), 1 + draw.below(10) as u64) < 2 * nodes {}
    (nodes, lines)
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// All networks of a folder of GraphML files, every link of cost 1; `None` where there is no such folder.
pub(crate) fn zoo(folder: &Path) -> Result<Option<Vec<Network>>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(None) };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut networks = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|kind| kind == "graphml")) {
        let name = path.to_string_lossy();
        let bytes = std::fs::read(path)?;
        let options = topology::import::Options { cost: Some(CostRule::Hops), ..Default::default() };
        // A file that is no valid network is none here either.
        let Ok(import) = topology::import::import(&name, &bytes, None, options) else { continue };
        let Some(topology) = topology::read(&name, import.text.as_bytes()).topology else { continue };
        // The peers' matrices know one link between two nodes.
        let pair = |link: &topology::Link| {
            let [a, b] = [0, 1].map(|end| link.ends[end].node.0 as usize);
            (a.min(b), a.max(b))
        };
        let pairs: BTreeSet<(usize, usize)> = topology.links.iter().map(pair).collect();
        networks.push((topology.nodes.len(), pairs.into_iter().map(|(a, b)| line(a, b, 1)).collect()));
    }
    Ok(Some(networks))
}

/// As the peers read it.
pub(crate) fn write(path: &Path, networks: &[Network]) -> Result<()> {
    let mut text = String::new();
    for (nodes, lines) in networks {
        writeln!(text, "{nodes} {}", lines.len())?;
        for line in lines {
            writeln!(text, "{} {} {}", line.a, line.b, line.cost)?;
        }
    }
    std::fs::write(path, text).with_context(|| format!("{}", path.display()))
}

/// What [`write()`] wrote.
pub(crate) fn read(path: &Path) -> Result<Vec<Network>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<usize>);
    let mut networks = Vec::new();
    while let Some(nodes) = numbers.next() {
        let mut number = || numbers.next().context("the file ends early")?.context("a number");
        let links = number()?;
        let lines = (0..links).map(|_| Ok(line(number()?, number()?, number()? as u64)));
        networks.push((nodes?, lines.collect::<Result<_>>()?));
    }
    Ok(networks)
}

/// The network as a topology file, with `prefixes` prefixes in all, spread over the nodes.
pub(crate) fn topology_text((nodes, lines): &Network, prefixes: usize) -> Result<String> {
    let mut text = "version: 1\nname: bench\naddressing: {loopbacks: [10.0.0.0/8]}\nnodes:\n".to_string();
    for node in 0..*nodes {
        let own = (node..prefixes)
            .step_by(*nodes)
            .map(|at| format!("172.{}.{}.{}/30", at >> 14, at >> 6 & 255, (at & 63) << 2));
        writeln!(text, "  n{node:05}: {{prefixes: [{}]}}", own.collect::<Vec<_>>().join(", "))?;
    }
    let mut used = vec![0; *nodes];
    text.push_str("links:\n");
    for line in lines {
        let [a, b] = [line.a, line.b].map(|node| {
            used[node as usize] += 1;
            format!("n{node:05}:eth{}", used[node as usize])
        });
        writeln!(text, "- {{endpoints: [\"{a}\", \"{b}\"], cost: {}}}", line.cost)?;
    }
    Ok(text)
}
