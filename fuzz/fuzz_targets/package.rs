//! `wire::package::Package`: the bytes as a file, and as the body of a whole one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::package::Package;

fuzz_target!(|bytes: &[u8]| {
    fuzz::total(bytes, Package::decode, Package::encode);
    fuzz::total(&fuzz::framed(b"BALLPROG", bytes), Package::decode, Package::encode);
});
