//! What torchinfo prints.

use tch::Kind;
use tch::nn::{self, ModuleT};
use tlc_collect::{FnModel, Inputs, LayerOutput, Model, Predictor, Summary, layers, summary};

use crate::resnet;

/// From `torchinfo.summary(timm.create_model("resnet18", num_classes=2, in_chans=1), (1, 1, 64, 64))`.
const HEAD: &str = "\
==========================================================================================
Layer (type:depth-idx)                   Output Shape              Param #
==========================================================================================
ResNet                                   [1, 2]                    --
├─Conv2d: 1-1                            [1, 64, 32, 32]           3,136
├─BatchNorm2d: 1-2                       [1, 64, 32, 32]           128
├─ReLU: 1-3                              [1, 64, 32, 32]           --
├─MaxPool2d: 1-4                         [1, 64, 16, 16]           --
├─Sequential: 1-5                        [1, 64, 16, 16]           --
│    └─BasicBlock: 2-1                   [1, 64, 16, 16]           --
";

const LAST_STAGE: &str = "\
├─Sequential: 1-8                        [1, 512, 2, 2]            --
│    └─BasicBlock: 2-7                   [1, 512, 2, 2]            --
│    │    └─Conv2d: 3-51                 [1, 512, 2, 2]            1,179,648
│    │    └─BatchNorm2d: 3-52            [1, 512, 2, 2]            1,024
│    │    └─Identity: 3-53               [1, 512, 2, 2]            --
│    │    └─ReLU: 3-54                   [1, 512, 2, 2]            --
│    │    └─Identity: 3-55               [1, 512, 2, 2]            --
│    │    └─Conv2d: 3-56                 [1, 512, 2, 2]            2,359,296
│    │    └─BatchNorm2d: 3-57            [1, 512, 2, 2]            1,024
│    │    └─Sequential: 3-58             [1, 512, 2, 2]            132,096
│    │    └─ReLU: 3-59                   [1, 512, 2, 2]            --
│    └─BasicBlock: 2-8                   [1, 512, 2, 2]            --
│    │    └─Conv2d: 3-60                 [1, 512, 2, 2]            2,359,296
│    │    └─BatchNorm2d: 3-61            [1, 512, 2, 2]            1,024
│    │    └─Identity: 3-62               [1, 512, 2, 2]            --
│    │    └─ReLU: 3-63                   [1, 512, 2, 2]            --
";

fn summary_of(model: &dyn Model, shape: [i64; 4]) -> Summary {
    summary(model, &Inputs::zeros(&shape).expect("small")).expect("runs")
}

#[test]
fn it_is_torchinfos_table() {
    let (_weights, model) = resnet(0);
    let text = summary_of(&model, [1, 1, 64, 64]).to_string();
    assert!(text.starts_with(HEAD), "{text}");
    assert!(text.contains(LAST_STAGE), "{text}");
    assert!(text.contains("\n├─Linear: 1-10                           [1, 2]                    1,026\n"), "{text}");
    assert!(text.contains("\nTotal params: 11,171,266\n"), "{text}");
}

#[test]
fn multiply_adds_are_counted_as_torchinfo_counts_them() {
    let weights = tch::nn::VarStore::new(tch::Device::Cpu);
    let model = tlc_collect::models::ResNet::resnet18(&weights.root(), 3, 1000);
    let summary = summary_of(&model, [1, 3, 224, 224]);
    assert!(summary.to_string().contains("\nTotal params: 11,689,512\nTotal mult-adds (G): 1.81\n"), "{summary}");
    let layers = tlc_collect::layers(&model, &Inputs::zeros(&[1, 3, 224, 224]).expect("small")).expect("runs");
    assert_eq!(layers[1].multiply_adds, 64 * 3 * 7 * 7 * 112 * 112, "the first convolution");
}

#[test]
fn each_line_tells_the_index_to_collect_from() {
    let (_weights, model) = resnet(0);
    let summary = summary_of(&model, [1, 1, 64, 64]);
    let pool = summary.layers.iter().find(|layer| layer.path == "global_pool").expect("there");
    assert_eq!((pool.index, pool.output_shape.as_slice()), (90, [1, 512].as_slice()));
}

#[test]
fn the_alternate_form_has_the_indices_to_collect_from() {
    let (_weights, model) = resnet(0);
    let text = format!("{:#}", summary_of(&model, [1, 1, 64, 64]));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].chars().all(|c| c == '=') && lines[0].len() == 97, "{text}");
    assert!(
        lines[1].starts_with("Layer (type:depth-idx)") && lines[1].ends_with("Param #                  Index"),
        "{text}"
    );
    for (layer, index) in [("ResNet ", "0"), ("├─Conv2d: 1-1 ", "1"), ("├─Linear: 1-10", "93")] {
        let line = lines.iter().find(|line| line.starts_with(layer)).expect("a line");
        assert_eq!((line.split_whitespace().last(), line.chars().count()), (Some(index), 97), "{text}");
    }
}

#[test]
fn shared_layers_of_rust_models_count_once_and_are_heard_at_the_last_call() {
    let weights = nn::VarStore::new(tch::Device::Cpu);
    let path = weights.root();
    let model = FnModel::new("Net", |scope| {
        let shared = scope.child("shared", nn::linear(&path / "shared", 6, 6, Default::default()));
        let head = scope.child("head", nn::linear(&path / "head", 6, 2, Default::default()));
        move |input, train| {
            let once = shared.forward_t(input, train).sigmoid();
            head.forward_t(&shared.forward_t(&once, train), train)
        }
    });
    let inputs = Inputs::zeros(&[4, 6]).expect("small");
    let summary = summary(&model, &inputs).expect("runs");
    assert_eq!((summary.total_parameters, summary.total_multiply_adds), (42 + 14, (2 * 42 + 14) * 4));
    let listed = layers(&model, &inputs).expect("runs");
    assert_eq!((listed[1].n_calls, listed[1].n_parameters, listed[1].multiply_adds), (2, 42, 2 * 42 * 4));
}

#[test]
fn the_table_of_layers_tells_how_to_collect_from_a_rust_model() {
    let (_weights, model) = resnet(0);
    let text = layers(&model, &Inputs::zeros(&[2, 1, 64, 64]).expect("small")).expect("runs").to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("index  path") && lines[0].ends_with("widths"), "{text}");
    let stem: Vec<&str> = lines[2].split_whitespace().collect();
    assert_eq!(stem[..5], ["1", "conv1", "Conv2d", "3136", "6422528"], "{text}");
    assert!(
        lines[2].contains("[2, 64, 32, 32]") && lines[2].contains("mean 64, flatten 65536!, avg_pool_1_1 64"),
        "{text}"
    );
    assert!(lines[91].starts_with("   90  global_pool") && lines[91].ends_with("mean 512, flatten 512"), "{text}");
    assert!(text.ends_with(
        "\n\n! more than 4096 values per sample: slow to store and reduce; mean or avg_pool_2_2 say nearly as much"
    ));
}

#[test]
fn the_table_of_layers_says_why_not() {
    let model = FnModel::new("Net", |scope| {
        let turned = scope.wrap("turned", "Turn", nn::func(|x| x.transpose(0, 1)));
        let total = scope.wrap("total", "Sum", nn::func(|x| x.sum(Kind::Float)));
        let _never = scope.wrap("never", "Identity", nn::func(|x| x.shallow_clone()));
        move |input, train| {
            let _ = total.forward_t(&turned.forward_t(input, train), train);
            input * 2.0
        }
    });
    let inputs = Inputs::zeros(&[2, 5]).expect("small");
    let listed = layers(&model, &inputs).expect("runs");
    let obstacles: Vec<Option<String>> = listed.iter().map(LayerOutput::obstacle).collect();
    let not_rows = Some("not one row per sample of 2".to_owned());
    assert_eq!(obstacles, [None, not_rows.clone(), not_rows, Some("not called".to_owned())]);
    assert!(listed.iter().skip(1).all(|layer| layer.widths().is_empty()));
    let text = listed.to_string();
    assert!(text.lines().nth(4).expect("the last").ends_with("not called") && !text.contains('!'), "{text}");
}

#[test]
fn a_predictors_summary_runs_the_model_as_the_predictor_does() {
    let (_weights, model) = resnet(0);
    let predictor = Predictor::new(&model, [90])
        .expect("known")
        .preprocess(|inputs| Ok(inputs.only()?.unsqueeze(1).into()))
        .call(|model, inputs| {
            drop(model.f_forward_inputs(inputs, false)?);
            model.f_forward_inputs(inputs, false)
        });
    let without_channels = Inputs::zeros(&[2, 64, 64]).expect("small");
    let listed = predictor.layer_outputs(&without_channels).expect("runs");
    assert_eq!((listed[90].n_calls, listed[90].shape.as_deref()), (2, Some([2, 512].as_slice())));
    let summary = predictor.summary(&without_channels).expect("runs");
    assert_eq!(summary.layers[0].output_shape, [2, 2]);
    assert_eq!(summary.total_parameters, 11_171_266);
}

#[test]
fn an_input_that_the_model_does_not_take_is_an_error() {
    let (_weights, model) = resnet(0);
    let error =
        summary(&model, &Inputs::zeros(&[1, 3, 64, 64]).expect("small")).expect_err("three channels").to_string();
    assert_eq!(error, "cannot run the model on inputs of shape [1, 3, 64, 64]");
}
