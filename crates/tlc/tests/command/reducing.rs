//! `tlc reduce`: what the method is told, and tables of no run.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc::core::{Column, NumberRole, TableStore, Url, embedding_width};
use tlc::run::reductions_of;
use tlc::table::LanceStore;

use super::faults::{run_with_embeddings, urls};
use super::{output, project, tlc};

#[test]
fn components_and_seed_have_options_of_their_own_that_contradict_no_argument() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let run = run_with_embeddings(&project, "r");
    let reduce = |more: &[&str]| {
        let mut command = tlc();
        command.args(["reduce", "r", "--method", "pca", "--keep-source-tables"]).args(more);
        command.arg("--project").arg(folder.path());
        output(command)
    };
    for (args, expected) in [
        (["--components", "3"], "--components is 3 and --args says that n_components is 2; leave one of them out"),
        (["--seed", "8"], "--seed is 8 and --args says that seed is 7; leave one of them out"),
    ] {
        let (refused, _, stderr) = reduce(&[&args[..], &["--args", r#"{"n_components": 2, "seed": 7}"#]].concat());
        assert!(refused.status.code() == Some(1) && stderr.contains(expected), "{stderr}");
    }
    let (refused, _, stderr) = reduce(&["--components", "0"]);
    assert!(refused.status.code() == Some(1) && stderr.contains("n_components is 0"), "{stderr}");
    assert_eq!(urls(&run).len(), 3, "nothing was made");

    let (reduced, stdout, stderr) = reduce(&["--components", "3", "--seed", "7"]);
    assert!(reduced.status.success(), "{stdout}{stderr}");
    for url in &urls(&run)[3..] {
        let info = project.store().info(url).expect("there");
        let width = embedding_width(info.schema.field_with_name("embeddings_pca").expect("reduced"));
        assert_eq!(width, Some(3));
        let operation = info.lineage().expect("has lineage").operation;
        let args = serde_json::to_string(&operation.args).expect("plain data");
        assert!(args.contains(r#""n_components":3"#) && args.contains(r#""seed":7"#), "{args}");
    }
    assert_eq!(urls(&run).len(), 6);
}

/// A table that says neither where it comes from nor what its columns are, as other programs write them.
fn foreign_table(folder: &Path, name: &str, first: usize) -> Url {
    let values = (0..40 * 8).map(|i| ((8 * first + i) as f32).sin()).collect();
    let vectors = Column::embedding("vector", 8, values, NumberRole::NnEmbedding).expect("whole vectors");
    let without_role = Field::new("vector", vectors.field.data_type().clone(), true);
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false), without_role]));
    let ids = Arc::new(Int64Array::from_iter_values(0..40));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids, vectors.values]).expect("one length");
    let url = Url::from_path(&folder.join(name)).expect("an absolute path");
    LanceStore::default().create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    url
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn tables_of_another_program_are_reduced_into_the_project_and_stay_as_they_are() {
    let (here, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let tables = [foreign_table(theirs.path(), "a.lance", 0), foreign_table(theirs.path(), "b.lance", 7)];
    let [a, b] = tables.clone().map(|url| url.to_path().expect("local").display().to_string());
    let reduce = |args: &[&str]| {
        let mut command = tlc();
        command.args(["reduce", "--method", "pca"]).args(args).current_dir(here.path());
        let (result, stdout, stderr) = output(command);
        (result.status.code(), stdout, stderr)
    };
    for args in [&["--seed", "1"][..], &["r", "--table", &a], &["--table", &a, "--foreign-table", &b]] {
        assert_eq!(reduce(args).0, Some(2), "{args:?}: a run or tables");
    }
    let (code, _, stderr) = reduce(&["--table", &a, "--project", "p"]);
    assert!(code == Some(1) && stderr.starts_with("error: --column names the column of vectors"), "{stderr}");
    assert!(stderr.contains("name one of id, vector"), "{stderr}");
    let (code, _, stderr) = reduce(&["--table", &a, "--column", "nope", "--project", "p"]);
    assert!(code == Some(1) && stderr.contains("its columns are id, vector"), "{stderr}");

    let both = ["--table", &a, "--table", &b, "--column", "vector", "--components", "3", "--project", "p"];
    let (code, stdout, stderr) = reduce(&both);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stdout.ends_with("layouts: vector_pca\n"), "{stdout}");
    let project = project(&here.path().join("p"));
    let folder = project.root().join("datasets/from-outside").expect("a name");
    for table in &tables {
        let made = reductions_of(&project, table, &folder).expect("readable");
        assert_eq!(made.len(), 1, "{table}");
        assert!(stdout.contains(&format!("  {table}\n    -> {}\n", made[0].url)), "{stdout}");
        let lineage = made[0].lineage().expect("has lineage");
        assert_eq!(lineage.inputs.last().map(|input| &input.url), Some(&tables[0]), "the first is fitted on");
        assert_eq!(made[0].schema.field(0).name(), "id");
        assert!(project.store().info(table).is_ok(), "it stays");
    }
    assert_eq!(names_in(theirs.path()), ["a.lance", "b.lance"], "nothing was written there");

    // Where no project is named, into the usual one.
    let (code, stdout, stderr) = reduce(&["--table", &b, "--column", "vector"]);
    assert!(code == Some(0) && stdout.contains("/tlc-demo/datasets/from-outside/b-"), "{stdout}{stderr}");
}

#[test]
fn a_table_of_the_project_is_reduced_beside_itself_and_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(&folder.path().join("p"));
    let run = run_with_embeddings(&project, "r");
    let source = urls(&run).remove(0);
    let mut command = tlc();
    command.args(["reduce", "--method", "pca", "--table"]).arg(source.to_path().expect("local"));
    command.current_dir(folder.path());
    let (reduced, stdout, stderr) = output(command);
    assert!(reduced.status.success() && stdout.ends_with("layouts: embeddings_pca\n"), "{stdout}{stderr}");
    let beside = source.parent().expect("a folder");
    assert_eq!(reductions_of(&project, &source, &beside).expect("readable").len(), 1);
    assert!(project.store().info(&source).is_ok() && urls(&run).len() == 3, "the run knows nothing of it");
    assert_eq!(names_in(folder.path()), ["p"], "the project above the table is the one");
}
