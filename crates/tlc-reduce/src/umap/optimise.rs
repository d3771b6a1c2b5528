//! Moves the layout's points until near ones are near and others are not.
//!
//! Each epoch computes the forces on every point from the positions before the epoch, in parallel, and
//! then moves all points at once by Adam (as uwot's batch mode does): the same bits for any number of
//! threads. umap-learn instead takes the edges one after the other and lets an edge act only in some
//! epochs, as its rate says; here every edge acts in every epoch, weighted by its rate, which is the
//! mean of that schedule without its noise. For the same reason a point is pushed by a fixed number of
//! random points, weighted as if there were `negative_sample_rate` for each edge that acts.
//!
//! The arithmetic runs over flat arrays, one pair of points per lane: a block's edges as they lie in the
//! graph, and one random partner for each point of the block at a time. Positions are looked up one by
//! one: 60,000 of them fit into a core's second-level cache.
//!
//! Pushes weigh twice what they weigh in umap-learn. There they come one by one, and a near one throws a
//! point far off at once; that may be why its layouts are wider than their mean force makes them. Twice the mean gives
//! umap-learn's extents, and keeps more neighbours than its layout.
//!
//! Tried on Fashion-MNIST's 60,000 training rows, 200 epochs (processor seconds of this stage on 2 cores in
//! use by others too; trustworthiness and share of kept neighbours at 15, of a thousand rows; accuracy of
//! the nearest ten among the fitted rows; random triplets; extents; in brackets accuracy of the 10,000 test
//! rows):
//!
//! | start, push, rate, others | seconds | trust | kept | accuracy | triplets | extents |
//! |---|---|---|---|---|---|---|
//! | PCA, 1, 1, edges by schedule, 16 samples | | .9740 | .131 | .774 | .764 | 14, 17 |
//! | PCA, 1, 1, edges by schedule, 32 samples | 2.8 | .9741 | .136 | .773 | .761 | 14, 17 |
//! | PCA, 1, 1, all edges, 8 samples | 1.5 | .9729 | .126 | .764 | .762 | 14, 17 |
//! | PCA, 1, 1, all edges, 16 samples | 1.5 | .9741 | .131 | .779 (.766) | .760 | 14, 17 |
//! | PCA, 1, 1, all edges, 32 samples | 2.1 | .9745 | .135 | .772 | .759 | 15, 17 |
//! | the last but one, decay rates .9 and .99 | | .9724 | .123 | .775 | .759 | 15, 18 |
//! | … decay rates .8 and .9, rate falling with the power 1.5 | | .9735 | .132 | .780 | .761 | 14, 17 |
//! | … rate falling with the power 1.5 | | .9721 | .133 | .766 | .763 | 14, 16 |
//! | … rate falling with the power 2 | | .9732 | .136 | .777 | .767 | 14, 16 |
//! | … rate 2 | | .9742 | .131 | .765 | .755 | 16, 19 |
//! | … rate ½ | | .9733 | .134 | .769 | .770 | 13, 15 |
//! | … 100 epochs | 0.8 | .9709 | .117 | .769 | .775 | 13, 15 |
//! | … 400 epochs | 3.1 | .9764 | .138 | .782 | .749 | 16, 18 |
//! | … push 2 | 1.6 | .9798 | .151 | .783 | .770 | 18, 20 |
//! | spectral, 1, 1 | 1.5 | .9770 | .138 | .776 | .749 | 14, 16 |
//! | spectral, 1, 1, 300 epochs | 2.2 | .9782 | .144 | .787 | .746 | 15, 16 |
//! | spectral, 1, 2 | 1.6 | .9784 | .139 | .781 (.770) | .742 | 16, 17 |
//! | **spectral, 2, 1** | 1.5 | .9812 | .154 | .786 (.783) | .750 | 18, 20 |
//! | the same, push doubled after clipping | 1.5 | .9806 | .149 | .785 (.773) | .752 | 18, 20 |
//! | spectral, 2, 1, 31 samples | 2.0 | .9815 | .156 | .790 | .750 | 18, 20 |
//! | spectral, 2, 2 | 1.6 | .9810 | .150 | .791 (.778) | .742 | 20, 23 |
//! | spectral, 3, 1 | 1.4 | .9830 | .162 | .795 | .750 | 21, 23 |
//! | umap-learn 0.5.12, seeded | | .9775 | .136 | .780 (.768) | .738 | 18, 20 |
//!
//! The wider layouts keep more neighbours and fewer of the large distances: with push 1 random triplets are .754
//! (mammoth) and .777 (mixture of 70,000), with push 2 .745 and .763; umap-learn's are .757 and .787 to .800.
//!
//! 1.4 s are 3.3 ns for each of the 36 pairs per point and epoch; AVX-512 instructions, seen in the
//! disassembly. On a grid of a million points an epoch takes 0.14 s. An order of processing other
//! than the rows' was not tried. The variants were scored on the same rows, one run each: differences of a few
//! thousandths are noise.

use rayon::prelude::*;
use tlc_core::rng::Stream;

use super::UmapParams;
use super::graph::FuzzyGraph;
use super::kernels::{Forces, clipped};
use super::negative::Draws;
use crate::adam::{AdamStep, Moments};
use crate::simd::vectorised;

/// Adam's decay rates for this use, as in uwot's batch mode.
const BETA1: f32 = 0.5;
const BETA2: f32 = 0.9;
/// Pushes are this much stronger than in umap-learn; the header says why.
const PUSH: f32 = 2.0;
/// Points that are computed together.
const BLOCK: usize = 64;
/// Edges that are computed together.
const TILE: usize = 512;
/// Blocks per piece of parallel work.
const BLOCKS_PER_TASK: usize = 8;
/// Random points per point and epoch, over `negative_sample_rate`; see the header for what more and fewer give.
const SAMPLES_PER_RATE: usize = 3;

/// How many random points push each point per epoch: 16 for the default rate of 5.
fn n_samples(negative_sample_rate: usize) -> usize {
    if negative_sample_rate == 0 { 0 } else { SAMPLES_PER_RATE * negative_sample_rate + 1 }
}

/// A layout on its way.
#[derive(Debug)]
pub(super) struct Optimiser<'a, const D: usize> {
    graph: &'a FuzzyGraph,
    params: &'a UmapParams,
    forces: Forces,
    samples: Stream,
    n_epochs: usize,
    epoch: usize,
    points: Vec<[f32; D]>,
    next: Vec<[f32; D]>,
    moments: Vec<Moments<D>>,
}

impl<'a, const D: usize> Optimiser<'a, D> {
    pub(super) fn new(
        graph: &'a FuzzyGraph,
        start: Vec<[f32; D]>,
        forces: Forces,
        n_epochs: usize,
        params: &'a UmapParams,
    ) -> Self {
        assert_eq!(graph.n_points(), start.len(), "the layout is of the graph's points");
        let samples = Stream::new(params.seed, "umap-negative-samples");
        let forces = Forces { repulsion_strength: PUSH * forces.repulsion_strength, ..forces };
        let moments = vec![Moments::default(); start.len()];
        Self { graph, params, forces, samples, n_epochs, epoch: 0, next: start.clone(), points: start, moments }
    }

    pub(super) fn points(&self) -> &[[f32; D]] {
        &self.points
    }

    /// One epoch.
    pub(super) fn step(&mut self) {
        let rate = self.params.learning_rate * (1.0 - self.epoch as f32 / self.n_epochs as f32);
        let step = AdamStep::new(rate, BETA1, BETA2, self.epoch);
        let samples = self.samples.substream(self.epoch as u64);
        let field = Field { graph: self.graph, points: &self.points, forces: self.forces };
        let n_samples = n_samples(self.params.negative_sample_rate);
        let weight = self.params.negative_sample_rate as f32 / n_samples.max(1) as f32;
        let blocks = self.next.par_chunks_mut(BLOCK).zip(self.moments.par_chunks_mut(BLOCK)).enumerate();
        blocks.with_min_len(BLOCKS_PER_TASK).for_each(|(block, (next, moments))| {
            let draws = Draws::new(samples.bits(block as u64, 0));
            vectorised(
                #[inline(always)]
                || {
                    let here = Block::new(field.points, block * BLOCK, next.len());
                    let pull = field.attraction(&here);
                    let push = field.repulsion(&here, draws, n_samples);
                    for (i, (point, moments)) in next.iter_mut().zip(moments).enumerate() {
                        let share = weight * pull.rate[i];
                        let gradient = std::array::from_fn(|d| -(pull.force[d][i] + share * push[d][i]));
                        *point = field.points[here.first + i];
                        step.apply(point, moments, &gradient);
                    }
                },
            );
        });
        std::mem::swap(&mut self.points, &mut self.next);
        self.epoch += 1;
    }
}

/// Coordinates or forces of a block of points, one array per dimension.
type Lanes<const D: usize> = [[f32; BLOCK]; D];

/// Points that are computed together.
struct Block<const D: usize> {
    first: usize,
    len: usize,
    coordinates: Lanes<D>,
}

impl<const D: usize> Block<D> {
    #[inline(always)]
    fn new(points: &[[f32; D]], first: usize, len: usize) -> Self {
        let mut coordinates = [[0.0; BLOCK]; D];
        for (i, point) in points[first..first + len].iter().enumerate() {
            for d in 0..D {
                coordinates[d][i] = point[d];
            }
        }
        Self { first, len, coordinates }
    }
}

/// What pulls the points of a block, and how much of it there is.
struct Pull<const D: usize> {
    force: Lanes<D>,
    /// The sum of the rates of each point's edges.
    rate: [f32; BLOCK],
}

/// What exerts forces: the other points where they are before the epoch.
#[derive(Clone, Copy)]
struct Field<'a, const D: usize> {
    graph: &'a FuzzyGraph,
    points: &'a [[f32; D]],
    forces: Forces,
}

impl<const D: usize> Field<'_, D> {
    /// The pull of all edges.
    #[inline(always)]
    fn attraction(&self, here: &Block<D>) -> Pull<D> {
        let mut pull = Pull { force: [[0.0; BLOCK]; D], rate: [0.0; BLOCK] };
        let mut tile = Tile::new();
        for i in 0..here.len {
            let at: [f32; D] = std::array::from_fn(|d| here.coordinates[d][i]);
            let mut edges = self.graph.offsets[here.first + i]..self.graph.offsets[here.first + i + 1];
            while !edges.is_empty() {
                let end = edges.end.min(edges.start + TILE - tile.len);
                let (targets, rates) = (&self.graph.targets[edges.start..end], &self.graph.rates[edges.start..end]);
                pull.rate[i] += tile.add(i, at, self.points, targets, rates);
                edges.start = end;
                if tile.len == TILE {
                    tile.finish(self.forces, &mut pull.force);
                }
            }
        }
        tile.finish(self.forces, &mut pull.force);
        pull
    }

    /// The push of `n_samples` random points on each point.
    #[inline(always)]
    fn repulsion(&self, here: &Block<D>, draws: Draws, n_samples: usize) -> Lanes<D> {
        let n = self.points.len() as u32;
        let here = &here.coordinates;
        let mut push = [[0.0; BLOCK]; D];
        let mut others = [0_u32; BLOCK];
        let mut there = [[0.0_f32; BLOCK]; D];
        for sample in 0..n_samples {
            for (i, other) in others.iter_mut().enumerate() {
                *other = draws.below(n, (sample * BLOCK + i) as u32);
            }
            for (i, &other) in others.iter().enumerate() {
                let point = self.points[other as usize];
                for d in 0..D {
                    there[d][i] = point[d];
                }
            }
            for i in 0..BLOCK {
                let mut squared = 0.0;
                for d in 0..D {
                    squared += (there[d][i] - here[d][i]) * (there[d][i] - here[d][i]);
                }
                let factor = self.forces.repulsion(squared);
                for d in 0..D {
                    push[d][i] += clipped(factor * (there[d][i] - here[d][i]));
                }
            }
        }
        push
    }
}

/// Edges that are computed together, whichever points they belong to.
struct Tile<const D: usize> {
    /// The other end minus this end; then the force.
    lanes: [[f32; TILE]; D],
    weights: [f32; TILE],
    len: usize,
    /// Points of the block and where their edges begin.
    segments: [(usize, usize); BLOCK],
    n_segments: usize,
}

impl<const D: usize> Tile<D> {
    #[inline(always)]
    fn new() -> Self {
        Self { lanes: [[0.0; TILE]; D], weights: [0.0; TILE], len: 0, segments: [(0, 0); BLOCK], n_segments: 0 }
    }

    /// Adds edges of the `i`-th point, of which there must be room for all; the sum of their rates.
    #[inline(always)]
    fn add(&mut self, i: usize, here: [f32; D], points: &[[f32; D]], targets: &[u32], rates: &[f32]) -> f32 {
        self.segments[self.n_segments] = (i, self.len);
        self.n_segments += 1;
        let mut total = 0.0;
        for (slot, (&target, &rate)) in (self.len..).zip(targets.iter().zip(rates)) {
            let there = points[target as usize];
            for d in 0..D {
                self.lanes[d][slot] = there[d] - here[d];
            }
            // Twice: the edge pulls this end as its own and as the other's neighbour.
            self.weights[slot] = 2.0 * rate;
            total += rate;
        }
        self.len += targets.len();
        total
    }

    /// Adds the forces of the tile's edges to those of their points, and empties it.
    #[inline(always)]
    fn finish(&mut self, forces: Forces, force: &mut Lanes<D>) {
        // Whole vectors: what is left of earlier edges past the end is computed and not used.
        for p in 0..self.len.next_multiple_of(16) {
            let mut squared = 0.0;
            for d in 0..D {
                squared += self.lanes[d][p] * self.lanes[d][p];
            }
            let factor = forces.attraction(squared);
            for d in 0..D {
                self.lanes[d][p] = self.weights[p] * clipped(factor * self.lanes[d][p]);
            }
        }
        for (s, &(i, begin)) in self.segments[..self.n_segments].iter().enumerate() {
            let end = if s + 1 < self.n_segments { self.segments[s + 1].1 } else { self.len };
            for (lanes, force) in self.lanes.iter().zip(force.iter_mut()) {
                force[i] += lanes[begin..end].iter().sum::<f32>();
            }
        }
        (self.len, self.n_segments) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use tlc_core::Progress;

    use super::*;
    use crate::knn::Neighbours;
    use crate::umap::curve::Curve;

    const FORCES: Forces = Forces { curve: Curve { a: 1.577, b: 0.895 }, repulsion_strength: 1.0 };

    /// Point 7 is everybody's neighbour, so that its edges fill several tiles.
    fn star(n: usize) -> FuzzyGraph {
        let indices =
            Array2::from_shape_fn((n, 3), |(i, j)| if j == 0 && i != 7 { 7 } else { ((i + 11 * (j + 1)) % n) as u32 });
        let squared = Array2::from_shape_fn((n, 3), |(i, j)| (1 + j) as f32 + (i % 5) as f32 * 0.1);
        let neighbours = Neighbours { indices, squared };
        FuzzyGraph::new(&neighbours, &UmapParams::default(), 200, &Progress::default()).expect("not cancelled")
    }

    fn scattered<const D: usize>(n: usize) -> Vec<[f32; D]> {
        let stream = Stream::new(8, "test");
        (0..n).map(|i| std::array::from_fn(|d| 10.0 * stream.uniform(i as u64, d as u64) as f32)).collect()
    }

    fn check_against_the_plain_sum<const D: usize>() {
        let n = 1500;
        let (graph, points) = (star(n), scattered::<D>(n));
        let field = Field { graph: &graph, points: &points, forces: FORCES };
        let plain = |i: usize, j: usize, repel: bool| -> [f64; D] {
            let difference: [f64; D] = std::array::from_fn(|d| f64::from(points[j][d]) - f64::from(points[i][d]));
            let squared: f64 = difference.iter().map(|x| x * x).sum();
            let power = squared.powf(0.895);
            let factor = if repel {
                -2.0 * 0.895 / ((0.001 + squared) * (1.0 + 1.577 * power))
            } else {
                2.0 * 1.577 * 0.895 * power / squared / (1.0 + 1.577 * power)
            };
            difference.map(|x| if squared > 0.0 { (factor * x).clamp(-4.0, 4.0) } else { 0.0 })
        };
        for block in 0..n.div_ceil(BLOCK) {
            let first = block * BLOCK;
            let here = Block::new(&points, first, BLOCK.min(n - first));
            let draws = Draws::new(block as u64);
            let (pull, push) = (field.attraction(&here), field.repulsion(&here, draws, 16));
            for (i, &found_rate) in pull.rate[..here.len].iter().enumerate() {
                let (mut expected, mut pushed, mut rate_sum) = ([0.0; D], [0.0; D], 0.0);
                for (j, rate) in graph.edges(first + i) {
                    let force = plain(first + i, j as usize, false);
                    rate_sum += rate;
                    (0..D).for_each(|d| expected[d] += 2.0 * f64::from(rate) * force[d]);
                }
                for sample in 0..16 {
                    let other = draws.below(n as u32, (sample * BLOCK + i) as u32) as usize;
                    let force = plain(first + i, other, true);
                    (0..D).for_each(|d| pushed[d] += force[d]);
                }
                assert!((found_rate - rate_sum).abs() < 1e-4 * (1.0 + rate_sum));
                for d in 0..D {
                    let near = |found: f32, expected: f64| (f64::from(found) - expected).abs() < 1e-3;
                    assert!(near(pull.force[d][i], expected[d]), "{i}: {} {}", pull.force[d][i], expected[d]);
                    assert!(near(push[d][i], pushed[d]), "{i}: {} {}", push[d][i], pushed[d]);
                }
            }
        }
    }

    #[test]
    fn forces_agree_with_the_plain_sum() {
        check_against_the_plain_sum::<1>();
        check_against_the_plain_sum::<2>();
        check_against_the_plain_sum::<3>();
    }

    #[test]
    fn without_negative_samples_nothing_pushes() {
        let graph = star(200);
        let params = UmapParams { negative_sample_rate: 0, ..UmapParams::default() };
        let mut optimiser = Optimiser::new(&graph, scattered::<2>(200), FORCES, 300, &params);
        (0..300).for_each(|_| optimiser.step());
        let extent =
            optimiser.points().iter().flatten().fold(0.0_f32, |most, x| most.max((x - optimiser.points()[0][0]).abs()));
        assert!(extent < 5.0, "a connected graph contracts, to {extent}");
    }
}
