//! Networks of other tools as topology files.
//!
//! A reader per format turns text into a [`Found`]: what the source says, in its own words and order, with
//! nothing invented. What the source does not say (interfaces, costs, unique names) is one shared stage's
//! business, as is the writing of the file. Pure: text in, text out.

mod graphml;
mod net2plan;
mod repetita;
mod rocketfuel;
mod sndlib;
mod source;
mod topohub;
mod xml;

use ipnetwork::IpNetwork;
use thiserror::Error;

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
