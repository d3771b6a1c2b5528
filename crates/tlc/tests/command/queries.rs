//! `tlc apply` and `tlc sql`.

use std::fs;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use tlc::core::Progress;
use tlc::table::read_file;

use super::faults::{run_with_embeddings, urls};
use super::{output, project, tlc};

#[test]
fn a_model_is_applied_to_a_table_and_the_result_can_be_asked_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let project = project(folder.path());
    let run = run_with_embeddings(&project, "r");
    let source = urls(&run)[0].to_path().expect("local");
    let run_command = |args: &[&str]| {
        let mut command = tlc();
        command.args(args).arg("--project").arg(folder.path());
        output(command)
    };
    let (reduced, stdout, stderr) = run_command(&["reduce", "r", "--method", "pca", "--keep-source-tables"]);
    assert!(reduced.status.success(), "{stdout}{stderr}");
    let models = run.url().join("models").expect("valid");
    let name = project.store().list_folders(&models).expect("there").pop().expect("a model");
    let model = models.join(&name).expect("valid").to_path().expect("local").display().to_string();
    let out = folder.path().join("datasets/toys/applied.lance");
    let (source, out_text) = (source.display().to_string(), out.display().to_string());
    let apply = ["apply", &model, "--table", &source, "--out", &out_text, "--rows-per-task", "7"];
    let (applied, stdout, stderr) = run_command(&apply);
    assert!(applied.status.success(), "{stdout}{stderr}");
    let url = project.root().join("datasets/toys/applied.lance").expect("valid");
    let info = project.store().info(&url).expect("made");
    assert!(stdout.contains(&format!("{} rows", info.rows)), "{stdout}");
    assert!(stdout.contains(info.digest.as_deref().expect("it has one")), "{stdout}");
    project.store().verify(&url, &Progress::default()).expect("whole");
    let (again, _, stderr) = run_command(&apply);
    assert!(!again.status.success() && stderr.contains("already exists"), "{stderr}");

    // From the project on or below an alias, and of the nearest project above the table, whose places lineage names.
    let spelled = |args: &[&str]| {
        let mut command = tlc();
        command.args(args).current_dir(folder.path().parent().expect("not the root"));
        command.env("TLC_ALIAS_RUN", folder.path().join("runs/r")).env("TLC_ALIAS_OUT", folder.path().join("datasets"));
        output(command)
    };
    let (model_in_run, root) = (format!("<RUN>/models/{name}"), folder.path().display().to_string());
    let source_in_run = format!("runs/r/metrics/{}", urls(&run)[0].file_name());
    let within = ["apply", &model_in_run, "--table", &source_in_run, "--out", "datasets/toys/within.lance"];
    for (args, made) in [
        ([&within[..], &["--project", &root]].concat(), "within"),
        (vec!["apply", &model_in_run, "--table", &source, "--out", "<OUT>/toys/nearest.lance"], "nearest"),
    ] {
        let (result, stdout, stderr) = spelled(&args);
        assert!(result.status.success(), "{args:?}: {stdout}{stderr}");
        let url = project.root().join(&format!("datasets/toys/{made}.lance")).expect("valid");
        let made = project.store().info(&url).expect("made");
        assert_eq!(made.digest, info.digest);
        let lineage = made.lineage().expect("it says so");
        assert_eq!(lineage.inputs[0].url.to_string(), source_in_run);
        let models: Vec<String> = lineage.models.values().map(|model| model.url.to_string()).collect();
        assert_eq!(models, [format!("runs/r/models/{name}")]);
    }

    let (counted, stdout, stderr) = run_command(&["sql", "select count(*) as n, min(example_id) from applied"]);
    assert!(counted.status.success() && stdout.contains(&format!("| {} ", info.rows)), "{stdout}{stderr}");
    for (rows, told) in [(2, Some(2)), (0, Some(0)), (info.rows, None)] {
        let limit = rows.to_string();
        let query = "select example_id from applied order by example_id";
        let (printed, stdout, stderr) = run_command(&["sql", query, "--rows", &limit]);
        assert!(printed.status.success(), "{stdout}{stderr}");
        let lines = stdout.lines().filter(|line| line.starts_with("| ")).count() as u64;
        assert_eq!(lines, 1 + rows, "a header and the rows: {stdout}");
        let told = told.map(|shown| format!("{} rows, of which {shown} are shown", info.rows));
        assert!(told.as_ref().is_none_or(|told| stdout.contains(told)), "{stdout}");
        assert_eq!(stdout.contains("are shown"), told.is_some(), "{stdout}");
    }
    let csv = folder.path().join("rows.csv").display().to_string();
    let query = "select example_id, embeddings_pca_ood from applied order by example_id limit 3";
    let (written, stdout, stderr) = run_command(&["sql", query, "--out", &csv]);
    assert!(written.status.success() && stdout.contains("3 rows"), "{stdout}{stderr}");
    let text = fs::read_to_string(&csv).expect("written");
    assert_eq!(text.lines().next(), Some("example_id,embeddings_pca_ood"));
    assert_eq!(text.lines().count(), 4, "{text}");
    let arrow = folder.path().join("rows.arrow");
    let (written, stdout, stderr) =
        run_command(&["sql", query, "--out", &arrow.display().to_string(), "--memory", "64"]);
    assert!(written.status.success() && stdout.contains("3 rows"), "{stdout}{stderr}");
    let (schema, batches) = read_file(&arrow).expect("an Arrow file");
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["example_id", "embeddings_pca_ood"]);
    let batches: Vec<RecordBatch> = batches.map(|batch| batch.expect("readable")).collect();
    let ids = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
    assert_eq!(ids.collect::<Vec<_>>(), [0, 1, 2]);
    let scores = batches.iter().flat_map(|batch| batch.column(1).as_primitive::<Float32Type>().values().to_vec());
    let lines = text.lines().skip(1).map(|line| line.rsplit_once(',').expect("two cells").1.parse::<f32>());
    let told: Vec<f32> = lines.map(|score| score.expect("a number")).collect();
    assert_eq!(scores.collect::<Vec<_>>(), told, "what the other file says");
    let (listed, stdout, _) = run_command(&["sql", "--tables"]);
    assert!(listed.status.success() && stdout.contains("\"datasets/toys/applied\""), "{stdout}");
    let (unknown, _, stderr) = run_command(&["sql", "select * from aplied"]);
    assert!(!unknown.status.success() && stderr.contains("has no table \"aplied\"; it has applied"), "{stderr}");
}
