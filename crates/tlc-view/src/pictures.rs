//! Pictures of samples, small, out of whatever a dataset's table holds.

use std::io::Cursor;
use std::path::Path;

use arrow_array::types::UInt8Type;
use arrow_array::{Array, cast::AsArray};
use arrow_schema::DataType;
use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use tlc_core::{Progress, tensor_shape};

use crate::{Scene, SceneDataset, ViewError};

/// Pixels a side, at most.
const SIDE: u32 = 160;

/// The picture of a sample as PNG, if the dataset has one.
pub(crate) fn png(scene: &Scene, dataset: &SceneDataset, example_id: i64) -> Result<Option<Vec<u8>>, ViewError> {
    Ok(picture(scene, dataset, example_id)?.and_then(small_png))
}

/// The picture as PNG, made smaller if it is large.
pub(crate) fn small_png(picture: DynamicImage) -> Option<Vec<u8>> {
    let small = if picture.width().max(picture.height()) > SIDE { picture.thumbnail(SIDE, SIDE) } else { picture };
    png_of(&small.to_rgb8())
}

/// Alpha and deep colours are gone before, so that every program shows it.
fn png_of(picture: &RgbImage) -> Option<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).is_ok().then(|| bytes.into_inner())
}

/// Many pictures in one, row by row in squares.
pub(crate) struct Sheet {
    /// Pixels a side of each.
    pub(crate) side: u32,
    /// Pictures in a row.
    pub(crate) per_row: u32,
    /// The file.
    pub(crate) png: Vec<u8>,
}

/// Pixels a side that a browser takes of a sheet.
const MAX_SHEET: u32 = 8192;
/// Pixels a side of a picture in a sheet, at most and at least.
const SPRITE: (u32, u32) = (48, 8);
/// Pictures that are read at once.
const CHUNK: usize = 1024;

/// A sheet of the pictures of these samples of these datasets, in their order; white where there is none. `None` if
/// there is none at all, or they do not fit into a sheet that browsers take.
pub(crate) fn sheet(
    scene: &Scene,
    samples: &[(&SceneDataset, Vec<i64>)],
    progress: &Progress,
) -> Result<Option<Sheet>, ViewError> {
    let n = samples.iter().map(|(_, ids)| ids.len()).sum::<usize>();
    let per_row = u32::try_from(n.isqrt() + 1).unwrap_or(u32::MAX);
    let task = progress.task("pictures", n as u64);
    let mut drawn: Option<(u32, RgbImage)> = None;
    let mut place = 0;
    for (dataset, ids) in samples {
        for ids in ids.chunks(CHUNK) {
            for picture in pictures(scene, dataset, ids)? {
                if let Some(picture) = picture {
                    // The first decides how large all are.
                    let own = picture.width().max(picture.height()).clamp(SPRITE.1, SPRITE.0);
                    let side = own.min(MAX_SHEET / per_row);
                    if side < SPRITE.1 {
                        return Ok(None);
                    }
                    let (side, sheet) = drawn.get_or_insert_with(|| {
                        let size = side * per_row;
                        (side, RgbImage::from_pixel(size, size, image::Rgb([255; 3])))
                    });
                    let fits = picture.width().max(picture.height()) <= *side;
                    let small = if fits { picture } else { picture.thumbnail(*side, *side) }.to_rgb8();
                    let (x, y) = (place % per_row * *side, place / per_row * *side);
                    image::imageops::overlay(sheet, &small, i64::from(x), i64::from(y));
                }
                place += 1;
            }
            task.advance(ids.len() as u64)?;
        }
    }
    let made = drawn.and_then(|(side, sheet)| Some(Sheet { side, per_row, png: png_of(&sheet)? }));
    Ok(made)
}

/// The picture of a sample; `None` also where it cannot be decoded.
pub(crate) fn picture(
    scene: &Scene,
    dataset: &SceneDataset,
    example_id: i64,
) -> Result<Option<DynamicImage>, ViewError> {
    Ok(pictures(scene, dataset, &[example_id])?.pop().flatten())
}

/// The pictures of some samples, in their order. What is no picture never leaves this function, so that a table that
/// names other files reveals nothing of them.
pub(crate) fn pictures(
    scene: &Scene,
    dataset: &SceneDataset,
    example_ids: &[i64],
) -> Result<Vec<Option<DynamicImage>>, ViewError> {
    let mut pictures = vec![None; example_ids.len()];
    let (Some(url), Some(column)) = (&dataset.foreign_table, &dataset.image_column) else { return Ok(pictures) };
    let places = example_ids.iter().enumerate();
    let known = places.filter_map(|(place, &id)| Some((place, scene.row_of_sample(dataset, id)?)));
    let (places, rows): (Vec<usize>, Vec<u64>) = known.unzip();
    let taken = scene.store().take(url, &rows, Some(std::slice::from_ref(column)))?;
    let values = taken.column(0);
    let shape = tensor_shape(taken.schema().field(0));
    let decoded = |row: usize| match values.data_type() {
        _ if values.is_null(row) => None,
        DataType::Binary => image::load_from_memory(values.as_binary::<i32>().value(row)).ok(),
        DataType::Utf8 => image::open(Path::new(values.as_string::<i32>().value(row))).ok(),
        DataType::FixedSizeList(..) => {
            let pixels = values.as_fixed_size_list().value(row);
            of_pixels(pixels.as_primitive_opt::<UInt8Type>()?.values(), shape.as_deref()?)
        }
        _ => None,
    };
    for (row, place) in places.into_iter().enumerate() {
        pictures[place] = decoded(row);
    }
    Ok(pictures)
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
