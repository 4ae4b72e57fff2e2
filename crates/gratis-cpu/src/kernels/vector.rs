//! A register of numbers, for kernels whose sums must stay in registers: the compiler does not keep
//! arrays there reliably.
//!
//! A kernel is written once over [`Vector`] and compiled for each instruction set by
//! `for_processor!`. Every lane rounds as `f32::mul_add` does, so all instruction sets give the same
//! bits.

/// Numbers in the widest register.
pub(super) const MAX_N: usize = 16;

/// A register of `f32`.
///
/// # Safety of its functions
/// The processor has the instructions, and pointers are valid for [`Self::N`] numbers.
#[expect(unsafe_code, reason = "registers are loaded through pointers")]
pub(super) trait Vector: Copy {
    /// `N` registers.
    type Block: AsRef<[Self]>;

    /// Numbers in a register, at most [`MAX_N`].
    const N: usize;
    /// Registers of sums that leave room for the operands.
    const N_SUMS: usize;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The first `n` numbers, of which there is at least one; only they are read.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// Only the first `n` numbers, of which there is at least one.
    unsafe fn store_first(self, to: *mut f32, n: usize);
    unsafe fn mul(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    unsafe fn add(self, b: Self) -> Self;
    /// Asks for the cache line of an address, which need not be valid.
    unsafe fn prefetch(address: *const f32);

    /// The transpose of a block: its columns, where row `r` begins at `rows[r]`. Only the first `N`
    /// rows are read.
    unsafe fn transposed(rows: &[*const f32; MAX_N]) -> Self::Block;
}

/// Without vector instructions: the checked twin of the others.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 8]);

#[expect(unsafe_code, reason = "as the trait")]
impl Vector for Plain {
    type Block = [Self; 8];

    const N: usize = 8;
    const N_SUMS: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the trait says.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the trait says.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: as the trait says.
        Self(std::array::from_fn(|i| if i < n { unsafe { from.add(i).read() } } else { 0.0 }))
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, n: usize) {
        for (i, x) in self.0.into_iter().enumerate().take(n) {
            // SAFETY: as the trait says.
            unsafe { to.add(i).write(x) };
        }
    }

    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * b.0[i]))
    }

    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
    }

    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + b.0[i]))
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn transposed(rows: &[*const f32; MAX_N]) -> Self::Block {
        // SAFETY: as the trait says.
        std::array::from_fn(|k| Self(std::array::from_fn(|r| unsafe { rows[r].add(k).read() })))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512, mask_of_first, transposed_registers};

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "as the trait")]
mod x86 {
    use super::{MAX_N, Vector};
    use std::arch::x86_64::{
        __m256, __m256i, __m512, _MM_HINT_T0, _mm_loadu_ps, _mm_prefetch, _mm256_add_ps,
        _mm256_castps128_ps256, _mm256_fmadd_ps, _mm256_insertf128_ps, _mm256_loadu_ps,
        _mm256_loadu_si256, _mm256_maskload_ps, _mm256_maskstore_ps, _mm256_mul_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
        _mm256_unpacklo_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps,
        _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_set1_ps, _mm512_shuffle_f32x4,
        _mm512_shuffle_ps, _mm512_storeu_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
    };

    /// A register of AVX2.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256);

    impl Vector for Avx2 {
        type Block = [Self; 8];

        const N: usize = 8;
        const N_SUMS: usize = 12;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait says, here and in all that follow.
            Self(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, n: usize) -> Self {
            // SAFETY: as above; lanes that are masked out are not read.
            Self(unsafe { _mm256_maskload_ps(from, first_lanes(n)) })
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, n: usize) {
            // SAFETY: as above. A masked store is slow on some processors.
            unsafe {
                if n < Self::N {
                    _mm256_maskstore_ps(to, first_lanes(n), self.0);
                } else {
                    self.store(to);
                }
            }
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_mul_ps(self.0, b.0) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_fmadd_ps(self.0, b.0, c.0) })
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm256_add_ps(self.0, b.0) })
        }

        #[inline(always)]
        unsafe fn prefetch(address: *const f32) {
            // SAFETY: a prefetch never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        unsafe fn transposed(rows: &[*const f32; MAX_N]) -> Self::Block {
            // SAFETY: as above.
            unsafe {
                let mut columns = [Self(_mm256_setzero_ps()); 8];
                for half in [0, 4] {
                    // Four columns of rows `i` and `i + 4`: putting them into one register while they
                    // are loaded spares as many shuffles as the rest takes.
                    let pair = |i: usize| {
                        let near = _mm256_castps128_ps256(_mm_loadu_ps(rows[i].add(half)));
                        _mm256_insertf128_ps::<1>(near, _mm_loadu_ps(rows[i + 4].add(half)))
                    };
                    let (a, b, c, d) = (pair(0), pair(1), pair(2), pair(3));
                    let (low_ab, high_ab) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
                    let (low_cd, high_cd) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
                    columns[half] = Self(_mm256_shuffle_ps::<0b01_00_01_00>(low_ab, low_cd));
                    columns[half + 1] = Self(_mm256_shuffle_ps::<0b11_10_11_10>(low_ab, low_cd));
                    columns[half + 2] = Self(_mm256_shuffle_ps::<0b01_00_01_00>(high_ab, high_cd));
                    columns[half + 3] = Self(_mm256_shuffle_ps::<0b11_10_11_10>(high_ab, high_cd));
                }
                columns
            }
        }
    }

    /// A mask of the first lanes, of AVX2.
    #[inline(always)]
    unsafe fn first_lanes(n: usize) -> __m256i {
        const EDGE: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
        // SAFETY: eight numbers from place `8 - n` on, with `n` at most 8.
        unsafe { _mm256_loadu_si256(EDGE.as_ptr().add(8 - n.min(8)).cast()) }
    }

    /// A mask of the first lanes, of AVX-512.
    #[inline(always)]
    pub(crate) fn mask_of_first(n: usize) -> u16 {
        if n >= 16 { u16::MAX } else { (1 << n) - 1 }
    }

    /// A register of AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(pub(crate) __m512);

    impl Vector for Avx512 {
        type Block = [Self; 16];

        const N: usize = 16;
        const N_SUMS: usize = 24;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            // SAFETY: as the trait says, here and in all that follow.
            Self(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, n: usize) -> Self {
            // SAFETY: as above; lanes that are masked out are not read.
            Self(unsafe { _mm512_maskz_loadu_ps(mask_of_first(n), from) })
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, n: usize) {
            // SAFETY: as above; lanes that are masked out are not written.
            unsafe { _mm512_mask_storeu_ps(to, mask_of_first(n), self.0) }
        }

        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_mul_ps(self.0, b.0) })
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
        }

        #[inline(always)]
        unsafe fn add(self, b: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_add_ps(self.0, b.0) })
        }

        #[inline(always)]
        unsafe fn prefetch(address: *const f32) {
            // SAFETY: a prefetch never faults.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        #[inline(always)]
        unsafe fn transposed(rows: &[*const f32; MAX_N]) -> Self::Block {
            // SAFETY: as above.
            let registers = rows.map(|row| unsafe { _mm512_loadu_ps(row) });
            // SAFETY: as above.
            unsafe { transposed_registers(registers) }.map(Self)
        }
    }

    /// The transpose of sixteen registers.
    ///
    /// # Safety
    /// The processor must have AVX-512.
    #[inline(always)]
    pub(crate) unsafe fn transposed_registers(rows: [__m512; 16]) -> [__m512; 16] {
        // SAFETY: the caller's promise.
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
}

/// Asks for a cache line that will be read after thousands of cycles: it goes to the second cache. The
/// address need not be valid.
#[inline(always)]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "asks for nothing"))]
pub(crate) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and every processor of the architecture has it.
    #[expect(unsafe_code, reason = "takes a pointer")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
}

/// Numbers in a register of this processor: [`Vector::N`].
pub(super) fn n_lanes() -> usize {
    shape_of_registers()[0]
}

/// Registers of sums of this processor: [`Vector::N_SUMS`].
pub(super) fn n_sums() -> usize {
    shape_of_registers()[1]
}

fn shape_of_registers() -> [usize; 2] {
    #[cfg(target_arch = "x86_64")]
    {
        use gratis_model::simd::Instructions;
        match Instructions::of_this_processor() {
            Instructions::Avx512 => return [Avx512::N, Avx512::N_SUMS],
            Instructions::Avx2 => return [Avx2::N, Avx2::N_SUMS],
            Instructions::Baseline => {}
        }
    }
    [Plain::N, Plain::N_SUMS]
}

/// Calls `kernel::<V>(arguments)` with the widest [`Vector`] of the processor, compiled with its
/// instructions. The kernel is `#[inline(always)]`, as is all that it calls.
macro_rules! for_processor {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) = $kernel:ident;
    ) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn with_avx512($($argument: $type),*) {
                    $kernel::<$crate::kernels::vector::Avx512>($($argument),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn with_avx2($($argument: $type),*) {
                    $kernel::<$crate::kernels::vector::Avx2>($($argument),*);
                }
                use gratis_model::simd::Instructions;
                match Instructions::of_this_processor() {
                    // SAFETY: the processor has these instructions.
                    #[expect(unsafe_code, reason = "the compiler cannot know the processor")]
                    Instructions::Avx512 => return unsafe { with_avx512($($argument),*) },
                    // SAFETY: the processor has these instructions.
                    #[expect(unsafe_code, reason = "the compiler cannot know the processor")]
                    Instructions::Avx2 => return unsafe { with_avx2($($argument),*) },
                    Instructions::Baseline => {}
                }
            }
            $kernel::<$crate::kernels::vector::Plain>($($argument),*);
        }
    };
}

pub(super) use for_processor;
