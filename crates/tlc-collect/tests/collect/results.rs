//! What layers of TorchScript files return beside one tensor, and what they are called with (`fixtures/make.py`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use tch::{Kind, Tensor};
use tlc_collect::{Calls, CollectError, Inputs, Layers, Model, Predictor, TorchScriptModel, layers, summary};

use crate::python::relative_error;

fn load(name: &str) -> TorchScriptModel {
    TorchScriptModel::load(file(&format!("{name}.pt"))).expect("a TorchScript file")
}

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/collect/fixtures").join(name)
}

/// Inputs, names and what Python's hooks saw, by the names that `make.py` gives them.
fn arrays(name: &str) -> BTreeMap<String, Tensor> {
    Tensor::read_npz(file(&format!("{name}.npz"))).expect("arrays").into_iter().collect()
}

fn pythons_names(arrays: &BTreeMap<String, Tensor>) -> Vec<String> {
    let codes: Vec<i64> = Vec::try_from(&arrays["names"]).expect("numbers");
    let text: String = codes.into_iter().map(|code| char::from(code as u8)).collect();
    text.split('\n').map(str::to_owned).collect()
}

fn names(model: &dyn Model) -> Vec<&str> {
    model.tree().named_modules().iter().map(|module| module.path.as_str()).collect()
}

fn assert_near(found: &Tensor, expected: &Tensor) {
    assert_eq!(found.size(), expected.size());
    let error = relative_error(found, expected);
    assert!(error <= 1e-5, "{error}");
}

fn heard(model: &TorchScriptModel, layer: &str, inputs: impl Into<Inputs>) -> Result<Tensor, CollectError> {
    let mut output = Predictor::new(model, [layer])?.predict(inputs)?;
    Ok(output.hidden_layers.pop_first().expect("heard").1)
}

#[test]
fn a_layer_that_returns_no_tensor_is_said_to_have_been_called() {
    let (model, arrays) = (load("silent"), arrays("silent"));
    assert_eq!(names(&model), pythons_names(&arrays));
    let message = |layer: &str| heard(&model, layer, &arrays["input"]).expect_err("no tensor").to_string();
    assert_eq!(message("count"), "layer 2 (\"count\") was called but returned no tensor: int");
    assert_eq!(message("name"), "layer 3 (\"name\") was called but returned no tensor: str");
    assert_eq!(message("empty"), "layer 4 (\"empty\") was called but returned no tensor: Tuple[()]");
    let nothing = message("nothing");
    assert!(nothing.starts_with("layer 1 (\"nothing\") was called but returned no tensor: NoneType"), "{nothing}");
    // The others are heard as ever.
    assert_near(&heard(&model, "head", &arrays["input"]).expect("heard"), &arrays["head|0|"]);
    let listed = layers(&model, &(&arrays["input"]).into()).expect("runs");
    assert_eq!((listed[2].n_calls, listed[2].shape.as_ref()), (1, None));
    assert_eq!(listed[2].obstacle().expect("no tensor"), "returns no tensor");
    assert_eq!(listed[6].obstacle(), None);
}

#[test]
fn of_a_layer_that_returns_a_tensor_at_first_the_last_call_counts() {
    let (model, arrays) = (load("silent"), arrays("silent"));
    for calls in [Calls::Last, Calls::All, Calls::Mean] {
        let error = heard(&load("silent").calls(calls), "at_first", &arrays["input"]).expect_err("None at last");
        assert!(matches!(error, CollectError::NoTensor { layer: 5, .. }), "{error}");
    }
    let listed = layers(&model, &(&arrays["input"]).into()).expect("runs");
    assert_eq!((listed[5].n_calls, listed[5].shape.as_ref()), (2, None));
}

#[test]
fn a_shared_layer_of_a_trace_is_one_layer_and_heard_at_each_call() {
    let (model, arrays) = (load("shared_traced"), arrays("shared_traced"));
    assert_eq!(names(&model), pythons_names(&arrays));
    let input = &arrays["input"];
    assert_near(&heard(&model, "first", input).expect("heard"), &arrays["first|1|"]);
    let all = heard(&load("shared_traced").calls(Calls::All), "first", input).expect("heard");
    assert_near(&all, &Tensor::stack(&[&arrays["first|0|"], &arrays["first|1|"]], 1));
    let unknown = Predictor::new(&model, ["again"]).expect_err("the other name").to_string();
    assert!(unknown.starts_with("the model has no layer \"again\"; it has 4 (0 to 3)"), "{unknown}");
}

#[test]
fn parameters_of_a_shared_layer_count_once() {
    for name in ["shared", "shared_traced"] {
        let (model, arrays) = (load(name), arrays(name));
        let input = Inputs::from(&arrays["input"]);
        // As torchinfo: 6 × 6 + 6 once, and 6 × 2 + 2.
        let summary = summary(&model, &input).expect("runs");
        assert_eq!(summary.total_parameters, 56, "{name}");
        let first: Vec<_> = summary.layers.iter().filter(|layer| layer.path == "first").collect();
        assert_eq!((first.len(), first[0].n_parameters), (1, 42), "{name}");
        // Its calls cost each.
        let listed = layers(&model, &input).expect("runs");
        assert_eq!((listed[1].n_calls, listed[1].multiply_adds), (2, 2 * 42 * 4), "{name}");
        assert_eq!(summary.total_multiply_adds, 2 * 42 * 4 + 14 * 4, "{name}");
    }
}

#[test]
fn a_layer_that_a_trace_dropped_is_said_to_be_dropped() {
    let (model, arrays) = (load("dropped"), arrays("dropped"));
    assert_eq!(names(&model), pythons_names(&arrays));
    assert_eq!(
        heard(&model, "identity", &arrays["input"]).expect_err("dropped").to_string(),
        "layer 2 (\"identity\") was called but returned no tensor: NoneType (a trace drops what a layer hands on \
         unchanged, such as Identity: take the layer before it)"
    );
    assert_near(&heard(&model, "first", &arrays["input"]).expect("heard"), &arrays["identity|0|"]);
}

#[test]
fn two_tensors_go_in_by_place_and_an_element_of_a_layers_dictionary_is_chosen() {
    let arrays = arrays("two_inputs");
    let inputs = || Inputs::positional([arrays["input"].shallow_clone(), arrays["input|mask"].shallow_clone()]);
    let model = load("two_inputs");
    let several = heard(&model, "encoder", inputs()).expect_err("two elements").to_string();
    assert_eq!(several, "layer 1 returns hidden, pooled, not one tensor; choose one with `element`");
    let listed = layers(&model, &inputs()).expect("runs");
    assert_eq!(listed[1].elements, ["hidden", "pooled"]);
    assert_eq!(listed[1].obstacle().expect("several"), "choose an element: hidden, pooled");
    assert!(listed[1].widths().is_empty());
    for element in ["hidden", "pooled"] {
        let model = load("two_inputs").element("encoder", element).expect("a known layer");
        let found = heard(&model, "encoder", inputs()).expect("heard");
        assert_near(&found, &arrays[&format!("encoder|0|{element}")]);
        let listed = layers(&model, &inputs()).expect("runs");
        assert_eq!((listed[1].shape.as_ref(), listed[1].obstacle()), (Some(&found.size()), None));
    }
    assert_near(
        &Predictor::new(&model, [0_usize]).expect("known").predict(inputs()).expect("runs").forward,
        &arrays["|0|"],
    );
    let one = Predictor::new(&model, ["head"]).expect("known").predict(&arrays["input"]).expect_err("one is missing");
    let cause = std::error::Error::source(&one).expect("libtorch's").to_string();
    assert!(cause.contains("missing value for argument 'mask'"), "{cause}");
}

#[test]
fn gradients_flow_through_a_file_that_is_listened_to() {
    let (model, arrays) = (load("shared_traced"), arrays("shared_traced"));
    let gradient = |layers: Vec<&str>| {
        let input = arrays["input"].copy().set_requires_grad(true);
        let predictor = Predictor::new(&model, layers).expect("known").call(|model, inputs| {
            tch::with_grad(|| {
                let output = model.f_forward_inputs(inputs, false)?;
                output.sum(Kind::Float).backward();
                Ok(output)
            })
        });
        predictor.predict(&input).expect("runs");
        input.grad()
    };
    let alone = gradient(Vec::new());
    assert!(alone.defined() && alone.abs().max().double_value(&[]) > 0.0);
    assert_eq!(gradient(vec!["first", "last"]), alone);
}

#[test]
fn the_table_of_a_files_layers_says_what_to_type_and_why_not() {
    let text = |layers: Layers| layers.to_string();
    let silent = text(layers(&load("silent"), &(&arrays("silent")["input"]).into()).expect("runs"));
    let line = |text: &str, path: &str| {
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(path)).expect("a line");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line(&silent, "(model)"), "0 (model) Silent 0 0 [4, 2] mean 2, flatten 2");
    assert_eq!(line(&silent, "count"), "2 count Count 0 0 -- returns no tensor");
    assert_eq!(line(&silent, "head"), "6 head Linear 14 56 [4, 2] mean 2, flatten 2");
    let plain = text(layers(&load("plain_scripted"), &Inputs::zeros(&[2, 3, 32, 32]).expect("small")).expect("runs"));
    assert!(line(&plain, "unused").ends_with("Linear 6 0 -- not called"), "{plain}");
    assert!(line(&plain, "stem.conv").contains("mean 4, flatten 4096, avg_pool_1_1 4, avg_pool_2_2 16"), "{plain}");
    assert!(line(&plain, "stages.1").contains("flatten 8192!"), "{plain}");
    assert!(plain.ends_with("mean or avg_pool_2_2 say nearly as much"), "{plain}");
    assert!(!silent.contains('!'), "{silent}");
}
