//! What is deleted, and what stays, by whatever way it is reached and whatever happened to what is around it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde_json::Map;
use tempfile::TempDir;
use tlc_core::{Lineage, MetricsSink, MetricsTable, ModelRef, Operation, Progress, TableStore, Url};
use tlc_table::LanceStore;

use crate::{DoctorOptions, Finding, Problem, Project, Run, RunError};

struct Fixture {
    folder: TempDir,
    project: Project,
    run: Run,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root = Url::from_path(folder.path()).expect("an absolute path");
        let project = Project::new(Arc::new(LanceStore::default()), root);
        let run = project.create_run("r", Map::new()).expect("creatable");
        Self { folder, project, run }
    }

    fn url(&self, path: &str) -> Url {
        self.project.root().join(path).expect("a plain path")
    }

    fn rows() -> (Arc<Schema>, RecordBatch) {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let ids = Arc::new(Int64Array::from_iter_values(0..100));
        (schema.clone(), RecordBatch::try_new(schema, vec![ids]).expect("one column"))
    }

    fn lineage(&self, input: Option<&Url>) -> Lineage {
        let mut lineage = Lineage::new("test/1", Operation::new("made-up", 1));
        let input = input.map(|url| self.project.store().info(url).expect("there").as_input());
        lineage.inputs.extend(input);
        lineage
    }

    /// A table of the run, made from `input`.
    fn add(&self, name: &str, input: Option<&Url>) -> Url {
        self.add_with(name, self.lineage(input))
    }

    fn add_with(&self, name: &str, lineage: Lineage) -> Url {
        let (schema, rows) = Self::rows();
        let name = name.to_owned();
        let table = MetricsTable { name, foreign_table: None, constants: Map::new(), lineage };
        self.run.write_metrics(table, &schema, Box::new([Ok(rows)].into_iter())).expect("writable").url
    }

    /// A table of no run, made from `input`.
    fn derive(&self, input: Option<&Url>) -> Url {
        let (schema, rows) = Self::rows();
        let rows = Box::new([Ok(rows)].into_iter());
        self.project.create_table("toys", "t", &schema, &self.lineage(input), rows).expect("writable").url
    }

    /// Records that `successor` took the place of `source`, as a reduction does before it deletes.
    fn replace(&self, source: &Url, successor: &Url) {
        let [source, successor] = [source, successor].map(|url| url.relative_to(self.project.root()));
        let replace = |record: &mut crate::RunRecord| {
            record.metrics.retain(|entry| entry.url != source);
            let new = record.metrics.iter_mut().find(|entry| entry.url == successor).expect("listed");
            new.reduced_from = Some(source.clone());
            record.to_delete.push(source.clone());
        };
        self.run.update(replace).expect("recorded");
    }

    fn is_there(&self, url: &Url) -> bool {
        // A store of its own, which remembers nothing.
        LanceStore::default().info(url).is_ok()
    }

    fn repaired(&self) -> Vec<Finding> {
        let options = DoctorOptions { repair: true, least_age: std::time::Duration::ZERO, ..DoctorOptions::default() };
        self.project.doctor(&options, &Progress::default()).expect("looked through")
    }
}

fn path(url: &Url) -> std::path::PathBuf {
    url.to_path().expect("local")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("writable");
    for entry in fs::read_dir(from).expect("there") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("writable")),
        }
    }
}

/// Cuts the rows of a table short.
fn damage(table: &Url) {
    let data = fs::read_dir(path(table).join("data")).expect("there");
    data.for_each(|file| fs::write(file.expect("readable").path(), b"cut").expect("writable"));
}

/// Makes a table one that cannot be opened and not be put right.
fn make_unreadable(table: &Url) {
    let versions = fs::read_dir(path(table).join("_versions")).expect("there");
    versions.for_each(|file| fs::write(file.expect("readable").path(), b"torn").expect("writable"));
    fs::remove_dir_all(path(table).join("_tlc_manifest")).expect("a copy");
}

#[test]
fn what_was_replaced_stays_until_what_took_its_place_is_whole_and_nothing_needs_it() {
    let fixture = Fixture::new();
    let stays = |source: &Url, why: &str| {
        fixture.run.finish_deletions().expect("told in a warning");
        assert!(fixture.is_there(source), "{why}");
        let found = fixture.repaired();
        let finding = found.iter().find(|it| it.url == *source).expect("found");
        assert_eq!(finding.problem, Problem::InterruptedDeletion { run: "r".into() });
        let failure = finding.failure.as_deref().unwrap_or_default();
        assert!(!finding.is_repaired && failure.contains(why), "{failure}");
        assert!(fixture.is_there(source), "{why}");
        assert!(
            fixture.run.record().expect("readable").to_delete.contains(&source.relative_to(fixture.project.root()))
        );
    };
    let alone = fixture.add("alone", None);
    let relative = alone.relative_to(fixture.project.root());
    let forget = |record: &mut crate::RunRecord| {
        record.metrics.clear();
        record.to_delete.push(relative.clone());
    };
    fixture.run.update(forget).expect("recorded");
    stays(&alone, "no table of the run took its place");

    let source = fixture.add("source", None);
    let [cut, gone] = ["cut", "gone"].map(|name| fixture.add(name, Some(&source)));
    fixture.replace(&source, &cut);
    damage(&cut);
    stays(&source, "what took its place cannot be read back");

    let lost = fixture.add("lost", None);
    fixture.replace(&lost, &gone);
    fs::rename(path(&gone), fixture.folder.path().join("aside")).expect("movable");
    fixture.run.finish_deletions().expect("told in a warning");
    assert!(fixture.is_there(&lost), "what took its place is not there");

    let needed = fixture.add("needed", None);
    let whole = fixture.add("whole", Some(&needed));
    let derived = fixture.derive(Some(&needed));
    fixture.replace(&needed, &whole);
    stays(&needed, "was made from it");
    fixture.project.delete_table(&derived, false).expect("nothing needs it");
    fixture.run.finish_deletions().expect("finished");
    assert!(!fixture.is_there(&needed), "nothing needs it any more but what took its place");
    assert!(fixture.is_there(&whole) && fixture.is_there(&alone) && fixture.is_there(&source));
}

#[cfg(unix)]
#[test]
fn a_table_that_is_listed_is_none_that_was_left_by_whatever_way_it_is_reached() {
    let fixture = Fixture::new();
    let table = fixture.add("m", None);
    let below = table.relative_to(fixture.run.url()).to_string();
    let runs = fixture.folder.path().join("runs");
    std::os::unix::fs::symlink("r", runs.join("latest")).expect("a link");
    std::os::unix::fs::symlink(fixture.folder.path(), fixture.folder.path().join("again")).expect("a link");
    assert_eq!(fixture.repaired(), [], "by links");
    assert!(fixture.is_there(&table));
    let by_link = fixture.url("runs/latest").join(&below).expect("a path");
    let refused = fixture.project.delete_table(&by_link, false).expect_err("it is the run's table").to_string();
    assert!(refused.ends_with(": run \"r\" lists it"), "{refused}");
    fixture.project.delete_run("latest", false).expect("of a link, the link");
    assert_eq!(fixture.project.deletions().expect("readable"), [], "no table went with it");
    assert!(!runs.join("latest").exists() && fixture.is_there(&table));

    copy(&runs.join("r"), &runs.join("r-backup"));
    let in_backup = fixture.url("runs/r-backup").join(&below).expect("a path");
    assert_eq!(fixture.repaired(), [], "by a copy");
    assert!(fixture.is_there(&table) && fixture.is_there(&in_backup));

    std::os::unix::fs::symlink("r", runs.join("latest")).expect("a link");
    fixture.project.delete_table(&by_link, true).expect("forced");
    assert!(!fixture.is_there(&table) && fixture.is_there(&in_backup));
    let noted: Vec<Url> = fixture.project.deletions().expect("readable").into_iter().map(|note| note.url).collect();
    assert_eq!(noted, [table.relative_to(fixture.project.root())], "where the record lists it");
}

#[cfg(unix)]
#[test]
fn nothing_is_put_right_through_a_link_that_leads_out_of_the_project() {
    let (fixture, outside) = (Fixture::new(), tempfile::tempdir().expect("a folder"));
    let theirs = Url::from_path(&outside.path().join("t.lance")).expect("an absolute path");
    let (schema, rows) = Fixture::rows();
    LanceStore::default().create(&theirs, schema, Box::new([Ok(rows)].into_iter())).expect("writable");
    let mut manifests =
        fs::read_dir(path(&theirs).join("_versions")).expect("there").map(|it| it.expect("readable").path());
    let manifest = manifests.find(|file| file.extension().is_some_and(|e| e == "manifest")).expect("a manifest");
    fs::write(&manifest, b"torn").expect("writable");
    fs::create_dir(fixture.folder.path().join("datasets")).expect("writable");
    std::os::unix::fs::symlink(outside.path(), fixture.folder.path().join("datasets/linked")).expect("a link");
    let found = fixture.repaired();
    assert!(matches!(&found[..], [it] if matches!(it.problem, Problem::TornManifest(_))), "{found:?}");
    let failure = found[0].failure.as_deref().unwrap_or_default();
    assert!(!found[0].is_repaired && failure.contains("outside of the project"), "{failure}");
    assert_eq!(fs::read(&manifest).expect("there"), b"torn", "as it was");
}

#[test]
fn a_run_that_was_renamed_keeps_its_tables() {
    let fixture = Fixture::new();
    let model = "runs/r/models/m-01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let mut lineage = fixture.lineage(None);
    let reference = ModelRef { url: model.parse().expect("a URL"), digest: "sha256:0".into() };
    lineage.models.insert("id".into(), reference);
    let tables = [fixture.add_with("a", lineage), fixture.add("b", None)];
    fs::create_dir_all(fixture.folder.path().join(model)).expect("writable");
    let moved = fixture.url("runs/r2");
    let below = |url: &Url| moved.join(&url.relative_to(fixture.run.url()).to_string()).expect("a path");
    fs::rename(path(fixture.run.url()), path(&moved)).expect("movable");
    fixture.project.create_run("r", Map::new()).expect("the name is free");
    let new = fixture.add("new", None);
    let expected = tables.clone().map(|url| (url, Problem::MissingTable { run: "r2".into() }, true));
    let found: Vec<_> = fixture.repaired().into_iter().map(|it| (it.url, it.problem, it.is_repaired)).collect();
    assert_eq!(found, expected, "and of what is there nothing is needless");
    assert!(path(&moved).join("models/m-01ARZ3NDEKTSV4RRFFQ69G5FAV").is_dir());
    let run = fixture.project.open_run("r2").expect("there");
    let listed: Vec<Url> = run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert_eq!(listed, tables.each_ref().map(below), "the entries lead to where the tables are");
    assert!(listed.iter().chain([&new]).all(|url| fixture.is_there(url)));
    assert_eq!(fixture.repaired(), []);

    // One that cannot be read may be the one that is looked for.
    make_unreadable(&listed[0]);
    fs::rename(path(&listed[0]), path(&moved).join("aside.lance")).expect("movable");
    let found = fixture.repaired();
    let missing = found.iter().find(|it| it.url == listed[0]).expect("found");
    assert!(missing.failure.as_deref().is_some_and(|failure| failure.contains("cannot be read")), "{missing:?}");
    assert_eq!(run.metrics().expect("readable").len(), 2);
    fs::remove_dir_all(path(&moved).join("aside.lance")).expect("removable");
    fixture.repaired();
    assert_eq!(run.metrics().expect("readable").len(), 1, "it is nowhere");
}

#[test]
fn what_cannot_be_read_may_need_anything() {
    let fixture = Fixture::new();
    let [unneeded, damaged] = [fixture.derive(None), fixture.add("m", None)];
    make_unreadable(&damaged);
    let project = Project::new(Arc::new(LanceStore::default()), fixture.project.root().clone());
    let refused =
        project.delete_table(&unneeded, false).expect_err("the damaged table may be made from it").to_string();
    assert_eq!(refused, format!("cannot delete {unneeded}: {damaged} cannot be read, and may need it"));
    project.delete_table(&unneeded, true).expect("forced");
    // A record that the store fails to read is not one that is damaged.
    fs::create_dir_all(fixture.folder.path().join("runs/odd/run.json")).expect("writable");
    assert!(matches!(project.runs(), Err(RunError::Store(_))));
}

#[test]
fn a_run_stays_of_which_something_is_needed_elsewhere() {
    let fixture = Fixture::new();
    let table = fixture.add("m", None);
    fixture.add("goes-with-it", Some(&table));
    let derived = fixture.derive(Some(&table));
    let refused = fixture.project.delete_run("r", false).expect_err("needed").to_string();
    assert_eq!(refused, format!("cannot delete {}: {derived} was made from it", fixture.run.url()));
    assert_eq!(fixture.project.deletions().expect("readable"), []);
    fixture.project.delete_run("r", true).expect("forced");
    assert!(!fixture.is_there(&table) && fixture.is_there(&derived));
    assert_eq!(fixture.project.deletions().expect("readable").len(), 2);
}

#[test]
fn a_writer_that_takes_long_is_let_be() {
    const OLD: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let fixture = Fixture::new();
    let table = fixture.url(&format!("runs/r/metrics/m-{OLD}.lance"));
    let file = path(&table).join("data/rows.lance");
    fs::create_dir_all(path(&table).join("data")).expect("writable");
    fs::write(&file, b"some").expect("writable");
    let found = || fixture.project.doctor(&DoctorOptions::default(), &Progress::default()).expect("readable");
    assert_eq!(found(), [], "begun long ago, but written to just now");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for place in [&file, &path(&table).join("data"), &path(&table)] {
        fs::File::open(place).and_then(|file| file.set_modified(long_ago)).expect("ours");
    }
    assert_eq!(
        found().into_iter().map(|it| (it.url, it.problem)).collect::<Vec<_>>(),
        [(table, Problem::UnfinishedTable)]
    );
}

#[test]
fn what_a_stopped_deletion_left_is_found_and_removed() {
    let fixture = Fixture::new();
    let table = fixture.add("m", None);
    fixture.derive(None);
    let [run, table_left] =
        ["runs/r.deleted-01ARZ3NDEKTSV4RRFFQ69G5FAV", "datasets/toys/x.lance.deleted-01ARZ3NDEKTSV4RRFFQ69G5FAV"]
            .map(|name| fixture.url(name));
    copy(&path(fixture.run.url()), &path(&run));
    copy(&path(&table), &path(&table_left));
    // Of a record that was being written anew, long ago and at this moment.
    let record = fixture.url("runs/r/.run.json.deleted-01ARZ3NDEKTSV4RRFFQ69G5FAV");
    let at_work = fixture.url(&format!("runs/r/.run.json.deleted-{}", tlc_core::ulid::Ulid::generate()));
    for file in [&record, &at_work] {
        fs::write(path(file), b"{ \"schema\":").expect("writable");
    }
    let careful =
        fixture.project.doctor(&DoctorOptions { repair: true, ..DoctorOptions::default() }, &Progress::default());
    assert_eq!(careful.expect("readable"), [], "all was written to just now");
    fs::remove_file(path(&at_work)).expect("its writer is done");
    let found: Vec<_> = fixture.repaired().into_iter().map(|it| (it.url, it.problem, it.is_repaired)).collect();
    let expected = [&table_left, &run, &record].map(|url| (url.clone(), Problem::Leftover, true));
    assert_eq!(found, expected);
    assert!(Problem::Leftover.to_string().contains("the write of a small file, was stopped"));
    assert!(expected.iter().all(|(url, ..)| !path(url).exists()) && fixture.is_there(&table));
    assert!(fixture.run.record().is_ok(), "the record itself is whole");
    assert_eq!(fixture.repaired(), []);
}

#[test]
fn what_cannot_be_put_right_holds_nothing_back() {
    let fixture = Fixture::new();
    let whole = fixture.add("m", None);
    let outside: Url = "file:///elsewhere/x.lance".parse().expect("a URL");
    let hostile = |record: &mut crate::RunRecord| {
        let entry = record.metrics[0].clone();
        record.metrics.push(crate::MetricsEntry { url: outside.clone(), ..entry });
        record.to_delete.push(outside.clone());
    };
    fixture.run.update(hostile).expect("recorded");
    let unfinished = fixture.url("runs/r/metrics/y-01ARZ3NDEKTSV4RRFFQ69G5FAV.lance");
    fs::create_dir_all(path(&unfinished)).expect("writable");
    let found: Vec<_> = fixture.repaired().into_iter().map(|it| (it.url, it.problem, it.is_repaired)).collect();
    let is_outside = || (outside.clone(), Problem::Outside { run: "r".into() }, false);
    assert_eq!(found, [is_outside(), is_outside(), (unfinished.clone(), Problem::UnfinishedTable, true)]);
    assert!(!path(&unfinished).exists() && fixture.is_there(&whole));
}
