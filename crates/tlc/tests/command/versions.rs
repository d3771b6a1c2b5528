//! A table of another program in one of its versions, as pylance wrote them (`tests/fixtures/make.py`).

use std::fs;
use std::path::{Path, PathBuf};

use tlc::core::Url;
use tlc::run::reductions_of;

use super::{project, run_in};

/// A copy of the table with four versions, which have 24, 40, 32 and 40 rows; the third is without each fifth row.
fn appended(folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/appended.lance");
    let table = folder.join("t.lance");
    for part in fs::read_dir(&from).expect("in the repository") {
        let part = part.expect("readable");
        let to = table.join(part.file_name());
        fs::create_dir_all(&to).expect("writable");
        for file in fs::read_dir(part.path()).expect("a folder") {
            let file = file.expect("readable");
            fs::copy(file.path(), to.join(file.file_name())).expect("writable");
        }
    }
    table
}

#[test]
fn a_version_of_another_programs_table_is_shown_reduced_and_searched() {
    let (here, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let table = appended(theirs.path());
    let run = |args: &[&str]| run_in(here.path(), args);
    let plain = table.display().to_string();
    let (third, fourth) = (format!("{plain}?version=3"), format!("{plain}?version=4"));
    for args in [&["show", &plain][..], &["reduce", "--table", &plain, "--column", "vector"]] {
        let (code, _, stderr) = run(args);
        let told = format!("its latest version is 4: name it, file://{fourth}");
        assert!(code == Some(1) && stderr.contains(&told), "{args:?}: {stderr}");
    }
    let (code, _, stderr) = run(&["show", &format!("{plain}?version=9")]);
    assert!(code == Some(1) && stderr.contains("it has no version 9"), "{stderr}");
    let (code, stdout, stderr) = run(&["show", &third]);
    assert!(code == Some(0) && stdout.contains("32 rows, no digest"), "{stdout}{stderr}");
    assert!(stdout.contains("  vector  FixedSizeList") && stdout.contains("another program wrote it"), "{stdout}");

    let reduce = ["reduce", "--method", "pca", "--column", "vector", "--project", "p", "--table"];
    let project = project(&here.path().join("p"));
    let folder = project.root().join("datasets/from-outside").expect("a name");
    for (version, n_rows) in [(&third, 32), (&fourth, 40)] {
        let (code, stdout, stderr) = run(&[&reduce[..], &[version.as_str()]].concat());
        assert!(code == Some(0) && stdout.contains(&format!("  file://{version}\n    -> ")), "{stdout}{stderr}");
        let source: Url = version.parse().expect("a URL");
        let made = reductions_of(&project, &source, &folder).expect("readable");
        assert_eq!(made.iter().map(|info| info.rows).collect::<Vec<_>>(), [n_rows], "{version}");
        let input = made[0].lineage().expect("has lineage").inputs.remove(0);
        assert_eq!((Some(input.version), input.url), (source.version(), source));
        assert_eq!(made[0].schema.field(1).name(), "vector_pca");
    }

    let (code, stdout, stderr) = run(&["neighbours", &third, "--column", "vector", "-k", "3", "--project", "p"]);
    assert!(code == Some(0) && stdout.contains("32 rows, 3 neighbours each"), "{stdout}{stderr}");
    assert!(stdout.starts_with(&format!("{folder}/t-neighbours-")), "{stdout}");
    let theirs: Vec<_> = fs::read_dir(theirs.path()).expect("there").map(|it| it.expect("readable").path()).collect();
    assert_eq!(theirs, [table], "nothing was written there");
}

#[test]
fn a_version_within_a_project_is_reduced_beside_its_table_replayed_and_not_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let table = appended(&folder.path().join("p/datasets/theirs"));
    let run = |args: &[&str]| run_in(folder.path(), args);
    let version = "p/datasets/theirs/t.lance?version=3";
    let reduce = ["reduce", "--method", "pca", "--column", "vector", "--project", "p", "--table", version];
    let (code, stdout, stderr) = run(&reduce);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let (_, reduced) = stdout.lines().nth(1).and_then(|line| line.split_once("-> ")).expect("its place");
    assert!(reduced.contains("/p/datasets/theirs/t-"), "{stdout}");
    let (code, stdout, stderr) = run(&["lineage", reduced]);
    assert!(code == Some(0) && stdout.contains("datasets/theirs/t.lance?version=3 (32 rows)"), "{stdout}{stderr}");
    let (code, stdout, stderr) = run(&["replay", reduced]);
    assert!(code == Some(0) && stdout.starts_with("reduce gives the same table again: 32 rows"), "{stdout}{stderr}");
    for version in [version, "datasets/theirs/t.lance?version=3"] {
        let (code, _, stderr) = run(&["rm", version, "--force", "--project", "p"]);
        assert!(code == Some(1) && stderr.contains("leave ?version=3 out"), "{stderr}");
        assert!(table.join("_versions").is_dir(), "all of it is there");
    }
    // It is no concern of the project, and holds back nothing.
    let (code, stdout, stderr) = run(&["doctor", "p"]);
    assert!(code == Some(0) && !stdout.contains("t.lance"), "{stdout}{stderr}");
    let (code, _, stderr) = run(&["rm", reduced, "--project", "p"]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[cfg(feature = "query")]
#[test]
fn a_version_is_queried_and_a_model_is_applied_to_it() {
    let (here, theirs) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let plain = appended(theirs.path()).display().to_string();
    let run = |args: &[&str]| run_in(here.path(), &[args, &["--project", "p"]].concat());
    let (third, fourth) = (format!("{plain}?version=3"), format!("{plain}?version=4"));
    let (code, stdout, stderr) = run(&["reduce", "--method", "pca", "--column", "vector", "--table", &third]);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let models = here.path().join("p/datasets/from-outside/models");
    let model = fs::read_dir(models).expect("there").next().expect("a model").expect("readable").path();
    let model = model.display().to_string();
    let out = "datasets/applied.lance";
    let apply = ["apply", &model, "--table", &fourth, "--column", "vector", "--rows-per-task", "7", "--out", out];
    let (code, stdout, stderr) = run(&apply);
    assert!(code == Some(0) && stdout.contains("40 rows"), "{stdout}{stderr}");
    // A task reads a range of the rows that are left.
    let sum = |table: &str| {
        let query = format!("select count(*) as n, sum(id) as ids, min(id) as least from {table}");
        let (code, stdout, stderr) = run(&["sql", &query]);
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        stdout
    };
    let ids = (0..48).filter(|id| *id >= 40 || id % 5 != 0);
    let expected = format!("| 40 | {} | 1 ", ids.sum::<i64>());
    for table in ["applied".to_owned(), format!("\"file://{fourth}\"")] {
        let found = sum(&table).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(found.contains(&expected), "{table}: {found}");
    }
    let to_version = ["apply", &model, "--table", &fourth, "--column", "vector", "--out", "datasets/x.lance?version=2"];
    let (code, _, stderr) = run(&to_version);
    assert!(code == Some(1) && stderr.contains("leave ?version=2 out"), "{stderr}");
}
