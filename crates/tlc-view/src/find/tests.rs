//! Finders on a map whose clusters are known.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use tlc_core::{Column, FieldRoles, NumberRole, TableStore};
use tlc_run::Project;
use tlc_table::MemoryStore;

use super::*;

/// Two clusters of 20, one row of the first with the label of the second, a pair of equal points, and one far away.
fn scene() -> Scene {
    let mut points = Vec::new();
    let mut labels = Vec::new();
    for i in 0..40_i64 {
        let centre = if i < 20 { 0.0 } else { 100.0 };
        let angle = (i % 20) as f32;
        points.extend([centre + angle.cos(), (1.7 * angle).sin()]);
        labels.push(i64::from(i >= 20));
    }
    labels[7] = 1;
    points.copy_within(2 * 30..2 * 31, 2 * 31);
    points.extend([1000.0, 0.0]);
    labels.push(1);
    let names = BTreeMap::from([(0, "cat".to_owned()), (1, "dog".to_owned())]);
    let n = labels.len() as i64;
    let map = Column::embedding("map", 2, points, NumberRole::ReducedEmbedding).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![
        Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId),
        Field::new("label", DataType::Int64, false).with_role(NumberRole::Label).with_value_map(&names),
        map.field,
    ]));
    // Other numbers than places, so that one is not taken for the other.
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values((0..n).map(|i| 100 + i)));
    let rows = RecordBatch::try_new(schema.clone(), vec![ids, Arc::new(Int64Array::from(labels)), map.values]);
    let store = MemoryStore::default();
    let url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows.expect("they fit"))].into_iter())).expect("new");
    let project = Project::new(Arc::new(store), "memory://p".parse().expect("a URL"));
    Scene::of_table(&project, &url).expect("readable")
}

fn found(finder: Finder) -> Findings {
    let scene = scene();
    let layout = scene.layout(None).expect("one layout");
    find(&scene, finder, layout, 0, 100, &Progress::default()).expect("it has what is needed")
}

#[test]
fn the_wrong_label_is_found_and_explained() {
    let suspects = found(Finder::Mislabelled);
    let ids: Vec<i64> = suspects.rows.iter().map(|row| row.example_id).collect();
    assert_eq!(ids, [107]);
    assert_eq!(suspects.rows[0].why, "10 of 10 neighbours are cat, its label is dog");
    assert!(suspects.rule.contains("the map map"), "{}", suspects.rule);
}

#[test]
fn what_is_far_away_or_twice_there_comes_first() {
    assert_eq!(found(Finder::Outliers).rows[0].example_id, 140);
    let twins: Vec<i64> = found(Finder::Duplicates).rows.iter().take(2).map(|row| row.example_id).collect();
    assert_eq!(twins, [130, 131]);
}

#[test]
fn what_does_not_fit_in_memory_is_found_in_files() {
    // Two clusters of labelled rows, a few of them with the other's label, pairs of equal ones, and some without values.
    let n = 3000;
    let noise = tlc_core::rng::Stream::new(5, "find-test");
    let normal = |i: usize| noise.normal(i as u64, 0) as f32;
    let mut values: Vec<f32> = (0..8 * n).map(|i| normal(i) + if i / 8 % 2 == 0 { 0.0 } else { 20.0 }).collect();
    for row in [0, 700] {
        values[8 * row] = f32::NAN;
    }
    values.copy_within(8 * 40..8 * 41, 8 * 1234);
    let mut labels: Vec<i64> = (0..n as i64).map(|row| row % 2).collect();
    for row in [100, 201] {
        labels[row] = 1 - labels[row];
    }
    // The last row is once more of the sample of the first with a place, and is not looked at.
    let ids = (0..n as i64).map(|row| if row == n as i64 - 1 { 1 } else { row }).collect::<Vec<_>>();
    let embedding = Column::embedding("features", 8, values.clone(), NumberRole::NnEmbedding).expect("whole vectors");
    let places = (0..n).flat_map(|row| [values[8 * row + 1], values[8 * row + 2]]).collect();
    let map = Column::embedding("map", 2, places, NumberRole::ReducedEmbedding).expect("whole vectors");
    let names = BTreeMap::from([(0, "cat".to_owned()), (1, "dog".to_owned())]);
    let schema = Schema::new(vec![
        Field::new("example_id", DataType::Int64, false).with_role(NumberRole::ExampleId),
        Field::new("label", DataType::Int64, false).with_role(NumberRole::Label).with_value_map(&names),
        embedding.field,
        map.field,
    ]);
    let columns = serde_json::json!({ "map": { "source": "features", "reducer": { "type": "pca/1" } } });
    let operation = tlc_core::Operation::new("reduce", 1).with("columns", columns);
    let schema = Arc::new(tlc_core::Lineage::new("test/1", operation).write_into(&schema));
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids)), Arc::new(Int64Array::from(labels)), embedding.values, map.values];
    let rows = RecordBatch::try_new(schema.clone(), arrays).expect("they fit");
    let store = MemoryStore::default();
    let url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    let project = Project::new(Arc::new(store), "memory://p".parse().expect("a URL"));
    let scene = Scene::of_table(&project, &url).expect("readable");
    let layout = scene.layout(None).expect("one layout");
    let found = |finder, in_memory_bytes| {
        let options = DiskOptions { memory_bytes: 100_000, ..DiskOptions::default() };
        let lists = Lists::of(&scene, layout, 0, in_memory_bytes, &options, &Progress::default()).expect("found");
        let mut rows = within_table::find(&scene, finder, &lists, 0, 50).expect("there are labels");
        keep_clearest(&mut rows, 50);
        (lists.name, rows.into_iter().map(|row| row.example_id).collect::<Vec<_>>())
    };
    for (finder, expected) in [(Finder::Mislabelled, vec![100, 201]), (Finder::Duplicates, vec![40, 1234])] {
        let (in_memory, on_disk) = (found(finder, u64::MAX), found(finder, 0));
        assert_eq!(in_memory, ("the embeddings features".to_owned(), expected.clone()));
        assert!(on_disk.0.starts_with("the embeddings features, of which "), "{}", on_disk.0);
        assert_eq!(on_disk.1, expected, "{}", finder.id());
    }
    let nowhere = DiskOptions { folder: "/nowhere/at/all".into(), ..DiskOptions::default() };
    let refused = Lists::of(&scene, layout, 0, 0, &nowhere, &Progress::default());
    assert!(matches!(refused, Err(ViewError::Neighbours { .. })), "the options are those of the search");
    let stopped = Progress::default();
    stopped.cancel();
    let cancelled = Lists::of(&scene, layout, 0, 0, &DiskOptions::default(), &stopped);
    assert!(matches!(cancelled, Err(ViewError::Cancelled(_))));
}

#[test]
fn what_several_processes_collected_is_found_in_files_as_in_memory() {
    let run = crate::scene::tests::run();
    // Ten samples are in both.
    crate::scene::tests::collect(&run, "train-0", Some(0), 0..600);
    crate::scene::tests::collect(&run, "train-0", Some(0), 590..1200);
    crate::scene::tests::reduce(&run, 1);
    let scene = Scene::of_run(run.project(), &run).expect("readable");
    assert_eq!((scene.tables.len(), scene.tables[0].parts.len()), (1, 2));
    let neighbours = |in_memory_bytes| {
        let options = DiskOptions::default();
        let lists = Lists::of(&scene, &scene.layouts[0], 0, in_memory_bytes, &options, &Progress::default());
        let lists = lists.expect("found");
        let mut found = BTreeMap::new();
        let take = |row: usize, others: ndarray::ArrayView1<'_, u32>, _: ndarray::ArrayView1<'_, f32>| {
            let others: Vec<usize> = others.iter().map(|&other| lists.slots[other as usize]).collect();
            assert_eq!(found.insert(lists.slots[row], others), None, "each sample once");
        };
        lists.each(take).expect("readable");
        found
    };
    let (in_memory, on_disk) = (neighbours(u64::MAX), neighbours(0));
    let slots: Vec<usize> = (0..1200).collect();
    assert_eq!(in_memory.keys().copied().collect::<Vec<_>>(), slots);
    assert_eq!(on_disk.keys().copied().collect::<Vec<_>>(), slots);
    let n_near = slots.iter().filter(|slot| in_memory[*slot].contains(&on_disk[*slot][0])).count();
    assert!(n_near >= 1080, "the nearest in files is near in memory for {n_near} of 1200");
}

#[cfg(feature = "server")]
#[test]
fn the_nearest_of_one_sample_are_those_of_all_distances() {
    let scene = scene();
    let layout = scene.layout(None).expect("one layout");
    let near = |id, k| nearest(&scene, layout, 0, id, k, true, &Progress::default()).expect("readable");
    let found = near(130, 5);
    assert!(!found.is_embedding, "it has none");
    let map = scene.coordinates(layout, 0).expect("readable");
    let mut expected: Vec<(f64, i64)> = (0..map.nrows())
        .filter(|slot| *slot != 30)
        .map(|slot| {
            let squared: f64 = map.row(30).iter().zip(map.row(slot)).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            (squared.sqrt(), 100 + slot as i64)
        })
        .collect();
    expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    assert_eq!(expected[0], (0.0, 131), "its twin");
    assert_eq!(found.neighbours.as_deref(), Some(&expected[..5]));
    assert_eq!(near(130, 1000).neighbours.map(|all| all.len()), Some(map.nrows() - 1), "never itself");
    assert_eq!(near(7, 5).neighbours, None, "there is no such sample");
    let stopped = Progress::default();
    stopped.cancel();
    assert!(nearest(&scene, layout, 0, 130, 5, true, &stopped).is_err());
}

#[test]
fn duplicates_are_found_where_most_samples_are() {
    let n = 40;
    let points = (0..n).flat_map(|i| if i < 30 { [(i / 2) as f32, 0.0] } else { [i as f32, 50.0] }).collect();
    let map = Column::embedding("map", 2, points, NumberRole::ReducedEmbedding).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![map.field]));
    let rows = RecordBatch::try_new(schema.clone(), vec![map.values]).expect("it fits");
    let store = MemoryStore::default();
    let url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    let project = Project::new(Arc::new(store), "memory://p".parse().expect("a URL"));
    let scene = Scene::of_table(&project, &url).expect("readable");
    let layout = scene.layout(None).expect("one layout");
    let found = find(&scene, Finder::Duplicates, layout, 0, 100, &Progress::default()).expect("it has a map");
    let ids: Vec<i64> = found.rows.iter().map(|row| row.example_id).collect();
    assert_eq!(ids, (0..30).collect::<Vec<i64>>(), "the pairs, and none of those that are alone");
}

#[test]
fn what_needs_epochs_is_not_offered_without_them() {
    let offered: Vec<&str> = Finder::available(&scene()).into_iter().map(Finder::id).collect();
    assert_eq!(offered, ["mislabelled", "between", "outliers", "duplicates"]);
    let error = Finder::named("misslabeled").expect_err("unknown").to_string();
    assert!(error.contains("there is mislabelled, between"), "{error}");
}
