//! Files for other programs, and the page as one.

use std::collections::BTreeMap;

use arrow_array::BinaryArray;
use tlc_core::{Column, FieldRoles, NumberRole, Progress, TableStore, Url};
use tlc_run::Project;
use tlc_table::MemoryStore;

use super::*;

/// Six samples with a label whose names are hostile, a picture each, and one that has no place.
fn scene() -> Scene {
    let names = BTreeMap::from([(0, "</script><b>".to_owned()), (1, "tab\tand\nline".to_owned())]);
    let places = vec![0., 0., 1., 0., 0., 1., 5., 5., 6., 5., f32::NAN, 0.];
    let map = Column::embedding("map", 2, places, NumberRole::ReducedEmbedding).expect("whole vectors");
    let mut picture = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_pixel(10, 10, image::Rgb([200, 0, 0]))
        .write_to(&mut picture, image::ImageFormat::Png)
        .expect("encoded");
    let picture = picture.into_inner();
    let schema = Arc::new(Schema::new(vec![
        Field::new("label", arrow_schema::DataType::Int64, false).with_role(NumberRole::Label).with_value_map(&names),
        map.field,
        Field::new("picture", arrow_schema::DataType::Binary, false).with_role(NumberRole::Image),
    ]));
    let labels: ArrayRef = Arc::new(Int64Array::from(vec![0, 0, 1, 1, 1, 0]));
    let pictures: ArrayRef = Arc::new(BinaryArray::from_iter_values(vec![picture; 6]));
    let rows = RecordBatch::try_new(schema.clone(), vec![labels, map.values, pictures]).expect("they fit");
    let store = MemoryStore::default();
    let url: Url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows)].into_iter())).expect("new");
    Scene::of_table(&Project::new(Arc::new(store), "memory://p".parse().expect("a URL")), &url).expect("readable")
}

#[test]
fn the_page_is_one_file_that_loads_nothing_and_holds_everything() {
    let scene = scene();
    let page = html(&scene, &HtmlOptions { images: 4 }, &Progress::default()).expect("made");
    assert!(!page.contains("src=\"app.js\"") && !page.contains("href=\"app.css\""), "nothing is left outside");
    assert!(page.contains("script-src 'sha256-") && page.contains("default-src 'none'"));
    let start = page.find("id=\"tlc-data\">").expect("the data") + "id=\"tlc-data\">".len();
    let data = &page[start..start + page[start..].find("</script>").expect("an end")];
    let data: Value = serde_json::from_str(data).expect("JSON, whatever names hold");
    assert_eq!(data["manifest"]["columns"][0]["classes"][0], "</script><b>");
    assert_eq!(data["files"]["ranges"]["label"], Value::Null, "classes have no range");
    let sheet = &data["thumbs"]["0"];
    assert_eq!((&sheet["size"], sheet["slots"].as_array().map(Vec::len)), (&json!(10), Some(4)));
    for key in
        ["coords?layout=0&table=0", "column?name=label&table=0", "ids?dataset=0", "find/mislabelled?layout=0&table=0"]
    {
        assert!(!data["files"][key].is_null(), "{key} is not among the files");
    }
    use base64::Engine as _;
    let coords = data["files"]["coords?layout=0&table=0"].as_str().expect("a text");
    let bytes = base64::engine::general_purpose::STANDARD.decode(coords).expect("base64");
    let mut batches = arrow_ipc::reader::StreamReader::try_new(bytes.as_slice(), None).expect("an Arrow stream");
    assert_eq!(batches.next().expect("one").expect("whole").num_rows(), 6);
}

#[test]
fn embedding_atlas_gets_the_columns_that_it_looks_for() {
    let scene = scene();
    let rows = embedding_atlas(&scene, &scene.layouts[0], &[0], &Progress::default()).expect("made");
    let column = |name: &str| rows.column_by_name(name).unwrap_or_else(|| panic!("{name} is not there"));
    assert_eq!(column("projection_x").as_primitive::<Float32Type>().value(3), 5.0);
    assert!(column("projection_x").is_null(5), "a row without a place");
    assert_eq!(column("label").as_string::<i32>().value(2), "tab\tand\nline");
    let neighbours = column("neighbors").as_struct();
    assert!(neighbours.is_null(5) && neighbours.is_valid(0));
    let ids = neighbours.column_by_name("ids").expect("a list").as_list::<i32>().value(3);
    assert_eq!(ids.as_primitive::<Int64Type>().value(0), 4, "row numbers of the nearest first");
    assert!(image::load_from_memory(column("image").as_binary::<i32>().value(0)).is_ok());
}

#[test]
fn the_projector_gets_as_many_lines_as_points() {
    let scene = scene();
    let made = tensorboard(&scene, &scene.layouts[0], &[0], &Progress::default()).expect("made");
    assert_eq!((made.n_left_out, made.has_embeddings), (1, false));
    let text = |name: &str| {
        let (_, bytes) = made.files.iter().find(|(known, _)| known == name).expect("a file of this name");
        String::from_utf8(bytes.clone()).expect("text")
    };
    let tensors = text("tensors.tsv");
    assert_eq!(tensors.lines().collect::<Vec<_>>(), ["0\t0", "1\t0", "0\t1", "5\t5", "6\t5"]);
    let metadata = text("metadata.tsv");
    let lines: Vec<&str> = metadata.lines().collect();
    assert!(lines.len() == 6 && lines[0].starts_with("dataset\tepoch\texample_id\tlabel"), "{metadata}");
    assert!(lines[3].contains("tab and line"), "{metadata}");
    let config: Value = serde_json::from_str(&text("projector_config.json")).expect("JSON");
    assert_eq!(config["embeddings"][0]["tensorShape"], json!([5, 2]));
    assert_eq!(config["embeddings"][0]["sprite"]["singleImageDim"], json!([10, 10]));
    assert!(text("projector_config.pbtxt").contains("single_image_dim: 10"));
}

#[test]
fn no_spreadsheet_takes_a_text_of_a_csv_for_a_formula() {
    let schema = Arc::new(Schema::new(vec![
        Field::new("=name", arrow_schema::DataType::Utf8, true),
        Field::new("value", arrow_schema::DataType::Float32, true),
    ]));
    let names: ArrayRef = Arc::new(StringArray::from(vec![Some("=1+2"), Some("@a"), Some("a-b"), None]));
    let values: ArrayRef = Arc::new(Float32Array::from(vec![-1.5, 2.0, 3.0, 4.0]));
    let rows = RecordBatch::try_new(schema, vec![names, values]).expect("they fit");
    let text = |format| String::from_utf8(encode(&rows, format).expect("encoded")).expect("text");
    assert_eq!(text(Format::Csv), "'=name,value\n'=1+2,-1.5\n'@a,2.0\na-b,3.0\n,4.0\n");
    assert!(text(Format::Json).contains("\"=1+2\""), "only in files that spreadsheets open");
}

#[test]
fn rows_of_tables_with_other_columns_go_together_by_name_in_either_order() {
    let batch = |columns: Vec<(&str, ArrayRef)>| RecordBatch::try_from_iter(columns).expect("one length");
    let loss: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let name: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let one = batch(vec![("example_id", ids.clone()), ("loss", loss.clone())]);
    let other = batch(vec![("name", name.clone()), ("example_id", ids), ("loss", loss)]);
    for (batches, nameless) in [([one.clone(), other.clone()], 0), ([other, one.clone()], 1)] {
        let rows = concat(&batches).expect("they go together");
        let column = |column: &str| rows.column_by_name(column).expect("there").clone();
        assert_eq!((rows.num_rows(), rows.num_columns()), (2, 3));
        assert!(column("name").is_null(nameless) && column("name").is_valid(1 - nameless));
        assert_eq!(column("loss").as_primitive::<Float32Type>().values(), &[0.5, 0.5]);
    }
    let clash = batch(vec![("loss", name)]);
    for batches in [[one.clone(), clash.clone()], [clash, one]] {
        let error = concat(&batches).expect_err("of two types");
        let cause = std::error::Error::source(&error).expect("it says why").to_string();
        assert!(cause.contains("\"loss\"") && cause.contains("Utf8") && cause.contains("Float32"), "{cause}");
    }
}

#[test]
fn a_column_that_is_called_as_the_samples_numbers_keeps_its_values() {
    let map = Column::embedding("map", 2, vec![0., 0., 1., 1.], NumberRole::ReducedEmbedding).expect("whole vectors");
    let schema = Arc::new(Schema::new(vec![Field::new("example_id", arrow_schema::DataType::Utf8, false), map.field]));
    let own: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let rows_there = RecordBatch::try_new(schema.clone(), vec![own, map.values]).expect("they fit");
    let store = MemoryStore::default();
    let url: Url = "memory://p/t.lance".parse().expect("a URL");
    store.create(&url, schema, Box::new([Ok(rows_there)].into_iter())).expect("new");
    let project = Project::new(Arc::new(store), "memory://p".parse().expect("a URL"));
    let scene = Scene::of_table(&project, &url).expect("readable");
    let rows = rows(&scene, 0, None, None).expect("readable");
    assert_eq!(
        rows.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["example_id", "own_example_id"]
    );
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[0, 1]);
    assert_eq!(rows.column(1).as_string::<i32>().value(1), "b");
}

#[test]
fn the_extension_names_the_format() {
    assert_eq!(Format::of(Path::new("a/rows.CSV")).expect("known"), Format::Csv);
    let error = Format::of(Path::new("rows.xlsx")).expect_err("unknown").to_string();
    assert!(error.contains("xlsx") && error.contains("csv, json, parquet"), "{error}");
}
