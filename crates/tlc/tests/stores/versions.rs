//! A table of another program in a bucket, which has several versions, from the command line.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tlc::core::{TableStore, Url, WriteCondition};
use tlc::run::{Project, reductions_of};

use super::server::Server;

on_server!(s3, S3: a_version_in_a_bucket_is_reduced_into_a_project);
on_server!(seaweedfs, SeaweedFs: a_version_in_a_bucket_is_reduced_into_a_project);

/// The table that pylance wrote (`tests/fixtures/make.py`), as a copy of its files.
fn upload(store: &dyn TableStore, table: &Url) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/appended.lance");
    for part in fs::read_dir(&from).expect("in the repository") {
        let part = part.expect("readable");
        let to = table.join(&part.file_name().to_string_lossy()).expect("a name");
        for file in fs::read_dir(part.path()).expect("a folder") {
            let file = file.expect("readable");
            let url = to.join(&file.file_name().to_string_lossy()).expect("a name");
            let content = fs::read(file.path()).expect("readable");
            store.write_object(&url, &content, WriteCondition::Absent).expect("writable");
        }
    }
}

fn a_version_in_a_bucket_is_reduced_into_a_project(server: Server) {
    let root = server.bucket("versions");
    let theirs = root.join("theirs").expect("a path");
    let table = theirs.join("t.lance").expect("a path");
    let store = server.store();
    upload(&store, &table);
    let folder = root.join("project").expect("a path");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tlc"));
        command.args(args).arg("--project").arg(folder.to_string()).stdin(Stdio::null());
        command.envs(server.environment(server.address())).env("AWS_TIMEOUT", "10s");
        let output = command.output().expect("the command runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let reduce = |url: &str| run(&["reduce", "--method", "pca", "--column", "vector", "--table", url]);
    let (done, _, stderr) = reduce(&table.to_string());
    assert!(!done && stderr.contains(&format!("its latest version is 4: name it, {table}?version=4")), "{stderr}");
    let version = table.clone().with_version(Some(3));
    let (done, stdout, stderr) = reduce(&version.to_string());
    assert!(
        done && stdout.contains(&format!("  {version}\n    -> {folder}/datasets/from-outside/t-")),
        "{stdout}{stderr}"
    );
    let project = Project::new(Arc::new(server.store()), folder.clone());
    let beside = project.folder_beside(&version).expect("a name");
    let made = reductions_of(&project, &version, &beside).expect("readable");
    assert_eq!(made.iter().map(|info| info.rows).collect::<Vec<_>>(), [32]);
    // By its numbers, of which some were deleted.
    let rows = store.take(&version, &[31, 0, 7], Some(&["id".to_owned()])).expect("there");
    let taken = rows.column(0).as_any().downcast_ref::<arrow_array::Int64Array>().expect("numbers");
    assert_eq!(taken.values(), &[39, 1, 9]);
    assert_eq!(store.list_folders(&theirs).expect("listable"), ["t.lance"], "nothing was written there");
    assert!(store.delete(&version).is_err() && store.info(&version).is_ok(), "a version is not deleted");
}
