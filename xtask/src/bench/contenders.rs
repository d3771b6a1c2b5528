//! Who runs against whom, and with which parameters.
//!
//! Everybody gets the same numbers of neighbours, the defaults of umap-learn and of pacmap; all else is
//! each one's own default.

use super::PeersArgs;
use super::data::Data;
use super::measure::Kind;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// The example `peer` of tlc-reduce.
    Ours,
    /// `benches/peers/peer.py`
    Python,
    /// `benches/peers/rust`
    Rust,
}

pub(super) struct Contender {
    pub(super) name: &'static str,
    /// Compared with each other; ours is the first of its group.
    pub(super) group: &'static str,
    pub(super) program: Program,
    /// As the program calls it.
    pub(super) method: &'static str,
    /// A JSON object.
    pub(super) args: &'static str,
    /// More would take hours or all memory.
    max_rows: usize,
    /// Measured with every seed; others once, to know their order of magnitude.
    pub(super) is_repeated: bool,
}

const UMAP: &str = r#"{"n_neighbors": 15}"#;
const PACMAP: &str = r#"{"n_neighbors": 10}"#;
const PCA: &str = r#"{"n_components": 2}"#;

const fn contender(
    name: &'static str,
    group: &'static str,
    program: Program,
    method: &'static str,
    args: &'static str,
    max_rows: usize,
) -> Contender {
    Contender { name, group, program, method, args, max_rows, is_repeated: !matches!(program, Rust) }
}

use Program::{Ours, Python, Rust};
pub(super) const ALL: [Contender; 12] = [
    contender("tlc umap", "UMAP", Ours, "umap", UMAP, usize::MAX),
    contender("umap-learn", "UMAP", Python, "umap", UMAP, usize::MAX),
    Contender { is_repeated: false, ..contender("umap-learn, seeded", "UMAP", Python, "umap-seeded", UMAP, 100_000) },
    contender("umap-rs", "UMAP", Rust, "umap-rs", UMAP, 100_000),
    contender("annembed", "UMAP", Rust, "annembed", UMAP, 100_000),
    contender("tlc pacmap", "PaCMAP", Ours, "pacmap", PACMAP, usize::MAX),
    contender("pacmap", "PaCMAP", Python, "pacmap", PACMAP, usize::MAX),
    contender("pacmap (Rust)", "PaCMAP", Rust, "pacmap", PACMAP, 100_000),
    contender("tlc localmap", "LocalMAP", Ours, "localmap", PACMAP, 100_000),
    contender("pacmap's LocalMAP", "LocalMAP", Python, "localmap", PACMAP, 100_000),
    contender("tlc pca", "PCA", Ours, "pca", PCA, usize::MAX),
    contender("scikit-learn PCA", "PCA", Python, "pca", PCA, usize::MAX),
];

impl Contender {
    pub(super) fn kinds_of_first_results(&self) -> &'static [Kind] {
        match self.program {
            // The first leaves compiled code behind, which the second finds.
            Python => &[Kind::FreshInstall, Kind::FreshProcess],
            Ours | Rust => &[Kind::FreshProcess],
        }
    }
}

/// One group on one data set.
pub(super) struct Bout {
    pub(super) data: &'static Data,
    pub(super) contenders: Vec<&'static Contender>,
}

impl Bout {
    /// A million rows take a peer an hour: once has to do.
    pub(super) fn repetitions(&self, wanted: u64) -> u64 {
        if self.data.rows > 200_000 { wanted.min(1) } else { wanted }
    }
}

/// `--only` names data or contenders; naming some of both selects what is in both.
pub(super) fn select(args: &PeersArgs, data: &[&'static Data]) -> Vec<Bout> {
    let all: &'static [Contender] = const { &ALL };
    let named = |name: &str| args.only.iter().any(|part| name.contains(part.as_str()));
    let some_data = data.iter().any(|data| named(data.name));
    let some_contender = all.iter().any(|contender| named(contender.name) || named(contender.group));
    let mut bouts = Vec::new();
    if !args.only.is_empty() && !some_data && !some_contender {
        return bouts;
    }
    for data in data.iter().filter(|data| !some_data || named(data.name)) {
        for group in ["UMAP", "PaCMAP", "LocalMAP", "PCA"] {
            let of_group = all.iter().filter(|contender| contender.group == group && data.rows <= contender.max_rows);
            let of_group: Vec<_> = of_group.collect();
            let is_named = |c: &Contender| !some_contender || named(c.name) || named(c.group);
            if of_group.iter().any(|contender| is_named(contender)) {
                // Ratios are to ours, so ours comes along.
                let contenders = of_group.into_iter().filter(|c| c.program == Ours || is_named(c)).collect();
                bouts.push(Bout { data, contenders });
            }
        }
    }
    bouts
}
