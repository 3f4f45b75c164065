//! `ballast`: the command line. Offline verbs compute on this machine what a controller would compute; the others ask a
//! controller. JSON goes to standard output alone, progress and errors to standard error.

mod apply;
mod arguments;
mod backups;
mod client;
mod draw;
mod exit;
mod explain;
mod files;
mod format;
mod import;
mod lab_verbs;
mod load;
mod look;
mod offline;
mod output;
mod table;
mod violations;
mod watch;
mod ways;
mod what_if;

use arguments::{Arguments, Command};
use clap::Parser;
use exit::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Check(check) if check.watch => watch::watch(&check),
        Command::Check(check) => offline::check(&check),
        Command::Fmt(files) => format::fmt(&files),
        Command::Import(arguments) => import::import(&arguments),
        Command::Plan(plan) => offline::plan(&plan, &arguments.server),
        Command::Program(program) => offline::program(&program, &arguments.server),
        Command::Path(path) => offline::path(&path, &arguments.server),
        Command::Draw(draw) => draw::draw(&draw),
        Command::Explain(explain) => explain::explain(&explain, &arguments.server),
        Command::Ways(ways) => ways::ways(&ways),
        Command::WhatIf(what_if) => what_if::what_if(&what_if),
        Command::Load(load) => load::load(&load),
        Command::Schema(schema) => offline::schema(&schema),
        Command::Backups(backups) => backups::backups(&backups),
        Command::Apply(apply) => apply::apply(&apply, &arguments.server),
        Command::Status(format) => look::status(format, &arguments.server),
        Command::Hosts(format) => look::hosts(format, &arguments.server),
        Command::Links(format) => look::links(format, &arguments.server),
        Command::History(format) => look::history(format, &arguments.server),
        Command::Show(show) => look::show(&show, &arguments.server),
        Command::Lab(lab) => lab_verbs::run(&lab),
    };
    match done {
        Ok(code) => code,
        Err(Failure { code, message }) => {
            output::say(&format!("ballast: {message}"));
            code
        }
    }
}
