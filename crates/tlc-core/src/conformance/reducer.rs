//! What [`Reducer`](crate::Reducer) and [`FittedReducer`](crate::FittedReducer) promise.

use ndarray::{Array2, Axis, concatenate, s};

use crate::rng::Stream;
use crate::{
    FittedReducer, Progress, ReduceError, Reducer, decode_model, encode_model, fit_finite_rows, reducer_from_json,
};

const N_ROWS: usize = 300;
const N_FEATURES: usize = 12;

/// Checks `reducer` on 300 rows of 12 values in three clusters.
///
/// # Panics
/// With the promise that does not hold.
pub fn check_reducer(reducer: &dyn Reducer) {
    parameters_survive_their_file(reducer);
    let data = clusters(N_ROWS, 0);
    let fitted = reducer.fit(data.view(), &Progress::default()).expect("clusters can be fitted");
    a_fit_is_finite_and_repeatable(reducer, fitted.as_ref(), &data);
    fitted_rows_keep_their_coordinates(fitted.as_ref(), &data);
    transform_is_per_row(fitted.as_ref());
    clusters_stay_apart(fitted.as_ref());
    a_bad_row_becomes_nan_and_harms_no_other(fitted.as_ref());
    a_restored_model_gives_the_same_bits(fitted.as_ref());
    unusable_input_is_refused(reducer, fitted.as_ref());
    a_wish_to_stop_is_obeyed(reducer, &data);
}

/// Three Gaussian clusters; row `i` belongs to cluster `i % 3`.
fn clusters(n_rows: usize, seed: u64) -> Array2<f32> {
    let noise = Stream::new(seed, "conformance");
    Array2::from_shape_fn((n_rows, N_FEATURES), |(i, j)| {
        let centre = if j % 3 == i % 3 { 10.0 } else { 0.0 };
        centre + noise.normal(i as u64, j as u64) as f32
    })
}

fn parameters_survive_their_file(reducer: &dyn Reducer) {
    let json = serde_json::to_value(reducer).expect("parameters are plain data");
    let tag = json["type"].as_str().expect("the tag is in the field \"type\"");
    assert!(tag.contains('/'), "the tag {tag:?} carries a version");
    let read = reducer_from_json(json.clone()).expect("a reducer reads its own parameters");
    assert_eq!(serde_json::to_value(&read).expect("plain data"), json);
    let mut unknown = json;
    unknown["no_such_parameter"] = 1.into();
    assert!(reducer_from_json(unknown).is_err(), "an unknown parameter is refused");
}

fn a_fit_is_finite_and_repeatable(reducer: &dyn Reducer, fitted: &dyn FittedReducer, data: &Array2<f32>) {
    assert_eq!(fitted.layout().dim(), (N_ROWS, reducer.n_components()));
    assert!(fitted.layout().iter().all(|value| value.is_finite()), "coordinates are finite");
    let again = reducer.fit(data.view(), &Progress::default()).expect("fitted before");
    assert_eq!(again.layout(), fitted.layout(), "the same data and seed give the same bits");
    // A view whose rows are not contiguous is the same data.
    let mut wide = Array2::zeros((N_ROWS, 2 * N_FEATURES));
    wide.slice_mut(s![.., ..;2]).assign(data);
    let strided = reducer.fit(wide.slice(s![.., ..;2]), &Progress::default()).expect("fitted before");
    assert_eq!(strided.layout(), fitted.layout(), "memory layout does not matter");
    let mut columns_first = Array2::zeros(ndarray::ShapeBuilder::f(data.dim()));
    columns_first.assign(data);
    let fortran = reducer.fit(columns_first.view(), &Progress::default()).expect("fitted before");
    assert_eq!(fortran.layout(), fitted.layout(), "memory order does not matter");
}

fn fitted_rows_keep_their_coordinates(fitted: &dyn FittedReducer, data: &Array2<f32>) {
    let transformed = fitted.transform(data.view(), &Progress::default()).expect("the fitted rows fit");
    assert_eq!(transformed.coordinates, fitted.layout(), "a fitted row gets its fitted coordinates");
}

fn transform_is_per_row(fitted: &dyn FittedReducer) {
    let rows = clusters(64, 1);
    let progress = Progress::default();
    let all = fitted.transform(rows.view(), &progress).expect("rows of the right width");
    assert_eq!(all.coordinates.nrows(), 64);
    assert_eq!(all.out_of_distribution.len(), 64);
    let reversed = fitted.transform(rows.slice(s![..;-1, ..]), &progress).expect("rows of the right width");
    assert_eq!(reversed.coordinates.slice(s![..;-1, ..]), all.coordinates, "order does not matter");
    for i in [0, 17, 63] {
        let one = fitted.transform(rows.slice(s![i..=i, ..]), &progress).expect("one row");
        assert_eq!(one.coordinates.row(0), all.coordinates.row(i), "the other rows do not matter");
        assert_eq!(one.out_of_distribution[0], all.out_of_distribution[i]);
    }
}

fn clusters_stay_apart(fitted: &dyn FittedReducer) {
    let layout = fitted.layout();
    let mut agreeing = 0;
    for i in 0..N_ROWS {
        let distance = |j: usize| (&layout.row(i) - &layout.row(j)).mapv(|x| x * x).sum();
        let nearest = (0..N_ROWS).filter(|&j| j != i).min_by(|&a, &b| distance(a).total_cmp(&distance(b)));
        agreeing += usize::from(nearest.expect("there are other rows") % 3 == i % 3);
    }
    assert!(agreeing * 100 >= N_ROWS * 95, "nearest neighbours share their cluster in {agreeing} of {N_ROWS} rows");
}

fn a_bad_row_becomes_nan_and_harms_no_other(fitted: &dyn FittedReducer) {
    let rows = clusters(8, 2);
    let mut bad = rows.clone();
    bad[[3, 5]] = f32::NAN;
    bad[[6, 0]] = f32::INFINITY;
    let progress = Progress::default();
    let good = fitted.transform(rows.view(), &progress).expect("rows of the right width");
    let mixed = fitted.transform(bad.view(), &progress).expect("bad rows are no error");
    for i in 0..8 {
        if i == 3 || i == 6 {
            assert!(mixed.coordinates.row(i).iter().all(|value| value.is_nan()), "a bad row has no place");
            assert!(mixed.out_of_distribution[i].is_nan());
        } else {
            assert_eq!(mixed.coordinates.row(i), good.coordinates.row(i));
        }
    }
}

fn a_restored_model_gives_the_same_bits(fitted: &dyn FittedReducer) {
    let [arrays, document] = encode_model(fitted).expect("a model can be written");
    let content = arrays.content.clone();
    let restored = decode_model(&document.content, |_| Ok(content)).expect("a model can be read");
    assert_eq!(restored.layout(), fitted.layout());
    let rows = concatenate(Axis(0), &[clusters(16, 3).view(), clusters(4, 0).view()]).expect("one width");
    let progress = Progress::default();
    let (before, after) = (fitted.transform(rows.view(), &progress), restored.transform(rows.view(), &progress));
    assert_eq!(before.expect("rows of the right width"), after.expect("rows of the right width"));
    let mut damaged = arrays.content;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(decode_model(&document.content, |_| Ok(damaged)).is_err(), "a damaged model is refused");
}

fn unusable_input_is_refused(reducer: &dyn Reducer, fitted: &dyn FittedReducer) {
    let progress = Progress::default();
    let empty = Array2::<f32>::zeros((0, N_FEATURES));
    assert!(reducer.fit(empty.view(), &progress).is_err(), "no rows");
    let mut bad = clusters(N_ROWS, 0);
    bad[[7, 2]] = f32::NAN;
    let refused = reducer.fit(bad.view(), &progress);
    assert!(matches!(refused, Err(ReduceError::NotFinite { count: 1, .. })), "{refused:?}");
    bad[[9, 0]] = 1e30;
    let dropped = fit_finite_rows(reducer, bad.view(), &progress).expect("the other rows can be fitted");
    assert_eq!((dropped.n_dropped(), dropped.rows.len()), (2, N_ROWS - 2));
    for (row, place) in dropped.coordinates().outer_iter().enumerate() {
        assert_eq!(place.iter().all(|x| x.is_finite()), row != 7 && row != 9, "row {row}: {place}");
    }
    assert!(fitted.transform(Array2::zeros((3, N_FEATURES + 1)).view(), &progress).is_err(), "another width");
    let none = fitted.transform(empty.view(), &progress).expect("no rows give no rows");
    assert_eq!(none.coordinates.dim(), (0, reducer.n_components()));
    // Identical rows have no structure, but are no reason to fail or to give NaN.
    let same = Array2::from_elem((N_ROWS, N_FEATURES), 1.5_f32);
    if let Ok(fitted) = reducer.fit(same.view(), &progress) {
        assert!(fitted.layout().iter().all(|value| value.is_finite()), "identical rows give finite coordinates");
    }
}

fn a_wish_to_stop_is_obeyed(reducer: &dyn Reducer, data: &Array2<f32>) {
    let progress = Progress::default();
    progress.cancel();
    let stopped = reducer.fit(data.view(), &progress);
    assert!(matches!(stopped, Err(ReduceError::Cancelled(_))), "{stopped:?}");
}
