//! Epochs as a film: each is held, and between two the samples go their straight ways.

use super::{Scatter, Series, Window};

/// Frames between epochs that a film has at most by default.
const USUAL_BETWEEN: usize = 8;
/// Frames of a film by default, about: its file has some megabytes then.
const USUAL_FRAMES: usize = 160;

/// A plot of one epoch that still knows which point is which sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Still {
    /// What is shown.
    pub title: String,
    /// When, such as `epoch 3`; empty if there is nothing to say.
    pub moment: String,
    /// Names and colours of the classes.
    pub series: Vec<(String, [u8; 3])>,
    /// By sample, the same ones in all stills of a film; `None` if one has no place or no class.
    pub samples: Vec<Option<Placed>>,
    /// What part of the plane is shown.
    pub window: Window,
}

/// Where a sample is, and in what colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Its coordinates.
    pub point: [f32; 2],
    /// The index of its class.
    pub series: usize,
}

impl Still {
    /// The plot.
    pub fn scatter(&self) -> Scatter {
        scatter(self, &self.moment, self.samples.iter().flatten().copied())
    }

    /// The plot of the moment when the share `t`, from 0 to 1, of each way to `next` is done. A sample that is in one of
    /// both only stays where it is; classes are those of the nearer one.
    fn on_the_way(&self, next: &Still, t: f32) -> Scatter {
        let (moment, nearer) = (format!("{} to {}", self.moment, next.moment), if t < 0.5 { self } else { next });
        let mix = |from: [f32; 2], to: [f32; 2]| [0, 1].map(|d| from[d] + t * (to[d] - from[d]));
        let places = self.samples.iter().zip(&next.samples).zip(&nearer.samples);
        let samples = places.filter_map(|((from, to), near)| match (from, to, near) {
            (Some(from), Some(to), Some(near)) => {
                Some(Placed { point: mix(from.point, to.point), series: near.series })
            }
            (one, None, _) | (None, one, _) => *one,
            _ => None,
        });
        scatter(nearer, &moment, samples)
    }
}

fn scatter(of: &Still, moment: &str, samples: impl Iterator<Item = Placed>) -> Scatter {
    let named = |(name, color): &(String, [u8; 3])| Series { name: name.clone(), color: *color, points: Vec::new() };
    let mut series: Vec<Series> = of.series.iter().map(named).collect();
    for Placed { point, series: index } in samples {
        if let Some(series) = series.get_mut(index) {
            series.points.push(point);
        }
    }
    let comma = if moment.is_empty() { "" } else { ", " };
    Scatter { title: format!("{}{comma}{moment}", of.title), series, window: of.window }
}

/// Stills one after the other, with frames between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Film {
    /// The epochs, of the same samples in the same order.
    pub stills: Vec<Still>,
    /// Frames between one and the next; none if they are to follow each other at once.
    pub frames_between: usize,
}

impl Film {
    /// With 8 frames between two stills, or fewer if there are many of them, so that the file does not grow too large.
    pub fn new(stills: Vec<Still>) -> Self {
        let frames_between = (USUAL_FRAMES / stills.len().max(1)).min(USUAL_BETWEEN);
        Self { stills, frames_between }
    }

    /// How many frames it has.
    pub fn n_frames(&self) -> usize {
        self.stills.len() + self.stills.len().saturating_sub(1) * self.frames_between
    }

    /// A frame, and whether it is a still, which is held; `None` after the last.
    pub fn frame(&self, index: usize) -> Option<(Scatter, bool)> {
        let (still, step) = (index / (self.frames_between + 1), index % (self.frames_between + 1));
        let from = self.stills.get(still)?;
        if step == 0 {
            return Some((from.scatter(), true));
        }
        let t = step as f32 / (self.frames_between + 1) as f32;
        Some((from.on_the_way(self.stills.get(still + 1)?, t), false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn still(moment: &str, samples: Vec<Option<(f32, f32, usize)>>) -> Still {
        let placed = |(x, y, series)| Placed { point: [x, y], series };
        Still {
            title: "map".to_owned(),
            moment: moment.to_owned(),
            series: vec![("a".to_owned(), [255, 0, 0]), ("b".to_owned(), [0, 0, 255])],
            samples: samples.into_iter().map(|sample| sample.map(placed)).collect(),
            window: Window { x: [0.0, 10.0], y: [0.0, 10.0] },
        }
    }

    #[test]
    fn samples_go_straight_from_epoch_to_epoch_and_those_of_one_epoch_stay() {
        let first = still("epoch 0", vec![Some((0.0, 0.0, 0)), Some((2.0, 2.0, 1)), None, None]);
        let second = still("epoch 1", vec![Some((8.0, 4.0, 1)), None, Some((6.0, 6.0, 0)), None]);
        let film = Film { stills: vec![first, second], frames_between: 3 };
        let frames: Vec<_> = (0..).map_while(|index| film.frame(index)).collect();
        assert_eq!((film.n_frames(), frames.len()), (5, 5));
        let seen = |index: usize| {
            let (scatter, is_still) = &frames[index];
            let points = |series: usize| scatter.series[series].points.clone();
            (scatter.title.as_str(), *is_still, points(0), points(1))
        };
        assert_eq!(seen(0), ("map, epoch 0", true, vec![[0.0, 0.0]], vec![[2.0, 2.0]]));
        assert_eq!(seen(1), ("map, epoch 0 to epoch 1", false, vec![[2.0, 1.0], [6.0, 6.0]], vec![[2.0, 2.0]]));
        let later = ("map, epoch 0 to epoch 1", false, vec![[6.0, 6.0]], vec![[6.0, 3.0], [2.0, 2.0]]);
        assert_eq!(seen(3), later);
        assert_eq!(seen(4), ("map, epoch 1", true, vec![[6.0, 6.0]], vec![[8.0, 4.0]]));
    }

    #[test]
    fn films_of_many_epochs_have_fewer_frames_between_them() {
        let of = |n: usize| Film::new(vec![still("", vec![]); n]);
        assert_eq!([1, 2, 10, 40, 200].map(|n| of(n).frames_between), [8, 8, 8, 4, 0]);
        assert_eq!((of(0).n_frames(), of(1).n_frames(), of(40).n_frames()), (0, 1, 196));
        assert_eq!(of(0).frame(0), None);
    }
}
