//! Model files: those of earlier versions stay readable, damaged ones are errors, whatever the damage.
//!
//! `golden/` holds models as this version wrote them, with the places of a few rows. Models are never
//! written again; a version that changes the format adds its own beside them. A change to how rows are
//! placed writes new places. With `TLC_WRITE_GOLDEN=1` the test writes what is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ndarray::Array2;
use proptest::prelude::*;
use tlc_core::rng::Stream;
use tlc_core::{FittedReducer, Progress, decode_model, encode_model, reducer_from_args};

const VERSION: &str = "0.1";
// The crate's reducers are found by their tags because it is named here.
use tlc_reduce as _;

/// One kind of model that is kept.
struct Case {
    /// Its folder's name, before the version.
    name: &'static str,
    method: &'static str,
    /// A JSON object.
    args: &'static str,
    width: usize,
}

const fn case(name: &'static str, method: &'static str, args: &'static str, width: usize) -> Case {
    Case { name, method, args, width }
}

/// Every kind of array that a model may hold occurs.
const CASES: [Case; 9] = [
    case("localmap", "localmap", "{}", 6),
    case("pacmap", "pacmap", "{}", 6),
    case("pca", "pca", "{}", 6),
    case("umap", "umap", "{}", 6),
    case("umap-cells", "umap", r#"{"knn": "cells", "n_neighbors": 5}"#, 6),
    case("umap-hnsw", "umap", r#"{"knn": "hnsw", "n_neighbors": 5, "n_components": 3}"#, 6),
    case("umap-projected", "umap", r#"{"knn": "cells", "n_neighbors": 5}"#, 140),
    case("umap-scaled", "umap", r#"{"metric": "cosine", "standard_scaler_normalize": true}"#, 6),
    case("pacmap-components", "pacmap", r#"{"knn": "cells", "distance": "angular"}"#, 120),
];

/// Three clusters of rows of some values.
fn rows(n: usize, width: usize, stage: &str) -> Array2<f32> {
    let noise = Stream::new(5, stage);
    Array2::from_shape_fn((n, width), |(i, j)| {
        let centre = if j % 3 == i % 3 { 8.0 } else { 0.0 };
        centre + noise.normal(i as u64, j as u64) as f32
    })
}

impl Case {
    fn fit(&self) -> Box<dyn FittedReducer> {
        let reducer = reducer_from_args(self.method, serde_json::from_str(self.args).expect("JSON")).expect("linked");
        reducer.fit(rows(60, self.width, "fitted").view(), &Progress::default()).expect("fits")
    }

    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/golden").join(format!("{}-{VERSION}", self.name))
    }

    fn places(&self, fitted: &dyn FittedReducer) -> Vec<f32> {
        let new = rows(8, self.width, "new");
        let placed = fitted.transform(new.view(), &Progress::default()).expect("rows of the right width");
        placed.coordinates.into_raw_vec_and_offset().0
    }
}

fn write(fitted: &dyn FittedReducer, folder: &Path) {
    fs::create_dir_all(folder).expect("writable");
    for file in encode_model(fitted).expect("encodable") {
        fs::write(folder.join(file.name), file.content).expect("writable");
    }
}

fn load(folder: &Path) -> Box<dyn FittedReducer> {
    let document = fs::read(folder.join("model.json")).expect("the model is there");
    decode_model(&document, |name| Ok(fs::read(folder.join(name)).expect("its arrays are there"))).expect("readable")
}

#[test]
fn golden_models_are_read_and_place_rows_as_they_did() {
    let may_write = std::env::var_os("TLC_WRITE_GOLDEN").is_some();
    for case in &CASES {
        let (name, folder) = (case.name, case.folder());
        if may_write && !folder.exists() {
            write(case.fit().as_ref(), &folder);
        }
        let fitted = load(&folder);
        assert_eq!(fitted.reducer().method(), case.method);
        let places_file = folder.join("places.json");
        if may_write && !places_file.exists() {
            let places = serde_json::to_vec(&case.places(fitted.as_ref())).expect("numbers");
            fs::write(&places_file, places).expect("writable");
        }
        let expected: Vec<f32> = serde_json::from_slice(&fs::read(places_file).expect("there")).expect("numbers");
        // Other processors may round otherwise.
        for (found, expected) in case.places(fitted.as_ref()).into_iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-3 * (1.0 + expected.abs()), "{name}: {found} instead of {expected}");
        }
    }
}

const MODELS: &str = "TLC_TEST_MODELS";
const PLACES: &str = "the other process's places: ";

/// Started by itself once more, in another process, it prints what it was started for.
#[test]
#[expect(clippy::print_stdout, reason = "how the places reach the first process")]
fn another_process_places_rows_to_the_bit() {
    if let Some(folder) = std::env::var_os(MODELS).map(PathBuf::from) {
        let places = |case: &Case| bits(&case.places(load(&folder.join(case.name)).as_ref()));
        let places: Vec<Vec<u32>> = CASES.iter().map(places).collect();
        println!("{PLACES}{}", serde_json::to_string(&places).expect("numbers"));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected = Vec::new();
    for case in &CASES {
        let fitted = case.fit();
        write(fitted.as_ref(), &folder.path().join(case.name));
        expected.push(bits(&case.places(fitted.as_ref())));
    }
    let this = std::env::current_exe().expect("a path");
    let mut other = Command::new(this);
    other.args(["--exact", "another_process_places_rows_to_the_bit", "--nocapture"]).env(MODELS, folder.path());
    let output = other.output().expect("started");
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{words}");
    let places = words.lines().find_map(|line| line.split_once(PLACES)).expect("printed").1;
    let found: Vec<Vec<u32>> = serde_json::from_str(places).expect("JSON");
    for (case, (found, expected)) in CASES.iter().zip(found.iter().zip(&expected)) {
        assert_eq!(found, expected, "{}", case.name);
    }
    assert_eq!(found.len(), CASES.len());
}

fn bits(places: &[f32]) -> Vec<u32> {
    places.iter().map(|place| place.to_bits()).collect()
}

#[test]
fn a_model_of_a_later_format_or_an_unknown_method_says_so() {
    let [arrays, document] = encode_model(CASES[2].fit().as_ref()).expect("encodable");
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

#[test]
fn a_model_of_a_plugin_that_is_not_linked_names_its_crate() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/custom-reducer/saved");
    let document = fs::read(folder.join("model.json")).expect("the plugin's crate keeps it");
    let error = decode_model(&document, |name| Ok(fs::read(folder.join(name)).expect("there"))).expect_err("refused");
    assert_eq!(error.to_string(), "cannot restore the reducer of crate custom-reducer 0.1.0");
    let cause = std::error::Error::source(&error).expect("has a cause").to_string();
    let expected = "unknown reducer \"random_projection/1\"; known: localmap/1, pacmap/1, pca/1, umap/1";
    assert!(cause.starts_with(expected) && cause.contains("link it: `use my_plugin as _;`"), "{cause}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a model's files: an error or a usable model, never a panic.
    #[test]
    fn damage_is_an_error(
        case in 0..CASES.len(),
        in_document in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (folder, width) = (CASES[case].folder(), CASES[case].width);
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
            let placed = fitted.transform(rows(2, width, "new").view(), &Progress::default());
            prop_assert!(placed.is_err() || placed.is_ok_and(|placed| placed.coordinates.nrows() == 2));
        }
    }

    /// Past the digest: arrays of wrong shapes, types and values under a digest that fits them.
    #[test]
    fn wrong_arrays_with_a_fitting_digest_are_errors(
        case in 0..CASES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let (folder, width) = (CASES[case].folder(), CASES[case].width);
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
            let placed = fitted.transform(rows(2, width, "new").view(), &Progress::default());
            prop_assert!(placed.is_err() || placed.is_ok_and(|placed| placed.coordinates.nrows() == 2));
        }
    }
}
