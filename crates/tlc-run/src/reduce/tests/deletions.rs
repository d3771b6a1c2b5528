//! Which sources are deleted and which stay, and what is known of those that are gone.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use tlc_core::{Lineage, Operation, TableStore, Url, WriteCondition};

use super::{Fixture, N_ROWS, pca, progress};
use crate::{ReduceOptions, RunError, reduce_embeddings};

#[test]
fn what_is_needed_is_not_deleted_and_what_was_deleted_is_explained() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let project = fixture.run.project();
    let error = project.delete_table(&source, false).expect_err("a run lists it").to_string();
    assert_eq!(error, format!("cannot delete {source}: run \"r\" lists it"));
    let mapping = fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress());
    let mapping = mapping.expect("reducible");
    let reduced = mapping.get(&source).expect("mapped");
    let deletion = &project.deletions().expect("readable")[0];
    assert_eq!(deletion.url, source.relative_to(project.root()));
    assert_eq!(deletion.replaced_by, [reduced.relative_to(project.root())]);
    assert!(deletion.by.contains("tlc-run/") && deletion.rows == N_ROWS as u64);

    let graph = project.lineage_graph(reduced).expect("known");
    assert_eq!(graph.nodes.len(), 2);
    assert_eq!(graph.nodes[1].state, crate::NodeState::Deleted(deletion.clone()));
    let text = graph.to_text(project.root());
    assert!(
        text.contains("reduce ") && text.contains("(deleted 20") && text.contains(", replaced by runs/r/reduced/"),
        "{text}"
    );
    let dot = graph.to_dot(project.root());
    assert!(dot.contains("t1 -> t0 [label=\"reduce\"]") && dot.contains("style=dashed"), "{dot}");
    let events = graph.to_open_lineage(project.root());
    assert_eq!(events.len(), 2, "how the deleted table was made is not known any more");
    let field = &events[1]["outputs"][0]["facets"]["columnLineage"]["fields"]["embeddings_90_pca"]["inputFields"][0];
    assert_eq!((&field["field"], &field["name"]), (&json!("embeddings_90"), &json!(deletion.url.to_string())));
    // A table that is gone can be asked for as well.
    assert!(matches!(project.lineage_graph(&source).expect("known").nodes[0].state, crate::NodeState::Deleted(_)));
    let never = project.lineage_graph(&fixture.url("runs/r/metrics/never.lance")).expect_err("unknown");
    assert!(matches!(never, RunError::Store(tlc_core::StoreError::NotFound { .. })), "{never:?}");
}

#[test]
fn a_source_that_something_else_was_made_from_stays() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let mut options = ReduceOptions::new([pca(2)]);
    let project = fixture.run.project();
    let kept = reduce_embeddings(project, &source, &options, &progress()).expect("reducible");
    options.reductions = vec![pca(3).into()];
    let mapping = fixture.run.reduce_embeddings_per_dataset(&options, &progress()).expect("reducible");
    assert!(fixture.store.info(&source).is_ok(), "{kept} was made from it");
    let urls: Vec<Url> = fixture.run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert_eq!(urls, [source.clone(), mapping.get(&source).expect("mapped").clone()], "and stays in the record");
}

#[test]
fn a_source_stays_while_something_cannot_be_read_that_may_need_it() {
    let fixture = Fixture::new();
    let source = fixture.add(Some("train"), 0, 0);
    let record = fixture.url("runs/torn/run.json");
    fixture.store.write_object(&record, b"{\"schema\": ", WriteCondition::Absent).expect("writable");
    let mapping = fixture.run.reduce_embeddings_per_dataset(&ReduceOptions::new([pca(2)]), &progress());
    let mapping = mapping.expect("reducible");
    assert!(fixture.store.info(&source).is_ok(), "the torn record may list it");
    let urls: Vec<Url> = fixture.run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert_eq!(urls, [source.clone(), mapping.get(&source).expect("mapped").clone()], "and stays in the record");
    let refused = fixture.run.project().delete_run("r", false).expect_err("it may need something").to_string();
    assert!(refused.ends_with("/runs/torn cannot be read, and may need it"), "{refused}");
    fixture.run.project().delete_run("torn", false).expect("what it needs goes with it");
    fixture.run.project().delete_run("r", false).expect("nothing needs it");
}

#[test]
fn hostile_lineage_ends_and_leads_nowhere() {
    let fixture = Fixture::new();
    let project = fixture.run.project();
    let [a, b] = ["a", "b"].map(|name| fixture.url(&format!("datasets/d/{name}.lance")));
    let make = |url: &Url, inputs: &[&str]| {
        let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        for input in inputs {
            let url = input.parse().expect("a URL");
            lineage.inputs.push(tlc_core::LineageInput { url, version: 1, table_id: None, rows: 1, digest: None });
        }
        let schema = Arc::new(lineage.write_into(&Schema::new(vec![Field::new("id", DataType::Int64, false)])));
        fixture.store.create(url, schema, Box::new(std::iter::empty())).expect("a table");
    };
    make(&a, &["datasets/d/b.lance", "memory://elsewhere/secret.lance", "s3://bucket/x.lance"]);
    make(&b, &["datasets/d/a.lance", "datasets/d/b.lance"]);
    let graph = project.lineage_graph(&a).expect("it ends");
    let states: Vec<_> = graph.nodes.iter().map(|node| node.state.clone()).collect();
    use crate::NodeState::{Outside, Present};
    assert_eq!(states, [Present, Present, Outside, Outside]);
    assert!(graph.to_text(project.root()).contains("datasets/d/a.lance (above)"));
    let many: Vec<String> = (0..12_000).map(|i| format!("datasets/d/x{i}.lance")).collect();
    let c = fixture.url("datasets/d/c.lance");
    make(&c, &many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(project.lineage_graph(&c).expect("it ends").nodes.len(), 10_000, "no more are shown");
    assert!(matches!(
        project.delete_table(&"memory://elsewhere/x.lance".parse().expect("a URL"), true),
        Err(RunError::Outside { .. })
    ));
}

#[test]
fn an_interrupted_deletion_is_finished() {
    let fixture = Fixture::new();
    let doomed = fixture.add(Some("train"), 0, 0);
    fixture.add(Some("train"), 1, 0);
    let relative = doomed.relative_to(fixture.run.project().root());
    fixture
        .run
        .update(|record| {
            record.metrics.remove(0);
            record.metrics[0].reduced_from = Some(relative.clone());
            record.to_delete = vec![relative.clone(), "runs/r/metrics/gone.lance".parse().expect("a URL")];
        })
        .expect("updated");
    fixture.run.finish_deletions().expect("finished");
    assert!(fixture.store.info(&doomed).is_err());
    assert!(fixture.run.record().expect("readable").to_delete.is_empty());
    let outside: Url = "memory://other/table.lance".parse().expect("a URL");
    fixture.run.update(|record| record.to_delete = vec![outside.clone()]).expect("updated");
    let error = fixture.run.finish_deletions().expect_err("never outside of the project").to_string();
    assert!(error.contains("outside of the project"), "{error}");
}
