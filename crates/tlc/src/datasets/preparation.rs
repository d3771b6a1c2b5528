//! From a picture of any size to what a model takes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::available_parallelism;

use image::DynamicImage;
use image::imageops::FilterType;
use tch::Tensor;
use tlc_collect::CollectError;

const LARGEST_SIDE: u32 = 8192;

/// How an image becomes what a model takes: scaled and cropped to a square, in colours or grey, channel by channel
/// `(value / 255 - mean) / std`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preparation {
    /// Side of the square, pixels.
    pub side: u32,
    /// One channel of brightness (the sRGB luma of its colours) instead of three.
    pub is_grey: bool,
    /// Per channel: red, green, blue. Grey ones use the first.
    pub mean: [f32; 3],
    /// Per channel. Grey ones use the first.
    pub std: [f32; 3],
}

impl Preparation {
    /// The names that [`named`](Self::named) knows.
    pub const NAMES: [&str; 3] = ["imagenet", "half", "none"];

    /// A usual normalisation: `imagenet` (torchvision's and most of timm's), `half` (mean and standard deviation ½, as
    /// for many vision transformers), `none` (values from 0 to 1).
    pub fn named(name: &str, side: u32) -> Option<Self> {
        let (mean, std) = match name {
            "imagenet" => ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            "half" => ([0.5; 3], [0.5; 3]),
            "none" => ([0.0; 3], [1.0; 3]),
            _ => return None,
        };
        Some(Self { side, is_grey: false, mean, std })
    }

    /// For models that take one channel: grey, normalised by the means over the three channels of `mean` and `std`.
    ///
    /// ```
    /// use tlc::datasets::Preparation;
    /// let grey = Preparation::named("imagenet", 224).expect("known").grey();
    /// assert!(grey.is_grey && (grey.mean[0] - 0.449).abs() < 1e-6 && (grey.std[0] - 0.226).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn grey(self) -> Self {
        let over_channels = |values: [f32; 3]| [values.iter().sum::<f32>() / 3.0; 3];
        Self { is_grey: true, mean: over_channels(self.mean), std: over_channels(self.std), ..self }
    }

    fn channels(&self) -> usize {
        if self.is_grey { 1 } else { 3 }
    }

    /// Why it cannot be used, if so.
    pub(super) fn check(&self) -> Result<(), String> {
        if (1..=LARGEST_SIDE).contains(&self.side) {
            return Ok(());
        }
        Err(format!("the side is {} pixels; 1 to {LARGEST_SIDE} is accepted", self.side))
    }

    /// Pictures 0 to `n` as one tensor `(kept, channels, side, side)`, decoded on all processors: the first batch has
    /// nothing beside it, and a model on a GPU leaves them free. Those that `decode` fails on are left out and logged
    /// by name.
    pub(super) fn prepare_all(
        &self,
        n: usize,
        decode: impl Fn(usize) -> Result<DynamicImage, String> + Sync,
        name: impl Fn(usize) -> String,
    ) -> Result<Pictures, CollectError> {
        let side = self.side as usize;
        let per_picture = self.channels() * side * side;
        let mut values = vec![0.0; n * per_picture];
        let per_thread = n.div_ceil(available_parallelism().map_or(1, usize::from)).max(1);
        let prepare = |(place, values): (usize, &mut [f32])| {
            // Decoders meet all kinds of bytes.
            let decoded = catch_unwind(AssertUnwindSafe(|| decode(place).map(|image| self.apply(&image, values))));
            decoded.unwrap_or_else(|_| Err("its decoder panicked".to_owned())).err()
        };
        let prepare_part = &|(part, values): (usize, &mut [f32])| {
            let places = part * per_thread..;
            places.zip(values.chunks_mut(per_picture)).map(prepare).collect::<Vec<Option<String>>>()
        };
        let reasons: Vec<Option<String>> = std::thread::scope(|scope| {
            let parts = values.chunks_mut(per_thread * per_picture).enumerate();
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || prepare_part(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        });
        if reasons.len() != n {
            return Err(CollectError::Data { what: "an image decoder panicked".to_owned() });
        }
        let (mut kept, mut skipped) = (Vec::new(), Vec::new());
        for (place, reason) in reasons.into_iter().enumerate() {
            match reason {
                Some(reason) => {
                    tracing::warn!(image = name(place), reason, "left out: it cannot be decoded");
                    skipped.push(place);
                }
                None => kept.push(place),
            }
        }
        let side = side as i64;
        let places: Vec<i64> = kept.iter().map(|&place| place as i64).collect();
        let inputs = Tensor::f_from_slice(&values)
            .and_then(|values| values.f_reshape([n as i64, self.channels() as i64, side, side]))
            .and_then(
                |all| if skipped.is_empty() { Ok(all) } else { all.f_index_select(0, &Tensor::from_slice(&places)) },
            )
            .map_err(|error| CollectError::Torch {
                action: "make a batch of images".to_owned(),
                source: error.into(),
            })?;
        Ok(Pictures { inputs, kept, skipped })
    }

    fn apply(&self, image: &DynamicImage, values: &mut [f32]) {
        let Preparation { side, is_grey, mean, std } = *self;
        let image = image.resize_to_fill(side, side, FilterType::Triangle);
        let pixels = if is_grey { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
        let area = side as usize * side as usize;
        for (at, pixel) in pixels.chunks_exact(self.channels()).enumerate() {
            for (channel, &value) in pixel.iter().enumerate() {
                values[channel * area + at] = (f32::from(value) / 255.0 - mean[channel]) / std[channel];
            }
        }
    }
}

/// What became of some pictures.
pub(super) struct Pictures {
    /// `(kept, channels, side, side)`
    pub(super) inputs: Tensor,
    /// The places of those that were decoded.
    pub(super) kept: Vec<usize>,
    /// The places of the others.
    pub(super) skipped: Vec<usize>,
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn grey_pictures_have_one_channel_of_brightness() {
        let picture = |colour: [u8; 3]| DynamicImage::ImageRgb8(RgbImage::from_pixel(6, 4, Rgb(colour)));
        let pixels = |preparation: Preparation| {
            let colours = [[255; 3], [0, 255, 0], [0; 3]];
            let name = |place: usize| place.to_string();
            preparation.prepare_all(3, |place| Ok(picture(colours[place])), name).expect("decoded").inputs
        };
        let coloured = Preparation::named("none", 4).expect("known");
        assert_eq!(pixels(coloured).size(), [3, 3, 4, 4]);
        let grey = pixels(coloured.grey());
        assert_eq!(grey.size(), [3, 1, 4, 4]);
        let first = |sample: i64| grey.double_value(&[sample, 0, 0, 0]);
        assert_eq!((first(0), first(2)), (1.0, 0.0));
        assert!((0.5..0.9).contains(&first(1)), "green is brighter than half: {}", first(1));
        let normalised = pixels(Preparation::named("half", 4).expect("known").grey());
        assert_eq!((normalised.double_value(&[0, 0, 3, 3]), normalised.double_value(&[2, 0, 3, 3])), (1.0, -1.0));
    }
}
