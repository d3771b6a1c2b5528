//! Scatter plots as text: dots of braille, two by four in each character.

use std::fmt::Write as _;

use super::Scatter;
use crate::printable;

/// Dots in a character.
const DOTS: (usize, usize) = (2, 4);
/// The bit of each dot in a braille character, from the left upper one downwards, column by column.
const BITS: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
const BRAILLE: u32 = 0x2800;
const MIN_WIDTH: usize = 20;
/// Names of classes in a legend.
const MAX_NAMES: usize = 20;

/// The plot in lines of at most `width` characters, at least 20; with ANSI colours of 256 if `has_colors`. A character has
/// the colour of most of its points.
pub fn to_text(plot: &Scatter, width: usize, has_colors: bool) -> String {
    let width = width.max(MIN_WIDTH);
    // A character is about twice as high as it is wide.
    let height = (width * 2 / 5).max(1);
    let cells = Cells::of(plot, width, height);
    let mut text = format!("{}\n", line_of(&plot.title, width));
    for row in 0..height {
        let mut last = None;
        for column in 0..width {
            let (bits, series) = cells.at(column, row);
            if has_colors && series != last {
                text.push_str(&series.map_or_else(|| "\x1b[0m".to_owned(), |series| color(plot.series[series].color)));
                last = series;
            }
            text.push(if bits == 0 { ' ' } else { char::from_u32(BRAILLE + bits).unwrap_or(' ') });
        }
        if last.is_some() {
            text.push_str("\x1b[0m");
        }
        // Blanks at the end of a line are none that one sees.
        let kept = text.trim_end_matches(' ').len();
        text.truncate(kept);
        text.push('\n');
    }
    let names = plot.series.iter().take(MAX_NAMES).map(|series| {
        let name = line_of(&series.name, width);
        if has_colors { format!("{}●\x1b[0m {name}", color(series.color)) } else { name }
    });
    text.push_str(&names.collect::<Vec<_>>().join("  "));
    if plot.series.len() > MAX_NAMES {
        write!(text, "  and {} more", plot.series.len() - MAX_NAMES).expect("memory takes what is written");
    }
    text.push('\n');
    text
}

/// Which dots are set, and how many points of each series lie in each character.
struct Cells {
    width: usize,
    bits: Vec<u32>,
    /// `(character, series)`, how often.
    counts: std::collections::BTreeMap<(usize, usize), usize>,
}

impl Cells {
    fn of(plot: &Scatter, width: usize, height: usize) -> Self {
        let mut cells = Self { width, bits: vec![0; width * height], counts: Default::default() };
        let (dots_x, dots_y) = (width * DOTS.0, height * DOTS.1);
        let place = |x: f32, [low, high]: [f32; 2], n: usize| -> Option<usize> {
            let share = (x - low) / (high - low).max(f32::MIN_POSITIVE);
            (0.0..=1.0).contains(&share).then(|| ((share * n as f32) as usize).min(n - 1))
        };
        for (index, series) in plot.series.iter().enumerate() {
            for [x, y] in &series.points {
                let Some((x, y)) = place(*x, plot.window.x, dots_x).zip(place(*y, plot.window.y, dots_y)) else {
                    continue;
                };
                // Text runs downwards.
                let y = dots_y - 1 - y;
                let cell = y / DOTS.1 * width + x / DOTS.0;
                cells.bits[cell] |= BITS[x % DOTS.0][y % DOTS.1];
                *cells.counts.entry((cell, index)).or_default() += 1;
            }
        }
        cells
    }

    /// The dots of a character, and the series of most of its points.
    fn at(&self, column: usize, row: usize) -> (u32, Option<usize>) {
        let cell = row * self.width + column;
        let of_cell = self.counts.range((cell, 0)..(cell + 1, 0));
        let most = of_cell.max_by_key(|((_, series), count)| (**count, std::cmp::Reverse(*series)));
        (self.bits[cell], most.map(|((_, series), _)| *series))
    }
}

/// The nearest of the terminal's 216 colours.
fn color([red, green, blue]: [u8; 3]) -> String {
    let step = |x: u8| (u16::from(x) * 5 + 127) / 255;
    format!("\x1b[38;5;{}m", 16 + 36 * step(red) + 6 * step(green) + step(blue))
}

/// What a label holds, without what a terminal would obey.
fn line_of(text: &str, width: usize) -> String {
    printable(text).chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Series, Window};

    fn plot() -> Scatter {
        let series =
            |name: &str, color, points: &[[f32; 2]]| Series { name: name.to_owned(), color, points: points.to_vec() };
        let red = series("re\x1b[2Jd", [255, 0, 0], &[[0.0, 0.0], [0.01, 0.01], [f32::NAN, 1.0]]);
        let blue = series("blue", [0, 0, 255], &[[1.0, 1.0], [5.0, 5.0]]);
        Scatter {
            title: "two corners".to_owned(),
            series: vec![red, blue],
            window: Window { x: [0.0, 1.0], y: [0.0, 1.0] },
        }
    }

    #[test]
    fn corners_are_where_they_belong_and_points_outside_are_nowhere() {
        let text = to_text(&plot(), 20, false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 8 + 1);
        assert_eq!((lines[1].chars().count(), lines[1].trim()), (20, "\u{2808}"), "right upper corner: {text}");
        assert_eq!(lines[8], "\u{2840}", "left lower corner: {text}");
        assert!(lines[2..8].iter().all(|line| line.is_empty()), "{text}");
    }

    #[test]
    fn colours_only_where_they_are_wanted_and_labels_give_no_orders() {
        assert!(!to_text(&plot(), 40, false).contains('\x1b'), "neither colours nor what the label holds");
        let text = to_text(&plot(), 40, true);
        assert!(text.contains("\x1b[38;5;196m") && text.contains("\x1b[38;5;21m"), "{text:?}");
        assert!(!text.contains("\x1b[2J"));
    }
}
