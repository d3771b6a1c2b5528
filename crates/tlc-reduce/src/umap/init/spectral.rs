//! Laplacian eigenmaps of the graph (Belkin and Niyogi 2003), piece by piece: with `W` the edges' memberships and `D`
//! the diagonal of their sums per point, the eigenvectors of the smallest eigenvalues above 0 of
//! `L = I - D^(-1/2) W D^(-1/2)` (algorithm 4 of UMAP's paper), found as the largest of `I - L`.
//!
//! A graph in one piece gets its eigenvectors. Otherwise the pieces' centres are placed first, as in
//! umap-learn on the half axes for up to twice as many pieces as there are dimensions, else by the principal
//! components of their means in data space (umap-learn: a spectral embedding of the distances of those
//! means; the components keep their scale, need no matrix of all pieces, and have no trouble with pieces
//! at one place). Then each piece is laid out on its own and scaled to half of the way to the nearest
//! other centre. Pieces too small for eigenvectors are scattered over that room; umap-learn gives points
//! without an edge no place at all.
//!
//! There is no such layout (and the caller takes principal components) if a piece of more than half of the
//! points has none, or if there are more than a thousand pieces: eigenvectors then say nothing about the
//! whole.

use std::borrow::Cow;

use ndarray::Array2;
use rayon::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{Progress, ReduceError};

use super::components_of;
use super::eigen::eigenvectors;
use super::pieces::{Piece, label};
use crate::knn::Index;
use crate::umap::graph::FuzzyGraph;

const MOST_PIECES: usize = 1000;

pub(super) fn layout<const D: usize>(
    graph: &FuzzyGraph,
    index: &Index,
    seed: u64,
    progress: &Progress,
) -> Result<Option<Vec<[f32; D]>>, ReduceError> {
    let (labels, n_pieces) = label(graph);
    if n_pieces > MOST_PIECES {
        return Ok(None);
    }
    let n = graph.n_points();
    let mut members = vec![Vec::new(); n_pieces];
    let mut place = vec![0_u32; n];
    // Near rows close together: products with the matrix then find most of what they gather in the cache.
    let order = index.order().map_or_else(|| (0..n as u32).collect(), Cow::Borrowed);
    for &i in order.iter() {
        let members = &mut members[labels[i as usize] as usize];
        place[i as usize] = members.len() as u32;
        members.push(i);
    }
    let centres = centres::<D>(index, &members, seed, progress)?;
    let scatter = Stream::new(seed, "umap-spectral-scatter");
    let mut points = vec![[0.0; D]; n];
    for (label, members) in members.iter().enumerate() {
        let room = room(&centres, label);
        let piece = Piece::new(graph, members, &place);
        let found = eigenvectors::<D>(&piece, seed, progress)?;
        if found.is_none() && members.len() > n / 2 {
            return Ok(None);
        }
        let own = found.unwrap_or_else(|| {
            let coordinate = |&i: &u32, d| 2.0 * scatter.uniform(u64::from(i), d as u64) as f32 - 1.0;
            members.iter().map(|i| std::array::from_fn(|d| coordinate(i, d))).collect()
        });
        let largest = own.as_flattened().iter().fold(f32::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
        for (&i, own) in members.iter().zip(own) {
            points[i as usize] = std::array::from_fn(|d| centres[label][d] + room * own[d] / largest);
        }
        progress.check()?;
    }
    Ok(Some(points))
}

/// Half of the way from a piece's centre to the nearest other.
fn room<const D: usize>(centres: &[[f32; D]], label: usize) -> f32 {
    let squared = |other: &[f32; D]| crate::distance::squared_low(&centres[label], other);
    let nearest = centres.iter().map(squared).filter(|&squared| squared > 0.0).fold(f32::INFINITY, f32::min);
    if nearest.is_finite() { nearest.sqrt() / 2.0 } else { 1.0 }
}

fn centres<const D: usize>(
    index: &Index,
    members: &[Vec<u32>],
    seed: u64,
    progress: &Progress,
) -> Result<Vec<[f32; D]>, ReduceError> {
    if members.len() == 1 {
        return Ok(vec![[0.0; D]]);
    }
    if members.len() <= 2 * D {
        let half = members.len().div_ceil(2);
        let on_axis = |at: usize| -> [f32; D] {
            std::array::from_fn(|d| {
                if d != at % half {
                    0.0
                } else if at < half {
                    1.0
                } else {
                    -1.0
                }
            })
        };
        return Ok((0..members.len()).map(on_axis).collect());
    }
    let means: Vec<Vec<f32>> = members
        .par_iter()
        .map(|members| {
            let mut sums = vec![0.0_f64; index.n_features()];
            for &i in members {
                for (sum, &value) in sums.iter_mut().zip(index.row(i as usize)) {
                    *sum += f64::from(value);
                }
            }
            sums.into_iter().map(|sum| (sum / members.len() as f64) as f32).collect()
        })
        .collect();
    let means = Array2::from_shape_fn((means.len(), index.n_features()), |(piece, column)| means[piece][column]);
    components_of(means.view(), seed, progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::knn::KnnMethod;
    use crate::umap::UmapParams;

    fn index(rows: &Array2<f32>) -> Index {
        Index::build(rows.clone(), KnnMethod::Exact, &Progress::default()).expect("builds")
    }

    fn graph(rows: &Array2<f32>, k: usize) -> FuzzyGraph {
        let progress = Progress::default();
        let neighbours = index(rows).graph(k, &progress).expect("k fits");
        FuzzyGraph::new(&neighbours, &UmapParams::default(), 500, &progress).expect("not cancelled")
    }

    fn spectral(rows: &Array2<f32>, k: usize) -> Option<Vec<[f32; 2]>> {
        layout(&graph(rows, k), &index(rows), 1, &Progress::default()).expect("no error")
    }

    fn ring(n: usize, centre: f32) -> Array2<f32> {
        Array2::from_shape_fn((n, 2), |(i, j)| {
            let angle = std::f32::consts::TAU * i as f32 / n as f32;
            centre + if j == 0 { angle.cos() } else { angle.sin() }
        })
    }

    #[test]
    fn a_ring_becomes_a_ring() {
        // Below and above the size that LAPACK solves.
        for n in [100, 1500] {
            let points = spectral(&ring(n, 0.0), 6).expect("one piece");
            let radii: Vec<f32> = points.iter().map(|p| p[0].hypot(p[1])).collect();
            let (least, most) = radii.iter().fold((f32::MAX, 0.0_f32), |(a, b), &r| (a.min(r), b.max(r)));
            assert!(least > 0.85 * most, "{n}: radii {least} to {most}");
            let step = |i: usize| {
                let (a, b) = (points[i], points[(i + 1) % n]);
                (a[0] * b[1] - a[1] * b[0]).atan2(a[0] * b[0] + a[1] * b[1])
            };
            let turns = (0..n).map(step).sum::<f32>() / std::f32::consts::TAU;
            assert!((turns.abs() - 1.0).abs() < 0.01, "{n}: once around, not {turns} times");
        }
    }

    #[test]
    fn iteration_agrees_with_lapack() {
        let noise = Stream::new(6, "test");
        let rows = Array2::from_shape_fn((190, 3), |(i, j)| noise.normal(i as u64, j as u64) as f32 * (3 - j) as f32);
        let graph = graph(&rows, 8);
        let members: Vec<u32> = (0..190).collect();
        assert_eq!(label(&graph).1, 1);
        let piece = Piece::new(&graph, &members, &members);
        let exact = super::super::eigen::tests::dense_subspace(&piece);
        let found = super::super::eigen::tests::filtered_subspace(&piece);
        for (d, (a, b)) in exact.iter().zip(&found).enumerate() {
            let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            assert!(dot.abs() > 0.98, "vector {d}: {dot}");
        }
    }

    #[test]
    fn pieces_keep_apart() {
        let two = ndarray::concatenate![ndarray::Axis(0), ring(300, 0.0), ring(40, 50.0)];
        let points = spectral(&two, 5).expect("two pieces");
        assert!(points[..300].iter().all(|p| p[0] >= -1e-6) && points[300..].iter().all(|p| p[0] <= 1e-6));
        let many: Vec<_> = (0..9).map(|i| ring(30, 10.0 * i as f32)).collect();
        let many: Vec<_> = many.iter().map(|ring| ring.view()).collect();
        let many = ndarray::concatenate(ndarray::Axis(0), &many).expect("one width");
        let points = spectral(&many, 5).expect("nine pieces");
        for piece in 0..8 {
            let most = points[piece * 30..(piece + 1) * 30].iter().map(|p| p[0]).fold(f32::MIN, f32::max);
            let least = points[(piece + 1) * 30..(piece + 2) * 30].iter().map(|p| p[0]).fold(f32::MAX, f32::min);
            let (most, least) = if points[0][0] < points[269][0] { (most, least) } else { (-most, -least) };
            assert!(most <= least + 1e-3, "pieces {piece} and {} overlap", piece + 1);
        }
    }

    #[test]
    fn points_without_edges_have_a_place() {
        let mut graph = graph(&ring(60, 0.0), 4);
        // The last point alone.
        let (mut offsets, mut targets, mut rates) = (vec![0], Vec::new(), Vec::new());
        for i in 0..60 {
            for (j, rate) in graph.edges(i).filter(|&(j, _)| i != 59 && j != 59) {
                targets.push(j);
                rates.push(rate);
            }
            offsets.push(targets.len());
        }
        (graph.offsets, graph.targets, graph.rates) = (offsets, targets, rates);
        let points: Vec<[f32; 2]> =
            layout(&graph, &index(&ring(60, 0.0)), 1, &Progress::default()).expect("no error").expect("two pieces");
        assert!(points.as_flattened().iter().all(|x| x.is_finite()));
        assert!(points[59][0] < -0.4, "{:?}", points[59]);
    }

    #[test]
    fn too_many_pieces_have_no_spectral_layout() {
        let rows = Array2::from_shape_fn((2400, 1), |(i, _)| (i / 2 * 100 + i % 2) as f32);
        assert!(spectral(&rows, 1).is_none());
    }
}
