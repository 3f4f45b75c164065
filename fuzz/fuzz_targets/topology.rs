//! `topology::read`: any bytes are a topology or have a diagnostic that is an error.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = topology::read("fuzz.yaml", bytes);
    for diagnostic in &read.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    assert!(read.topology.is_some() || !read.diagnostics.is_empty());
});
