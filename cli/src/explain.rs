//! `ballast explain`: why a host sends a prefix where it does.

use crate::arguments::{Explain, Server};
use crate::client::Client;
use crate::exit::{self, Done, Failure};
use crate::files::topology_of;
use crate::offline::node;
use crate::output::{json, print};
use crate::table::table;
use plan::{Facts, compile};
use std::path::Path;
use std::process::ExitCode;
use topology::Topology;
use wire::document;
use wire::rest::{CandidateDocument, Changes, ExplainDocument, Links};

/// A network, and the change that made it.
struct Known {
    topology: Topology,
    facts: Facts,
    change: Option<u64>,
}

pub(crate) fn explain(arguments: &Explain, server: &Server) -> Done {
    let known = match &arguments.file {
        Some(file) => offline(file)?,
        None => online(server)?,
    };
    node(&known.topology, &arguments.host)?;
    let network = compile(&known.topology, &known.facts);
    let (host, prefix) = (&arguments.host, &arguments.prefix);
    let found = plan::explain::explain(&known.topology, &known.facts, &network, host, prefix)
        .map_err(|error| Failure::new(exit::NO, error.to_string()))?;
    let document = document::explain(host, prefix, &found, &known.topology.sources, known.change);
    if arguments.format.json {
        json(&document);
    } else {
        print(&text(&document));
    }
    Ok(ExitCode::SUCCESS)
}

fn offline(file: &Path) -> Result<Known, Failure> {
    Ok(Known { topology: topology_of(file)?, facts: Facts::default(), change: None })
}

/// The file that the controllers have accepted, and what they believe to be down.
fn online(server: &Server) -> Result<Known, Failure> {
    let client = Client::of(server)?;
    let text = client.get_text("/v1/topology")?;
    let reading = topology::read("the controllers' topology", text.as_bytes());
    let topology = reading.topology.ok_or_else(|| {
        Failure::new(
            exit::NO,
            "this version cannot read the controllers' topology; use their version of ballast",
        )
    })?;
    let links: Links = client.get("/v1/links")?;
    // A link that returns is not believed yet.
    let down = links.links.into_iter().filter(|link| link.state == "down" || link.state == "returning");
    let changes: Changes = client.get("/v1/changes")?;
    let intent = changes.changes.into_iter().find(|change| change.kind == "intent");
    Ok(Known {
        topology,
        facts: Facts { links_down: down.map(|link| link.id).collect() },
        change: intent.map(|change| change.change),
    })
}

fn text(document: &ExplainDocument) -> String {
    let mut text = format!(
        "{} on {}: {} of {}, {} line {}\n",
        document.asked,
        document.host,
        document.prefix,
        document.class,
        document.origin.file,
        document.origin.line
    );
    match (document.group, document.metric) {
        (Some(group), Some(metric)) => {
            let hops = document.next_hops.iter().map(|hop| {
                let to = hop.via.as_ref().map(|via| format!(" to {via}")).unwrap_or_default();
                format!("{} via {}{to}", hop.interface, hop.gateway)
            });
            let hops: Vec<String> = hops.collect();
            text.push_str(&format!("route at metric {metric} by group {group}: {}\n", hops.join(" | ")));
        }
        _ => text.push_str("no route\n"),
    }
    if let Some(fact) = &document.origin.fact {
        text.push_str(&format!("with all links up it would go elsewhere: {fact}\n"));
    }
    let row = |of: &CandidateDocument| {
        let backup = if of.backup { "backup; " } else { "" };
        let why = of.lost_because.as_deref().unwrap_or("used");
        let cost = of.cost.map_or("-".to_string(), |cost| cost.to_string());
        vec![of.via.clone(), of.interface.clone(), cost, format!("{backup}{why}")]
    };
    let rows: Vec<Vec<String>> = document.candidates.iter().map(row).collect();
    text + "\n" + &table(&["VIA", "INTERFACE", "COST", "WHY"], &rows)
}
