//! Projects that move, and data outside of them that has an alias.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::Map;
use tlc_core::{
    Column, FieldRoles, Filter, Lineage, MetricsSink, MetricsTable, NumberRole, Operation, Places, Progress, Url,
    reducer_from_args,
};
use tlc_reduce as _;
use tlc_table::{LanceStore, NewTable, Table};

use crate::{NodeState, Project, ReduceOptions, Run, RunError, reduce_embeddings};

const N_ROWS: usize = 40;

fn url(path: &Path) -> Url {
    Url::from_path(path).expect("an absolute path")
}

fn project_with_data(project: &Path, data: &Path) -> Project {
    let places = Places::new(url(project)).with_alias("DATA", url(data)).expect("an alias");
    Project::in_places(Arc::new(LanceStore::default()), places)
}

fn rows(width: usize) -> Vec<Column> {
    let ids = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let values = (0..N_ROWS * width).map(|i| (i as f32).sin()).collect();
    vec![
        Column { field: ids, values: Arc::new(Int64Array::from_iter_values(0..N_ROWS as i64)) },
        Column::embedding("e", width, values, NumberRole::NnEmbedding).expect("whole vectors"),
    ]
}

/// Collects what describes `foreign`, as the column says, too.
fn collect(run: &Run, foreign: &Table) -> Url {
    let describes = Field::new("input_table_id", DataType::Int64, false).with_role(NumberRole::ForeignTableId);
    let names = [(0, foreign.url().to_string())].into_iter().collect();
    let mut columns = rows(6);
    columns
        .push(Column { field: describes.with_value_map(&names), values: Arc::new(Int64Array::from(vec![0; N_ROWS])) });
    let (fields, values): (Vec<_>, Vec<_>) = columns.into_iter().map(|column| (column.field, column.values)).unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), values).expect("one length");
    let mut lineage = Lineage::new("test/1", Operation::new("collect", 1));
    lineage.inputs.push(foreign.info().as_input());
    let (name, foreign_table) = ("m".to_owned(), Some(foreign.url().clone()));
    let table = MetricsTable { name, foreign_table, constants: Map::new(), lineage };
    run.write_metrics(table, &schema, Box::new([Ok(batch)].into_iter())).expect("writable").url
}

#[test]
fn data_with_an_alias_is_found_on_every_machine() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let project = project_with_data(&here.path().join("p"), &here.path().join("data"));
    let folder = url(&here.path().join("data/toys"));
    let foreign = Table::from_columns(project.shared_store(), &folder, NewTable::new("train"), rows(2)).expect("new");
    let run = project.create_run("r", Map::new()).expect("creatable");
    let metrics = collect(&run, &foreign);
    let stored = format!("<DATA>/toys/{}", foreign.url().file_name());
    let record = std::fs::read_to_string(here.path().join("p/runs/r/run.json")).expect("readable");
    assert!(record.contains(&stored) && !record.contains(&here.path().display().to_string()), "{record}");
    let lineage = project.store().info(&metrics).expect("there").lineage().expect("has one");
    assert_eq!(lineage.inputs[0].url.to_string(), stored);

    let relative = metrics.relative_to(project.root());
    for name in ["p", "data"] {
        std::fs::rename(here.path().join(name), there.path().join(name)).expect("movable");
    }
    let project = project_with_data(&there.path().join("p"), &there.path().join("data"));
    let run = project.open_run("r").expect("there");
    let moved = url(&there.path().join("data/toys")).join(foreign.url().file_name()).expect("a name");
    assert_eq!(run.metrics().expect("readable")[0].foreign_table.as_ref(), Some(&moved));
    let table = project.root().join(&relative.to_string()).expect("a name");
    let graph = project.lineage_graph(&table).expect("known");
    assert_eq!((&graph.nodes[1].url, &graph.nodes[1].state), (&moved, &NodeState::Present));
    let table = Table::from_url(project.shared_store(), &table).expect("there");
    let joined = table.joined(project.places(), &["e".to_owned()]).expect("joinable").next().expect("one batch");
    assert!(joined.expect("readable").column_by_name("foreign_e").is_some());
    let options = ReduceOptions::new([reducer_from_args("pca", Map::new()).expect("known")]);
    let by_alias: Url = stored.parse().expect("a URL");
    let mapping = run.reduce_embeddings_by_foreign_table_url(&by_alias, &options, &Progress::default());
    assert_eq!(mapping.expect("reducible").len(), 1);

    let refused = project.delete_table(&by_alias, true).expect_err("only what is in the project is deleted");
    assert!(matches!(refused, RunError::Outside { .. }), "{refused}");
    let without = Project::new(project.shared_store(), project.root().clone());
    let run = without.open_run("r").expect("there");
    let entries = run.metrics().expect("a record is readable without its aliases");
    assert_eq!(entries[0].foreign_table.as_ref(), Some(&by_alias));
    let graph = without.lineage_graph(&entries[0].url).expect("known");
    assert_eq!(graph.nodes[0].state, NodeState::Present);
    assert!(graph.to_text(without.root()).contains("reduce "), "{graph:?}");
}

#[test]
fn a_source_outside_of_the_project_is_not_deleted_and_nothing_is_written_then() {
    let store = Arc::new(tlc_table::MemoryStore::default());
    let [root, data] = ["memory://m/p", "memory://m/data"].map(|url| url.parse::<Url>().expect("a URL"));
    let places = Places::new(root).with_alias("DATA", data.clone()).expect("an alias");
    let project = Project::in_places(store.clone(), places);
    let table = Table::from_columns(store, &data, NewTable::new("train"), rows(6)).expect("new");
    let mut options = ReduceOptions::new([reducer_from_args("pca", Map::new()).expect("known")]);
    options.delete_source_tables = Some(true);
    let refused = reduce_embeddings(&project, table.url(), &options, &Progress::default()).expect_err("refused");
    assert!(matches!(refused, RunError::Outside { .. }), "{refused}");
    assert_eq!(project.store().list_tables(&data).expect("listable"), [table.url().clone()], "nothing was written");
    assert_eq!(project.deletions().expect("readable"), []);
}

#[test]
fn what_is_made_of_a_table_outside_of_the_project_is_written_into_the_project() {
    let store = Arc::new(tlc_table::MemoryStore::default());
    let [root, data] = ["memory://m/p", "memory://m/data"].map(|url| url.parse::<Url>().expect("a URL"));
    let project = Project::new(store.clone(), root);
    let table = Table::from_columns(store, &data, NewTable::new("train"), rows(6)).expect("new");
    let options = ReduceOptions::new([reducer_from_args("pca", Map::new()).expect("known")]);
    let folder = project.root().join("datasets/from-outside").expect("a name");
    for _ in 0..2 {
        let reduced = reduce_embeddings(&project, table.url(), &options, &Progress::default()).expect("reducible");
        assert_eq!(reduced.parent(), Some(folder.clone()));
    }
    assert_eq!(
        project.store().list_tables(&data).expect("listable"),
        [table.url().clone()],
        "nothing was written there"
    );
    assert_eq!(project.store().list_folders(&data).expect("listable"), Vec::<String>::new());
    let models = project.store().list_folders(&folder.join("models").expect("a name")).expect("listable");
    assert_eq!(models.len(), 1, "the second reduction took the model of the first");
}

#[test]
fn lineage_follows_a_project_that_was_moved() {
    let (here, there) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let store = Arc::new(LanceStore::default());
    let folder = url(&here.path().join("p/datasets/toys"));
    let table = Table::from_columns(store.clone(), &folder, NewTable::new("train"), rows(2)).expect("new");
    let some = table.filtered(&Filter::lt("example_id", 7)).expect("derived");
    std::fs::rename(here.path().join("p"), there.path().join("p")).expect("movable");

    let project = Project::new(store, url(&there.path().join("p")));
    let datasets = project.root().join("datasets/toys").expect("a name");
    let [table, some] = [table, some].map(|table| datasets.join(table.url().file_name()).expect("a name"));
    let graph = project.lineage_graph(&some).expect("known");
    assert_eq!(graph.nodes.len(), 2);
    assert_eq!((&graph.nodes[1].url, &graph.nodes[1].state), (&table, &NodeState::Present));
    let lineage = project.store().info(&some).expect("there").lineage().expect("has one");
    let input = project.locate(&lineage.inputs[0]).expect("readable").expect("found by its identity");
    assert_eq!(input.url, table);
    let refused = project.delete_table(&table, false).expect_err("needed, whatever its URL was");
    assert!(refused.to_string().contains("was made from it"), "{refused}");
    project.delete_table(&table, true).expect("forced");
    let graph = project.lineage_graph(&some).expect("known");
    assert!(matches!(graph.nodes[1].state, NodeState::Deleted(_)), "{:?}", graph.nodes[1].state);
}
