//! The agent's netlink decoders: whatever the kernel, or another daemon through it, may say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| agent::io::netlink::read_anything(bytes));
