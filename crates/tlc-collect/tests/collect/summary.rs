//! What torchinfo prints.

use tlc_collect::{Inputs, Model, Summary, summary};

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
fn an_input_that_the_model_does_not_take_is_an_error() {
    let (_weights, model) = resnet(0);
    let error =
        summary(&model, &Inputs::zeros(&[1, 3, 64, 64]).expect("small")).expect_err("three channels").to_string();
    assert_eq!(error, "cannot run the model on inputs of shape [1, 3, 64, 64]");
}
