//! The name that was probably meant. Never guesses far: a wrong suggestion is worse than none.

/// Names that are compared in one reading; a file with thousands of wrong names gets the first
/// suggestions and stays quick to read.
const COMPARISONS_MAX: usize = 300_000;

/// Longest name that is compared, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Bounds the work of all suggestions of one reading.
pub(crate) struct Suggester {
    comparisons_left: usize,
}

impl Suggester {
    pub(crate) fn new() -> Self {
        Suggester { comparisons_left: COMPARISONS_MAX }
    }

    /// The candidate nearest to `name`: one edit for short names, at most a third of the length for longer
    /// ones. Ties go to the first in order of text.
    pub(crate) fn nearest<'c>(
        &mut self,
        name: &str,
        candidates: impl Iterator<Item = &'c str>,
    ) -> Option<&'c str> {
        let budget = (name.len() / 3).clamp(1, 3);
        let mut best: Option<(usize, &str)> = None;
        // Every name of one letter is one edit away from every other.
        if name.len() > NAME_BYTES_MAX || name.len() < 2 {
            return None;
        }
        for candidate in candidates {
            self.comparisons_left = self.comparisons_left.checked_sub(1)?;
            if candidate.len().abs_diff(name.len()) > budget {
                continue;
            }
            let distance = edit_distance(&name.to_ascii_lowercase(), &candidate.to_ascii_lowercase());
            if distance <= budget && best.is_none_or(|best| (distance, candidate) < best) {
                best = Some((distance, candidate));
            }
        }
        best.map(|(_, candidate)| candidate)
    }
}

/// Insertions, deletions, replacements and swaps of neighbours between two names (the restricted
/// Damerau-Levenshtein distance), by bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = replaced.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_name_is_suggested_only_when_it_is_near() {
        let names = ["capacity", "cost", "latency", "mtu", "zone"];
        for (name, wanted) in [
            ("capactiy", Some("capacity")),
            ("Cost", Some("cost")),
            ("mut", Some("mtu")),
            ("zones", Some("zone")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(Suggester::new().nearest(name, names.into_iter()), wanted, "{name}");
        }
    }
}
