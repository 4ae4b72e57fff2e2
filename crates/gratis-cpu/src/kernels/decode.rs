//! Products of a matrix with the rows of sequences that are decoded together, for any number of rows.
//!
//! Every sum is one chain of multiply-adds over `k = 0, 1, ..`, whichever kernel takes it: a row has the
//! same bits whatever the number of rows, and however the matrix is cut. Many rows are the lanes of
//! registers, and weights are broadcast ([`lanes`]): neither side is packed. For few rows the outputs
//! are the lanes, and blocks of weights are transposed in registers ([`few`]), which is faster than
//! memory supplies them ([`near`](super::near): if they stand in a cache; [`blocks`](super::blocks): if they are
//! quantised).

use super::matmul::Onto;
use super::vector::{MAX_N, Vector, for_processor};

/// Up to this many rows are multiplied by [`few`].
pub(crate) const FEW: usize = 8;

/// Rows that the lanes of a whole number of the widest registers hold.
const LANES: usize = 16;

/// The most rows at a time: sums of four registers stay in registers.
pub(crate) const MAX_ROWS: usize = 4 * LANES;

/// Numbers in a line of the processor's caches.
const CACHE_LINE: usize = 16;

/// Rows of the matrix whose products are written together.
const BLOCK: usize = 48;

/// Rows `x`, `[n, n_in]` with `n <= MAX_ROWS`, as the kernels read them.
#[derive(Debug, Default)]
pub(crate) struct Operand {
    n: usize,
    n_in: usize,
    /// `[n, n_in]` of few rows, `[n_lanes / LANES, n_in, LANES]` of many: what a tile reads is contiguous.
    x: Vec<f32>,
}

impl Operand {
    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n
    }

    /// The rows, of which there are at most [`FEW`]: `[n, n_in]`.
    pub(crate) fn few_rows(&self) -> &[f32] {
        debug_assert!(self.n <= FEW, "few rows");
        &self.x
    }

    /// Takes over the rows.
    pub(crate) fn set(&mut self, x: &[f32], n_in: usize) {
        let n = x.len() / n_in;
        assert!(n <= MAX_ROWS && x.len() == n * n_in, "rows of an operand");
        (self.n, self.n_in) = (n, n_in);
        self.x.clear();
        if n <= FEW {
            self.x.extend_from_slice(x);
            return;
        }
        let n_lanes = n.next_multiple_of(LANES);
        self.x.resize(n_in * n_lanes, 0.0);
        to_lanes(&mut self.x, x, n_in);
    }
}

/// Where the product with some rows of a matrix is written: `y` is `[n, stride]` from its first column
/// on.
pub(crate) struct Outputs<'a> {
    pub(crate) y: &'a mut [f32],
    pub(crate) stride: usize,
    pub(crate) onto: Onto,
}

/// `y = x W^T` (or `+=`): `weights` are `[n_out, n_in]`.
pub(crate) fn products(out: &mut Outputs<'_>, weights: &[f32], x: &Operand) {
    let n_out = weights.len() / x.n_in;
    let is_within = x.n == 0 || (x.n - 1) * out.stride + n_out <= out.y.len();
    assert!(weights.len() == n_out * x.n_in && is_within, "product shapes");
    if x.n <= FEW {
        few(out, weights, x);
    } else {
        lanes(out, weights, x);
    }
}

for_processor! {
    /// The product of few rows.
    fn few(out: &mut Outputs<'_>, weights: &[f32], x: &Operand) = few_kernel;
}

#[inline(always)]
fn few_kernel<V: Vector>(out: &mut Outputs<'_>, weights: &[f32], x: &Operand) {
    match x.n {
        0 => {}
        1 => few_rows::<V, 1>(out, weights, x),
        2 => few_rows::<V, 2>(out, weights, x),
        3 => few_rows::<V, 3>(out, weights, x),
        4 => few_rows::<V, 4>(out, weights, x),
        5 => few_rows::<V, 5>(out, weights, x),
        6 => few_rows::<V, 6>(out, weights, x),
        7 => few_rows::<V, 7>(out, weights, x),
        _ => few_rows::<V, FEW>(out, weights, x),
    }
}

#[inline(always)]
fn few_rows<V: Vector, const R: usize>(out: &mut Outputs<'_>, weights: &[f32], x: &Operand) {
    let n_in = x.n_in;
    let rows_of_x: [&[f32]; R] = std::array::from_fn(|row| &x.x[row * n_in..][..n_in]);
    let n_out = weights.len() / n_in;
    for first in (0..n_out).step_by(V::N) {
        let n = V::N.min(n_out - first);
        // Lanes past the end repeat the last row and are not written.
        let rows: [&[f32]; LANES] =
            std::array::from_fn(|lane| &weights[(first + lane.min(n - 1)) * n_in..][..n_in]);
        let mut sums = [[0.0f32; LANES]; R];
        let n_whole = n_in / V::N * V::N;
        // SAFETY: the processor has the instructions of `V`; every row of the matrix and of `x` has
        // `n_in` numbers, of which the blocks read those below `n_whole`; `sums` has room for `V::N`.
        #[expect(unsafe_code, reason = "sums in registers")]
        unsafe {
            let (rows, x) = (rows.map(<[f32]>::as_ptr), rows_of_x.map(<[f32]>::as_ptr));
            let mut registers = [V::splat(0.0); R];
            for first in (0..n_whole).step_by(V::N) {
                let mut starts = rows;
                for row in &mut starts {
                    *row = row.add(first);
                    V::prefetch(row.wrapping_add(V::N * n_in));
                }
                let block = V::transposed(&starts);
                for (k, &column) in block.as_ref().iter().enumerate() {
                    for (sum, x) in registers.iter_mut().zip(x) {
                        *sum = column.mul_add(V::splat(*x.add(first + k)), *sum);
                    }
                }
            }
            for (sums, register) in sums.iter_mut().zip(registers) {
                register.store(sums.as_mut_ptr());
            }
        }
        for (idx, sums) in sums.iter_mut().enumerate() {
            for (sum, row) in sums.iter_mut().zip(rows).take(n) {
                for k in n_whole..n_in {
                    *sum = row[k].mul_add(rows_of_x[idx][k], *sum);
                }
            }
            write(&mut out.y[idx * out.stride + first..], out.onto, &sums[..n]);
        }
    }
}

for_processor! {
    /// The product of many rows.
    fn lanes(out: &mut Outputs<'_>, weights: &[f32], x: &Operand) = lanes_kernel;
}

#[inline(always)]
fn lanes_kernel<V: Vector>(out: &mut Outputs<'_>, weights: &[f32], x: &Operand) {
    let n_in = x.n_in;
    let n_lanes = x.x.len() / n_in;
    let mut columns = [0.0f32; BLOCK * MAX_ROWS];
    for (idx, block) in weights.chunks(BLOCK * n_in).enumerate() {
        let n_rows = block.len() / n_in;
        let columns = &mut columns[..n_rows * n_lanes];
        // Whole groups of registers, each of its own shape.
        let mut first = 0;
        while first < n_lanes {
            let n_registers = ((n_lanes - first) / V::N).min(if V::N_SUMS > 12 { 4 } else { 2 });
            let place = Place { first, n_lanes };
            match (n_registers, V::N_SUMS) {
                (4, _) => lane_tiles::<V, 4, 6>(columns, block, x, place),
                (3, _) => lane_tiles::<V, 3, 8>(columns, block, x, place),
                (2, 24) => lane_tiles::<V, 2, 12>(columns, block, x, place),
                (2, 12) => lane_tiles::<V, 2, 6>(columns, block, x, place),
                (2, _) => lane_tiles::<V, 2, 2>(columns, block, x, place),
                (_, 24) => lane_tiles::<V, 1, 16>(columns, block, x, place),
                _ => lane_tiles::<V, 1, 8>(columns, block, x, place),
            }
            first += n_registers.max(1) * V::N;
        }
        write_columns::<V>(out, idx * BLOCK, columns, n_lanes, x.n);
    }
}

/// A group of lanes.
#[derive(Clone, Copy)]
struct Place {
    first: usize,
    n_lanes: usize,
}

/// `C` registers of lanes, `R` rows of the matrix at a time.
#[inline(always)]
fn lane_tiles<V: Vector, const C: usize, const R: usize>(
    columns: &mut [f32],
    weights: &[f32],
    x: &Operand,
    place: Place,
) {
    let n_in = x.n_in;
    let n_rows = weights.len() / n_in;
    let mut done = 0;
    while done + R <= n_rows {
        lane_tile::<V, C, R>(columns, weights, x, place, done);
        done += R;
    }
    while done < n_rows {
        lane_tile::<V, C, 1>(columns, weights, x, place, done);
        done += 1;
    }
}

#[inline(always)]
fn lane_tile<V: Vector, const C: usize, const R: usize>(
    columns: &mut [f32],
    weights: &[f32],
    x: &Operand,
    Place { first, n_lanes }: Place,
    row: usize,
) {
    let n_in = x.n_in;
    let weights = &weights[row * n_in..][..R * n_in];
    let columns = &mut columns[row * n_lanes..][..R * n_lanes];
    assert!(first + C * V::N <= n_lanes && x.x.len() == n_in * n_lanes, "lanes of an operand");
    // SAFETY: the processor has the instructions of `V`. Weights are read at `r * n_in + k` with
    // `r < R` and `k < n_in`, the lanes `first ..+ C * V::N` of each `k` in their groups, and columns
    // written at `r * n_lanes + first ..+ C * V::N`: within their slices, as the lines above checked.
    #[expect(unsafe_code, reason = "sums in registers")]
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        let weights = weights.as_ptr();
        let mut columns_of_x = [x.x.as_ptr(); C];
        for (c, column) in columns_of_x.iter_mut().enumerate() {
            let lane = first + c * V::N;
            *column = column.add(lane / LANES * LANES * n_in + lane % LANES);
        }
        let n_whole = n_in / CACHE_LINE * CACHE_LINE;
        for first_k in (0..n_whole).step_by(CACHE_LINE) {
            // The rows that come next, while these are multiplied: they follow in memory.
            for line in 0..R {
                V::prefetch(weights.wrapping_add(R * (n_in + first_k) + line * CACHE_LINE));
            }
            for k in first_k..first_k + CACHE_LINE {
                add_products(&mut sums, weights, columns_of_x, n_in, k);
            }
        }
        for k in n_whole..n_in {
            add_products(&mut sums, weights, columns_of_x, n_in, k);
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                sum.store(columns.as_mut_ptr().add(r * n_lanes + first + c * V::N));
            }
        }
    }
}

/// Adds the products of input `k` of each row to its sums. A closure would stay a call, without the
/// instructions of `V`, in a build for tests.
///
/// # Safety
/// The processor has the instructions of `V`; the weights are `[R, n_in]` and `k < n_in`; from each
/// column of `x`, `V::N` lanes may be read at `k * LANES`.
#[inline(always)]
#[expect(unsafe_code, reason = "sums in registers")]
unsafe fn add_products<V: Vector, const C: usize, const R: usize>(
    sums: &mut [[V; C]; R],
    weights: *const f32,
    columns_of_x: [*const f32; C],
    n_in: usize,
    k: usize,
) {
    // SAFETY: as above.
    unsafe {
        let mut registers = [V::splat(0.0); C];
        for (register, column) in registers.iter_mut().zip(columns_of_x) {
            *register = V::load(column.add(k * LANES));
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let weight = V::splat(*weights.add(r * n_in + k));
            for (sum, register) in sums.iter_mut().zip(registers) {
                *sum = weight.mul_add(register, *sum);
            }
        }
    }
}

/// Adds or writes a run of outputs.
#[inline(always)]
pub(crate) fn write(y: &mut [f32], onto: Onto, values: &[f32]) {
    let y = &mut y[..values.len()];
    match onto {
        Onto::Fresh => y.copy_from_slice(values),
        Onto::Sum => y.iter_mut().zip(values).for_each(|(y, value)| *y += value),
    }
}

/// Writes the first `n` columns of `columns`, `[n_rows, n_lanes]`, as rows of the outputs from column
/// `first` on.
#[inline(always)]
fn write_columns<V: Vector>(
    out: &mut Outputs<'_>,
    first: usize,
    columns: &[f32],
    n_lanes: usize,
    n: usize,
) {
    let n_rows = columns.len() / n_lanes;
    for lane in (0..n).step_by(V::N) {
        for row in (0..n_rows).step_by(V::N) {
            let height = V::N.min(n_rows - row);
            let block = transposed::<V>(&columns[row * n_lanes + lane..], n_lanes, height);
            for (idx, &column) in block.as_ref().iter().enumerate().take(n - lane) {
                let start = (lane + idx) * out.stride + first + row;
                let y = &mut out.y[start..start + height];
                if let Some(y) = y.get_mut(..V::N) {
                    // SAFETY: the processor has the instructions of `V`; there are `V::N` outputs.
                    #[expect(unsafe_code, reason = "stores a register")]
                    unsafe {
                        let values = match out.onto {
                            Onto::Fresh => column,
                            Onto::Sum => V::load(y.as_ptr()).add(column),
                        };
                        values.store(y.as_mut_ptr());
                    }
                } else {
                    write(y, out.onto, &values_of(column)[..height]);
                }
            }
        }
    }
}

/// The numbers of a register.
#[inline(always)]
fn values_of<V: Vector>(register: V) -> [f32; MAX_N] {
    let mut values = [0.0; MAX_N];
    // SAFETY: the processor has the instructions of `V`; there is room for the widest register.
    #[expect(unsafe_code, reason = "stores a register")]
    unsafe {
        register.store(values.as_mut_ptr());
    }
    values
}

/// The columns of a block of `V::N` columns and at most as many rows; the last row is repeated.
#[inline(always)]
fn transposed<V: Vector>(from: &[f32], stride: usize, n_rows: usize) -> V::Block {
    let mut rows = [std::ptr::null(); MAX_N];
    for (idx, row) in rows.iter_mut().enumerate() {
        *row = from[idx.min(n_rows - 1) * stride..][..V::N].as_ptr();
    }
    // SAFETY: the processor has the instructions of `V`; each row has `V::N` numbers.
    #[expect(unsafe_code, reason = "transposes in registers")]
    unsafe {
        V::transposed(&rows)
    }
}

for_processor! {
    /// From rows `x`, `[n, n_in]`, to groups of lanes, `[n_groups, n_in, LANES]`; lanes past `n` stay as
    /// they are.
    fn to_lanes(lanes: &mut [f32], x: &[f32], n_in: usize) = to_lanes_kernel;
}

#[inline(always)]
fn to_lanes_kernel<V: Vector>(lanes: &mut [f32], x: &[f32], n_in: usize) {
    let n = x.len() / n_in;
    let n_whole = n_in / V::N * V::N;
    for lane in (0..n).step_by(V::N) {
        let n_rows = V::N.min(n - lane);
        let lanes = &mut lanes[lane / LANES * LANES * n_in + lane % LANES..];
        for k in (0..n_whole).step_by(V::N) {
            let block = transposed::<V>(&x[lane * n_in + k..], n_in, n_rows);
            for (idx, &column) in block.as_ref().iter().enumerate() {
                let lanes = &mut lanes[(k + idx) * LANES..][..V::N];
                // SAFETY: the processor has the instructions of `V`; there are `V::N` lanes.
                #[expect(unsafe_code, reason = "stores a register")]
                unsafe {
                    column.store(lanes.as_mut_ptr());
                }
            }
        }
        for k in n_whole..n_in {
            for idx in 0..n_rows {
                lanes[k * LANES + idx] = x[(lane + idx) * n_in + k];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::vector::Plain;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
    }

    /// One chain of multiply-adds.
    fn chain(weights: &[f32], x: &[f32]) -> f32 {
        weights.iter().zip(x).fold(0.0, |sum, (w, x)| w.mul_add(*x, sum))
    }

    #[test]
    fn every_product_is_one_chain_whatever_the_number_of_rows() {
        for (n_out, n_in) in [(1, 16), (7, 33), (100, 64), (49, 5), (16, 130), (65, 48)] {
            let (weights, x) = (numbers(n_out * n_in, 0.1), numbers(MAX_ROWS * n_in, 0.2));
            for n in [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 40, 48, 49, 63, 64] {
                let x = &x[..n * n_in];
                let mut operand = Operand::default();
                operand.set(x, n_in);
                let stride = n_out + 3;
                for (onto, before) in [(Onto::Fresh, 0.0), (Onto::Sum, 0.75)] {
                    let mut y = vec![0.75; n * stride];
                    let mut twin = y.clone();
                    let out = &mut Outputs { y: &mut y, stride, onto };
                    products(out, &weights, &operand);
                    let out = &mut Outputs { y: &mut twin, stride, onto };
                    let kernel = if n <= FEW { few_kernel::<Plain> } else { lanes_kernel::<Plain> };
                    kernel(out, &weights, &operand);
                    assert_eq!(y, twin, "{n_out} {n_in} {n}");
                    for (row, x) in y.chunks_exact(stride).zip(x.chunks_exact(n_in)) {
                        let (row, beside) = row.split_at(n_out);
                        assert_eq!(beside, [0.75; 3]);
                        for (&y, weights) in row.iter().zip(weights.chunks_exact(n_in)) {
                            assert_eq!(y.to_bits(), (before + chain(weights, x)).to_bits());
                        }
                    }
                }
            }
        }
    }
}
