//! The formats as a whole: fixtures of every version are read for ever, what is written is read back, and no bytes at all
//! make a decoder panic.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod fixtures;
mod laws;
mod samples;
mod strict;

use wire::DecodeError;
use wire::agent::{ToAgent, ToController};
use wire::ledger::Ledger;
use wire::log::Entry;
use wire::package::Package;
use wire::peer::PeerMessage;
use wire::snapshot::Snapshot;

/// The formats by name.
const FORMATS: [&str; 7] = ["to_controller", "to_agent", "peer", "log", "ledger", "package", "snapshot"];

/// What `bytes` say in a format, as text for people.
fn read(format: &str, bytes: &[u8]) -> Result<String, DecodeError> {
    /// Numbers of one list on one line: bytes would fill the page.
    fn text<T: std::fmt::Debug>(value: T) -> String {
        let mut text = String::new();
        let mut in_numbers = false;
        for line in format!("{value:#?}").lines() {
            let number = line.trim().strip_suffix(',').filter(|word| word.parse::<u64>().is_ok());
            match number {
                Some(number) if in_numbers => text += &format!(" {number}"),
                _ => text += &format!("\n{}", line.trim_end_matches(',')),
            }
            in_numbers = number.is_some();
        }
        text
    }
    match format {
        "to_controller" => ToController::decode(bytes).map(text),
        "to_agent" => ToAgent::decode(bytes).map(text),
        "peer" => PeerMessage::decode(bytes).map(text),
        "log" => Entry::decode(bytes).map(text),
        "ledger" => Ledger::decode(bytes).map(text),
        "package" => Package::decode(bytes).map(text),
        "snapshot" => Snapshot::decode(bytes).map(text),
        other => panic!("no format {other}"),
    }
}
