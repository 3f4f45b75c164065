//! Whether a controller answered under the program in force: the proof that commit-confirm waits for.
//!
//! A beat that is sent after the kernel was programmed carries a number that no earlier beat carried; only a controller's
//! word that names this number counts. A message that was on its way meanwhile proves nothing. Knows no ledger:
//! what follows from a proof, or from its absence, is decided elsewhere.

use crate::core::event::Millis;
use wire::agent::Ack;

/// The state of the proof.
#[derive(Debug, Default)]
pub(crate) struct Confirm {
    /// Number of all beats since the newest program came in force.
    probe: u64,
    /// The program in force waits for an answer that names [`Confirm::probe`].
    waits: bool,
    proved: bool,
    /// Until then; `None`: for as long as it takes.
    deadline: Option<Millis>,
    /// Given for the program on trial, to be given again without that mark.
    ack: Option<Ack>,
}

impl Confirm {
    /// A program came in force: only what is sent from now on can prove anything. `trial_ms` is the time for it; 0: any.
    /// A trial that goes on does not begin anew.
    pub(crate) fn in_force(&mut self, now: Millis, trial_ms: u32) {
        self.probe += 1;
        (self.waits, self.proved) = (true, false);
        let end = Millis(now.0.saturating_add(u64::from(trial_ms)));
        self.deadline = (trial_ms > 0).then(|| self.deadline.map_or(end, |before| before.min(end)));
    }

    /// Another program is on its way into the kernel, or nothing may be written.
    pub(crate) fn suspend(&mut self) {
        (self.waits, self.proved, self.deadline, self.ack) = (false, false, None, None);
    }

    /// The number for a beat.
    pub(crate) fn probe(&self) -> u64 {
        self.probe
    }

    /// A controller says which beat it has read.
    pub(crate) fn echoed(&mut self, echo: u64) {
        if self.waits && echo == self.probe {
            (self.waits, self.proved, self.deadline) = (false, true, None);
        }
    }

    /// Whether a controller answered under the program in force.
    pub(crate) fn proved(&self) -> bool {
        self.proved
    }

    /// When the time for the proof is over; `None`: nothing is on trial.
    pub(crate) fn deadline(&self) -> Option<Millis> {
        self.deadline
    }

    /// Whether the time for the proof is over.
    pub(crate) fn expired(&self, now: Millis) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Milliseconds that are left; `None`: nothing is on trial.
    pub(crate) fn left_ms(&self, now: Millis) -> Option<u64> {
        self.deadline.map(|deadline| deadline.0.saturating_sub(now.0))
    }

    /// Keeps an answer that was given for a program on trial.
    pub(crate) fn remember(&mut self, ack: &Ack) {
        self.ack = ack.unconfirmed.then(|| ack.clone());
    }

    /// The answer that the confirmed program gets.
    pub(crate) fn take_ack(&mut self) -> Option<Ack> {
        self.ack.take().map(|ack| Ack { unconfirmed: false, ..ack })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_to_what_was_sent_under_the_program_counts() {
        let mut confirm = Confirm::default();
        confirm.echoed(0);
        assert!(!confirm.proved(), "nothing is in force");
        confirm.in_force(Millis(100), 50);
        let probe = confirm.probe();
        // An answer to a beat that was sent before, and one that nobody could give.
        for echo in [0, probe - 1, probe + 1] {
            confirm.echoed(echo);
            assert!(!confirm.proved(), "{echo}");
        }
        assert!(!confirm.expired(Millis(149)) && confirm.expired(Millis(150)));
        confirm.echoed(probe);
        assert!(confirm.proved() && !confirm.expired(Millis(1_000)));
    }

    #[test]
    fn a_trial_that_goes_on_keeps_its_end_and_the_next_one_has_its_own() {
        let mut confirm = Confirm::default();
        confirm.in_force(Millis(0), 100);
        confirm.in_force(Millis(60), 100);
        assert_eq!(confirm.left_ms(Millis(60)), Some(40));
        confirm.suspend();
        confirm.in_force(Millis(80), 100);
        assert_eq!(confirm.left_ms(Millis(80)), Some(100));
        confirm.in_force(Millis(90), 0);
        assert_eq!(confirm.left_ms(Millis(90)), None);
    }
}
