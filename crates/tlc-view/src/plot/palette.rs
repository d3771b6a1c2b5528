//! Colours of classes.

/// The page's colours of classes: eight after Okabe and Ito (2008), then always the one that is farthest, for three kinds
/// of eyes, from all before it (`web/src/palette.ts` computes them).
const CLASSES: [[u8; 3]; 32] = [
    [0x00, 0x72, 0xb2],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xd5, 0x5e, 0x00],
    [0x56, 0xb4, 0xe9],
    [0xd9, 0xcf, 0x1f],
    [0x56, 0x61, 0x70],
    [0xa1, 0x1c, 0x1e],
    [0x31, 0xe3, 0xb6],
    [0x86, 0x76, 0xf4],
    [0x55, 0x3d, 0xb6],
    [0x8b, 0xb7, 0x72],
    [0x88, 0x23, 0x8c],
    [0x94, 0x64, 0x4f],
    [0xb7, 0xc3, 0xe5],
    [0xd7, 0xc3, 0x8c],
    [0xb5, 0x38, 0x8b],
    [0x1e, 0x98, 0xcb],
    [0xda, 0x9e, 0xaf],
    [0x5e, 0x60, 0xd5],
    [0xad, 0x92, 0x47],
    [0x7e, 0x45, 0x47],
    [0xc4, 0x3a, 0x1b],
    [0xa0, 0x70, 0xa0],
    [0x7a, 0x97, 0xfb],
    [0xeb, 0x5d, 0x80],
    [0xe3, 0x8d, 0xde],
    [0xfa, 0x92, 0x61],
    [0xcc, 0x67, 0xcf],
    [0x78, 0x8c, 0x4e],
    [0x45, 0x5a, 0xa7],
];

/// Steps of viridis (van der Walt and Smith 2015), dark to light.
const VIRIDIS: [[u8; 3]; 9] = [
    [0x44, 0x01, 0x54],
    [0x47, 0x2d, 0x7b],
    [0x3b, 0x52, 0x8b],
    [0x2c, 0x72, 0x8e],
    [0x21, 0x91, 0x8c],
    [0x28, 0xae, 0x80],
    [0x5e, 0xc9, 0x62],
    [0xad, 0xdc, 0x30],
    [0xfd, 0xe7, 0x25],
];

/// The colour of a number, `0..=1`, between dark and light.
pub fn number_color(x: f32) -> [u8; 3] {
    let place = x.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f32;
    let (low, share) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(VIRIDIS.len() - 1);
    std::array::from_fn(|channel| {
        let (from, to) = (f32::from(VIRIDIS[low][channel]), f32::from(VIRIDIS[high][channel]));
        (from + share * (to - from)).round() as u8
    })
}

/// The colour of class `class` of `n_classes`: a fixed palette up to 32, as on the page, hues at even steps above.
pub fn class_color(class: usize, n_classes: usize) -> [u8; 3] {
    if n_classes <= CLASSES.len() {
        return CLASSES[class % CLASSES.len()];
    }
    let hue = 6.0 * class as f32 / n_classes as f32;
    // Neighbouring hues alternate in lightness.
    let (low, high) = if class.is_multiple_of(2) { (0.1, 0.75) } else { (0.35, 0.95) };
    let channel = |offset: f32| {
        let distance = ((hue + offset).rem_euclid(6.0) - 3.0).abs() - 1.0;
        ((low + (high - low) * distance.clamp(0.0, 1.0)) * 255.0) as u8
    };
    [channel(0.0), channel(4.0), channel(2.0)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn classes_differ_also_if_they_are_many() {
        for n in [2, 8, 10, 32, 100] {
            let colors: BTreeSet<[u8; 3]> = (0..n).map(|class| class_color(class, n)).collect();
            assert_eq!(colors.len(), n, "{n} classes");
        }
        assert_eq!(class_color(3, 5), class_color(3, 32), "a class keeps its colour when others come");
    }
}
