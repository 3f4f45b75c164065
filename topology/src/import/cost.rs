//! What a link costs: from the source's own numbers to the whole numbers of a topology file.
//!
//! Fractional weights are multiplied by one factor for the whole network, a power of ten that makes all of them
//! whole where there is one: then sums of weights that are equal stay equal, and so do equal-cost paths. Where
//! there is none, weights are rounded; equal ones stay equal and their order stays, and the file says so.

use super::source::great_circle_km;
use super::{Format, Found, FoundLink, ImportError};
use std::fmt;
use std::str::FromStr;

/// Light in fibre takes about this long for a kilometre, in microseconds (refractive index 1.5).
pub(crate) const US_PER_KM: f64 = 5.0;

/// Most decimal places that costs keep.
const DECIMALS_MAX: i32 = 6;

/// What a link's cost is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostRule {
    /// 1 for each link: the path with the fewest links wins.
    Hops,
    /// Kilometres, as stated or between the coordinates of the ends.
    Distance,
    /// Microseconds, as stated or from the distance at 5 us/km.
    Latency,
    /// Largest capacity of the network over the link's own.
    InverseCapacity,
    /// The source's own routing weights.
    Source,
}

impl CostRule {
    /// Every rule.
    pub const ALL: [CostRule; 5] =
        [CostRule::Hops, CostRule::Distance, CostRule::Latency, CostRule::InverseCapacity, CostRule::Source];

    /// Its word on the command line.
    pub fn name(self) -> &'static str {
        match self {
            CostRule::Hops => "hops",
            CostRule::Distance => "distance",
            CostRule::Latency => "latency",
            CostRule::InverseCapacity => "inverse-capacity",
            CostRule::Source => "source",
        }
    }

    /// The rule of a format when nobody says one: the source's weights where the format is made of them, lengths
    /// where its designs are routed by them, else the number of links.
    pub fn default_of(format: Format) -> CostRule {
        match format {
            Format::Repetita | Format::Rocketfuel => CostRule::Source,
            Format::Net2plan => CostRule::Distance,
            Format::Containerlab | Format::Graphml | Format::Topohub | Format::Sndlib | Format::Netbox => {
                CostRule::Hops
            }
        }
    }

    /// What a link lacks when the rule cannot be used.
    fn needs(self) -> &'static str {
        match self {
            CostRule::Hops => "",
            CostRule::Distance => "a length, or coordinates at both ends",
            CostRule::Latency => "a latency or length, or coordinates at both ends",
            CostRule::InverseCapacity => "a capacity",
            CostRule::Source => "a routing weight",
        }
    }
}

impl fmt::Display for CostRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for CostRule {
    type Err = String;

    fn from_str(text: &str) -> Result<CostRule, String> {
        let known = CostRule::ALL.into_iter().find(|rule| rule.name() == text);
        known.ok_or_else(|| format!("the rules are {}", CostRule::ALL.map(CostRule::name).join(", ")))
    }
}

/// The costs of all links.
#[derive(Debug, PartialEq)]
pub(crate) struct Costs {
    /// From `ends[0]` and from `ends[1]`, in the order of the links.
    pub(crate) links: Vec<[u32; 2]>,
    /// The rule that made them.
    pub(crate) rule: CostRule,
    /// What a cost means, for people.
    pub(crate) meaning: String,
    /// What had to be assumed, a line each.
    pub(crate) invented: Vec<String>,
}

/// The costs by `rule`; without one, by the format's default, or by hops where the source has no number for it.
pub(crate) fn costs(found: &Found, format: Format, rule: Option<CostRule>) -> Result<Costs, ImportError> {
    let wanted = rule.unwrap_or(CostRule::default_of(format));
    if wanted == CostRule::Hops {
        return Ok(hops(found, "1 for each link".to_owned()));
    }
    let mut weights: Vec<[Option<f64>; 2]> =
        found.links.iter().map(|link| weights(found, link, wanted)).collect();
    if !weights.iter().flatten().any(Option::is_some) {
        let needs = wanted.needs();
        return match rule {
            _ if found.links.is_empty() => Ok(hops(found, "there are no links".to_owned())),
            None => Ok(hops(found, format!("1 for each link, since none has {needs}"))),
            Some(_) => Err(ImportError {
                line: None,
                message: format!("costs by {wanted} are not possible: no link has {needs}"),
                help: "use `--cost hops`, or add these numbers to the source".to_owned(),
            }),
        };
    }
    let mut invented = Vec::new();
    complete(&mut weights, wanted, &mut invented);
    let weights: Vec<[f64; 2]> =
        weights.into_iter().map(|pair| pair.map(Option::unwrap_or_default)).collect();
    let (links, how) = match wanted {
        CostRule::InverseCapacity => inverse(&weights),
        _ => scale(&weights),
    };
    let small = weights.as_flattened().iter().zip(links.as_flattened());
    let raised = small.filter(|(weight, cost)| **weight <= 0.0 && **cost == 1).count();
    if raised > 0 {
        invented.push(format!("{raised} weights of 0 became the cost 1, the smallest there is"));
    }
    let of = match wanted {
        CostRule::Distance => "kilometres, ",
        CostRule::Latency => "microseconds, ",
        CostRule::Source => "the source's weights, ",
        CostRule::Hops | CostRule::InverseCapacity => "",
    };
    Ok(Costs { links, rule: wanted, meaning: format!("{of}{how}"), invented })
}

fn hops(found: &Found, meaning: String) -> Costs {
    Costs { links: vec![[1, 1]; found.links.len()], rule: CostRule::Hops, meaning, invented: Vec::new() }
}

/// What `rule` weighs in both directions; nothing where the source does not say, or says what is no weight.
fn weights(found: &Found, link: &FoundLink, rule: CostRule) -> [Option<f64>; 2] {
    let pair = match rule {
        CostRule::Hops => [Some(1.0); 2],
        CostRule::Distance => [distance_km(found, link); 2],
        CostRule::Latency => [latency_us(found, link); 2],
        CostRule::InverseCapacity => [link.capacity_bps.map(|bps| bps as f64); 2],
        CostRule::Source => link.weights,
    };
    pair.map(|weight| weight.filter(|weight| weight.is_finite() && *weight >= 0.0))
}

/// A weight for each direction: of the other direction where one is missing, the median where both are.
fn complete(weights: &mut [[Option<f64>; 2]], rule: CostRule, invented: &mut Vec<String>) {
    let mut known: Vec<f64> = weights.iter().flatten().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let median = known.get((known.len().max(1) - 1) / 2).copied();
    let (mut halves, mut both) = (0, 0);
    for pair in weights.iter_mut() {
        match *pair {
            [Some(_), Some(_)] => {}
            [None, None] => {
                both += 1;
                *pair = [median; 2];
            }
            [one, other] => {
                halves += 1;
                *pair = [one.or(other); 2];
            }
        }
    }
    let needs = rule.needs();
    if halves > 0 {
        invented.push(format!("{halves} links have {needs} in one direction alone: the other costs as much"));
    }
    if both > 0 {
        let median = median.unwrap_or_default();
        invented.push(format!("{both} links lack {needs}: they cost what the median link does ({median})"));
    }
}

/// Kilometres of a link to the metre, as stated or along the great circle.
pub(crate) fn distance_km(found: &Found, link: &FoundLink) -> Option<f64> {
    let stated = link.distance_km.filter(|km| km.is_finite() && *km >= 0.0);
    stated.map(|km| (km * 1_000.0).round() / 1_000.0).or_else(|| {
        let [a, b] = link.ends.map(|end| found.nodes.get(end).and_then(|node| node.location));
        Some(great_circle_km(a?, b?))
    })
}

/// Microseconds of a link one way, as stated or from its distance; to a thousandth.
pub(crate) fn latency_us(found: &Found, link: &FoundLink) -> Option<f64> {
    let stated = link.latency_us.filter(|us| us.is_finite() && *us >= 0.0);
    let us = stated.or_else(|| distance_km(found, link).map(|km| km * US_PER_KM))?;
    Some((us * 1_000.0).round() / 1_000.0)
}

/// Costs from weights that are finite and not negative, and the factor in words.
fn scale(weights: &[[f64; 2]]) -> (Vec<[u32; 2]>, String) {
    let decimals = weights.as_flattened().iter().map(|weight| decimals(*weight)).max().unwrap_or(0);
    let largest = weights.as_flattened().iter().copied().fold(0.0, f64::max);
    let fits = |power: i32| times_ten_to(largest, power).round() <= f64::from(u32::MAX);
    if decimals <= DECIMALS_MAX && fits(decimals) {
        let costs = weights.iter().map(|pair| pair.map(|weight| cost(times_ten_to(weight, decimals))));
        let words = match decimals {
            0 => "as they are".to_owned(),
            _ => format!("times {}, which makes all of them whole", 10u64.pow(decimals as u32)),
        };
        return (costs.collect(), words);
    }
    // 308 is the largest power of ten of a double.
    let power = (-308..=DECIMALS_MAX).rev().find(|power| fits(*power)).unwrap_or(-308);
    let costs = weights.iter().map(|pair| pair.map(|weight| cost(times_ten_to(weight, power))));
    let words = match power {
        0.. => format!("times {}, rounded", 10u64.pow(power as u32)),
        _ => format!("over 1e{}, rounded", -power),
    };
    (costs.collect(), words)
}

/// A scaled weight as a cost; the smallest is 1.
fn cost(scaled: f64) -> u32 {
    // Conversion of floats saturates.
    (scaled.round() as u32).max(1)
}

/// Decimal places of the shortest text that reads as `weight`: what the source's author wrote.
fn decimals(weight: f64) -> i32 {
    let text = weight.to_string();
    text.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i32)
}

/// `weight` times a power of ten: the number whose digits are those of `weight` with the point moved.
fn times_ten_to(weight: f64, power: i32) -> f64 {
    // Both factors are exact for the powers in use, so the one rounding is that of the product.
    match power {
        0.. => weight * 10f64.powi(power),
        _ => weight / 10f64.powi(-power),
    }
}

/// Costs in inverse proportion to capacities, exact where their common multiple allows it.
fn inverse(capacities_bps: &[[f64; 2]]) -> (Vec<[u32; 2]>, String) {
    let bps = |pair: [f64; 2]| pair.map(|bps| (bps as u128).max(1));
    let all: Vec<[u128; 2]> = capacities_bps.iter().map(|pair| bps(*pair)).collect();
    let smallest = all.as_flattened().iter().copied().min().unwrap_or(1);
    let largest = all.as_flattened().iter().copied().max().unwrap_or(1);
    let most = smallest * u128::from(u32::MAX);
    let common = all.as_flattened().iter().try_fold(1u128, |multiple, bps| {
        let next = (multiple / gcd(multiple, *bps)).checked_mul(*bps)?;
        (next <= most).then_some(next)
    });
    if let Some(common) = common {
        let costs = all.iter().map(|pair| pair.map(|bps| (common / bps) as u32));
        let words = format!("{} over the capacity, which makes all of them whole", capacity_text(common));
        return (costs.collect(), words);
    }
    let fits = |power: &u32| largest * 10u128.pow(*power) / smallest < u128::from(u32::MAX);
    let power = (0..=DECIMALS_MAX as u32).rev().find(fits).unwrap_or(0);
    let reference = largest * 10u128.pow(power);
    let cost = |bps: u128| u32::try_from((reference + bps / 2) / bps).unwrap_or(u32::MAX).max(1);
    let costs = all.iter().map(|pair| pair.map(cost));
    (costs.collect(), format!("{} over the capacity, rounded", capacity_text(reference)))
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn capacity_text(bps: u128) -> String {
    u64::try_from(bps).map_or_else(|_| format!("{bps} bit/s"), crate::units::capacity_text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::FoundNode;
    use super::*;
    use proptest::prelude::*;

    fn weighted(weights: &[[Option<f64>; 2]]) -> Found {
        let link = |weights: &[Option<f64>; 2]| FoundLink {
            weights: *weights,
            ends: [0, 1],
            ..FoundLink::default()
        };
        let nodes = vec![FoundNode::default(), FoundNode::default()];
        Found { nodes, links: weights.iter().map(link).collect(), ..Found::default() }
    }

    fn by_source(weights: &[f64]) -> Costs {
        let pairs: Vec<_> = weights.iter().map(|weight| [Some(*weight); 2]).collect();
        costs(&weighted(&pairs), Format::Rocketfuel, None).unwrap()
    }

    #[test]
    fn one_factor_makes_all_weights_whole() {
        for (weights, wanted, meaning) in [
            (&[1.0, 2.0, 30.0][..], &[1, 2, 30][..], "the source's weights, as they are"),
            (
                &[0.5, 2.25, 3.0],
                &[50, 225, 300],
                "the source's weights, times 100, which makes all of them whole",
            ),
            (&[0.1, 0.2, 0.3], &[1, 2, 3], "the source's weights, times 10, which makes all of them whole"),
            (&[1.0 / 3.0, 1.0], &[333_333, 1_000_000], "the source's weights, times 1000000, rounded"),
            (&[1e12, 2e12], &[1_000_000_000, 2_000_000_000], "the source's weights, over 1e3, rounded"),
            (&[1e300], &[1_000_000_000], "the source's weights, over 1e291, rounded"),
            (&[4_294_967_295.0], &[u32::MAX], "the source's weights, as they are"),
        ] {
            let costs = by_source(weights);
            assert_eq!(costs.links, wanted.iter().map(|cost| [*cost; 2]).collect::<Vec<_>>(), "{weights:?}");
            assert_eq!(costs.meaning, meaning);
        }
    }

    #[test]
    fn what_the_source_does_not_say_is_assumed_and_told() {
        let found = weighted(&[
            [Some(2.0), Some(3.0)],
            [Some(4.0), None],
            [None, None],
            [Some(f64::NAN), Some(-1.0)],
        ]);
        let costs = costs(&found, Format::Repetita, None).unwrap();
        assert_eq!(costs.links, [[2, 3], [4, 4], [3, 3], [3, 3]]);
        assert_eq!(costs.invented.len(), 2, "{:?}", costs.invented);
        assert_eq!(by_source(&[0.0, 5.0]).links, [[1, 1], [5, 5]]);
        assert_eq!(
            by_source(&[0.0, 5.0]).invented,
            ["2 weights of 0 became the cost 1, the smallest there is"]
        );
    }

    #[test]
    fn a_rule_without_numbers_is_refused_when_asked_for_and_replaced_when_a_default() {
        let found = weighted(&[[None, None]]);
        let told = costs(&found, Format::Repetita, None).unwrap();
        assert_eq!(
            (told.links, told.meaning.as_str()),
            (vec![[1, 1]], "1 for each link, since none has a routing weight")
        );
        let refused = costs(&found, Format::Repetita, Some(CostRule::Latency)).unwrap_err();
        assert!(refused.message.contains("no link has a latency"), "{refused}");
    }

    #[test]
    fn inverse_capacities_keep_their_proportions() {
        let mut found = weighted(&[[None; 2]; 3]);
        for (at, bps) in [10_000_000_000, 2_500_000_000, 4_000_000_000].into_iter().enumerate() {
            found.links[at].capacity_bps = Some(bps);
        }
        let told = costs(&found, Format::Netbox, Some(CostRule::InverseCapacity)).unwrap();
        assert_eq!(told.links, [[2, 2], [8, 8], [5, 5]]);
        assert_eq!(told.meaning, "20G over the capacity, which makes all of them whole");
    }

    #[test]
    fn a_degree_of_the_equator_is_111_km_and_takes_556_us() {
        let mut found = weighted(&[[None; 2]]);
        found.nodes[0].location = Some((0.0, 10.0));
        found.nodes[1].location = Some((0.0, 11.0));
        let link = &found.links[0];
        assert_eq!(distance_km(&found, link), Some(111.195));
        assert_eq!(latency_us(&found, link), Some(555.975));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn equal_weights_stay_equal_and_order_is_kept(
            weights in proptest::collection::vec(prop_oneof![0.0..1e6f64, (0u32..5000).prop_map(|n| f64::from(n) / 8.0), 0.0..1e30f64], 2..12),
        ) {
            let costs = by_source(&weights).links;
            for (a, first) in weights.iter().zip(&costs) {
                prop_assert!(first[0] >= 1);
                for (b, second) in weights.iter().zip(&costs) {
                    prop_assert!(a != b || first == second);
                    prop_assert!(a >= b || first[0] <= second[0], "{a} {b} {first:?} {second:?}");
                }
            }
        }

        #[test]
        fn sums_that_are_equal_stay_equal(weights in proptest::collection::vec(1u32..100_000, 4..10), decimals in 0u32..4) {
            // In the smallest unit, sums are exact; the same numbers are then written with a point.
            let unit = 10f64.powi(decimals as i32);
            let written: Vec<f64> = weights.iter().map(|weight| f64::from(*weight) / unit).collect();
            let costs = by_source(&written).links;
            let factor = u64::from(costs[0][0]) * 1_000_000 / u64::from(weights[0]);
            for (weight, cost) in weights.iter().zip(&costs) {
                prop_assert_eq!(u64::from(*weight) * factor, u64::from(cost[0]) * 1_000_000);
            }
        }

        #[test]
        fn inverse_costs_keep_the_order(capacities in proptest::collection::vec(1u64..1_000_000_000_000_000, 2..8)) {
            let mut found = weighted(&vec![[None; 2]; capacities.len()]);
            for (link, bps) in found.links.iter_mut().zip(&capacities) {
                link.capacity_bps = Some(*bps);
            }
            let costs = costs(&found, Format::Netbox, Some(CostRule::InverseCapacity)).unwrap().links;
            for (a, first) in capacities.iter().zip(&costs) {
                for (b, second) in capacities.iter().zip(&costs) {
                    prop_assert!(first[0] >= 1 && (a > b || first[0] >= second[0]));
                    prop_assert!(a != b || first == second);
                }
            }
        }
    }
}
