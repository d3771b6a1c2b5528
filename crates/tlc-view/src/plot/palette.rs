//! Colours of classes.

/// Tableau's ten, which most colour-blind people can tell apart.
const TEN: [[u8; 3]; 10] = [
    [0x4e, 0x79, 0xa7],
    [0xf2, 0x8e, 0x2b],
    [0xe1, 0x57, 0x59],
    [0x76, 0xb7, 0xb2],
    [0x59, 0xa1, 0x4f],
    [0xed, 0xc9, 0x48],
    [0xb0, 0x7a, 0xa1],
    [0xff, 0x9d, 0xa7],
    [0x9c, 0x75, 0x5f],
    [0x1b, 0x1b, 0x1b],
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

/// The colour of class `class` of `n_classes`: a fixed palette up to ten, hues at even steps above.
pub fn class_color(class: usize, n_classes: usize) -> [u8; 3] {
    if n_classes <= TEN.len() {
        return TEN[class % TEN.len()];
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
