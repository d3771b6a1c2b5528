//! The functions on tables, what reductions are called, and their replay.

use std::sync::Arc;

use serde_json::{Map, json};
use tlc_core::{Reducer, StoreError, TableStore, Url, reducer_from_args};

use super::{Fixture, flip_a_bit, pca, progress};
use crate::{
    Project, ReduceOptions, RunError, UrlMapping, reduce_embeddings, reduce_embeddings_by_foreign_table_url,
    reduce_embeddings_multiple_parameters, reduce_embeddings_per_dataset, reduce_embeddings_with_producer_consumer,
    reductions_of,
};

/// The columns that a reduction made of `source`.
fn made(fixture: &Fixture, reduced: &Url) -> Vec<String> {
    let lineage = fixture.store.info(reduced).expect("there").lineage().expect("has lineage");
    lineage.models.into_keys().collect()
}

fn pca_with_seed(n_components: usize, seed: u64) -> Box<dyn Reducer> {
    let args = [("n_components".to_owned(), json!(n_components)), ("seed".to_owned(), json!(seed))];
    reducer_from_args("pca", args.into_iter().collect()).expect("valid")
}

#[test]
fn other_parameters_make_columns_of_other_names_and_the_same_parameters_of_the_same() {
    let fixture = Fixture::new();
    let (run, project) = (&fixture.run, fixture.run.project());
    let sources = [fixture.add(Some("train"), 0, 0), fixture.add(Some("val"), 0, 0)];
    let expected = [
        (pca_with_seed(2, 1), "embeddings_90_pca"),
        (pca_with_seed(2, 2), "embeddings_90_pca_2"),
        (pca_with_seed(3, 1), "embeddings_90_pca_3d"),
        (pca_with_seed(3, 2), "embeddings_90_pca_3"),
        (pca_with_seed(2, 2), "embeddings_90_pca_2"),
        (pca_with_seed(2, 1), "embeddings_90_pca"),
    ];
    for (reducer, name) in expected.clone() {
        let options = ReduceOptions { delete_source_tables: Some(false), ..ReduceOptions::new([reducer]) };
        let mapping = run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
        for source in &sources {
            assert_eq!(made(&fixture, mapping.get(source).expect("mapped")), [name], "of both models");
        }
    }
    // A table without a run, and one that has nothing to do with it.
    let (table, other) = (fixture.url("runs/r/metrics"), fixture.add(None, 0, 0));
    for (reducer, name) in expected {
        let options = ReduceOptions::new([reducer]);
        let reduced = reduce_embeddings(project, &sources[0], &options, &progress()).expect("reducible");
        assert_eq!((made(&fixture, &reduced), reduced.parent()), (vec![name.to_owned()], sources[0].parent()));
        project.replay_reduction(&reduced, &progress()).expect("the name is part of what was done");
    }
    let reduced = reduce_embeddings(project, &other, &ReduceOptions::new([pca_with_seed(2, 2)]), &progress());
    assert_eq!(made(&fixture, &reduced.expect("reducible")), ["embeddings_90_pca"]);
    let names = |source: &Url, folder: &Url| {
        let found = reductions_of(project, source, folder).expect("readable");
        found.iter().flat_map(|info| made(&fixture, &info.url)).collect::<Vec<_>>()
    };
    let made_once = ["pca", "pca_2", "pca_3d", "pca_3", "pca_2", "pca"].map(|name| format!("embeddings_90_{name}"));
    assert_eq!(names(&sources[0], &table), made_once, "oldest first");
    assert_eq!(names(&sources[1], &table), [""; 0]);
    assert_eq!(names(&sources[1], &fixture.url("runs/r/reduced")), made_once, "those of the run are elsewhere");
}

#[test]
fn free_functions_reduce_tables_beside_themselves() {
    let fixture = Fixture { says_foreign_table: true, ..Fixture::new() };
    let [old, new, other, alone] = [
        fixture.add(Some("train"), 0, 0),
        fixture.add(Some("train"), 1, 0),
        fixture.add(Some("val"), 0, 0),
        fixture.add(None, 0, 0),
    ];
    let project = fixture.run.project();
    let options = ReduceOptions::new([pca(2)]);
    let producer_of = |mapping: &UrlMapping, source: &Url| {
        let info = fixture.store.info(mapping.get(source).expect("mapped")).expect("there");
        assert_eq!(info.url.parent(), source.parent(), "beside its source");
        let lineage = info.lineage().expect("has lineage");
        lineage.inputs.last().expect("inputs").url.resolve(project.root()).expect("inside")
    };
    // In whatever order they are given, the most recently written is fitted on.
    let tables = [new.clone(), old.clone(), other.clone(), alone.clone()];
    let mapping = reduce_embeddings_per_dataset(project, &tables, &options, &progress()).expect("reducible");
    assert_eq!((mapping.len(), mapping.get(&alone)), (3, None));
    assert_eq!([&old, &new, &other].map(|url| producer_of(&mapping, url)), [&new, &new, &other].map(Clone::clone));
    let train = fixture.url("datasets/train.lance");
    let mapping = reduce_embeddings_by_foreign_table_url(project, &tables, &train, &options, &progress());
    let mapping = mapping.expect("reducible");
    assert!(tables.iter().all(|url| producer_of(&mapping, url) == new));
    let nope = fixture.url("datasets/nope.lance");
    let error = reduce_embeddings_by_foreign_table_url(project, &tables, &nope, &options, &progress());
    assert!(error.expect_err("no stream").to_string().starts_with("the selection has no tables with embeddings for"));
    let consumers = [old.clone(), other.clone()];
    let mapping = reduce_embeddings_with_producer_consumer(project, &alone, &consumers, &options, &progress());
    let mapping = mapping.expect("reducible");
    assert!(mapping.iter().map(|(source, _)| source).eq([&alone, &old, &other]), "the producer comes first");
    assert!(mapping.iter().all(|(source, _)| producer_of(&mapping, source) == alone));
    let several = reduce_embeddings_multiple_parameters(project, &old, [pca(2), pca(3)], &options, &progress());
    let several = fixture.batch(&several.expect("reducible"));
    assert!(several.column_by_name("embeddings_90_pca_2d").is_some());
    assert!(several.column_by_name("embeddings_90_pca_3d").is_some());
    assert!(tables.iter().all(|url| fixture.store.info(url).is_ok()), "sources stay unless asked");
    assert_eq!(fixture.run.metrics().expect("readable").len(), 4, "and runs know nothing of it");
    let deleting = ReduceOptions { delete_source_tables: Some(true), ..options };
    reduce_embeddings(project, &old, &deleting, &progress()).expect("reducible");
    assert!(fixture.store.info(&old).is_ok(), "a table that a run lists is not deleted");
}

#[test]
fn a_reduction_can_be_replayed_until_its_inputs_are_gone() {
    let fixture = Fixture::new();
    let sources = [fixture.add(Some("train"), 0, 3), fixture.add(Some("train"), 1, 1)];
    let project = fixture.run.project();
    let mut options = ReduceOptions::new([pca(3), pca(2)]);
    options.delete_source_tables = Some(false);
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
    for (_, reduced) in mapping.iter() {
        project.replay_reduction(reduced, &progress()).expect("the same bits");
    }
    let error = project.replay_reduction(&sources[0], &progress()).expect_err("not reduced").to_string();
    assert!(error.ends_with("it was made by collect/1, not by reduce/1"), "{error}");
    project.delete_table(&sources[1], true).expect("forced");
    let error = project.replay_reduction(mapping.get(&sources[0]).expect("mapped"), &progress());
    let error = error.expect_err("an input is gone").to_string();
    assert!(
        error.contains("its input runs/r/metrics/train-1-") && error.contains("is not there, deleted 20"),
        "{error}"
    );
}

#[test]
fn a_damaged_table_that_is_only_fitted_on_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let store = tlc_table::LanceStore::default();
    let project = Project::new(Arc::new(store.clone()), root);
    let run = project.create_run("r", Map::new()).expect("creatable");
    let fixture = Fixture { run, says_foreign_table: true, ..Fixture::new() };
    let (producer, other) = (fixture.add(Some("train"), 0, 0), fixture.add(Some("train"), 1, 0));
    let train = fixture.url("datasets/train.lance");
    let options = ReduceOptions { fit_table: Some(producer.clone()), ..ReduceOptions::new([pca(2)]) };
    let tables = std::slice::from_ref(&other);
    let reduce = || reduce_embeddings_by_foreign_table_url(&project, tables, &train, &options, &progress());
    let (file, sound) = flip_a_bit(&store, &producer);
    let failed = reduce().expect_err("damaged");
    assert!(matches!(&failed, RunError::Store(StoreError::Damaged { url, .. }) if *url == producer), "{failed}");
    std::fs::write(file, sound).expect("writable");
    reduce().expect("sound again");
}
