//! What a model takes for some samples.

use tch::{Device, Kind, Tensor};

use crate::CollectError;
use crate::panics::catch_panic;

/// Tensors, batch first, by place and by name.
///
/// Most models take one tensor, which converts by itself. Models from TorchScript files take several, and take them by
/// the names of their `forward`'s parameters, as transformers do:
///
/// ```
/// use tch::{Kind, Tensor};
/// use tlc_collect::Inputs;
///
/// let ids = Tensor::zeros([8, 32], (Kind::Int64, tch::Device::Cpu));
/// let inputs = Inputs::named([("input_ids", ids.shallow_clone()), ("attention_mask", ids.ones_like())]);
/// assert_eq!(inputs.n_samples(), 8);
/// ```
#[derive(Debug)]
pub struct Inputs {
    pub(crate) positional: Vec<Tensor>,
    pub(crate) named: Vec<(String, Tensor)>,
}

impl Inputs {
    /// One tensor of zeros of this shape, batch first: enough to see which layers a model has and what they give.
    ///
    /// # Errors
    /// A negative length; more than memory holds.
    pub fn zeros(shape: &[i64]) -> Result<Self, CollectError> {
        Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))
            .map(Self::from)
            .map_err(|error| CollectError::torch(format!("make an input of shape {shape:?}"), error))
    }

    /// Tensors by place.
    pub fn positional(tensors: impl IntoIterator<Item = Tensor>) -> Self {
        Self { positional: tensors.into_iter().collect(), named: Vec::new() }
    }

    /// Tensors by name.
    pub fn named<N: Into<String>>(tensors: impl IntoIterator<Item = (N, Tensor)>) -> Self {
        Self {
            positional: Vec::new(),
            named: tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect(),
        }
    }

    /// With one more tensor by place.
    #[must_use]
    pub fn and(mut self, tensor: Tensor) -> Self {
        self.positional.push(tensor);
        self
    }

    /// With one more tensor by name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, tensor: Tensor) -> Self {
        self.named.push((name.into(), tensor));
        self
    }

    /// All tensors: those by place, then those by name.
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.positional.iter().chain(self.named.iter().map(|(_, tensor)| tensor))
    }

    /// The tensor, where it is one.
    ///
    /// # Errors
    /// Several, a named one, or none.
    pub fn only(&self) -> Result<&Tensor, CollectError> {
        match (self.positional.as_slice(), self.named.as_slice()) {
            ([tensor], []) => Ok(tensor),
            _ => {
                Err(CollectError::Data { what: format!("the model takes one tensor, and was given {}", self.shapes()) })
            }
        }
    }

    /// The length of the first tensor's first axis; 0 if there is none.
    pub fn n_samples(&self) -> usize {
        self.tensors().next().and_then(|tensor| tensor.size().first().copied()).unwrap_or(0) as usize
    }

    /// Where the first tensor is.
    pub fn device(&self) -> Device {
        self.tensors().next().map_or(Device::Cpu, Tensor::device)
    }

    /// All tensors on `device`.
    ///
    /// # Errors
    /// A device that libtorch does not have, or whose memory is full.
    pub fn to_device(&self, device: Device) -> Result<Self, CollectError> {
        check_device(device)?;
        catch_panic(|| self.map(|tensor| tensor.to_device(device)))
            .map_err(|text| CollectError::torch(format!("move inputs to {device:?}"), text))
    }

    /// The samples from `start` on, `n` of them, without a copy.
    ///
    /// # Errors
    /// Samples that there are not.
    pub fn narrow(&self, start: usize, n: usize) -> Result<Self, CollectError> {
        let there =
            self.tensors().map(|tensor| tensor.size().first().copied().unwrap_or(0)).min().unwrap_or(0) as usize;
        if start + n > there {
            let what = format!("samples {start} to {} are asked for, and the inputs are {}", start + n, self.shapes());
            return Err(CollectError::Data { what });
        }
        Ok(self.map(|tensor| tensor.narrow(0, start as i64, n as i64)))
    }

    /// Each tensor changed by `change`.
    pub(crate) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self {
            positional: self.positional.iter().map(&change).collect(),
            named: self.named.iter().map(|(name, tensor)| (name.clone(), change(tensor))).collect(),
        }
    }

    /// The shapes, as messages show them.
    pub(crate) fn shapes(&self) -> String {
        let by_place = self.positional.iter().map(|tensor| format!("{:?}", tensor.size()));
        let by_name = self.named.iter().map(|(name, tensor)| format!("{name} {:?}", tensor.size()));
        let all: Vec<String> = by_place.chain(by_name).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }
}

/// Refuses a CUDA device that libtorch does not have, in fewer words than libtorch.
pub(crate) fn check_device(device: Device) -> Result<(), CollectError> {
    let there = tch::Cuda::device_count();
    match device {
        Device::Cuda(number) if number as i64 >= there => Err(CollectError::Data {
            what: format!("the device is {device:?}, and libtorch has {there} CUDA devices here"),
        }),
        _ => Ok(()),
    }
}

impl From<Tensor> for Inputs {
    fn from(tensor: Tensor) -> Self {
        Self::positional([tensor])
    }
}

impl From<&Tensor> for Inputs {
    /// A second handle on the same values.
    fn from(tensor: &Tensor) -> Self {
        tensor.shallow_clone().into()
    }
}

impl From<&Inputs> for Inputs {
    /// Second handles on the same values.
    fn from(inputs: &Inputs) -> Self {
        inputs.map(Tensor::shallow_clone)
    }
}
