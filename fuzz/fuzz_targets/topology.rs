//! `topology::read`: any bytes are a topology or have a diagnostic that is an error. Two files that are one network
//! are the same network as the one text of both.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let read = topology::read("fuzz.yaml", bytes);
    for diagnostic in &read.diagnostics {
        assert!(!diagnostic.to_string().is_empty());
    }
    assert!(read.topology.is_some() || !read.diagnostics.is_empty());
    let (one, other) = bytes.split_at(bytes.len() / 2);
    let files = [("a.yaml", one), ("b.yaml", other)];
    // Without a line's end, a block of text would end differently in the text of both.
    if let (Some(topology), true) =
        (topology::read_all(&files).topology, one.ends_with(b"\n") && other.ends_with(b"\n"))
    {
        assert_eq!(topology::read("joined.yaml", &topology::join(&files)).topology, Some(topology));
    }
});
