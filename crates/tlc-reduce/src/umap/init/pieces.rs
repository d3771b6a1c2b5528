//! The connected pieces of the graph, each as a matrix of its own.

use crate::umap::graph::FuzzyGraph;

/// For each point the number of its piece, pieces numbered by their first point; and how many there are.
pub(super) fn label(graph: &FuzzyGraph) -> (Vec<u32>, usize) {
    const UNKNOWN: u32 = u32::MAX;
    let mut labels = vec![UNKNOWN; graph.n_points()];
    let (mut n_pieces, mut open) = (0, Vec::new());
    for first in 0..graph.n_points() {
        if labels[first] != UNKNOWN {
            continue;
        }
        labels[first] = n_pieces;
        open.push(first);
        while let Some(i) = open.pop() {
            for (j, _) in graph.edges(i) {
                if labels[j as usize] == UNKNOWN {
                    labels[j as usize] = n_pieces;
                    open.push(j as usize);
                }
            }
        }
        n_pieces += 1;
    }
    (labels, n_pieces as usize)
}

/// The normalised adjacency matrix `D^(-½) A D^(-½)` of a connected piece, whose largest eigenvalue is 1.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) offsets: Vec<usize>,
    pub(super) targets: Vec<u32>,
    pub(super) weights: Vec<f32>,
    /// The eigenvector of the eigenvalue 1: the roots of the degrees, of length 1.
    pub(super) constant: Vec<f32>,
}

impl Piece {
    /// The piece of `members`; `place[i]` is where point `i` stands among them.
    pub(super) fn new(graph: &FuzzyGraph, members: &[u32], place: &[u32]) -> Self {
        let root_degree = |i: usize| graph.edges(i).map(|(_, rate)| f64::from(rate)).sum::<f64>().sqrt();
        let roots: Vec<f64> = members.iter().map(|&i| root_degree(i as usize)).collect();
        let mut piece = Self { offsets: vec![0], targets: Vec::new(), weights: Vec::new(), constant: Vec::new() };
        for (&i, &root) in members.iter().zip(&roots) {
            for (j, rate) in graph.edges(i as usize) {
                let target = place[j as usize];
                piece.targets.push(target);
                piece.weights.push((f64::from(rate) / (root * roots[target as usize])) as f32);
            }
            piece.offsets.push(piece.targets.len());
        }
        let length = roots.iter().map(|root| root * root).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        piece.constant = roots.iter().map(|root| (root / length) as f32).collect();
        piece
    }

    pub(super) fn n_points(&self) -> usize {
        self.constant.len()
    }
}
