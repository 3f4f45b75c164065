//! `wire::peer::PeerMessage`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::peer::PeerMessage;

fuzz_target!(|bytes: &[u8]| fuzz::total(bytes, PeerMessage::decode, PeerMessage::encode));
