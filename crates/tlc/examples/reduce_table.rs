//! Reduces a column of embeddings with UMAP.
//!
//!     cargo run --example reduce_table
//!
//! It prints:
//!
//! ```text
//! Created embedding table with columns: ["embedding"]
//! Created reduced table with columns: ["embedding", "embedding_umap"]
//! ```

#![expect(clippy::print_stdout, reason = "an example")]

use tlc::core::rng::Stream;
use tlc::core::{Column, NumberRole, Progress};
use tlc::run::{ReduceOptions, reduce_embeddings};
use tlc::table::{NewTable, Table};

fn main() -> anyhow::Result<()> {
    let project = tlc::open_project(std::env::temp_dir().join("tlc-reduce-table"))?;

    // A table with random embeddings: 100 of size 100.
    let random = Stream::new(1, "embeddings");
    let values = (0..100 * 100).map(|i| random.uniform(i, 0) as f32).collect();
    let table = Table::from_columns(
        project.shared_store(),
        &project.root().join("datasets/random")?,
        NewTable::new("embeddings").description("A table with random embeddings"),
        vec![Column::embedding("embedding", 100, values, NumberRole::NnEmbedding)?],
    )?;
    println!("Created embedding table with columns: {:?}", names(&table));

    // To 2-D with UMAP.
    let umap = tlc::create_reducer("umap", [("n_components", 2.into()), ("n_neighbors", 5.into())])?;
    let options = ReduceOptions {
        // Naming a column needs no role.
        source_embedding_columns: Some(vec!["embedding".to_owned()]),
        retain_source_embedding_column: true,
        ..ReduceOptions::new([umap])
    };
    let reduced = reduce_embeddings(&project, table.url(), &options, &Progress::default())?;
    let reduced = Table::from_url(project.shared_store(), &reduced)?;
    println!("Created reduced table with columns: {:?}", names(&reduced));
    Ok(())
}

fn names(table: &Table) -> Vec<&str> {
    table.columns().iter().map(|field| field.name().as_str()).collect()
}
