//! Matrix products with AVX-512.
//!
//! The right-hand matrix is packed into [`Panels`] of 64 columns; a tile of 6 rows and 64 columns of
//! the product is summed in registers. A sum runs over at most [`DEPTH`] terms at a time, in order, so
//! that the bits of an element depend on its row, its column and the length of the sum only, and not
//! on how many rows and columns there are beside it.
//!
//! The plain twin is the triple loop in the tests of `matmul`; `matmul::general` is another.

use std::arch::x86_64::{
    __m512, _mm512_fmadd_ps, _mm512_load_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_mul_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4, _mm512_shuffle_ps,
    _mm512_store_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};
use std::cell::RefCell;
use std::ops::Range;

use gratis_model::simd::Instructions;

use super::matmul::{Mat, MatMut, Onto};

/// Numbers of a register.
const LANES: usize = 16;
/// Rows of a tile.
pub(super) const TILE_ROWS: usize = 6;
/// Registers in a row of a tile.
const TILE_VECTORS: usize = 4;
/// Columns of a panel.
pub(super) const WIDTH: usize = TILE_VECTORS * LANES;
/// Most terms of a sum that are taken at a time.
const DEPTH: usize = 512;
/// Rows of the left-hand matrix that stay in the second cache while all panels pass by.
pub(super) const BLOCK_ROWS: usize = 192;
/// Columns that are packed at a time.
const BLOCK_COLUMNS: usize = 1024;
/// Panels from which packing the left-hand rows pays: it takes about as long as one panel's product.
const PANELS_OF_PACKED_ROWS: usize = 3;

/// Whether the processor has the instructions.
pub(super) fn is_available() -> bool {
    Instructions::of_this_processor() == Instructions::Avx512
}

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(#[expect(dead_code, reason = "read through pointers")] [f32; LANES]);

/// Packed columns: one panel after the other, each `[depth, WIDTH]`; what is beyond the last column
/// is not read.
#[derive(Debug, Default)]
pub(super) struct Panels {
    lines: Vec<Line>,
    depth: usize,
    n_columns: usize,
}

impl Panels {
    /// Packs `b`, in the place of what was here.
    pub(super) fn pack(&mut self, b: Mat<'_>) {
        let lines = self.resize(b.n_rows(), b.n_cols());
        assert!(is_available(), "a processor with AVX-512");
        // SAFETY: the processor has the instructions; the lines are enough for all panels, and `b`
        // lies within its slice.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            pack(lines.as_mut_ptr().cast(), b);
        }
    }

    /// Room for panels of so many terms and columns in all.
    pub(super) fn resize(&mut self, depth: usize, n_columns: usize) -> &mut [Line] {
        (self.depth, self.n_columns) = (depth, n_columns);
        let n_lines = n_columns.div_ceil(WIDTH) * depth * TILE_VECTORS;
        if self.lines.len() < n_lines {
            self.lines.resize(n_lines, Line([0.0; LANES]));
        }
        &mut self.lines
    }

    /// All of them.
    pub(super) fn all(&self) -> PanelsPart<'_> {
        self.part(0..self.depth, 0..self.n_columns)
    }
}

/// Left-hand rows in panels of [`TILE_ROWS`], where their terms are not neighbours in memory and many
/// columns read them.
#[derive(Debug, Default)]
pub(super) struct Rows(Vec<f32>);

impl Panels {
    /// `out = scale * a b` (or `+=`) with some rows and columns of the packed matrix.
    pub(super) fn product(
        &self,
        out: &mut MatMut<'_>,
        onto: Onto,
        a: Mat<'_>,
        [terms, columns]: [Range<usize>; 2],
        scale: f32,
    ) {
        BUFFERS.with_borrow_mut(|(_, rows)| {
            let part = self.part(terms, columns);
            product_of_panels(out, onto, a, part, rows, scale);
        });
    }

    fn part(&self, terms: Range<usize>, columns: Range<usize>) -> PanelsPart<'_> {
        assert!(
            terms.start <= terms.end && terms.end <= self.depth && self.depth > 0,
            "terms of the panels"
        );
        assert!(
            columns.start.is_multiple_of(WIDTH) && columns.end <= self.n_columns,
            "columns of the panels"
        );
        let lines = &self.lines[columns.start * self.depth / LANES..];
        PanelsPart { lines, depth: self.depth, terms, n_columns: columns.len() }
    }
}

/// Some rows and columns of [`Panels`].
#[derive(Clone)]
pub(super) struct PanelsPart<'a> {
    /// From the first panel on.
    lines: &'a [Line],
    /// Of a whole panel.
    depth: usize,
    terms: Range<usize>,
    n_columns: usize,
}

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
        let depth = k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(LANES);
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
    assert!(is_available(), "a processor with AVX-512");
    let (m, k) = (a.n_rows(), a.n_cols());
    let [row_stride, term_stride] = a.strides();
    let packs_rows = term_stride != 1 && panels.n_columns > (PANELS_OF_PACKED_ROWS - 1) * WIDTH;
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
        // SAFETY: the processor has the instructions; `left` reaches the rows of `block`, each of
        // `k` terms, in its slice or in the packed rows; the panels have `k` terms and the columns
        // of `out`, which is borrowed exclusively.
        #[expect(unsafe_code, reason = "vector instructions")]
        unsafe {
            block_product(&mut out, onto, left, &panels, scale);
        }
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
    last: u16,
    onto: Onto,
    scale: f32,
}

/// The first lanes of a register.
pub(super) fn first_lanes(n: usize) -> u16 {
    if n >= LANES { u16::MAX } else { (1 << n) - 1 }
}

/// All tiles of a block of rows, panel after panel.
///
/// # Safety
/// The processor must have the instructions; `left` must reach as many rows as `out` has, of
/// as many terms as the panels; `out` must have the columns of the panels.
#[expect(unsafe_code, reason = "vector instructions")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn block_product(
    out: &mut MatMut<'_>,
    onto: Onto,
    left: Left,
    panels: &PanelsPart<'_>,
    scale: f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        tiles(out, onto, left, panels, scale, |factor, right, sum| {
            _mm512_fmadd_ps(_mm512_set1_ps(factor), right, sum)
        });
    }
}

/// [`block_product`], where `add(factor, right, sum)` adds the products of a left-hand number and a
/// register of right-hand ones to sums.
///
/// # Safety
/// As [`block_product`].
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
pub(super) unsafe fn tiles(
    out: &mut MatMut<'_>,
    onto: Onto,
    left: Left,
    panels: &PanelsPart<'_>,
    scale: f32,
    add: impl Fn(f32, __m512, __m512) -> __m512 + Copy,
) {
    let (m, n, k) = (out.n_rows(), out.n_cols(), panels.terms.len());
    let row_stride = out.row_stride();
    let start = out.as_mut_ptr();
    let first_line = panels.terms.start * TILE_VECTORS;
    for (nth, panel) in panels.lines.chunks_exact(panels.depth * TILE_VECTORS).enumerate() {
        let panel = &panel[first_line..];
        let column = nth * WIDTH;
        if column >= n {
            break;
        }
        let width = WIDTH.min(n - column);
        let n_vectors = width.div_ceil(LANES);
        let last = first_lanes(width - (n_vectors - 1) * LANES);
        for (tile, first) in (0..m).step_by(TILE_ROWS).enumerate() {
            // SAFETY: the tile's rows are those of `left` and of `out`, whose row `first` and column
            // `column` exist.
            unsafe {
                let left = Left { start: left.start.add(tile * left.tile), ..left };
                let start = start.add(first * row_stride + column);
                let to = Destination { start, row_stride, last, onto, scale };
                let panel = panel.as_ptr().cast();
                let n_rows = TILE_ROWS.min(m - first);
                match n_vectors {
                    1 => tile_of_rows::<1, _>(n_rows, k, left, panel, to, add),
                    2 => tile_of_rows::<2, _>(n_rows, k, left, panel, to, add),
                    3 => tile_of_rows::<3, _>(n_rows, k, left, panel, to, add),
                    _ => tile_of_rows::<TILE_VECTORS, _>(n_rows, k, left, panel, to, add),
                }
            }
        }
    }
}

/// [`tile_product`] of up to six rows.
///
/// # Safety
/// As [`tile_product`].
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn tile_of_rows<const VECTORS: usize, A>(
    n_rows: usize,
    k: usize,
    left: Left,
    panel: *const f32,
    to: Destination,
    add: A,
) where
    A: Fn(f32, __m512, __m512) -> __m512 + Copy,
{
    // SAFETY: the caller's promise.
    unsafe {
        match n_rows {
            1 => tile_product::<1, VECTORS, A>(k, left, panel, to, add),
            2 => tile_product::<2, VECTORS, A>(k, left, panel, to, add),
            3 => tile_product::<3, VECTORS, A>(k, left, panel, to, add),
            4 => tile_product::<4, VECTORS, A>(k, left, panel, to, add),
            5 => tile_product::<5, VECTORS, A>(k, left, panel, to, add),
            _ => tile_product::<TILE_ROWS, VECTORS, A>(k, left, panel, to, add),
        }
    }
}

/// A tile of the product, summed in registers.
///
/// # Safety
/// The processor must have AVX-512; `left` must reach `ROWS` rows of `k` terms, `panel` `k` aligned
/// rows of a panel, and `to` `ROWS` rows of `VECTORS` registers, the last with its lanes only.
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn tile_product<const ROWS: usize, const VECTORS: usize, A>(
    k: usize,
    left: Left,
    panel: *const f32,
    to: Destination,
    add: A,
) where
    A: Fn(f32, __m512, __m512) -> __m512 + Copy,
{
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        for term in 0..k {
            let (left_term, panel) = (left.start.add(term * left.term), panel.add(term * WIDTH));
            let mut right = [_mm512_setzero_ps(); VECTORS];
            for (idx, right) in right.iter_mut().enumerate() {
                *right = _mm512_load_ps(panel.add(idx * LANES));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let factor = *left_term.add(row * left.row);
                for (sum, &right) in sums.iter_mut().zip(&right) {
                    *sum = add(factor, right, *sum);
                }
            }
        }
        let scale = _mm512_set1_ps(to.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (idx, &sum) in sums.iter().enumerate() {
                let place = to.start.add(row * to.row_stride + idx * LANES);
                let lanes = if idx + 1 < VECTORS { u16::MAX } else { to.last };
                let value = match to.onto {
                    Onto::Fresh => _mm512_mul_ps(sum, scale),
                    Onto::Sum => _mm512_fmadd_ps(sum, scale, _mm512_maskz_loadu_ps(lanes, place)),
                };
                _mm512_mask_storeu_ps(place, lanes, value);
            }
        }
    }
}

/// Packs `b` into panels.
///
/// # Safety
/// The processor must have the instructions; `panels` must be aligned to 64 bytes and have room for
/// `b.n_rows() * WIDTH` numbers in each panel of [`WIDTH`] columns.
#[expect(unsafe_code, reason = "vector instructions")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn pack(panels: *mut f32, b: Mat<'_>) {
    let (k, n) = (b.n_rows(), b.n_cols());
    let [term_stride, column_stride] = b.strides();
    for (nth, first) in (0..n).step_by(WIDTH).enumerate() {
        for column in (first..n.min(first + WIDTH)).step_by(LANES) {
            let n_columns = LANES.min(n - column);
            // SAFETY: the panel has `k` rows of `WIDTH`; `column` and the terms are of `b`.
            unsafe {
                let to = panels.add(nth * k * WIDTH + column - first);
                let from = b.data().as_ptr().add(column * column_stride);
                if column_stride == 1 {
                    let lanes = first_lanes(n_columns);
                    for term in 0..k {
                        let numbers = _mm512_maskz_loadu_ps(lanes, from.add(term * term_stride));
                        _mm512_store_ps(to.add(term * WIDTH), numbers);
                    }
                } else {
                    assert_eq!(term_stride, 1, "rows or columns that are contiguous");
                    for term in (0..k).step_by(LANES) {
                        let shape = [n_columns, LANES.min(k - term)];
                        transpose(to.add(term * WIDTH), from.add(term), column_stride, shape);
                    }
                }
            }
        }
    }
}

/// Transposes up to 16 rows of up to 16 numbers, which begin `stride` apart, into rows of a panel.
///
/// # Safety
/// The processor must have AVX-512; the numbers of `shape` (`[n_rows, n_numbers]`) must lie within
/// the source, and `n_numbers` aligned rows within the panel.
#[expect(unsafe_code, reason = "vector instructions")]
#[inline(always)]
unsafe fn transpose(to: *mut f32, from: *const f32, stride: usize, shape: [usize; 2]) {
    let [n_rows, n_numbers] = shape;
    let lanes = first_lanes(n_numbers);
    // SAFETY: the caller's promise.
    unsafe {
        let mut a = [_mm512_setzero_ps(); LANES];
        for (row, a) in a.iter_mut().enumerate() {
            if row < n_rows {
                *a = _mm512_maskz_loadu_ps(lanes, from.add(row * stride));
            }
        }
        let columns = transposed(a);
        for (idx, &column) in columns.iter().enumerate() {
            if idx < n_numbers {
                _mm512_store_ps(to.add(idx * WIDTH), column);
            }
        }
    }
}

/// The transpose of sixteen registers.
#[inline(always)]
#[expect(unsafe_code, reason = "vector instructions")]
pub(super) unsafe fn transposed(rows: [__m512; LANES]) -> [__m512; LANES] {
    // SAFETY: the caller promises AVX-512.
    unsafe {
        let (mut a, mut b) = (rows, rows);
        for i in 0..8 {
            b[2 * i] = _mm512_unpacklo_ps(a[2 * i], a[2 * i + 1]);
            b[2 * i + 1] = _mm512_unpackhi_ps(a[2 * i], a[2 * i + 1]);
        }
        // `a[4 i + j]` now holds columns `j, j + 4, j + 8, j + 12` of rows `4 i .. 4 i + 4`.
        for i in 0..4 {
            a[4 * i] = _mm512_shuffle_ps::<0x44>(b[4 * i], b[4 * i + 2]);
            a[4 * i + 1] = _mm512_shuffle_ps::<0xee>(b[4 * i], b[4 * i + 2]);
            a[4 * i + 2] = _mm512_shuffle_ps::<0x44>(b[4 * i + 1], b[4 * i + 3]);
            a[4 * i + 3] = _mm512_shuffle_ps::<0xee>(b[4 * i + 1], b[4 * i + 3]);
        }
        for j in 0..4 {
            b[j] = _mm512_shuffle_f32x4::<0x88>(a[j], a[4 + j]);
            b[4 + j] = _mm512_shuffle_f32x4::<0xdd>(a[j], a[4 + j]);
            b[8 + j] = _mm512_shuffle_f32x4::<0x88>(a[8 + j], a[12 + j]);
            b[12 + j] = _mm512_shuffle_f32x4::<0xdd>(a[8 + j], a[12 + j]);
        }
        for j in 0..4 {
            a[j] = _mm512_shuffle_f32x4::<0x88>(b[j], b[8 + j]);
            a[8 + j] = _mm512_shuffle_f32x4::<0xdd>(b[j], b[8 + j]);
            a[4 + j] = _mm512_shuffle_f32x4::<0x88>(b[4 + j], b[12 + j]);
            a[12 + j] = _mm512_shuffle_f32x4::<0xdd>(b[4 + j], b[12 + j]);
        }
        a
    }
}
