//! What is looked at without any of tlc's own tables, and what becomes of it: pictures, lists, files, a page.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Float64Array, Int64Array};
use arrow_schema::{DataType, Field};
use serde_json::Value;
use tlc::core::rng::Stream;
use tlc::core::{Column, FieldRoles, NumberRole, Progress, Scan, Url};
use tlc::run::{ReduceOptions, reduce_embeddings};
use tlc::table::{LanceStore, NewTable, Table};

use super::faults::run_with_embeddings;
use super::{output, project, tlc};

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
fn two_parameter_sets_of_one_method_are_two_layouts_of_a_run() {
    let folder = Folder::new();
    run_with_embeddings(&project(folder.0.path()), "r");
    for (seed, layout) in [(1, "embeddings_pca"), (2, "embeddings_pca_2"), (1, "embeddings_pca")] {
        let args = format!("{{\"seed\": {seed}}}");
        let reduce = ["reduce", "r", "--method", "pca", "--args", &args, "--keep-source-tables", "--project", "."];
        let said = folder.run(&reduce);
        assert_eq!(said.lines().last(), Some(format!("layouts: {layout}").as_str()), "{said}");
    }
    let plot = ["plot", "r", "--project", ".", "--gif", "--frames-between", "1", "--out", "pictures"];
    let drawn = folder.run(&plot);
    assert!(drawn.contains("6 pictures"), "three tables in two layouts: {drawn}");
    let read = |name: &str| fs::read(folder.0.path().join("pictures").join(name)).expect("drawn");
    for layout in ["embeddings_pca", "embeddings_pca_2"] {
        assert!(read(&format!("train-{layout}.gif")).starts_with(b"GIF89a"));
    }
    let moving = read("train-embeddings_pca.gif").len();
    let held = ["plot", "r", "--project", ".", "--gif", "--frames-between", "0", "--out", "pictures"];
    folder.run(&held);
    assert!(read("train-embeddings_pca.gif").len() < moving, "without the frames between");
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

/// A project `p` with a table of five toys whose ids are no row numbers, and whose whole numbers are beyond float32.
fn toys(folder: &Folder) -> Url {
    let project = Url::from_path(&folder.0.path().join("p")).expect("an absolute path");
    let ids = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let codes: Vec<i64> = (0..5).map(|row| (1 << 53) + row).collect();
    let columns = vec![
        Column { field: ids, values: Arc::new(Int64Array::from(vec![40, 3, 2, 1, 0])) },
        Column::labels("label", [0, 1, 2, 0, 1].map(Some), ["zebra", "shoe", "ant"]),
        Column { field: Field::new("code", DataType::Int64, false), values: Arc::new(Int64Array::from(codes)) },
        Column {
            field: Field::new("exact", DataType::Float64, false),
            values: Arc::new(Float64Array::from(vec![0.1, 0.2, 0.3, 0.4, 1e300])),
        },
    ];
    let place = project.join("datasets/toys").expect("plain");
    let table = Table::from_columns(Arc::new(LanceStore::default()), &place, NewTable::new("toys"), columns);
    table.expect("new").url().clone()
}

#[test]
fn a_revision_has_the_rows_of_the_ids_where_these_are_no_row_numbers() {
    let folder = Folder::new();
    let url = toys(&folder);
    let select = |ids: &str| {
        let selection = format!("{{\"table\": \"{url}\", \"example_ids\": {ids}}}\n");
        fs::write(folder.0.path().join("selection.jsonl"), selection).expect("writable");
        ["select", "--ids", "selection.jsonl", "--revision", "two"]
    };
    let made = folder.run(&select("[40, 1]"));
    let (revision, rest) = made.split_once("  ").expect("its place");
    assert_eq!(rest.trim(), "2 rows", "{made}");
    let store = Arc::new(LanceStore::default());
    let revision = Table::from_url(store, &revision.parse().expect("a URL")).expect("there");
    let rows = revision.read(Scan::columns(["example_id"])).expect("readable");
    let mut ids = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
    ids.sort_unstable();
    assert_eq!(ids, [1, 40]);
    assert!(folder.refusal(&select("[40, 4, 7]")).contains("no example_id 4, 7"));
}

#[test]
fn ids_of_a_table_that_describes_another_are_row_numbers_there() {
    let folder = Folder::new();
    let toys = toys(&folder);
    let number = |name: &str, values: Vec<i64>, role| Column {
        field: Field::new(name, DataType::Int64, false).with_role(role),
        values: Arc::new(Int64Array::from(values)),
    };
    let mut describes = number("input_table_id", vec![0; 3], NumberRole::ForeignTableId);
    describes.field = describes.field.with_value_map(&[(0, toys.to_string())].into());
    let columns = vec![number("example_id", vec![0, 4, 1], NumberRole::ExampleId), describes];
    let place = toys.parent().expect("a folder");
    let metrics = Table::from_columns(Arc::new(LanceStore::default()), &place, NewTable::new("metrics"), columns);
    let metrics = metrics.expect("new").url().clone();
    let revision = |chosen: &[&str]| -> Vec<i64> {
        let made = folder.run(&[&["select"], chosen, &["--revision", "some"]].concat());
        let url = made.split_once("  ").expect("its place").0.parse().expect("a URL");
        let revision = Table::from_url(Arc::new(LanceStore::default()), &url).expect("there");
        let rows = revision.read(Scan::columns(["example_id"])).expect("readable");
        rows.column(0).as_primitive::<Int64Type>().values().to_vec()
    };
    // Rows 0 and 4 of the toys, which call them 40 and 0.
    let selection = format!("{{\"table\": \"{metrics}\", \"example_ids\": [4, 0]}}\n");
    fs::write(folder.0.path().join("selection.jsonl"), selection).expect("writable");
    assert_eq!(revision(&["--ids", "selection.jsonl"]), [40, 0]);
    let table = metrics.to_string();
    assert_eq!(revision(&["--table", &table, "--where", "label = 'shoe'"]), [3, 0], "a class that the toys have");
}

/// A project `p` with a table of 60 things, every second a shoe, and two reductions that lie beside it: `features_pca` and
/// `features_pca_3d`.
fn things_and_reductions(folder: &Folder) -> [Url; 3] {
    let project = project(&folder.0.path().join("p"));
    let noise = Stream::new(3, "things");
    let values = (0..60 * 4).map(|i| noise.normal(i, 0) as f32).collect();
    let features = Column::embedding("features", 4, values, NumberRole::NnEmbedding).expect("whole vectors");
    let labels = Column::labels("label", (0..60_i64).map(|row| row % 2), ["bag", "shoe"]);
    let things = project.table_from_columns("things", "things", vec![labels, features]).expect("writable").url;
    let [flat, solid] = [2_u8, 3].map(|n_components| {
        let pca = tlc::create_reducer("pca", [("n_components", n_components.into())]).expect("known");
        reduce_embeddings(&project, &things, &ReduceOptions::new([pca]), &Progress::default()).expect("reducible")
    });
    [things, flat, solid]
}

#[test]
fn a_table_is_looked_at_with_all_its_reductions_whichever_of_them_is_named() {
    let folder = Folder::new();
    let tables = things_and_reductions(&folder);
    for (named, own) in tables.iter().zip(["features_pca", "features_pca", "features_pca_3d"]) {
        let named = named.to_path().expect("local").display().to_string();
        let drawn = folder.run(&["plot", &named, "--out", "drawn"]);
        assert!(drawn.contains("2 pictures"), "{named}: {drawn}");
        let found = folder.run(&["find", "outliers", &named, "--memory", "64"]);
        assert!(found.contains(&format!("in things, {own}\n")), "its own first: {named}: {found}");
        folder.run(&["export", &named, "--html", "page.html"]);
        let page = folder.read("page.html");
        for layout in ["features_pca", "features_pca_3d"] {
            let found = folder.run(&["find", "outliers", &named, "--layout", layout]);
            assert!(found.contains(&format!("in things, {layout}\n")), "{named}: {found}");
            assert!(page.contains(&format!("\"name\":\"{layout}\"")), "{named}: {layout}");
        }
        folder.run(&["export", &named, "--csv", "rows.csv", "--layout", "features_pca_3d"]);
        let exported = folder.read("rows.csv");
        let chosen = folder.run(&["select", &named, "--where", "z > -1000", "--layout", "features_pca_3d"]);
        for rows in [exported, chosen] {
            let lines: Vec<&str> = rows.lines().collect();
            assert!(lines.len() == 1 + 60 && lines[0].ends_with("label,x,y,z"), "{named}: {rows}");
        }
        let refusal = folder.refusal(&["select", &named, "--where", "x > 0", "--layout", "features"]);
        assert!(refusal.contains("no layout \"features\"") && refusal.contains("features_pca_3d"), "{refusal}");
    }
}

#[test]
fn a_revision_is_of_the_table_that_is_named_whichever_reduction_is_read() {
    let folder = Folder::new();
    let store = Arc::new(LanceStore::default());
    let lineage = |url: &Url| {
        let table = Table::from_url(store.clone(), url).expect("there");
        (table.info().lineage().expect("it has one"), table.rows())
    };
    for named in things_and_reductions(&folder) {
        let revision = |chosen: &[&str]| {
            let made = folder.run(&[&["select"], chosen, &["--revision", "some"]].concat());
            let url = made.split_once("  ").expect("its place").0.parse().expect("a URL");
            let (made, rows) = lineage(&url);
            assert_eq!(made.inputs[0].table_id, Some(lineage(&named).0.table_id), "{named}");
            (made.operation.kind, rows)
        };
        let table = named.to_string();
        let by_label = revision(&["--table", &table, "--where", "label = 'shoe'"]);
        assert_eq!(by_label, ("filter".to_owned(), 30), "it remembers the condition");
        let by_place = revision(&["--table", &table, "--where", "label = 'shoe' AND x > -1000"]);
        assert_eq!(by_place, ("take".to_owned(), 30), "it has no x itself");
        let selection = format!("{{\"table\": \"{named}\", \"example_ids\": [3, 1]}}\n");
        fs::write(folder.0.path().join("selection.jsonl"), selection).expect("writable");
        assert_eq!(revision(&["--ids", "selection.jsonl"]), ("take".to_owned(), 2));
    }
}

#[test]
fn conditions_and_rows_are_of_the_table_and_not_of_its_picture() {
    let folder = Folder::new();
    let url = toys(&folder).to_string();
    let select = |condition: &str| -> Vec<Value> {
        folder.run(&["select", "--table", &url, "--where", condition, "--out", "chosen.json"]);
        serde_json::from_str(&folder.read("chosen.json")).expect("a list")
    };
    let chosen = select("code = 9007199254740993");
    assert_eq!(chosen.len(), 1, "2^53 + 1 has neighbours in float32 and float64: {chosen:?}");
    assert_eq!((&chosen[0]["example_id"], &chosen[0]["code"]), (&3.into(), &9_007_199_254_740_993_i64.into()));
    assert_eq!(select("exact = 0.3")[0]["exact"], 0.3);
    assert_eq!(select("exact > 1e299").len(), 1, "more than a float32 holds");
    // By its number, 1, and not by its letters.
    let below = select("label < 'shoe'");
    assert!(below.len() == 2 && below.iter().all(|row| row["label"] == "zebra"), "{below:?}");
    let made = folder.run(&["select", "--table", &url, "--where", "label < 'shoe'", "--revision", "zebras"]);
    assert!(made.trim().ends_with("  2 rows"), "{made}");
}

#[test]
fn a_tables_own_names_of_classes_are_shown_before_those_of_the_table_that_it_describes() {
    let folder = Folder::new();
    let toys = toys(&folder);
    let column = |name: &str, role, names: &[(i64, &str)], values: Vec<i64>| {
        let names = names.iter().map(|(number, name)| (*number, (*name).to_owned())).collect();
        let field = Field::new(name, DataType::Int64, false).with_role(role).with_value_map(&names);
        Column { field, values: Arc::new(Int64Array::from(values)) }
    };
    let ids = Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId);
    let columns = vec![
        Column { field: ids, values: Arc::new(Int64Array::from(vec![0, 1, 2])) },
        column("input_table_id", NumberRole::ForeignTableId, &[(0, toys.to_string().as_str())], vec![0; 3]),
        column("label", NumberRole::Label, &[(0, "cat"), (1, "dog")], vec![0, 1, 2]),
    ];
    let place = toys.parent().expect("a folder");
    let metrics = Table::from_columns(Arc::new(LanceStore::default()), &place, NewTable::new("metrics"), columns);
    let metrics = metrics.expect("new").url().to_string();
    let select = folder.command(&["select", "--table", &metrics, "--where", "label IS NOT NULL", "--out", "rows.json"]);
    let (result, stdout, stderr) = output(select);
    assert!(result.status.success(), "{stdout}{stderr}");
    let rows: Value = serde_json::from_str(&folder.read("rows.json")).expect("JSON");
    let labels: Vec<&str> = rows.as_array().expect("a list").iter().filter_map(|row| row["label"].as_str()).collect();
    assert_eq!(labels, ["cat", "dog", "ant"], "the third has no other name");
    let first = "0 is \"cat\", and \"zebra\" elsewhere";
    assert!(stderr.contains("tables name classes differently") && stderr.contains(first), "{stderr}");
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
