//! `wire::agent::ToController`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::agent::ToController;

fuzz_target!(|bytes: &[u8]| fuzz::total(bytes, ToController::decode, ToController::encode));
