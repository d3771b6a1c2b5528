//! Layers by index and path, and what a predictor hears from them.

use tch::nn::{self, ModuleT};
use tch::{Kind, Tensor, kind::FLOAT_CPU};
use tlc_collect::{CollectError, FnModel, LayerRef, Model, Predictor, Reshape, Sequential};

use crate::python::relative_error;
use crate::{images, resnet};

/// timm 1.0: `[name for name, _ in timm.create_model("resnet18").named_modules()]`.
fn timm_names() -> Vec<String> {
    let block = |prefix: &str, downsample: bool| -> Vec<String> {
        let mut names = vec!["", ".conv1", ".bn1", ".drop_block", ".act1", ".aa", ".conv2", ".bn2", ".act2"];
        if downsample {
            names.extend([".downsample", ".downsample.0", ".downsample.1"]);
        }
        names.into_iter().map(|name| format!("{prefix}{name}")).collect()
    };
    let mut names: Vec<String> = ["", "conv1", "bn1", "act1", "maxpool"].map(str::to_owned).to_vec();
    for stage in 1..=4 {
        names.push(format!("layer{stage}"));
        names.extend(block(&format!("layer{stage}.0"), stage > 1));
        names.extend(block(&format!("layer{stage}.1"), false));
    }
    names.extend(["global_pool", "global_pool.pool", "global_pool.flatten", "fc"].map(str::to_owned));
    names
}

#[test]
fn names_and_indices_are_timms() {
    let (_weights, model) = resnet(0);
    let modules = model.tree().named_modules();
    let names: Vec<&str> = modules.iter().map(|module| module.path.as_str()).collect();
    assert_eq!(names, timm_names());
    assert_eq!(names.len(), 94);
    assert_eq!((names[90], names[93], names[46], names[88]), ("global_pool", "fc", "layer3", "layer4.1.bn2"));
    assert!(modules.iter().enumerate().all(|(index, module)| module.index == index));
}

#[test]
fn an_unknown_layer_is_named_with_what_there_is() {
    let (_weights, model) = resnet(0);
    let check = |layer: LayerRef, expected: &str| {
        assert_eq!(Predictor::new(&model, [layer]).expect_err("unknown").to_string(), expected);
    };
    check(94.into(), "the model has no layer 94; it has 94 (0 to 93)");
    check(
        "layer4.1.bn3".into(),
        "the model has no layer \"layer4.1.bn3\"; it has 94 (0 to 93); near: layer4.1.bn1, layer4.1.bn2, layer1.1.bn1",
    );
}

#[test]
fn a_predictor_hears_what_the_layers_say() {
    let (_weights, model) = resnet(1);
    let input = images(3, 32);
    let predictor = Predictor::new(&model, ["global_pool", "46", "fc", "0"]).expect("known layers");
    let output = predictor.predict(&input).expect("runs");
    let shapes: Vec<(usize, Vec<i64>)> =
        output.hidden_layers.iter().map(|(layer, tensor)| (*layer, tensor.size())).collect();
    assert_eq!(shapes, [(0, vec![3, 2]), (46, vec![3, 256, 2, 2]), (90, vec![3, 512]), (93, vec![3, 2])]);
    let plain = tch::no_grad(|| model.forward_t(&input, false));
    assert_eq!(output.forward, plain, "listening does not change the output");
    assert_eq!(output.hidden_layers[&0], plain, "layer 0 is the model");
    assert!(!output.forward.requires_grad());
}

#[test]
fn nothing_is_heard_of_another_model_or_after_the_pass() {
    let (_weights, first) = resnet(1);
    let (_other_weights, second) = resnet(2);
    let input = images(2, 32);
    let heard = Predictor::new(&first, [90]).expect("known").predict(&input).expect("runs");
    let _ = second.forward_t(&input, false);
    let _ = first.forward_t(&input, false);
    let again = Predictor::new(&first, [90]).expect("known").predict(&input).expect("runs");
    assert_eq!(heard.hidden_layers[&90], again.hidden_layers[&90]);
}

#[test]
fn threads_hear_their_own_pass() {
    let outputs: Vec<bool> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..4)
            .map(|seed| {
                scope.spawn(move || {
                    let (_weights, model) = resnet(0);
                    let input = images(2, 32) + f64::from(seed);
                    let predictor = Predictor::new(&model, [90]).expect("known");
                    let first = predictor.predict(&input).expect("runs");
                    (0..5).all(|_| {
                        predictor.predict(&input).expect("runs").hidden_layers[&90] == first.hidden_layers[&90]
                    })
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().expect("no panic")).collect()
    });
    assert_eq!(outputs, [true; 4]);
}

#[test]
fn inputs_that_the_model_does_not_take_are_an_error() {
    let (_weights, model) = resnet(1);
    let predictor = Predictor::new(&model, [90]).expect("known");
    let error = predictor.predict(Tensor::zeros([2, 3, 32, 32], tch::kind::FLOAT_CPU)).expect_err("three channels");
    assert_eq!(error.to_string(), "cannot run the model on inputs of shape [2, 3, 32, 32]");
    let cause = std::error::Error::source(&error).expect("libtorch's words").to_string();
    assert!(
        cause.starts_with("Given groups=1, weight of size") && cause.ends_with("channels instead (in conv1)"),
        "{cause}"
    );
    let by_call = Predictor::new(&model, [90]).expect("known").call(|model, inputs| {
        let narrow = inputs.only()?.narrow(3, 0, 1);
        Ok(model.forward_t(&narrow.repeat([1, 3, 1, 1]), false))
    });
    let error = by_call.predict(images(2, 32)).expect_err("three channels");
    let cause = std::error::Error::source(&error).expect("libtorch's words").to_string();
    assert!(cause.ends_with("(in conv1)"), "{cause}");
    assert!(predictor.predict(images(2, 32)).is_ok(), "and the predictor still works");
    let weight = Tensor::ones([1], tch::kind::FLOAT_CPU).set_requires_grad(true);
    assert!((weight * 2.0).requires_grad(), "and so does training");
}

#[test]
fn reshape_strategies_follow_their_table() {
    let matrix = Tensor::arange(6, tch::kind::FLOAT_CPU).reshape([2, 3]);
    let sequence = Tensor::arange(24, tch::kind::FLOAT_CPU).reshape([2, 3, 4]);
    let images = Tensor::arange(2 * 3 * 6 * 6, tch::kind::FLOAT_CPU).reshape([2, 3, 6, 6]);
    let shape = |name: &str, tensor: &Tensor| {
        let reshaped = Reshape::named(name).expect("known").apply(7, tensor);
        reshaped.map(|tensor| tensor.size()).map_err(|error| error.to_string())
    };
    for (name, of_matrix, of_sequence, of_images) in [
        ("mean", Some(3), Some(3), Some(3)),
        ("flatten", Some(3), Some(12), Some(108)),
        ("avg_pool_1_1", None, None, Some(3)),
        ("avg_pool_2_2", None, None, Some(12)),
        ("avg_pool_3_3", None, None, Some(27)),
        ("mean_tokens", None, Some(4), None),
        ("cls_token", None, Some(4), None),
        ("max_pool", None, Some(3), Some(3)),
    ] {
        for (tensor, width) in [(&matrix, of_matrix), (&sequence, of_sequence), (&images, of_images)] {
            assert_eq!(shape(name, tensor).ok(), width.map(|width| vec![2, width]), "{name} of {:?}", tensor.size());
        }
    }
    assert_eq!(
        shape("cls_token", &matrix).expect_err("no tokens"),
        "cannot reshape layer 7 by cls_token/1: its activations are [2, 3]; (batch, tokens, features) is needed; use mean"
    );
    let mean = Reshape::named("mean").expect("known").apply(0, &images).expect("reshaped");
    assert!((mean.double_value(&[0, 1]) - (36.0 + 71.0) / 2.0).abs() < 1e-4);
    let first_sample = |name: &str, tensor: &Tensor| {
        let reshaped = Reshape::named(name).expect("known").apply(0, tensor).expect("reshaped");
        Vec::<f32>::try_from(reshaped.select(0, 0).to_kind(Kind::Float)).expect("numbers")
    };
    assert_eq!(first_sample("mean", &sequence), [1.5, 5.5, 9.5]);
    assert_eq!(first_sample("mean_tokens", &sequence), [4.0, 5.0, 6.0, 7.0]);
    assert_eq!(first_sample("cls_token", &sequence), [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(first_sample("max_pool", &sequence), [3.0, 7.0, 11.0]);
    assert!(first_sample("flatten", &sequence).into_iter().eq((0..12_u8).map(f32::from)));
    assert_eq!(first_sample("avg_pool_2_2", &images)[..4], [7.0, 10.0, 25.0, 28.0]);
    assert_eq!(first_sample("avg_pool_1_1", &images)[0], 17.5);
    for kind in [Kind::Half, Kind::BFloat16] {
        let half = Reshape::default().apply(0, &images.to_kind(kind)).expect("reshaped");
        assert_eq!(half.kind(), Kind::Float, "means of half precision are taken in f32");
    }
    let custom = Reshape::custom("one row", |x| x.select(0, 0)).apply(3, &images).expect_err("not one row per sample");
    assert!(custom.to_string().ends_with("the result is [3, 6, 6], one row per sample is needed"), "{custom}");
    let panicking = Reshape::custom("too deep", |x| x.select(7, 0)).apply(3, &images).expect_err("no such axis");
    assert!(panicking.to_string().starts_with("cannot reshape layer 3 by too deep"), "{panicking}");
    assert!(matches!(Reshape::named("median"), Err(CollectError::UnknownStrategy { .. })));
}

/// A strategy of somebody else, as a plugin.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct LastToken {
    from_the_end: i64,
}

#[tlc_core::typetag::serde(name = "last_token/1")]
impl tlc_collect::ReshapeStrategy for LastToken {
    fn reshape(&self, activations: &Tensor) -> Result<Tensor, String> {
        Ok(activations.select(1, -1 - self.from_the_end))
    }
}

tlc_core::inventory::submit! {
    tlc_core::PluginInfo {
        kind: tlc_core::PluginKind::ReshapeStrategy,
        tag: "last_token/1",
        crate_name: "tests",
        crate_version: "1",
        summary: "the last token of a sequence",
    }
}

#[test]
fn strategies_of_others_are_found_by_name_and_lineage_keeps_their_fields() {
    let sequence = Tensor::arange(24, tch::kind::FLOAT_CPU).reshape([2, 3, 4]);
    for name in ["last_token", "last_token/1"] {
        let last = Reshape::named(name).expect("linked").apply(0, &sequence).expect("reshaped");
        assert_eq!(Vec::<f32>::try_from(last.select(0, 0)).expect("numbers"), [8.0, 9.0, 10.0, 11.0]);
    }
    let json = |name: &str| Reshape::named(name).expect("known").to_json();
    assert_eq!(json("mean"), "mean/1");
    assert_eq!(json("avg_pool_3_3"), serde_json::json!({"type": "avg_pool/1", "size": 3}));
    assert_eq!(json("last_token"), serde_json::json!({"type": "last_token/1", "from_the_end": 0}));
}

#[test]
fn a_predictor_prepares_inputs_and_calls_the_model_as_it_is_told() {
    let (_weights, model) = resnet(1);
    let input = images(2, 32);
    let plain = Predictor::new(&model, [90]).expect("known").predict(&input * 2.0).expect("runs");
    let prepared = Predictor::new(&model, [90])
        .expect("known")
        .device(tch::Device::Cpu)
        .preprocess(|inputs| Ok((inputs.only()? * 2.0).into()))
        .predict(&input)
        .expect("runs");
    assert_eq!(prepared.hidden_layers[&90], plain.hidden_layers[&90]);
    let called = Predictor::new(&model, [90])
        .expect("known")
        .call(|model, inputs| {
            Ok(model.f_forward_inputs(&(inputs.only()? * 2.0).into(), false)?.softmax(1, Kind::Float))
        })
        .predict(&input)
        .expect("runs");
    assert_eq!(called.hidden_layers[&90], plain.hidden_layers[&90]);
    assert!((called.forward.sum(Kind::Float).double_value(&[]) - 2.0).abs() < 1e-6, "two distributions");
    let panics = Predictor::new(&model, [90])
        .expect("known")
        .call(|_, inputs| Ok(inputs.tensors().next().expect("one").reshape([7])));
    let error = panics.predict(&input).expect_err("the wrong shape").to_string();
    assert_eq!(error, "cannot call the model on inputs of shape [2, 1, 32, 32]");
    let nowhere = Predictor::new(&model, [90]).expect("known").device(tch::Device::Cuda(99)).predict(&input);
    assert!(nowhere.expect_err("no such device").to_string().contains("Cuda(99)"));
}

/// A model that says that its weights are elsewhere.
#[derive(Debug)]
struct Elsewhere(FnModel, Option<tch::Device>);

impl Model for Elsewhere {
    fn tree(&self) -> &tlc_collect::ModuleTree {
        self.0.tree()
    }

    fn device(&self) -> Option<tch::Device> {
        self.1
    }

    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        self.0.forward_t(input, train)
    }
}

#[test]
fn inputs_go_to_where_the_models_weights_are_unless_the_predictor_is_told_otherwise() {
    let (mut weights, model) = resnet(1);
    assert_eq!(model.device(), Some(tch::Device::Cpu));
    weights.set_device(tch::Device::Cpu);
    assert_eq!(model.device(), Some(tch::Device::Cpu));
    let without_weights = || FnModel::new("Double", |_scope| |input: &Tensor, _train| input * 2.0);
    assert_eq!(without_weights().device(), None);
    let input = Tensor::from_slice(&[1.0_f32]);
    let refused = |outcome: Result<String, CollectError>| outcome.expect_err("no such device").to_string();
    let expected = format!("the device is Cuda(99), and libtorch has {} CUDA devices here", tch::Cuda::device_count());
    let model = Elsewhere(without_weights(), Some(tch::Device::Cuda(99)));
    let predictor = Predictor::new(&model, [0]).expect("known");
    assert_eq!(refused(predictor.predict(&input).map(|output| format!("{output:?}"))), expected);
    assert_eq!(refused(tlc_collect::layers(&model, &(&input).into()).map(|layers| layers.to_string())), expected);
    assert_eq!(refused(tlc_collect::summary(&model, &(&input).into()).map(|summary| summary.to_string())), expected);
    let told = predictor.device(tch::Device::Cpu).predict(&input).expect("runs here");
    assert_eq!(told.forward, Tensor::from_slice(&[2.0_f32]));
    let nowhere = Elsewhere(without_weights(), None);
    assert!(Predictor::new(&nowhere, [0]).expect("known").predict(&input).is_ok(), "where the inputs are");
}

#[test]
fn gradients_flow_while_taps_are_listened_to() {
    let (weights, model) = resnet(1);
    let mut trained: Vec<(String, Tensor)> = weights.variables().into_iter().collect();
    trained.retain(|(_, weight)| weight.requires_grad());
    // Blocks begin as the identity: with a last weight of 0 nothing within them would get a gradient.
    let last_in_blocks = trained.iter().filter(|(name, _)| name.ends_with("bn2.weight"));
    tch::no_grad(|| last_in_blocks.for_each(|(_, weight)| drop(weight.shallow_clone().fill_(1.0))));
    let gradients = |layers: &[&str]| {
        let predictor = Predictor::new(&model, layers.iter().copied()).expect("known").call(|model, inputs| {
            tch::with_grad(|| {
                let output = model.forward_t(inputs.only()?, true);
                output.log_softmax(1, Kind::Float).select(1, 0).mean(Kind::Float).backward();
                Ok(output)
            })
        });
        let output = predictor.predict(images(4, 64)).expect("runs");
        assert!(output.hidden_layers.values().all(Tensor::requires_grad), "they are part of the graph");
        let take = |(_, weight): &(String, Tensor)| {
            let gradient = weight.grad().copy();
            drop(weight.grad().zero_());
            gradient
        };
        trained.iter().map(take).collect::<Vec<_>>()
    };
    let (alone, listened) = (gradients(&[]), gradients(&["46", "global_pool", "fc"]));
    assert_eq!(alone.len(), 62);
    for ((name, _), (alone, listened)) in trained.iter().zip(alone.iter().zip(&listened)) {
        assert!(alone.abs().max().double_value(&[]) > 0.0, "{name} learns");
        assert!(relative_error(listened, alone) < 1e-5, "listening does not change what {name} learns");
    }
}

#[test]
fn what_a_model_notes_comes_beside_its_output() {
    let scope_model = FnModel::new("Net", |scope| {
        let tap = scope.tap();
        move |input, _train| {
            tap.note("doubled", &(input * 2.0));
            input.relu()
        }
    });
    let output =
        Predictor::new(&scope_model, [0]).expect("known").predict(Tensor::from_slice(&[-1.0_f32, 3.0])).expect("runs");
    assert_eq!(output.metadata["doubled"], Tensor::from_slice(&[-2.0_f32, 6.0]));
    assert_eq!(output.hidden_layers[&0], Tensor::from_slice(&[0.0_f32, 3.0]));
    // Nobody listens: nothing is kept.
    drop(scope_model.forward_t(&Tensor::from_slice(&[1.0_f32]), false));
}

#[test]
fn any_module_can_be_a_layer_also_twice() {
    let weights = nn::VarStore::new(tch::Device::Cpu);
    let path = weights.root();
    let model = FnModel::new("Net", |scope| {
        let block = Sequential::new(scope.scope("block", "Sequential"))
            .wrap("Linear", nn::seq().add(nn::linear(&path / "fc", 4, 4, Default::default())))
            .wrap("Tanh", nn::func(|x| x.tanh()));
        let shared = scope.wrap("shared", "Scale", nn::func(|x| x * 0.5));
        move |input, train| shared.forward_t(&shared.forward_t(&block.forward_t(input, train), train), train)
    });
    let paths: Vec<&str> = model.tree().named_modules().iter().map(|module| module.path.as_str()).collect();
    assert_eq!(paths, ["", "block", "block.0", "block.1", "shared"]);
    let output = Predictor::new(&model, 0..5).expect("known").predict(Tensor::ones([2, 4], FLOAT_CPU)).expect("runs");
    assert_eq!(output.hidden_layers[&4], output.forward, "of a layer that is called twice the last call");
    assert_eq!(output.hidden_layers[&1], output.hidden_layers[&3]);
    assert_eq!(&output.hidden_layers[&1] * 0.25, output.forward);
    let seen = tlc_collect::layers(&model, &Tensor::ones([2, 4], FLOAT_CPU).into()).expect("runs");
    assert_eq!((seen[4].n_calls, seen[2].n_calls), (2, 1));
}

#[test]
fn a_refusal_names_the_innermost_layer_that_it_came_from() {
    let weights = nn::VarStore::new(tch::Device::Cpu);
    let path = weights.root();
    let model = FnModel::new("Net", |scope| {
        let features = Sequential::new(scope.scope("features", "Sequential"))
            .add(nn::linear(&path / "0", 8, 4, nn::LinearConfig::default()))
            .add(nn::linear(&path / "1", 5, 2, nn::LinearConfig::default()));
        move |input, train| features.forward_t(input, train)
    });
    let predictor = Predictor::new(&model, ["features.0"]).expect("known");
    let error = predictor.predict(Tensor::zeros([3, 8], FLOAT_CPU)).expect_err("4 is not 5");
    let cause = std::error::Error::source(&error).expect("libtorch's words").to_string();
    assert!(cause.contains("3x4 and 5x2") && cause.ends_with("(in features.1)"), "{cause}");
}
