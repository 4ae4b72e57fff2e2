//! Products of rows with a panel whose columns are the lanes of registers: scores of queries with keys
//! that are stored side by side, and sums of values.
//!
//! Every sum is one chain of multiply-adds, whatever the number of rows, and can be continued.

use super::vector::{MAX_N, Vector, for_processor, prefetch};

/// Columns of a group: those of the widest register.
pub(crate) const GROUP: usize = MAX_N;

/// `[n_k, n_columns]`, in groups of [`GROUP`] columns, the last of which may be narrower.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panel<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) n_k: usize,
    pub(crate) n_columns: usize,
    /// From one `k` to the next.
    pub(crate) row_stride: usize,
    /// From one group to the next.
    pub(crate) group_stride: usize,
    /// What will be read next, in the same shape. Its lines are asked for one by one between the sums, as
    /// memory is slower to answer when they are asked for all at once.
    pub(crate) next: Option<&'a [f32]>,
}

/// Rows that begin `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) n: usize,
    pub(crate) stride: usize,
}

/// What the chains begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Zero.
    Anew,
    /// The present outputs.
    Continue,
}

/// `out = a panel`: `a` is `[n, n_k]`, and the rows of `out` begin `stride` apart.
pub(crate) fn panel_products(
    out: &mut [f32],
    stride: usize,
    begin: Begin,
    a: Rows<'_>,
    panel: Panel<'_>,
) {
    let Panel { data, n_k, n_columns, row_stride, group_stride, .. } = panel;
    if a.n == 0 || n_columns == 0 {
        return;
    }
    let last_group = (n_columns - 1) / GROUP;
    // Groups lie apart, so the last one reaches furthest.
    let last_column = n_columns - 1 - last_group * GROUP;
    let reach = last_group * group_stride + n_k.saturating_sub(1) * row_stride + last_column;
    let fits = (a.n - 1) * stride + n_columns <= out.len()
        && (a.n - 1) * a.stride + n_k <= a.data.len()
        && (n_k == 0 || reach < data.len())
        && (last_group == 0 || group_stride >= GROUP || n_k == 0);
    assert!(fits, "panel shapes");
    dispatched(out, stride, begin, a, panel);
}

for_processor! {
    fn dispatched(out: &mut [f32], stride: usize, begin: Begin, a: Rows<'_>, panel: Panel<'_>) = kernel;
}

/// Outputs and inputs of a product whose shapes have been checked.
#[derive(Clone, Copy)]
struct Pointers<'a> {
    out: *mut f32,
    stride: usize,
    begin: Begin,
    a: Rows<'a>,
    panel: Panel<'a>,
}

#[inline(always)]
fn kernel<V: Vector>(out: &mut [f32], stride: usize, begin: Begin, a: Rows<'_>, panel: Panel<'_>) {
    let pointers = Pointers { out: out.as_mut_ptr(), stride, begin, a, panel };
    let n_whole = panel.n_columns / GROUP * GROUP / V::N;
    let mut done = 0;
    while done < n_whole {
        // Few rows have too few sums for the latency of a multiply-add unless these are wide.
        let widest = if V::N_SUMS > 12 || (V::N_SUMS == 12 && a.n <= 2) { 4 } else { 2 };
        let n = (n_whole - done).min(widest);
        match (n, V::N_SUMS) {
            (4, 24) => rows::<V, 4, 6>(pointers, done),
            (3, 24) => rows::<V, 3, 6>(pointers, done),
            (4, _) => rows::<V, 4, 2>(pointers, done),
            (3, _) => rows::<V, 3, 2>(pointers, done),
            (2, 24) => rows::<V, 2, 8>(pointers, done),
            (2, 12) => rows::<V, 2, 6>(pointers, done),
            (2, _) => rows::<V, 2, 2>(pointers, done),
            (_, 24) => rows::<V, 1, 8>(pointers, done),
            _ => rows::<V, 1, 4>(pointers, done),
        }
        done += n;
    }
    let first_group = n_whole * V::N / GROUP;
    for column in first_group * GROUP..panel.n_columns {
        for row in 0..a.n {
            let sum = &mut out[row * stride + column];
            let mut chain = if begin == Begin::Anew { 0.0 } else { *sum };
            for k in 0..panel.n_k {
                let at = first_group * panel.group_stride + k * panel.row_stride;
                let factor = panel.data[at + column - first_group * GROUP];
                chain = a.data[row * a.stride + k].mul_add(factor, chain);
            }
            *sum = chain;
        }
    }
}

/// `C` registers of columns from register `first` on, `R` rows at a time.
#[inline(always)]
fn rows<V: Vector, const C: usize, const R: usize>(pointers: Pointers<'_>, first: usize) {
    let n = pointers.a.n;
    let mut done = 0;
    while done + R <= n {
        tile::<V, C, R>(pointers, first, done);
        done += R;
    }
    if R > 4 && done + 4 <= n {
        tile::<V, C, 4>(pointers, first, done);
        done += 4;
    }
    if R > 2 && done + 2 <= n {
        tile::<V, C, 2>(pointers, first, done);
        done += 2;
    }
    while done < n {
        tile::<V, C, 1>(pointers, first, done);
        done += 1;
    }
}

#[inline(always)]
fn tile<V: Vector, const C: usize, const R: usize>(
    Pointers { out, stride, begin, a, panel }: Pointers<'_>,
    first: usize,
    row: usize,
) {
    // SAFETY: the processor has the instructions of `V`. `panel_products` checked that `a`, the panel
    // and `out` hold all rows and columns of the product, of which these are some: rows `row ..+ R` and
    // the columns of registers `first ..+ C`, all in whole groups. `out` is borrowed exclusively.
    #[expect(unsafe_code, reason = "sums in registers")]
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        let a_start = a.data.as_ptr().add(row * a.stride);
        let next = panel.next.unwrap_or(panel.data).as_ptr();
        let mut columns = [panel.data.as_ptr(); C];
        for (c, column) in columns.iter_mut().enumerate() {
            let place = (first + c) * V::N;
            *column = column.add(place / GROUP * panel.group_stride + place % GROUP);
        }
        // Bytes from a number to the one at its place in what is read next.
        let ahead = next.addr().wrapping_sub(panel.data.as_ptr().addr());
        let out = out.add(row * stride + first * V::N);
        if begin == Begin::Continue {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(out.add(r * stride + c * V::N));
                }
            }
        }
        for k in 0..panel.n_k {
            let mut registers = [V::splat(0.0); C];
            for (register, column) in registers.iter_mut().zip(columns) {
                let column = column.add(k * panel.row_stride);
                *register = V::load(column);
                // Where there are more rows, their last tile is lower.
                if R <= 4 {
                    prefetch(column.wrapping_byte_add(ahead));
                }
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*a_start.add(r * a.stride + k));
                for (sum, register) in sums.iter_mut().zip(registers) {
                    *sum = factor.mul_add(register, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                sum.store(out.add(r * stride + c * V::N));
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

    #[test]
    fn every_sum_is_one_chain() {
        for (n, n_k, n_columns) in [
            (1usize, 64usize, 64usize),
            (64, 16, 48),
            (7, 5, 20),
            (13, 33, 80),
            (8, 3, 16),
            (3, 9, 7),
            (2, 0, 16),
        ] {
            // Columns side by side, as values are, and in groups one behind the other, as keys are.
            let n_padded = n_columns.next_multiple_of(GROUP);
            for (row_stride, group_stride) in [(n_padded + 5, GROUP), (GROUP, n_k * GROUP)] {
                let data = numbers(n_k * (n_padded + 5), 0.3);
                let panel =
                    Panel { data: &data, n_k, n_columns, row_stride, group_stride, next: None };
                let (a_stride, stride) = (n_k + 2, n_padded + 1);
                let factors = numbers(n * a_stride, 0.1);
                let a = Rows { data: &factors, n, stride: a_stride };
                for begin in [Begin::Anew, Begin::Continue] {
                    let before = numbers(n * stride, 0.5);
                    let (mut out, mut twin) = (before.clone(), before.clone());
                    panel_products(&mut out, stride, begin, a, panel);
                    kernel::<Plain>(&mut twin, stride, begin, a, panel);
                    assert_eq!(out, twin, "{n} {n_k} {n_columns}");
                    for (idx, (&got, &before)) in out.iter().zip(&before).enumerate() {
                        let (row, column) = (idx / stride, idx % stride);
                        let mut sum = before;
                        if column < n_columns {
                            sum = if begin == Begin::Anew { 0.0 } else { before };
                            for k in 0..n_k {
                                let place = column / GROUP * group_stride + column % GROUP;
                                let factor = data[place + k * row_stride];
                                sum = factors[row * a_stride + k].mul_add(factor, sum);
                            }
                        }
                        assert_eq!(got.to_bits(), sum.to_bits(), "{n} {n_k} {n_columns}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "panel shapes")]
    fn a_panel_past_its_slice_is_refused() {
        let panel = Panel {
            data: &[0.0; 31],
            n_k: 2,
            n_columns: 16,
            row_stride: 16,
            group_stride: 16,
            next: None,
        };
        let a = Rows { data: &[1.0; 2], n: 1, stride: 2 };
        panel_products(&mut [0.0; 16], 16, Begin::Anew, a, panel);
    }
}
