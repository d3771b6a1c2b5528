//! What is reduced. `benches/peers/data.py` says how each file is made.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::PeersArgs;
use super::environment::{self, Programs};
use crate::places;

/// Rows to fit, and others to transform, of one file.
pub(super) struct Data {
    pub(super) name: &'static str,
    /// The files' common beginning.
    pub(super) files: &'static str,
    /// The first so many rows are fitted.
    pub(super) rows: usize,
    pub(super) width: usize,
    /// A layout whose 10-NN accuracy is lower is a wrong answer: about nine tenths of what umap-learn reaches.
    pub(super) accuracy_floor: f64,
    pub(super) is_quick: bool,
    /// Time to the first result in a fresh process is measured on it.
    pub(super) is_for_first_results: bool,
}

const fn data(name: &'static str, files: &'static str, rows: usize, width: usize, accuracy_floor: f64) -> Data {
    Data { name, files, rows, width, accuracy_floor, is_quick: false, is_for_first_results: false }
}

pub(super) const ALL: [Data; 11] = [
    Data { is_quick: true, ..data("digits", "digits", 1_500, 64, 0.9) },
    Data { is_quick: true, is_for_first_results: true, ..data("fashion-2k", "fashion", 2_000, 784, 0.6) },
    data("fashion-10k", "fashion", 10_000, 784, 0.65),
    data("fashion-60k", "fashion", 60_000, 784, 0.68),
    Data { is_for_first_results: true, ..data("embeddings-10k", "embeddings", 10_000, 512, 0.75) },
    data("embeddings-20k", "embeddings", 20_000, 512, 0.75),
    data("spheres-10k", "spheres", 10_000, 101, 0.5),
    Data { is_quick: true, ..data("mammoth-10k", "mammoth", 10_000, 3, 0.8) },
    data("mixture-70k", "mixture", 70_000, 128, 0.75),
    data("mixture-250k", "mixture", 250_000, 128, 0.75),
    data("mixture-1m", "mixture", 1_000_000, 128, 0.75),
];

pub(super) fn select(args: &PeersArgs) -> Vec<&'static Data> {
    const { &ALL }
        .iter()
        .filter(|data| !args.quick || data.is_quick)
        .filter(|data| args.sizes.is_empty() || args.sizes.contains(&data.rows))
        .collect()
}

/// `2k`, `1m` or plain digits.
pub(super) fn parse_size(text: &str) -> Result<usize> {
    let (digits, unit) = match text.to_lowercase() {
        text if text.ends_with('k') => (text.trim_end_matches('k').to_owned(), 1_000),
        text if text.ends_with('m') => (text.trim_end_matches('m').to_owned(), 1_000_000),
        text => (text, 1),
    };
    let number: usize = digits.parse().with_context(|| format!("{text} is no size; write 2000, 2k or 1m"))?;
    Ok(number * unit)
}

impl Data {
    pub(super) fn path(&self, part: &str) -> Result<PathBuf> {
        Ok(folder()?.join(format!("{}_{part}.npy", self.files)))
    }
}

fn folder() -> Result<PathBuf> {
    Ok(places::cache()?.join("bench-data"))
}

/// Makes the files unless they are there.
pub(super) fn provide(data: &Data, programs: &Programs) -> Result<()> {
    let folder = folder()?;
    // What is complete is known by the file that is written last.
    let exists = |files: &str| folder.join(format!("{files}_test_labels.npy")).is_file();
    if exists(data.files) {
        return Ok(());
    }
    println!("making the data {}", data.files);
    if matches!(data.files, "embeddings" | "mixture") && !exists("embeddings") {
        environment::export_embeddings(&folder)?;
    }
    if data.files != "embeddings" {
        programs.python("data.py", &[&folder.to_string_lossy(), data.files])?;
    }
    if !exists(data.files) {
        bail!("the data {} was not made in {}", data.files, folder.display());
    }
    Ok(())
}
