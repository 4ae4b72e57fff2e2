//! The kernels of a decoder, each with its backward pass.
//!
//! Matrices are row-major `f32`. Loops over elements are written so that the compiler vectorises
//! them; `simd::vectorised!` selects the widest instruction set of the processor at run time.

#![expect(
    clippy::inline_always,
    reason = "what is called in a vectorised loop must be compiled with its instructions"
)]

pub(crate) mod attention;
#[cfg(target_arch = "x86_64")]
mod bf16;
pub(crate) mod blocks;
pub(crate) mod decode;
pub(crate) mod matmul;
pub(crate) mod near;
pub(crate) mod norm;
pub(crate) mod panel;
pub(crate) mod peak;
pub(crate) mod query_tiles;
pub(crate) mod rope;
pub(crate) mod simd;
pub(crate) mod swiglu;
mod tiles;
pub(crate) mod vector;
