//! Small files made here, sound and broken.

use std::fs;

use super::*;

fn idx(magic: u32, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let header = std::iter::once(&magic).chain(sizes).flat_map(|number| number.to_be_bytes());
    header.chain(data.iter().copied()).collect()
}

fn write_idx(folder: &Path) {
    for prefix in ["train", "t10k"] {
        let images = idx(0x803, &[3, 2, 2], &(0..12).collect::<Vec<u8>>());
        fs::write(folder.join(format!("{prefix}-images-idx3-ubyte")), images).expect("writable");
        fs::write(folder.join(format!("{prefix}-labels-idx1-ubyte")), idx(0x801, &[3], &[0, 1, 2])).expect("writable");
    }
}

#[test]
fn idx_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    write_idx(folder.path());
    let mut data = read(folder.path()).expect("readable");
    assert_eq!(data.class_names, ["0", "1", "2"]);
    assert_eq!((data.train.shape, data.train.len()), ([1, 2, 2], 3));
    data.train.truncate(2);
    assert_eq!(data.train.pixels, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn cifar_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let record: Vec<u8> = std::iter::once(7).chain((0..3072).map(|i| (i % 251) as u8)).collect();
    for number in 1..=5 {
        fs::write(folder.path().join(format!("data_batch_{number}.bin")), record.repeat(2)).expect("writable");
    }
    fs::write(folder.path().join("test_batch.bin"), &record).expect("writable");
    let data = read(folder.path()).expect("readable");
    assert_eq!((data.name, data.train.len(), data.validation.len()), ("cifar-10", 10, 1));
    assert_eq!(data.validation.labels, [7]);
    assert_eq!(data.validation.pixels[..3], [0, 1, 2]);

    fs::write(folder.path().join("test_batch.bin"), &record[..3000]).expect("writable");
    let error = read(folder.path()).expect_err("cut short").to_string();
    assert!(error.ends_with("it has 3000 bytes, not a multiple of a record's 3073"), "{error}");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |expected: &str| {
        let error = read(folder.path()).expect_err("not usable").to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("holds no data set that tlc can read: train-images-idx3-ubyte");
    write_idx(folder.path());
    let images = folder.path().join("train-images-idx3-ubyte");
    let sound = fs::read(&images).expect("readable");
    fs::write(&images, &sound[..20]).expect("writable");
    check("it has 4 bytes of data, its header says [3, 2, 2]");
    fs::write(&images, b"PK").expect("writable");
    check("it has 2 bytes, its header alone takes 16");
    fs::write(&images, idx(0x801, &[3, 2, 2], &[0; 12])).expect("writable");
    check("it begins with 0x00000801; an idx file of this kind begins with 0x00000803");
    fs::write(&images, idx(0x803, &[2, 2, 2], &[0; 8])).expect("writable");
    check("it has 3 labels for 2 images");
    fs::write(&images, sound).expect("writable");
    fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).expect("removable");
    check("cannot read");
}
