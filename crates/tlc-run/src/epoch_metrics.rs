//! What a run's metrics are on average, epoch by epoch.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tlc_core::{Aggregate, Url};

use crate::{MetricsEntry, Run, RunError, record};

/// The metrics of one epoch of one split: of the run's tables that describe one table's rows under the same constants.
#[derive(Debug, Clone, PartialEq)]
pub struct EpochMetrics {
    /// The table whose rows they describe, absolute.
    pub foreign_table: Option<Url>,
    /// What holds for all their rows, such as `epoch` and `split`.
    pub constants: Map<String, Value>,
    /// How many rows there are.
    pub rows: u64,
    /// By column.
    pub aggregates: BTreeMap<String, Aggregate>,
}

impl EpochMetrics {
    /// The constant `epoch`, if it is a whole number.
    pub fn epoch(&self) -> Option<i64> {
        record::epoch(&self.constants)
    }

    /// The constant `split`, if it is a text.
    pub fn split(&self) -> Option<&str> {
        record::split(&self.constants)
    }

    /// The mean of each column over all samples, named `{split}_{column}_avg`, or `{column}_avg` without a split. NaN
    /// where a sample's value is not finite; see [`Aggregate::mean_of_finite`].
    pub fn means(&self) -> BTreeMap<String, f64> {
        let split = self.split().map(|split| format!("{split}_")).unwrap_or_default();
        self.aggregates.iter().map(|(column, sums)| (format!("{split}{column}_avg"), sums.mean())).collect()
    }
}

impl Run {
    /// The run's metrics by epoch and split, in the order in which they were first written.
    ///
    /// Means are over samples, not over batches or tables: tables of one dataset with the same constants, such as those
    /// of several processes that collected a part each, are put together, each row counting once. Rows of a reduced
    /// table count once together with those of its source. They stay when the tables that they were made from are
    /// reduced and deleted. Nothing but the record is read.
    ///
    /// ```no_run
    /// # fn show(run: &tlc_run::Run) -> Result<(), tlc_run::RunError> {
    /// for metrics in run.epoch_metrics()? {
    ///     // `train_loss_avg` and so on.
    ///     println!("{:?}: {:?}", metrics.epoch(), metrics.means());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// An unreadable record; a failing store.
    pub fn epoch_metrics(&self) -> Result<Vec<EpochMetrics>, RunError> {
        let entries = self.metrics()?;
        let mut seen = BTreeSet::new();
        let mut all: Vec<EpochMetrics> = Vec::new();
        for entry in &entries {
            if entry.aggregates.is_empty() || !seen.insert(entry.origin(&entries)) {
                continue;
            }
            let is_it = |known: &&mut EpochMetrics| {
                known.foreign_table == entry.foreign_table && known.constants == entry.constants
            };
            let Some(known) = all.iter_mut().find(is_it) else {
                let MetricsEntry { foreign_table, constants, rows, aggregates, .. } = entry.clone();
                all.push(EpochMetrics { foreign_table, constants, rows, aggregates });
                continue;
            };
            known.rows += entry.rows;
            for (column, sums) in &entry.aggregates {
                known.aggregates.entry(column.clone()).or_default().merge(*sums);
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, BooleanArray, Float32Array, Int64Array, RecordBatch};
    use arrow_schema::{DataType, Field, Schema};
    use serde_json::json;
    use tlc_core::{
        Column, FieldRoles, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Progress, reducer_from_args,
    };
    use tlc_reduce as _;
    use tlc_table::MemoryStore;

    use super::*;
    use crate::{Project, ReduceOptions};

    fn run() -> Run {
        let root = "memory://test/project".parse().expect("a URL");
        Project::new(Arc::new(MemoryStore::default()), root).create_run("r", Map::new()).expect("creatable")
    }

    /// Collects samples of `split` under `epoch` in batches of two: their losses are what is given, and every other
    /// one was right.
    fn collect(run: &Run, split: &str, epoch: i64, losses: &[f32]) {
        let ids = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
        let number = |name: &str, kind: DataType| Field::new(name, kind, true);
        let embedding = Column::embedding("embeddings_1", 2, vec![], NumberRole::NnEmbedding).expect("whole vectors");
        let schema = Arc::new(Schema::new(vec![
            ids,
            number("epoch", DataType::Int64),
            number("loss", DataType::Float32),
            number("correct", DataType::Boolean),
            number("n_words", DataType::Int64),
            embedding.field,
        ]));
        let batch = |(number, losses): (usize, &[f32])| {
            let n = losses.len();
            let ids = (2 * number) as i64..(2 * number + n) as i64;
            let right: BooleanArray = ids.clone().map(|id| Some(id % 2 == 0)).collect();
            let values = losses.iter().flat_map(|&loss| [loss, -loss]).collect();
            let embedding =
                Column::embedding("embeddings_1", 2, values, NumberRole::NnEmbedding).expect("whole vectors");
            let columns: Vec<ArrayRef> = vec![
                Arc::new(Int64Array::from_iter_values(ids.clone())),
                Arc::new(Int64Array::from(vec![epoch; n])),
                Arc::new(Float32Array::from(losses.to_vec())),
                Arc::new(right),
                Arc::new(Int64Array::from_iter_values(ids)),
                embedding.values,
            ];
            Ok(RecordBatch::try_new(schema.clone(), columns).expect("one length"))
        };
        let table = MetricsTable {
            name: format!("{split}-{epoch}"),
            foreign_table: Some(run.project().root().join(&format!("datasets/{split}.lance")).expect("a plain path")),
            constants: [("epoch".to_owned(), json!(epoch)), ("split".to_owned(), json!(split))].into_iter().collect(),
            lineage: Lineage::new("test/1", Operation::new("collect", 1)),
        };
        let batches: Vec<_> = losses.chunks(2).enumerate().map(batch).collect();
        run.write_metrics(table, &schema, Box::new(batches.into_iter())).expect("writable");
    }

    #[test]
    fn means_are_over_samples_by_epoch_and_split() {
        let run = run();
        // The mean of the batches' means would be 2.5.
        collect(&run, "train", 0, &[1.0, 1.0, 4.0]);
        collect(&run, "val", 0, &[8.0]);
        collect(&run, "train", 1, &[0.5, f32::NAN]);
        let found = run.epoch_metrics().expect("readable");
        let of: Vec<_> = found.iter().map(|metrics| (metrics.split(), metrics.epoch(), metrics.rows)).collect();
        assert_eq!(of, [(Some("train"), Some(0), 3), (Some("val"), Some(0), 1), (Some("train"), Some(1), 2)]);
        let expected = [("train_correct_avg", 2.0 / 3.0), ("train_loss_avg", 2.0), ("train_n_words_avg", 1.0)];
        assert!(found[0].means().into_iter().eq(expected.map(|(name, mean)| (name.to_owned(), mean))));
        assert_eq!(found[1].means()["val_loss_avg"], 8.0);
        let loss = found[2].aggregates["loss"];
        assert!(found[2].means()["train_loss_avg"].is_nan() && loss.mean_of_finite() == 0.5 && loss.not_finite == 1);
        assert!(found[0].foreign_table.as_ref().is_some_and(|url| url.is_within(run.project().root())));
    }

    #[test]
    fn parts_that_are_collected_at_once_count_by_their_rows() {
        let run = run();
        std::thread::scope(|scope| {
            for part in 0..8_u8 {
                let run = &run;
                scope.spawn(move || {
                    for epoch in 0..3 {
                        collect(run, "train", epoch, &vec![f32::from(part); usize::from(part) + 1]);
                    }
                });
            }
        });
        let mut found = run.epoch_metrics().expect("readable");
        found.sort_by_key(EpochMetrics::epoch);
        assert_eq!(found.iter().map(EpochMetrics::epoch).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
        for metrics in found {
            // Part p has p + 1 rows of loss p.
            let sum: u64 = (0..8).map(|part| part * (part + 1)).sum();
            assert_eq!((metrics.rows, metrics.aggregates["loss"].count), (36, 36));
            assert_eq!(metrics.means()["train_loss_avg"], sum as f64 / 36.0);
        }
    }

    #[test]
    fn reduction_neither_loses_nor_doubles_them() {
        // Once with sources that go, once with sources that stay, also when they are reduced again.
        for (delete_source_tables, expected_tables) in [(true, vec![2]), (false, vec![4, 6])] {
            let run = run();
            collect(&run, "train", 0, &[1.0, 2.0, 6.0, 3.0]);
            collect(&run, "train", 1, &[0.5, 0.5, 1.0, 2.0]);
            let before = run.epoch_metrics().expect("readable");
            assert_eq!(before[0].means()["train_loss_avg"], 3.0);
            for n_tables in expected_tables {
                let args = [("n_components".to_owned(), json!(1))].into_iter().collect();
                let mut options = ReduceOptions::new([reducer_from_args("pca", args).expect("valid")]);
                options.delete_source_tables = Some(delete_source_tables);
                run.reduce_embeddings_per_dataset(&options, &Progress::default()).expect("reducible");
                assert_eq!(run.metrics().expect("readable").len(), n_tables);
                assert_eq!(run.epoch_metrics().expect("readable"), before);
            }
        }
    }

    #[test]
    fn records_of_earlier_versions_have_none() {
        let entry = json!({ "url": "runs/r/metrics/a.lance", "table_id": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "name": "a", "rows": 3 });
        let entry: MetricsEntry = serde_json::from_value(entry).expect("readable");
        assert!(entry.aggregates.is_empty());
        let run = run();
        run.update(|record| record.metrics.push(entry.clone())).expect("writable");
        assert!(run.epoch_metrics().expect("readable").is_empty());
    }
}
