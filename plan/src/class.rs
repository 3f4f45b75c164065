//! Which prefixes are treated alike, and under which number.
//!
//! A class is a destination node with its loopbacks and prefixes. Its number comes from the node's name, so
//! that a node more or less renumbers nobody (unless two names clash, once in 4 billion pairs). Knows
//! nothing of paths.

use crate::program::Class;
use crate::{ClassId, PrefixTable};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use topology::Topology;

/// Domain of the hash that turns a name into a class number.
const CLASS_CONTEXT: &str = "ballast class id v1";

/// The class of each node, in the order of the nodes. A name whose number is taken by a name before it
/// takes the next free one.
pub(crate) fn ids(topology: &Topology) -> Vec<ClassId> {
    let mut taken = BTreeSet::new();
    let mut ids = Vec::with_capacity(topology.nodes.len());
    for node in &topology.nodes {
        let hash = blake3::derive_key(CLASS_CONTEXT, node.name.as_bytes());
        let mut id = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
        while !taken.insert(id) {
            id = id.wrapping_add(1);
        }
        ids.push(ClassId(id));
    }
    ids
}

/// The network's prefix table. A prefix that two nodes have belongs to the first by name.
pub(crate) fn table(topology: &Topology, ids: &[ClassId]) -> PrefixTable {
    let mut classes = Vec::with_capacity(ids.len());
    let mut entries = BTreeMap::new();
    for (node, id) in topology.nodes.iter().zip(ids) {
        classes.push(Class { id: *id, name: node.name.clone() });
        let loopbacks = node.loopbacks.iter().map(|address| IpNetwork::from(*address));
        for prefix in loopbacks.chain(node.prefixes.iter().copied()) {
            entries.entry(prefix).or_insert(*id);
        }
    }
    classes.sort_unstable_by_key(|class| class.id);
    PrefixTable { classes, entries: entries.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::tests::fixture::topology;

    #[test]
    fn a_node_more_renumbers_nobody() {
        let (few, many) = (topology("b-d 1"), topology("a-b 1, b-c 1, c-d 1"));
        let (few, many) = (ids(&few), ids(&many));
        assert_eq!(few, [many[1], many[3]]);
    }

    #[test]
    fn names_whose_numbers_clash_get_neighbouring_ones() {
        // The hashes of these two names begin with the same four bytes.
        let topology = topology("n18660-n39428 1");
        let ids = ids(&topology);
        assert_eq!(ids[1].0, ids[0].0.wrapping_add(1));
        let table = table(&topology, &ids);
        assert_eq!(table.class_name(ids[0]), Some("n18660"));
        assert_eq!(table.class_name(ids[1]), Some("n39428"));
        assert_eq!(table.class_of(&topology.nodes[1].prefixes[0]), Some(ids[1]));
    }

    #[test]
    fn a_prefix_that_two_nodes_have_is_in_the_table_once() {
        let mut topology = topology("a-b 1");
        topology.nodes[1].prefixes = topology.nodes[0].prefixes.clone();
        let ids = ids(&topology);
        let table = table(&topology, &ids);
        assert_eq!(table.entries.len(), 5);
        assert_eq!(table.class_of(&topology.nodes[0].prefixes[0]), Some(ids[0]));
    }
}
