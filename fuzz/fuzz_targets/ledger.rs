//! `wire::ledger::Ledger`: the bytes as a file, and as the body of a whole one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::ledger::Ledger;

fuzz_target!(|bytes: &[u8]| {
    fuzz::total(bytes, Ledger::decode, Ledger::encode);
    fuzz::total(&fuzz::framed(b"BALLEDGR", bytes), Ledger::decode, Ledger::encode);
});
