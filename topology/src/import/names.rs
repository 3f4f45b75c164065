//! Names that a topology file allows, from a source's words.
//!
//! A name that is allowed and unique is kept as it is. What must change depends on the source alone, never on
//! chance: the same source gives the same names. The rules of the file are in `crate::names`.

use super::FoundNode;
use crate::names;
use std::collections::{BTreeMap, BTreeSet};

/// Longest name of a node or zone in bytes, as in the file's rules.
const NAME_BYTES_MAX: usize = 63;

/// Longest name of an interface in bytes, as in the file's rules.
const INTERFACE_BYTES_MAX: usize = 15;

/// Characters of a source's word that a name is made of: more than fit in the longest name.
const CHARS_LOOKED_AT: usize = 256;

/// Hexadecimal digits of a hash that stand for what was cut off.
const HASH_DIGITS: usize = 6;

/// Letters of Latin scripts and how they are written in ASCII.
const LATIN: &[(&str, &str)] = &[
    ("àáâãåāăą", "a"),
    ("ÀÁÂÃÅĀĂĄ", "A"),
    ("äæ", "ae"),
    ("ÄÆ", "Ae"),
    ("çćĉċč", "c"),
    ("ÇĆĈĊČ", "C"),
    ("ďđð", "d"),
    ("ĎĐÐ", "D"),
    ("èéêëēĕėęě", "e"),
    ("ÈÉÊËĒĔĖĘĚ", "E"),
    ("ĝğġģ", "g"),
    ("ĜĞĠĢ", "G"),
    ("ìíîïĩīĭįı", "i"),
    ("ÌÍÎÏĨĪĬĮİ", "I"),
    ("ķ", "k"),
    ("Ķ", "K"),
    ("ĺļľł", "l"),
    ("ĹĻĽŁ", "L"),
    ("ñńņň", "n"),
    ("ÑŃŅŇ", "N"),
    ("òóôõøōŏő", "o"),
    ("ÒÓÔÕØŌŎŐ", "O"),
    ("öœ", "oe"),
    ("ÖŒ", "Oe"),
    ("ŕŗř", "r"),
    ("ŔŖŘ", "R"),
    ("śŝşšș", "s"),
    ("ŚŜŞŠȘ", "S"),
    ("ß", "ss"),
    ("ţťț", "t"),
    ("ŢŤȚ", "T"),
    ("ùúûũūŭůűų", "u"),
    ("ÙÚÛŨŪŬŮŰŲ", "U"),
    ("ü", "ue"),
    ("Ü", "Ue"),
    ("ýÿ", "y"),
    ("ÝŸ", "Y"),
    ("źżž", "z"),
    ("ŹŻŽ", "Z"),
];

/// `text` as the name of a node, zone, label or network; itself when it is allowed. Empty when nothing of it
/// can be kept.
pub(crate) fn legal(text: &str) -> String {
    if names::name(text).is_ok() {
        return text.to_owned();
    }
    let mut name = String::new();
    for c in text.trim().chars().take(CHARS_LOOKED_AT) {
        match LATIN.iter().find(|(letters, _)| letters.contains(c)) {
            Some((_, ascii)) => name.push_str(ascii),
            None if c == '-' && name.ends_with('-') => {}
            None if c.is_ascii_alphanumeric() || "-_.".contains(c) => name.push(c),
            None if name.ends_with('_') => {}
            None => name.push('_'),
        }
    }
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    cut(name, text, NAME_BYTES_MAX)
}

/// ASCII `text` in at most `bytes_max` bytes; what is cut off is told apart by a hash of the `whole`.
fn cut(text: &str, whole: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let hash = blake3::hash(whole.as_bytes()).to_hex();
    let kept = text.get(..bytes_max - HASH_DIGITS - 1).unwrap_or_default();
    format!("{kept}_{}", &hash[..HASH_DIGITS])
}

/// Gives out names that nobody has yet.
#[derive(Default)]
struct Taken {
    names: BTreeSet<String>,
    /// Next number for a name that is asked for again: without it, many equal names would take quadratic time.
    next: BTreeMap<String, u32>,
}

impl Taken {
    /// `wanted`, or `wanted_2`, `wanted_3` and so on.
    fn unique(&mut self, wanted: &str, bytes_max: usize) -> String {
        if self.names.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let next = self.next.entry(wanted.to_owned()).or_insert(2);
        loop {
            let suffix = format!("_{next}");
            let kept = wanted.len().min(bytes_max - suffix.len());
            let name = format!("{}{suffix}", wanted.get(..kept).unwrap_or_default());
            *next += 1;
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// A name for each node, in order. A label that several nodes share says nothing about which is which, so each
/// of them gets its key in the source added.
pub(crate) fn nodes(found: &[FoundNode]) -> Vec<String> {
    let words: Vec<&str> = found.iter().map(words).collect();
    let wanted: Vec<String> = words.iter().map(|word| legal(word)).collect();
    let mut uses: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (wanted, word) in wanted.iter().zip(&words) {
        let (all, exact) = uses.entry(wanted).or_default();
        *all += 1;
        *exact += usize::from(wanted == word);
    }
    // Whoever has a name to itself, or alone is really called that, keeps it, wherever it stands.
    let keeps = |at: usize| {
        let (all, exact) = uses.get(wanted[at].as_str()).copied().unwrap_or_default();
        !wanted[at].is_empty() && (all == 1 || (exact == 1 && wanted[at] == words[at]))
    };
    let kept = (0..found.len()).filter(|at| keeps(*at)).map(|at| wanted[at].clone());
    let mut taken = Taken { names: kept.collect(), ..Taken::default() };
    (0..found.len())
        .map(|at| {
            if keeps(at) {
                return wanted[at].clone();
            }
            let key = legal(&found[at].source_id);
            let name = match (wanted[at].is_empty(), words[at] == found[at].source_id) {
                (true, _) => format!("node_{key}"),
                (false, true) => wanted[at].clone(),
                (false, false) => format!("{}_{key}", wanted[at]),
            };
            taken.unique(&cut(name.trim_end_matches('_'), &name, NAME_BYTES_MAX), NAME_BYTES_MAX)
        })
        .collect()
}

/// What a person calls a node.
pub(crate) fn words(node: &FoundNode) -> &str {
    let label = node.label.as_deref().map(str::trim).filter(|label| !label.is_empty());
    label.unwrap_or(&node.source_id)
}

/// Unique names for words that may repeat on purpose: the same word has the same name, other words have others.
pub(crate) fn distinct<'w>(
    words: impl Iterator<Item = &'w str>,
    fallback: &str,
) -> BTreeMap<&'w str, String> {
    let words: BTreeSet<&str> = words.collect();
    let kept = words.iter().filter(|word| names::name(word).is_ok()).map(|word| (*word).to_owned());
    let mut taken = Taken { names: kept.collect(), ..Taken::default() };
    let mut given = BTreeMap::new();
    for word in words {
        let wanted = legal(word);
        let wanted = if wanted.is_empty() { fallback } else { &wanted };
        let name = if wanted == word { wanted.to_owned() } else { taken.unique(wanted, NAME_BYTES_MAX) };
        given.insert(word, name);
    }
    given
}

/// `text` as the name of an interface; itself when it is allowed. Empty when nothing of it can be kept.
pub(crate) fn legal_interface(text: &str) -> String {
    if !text.is_empty() && names::interface(text).is_ok() {
        return text.to_owned();
    }
    let allowed = |c: char| if c.is_ascii_graphic() && !"/:%".contains(c) { c } else { '-' };
    let name: String = text.trim().chars().map(allowed).collect();
    let name = name.trim_matches('-');
    // The number at the end tells ports apart, the words before it are for people: these are cut.
    let letters = name.len() - name.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
    let number = name.len() - letters;
    let name = if name.len() <= INTERFACE_BYTES_MAX {
        name.to_owned()
    } else if letters > 0 && number < INTERFACE_BYTES_MAX {
        let kept = letters.min(INTERFACE_BYTES_MAX - number);
        format!("{}{}", name.get(..kept).unwrap_or_default(), name.get(letters..).unwrap_or_default())
    } else {
        cut(name, name, INTERFACE_BYTES_MAX)
    };
    // `lo` and the like are taken by Linux.
    if name.is_empty() || names::interface(&name).is_ok() { name } else { format!("{name}_1") }
}

/// Interfaces of all links: `ends[link][end]` is the node and, where the source says so, the interface. What
/// the source does not name becomes `eth1`, `eth2` and so on, in the order of the links.
pub(crate) fn interfaces(nodes: usize, ends: &[[(usize, Option<&str>); 2]]) -> Vec<[String; 2]> {
    let mut taken: Vec<Taken> = (0..nodes).map(|_| Taken::default()).collect();
    let mut given: Vec<[String; 2]> = vec![[String::new(), String::new()]; ends.len()];
    // What is allowed as it is comes first, so that no escaped name takes its place.
    for escaped in [false, true] {
        for (link, end) in (0..ends.len()).flat_map(|link| [(link, 0), (link, 1)]) {
            let (node, Some(text)) = ends[link][end] else { continue };
            let wanted = legal_interface(text);
            if (wanted != text) == escaped && !wanted.is_empty() {
                given[link][end] = taken[node].unique(&wanted, INTERFACE_BYTES_MAX);
            }
        }
    }
    let mut next = vec![1u32; nodes];
    for (link, end) in (0..ends.len()).flat_map(|link| [(link, 0), (link, 1)]) {
        let node = ends[link][end].0;
        while given[link][end].is_empty() {
            let name = format!("eth{}", next[node]);
            next[node] += 1;
            if taken[node].names.insert(name.clone()) {
                given[link][end] = name;
            }
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(source_id: &str, label: Option<&str>) -> FoundNode {
        FoundNode { source_id: source_id.into(), label: label.map(str::to_owned), ..FoundNode::default() }
    }

    #[test]
    fn names_are_kept_where_they_can_be_and_told_apart_where_not() {
        type Labelled<'a> = &'a [(&'a str, Option<&'a str>)];
        let cases: &[(Labelled<'_>, &[&str])] = &[
            (&[("0", Some("Seattle")), ("1", Some("New York"))], &["Seattle", "New_York"]),
            (&[("0", Some("None")), ("1", Some("x")), ("2", Some("None"))], &["None_0", "x", "None_2"]),
            (&[("a b", None), ("a_b", None)], &["a_b_2", "a_b"]),
            (&[("1", Some("São Paulo")), ("2", Some("Genève"))], &["Sao_Paulo", "Geneve"]),
            (&[("1", Some("a--b")), ("2", Some("-c")), ("3", Some("???"))], &["a-b", "c", "node_3"]),
            (&[("1", Some(" ")), ("2", None)], &["1", "2"]),
            // A name that is made must not take one that is real.
            (&[("2", Some("x")), ("3", Some("x")), ("4", Some("x_2"))], &["x_2_2", "x_3", "x_2"]),
        ];
        for (input, wanted) in cases {
            let found: Vec<FoundNode> = input.iter().map(|(id, label)| node(id, *label)).collect();
            assert_eq!(nodes(&found), *wanted, "{input:?}");
        }
    }

    #[test]
    fn interfaces_keep_the_number_of_the_port() {
        for (text, wanted) in [
            ("eth1", "eth1"),
            ("e1-1", "e1-1"),
            ("1/1/c1/1", "1-1-c1-1"),
            ("ethernet-1/1", "ethernet-1-1"),
            ("GigabitEthernet0/0/0/12", "Gigabit0-0-0-12"),
            ("HundredGigE0/0/0/1", "HundredG0-0-0-1"),
            ("lo", "lo_1"),
            ("..", ".._1"),
            ("%", ""),
            ("é", ""),
        ] {
            assert_eq!(legal_interface(text), wanted, "{text}");
        }
    }

    #[test]
    fn invented_interfaces_step_around_the_named_ones() {
        let ends = [
            [(0, None), (1, Some("eth1"))],
            [(0, Some("eth1")), (1, None)],
            [(0, Some("eth/1")), (1, Some("eth1"))],
            [(0, Some("eth-1")), (1, Some("eth1"))],
        ];
        let wanted = [["eth2", "eth1"], ["eth1", "eth2"], ["eth-1_2", "eth1_2"], ["eth-1", "eth1_3"]];
        assert_eq!(interfaces(2, &ends), wanted);
    }

    #[test]
    fn many_equal_names_take_no_quadratic_time() {
        let found: Vec<FoundNode> = (0..20_000).map(|id| node(&format!("?{id}?"), Some("?"))).collect();
        assert_eq!(nodes(&found).into_iter().collect::<BTreeSet<_>>().len(), 20_000);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_name_is_allowed_and_unique(labels in proptest::collection::vec("\\PC{0,80}|[ab_ -]{0,3}", 1..20)) {
            let found: Vec<FoundNode> =
                labels.iter().enumerate().map(|(at, label)| node(&at.to_string(), Some(label))).collect();
            let given = nodes(&found);
            for name in &given {
                prop_assert_eq!(names::name(name), Ok(()), "{}", name);
            }
            prop_assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len());
        }

        #[test]
        fn every_interface_is_allowed_and_unique(texts in proptest::collection::vec("\\PC{0,30}|e[/-]?[12]|", 1..20)) {
            let ends: Vec<_> = texts.iter().map(|text| [(0, Some(text.as_str())), (1, None)]).collect();
            let given = interfaces(2, &ends);
            for end in 0..2 {
                let of_node: BTreeSet<&str> = given.iter().map(|pair| pair[end].as_str()).collect();
                prop_assert_eq!(of_node.len(), given.len());
                for name in of_node {
                    prop_assert!(!name.is_empty());
                    prop_assert_eq!(names::interface(name), Ok(()), "{}", name);
                }
            }
        }
    }
}
