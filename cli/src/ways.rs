//! `ballast ways`: which ways there could be, whichever the programs take. Computed here.

use crate::arguments::{Disjoint, Ways};
use crate::exit::{self, Done, Failure};
use crate::files::topology_of;
use crate::offline::{link, node};
use crate::output::{json, print};
use plan::Facts;
use plan::constrained::{
    Allowed, Constraints, TooManyWays, cheapest_paths, disjoint_pair, risk_disjoint_pair,
};
use std::collections::BTreeSet;
use std::process::ExitCode;
use topology::Topology;
use wire::document;
use wire::rest::WaysDocument;

pub(crate) fn ways(arguments: &Ways) -> Done {
    let topology = topology_of(&arguments.file)?;
    let ends = [node(&topology, &arguments.from)?, node(&topology, &arguments.to)?];
    let [from, to] = ends;
    let (allowed, facts) = (allowed(arguments, &topology)?, Facts::default());
    let failed = |error: TooManyWays| Failure::new(exit::NO, error.to_string());
    let document = match arguments.disjoint {
        Some(Disjoint::Nodes) => {
            let pair = disjoint_pair(&topology, &facts, &allowed, from, to);
            document::disjoint_ways(&topology, ends, pair.as_ref())
        }
        Some(Disjoint::Risks) => {
            let pair = risk_disjoint_pair(&topology, &facts, &allowed, from, to).map_err(failed)?;
            document::disjoint_ways(&topology, ends, pair.as_ref())
        }
        None => {
            let via = arguments.via.iter().map(|name| node(&topology, name)).collect::<Result<_, _>>()?;
            let constraints = Constraints { allowed, via, max_latency_us: arguments.max_latency_us };
            let count = usize::from(arguments.count);
            let routes = cheapest_paths(&topology, &facts, &constraints, from, to, count).map_err(failed)?;
            document::ways(&topology, ends, &routes)
        }
    };
    let none = document.ways.is_empty();
    if arguments.format.json {
        json(&document);
    } else {
        print(&text(&document));
    }
    Ok(if none { ExitCode::from(exit::NO) } else { ExitCode::SUCCESS })
}

fn allowed(arguments: &Ways, topology: &Topology) -> Result<Allowed, Failure> {
    let set = |words: &[String]| words.iter().cloned().collect::<BTreeSet<String>>();
    let mut allowed = Allowed {
        avoid_risks: set(&arguments.avoid_risk),
        exclude_any: set(&arguments.without),
        include_any: set(&arguments.with_any),
        include_all: set(&arguments.with),
        ..Allowed::default()
    };
    for name in &arguments.avoid {
        if name.contains("--") {
            allowed.avoid_links.insert(link(topology, name)?);
        } else {
            allowed.avoid_nodes.insert(node(topology, name)?);
        }
    }
    known("risk group", &allowed.avoid_risks, topology.links.iter().flat_map(|link| &link.srlgs))?;
    for asked in [&allowed.exclude_any, &allowed.include_any, &allowed.include_all] {
        known("affinity label", asked, topology.links.iter().flat_map(|link| &link.affinity))?;
    }
    Ok(allowed)
}

/// A misspelt word would quietly be no condition at all.
fn known<'a>(
    what: &str,
    asked: &BTreeSet<String>,
    all: impl Iterator<Item = &'a String>,
) -> Result<(), Failure> {
    let all: BTreeSet<&String> = all.collect();
    let Some(unknown) = asked.iter().find(|word| !all.contains(word)) else { return Ok(()) };
    let known: Vec<&str> = all.iter().take(20).map(|word| word.as_str()).collect();
    let known = if known.is_empty() { "none".to_string() } else { known.join(", ") };
    Err(Failure::new(exit::NO, format!("no link has the {what} {unknown}; there are: {known}")))
}

fn text(document: &WaysDocument) -> String {
    let mut lines = Vec::new();
    for way in &document.ways {
        lines.push(way.hops.join(" > "));
        let drained = match way.drained_links {
            0 => String::new(),
            many => format!(", drained links on it: {many}"),
        };
        // No link states one: that is not "no time at all".
        let latency = match way.latency_us {
            0 => String::new(),
            us => format!(", {:.2} ms", us as f64 / 1_000.0),
        };
        lines.push(format!("  cost {}{latency}{drained}", way.cost));
    }
    if document.ways.is_empty() {
        lines.push(format!("no way from {} to {} keeps to the conditions", document.from, document.to));
    }
    if let Some(common) = &document.common {
        let shared: Vec<&str> =
            common.nodes.iter().chain(&common.links).chain(&common.risks).map(String::as_str).collect();
        let shared = if shared.is_empty() { "nothing".to_string() } else { shared.join(", ") };
        let proof = if common.is_proven { "" } else { "; not proven to be the least" };
        lines.push(format!("in common: {shared}{proof}"));
    }
    lines.join("\n")
}
