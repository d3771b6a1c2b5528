//! Which row of a dataset's table a sample is.
//!
//! A sample's number, its `example_id`, is the number of its row in the table that is described. Whatever that table has
//! in a column of the same role plays no part then. Only where a table describes no other do the numbers in its own column
//! name its rows.

use super::{Scene, SceneDataset, TablePart};
use crate::ViewError;

/// Samples that a message names.
const NAMED: usize = 10;

impl Scene {
    /// The rows of the dataset's table that these samples are, in the order of `example_ids`: one each, or where the table
    /// names its rows itself, all of this name.
    ///
    /// # Errors
    /// An unknown dataset; samples that it does not have, of which the message names the first ten; a failing store.
    pub fn rows_of_samples(&self, dataset: usize, example_ids: &[i64]) -> Result<Vec<u64>, ViewError> {
        let refused = |reason: String| ViewError::Filter { title: self.title.clone(), reason };
        let of = self.datasets.get(dataset).ok_or_else(|| {
            refused(format!("there is no dataset {dataset}; there are {}, counted from 0", self.datasets.len()))
        })?;
        let named_by = self.naming_part(of);
        let n = match &of.foreign_table {
            Some(url) => self.store.info(url)?.rows,
            None => return Err(refused("these samples are of no table".to_owned())),
        };
        let (mut rows, mut unknown) = (Vec::new(), Vec::new());
        for &id in example_ids {
            let before = rows.len();
            match named_by {
                Some(part) => rows.extend(slot_of(of, id).into_iter().flat_map(|slot| part.rows_of(slot))),
                None => rows.extend(u64::try_from(id).ok().filter(|&row| row < n)),
            }
            if rows.len() == before {
                unknown.push(id.to_string());
            }
        }
        if unknown.is_empty() {
            return Ok(rows);
        }
        let more = if unknown.len() > NAMED { format!(" and {} more", unknown.len() - NAMED) } else { String::new() };
        unknown.truncate(NAMED);
        Err(refused(format!("{} has no example_id {}{more}; it has {n} rows", of.name, unknown.join(", "))))
    }

    /// The row of the dataset's table that a sample is, the first where it is several.
    pub(crate) fn row_of_sample(&self, dataset: &SceneDataset, example_id: i64) -> Option<u64> {
        match self.naming_part(dataset) {
            Some(part) => part.row(slot_of(dataset, example_id)?),
            None => u64::try_from(example_id).ok(),
        }
    }

    /// Of a dataset whose table names its rows itself, this table.
    fn naming_part(&self, dataset: &SceneDataset) -> Option<&TablePart> {
        self.tables.get(dataset.named_by?)?.parts.first()
    }

    /// The rows of the dataset's table that its samples are, by slot.
    pub(super) fn rows_of_slots(&self, dataset: &SceneDataset) -> Vec<u64> {
        // No table is so long, so that a store refuses what is no row.
        dataset.example_ids.iter().map(|&id| self.row_of_sample(dataset, id).unwrap_or(u64::MAX)).collect()
    }
}

fn slot_of(dataset: &SceneDataset, example_id: i64) -> Option<usize> {
    dataset.example_ids.binary_search(&example_id).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};
    use arrow_schema::{DataType, Field};
    use tlc_core::{Column, FieldRoles, NumberRole, Url};
    use tlc_run::Project;
    use tlc_table::{MemoryStore, NewTable, Table};

    use super::*;

    fn number(name: &str, values: Vec<Option<i64>>, role: NumberRole) -> Column {
        let field = Field::new(name, DataType::Int64, true).with_role(role);
        Column { field, values: Arc::new(Int64Array::from(values)) }
    }

    fn table(project: &Project, name: &str, columns: Vec<Column>) -> Url {
        let folder = project.root().join("datasets/toys").expect("plain");
        Table::from_columns(project.shared_store(), &folder, NewTable::new(name), columns).expect("new").url().clone()
    }

    /// Three samples whose table calls them 7, 5 and 7.
    fn toys(project: &Project) -> Url {
        let ids = number("id", vec![Some(7), Some(5), Some(7)], NumberRole::ExampleId);
        let field = Field::new("text", DataType::Utf8, false).with_role(NumberRole::Text);
        let texts = Column { field, values: Arc::new(StringArray::from(vec!["car", "doll", "bus"])) };
        table(project, "toys", vec![ids, texts])
    }

    fn text(scene: &Scene, id: i64) -> Option<String> {
        scene.sample(0, id, None).expect("readable").text
    }

    #[test]
    fn a_table_names_its_own_rows_where_it_describes_no_other() {
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"));
        let toys = toys(&project);
        let scene = Scene::of_table(&project, &toys).expect("readable");
        assert_eq!(scene.datasets[0].example_ids, [5, 7]);
        assert_eq!(scene.rows_of_samples(0, &[7, 5]).expect("known"), [0, 2, 1], "all of a name");
        assert_eq!((text(&scene, 5), text(&scene, 0)), (Some("doll".to_owned()), None));
        let error = scene.rows_of_samples(0, &[5, 1, 0]).expect_err("they are none").to_string();
        assert!(error.contains("no example_id 1, 0; it has 3 rows"), "{error}");
    }

    #[test]
    fn reductions_of_a_table_that_names_its_rows_keep_the_names() {
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"));
        let n = 40;
        let ids = number("id", (0..n).map(|row| Some(2 * (n - row))).collect(), NumberRole::ExampleId);
        let noise = tlc_core::rng::Stream::new(1, "features");
        let values = (0..4 * n as u64).map(|i| noise.normal(i, 0) as f32).collect();
        let features = Column::embedding("features", 4, values, NumberRole::NnEmbedding).expect("whole vectors");
        let url = table(&project, "toys", vec![ids, features]);
        for n_components in [2, 3] {
            let args = [("n_components".to_owned(), serde_json::json!(n_components))].into_iter().collect();
            let mut options = tlc_run::ReduceOptions::new([tlc_core::reducer_from_args("pca", args).expect("valid")]);
            options.delete_source_tables = Some(false);
            tlc_run::reduce_embeddings(&project, &url, &options, &tlc_core::Progress::default()).expect("reducible");
        }
        let scene = Scene::of_table_with_reductions(&project, &url).expect("readable");
        assert_eq!((scene.datasets.len(), scene.tables.len(), scene.tables[0].parts.len()), (1, 1, 2));
        assert_eq!(scene.datasets[0].foreign_table.as_ref(), Some(&url), "its rows, read from a reduction");
        assert_eq!(scene.rows_of_samples(0, &[2, 80]).expect("known"), [39, 0]);
        let reduced = scene.tables[0].parts[1].url.clone();
        let of_reduced = Scene::of_table_with_reductions(&project, &reduced).expect("readable");
        assert_eq!(of_reduced.datasets[0].foreign_table.as_ref(), Some(&reduced));
        assert!(scene.rows_of_samples(0, &[0]).is_err(), "a row's number is no name");
    }

    #[test]
    fn samples_of_a_described_table_are_its_row_numbers_whatever_it_calls_them() {
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"));
        let toys = toys(&project);
        let describing = |name: &str, ids: Option<Vec<Option<i64>>>, n: usize| {
            let mut foreign = number("input_table_id", vec![Some(0); n], NumberRole::ForeignTableId);
            foreign.field = foreign.field.with_value_map(&[(0, toys.to_string())].into());
            let ids = ids.map(|ids| number("example_id", ids, NumberRole::ExampleId));
            let url = table(&project, name, std::iter::once(foreign).chain(ids).collect());
            Scene::of_table(&project, &url)
        };
        let scene = describing("two", Some(vec![Some(2), Some(1)]), 2).expect("readable");
        assert_eq!(scene.datasets[0].foreign_table.as_ref(), Some(&toys));
        assert_eq!(scene.rows_of_samples(0, &[2, 1]).expect("rows of it"), [2, 1]);
        assert_eq!((text(&scene, 2), text(&scene, 7)), (Some("bus".to_owned()), None));
        assert!(scene.rows_of_samples(0, &[7]).is_err(), "it has three rows");

        let all = describing("all", None, 3).expect("readable");
        assert_eq!(all.datasets[0].foreign_table.as_ref(), Some(&toys), "as many rows, in their order");
        let some = describing("some", None, 2).expect("readable");
        assert_ne!(some.datasets[0].foreign_table.as_ref(), Some(&toys), "which rows is not known");
        let error = describing("null", Some(vec![Some(0), None]), 2).expect_err("row 1 is of nothing").to_string();
        assert!(error.contains("row 1 has no whole number in its column \"example_id\""), "{error}");
    }

    #[test]
    fn labels_without_names_in_the_table_that_is_described_are_classes_by_number() {
        let project = Project::new(Arc::new(MemoryStore::default()), "memory://p".parse().expect("a URL"));
        let things = table(&project, "things", vec![number("label", vec![Some(7), None, Some(3)], NumberRole::Label)]);
        let mut foreign = number("input_table_id", vec![Some(0); 3], NumberRole::ForeignTableId);
        foreign.field = foreign.field.with_value_map(&[(0, things.to_string())].into());
        let url = table(&project, "of-things", vec![foreign]);
        let scene = Scene::of_table(&project, &url).expect("readable");
        let label = scene.column("label").expect("it is shown");
        assert_eq!(label.classes.values().collect::<Vec<_>>(), ["3", "7"]);
        let classes = crate::Values::Category(vec![Some(1), None, Some(0)]);
        assert_eq!(scene.values(label, 0).expect("readable"), classes);
    }
}
