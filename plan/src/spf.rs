//! Shortest paths between all pairs of nodes, with every equal-cost next hop.
//!
//! Works on numbers alone: arcs and costs in, distances and sets of next hops out. Knows no topology, no facts, no
//! prefixes.
//!
//! Destinations are taken a *batch* at a time, as many as fit 64 bytes of distances. A node's distances to the
//! batch are one row, and `row(u) = min over arcs u -> v of (cost + row(v))`, lane by lane, is computed for the
//! whole batch at once with the processor's vector instructions. Rows are relaxed in sweeps up and down the nodes
//! (Bellman 1958, Ford 1956; alternating sweeps: Yen 1970), only where a neighbour has changed, until none does.
//! Nodes are renumbered in breadth-first order first, so that neighbours in the graph are neighbours in memory and
//! in the sweep. The lanes are 16 bits wide where no distance can exceed that, else 32, else 64. A batch that does
//! not settle within a bound is finished by Dijkstra's algorithm (1959), one destination at a time.
//!
//! The result is the array that was computed on: nothing is transposed or copied. A next hop of `u` towards `d`
//! is every arc `u -> v` with `cost + distance(v, d) == distance(u, d)`: costs are at least 1, so distances
//! fall on every hop and no loop can be built from them.

mod renumber;
mod update;

pub use update::Changed;

use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Distance of what cannot be reached, and cost of an arc that cannot be used.
pub const UNREACHABLE: u64 = u64::MAX;

/// Arcs in one word of a set of next hops.
const WORD_ARCS: usize = 16;

/// Relaxations per node of a batch before Dijkstra's algorithm takes over. A grid of 100 by 100 nodes with random
/// costs needs 31, random graphs 8, fat-trees 2; at 64 both have cost about the same.
const RELAXATIONS_PER_NODE_MAX: usize = 64;

/// How many processor cores a computation may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// The caller's thread only.
    One,
    /// All of rayon's.
    #[default]
    All,
}

/// A link between two nodes, seen as two arcs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// One end.
    pub a: u32,
    /// The other end.
    pub b: u32,
    /// Cost from `a` to `b`, from 1; [`UNREACHABLE`] for a way that cannot be used.
    pub cost: u64,
    /// Cost from `b` to `a`, likewise.
    pub cost_back: u64,
}

/// Outgoing arcs of every node in compressed sparse rows. Every arc has its opposite.
#[derive(Clone, Debug)]
pub(crate) struct Arcs {
    /// Arcs of node `n` are at `starts[n]..starts[n + 1]`.
    starts: Vec<u32>,
    /// Where each arc leads.
    to: Vec<u32>,
    /// Its cost.
    cost: Vec<u64>,
    /// The opposite arc's cost.
    cost_back: Vec<u64>,
}

impl Arcs {
    /// Each node's arcs keep the order of `lines`.
    pub(crate) fn new(nodes: usize, lines: &[Line]) -> Arcs {
        let mut starts = vec![0_u32; nodes + 1];
        for line in lines {
            starts[line.a as usize + 1] += 1;
            starts[line.b as usize + 1] += 1;
        }
        for node in 0..nodes {
            starts[node + 1] += starts[node];
        }
        let arcs = starts[nodes] as usize;
        let (mut to, mut cost, mut cost_back) = (vec![0; arcs], vec![0; arcs], vec![0; arcs]);
        let mut free = starts.clone();
        for line in lines {
            for (from, far, there, back) in
                [(line.a, line.b, line.cost, line.cost_back), (line.b, line.a, line.cost_back, line.cost)]
            {
                let at = free[from as usize] as usize;
                free[from as usize] += 1;
                // A cost of nothing would let two nodes be each other's next hop.
                (to[at], cost[at], cost_back[at]) = (far, there.max(1), back.max(1));
            }
        }
        Arcs { starts, to, cost, cost_back }
    }

    fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, node: usize) -> std::ops::Range<usize> {
        self.starts[node] as usize..self.starts[node + 1] as usize
    }

    /// Nodes in breadth-first order from the lowest of each component.
    fn breadth_first(&self) -> Vec<u32> {
        let mut order: Vec<u32> = Vec::with_capacity(self.nodes());
        let mut seen = vec![false; self.nodes()];
        for first in 0..self.nodes() {
            if std::mem::replace(&mut seen[first], true) {
                continue;
            }
            let mut done = order.len();
            order.push(first as u32);
            while let Some(node) = order.get(done).copied() {
                done += 1;
                for arc in self.of(node as usize) {
                    let far = self.to[arc];
                    if !std::mem::replace(&mut seen[far as usize], true) {
                        order.push(far);
                    }
                }
            }
        }
        order
    }

    /// The same graph with `order[n]` as node `n`; each node's arcs keep their order.
    fn renumbered(&self, order: &[u32], row: &[u32]) -> Arcs {
        let mut starts = vec![0_u32];
        let (mut to, mut cost, mut cost_back) = (Vec::new(), Vec::new(), Vec::new());
        for node in order {
            for arc in self.of(*node as usize) {
                to.push(row[self.to[arc] as usize]);
                cost.push(self.cost[arc]);
                cost_back.push(self.cost_back[arc]);
            }
            starts.push(to.len() as u32);
        }
        Arcs { starts, to, cost, cost_back }
    }

    /// No finite distance is greater: the way over one node of the component, where it has both ways, and the
    /// longest simple path else.
    fn longest_distance(&self) -> u64 {
        let mut longest = 0;
        let mut component = vec![false; self.nodes()];
        let (mut there, mut back) = (vec![UNREACHABLE; self.nodes()], vec![UNREACHABLE; self.nodes()]);
        let mut heap = BinaryHeap::new();
        for root in 0..self.nodes() {
            if component[root] {
                continue;
            }
            let mut reached = vec![root];
            component[root] = true;
            let mut done = 0;
            while let Some(node) = reached.get(done).copied() {
                done += 1;
                for arc in self.of(node) {
                    let far = self.to[arc] as usize;
                    let usable = self.cost[arc] != UNREACHABLE || self.cost_back[arc] != UNREACHABLE;
                    if usable && !std::mem::replace(&mut component[far], true) {
                        reached.push(far);
                    }
                }
            }
            dijkstra(self, root, &mut there, &mut heap, |arcs, arc| arcs.cost_back[arc]);
            dijkstra(self, root, &mut back, &mut heap, |arcs, arc| arcs.cost[arc]);
            let greatest = |distances: &[u64]| reached.iter().map(|node| distances[*node]).max().unwrap_or(0);
            longest = longest.max(greatest(&there).saturating_add(greatest(&back)));
        }
        let usable = self.cost.iter().filter(|cost| **cost != UNREACHABLE);
        let simple = usable.max().copied().unwrap_or(0).saturating_mul(self.nodes() as u64);
        longest.min(simple)
    }
}

/// Fills `distances` from every node to `to` where `cost` is that of the opposite arc. All that is reached must be
/// [`UNREACHABLE`] before.
fn dijkstra(
    arcs: &Arcs,
    to: usize,
    distances: &mut [u64],
    heap: &mut BinaryHeap<Reverse<(u64, u32)>>,
    cost: impl Fn(&Arcs, usize) -> u64,
) {
    distances[to] = 0;
    heap.push(Reverse((0, to as u32)));
    while let Some(Reverse((distance, node))) = heap.pop() {
        if distance > distances[node as usize] {
            continue;
        }
        for arc in arcs.of(node as usize) {
            let far = arcs.to[arc];
            let through = distance.saturating_add(cost(arcs, arc));
            if through < distances[far as usize] {
                distances[far as usize] = through;
                heap.push(Reverse((through, far)));
            }
        }
    }
}

/// A distance in one lane of a row.
trait Lane: Copy + Ord + Send + Sync + 'static {
    /// Nothing: what fresh memory holds.
    const ZERO: Self;
    /// Stands for [`UNREACHABLE`]; every distance is less.
    const INFINITE: Self;
    /// `INFINITE` as a number.
    const LIMIT: u64;
    /// The sum; at least `INFINITE` when one of both is.
    fn plus(self, cost: Self) -> Self;
    fn of(distance: u64) -> Self;
    fn get(self) -> u64;
}

impl Lane for i16 {
    const ZERO: i16 = 0;
    const INFINITE: i16 = i16::MAX;
    const LIMIT: u64 = i16::MAX as u64;
    // One instruction on every x86-64 and ARM64; signed, because the unsigned minimum is not.
    fn plus(self, cost: i16) -> i16 {
        self.saturating_add(cost)
    }
    fn of(distance: u64) -> i16 {
        i16::try_from(distance).unwrap_or(i16::MAX)
    }
    fn get(self) -> u64 {
        if self == Self::INFINITE { UNREACHABLE } else { self as u64 }
    }
}

impl Lane for i32 {
    const ZERO: i32 = 0;
    // Twice this is still a number: there is no saturating instruction of this width.
    const INFINITE: i32 = i32::MAX / 2;
    const LIMIT: u64 = Self::INFINITE as u64;
    fn plus(self, cost: i32) -> i32 {
        self.wrapping_add(cost)
    }
    fn of(distance: u64) -> i32 {
        i32::try_from(distance).unwrap_or(i32::MAX).min(Self::INFINITE)
    }
    fn get(self) -> u64 {
        if self == Self::INFINITE { UNREACHABLE } else { self as u64 }
    }
}

impl Lane for i64 {
    const ZERO: i64 = 0;
    const INFINITE: i64 = i64::MAX / 2;
    const LIMIT: u64 = Self::INFINITE as u64;
    fn plus(self, cost: i64) -> i64 {
        self.wrapping_add(cost)
    }
    fn of(distance: u64) -> i64 {
        i64::try_from(distance).unwrap_or(i64::MAX).min(Self::INFINITE)
    }
    fn get(self) -> u64 {
        if self == Self::INFINITE { UNREACHABLE } else { self as u64 }
    }
}

/// Distances and sets of next hops of all nodes towards all destinations.
#[derive(Clone)]
pub struct AllPairs {
    shape: Shape,
    lanes: Lanes,
}

/// Where everything is in the tables.
#[derive(Clone)]
struct Shape {
    /// Arcs by row.
    arcs: Arcs,
    /// For each line its arc from `a` to `b` and the opposite one.
    arcs_of_line: Vec<[u32; 2]>,
    /// Node -> its row, which is also its column.
    row: Vec<u32>,
    /// Row -> node.
    node: Vec<u32>,
    /// Words of the sets of row `r` are `words[r]..words[r + 1]` of each batch.
    words: Vec<u32>,
}

impl Shape {
    /// Of these lines, by node, with `node[row]` in each row.
    fn new(lines: &[Line], arcs: &Arcs, node: Vec<u32>) -> Shape {
        let mut row = vec![0; node.len()];
        for (at, node) in (0_u32..).zip(&node) {
            row[*node as usize] = at;
        }
        let arcs = arcs.renumbered(&node, &row);
        let mut free = arcs.starts.clone();
        let mut next_arc = |node: u32| {
            let free = &mut free[row[node as usize] as usize];
            *free += 1;
            *free - 1
        };
        let arcs_of_line = lines.iter().map(|line| [next_arc(line.a), next_arc(line.b)]).collect();
        let mut words = vec![0_u32];
        for node in 0..arcs.nodes() {
            words.push(words[node] + arcs.of(node).len().div_ceil(WORD_ARCS) as u32);
        }
        Shape { arcs, arcs_of_line, row, node, words }
    }
}

#[derive(Clone)]
enum Lanes {
    Narrow(Table<i16, 32>),
    Wide(Table<i32, 16>),
    Full(Table<i64, 8>),
}

/// Rows of `L` lanes, one lane per destination of a batch.
#[derive(Clone)]
struct Table<T, const L: usize> {
    /// `distances[batch * nodes + row][lane]`.
    distances: Vec<T>,
    /// `sets[batch * words + word][lane]`: bit `b` of a row's word `w` is its arc `w * WORD_ARCS + b`.
    sets: Vec<u16>,
}

impl AllPairs {
    /// Computes everything for `nodes` nodes, numbered from 0. Memory: per pair of nodes 2 bytes for the distance
    /// (4 or 8 where distances exceed 32,766 or 2^30) and 2 bytes per 16 links of the sending node.
    ///
    /// Exact while no distance reaches 2^62; ends of lines must be below `nodes`.
    pub fn new(nodes: usize, lines: &[Line], cores: Cores) -> AllPairs {
        let arcs = Arcs::new(nodes, lines);
        let shape = Shape::new(lines, &arcs, arcs.breadth_first());
        let (arcs, words) = (&shape.arcs, &shape.words);
        let longest = arcs.longest_distance();
        let lanes = if longest < i16::LIMIT {
            Lanes::Narrow(Table::new(arcs, words, cores))
        } else if longest < i32::LIMIT {
            Lanes::Wide(Table::new(arcs, words, cores))
        } else {
            Lanes::Full(Table::new(arcs, words, cores))
        };
        AllPairs { shape, lanes }
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.shape.row.len()
    }

    /// Length of the shortest path, or [`UNREACHABLE`].
    pub fn distance(&self, from: u32, to: u32) -> u64 {
        let (from, to) = (self.shape.row[from as usize] as usize, self.shape.row[to as usize] as usize);
        let nodes = self.nodes();
        match &self.lanes {
            Lanes::Narrow(table) => table.distance(nodes, from, to),
            Lanes::Wide(table) => table.distance(nodes, from, to),
            Lanes::Full(table) => table.distance(nodes, from, to),
        }
    }

    /// Positions of the links out of `from`, among its links in their order, that lie on a shortest path to `to`.
    /// Ascending; empty when there is no path and when both are the same node.
    pub fn next_hops(&self, from: u32, to: u32) -> impl Iterator<Item = usize> {
        self.set(from, to).enumerate().flat_map(|(word, mut bits)| {
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
                (bit < WORD_ARCS).then_some(word * WORD_ARCS + bit)
            })
        })
    }

    /// The set of next hops as bits: bit `b` of word `w` stands for the sender's link `w * 16 + b`.
    pub fn set(&self, from: u32, to: u32) -> impl Iterator<Item = u16> {
        let (from, to) = (self.shape.row[from as usize] as usize, self.shape.row[to as usize] as usize);
        let all = self.shape.words[self.nodes()] as usize;
        let words = self.shape.words[from] as usize..self.shape.words[from + 1] as usize;
        words.map(move |word| match &self.lanes {
            Lanes::Narrow(table) => table.word(all, word, to),
            Lanes::Wide(table) => table.word(all, word, to),
            Lanes::Full(table) => table.word(all, word, to),
        })
    }

    /// How many next hops all pairs have together.
    pub fn next_hops_of_all_pairs(&self) -> u64 {
        match &self.lanes {
            Lanes::Narrow(table) => table.set_bits(),
            Lanes::Wide(table) => table.set_bits(),
            Lanes::Full(table) => table.set_bits(),
        }
    }

    /// The sum of all finite distances.
    pub fn sum_of_distances(&self) -> u128 {
        let nodes = 0..self.nodes() as u32;
        let pairs = nodes.clone().flat_map(|from| nodes.clone().map(move |to| (from, to)));
        let distances = pairs.map(|(from, to)| self.distance(from, to));
        distances.filter(|distance| *distance != UNREACHABLE).map(u128::from).sum()
    }
}

impl<T: Lane, const L: usize> Table<T, L> {
    fn new(arcs: &Arcs, words: &[u32], cores: Cores) -> Self {
        let nodes = arcs.nodes();
        let words_of_batch = words[nodes] as usize;
        let batches = nodes.div_ceil(L);
        // Fresh memory is zero without being touched: each batch's thread touches its own.
        let mut distances = vec![T::ZERO; batches * nodes * L];
        // One word more per batch, so that a graph without links has chunks as well.
        let mut sets = vec![0_u16; batches * (words_of_batch + 1) * L];
        let solver = Solver { arcs, words, costs: arcs.cost.iter().map(|cost| T::of(*cost)).collect() };
        let work = |scratch: &mut Scratch, (batch, (distances, sets)): (usize, (&mut [T], &mut [u16]))| {
            let (distances, sets) = (distances.as_chunks_mut::<L>().0, sets.as_chunks_mut::<L>().0);
            solver.solve(batch * L, distances, sets, scratch);
        };
        let (row_lanes, set_lanes) = ((nodes * L).max(1), (words_of_batch + 1) * L);
        match cores {
            Cores::One => {
                let mut scratch = Scratch::new(nodes);
                let batches = distances.chunks_mut(row_lanes).zip(sets.chunks_mut(set_lanes));
                batches.enumerate().for_each(|batch| work(&mut scratch, batch));
            }
            Cores::All => {
                let batches = distances.par_chunks_mut(row_lanes).zip(sets.par_chunks_mut(set_lanes));
                batches.enumerate().for_each_init(|| Scratch::new(nodes), work);
            }
        }
        Table { distances, sets }
    }

    fn distance(&self, nodes: usize, from: usize, to: usize) -> u64 {
        self.distances[(to / L * nodes + from) * L + to % L].get()
    }

    fn word(&self, words_of_batch: usize, word: usize, to: usize) -> u16 {
        self.sets[(to / L * (words_of_batch + 1) + word) * L + to % L]
    }

    fn set_bits(&self) -> u64 {
        self.sets.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// What a thread keeps from batch to batch, so that the loop allocates nothing.
struct Scratch {
    /// Rows with a neighbour that has changed since they were relaxed.
    stale: Vec<bool>,
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    distances: Vec<u64>,
}

impl Scratch {
    fn new(nodes: usize) -> Scratch {
        Scratch { stale: vec![false; nodes], heap: BinaryHeap::new(), distances: vec![UNREACHABLE; nodes] }
    }
}

struct Solver<'a, T> {
    arcs: &'a Arcs,
    words: &'a [u32],
    /// `arcs.cost` as lanes.
    costs: Vec<T>,
}

impl<T: Lane> Solver<'_, T> {
    /// Fills one batch, whose destinations are the rows from `first` on.
    fn solve<const L: usize>(
        &self,
        first: usize,
        distances: &mut [[T; L]],
        sets: &mut [[u16; L]],
        scratch: &mut Scratch,
    ) {
        let nodes = distances.len();
        let destinations = first..(first + L).min(nodes);
        distances.fill([T::INFINITE; L]);
        for (lane, to) in destinations.clone().enumerate() {
            distances[to][lane] = T::ZERO;
            self.mark_neighbours(to, &mut scratch.stale);
        }
        let settled = self.sweep(distances, &mut scratch.stale);
        if !settled {
            scratch.stale.fill(false);
            for (lane, to) in destinations.enumerate() {
                scratch.distances.fill(UNREACHABLE);
                dijkstra(self.arcs, to, &mut scratch.distances, &mut scratch.heap, |arcs, arc| {
                    arcs.cost_back[arc]
                });
                for (row, distance) in distances.iter_mut().zip(&scratch.distances) {
                    row[lane] = T::of(*distance);
                }
            }
        }
        self.collect_sets(distances, sets);
    }

    fn mark_neighbours(&self, row: usize, stale: &mut [bool]) {
        for far in &self.arcs.to[self.arcs.of(row)] {
            stale[*far as usize] = true;
        }
    }

    /// Relaxes until nothing changes; `false` when that takes too long.
    fn sweep<const L: usize>(&self, distances: &mut [[T; L]], stale: &mut [bool]) -> bool {
        let nodes = distances.len();
        let mut relaxations_left = nodes.saturating_mul(RELAXATIONS_PER_NODE_MAX);
        while relaxations_left > 0 {
            for upwards in [true, false] {
                let mut changed = false;
                for at in 0..nodes {
                    let row = if upwards { at } else { nodes - 1 - at };
                    if !std::mem::replace(&mut stale[row], false) {
                        continue;
                    }
                    relaxations_left = relaxations_left.saturating_sub(1);
                    if self.relax(distances, row) {
                        self.mark_neighbours(row, stale);
                        changed = true;
                    }
                }
                if !changed {
                    return true;
                }
            }
        }
        false
    }

    /// Takes the best that the neighbours offer; says whether a lane became less.
    fn relax<const L: usize>(&self, distances: &mut [[T; L]], row: usize) -> bool {
        let mut best = distances[row];
        let arcs = self.arcs.of(row);
        for (to, cost) in self.arcs.to[arcs.clone()].iter().zip(&self.costs[arcs]) {
            let far = &distances[*to as usize];
            for lane in 0..L {
                best[lane] = best[lane].min(far[lane].plus(*cost));
            }
        }
        let changed = best != distances[row];
        if changed {
            distances[row] = best;
        }
        changed
    }

    /// Marks the arcs that lie on shortest paths.
    fn collect_sets<const L: usize>(&self, distances: &[[T; L]], sets: &mut [[u16; L]]) {
        for (row, own) in distances.iter().enumerate() {
            let arcs = self.arcs.of(row);
            let tos = self.arcs.to[arcs.clone()].chunks(WORD_ARCS);
            let costs = self.costs[arcs].chunks(WORD_ARCS);
            for (set, (tos, costs)) in sets[self.words[row] as usize..].iter_mut().zip(tos.zip(costs)) {
                let mut bits = [0_u16; L];
                for (bit, (to, cost)) in tos.iter().zip(costs).enumerate() {
                    let (far, mark) = (&distances[*to as usize], 1 << bit);
                    for lane in 0..L {
                        bits[lane] |= if far[lane].plus(*cost) == own[lane] { mark } else { 0 };
                    }
                }
                for lane in 0..L {
                    set[lane] = if own[lane] < T::INFINITE { bits[lane] } else { 0 };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
