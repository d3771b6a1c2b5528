//! Model files: those of earlier versions stay readable, damaged ones are errors, whatever the damage.
//!
//! `golden/` holds models as this version wrote them, with the places of a few rows. Models are never
//! written again; a version that changes the format adds its own beside them. A change to how rows are
//! placed writes new places. With `TLC_WRITE_GOLDEN=1` the test writes what is missing.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::Array2;
use proptest::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{FittedReducer, Progress, decode_model, encode_model, reducer_from_args};

const METHODS: [&str; 4] = ["localmap", "pacmap", "pca", "umap"];
const VERSION: &str = "0.1";
// The crate's reducers are found by their tags because it is named here.
use tlc_reduce as _;

/// Three clusters of rows of six values.
fn rows(n: usize, stage: &str) -> Array2<f32> {
    let noise = Stream::new(5, stage);
    Array2::from_shape_fn((n, 6), |(i, j)| {
        let centre = if j % 3 == i % 3 { 8.0 } else { 0.0 };
        centre + noise.normal(i as u64, j as u64) as f32
    })
}

fn fit(method: &str) -> Box<dyn FittedReducer> {
    let reducer = reducer_from_args(method, serde_json::Map::new()).expect("linked");
    reducer.fit(rows(60, "fitted").view(), &Progress::default()).expect("fits")
}

fn golden(method: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden").join(format!("{method}-{VERSION}"))
}

fn load(folder: &Path) -> Box<dyn FittedReducer> {
    let document = fs::read(folder.join("model.json")).expect("the golden model is there");
    decode_model(&document, |name| Ok(fs::read(folder.join(name)).expect("its arrays are there"))).expect("readable")
}

fn places(fitted: &dyn FittedReducer) -> Vec<f32> {
    let new = rows(8, "new");
    let placed = fitted.transform(new.view(), &Progress::default()).expect("rows of the right width");
    placed.coordinates.into_raw_vec_and_offset().0
}

#[test]
fn golden_models_are_read_and_place_rows_as_they_did() {
    for method in METHODS {
        let folder = golden(method);
        let may_write = std::env::var_os("TLC_WRITE_GOLDEN").is_some();
        if may_write && !folder.exists() {
            fs::create_dir_all(&folder).expect("writable");
            for file in encode_model(fit(method).as_ref()).expect("encodable") {
                fs::write(folder.join(file.name), file.content).expect("writable");
            }
        }
        let fitted = load(&folder);
        assert_eq!(fitted.reducer().method(), method);
        let places_file = folder.join("places.json");
        if may_write && !places_file.exists() {
            let places = serde_json::to_vec(&places(fitted.as_ref())).expect("numbers");
            fs::write(&places_file, places).expect("writable");
        }
        let expected: Vec<f32> = serde_json::from_slice(&fs::read(places_file).expect("there")).expect("numbers");
        // Other processors may round otherwise.
        for (found, expected) in places(fitted.as_ref()).into_iter().zip(&expected) {
            assert!(
                (found - expected).abs() <= 1e-3 * (1.0 + expected.abs()),
                "{method}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn a_model_of_a_later_format_or_an_unknown_method_says_so() {
    let [arrays, document] = encode_model(fit("pca").as_ref()).expect("encodable");
    let refused = |from: &str, to: &str| {
        let changed = String::from_utf8(document.content.clone()).expect("JSON").replace(from, to);
        let error = decode_model(changed.as_bytes(), |_| Ok(arrays.content.clone())).expect_err("refused");
        let cause = std::error::Error::source(&error).map_or_else(String::new, ToString::to_string);
        format!("{error}: {cause}")
    };
    let later = refused("tlc.model/1", "tlc.model/2");
    assert!(later.contains("tlc.model/2") && later.contains("reads \"tlc.model/1\""), "{later}");
    let unknown = refused("pca/1", "their_map/1");
    assert!(unknown.contains("their_map/1") && unknown.contains("use my_plugin as _"), "{unknown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a model's files: an error or a usable model, never a panic.
    #[test]
    fn damage_is_an_error(
        method in 0..METHODS.len(),
        in_document in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let folder = golden(METHODS[method]);
        let mut document = fs::read(folder.join("model.json")).expect("there");
        let mut arrays = fs::read(folder.join("arrays.safetensors")).expect("there");
        let damaged = if in_document { &mut document } else { &mut arrays };
        for (at, value) in changes {
            let at = at.index(damaged.len());
            damaged[at] = value;
        }
        if let Some(cut) = cut {
            let length = cut.index(damaged.len());
            damaged.truncate(length);
        }
        if let Ok(fitted) = decode_model(&document, |_| Ok(arrays)) {
            let placed = fitted.transform(rows(2, "new").view(), &Progress::default());
            prop_assert!(placed.is_err() || placed.is_ok_and(|placed| placed.coordinates.nrows() == 2));
        }
    }

    /// Past the digest: arrays of wrong shapes, types and values under a digest that fits them.
    #[test]
    fn wrong_arrays_with_a_fitting_digest_are_errors(
        method in 0..METHODS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let folder = golden(METHODS[method]);
        let mut arrays = fs::read(folder.join("arrays.safetensors")).expect("there");
        for (at, value) in changes {
            let at = at.index(arrays.len());
            arrays[at] = value;
        }
        let mut document: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("model.json")).expect("there")).expect("JSON");
        document["arrays"]["digest"] = tlc_core::digest::of_bytes(&arrays).into();
        let document = serde_json::to_vec(&document).expect("JSON");
        if let Ok(fitted) = decode_model(&document, |_| Ok(arrays)) {
            let placed = fitted.transform(rows(2, "new").view(), &Progress::default());
            prop_assert!(placed.is_err() || placed.is_ok_and(|placed| placed.coordinates.nrows() == 2));
        }
    }
}
