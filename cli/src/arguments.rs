//! The command line's words.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use topology::import;

/// A software-defined-networking controller that fails static.
#[derive(Debug, Parser)]
#[command(
    name = "ballast",
    version,
    after_help = "Examples:\n  \
                  ballast check topology/files/abilene.yaml          every problem of a file\n  \
                  ballast program denver topology/files/abilene.yaml what one host would get\n  \
                  ballast plan old.yaml new.yaml                     what a change would do\n  \
                  ballast apply new.yaml --reason 'second uplink' --wait\n  \
                  ballast status\n  \
                  ballast lab up topology/files/triangle.yaml        a network on this machine\n\n\
                  Exit codes: 0 done or true; 1 the answer is no (invalid file, unreachable pair); 2 usage; 3 refused by a guard;\n\
                  4 stale revision; 5 controller not reachable; 6 partial (some hosts did not acknowledge in time);\n\
                  7 halted or rolled back."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which controllers to ask, and with what.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Controllers' addresses; the next is tried when one does not answer.
    #[arg(
        long,
        global = true,
        env = "BALLAST_URL",
        value_delimiter = ',',
        value_name = "https://HOST:PORT,..."
    )]
    pub(crate) url: Vec<String>,
    /// The authority's certificate (PEM).
    #[arg(long, global = true, env = "BALLAST_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File with the bearer token.
    #[arg(long, global = true, env = "BALLAST_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check topology files: every problem at once, with place, cause and cure. Offline.
    #[command(
        after_help = "Example: ballast check *.yaml; ballast check net.yaml --json; ballast check --watch net.yaml"
    )]
    Check(Check),
    /// Bring topology files into the one order and layout, with all comments kept. Offline.
    #[command(
        after_help = "Example: ballast fmt *.yaml; ballast fmt --check *.yaml; ballast fmt - < net.yaml"
    )]
    Fmt(Fmt),
    /// Make a topology file of another tool's file. Offline.
    #[command(
        after_help = "Example: ballast import lab.clab.yml -o net.yaml; ballast import Abilene.graphml --cost distance -o abilene.yaml --json"
    )]
    Import(Import),
    /// What would change: hosts, kernel writes, guards, steps.
    #[command(
        after_help = "Example: ballast plan old.yaml new.yaml; ballast plan new.yaml --against running --json"
    )]
    Plan(Plan),
    /// The program of a host, from a file (offline) or as assigned by the controllers.
    #[command(after_help = "Example: ballast program denver topology/files/abilene.yaml")]
    Program(Program),
    /// All equal-cost paths between two nodes, from a file (offline) or as the controllers see the network.
    #[command(after_help = "Example: ballast path seattle newyork topology/files/abilene.yaml")]
    Path(PathQuestion),
    /// Why a host sends a prefix where it does: next hops, every neighbour's cost, which lost and by how much; from a file
    /// (offline) or as the controllers see the network.
    #[command(after_help = "Example: ballast explain denver 10.11.0.0/24 topology/files/abilene.yaml")]
    Explain(Explain),
    /// What a failure, a drain or another cost would do: forwarding, pairs that are cut, links over load. Offline.
    #[command(
        name = "what-if",
        after_help = "Example: ballast what-if net.yaml --fail denver--kansas --drain houston --cost atlanta--houston=50"
    )]
    WhatIf(WhatIf),
    /// Which ways there could be between two nodes, under conditions; or two that share as little as possible. Offline.
    #[command(
        after_help = "Examples: ballast ways seattle newyork net.yaml --count 3 --avoid denver\n          \
                            ballast ways seattle newyork net.yaml --disjoint risks"
    )]
    Ways(Ways),
    /// What every link carries under demands. Offline.
    #[command(after_help = "Example: ballast load net.yaml --demands uniform --json")]
    Load(Load),
    /// A picture of a topology file (SVG): on a map where nodes have locations; links coloured by load. Offline.
    #[command(
        after_help = "Example: ballast draw topology/files/abilene.yaml -o abilene.svg --demands uniform"
    )]
    Draw(Draw),
    /// The JSON Schema of topology files, for editors; or the reference of all keys. Offline.
    #[command(after_help = "Example: ballast schema > topology.schema.json; ballast schema --reference")]
    Schema(Schema),
    /// What hosts do on their own when a link fails, and how much of the network that covers. Offline.
    #[command(after_help = "Example: ballast backups topology/files/abilene.yaml --host seattle")]
    Backups(Backups),
    /// Make a topology file the network's intent.
    #[command(after_help = "Example: ballast apply net.yaml --reason 'second uplink' --wait --timeout 60")]
    Apply(Apply),
    /// Leader, members, hosts, links, alarms.
    Status(Format),
    /// All hosts: what they run, what their kernels hold.
    Hosts(Format),
    /// All links: up, down, returning, in dispute.
    Links(Format),
    /// All changes, newest first: who, when, why, how far.
    History(Format),
    /// One change: steps, guards, hosts.
    #[command(after_help = "Example: ballast show 7")]
    Show(Show),
    /// A network on this machine, of network namespaces, to try things.
    Lab(Lab),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// Print the JSON document.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Print the keys with their meaning, as Markdown.
    #[arg(long)]
    pub(crate) reference: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Topology files, or folders whose `*.yaml` files are one network.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Check again whenever a file changes, until Ctrl-C.
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,
    /// Judge also what holds after the failure of any one link or any one node.
    #[arg(long)]
    pub(crate) single_failures: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Fmt {
    /// Topology files, or folders of them; `-` reads standard input and writes standard output.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Write nothing: name the files that would change, and exit with 1 when there are any.
    #[arg(long)]
    pub(crate) check: bool,
    /// Write each node's loopbacks into the file, so that a new name or range cannot move them.
    #[arg(long)]
    pub(crate) pin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The other tool's file.
    pub(crate) file: PathBuf,
    /// What it is; guessed from content and name where nothing is said.
    #[arg(long, value_parser = formats())]
    pub(crate) format: Option<import::Format>,
    /// What links cost; each format has a default, see docs/import.md.
    #[arg(long, value_name = "RULE", value_parser = cost_rules())]
    pub(crate) cost: Option<import::CostRule>,
    /// The second file of a network: demands of REPETITA, latencies of Rocketfuel.
    #[arg(long, value_name = "FILE", visible_alias = "latencies")]
    pub(crate) demands: Option<PathBuf>,
    /// Where the topology file goes; `-` is standard output, and so is nothing without --json.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) json: Format,
}

fn formats() -> impl TypedValueParser<Value = import::Format> {
    let words = PossibleValuesParser::new(import::Format::ALL.map(import::Format::name));
    words.try_map(|word| word.parse::<import::Format>())
}

fn cost_rules() -> impl TypedValueParser<Value = import::CostRule> {
    let words = PossibleValuesParser::new(import::CostRule::ALL.map(import::CostRule::name));
    words.try_map(|word| word.parse::<import::CostRule>())
}

#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The topology file or folder; with a second one, the way from this one to that one.
    pub(crate) file: PathBuf,
    /// The file afterwards.
    pub(crate) to: Option<PathBuf>,
    /// What to compare with: `running` (ask the controllers), `nothing`, or a file. The default is `running` where a
    /// controller's address is known, else `nothing`.
    #[arg(long, conflicts_with = "to")]
    pub(crate) against: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Program {
    /// The host.
    pub(crate) host: String,
    /// Compute from this file instead of asking.
    pub(crate) file: Option<PathBuf>,
    /// Write the program to this file, for `ballast-agent provision` on a host that reaches no controller yet.
    #[arg(long, value_name = "OUT", requires = "file")]
    pub(crate) package: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct PathQuestion {
    /// From this node.
    pub(crate) from: String,
    /// To this node.
    pub(crate) to: String,
    /// Compute from this file instead of asking.
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Ways {
    /// From this node.
    pub(crate) from: String,
    /// To this node.
    pub(crate) to: String,
    /// The topology file or folder.
    pub(crate) file: PathBuf,
    /// How many, the cheapest first; at most 1,000.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) count: u16,
    /// Two ways without a common node or link (`nodes`), or without a common risk group either (`risks`), as far as there are any.
    #[arg(long, value_enum, conflicts_with_all = ["count", "via", "max_latency_us"])]
    pub(crate) disjoint: Option<Disjoint>,
    /// Keep off these nodes and links.
    #[arg(long, num_args = 1.., value_name = "LINK|NODE")]
    pub(crate) avoid: Vec<String>,
    /// Keep off links of these risk groups (`srlg`).
    #[arg(long, num_args = 1.., value_name = "SRLG")]
    pub(crate) avoid_risk: Vec<String>,
    /// Keep off links with any of these affinity labels.
    #[arg(long, num_args = 1.., value_name = "LABEL")]
    pub(crate) without: Vec<String>,
    /// Use only links with all of these affinity labels.
    #[arg(long, num_args = 1.., value_name = "LABEL")]
    pub(crate) with: Vec<String>,
    /// Use only links with one of these affinity labels.
    #[arg(long, num_args = 1.., value_name = "LABEL")]
    pub(crate) with_any: Vec<String>,
    /// Pass these nodes, in this order.
    #[arg(long, num_args = 1.., value_name = "NODE")]
    pub(crate) via: Vec<String>,
    /// Bound on the latency, one way; links without one count 0.
    #[arg(long, value_name = "MICROSECONDS")]
    pub(crate) max_latency_us: Option<u64>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Disjoint {
    /// No node and no link in common.
    Nodes,
    /// No risk group either.
    Risks,
}

#[derive(Debug, Args)]
pub(crate) struct Draw {
    /// The topology file.
    pub(crate) file: PathBuf,
    /// Where to write the picture.
    #[arg(short, long, value_name = "MAP.svg")]
    pub(crate) output: PathBuf,
    /// `uniform`, `degree`, or a file of demands; the default is the topology file's own.
    #[arg(long)]
    pub(crate) demands: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The host.
    pub(crate) host: String,
    /// An address or a prefix.
    pub(crate) prefix: String,
    /// Compute from this file or folder instead of asking.
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct WhatIf {
    /// The topology file or folder.
    pub(crate) file: PathBuf,
    /// Links and nodes that fail, all at once: `denver--kansas`, `denver:eth1--kansas:eth2`, `denver`.
    #[arg(long, num_args = 1.., value_name = "LINK|NODE")]
    pub(crate) fail: Vec<String>,
    /// Nodes that are drained.
    #[arg(long, num_args = 1.., value_name = "NODE")]
    pub(crate) drain: Vec<String>,
    /// Links that get another cost, in both directions.
    #[arg(long, num_args = 1.., value_name = "LINK=COST")]
    pub(crate) cost: Vec<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The topology file, or a folder of them.
    pub(crate) file: PathBuf,
    /// Demands instead of the topology file's own: `uniform` (a unit between all pairs), `degree` (the product of the two
    /// nodes' numbers of links), or a file: `from,to,rate` a line, or REPETITA's `.demands`.
    #[arg(long, value_name = "uniform|degree|FILE")]
    pub(crate) demands: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Backups {
    /// The topology file.
    pub(crate) file: PathBuf,
    /// Only what this host does; the coverage is still that of the network.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Only what is done for packets to this node.
    #[arg(long)]
    pub(crate) destination: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The topology file, or a folder of them.
    pub(crate) file: PathBuf,
    /// Why; it is kept in the history.
    #[arg(long)]
    pub(crate) reason: String,
    /// Refuse when the network's revision is another one.
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
    /// Override this guard; needs --key. May be given more than once.
    #[arg(long = "override", value_name = "GUARD", requires = "key")]
    pub(crate) overrides: Vec<String>,
    /// The operator's private key (PKCS#8, PEM).
    #[arg(long, value_name = "FILE", requires = "overrides")]
    pub(crate) key: Option<PathBuf>,
    /// Wait until the change is done, halted, or --timeout is over.
    #[arg(long)]
    pub(crate) wait: bool,
    /// Bound of --wait in seconds.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Number of the change.
    pub(crate) change: u64,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Lab {
    /// Which lab; the default is the newest.
    #[arg(long, global = true, value_name = "RUN_ID")]
    pub(crate) run: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: LabVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabVerb {
    /// Make the lab of a topology file, apply it, and ask every pair of hosts.
    Up(LabUp),
    /// What runs, what is cut.
    Status(Format),
    /// Pull a link's cable: `denver--kansas` or `denver:eth1--kansas:eth2`.
    Cut(LabCut),
    /// Plug it in again.
    Mend {
        /// The link.
        link: String,
        #[command(flatten)]
        format: Format,
    },
    /// Run a command on a host.
    Exec {
        /// The host.
        host: String,
        /// The command.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// `kill -9` of a controller (`c1`), of a host's agent, or of its liveness process.
    Kill {
        /// `c1`, a host, or `HOST@liveness`.
        id: String,
    },
    /// Start what was killed.
    Start {
        /// `c1`, or a host.
        id: String,
    },
    /// Reboot a host: its kernel forgets everything, its disk does not.
    Reboot {
        /// The host.
        host: String,
    },
    /// Namespaces and links follow a changed file (apply it with `ballast apply`).
    Sync {
        /// The changed file.
        file: PathBuf,
    },
    /// Ask every pair of hosts again.
    Ping(Format),
    /// Last lines of every log.
    Logs {
        /// How many lines.
        #[arg(long, default_value_t = 20)]
        tail: usize,
    },
    /// Print address and credentials for `ballast`: eval "$(scripts/lab env)".
    Env,
    /// Take the lab down; without --run all labs that were made by hand. Leaves nothing.
    Down,
    /// Take down labs whose owner is gone.
    #[command(hide = true)]
    Sweep,
}

#[derive(Debug, Args)]
pub(crate) struct LabUp {
    /// The topology file, or a folder of them.
    pub(crate) file: PathBuf,
    /// How agents reach controllers; without it, as the file says. With in_band, controllers that the file does not
    /// name are put behind the nodes with most links.
    #[arg(long, value_enum)]
    pub(crate) management: Option<Management>,
    /// Number of controllers; without it 3, or those that the file names.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=7))]
    pub(crate) controllers: Option<u64>,
    /// End the lab when this process is gone.
    #[arg(long, hide = true)]
    pub(crate) owner_pid: Option<u32>,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Management {
    /// A network of its own.
    Separate,
    /// Over the network itself.
    #[value(name = "in_band")]
    InBand,
}

#[derive(Debug, Args)]
pub(crate) struct LabCut {
    /// The link.
    pub(crate) link: String,
    /// Which end goes down.
    #[arg(long, value_enum, default_value_t = CutEnd::A)]
    pub(crate) end: CutEnd,
    /// Drop packets at both ends; the carrier stays.
    #[arg(long)]
    pub(crate) silent: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CutEnd {
    /// The first end of the link's id.
    #[value(name = "A", alias = "a")]
    A,
    /// The second.
    #[value(name = "B", alias = "b")]
    B,
    /// Both.
    Both,
}
