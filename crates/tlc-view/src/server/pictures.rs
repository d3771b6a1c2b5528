//! Pictures of samples, small, out of whatever a dataset's table holds.

use std::io::Cursor;
use std::path::Path;

use arrow_array::types::UInt8Type;
use arrow_array::{Array, cast::AsArray};
use arrow_schema::DataType;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use tlc_core::tensor_shape;

use crate::{Scene, SceneDataset, ViewError};

/// Pixels a side, at most.
const SIDE: u32 = 160;

/// The picture of a sample as PNG, if the dataset has one.
pub(crate) fn png(scene: &Scene, dataset: &SceneDataset, example_id: i64) -> Result<Option<Vec<u8>>, ViewError> {
    let Some(picture) = picture(scene, dataset, example_id)? else { return Ok(None) };
    let small = if picture.width().max(picture.height()) > SIDE { picture.thumbnail(SIDE, SIDE) } else { picture };
    let mut bytes = Cursor::new(Vec::new());
    // Alpha and deep colours become what every browser shows.
    let written = small.to_rgb8().write_to(&mut bytes, ImageFormat::Png);
    Ok(written.is_ok().then(|| bytes.into_inner()))
}

/// The picture of a sample; `None` also where it cannot be decoded. What is no picture never leaves this function, so
/// that a table that names other files reveals nothing of them.
pub(crate) fn picture(
    scene: &Scene,
    dataset: &SceneDataset,
    example_id: i64,
) -> Result<Option<DynamicImage>, ViewError> {
    let (Some(url), Some(column), Ok(row)) = (&dataset.foreign_table, &dataset.image_column, u64::try_from(example_id))
    else {
        return Ok(None);
    };
    let taken = scene.store().take(url, &[row], Some(std::slice::from_ref(column)))?;
    let values = taken.column(0);
    if values.is_empty() || values.is_null(0) {
        return Ok(None);
    }
    Ok(match values.data_type() {
        DataType::Binary => image::load_from_memory(values.as_binary::<i32>().value(0)).ok(),
        DataType::Utf8 => image::open(Path::new(values.as_string::<i32>().value(0))).ok(),
        DataType::FixedSizeList(..) => {
            let pixels = values.as_fixed_size_list().value(0);
            let shape = tensor_shape(taken.schema().field(0));
            pixels
                .as_primitive_opt::<UInt8Type>()
                .zip(shape)
                .and_then(|(pixels, shape)| of_pixels(pixels.values(), &shape))
        }
        _ => None,
    })
}

/// A picture of bytes, channel by channel.
fn of_pixels(bytes: &[u8], shape: &[i64]) -> Option<DynamicImage> {
    let [channels, height, width] = *shape else { return None };
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let area = width as usize * height as usize;
    match channels {
        1 => GrayImage::from_raw(width, height, bytes.to_vec()).map(DynamicImage::from),
        3 if bytes.len() == 3 * area => {
            let pixels = (0..area).flat_map(|at| [bytes[at], bytes[area + at], bytes[2 * area + at]]).collect();
            RgbImage::from_raw(width, height, pixels).map(DynamicImage::from)
        }
        _ => None,
    }
}
