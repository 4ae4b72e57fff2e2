//! Matrix products in tiles whose sums stay in registers.
//!
//! The right-hand matrix is packed into [`Panels`] as wide as a tile: 64 columns with AVX-512, 16 with
//! AVX2, 8 otherwise. A tile is 6 rows of a panel's columns. A sum is one chain of multiply-adds over at
//! most [`DEPTH`] terms at a time, in order: the bits of an element depend on its row, its column and the
//! length of the sum only, not on how many rows and columns there are beside it, nor on the processor.
//!
//! The checked twins are the triple loop in the tests of `matmul` and [`Plain`](super::vector::Plain).

use std::cell::RefCell;
use std::ops::Range;

use super::matmul::{Mat, MatMut, Onto};
use super::vector::{MAX_N, Vector, for_processor, n_lanes, n_sums};

/// Rows of a tile.
pub(super) const TILE_ROWS: usize = 6;
/// Most terms of a sum that are taken at a time.
const DEPTH: usize = 512;
/// Rows of the left-hand matrix that stay in the second cache while all panels pass by.
pub(super) const BLOCK_ROWS: usize = 192;
/// Columns that are packed at a time.
const BLOCK_COLUMNS: usize = 1024;
/// Columns from which packing the left-hand rows pays: it takes about as long as the product of 64.
const COLUMNS_OF_PACKED_ROWS: usize = 128;

/// Registers in a row of a tile, of a processor with so many registers for sums.
const fn tile_vectors(n_sums: usize) -> usize {
    if n_sums < TILE_ROWS { 1 } else { n_sums / TILE_ROWS }
}

/// Columns of a panel on this processor.
fn width() -> usize {
    tile_vectors(n_sums()) * n_lanes()
}

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(#[expect(dead_code, reason = "read through pointers")] [f32; MAX_N]);

/// A right-hand matrix in the order in which products read it, for one or several of them: one panel of
/// columns after the other, each `[depth, width]`; what is beyond the last column is not read.
#[derive(Debug, Default)]
pub(super) struct Panels {
    lines: Vec<Line>,
    depth: usize,
    n_columns: usize,
}

impl Panels {
    /// Packs `b`, in the place of what was here.
    pub(super) fn pack(&mut self, b: Mat<'_>) {
        let panels = self.resize(b.n_rows(), b.n_cols());
        pack(panels, b);
    }

    /// Room for panels of so many terms and columns in all; the first address is that of a cache line.
    pub(super) fn resize(&mut self, depth: usize, n_columns: usize) -> &mut [f32] {
        (self.depth, self.n_columns) = (depth, n_columns);
        let n = n_columns.next_multiple_of(width()) * depth;
        let n_lines = n.div_ceil(MAX_N);
        if self.lines.len() < n_lines {
            self.lines.resize(n_lines, Line([0.0; MAX_N]));
        }
        // SAFETY: a line is `MAX_N` numbers and nothing else, and the lines hold `n`.
        #[expect(unsafe_code, reason = "lines as the numbers that they hold")]
        unsafe {
            std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), n)
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> PanelsPart<'_> {
        self.part(0..self.depth, 0..self.n_columns)
    }

    /// `out = scale * a b` (or `+=`) with these rows and columns of the packed matrix, of which the first
    /// column must be a multiple of 64. Without rows, columns or terms nothing is written.
    pub(super) fn product(
        &self,
        mut out: MatMut<'_>,
        onto: Onto,
        a: Mat<'_>,
        [terms, columns]: [Range<usize>; 2],
        scale: f32,
    ) {
        assert_eq!(
            (out.n_rows(), out.n_cols(), a.n_cols()),
            (a.n_rows(), columns.len(), terms.len()),
            "product shapes"
        );
        if out.n_rows() == 0 || out.n_cols() == 0 || a.n_cols() == 0 {
            return;
        }
        BUFFERS.with_borrow_mut(|(_, rows)| {
            let part = self.part(terms, columns);
            product_of_panels(&mut out, onto, a, part, rows, scale);
        });
    }

    fn part(&self, terms: Range<usize>, columns: Range<usize>) -> PanelsPart<'_> {
        assert!(
            terms.start <= terms.end && terms.end <= self.depth && self.depth > 0,
            "terms of the panels"
        );
        assert!(
            columns.start.is_multiple_of(width()) && columns.end <= self.n_columns,
            "columns of the panels"
        );
        let n = self.n_columns.next_multiple_of(width()) * self.depth;
        // SAFETY: as in `resize`.
        #[expect(unsafe_code, reason = "lines as the numbers that they hold")]
        let numbers = unsafe {
            std::slice::from_raw_parts(self.lines[..n.div_ceil(MAX_N)].as_ptr().cast(), n)
        };
        let panels = &numbers[columns.start * self.depth..];
        PanelsPart { panels, depth: self.depth, terms, n_columns: columns.len() }
    }
}

/// Some rows and columns of [`Panels`].
#[derive(Clone)]
pub(super) struct PanelsPart<'a> {
    /// From the first panel on.
    panels: &'a [f32],
    /// Of a whole panel.
    depth: usize,
    terms: Range<usize>,
    n_columns: usize,
}

/// Left-hand rows in panels of [`TILE_ROWS`], where their terms are not neighbours in memory and many
/// columns read them.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<f32>);

thread_local! {
    /// Buffers of [`product`], reused from call to call.
    static BUFFERS: RefCell<(Panels, Rows)> = const {
        RefCell::new((Panels { lines: Vec::new(), depth: 0, n_columns: 0 }, Rows(Vec::new())))
    };
}

/// `out = scale * a b`, or `out += scale * a b`.
pub(super) fn product(out: &mut MatMut<'_>, onto: Onto, a: Mat<'_>, b: Mat<'_>, scale: f32) {
    BUFFERS.with_borrow_mut(|(panels, rows)| {
        let (n, k) = (b.n_cols(), b.n_rows());
        let depth = k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(MAX_N);
        for column in (0..n).step_by(BLOCK_COLUMNS) {
            let columns = column..n.min(column + BLOCK_COLUMNS);
            for term in (0..k).step_by(depth) {
                let terms = term..k.min(term + depth);
                panels.pack(b.part(terms.clone(), columns.clone()));
                let onto = if term == 0 { onto } else { Onto::Sum };
                let a = a.part(0..a.n_rows(), terms);
                let mut out = out.part(0..a.n_rows(), columns.clone());
                product_of_panels(&mut out, onto, a, panels.all(), rows, scale);
            }
        }
    });
}

/// [`product`] with packed columns.
fn product_of_panels(
    out: &mut MatMut<'_>,
    onto: Onto,
    a: Mat<'_>,
    panels: PanelsPart<'_>,
    rows: &mut Rows,
    scale: f32,
) {
    assert_eq!(
        (a.n_cols(), out.n_cols()),
        (panels.terms.len(), panels.n_columns),
        "product shapes"
    );
    assert_eq!(a.n_rows(), out.n_rows(), "product shapes");
    let (m, k) = (a.n_rows(), a.n_cols());
    let [row_stride, term_stride] = a.strides();
    let packs_rows = term_stride != 1 && panels.n_columns > COLUMNS_OF_PACKED_ROWS;
    for first in (0..m).step_by(BLOCK_ROWS) {
        let block = a.part(first..m.min(first + BLOCK_ROWS), 0..k);
        let mut out = out.part(first..first + block.n_rows(), 0..panels.n_columns);
        let left = if packs_rows {
            rows.pack(block);
            Left { start: rows.0.as_ptr(), tile: TILE_ROWS * k, row: 1, term: TILE_ROWS }
        } else {
            Left {
                start: block.data().as_ptr(),
                tile: TILE_ROWS * row_stride,
                row: row_stride,
                term: term_stride,
            }
        };
        // `left` reaches the rows of `block`, each of `k` terms, in its slice or in the packed rows.
        block_product(&mut out, onto, left, &panels, scale);
    }
}

impl Rows {
    /// Room for so many numbers.
    pub(super) fn resize(&mut self, n: usize) -> &mut [f32] {
        self.0.resize(self.0.len().max(n), 0.0);
        &mut self.0[..n]
    }

    /// Packs `block` as `[n_rows / TILE_ROWS, k, TILE_ROWS]`.
    fn pack(&mut self, block: Mat<'_>) {
        let (m, k) = (block.n_rows(), block.n_cols());
        let [row_stride, term_stride] = block.strides();
        let n = m.next_multiple_of(TILE_ROWS) * k;
        let data = block.data();
        for (tile, packed) in self.resize(n).chunks_exact_mut(TILE_ROWS * k).enumerate() {
            let first = tile * TILE_ROWS;
            let n_rows = TILE_ROWS.min(m - first);
            for (term, packed) in packed.chunks_exact_mut(TILE_ROWS).enumerate() {
                let start = first * row_stride + term * term_stride;
                if row_stride == 1 && n_rows == TILE_ROWS {
                    packed.copy_from_slice(&data[start..start + TILE_ROWS]);
                } else {
                    for (row, packed) in packed[..n_rows].iter_mut().enumerate() {
                        *packed = data[start + row * row_stride];
                    }
                }
            }
        }
    }
}

/// Where the left-hand rows of tiles are, in numbers.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) start: *const f32,
    /// From one tile to the next.
    pub(super) tile: usize,
    /// From one row of a tile to the next.
    pub(super) row: usize,
    /// From one term to the next.
    pub(super) term: usize,
}

/// Where a tile of the product is written.
#[derive(Clone, Copy)]
struct Destination {
    start: *mut f32,
    row_stride: usize,
    /// Columns of the tile's last register.
    last: usize,
    onto: Onto,
    scale: f32,
}

for_processor! {
    /// All tiles of a block of rows, panel after panel. `left` must reach as many rows as `out` has, of as
    /// many terms as the panels; `out` must have the columns of the panels.
    fn block_product(
        out: &mut MatMut<'_>,
        onto: Onto,
        left: Left,
        panels: &PanelsPart<'_>,
        scale: f32,
    ) = block_kernel;
}

#[inline(always)]
fn block_kernel<V: Vector>(
    out: &mut MatMut<'_>,
    onto: Onto,
    left: Left,
    panels: &PanelsPart<'_>,
    scale: f32,
) {
    // SAFETY: the processor has the instructions of `V`; `product_of_panels` checked the shapes, and
    // `out` is borrowed exclusively.
    #[expect(unsafe_code, reason = "sums in registers")]
    unsafe {
        tiles::<V, _>(out, onto, left, panels, scale, |factor, right, sum| {
            V::splat(factor).mul_add(right, sum)
        });
    }
}

/// [`block_product`], where `add(factor, right, sum)` adds the products of a left-hand number and a
/// register of right-hand ones to sums.
///
/// # Safety
/// The processor must have the instructions of `V` and of `add`; otherwise as [`block_product`].
#[expect(unsafe_code, reason = "sums in registers")]
#[inline(always)]
pub(super) unsafe fn tiles<V: Vector, A: Fn(f32, V, V) -> V + Copy>(
    out: &mut MatMut<'_>,
    onto: Onto,
    left: Left,
    panels: &PanelsPart<'_>,
    scale: f32,
    add: A,
) {
    let (m, n, k) = (out.n_rows(), out.n_cols(), panels.terms.len());
    let row_stride = out.row_stride();
    let start = out.as_mut_ptr();
    let width = const { tile_vectors(V::N_SUMS) * V::N };
    for (nth, panel) in panels.panels.chunks_exact(panels.depth * width).enumerate() {
        let panel = &panel[panels.terms.start * width..];
        let column = nth * width;
        if column >= n {
            break;
        }
        let n_columns = width.min(n - column);
        let n_vectors = n_columns.div_ceil(V::N);
        let last = n_columns - (n_vectors - 1) * V::N;
        for (tile, first) in (0..m).step_by(TILE_ROWS).enumerate() {
            // SAFETY: the tile's rows are those of `left` and of `out`, whose row `first` and column
            // `column` exist.
            unsafe {
                let left = Left { start: left.start.add(tile * left.tile), ..left };
                let start = start.add(first * row_stride + column);
                let to = Destination { start, row_stride, last, onto, scale };
                let (n_rows, panel) = (TILE_ROWS.min(m - first), panel.as_ptr());
                match n_vectors {
                    1 => tile_of_rows::<V, 1, A>(n_rows, k, left, panel, to, add),
                    2 if const { tile_vectors(V::N_SUMS) >= 2 } => {
                        tile_of_rows::<V, 2, A>(n_rows, k, left, panel, to, add);
                    }
                    3 if const { tile_vectors(V::N_SUMS) >= 3 } => {
                        tile_of_rows::<V, 3, A>(n_rows, k, left, panel, to, add);
                    }
                    _ if const { tile_vectors(V::N_SUMS) >= 4 } => {
                        tile_of_rows::<V, 4, A>(n_rows, k, left, panel, to, add);
                    }
                    _ => unreachable!("a panel is as wide as a tile"),
                }
            }
        }
    }
}

/// [`tile_product`] of up to six rows.
///
/// # Safety
/// As [`tile_product`].
#[expect(unsafe_code, reason = "sums in registers")]
#[inline(always)]
unsafe fn tile_of_rows<V: Vector, const VECTORS: usize, A: Fn(f32, V, V) -> V + Copy>(
    n_rows: usize,
    k: usize,
    left: Left,
    panel: *const f32,
    to: Destination,
    add: A,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match n_rows {
            1 => tile_product::<V, 1, VECTORS, A>(k, left, panel, to, add),
            2 => tile_product::<V, 2, VECTORS, A>(k, left, panel, to, add),
            3 => tile_product::<V, 3, VECTORS, A>(k, left, panel, to, add),
            4 => tile_product::<V, 4, VECTORS, A>(k, left, panel, to, add),
            5 => tile_product::<V, 5, VECTORS, A>(k, left, panel, to, add),
            _ => tile_product::<V, TILE_ROWS, VECTORS, A>(k, left, panel, to, add),
        }
    }
}

/// A tile of the product, summed in registers.
///
/// # Safety
/// The processor must have the instructions of `V` and `add`; `left` must reach `ROWS` rows of `k` terms,
/// `panel` `k` rows of a panel, and `to` `ROWS` rows of `VECTORS` registers, the last with its lanes only.
#[expect(unsafe_code, reason = "sums in registers")]
#[inline(always)]
unsafe fn tile_product<
    V: Vector,
    const ROWS: usize,
    const VECTORS: usize,
    A: Fn(f32, V, V) -> V + Copy,
>(
    k: usize,
    left: Left,
    panel: *const f32,
    to: Destination,
    add: A,
) {
    let width = const { tile_vectors(V::N_SUMS) * V::N };
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
        for term in 0..k {
            let (left_term, panel) = (left.start.add(term * left.term), panel.add(term * width));
            let mut right = [V::splat(0.0); VECTORS];
            for (idx, right) in right.iter_mut().enumerate() {
                *right = V::load(panel.add(idx * V::N));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = *left_term.add(row * left.row);
                for (sum, &right) in sums.iter_mut().zip(&right) {
                    *sum = add(factor, right, *sum);
                }
            }
        }
        let scale = V::splat(to.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (idx, &sum) in sums.iter().enumerate() {
                let place = to.start.add(row * to.row_stride + idx * V::N);
                let n = if idx + 1 < VECTORS { V::N } else { to.last };
                let value = match to.onto {
                    Onto::Fresh => sum.mul(scale),
                    Onto::Sum => sum.mul_add(scale, V::load_first(place, n)),
                };
                value.store_first(place, n);
            }
        }
    }
}

for_processor! {
    /// Packs `b` into panels.
    fn pack(panels: &mut [f32], b: Mat<'_>) = pack_kernel;
}

#[inline(always)]
fn pack_kernel<V: Vector>(panels: &mut [f32], b: Mat<'_>) {
    let (k, n) = (b.n_rows(), b.n_cols());
    let [term_stride, column_stride] = b.strides();
    let width = const { tile_vectors(V::N_SUMS) * V::N };
    assert!(column_stride == 1 || term_stride == 1, "rows or columns that are contiguous");
    for (panel, first) in panels.chunks_exact_mut(k * width).zip((0..n).step_by(width)) {
        for column in (first..n.min(first + width)).step_by(V::N) {
            let n_columns = V::N.min(n - column);
            let from = &b.data()[column * column_stride..];
            let to = &mut panel[column - first..];
            if column_stride == 1 {
                for term in 0..k {
                    let (from, to) = (&from[term * term_stride..], &mut to[term * width..]);
                    assert!(n_columns <= from.len() && V::N <= to.len(), "numbers of a register");
                    // SAFETY: the processor has the instructions; the numbers are there.
                    #[expect(unsafe_code, reason = "loads and stores a register")]
                    unsafe {
                        V::load_first(from.as_ptr(), n_columns).store(to.as_mut_ptr());
                    }
                }
            } else {
                let n_whole = k / V::N * V::N;
                for term in (0..n_whole).step_by(V::N) {
                    // Missing columns repeat the last.
                    let mut rows = [std::ptr::null(); MAX_N];
                    for (idx, row) in rows.iter_mut().enumerate().take(V::N) {
                        let start = idx.min(n_columns - 1) * column_stride + term;
                        *row = from[start..][..V::N].as_ptr();
                    }
                    // SAFETY: the processor has the instructions; each row has `V::N` numbers.
                    #[expect(unsafe_code, reason = "transposes in registers")]
                    let block = unsafe { V::transposed(&rows) };
                    for (idx, &row) in block.as_ref().iter().enumerate() {
                        let to = &mut to[(term + idx) * width..][..V::N];
                        // SAFETY: as above.
                        #[expect(unsafe_code, reason = "stores a register")]
                        unsafe {
                            row.store(to.as_mut_ptr());
                        }
                    }
                }
                for term in n_whole..k {
                    for idx in 0..n_columns {
                        to[term * width + idx] = from[idx * column_stride + term];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::vector::Plain;

    /// What the widest registers of the processor compute is what plain loops compute, to the bit: panels
    /// are packed anew, because their width differs.
    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        let numbers = |n: usize, seed: f32| -> Vec<f32> {
            (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
        };
        for (m, k, n) in [(1, 1, 1), (6, 33, 64), (13, 90, 71), (7, 512, 129), (2, 17, 8)] {
            let (x, w) = (numbers(m * k, 0.1), numbers(n * k, 0.2));
            for b in [Mat::new(&w, k).t(), Mat::new(&w, n)] {
                for onto in [Onto::Fresh, Onto::Sum] {
                    let mut y = numbers(m * n, 0.4);
                    let mut twin = y.clone();
                    product(&mut MatMut::new(&mut y, n), onto, Mat::new(&x, k), b, 0.7);
                    let plain_width = const { tile_vectors(Plain::N_SUMS) * Plain::N };
                    let mut panels = vec![0.0; n.next_multiple_of(plain_width) * k];
                    pack_kernel::<Plain>(&mut panels, b);
                    let part = PanelsPart { panels: &panels, depth: k, terms: 0..k, n_columns: n };
                    let left = Left { start: x.as_ptr(), tile: TILE_ROWS * k, row: k, term: 1 };
                    let out = &mut MatMut::new(&mut twin, n);
                    block_kernel::<Plain>(out, onto, left, &part, 0.7);
                    for (y, twin) in y.iter().zip(&twin) {
                        assert_eq!(y.to_bits(), twin.to_bits(), "{m} {k} {n}");
                    }
                }
            }
        }
    }
}
