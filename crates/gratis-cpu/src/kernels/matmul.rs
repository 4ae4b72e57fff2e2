//! Matrix products over strided views, by the kernels of `tiles`.

use std::ops::Range;

use super::tiles;

/// A matrix to read.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a> {
    data: &'a [f32],
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Mat<'a> {
    /// Dense row-major `[data.len() / n_cols, n_cols]`.
    pub(crate) fn new(data: &'a [f32], n_cols: usize) -> Self {
        Self::strided(data, data.len() / n_cols, n_cols, n_cols)
    }

    /// Rows of `n_cols` that begin `row_stride` apart.
    pub(crate) fn strided(
        data: &'a [f32],
        n_rows: usize,
        n_cols: usize,
        row_stride: usize,
    ) -> Self {
        assert!(fits(data.len(), n_rows, n_cols, row_stride), "a matrix within its slice");
        Self { data, n_rows, n_cols, row_stride, col_stride: 1 }
    }

    /// Some rows and columns.
    pub(super) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end
                && rows.end <= self.n_rows
                && columns.start <= columns.end
                && columns.end <= self.n_cols,
            "a part of a matrix"
        );
        let start = rows.start * self.row_stride + columns.start * self.col_stride;
        let data = &self.data[start.min(self.data.len())..];
        Self { data, n_rows: rows.len(), n_cols: columns.len(), ..self }
    }

    /// Number of rows.
    pub(crate) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    pub(crate) fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Numbers from one row to the next, and from one column to the next; one of them is 1.
    pub(super) fn strides(&self) -> [usize; 2] {
        [self.row_stride, self.col_stride]
    }

    /// The numbers, the first of the matrix first.
    pub(super) fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The transpose, without copying.
    pub(crate) fn t(self) -> Self {
        Self {
            data: self.data,
            n_rows: self.n_cols,
            n_cols: self.n_rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }
}

/// A row-major matrix to write.
pub(crate) struct MatMut<'a> {
    data: &'a mut [f32],
    n_rows: usize,
    n_cols: usize,
    row_stride: usize,
}

impl<'a> MatMut<'a> {
    /// Dense `[data.len() / n_cols, n_cols]`.
    pub(crate) fn new(data: &'a mut [f32], n_cols: usize) -> Self {
        let n_rows = data.len() / n_cols;
        Self::strided(data, n_rows, n_cols, n_cols)
    }

    /// Rows of `n_cols` that begin `row_stride` apart.
    pub(crate) fn strided(
        data: &'a mut [f32],
        n_rows: usize,
        n_cols: usize,
        row_stride: usize,
    ) -> Self {
        assert!(fits(data.len(), n_rows, n_cols, row_stride), "a matrix within its slice");
        Self { data, n_rows, n_cols, row_stride }
    }

    /// Number of rows.
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Number of columns.
    pub(super) fn n_cols(&self) -> usize {
        self.n_cols
    }

    /// Numbers from one row to the next.
    pub(super) fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Its first number.
    pub(super) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.data.as_mut_ptr()
    }

    /// Some rows and columns.
    pub(super) fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> MatMut<'_> {
        assert!(rows.end <= self.n_rows && columns.end <= self.n_cols, "a part of a matrix");
        let data = &mut self.data[rows.start * self.row_stride + columns.start..];
        MatMut::strided(data, rows.len(), columns.len(), self.row_stride)
    }

    fn fill(&mut self, value: f32) {
        for row in self.data.chunks_mut(self.row_stride).take(self.n_rows) {
            row[..self.n_cols].fill(value);
        }
    }

    /// Its rows in parts of at most `height`.
    fn parts(self, height: usize) -> impl Iterator<Item = MatMut<'a>> {
        let Self { data, n_rows, n_cols, row_stride } = self;
        data.chunks_mut(height * row_stride).take(n_rows.div_ceil(height)).enumerate().map(
            move |(idx, data)| {
                let n_rows = height.min(n_rows - idx * height);
                Self::strided(data, n_rows, n_cols, row_stride)
            },
        )
    }
}

fn fits(len: usize, n_rows: usize, n_cols: usize, row_stride: usize) -> bool {
    n_rows == 0
        || n_cols == 0
        || (n_cols <= row_stride && (n_rows - 1) * row_stride + n_cols <= len)
}

/// How a product is written to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    /// It is replaced.
    Fresh,
    /// The product is added to it.
    Sum,
}

/// `out = scale * a b`, or `out += scale * a b`: `[m, n] = [m, k] [k, n]`.
pub(crate) fn matmul(mut out: MatMut<'_>, onto: Onto, a: Mat<'_>, b: Mat<'_>, scale: f32) {
    assert_eq!(
        (out.n_rows, out.n_cols, a.n_cols),
        (a.n_rows, b.n_cols, b.n_rows),
        "product shapes"
    );
    if out.n_rows == 0 || out.n_cols == 0 {
        return;
    }
    if a.n_cols == 0 {
        if onto == Onto::Fresh {
            out.fill(0.0);
        }
        return;
    }
    tiles::product(&mut out, onto, a, b, scale);
}

/// How the factors of the large products of scoring are rounded. Sums are always in f32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// To bf16, eight significant bits, where products with `x W^T` allow it: faster, and less exact by
    /// up to 2^-8 of each factor. Attention, norms and sampling stay in f32, and so does training.
    Bf16,
}

impl Precision {
    /// Whether this processor has the instructions.
    pub fn is_available(self) -> bool {
        match self {
            Self::F32 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => super::bf16::is_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }
}

/// How a product is computed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Execution {
    /// Threads that share it; 0 and 1 are the thread itself.
    pub(crate) n_threads: usize,
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "products in bf16 are of x86-64")
    )]
    pub(crate) precision: Precision,
}

impl Execution {
    /// In f32 by so many threads.
    pub(crate) fn by(n_threads: usize) -> Self {
        Self { n_threads, precision: Precision::F32 }
    }

    /// [`matmul`] of one thread; rounded, if that is asked for and the terms of both factors are
    /// neighbours in memory.
    fn multiply(self, out: MatMut<'_>, onto: Onto, a: Mat<'_>, b: Mat<'_>, scale: f32) {
        #[cfg(target_arch = "x86_64")]
        if self.precision == Precision::Bf16 && a.col_stride == 1 && b.row_stride == 1 {
            let mut out = out;
            return super::bf16::product(&mut out, onto, a, b, scale);
        }
        matmul(out, onto, a, b, scale);
    }
}

/// Minimum number of rows per thread.
const ROWS_OF_A_THREAD: usize = 32;
/// Products of no more columns are not shared.
const FEW_COLUMNS: usize = 64;

/// [`matmul`] with the rows of `out` shared out among threads of the pool it runs in. The
/// kernels split a sum by its length only, so every element has the same bits as with one thread.
pub(crate) fn matmul_shared(
    execution: Execution,
    out: MatMut<'_>,
    onto: Onto,
    a: Mat<'_>,
    b: Mat<'_>,
    scale: f32,
) {
    let n_parts = execution.n_threads.min(out.n_rows / ROWS_OF_A_THREAD);
    if n_parts <= 1 || out.n_cols <= FEW_COLUMNS {
        return execution.multiply(out, onto, a, b, scale);
    }
    let height = out.n_rows.div_ceil(n_parts);
    rayon::scope(|scope| {
        let mut start = 0;
        for part in out.parts(height) {
            let rows = start..start + part.n_rows;
            start = rows.end;
            let a = a.part(rows, 0..a.n_cols);
            scope.spawn(move |_| execution.multiply(part, onto, a, b, scale));
        }
    });
}

/// `y = x W^T` (or `+=`): `x` is `[n, n_in]`, `weight` `[n_out, n_in]`, `y` `[n, n_out]`.
pub(crate) fn linear(y: &mut [f32], onto: Onto, x: &[f32], weight: &[f32], n_in: usize) {
    let weight = Mat::new(weight, n_in);
    matmul(MatMut::new(y, weight.n_rows), onto, Mat::new(x, n_in), weight.t(), 1.0);
}

/// `dW += dy^T x`: `dy` is `[n, n_out]`, `x` `[n, n_in]`, `dw` `[n_out, n_in]`.
pub(crate) fn linear_backward_weight(dw: &mut [f32], dy: &[f32], x: &[f32], n_in: usize) {
    let dw = MatMut::new(dw, n_in);
    let n_out = dw.n_rows;
    matmul(dw, Onto::Sum, Mat::new(dy, n_out).t(), Mat::new(x, n_in), 1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tiles::Panels;

    /// Numbers without a pattern that a wrong index would hit by chance.
    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| ((i as f32 + 1.3) * (seed + 0.71)).sin()).collect()
    }

    /// The plain triple loop, in f64.
    fn twin(
        out: &mut [f64],
        a: impl Fn(usize, usize) -> f32,
        b: impl Fn(usize, usize) -> f32,
        k: usize,
        n: usize,
    ) {
        for (idx, out) in out.iter_mut().enumerate() {
            *out +=
                (0..k).map(|l| f64::from(a(idx / n, l)) * f64::from(b(l, idx % n))).sum::<f64>();
        }
    }

    #[test]
    fn products_agree_with_the_triple_loop() {
        // Observed largest error 4e-6 at k = 130.
        for (m, k, n) in [(1, 1, 1), (1, 7, 5), (3, 16, 1), (17, 33, 65), (64, 130, 69), (5, 2, 40)]
        {
            let (x, w, dy) = (numbers(m * k, 0.1), numbers(n * k, 0.2), numbers(m * n, 0.3));
            let mut y = vec![9.0; m * n];
            linear(&mut y, Onto::Fresh, &x, &w, k);
            let mut expected = vec![0.0; m * n];
            twin(&mut expected, |i, l| x[i * k + l], |l, j| w[j * k + l], k, n);
            close(&y, &expected);

            let mut dx = vec![1.0; m * k];
            matmul(MatMut::new(&mut dx, k), Onto::Sum, Mat::new(&dy, n), Mat::new(&w, k), 1.0);
            let mut expected = vec![1.0; m * k];
            twin(&mut expected, |i, l| dy[i * n + l], |l, j| w[l * k + j], n, k);
            close(&dx, &expected);

            let mut dw = vec![1.0; n * k];
            linear_backward_weight(&mut dw, &dy, &x, k);
            let mut expected = vec![1.0; n * k];
            twin(&mut expected, |i, l| dy[l * n + i], |l, j| x[l * k + j], m, k);
            close(&dw, &expected);
        }
    }

    /// Sums longer and products wider than a block, all heights and widths of a tile, views of wider
    /// matrices.
    #[test]
    fn views_of_any_shape_agree_with_the_triple_loop() {
        let shapes = (1..=13).map(|m| (m, 3 * m, 5 * m + m * m)).chain([
            (200, 530, 70),
            (7, 1100, 1030),
            (390, 16, 33),
            (2, 513, 65),
        ]);
        for (m, k, n) in shapes {
            let (stride, a_stride, b_stride) = (n + 3, m.max(k) + 2, n.max(k) + 1);
            let (x, w) = (numbers(m.max(k) * a_stride, 0.1), numbers(n.max(k) * b_stride, 0.2));
            let a_views = [Mat::strided(&x, m, k, a_stride), Mat::strided(&x, k, m, a_stride).t()];
            let b_views = [Mat::strided(&w, k, n, b_stride), Mat::strided(&w, n, k, b_stride).t()];
            for (a, b) in a_views.into_iter().flat_map(|a| b_views.map(|b| (a, b))) {
                let at = |mat: Mat<'_>, i: usize, j: usize| {
                    f64::from(mat.data[i * mat.row_stride + j * mat.col_stride])
                };
                for onto in [Onto::Fresh, Onto::Sum] {
                    let mut y = numbers(m * stride, 0.4);
                    let before = y.clone();
                    matmul(MatMut::strided(&mut y, m, n, stride), onto, a, b, 0.7);
                    for (idx, (&y, &before)) in y.iter().zip(&before).enumerate() {
                        let (i, j) = (idx / stride, idx % stride);
                        if j >= n {
                            assert_eq!(y, before, "beside the product");
                            continue;
                        }
                        let added = if onto == Onto::Sum { f64::from(before) } else { 0.0 };
                        let sum: f64 = (0..k).map(|l| at(a, i, l) * at(b, l, j)).sum();
                        let expected = added + 0.7 * sum;
                        // Observed largest error 1.4e-5 at k = 1100.
                        assert!((f64::from(y) - expected).abs() < 3e-5, "{y} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn parts_of_a_packed_matrix_are_multiplied() {
        let (m, k, n) = (13, 90, 150);
        let (x, w) = (numbers(m * k, 0.1), numbers(n * k, 0.2));
        for b in [Mat::new(&w, n), Mat::new(&w, k).t()] {
            let mut packed = Panels::default();
            packed.pack(b);
            for (rows, columns) in [(0..k, 0..n), (3..70, 64..130), (64..90, 128..150)] {
                let mut y = vec![0.0; m * columns.len()];
                let a = Mat::new(&x, k).part(0..m, rows.clone());
                let mut expected = y.clone();
                let to = MatMut::new(&mut expected, columns.len());
                matmul(to, Onto::Fresh, a, b.part(rows.clone(), columns.clone()), 0.7);
                let to = MatMut::new(&mut y, columns.len());
                packed.product(to, Onto::Fresh, a, [rows, columns], 0.7);
                for (y, expected) in y.iter().zip(&expected) {
                    // Observed: equal.
                    assert!((y - expected).abs() < 1e-5, "{y} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_beside_others() {
        let (m, k, n) = (29, 700, 1100);
        let (x, w) = (numbers(m * k, 0.1), numbers(n * k, 0.2));
        let mut all = vec![0.0; m * n];
        linear(&mut all, Onto::Fresh, &x, &w, k);
        for (row, together) in x.chunks_exact(k).zip(all.chunks_exact(n)) {
            let mut alone = vec![0.0; n];
            linear(&mut alone, Onto::Fresh, row, &w, k);
            assert_eq!(alone, together);
        }
    }

    fn close(got: &[f32], expected: &[f64]) {
        for (&got, &expected) in got.iter().zip(expected) {
            assert!((f64::from(got) - expected).abs() < 2e-5, "{got} against {expected}");
        }
    }

    #[test]
    fn a_product_has_the_same_bits_from_any_number_of_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        // Sums longer than the kernels take at once, tiles of a wider matrix, few and odd rows.
        for (m, k, n, stride) in
            [(200, 70, 65, 65), (97, 1300, 80, 100), (33, 40, 300, 300), (64, 9, 64, 64)]
        {
            let (x, w) = (numbers(m * k, 0.1), numbers(n * k, 0.2));
            let product = |n_threads: usize, onto: Onto, a: Mat<'_>| {
                let mut y = numbers(m * stride, 0.4);
                let out = MatMut::strided(&mut y, m, n, stride);
                let b = Mat::new(&w, k).t();
                pool.install(|| matmul_shared(Execution::by(n_threads), out, onto, a, b, 0.7));
                y
            };
            let transposed: Vec<f32> = (0..k * m).map(|idx| x[idx % m * k + idx / m]).collect();
            for onto in [Onto::Fresh, Onto::Sum] {
                for a in [Mat::new(&x, k), Mat::new(&transposed, m).t()] {
                    let alone = product(1, onto, a);
                    for n_threads in [2, 3, 8] {
                        assert_eq!(product(n_threads, onto, a), alone);
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "a matrix within its slice")]
    fn a_view_past_its_slice_is_refused() {
        let _ = Mat::strided(&[0.0; 10], 3, 4, 4);
    }
}
