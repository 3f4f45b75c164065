//! `wire::log::Entry`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::log::Entry;

fuzz_target!(|bytes: &[u8]| fuzz::total(bytes, Entry::decode, Entry::encode));
