//! `tlc layers` and `tlc collect` on exported models (`tlc-collect/tests/collect/fixtures`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use image::{Rgb, RgbImage};
use tch::{Kind, Tensor, kind::FLOAT_CPU};
use tlc::core::{FieldRoles, Lineage, NumberRole, Operation, Scan, TableStore, Url, embedding_values, value_map};
use tlc::table::LanceStore;

use super::{output, project, tlc};

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tlc-collect/tests/collect/fixtures").join(format!("{name}.pt"))
}

/// `tlc layers` on a fixture: whether it succeeded, what it printed, what it complained of.
fn layers(name: &str, args: &[&str]) -> (bool, String, String) {
    let mut command = tlc();
    command.arg("layers").arg(model(name)).args(args);
    let (result, stdout, stderr) = output(command);
    (result.status.success(), stdout, stderr)
}

/// A project in a folder, and what `tlc collect` is run on.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn array(&self, name: &str, tensor: &Tensor) -> String {
        let file = self.at(name);
        tensor.write_npy(&file).expect("writable");
        file.display().to_string()
    }

    /// Pictures of 12 × 10 in one folder per class.
    fn pictures(&self, classes: &[(&str, usize)]) -> String {
        self.pictures_in("pictures", classes)
    }

    fn pictures_in(&self, folder: &str, classes: &[(&str, usize)]) -> String {
        let folder = self.at(folder);
        for (class, n) in classes {
            fs::create_dir_all(folder.join(class)).expect("writable");
            for i in 0..*n {
                let colour = Rgb([i as u8 * 40, 90, class.len() as u8]);
                let file = folder.join(class).join(format!("{i}.png"));
                RgbImage::from_pixel(12, 10, colour).save(file).expect("writable");
            }
        }
        folder.display().to_string()
    }

    /// `tlc collect` into the run `run`.
    fn collect(&self, name: &str, run: &str, args: &[&str]) -> Result<Collected, String> {
        let mut command = tlc();
        command.arg("collect").arg(model(name)).args(args).args(["--run", run, "--project"]).arg(self.0.path());
        let (result, stdout, stderr) = output(command);
        if !result.status.success() {
            assert!(stderr.starts_with("error: ") && !stderr.contains("panicked"), "{stderr}");
            return Err(stderr);
        }
        let metrics = project(self.0.path()).open_run(run).expect("there").metrics().expect("readable");
        let url = &metrics.last().expect("a table").url;
        let store = LanceStore::default();
        let batches =
            store.scan(url, Scan::default()).expect("readable").collect::<Result<Vec<_>, _>>().expect("whole");
        assert_eq!(batches.len(), 1, "few rows are one batch");
        Ok(Collected { rows: batches[0].clone(), stdout })
    }
}

#[derive(Debug)]
struct Collected {
    rows: RecordBatch,
    stdout: String,
}

impl Collected {
    fn names(&self) -> Vec<String> {
        self.rows.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn numbers(&self, column: &str) -> Vec<i64> {
        self.rows.column_by_name(column).expect(column).as_primitive::<Int64Type>().values().to_vec()
    }

    fn embeddings(&self, layer: usize) -> Tensor {
        let values = embedding_values(&self.rows, &format!("embeddings_{layer}")).expect("embeddings");
        let (n, width) = values.dim();
        Tensor::from_slice(&values.iter().copied().collect::<Vec<f32>>()).reshape([n as i64, width as i64])
    }
}

fn is_near(a: &Tensor, b: &Tensor) -> bool {
    a.size() == b.size() && (a - b).abs().max().double_value(&[]) < 1e-5
}

#[test]
fn layers_are_listed_with_what_to_type_and_what_it_gives() {
    let lines = |name: &str, args: &[&str]| {
        let (is_fine, stdout, stderr) = layers(name, args);
        assert!(is_fine, "{stderr}");
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        stdout.lines().map(words).collect::<Vec<_>>()
    };
    let plain = lines("plain_traced", &["--input-size", "2,3,8,8"]);
    assert_eq!(plain[0], "index path kind parameters multiply-adds output widths");
    assert_eq!(plain[1], "0 (model) Plain 0 0 [2, 5] mean 5, flatten 5");
    assert_eq!(
        plain[3],
        "2 stem.conv Conv2d 112 14336 [2, 4, 8, 8] mean 4, flatten 256, avg_pool_1_1 4, avg_pool_2_2 16, avg_pool_3_3 \
         36, max_pool 4"
    );
    assert_eq!(plain.len(), 1 + 17, "{plain:?}");
    let large = lines("plain_traced", &["--input-size", "1,3,64,64", "--device", "cpu"]);
    assert!(large.last().expect("a warning").starts_with("! more than 4096 values per sample"), "{large:?}");

    let structured = ["--input-size", "2,6"];
    assert_eq!(lines("structured", &structured)[2], "1 pair Pair 0 0 [2, 3] choose an element: 0, 1.0, 1.1");
    let chosen = lines("structured", &[structured.as_slice(), &["--element", "pair=1.0"]].concat());
    assert_eq!(chosen[2], "1 pair Pair 0 0 [2, 4] mean 4, flatten 4");
    assert_eq!(lines("silent", &structured)[3], "2 count Count 0 0 -- returns no tensor");

    let place = Place::new();
    let x = place.array("x.npy", &Tensor::ones([5, 3, 6], FLOAT_CPU));
    let mask = place.array("mask.npy", &Tensor::ones([5, 3, 1], FLOAT_CPU));
    let by_name = ["--npy", &format!("mask={mask}"), "--npy", &format!("x={x}")];
    let by_place = ["--npy", x.as_str(), "--npy", mask.as_str()];
    for arrays in [by_name.as_slice(), &by_place] {
        let two = lines("two_inputs", arrays);
        assert_eq!(
            two[3],
            "2 encoder.dense Linear 28 28 [1, 3, 4] mean 3, flatten 12, max_pool 3, mean_tokens 4, cls_token 4"
        );
    }
}

#[test]
fn layers_that_cannot_be_listed_are_one_error() {
    let refused = |name: &str, args: &[&str], expected: &str| {
        let (is_fine, stdout, stderr) = layers(name, args);
        assert!(!is_fine && stdout.is_empty(), "{stdout}");
        assert!(stderr.contains(expected) && !stderr.contains("panicked"), "{stderr}");
    };
    refused("absent", &[], "No such file");
    refused("weights_only", &[], "it holds no code, only weights; export a model with torch.jit.trace");
    refused("plain_traced", &["--input-size", "1,4,8,8"], "cannot run the model on inputs of shape [1, 4, 8, 8]");
    refused("plain_traced", &["--input-size", "1,4,8,8"], "to have 3 channels");
    refused("plain_traced", &["--device", "cuda:77"], "the device is Cuda(77), and libtorch has");
    refused("plain_traced", &["--device", "tpu"], "cpu, cuda or cuda:N is needed");
    refused("structured", &["--input-size", "2,6", "--element", "pair"], "LAYER=ELEMENT is needed");
    refused("structured", &["--input-size", "2,6", "--element", "pear=0"], "near: pair");
}

#[test]
fn a_folder_of_pictures_becomes_a_table_with_its_sub_folders_as_classes() {
    let place = Place::new();
    let folder = place.pictures(&[("cat", 3), ("horse", 2)]);
    fs::write(place.at("pictures/cat/notes.txt"), "no picture").expect("writable");
    let usual = ["--images", folder.as_str(), "--size", "8", "--layers", "stem.conv,pool"];
    let two =
        place.collect("plain_traced", "two", &[usual.as_slice(), &["--reshape", "avg_pool_2_2,flatten"]].concat());
    let two = two.expect("collected");
    assert!(
        two.stdout.contains("5 rows in") && two.stdout.contains("skipped ") && two.stdout.contains("notes.txt"),
        "{two:?}"
    );
    assert_eq!(two.numbers("example_id"), [0, 1, 2, 3, 4]);
    assert_eq!(two.numbers("label"), [0, 0, 0, 1, 1]);
    let schema = two.rows.schema();
    let names = value_map(schema.field_with_name("label").expect("there"));
    assert_eq!(names.into_values().collect::<Vec<_>>(), ["cat", "horse"]);
    assert_eq!((two.embeddings(2).size(), two.embeddings(14).size()), (vec![5, 16], vec![5, 8]));
    assert!(two.stdout.contains("no loss or accuracy: the samples have 2 classes"), "{two:?}");
    assert!(!two.names().contains(&"loss".to_owned()));
    let tables: Vec<String> = project(place.0.path()).run_names().expect("readable");
    assert_eq!(tables, ["two"]);
    let run = project(place.0.path()).open_run("two").expect("listed");
    let left_out = run.record().expect("readable").parameters["undecodable"].to_string();
    assert!(left_out.starts_with('[') && left_out.ends_with("cat/notes.txt\"]"), "{left_out}");

    let one = place.collect("plain_traced", "one", &[usual.as_slice(), &["--classify", "--half-precision"]].concat());
    let one = one.expect("collected");
    assert!(one.names().contains(&"loss".to_owned()) && one.stdout.contains("mean correct"), "{one:?}");
    assert_eq!((one.embeddings(2).size(), one.embeddings(14).size()), (vec![5, 4], vec![5, 8]), "mean for both");

    let labels = place.at("labels.csv");
    let rows: Vec<String> = ["cat/0", "cat/1", "cat/2", "horse/0", "horse/1"]
        .iter()
        .enumerate()
        .map(|(i, name)| format!("{name}.png,{}", ["even", "odd"][i % 2]))
        .collect();
    fs::write(&labels, format!("file,label\n{}\n", rows.join("\n"))).expect("writable");
    let csv = labels.display().to_string();
    let labelled = place.collect("plain_traced", "csv", &[usual.as_slice(), &["--labels", &csv]].concat());
    assert_eq!(labelled.expect("collected").numbers("label"), [0, 1, 0, 1, 0]);
    fs::write(&labels, "file,label\ncat/0.png,even\n").expect("writable");
    let error = place.collect("plain_traced", "csv", &[usual.as_slice(), &["--labels", &csv]].concat());
    assert!(error.expect_err("4 are missing").contains("4 of 5 images have no row"));

    let refused = |args: &[&str], expected: &str| {
        let error = place.collect("plain_traced", "bad", &[usual.as_slice(), args].concat()).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    };
    refused(&["--reshape", "mean,mean,mean"], "--reshape names 3 strategies for 2 layers");
    refused(&["--reshape", "median"], "unknown reshape strategy \"median\"; known: mean, flatten");
    refused(&["--reshape", "cls_token"], "(batch, tokens, features) is needed");
    refused(&["--normalise", "imagnet"], "--normalise is \"imagnet\"; known: imagenet, half, none");
    refused(&["--channels", "1"], "to have 3 channels");
    assert_eq!(project(place.0.path()).run_names().expect("readable").len(), 4, "no table, but the run it was for");
}

#[test]
fn corrected_labels_make_another_table_of_samples() {
    let place = Place::new();
    let folder = place.pictures(&[("a", 3)]);
    let csv = place.at("labels.csv");
    let described = |labels: [&str; 3]| {
        let rows: Vec<String> = labels.iter().enumerate().map(|(i, label)| format!("a/{i}.png,{label}")).collect();
        fs::write(&csv, format!("file,label\n{}\n", rows.join("\n"))).expect("writable");
        let args = ["--images", &folder, "--size", "8", "--layers", "pool", "--labels", &csv.display().to_string()];
        place.collect("plain_traced", "r", &args).expect("collected");
        let metrics = project(place.0.path()).open_run("r").expect("there").metrics().expect("readable");
        let url = metrics.last().and_then(|entry| entry.foreign_table.clone()).expect("it says what it describes");
        let store = LanceStore::default();
        let names = value_map(store.info(&url).expect("there").schema.field_with_name("label").expect("labelled"));
        let rows = store.scan(&url, Scan::columns(["label"])).expect("readable").next().expect("rows").expect("whole");
        let numbers = rows.column(0).as_primitive::<Int64Type>().values().to_vec();
        (url, numbers.iter().map(|number| names[number].clone()).collect::<Vec<_>>())
    };
    let (first, labels) = described(["cat", "dog", "cat"]);
    assert_eq!(labels, ["cat", "dog", "cat"]);
    let (corrected, labels) = described(["cat", "dog", "dog"]);
    assert_eq!(labels, ["cat", "dog", "dog"]);
    let (renamed, labels) = described(["cat", "wolf", "wolf"]);
    assert_eq!(labels, ["cat", "wolf", "wolf"], "the same numbers");
    assert!(corrected != first && renamed != corrected);
    assert_eq!(described(["cat", "dog", "cat"]).0, first, "what is there is used");
}

#[test]
fn every_epoch_of_every_folder_has_a_picture_of_its_own() {
    let place = Place::new();
    let folders = ["old/photos", "new/photos", "others"];
    for folder in folders {
        let folder = place.pictures_in(folder, &[("a", 4), ("bc", 2)]);
        for epoch in ["{\"epoch\": 0}", "{\"epoch\": 1}"] {
            let args = ["--images", &folder, "--size", "8", "--layers", "pool", "--constants", epoch];
            place.collect("plain_traced", "r", &args).expect("collected");
        }
    }
    let run = |args: &[&str]| {
        let mut command = tlc();
        command.args(args).args(["--project", "."]).current_dir(place.0.path());
        output(command)
    };
    let (reduced, stdout, stderr) = run(&["reduce", "r", "--method", "pca"]);
    assert!(reduced.status.success(), "{stdout}{stderr}");
    let (drawn, stdout, stderr) = run(&["plot", "r", "--gif", "--out", "drawn"]);
    assert!(drawn.status.success() && stdout.contains("6 pictures"), "{stdout}{stderr}");
    let mut files: Vec<String> = fs::read_dir(place.at("drawn"))
        .expect("drawn")
        .map(|file| file.expect("readable").file_name().into_string().expect("text"))
        .collect();
    files.sort();
    let mut expected = vec!["contact-sheet.png".to_owned()];
    for dataset in ["others", "photos", "photos-2"] {
        expected.push(format!("{dataset}-embeddings_14_pca.gif"));
        for epoch in [0, 1] {
            let picture = |kind: &str| format!("{dataset}-epoch-{epoch}-embeddings_14_pca.{kind}");
            expected.extend([picture("png"), picture("svg")]);
        }
    }
    expected.sort();
    assert_eq!(files, expected);
    let (unknown, _, stderr) = run(&["find", "duplicates", "r", "--dataset", "samples"]);
    assert!(!unknown.status.success() && stderr.contains("datasets: photos, photos-2, others"), "{stderr}");
    let (found, stdout, stderr) = run(&["find", "outliers", "r", "--dataset", "photos-2", "--epoch", "1"]);
    assert!(found.status.success() && stdout.contains(" in photos-2, epoch 1,"), "{stdout}{stderr}");
}

#[test]
fn grey_pictures_are_for_models_of_one_channel() {
    let place = Place::new();
    let folder = place.pictures(&[("a", 2)]);
    let usual = ["--images", folder.as_str(), "--size", "8", "--layers", "conv"];
    let grey = place.collect("grey", "grey", &[usual.as_slice(), &["--channels", "1"]].concat()).expect("collected");
    assert_eq!(grey.embeddings(1).size(), [2, 2]);
    let error = place.collect("grey", "colours", &usual).expect_err("three channels");
    assert!(error.contains("to have 1 channels, but got 3 channels instead"), "{error}");
    let mut wrong = tlc();
    wrong.arg("collect").arg(model("grey")).args(usual).args(["--channels", "2"]);
    assert!(output(wrong).2.contains("1 (grey) or 3 (red, green, blue) is needed"));
}

#[test]
fn several_calls_of_a_layer_are_the_last_all_or_their_mean() {
    let place = Place::new();
    let rows = place.array("rows.npy", &(Tensor::rand([4, 6], FLOAT_CPU) + 0.1));
    let heard = |run: &str, args: &[&str]| {
        let usual = ["--npy", rows.as_str(), "--layers", "step"];
        place.collect("branches", run, &[usual.as_slice(), args].concat()).expect("collected").embeddings(3)
    };
    let last = heard("last", &[]);
    let all = heard("all", &["--calls", "all", "--reshape", "flatten"]);
    assert_eq!((last.size(), all.size()), (vec![4, 6], vec![4, 18]));
    assert!(is_near(&all.narrow(1, 12, 6), &last), "the last of three");
    let mean = heard("mean", &["--calls", "mean"]);
    assert!(is_near(&mean, &all.reshape([4, 3, 6]).mean_dim(1, false, Kind::Float)));
    assert!(is_near(&heard("named", &["--calls", "last"]), &last));
    let error = place.collect("branches", "none", &["--npy", &rows, "--layers", "down"]).expect_err("never called");
    assert!(error.contains("layer 2 (\"down\") was not called in the forward pass"), "{error}");
}

#[test]
fn elements_are_chosen_of_layers_and_models_that_return_several_tensors() {
    let place = Place::new();
    let rows = place.array("rows.npy", &Tensor::rand([4, 6], FLOAT_CPU));
    let usual = ["--npy", rows.as_str(), "--layers", "pair"];
    let collect = |elements: &[&str]| {
        let chosen: Vec<&str> = elements.iter().flat_map(|element| ["--element", element]).collect();
        place.collect("structured", "run", &[usual.as_slice(), &chosen].concat())
    };
    assert_eq!(collect(&["0=boxes", "pair=1.0"]).expect("collected").embeddings(1).size(), [4, 4]);
    assert_eq!(collect(&["0=scores", "1=0"]).expect("collected").embeddings(1).size(), [4, 3]);
    let error = collect(&["0=boxes"]).expect_err("three tensors");
    assert!(error.contains("layer 1 returns 0, 1.0, 1.1, not one tensor; choose one with `element`"), "{error}");
    let error = collect(&["0=boxes", "pair=2"]).expect_err("no such element");
    assert!(error.contains("layer 1 returns no element \"2\"; it returns 0, 1.0, 1.1"), "{error}");
    let error = collect(&["0=boxes", "pair"]).expect_err("no element");
    assert!(error.contains("--element is \"pair\"; LAYER=ELEMENT is needed"), "{error}");
    let silent = place.collect("silent", "run", &["--npy", &rows, "--layers", "count"]).expect_err("an int");
    assert!(silent.contains("layer 2 (\"count\") was called but returned no tensor: int"), "{silent}");
}

#[test]
fn labels_of_arrays_give_loss_and_accuracy() {
    let place = Place::new();
    let rows = place.array("rows.npy", &Tensor::rand([4, 6], FLOAT_CPU));
    let labels = |values: &[i64]| place.array("labels.npy", &Tensor::from_slice(values));
    let usual = ["--npy", rows.as_str(), "--layers", "first", "--constants", r#"{"epoch": 3}"#, "--labels"];
    let collect = |file: &str| place.collect("shared_traced", "run", &[usual.as_slice(), &[file]].concat());
    let collected = collect(&labels(&[0, 1, 1, 0])).expect("collected");
    assert_eq!((collected.numbers("label"), collected.numbers("epoch")), (vec![0, 1, 1, 0], vec![3; 4]));
    let loss = collected.rows.column_by_name("loss").expect("there").as_primitive::<Float32Type>();
    let mean = loss.values().iter().sum::<f32>() / 4.0;
    assert!(collected.stdout.contains(&format!("mean loss: {mean:.4}")), "{collected:?}");
    let outside = collect(&labels(&[0, 1, 7, 0])).expect("collected");
    assert!(outside.stdout.contains("no loss or accuracy: the samples have 8 classes"), "{outside:?}");
    let negative = collect(&labels(&[0, 1, -1, 0])).expect_err("no class");
    assert!(negative.contains("a label is -1; the model has classes 0 to 1"), "{negative}");
    let short = collect(&labels(&[0, 1])).expect_err("two labels of four");
    assert!(short.contains("labels are [2] of Int64; (4,) of Int64 is needed"), "{short}");
}

#[test]
fn rows_of_arrays_may_have_texts_which_the_page_shows() {
    let place = Place::new();
    let rows = place.array("rows.npy", &Tensor::rand([3, 6], FLOAT_CPU));
    let labels = place.array("labels.npy", &Tensor::from_slice(&[0_i64, 1, 1]));
    let file = place.at("texts.txt");
    let collect = |texts: &str| {
        fs::write(&file, texts).expect("writable");
        let file = file.display().to_string();
        let args = ["--npy", rows.as_str(), "--layers", "first", "--labels", labels.as_str(), "--texts", file.as_str()];
        place.collect("shared_traced", "run", &args)
    };
    collect("a cat\ntwo dogs, “so to say”\n\n").expect("three lines, of which one is empty");
    let project = project(place.0.path());
    let run = project.open_run("run").expect("there");
    let scene = tlc::view::Scene::of_run(&project, &run).expect("readable");
    assert_eq!(scene.datasets[0].text_column.as_deref(), Some("text"));
    let text = |id: i64| scene.sample(0, id, None).expect("readable").text;
    assert_eq!(text(1).as_deref(), Some("two dogs, “so to say”"));
    assert_eq!(scene.column("label").expect("beside them").classes.len(), 2);
    let short = collect("a cat\n").expect_err("one text of three");
    assert!(short.contains("--texts has 1 lines for 3 rows of the arrays; one for each is needed"), "{short}");
}

/// A table of tensors `(n, 6)`, labels and weights in the project.
fn table_of_tensors(place: &Place) -> (Url, Tensor) {
    let values: Vec<f32> = (0..36_u8).map(|i| f32::from(i) / 36.0).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let list = |values: &[f32]| {
        Arc::new(FixedSizeListArray::new(item.clone(), 6, Arc::new(Float32Array::from(values.to_vec())), None))
            as ArrayRef
    };
    let vector = |name: &str| Field::new(name, DataType::FixedSizeList(item.clone(), 6), true);
    let classes = BTreeMap::from([(0, "cat".to_owned()), (1, "dog".to_owned())]);
    let schema = Schema::new(vec![
        vector("x"),
        vector("other"),
        Field::new("class", DataType::Int64, true).with_role(NumberRole::Label).with_value_map(&classes),
        Field::new("weight", DataType::Float32, true).with_role(NumberRole::Weight),
    ]);
    let columns: Vec<ArrayRef> = vec![
        list(&values),
        list(&[0.0; 36]),
        Arc::new(Int64Array::from(vec![0, 1, 0, 1, 0, 1])),
        Arc::new(Float32Array::from(vec![1.0, 0.0, 2.0, 1.0, 0.0, 1.0])),
    ];
    let rows = RecordBatch::try_new(Arc::new(schema.clone()), columns).expect("they fit");
    let lineage = Lineage::new("test/1", Operation::new("import", 1));
    let table =
        project(place.0.path()).create_table("toys", "toys", &schema, &lineage, Box::new([Ok(rows)].into_iter()));
    (table.expect("written").url, Tensor::from_slice(&values).reshape([6, 6]))
}

#[test]
fn rows_of_a_table_keep_their_numbers_labels_and_weights() {
    let place = Place::new();
    let (url, tensors) = table_of_tensors(&place);
    let (url, path) = (url.to_string(), url.to_path().expect("local").display().to_string());
    let collect = |run: &str, args: &[&str]| {
        place.collect("shared_traced", run, &[["--layers", "first"].as_slice(), args].concat())
    };
    let all = collect("all", &["--table", &url, "--column", "x"]).expect("collected");
    assert_eq!((all.numbers("example_id"), all.numbers("label")), (vec![0, 1, 2, 3, 4, 5], vec![0, 1, 0, 1, 0, 1]));
    assert!(all.names().contains(&"loss".to_owned()), "the model has the table's two classes");
    let schema = all.rows.schema();
    // Within a project tables are named from its folder on.
    let described = value_map(schema.field_with_name("input_table_id").expect("there"))[&0].clone();
    assert!(url.ends_with(&described) && described.starts_with("datasets/toys/"), "{described}");
    let array = place.array("x.npy", &tensors);
    let of_array = collect("array", &["--npy", &array]).expect("collected");
    assert!(is_near(&all.embeddings(1), &of_array.embeddings(1)), "the same values from an array");

    let counting =
        collect("counting", &["--table", &path, "--column", "x", "--exclude-zero-weights"]).expect("collected");
    assert_eq!(counting.numbers("example_id"), [0, 2, 3, 5]);
    assert!(is_near(
        &counting.embeddings(1),
        &all.embeddings(1).index_select(0, &Tensor::from_slice(&[0_i64, 2, 3, 5]))
    ));

    let described = &described["datasets/".len()..];
    for (run, table) in [("within", format!("datasets/{described}")), ("alias", format!("<DATA>/{described}"))] {
        let mut command = tlc();
        command
            .arg("collect")
            .arg(model("shared_traced"))
            .args(["--layers", "first", "--column", "x", "--table", &table]);
        command.args(["--run", run, "--project"]).arg(place.0.path()).env("TLC_ALIAS_DATA", place.at("datasets"));
        let (result, stdout, stderr) = output(command);
        assert!(result.status.success() && stdout.contains("6 rows in"), "{table}: {stdout}{stderr}");
    }

    let error = collect("bad", &["--table", &url]).expect_err("two columns of tensors");
    assert!(error.contains("x, other"), "{error}");
    let error = collect("bad", &["--table", &url, "--column", "y"]).expect_err("no such column");
    assert!(error.contains("\"y\" is no column that a model can be run on (those are: x, other)"), "{error}");
    let error = collect("bad", &["--table", &place.at("none.lance").display().to_string()]).expect_err("no table");
    assert!(error.contains("none.lance"), "{error}");
    let mut without_table = tlc();
    without_table.arg("collect").arg(model("shared_traced")).args(["--layers", "first", "--npy", &array]);
    // With a project of its own, should it be made all the same.
    without_table.arg("--exclude-zero-weights").arg("--project").arg(place.0.path());
    let (result, _, stderr) = output(without_table);
    assert!(!result.status.success() && stderr.contains("cannot be used with '--exclude-zero-weights'"), "{stderr}");
}
