//! What Python's forward hooks saw of a model, as `fixtures/make.py` writes it.

use std::collections::BTreeMap;
use std::path::Path;

use tch::{TchError, Tensor};
use tlc_collect::Inputs;

pub(crate) struct Seen {
    pub(crate) input: Inputs,
    pub(crate) names: Vec<String>,
    /// By layer, call and part.
    pub(crate) outputs: BTreeMap<(String, usize, String), Tensor>,
}

impl Seen {
    pub(crate) fn read(file: &Path) -> Result<Self, TchError> {
        let mut outputs = BTreeMap::new();
        let (mut input, mut names) = (Inputs::positional([]), String::new());
        for (key, array) in Tensor::read_npz(file)? {
            match key.split('|').collect::<Vec<_>>().as_slice() {
                ["input"] => input = input.and(array),
                ["input", name] => input = input.with(*name, array),
                ["names"] => {
                    let codes: Vec<i64> = Vec::try_from(array)?;
                    names = codes.into_iter().map(|code| char::from(code as u8)).collect();
                }
                [layer, call, part] => {
                    let call = call.parse().map_err(|_| TchError::FileFormat(format!("array {key:?}")))?;
                    outputs.insert(((*layer).to_owned(), call, (*part).to_owned()), array);
                }
                _ => return Err(TchError::FileFormat(format!("array {key:?}"))),
            }
        }
        let names = names.split('\n').map(str::to_owned).collect();
        if input.n_samples() == 0 {
            return Err(TchError::FileFormat("no input".to_owned()));
        }
        Ok(Self { input, names, outputs })
    }
}

/// The largest difference over the largest magnitude expected.
pub(crate) fn relative_error(found: &Tensor, expected: &Tensor) -> f64 {
    let scale = expected.abs().max().double_value(&[]).max(1e-3);
    (found - expected).abs().max().double_value(&[]) / scale
}
