//! Changed costs: only what they touch is computed again.
//!
//! Per destination, after Ramalingam and Reps (1996): an arc that became dearer matters where it lies on a shortest
//! path, one that became cheaper where it offers as short a way. From the arcs that matter, nodes left without a
//! next hop are collected in the order of their old distances; they and those that now have a shorter way get new
//! distances by Dijkstra's algorithm from the border. The work follows what changes, not the network's size.

use super::{AllPairs, Arcs, Cores, Lane, Lanes, Line, Table, UNREACHABLE, WORD_ARCS};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Changed links up to which an update pays: beyond a share of all, a computation from nothing is faster.
const CHANGED_LINKS_MIN: usize = 16;
const NODES_PER_CHANGED_LINK: usize = 32;

/// A pair of nodes whose distance or next hops have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Changed {
    /// The destination.
    pub to: u32,
    /// The sender.
    pub from: u32,
    /// The distance before, or [`UNREACHABLE`].
    pub before: u64,
    /// Whether the next hops are others; else only the distance is.
    pub next_hops: bool,
}

/// An arc with another cost.
struct ChangedArc {
    row: usize,
    /// Position among the row's arcs.
    slot: usize,
    arc: usize,
    is_dearer: bool,
}

/// A distance does not fit the lanes any more.
struct TooLong;

impl AllPairs {
    /// Takes new costs for the same links. Gives the pairs that changed, sorted; `None` when everything was computed
    /// from nothing, because too many links changed or other links were given.
    pub fn update(&mut self, lines: &[Line], cores: Cores) -> Option<Vec<Changed>> {
        let changed = self.set_costs(lines);
        let changed = match changed {
            Some(changed) if changed.is_empty() => return Some(Vec::new()),
            changed => changed,
        };
        let of_rows = changed.and_then(|changed| match &mut self.lanes {
            Lanes::Narrow(table) => table.update(&self.shape.arcs, &self.shape.words, &changed, cores).ok(),
            Lanes::Wide(table) => table.update(&self.shape.arcs, &self.shape.words, &changed, cores).ok(),
            Lanes::Full(table) => table.update(&self.shape.arcs, &self.shape.words, &changed, cores).ok(),
        });
        let Some(of_rows) = of_rows else {
            *self = AllPairs::new(self.nodes(), lines, cores);
            return None;
        };
        let node = |row: u32| self.shape.node[row as usize];
        let named = |changed: Changed| Changed { to: node(changed.to), from: node(changed.from), ..changed };
        let mut of_nodes: Vec<Changed> = of_rows.into_iter().map(named).collect();
        of_nodes.sort_unstable();
        Some(of_nodes)
    }

    /// Puts the new costs into the arcs; `None` when that is not worth an update.
    fn set_costs(&mut self, lines: &[Line]) -> Option<Vec<ChangedArc>> {
        let most = CHANGED_LINKS_MIN + self.nodes() / NODES_PER_CHANGED_LINK;
        let mut changed = Vec::new();
        if lines.len() != self.shape.arcs_of_line.len() {
            return None;
        }
        for (line, arcs) in lines.iter().zip(&self.shape.arcs_of_line) {
            let [there, back] = arcs.map(|arc| arc as usize);
            let rows = [line.a, line.b].map(|node| self.shape.row[node as usize]);
            if [self.shape.arcs.to[back], self.shape.arcs.to[there]] != rows {
                return None;
            }
            let costs = [line.cost.max(1), line.cost_back.max(1)];
            for (row, arc, opposite, cost) in
                [(rows[0], there, back, costs[0]), (rows[1], back, there, costs[1])]
            {
                let before = self.shape.arcs.cost[arc];
                if cost != before {
                    let slot = arc - self.shape.arcs.of(row as usize).start;
                    changed.push(ChangedArc { row: row as usize, slot, arc, is_dearer: cost > before });
                    self.shape.arcs.cost[arc] = cost;
                    self.shape.arcs.cost_back[opposite] = cost;
                }
            }
        }
        (changed.len() <= 2 * most).then_some(changed)
    }
}

impl<T: Lane, const L: usize> Table<T, L> {
    fn update(
        &mut self,
        arcs: &Arcs,
        words: &[u32],
        changed: &[ChangedArc],
        cores: Cores,
    ) -> Result<Vec<Changed>, TooLong> {
        let nodes = arcs.nodes();
        let (row_lanes, set_lanes) = ((nodes * L).max(1), (words[nodes] as usize + 1) * L);
        let work = |scratch: &mut Scratch, (batch, (distances, sets)): (usize, (&mut [T], &mut [u16]))| {
            let (distances, sets) = (distances.as_chunks_mut::<L>().0, sets.as_chunks_mut::<L>().0);
            let mut batch =
                Batch { arcs, words, first: batch * L, distances, sets, lane: 0, too_long: false };
            batch.update(changed, scratch)
        };
        let parts: Result<Vec<Vec<Changed>>, TooLong> = match cores {
            Cores::One => {
                let mut scratch = Scratch::new(nodes);
                let batches = self.distances.chunks_mut(row_lanes).zip(self.sets.chunks_mut(set_lanes));
                batches.enumerate().map(|batch| work(&mut scratch, batch)).collect()
            }
            Cores::All => {
                let batches =
                    self.distances.par_chunks_mut(row_lanes).zip(self.sets.par_chunks_mut(set_lanes));
                batches.enumerate().map_init(|| Scratch::new(nodes), work).collect()
            }
        };
        Ok(parts?.concat())
    }
}

/// What a thread keeps from destination to destination.
struct Scratch {
    /// Number of the destination that the marks below are of.
    turn: u32,
    /// Rows that have lost all next hops.
    cut: Vec<u32>,
    /// Rows whose distance was written, and what it was.
    written: Vec<u32>,
    before: Vec<u64>,
    /// Rows whose set was looked at.
    collected: Vec<u32>,
    rows: Vec<u32>,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Scratch {
    fn new(nodes: usize) -> Scratch {
        Scratch {
            turn: 0,
            cut: vec![0; nodes],
            written: vec![0; nodes],
            before: vec![0; nodes],
            collected: vec![0; nodes],
            rows: Vec::new(),
            heap: BinaryHeap::new(),
        }
    }

    fn is_cut(&self, row: usize) -> bool {
        self.cut[row] == self.turn
    }
}

/// One batch, and in it the destination of `lane`.
struct Batch<'a, T, const L: usize> {
    arcs: &'a Arcs,
    words: &'a [u32],
    first: usize,
    distances: &'a mut [[T; L]],
    sets: &'a mut [[u16; L]],
    lane: usize,
    too_long: bool,
}

impl<T: Lane, const L: usize> Batch<'_, T, L> {
    fn update(&mut self, changed: &[ChangedArc], scratch: &mut Scratch) -> Result<Vec<Changed>, TooLong> {
        let mut found = Vec::new();
        for lane in 0..L.min(self.arcs.nodes() - self.first) {
            self.lane = lane;
            if !changed.iter().any(|arc| self.matters(arc)) {
                continue;
            }
            scratch.turn += 1;
            scratch.rows.clear();
            self.cut(changed, scratch);
            self.shorten(changed, scratch);
            if self.too_long {
                return Err(TooLong);
            }
            self.collect(changed, scratch, &mut found);
        }
        Ok(found)
    }

    fn distance(&self, row: usize) -> u64 {
        self.distances[row][self.lane].get()
    }

    /// Distance over an arc as things are.
    fn through(&self, arc: usize) -> u64 {
        self.arcs.cost[arc].saturating_add(self.distance(self.arcs.to[arc] as usize))
    }

    /// Whether the changed arc has to do with shortest paths to this destination. Before anything is written.
    fn matters(&self, changed: &ChangedArc) -> bool {
        if changed.is_dearer {
            let word = self.sets[self.words[changed.row] as usize + changed.slot / WORD_ARCS][self.lane];
            word >> (changed.slot % WORD_ARCS) & 1 == 1
        } else {
            let through = self.through(changed.arc);
            through != UNREACHABLE && through <= self.distance(changed.row)
        }
    }

    fn write(&mut self, row: usize, distance: u64, scratch: &mut Scratch) {
        if scratch.written[row] != scratch.turn {
            scratch.written[row] = scratch.turn;
            scratch.before[row] = self.distance(row);
            scratch.rows.push(row as u32);
        }
        self.too_long |= distance != UNREACHABLE && distance >= T::LIMIT;
        self.distances[row][self.lane] = T::of(distance);
    }

    /// Finds the rows that no arc supports any more and gives them the best that the others offer.
    fn cut(&mut self, changed: &[ChangedArc], scratch: &mut Scratch) {
        for arc in changed.iter().filter(|arc| arc.is_dearer && self.matters(arc)) {
            scratch.heap.push(Reverse((self.distance(arc.row), arc.row as u32)));
        }
        let mut cut = Vec::new();
        // Supports are nearer to the destination than what they support, so they are decided before.
        while let Some(Reverse((distance, row))) = scratch.heap.pop() {
            let row = row as usize;
            if scratch.is_cut(row) {
                continue;
            }
            let supports =
                |arc: usize| !scratch.is_cut(self.arcs.to[arc] as usize) && self.through(arc) <= distance;
            if self.arcs.of(row).any(supports) {
                continue;
            }
            scratch.cut[row] = scratch.turn;
            cut.push(row);
            for arc in self.arcs.of(row) {
                let far = self.arcs.to[arc] as usize;
                let of_far = self.distance(far);
                let leaned = self.arcs.cost_back[arc].saturating_add(distance) <= of_far;
                if of_far != UNREACHABLE && leaned && !scratch.is_cut(far) {
                    scratch.heap.push(Reverse((of_far, far as u32)));
                }
            }
        }
        for row in cut {
            let kept = self.arcs.of(row).filter(|arc| !scratch.is_cut(self.arcs.to[*arc] as usize));
            let best = kept.map(|arc| self.through(arc)).min().unwrap_or(UNREACHABLE);
            self.write(row, best, scratch);
            if best != UNREACHABLE {
                scratch.heap.push(Reverse((best, row as u32)));
            }
        }
    }

    /// Spreads shorter ways until there is none.
    fn shorten(&mut self, changed: &[ChangedArc], scratch: &mut Scratch) {
        for arc in changed.iter().filter(|arc| !arc.is_dearer) {
            let through = self.through(arc.arc);
            if through < self.distance(arc.row) {
                self.write(arc.row, through, scratch);
                scratch.heap.push(Reverse((through, arc.row as u32)));
            }
        }
        while let Some(Reverse((distance, row))) = scratch.heap.pop() {
            // What does not fit was not written: it would be found shorter for ever.
            if distance > self.distance(row as usize) || self.too_long {
                continue;
            }
            for arc in self.arcs.of(row as usize) {
                let far = self.arcs.to[arc] as usize;
                let through = distance.saturating_add(self.arcs.cost_back[arc]);
                if through < self.distance(far) {
                    self.write(far, through, scratch);
                    scratch.heap.push(Reverse((through, far as u32)));
                }
            }
        }
    }

    /// Brings the sets of next hops up to date and lists the rows that changed.
    fn collect(&mut self, changed: &[ChangedArc], scratch: &mut Scratch, found: &mut Vec<Changed>) {
        let to = (self.first + self.lane) as u32;
        let written = scratch.rows.len();
        // Their sets can differ, those of neighbours that they supported or support now, and those of the changed arcs'
        // senders.
        for at in 0..written {
            let row = scratch.rows[at] as usize;
            let (before, now) = (scratch.before[row], self.distance(row));
            for arc in self.arcs.of(row) {
                let (far, cost) = (self.arcs.to[arc], self.arcs.cost_back[arc]);
                let of_far = self.distance(far as usize);
                if [before, now].iter().any(|distance| distance.saturating_add(cost) == of_far) {
                    scratch.rows.push(far);
                }
            }
        }
        scratch.rows.extend(changed.iter().map(|arc| arc.row as u32));
        let rows = std::mem::take(&mut scratch.rows);
        for row in rows.iter().copied() {
            let at = row as usize;
            if std::mem::replace(&mut scratch.collected[at], scratch.turn) == scratch.turn {
                continue;
            }
            let was_written = scratch.written[at] == scratch.turn;
            let before = if was_written { scratch.before[at] } else { self.distance(at) };
            let next_hops = self.collect_set(at);
            if next_hops || before != self.distance(at) {
                found.push(Changed { to, from: row, before, next_hops });
            }
        }
        scratch.rows = rows;
    }

    /// Says whether the set changed.
    fn collect_set(&mut self, row: usize) -> bool {
        let own = self.distance(row);
        let mut changed = false;
        let mut arcs = self.arcs.of(row);
        for word in self.words[row]..self.words[row + 1] {
            let mut bits = 0;
            for (bit, arc) in arcs.by_ref().take(WORD_ARCS).enumerate() {
                bits |= u16::from(own != UNREACHABLE && self.through(arc) == own) << bit;
            }
            changed |= std::mem::replace(&mut self.sets[word as usize][self.lane], bits) != bits;
        }
        changed
    }
}
