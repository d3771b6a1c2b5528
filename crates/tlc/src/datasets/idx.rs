//! The idx files of MNIST and its descendants: a big-endian header, then bytes.

use std::path::{Path, PathBuf};

use super::{DatasetError, ImageDataset, LabelledImages, names, read_file};

const LABELS: u32 = 0x0000_0801;
const IMAGES: u32 = 0x0000_0803;

pub(super) fn is_in(folder: &Path) -> bool {
    find(folder, "train-images-idx3-ubyte").is_file()
}

/// The plain file if it is there, else the gzipped one.
fn find(folder: &Path, name: &str) -> PathBuf {
    let plain = folder.join(name);
    if plain.is_file() { plain } else { folder.join(format!("{name}.gz")) }
}

pub(super) fn read(folder: &Path) -> Result<ImageDataset, DatasetError> {
    let part = |prefix: &str| {
        read_part(
            &find(folder, &format!("{prefix}-images-idx3-ubyte")),
            &find(folder, &format!("{prefix}-labels-idx1-ubyte")),
        )
    };
    let (train, validation) = (part("train")?, part("t10k")?);
    let is_fashion = folder.components().any(|part| part.as_os_str().to_string_lossy().contains("fashion"));
    let n_classes = train.labels.iter().chain(&validation.labels).max().map_or(0, |&label| label + 1);
    let class_names = if is_fashion && n_classes == 10 {
        names([
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ])
    } else {
        (0..n_classes).map(|class| class.to_string()).collect()
    };
    let name = if is_fashion { "fashion-mnist" } else { "idx-images" };
    Ok(ImageDataset { name, class_names, train, validation })
}

fn read_part(images: &Path, labels: &Path) -> Result<LabelledImages, DatasetError> {
    let (image_sizes, pixels) = read_idx::<3>(images, IMAGES)?;
    let (label_sizes, label_bytes) = read_idx::<1>(labels, LABELS)?;
    if image_sizes[0] != label_sizes[0] {
        return Err(DatasetError::Format {
            path: labels.to_owned(),
            reason: format!("it has {} labels for {} images", label_sizes[0], image_sizes[0]),
        });
    }
    Ok(LabelledImages {
        shape: [1, image_sizes[1], image_sizes[2]],
        pixels,
        labels: label_bytes.into_iter().map(i64::from).collect(),
    })
}

/// The sizes and the bytes of an idx file of `N` dimensions.
fn read_idx<const N: usize>(path: &Path, magic: u32) -> Result<([usize; N], Vec<u8>), DatasetError> {
    let mut content = read_file(path)?;
    let unusable = |reason: String| DatasetError::Format { path: path.to_owned(), reason };
    let header = 4 * (N + 1);
    if content.len() < header {
        return Err(unusable(format!("it has {} bytes, its header alone takes {header}", content.len())));
    }
    let number = |i: usize| u32::from_be_bytes(content[4 * i..4 * i + 4].try_into().expect("four bytes"));
    if number(0) != magic {
        return Err(unusable(format!(
            "it begins with {:#010x}; an idx file of this kind begins with {magic:#010x}",
            number(0)
        )));
    }
    let sizes: [usize; N] = std::array::from_fn(|i| number(i + 1) as usize);
    let expected = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let found = content.len() - header;
    if expected != Some(found) {
        return Err(unusable(format!("it has {found} bytes of data, its header says {sizes:?}")));
    }
    content.drain(..header);
    Ok((sizes, content))
}
