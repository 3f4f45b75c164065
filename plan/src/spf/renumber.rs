//! Nodes and lines that come and go: what is known of those that stay is carried over.
//!
//! Rows need no order. A node that goes leaves a hole, which the last row or a new node fills: so nearly all rows and columns
//! stay where they are and are copied whole.

use super::{AllPairs, Arcs, Cores, Lane, Lanes, Line, Shape, Table, WORD_ARCS};
use rayon::prelude::*;

/// No slot: the arc is gone.
const GONE: u32 = u32::MAX;

/// What is where before and after.
struct Moves<'a> {
    old: &'a Shape,
    new: &'a Shape,
    /// By new row the old one; none for a new node's.
    old_row: Vec<Option<usize>>,
    /// By old arc its place among its row's arcs now, or [`GONE`].
    slots: Vec<u32>,
}

impl AllPairs {
    /// Takes other numbers: `nodes[old]` and `line_places[old]` say where each node and line is now. No shortest path may
    /// use a line that goes; `lines` are those of the `count` nodes now, and one without an old one has no usable way.
    pub(crate) fn renumber(
        &mut self,
        nodes: &[Option<u32>],
        line_places: &[Option<u32>],
        count: usize,
        lines: &[Line],
        cores: Cores,
    ) {
        let (node, old_row) = self.shape.rows_after(nodes, count);
        let new = Shape::new(lines, &Arcs::new(count, lines), node);
        let old = &self.shape;
        let mut slots = vec![GONE; old.arcs.to.len()];
        for (arcs, place) in old.arcs_of_line.iter().zip(line_places) {
            let Some(place) = place else { continue };
            for (arc, now) in arcs.iter().zip(new.arcs_of_line[*place as usize]) {
                // The arc back leads to the row that this one leaves.
                let row = new.row_of(now);
                slots[*arc as usize] = now - new.arcs.starts[row];
            }
        }
        let moves = Moves { old, new: &new, old_row, slots };
        match &mut self.lanes {
            Lanes::Narrow(table) => *table = table.moved(&moves, cores),
            Lanes::Wide(table) => *table = table.moved(&moves, cores),
            Lanes::Full(table) => *table = table.moved(&moves, cores),
        }
        self.shape = new;
    }
}

impl Shape {
    /// The row whose arc this is.
    fn row_of(&self, arc: u32) -> usize {
        self.arcs.starts.partition_point(|start| *start <= arc) - 1
    }

    /// For the nodes after a renumbering: the node of each row, and the row that it had.
    fn rows_after(&self, nodes: &[Option<u32>], count: usize) -> (Vec<u32>, Vec<Option<usize>>) {
        let mut rows: Vec<Option<(u32, usize)>> = vec![None; count];
        let mut moved = Vec::new();
        let mut is_old = vec![false; count];
        for (row, node) in self.node.iter().enumerate() {
            let Some(node) = nodes[*node as usize] else { continue };
            is_old[node as usize] = true;
            match rows.get_mut(row) {
                Some(place) => *place = Some((node, row)),
                None => moved.push((node, Some(row))),
            }
        }
        let added = (0..count as u32).filter(|node| !is_old[*node as usize]).map(|node| (node, None));
        let mut fillers = moved.into_iter().chain(added);
        // As many nodes wait for a row as there are rows without one.
        rows.into_iter()
            .filter_map(|place| place.map(|(node, row)| (node, Some(row))).or_else(|| fillers.next()))
            .unzip()
    }
}

impl<T: Lane, const L: usize> Table<T, L> {
    fn moved(&self, moves: &Moves<'_>, cores: Cores) -> Self {
        let (old, new) = (moves.old, moves.new);
        let (old_nodes, nodes) = (old.node.len(), new.node.len());
        let (old_words, words) = (old.words[old_nodes] as usize + 1, new.words[nodes] as usize + 1);
        let batches = nodes.div_ceil(L);
        let mut distances = vec![T::ZERO; batches * nodes * L];
        let mut sets = vec![0_u16; batches * words * L];
        let work = |(batch, (distances, sets)): (usize, (&mut [T], &mut [u16]))| {
            let (distances, sets) = (distances.as_chunks_mut::<L>().0, sets.as_chunks_mut::<L>().0);
            let part = |batch: usize| {
                let from = &self.distances.as_chunks::<L>().0[batch * old_nodes..(batch + 1) * old_nodes];
                (from, &self.sets.as_chunks::<L>().0[batch * old_words..(batch + 1) * old_words])
            };
            let columns: Vec<Option<usize>> = (batch * L..(batch + 1) * L)
                .map(|column| moves.old_row.get(column).copied().flatten())
                .collect();
            // Columns that stay are copied together, others one by one.
            let stays = |lane: usize| columns[lane] == Some(batch * L + lane);
            if batch < old_nodes.div_ceil(L) && (0..L).any(stays) {
                let (from, from_sets) = part(batch);
                moves.copy(from, distances, from_sets, sets, |from, to| *to = *from, |from, to| *to = *from);
            }
            for lane in (0..L).filter(|lane| !stays(*lane)) {
                distances.iter_mut().for_each(|row| row[lane] = T::INFINITE);
                sets.iter_mut().for_each(|set| set[lane] = 0);
                if let Some(column) = columns[lane] {
                    let (from, from_sets) = part(column / L);
                    let at = column % L;
                    let (distance, set) = (
                        |from: &[T; L], to: &mut [T; L]| to[lane] = from[at],
                        |from: &[u16; L], to: &mut [u16; L]| to[lane] = from[at],
                    );
                    moves.copy(from, distances, from_sets, sets, distance, set);
                } else if let Some(row) = distances.get_mut(batch * L + lane) {
                    row[lane] = T::ZERO;
                }
            }
            for (row, _) in moves.old_row.iter().enumerate().filter(|(_, old)| old.is_none()) {
                let own = row.checked_sub(batch * L).filter(|lane| *lane < L);
                for lane in (0..L).filter(|lane| own != Some(*lane)) {
                    distances[row][lane] = T::INFINITE;
                }
            }
        };
        let (row_lanes, set_lanes) = ((nodes * L).max(1), words * L);
        match cores {
            Cores::One => {
                let batches = distances.chunks_mut(row_lanes).zip(sets.chunks_mut(set_lanes));
                batches.enumerate().for_each(work);
            }
            Cores::All => {
                let batches = distances.par_chunks_mut(row_lanes).zip(sets.par_chunks_mut(set_lanes));
                batches.enumerate().for_each(work);
            }
        }
        Table { distances, sets }
    }
}

impl Moves<'_> {
    /// Copies what the rows of one batch have to their new places.
    fn copy<T, const L: usize>(
        &self,
        from: &[[T; L]],
        to: &mut [[T; L]],
        from_sets: &[[u16; L]],
        to_sets: &mut [[u16; L]],
        distance: impl Fn(&[T; L], &mut [T; L]),
        set: impl Fn(&[u16; L], &mut [u16; L]),
    ) {
        for (row, old) in self.old_row.iter().enumerate() {
            let Some(old) = *old else { continue };
            distance(&from[old], &mut to[row]);
            let words = |shape: &Shape, row: usize| shape.words[row] as usize..shape.words[row + 1] as usize;
            let (own, now) = (words(self.old, old), words(self.new, row));
            let slots = &self.slots[self.old.arcs.of(old)];
            let stay = (0_u32..).zip(slots).all(|(at, slot)| at == *slot || *slot == GONE);
            let shorter = own.len().min(now.len());
            if stay {
                let (own, now) = (&from_sets[own][..shorter], &mut to_sets[now][..shorter]);
                own.iter().zip(now).for_each(|(from, to)| set(from, to));
                continue;
            }
            let mut moved = vec![[0_u16; L]; now.len()];
            for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| **slot != GONE) {
                let (word, bit) = (*slot as usize / WORD_ARCS, *slot as usize % WORD_ARCS);
                for (to, bits) in moved[word].iter_mut().zip(&from_sets[own.start + at / WORD_ARCS]) {
                    *to |= (bits >> (at % WORD_ARCS) & 1) << bit;
                }
            }
            moved.iter().zip(&mut to_sets[now]).for_each(|(from, to)| set(from, to));
        }
    }
}
