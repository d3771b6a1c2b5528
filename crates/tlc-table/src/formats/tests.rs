//! Files that come back as they went.

use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, BooleanArray, Int64Array, StringArray, cast::AsArray};
use arrow_schema::{Field, Schema};
use ndarray::{Array2, ShapeBuilder};
use ndarray_npy::WriteNpyExt;
use tlc_core::{Column, NumberRole, embedding_values};

use super::*;

fn rows() -> RecordBatch {
    let columns = vec![
        Column { field: Field::new("id", DataType::Int64, false), values: Arc::new(Int64Array::from(vec![1, 2, 3])) },
        Column {
            field: Field::new("name", DataType::Utf8, true),
            values: Arc::new(StringArray::from(vec![Some("a,b"), None, Some("\"c\"")])),
        },
        Column {
            field: Field::new("correct", DataType::Boolean, true),
            values: Arc::new(BooleanArray::from(vec![true, false, true])),
        },
        Column::embedding("e", 2, vec![0.5, 1., 2., f32::NAN, 4., 5.], NumberRole::NnEmbedding).expect("whole vectors"),
    ];
    let (fields, values): (Vec<Field>, Vec<_>) = columns.into_iter().map(|c| (c.field, c.values)).unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), values).expect("they fit")
}

fn read(path: &Path) -> RecordBatch {
    let (schema, batches) = read_file(path).expect("readable");
    let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().expect("whole");
    arrow_select::concat::concat_batches(&schema, &batches).expect("of one schema")
}

#[test]
fn parquet_and_arrow_files_come_back_as_they_went() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["t.parquet", "t.arrow", "t.feather"] {
        let path = folder.path().join(name);
        let n = write_file(&path, &rows().schema(), Box::new([Ok(rows())].into_iter())).expect("written");
        assert_eq!(n, 3);
        let found = read(&path);
        assert_eq!(found.columns()[..3], rows().columns()[..3], "{name}");
        assert_eq!(found.column(3).to_data(), rows().column(3).to_data(), "{name}: NaN and all");
        let roles = tlc_core::columns_with_role(&found.schema(), &NumberRole::NnEmbedding);
        assert_eq!(roles, ["e"], "{name} keeps roles");
    }
}

#[test]
fn csv_has_a_column_per_value_of_a_vector() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.csv");
    write_file(&path, &rows().schema(), Box::new([Ok(rows())].into_iter())).expect("written");
    let text = std::fs::read_to_string(&path).expect("text");
    assert!(text.starts_with("id,name,correct,e_0,e_1\n1,\"a,b\",true,0.5,1.0\n"), "{text}");
    let found = read(&path);
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(found.num_columns(), 5);
    let lists: Result<Vec<_>, _> = std::fs::read_dir(folder.path()).expect("there").collect();
    assert_eq!(lists.expect("readable").len(), 1, "no unfinished file stays");
}

#[test]
fn two_writers_of_one_file_do_not_meet() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.csv");
    // The second begins and ends while the first is at work.
    let meanwhile = std::iter::once_with(|| {
        write_bytes(&path, b"id\n9\n").expect("written");
        assert_eq!(std::fs::read(&path).expect("whole"), b"id\n9\n");
        Ok(rows())
    });
    let n = write_file(&path, &rows().schema(), Box::new(meanwhile)).expect("written");
    assert_eq!((n, read(&path).num_rows()), (3, 3), "the last to end wins");
    let other = folder.path().join("other");
    std::fs::write(&other, b"").expect("writable");
    let permissions = |path: &Path| std::fs::metadata(path).expect("there").permissions();
    assert_eq!(permissions(&path), permissions(&other), "as any other file");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 2, "no unfinished file stays");
}

#[test]
fn arrays_of_numpy_become_columns_in_either_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("embedding.npy");
    let plain = Array2::from_shape_fn((3, 2), |(i, j)| (10 * i + j) as f64);
    let mut fortran = Array2::zeros((3, 2).f());
    fortran.assign(&plain);
    for array in [plain.clone(), fortran] {
        array.write_npy(std::fs::File::create(&path).expect("writable")).expect("written");
        let found = read(&path);
        let values = embedding_values(&found, "embedding").expect("float32 vectors");
        assert_eq!(values, plain.mapv(|x| x as f32));
    }
    ndarray::arr1(&[7_i64, 8]).write_npy(std::fs::File::create(&path).expect("writable")).expect("written");
    assert_eq!(read(&path).column(0).as_primitive::<Int64Type>().values(), &[7, 8]);
}

#[test]
fn arrays_of_safetensors_become_columns_of_one_length() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("t.safetensors");
    let floats: Vec<u8> = (0..6).flat_map(|x| (x as f32).to_le_bytes()).collect();
    let whole: Vec<u8> = (0..3_i64).flat_map(i64::to_le_bytes).collect();
    let view =
        |dtype, shape: Vec<usize>, bytes| safetensors::tensor::TensorView::new(dtype, shape, bytes).expect("fits");
    let write = |n: usize| {
        let tensors = [
            ("model.e", view(safetensors::Dtype::F32, vec![3, 1, 2], &floats)),
            ("label", view(safetensors::Dtype::I64, vec![n], &whole[..n * 8])),
        ];
        std::fs::write(&path, safetensors::serialize(tensors, None).expect("plain")).expect("writable");
    };
    write(3);
    let found = read(&path);
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[0, 1, 2], "columns are sorted by name");
    assert_eq!(found.schema().field(1).name(), "model_e", "a dot cannot be in a column's name");
    assert_eq!(tlc_core::tensor_shape(found.schema().field(1)), Some(vec![1, 2]));
    assert_eq!(found.column(1).as_fixed_size_list().value(1).as_primitive::<Float32Type>().values(), &[2., 3.]);
    write(2);
    let error = read_file(&path).err().expect("refused").to_string();
    assert!(error.contains("of one length each"), "{error}");
}

#[test]
fn what_cannot_be_read_or_written_is_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let message = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).expect("writable");
        match read_file(&path) {
            Err(error) => error.to_string(),
            Ok((_, mut rows)) => rows.next().expect("an error").expect_err("refused").to_string(),
        }
    };
    assert!(message("t.xlsx", b"").contains("its extension is \"xlsx\"; known: parquet, csv"));
    assert!(message("t.parquet", b"not at all").starts_with("cannot read"));
    assert!(message("t.npy", b"\x93NUMPY but no more").contains("holds no array of float32"));
    assert!(message("t.safetensors", &[255; 20]).contains("is not usable"));
    assert!(
        read_file(&folder.path().join("absent.csv")).err().expect("refused").to_string().starts_with("cannot read")
    );
    let path = folder.path().join("t.npy");
    let error = write_file(&path, &rows().schema(), Box::new([Ok(rows())].into_iter())).expect_err("read only");
    assert!(error.to_string().contains("can only be read"), "{error}");
    let rows: BatchStream<'_> =
        Box::new([Err(StoreError::rows(&Url::from_path(Path::new("/t")).expect("absolute"), "boom"))].into_iter());
    let path = folder.path().join("half.csv");
    write_file(&path, &self::rows().schema(), rows).expect_err("the rows fail");
    assert!(!path.exists(), "a half file is none");
}
