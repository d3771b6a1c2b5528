//! Compares layers of TorchScript files with what Python's forward hooks saw: for each `NAME.pt` of a folder with
//! `NAME.npz`, names, shapes and values of all layers. `cargo xtask parity` makes the files of well-known models.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "../tests/collect/python.rs"]
mod python;

use std::error::Error;
use std::path::{Path, PathBuf};

use tlc_collect::{Model, Predictor, TorchScriptModel, layers};

use self::python::{Seen, relative_error};

const ACCEPTED: f64 = 1e-5;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("the only argument is a folder")?);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pt"));
    files.sort();
    println!("| model | modules | layers compared | lost in tracing | largest error |\n|---|---:|---:|---:|---:|");
    let mut worst = 0.0_f64;
    for file in &files {
        worst = worst.max(compare(file).map_err(|error| format!("{}: {error}", file.display()))?);
    }
    if files.is_empty() || worst > ACCEPTED {
        return Err(format!("{} files, largest error {worst:e}; up to {ACCEPTED:e} is accepted", files.len()).into());
    }
    Ok(())
}

fn compare(file: &Path) -> Result<f64, Box<dyn Error>> {
    let model = TorchScriptModel::load(file)?;
    let Seen { input, names, outputs } = Seen::read(&file.with_extension("npz"))?;
    let modules = model.tree().named_modules();
    if names.len() != modules.len() {
        return Err(format!("{} modules, in Python {}", modules.len(), names.len()).into());
    }
    let listed = layers(&model, &input)?;
    if let Some(module) = modules.iter().find(|module| names.get(module.index) != Some(&module.path)) {
        return Err(
            format!("module {} is {:?}, in Python {:?}", module.index, module.path, names.get(module.index)).into()
        );
    }
    let is_seen = |index: &usize| outputs.contains_key(&(names[*index].clone(), 0, String::new()));
    let (called, lost): (Vec<usize>, Vec<usize>) =
        (0..names.len()).filter(is_seen).partition(|&index| listed[index].shape.is_some());
    // Tracing drops calls of layers that hand on their input; others must be there.
    if let Some(&index) = lost.iter().find(|&&index| !matches!(modules[index].kind.as_str(), "Identity" | "Dropout")) {
        return Err(format!("layer {index}, {}, is not called", modules[index].kind).into());
    }
    let heard = Predictor::new(&model, called.iter().copied())?.predict(&input)?.hidden_layers;
    let mut worst = 0.0_f64;
    for (index, found) in &heard {
        let expected = &outputs[&(names[*index].clone(), 0, String::new())];
        if found.size() != expected.size() {
            return Err(format!("layer {index} is {:?}, in Python {:?}", found.size(), expected.size()).into());
        }
        let error = relative_error(found, expected);
        // NaN is no agreement either.
        if error.is_nan() {
            return Err(format!("layer {index} cannot be compared: NaN").into());
        }
        worst = worst.max(error);
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    println!("| {name} | {} | {} | {} | {worst:.1e} |", modules.len(), heard.len(), lost.len());
    Ok(worst)
}
