//! Products of a few rows with rows of a matrix in blocks of small integers.
//!
//! Eight rows of the matrix are the lanes of a register. Their integers are transposed while they are
//! bytes, of which a register holds four times as many as numbers, and become numbers in registers: a
//! widened row is never written to memory. The numbers have the bits of [`BlockType::dequantise`], and
//! every sum is the chain of multiply-adds of [`decode`](super::decode), so that a product has the bits
//! of one with the dequantised weights, which is the checked twin of these kernels. `unpack` reads the
//! blocks.

#[cfg(target_arch = "x86_64")]
mod multiply;
#[cfg(target_arch = "x86_64")]
mod unpack;

use gratis_model::blocks::BlockType;

/// Rows of the matrix at a time.
pub(crate) const ROWS: usize = 32;

/// Rows that they are multiplied by, at most. More are faster with widened weights.
pub(crate) const MAX_ROWS: usize = 4;

/// Sums: `[n, ROWS]`.
pub(crate) type Sums = [[f32; ROWS]; MAX_ROWS];

/// The sums of the products of the rows `x`, `[n, n_in]` with `n <= MAX_ROWS`, with [`ROWS`] rows of a
/// matrix in blocks. Nothing if this processor has no kernel for their type.
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "has no kernel"))]
pub(crate) fn products_of_blocks(
    kind: BlockType,
    rows: &[&[u8]; ROWS],
    x: &[f32],
    n_in: usize,
) -> Option<Sums> {
    #[cfg(target_arch = "x86_64")]
    return multiply::products(kind, rows, x, n_in);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of blocks with finite scales.
    fn rows_of_bytes(kind: BlockType, n_in: usize) -> Vec<u8> {
        let mut seed = 7_u32;
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        let n_blocks = ROWS * n_in / kind.n_values();
        let mut bytes: Vec<u8> = (0..n_blocks * kind.n_bytes()).map(|_| byte()).collect();
        let halves = match kind {
            BlockType::Q2_K => [80, 82],
            BlockType::Q3_K => [108, 108],
            BlockType::Q6_K => [208, 208],
            BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4_K | BlockType::Q5_K => [0, 2],
            _ => [0, 0],
        };
        for block in bytes.chunks_exact_mut(kind.n_bytes()) {
            for at in halves {
                block[at + 1] &= 0xbf;
            }
        }
        bytes
    }

    #[test]
    fn sums_have_the_bits_of_those_with_dequantised_weights() {
        let mut with_kernel = Vec::new();
        for kind in BlockType::ALL {
            for n_in in [kind.n_values(), 256, 768] {
                let bytes = rows_of_bytes(kind, n_in);
                let n_bytes = bytes.len() / ROWS;
                let mut weights = vec![0.0; ROWS * n_in];
                kind.dequantise(&bytes, &mut weights);
                let rows: [&[u8]; ROWS] =
                    std::array::from_fn(|row| &bytes[row * n_bytes..][..n_bytes]);
                let x: Vec<f32> = (0..MAX_ROWS * n_in).map(|i| (i as f32 * 0.37).sin()).collect();
                for n in 0..=MAX_ROWS {
                    let x = &x[..n * n_in];
                    let Some(sums) = products_of_blocks(kind, &rows, x, n_in) else { break };
                    for (sums, x) in sums.iter().zip(x.chunks_exact(n_in)) {
                        for (sum, row) in sums.iter().zip(weights.chunks_exact(n_in)) {
                            let expected =
                                row.iter().zip(x).fold(0.0_f32, |sum, (w, x)| w.mul_add(*x, sum));
                            assert!(expected.is_finite(), "{kind:?}");
                            assert_eq!(sum.to_bits(), expected.to_bits(), "{kind:?} {n_in} {n}");
                        }
                    }
                    if n_in == 768 && n == MAX_ROWS {
                        with_kernel.push(kind);
                    }
                }
            }
        }
        let rare = [BlockType::Q2_K, BlockType::Q3_K, BlockType::IQ4_XS];
        let expected = BlockType::ALL.into_iter().filter(|kind| !rare.contains(kind));
        if cfg!(target_arch = "x86_64")
            && crate::kernels::vector::n_lanes() > 4
            && !with_kernel.is_empty()
        {
            assert!(expected.eq(with_kernel.iter().copied()), "{with_kernel:?}");
        }
    }
}
