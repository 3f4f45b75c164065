//! `ballast what-if`: what a failure, a drain or another cost would do. Computed here.

use crate::arguments::WhatIf;
use crate::exit::{self, Done, Failure};
use crate::offline::{compiled, link, node};
use crate::output::{json, print};
use plan::Facts;
use plan::failures::Element;
use plan::load::rate_text;
use plan::what_if::{Supposed, what_if as effect_of};
use std::process::ExitCode;
use topology::Topology;
use wire::document;
use wire::rest::{ForwardingHop, WhatIfDocument};

/// Lines of each part that people see; the JSON document has them all.
const LINES_MAX: usize = 40;

pub(crate) fn what_if(arguments: &WhatIf) -> Done {
    let (topology, network) = compiled(&arguments.file)?;
    let supposed = supposed(arguments, &topology)?;
    if supposed == Supposed::default() {
        return Err(Failure::new(exit::USAGE, "suppose something: --fail, --drain or --cost"));
    }
    let effect = effect_of(&topology, &Facts::default(), &network, &supposed);
    let document = document::what_if(&topology, &effect);
    if arguments.format.json {
        json(&document);
    } else {
        print(&text(&document));
    }
    Ok(ExitCode::SUCCESS)
}

fn supposed(arguments: &WhatIf, topology: &Topology) -> Result<Supposed, Failure> {
    let mut supposed = Supposed::default();
    for name in &arguments.fail {
        supposed.fail.push(match name.contains("--") {
            true => Element::Link(link(topology, name)?),
            false => Element::Node(node(topology, name)?),
        });
    }
    for name in &arguments.drain {
        supposed.drain.push(node(topology, name)?);
    }
    for text in &arguments.cost {
        let wrong = || {
            let message = format!("--cost {text} is not LINK=COST with a cost of 1 to 4294967295");
            Failure::new(exit::USAGE, message)
        };
        let (name, cost) = text.rsplit_once('=').ok_or_else(wrong)?;
        let cost = cost.parse().ok().filter(|cost| *cost > 0).ok_or_else(wrong)?;
        supposed.costs.push((link(topology, name)?, cost));
    }
    Ok(supposed)
}

fn text(document: &WhatIfDocument) -> String {
    let hops = |hops: &[ForwardingHop]| match hops {
        [] => "nowhere".to_string(),
        hops => hops.iter().map(|hop| hop.via.as_str()).collect::<Vec<_>>().join(" | "),
    };
    let changed = document.changed.iter().map(|change| {
        format!(
            "  {} to {}: {} -> {}",
            change.host,
            change.destination,
            hops(&change.before),
            hops(&change.after)
        )
    });
    let lost = document.pairs_lost.iter().map(|[from, to]| format!("  {from} would not reach {to}"));
    let over = document.overloaded.iter().map(|over| {
        format!(
            "  {} to {}: {}, {:.1}% of its capacity (before: {:.1}%)",
            over.from,
            over.to,
            rate_text(over.load_bps),
            over.utilisation * 100.0,
            over.utilisation_before * 100.0
        )
    });
    let parts = [
        ("changes of forwarding", document.changed_total, changed.take(LINES_MAX).collect::<Vec<_>>()),
        ("pairs lost", document.pairs_lost.len(), lost.take(LINES_MAX).collect()),
        ("links over load", document.overloaded.len(), over.take(LINES_MAX).collect()),
    ];
    let mut text = String::new();
    for (name, total, lines) in parts {
        text.push_str(&format!("{name}: {total}\n"));
        for line in &lines {
            text.push_str(line);
            text.push('\n');
        }
        if total > lines.len() {
            text.push_str(&format!("  and {} more; see --json\n", total - lines.len()));
        }
    }
    if let (Some(before), Some(after)) = (document.max_utilisation_before, document.max_utilisation) {
        text.push_str(&format!("greatest link use: {:.1}% -> {:.1}%", before * 100.0, after * 100.0));
    }
    text
}
