//! Reduction in memory, with PCA, which is quick and exact.

mod deletions;
mod records;
mod runs;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::{Map, json};
use tlc_core::rng::Stream as Random;
use tlc_core::{
    Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, Reducer, Scan, TableStore,
    Url, embedding_values, reducer_from_args,
};
use tlc_reduce as _;
use tlc_table::MemoryStore;

use crate::{Project, Run};

const N_ROWS: usize = 40;
const WIDTH: usize = 6;

struct Fixture {
    store: MemoryStore,
    run: Run,
    /// Whether the tables have a column that says what they describe, as collected ones do.
    says_foreign_table: bool,
}

impl Fixture {
    fn new() -> Self {
        let store = MemoryStore::default();
        let project = Project::new(Arc::new(store.clone()), "memory://test/project".parse().expect("a URL"));
        let run = project.create_run("r", Map::new()).expect("creatable");
        Self { store, run, says_foreign_table: false }
    }

    fn url(&self, path: &str) -> Url {
        self.run.project().root().join(path).expect("a plain path")
    }

    /// Adds a table of noise around `epoch`, describing the rows of `dataset`.
    fn add(&self, dataset: Option<&str>, epoch: i64, n_bad: usize) -> Url {
        self.add_column("embeddings_90", dataset, epoch, n_bad)
    }

    fn add_column(&self, column: &str, dataset: Option<&str>, epoch: i64, n_bad: usize) -> Url {
        self.add_with(Lineage::new("test/1", Operation::new("collect", 1)), column, dataset, epoch, n_bad)
    }

    fn add_with(&self, lineage: Lineage, column: &str, dataset: Option<&str>, epoch: i64, n_bad: usize) -> Url {
        let noise = Random::new(epoch as u64, dataset.unwrap_or("none"));
        let mut values: Vec<f32> =
            (0..N_ROWS * WIDTH).map(|i| epoch as f32 + noise.normal(i as u64, 0) as f32).collect();
        (0..n_bad).for_each(|row| values[row * WIDTH] = f32::NAN);
        let embedding = Column::embedding(column, WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
        let id = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
        let mut fields = vec![id, embedding.field];
        let ids = Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64));
        let mut columns: Vec<ArrayRef> = vec![ids, embedding.values];
        if let Some(dataset) = dataset.filter(|_| self.says_foreign_table) {
            let names = [(0, self.url(&format!("datasets/{dataset}.lance")).to_string())].into_iter().collect();
            let field = Field::new("input_table_id", DataType::Int64, false).with_role(NumberRole::ForeignTableId);
            fields.push(field.with_value_map(&names));
            columns.push(Arc::new(Int64Array::from(vec![0; N_ROWS])));
        }
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("one length");
        let table = MetricsTable {
            name: format!("{}-{epoch}", dataset.unwrap_or("none")),
            foreign_table: dataset.map(|dataset| self.url(&format!("datasets/{dataset}.lance"))),
            constants: [("epoch".to_owned(), json!(epoch))].into_iter().collect(),
            lineage,
        };
        self.run.write_metrics(table, &schema, Box::new([Ok(batch)].into_iter())).expect("writable").url
    }

    fn batch(&self, url: &Url) -> RecordBatch {
        self.store.scan(url, Scan::default()).expect("there").next().expect("one batch").expect("readable")
    }
}

/// Flips a bit of a table on disk, and says of which file and what was in it before.
fn flip_a_bit(store: &dyn TableStore, table: &Url) -> (PathBuf, Vec<u8>) {
    let batch = store.scan(table, Scan::default()).expect("there").next().expect("rows").expect("readable");
    let value = embedding_values(&batch, "embeddings_90").expect("vectors")[[3, 2]].to_le_bytes();
    let data = table.to_path().expect("local").join("data");
    let file = std::fs::read_dir(data).expect("there").next().expect("a file").expect("readable").path();
    let sound = std::fs::read(&file).expect("readable");
    let at = sound.windows(4).position(|window| window == value).expect("values are stored as they are");
    let mut bytes = sound.clone();
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("writable");
    (file, sound)
}

fn pca(n_components: usize) -> Box<dyn Reducer> {
    let args = [("n_components".to_owned(), json!(n_components))].into_iter().collect();
    reducer_from_args("pca", args).expect("valid")
}

fn progress() -> Progress {
    Progress::default()
}
