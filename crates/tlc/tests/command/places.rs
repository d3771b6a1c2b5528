//! Projects that cannot be written, links that lead out of them, and other spellings of a place.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tlc::core::{Column, Progress};
use tlc::run::{ReduceOptions, RunError, reduce_embeddings};
use tlc::table::{NewTable, Table};

use super::faults::{check_tables, run_with_embeddings, urls};
use super::{output, project, run_in, tlc};

/// A folder that nobody can write, not even root.
struct ReadOnly {
    folder: PathBuf,
}

impl ReadOnly {
    /// Mounts a folder over itself; `None` where that is not permitted.
    fn mount(folder: &Path) -> Option<Self> {
        let mount = |options: &[&str]| {
            let mut command = Command::new("mount");
            command.args(options).arg(folder).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        let own = folder.to_str().expect("a temporary folder's name is text");
        if !mount(&["--bind", own]) {
            return None;
        }
        let mounted = Self { folder: folder.to_owned() };
        let is_read_only = mount(&["-o", "remount,ro,bind"]) && fs::write(folder.join("try"), b"").is_err();
        is_read_only.then_some(mounted)
    }
}

impl Drop for ReadOnly {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}

#[test]
fn a_read_only_project_can_be_looked_at_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(&folder.path().join("p"));
    let run = run_with_embeddings(&project, "r");
    let record = fs::read(folder.path().join("p/runs/r/run.json")).expect("readable");
    fs::write(folder.path().join("rows.csv"), "id,value\n1,2.5\n").expect("writable");
    let tables = urls(&run);
    let table = tables[0].to_path().expect("local").display().to_string();
    let Some(mounted) = ReadOnly::mount(&folder.path().join("p")) else {
        return; // Only root can mount, and permissions do not stop root.
    };
    let run_here = |args: &[&str]| run_in(folder.path(), args);
    for args in [
        &["ls", "p"][..],
        &["runs", "r", "--project", "p"],
        &["show", &table],
        &["lineage", &table],
        &["doctor", "p"],
        &["doctor", "p", "--repair"],
    ] {
        let (code, stdout, stderr) = run_here(args);
        assert!(code == Some(0) && !stdout.is_empty(), "{args:?}: {stdout}{stderr}");
    }
    for args in [
        &["import", "rows.csv", "--dataset", "d", "--project", "p"][..],
        &["reduce", "r", "--method", "pca", "--project", "p"],
        &["rm", &table, "--force"],
        &["remove-run", "r", "--project", "p"],
    ] {
        let (code, _, stderr) = run_here(args);
        assert!(code == Some(1) && stderr.starts_with("error: cannot "), "{args:?}: {stderr}");
        assert!(stderr.contains("Read-only file system"), "{args:?}: {stderr}");
    }
    drop(mounted);
    assert_eq!(fs::read(folder.path().join("p/runs/r/run.json")).expect("readable"), record);
    assert_eq!(urls(&run), tables);
    check_tables(&project);
}

#[test]
fn nothing_is_deleted_through_a_link_that_leads_out_of_the_project() {
    let (inside, outside) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let project = project(&inside.path().join("p"));
    run_with_embeddings(&project, "r");
    let elsewhere = tlc::core::Url::from_path(outside.path()).expect("an absolute path");
    let columns = vec![Column::texts("name", ["a", "b"]).expect("short")];
    let theirs = Table::from_columns(project.shared_store(), &elsewhere, NewTable::new("t"), columns).expect("new");
    fs::create_dir_all(inside.path().join("p/datasets")).expect("writable");
    for link in ["p/datasets/linked", "p/runs/linked"] {
        std::os::unix::fs::symlink(outside.path(), inside.path().join(link)).expect("a link");
    }
    let linked = project.root().join("datasets/linked").and_then(|folder| folder.join(theirs.url().file_name()));
    let linked = linked.expect("a name");
    assert_eq!(project.store().info(&linked).expect("links are followed to read").rows, 2);
    let refused = project.delete_table(&linked, true).expect_err("but not to delete");
    assert!(matches!(refused, RunError::Outside { .. }), "{refused}");
    let path = linked.to_path().expect("local").display().to_string();
    let (code, _, stderr) = run_in(inside.path(), &["rm", &path, "--force"]);
    assert!(code == Some(1) && stderr.contains("outside of the project"), "{stderr}");
    assert_eq!(project.deletions().expect("readable"), [], "what stays is not noted");
    // Of a link, the link itself goes.
    let (code, _, stderr) = run_in(inside.path(), &["remove-run", "linked", "--project", "p"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(fs::symlink_metadata(inside.path().join("p/runs/linked")).is_err());
    assert_eq!(project.deletions().expect("readable"), [], "no table went with it");
    assert_eq!(Table::from_url(project.shared_store(), theirs.url()).expect("untouched").rows(), 2);
    check_tables(&project);
}

#[test]
fn the_doctor_tells_what_it_put_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(&folder.path().join("p"));
    run_with_embeddings(&project, "r");
    let left = folder.path().join("p/runs/gone.deleted-01ARZ3NDEKTSV4RRFFQ69G5FAV");
    fs::create_dir(&left).expect("writable");
    let (code, stdout, _) = run_in(folder.path(), &["doctor", "p", "--repair"]);
    assert!(code == Some(0) && stdout.contains("nothing is wrong") && left.exists(), "of this moment: {stdout}");
    let record = folder.path().join("p/runs/r/.run.json.deleted-01ARZ3NDEKTSV4RRFFQ69G5FAV");
    fs::write(&record, b"{").expect("writable");
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    for left in [&left, &record] {
        fs::File::open(left).and_then(|file| file.set_modified(long_ago)).expect("ours");
    }
    let (code, stdout, stderr) = run_in(folder.path(), &["doctor", "p"]);
    assert!(code == Some(1) && left.exists() && record.exists(), "{stdout}{stderr}");
    assert!(
        stderr.contains("2 findings; --repair") && stdout.contains("the write of a small file"),
        "{stdout}{stderr}"
    );
    let (code, stdout, stderr) = run_in(folder.path(), &["doctor", "p", "--repair"]);
    assert!(code == Some(0) && !left.exists() && !record.exists(), "{stdout}{stderr}");
    assert!(stdout.contains("(put right)") && stdout.contains("2 findings, all put right"), "{stdout}");
    assert!(!stdout.contains("nothing is wrong"), "{stdout}");
    let (code, stdout, _) = run_in(folder.path(), &["doctor", "p"]);
    assert!(code == Some(0) && stdout.contains("nothing is wrong"), "{stdout}");
}

#[test]
fn other_spellings_of_a_place_are_that_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(&folder.path().join("p"));
    let run = run_with_embeddings(&project, "r");
    let table = &urls(&run)[0];
    let name = table.file_name();
    for spelling in [
        format!("p/runs/../runs/r/./metrics//{name}"),
        format!("{}/p/runs/r/../r/metrics/{name}/", folder.path().display()),
        format!("file://{}/p/runs/r/metrics/{name}", folder.path().display()),
    ] {
        let (code, stdout, stderr) = run_in(folder.path(), &["show", &spelling]);
        assert!(code == Some(0) && stdout.starts_with(&table.to_string()), "{spelling}: {stdout}{stderr}");
    }
    let (code, _, stderr) = run_in(folder.path(), &["rm", "../../../../../../../../etc/passwd", "--project", "p"]);
    assert!(code == Some(1) && stderr.starts_with("error: "), "{stderr}");
    let (code, _, stderr) = run_in(folder.path(), &["show", "<NONE>/x.lance", "--project", "p"]);
    assert!(code == Some(1) && stderr.contains("set TLC_ALIAS_NONE to its folder"), "{stderr}");
    let mut by_alias = tlc();
    by_alias.args(["show", &format!("<RUN>/metrics/{name}"), "--project", "p"]).current_dir(folder.path());
    by_alias.env("TLC_ALIAS_RUN", folder.path().join("p/runs/r"));
    let (result, stdout, stderr) = output(by_alias);
    assert!(result.status.success() && stdout.starts_with(&table.to_string()), "{stdout}{stderr}");
}

#[test]
fn an_import_stays_in_the_folder_of_its_dataset() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rows.csv"), "id,value\n1,2.5\n").expect("writable");
    for dataset in ["../runs/x", "../../elsewhere", "rows.lance"] {
        let (code, _, stderr) = run_in(folder.path(), &["import", "rows.csv", "--dataset", dataset, "--project", "p"]);
        assert!(code == Some(1) && stderr.starts_with("error: dataset name "), "{dataset}: {stderr}");
        assert!(!folder.path().join("p").exists() && !folder.path().join("elsewhere").exists(), "{dataset}");
    }
    let (code, stdout, stderr) = run_in(folder.path(), &["import", "rows.csv", "--dataset", "rows", "--project", "p"]);
    assert!(code == Some(0) && stdout.contains("/p/datasets/rows/rows-"), "{stdout}{stderr}");
}

#[test]
fn a_reduction_leaves_nothing_where_it_cannot_be_seen_what_needs_its_source() {
    let folder = tempfile::tempdir().expect("a folder");
    let (project, root) = (project(folder.path()), folder.path());
    run_with_embeddings(&project, "r");
    fs::create_dir(root.join("datasets")).expect("writable");
    fs::rename(root.join("runs/r/metrics"), root.join("datasets/toys")).expect("one disk");
    // What is no folder cannot be listed.
    fs::remove_dir_all(root.join("runs")).expect("ours");
    fs::write(root.join("runs"), b"").expect("writable");
    let toys = project.dataset_folder("toys").expect("a name");
    let tables = project.store().list_tables(&toys).expect("listable");
    let mut options = ReduceOptions::new([tlc::create_reducer("pca", []).expect("known")]);
    options.delete_source_tables = Some(true);
    let error = reduce_embeddings(&project, &tables[0], &options, &Progress::default()).expect_err("no folder");
    assert!(error.to_string().contains("runs"), "{error}");
    assert_eq!(project.store().list_tables(&toys).expect("listable"), tables);
    let models = toys.join("models").expect("a name");
    assert_eq!(project.store().list_folders(&models).expect("listable"), Vec::<String>::new());
}

#[test]
fn what_is_looked_at_may_lie_below_an_alias_or_in_the_project() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(&folder.path().join("p"));
    let run = run_with_embeddings(&project, "r");
    let name = urls(&run)[0].file_name().to_owned();
    fs::write(folder.path().join("points.csv"), "x,y\n1,2.5\n3,4\n").expect("writable");
    let run_there = |args: &[&str]| {
        let mut command = tlc();
        command.args(args).args(["--project", "p"]).current_dir(folder.path());
        command.env("TLC_ALIAS_DATA", folder.path().join("p/runs/r")).env("TLC_ALIAS_FILES", folder.path());
        let (result, stdout, stderr) = output(command);
        (result.status.code(), stdout, stderr)
    };
    for place in [format!("<DATA>/metrics/{name}"), format!("runs/r/metrics/{name}")] {
        let (code, stdout, stderr) = run_there(&["select", "--table", &place, "--where", "example_id < 3"]);
        assert!(code == Some(0) && stdout.lines().count() == 4, "{place}: {stdout}{stderr}");
        let file = folder.path().join("rows.csv").display().to_string();
        let (code, stdout, stderr) = run_there(&["select", &place, "--where", "example_id < 3", "--out", &file]);
        assert!(code == Some(0) && stdout.contains("3 rows"), "{place}: {stdout}{stderr}");
    }
    let (code, stdout, stderr) = run_there(&["plot", "<FILES>/points.csv", "--out", "drawn"]);
    assert!(code == Some(0) && stdout.contains("1 pictures"), "{stdout}{stderr}");
    for (place, reason) in [
        ("<NONE>/x.lance", "set TLC_ALIAS_NONE to its folder"),
        ("<DATA>/metrics/x.lance", "nothing is stored at"),
        ("runs/r/metrics/x.lance", "is no file, table or project either"),
    ] {
        let (code, _, stderr) = run_there(&["find", "outliers", place]);
        assert!(code == Some(1) && stderr.contains(reason), "{place}: {stderr}");
    }
    // What the tables describe, as the reduction names it.
    let (code, stdout, stderr) =
        run_there(&["reduce", "r", "--method", "pca", "--foreign-table", "<FILES>/p/datasets/toys/train.lance"]);
    assert!(code == Some(0) && stdout.contains("->"), "{stdout}{stderr}");
}

#[test]
fn a_table_below_an_alias_outside_of_the_project_is_shown_with_its_lineage() {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let project = project(&folder.path().join("p"));
    let elsewhere = tlc::core::Url::from_path(data.path()).expect("an absolute path");
    let columns = vec![Column::texts("name", ["a", "b"]).expect("short")];
    let table = Table::from_columns(project.shared_store(), &elsewhere, NewTable::new("train"), columns).expect("new");
    let name = format!("<DATA>/{}", table.url().file_name());
    for command in ["show", "lineage"] {
        let mut by_alias = tlc();
        by_alias.args([command, &name, "--project", "p"]).current_dir(folder.path());
        by_alias.env("TLC_ALIAS_DATA", data.path());
        let (result, stdout, stderr) = output(by_alias);
        assert!(result.status.success() && stdout.contains("(2 rows)"), "{command}: {stdout}{stderr}");
        assert!(stdout.contains("create "), "{command}: {stdout}");
    }
    // Without an alias, it is nothing that this project reads.
    let path = table.url().to_path().expect("local").display().to_string();
    let (code, _, stderr) = run_in(folder.path(), &["lineage", &path, "--project", "p"]);
    assert!(code == Some(1) && stderr.contains("outside of the project"), "{stderr}");
}
