//! Whether the network hangs together. Parts that do not are a warning: a network that is being built is
//! legal, a forgotten link is worth a word.

use crate::diagnostic::{Code, Problems, Spanned, quote};
use crate::model::Link;
use std::collections::BTreeMap;

/// Nodes of a part that a message names.
const NAMED_MAX: usize = 5;

/// Reports every part but the largest one. `nodes` are in the order of the links' indexes.
pub(crate) fn check(nodes: &[Spanned<String>], links: &[Link], problems: &mut Problems) {
    let mut parts = parts(nodes.len(), links);
    // Largest first; of equal ones, the one with the first node.
    parts.sort_by_key(|part| (std::cmp::Reverse(part.len()), part[0]));
    for part in parts.iter().skip(1) {
        let node = &nodes[part[0]];
        if part.len() == 1 {
            let message =
                format!("no link reaches the node {}: nothing can be forwarded to it", quote(&node.value));
            let help = "add a link with an endpoint at this node, or remove the node";
            problems.warning(Code::UNREACHABLE_NODE, node.place, message, help);
            continue;
        }
        let names: Vec<&str> = part.iter().take(NAMED_MAX).map(|at| nodes[*at].value.as_str()).collect();
        let more = if part.len() > NAMED_MAX { ", ..." } else { "" };
        let message = format!(
            "no link connects these {} nodes to the rest of the network: {}{more}",
            part.len(),
            names.join(", ")
        );
        problems.warning(Code::DISCONNECTED, node.place, message, "add a link between the parts");
    }
}

/// The connected parts, each sorted.
fn parts(nodes: usize, links: &[Link]) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..nodes).collect();
    fn find(leader: &mut [usize], mut at: usize) -> usize {
        while leader[at] != at {
            leader[at] = leader[leader[at]];
            at = leader[at];
        }
        at
    }
    for link in links {
        let [a, b] = [0, 1].map(|end| find(&mut leader, link.ends[end].node.0 as usize));
        leader[a.max(b)] = a.min(b);
    }
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..nodes {
        parts.entry(find(&mut leader, at)).or_default().push(at);
    }
    parts.into_values().collect()
}
