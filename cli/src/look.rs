//! Looking at the network through a controller.

use crate::arguments::{Format, Server, Show};
use crate::client::Client;
use crate::exit::Done;
use crate::offline::short;
use crate::output::{json, print};
use crate::table::table;
use std::process::ExitCode;
use wire::rest::{Change, Changes, Host, Hosts, Links, Status};

/// `ballast status`.
pub(crate) fn status(format: Format, server: &Server) -> Done {
    let status = Client::of(server)?.status()?;
    if format.json {
        json(&status);
    } else {
        print(&status_text(&status));
    }
    Ok(ExitCode::SUCCESS)
}

fn status_text(status: &Status) -> String {
    let leader = status.leader.map_or("none".to_string(), |id| format!("c{id}"));
    let hosts = &status.hosts;
    let mut lines = vec![
        format!(
            "cluster   {}, revision {}, incarnation {}",
            status.cluster, status.revision, status.incarnation
        ),
        format!("leader    {leader}, term {}, applied {}", status.term, status.applied),
        format!("hosts     {} of {} connected, {} current", hosts.connected, hosts.total, hosts.current),
        format!(
            "links     {}",
            if status.links_down.is_empty() {
                "all up".into()
            } else {
                format!("down: {}", status.links_down.join(", "))
            }
        ),
    ];
    if !status.disagreements.is_empty() {
        lines.push(format!("disputed  {}", status.disagreements.join(", ")));
    }
    lines.push(format!(
        "change    {}",
        status.change.map_or("none in work".to_string(), |number| format!("{number} in work"))
    ));
    for member in &status.members {
        let role = match member.reachable {
            Some(true) => member.role.clone(),
            Some(false) => format!("{}, not heard from", member.role),
            None => "known to the leader alone".to_string(),
        };
        lines.push(format!("member    c{} {role}", member.id));
    }
    lines.extend(status.alarms.iter().map(|alarm| format!("ALARM     {alarm}")));
    lines.join("\n")
}

/// `ballast hosts`.
pub(crate) fn hosts(format: Format, server: &Server) -> Done {
    let hosts: Hosts = Client::of(server)?.get("/v1/hosts")?;
    if format.json {
        json(&hosts);
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<String>> = hosts
        .hosts
        .iter()
        .map(|host| {
            let dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_string());
            let kernel = match (&host.digest, &host.effective_digest) {
                (Some(program), Some(effective)) if program == effective => "as programmed".to_string(),
                (Some(_), Some(_)) => format!("{} pending, {} refused", host.pending, host.refused),
                _ => "-".to_string(),
            };
            vec![
                host.name.clone(),
                if host.connected { "yes" } else { "NO" }.to_string(),
                dash(&host.generation),
                dash(&host.assigned_generation),
                host.digest.as_deref().map_or("-".to_string(), short),
                kernel,
                neighbours(host),
            ]
        })
        .collect();
    let mut text =
        table(&["HOST", "CONNECTED", "RUNS", "ASSIGNED", "PROGRAM", "KERNEL", "NEIGHBOURS"], &rows);
    for host in &hosts.hosts {
        for alarm in &host.alarms {
            text.push_str(&format!("\nALARM {}: {alarm}", host.name));
        }
    }
    print(&text);
    Ok(ExitCode::SUCCESS)
}

/// How many of a host's neighbours are alive and dead, as liveness says there.
fn neighbours(host: &Host) -> String {
    let count = |alive| host.links.iter().filter(|link| link.neighbour == Some(alive)).count();
    match (count(true), count(false)) {
        (0, 0) => "-".to_string(),
        (alive, 0) => format!("{alive} alive"),
        (alive, dead) => format!("{alive} alive, {dead} DEAD"),
    }
}

/// `ballast links`.
pub(crate) fn links(format: Format, server: &Server) -> Done {
    let links: Links = Client::of(server)?.get("/v1/links")?;
    if format.json {
        json(&links);
        return Ok(ExitCode::SUCCESS);
    }
    let costs = |costs: [u32; 2]| {
        if costs[0] == costs[1] { costs[0].to_string() } else { format!("{}/{}", costs[0], costs[1]) }
    };
    let row = |link: &wire::rest::LinkStatus| {
        vec![link.id.clone(), link.state.clone(), costs(link.costs), link.detail.clone()]
    };
    let rows: Vec<Vec<String>> = links.links.iter().map(row).collect();
    print(&table(&["LINK", "STATE", "COST", ""], &rows));
    Ok(ExitCode::SUCCESS)
}

/// `ballast history`.
pub(crate) fn history(format: Format, server: &Server) -> Done {
    let changes: Changes = Client::of(server)?.get("/v1/changes")?;
    if format.json {
        json(&changes);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |change: &Change| {
        let number = |value: u64| value.to_string();
        vec![
            number(change.change),
            change.at.clone(),
            change.kind.clone(),
            number(change.revision),
            change.state.clone(),
            change.author.clone(),
            change.reason.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = changes.changes.iter().map(row).collect();
    print(&table(&["CHANGE", "AT", "KIND", "REVISION", "STATE", "WHO", "WHY"], &rows));
    Ok(ExitCode::SUCCESS)
}

/// `ballast show`.
pub(crate) fn show(arguments: &Show, server: &Server) -> Done {
    let change: Change = Client::of(server)?.get(&format!("/v1/changes/{}", arguments.change))?;
    if arguments.format.json {
        json(&change);
    } else {
        print(&change_text(&change));
    }
    Ok(ExitCode::SUCCESS)
}

fn change_text(change: &Change) -> String {
    let mut lines = vec![
        format!("change {} ({}), revision {}, {}", change.change, change.kind, change.revision, change.state),
        format!("by {} at {}: {}", change.author, change.at, change.reason),
    ];
    if !change.detail.is_empty() {
        lines.push(change.detail.clone());
    }
    lines.extend(change.evidence.iter().map(|word| format!("evidence: {word}")));
    for guard in &change.guards {
        let verdict = match guard.ok {
            true => "passed",
            false if change.overridden.contains(&guard.name) => "overridden",
            false => "refused",
        };
        lines.push(format!("guard {} {verdict}: {} of at most {}", guard.name, guard.value, guard.limit));
    }
    for (number, step) in change.steps.iter().enumerate() {
        let mark = if number as u32 + 1 == change.step { ">" } else { " " };
        lines.push(format!(
            "{mark} step {}: {}; then {}",
            number + 1,
            step.hosts.join(", "),
            step.gate.join(", ")
        ));
    }
    for host in &change.hosts {
        lines.push(format!("  {}: {} {} ({} writes)", host.name, host.state, host.detail, host.writes));
    }
    lines.join("\n")
}
