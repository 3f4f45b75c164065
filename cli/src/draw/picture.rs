//! Places, links and loads as SVG.

use crate::draw::layout::Placed;
use plan::load::Load;
use plan::load::rate_text;
use svg::Document;
use svg::node::element::{Circle, Group, Line, Path, Rectangle, Text, Title};
use topology::{Direction, LinkIndex, Topology};

/// Width of the sheet without its margins, in pixels.
const WIDTH: f64 = 1_200.0;
const MARGIN: f64 = 90.0;
/// Room for the title above and the legend below.
const HEAD: f64 = 50.0;
const FOOT: f64 = 60.0;
/// Distance between parallel links.
const LANE: f64 = 9.0;

/// Upper end of a band of use, and its colour: legible for colour-blind people (after Okabe and Ito), growing darker.
const BANDS: [(f64, &str, &str); 5] = [
    (0.25, "#56b4e9", "up to 25%"),
    (0.5, "#009e73", "up to 50%"),
    (0.8, "#e6a817", "up to 80%"),
    (1.0, "#d55e00", "up to 100%"),
    (f64::INFINITY, "#8b0000", "over"),
];
/// A link without a capacity, or without traffic.
const PLAIN: &str = "#9aa4ad";
const INK: &str = "#1c2733";
const PAPER: &str = "#ffffff";

const BOTH: [Direction; 2] = [Direction::Forward, Direction::Backward];

struct Sheet<'a> {
    topology: &'a Topology,
    load: &'a Load,
    /// The busiest direction's load where demands are in units: a share of a capacity would say nothing.
    busiest: Option<f64>,
    spots: Vec<(f64, f64)>,
    /// Size of names.
    letters: f64,
    /// Radius of nodes.
    radius: f64,
}

/// The whole picture. `in_units`: demands are not in bits per second, links are compared with the busiest one.
pub(crate) fn svg(topology: &Topology, placed: &Placed, load: &Load, in_units: bool) -> String {
    let height = WIDTH / placed.aspect;
    let spots: Vec<(f64, f64)> =
        placed.at.iter().map(|(x, y)| (MARGIN + x * WIDTH, HEAD + MARGIN + y * height)).collect();
    let many = topology.nodes.len();
    let (letters, radius) = match many {
        0..=30 => (15.0, 9.0),
        31..=60 => (12.0, 7.0),
        61..=120 => (9.5, 5.0),
        _ => (7.0, 3.5),
    };
    let all =
        (0..topology.links.len() as u32).flat_map(|at| BOTH.map(|way| load.carried(LinkIndex(at), way)));
    let busiest = in_units.then(|| all.fold(0.0, f64::max));
    let sheet = Sheet { topology, load, busiest, spots, letters, radius };
    let (total_width, total_height) = (WIDTH + 2.0 * MARGIN, height + 2.0 * MARGIN + HEAD + FOOT);
    let mut document = Document::new()
        .set("viewBox", (0, 0, total_width.round() as i64, total_height.round() as i64))
        .set("font-family", "Helvetica, Arial, sans-serif")
        .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", PAPER))
        .add(sheet.links())
        .add(sheet.nodes())
        .add(sheet.names());
    let title = format!("{}: {} nodes, {} links", topology.name, many, topology.links.len());
    document = document.add(text(&title, 30.0, 38.0, 22.0).set("font-weight", "bold"));
    document = document.add(sheet.legend(total_height - 28.0));
    let mut out = Vec::new();
    // Writing to memory does not fail.
    let _ = svg::write(&mut out, &document);
    String::from_utf8_lossy(&out).into_owned() + "\n"
}

fn text(words: &str, x: f64, y: f64, size: f64) -> Text {
    Text::new(words).set("x", tenth(x)).set("y", tenth(y)).set("font-size", size).set("fill", INK)
}

fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

impl Sheet<'_> {
    /// Each direction is half of the line, from its sender to the middle, in the colour of its own load.
    fn links(&self) -> Group {
        let mut group = Group::new().set("fill", "none").set("stroke-linecap", "round");
        for (at, link) in self.topology.links.iter().enumerate() {
            let [a, b] = [0, 1].map(|end| link.ends[end].node.0);
            let lane = self.lane(at, (a, b));
            let (from, to) = (self.spots[a as usize], self.spots[b as usize]);
            let (dx, dy) = (to.0 - from.0, to.1 - from.1);
            let length = dx.hypot(dy).max(1.0);
            // Always to the same side, whichever end comes first.
            let side = if a < b { 1.0 } else { -1.0 };
            let bend = (-dy / length * lane * side * 2.0, dx / length * lane * side * 2.0);
            let control = (f64::midpoint(from.0, to.0) + bend.0, f64::midpoint(from.1, to.1) + bend.1);
            let middle = ((from.0 + 2.0 * control.0 + to.0) / 4.0, (from.1 + 2.0 * control.1 + to.1) / 4.0);
            for (direction, start) in [(Direction::Forward, from), (Direction::Backward, to)] {
                let near = (f64::midpoint(start.0, control.0), f64::midpoint(start.1, control.1));
                let curve = format!(
                    "M {} {} Q {} {} {} {}",
                    tenth(start.0),
                    tenth(start.1),
                    tenth(near.0),
                    tenth(near.1),
                    tenth(middle.0),
                    tenth(middle.1)
                );
                let mut path = Path::new()
                    .set("d", curve)
                    .set("stroke", self.colour(at, direction))
                    .set("stroke-width", self.width(link.capacity_bps))
                    .add(Title::new(self.words(at, direction)));
                if link.drained {
                    path = path.set("stroke-dasharray", "4 5");
                }
                group = group.add(path);
            }
        }
        group
    }

    /// How far the link lies off the straight line: parallel ones share the room evenly.
    fn lane(&self, at: usize, (a, b): (u32, u32)) -> f64 {
        let same = |link: &topology::Link| {
            let ends = [link.ends[0].node.0, link.ends[1].node.0];
            ends == [a, b] || ends == [b, a]
        };
        let links = &self.topology.links;
        let parallel = links.iter().filter(|link| same(link)).count();
        let before = links[..at].iter().filter(|link| same(link)).count();
        (before as f64 - (parallel as f64 - 1.0) / 2.0) * LANE
    }

    /// What decides the colour: 1 is full, or the busiest.
    fn share(&self, at: usize, direction: Direction) -> Option<f64> {
        let link = LinkIndex(at as u32);
        match self.busiest {
            Some(busiest) => (busiest > 0.0).then(|| self.load.carried(link, direction) / busiest),
            None => self.load.utilisation(self.topology, link, direction),
        }
    }

    fn colour(&self, at: usize, direction: Direction) -> &'static str {
        match self.share(at, direction) {
            Some(share) if share > 0.0 => {
                BANDS.iter().find(|(most, ..)| share <= *most).map_or(PLAIN, |(_, colour, _)| *colour)
            }
            _ => PLAIN,
        }
    }

    /// Thicker with each tenfold of the capacity.
    fn width(&self, capacity_bps: Option<u64>) -> f64 {
        let decades = capacity_bps.map_or(1.0, |bps| (bps.max(1) as f64).log10() - 8.0).clamp(0.0, 4.0);
        tenth((1.6 + decades) * (self.radius / 9.0).max(0.5))
    }

    fn words(&self, at: usize, direction: Direction) -> String {
        let link = &self.topology.links[at];
        let (from, to) = match direction {
            Direction::Forward => (0, 1),
            Direction::Backward => (1, 0),
        };
        let [from, to] = [from, to].map(|end| &link.ends[end]);
        let index = LinkIndex(at as u32);
        let mut words =
            format!("{} to {}, cost {}", self.topology.endpoint(from), self.topology.endpoint(to), from.cost);
        let carried = self.load.carried(index, direction);
        match (self.busiest, self.share(at, direction)) {
            (Some(_), Some(share)) => {
                words += &format!(", carries {carried:.2}, {:.0}% of the busiest", share * 100.0);
            }
            (None, Some(share)) => {
                let capacity = rate_text(link.capacity_bps.unwrap_or(0) as f64);
                words += &format!(", carries {}, {:.1}% of {capacity}", rate_text(carried), share * 100.0);
            }
            _ if carried > 0.0 => words += &format!(", carries {}", rate_text(carried)),
            _ => {}
        }
        words
    }

    fn nodes(&self) -> Group {
        let mut group = Group::new().set("stroke", INK).set("stroke-width", 1.4);
        for (node, (x, y)) in self.topology.nodes.iter().zip(&self.spots) {
            let fill = if node.drained {
                PAPER
            } else {
                ZONES[node.zone.map_or(0, |zone| zone.0 as usize + 1) % ZONES.len()]
            };
            let mut words = node.name.clone();
            if let Some(zone) = node.zone.and_then(|zone| self.topology.zones.get(zone.0 as usize)) {
                words += &format!(" (zone {})", zone.name);
            }
            if node.drained {
                words += ", drained";
            }
            let circle = Circle::new()
                .set("cx", tenth(*x))
                .set("cy", tenth(*y))
                .set("r", self.radius)
                .set("fill", fill)
                .add(Title::new(words));
            group = group.add(if node.drained { circle.set("stroke-dasharray", "3 2") } else { circle });
        }
        group
    }

    /// Each name where it covers the fewest others: right, left, above or below its node.
    fn names(&self) -> Group {
        let mut group = Group::new()
            .set("paint-order", "stroke")
            .set("stroke", PAPER)
            .set("stroke-width", 3)
            .set("stroke-linejoin", "round");
        let mut taken: Vec<[f64; 4]> = self
            .spots
            .iter()
            .map(|(x, y)| [x - self.radius, y - self.radius, x + self.radius, y + self.radius])
            .collect();
        taken.extend(self.topology.links.iter().flat_map(|link| self.along(link)));
        for (node, (x, y)) in self.topology.nodes.iter().zip(&self.spots) {
            let (width, gap) = (node.name.chars().count() as f64 * self.letters * 0.58, self.radius + 4.0);
            let third = self.letters / 3.0;
            let places = [
                (x + gap, y + third),
                (x - gap - width, y + third),
                (x - width / 2.0, y - gap),
                (x - width / 2.0, y + gap + self.letters * 0.8),
                (x + gap * 0.7, y - gap * 0.7),
                (x - gap * 0.7 - width, y + gap * 0.7 + third),
            ];
            let frame = |(left, base): (f64, f64)| [left, base - self.letters, left + width, base + third];
            let covered = |place: &(f64, f64)| {
                let frame = frame(*place);
                taken.iter().map(|other| overlap(&frame, other)).sum::<f64>()
            };
            let best = places.into_iter().min_by(|a, b| covered(a).total_cmp(&covered(b)));
            let Some(place) = best else { continue };
            taken.push(frame(place));
            group = group.add(text(&node.name, place.0, place.1, self.letters));
        }
        group
    }

    /// Small frames along the straight line of a link.
    fn along(&self, link: &topology::Link) -> impl Iterator<Item = [f64; 4]> {
        let [a, b] = [0, 1].map(|end| self.spots[link.ends[end].node.0 as usize]);
        let frame = move |step: u32| {
            let share = f64::from(step) / 40.0;
            let (x, y) = (a.0 + (b.0 - a.0) * share, a.1 + (b.1 - a.1) * share);
            [x - 2.0, y - 2.0, x + 2.0, y + 2.0]
        };
        (1..40).map(frame)
    }

    fn legend(&self, y: f64) -> Group {
        let mut group = Group::new();
        let mut x = 30.0;
        let any = (0..self.topology.links.len())
            .any(|at| BOTH.iter().any(|direction| self.share(at, *direction) > Some(0.0)));
        if any {
            let (words, room, bands) = match self.busiest {
                Some(_) => {
                    ("load by the busiest link's, each direction from its sender:", 380.0, &BANDS[..4])
                }
                None => ("use of a link, each direction from its sender:", 290.0, &BANDS[..]),
            };
            group = group.add(text(words, x, y, 13.0));
            x += room;
            for (_, colour, words) in bands {
                let line = Line::new().set("x1", x).set("x2", x + 26.0).set("y1", y - 4.0).set("y2", y - 4.0);
                group = group.add(line.set("stroke", *colour).set("stroke-width", 5));
                group = group.add(text(words, x + 32.0, y, 13.0));
                x += 120.0;
            }
        } else {
            let words = "no load is shown: the file has no demands, or no link states its capacity";
            group = group.add(text(words, x, y, 13.0));
        }
        group
    }
}

/// Fills of nodes: without a zone, then zone by zone.
const ZONES: [&str; 7] = ["#dfe6ec", "#a6cee3", "#b2df8a", "#fdbf6f", "#cab2d6", "#fb9a99", "#ffffb3"];

fn overlap(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if width > 0.0 && height > 0.0 { width * height } else { 0.0 }
}
