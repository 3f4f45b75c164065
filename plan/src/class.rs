//! The numbers of classes.
//!
//! A class is a set of places that announce the same prefixes (see `origins`), most often one node. Its number comes from the node's name, so
//! that a node more or less renumbers nobody (unless two names clash, once in 4 billion pairs). Knows
//! nothing of paths.

use crate::ClassId;
use std::collections::BTreeSet;
use topology::Topology;

/// Domain of the hash that turns a name into a class number.
const CLASS_CONTEXT: &str = "ballast class id v1";

/// The class of each node, in the order of the nodes. A name whose number is taken by a name before it
/// takes the next free one.
pub(crate) fn ids(topology: &Topology) -> Vec<ClassId> {
    let mut taken = BTreeSet::new();
    topology.nodes.iter().map(|node| free_id(&node.name, &mut taken)).collect()
}

/// The number that follows from a name, or the next free one.
pub(crate) fn free_id(name: &str, taken: &mut BTreeSet<u32>) -> ClassId {
    let hash = blake3::derive_key(CLASS_CONTEXT, name.as_bytes());
    let mut id = u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]);
    while !taken.insert(id) {
        id = id.wrapping_add(1);
    }
    ClassId(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::origins::destinations;
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
        let (table, _) = destinations(&topology);
        assert_eq!(table.class_name(ids[0]), Some("n18660"));
        assert_eq!(table.class_name(ids[1]), Some("n39428"));
        assert_eq!(table.class_of(&topology.nodes[1].prefixes[0]), Some(ids[1]));
    }
}
