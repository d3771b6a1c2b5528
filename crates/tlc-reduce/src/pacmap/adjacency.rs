//! For each point the other ends of all pairs that it is in, whoever brought them.
//!
//! A point's forces are then gathered by itself, in parallel and in a fixed order. Each pair is held
//! twice: `2 · (2 or 4)` bytes for up to or beyond 65,536 points, and up to 15 labels of padding per point.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::forces::{Ends, LANES};
use super::labels::Label;

/// Points whose lists are made by one task.
const CHUNK: usize = 1024;

/// The pairs that each point brings: `count` places per point, of which those that hold the point itself
/// are unused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lists {
    pub(super) count: usize,
    pub(super) items: Vec<u32>,
}

impl Lists {
    pub(super) fn of(&self, i: usize) -> impl Iterator<Item = u32> + '_ {
        self.items[i * self.count..(i + 1) * self.count].iter().copied().filter(move |&j| j as usize != i)
    }
}

/// All pairs, at both ends.
#[derive(Debug)]
pub(super) struct Adjacency<L> {
    /// Where each point's labels start, a multiple of [`LANES`]; and the end.
    starts: Vec<usize>,
    near_ends: Vec<u32>,
    further_ends: Vec<u32>,
    labels: Vec<L>,
}

/// Numbers of pairs of the three kinds, near, further and mid-near, brought by others; then the place of
/// the next of them.
type Incoming = [AtomicU32; 3];

impl<L: Label> Adjacency<L> {
    /// `further(i, list)` puts the further partners of point `i` into the empty `list`; it is asked twice.
    pub(super) fn new(near: &Lists, mid_near: &Lists, further: impl Fn(usize, &mut Vec<u32>) + Sync, n: usize) -> Self {
        let incoming: Vec<Incoming> = (0..n).into_par_iter().map(|_| Incoming::default()).collect();
        let brought = |i: usize, list: &mut Vec<u32>, kind: usize| {
            list.clear();
            match kind {
                0 => list.extend(near.of(i)),
                1 => further(i, list),
                _ => list.extend(mid_near.of(i)),
            }
        };
        // What a point brings of each kind.
        let outgoing: Vec<[u32; 3]> = (0..n)
            .into_par_iter()
            .map_init(Vec::new, |list, i| {
                [0, 1, 2].map(|kind| {
                    brought(i, list, kind);
                    list.iter().for_each(|&j| _ = incoming[j as usize][kind].fetch_add(1, Ordering::Relaxed));
                    list.len() as u32
                })
            })
            .collect();
        let mut starts = Vec::with_capacity(n + 1);
        let (mut near_ends, mut further_ends) = (Vec::with_capacity(n), Vec::with_capacity(n));
        starts.push(0);
        let mut end = 0;
        for (incoming, outgoing) in incoming.iter().zip(&outgoing) {
            let [near, further, mid_near] =
                [0, 1, 2].map(|kind| outgoing[kind] + incoming[kind].load(Ordering::Relaxed));
            near_ends.push(near);
            further_ends.push(near + further);
            end += ((near + further + mid_near) as usize).next_multiple_of(LANES);
            starts.push(end);
            incoming[0].store(outgoing[0], Ordering::Relaxed);
            incoming[1].store(near + outgoing[1], Ordering::Relaxed);
            incoming[2].store(near + further + outgoing[2], Ordering::Relaxed);
        }
        let mut slots: Vec<L::Slot> = Vec::with_capacity(end);
        (0..end).into_par_iter().map(|_| L::default().slot()).collect_into_vec(&mut slots);
        (0..n).into_par_iter().for_each_init(Vec::new, |list, i| {
            let firsts = [0, near_ends[i] as usize, further_ends[i] as usize];
            for kind in [0, 1, 2] {
                brought(i, list, kind);
                for (place, &j) in list.iter().enumerate() {
                    L::from_index(j).put(&slots[starts[i] + firsts[kind] + place]);
                    let place = incoming[j as usize][kind].fetch_add(1, Ordering::Relaxed) as usize;
                    L::from_index(i as u32).put(&slots[starts[j as usize] + place]);
                }
            }
        });
        let mut adjacency = Self { starts, near_ends, further_ends, labels: slots.into_iter().map(L::take).collect() };
        adjacency.settle(&outgoing, &incoming);
        adjacency
    }

    /// Sorts what others brought, since it came in the order of the threads, and pads.
    fn settle(&mut self, outgoing: &[[u32; 3]], ends: &[Incoming]) {
        let mut rest = self.labels.as_mut_slice();
        let mut chunks = Vec::new();
        for first in (0..outgoing.len()).step_by(CHUNK) {
            let last = (first + CHUNK).min(outgoing.len());
            let (chunk, others) = rest.split_at_mut(self.starts[last] - self.starts[first]);
            chunks.push((first..last, chunk));
            rest = others;
        }
        chunks.into_par_iter().for_each(|(points, labels)| {
            let origin = self.starts[points.start];
            for i in points {
                let labels = &mut labels[self.starts[i] - origin..self.starts[i + 1] - origin];
                let firsts = [0, self.near_ends[i], self.further_ends[i]];
                for kind in [0, 1, 2] {
                    let first = firsts[kind] + outgoing[i][kind];
                    labels[first as usize..ends[i][kind].load(Ordering::Relaxed) as usize].sort_unstable();
                }
                labels[ends[i][2].load(Ordering::Relaxed) as usize..].fill(L::from_index(i as u32));
            }
        });
    }

    /// The other ends of the pairs of point `i`, with or without the mid-near ones.
    #[inline(always)]
    pub(super) fn of(&self, i: usize, with_mid_near: bool) -> Ends<'_, L> {
        let labels = &self.labels[self.starts[i]..self.starts[i + 1]];
        let (near_end, further_end) = (self.near_ends[i], self.further_ends[i]);
        // Up to a whole number of lanes: some mid-near ones remain, with no weight.
        let used = if with_mid_near { labels.len() } else { (further_end as usize).next_multiple_of(LANES) };
        Ends { labels: &labels[..used], near_end, further_end }
    }
}

#[cfg(test)]
mod tests {
    use tlc_core::rng::Stream;

    use super::*;

    fn lists(n: usize, count: usize, seed: u64) -> Lists {
        let draws = Stream::new(seed, "test");
        Lists { count, items: (0..n * count).map(|k| draws.below(n, k as u64, 0) as u32).collect() }
    }

    fn check<L: Label>() {
        let n = 1500;
        let (near, further, mid_near) = (lists(n, 7, 1), lists(n, 20, 2), lists(n, 3, 3));
        let adjacency = Adjacency::<L>::new(&near, &mid_near, |i, list| list.extend(further.of(i)), n);
        let mut expected = vec![[const { Vec::new() }; 3]; n];
        for (kind, lists) in [&near, &further, &mid_near].into_iter().enumerate() {
            for i in 0..n {
                for j in lists.of(i) {
                    expected[i][kind].push(L::from_index(j));
                    expected[j as usize][kind].push(L::from_index(i as u32));
                }
            }
        }
        for (i, expected) in expected.iter_mut().enumerate() {
            let ends = adjacency.of(i, true);
            assert_eq!(ends.labels.len() % LANES, 0);
            let n_pairs: usize = expected.iter().map(Vec::len).sum();
            assert!(ends.labels.len() < n_pairs + LANES);
            assert!(ends.labels[n_pairs..].iter().all(|&label| label == L::from_index(i as u32)), "padding");
            let bounds = [0, ends.near_end as usize, ends.further_end as usize, n_pairs];
            for kind in [0, 1, 2] {
                let mut found = ends.labels[bounds[kind]..bounds[kind + 1]].to_vec();
                found.sort_unstable();
                expected[kind].sort_unstable();
                assert_eq!(found, expected[kind], "every pair is known at both ends");
            }
            let without = adjacency.of(i, false).labels;
            assert!(without.len() >= bounds[2] && without.len() < bounds[2] + LANES);
        }
    }

    #[test]
    fn every_pair_is_known_at_both_ends() {
        check::<u16>();
        check::<u32>();
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let n = 5000;
        let (near, further, mid_near) = (lists(n, 9, 4), lists(n, 18, 5), lists(n, 4, 6));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| Adjacency::<u16>::new(&near, &mid_near, |i, list| list.extend(further.of(i)), n).labels)
        };
        let expected = run(1);
        for threads in [2, 3, 8] {
            assert_eq!(run(threads), expected);
        }
    }
}
