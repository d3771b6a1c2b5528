//! Records of runs and tables of samples, also by several writers at once.

use std::sync::Arc;

use serde_json::{Map, json};
use tlc_core::{Column, Url};
use tlc_table::MemoryStore;

use super::Fixture;
use crate::{Project, RunStatus};

#[test]
fn writers_at_once_lose_nothing() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let fixture = &fixture;
            scope.spawn(move || (0..5).for_each(|epoch| drop(fixture.add(Some(&format!("d{writer}")), epoch, 0))));
        }
    });
    assert_eq!(fixture.run.metrics().expect("readable").len(), 20);
}

#[test]
fn runs_are_listed_opened_and_deleted_by_name() {
    let fixture = Fixture::new();
    let project = fixture.run.project();
    assert_eq!(project.create_run("r", Map::new()).expect("creatable").name(), "r-2");
    assert_eq!(project.run_names().expect("listable"), ["r", "r-2"]);
    fixture.run.set_status(RunStatus::Completed).expect("recorded");
    assert_eq!(project.open_run("r").expect("there").record().expect("readable").status, RunStatus::Completed);
    let table = fixture.add(Some("train"), 0, 0);
    project.delete_run("r-2", false).expect("deletable");
    assert_eq!(project.deletions().expect("readable"), [], "it had no tables");
    let error = project.open_run("r-2").expect_err("deleted").to_string();
    assert_eq!(error, "project memory://test/project has no run \"r-2\"; its runs are r");
    project.delete_run("r", false).expect("deletable");
    let notes = project.deletions().expect("readable");
    assert_eq!(notes.iter().map(|note| &note.url).collect::<Vec<_>>(), [&table.relative_to(project.root())]);
    let error = project.create_run("../x", Map::new()).expect_err("refused").to_string();
    assert!(
        error.starts_with("run name \"../x\" is not usable: use letters, digits, '.', '_' and '-', not"),
        "{error}"
    );
}

#[test]
fn samples_are_one_table_for_all_who_have_them_and_another_when_they_change() {
    let project = Project::new(Arc::new(MemoryStore::default()), "memory://test/project".parse().expect("a URL"));
    let table = |name: &str, values: [i64; 3], classes: [&str; 2]| {
        project.table_from_columns("pets", name, vec![Column::labels("label", values, classes)]).expect("writable").url
    };
    let urls: Vec<Url> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| table("train", [0, 1, 1], ["cat", "dog"]))).collect();
        writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
    });
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    let others = [
        table("train", [0, 1, 0], ["cat", "dog"]),
        table("train", [0, 1, 1], ["cat", "cow"]),
        table("val", [0, 1, 1], ["cat", "dog"]),
    ];
    assert!(others.iter().all(|url| *url != urls[0]), "other values, other names of classes, another name");
    let tables = project.store().list_tables(&project.root().join("datasets/pets").expect("plain")).expect("listable");
    assert_eq!(tables.len(), 4, "what writers at once made too much is gone");
    let error = project.table_from_columns("pets", "train", vec![]).expect_err("refused").to_string();
    assert!(error.contains("cannot make the table \"train\": it has no columns"), "{error}");
}

#[test]
fn parameters_become_known_later_and_lose_nobody_elses() {
    let fixture = Fixture::new();
    fixture.run.set_parameter("learning_rate", 0.1).expect("recorded");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let run = &fixture.run;
            scope.spawn(move || run.set_parameter(&format!("worker-{writer}"), writer).expect("recorded"));
        }
    });
    fixture.run.set_parameter("learning_rate", 0.01).expect("recorded");
    let parameters = fixture.run.record().expect("readable").parameters;
    let expected = json!({ "learning_rate": 0.01, "worker-0": 0, "worker-1": 1, "worker-2": 2, "worker-3": 3 });
    assert_eq!(serde_json::Value::from(parameters), expected);
}
