//! `ballast-agent`: runs on a host, or asks the one that runs there.

use agent::core::Config;
use agent::core::config::Warning;
use agent::io::{local, lock, netns, notify::Manager, preflight, privilege, runtime, store::Store};
use anyhow::{Context, Result, anyhow};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing::warn;

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
    /// What is in force on this host and how it stands. Needs no controller and no network.
    Status(AskArguments),
    /// The program in force, object by object.
    Dump(AskArguments),
    /// What else on this host meddles with routes or drops forwarded packets, and the setting to change.
    Preflight(PreflightArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// This host's name in the topology.
    #[arg(long)]
    host: String,
    /// Addresses of the controllers.
    #[arg(long, value_delimiter = ',', required = true, value_name = "HOST:PORT,...")]
    controllers: Vec<String>,
    /// The authority's certificate (PEM).
    #[arg(long)]
    ca: PathBuf,
    /// This agent's certificate (PEM), with the name `ballast://agent/HOST`.
    #[arg(long)]
    cert: PathBuf,
    /// Its private key (PEM).
    #[arg(long)]
    key: PathBuf,
    /// The operator's public key: 64 hexadecimal digits. Without it no override is accepted.
    #[arg(long)]
    operator_key_pub: Option<PathBuf>,
    /// Folder of the ledger.
    #[arg(long, default_value = "/var/lib/ballast-agent")]
    state: PathBuf,
    /// Local socket for `status` and `dump`.
    #[arg(long, default_value = "/run/ballast-agent/agent.sock")]
    socket: PathBuf,
    /// Network namespace to run in: a name as ip-netns(8) knows it, or a path.
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
    /// End the agent that runs in this network namespace or with this state folder, and take its place.
    #[arg(long)]
    take_over: bool,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
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

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// The agent does not run, or does not answer.
const EXIT_NOT_REACHABLE: u8 = 5;

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => match run(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("ballast-agent: {error:#}");
                ExitCode::FAILURE
            }
        },
        Command::Status(arguments) => ask(&arguments, "status"),
        Command::Dump(arguments) => ask(&arguments, "dump"),
        Command::Preflight(arguments) => {
            let warnings = preflight::check(&arguments.root);
            let document = json!({"schema": "ballast.preflight/v1", "warnings": warnings});
            print(&if arguments.json { pretty(&document) } else { warnings_table(&document) });
            ExitCode::SUCCESS
        }
    }
}

fn run(arguments: &RunArguments) -> Result<()> {
    log_to_standard_error(arguments.log_format);
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
    let config = Config { host: arguments.host.clone(), operator_key, warnings, ..Config::default() };
    let settings = runtime::Settings {
        config,
        lock,
        store,
        manager,
        socket: arguments.socket.clone(),
        controllers: arguments.controllers.clone(),
        tls,
    };
    // One thread for everything that waits; the kernel and the ledger have their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(runtime::run(settings))
}

fn log_to_standard_error(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BALLAST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    match format {
        LogFormat::Json => builder.json().init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
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

fn ask(arguments: &AskArguments, request: &str) -> ExitCode {
    let socket = arguments.socket.display();
    let line = match local::ask(&arguments.socket, request) {
        Ok(line) => line,
        Err(error) => {
            eprintln!("no agent answers at {socket} ({error}): is ballast-agent running? give its --socket");
            return ExitCode::from(EXIT_NOT_REACHABLE);
        }
    };
    match serde_json::from_str::<Value>(&line) {
        Ok(document) if document.get("error").is_none() => {
            let text = if arguments.json || request == "dump" { pretty(&document) } else { table(&document) };
            print(&text);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("the agent at {socket} answered: {}", line.trim());
            ExitCode::from(EXIT_NOT_REACHABLE)
        }
    }
}

#[allow(clippy::print_stdout, reason = "the answer is this command's output")]
fn print(text: &str) {
    println!("{text}");
}

fn pretty(document: &Value) -> String {
    serde_json::to_string_pretty(document).unwrap_or_default()
}

/// The status for a person: what is in force, whether the kernel holds it, what is missing and why.
fn table(status: &Value) -> String {
    let word = |key: &str| match &status[key] {
        Value::Null => "none".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let short = |key: &str| word(key).chars().take(12).collect::<String>();
    let whole = status["digest"] == status["effective_digest"];
    let mut lines = vec![
        format!("host         {}", word("host")),
        format!(
            "program      generation {} revision {} digest {}",
            word("generation"),
            word("revision"),
            short("digest")
        ),
        format!("kernel       {}", if whole { "holds all of it" } else { "differs, see below" }),
        format!("confirmed    {}", word("confirmed")),
        format!(
            "controller   {}",
            if status["connected"] == true { word("controller") } else { "none connected".into() }
        ),
        format!(
            "objects      {} installed, {} pending, {} refused",
            status["objects"]["installed"], status["objects"]["pending"], status["objects"]["refused"]
        ),
        format!(
            "last look    {} ms ago, {} writes since the agent started",
            word("applied_age_ms"),
            word("writes_total")
        ),
    ];
    for kind in ["refused", "pending"] {
        for waiting in status[kind].as_array().into_iter().flatten() {
            let text = |key: &str| waiting[key].as_str().unwrap_or_default().to_string();
            lines.push(format!("{kind:<12} {}: {}", text("object"), text("reason")));
        }
    }
    let warned = status["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty());
    lines.extend(warned.then(|| warnings_table(status)));
    lines.join("\n")
}

/// Warnings for a person: what it is, what it does, what to change.
fn warnings_table(document: &Value) -> String {
    let warnings = document["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |warning: &Value, key: &str| warning[key].as_str().unwrap_or_default().to_string();
    let line = |warning: &Value| {
        let [name, words, setting] = ["name", "text", "setting"].map(|key| text(warning, key));
        format!("warning      {name}: {words}\n  to change  {setting}")
    };
    match warnings {
        [] => "nothing on this host gets into the way of Ballast's routes".to_string(),
        some => some.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}
