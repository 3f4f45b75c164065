//! `scripts/bench routes`: routes into the kernel by the agent's own code, beside a bare netlink sender, `ip -batch`, zebra
//! and BIRD; and what the agent as a process makes of 100,000 and 1,000,000 routes.

mod agent_process;
mod bare;
mod engine;
mod ground;
mod peers;
mod process_cases;
mod watcher;
mod wire;

use crate::Figure;
use crate::space::in_fresh_namespace;
use anyhow::Result;
use bare::Verb;
use engine::Subject;
use ground::Size;
use std::time::Duration;

/// Rounds of a case that takes many seconds.
const LONG_ROUNDS_MAX: usize = 3;
/// Routes from which on a case is a long one.
const LONG_ROUTES: usize = 500_000;
/// Between two subjects.
const REST: Duration = Duration::from_millis(200);
/// The floors of the requirement, as ratios of the bare sender's time.
const BARE_FLOOR: f64 = 0.9;

/// Times in milliseconds by case and subject, case by case, in the order in which they first came.
#[derive(Default)]
struct Samples(Vec<(String, &'static str, Vec<f64>)>);

impl Samples {
    fn push(&mut self, case: &str, subject: &'static str, milliseconds: f64) {
        match self.0.iter_mut().find(|(at, of, _)| at == case && *of == subject) {
            Some((_, _, samples)) => samples.push(milliseconds),
            None => {
                // Behind the last of its case: a table is read case by case.
                let place =
                    self.0.iter().rposition(|(at, _, _)| at == case).map_or(self.0.len(), |last| last + 1);
                self.0.insert(place, (case.to_string(), subject, vec![milliseconds]));
            }
        }
    }

    /// One figure for each subject of a case; ours once for each peer, with its floor.
    fn figures(self) -> Vec<Figure> {
        let all: Vec<(String, &str, Figure)> = self
            .0
            .into_iter()
            .filter_map(|(case, subject, samples)| {
                Some((case.clone(), subject, Figure::of(&case, subject, "ms", samples)?))
            })
            .collect();
        let mut figures = Vec::new();
        for (case, subject, figure) in &all {
            let compared = compared(subject);
            let beside = compared.iter().filter_map(|(peer, floor)| {
                let (_, _, peer) = all.iter().find(|(at, of, _)| at == case && of == peer)?;
                Some(figure.clone().beside(&peer.subject, peer.median).with_ratio_floor(*floor))
            });
            let before = figures.len();
            figures.extend(beside);
            if figures.len() == before {
                figures.push(figure.clone());
            }
        }
        figures
    }
}

/// With whom a subject is compared, and how many times as fast as them it has to be.
fn compared(subject: &str) -> &'static [(&'static str, f64)] {
    match subject {
        _ if subject == Subject::Ours.name() => {
            &[("bare sender, same listeners", BARE_FLOOR), ("bare sender", BARE_FLOOR)]
        }
        _ if subject == Subject::OursWatched.name() => &[("ip -batch", 1.0), ("zebra", 1.0), ("BIRD 2", 1.0)],
        _ => &[],
    }
}

/// Whether a part is to be taken; its name is printed then.
fn wanted(part: &str, only: &str) -> bool {
    let wanted = part.contains(only);
    if wanted {
        eprintln!("{part}");
    }
    wanted
}

/// All figures of `scripts/bench routes`.
pub(crate) fn figures(rounds: usize, quick: bool, only: &str) -> Result<Vec<Figure>> {
    let mut sizes = vec![Size { routes: 100_000, ipv6: false }, Size { routes: 100_000, ipv6: true }];
    if !quick {
        sizes.push(Size { routes: 1_000_000, ipv6: false });
    }
    let mut figures = Vec::new();
    for size in sizes {
        if !wanted(&format!("{size}: the agent's code beside a bare sender and peers"), only) {
            continue;
        }
        let long = size.routes >= LONG_ROUTES;
        let rounds = if long || quick { rounds.min(LONG_ROUNDS_MAX) } else { rounds };
        let mut samples = Samples::default();
        for round in 0..rounds {
            for turn in 0..Subject::ALL.len() {
                // Another one begins each time: none is always the one after the kernel was cleaned up.
                let subject = Subject::ALL[(turn + round) % Subject::ALL.len()];
                in_fresh_namespace(|| engine::measure(subject, size, &mut samples))?;
                // The kernel takes a namespace apart behind its user's back.
                std::thread::sleep(REST);
            }
        }
        let peer_rounds = if long || quick { 1 } else { rounds.min(LONG_ROUNDS_MAX) };
        peers::measure(size, peer_rounds, &mut samples)?;
        figures.extend(samples.figures());
        figures.extend(in_fresh_namespace(|| engine::moves(size, rounds))?);
    }
    figures.extend(process_cases::figures(rounds, quick, only)?);
    Ok(figures)
}

impl Verb {
    /// All, in the order in which they can be done.
    const ALL: [Verb; 3] = [Verb::Add, Verb::Replace, Verb::Delete];

    /// The case's name.
    fn case(self, size: Size) -> String {
        let verb = match self {
            Verb::Add => "add",
            Verb::Replace => "replace",
            Verb::Delete => "delete",
        };
        format!("{verb} {size}")
    }
}
