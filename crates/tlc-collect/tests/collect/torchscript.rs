//! TorchScript files: what a predictor hears is what Python's forward hooks saw (`fixtures/make.py`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use tch::{Kind, Tensor};
use tlc_collect::{Calls, CollectError, Inputs, Model, Predictor, TorchScriptModel, summary};

use crate::python::{Seen, relative_error};

const FIXTURES: [&str; 8] =
    ["plain_scripted", "plain_traced", "overwritten", "branches", "shared", "structured", "attention", "grey"];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/collect/fixtures").join(name)
}

fn load(name: &str) -> TorchScriptModel {
    TorchScriptModel::load(file(&format!("{name}.pt"))).expect("a TorchScript file")
}

fn seen(name: &str) -> Seen {
    Seen::read(&file(&format!("{name}.npz"))).expect("arrays")
}

fn one_input(name: &str) -> Tensor {
    seen(name).input.only().expect("one tensor").shallow_clone()
}

fn assert_near(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let error = relative_error(found, expected);
    assert!(error <= 1e-5, "{what}: {error}");
}

#[test]
fn names_are_pythons() {
    for name in FIXTURES {
        let model = load(name);
        let paths: Vec<&str> = model.tree().named_modules().iter().map(|module| module.path.as_str()).collect();
        assert_eq!(paths, seen(name).names, "{name}");
    }
}

#[test]
fn every_layer_says_what_pythons_hooks_saw() {
    let mut compared = 0;
    for name in FIXTURES {
        let Seen { input, outputs, .. } = seen(name);
        let mut last: BTreeMap<(&str, &str), &Tensor> = BTreeMap::new();
        for ((layer, _, part), tensor) in &outputs {
            last.insert((layer, part), tensor);
        }
        for ((layer, part), expected) in last {
            let model = load(name);
            let index = model.tree().named_modules().iter().position(|module| module.path == layer).expect("listed");
            let model = if part.is_empty() { model } else { model.element(index, part).expect("a known layer") };
            // The model's own result is a dictionary.
            let model =
                if name == "structured" && index != 0 { model.element(0, "boxes").expect("known") } else { model };
            let predictor = Predictor::new(&model, [index]).expect("a known layer");
            let heard = predictor.predict(&input).expect("runs").hidden_layers.remove(&index).expect("heard");
            assert_near(&heard, expected, &format!("{name}: {layer} {part}"));
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}

#[test]
fn the_elements_of_a_models_result_come_beside_the_one_that_was_chosen() {
    let Seen { input, .. } = seen("structured");
    let model = load("structured").element(0, "boxes").expect("known");
    let output = Predictor::new(&model, [0]).expect("known").predict(&input).expect("runs");
    assert!(output.metadata.len() > 1, "{:?}", output.metadata.keys());
    assert_eq!(output.metadata["boxes"], output.forward);
}

#[test]
fn all_layers_are_heard_in_one_pass_and_the_output_stays() {
    let Seen { input, outputs, names } = seen("plain_scripted");
    let model = load("plain_scripted");
    let called: Vec<usize> =
        (0..names.len()).filter(|&index| outputs.contains_key(&(names[index].clone(), 0, String::new()))).collect();
    let output = Predictor::new(&model, called.clone()).expect("known").predict(&input).expect("runs");
    for index in called {
        let expected = &outputs[&(names[index].clone(), 0, String::new())];
        assert_near(&output.hidden_layers[&index], expected, &names[index]);
    }
    assert_near(&output.forward, &outputs[&(String::new(), 0, String::new())], "the model's output");
    assert_near(&model.forward_t(input.only().expect("one tensor"), false), &output.forward, "without listeners");
}

#[test]
fn several_calls_are_the_last_all_or_their_mean() {
    let Seen { input, outputs, .. } = seen("branches");
    let calls: Vec<&Tensor> = (0..3).map(|call| &outputs[&("step".to_owned(), call, String::new())]).collect();
    let heard = |calls: Calls| {
        let model = load("branches").calls(calls);
        let index = model.tree().find(&"step".into()).expect("known").index;
        Predictor::new(&model, [index]).expect("known").predict(&input).expect("runs").hidden_layers.remove(&index)
    };
    let stacked = Tensor::stack(&calls, 1);
    assert_near(&heard(Calls::Last).expect("heard"), calls[2], "last");
    assert_near(&heard(Calls::All).expect("heard"), &stacked, "all");
    assert_near(&heard(Calls::Mean).expect("heard"), &stacked.mean_dim(1, false, Kind::Float), "mean");
}

#[test]
fn what_cannot_be_heard_is_said() {
    let input = seen("branches").input;
    let message = |model: &TorchScriptModel, layer: &str| {
        let predictor = Predictor::new(model, [layer]).expect("a known layer");
        predictor.predict(&input).expect_err("refused").to_string()
    };
    // The branch that is not taken; a list of layers, which nobody calls.
    let branches = load("branches");
    assert_eq!(
        message(&branches, "down"),
        "layer 2 (\"down\") was not called in the forward pass, or where it cannot be heard; `layers` lists what is called"
    );
    assert_eq!(
        message(&branches, "many"),
        "layer 4 (\"many\") was not called in the forward pass, or where it cannot be heard; `layers` lists what is called"
    );
    let structured = load("structured");
    let several = message(&structured, "pair");
    assert_eq!(several, "layer 1 returns 0, 1.0, 1.1, not one tensor; choose one with `element`");
    let unknown = message(&structured.element("pair", "2").expect("known"), "pair");
    assert_eq!(unknown, "layer 1 returns no element \"2\"; it returns 0, 1.0, 1.1");
}

#[test]
fn a_wrong_shape_gets_libtorchs_reason_alone() {
    let model = load("branches");
    let predictor = Predictor::new(&model, ["up"]).expect("known");
    let error = predictor.predict(Tensor::ones([2, 5], (Kind::Float, tch::Device::Cpu))).expect_err("refused");
    assert_eq!(error.to_string(), "cannot run the model on inputs of shape [2, 5]");
    let cause = std::error::Error::source(&error).expect("libtorch's").to_string();
    assert!(cause.contains("2x5 and 6x6") && !cause.contains("Traceback"), "{cause}");
    // Further down, within branches and functions of the file.
    let plain = load("plain_scripted");
    let of_images = Predictor::new(&plain, ["stem"]).expect("known");
    let error = of_images.predict(Tensor::ones([3, 8, 8], (Kind::Float, tch::Device::Cpu))).expect_err("refused");
    let cause = std::error::Error::source(&error).expect("libtorch's").to_string();
    assert_eq!(cause, "running_mean should contain 8 elements not 4 (in torch.nn.modules.batchnorm)");
    // The model is usable afterwards.
    predictor.predict(&seen("branches").input).expect("runs");
}

#[test]
fn inputs_go_by_place_or_by_name() {
    let (model, input) = (load("branches"), one_input("branches"));
    let predictor = Predictor::new(&model, ["step"]).expect("known");
    let layer = predictor.layers()[0];
    let heard = |inputs: Inputs| predictor.predict(inputs).map(|mut output| output.hidden_layers.remove(&layer));
    let by_place = heard((&input).into()).expect("runs").expect("heard");
    let by_name = heard(Inputs::named([("x", input.shallow_clone())])).expect("runs").expect("heard");
    assert_eq!(by_place, by_name, "and the number of steps is its default");
    let cause = |inputs: Inputs| {
        let error = heard(inputs).expect_err("refused");
        format!("{error}: {}", std::error::Error::source(&error).expect("libtorch's"))
    };
    let unknown = cause(Inputs::named([("y", input.shallow_clone())]));
    assert!(unknown.contains("inputs of shape y [") && unknown.contains("missing value for argument 'x'"), "{unknown}");
    let twice = cause(Inputs::positional([input.shallow_clone()]).with("x", input.shallow_clone()));
    assert!(twice.contains("x"), "{twice}");
    let zero = cause(Inputs::named([("x\0", input.shallow_clone())]));
    assert!(zero.contains("holds a zero byte"), "{zero}");
}

#[test]
fn a_model_of_a_newer_libtorch_is_refused_by_its_version() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("newer.pt");
    let mut old = zip::ZipArchive::new(std::fs::File::open(file("branches.pt")).expect("there")).expect("an archive");
    let mut new = zip::ZipWriter::new(std::fs::File::create(&path).expect("writable"));
    for index in 0..old.len() {
        let entry = old.by_index_raw(index).expect("whole");
        let name = entry.name().expect("UTF-8").into_owned();
        if name.ends_with("/version") {
            drop(entry);
            new.start_file(
                name,
                zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored),
            )
            .expect("named");
            std::io::Write::write_all(&mut new, b"99\n").expect("writable");
        } else {
            new.raw_copy_file(entry).expect("copied");
        }
    }
    new.finish().expect("whole");
    let error = TorchScriptModel::load(&path).expect_err("from the future");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("99") && cause.contains("version"), "{error}: {cause}");
    let error = TorchScriptModel::load_on(file("branches.pt"), tch::Device::Cuda(77)).expect_err("no such device");
    assert!(error.to_string().contains("the device is Cuda(77), and libtorch has"), "{error}");
}

#[test]
fn what_is_no_model_is_refused() {
    let message = |file: PathBuf| match TorchScriptModel::load(file) {
        Err(error @ CollectError::Torch { .. }) => {
            format!("{error}: {}", std::error::Error::source(&error).expect("a cause"))
        }
        Err(error) => error.to_string(),
        Ok(model) => panic!("{model:?}"),
    };
    assert!(message(file("absent.pt")).contains("No such file"));
    assert!(message(file("make.py")).contains("it is not a TorchScript archive"));
    assert!(message(file("weights_only.pt")).contains("it holds no code"), "{}", message(file("weights_only.pt")));
    let folder = tempfile::tempdir().expect("a folder");
    let written = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("writable");
        path
    };
    let no_archive = "it is not a TorchScript archive, or it is cut short; export a model with torch.jit.trace or \
                      torch.jit.script";
    let whole = std::fs::read(file("shared.pt")).expect("readable");
    for (name, bytes) in [
        ("cut.pt", &whole[..whole.len() / 2]),
        // `pickle.dumps({"weight": [1.0]})`, as torch.save wrote before it wrote archives.
        ("pickle.pt", b"\x80\x02}q\x00X\x06\x00\x00\x00weightq\x01]q\x02G?\xf0\x00\x00\x00\x00\x00\x00as.".as_slice()),
        ("empty.pt", b""),
    ] {
        let path = written(name, bytes);
        assert_eq!(message(path.clone()), format!("cannot load {}: {no_archive}", path.display()));
    }
    // The archive's end is there, and what it points to is not.
    let mut hole = whole.clone();
    hole[200..whole.len() / 2].fill(0);
    let found = message(written("hole.pt", &hole));
    assert!(found.starts_with("cannot load") && found.lines().count() == 1, "{found}");
    // A few bytes of an archive that say they are many.
    let bomb = folder.path().join("bomb.pt");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&bomb).expect("writable"));
    archive.start_file("bomb/data.pkl", zip::write::SimpleFileOptions::default()).expect("named");
    for _ in 0..65 {
        std::io::Write::write_all(&mut archive, &vec![0; 1 << 20]).expect("writable");
    }
    archive.finish().expect("whole");
    let found = message(bomb);
    assert!(found.contains("claim to unpack to 68157440") && found.contains("made to do harm"), "{found}");
}

#[test]
fn a_summary_shows_what_ran() {
    let summary = summary(&load("plain_scripted"), &Inputs::zeros(&[2, 3, 8, 8]).expect("small")).expect("runs");
    let of = |path: &str| summary.layers.iter().find(|layer| layer.path == path);
    assert_eq!(of("stages.1").expect("ran").output_shape, [2, 8, 8, 8]);
    assert_eq!(of("stem.conv").expect("ran").kind, "Conv2d");
    assert_eq!(of("head").expect("ran").n_parameters, 8 * 5 + 5);
    assert!(of("unused").is_none(), "it did not run");
}

#[test]
fn threads_share_a_model() {
    let (model, Seen { input, outputs, .. }) = (load("shared"), seen("shared"));
    let expected = &outputs[&("first".to_owned(), 1, String::new())];
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let input = input.only().expect("one tensor").copy();
            let expected = expected.copy();
            let model = &model;
            scope.spawn(move || {
                let predictor = Predictor::new(model, ["first"]).expect("known");
                for _ in 0..20 {
                    let heard = predictor.predict(&input).expect("runs");
                    assert_near(&heard.hidden_layers[&1], &expected, "first");
                }
            });
        }
    });
}
