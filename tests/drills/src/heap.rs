//! What happens next: events by virtual time, first come first served within a microsecond.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Virtual time since the simulation began, in microseconds.
pub type Micros = u64;

/// A heap of (time, sequence number, event).
#[derive(Debug)]
pub struct Heap<E> {
    waiting: BinaryHeap<Reverse<Due<E>>>,
    sequence: u64,
    now: Micros,
}

#[derive(Debug)]
struct Due<E> {
    at: Micros,
    sequence: u64,
    event: E,
}

impl<E> PartialEq for Due<E> {
    fn eq(&self, other: &Due<E>) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl<E> Eq for Due<E> {}

impl<E> PartialOrd for Due<E> {
    fn partial_cmp(&self, other: &Due<E>) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Due<E> {
    fn cmp(&self, other: &Due<E>) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<E> Default for Heap<E> {
    fn default() -> Heap<E> {
        Heap { waiting: BinaryHeap::new(), sequence: 0, now: 0 }
    }
}

impl<E> Heap<E> {
    /// Time of the event that was taken last.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// Puts an event `after` microseconds from now.
    pub fn after(&mut self, after: Micros, event: E) {
        self.sequence += 1;
        self.waiting.push(Reverse(Due { at: self.now + after, sequence: self.sequence, event }));
    }

    /// Takes the next event that is due before `end`; without one the time becomes `end`.
    pub fn next_before(&mut self, end: Micros) -> Option<E> {
        if self.waiting.peek().is_none_or(|Reverse(due)| due.at >= end) {
            self.now = self.now.max(end);
            return None;
        }
        let Reverse(due) = self.waiting.pop()?;
        self.now = due.at;
        Some(due.event)
    }
}
