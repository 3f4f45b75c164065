//! `ballast-liveness`: runs beside an agent, or asks the one that runs there.

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use liveness::core::control::{Dropped, Report, SessionReport};
use liveness::io::{client, runtime};
use logging::LogFormat;
use std::path::PathBuf;
use std::process::ExitCode;

/// Tells a Ballast agent whether the neighbours at its links are alive (BFD, RFC 5880). It outlives the agent's restarts.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run. Which sessions there are, the agent says.
    Run(RunArguments),
    /// Sessions as they stand. Needs no agent, no controller and no network.
    Status(StatusArguments),
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Control socket, for root alone.
    #[arg(long, default_value = "/run/ballast-liveness/liveness.sock")]
    socket: PathBuf,
    /// Form of the log on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct StatusArguments {
    /// The running process's control socket.
    #[arg(long, default_value = "/run/ballast-liveness/liveness.sock")]
    socket: PathBuf,
    /// Print the JSON document.
    #[arg(long)]
    json: bool,
}

/// The process does not run, or does not answer.
const EXIT_NOT_REACHABLE: u8 = 5;

fn main() -> ExitCode {
    let ended = match Arguments::parse().command {
        Command::Run(arguments) => {
            logging::to_standard_error(arguments.log_format);
            runtime::run(&arguments.socket).map(|()| ExitCode::SUCCESS)
        }
        Command::Status(arguments) => status(&arguments),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("ballast-liveness: {error:#}");
        ExitCode::FAILURE
    })
}

fn status(arguments: &StatusArguments) -> Result<ExitCode> {
    let socket = arguments.socket.display();
    match client::status(&arguments.socket) {
        Ok(report) => {
            print(&if arguments.json { serde_json::to_string_pretty(&report)? } else { table(&report) });
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("nobody answers at {socket} ({error}): is ballast-liveness running? give its --socket");
            Ok(ExitCode::from(EXIT_NOT_REACHABLE))
        }
    }
}

#[allow(clippy::print_stdout, reason = "the answer is this command's output")]
fn print(text: &str) {
    println!("{text}");
}

/// The report for a person.
fn table(report: &Report) -> String {
    let mut lines: Vec<String> = report.lacks.iter().map(|lack| format!("without      {lack}")).collect();
    if report.sessions.is_empty() {
        lines.push("no sessions: an agent says which it wants".to_string());
    }
    lines.extend(report.sessions.iter().map(session_line));
    let dropped = report.dropped;
    if dropped != Dropped::default() {
        lines.push(format!(
            "dropped      {} from beyond the link, {} malformed, {} for no session",
            dropped.far, dropped.malformed, dropped.unknown
        ));
    }
    lines.join("\n")
}

fn session_line(session: &SessionReport) -> String {
    let neighbour = match session.alive {
        Some(true) => "alive",
        Some(false) => "DEAD",
        None => "unknown",
    };
    let problem = session.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
    format!(
        "{:<12} {:<24} {neighbour:<8} {} for {:.1} s ({}), failures {}, dead after {:.1} ms of silence{problem}",
        session.interface,
        session.remote.to_string(),
        session.state,
        session.since_ms as f64 / 1_000.0,
        session.diagnostic,
        session.failures,
        session.detection_us as f64 / 1_000.0,
    )
}
