//! Cuts and returns of one link under probes, again and again.

use crate::Figure;
use anyhow::Result;
use lab::probe::{Pair, Probes, Report};
use std::time::Duration;

/// Between two probes.
pub(super) const SPACING: Duration = Duration::from_micros(500);
/// Between two acts: carrier events of veth pairs come late when a link was brought up just before.
pub(super) const REST: Duration = Duration::from_secs(2);
/// Probes run for so long before an act, and after everything has settled.
pub(super) const LEAD: Duration = Duration::from_millis(200);
pub(super) const TAIL: Duration = Duration::from_millis(500);
/// No cut is shorter.
const HOLD_MIN: Duration = Duration::from_millis(1_000);

/// What is done to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The far end is set down: the host that sends into the link loses its carrier, as with a pulled cable.
    CutFar,
    /// The host that sends into the link sets its own end down.
    CutNear,
    /// Both ends drop what they receive, the carrier stays.
    CutSilently,
    /// As before.
    Mend,
}

pub(super) const CUT_FAR: &str = "link cut, carrier lost";
const CUT_NEAR: &str = "link cut, own end set down";
pub(super) const CUT_SILENTLY: &str = "link silent, carrier stays";

/// A network under test.
pub(super) trait Network {
    /// Who sends to whom.
    fn pairs(&self) -> Result<Vec<Pair>>;
    /// Does it.
    fn act(&self, act: Act) -> Result<()>;
    /// Waits until the network has taken a cut into account, or is as it was before.
    fn settle(&self, cut: bool) -> Result<()>;
}

/// Lost time of each cut and each return.
pub(super) struct Losses {
    act: Act,
    cut_ms: Vec<f64>,
    return_ms: Vec<f64>,
}

impl Losses {
    /// Of the pair that lost most.
    pub(super) fn worst_ms(report: &Report) -> f64 {
        let lost = report.pairs.iter().map(lab::probe::PairReport::lost_packets).max().unwrap_or(0);
        lost as f64 * SPACING.as_secs_f64() * 1e3
    }

    pub(super) fn figures(self, subject: &str) -> Vec<Figure> {
        let case = match self.act {
            Act::CutFar | Act::Mend => CUT_FAR,
            Act::CutNear => CUT_NEAR,
            Act::CutSilently => CUT_SILENTLY,
        };
        let back = Figure::of(&format!("{case}: its return"), subject, "ms lost", self.return_ms);
        let back = back.map(|figure| if subject == "ballast" { figure.with_limit(0.0) } else { figure });
        Figure::of(case, subject, "ms lost", self.cut_ms).into_iter().chain(back).collect()
    }
}

/// Cuts and mends so often.
pub(super) fn run(network: &dyn Network, act: Act, rounds: usize) -> Result<Losses> {
    let mut losses = Losses { act, cut_ms: Vec::new(), return_ms: Vec::new() };
    for round in 0..rounds {
        for (act, cut) in [(act, true), (Act::Mend, false)] {
            std::thread::sleep(REST);
            let probes = Probes::start(network.pairs()?, SPACING)?;
            std::thread::sleep(LEAD);
            network.act(act)?;
            if cut {
                std::thread::sleep(HOLD_MIN);
            }
            network.settle(cut)?;
            std::thread::sleep(TAIL);
            let report = probes.stop()?;
            let lost = Losses::worst_ms(&report);
            if lost > 0.0 {
                eprintln!("round {round}, {act:?}: {lost} ms\n{}", report.losses());
            }
            if cut { losses.cut_ms.push(lost) } else { losses.return_ms.push(lost) }
        }
    }
    Ok(losses)
}
