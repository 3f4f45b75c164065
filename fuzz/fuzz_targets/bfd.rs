//! `liveness::core`: the bytes as a control packet, and as what a session hears, packet after packet, with pauses between.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liveness::core::Micros;
use liveness::core::packet::{PACKET_BYTES, Packet};
use liveness::core::session::{Session, Wishes};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(packet) = Packet::decode(bytes) {
        assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }
    let wishes = Wishes { interval_us: 50_000, multiplier: 3, is_passive: false };
    let mut session = Session::new(1, wishes, 7, Micros(0));
    let mut now = Micros(0);
    for chunk in bytes.chunks(PACKET_BYTES + 1) {
        let Some((pause, body)) = chunk.split_first() else { continue };
        now = now.after(u64::from(*pause) * 5_000);
        let answers = [session.tick(now), Packet::decode(body).ok().and_then(|packet| session.receive(now, &packet))];
        assert!(answers.iter().flatten().all(|packet| !(packet.poll && packet.is_final)));
    }
});
