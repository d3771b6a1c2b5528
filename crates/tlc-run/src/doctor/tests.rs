//! Projects that were damaged or left half done, on purpose.

use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema};
use serde_json::Map;
use tlc_core::{Lineage, MetricsSink, MetricsTable, Operation, Progress, TableStore, Url, WriteCondition};

use super::{DoctorOptions, Problem};
use crate::Project;

#[test]
fn a_finding_is_looked_at_again_before_anything_is_removed() {
    let project =
        Project::new(Arc::new(tlc_table::MemoryStore::default()), "memory://test/project".parse().expect("a URL"));
    let run = project.create_run("r", Map::new()).expect("creatable");
    let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
    let model = run.url().join("models/m").expect("a name");
    let reference = serde_json::json!({ "url": model, "digest": "sha256:0" });
    lineage.models.insert("id".into(), serde_json::from_value(reference).expect("a model"));
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let table = MetricsTable { name: "m".into(), foreign_table: None, constants: Map::new(), lineage };
    let url = run.write_metrics(table, &schema, Box::new(std::iter::empty())).expect("writable").url;
    let file = model.join("model.json").expect("a name");
    project.store().write_object(&file, b"{}", WriteCondition::Absent).expect("writable");
    // As others may have made of what was found some time ago.
    let now = DoctorOptions { least_age: Duration::ZERO, repair: true, ..DoctorOptions::default() };
    let r = || "r".to_owned();
    for problem in [
        Problem::UnlistedTable,
        Problem::UnfinishedTable,
        Problem::InterruptedDeletion { run: r() },
        Problem::MissingTable { run: r() },
    ] {
        project.put_right(&url, &problem, &now, &Progress::default()).expect("nothing to do");
        assert!(project.store().info(&url).is_ok(), "{problem}");
        assert_eq!(run.metrics().expect("readable").len(), 1, "{problem}");
    }
    project.put_right(&model, &Problem::UnusedModel, &now, &Progress::default()).expect("nothing to do");
    assert!(project.store().read_object(&file).is_ok(), "it is used");
}

#[test]
fn what_is_half_done_is_found_told_and_put_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Url::from_path(folder.path()).expect("an absolute path");
    let store = Arc::new(tlc_table::LanceStore::default());
    let project = Project::new(store.clone(), root.clone());
    let run = project.create_run("r", Map::new()).expect("creatable");
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let add = |name: &str| {
        let lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        let table = MetricsTable { name: name.into(), foreign_table: None, constants: Map::new(), lineage };
        run.write_metrics(table, &schema, Box::new(std::iter::empty())).expect("writable").url
    };
    let [whole, missing, doomed] = ["whole", "missing", "doomed"].map(add);
    let now = DoctorOptions { least_age: Duration::ZERO, ..DoctorOptions::default() };
    assert_eq!(project.doctor(&now, &Progress::default()).expect("sound"), []);

    store.delete(&missing).expect("deleted behind the run's back");
    let relative = doomed.relative_to(&root);
    run.update(|record| {
        record.metrics.retain(|entry| entry.url != relative);
        record.metrics[0].reduced_from = Some(relative.clone());
        record.to_delete.push(relative.clone());
    })
    .expect("as a kill leaves it");
    let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
    lineage.run = Some(run.url().relative_to(&root));
    let unlisted = run.url().join("reduced/x-01M85A000000000000000000000.lance").expect("a name");
    let empty = Box::new(std::iter::empty());
    store.create(&unlisted, Arc::new(lineage.write_into(&schema)), empty).expect("writable");
    let unfinished = run.url().join("metrics/y-01M85A000000000000000000000.lance").expect("a name");
    std::fs::create_dir_all(unfinished.to_path().expect("local").join("data")).expect("writable");
    let model = run.url().join("models/m-01M85A000000000000000000000").expect("a name");
    let file = model.join("model.json").expect("a name");
    store.write_object(&file, b"{}", WriteCondition::Absent).expect("writable");

    let found = project.doctor(&now, &Progress::default()).expect("readable");
    let problems: Vec<(Url, Problem)> = found.into_iter().map(|it| (it.url, it.problem)).collect();
    let expected = [
        (doomed.clone(), Problem::InterruptedDeletion { run: "r".into() }),
        (missing, Problem::MissingTable { run: "r".into() }),
        (unlisted.clone(), Problem::UnlistedTable),
        (unfinished, Problem::UnfinishedTable),
        (model, Problem::UnusedModel),
    ];
    assert_eq!(problems, expected);
    assert!(store.info(&unlisted).is_ok() && store.info(&doomed).is_ok(), "nothing was touched");
    let careful = project.doctor(&DoctorOptions::default(), &Progress::default()).expect("readable");
    assert!(careful.iter().all(|it| it.url != unlisted), "its writer may still be at work");

    let repairing = DoctorOptions { repair: true, ..now };
    project.doctor(&repairing, &Progress::default()).expect("repaired");
    assert_eq!(project.doctor(&repairing, &Progress::default()).expect("sound again"), []);
    let left: Vec<Url> = run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert!(left == std::slice::from_ref(&whole), "{left:?}");

    let versions = whole.to_path().expect("local").join("_versions");
    let mut files = std::fs::read_dir(versions).expect("there").map(|entry| entry.expect("readable").path());
    let manifest = files.find(|file| file.extension().is_some_and(|e| e == "manifest")).expect("a manifest");
    std::fs::write(&manifest, b"torn").expect("writable");
    let project = Project::new(Arc::new(tlc_table::LanceStore::default()), root);
    let looking = DoctorOptions { repair: false, ..repairing };
    let found = project.doctor(&looking, &Progress::default()).expect("readable");
    assert!(matches!(&found[..], [it] if matches!(it.problem, Problem::TornManifest(_))), "{found:?}");
    assert_eq!(std::fs::read(&manifest).expect("there"), b"torn", "nothing was touched");
    let found = project.doctor(&repairing, &Progress::default()).expect("readable");
    assert!(found.len() == 1 && found[0].is_repaired, "{found:?}");
    assert_eq!(project.doctor(&looking, &Progress::default()).expect("sound again"), []);

    let copy = whole.to_path().expect("local").join("_tlc_manifest");
    std::fs::write(&manifest, b"torn").expect("writable");
    std::fs::remove_dir_all(copy).expect("the copy is lost, too");
    let found = project.doctor(&repairing, &Progress::default()).expect("readable");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(matches!(found[0].problem, Problem::DamagedTable(_)) && !found[0].is_repaired, "{found:?}");
    assert!(project.delete_table(&whole, false).is_err(), "not without being told to");
    project.delete_table(&whole, true).expect("forced");
    assert!(!whole.to_path().expect("local").exists());
}
