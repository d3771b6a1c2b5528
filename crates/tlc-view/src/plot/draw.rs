//! Drawing with plotters, which writes SVG and pixels from the same code.

use std::io::Cursor;
use std::time::Duration;

use epaint_default_fonts::UBUNTU_LIGHT;
use image::codecs::gif::{GifEncoder, Repeat};
use image::{Delay, DynamicImage, Frame, ImageFormat, RgbImage, imageops};
use plotters::coord::Shift;
use plotters::prelude::*;

use tlc_core::Progress;

use super::few_colors::FewColors;
use super::{Film, PlotError, Scatter};
use crate::printable;

/// Pixels are drawn this much larger and averaged, since plotters draws circles with hard edges.
const SUPERSAMPLING: u32 = 2;
/// How long a frame between two epochs stays: 20 in a second look like movement.
const BETWEEN: Duration = Duration::from_millis(50);
const FONT: &str = "sans-serif";

fn failed(title: &str, error: impl ToString) -> PlotError {
    PlotError::Draw { title: title.to_owned(), reason: error.to_string() }
}

fn register_font() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // Fails only for a font that is broken, and then every text is an error of its own.
        let _ = plotters::style::register_font(FONT, FontStyle::Normal, UBUNTU_LIGHT);
    });
}

pub(super) fn svg(plot: &Scatter, size: (u32, u32)) -> Result<String, PlotError> {
    register_font();
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        scatter(&area, plot, 1.0, true).map_err(|error| failed(&plot.title, error))?;
        area.present().map_err(|error| failed(&plot.title, error))?;
    }
    Ok(text)
}

type PixelArea<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type DrawResult<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// What `draw` draws, as a PNG file.
pub(super) fn png(
    title: &str,
    size: (u32, u32),
    draw: impl FnOnce(&PixelArea<'_>) -> DrawResult<BitMapBackend<'static>>,
) -> Result<Vec<u8>, PlotError> {
    let mut file = Vec::new();
    let written = pixels(title, size, draw)?.write_to(&mut Cursor::new(&mut file), ImageFormat::Png);
    written.map_err(|error| failed(title, error))?;
    Ok(file)
}

/// The film, for ever; each epoch stays for `delay`, the last three times as long.
pub(super) fn gif(film: &Film, size: (u32, u32), delay: Duration, progress: &Progress) -> Result<Vec<u8>, PlotError> {
    let mut file = Vec::new();
    let title = film.stills.first().map(|still| still.title.as_str()).unwrap_or_default();
    let classes = film.stills.iter().flat_map(|still| still.series.iter().map(|(_, color)| *color));
    let mut colors = FewColors::for_classes(classes);
    let task = progress.task("draw the film", film.n_frames() as u64);
    {
        let mut encoder = GifEncoder::new(&mut file);
        encoder.set_repeat(Repeat::Infinite).map_err(|error| failed(title, error))?;
        for (index, (plot, is_held)) in (0..).map_while(|index| film.frame(index)).enumerate() {
            let delay = match is_held {
                true if index + 1 == film.n_frames() => 3 * delay,
                true => delay,
                false => BETWEEN,
            };
            let mut picture = pixels(&plot.title, size, |area| scatter(area, &plot, 1.0, true))?;
            colors.reduce(&mut picture);
            let picture = DynamicImage::from(picture).to_rgba8();
            let frame = Frame::from_parts(picture, 0, 0, Delay::from_saturating_duration(delay));
            encoder.encode_frame(frame).map_err(|error| failed(&plot.title, error))?;
            task.advance(1)?;
        }
    }
    Ok(file)
}

/// What `draw` draws.
fn pixels(
    title: &str,
    (width, height): (u32, u32),
    draw: impl FnOnce(&PixelArea<'_>) -> DrawResult<BitMapBackend<'static>>,
) -> Result<RgbImage, PlotError> {
    register_font();
    let (large_width, large_height) = (width * SUPERSAMPLING, height * SUPERSAMPLING);
    let mut pixels = vec![0; (large_width * large_height * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (large_width, large_height)).into_drawing_area();
        draw(&area).map_err(|error| failed(title, error))?;
        area.present().map_err(|error| failed(title, error))?;
    }
    let large = RgbImage::from_raw(large_width, large_height, pixels).expect("three bytes per pixel");
    Ok(imageops::resize(&large, width, height, imageops::FilterType::Triangle))
}

pub(super) fn contact_sheet(
    title: &str,
    rows: &[Vec<Scatter>],
    n_columns: usize,
    (tile_width, tile_height): (u32, u32),
) -> Result<Vec<u8>, PlotError> {
    let (header, legend) = (48, 150);
    let size = (tile_width * n_columns as u32 + legend, tile_height * rows.len() as u32 + header);
    png(title, size, |area| {
        let scale = f64::from(SUPERSAMPLING);
        area.fill(&WHITE)?;
        let (top, grid) = area.split_vertically(header * SUPERSAMPLING);
        let style = TextStyle::from((FONT, 24.0 * scale).into_font());
        top.draw(&Text::new(printable(title), ((16.0 * scale) as i32, (14.0 * scale) as i32), style))?;
        let (grid, side) = grid.split_horizontally(tile_width * n_columns as u32 * SUPERSAMPLING);
        for (tiles, plots) in grid.split_evenly((rows.len(), 1)).iter().zip(rows) {
            for (tile, plot) in tiles.split_evenly((1, n_columns)).iter().zip(plots) {
                scatter(tile, plot, 0.8, false)?;
            }
        }
        rows.first().and_then(|row| row.first()).map_or(Ok(()), |plot| draw_legend(&side, plot, scale))
    })
}

/// Draws `plot` into `area`; `detail` scales points and text.
pub(super) fn scatter<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    plot: &Scatter,
    detail: f64,
    with_legend: bool,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    // A pixel area is larger by the supersampling; texts and points grow with it.
    let (width, _) = area.dim_in_pixel();
    let full_width = if with_legend { 900.0 } else { 420.0 };
    let scale = f64::from(width) / full_width;
    area.fill(&WHITE)?;
    // Not `titled`, which cuts this font's ascenders off.
    let (top, area) = area.split_vertically((38.0 * scale * detail) as u32);
    let style = TextStyle::from((FONT, 22.0 * scale * detail).into_font());
    top.draw(&Text::new(printable(&plot.title), ((12.0 * scale) as i32, (10.0 * scale * detail) as i32), style))?;
    let (field, side) = if with_legend {
        let (field, side) = area.split_horizontally((f64::from(width) - 150.0 * scale) as u32);
        (field, Some(side))
    } else {
        (area, None)
    };
    let window = plot.window;
    let mut chart = ChartBuilder::on(&field)
        .margin((8.0 * scale) as u32)
        .build_cartesian_2d(window.x[0]..window.x[1], window.y[0]..window.y[1])?;
    chart.configure_mesh().disable_mesh().x_labels(0).y_labels(0).axis_style(RGBColor(0xbb, 0xbb, 0xbb)).draw()?;
    let n_points: usize = plot.series.iter().map(|series| series.points.len()).sum();
    let radius = scale * detail * if n_points > 5_000 { 1.2 } else { 2.0 };
    for series in &plot.series {
        let [red, green, blue] = series.color;
        let style = RGBColor(red, green, blue).filled();
        let points = series.points.iter().filter(|point| point.iter().all(|x| x.is_finite()));
        chart.draw_series(
            points.map(|point| Circle::new((point[0], point[1]), radius.round().max(1.0) as i32, style)),
        )?;
    }
    side.map_or(Ok(()), |side| draw_legend(&side, plot, scale))
}

fn draw_legend<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    plot: &Scatter,
    scale: f64,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let pixels = |length: f64| (length * scale) as i32;
    let style = TextStyle::from((FONT, 16.0 * scale).into_font()).color(&BLACK);
    for (line, series) in plot.series.iter().enumerate() {
        let [red, green, blue] = series.color;
        let y = 20.0 + 22.0 * line as f64;
        area.draw(&Circle::new((pixels(12.0), pixels(y)), pixels(5.0), RGBColor(red, green, blue).filled()))?;
        area.draw(&Text::new(printable(&series.name), (pixels(24.0), pixels(y - 5.5)), style.clone()))?;
    }
    Ok(())
}
