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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_setting_comes_back_with_the_last_guard() {
        // Other tests of this process hold guards too, so the setting is looked at under the lock.
        let setting = || {
            let guards = GUARDS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            (guards.0, guards.1, get_num_threads())
        };
        let (outer, inner) = (SingleThreadedBlas::begin(), SingleThreadedBlas::begin());
        drop(inner);
        let (held, before, now) = setting();
        assert!(held >= 1 && now == 1, "{held} guards, {now} threads");
        drop(outer);
        let (held, _, now) = setting();
        assert_eq!(now, if held > 0 { 1 } else { before });
    }
}
