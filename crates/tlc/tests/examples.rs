//! The examples print what they say that they print.

use std::path::PathBuf;
use std::process::Command;

use tlc::core::ulid::Ulid;

/// The example's program, which cargo builds beside the tests if all targets are tested.
fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test is a file");
    let built =
        own.parent().and_then(|folder| folder.parent()).expect("target/PROFILE/deps").join("examples").join(name);
    assert!(
        built.exists(),
        "{} is not there: cargo test -p tlc --features cli --examples --test examples",
        built.display()
    );
    built
}

/// The text block of a file's documentation.
fn documented(source: &str) -> Vec<&str> {
    let text = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    text.take_while(|line| *line != "//! ```").map(|line| line.strip_prefix("//! ").expect("documentation")).collect()
}

/// With … in place of identities.
fn without_identities(line: &str) -> String {
    let parts: Vec<String> = line
        .split(".lance")
        .map(|part| match part.rsplit_once('-') {
            Some((name, id)) if Ulid::from_string(id).is_ok() => format!("{name}-…"),
            _ => part.to_owned(),
        })
        .collect();
    parts.join(".lance")
}

#[track_caller]
fn check(name: &str, source: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(program(name)).env("TMPDIR", folder.path()).output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let expected = documented(source);
    assert!(!expected.is_empty(), "{name} does not say what it prints");
    assert_eq!(stdout.lines().map(without_identities).collect::<Vec<_>>(), expected);
}

#[test]
fn a_table_is_reduced() {
    check("reduce_table", include_str!("../examples/reduce_table.rs"));
}

#[test]
fn a_run_is_reduced_in_both_ways() {
    check("reduce_run", include_str!("../examples/reduce_run.rs"));
}
