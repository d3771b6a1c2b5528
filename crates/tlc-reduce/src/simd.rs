//! Kernels with the widest vectors that this processor has.

/// Runs `kernel` compiled for the widest instruction set that the processor offers (AVX-512 or AVX2 with
/// fused multiply-add on x86-64), chosen at run time.
///
/// Everything hot in `kernel` must be inlined into it (`#[inline(always)]`), or it is compiled for the
/// baseline; write loops over fixed-size arrays of lanes, and [`f32::mul_add`] for fused products. Lane
/// counts are fixed in the source, so the width of the registers does not change a result.
#[inline]
pub(crate) fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}
