//! A model's arrays, whatever they hold, are an error or a usable model.
//!
//! The input is a safetensors file that stands in for the arrays of each golden model of tlc-reduce, under a
//! digest that fits: damage that the digest would notice is not searched for.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ndarray::Array2;
use serde_json::Value;
use tlc_core::{Progress, decode_model, digest};
// Named, so that its reducers are linked and found by their tags.
use tlc_reduce as _;

/// The documents of the golden models.
static DOCUMENTS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tlc-reduce/tests/models/golden");
    let mut folders: Vec<_> = std::fs::read_dir(golden)
        .expect("the golden models are there")
        .map(|entry| entry.expect("readable").path())
        .collect();
    folders.sort();
    let read = |folder: &Path| std::fs::read(folder.join("model.json")).expect("a model has a document");
    folders.iter().map(|folder| serde_json::from_slice(&read(folder)).expect("JSON")).collect()
});

fuzz_target!(|arrays: &[u8]| {
    for document in DOCUMENTS.iter() {
        let mut document = document.clone();
        document["arrays"]["digest"] = digest::of_bytes(arrays).into();
        document["arrays"]["bytes"] = arrays.len().into();
        let document = serde_json::to_vec(&document).expect("JSON");
        let Ok(fitted) = decode_model(&document, |_| Ok(arrays.to_vec())) else { continue };
        let rows = Array2::from_shape_fn((2, fitted.n_features()), |(i, j)| (i * 7 + j) as f32 / 5.0);
        if let Ok(placed) = fitted.transform(rows.view(), &Progress::default()) {
            assert_eq!(placed.coordinates.nrows(), 2);
        }
    }
});
