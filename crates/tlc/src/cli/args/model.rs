//! A TorchScript file as a model: options of `tlc layers` and `tlc collect`.

use std::path::PathBuf;

use clap::Args;

/// A model, and how it is loaded.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// A TorchScript file, traced or scripted
    #[arg(value_name = "MODEL")]
    pub(crate) file: PathBuf,
    /// What to take of a layer that returns several tensors, such as 12=0 or 0=logits (0 is the model itself)
    #[arg(long, value_name = "LAYER=ELEMENT")]
    pub(crate) element: Vec<String>,
    /// Where the model runs: cpu, cuda, or cuda:1
    #[arg(long, default_value = "cpu", value_parser = parse_device)]
    pub(crate) device: Device,
}

/// `cpu`, or a CUDA device by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Cpu,
    Cuda(usize),
}

fn parse_device(text: &str) -> Result<Device, String> {
    let number = |number: &str| number.parse().map_err(|_| format!("{number:?} is no number of a device"));
    match text.split_once(':') {
        None if text == "cpu" => Ok(Device::Cpu),
        None if text == "cuda" => Ok(Device::Cuda(0)),
        Some(("cuda", device)) => Ok(Device::Cuda(number(device)?)),
        _ => Err("cpu, cuda or cuda:N is needed".to_owned()),
    }
}
