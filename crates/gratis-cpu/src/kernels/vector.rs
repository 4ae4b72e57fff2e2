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
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "as the trait")]
mod x86 {
    use super::{MAX_N, Vector};
    use std::arch::x86_64::{
        __m256, __m512, _MM_HINT_T0, _mm_prefetch, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
        _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_ps,
        _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps, _mm512_add_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_shuffle_f32x4,
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
                let (mut pairs, mut quads) = ([_mm256_setzero_ps(); 8], [_mm256_setzero_ps(); 8]);
                for i in (0..8).step_by(2) {
                    let (a, b) = (_mm256_loadu_ps(rows[i]), _mm256_loadu_ps(rows[i + 1]));
                    pairs[i] = _mm256_unpacklo_ps(a, b);
                    pairs[i + 1] = _mm256_unpackhi_ps(a, b);
                }
                for i in [0, 1, 4, 5] {
                    let (a, b) = (pairs[i], pairs[i + 2]);
                    let quad = i / 4 * 4 + i % 2 * 2;
                    quads[quad] = _mm256_shuffle_ps::<0b01_00_01_00>(a, b);
                    quads[quad + 1] = _mm256_shuffle_ps::<0b11_10_11_10>(a, b);
                }
                // Each half of `quads[c]` holds four rows of column c and of column c + 4.
                let mut columns = [Self(_mm256_setzero_ps()); 8];
                for c in 0..4 {
                    let (a, b) = (quads[c], quads[c + 4]);
                    columns[c] = Self(_mm256_permute2f128_ps::<0x20>(a, b));
                    columns[c + 4] = Self(_mm256_permute2f128_ps::<0x31>(a, b));
                }
                columns
            }
        }
    }

    /// A register of AVX-512.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

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
            unsafe {
                let zero = [_mm512_setzero_ps(); 16];
                let (mut pairs, mut quads, mut halves) = (zero, zero, zero);
                for i in (0..16).step_by(2) {
                    let (a, b) = (_mm512_loadu_ps(rows[i]), _mm512_loadu_ps(rows[i + 1]));
                    pairs[i] = _mm512_unpacklo_ps(a, b);
                    pairs[i + 1] = _mm512_unpackhi_ps(a, b);
                }
                for i in [0, 1, 4, 5, 8, 9, 12, 13] {
                    let (a, b) = (pairs[i], pairs[i + 2]);
                    let quad = i / 4 * 4 + i % 2 * 2;
                    quads[quad] = _mm512_shuffle_ps::<0b01_00_01_00>(a, b);
                    quads[quad + 1] = _mm512_shuffle_ps::<0b11_10_11_10>(a, b);
                }
                // The quarters of `quads[4 * g + c]` hold columns c, c + 4, c + 8, c + 12 of rows
                // 4 g to 4 g + 3; what remains is to transpose four quarters by four.
                for i in [0, 1, 2, 3, 8, 9, 10, 11] {
                    let (a, b) = (quads[i], quads[i + 4]);
                    halves[i] = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
                    halves[i + 4] = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
                }
                let mut columns = [Self(zero[0]); 16];
                for c in 0..8 {
                    // Of columns c, c + 8 the quarters of the first and the last eight rows.
                    let (a, b) = (halves[c], halves[c + 8]);
                    columns[c] = Self(_mm512_shuffle_f32x4::<0b10_00_10_00>(a, b));
                    columns[c + 8] = Self(_mm512_shuffle_f32x4::<0b11_01_11_01>(a, b));
                }
                columns
            }
        }
    }
}

/// Asks for numbers that will be read soon.
pub(crate) fn prefetch(numbers: &[f32]) {
    for line in numbers.chunks(MAX_N) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch never faults, and every processor of the architecture has it.
        #[expect(unsafe_code, reason = "takes a pointer")]
        unsafe {
            Avx2::prefetch(line.as_ptr());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = line;
    }
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
