//! Networks of other tools as topology files.
//!
//! A reader per format turns text into a `Found`: what the source says, in its own words and order, with
//! nothing invented. What the source does not say (interfaces, costs, unique names) is one shared stage's
//! business, as is the writing of the file. Pure: text in, text out.
//!
//! [`import`] ties the stages together: `guess` (which format), the reader, `fit` (what a topology file cannot
//! hold), `names`, `cost`, `write`.

mod containerlab;
mod cost;
mod fit;
mod graphml;
mod guess;
mod json;
mod names;
mod net2plan;
mod netbox;
mod repetita;
mod rocketfuel;
mod sndlib;
mod source;
mod topohub;
mod write;
mod xml;

use crate::diagnostic::Problems;
use ipnetwork::IpNetwork;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

pub use cost::CostRule;

/// Nodes that are named in a line for people; the others are counted.
const NAMED_MAX: usize = 100;

/// A format that can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// `.clab.yml` of containerlab.
    Containerlab,
    /// GraphML of the Internet Topology Zoo.
    Graphml,
    /// JSON of TopoHub (node-link form of NetworkX).
    Topohub,
    /// XML or native text of SNDlib.
    Sndlib,
    /// `.graph` of REPETITA, with `.demands` beside it.
    Repetita,
    /// Weights of Rocketfuel's maps, with latencies beside them.
    Rocketfuel,
    /// `.n2p` of Net2Plan.
    Net2plan,
    /// JSON as NetBox's REST API returns it.
    Netbox,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 8] = [
        Format::Containerlab,
        Format::Graphml,
        Format::Topohub,
        Format::Sndlib,
        Format::Repetita,
        Format::Rocketfuel,
        Format::Net2plan,
        Format::Netbox,
    ];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Containerlab => "containerlab",
            Format::Graphml => "graphml",
            Format::Topohub => "topohub",
            Format::Sndlib => "sndlib",
            Format::Repetita => "repetita",
            Format::Rocketfuel => "rocketfuel",
            Format::Net2plan => "net2plan",
            Format::Netbox => "netbox",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Format::Containerlab => "containerlab",
            Format::Graphml => "GraphML, Internet Topology Zoo",
            Format::Topohub => "JSON, TopoHub",
            Format::Sndlib => "SNDlib",
            Format::Repetita => "REPETITA",
            Format::Rocketfuel => "Rocketfuel",
            Format::Net2plan => "Net2Plan",
            Format::Netbox => "JSON, NetBox",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let known = Format::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or_else(|| format!("the formats are {}", Format::ALL.map(Format::name).join(", ")))
    }
}

/// What the caller decides instead of the importer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Guessed from content and name where nothing is said.
    pub format: Option<Format>,
    /// [`CostRule::default_of`] the format where nothing is said.
    pub cost: Option<CostRule>,
}

/// A network as a topology file, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The topology file: version 1, commented.
    pub text: String,
    /// What it was read as.
    pub format: Format,
    /// What costs are made of.
    pub cost: CostRule,
    /// The source's key of each node and its name in the file, in the source's order.
    pub nodes: Vec<(String, String)>,
    /// The source's key of each link and its id in the file, in the source's order.
    pub links: Vec<(String, String)>,
    /// How many demands the file has.
    pub demands: usize,
    /// What the source does not say and the file must, a line for people each.
    pub invented: Vec<String>,
    /// What the source says and the file cannot, a line for people each.
    pub dropped: Vec<String>,
}

/// Makes a topology file of another tool's file. `file_name` names the source in the file's header and helps to
/// guess the format; `companion` is the second file of a network: demands for REPETITA, latencies for Rocketfuel.
///
/// Bounded in time and memory by [`crate::FILE_BYTES_MAX`] for either file.
pub fn import(
    file_name: &str,
    bytes: &[u8],
    companion: Option<&[u8]>,
    options: Options,
) -> Result<Import, ImportError> {
    let text = text(bytes)?;
    let companion = companion.map(self::text).transpose()?;
    let format = options.format.map_or_else(|| guess::guess(file_name, text), Ok)?;
    let mut found = read(format, file_name, text, companion)?;
    if found.nodes.is_empty() {
        let message = format!("there is no node in this file, read as {format}");
        return Err(ImportError {
            line: None,
            message,
            help: "check the file, or name its `--format`".to_owned(),
        });
    }
    if found.nodes.len() > source::NODES_MAX {
        let message =
            format!("{} nodes, more than the {} that are read", found.nodes.len(), source::NODES_MAX);
        return Err(ImportError { line: None, message, help: "import a part of the network".to_owned() });
    }
    fit::fit(&mut found);
    let costs = cost::costs(&found, format, options.cost)?;
    let given = names::nodes(&found.nodes);
    let ends: Vec<[(usize, Option<&str>); 2]> = found
        .links
        .iter()
        .map(|link| [0, 1].map(|end| (link.ends[end], link.interfaces[end].as_deref())))
        .collect();
    let interfaces = names::interfaces(given.len(), &ends);
    let loopbacks = fit::loopbacks(&found, &given);
    let invented = invented(&mut found, &given, &interfaces, &costs, &loopbacks);
    let dropped = std::mem::take(&mut found.dropped);
    let zones = names::distinct(found.nodes.iter().filter_map(|node| node.zone.as_deref()), "zone");
    let network = network(&found, file_name);
    let text = write::File {
        source: file_name.rsplit('/').next().unwrap_or(file_name),
        format: format.words(),
        network: &network,
        found: &found,
        nodes: &given,
        zones: &zones,
        interfaces: &interfaces,
        costs: &costs,
        loopbacks: &loopbacks,
        invented: &invented,
        dropped: &dropped,
    }
    .text();
    check(&text)?;
    let links = found.links.iter().zip(&interfaces);
    let links =
        links.map(|(link, interfaces)| (link.source_index.clone(), link_id(link, &given, interfaces)));
    Ok(Import {
        text,
        format,
        cost: costs.rule,
        links: links.collect(),
        nodes: found.nodes.iter().map(|node| node.source_id.clone()).zip(given.iter().cloned()).collect(),
        demands: found.demands.len(),
        invented,
        dropped,
    })
}

/// A file that was made is read once before anybody else reads it: a source can be larger than a file may be.
fn check(text: &str) -> Result<(), ImportError> {
    let reading = crate::read("", text.as_bytes());
    let problem = reading.diagnostics.into_iter().find(|_| reading.topology.is_none());
    problem.map_or(Ok(()), |problem| {
        Err(ImportError {
            line: None,
            message: format!("no topology file can hold this network: {}", problem.message),
            help: problem.help,
        })
    })
}

/// The file as text; the same rules as for topology files.
fn text(bytes: &[u8]) -> Result<&str, ImportError> {
    let (sources, problems) = crate::read::sources(&[("", bytes)]);
    let text = sources.first().map_or("", |source| source.text);
    if problems.has_errors() { Err(first_problem(problems)) } else { Ok(text) }
}

/// The first of some problems.
fn first_problem(problems: Problems) -> ImportError {
    let (list, _) = problems.finish(&[]);
    let first = list.into_iter().next();
    let (line, message, help) = first.map_or_else(
        || (None, "this file cannot be read".to_owned(), "check the file".to_owned()),
        |problem| (Some(problem.line), problem.message, problem.help),
    );
    ImportError { line, message, help }
}

fn read(format: Format, file_name: &str, text: &str, companion: Option<&str>) -> Result<Found, ImportError> {
    let alone = |found: Result<Found, ImportError>| match companion {
        None => found,
        Some(_) => Err(ImportError {
            line: None,
            message: format!("a second file beside this one is not part of the format {format}"),
            help: "leave it out: REPETITA takes demands, Rocketfuel takes latencies".to_owned(),
        }),
    };
    match format {
        Format::Containerlab => alone(containerlab::read(text)),
        Format::Graphml => alone(graphml::read(text)),
        Format::Topohub => alone(topohub::read(text)),
        Format::Sndlib => alone(sndlib::read(text)),
        Format::Net2plan => alone(net2plan::read(text)),
        Format::Netbox => alone(netbox::read(text)),
        Format::Repetita => repetita::read(text, companion),
        // Both files have the same layout: the name alone tells a lone file of latencies.
        Format::Rocketfuel if companion.is_none() && file_name.contains("latenc") => {
            rocketfuel::read(None, Some(text))
        }
        Format::Rocketfuel => rocketfuel::read(Some(text), companion),
    }
}

/// The network's name: the source's, else the file's without what follows the first point.
fn network(found: &Found, file_name: &str) -> String {
    let file = file_name.rsplit('/').next().unwrap_or_default();
    let stem = file.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    let names = [found.name.as_deref().unwrap_or_default(), stem].map(names::legal);
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| "network".to_owned())
}

/// `a:eth1--b:eth2`: the two ends sorted as text, as the reader of the file does.
fn link_id(link: &FoundLink, given: &[String], interfaces: &[String; 2]) -> String {
    let mut ends = [0, 1].map(|end| format!("{}:{}", given[link.ends[end]], interfaces[end]));
    ends.sort();
    ends.join("--")
}

/// All lines of what the source does not say: the reader's own first.
fn invented(
    found: &mut Found,
    given: &[String],
    interfaces: &[[String; 2]],
    costs: &cost::Costs,
    loopbacks: &fit::Loopbacks,
) -> Vec<String> {
    let mut lines = std::mem::take(&mut found.invented);
    lines.extend(renamed_nodes(found, given));
    lines.extend(renamed_interfaces(found, given, interfaces));
    lines.extend(costs.invented.iter().cloned());
    lines.extend(latencies(found));
    lines.extend(addressing(loopbacks, given));
    lines
}

/// A line for each node whose name is not its own; what it was called becomes a label.
fn renamed_nodes(found: &mut Found, given: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut more = 0;
    for (node, name) in found.nodes.iter_mut().zip(given) {
        let words = names::words(node).to_owned();
        if words == *name {
            continue;
        }
        if lines.len() < NAMED_MAX {
            let key = match &node.source_id {
                id if *id == words => String::new(),
                id => format!(" (key {id})"),
            };
            lines.push(format!("name {name} of the node {}{key}", crate::diagnostic::quote(&words)));
        } else {
            more += 1;
        }
        let taken = node.labels.iter().any(|(key, _)| key == "source-name");
        if !taken && crate::names::label_value(&words).is_ok() {
            node.labels.push(("source-name".to_owned(), words));
        }
    }
    if more > 0 {
        lines.push(format!("names of {more} more nodes"));
    }
    lines
}

/// Interfaces that the source does not name, and those whose name is not allowed.
fn renamed_interfaces(found: &Found, given: &[String], interfaces: &[[String; 2]]) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut unnamed, mut more) = (0, 0);
    for (link, names) in found.links.iter().zip(interfaces) {
        for end in 0..2 {
            match &link.interfaces[end] {
                Some(words) if *words == names[end] => {}
                Some(words) if lines.len() < NAMED_MAX => {
                    let (node, words) = (&given[link.ends[end]], crate::diagnostic::quote(words));
                    lines.push(format!("interface {} of {node}, in the source {words}", names[end]));
                }
                Some(_) => more += 1,
                None => unnamed += 1,
            }
        }
    }
    if more > 0 {
        lines.push(format!("names of {more} more interfaces"));
    }
    if unnamed > 0 {
        lines.push(format!("names of {unnamed} interfaces: eth1, eth2 and so on in the order of links"));
    }
    lines
}

/// Latencies that stand in the file, but not in the source.
fn latencies(found: &Found) -> Option<String> {
    let unstated = found.links.iter().filter(|link| link.latency_us.is_none());
    let made = unstated.filter(|link| cost::latency_us(found, link).is_some()).count();
    (made > 0).then(|| format!("latencies of {made} links: 5 us for each kilometre"))
}

fn addressing(loopbacks: &fit::Loopbacks, given: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some([v4, v6]) = &loopbacks.ranges {
        let why = "the defaults overlap with the network, or are too tight for it";
        lines.push(format!("loopback ranges {v4} and {v6}: {why}"));
    }
    for (at, pins) in &loopbacks.pins {
        let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
        lines.push(format!(
            "loopback {} of {}: by its name it would be another node's",
            pins.join(", "),
            given[*at]
        ));
    }
    lines
}

/// What a reader found. Positions in `links` and `demands` are those of `nodes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Found {
    /// The network's name, when the source has one.
    pub(crate) name: Option<String>,
    /// In the source's order.
    pub(crate) nodes: Vec<FoundNode>,
    /// In the source's order; both directions of a link are one entry.
    pub(crate) links: Vec<FoundLink>,
    /// In the source's order.
    pub(crate) demands: Vec<FoundDemand>,
    /// What the reader had to add to make sense of the source, a line for people each.
    pub(crate) invented: Vec<String>,
    /// What the source says and a topology file cannot, a line for people each.
    pub(crate) dropped: Vec<String>,
}

/// A node as the source has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FoundNode {
    /// The source's own key: unique within the source.
    pub(crate) source_id: String,
    /// What a person calls it, when that is something else; not unique in some sources.
    pub(crate) label: Option<String>,
    /// Failure domain.
    pub(crate) zone: Option<String>,
    /// (latitude, longitude) in degrees.
    pub(crate) location: Option<(f64, f64)>,
    /// Prefixes behind the node.
    pub(crate) prefixes: Vec<IpNetwork>,
    /// Key and value, as in the source.
    pub(crate) labels: Vec<(String, String)>,
}

/// A link as the source has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FoundLink {
    /// The source's own number or key of the link: of its first direction, where it has one for each.
    pub(crate) source_index: String,
    /// Positions of the two nodes.
    pub(crate) ends: [usize; 2],
    /// Interfaces, where the source names them.
    pub(crate) interfaces: [Option<String>; 2],
    /// The source's own routing weight, from `ends[0]` and from `ends[1]`.
    pub(crate) weights: [Option<f64>; 2],
    /// Bits per second.
    pub(crate) capacity_bps: Option<u64>,
    /// One way, in microseconds.
    pub(crate) latency_us: Option<f64>,
    /// Kilometres.
    pub(crate) distance_km: Option<f64>,
    /// Largest IP packet in bytes.
    pub(crate) mtu_bytes: Option<u32>,
    /// Numbered addresses of each end.
    pub(crate) addresses: [Vec<IpNetwork>; 2],
}

/// Traffic as the source has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundDemand {
    /// Position of the node where it enters.
    pub(crate) from: usize,
    /// Position of the node where it leaves.
    pub(crate) to: usize,
    /// Bits per second.
    pub(crate) rate_bps: u64,
}

/// Why a file cannot be read as the format that it is said to be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{message}\n  help: {help}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct ImportError {
    /// Line of the file, from 1, where one line is to blame.
    pub line: Option<u32>,
    /// What is wrong there, and why it matters.
    pub message: String,
    /// What to do.
    pub help: String,
}
