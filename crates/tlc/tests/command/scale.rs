//! Options for large tables, on small ones.

use tlc::core::UniqueName;

use super::faults::{run_with_embeddings, urls};
use super::{output, project, tlc};

#[test]
fn a_share_of_the_rows_is_fitted_and_stated() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let run = run_with_embeddings(&project, "r");
    let reduce = |more: &[&str]| {
        let mut command = tlc();
        command.args(["reduce", "r", "--method", "pca", "--keep-source-tables"]).args(more);
        command.arg("--project").arg(folder.path());
        output(command)
    };
    let (refused, _, stderr) = reduce(&["--fit-rows", "many"]);
    assert!(refused.status.code() == Some(2) && stderr.contains("a share such as 10%"), "{stderr}");
    let (refused, _, stderr) = reduce(&["--fit-rows", "10", "--fit-stratify", "label"]);
    assert!(refused.status.code() == Some(1) && stderr.contains("stratified by it, its type is unknown"), "{stderr}");
    let (refused, _, stderr) = reduce(&["--fit-rows", "0"]);
    assert!(refused.status.code() == Some(1) && stderr.contains("fit_rows is 0; use at least 1 row"), "{stderr}");
    assert_eq!(urls(&run).len(), 3, "nothing was made");

    let (reduced, stdout, stderr) =
        reduce(&["--fit-rows", "50%", "--fit-stratify", "example_id", "--fit-seed", "7", "--piece-rows", "10"]);
    assert!(
        !reduced.status.success() && stderr.contains("it has at least 33 values, but only 32 rows"),
        "{stdout}{stderr}"
    );
    let (reduced, stdout, stderr) = reduce(&["--fit-rows", "50%", "--fit-seed", "7", "--piece-rows", "10"]);
    assert!(reduced.status.success(), "{stdout}{stderr}");
    for url in &urls(&run)[3..] {
        let lineage = project.store().info(url).expect("there").lineage().expect("has lineage");
        let sample = &lineage.operation.args["fit_rows"];
        assert_eq!(*sample, serde_json::json!({ "rows": 32, "of": 64, "seed": 7 }));
        let mut command = tlc();
        command.arg("replay").arg(url.to_path().expect("local"));
        let (replayed, stdout, stderr) = output(command);
        assert!(replayed.status.success(), "{stdout}{stderr}");
    }
    assert_eq!(urls(&run).len(), 6);
}

#[test]
fn neighbours_are_written_beside_their_table() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let source = urls(&run_with_embeddings(&project, "r")).remove(0);
    let neighbours = |more: &[&str]| {
        let mut command = tlc();
        command.arg("neighbours").arg(source.to_path().expect("local")).args(more);
        output(command)
    };
    let (found, stdout, stderr) = neighbours(&["-k", "3", "--recall", "1", "--memory", "1"]);
    assert!(found.status.success() && stdout.contains("64 rows, 3 neighbours each, recall 1.000"), "{stdout}{stderr}");
    assert!(stdout.ends_with("0 near duplicates listed\n"), "{stdout}");
    let tables = project.store().list_tables(&source.parent().expect("a folder")).expect("listable");
    let made: Vec<_> =
        tables.iter().filter(|url| UniqueName::stem_of(url.file_name()).ends_with("-neighbours")).collect();
    assert!(made.len() == 1 && stdout.starts_with(&made[0].to_string()), "{stdout}");
    assert_eq!(project.store().info(made[0]).expect("there").rows, 64);
    let temporary = folder.path().display().to_string();
    let (found, stdout, stderr) = neighbours(&["-k", "3", "--temp-folder", &temporary]);
    assert!(found.status.success(), "{stdout}{stderr}");
    let missing = folder.path().join("none").display().to_string();
    let (refused, _, stderr) = neighbours(&["-k", "3", "--temp-folder", &missing]);
    assert!(!refused.status.success() && stderr.contains(&missing) && stderr.contains("TMPDIR"), "{stderr}");
    let (refused, _, stderr) = neighbours(&["-k", "64"]);
    assert!(!refused.status.success() && stderr.contains("between 1 and 63 neighbours can be found"), "{stderr}");
    let (refused, _, stderr) = neighbours(&["--column", "nope"]);
    assert!(!refused.status.success() && stderr.contains("it has no column of vectors \"nope\""), "{stderr}");
}
