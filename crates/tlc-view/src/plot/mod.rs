//! Scatter plots of layouts: SVG, PNG, contact sheets that show epochs side by side, GIFs in which the points move from
//! one epoch to the next, and text for terminals.

mod draw;
mod few_colors;
mod film;
mod of_scene;
mod palette;
mod terminal;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tlc_core::{Cancelled, Progress};

pub use film::{Film, Placed, Still};
pub use of_scene::{scatter_of, still_of, window_of};
pub use palette::{class_color, number_color};
pub use terminal::to_text;

/// One class of points.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// Red, green, blue.
    pub color: [u8; 3],
    /// Coordinates; points that are not finite are left out.
    pub points: Vec<[f32; 2]>,
}

/// The part of the plane that a plot shows. Plots that are to be compared share one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Smallest and largest x.
    pub x: [f32; 2],
    /// Smallest and largest y.
    pub y: [f32; 2],
}

impl Window {
    /// The smallest window around all finite points, with a margin; one unit wide if there are none.
    pub fn around<'a>(points: impl IntoIterator<Item = &'a [f32; 2]>) -> Self {
        let (mut low, mut high) = ([f32::INFINITY; 2], [f32::NEG_INFINITY; 2]);
        for point in points.into_iter().filter(|point| point.iter().all(|x| x.is_finite())) {
            for d in 0..2 {
                low[d] = low[d].min(point[d]);
                high[d] = high[d].max(point[d]);
            }
        }
        let range = |d: usize| {
            if low[d] > high[d] {
                return [-0.5, 0.5];
            }
            let margin = 0.03 * (high[d] - low[d]).max(1e-3);
            [low[d] - margin, high[d] + margin]
        };
        Self { x: range(0), y: range(1) }
    }
}

/// A scatter plot coloured by class, with a legend. Axes carry no scale: layouts have none.
#[derive(Debug, Clone, PartialEq)]
pub struct Scatter {
    /// The line above the plot.
    pub title: String,
    /// The classes.
    pub series: Vec<Series>,
    /// What is shown.
    pub window: Window,
}

/// Why a picture cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The plotting library failed.
    #[error("cannot draw {title:?}: {reason}")]
    Draw {
        /// The plot.
        title: String,
        /// The library's message.
        reason: String,
    },
    /// The file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

const SIZE: (u32, u32) = (900, 720);
const TILE: (u32, u32) = (420, 400);
const GIF: (u32, u32) = (720, 576);

impl Scatter {
    /// The plot as SVG text.
    ///
    /// # Errors
    /// A failing library.
    pub fn to_svg(&self) -> Result<String, PlotError> {
        draw::svg(self, SIZE)
    }

    /// Writes the plot to `path` as SVG.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_svg(&self, path: &Path) -> Result<(), PlotError> {
        write(path, self.to_svg()?.as_bytes())
    }

    /// Writes the plot to `path` as PNG.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write_png(&self, path: &Path) -> Result<(), PlotError> {
        write(path, &draw::png(&self.title, SIZE, |area| draw::scatter(area, self, 1.0, true))?)
    }
}

/// Writes plots in a grid to one PNG, row by row, under one title, with one legend (of the first plot).
///
/// # Errors
/// A file that cannot be written.
pub fn write_contact_sheet(path: &Path, title: &str, rows: &[Vec<Scatter>]) -> Result<(), PlotError> {
    let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    write(path, &draw::contact_sheet(title, rows, n_columns, TILE)?)
}

/// Writes a film to a GIF that begins again after the last frame. Each epoch stays for `delay`, the last three times as
/// long, and each frame between two epochs for 50 ms.
///
/// # Errors
/// A file that cannot be written; cancellation.
pub fn write_gif(path: &Path, film: &Film, delay: Duration, progress: &Progress) -> Result<(), PlotError> {
    write(path, &draw::gif(film, GIF, delay, progress)?)
}

fn write(path: &Path, content: &[u8]) -> Result<(), PlotError> {
    std::fs::write(path, content).map_err(|source| PlotError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Scatter {
        let series = (0..3).map(|class| Series {
            name: format!("class {class}"),
            color: class_color(class),
            points: (0..50).map(|i| [i as f32 + class as f32, (i * i % 17) as f32]).chain([[f32::NAN, 0.0]]).collect(),
        });
        let series: Vec<Series> = series.collect();
        let window = Window::around(series.iter().flat_map(|series| &series.points));
        Scatter { title: "an <example>".to_owned(), series, window }
    }

    #[test]
    fn svg_has_every_finite_point_and_the_legend() {
        let svg = example().to_svg().expect("drawn");
        assert_eq!(svg.matches("<circle").count(), 3 * 50 + 3, "points and legend marks");
        assert!(svg.contains("class 2"));
        assert!(svg.contains("an &lt;example&gt;"), "text is escaped");
    }

    #[test]
    fn svg_holds_no_character_that_xml_may_not() {
        let mut plot = example();
        plot.title = "a\x1b[2J".to_owned();
        plot.series[0].name = "b\u{0}\u{8}".to_owned();
        let svg = plot.to_svg().expect("drawn");
        assert!(svg.contains("a [2J") && !svg.contains(['\x1b', '\u{0}', '\u{8}']), "{svg}");
    }

    #[test]
    fn png_and_contact_sheet_are_pictures_of_the_stated_size() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        example().write_png(&path).expect("written");
        let picture = image::open(&path).expect("a PNG").to_rgb8();
        assert_eq!(picture.dimensions(), SIZE);
        let color = image::Rgb(class_color(0));
        assert!(picture.pixels().filter(|pixel| **pixel == color).count() > 50, "the points are there");
        write_contact_sheet(&path, "all", &[vec![example(), example()], vec![example()]]).expect("written");
        let picture = image::open(&path).expect("a PNG").to_rgb8();
        assert!(picture.width() >= 2 * TILE.0 && picture.height() >= 2 * TILE.1);
    }

    #[test]
    fn a_gif_holds_each_epoch_and_moves_between_them() {
        use image::AnimationDecoder;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.gif");
        let still = |epoch: usize| Still {
            title: "map".to_owned(),
            moment: format!("epoch {epoch}"),
            series: vec![("a".to_owned(), class_color(0)), ("b".to_owned(), class_color(1))],
            samples: (0..100).map(|i| Some(Placed { point: [i as f32, (i * epoch) as f32], series: i % 2 })).collect(),
            window: Window { x: [-5.0, 105.0], y: [-5.0, 205.0] },
        };
        let mut film = Film { stills: (0..3).map(still).collect(), frames_between: 2 };
        let frames = |film: &Film| {
            write_gif(&path, film, Duration::from_millis(500), &Progress::default()).expect("written");
            let file = std::io::BufReader::new(std::fs::File::open(&path).expect("there"));
            let decoder = image::codecs::gif::GifDecoder::new(file).expect("a GIF");
            decoder.into_frames().collect_frames().expect("whole")
        };
        let moving = frames(&film);
        let delays = |frames: &[image::Frame]| -> Vec<u32> {
            frames.iter().map(|frame| frame.delay().numer_denom_ms().0).collect()
        };
        assert_eq!(delays(&moving), [500, 50, 50, 500, 50, 50, 1500]);
        assert_eq!(moving[0].buffer().dimensions(), GIF);
        // No frame is a copy of another, also below the line that says what it is of.
        let field = |frame: &image::Frame| {
            image::imageops::crop_imm(frame.buffer(), 0, 40, GIF.0, GIF.1 - 40).to_image().into_raw()
        };
        for a in 0..moving.len() {
            for b in 0..a {
                assert_ne!(field(&moving[a]), field(&moving[b]), "frames {b} and {a}");
            }
        }
        film.frames_between = 0;
        let held = frames(&film);
        assert_eq!(delays(&held), [500, 500, 1500]);
        let stopped = Progress::default();
        stopped.cancel();
        assert!(matches!(write_gif(&path, &film, Duration::from_millis(500), &stopped), Err(PlotError::Cancelled(_))));
    }

    #[test]
    fn a_window_without_points_is_still_a_window() {
        assert_eq!(Window::around([]), Window { x: [-0.5, 0.5], y: [-0.5, 0.5] });
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let error = example().write_svg(Path::new("/nowhere/a.svg")).expect_err("no such folder");
        assert_eq!(error.to_string(), "cannot write /nowhere/a.svg");
    }
}
