//! A link with 100,000 prefixes behind it loses its carrier: every one of them has a second route, and packets judge.

use super::cycle::{self, Act, Network};
use crate::Figure;
use anyhow::{Context, Result};
use it::bed::{Bed, sample, wait};
use lab::probe::Pair;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

const PREFIXES: u32 = 100_000;
const ROUNDS_MAX: usize = 5;
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 0);
/// A fact makes three hosts look at all their routes.
const SETTLE_MAX: Duration = Duration::from_secs(60);

struct Triangle<'a>(&'a Bed);

/// The `at`-th prefix's only address.
fn address(at: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(FIRST) + at).into()
}

pub(super) fn figures(rounds: usize) -> Result<Vec<Figure>> {
    eprintln!("ballast, 100,000 prefixes behind a link");
    let mut list = String::new();
    (0..PREFIXES).try_for_each(|at| write!(list, "{}/32, ", address(at)))?;
    let text = sample("triangle.yaml")?.replacen("b: { prefixes: [", &format!("b: {{ prefixes: [{list}"), 1);
    let bed = Bed::up(&text)?;
    let converge_ms = bed.document()["converge_ms"].as_f64().context("converge_ms")?;
    let losses = cycle::run(&Triangle(&bed), Act::CutFar, rounds.min(ROUNDS_MAX))?;
    let mut figures: Vec<Figure> = losses.figures("ballast");
    for figure in &mut figures {
        figure.case = format!("{}, {PREFIXES} prefixes behind it", figure.case);
    }
    let case = format!("first apply of {PREFIXES} prefixes to three hosts");
    figures.extend(Figure::of(&case, "ballast", "ms", vec![converge_ms]));
    Ok(figures)
}

impl Network for Triangle<'_> {
    /// To the first and to the last of the prefixes.
    fn pairs(&self) -> Result<Vec<Pair>> {
        let pair = |at| -> Result<Pair> {
            Ok(Pair {
                from_netns: self.0.netns("a")?,
                from: self.0.loopback("a", false)?,
                to_netns: self.0.netns("b")?,
                to: address(at),
            })
        };
        Ok(vec![pair(0)?, pair(PREFIXES - 1)?])
    }

    fn act(&self, act: Act) -> Result<()> {
        // The link's second end in the order of its id is b's.
        let words: &[&str] = match act {
            Act::CutFar => &["cut", "a--b", "--end", "B"],
            Act::CutNear => &["cut", "a--b", "--end", "A"],
            Act::CutSilently => &["cut", "a--b", "--silent"],
            Act::Mend => &["mend", "a--b"],
        };
        self.0.lab(words).map(drop)
    }

    fn settle(&self, cut: bool) -> Result<()> {
        wait("the facts", SETTLE_MAX, || {
            let status = self.0.json(&["status"])?;
            let facts = status["links_down"].as_array().map_or(0, Vec::len);
            Ok((facts == 1) == cut && status["hosts"]["current"] == status["hosts"]["total"])
        })
    }
}
