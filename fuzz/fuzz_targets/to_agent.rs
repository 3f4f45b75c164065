//! `wire::agent::ToAgent`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::agent::ToAgent;

fuzz_target!(|bytes: &[u8]| fuzz::total(bytes, ToAgent::decode, ToAgent::encode));
