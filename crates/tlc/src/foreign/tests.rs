//! Files as other programs write them.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use arrow_array::{RecordBatch, cast::AsArray};
use tlc_core::{FieldRoles, value_map};
use tlc_view::{ColumnKind, Scene};

use super::*;

fn file(folder: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, content).expect("writable");
    path
}

fn foreign(path: PathBuf) -> ForeignFile {
    ForeignFile { path, with: Vec::new(), embedding: Vec::new() }
}

fn scene(file: &ForeignFile) -> Scene {
    let reducer = crate::create_reducer("pca", [("n_components", 2.into())]).expect("valid");
    let (project, url) = file.open(reducer, &Progress::default()).expect("it can be looked at");
    Scene::of_table(&project, &url).expect("readable")
}

fn refusal(file: &ForeignFile) -> String {
    let reducer = crate::create_reducer("pca", []).expect("valid");
    file.open(reducer, &Progress::default()).expect_err("refused").to_string()
}

/// Six numbered columns, a class, and texts that are all different.
fn numbers() -> String {
    let mut text = "name,label,e0,e1,e2,e3,e4,e5\n".to_owned();
    for row in 0..40 {
        let class = ["shoe", "bag"][row % 2];
        let values: Vec<String> = (0..6).map(|column| format!("{:.3}", ((row * 7 + column * 3) % 11) as f32)).collect();
        writeln!(text, "item {row},{class},{}", values.join(",")).expect("memory takes it");
    }
    text
}

#[test]
fn numbered_columns_are_an_embedding_and_repeated_texts_are_classes() {
    let folder = tempfile::tempdir().expect("a folder");
    let scene = scene(&foreign(file(&folder, "items.csv", &numbers())));
    assert_eq!(scene.title, "items");
    assert_eq!((scene.layouts.len(), scene.layouts[0].source.as_deref()), (1, Some("e")));
    assert_eq!(scene.coordinates(&scene.layouts[0], 0).expect("placed").dim(), (40, 2));
    let label = scene.column_with_role(&NumberRole::Label).expect("found by its name");
    assert_eq!(
        (label.kind, label.classes.values().map(String::as_str).collect()),
        (ColumnKind::Category, vec!["bag", "shoe"])
    );
    assert_eq!(scene.column("name").expect("there").kind, ColumnKind::Text);
    assert_eq!(scene.embedding_columns, ["e"], "kept in memory, so that they can be reduced again");
}

#[test]
fn coordinates_are_shown_as_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "Projection_X,projection_y,loss\n1,2,0.5\n3,,0.25\n-1,0,1.5\n";
    let scene = scene(&foreign(file(&folder, "map.csv", text)));
    let layout = scene.layout(None).expect("one");
    assert_eq!((layout.name.as_str(), layout.n_components, layout.bounds[0]), ("projection", 2, [-1.0, 1.0]));
    let places = scene.coordinates(layout, 0).expect("readable");
    assert!(places[[1, 1]].is_nan(), "a row without y has no place");
    assert_eq!(scene.column("loss").expect("kept").role, Some(NumberRole::Loss));
    assert!(scene.column("projection_y").is_err(), "the axes are the map now");
}

#[test]
fn vectors_in_texts_and_labels_in_another_file_go_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let vectors: String = (0..20).map(|row| format!("\"[{row}, {}, 1.5, {}]\"\n", row % 3, row % 5)).collect();
    let path = file(&folder, "vectors.csv", &format!("v\n{vectors}"));
    let classes: String = (0..20).map(|row| format!("{}\n", row % 4)).collect();
    let labels = file(&folder, "classes.csv", &format!("label\n{classes}"));
    let both = ForeignFile { with: vec![labels], ..foreign(path.clone()) };
    let both = scene(&both);
    assert_eq!(both.layouts[0].source.as_deref(), Some("v"));
    assert_eq!(both.column_with_role(&NumberRole::Label).expect("named label").classes.len(), 4);
    let short = file(&folder, "short.csv", "label\n1\n2\n");
    let error = refusal(&ForeignFile { with: vec![short], ..foreign(path) });
    assert!(error.contains("short.csv has 2 rows") && error.contains("has 20"), "{error}");
}

#[test]
fn an_export_keeps_its_meaning_and_the_choice_is_the_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = ForeignFile {
        embedding: vec!["e0".to_owned(), "e1".to_owned(), "e2".to_owned()],
        ..foreign(file(&folder, "items.csv", &numbers()))
    };
    let reducer = crate::create_reducer("pca", [("n_components", 2.into())]).expect("valid");
    let (project, url) = named.open(reducer, &Progress::default()).expect("three numbers are a vector if one says so");
    let info = project.store().info(&url).expect("there");
    let rows: Vec<RecordBatch> =
        project.store().scan(&url, Scan::default()).expect("there").collect::<Result<_, _>>().expect("readable");
    let exported = folder.path().join("again.parquet");
    tlc_table::write_file(&exported, &info.schema, Box::new(rows.into_iter().map(Ok))).expect("written");
    assert!(ForeignFile::is_foreign(&exported) && !ForeignFile::is_foreign(folder.path()));
    let again = scene(&foreign(exported));
    assert_eq!(again.layouts[0].name, "embedding_pca", "roles are in the file");
    assert_eq!(again.column_with_role(&NumberRole::Label).expect("there").classes.len(), 2);
}

#[test]
fn what_cannot_be_shown_says_what_there_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let error = refusal(&foreign(file(&folder, "a.csv", "a,b\n1,text\n2,other\n")));
    assert!(error.contains("no vectors") && error.contains("a (Int64), b (Utf8)"), "{error}");
    let named = ForeignFile { embedding: vec!["b".to_owned()], ..foreign(folder.path().join("a.csv")) };
    let error = refusal(&named);
    assert!(error.contains("\"b\"") && error.contains("Utf8"), "{error}");
    let named = ForeignFile { embedding: vec!["c".to_owned()], ..foreign(folder.path().join("a.csv")) };
    assert!(refusal(&named).contains("there are a (Int64)"), "{}", refusal(&named));
    let missing = foreign(folder.path().join("missing.parquet"));
    assert!(refusal(&missing).contains("missing.parquet"));
}

#[test]
fn pictures_in_a_file_are_pictures_of_its_samples() {
    let column = |name: &str, values: arrow_array::ArrayRef| (name.to_owned(), values);
    let png: &[u8] = b"\x89PNG\r\n\x1a\n";
    let pictures = arrow_array::BinaryArray::from_iter_values([png, png]);
    let x = arrow_array::Float64Array::from(vec![0.0, 1.0]);
    let batch = RecordBatch::try_from_iter([
        column("picture", Arc::new(pictures)),
        column("x", Arc::new(x.clone())),
        column("y", Arc::new(x)),
    ])
    .expect("one length");
    let plain = columns::plain(&batch).expect("readable");
    let columns = roles::assign(plain, Path::new("a.parquet"), &[]).expect("it has places");
    let roles: Vec<_> = columns.iter().map(|column| column.field.role()).collect();
    assert_eq!(roles, [Some(NumberRole::Image), Some(NumberRole::ReducedEmbedding)]);
    assert!(columns.iter().all(|column| value_map(&column.field).is_empty()));
    assert_eq!(columns[1].values.as_fixed_size_list().value_length(), 2);
}

#[test]
fn paths_of_pictures_are_not_followed_whatever_the_file_says_of_them() {
    let paths: arrow_array::ArrayRef = Arc::new(arrow_array::StringArray::from(vec!["/home/a.png", "/home/b.png"]));
    let field = arrow_schema::Field::new("picture", arrow_schema::DataType::Utf8, true).with_role(NumberRole::Image);
    let schema = Arc::new(arrow_schema::Schema::new(vec![field]));
    let plain = columns::plain(&RecordBatch::try_new(schema, vec![paths]).expect("they fit")).expect("readable");
    assert_eq!((plain.len(), plain[0].field.role()), (1, None), "a text like others");
}
