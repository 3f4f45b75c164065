//! `scripts/bench convergence`: packets lost when a link goes and when it returns, on abilene, beside FRR and BIRD on the same
//! network.

mod cycle;
mod ground;
mod many_prefixes;
mod peers;

use crate::Figure;
use anyhow::{Context, Result, ensure};
use cycle::{Act, Losses, Network, SPACING};
use ground::Ground;
use it::bed::{Bed, PATIENCE, sample, wait};
use lab::probe::Pair;
use std::time::Duration;

const FILE: &str = "abilene.yaml";
/// Where packets go, and the link in the middle of their way; the second is the host that sends into it.
const FROM: &str = "seattle";
const TO: &str = "newyork";
const LINK: [&str; 2] = ["indianapolis", "kansas"];
/// Rounds of a peer, each of which takes as long as the peer needs to come back to its first paths.
const PEER_ROUNDS_MAX: usize = 10;
/// The floors of the requirement.
const CUT_MAX_MS: f64 = 2.0;
/// Three intervals of liveness and 5 ms.
const SILENT_MAX_MS: f64 = 155.0;
/// From a lab's first moment to sessions of liveness on every link.
const SESSIONS_MAX: Duration = Duration::from_secs(20);

/// All figures of `scripts/bench convergence`.
pub(crate) fn figures(rounds: usize, quick: bool, only: &str) -> Result<Vec<Figure>> {
    ground::sweep()?;
    let mut figures = Vec::new();
    if "ballast on abilene".contains(only) {
        figures.extend(ballast(rounds)?);
    }
    if !quick && "ballast, 100,000 prefixes behind a link".contains(only) {
        figures.extend(many_prefixes::figures(rounds)?);
    }
    let peers = if quick { &peers::ALL[..1] } else { &peers::ALL[..] };
    for peer in peers.iter().filter(|peer| peer.name.contains(only)) {
        if !peer.is_there() {
            eprintln!("skipped: {} is not installed (apt-get install frr bird2)", peer.name);
            continue;
        }
        eprintln!("{}", peer.name);
        figures.extend(of_peer(peer, rounds.min(PEER_ROUNDS_MAX)).with_context(|| peer.name.to_string())?);
    }
    Ok(judged(figures))
}

/// Ours beside the first peer's median, and the floors.
fn judged(mut figures: Vec<Figure>) -> Vec<Figure> {
    let frr = figures.iter().find(|figure| figure.subject == peers::ALL[0].name).map(|figure| figure.median);
    for figure in figures.iter_mut().filter(|figure| figure.subject == "ballast") {
        if figure.case == cycle::CUT_SILENTLY {
            *figure = figure.clone().with_limit(SILENT_MAX_MS);
        }
        if figure.case == cycle::CUT_FAR {
            let median = figure.clone().with_limit(CUT_MAX_MS);
            *figure = match frr {
                Some(frr) => median.beside(peers::ALL[0].name, frr).with_p95_below(frr),
                None => median,
            };
        }
    }
    figures
}

/// A lab.
struct Ours<'a> {
    bed: &'a Bed,
    link: String,
}

impl Network for Ours<'_> {
    fn pairs(&self) -> Result<Vec<Pair>> {
        let pair = |ipv6| -> Result<Pair> {
            Ok(Pair {
                from_netns: self.bed.netns(FROM)?,
                from: self.bed.loopback(FROM, ipv6)?,
                to_netns: self.bed.netns(TO)?,
                to: self.bed.loopback(TO, ipv6)?,
            })
        };
        Ok(vec![pair(false)?, pair(true)?])
    }

    fn act(&self, act: Act) -> Result<()> {
        let words: &[&str] = match act {
            Act::CutFar => &["cut", &self.link, "--end", "A"],
            Act::CutNear => &["cut", &self.link, "--end", "B"],
            Act::CutSilently => &["cut", &self.link, "--silent"],
            Act::Mend => &["mend", &self.link],
        };
        self.bed.lab(words).map(drop)
    }

    /// The controller knows of the cut, or of its end, and every host has what it is to have; after the end the link's hosts use
    /// it again.
    fn settle(&self, cut: bool) -> Result<()> {
        wait("the facts", PATIENCE, || {
            let status = self.bed.json(&["status"])?;
            let facts = status["links_down"].as_array().map_or(0, Vec::len);
            Ok((facts == 1) == cut && status["hosts"]["current"] == status["hosts"]["total"])
        })?;
        if cut {
            return Ok(());
        }
        wait("the link in use", PATIENCE, || {
            for host in LINK {
                let status = self.bed.agent_status(host)?;
                if status["objects"]["pending"] != 0
                    || status["repairs"].as_array().is_none_or(|all| !all.is_empty())
                {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

fn ballast(rounds: usize) -> Result<Vec<Figure>> {
    eprintln!("ballast on abilene");
    let text = sample(FILE)?.replacen("link: {", "link: { liveness: { interval: 50ms, multiplier: 3 },", 1);
    let bed = Bed::up(&text)?;
    let ours = Ours { bed: &bed, link: LINK.join("--") };
    let path = bed.json(&["path", FROM, TO])?;
    let hops = path["paths"][0]["hops"].as_array().context("hops")?;
    ensure!(LINK.iter().all(|end| hops.iter().any(|hop| hop == end)), "the link is not on the way: {path}");
    let mut losses = cycle::run(&ours, Act::CutFar, rounds)?;
    let mut figures = losses.figures("ballast");
    losses = cycle::run(&ours, Act::CutNear, rounds)?;
    figures.extend(losses.figures("ballast"));
    match wait("liveness on every link", SESSIONS_MAX, || every_neighbour_alive(&bed)) {
        Ok(()) => figures.extend(cycle::run(&ours, Act::CutSilently, rounds)?.figures("ballast")),
        Err(why) => eprintln!("skipped: silent cuts ({why:#})"),
    }
    figures.extend(flaps(&ours)?);
    figures.extend(control(&bed, &ours)?);
    Ok(figures)
}

/// Whether each end of each link has found the other one alive by liveness.
fn every_neighbour_alive(bed: &Bed) -> Result<bool> {
    let hosts = bed.json(&["hosts"])?;
    let links =
        hosts["hosts"].as_array().context("hosts")?.iter().filter_map(|host| host["links"].as_array());
    let mut links = links.flatten().peekable();
    Ok(links.peek().is_some() && links.all(|link| link["neighbour"] == true))
}

/// Ten flaps in two seconds: reported apart, nothing is demanded of it.
fn flaps(ours: &Ours<'_>) -> Result<Option<Figure>> {
    const FLAPS: usize = 10;
    const HALF: Duration = Duration::from_millis(100);
    std::thread::sleep(cycle::REST);
    let probes = lab::probe::Probes::start(ours.pairs()?, SPACING)?;
    std::thread::sleep(cycle::LEAD);
    for _ in 0..FLAPS {
        ours.act(Act::CutFar)?;
        std::thread::sleep(HALF);
        ours.act(Act::Mend)?;
        std::thread::sleep(HALF);
    }
    ours.settle(false)?;
    std::thread::sleep(cycle::TAIL);
    let lost = Losses::worst_ms(&probes.stop()?);
    Ok(Figure::of(&format!("{FLAPS} flaps in two seconds, all together"), "ballast", "ms lost", vec![lost]))
}

/// A cut for which there is no backup: the same probes must see it.
fn control(bed: &Bed, ours: &Ours<'_>) -> Result<Option<Figure>> {
    const DARK: Duration = Duration::from_millis(300);
    std::thread::sleep(cycle::REST);
    bed.lab(&["cut", "seattle--sunnyvale"])?;
    ours.settle(true)?;
    let probes = lab::probe::Probes::start(ours.pairs()?, SPACING)?;
    std::thread::sleep(cycle::LEAD);
    bed.lab(&["cut", "denver--seattle"])?;
    std::thread::sleep(DARK);
    let lost = Losses::worst_ms(&probes.stop()?);
    ensure!(
        lost > 0.0,
        "the probes do not see a cut for which there is no backup: their zeros prove nothing"
    );
    Ok(Figure::of("control: the last link of a host is cut for 300 ms", "ballast", "ms lost", vec![lost]))
}

fn of_peer(peer: &peers::Peer, rounds: usize) -> Result<Vec<Figure>> {
    let ground = Ground::new(&sample(FILE)?)?;
    let daemons = (peer.start)(&ground, peer)?;
    let network = peers::Routed::new(&ground, peer)?;
    let losses = cycle::run(&network, peer.act, rounds)?;
    let mut figures = losses.figures(peer.name);
    let bytes: u64 = daemons.iter().map(|daemon| daemon.peak_bytes().unwrap_or(0)).sum();
    figures.extend(Figure::of("memory of all hosts' daemons", peer.name, "MB", vec![bytes as f64 / 1e6]));
    Ok(figures)
}
