//! `ballast backups`: what hosts do on their own when a link fails. Computed here.

use crate::arguments::Backups;
use crate::exit::{Done, Failure};
use crate::files::topology_of;
use crate::offline::no_node;
use crate::output::{json, print};
use crate::table::table;
use std::collections::BTreeMap;
use std::process::ExitCode;
use topology::Topology;
use wire::document;
use wire::rest::{BackupEntry, BackupsDocument, UnprotectedCase};

/// Cases that the tables for people show.
const CASES_SHOWN_MAX: usize = 200;

pub(crate) fn backups(arguments: &Backups) -> Done {
    let topology = topology_of(&arguments.file)?;
    let (host, destination) = (arguments.host.as_deref(), arguments.destination.as_deref());
    known(&topology, host)?;
    known(&topology, destination)?;
    let mut document = document::backups(&topology, &plan::backup::coverage(&topology));
    let wanted =
        |of: &str, to: &str| host.is_none_or(|host| host == of) && destination.is_none_or(|node| node == to);
    document.entries.retain(|entry| wanted(&entry.host, &entry.destination));
    document.unprotected.retain(|case| wanted(&case.host, &case.destination));
    if arguments.format.json {
        json(&document);
    } else if host.is_some() || destination.is_some() {
        print(&(cases(&topology, &document) + "\n\n" + &coverage(&document)));
    } else {
        print(&(per_host(&document) + "\n\n" + &coverage(&document)));
    }
    Ok(ExitCode::SUCCESS)
}

fn known(topology: &Topology, name: Option<&str>) -> Result<(), Failure> {
    match name.filter(|name| topology.node_index(name).is_none()) {
        Some(name) => Err(no_node(topology, name)),
        None => Ok(()),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn coverage(document: &BackupsDocument) -> String {
    let coverage = &document.coverage;
    let rest = if coverage.possible < 1.0 { "; for the rest the failed link is the only way" } else { "" };
    format!(
        "of all pairs of nodes, after a link on the way failed and before anybody computed:\n\
         \x20 {:>6} go on by equal paths and loop-free alternates: installed\n\
         \x20 {:>6} with detours ({} destinations in tables of {} interfaces) and bypasses ({} tunnels): not installed yet\n\
         \x20 {:>6} are possible{rest}",
        percent(coverage.lfa),
        percent(coverage.all),
        coverage.turn_entries,
        coverage.turn_interfaces,
        coverage.tunnels,
        percent(coverage.possible)
    )
}

/// How many cases of a host go on by what.
#[derive(Default)]
struct Counts {
    ecmp: u32,
    lfa: u32,
    detour: u32,
    bypass: u32,
    open: u32,
    impossible: u32,
}

fn per_host(document: &BackupsDocument) -> String {
    let mut hosts: BTreeMap<&str, Counts> = BTreeMap::new();
    for entry in &document.entries {
        let counts = hosts.entry(&entry.host).or_default();
        match entry.kind.as_str() {
            "ecmp" => counts.ecmp += 1,
            "lfa" => counts.lfa += 1,
            "detour" => counts.detour += 1,
            _ => counts.bypass += 1,
        }
    }
    for case in &document.unprotected {
        let counts = hosts.entry(&case.host).or_default();
        *(if case.possible { &mut counts.open } else { &mut counts.impossible }) += 1;
    }
    let row = |(host, counts): (&&str, &Counts)| {
        let numbers = [counts.ecmp, counts.lfa, counts.detour, counts.bypass, counts.open, counts.impossible];
        std::iter::once((*host).to_string()).chain(numbers.map(|number| number.to_string())).collect()
    };
    let rows: Vec<Vec<String>> = hosts.iter().map(row).collect();
    table(&["HOST", "EQUAL", "ALTERNATE", "DETOUR", "BYPASS", "OPEN", "ONLY WAY"], &rows)
}

fn cases(topology: &Topology, document: &BackupsDocument) -> String {
    let in_group = |id: &str| topology.link_index(id).is_some_and(|at| !topology.link(at).srlgs.is_empty());
    let repaired = |entry: &BackupEntry| {
        let avoids_groups = entry.protects_srlgs && in_group(&entry.link);
        let also = [(entry.protects_node, "node"), (avoids_groups, "risk groups")];
        let mut also: Vec<String> =
            also.iter().filter(|(holds, _)| *holds).map(|(_, what)| (*what).to_string()).collect();
        also.extend((entry.overhead_bytes > 0).then(|| format!("needs {} bytes more", entry.overhead_bytes)));
        vec![
            entry.host.clone(),
            entry.destination.clone(),
            entry.link.clone(),
            entry.kind.clone(),
            entry.hops.join(" > "),
            also.join(", "),
        ]
    };
    let open = |case: &UnprotectedCase| {
        let why = if case.possible { "none" } else { "none: the only way" };
        let cells = [&case.host, &case.destination, &case.link].map(String::clone);
        [cells.to_vec(), vec![why.to_string(), String::new(), String::new()]].concat()
    };
    let mut rows: Vec<Vec<String>> = document.entries.iter().map(repaired).collect();
    rows.extend(document.unprotected.iter().map(open));
    rows.sort();
    let total = rows.len();
    rows.truncate(CASES_SHOWN_MAX);
    let text = table(&["HOST", "TO", "WITHOUT LINK", "BY", "VIA", "ALSO AVOIDS / NEEDS"], &rows);
    if total > rows.len() { format!("{text}\n{} more; --json has all", total - rows.len()) } else { text }
}
