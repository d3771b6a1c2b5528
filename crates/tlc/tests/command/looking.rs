//! What is looked at without any of tlc's own tables, and what becomes of it: pictures, lists, files, a page.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tlc::core::Url;

use super::{output, tlc};

/// A folder with `items.csv`: six numbers, a class and a name each, of 60 items.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let line = |row: usize| {
            let (class, shift) = if row.is_multiple_of(2) { ("shoe", 0.0) } else { ("bag", 9.0) };
            let numbers = (0..6).map(|column| format!("{:.3}", shift + ((row * 7 + column * 3) % 11) as f64 / 5.0));
            format!("item {row},{class},{}", numbers.collect::<Vec<_>>().join(","))
        };
        let lines: Vec<String> = (0..60).map(line).collect();
        let text = format!("name,label,e0,e1,e2,e3,e4,e5\n{}\n", lines.join("\n"));
        fs::write(folder.path().join("items.csv"), text).expect("writable");
        Self(folder)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = tlc();
        command.args(args).current_dir(self.0.path());
        command
    }

    /// The standard output of a command that must not fail.
    fn run(&self, args: &[&str]) -> String {
        let (result, stdout, stderr) = output(self.command(args));
        assert!(result.status.success(), "{args:?}: {stdout}{stderr}");
        stdout
    }

    /// The message of a command that must fail.
    fn refusal(&self, args: &[&str]) -> String {
        let (result, stdout, stderr) = output(self.command(args));
        assert_eq!(result.status.code(), Some(1), "{args:?}: {stdout}{stderr}");
        assert!(stderr.starts_with("error: ") && !stderr.contains("panicked"), "{stderr}");
        stderr
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).expect("written")
    }
}

/// With the quickest method.
fn of_file<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [args, &["--method", "pca"]].concat()
}

#[test]
fn a_file_of_another_program_is_drawn_listed_chosen_from_and_exported() {
    let folder = Folder::new();
    let mut terminal = folder.command(&of_file(&["plot", "items.csv", "--terminal"]));
    terminal.env("NO_COLOR", "1").env("COLUMNS", "50");
    let (_, drawn, stderr) = output(terminal);
    let is_braille = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
    assert!(drawn.contains(is_braille) && drawn.contains("bag  shoe") && !drawn.contains('\x1b'), "{drawn}{stderr}");
    assert!(drawn.lines().all(|line| line.chars().count() <= 50), "{drawn}");

    folder.run(&of_file(&["plot", "items.csv", "--out", "pictures"]));
    assert!(folder.read("pictures/items-e_pca.svg").matches("<circle").count() >= 60);

    let rows =
        folder.run(&of_file(&["select", "items.csv", "--where", "label = 'shoe' AND x > -1000 AND name <> 'item 2'"]));
    let lines: Vec<&str> = rows.lines().collect();
    assert!(lines[0].contains("example_id") && lines[0].contains("label") && lines[0].ends_with("x,y"), "{rows}");
    assert!(lines.len() == 1 + 29 && lines[1..].iter().all(|line| line.contains("shoe")), "{rows}");
    assert!(folder.refusal(&of_file(&["select", "items.csv", "--where", "label LIKE 's%'"])).contains("IS NULL"));
    assert!(folder.refusal(&of_file(&["select", "items.csv", "--where", "lable = 1"])).contains("lable"));

    folder.run(&of_file(&["find", "mislabelled", "items.csv"]));
    assert!(folder.refusal(&of_file(&["find", "movers", "items.csv", "--epoch", "3"])).contains("datasets: items"));
    assert!(folder.refusal(&["plot", "items.csv", "--method", "umpa"]).contains("umap"));
    assert!(folder.refusal(&["plot", "items.csv", "--with", "missing.csv"]).contains("missing.csv"));

    let export = ["export", "items.csv", "--html", "page.html", "--csv", "rows.csv", "--tensorboard", "tb"];
    folder.run(&of_file(&[&export[..], &["--embedding-atlas", "atlas.parquet"]].concat()));
    let page = folder.read("page.html");
    assert!(
        page.starts_with("<!doctype html>") && page.contains("id=\"tlc-data\"") && !page.contains("src=\"app.js\"")
    );
    assert_eq!(folder.read("rows.csv").lines().count(), 1 + 60);
    assert_eq!(folder.read("tb/tensors.tsv").lines().next().map(|line| line.split('\t').count()), Some(6));
    let config: Value = serde_json::from_str(&folder.read("tb/projector_config.json")).expect("JSON");
    assert_eq!(config["embeddings"][0]["tensorShape"], serde_json::json!([60, 6]));
    // What tlc wrote for another program, tlc can look at.
    let drawn = folder.run(&["plot", "atlas.parquet", "--terminal"]);
    assert!(drawn.contains("projection") && drawn.contains(is_braille), "{drawn}");
}

#[test]
fn labels_give_the_terminal_no_orders() {
    let folder = Folder::new();
    let mut text = "x,y,label\n0.05,0.05,bag\n".to_owned();
    text.extend((0..15).map(|row| format!("{},{},shoe\x1b[2J\n", row % 4, row / 4)));
    fs::write(folder.0.path().join("hostile.csv"), text).expect("writable");
    let found = folder.run(&["find", "mislabelled", "hostile.csv"]);
    assert!(found.contains("10 of 10 neighbours are shoe [2J, its label is bag"), "{found:?}");
    assert!(!found.contains('\x1b'), "{found:?}");
}

#[test]
fn a_file_is_served_while_it_is_read() {
    let folder = Folder::new();
    let mut command = folder.command(&["view", "items.csv", "--method", "pca"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut url = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut url).expect("it prints its address");
    let address = url.trim().strip_prefix("http://").and_then(|url| url.strip_suffix('/')).expect("an address");
    let deadline = Instant::now() + Duration::from_secs(60);
    let manifest = loop {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET /api/manifest HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let manifest: Value = serde_json::from_str(body).expect("JSON");
        if manifest["job"]["state"] != "running" {
            break manifest;
        }
        assert!(Instant::now() < deadline, "{manifest}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(manifest["datasets"][0]["rows"], 60, "{manifest}");
    assert_eq!(manifest["layouts"][0]["method"], "pca");
    let stopped = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().expect("kill runs");
    assert!(stopped.success() && child.wait().expect("ends").success());
}

#[test]
fn rows_become_a_revision_that_remembers_the_condition() {
    let folder = Folder::new();
    let imported = folder.run(&["import", "items.csv", "--dataset", "things", "--project", "p"]);
    let url: Url = imported.lines().next().expect("its place").parse().expect("a URL");
    let path = url.to_path().expect("local").to_string_lossy().into_owned();
    let made = folder.run(&["select", "--table", url.to_string().as_str(), "--where", "e0 >= 9", "--revision", "bags"]);
    let (revision, rest) = made.split_once("  ").expect("its place");
    assert_eq!(rest.trim(), "30 rows", "{made}");
    let lineage = folder.run(&["lineage", revision]);
    assert!(lineage.contains("filter "), "{lineage}");
    let selection = format!("{{\"table\": \"{url}\", \"example_ids\": [3, 1, 59]}}\n");
    fs::write(folder.0.path().join("selection.jsonl"), selection).expect("writable");
    folder.run(&["select", "--ids", "selection.jsonl", "--out", "chosen.json"]);
    let chosen: Value = serde_json::from_str(&folder.read("chosen.json")).expect("JSON");
    let names: Vec<&str> = chosen.as_array().expect("a list").iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["item 1", "item 3", "item 59"]);
    assert!(folder.refusal(&["select", &path, "--where", "e0 > 1000", "--revision", "none"]).contains("no row"));
}

#[test]
fn who_stops_reading_is_no_error_but_a_full_disk_is() {
    let folder = Folder::new();
    let mut child = folder.command(&["plugins"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().expect("ends");
    assert!(status.success() && stderr.is_empty(), "{}", String::from_utf8_lossy(&stderr));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
    let child = folder.command(&["plugins"]).stdout(full).stderr(Stdio::piped()).spawn().expect("starts");
    let Output { status, stderr, .. } = child.wait_with_output().expect("ends");
    assert_eq!(status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&stderr).starts_with("error: cannot print"),
        "{}",
        String::from_utf8_lossy(&stderr)
    );
}
