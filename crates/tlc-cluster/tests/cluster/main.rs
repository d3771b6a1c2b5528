//! Jobs in this process, on a cluster in this process, and on one of several processes.

mod jobs;
mod losses;
mod processes;

use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use ndarray::Array2;
use tlc_cluster::Apply;
use tlc_core::{
    Column, FieldRoles, Lineage, NumberRole, Operation, Progress, Scan, TableStore, Url, WriteCondition, encode_model,
    reducer_from_args,
};
use tlc_reduce as _;
use tlc_table::LanceStore;

const N_ROWS: usize = 20_000;
const WIDTH: usize = 16;

/// A folder with a table and a model that was fitted on its first rows.
struct Place {
    folder: tempfile::TempDir,
    table: Url,
    model: Url,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        let table = root.join("datasets/toys/initial.lance").expect("valid");
        write_table(&table, 1);
        let pacmap = [("n_components".to_owned(), 2.into()), ("seed".to_owned(), 7.into())].into_iter().collect();
        let pacmap = reducer_from_args("pacmap", pacmap).expect("linked");
        let rows = Array2::from_shape_vec((500, WIDTH), values(1)[..500 * WIDTH].to_vec()).expect("its shape");
        let fitted = pacmap.fit(rows.view(), &Progress::default()).expect("fits");
        let model = root.join("models/toys").expect("valid");
        for file in encode_model(fitted.as_ref()).expect("encodable") {
            let url = model.join(file.name).expect("valid");
            LanceStore::default().write_object(&url, &file.content, WriteCondition::Absent).expect("free");
        }
        Self { folder, table, model }
    }

    fn root(&self) -> Url {
        Url::from_path(self.folder.path()).expect("an absolute path")
    }

    /// The job that makes the table `name`, in 80 tasks.
    fn job(&self, name: &str) -> Apply {
        let out = self.root().join(&format!("datasets/toys/{name}.lance")).expect("valid");
        let job = Apply::new(self.model.clone(), self.table.clone(), out);
        Apply { rows_per_task: N_ROWS as u64 / 80, project: Some(self.root().into()), ..job }
    }
}

/// Three groups of points with some noise, the same for the same seed.
fn values(seed: u64) -> Vec<f32> {
    let noise = |i: usize| {
        let mixed =
            (i as u64 + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..N_ROWS * WIDTH).map(|i| (i / WIDTH % 3) as f32 * 3.0 + noise(i)).collect()
}

/// `id`, `name`, and an embedding of which row 13 holds NaN.
fn write_table(url: &Url, seed: u64) {
    let mut values = values(seed);
    values[13 * WIDTH] = f32::NAN;
    let embedding = Column::embedding("embedding", WIDTH, values, NumberRole::NnEmbedding).expect("whole vectors");
    let ids = Int64Array::from_iter_values(0..N_ROWS as i64);
    let names = StringArray::from_iter((0..N_ROWS).map(|i| (i % 5 != 0).then(|| format!("row {i}"))));
    let fields = vec![
        Field::new("id", DataType::Int64, false).with_role(NumberRole::ExampleId),
        embedding.field,
        Field::new("name", DataType::Utf8, true),
    ];
    let schema = Arc::new(Lineage::new("test/1", Operation::new("made-up", 1)).write_into(&Schema::new(fields)));
    let rows = RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), embedding.values, Arc::new(names)]);
    LanceStore::default().create(url, schema, Box::new([Ok(rows.expect("valid"))].into_iter())).expect("a free place");
}

/// All rows of a table.
fn rows(url: &Url) -> RecordBatch {
    let store = LanceStore::default();
    let schema = store.info(url).expect("there").schema;
    let batches: Vec<_> = store.scan(url, Scan::default()).expect("there").map(|batch| batch.expect("whole")).collect();
    datafusion::arrow::compute::concat_batches(&schema, &batches).expect("one schema")
}
