//! The `tlc` command on small parts of real images.

mod exported;
mod faults;
mod looking;
mod places;
#[cfg(feature = "query")]
mod queries;
mod reducing;
mod scale;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_array::Int64Array;
use tlc::core::{NumberRole, TableStore, Url, columns_with_role};
use tlc::run::{Project, Run, RunStatus};
use tlc::table::LanceStore;

fn tlc() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tlc"));
    command.env("OMP_NUM_THREADS", "2").stdin(Stdio::null());
    command
}

fn demo(out: &Path, more: &[&str]) -> Command {
    let mut command = tlc();
    command.args(["demo", "--train", "400", "--val", "200", "--epochs", "1", "--no-view", "--out"]).arg(out).args(more);
    command
}

fn output(mut command: Command) -> (Output, String, String) {
    let output = command.output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

/// Code, output and errors of a command that is typed in `folder`.
fn run_in(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = tlc();
    command.args(args).current_dir(folder);
    let (result, stdout, stderr) = output(command);
    assert!(!stderr.contains("panicked"), "{stderr}");
    (result.status.code(), stdout, stderr)
}

fn project(out: &Path) -> Project {
    Project::new(Arc::new(LanceStore::default()), Url::from_path(out).expect("an absolute path"))
}

fn digests(run: &Run) -> Vec<(String, Option<String>)> {
    run.metrics().expect("readable").into_iter().map(|entry| (entry.name, entry.digest)).collect()
}

fn pictures(run: &Run) -> Vec<PathBuf> {
    let folder = run.url().join("pictures").expect("a name").to_path().expect("local");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("there").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    files
}

#[test]
fn the_demo_leaves_reduced_tables_models_and_pictures_and_repeats_itself() {
    let out = tempfile::tempdir().expect("a folder");
    let (first, stdout, stderr) = output(demo(out.path(), &[]));
    assert!(first.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("10-NN accuracy in the maps"), "{stdout}");
    assert!(stdout.contains("contact-sheet.png"), "{stdout}");

    let project = project(out.path());
    let run = project.open_run("fashion-mnist-resnet18").expect("there");
    assert_eq!(run.record().expect("readable").status, RunStatus::Completed);
    let metrics = run.metrics().expect("readable");
    let names: Vec<&str> = metrics.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["train-epoch-0", "val-epoch-0", "train-epoch-1", "val-epoch-1"]);
    for entry in &metrics {
        let info = project.store().info(&entry.url).expect("there");
        assert_eq!(columns_with_role(&info.schema, &NumberRole::NnEmbedding), Vec::<String>::new());
        let reduced = columns_with_role(&info.schema, &NumberRole::ReducedEmbedding);
        assert_eq!(reduced.len(), 4, "two layers in 2-D and 3-D: {reduced:?}");
        assert!(info.lineage().is_some_and(|lineage| lineage.models.len() == 4));
        let source = entry.reduced_from.as_ref().expect("reduced");
        assert!(project.store().info(source).is_err(), "the source is gone");
    }
    // Two layers, two splits, two epochs, as PNG and SVG, and the contact sheet, under the names that tlc plot gives.
    assert_eq!(pictures(&run).len(), 2 * 2 * 2 * 2 + 1);
    let names: Vec<String> =
        pictures(&run).iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned())).collect();
    let has_picture = |start: &str| names.iter().any(|name| name.starts_with(start));
    assert!(has_picture("contact-sheet.png") && has_picture("val-epoch-1-embeddings_90_pacmap"), "{names:?}");

    let (second, stdout, stderr) = output(demo(out.path(), &[]));
    assert!(second.status.success(), "{stdout}{stderr}");
    let again = project.open_run("fashion-mnist-resnet18-2").expect("a second run beside the first");
    assert_eq!(digests(&again), digests(&run), "the same seed gives the same tables");
    for (a, b) in pictures(&run).iter().zip(pictures(&again)) {
        assert_eq!(fs::read(a).expect("readable"), fs::read(b).expect("readable"), "{}", a.display());
    }
    let datasets = project.root().join("datasets/fashion-mnist").expect("a name");
    assert_eq!(project.store().list_tables(&datasets).expect("there").len(), 2, "the data set's tables are shared");
}

#[test]
fn ctrl_c_leaves_no_half_table_and_the_run_can_be_continued() {
    let out = tempfile::tempdir().expect("a folder");
    let mut child = demo(out.path(), &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    let metrics = out.path().join("runs/fashion-mnist-resnet18/metrics");
    let deadline = Instant::now() + Duration::from_secs(120);
    while !metrics.is_dir() {
        assert!(Instant::now() < deadline, "collection begins");
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().expect("kill runs");
    assert!(interrupt.success());
    let status = child.wait().expect("ends");
    assert_eq!(status.code(), Some(130));
    let run = project(out.path()).open_run("fashion-mnist-resnet18").expect("there");
    assert_eq!(run.record().expect("readable").status, RunStatus::Interrupted);
    let store = LanceStore::default();
    let tables = store.list_tables(&run.url().join("metrics").expect("a name")).expect("listable");
    let recorded: Vec<Url> = run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
    assert_eq!(tables, recorded, "every visible table is a whole one");

    let (wrong, _, stderr) = output(demo(out.path(), &["--seed", "7", "--resume", "fashion-mnist-resnet18"]));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr.contains("continue it with the same options"), "{stderr}");
    let (resumed, stdout, stderr) = output(demo(out.path(), &["--resume", "fashion-mnist-resnet18"]));
    assert!(resumed.status.success(), "{stdout}{stderr}");
    assert_eq!(run.metrics().expect("readable").len(), 4);

    let mut remove = tlc();
    remove.args(["remove-run", "fashion-mnist-resnet18", "--project"]).arg(out.path());
    assert!(output(remove).0.status.success());
    assert_eq!(project(out.path()).run_names().expect("listable"), Vec::<String>::new());
}

#[test]
fn bad_input_gives_one_message_and_a_non_zero_exit_code() {
    let out = tempfile::tempdir().expect("a folder");
    let empty = tempfile::tempdir().expect("a folder");
    let check = |more: &[&str], expected: &str| {
        let (result, _, stderr) = output(demo(out.path(), more));
        assert_eq!(result.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(expected), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    };
    check(&["--layers", "94"], "the model has no layer 94; it has 94 (0 to 93)");
    check(&["--layers", "global_pol"], "near: global_pool");
    check(&["--method", "tsne"], "unknown reducer \"tsne\"; known: localmap/1, pacmap/1, pca/1, umap/1");
    check(&["--train", "0"], "--train is 0;");
    check(&["--val", "10001"], "has 10000 such images, use 1 to 10000");
    check(&["--resume", "nope"], "has no run \"nope\"");
    check(&["--data", &empty.path().to_string_lossy()], "holds no data set that tlc can read");
    fs::write(empty.path().join("train-images-idx3-ubyte"), b"short").expect("writable");
    check(&["--data", &empty.path().to_string_lossy()], "it has 5 bytes, its header alone takes 16");
    let file = empty.path().join("file");
    fs::write(&file, b"").expect("writable");
    let (result, _, stderr) = output(demo(&file, &[]));
    assert_eq!(result.status.code(), Some(1));
    assert!(stderr.starts_with("error: cannot read file://") && stderr.contains("Not a directory"), "{stderr}");
}

/// A TorchScript file for images of any size, and sixteen of them as an array.
fn exported_model_and_images(folder: &Path) -> (PathBuf, PathBuf) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tlc-collect/tests/collect/fixtures/plain_scripted.pt");
    let images = folder.join("images.npy");
    tch::Tensor::rand([16, 3, 8, 8], tch::kind::FLOAT_CPU).write_npy(&images).expect("writable");
    (model, images)
}

#[test]
fn processes_that_collect_at_once_share_a_run_and_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, images) = exported_model_and_images(folder.path());
    let labels = folder.path().join("labels.npy");
    tch::Tensor::arange(16, tch::kind::INT64_CPU).remainder(5).write_npy(&labels).expect("writable");
    let out = folder.path().join("project");
    let start = |part: usize| {
        let mut command = tlc();
        command.arg("collect").arg(&model).args(["--layers", "pool", "--run", "shared", "--npy"]).arg(&images);
        command.arg("--labels").arg(&labels).args(["--shard", &format!("{part}/4"), "--project"]).arg(&out);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command runs")
    };
    let processes: Vec<_> = (1..=4).map(start).collect();
    for process in processes {
        let output = process.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let project = project(&out);
    assert_eq!(project.run_names().expect("readable"), ["shared"]);
    let run = project.open_run("shared").expect("there");
    let metrics = run.epoch_metrics().expect("readable");
    assert!(metrics.len() == 1 && metrics[0].aggregates["loss"].count == 16, "one mean over all: {metrics:?}");
    let mut listed = tlc();
    listed.args(["runs", "shared", "--project"]).arg(&out);
    let (_, stdout, stderr) = output(listed);
    assert!(stdout.starts_with("shared  ") && stdout.matches("mean loss").count() == 4, "{stdout}{stderr}");
    let tables = run.metrics().expect("readable");
    let described: std::collections::BTreeSet<_> = tables.iter().map(|table| table.foreign_table.clone()).collect();
    assert!(described.len() == 1 && !described.contains(&None), "all describe one table of samples: {described:?}");
    let mut ids = Vec::new();
    for table in &tables {
        let store = LanceStore::default();
        for batch in store.scan(&table.url, tlc::core::Scan::columns(["example_id"])).expect("readable") {
            let batch = batch.expect("readable");
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("numbers").values().to_vec();
            ids.extend(column);
        }
    }
    ids.sort_unstable();
    assert!(tables.len() == 4 && ids.iter().copied().eq(0..16), "{ids:?}");
}

#[test]
fn an_exported_model_takes_arrays_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (model, images) = exported_model_and_images(folder.path());
    let collect = |array: String| {
        let mut command = tlc();
        command.arg("collect").arg(&model).args(["--layers", "pool", "--npy", &array, "--project"]).arg(folder.path());
        output(command)
    };
    let (result, stdout, stderr) = collect(format!("x={}", images.display()));
    assert!(result.status.success() && stdout.contains("16 rows in"), "{stdout}{stderr}");
    let (result, _, stderr) = collect(format!("y={}", images.display()));
    assert_eq!(result.status.code(), Some(1));
    assert!(stderr.contains("missing value for argument 'x'"), "{stderr}");
}

#[test]
fn a_full_disk_is_reported_and_leaves_no_table() {
    let Some(disk) = SmallDisk::mount("3m") else {
        return; // Only root can mount a small disk.
    };
    let (result, _, stderr) = output(demo(&disk.folder.path().join("p"), &[]));
    assert_eq!(result.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    let project = project(&disk.folder.path().join("p"));
    for name in project.run_names().expect("listable") {
        let run = project.open_run(&name).expect("readable");
        let tables = project.store().list_tables(&run.url().join("metrics").expect("a name")).expect("listable");
        let recorded: Vec<Url> = run.metrics().expect("readable").into_iter().map(|entry| entry.url).collect();
        assert_eq!(tables, recorded);
    }
}

/// A tmpfs of a fixed size.
struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(folder.path());
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then_some(Self { folder })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

#[test]
fn tables_are_imported_shown_reduced_replayed_exported_and_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let lines = (0..40).map(|i| format!("{i},{},{}", f64::from(i).sin(), ["cat", "dog"][i as usize % 2]));
    fs::write(at("toys.csv"), format!("id,price,kind\n{}\n", lines.collect::<Vec<_>>().join("\n"))).expect("writable");
    let run = |args: &[&str]| {
        let mut command = tlc();
        command.args(args).current_dir(folder.path());
        output(command)
    };
    let (imported, stdout, stderr) = run(&["import", "toys.csv", "--dataset", "toys", "--project", "p"]);
    assert!(imported.status.success() && stdout.contains("40 rows, 3 columns"), "{stdout}{stderr}");
    let url: Url = stdout.lines().next().expect("its place").parse().expect("a URL");
    let path = url.to_path().expect("local").to_string_lossy().into_owned();

    let (_, stdout, stderr) = run(&["show", &path, "--rows", "2"]);
    assert!(stdout.contains("price  Float64") && stdout.contains("| dog "), "{stdout}{stderr}");
    assert!(stdout.contains("import ") && !stdout.contains("| 2 "), "lineage, and no more rows: {stdout}");
    let (_, stdout, _) = run(&["ls", "p"]);
    assert!(stdout.contains("datasets/toys/toys-") && stdout.contains("40 rows"), "{stdout}");

    let project = project(&at("p"));
    let table = tlc::table::Table::from_url(project.shared_store(), &url).expect("there");
    let cheap = table.filtered(&tlc::core::Filter::lt("price", 0.0)).expect("derived");
    let cheap_path = cheap.url().to_path().expect("local").to_string_lossy().into_owned();
    let (replayed, stdout, stderr) = run(&["replay", &cheap_path]);
    assert!(replayed.status.success() && stdout.starts_with("filter gives the same table again"), "{stdout}{stderr}");
    let (refused, _, stderr) = run(&["rm", &path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr.contains("was made from it"), "{stderr}");
    let (exported, stdout, stderr) = run(&["export", &cheap_path, "cheap.parquet"]);
    assert!(exported.status.success() && stdout.contains(&format!("{} rows", cheap.rows())), "{stdout}{stderr}");
    assert!(at("cheap.parquet").is_file());

    let (forced, stdout, stderr) = run(&["rm", &path, "--force"]);
    assert!(forced.status.success() && stdout.contains("although"), "{stdout}{stderr}");
    let (_, stdout, _) = run(&["lineage", &cheap_path]);
    assert!(stdout.contains("(deleted 20") && stdout.contains("filter 20"), "{stdout}");
    for (format, part) in
        [("json", "\"deleted\""), ("dot", "style=dashed"), ("openlineage", "\"eventType\":\"COMPLETE\"")]
    {
        let (_, stdout, stderr) = run(&["lineage", &cheap_path, "--format", format]);
        assert!(stdout.contains(part), "{format}: {stdout}{stderr}");
    }
    let (failed, _, stderr) = run(&["replay", &cheap_path]);
    assert!(!failed.status.success() && stderr.contains("is not there"), "{stderr}");
    let (failed, _, stderr) = run(&["show", "datasets/toys/none.lance", "--project", "p"]);
    assert!(!failed.status.success() && stderr.contains("error: "), "{stderr}");
}
