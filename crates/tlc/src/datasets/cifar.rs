//! CIFAR-10's binary version: records of one label byte and 32 × 32 × 3 bytes of pixels.

use std::path::Path;

use super::{DatasetError, ImageDataset, LabelledImages, names, read_file};

const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD_BYTES: usize = 1 + 3 * 32 * 32;

pub(super) fn is_in(folder: &Path) -> bool {
    folder.join("data_batch_1.bin").is_file()
}

pub(super) fn read(folder: &Path) -> Result<ImageDataset, DatasetError> {
    let train: Vec<String> = (1..=5).map(|number| format!("data_batch_{number}.bin")).collect();
    Ok(ImageDataset {
        name: "cifar-10",
        class_names: names(["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]),
        train: read_part(folder, &train)?,
        validation: read_part(folder, &["test_batch.bin".to_owned()])?,
    })
}

fn read_part(folder: &Path, files: &[String]) -> Result<LabelledImages, DatasetError> {
    let mut part = LabelledImages { shape: SHAPE, pixels: Vec::new(), labels: Vec::new() };
    for file in files {
        let path = folder.join(file);
        let content = read_file(&path)?;
        let unusable = |reason: String| DatasetError::Format { path: path.clone(), reason };
        if content.is_empty() || !content.len().is_multiple_of(RECORD_BYTES) {
            let reason = format!("it has {} bytes, not a multiple of a record's {RECORD_BYTES}", content.len());
            return Err(unusable(reason));
        }
        for (number, record) in content.chunks_exact(RECORD_BYTES).enumerate() {
            if record[0] > 9 {
                return Err(unusable(format!("record {number} has label {}; 0 to 9 are needed", record[0])));
            }
            part.labels.push(i64::from(record[0]));
            part.pixels.extend_from_slice(&record[1..]);
        }
    }
    Ok(part)
}
