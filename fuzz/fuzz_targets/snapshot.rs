//! `wire::snapshot::Snapshot`: the bytes as a file, and as the body of a whole one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::snapshot::Snapshot;

fuzz_target!(|bytes: &[u8]| {
    fuzz::total(bytes, Snapshot::decode, Snapshot::encode);
    fuzz::total(&fuzz::framed(b"BALSNAPS", bytes), Snapshot::decode, Snapshot::encode);
});
