//! ResNet-18 (He, Zhang, Ren, Sun 2016) with timm's layout: the same module names and indices, the
//! ImageNet stem, the same initialisation.

use tch::Tensor;
use tch::nn::init::{FanInOut, NonLinearity, NormalOrUniform};
use tch::nn::{self, ModuleT};

use crate::modules::{AdaptiveAvgPool2d, Flatten, Identity, MaxPool2d, ReLU};
use crate::{Layer, Model, ModuleTree, Scope, Tap};

type Conv = Layer<nn::Conv2D>;
type Norm = Layer<nn::BatchNorm>;

/// A residual network of basic blocks.
#[derive(Debug)]
pub struct ResNet {
    conv1: Conv,
    bn1: Norm,
    act1: Layer<ReLU>,
    maxpool: Layer<MaxPool2d>,
    stages: Vec<Stage>,
    global_pool: GlobalPool,
    fc: Layer<nn::Linear>,
    tap: Tap,
    tree: ModuleTree,
}

impl ResNet {
    /// ResNet-18 for images of `in_channels` channels and `n_classes` classes; weights under `path`.
    pub fn resnet18(path: &nn::Path<'_>, in_channels: i64, n_classes: i64) -> Self {
        let scope = Scope::root("ResNet");
        let conv1 = scope.child("conv1", convolution(path / "conv1", in_channels, 64, 7, 2));
        let bn1 = scope.child("bn1", norm(path / "bn1", 64, 1.0));
        let act1 = scope.child("act1", ReLU {});
        let maxpool = scope.child("maxpool", MaxPool2d { kernel_size: 3, stride: 2, padding: 1 });
        let widths = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)];
        let stages = (1..)
            .zip(widths)
            .map(|(number, (from, to, stride))| {
                let name = format!("layer{number}");
                Stage::new(&scope.scope(&name, "Sequential"), &(path / &name), from, to, stride)
            })
            .collect();
        let global_pool = GlobalPool::new(&scope.scope("global_pool", "SelectAdaptivePool2d"));
        let fc = scope.child("fc", nn::linear(path / "fc", 512, n_classes, nn::LinearConfig::default()));
        let tap = scope.tap();
        Self { conv1, bn1, act1, maxpool, stages, global_pool, fc, tap, tree: scope.finish() }
    }
}

impl Model for ResNet {
    fn tree(&self) -> &ModuleTree {
        &self.tree
    }

    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let stem = self.bn1.forward_t(&self.conv1.forward_t(input, train), train);
        let mut x = self.maxpool.forward_t(&self.act1.forward_t(&stem, train), train);
        for stage in &self.stages {
            x = stage.forward_t(&x, train);
        }
        self.tap.observe(self.fc.forward_t(&self.global_pool.forward_t(&x, train), train))
    }
}

#[derive(Debug)]
struct Stage {
    blocks: [BasicBlock; 2],
    tap: Tap,
}

impl Stage {
    fn new(scope: &Scope, path: &nn::Path<'_>, from: i64, to: i64, stride: i64) -> Self {
        let first = BasicBlock::new(&scope.scope("0", "BasicBlock"), &(path / "0"), from, to, stride);
        let second = BasicBlock::new(&scope.scope("1", "BasicBlock"), &(path / "1"), to, to, 1);
        Self { blocks: [first, second], tap: scope.tap() }
    }
}

impl ModuleT for Stage {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let [first, second] = &self.blocks;
        self.tap.observe(second.forward_t(&first.forward_t(input, train), train))
    }
}

#[derive(Debug)]
struct BasicBlock {
    conv1: Conv,
    bn1: Norm,
    drop_block: Layer<Identity>,
    act1: Layer<ReLU>,
    aa: Layer<Identity>,
    conv2: Conv,
    bn2: Norm,
    act2: Layer<ReLU>,
    downsample: Option<Downsample>,
    tap: Tap,
}

impl BasicBlock {
    fn new(scope: &Scope, path: &nn::Path<'_>, from: i64, to: i64, stride: i64) -> Self {
        Self {
            conv1: scope.child("conv1", convolution(path / "conv1", from, to, 3, stride)),
            bn1: scope.child("bn1", norm(path / "bn1", to, 1.0)),
            drop_block: scope.child("drop_block", Identity {}),
            act1: scope.child("act1", ReLU {}),
            aa: scope.child("aa", Identity {}),
            conv2: scope.child("conv2", convolution(path / "conv2", to, to, 3, 1)),
            // Zero: each block begins as the identity.
            bn2: scope.child("bn2", norm(path / "bn2", to, 0.0)),
            act2: scope.child("act2", ReLU {}),
            downsample: (stride != 1).then(|| {
                Downsample::new(&scope.scope("downsample", "Sequential"), &(path / "downsample"), from, to, stride)
            }),
            tap: scope.tap(),
        }
    }
}

impl ModuleT for BasicBlock {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let x = self.bn1.forward_t(&self.conv1.forward_t(input, train), train);
        let x = self.act1.forward_t(&self.drop_block.forward_t(&x, train), train);
        let x = self.conv2.forward_t(&self.aa.forward_t(&x, train), train);
        let x = self.bn2.forward_t(&x, train);
        let sum = match &self.downsample {
            Some(downsample) => x + downsample.forward_t(input, train),
            None => x + input,
        };
        self.tap.observe(self.act2.forward_t(&sum, train))
    }
}

#[derive(Debug)]
struct Downsample {
    conv: Conv,
    bn: Norm,
    tap: Tap,
}

impl Downsample {
    fn new(scope: &Scope, path: &nn::Path<'_>, from: i64, to: i64, stride: i64) -> Self {
        Self {
            conv: scope.child("0", convolution(path / "0", from, to, 1, stride)),
            bn: scope.child("1", norm(path / "1", to, 1.0)),
            tap: scope.tap(),
        }
    }
}

impl ModuleT for Downsample {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        self.tap.observe(self.bn.forward_t(&self.conv.forward_t(input, train), train))
    }
}

#[derive(Debug)]
struct GlobalPool {
    pool: Layer<AdaptiveAvgPool2d>,
    flatten: Layer<Flatten>,
    tap: Tap,
}

impl GlobalPool {
    fn new(scope: &Scope) -> Self {
        Self {
            pool: scope.child("pool", AdaptiveAvgPool2d { output_size: 1 }),
            flatten: scope.child("flatten", Flatten {}),
            tap: scope.tap(),
        }
    }
}

impl ModuleT for GlobalPool {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        self.tap.observe(self.flatten.forward_t(&self.pool.forward_t(input, train), train))
    }
}

fn convolution(path: nn::Path<'_>, from: i64, to: i64, kernel_size: i64, stride: i64) -> nn::Conv2D {
    let ws_init =
        nn::Init::Kaiming { dist: NormalOrUniform::Normal, fan: FanInOut::FanOut, non_linearity: NonLinearity::ReLU };
    let config = nn::ConvConfig { stride, padding: kernel_size / 2, bias: false, ws_init, ..nn::ConvConfig::default() };
    nn::conv2d(path, from, to, kernel_size, config)
}

fn norm(path: nn::Path<'_>, width: i64, weight: f64) -> nn::BatchNorm {
    let config = nn::BatchNormConfig { ws_init: nn::Init::Const(weight), ..nn::BatchNormConfig::default() };
    nn::batch_norm2d(path, width, config)
}
