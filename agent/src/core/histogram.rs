//! Durations in buckets, for status and metrics.

use serde_json::{Value, json};

/// Upper bounds in microseconds; one bucket more takes the rest.
pub const BOUNDS_US: [u64; 15] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    5_000_000, 30_000_000,
];

/// How long something took, again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
    /// The longest, in microseconds.
    pub max_us: u64,
}

impl Histogram {
    /// Adds one.
    pub fn add(&mut self, us: u64) {
        self.buckets[BOUNDS_US.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// (upper bound in microseconds or none for the last, how many up to it), as Prometheus has it.
    pub fn cumulated(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounds = BOUNDS_US.iter().map(|bound| Some(*bound)).chain([None]);
        bounds.zip(self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        }))
    }

    /// For status: count, sum, longest, and the buckets that are not empty with their upper bounds.
    pub(crate) fn json(&self) -> Value {
        let bounds = BOUNDS_US.iter().map(|bound| Some(*bound)).chain([None]);
        let filled = bounds.zip(&self.buckets).filter(|(_, count)| **count > 0);
        let buckets: Vec<Value> =
            filled.map(|(bound, count)| json!({"le_us": bound, "count": count})).collect();
        json!({"count": self.count(), "sum_us": self.sum_us, "max_us": self.max_us, "buckets": buckets})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_falls_into_the_bucket_of_the_first_bound_that_is_not_below_it() {
        let mut histogram = Histogram::default();
        for us in [0, 100, 101, 31_000_000] {
            histogram.add(us);
        }
        let cumulated: Vec<_> = histogram.cumulated().collect();
        assert_eq!(cumulated[..2], [(Some(100), 2), (Some(200), 3)]);
        assert_eq!(cumulated.last(), Some(&(None, 4)));
        assert_eq!((histogram.count(), histogram.sum_us, histogram.max_us), (4, 31_000_201, 31_000_000));
        assert_eq!(histogram.json()["buckets"][2], json!({"le_us": null, "count": 1}));
    }
}
