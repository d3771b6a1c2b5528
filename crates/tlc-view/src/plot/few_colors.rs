//! The colours of a film. A GIF's frame has at most 256: those of the classes, and of their edges on white, are chosen once
//! for all frames. A general choice, frame by frame, would spend most of them on white and mix classes up.

use std::collections::HashMap;

use image::RgbImage;

/// Shades of grey, of texts and axes.
const N_GREYS: usize = 16;
/// Steps from a class's colour to white, at most.
const N_STEPS: usize = 6;
/// Colours that a frame can have.
const N_COLORS: usize = 256;

/// Colours to draw with.
pub(super) struct FewColors {
    colors: Vec<[u8; 3]>,
    nearest: HashMap<[u8; 3], [u8; 3]>,
}

impl FewColors {
    /// Those for plots of classes of these colours.
    pub(super) fn for_classes(classes: impl IntoIterator<Item = [u8; 3]>) -> Self {
        let grey = |step: usize| [(255 * step / (N_GREYS - 1)) as u8; 3];
        let mut colors: Vec<[u8; 3]> = (0..N_GREYS).map(grey).collect();
        let n_left = N_COLORS - N_GREYS;
        let mut distinct: Vec<[u8; 3]> = Vec::new();
        for class in classes {
            if distinct.len() < n_left && !distinct.contains(&class) {
                distinct.push(class);
            }
        }
        let n_steps = (n_left / distinct.len().max(1)).min(N_STEPS);
        for class in distinct {
            // The class's own colour first.
            let mix = |step: usize| class.map(|x| x + ((255 - usize::from(x)) * step / n_steps) as u8);
            colors.extend((0..n_steps).map(mix));
        }
        Self { colors, nearest: HashMap::new() }
    }

    /// Gives each pixel the nearest of the colours.
    pub(super) fn reduce(&mut self, picture: &mut RgbImage) {
        let Self { colors, nearest } = self;
        for pixel in picture.pixels_mut() {
            let distance = |color: &[u8; 3]| {
                let squared = |d: usize| (i32::from(color[d]) - i32::from(pixel.0[d])).pow(2);
                squared(0) + squared(1) + squared(2)
            };
            let found = nearest.entry(pixel.0).or_insert_with(|| {
                *colors.iter().min_by_key(|&color| distance(color)).expect("greys are always there")
            });
            pixel.0 = *found;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plot::class_color;

    #[test]
    fn colours_of_classes_and_white_stay_and_frames_have_no_more_than_a_gif_can_hold() {
        for n in [1, 10, 100, 2000] {
            let classes: Vec<[u8; 3]> = (0..n).map(class_color).collect();
            let mut few = FewColors::for_classes(classes.iter().copied());
            assert!(few.colors.len() <= N_COLORS, "{} colours for {n} classes", few.colors.len());
            let side = 64;
            let mut picture = RgbImage::from_fn(side, side, |x, y| image::Rgb([(4 * x) as u8, (4 * y) as u8, 77]));
            let kept: Vec<[u8; 3]> = [[0; 3], [255; 3]].into_iter().chain(classes.into_iter().take(100)).collect();
            for (x, color) in kept.iter().enumerate() {
                picture.put_pixel(x as u32 % side, x as u32 / side, image::Rgb(*color));
            }
            few.reduce(&mut picture);
            let found: BTreeSet<[u8; 3]> = picture.pixels().map(|pixel| pixel.0).collect();
            assert!(found.len() <= N_COLORS && found.len() > 2);
            for (x, color) in kept.iter().enumerate() {
                assert_eq!(picture.get_pixel(x as u32 % side, x as u32 / side).0, *color, "of {n} classes");
            }
        }
    }
}
