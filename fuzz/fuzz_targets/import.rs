//! `topology::import`: any bytes, read as any format, are a topology file that can be read again or a refusal
//! with a remedy. The first byte chooses the format; the rest is the file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use topology::import::{Format, Options, import};

/// Between a file and the second one of its network, for the formats that have two.
const COMPANION: &[u8] = b"\n\0\n";

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let format = usize::from(first.wrapping_sub(b'a')) % (Format::ALL.len() + 1);
    // One beyond the last format leaves the choice to the guess.
    let options = Options { format: Format::ALL.get(format).copied(), ..Options::default() };
    let split = bytes.windows(COMPANION.len()).position(|window| window == COMPANION);
    let (file, companion) = match split {
        Some(at) => (&bytes[..at], Some(&bytes[at + COMPANION.len()..])),
        None => (bytes, None),
    };
    match import("fuzz", file, companion, options) {
        Ok(import) => {
            let reading = topology::read("fuzz.yaml", import.text.as_bytes());
            assert!(reading.topology.is_some() || !reading.diagnostics.is_empty());
        }
        Err(problem) => assert!(!problem.message.is_empty() && !problem.help.is_empty()),
    }
});
