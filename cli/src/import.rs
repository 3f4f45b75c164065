//! `ballast import`: another tool's file becomes a topology file.

use crate::arguments::Import;
use crate::exit::{self, Done, Failure};
use crate::files::bytes_of;
use crate::output::{json, print, say};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use topology::import::{self, Options};

/// Most lines of each kind that a person is told.
const TOLD_MAX: usize = 12;

/// `ballast import`.
pub(crate) fn import(arguments: &Import) -> Done {
    let to_stdout = match arguments.output.as_deref() {
        None => !arguments.json.json,
        Some(path) => path == Path::new("-"),
    };
    if to_stdout && arguments.json.json {
        let message = "`--json` and `--output -` both want standard output: give the file a name";
        return Err(Failure::new(exit::USAGE, message));
    }
    let bytes = bytes_of(&arguments.file)?;
    let companion = arguments.demands.as_deref().map(bytes_of).transpose()?;
    let options = Options { format: arguments.format, cost: arguments.cost };
    let name = arguments.file.display().to_string();
    let import = import::import(&name, &bytes, companion.as_deref(), options)
        .map_err(|error| Failure::new(exit::NO, format!("{name}: {error}")))?;
    if let Some(path) = arguments.output.as_deref().filter(|_| !to_stdout) {
        std::fs::write(path, &import.text)
            .map_err(|error| Failure::new(exit::NO, format!("{}: {error}", path.display())))?;
    }
    if arguments.json.json {
        json(&document(&import));
    } else if to_stdout {
        print(&import.text);
    }
    if !arguments.json.json {
        say(&summary(&import));
    }
    Ok(ExitCode::SUCCESS)
}

/// `ballast.import/v1`.
#[derive(Serialize)]
struct Document<'i> {
    schema: &'static str,
    format: &'static str,
    cost: &'static str,
    nodes: Vec<Node<'i>>,
    links: Vec<Link<'i>>,
    demands: usize,
    invented: &'i [String],
    dropped: &'i [String],
}

#[derive(Serialize)]
struct Node<'i> {
    source_id: &'i str,
    name: &'i str,
}

#[derive(Serialize)]
struct Link<'i> {
    source_index: Index<'i>,
    id: &'i str,
}

/// Most sources number their links; some name them.
#[derive(Serialize)]
#[serde(untagged)]
enum Index<'i> {
    Number(u64),
    Key(&'i str),
}

fn document(import: &import::Import) -> Document<'_> {
    let index = |key: &'_ str| key.parse().ok().filter(|number: &u64| number.to_string() == key);
    let links = import.links.iter().map(|(key, id)| {
        let source_index = index(key).map_or(Index::Key(key), Index::Number);
        Link { source_index, id }
    });
    Document {
        schema: "ballast.import/v1",
        format: import.format.name(),
        cost: import.cost.name(),
        nodes: import.nodes.iter().map(|(source_id, name)| Node { source_id, name }).collect(),
        links: links.collect(),
        demands: import.demands,
        invented: &import.invented,
        dropped: &import.dropped,
    }
}

/// What a person wants to know: how much was read, and what is not the source's word.
fn summary(import: &import::Import) -> String {
    let (nodes, links, demands) = (import.nodes.len(), import.links.len(), import.demands);
    let mut text = format!(
        "read as {}: {nodes} nodes, {links} links, {demands} demands, costs by {}",
        import.format, import.cost
    );
    for (title, lines) in [("invented", &import.invented), ("dropped", &import.dropped)] {
        for line in lines.iter().take(TOLD_MAX) {
            text.push_str(&format!("\n{title}: {line}"));
        }
        if lines.len() > TOLD_MAX {
            let more = lines.len() - TOLD_MAX;
            text.push_str(&format!("\n{title}: and {more} more; `--json` lists all"));
        }
    }
    text
}
