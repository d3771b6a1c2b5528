//! Numbers of points, as small as the number of points allows.
//!
//! The lists of labels are read anew in each iteration and are most of what it reads, so that halving
//! them pays; and a table of exactly 2¹⁶ points needs no check of its bounds.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

/// Points that a [`u16`] tells apart.
pub(super) const SMALL: usize = 1 << 16;

/// The number of a point.
pub(super) trait Label: Copy + Ord + Default + Debug + Send + Sync {
    /// Coordinates by label.
    type Table<'a, const D: usize>: Copy + Send + Sync;
    /// A place where any thread may put a label.
    type Slot: Send + Sync;

    fn from_index(index: u32) -> Self;
    fn table<const D: usize>(points: &[[f32; D]]) -> Self::Table<'_, D>;
    fn at<const D: usize>(table: Self::Table<'_, D>, label: Self) -> [f32; D];
    fn slot(self) -> Self::Slot;
    fn put(self, slot: &Self::Slot);
    fn take(slot: Self::Slot) -> Self;
}

impl Label for u16 {
    type Table<'a, const D: usize> = &'a [[f32; D]; SMALL];
    type Slot = AtomicU16;

    #[inline]
    fn from_index(index: u32) -> Self {
        index as u16
    }

    fn table<const D: usize>(points: &[[f32; D]]) -> &[[f32; D]; SMALL] {
        points.first_chunk().expect("points are padded to the size of the table")
    }

    #[inline(always)]
    fn at<const D: usize>(table: &[[f32; D]; SMALL], label: u16) -> [f32; D] {
        table[usize::from(label)]
    }

    fn slot(self) -> AtomicU16 {
        self.into()
    }

    #[inline]
    fn put(self, slot: &AtomicU16) {
        slot.store(self, Ordering::Relaxed);
    }

    #[inline]
    fn take(slot: AtomicU16) -> u16 {
        slot.into_inner()
    }
}

impl Label for u32 {
    type Table<'a, const D: usize> = &'a [[f32; D]];
    type Slot = AtomicU32;

    #[inline]
    fn from_index(index: u32) -> Self {
        index
    }

    fn table<const D: usize>(points: &[[f32; D]]) -> &[[f32; D]] {
        points
    }

    #[inline(always)]
    fn at<const D: usize>(table: &[[f32; D]], label: u32) -> [f32; D] {
        table[label as usize]
    }

    fn slot(self) -> AtomicU32 {
        self.into()
    }

    #[inline]
    fn put(self, slot: &AtomicU32) {
        slot.store(self, Ordering::Relaxed);
    }

    #[inline]
    fn take(slot: AtomicU32) -> u32 {
        slot.into_inner()
    }
}
