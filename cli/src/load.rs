//! `ballast load`: what every link carries under demands. Computed here.

use crate::arguments::Load;
use crate::exit::{self, Done, Failure};
use crate::files::bytes_of;
use crate::offline::compiled;
use crate::output::{json, print};
use crate::table::table;
use plan::Facts;
use plan::load::{Demands, load as load_of, rate_text};
use std::path::Path;
use std::process::ExitCode;
use topology::{Demand, Topology};
use wire::document;
use wire::rest::{LinkLoad, LoadDocument};

/// Links that the table for people shows: the most loaded ones.
const LINKS_SHOWN_MAX: usize = 40;

/// Demands as chosen on the command line.
pub(crate) enum Chosen {
    Generated(Demands<'static>),
    Listed(Vec<Demand>),
}

impl Chosen {
    /// `None` stands for the topology file's own.
    pub(crate) fn of(word: Option<&str>, topology: &Topology) -> Result<Chosen, Failure> {
        let file = match word {
            None => return Ok(Chosen::Listed(topology.demands.clone())),
            Some("uniform") => return Ok(Chosen::Generated(Demands::Uniform)),
            Some("degree") => return Ok(Chosen::Generated(Demands::Degree)),
            Some(file) => file,
        };
        let bytes = bytes_of(Path::new(file))?;
        let failed = |what: String| Failure::new(exit::NO, format!("{file}: {what}"));
        let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
        plan::demands::read(topology, &text).map(Chosen::Listed).map_err(|error| failed(error.to_string()))
    }

    pub(crate) fn demands(&self) -> Demands<'_> {
        match self {
            Chosen::Generated(demands) => *demands,
            Chosen::Listed(list) => Demands::Listed(list),
        }
    }
}

pub(crate) fn load(arguments: &Load) -> Done {
    let (topology, network) = compiled(&arguments.file)?;
    let word = arguments.demands.as_deref();
    let chosen = Chosen::of(word, &topology)?;
    if matches!(&chosen, Chosen::Listed(list) if list.is_empty()) {
        let file = word.map_or_else(|| arguments.file.display().to_string(), str::to_string);
        let help = "write `demands:`, or give --demands uniform, degree or a file";
        return Err(Failure::new(exit::NO, format!("{file} has no demands; {help}")));
    }
    let load = load_of(&topology, &Facts::default(), &network, chosen.demands());
    let document = document::load(&topology, &load, word.unwrap_or("file"));
    if arguments.format.json {
        json(&document);
    } else {
        print(&text(&document, matches!(chosen, Chosen::Generated(_))));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(document: &LoadDocument, in_units: bool) -> String {
    let mut links: Vec<&LinkLoad> = document.links.iter().collect();
    // The share of a capacity says nothing about demands in units: how links compare does.
    let most = links.iter().map(|link| link.load_bps).fold(0.0, f64::max);
    let share = |link: &LinkLoad| {
        if in_units { (most > 0.0).then(|| link.load_bps / most) } else { link.utilisation }
    };
    let key = |link: &LinkLoad| (share(link).unwrap_or(-1.0), link.load_bps);
    links.sort_by(|a, b| {
        let ((a_share, a_load), (b_share, b_load)) = (key(a), key(b));
        b_share.total_cmp(&a_share).then(b_load.total_cmp(&a_load))
    });
    let carried = |bps: f64| if in_units { format!("{bps:.2}") } else { rate_text(bps) };
    let row = |link: &&LinkLoad| {
        vec![
            link.from.clone(),
            link.to.clone(),
            carried(link.load_bps),
            link.capacity_bps.map_or("-".to_string(), |bps| rate_text(bps as f64)),
            share(link).map_or("-".to_string(), |share| format!("{:.1}%", share * 100.0)),
            link.id.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = links.iter().take(LINKS_SHOWN_MAX).map(row).collect();
    let use_heading = if in_units { "OF MOST" } else { "USE" };
    let mut text = table(&["FROM", "TO", "LOAD", "CAPACITY", use_heading, "LINK"], &rows);
    if links.len() > rows.len() {
        text.push_str(&format!("\n{} directions more, all with less use", links.len() - rows.len()));
    }
    text.push_str(&format!("\n\nsent {}", carried(document.sent_bps)));
    if document.lost_bps > 0.0 {
        text.push_str(&format!(", of which {} does not arrive", carried(document.lost_bps)));
    }
    match document.max_utilisation {
        _ if in_units => text + &format!("\nmost on a link {most:.2}"),
        Some(share) => text + &format!("\ngreatest use {:.1}%", share * 100.0),
        None => text + "\nno greatest use: no link states its capacity",
    }
}
