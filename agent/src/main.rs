//! `ballast-agent`: runs on a host, or asks the one that runs there.

mod words;

use agent::core::Config;
use agent::core::config::Warning;
use agent::core::provision;
use agent::io::local::{self, Request};
use agent::io::{lock, netns, notify::Manager, preflight, privilege, runtime, store::Store};
use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand};
use ipnetwork::IpNetwork;
use logging::LogFormat;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::warn;
use wire::package::Package;

/// The agent of a Ballast host: makes the kernel hold the host's program, and says what it holds.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent.
    Run(Box<RunArguments>),
    /// Give this host its first program, so that it can reach controllers over the network itself. Run it before the agent.
    Provision(ProvisionArguments),
    /// What is in force on this host and how it stands. Needs no controller and no network.
    Status(AskArguments),
    /// The program in force, object by object.
    Dump(AskArguments),
    /// What else on this host meddles with routes or drops forwarded packets, and the setting to change.
    Preflight(PreflightArguments),
    /// All about one destination: what the program says and since when, what the kernel does with a packet now, what is missing.
    Why(WhyArguments),
    /// Stay on the program in force, also over restarts: newer ones are refused.
    Pin(ActArguments),
    /// Take what the controllers assign again.
    Unpin(ActArguments),
    /// Go back to the confirmed program (or, from it, to the one before) and stay there.
    Rollback(ActArguments),
    /// Write nothing to the kernel any more.
    Freeze(ActArguments),
    /// Write again: the kernel is brought to the program in force.
    Unfreeze(ActArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// This host's name in the topology.
    #[arg(long, env = "BALLAST_HOST")]
    host: String,
    /// Addresses of the controllers.
    #[arg(
        long,
        env = "BALLAST_CONTROLLERS",
        value_delimiter = ',',
        required = true,
        value_name = "HOST:PORT,..."
    )]
    controllers: Vec<String>,
    /// The authority's certificate (PEM).
    #[arg(long, env = "BALLAST_CA")]
    ca: PathBuf,
    /// This agent's certificate (PEM), with the name `ballast://agent/HOST`.
    #[arg(long, env = "BALLAST_CERT")]
    cert: PathBuf,
    /// Its private key (PEM).
    #[arg(long, env = "BALLAST_KEY")]
    key: PathBuf,
    /// The operator's public key: 64 hexadecimal digits. Without it no override is accepted.
    #[arg(long, env = "BALLAST_OPERATOR_KEY_PUB")]
    operator_key_pub: Option<PathBuf>,
    /// Folder of the ledger.
    #[arg(long, default_value = "/var/lib/ballast-agent")]
    state: PathBuf,
    /// Routes that a program may have without the operator's signed word.
    #[arg(long, default_value_t = agent::core::guard::MAX_ROUTES_DEFAULT)]
    max_routes: u64,
    /// Local socket for the commands on this host.
    #[arg(long, default_value = "/run/ballast-agent/agent.sock")]
    socket: PathBuf,
    /// Network namespace to run in: a name as ip-netns(8) knows it, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
    /// End the agent that runs in this network namespace or with this state folder, and take its place.
    #[arg(long)]
    take_over: bool,
    /// Control socket of `ballast-liveness` on this host. Without it silent failures of links are not found.
    #[arg(long, value_name = "PATH")]
    liveness_socket: Option<PathBuf>,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct ProvisionArguments {
    /// What `ballast program HOST FILE --package OUT` made.
    #[arg(long, value_name = "OUT")]
    program: PathBuf,
    /// Folder of the ledger.
    #[arg(long, default_value = "/var/lib/ballast-agent")]
    state: PathBuf,
}

#[derive(Debug, Args)]
struct AskArguments {
    /// The running agent's socket.
    #[arg(long, default_value = "/run/ballast-agent/agent.sock")]
    socket: PathBuf,
    /// Print the JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PreflightArguments {
    /// The host's root folder.
    #[arg(long, default_value = "/")]
    root: PathBuf,
    /// Print the JSON document.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct WhyArguments {
    /// An address or a prefix.
    #[arg(value_parser = agent::core::destination)]
    prefix: IpNetwork,
    #[command(flatten)]
    ask: AskArguments,
}

#[derive(Debug, Args)]
struct ActArguments {
    /// Why, for whoever finds the host so.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    ask: AskArguments,
}

/// The answer is no.
const EXIT_NO: u8 = 1;
/// The agent does not run, or does not answer.
const EXIT_NOT_REACHABLE: u8 = 5;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => ended(run(&arguments)),
        Command::Provision(arguments) => ended(provision(&arguments)),
        Command::Status(arguments) => ask(&arguments, &Request::of("status")),
        Command::Dump(arguments) => ask(&arguments, &Request::of("dump")),
        Command::Why(arguments) => {
            let prefix = arguments.prefix.to_string();
            ask(&arguments.ask, &Request { prefix, ..Request::of("why") })
        }
        Command::Pin(arguments) => act(&arguments, "pin"),
        Command::Unpin(arguments) => act(&arguments, "unpin"),
        Command::Rollback(arguments) => act(&arguments, "rollback"),
        Command::Freeze(arguments) => act(&arguments, "freeze"),
        Command::Unfreeze(arguments) => act(&arguments, "unfreeze"),
        Command::Preflight(arguments) => {
            let warnings = preflight::check(&arguments.root);
            let document = json!({"schema": "ballast.preflight/v1", "warnings": warnings});
            print(&if arguments.json { words::pretty(&document) } else { words::warnings(&document) });
            ExitCode::SUCCESS
        }
    }
}

fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ballast-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn provision(arguments: &ProvisionArguments) -> Result<()> {
    let path = arguments.program.display();
    let bytes = std::fs::read(&arguments.program).with_context(|| path.to_string())?;
    let package = Package::decode(&bytes)
        .map_err(|why| anyhow!("{path}: {why}: make it by `ballast program HOST FILE --package OUT`"))?;
    let (host, digest) = (&package.program.host, package.digest.short());
    // An agent that runs would write its own ledger over this one.
    let _lock = lock::take(&arguments.state, false)?;
    let store = Store::new(&arguments.state);
    match provision::provision(store.load().as_ref(), &package)? {
        None => print(&format!("{host} holds program {digest} already")),
        Some(ledger) => {
            store.save(&ledger).with_context(|| format!("the ledger in {}", arguments.state.display()))?;
            print(&format!("{host} begins with program {digest}"));
        }
    }
    Ok(())
}

fn run(arguments: &RunArguments) -> Result<()> {
    logging::to_standard_error(arguments.log_format);
    // What needs more rights than the agent keeps comes first, before any thread starts.
    if let Some(name) = &arguments.netns {
        netns::enter(name).with_context(|| {
            format!("the network namespace {} cannot be entered", netns::path(name).display())
        })?;
    }
    // Other processes' namespaces can only be seen before rights are given up.
    let warnings = preflight::check(Path::new("/"));
    for Warning { name, text, setting } in &warnings {
        warn!(%name, %setting, "{text}");
    }
    let lock = lock::take(&arguments.state, arguments.take_over)?;
    privilege::keep_network_administration_only()?;
    let manager = Manager::from_environment().context("NOTIFY_SOCKET")?;
    let identity = transport::Identity::read(&arguments.ca, &arguments.cert, &arguments.key)?;
    let tls = transport::client_config(&identity)
        .with_context(|| format!("{} does not fit {}", arguments.key.display(), arguments.cert.display()))?;
    let operator_key = arguments.operator_key_pub.as_deref().map(read_operator_key).transpose()?;
    let store = Store::new(&arguments.state);
    let config = Config {
        host: arguments.host.clone(),
        operator_key,
        routes_max: arguments.max_routes,
        controllers: addresses_of(&arguments.controllers),
        warnings,
        ..Config::default()
    };
    let settings = runtime::Settings {
        config,
        lock,
        store,
        manager,
        socket: arguments.socket.clone(),
        liveness: arguments.liveness_socket.clone(),
        controllers: arguments.controllers.clone(),
        tls,
    };
    // One thread for everything that waits; the kernel and the ledger have their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(runtime::run(settings))
}

/// Addresses of the controllers; those given by name are not among them.
fn addresses_of(controllers: &[String]) -> Vec<IpAddr> {
    let address = |controller: &String| {
        let host = controller.rsplit_once(':').map_or(controller.as_str(), |(host, _)| host);
        let found = host.trim_matches(['[', ']']).parse().ok();
        if found.is_none() {
            tracing::warn!(%controller, "a controller given by name: the guard of its route needs its address");
        }
        found
    };
    let mut addresses: Vec<IpAddr> = controllers.iter().filter_map(address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn read_operator_key(path: &Path) -> Result<[u8; 32]> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("the operator's public key {}", path.display()))?;
    let digits = text.trim();
    let bytes: Option<Vec<u8>> = (0..digits.len() / 2)
        .map(|at| digits.get(2 * at..2 * at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect();
    bytes
        .filter(|_| digits.len() == 64)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| anyhow!("{}: the operator's public key is 64 hexadecimal digits", path.display()))
}

/// Asks the running agent and prints its answer.
fn ask(arguments: &AskArguments, request: &Request) -> ExitCode {
    let socket = arguments.socket.display();
    let line = match local::ask(&arguments.socket, request) {
        Ok(line) => line,
        Err(error) => {
            eprintln!("no agent answers at {socket} ({error}): is ballast-agent running? give its --socket");
            return ExitCode::from(EXIT_NOT_REACHABLE);
        }
    };
    let document = match serde_json::from_str::<Value>(&line) {
        Ok(document) if document.get("error").is_none() => document,
        _ => {
            eprintln!("the agent at {socket} answered: {}", line.trim());
            return ExitCode::from(EXIT_NOT_REACHABLE);
        }
    };
    print(&if arguments.json { words::pretty(&document) } else { words::human(&request.verb, &document) });
    // Only a command can be refused.
    ExitCode::from(if document["ok"] == false { EXIT_NO } else { 0 })
}

/// A command that changes something, by this session's user.
fn act(arguments: &ActArguments, verb: &str) -> ExitCode {
    // Who became root by sudo is named; the socket's other end knows who it is in any case.
    let by = ["SUDO_USER", "USER"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let request =
        Request { verb: verb.to_string(), reason: arguments.reason.clone(), by, ..Request::default() };
    ask(&arguments.ask, &request)
}

#[allow(clippy::print_stdout, reason = "the answer is this command's output")]
fn print(text: &str) {
    println!("{text}");
}
