//! Verbs that compute here what a controller would compute: the same code, the same bytes.

use crate::arguments::{Check, PathQuestion, Plan, Program, Schema, Server};
use crate::client::{Client, Put, encoded};
use crate::exit::{self, Done, Failure};
use crate::files::{reading_of, text_of, topology_of};
use crate::output::{colour, json, print, say};
use crate::table::table;
use crate::violations::judge;
use plan::incremental::Incremental;
use plan::load::rate_text;
use plan::proof::State;
use plan::spf::Cores;
use plan::{Facts, Network};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use topology::{LinkIndex, NodeIndex, Topology};
use wire::document::{self, Running};
use wire::log::GuardRecord;
use wire::package::Package;
use wire::rest;

/// `ballast schema`.
pub(crate) fn schema(arguments: &Schema) -> Done {
    let text = if arguments.reference { topology::reference() } else { topology::schema() };
    print(text.trim_end());
    Ok(ExitCode::SUCCESS)
}

/// `ballast check`.
pub(crate) fn check(arguments: &Check) -> Done {
    let (mut valid, mut total, mut diagnostics) = (true, 0, Vec::new());
    let (mut violations, mut failures) = (Vec::new(), Vec::new());
    for path in &arguments.files {
        let reading = match reading_of(path) {
            Ok(reading) => reading,
            // The other files are checked all the same, and a script gets its document.
            Err(failure) => {
                (valid, total) = (false, total + 1);
                say(&failure.message);
                diagnostics.push(rest::Diagnostic {
                    code: "unreadable_file".to_string(),
                    severity: "error".to_string(),
                    file: path.display().to_string(),
                    line: 1,
                    column: 1,
                    message: failure.message,
                    help: "check the path and its permissions".to_string(),
                });
                continue;
            }
        };
        valid &= reading.topology.is_some();
        total += reading.total;
        diagnostics.extend(reading.diagnostics.iter().map(document::diagnostic));
        let told = reading.render(colour());
        if !told.is_empty() {
            say(&told);
        }
        let Some(topology) = &reading.topology else { continue };
        let judged = judge(topology, &path.display().to_string(), arguments.single_failures);
        let holds = judged.violations.is_empty();
        valid &= holds;
        total += judged.violations.len();
        diagnostics.extend(judged.violations.iter().map(document::violation_diagnostic));
        if holds && !arguments.format.json {
            let (nodes, links) = (topology.nodes.len(), topology.links.len());
            print(&format!("{}: valid, {nodes} nodes, {links} links", path.display()));
        }
        violations.extend(judged.violations);
        failures.extend(judged.failures);
    }
    let survives = failures.is_empty();
    if arguments.format.json {
        json(&rest::Check {
            schema: "ballast.check/v1".to_string(),
            valid,
            total,
            diagnostics,
            violations,
            failures: arguments.single_failures.then_some(failures),
        });
    } else if arguments.single_failures && valid && survives {
        print("all holds after the failure of any one link or node");
    }
    Ok(if valid && survives { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) })
}

/// `ballast plan`.
pub(crate) fn plan(arguments: &Plan, server: &Server) -> Done {
    let against = match (&arguments.against, &arguments.to) {
        (Some(word), _) => word.as_str(),
        (None, Some(_)) => "",
        (None, None) if server.url.is_empty() => "nothing",
        (None, None) => "running",
    };
    let document = match (against, &arguments.to) {
        (_, Some(to)) => between(Some(&topology_of(&arguments.file)?), &topology_of(to)?),
        ("running", None) => ask_for_plan(&arguments.file, server)?,
        ("nothing", None) => between(None, &topology_of(&arguments.file)?),
        (file, None) => between(Some(&topology_of(Path::new(file))?), &topology_of(&arguments.file)?),
    };
    if arguments.format.json {
        json(&document);
    } else {
        print(&plan_text(&document));
    }
    let refused = document.guards.iter().any(|guard| !guard.ok);
    Ok(if refused { ExitCode::from(exit::GUARD) } else { ExitCode::SUCCESS })
}

fn ask_for_plan(path: &Path, server: &Server) -> Result<rest::PlanDocument, Failure> {
    let client = Client::of(server)?;
    let file = encoded(&path.display().to_string());
    let put = Put { body: &text_of(path)?, ..Put::default() };
    client.put(&format!("/v1/topology?dry_run=true&file={file}"), &put)?.document()
}

fn between(old: Option<&Topology>, new: &Topology) -> rest::PlanDocument {
    let facts = Facts::default();
    let (before, after) = match old {
        None => (None, plan::compile(new, &facts)),
        // What the change does not touch need not be computed twice.
        Some(old) => {
            let mut state = Incremental::new(old.clone(), facts.clone(), Cores::All);
            let before = Arc::new(state.network().clone());
            state.take_topology(new.clone(), facts.clone());
            (Some((old, before)), state.network().clone())
        }
    };
    let impact = plan::impact::impact(
        before.as_ref().map(|(old, network)| (*old, &facts, &**network)),
        (new, &facts, &after),
    );
    let guards: Vec<GuardRecord> =
        plan::impact::guards(&impact, &new.safety).iter().map(GuardRecord::from).collect();
    let mut running =
        Running { digests: std::collections::BTreeMap::new(), networks: std::collections::BTreeMap::new() };
    if let Some((old, network)) = &before {
        running.digests = network.digests_by_host();
        running.networks = old.nodes.iter().map(|node| (node.name.as_str(), network.clone())).collect();
    }
    let document = document::plan(&running, new, &after, &impact, &guards);
    let Some((old, before)) = &before else { return document };
    let state = |topology, network| State { topology, network };
    document::in_order(document, state(*old, &**before), state(new, &after), &facts)
}

/// A plan for people.
pub(crate) fn plan_text(plan: &rest::PlanDocument) -> String {
    if plan.hosts.is_empty() {
        return format!("nothing would change\nplan {}", short(&plan.plan_hash));
    }
    let row = |host: &rest::PlanHost| {
        let digest = host.digest.as_deref().map_or("keeps what it runs".to_string(), short);
        let numbers = [host.add, host.change, host.remove, host.writes].map(|number| number.to_string());
        [vec![host.name.clone(), digest], numbers.to_vec()].concat()
    };
    let rows: Vec<Vec<String>> = plan.hosts.iter().map(row).collect();
    let mut text = table(&["HOST", "PROGRAM", "ADD", "CHANGE", "REMOVE", "WRITES"], &rows);
    text.push_str("\n\nsteps\n");
    for (number, step) in plan.steps.iter().enumerate() {
        text.push_str(&format!(
            "  {}. {}; then {}\n",
            number + 1,
            step.hosts.join(", "),
            step.gate.join(", ")
        ));
    }
    for proof in &plan.proofs {
        text.push_str(&proof_text(proof));
    }
    text.push_str("guards\n");
    for guard in &plan.guards {
        let verdict = if guard.ok { "passes" } else { "REFUSES" };
        text.push_str(&format!("  {} {verdict}: {} of at most {}\n", guard.name, guard.value, guard.limit));
    }
    for [from, to] in &plan.pairs_lost {
        text.push_str(&format!("  {from} would not reach {to} any more\n"));
    }
    for host in &plan.short_of_controllers {
        text.push_str(&format!(
            "  {host} would reach fewer than two controllers, afterwards or between two steps\n"
        ));
    }
    text + &format!("plan {}", short(&plan.plan_hash))
}

/// What a person wants to know of a proof: whether it holds, and which hosts change in two goes.
fn proof_text(proof: &serde_json::Value) -> String {
    let list = |value: &serde_json::Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let mut text = String::new();
    for held in list(proof, "held") {
        let destinations: Vec<String> = list(&held, "destinations").iter().map(word).collect();
        let (step, host) = (&held["step"], word(&held["host"]));
        text.push_str(&format!(
            "  step {step}: {host} keeps its old way to {} for now\n",
            destinations.join(", ")
        ));
    }
    text + &match (proof["holds"].as_bool(), proof["reason"].as_str()) {
        (Some(true), _) => {
            "  checked: in no step a packet can loop, or a pair be cut that both files join\n".to_string()
        }
        (_, reason) => format!("  NOT PROVEN: {}\n", reason.unwrap_or("the plan gives no reason")),
    }
}

/// The first digits of a digest.
pub(crate) fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

pub(crate) fn compiled(path: &Path) -> Result<(Topology, Network), Failure> {
    let topology = topology_of(path)?;
    let network = plan::compile(&topology, &Facts::default());
    Ok((topology, network))
}

/// `ballast program`.
pub(crate) fn program(arguments: &Program, server: &Server) -> Done {
    let document: rest::ProgramDocument = match &arguments.file {
        None => Client::of(server)?.get(&format!("/v1/hosts/{}/program", encoded(&arguments.host)))?,
        Some(path) => {
            let (topology, network) = compiled(path)?;
            let Some((program, digest)) = network.host(&arguments.host) else {
                return Err(no_node(&topology, &arguments.host));
            };
            if let Some(out) = &arguments.package {
                let package = Package { table: network.table.clone(), program: program.clone(), digest };
                std::fs::write(out, package.encode())
                    .map_err(|error| Failure::new(exit::NO, format!("{}: {error}", out.display())))?;
                say(&format!("{}: the program of {}", out.display(), arguments.host));
            }
            document::program(program, &network.table, digest, None)
        }
    };
    if arguments.format.json {
        json(&document);
    } else {
        print(&program_text(&document));
    }
    Ok(ExitCode::SUCCESS)
}

fn program_text(program: &rest::ProgramDocument) -> String {
    let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "none (offline)".to_string());
    let mut text =
        format!("host {}\ngeneration {}\ndigest {}\n", program.host, of(&program.generation), program.digest);
    for address in &program.addresses {
        text.push_str(&format!("address {} on {}\n", address.address, address.interface));
    }
    let way = |group: u32| -> String {
        let found = program.groups.iter().find(|known| known.id == group);
        let members = found.map(|group| group.members.as_slice()).unwrap_or_default();
        let hops = members.iter().filter_map(|member| {
            let hop = program.nexthops.iter().find(|hop| hop.id == member.nexthop)?;
            Some(format!("{} via {}", hop.interface, hop.gateway))
        });
        hops.collect::<Vec<_>>().join(" | ")
    };
    let row =
        |route: &rest::RouteDocument| vec![route.prefix.clone(), route.metric.to_string(), way(route.group)];
    let rows: Vec<Vec<String>> = program.routes.iter().map(row).collect();
    text + "\n" + &table(&["ROUTE", "METRIC", "NEXT HOPS"], &rows)
}

pub(crate) fn no_node(topology: &Topology, name: &str) -> Failure {
    let hint = match topology.nearest_node(name) {
        Some(near) => format!("did you mean {near}?"),
        None => {
            let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).take(20).collect();
            let more = topology.nodes.len() - names.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("there are {}{more}", names.join(", "))
        }
    };
    Failure::new(exit::NO, format!("there is no node {name}; {hint}"))
}

/// The node called so.
pub(crate) fn node(topology: &Topology, name: &str) -> Result<NodeIndex, Failure> {
    topology.node_index(name).ok_or_else(|| no_node(topology, name))
}

/// The link called so.
pub(crate) fn link(topology: &Topology, name: &str) -> Result<LinkIndex, Failure> {
    topology.link_index(name).ok_or_else(|| {
        let ends: Vec<&str> = name.split("--").collect();
        let joins = |link: &&topology::Link| {
            let names = [0, 1].map(|end| topology.node(link.ends[end].node).name.as_str());
            ends == names || ends == [names[1], names[0]]
        };
        let ids: Vec<&str> = topology.links.iter().filter(joins).map(|link| link.id.as_str()).collect();
        let message = match ids[..] {
            [] => format!("there is no link {name}; write node:interface--node:interface, or node--node"),
            _ => format!("there are several links {name}; choose of {}", ids.join(", ")),
        };
        Failure::new(exit::NO, message)
    })
}

/// `ballast path`.
pub(crate) fn path(arguments: &PathQuestion, server: &Server) -> Done {
    let (from, to) = (&arguments.from, &arguments.to);
    let document: rest::Paths = match &arguments.file {
        None => Client::of(server)?.get(&format!("/v1/paths?from={}&to={}", encoded(from), encoded(to)))?,
        Some(path) => {
            let (topology, network) = compiled(path)?;
            document::paths(&topology, &Facts::default(), &network, from, to)
        }
    };
    if arguments.format.json {
        json(&document);
    } else {
        print(&paths_text(&document));
    }
    Ok(if document.verdict == "reachable" { ExitCode::SUCCESS } else { ExitCode::from(exit::NO) })
}

fn paths_text(paths: &rest::Paths) -> String {
    let mut text = String::new();
    for path in &paths.paths {
        let latency = path.latency_us.map_or(String::new(), |us| format!(", {:.2} ms", us as f64 / 1_000.0));
        let share = path.share * 100.0;
        let bottleneck = (path.bottleneck_bps.zip(path.bottleneck.as_ref()))
            .map_or(String::new(), |(bps, link)| format!(", at most {} on {link}", rate_text(bps as f64)));
        text.push_str(&format!(
            "{}\n  cost {}{latency}, {share:.0}% of the traffic{bottleneck}\n",
            path.hops.join(" > "),
            path.cost
        ));
    }
    text + &format!("{}: {}", paths.verdict, paths.reason)
}
