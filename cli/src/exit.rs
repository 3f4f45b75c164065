//! Exit codes: a contract, see docs/cli.md.

use std::process::ExitCode;

/// The answer is no: an invalid file, an unreachable pair.
pub(crate) const NO: u8 = 1;
/// Wrong usage (clap's own code too).
pub(crate) const USAGE: u8 = 2;
/// Refused by a guard.
pub(crate) const GUARD: u8 = 3;
/// Somebody else changed the network in between.
pub(crate) const STALE: u8 = 4;
/// No controller answers.
pub(crate) const UNREACHABLE: u8 = 5;
/// Some hosts did not acknowledge in time.
pub(crate) const PARTIAL: u8 = 6;
/// The change was halted or rolled back.
pub(crate) const HALTED: u8 = 7;

/// A command that failed, with what to tell.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: ExitCode,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code: ExitCode::from(code), message: message.into() }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(NO, format!("{error:#}"))
    }
}

/// What every command gives.
pub(crate) type Done = Result<ExitCode, Failure>;
