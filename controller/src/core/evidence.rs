//! What both ends of a link say about it, and what is to be believed.
//!
//! Judges reports alone: who is the leader, what is in the log and what follows from a verdict is not known here.

use crate::core::event::Millis;

/// Beats without a packet between them, heard after the other end's report, that make that report believed. The
/// first beat after the report does not count: its counter may have been read before.
pub(crate) const STILL_BEATS: u32 = 2;
/// Beats without a packet after which a packet that was seen since the report counts no more.
pub(crate) const STALE_BEATS: u32 = 10;

/// One end's reports.
#[derive(Clone, Debug, Default)]
struct End {
    /// Last word: carrier, and no silent neighbour; `None`: the host never spoke of this interface.
    carrier: Option<bool>,
    /// It has carrier, and liveness says that the neighbour is dead.
    neighbour_dead: bool,
    /// Liveness says that the neighbour is alive.
    neighbour_alive: bool,
    /// When this word was first heard in a row.
    since: Millis,
    /// A beat was heard while the other end reported no carrier.
    beat_heard: bool,
    /// Counter in the last beat after that one.
    rx_packets: Option<u64>,
    /// Such beats since the counter moved, or since the first.
    still_beats: u32,
    /// The counter moved while the other end reported no carrier.
    moved: bool,
}

/// What is to be believed about a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nobody says that it is down.
    Up,
    /// Both ends have carrier and have had it since then.
    Carrier(Millis),
    /// Believed to be down.
    Down(Why),
    /// One end says so, and it takes more to believe it.
    Held(Why),
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Both ends report no carrier.
    BothEnds,
    /// This end reports no carrier, the other one has carrier and received nothing since.
    NothingReceived(usize),
    /// This end reports no carrier, the other one hears its liveness packets.
    Hears(usize),
    /// This end reports no carrier, the other one has carrier and goes on receiving.
    Receiving(usize),
    /// This end reports no carrier, and it is too early to tell what the other one receives.
    Waiting(usize),
    /// This end reports no carrier, and all living neighbours of the silent other one say the same.
    SilentAndCutOff(usize),
    /// This end reports no carrier; the other one is silent, but not all its other living neighbours lost it.
    SilentButSeen(usize),
}

/// The reports of both ends of one link.
#[derive(Clone, Debug, Default)]
pub(crate) struct LinkEvidence {
    ends: [End; 2],
}

impl LinkEvidence {
    /// One end's report. A neighbour that liveness found dead (`Some(false)`) counts as a lost carrier. `beat`: it came with the beat, so that its counter can be compared with the last
    /// beat's; a report that is sent at once says nothing about time.
    pub(crate) fn report(
        &mut self,
        end: usize,
        (carrier, neighbour): (bool, Option<bool>),
        rx_packets: u64,
        beat: bool,
        now: Millis,
    ) {
        let other_down = self.ends[1 - end].carrier == Some(false);
        let own = &mut self.ends[end];
        own.neighbour_dead = carrier && neighbour == Some(false);
        own.neighbour_alive = carrier && neighbour == Some(true);
        let carrier = carrier && !own.neighbour_dead;
        if own.carrier != Some(carrier) {
            own.carrier = Some(carrier);
            own.since = now;
            own.forget_counter();
            if !carrier {
                self.ends[1 - end].forget_counter();
                return;
            }
        }
        if !carrier || !other_down || !beat {
            return;
        }
        if !own.beat_heard {
            own.beat_heard = true;
            return;
        }
        match own.rx_packets {
            Some(before) if before != rx_packets => {
                own.moved = true;
                own.still_beats = 1;
            }
            _ => own.still_beats = own.still_beats.saturating_add(1),
        }
        own.rx_packets = Some(rx_packets);
    }

    /// What an end that reports the link down says of it.
    pub(crate) fn complaint(&self, end: usize) -> &'static str {
        if self.ends[end].neighbour_dead { "a silent neighbour" } else { "no carrier" }
    }

    /// Whether an end reports no carrier.
    pub(crate) fn suspect(&self) -> bool {
        self.ends.iter().any(|end| end.carrier == Some(false))
    }

    /// What an end said last.
    pub(crate) fn carrier(&self, end: usize) -> Option<bool> {
        self.ends[end].carrier
    }

    /// Judges. `live`: whether each end's host has a living session. `cut_off(end)`: whether all other links of
    /// that end's node are reported down by the living hosts at their other ends.
    pub(crate) fn verdict(&self, live: [bool; 2], cut_off: impl Fn(usize) -> bool) -> Verdict {
        let says = |end: usize, word: bool| live[end] && self.ends[end].carrier == Some(word);
        if says(0, false) && says(1, false) {
            return Verdict::Down(Why::BothEnds);
        }
        if says(0, true) && says(1, true) {
            return Verdict::Carrier(self.ends[0].since.max(self.ends[1].since));
        }
        let Some(end) = (0..2).find(|end| says(*end, false)) else { return Verdict::Up };
        let other = &self.ends[1 - end];
        if !says(1 - end, true) {
            return if cut_off(1 - end) {
                Verdict::Down(Why::SilentAndCutOff(end))
            } else {
                Verdict::Held(Why::SilentButSeen(end))
            };
        }
        if other.neighbour_alive {
            return Verdict::Held(Why::Hears(end));
        }
        if other.moved && other.still_beats <= STALE_BEATS {
            Verdict::Held(Why::Receiving(end))
        } else if other.still_beats >= STILL_BEATS {
            Verdict::Down(Why::NothingReceived(end))
        } else {
            Verdict::Held(Why::Waiting(end))
        }
    }
}

impl End {
    fn forget_counter(&mut self) {
        self.beat_heard = false;
        self.rx_packets = None;
        self.still_beats = 0;
        self.moved = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"a- b1 b1"`: end, then `-` (no carrier), or the counter in a beat with carrier; sent at once: `!` carrier, `+` and `x`
    /// carrier with a neighbour that is alive or dead.
    fn after(reports: &str) -> LinkEvidence {
        let mut evidence = LinkEvidence::default();
        for (at, report) in reports.split_whitespace().enumerate() {
            let end = usize::from(report.starts_with('b'));
            let now = Millis(at as u64 * 500);
            match &report[1..] {
                "-" => evidence.report(end, (false, None), 0, false, now),
                "!" => evidence.report(end, (true, None), 0, false, now),
                "+" => evidence.report(end, (true, Some(true)), 0, false, now),
                "x" => evidence.report(end, (true, Some(false)), 0, false, now),
                rx => evidence.report(end, (true, None), rx.parse().unwrap_or(0), true, now),
            }
        }
        evidence
    }

    #[test]
    fn evidence_decides() {
        let cases: [(&str, [bool; 2], bool, Verdict); 21] = [
            ("", [true, true], false, Verdict::Up),
            ("a1 b1", [true, true], false, Verdict::Carrier(Millis(500))),
            // Both ends: at once.
            ("a1 b1 a- b-", [true, true], false, Verdict::Down(Why::BothEnds)),
            // One end against a living one: first it is too early, then packets decide.
            ("a1 b1 a-", [true, true], false, Verdict::Held(Why::Waiting(0))),
            ("a1 b1 a- b4 b5", [true, true], false, Verdict::Held(Why::Waiting(0))),
            ("a1 b1 a- b4 b5 b5", [true, true], false, Verdict::Down(Why::NothingReceived(0))),
            ("a1 b1 a- b4 b5 b6", [true, true], false, Verdict::Held(Why::Receiving(0))),
            ("a1 b1 a- b4 b5 b6 b6 b6", [true, true], false, Verdict::Held(Why::Receiving(0))),
            (
                "a1 b1 a- b4 b5 b6 b6 b6 b6 b6 b6 b6 b6 b6 b6 b6",
                [true, true],
                false,
                Verdict::Down(Why::NothingReceived(0)),
            ),
            // What is sent at once says nothing about packets.
            ("a1 b1 a- b! b! b! b!", [true, true], false, Verdict::Held(Why::Waiting(0))),
            // Counters from before the report do not count.
            ("a1 b1 b2 b3 a- b4 b4 b4", [true, true], false, Verdict::Down(Why::NothingReceived(0))),
            // Liveness at both ends: a silent cut is believed at once.
            ("a+ b+", [true, true], false, Verdict::Carrier(Millis(500))),
            ("a+ b+ ax bx", [true, true], false, Verdict::Down(Why::BothEnds)),
            ("a+ b+ a- bx", [true, true], false, Verdict::Down(Why::BothEnds)),
            // One end alone is not believed while the other one hears it; without liveness there, packets decide.
            ("a+ b+ ax", [true, true], false, Verdict::Held(Why::Hears(0))),
            ("a+ b+ a-", [true, true], false, Verdict::Held(Why::Hears(0))),
            ("a+ b1 ax b4 b5 b5", [true, true], false, Verdict::Down(Why::NothingReceived(0))),
            ("a+ b1 ax b4 b5 b6", [true, true], false, Verdict::Held(Why::Receiving(0))),
            // A silent far end needs its other neighbours.
            ("a1 b1 b-", [false, true], false, Verdict::Held(Why::SilentButSeen(1))),
            ("a1 b1 b-", [false, true], true, Verdict::Down(Why::SilentAndCutOff(1))),
            // The last word of a host that is silent now is no report.
            ("a1 b1 a-", [false, true], true, Verdict::Up),
        ];
        for (reports, live, cut_off, wanted) in cases {
            assert_eq!(after(reports).verdict(live, |_| cut_off), wanted, "{reports:?} {live:?} {cut_off}");
        }
    }

    #[test]
    fn a_return_counts_from_the_later_end() {
        let evidence = after("a- b- a1 b1");
        assert_eq!(evidence.verdict([true, true], |_| false), Verdict::Carrier(Millis(1_500)));
    }
}
