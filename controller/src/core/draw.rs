//! Numbers that follow from the shell's seed: election times and request ids. Not for keys.

use wire::log::RequestId;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
#[derive(Debug)]
pub(crate) struct Draw(u64);

impl Draw {
    /// Another sequence for another pair of seed and replica.
    pub(crate) fn new(seed: u64, id: u64) -> Draw {
        let mut draw = Draw(seed ^ id.wrapping_mul(0xd6e8_feb8_6659_fd93));
        draw.next();
        draw
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` to below `high`; `low` when the range is empty.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        let width = high.saturating_sub(low).max(1) as u64;
        low + (self.next() % width) as usize
    }

    /// An id for an entry of our own.
    pub(crate) fn request_id(&mut self) -> RequestId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.next().to_be_bytes());
        id[8..].copy_from_slice(&self.next().to_be_bytes());
        RequestId(id)
    }
}
