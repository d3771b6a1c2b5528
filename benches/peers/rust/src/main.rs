//! Runs annembed, umap-rs or pacmap on one job, as `peer.py` runs the Python packages.
//!
//! None of the three can transform new rows, so only the fit is measured. annembed and umap-rs take no
//! seed. umap-rs takes neighbours and a first layout from its caller: exact neighbours and principal
//! components here, timed apart from the fit.

#[path = "../../job.rs"]
#[expect(dead_code, reason = "new rows are for those who can transform them")]
mod job;
mod neighbours;

use annembed::fromhnsw::kgraph::kgraph_from_hnsw_all;
use annembed::prelude::{Embedder, EmbedderParams};
use anyhow::{Context, Result, anyhow, bail};
use hnsw_rs::prelude::{DistL2, Hnsw};
use ndarray::{Array2, ArrayView2};

use self::job::{Job, note_first_result};

fn main() -> Result<()> {
    let mut job = Job::from_command_line()?;
    let (layout, version) = match job.method.as_str() {
        "annembed" => (annembed(&mut job)?, "annembed 0.1.6"),
        "umap-rs" => (umap_rs(&mut job)?, "umap-rs 0.4.5"),
        "pacmap" => (pacmap(&mut job)?, "pacmap 0.2.6"),
        other => bail!("the method is {other}; use annembed, umap-rs or pacmap"),
    };
    note_first_result(&mut job);
    job.write("layout.npy", &layout, 2)?;
    job.finish(version);
    Ok(())
}

fn n_neighbors(job: &Job, default: usize) -> usize {
    job.args.get("n_neighbors").and_then(serde_json::Value::as_u64).map_or(default, |n| n as usize)
}

/// With the settings of its own Fashion-MNIST example, and its default parameters of the embedding.
fn annembed(job: &mut Job) -> Result<Vec<f32>> {
    let k = n_neighbors(job, 15);
    job.timed("fit", |job| {
        let n = job.train.rows;
        let rows: Vec<Vec<f32>> = job.train.values.chunks_exact(job.train.width).map(<[f32]>::to_vec).collect();
        let layers = 16.min((n as f32).ln().trunc() as usize);
        let mut hnsw = Hnsw::<f32, DistL2>::new(16, n, layers, 200, DistL2 {});
        hnsw.set_keeping_pruned(true);
        let numbered: Vec<(&Vec<f32>, usize)> = rows.iter().zip(0..).collect();
        hnsw.parallel_insert(&numbered);
        let graph = kgraph_from_hnsw_all::<f32, DistL2, f32>(&hnsw, k)?;
        let mut embedder = Embedder::new(&graph, EmbedderParams::default());
        embedder.embed().map_err(|code| anyhow!("annembed failed with {code}"))?;
        Ok(embedder.get_embedded_reindexed().into_raw_vec_and_offset().0)
    })
}

fn umap_rs(job: &mut Job) -> Result<Vec<f32>> {
    let k = n_neighbors(job, 15);
    let data = |job: &Job| {
        let rows = ArrayView2::from_shape((job.train.rows, job.train.width), &job.train.values);
        rows.map(|rows| rows.to_owned()).context("the rows have one width")
    };
    let rows = data(job)?;
    let (indices, distances) = job.timed("knn", |_| neighbours::exact(rows.view(), k));
    let init: Array2<f32> = job.timed("init", |job| neighbours::principal_components(rows.view(), job.seed));
    let config = umap_rs::UmapConfig {
        graph: umap_rs::GraphParams { n_neighbors: k, ..Default::default() },
        ..Default::default()
    };
    let fitted = job
        .timed("fit", |_| umap_rs::Umap::new(config).fit(rows.view(), indices.view(), distances.view(), init.view()));
    Ok(fitted.into_embedding().into_raw_vec_and_offset().0)
}

fn pacmap(job: &mut Job) -> Result<Vec<f32>> {
    let k = n_neighbors(job, 10);
    job.timed("fit", |job| {
        let rows = ndarray016::ArrayView2::from_shape((job.train.rows, job.train.width), &job.train.values)?;
        let configuration =
            pacmap::Configuration { override_neighbors: Some(k), seed: Some(job.seed), ..Default::default() };
        let (layout, _) = pacmap::fit_transform(rows, configuration)?;
        Ok(layout.iter().copied().collect())
    })
}
