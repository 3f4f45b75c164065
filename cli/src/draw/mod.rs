//! `ballast draw`: a topology file as a picture (SVG). Where nodes say where they stand they stand there, on a map; else a
//! force-directed layout places them. Links are coloured by how full the demands make them.

mod layout;
mod picture;

use crate::arguments::Draw;
use crate::exit::{self, Done, Failure};
use crate::load::Chosen;
use crate::offline::compiled;
use crate::output::say;
use plan::Facts;
use plan::load::load as load_of;
use std::process::ExitCode;

/// Nodes up to which a picture can be read; more are drawn, with a word.
const READABLE_NODES: usize = 100;
/// Nodes up to which a picture is drawn at all.
const NODES_MAX: usize = 2_000;

pub(crate) fn draw(arguments: &Draw) -> Done {
    let (topology, network) = compiled(&arguments.file)?;
    let nodes = topology.nodes.len();
    if nodes > NODES_MAX {
        let message = format!("{nodes} nodes are more than a picture can show (at most {NODES_MAX})");
        return Err(Failure::new(exit::NO, message));
    }
    if nodes > READABLE_NODES {
        say(&format!("{nodes} nodes: names will overlap beyond about {READABLE_NODES}"));
    }
    let chosen = Chosen::of(arguments.demands.as_deref(), &topology)?;
    let load = load_of(&topology, &Facts::default(), &network, chosen.demands());
    let placed = layout::place(&topology);
    let text = picture::svg(&topology, &placed, &load, matches!(chosen, Chosen::Generated(_)));
    let out = arguments.output.display().to_string();
    std::fs::write(&arguments.output, text)
        .map_err(|error| Failure::new(exit::NO, format!("{out}: {error}")))?;
    let how = if placed.geographic { "on their places" } else { "by their links" };
    say(&format!("{out}: {nodes} nodes {how}, {} links", topology.links.len()));
    Ok(ExitCode::SUCCESS)
}
