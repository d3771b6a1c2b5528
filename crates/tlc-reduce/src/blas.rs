//! One thread per BLAS call.
//!
//! OpenBLAS cuts a product differently for each number of threads, which changes how sums are
//! rounded, and its threads fight with rayon's. While a guard lives, a call runs on the calling
//! thread; the previous setting comes back when the last guard goes.

use std::sync::Mutex;

// Without this the symbols of `ndarray`'s `blas` feature are not linked.
use ndarray_linalg as _;

static GUARDS: Mutex<(usize, i32)> = Mutex::new((0, 0));

#[expect(unsafe_code, reason = "OpenBLAS has no safe interface for its number of threads")]
mod ffi {
    unsafe extern "C" {
        pub(super) fn openblas_get_num_threads() -> i32;
        pub(super) fn openblas_set_num_threads(n_threads: i32);
    }
}

pub(crate) struct SingleThreadedBlas(());

impl SingleThreadedBlas {
    pub(crate) fn begin() -> Self {
        let mut guards = GUARDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if guards.0 == 0 {
            guards.1 = get_num_threads();
            set_num_threads(1);
        }
        guards.0 += 1;
        Self(())
    }
}

impl Drop for SingleThreadedBlas {
    fn drop(&mut self) {
        let mut guards = GUARDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        guards.0 -= 1;
        if guards.0 == 0 {
            set_num_threads(guards.1);
        }
    }
}

#[expect(unsafe_code, reason = "OpenBLAS has no safe interface for its number of threads")]
fn get_num_threads() -> i32 {
    // SAFETY: takes no arguments and reads a process-wide integer.
    unsafe { ffi::openblas_get_num_threads() }
}

#[expect(unsafe_code, reason = "OpenBLAS has no safe interface for its number of threads")]
fn set_num_threads(n_threads: i32) {
    // SAFETY: accepts any positive number; calls are serialised by `GUARDS`, and no product of ours
    // runs meanwhile, since each holds a guard.
    unsafe { ffi::openblas_set_num_threads(n_threads.max(1)) }
}
