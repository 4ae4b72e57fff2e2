//! Integers and scales of blocks, [`PART`] numbers of a row at a time, with rows as lanes.
//!
//! The layouts of the blocks are described in [`gratis_model::blocks`].

#![expect(unsafe_code, reason = "instructions of the processor")]

use std::arch::x86_64::{
    __m256, __m256i, _mm_cvtsi32_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_set_epi16,
    _mm_set_epi64x, _mm_setr_epi8, _mm_srli_epi16, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_castsi128_si256, _mm256_cmpeq_epi8, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtph_ps, _mm256_loadu_si256, _mm256_mul_ps, _mm256_or_si256, _mm256_set_m128i,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_epi64x, _mm256_set1_ps, _mm256_setr_epi8,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_srl_epi16, _mm256_storeu_si256, _mm256_sub_epi8, _mm256_sub_ps, _mm256_unpackhi_epi8,
    _mm256_unpackhi_epi16, _mm256_unpackhi_epi32, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
    _mm256_unpacklo_epi32,
};

use gratis_model::blocks::BlockType;

/// Rows whose sums are the lanes of a register.
pub(super) const LANES: usize = 8;
/// Numbers of a row that are unpacked at a time.
pub(super) const PART: usize = 32;
/// Parts of a k-quant.
const K_PARTS: usize = 256 / PART;

/// The blocks of some rows.
type Starts = [*const u8; LANES];
/// Integers of [`LANES`] rows. The halves of a register are transposed apart: number
/// `16 half + 2 pair + odd` of a part is at `[pair][half][odd]`.
pub(super) type Columns = [[[[i8; LANES]; 2]; 2]; 8];

/// Writes the integers of a part of some blocks.
///
/// # Safety
/// As those of [`Type`].
#[inline(always)]
pub(super) unsafe fn columns_of<T: Type>(columns: &mut Columns, blocks: &Starts, part: usize) {
    // SAFETY: as the caller says.
    unsafe {
        let mut rows = [_mm256_setzero_si256(); LANES];
        for (row, &block) in rows.iter_mut().zip(blocks) {
            *row = T::integers(block, part);
        }
        transpose(columns, &rows);
    }
}

/// A type of blocks.
///
/// # Safety of its functions, and of those of [`Scales`]
/// The processor has AVX2 and F16C, and blocks have all their bytes.
pub(super) trait Type {
    /// Bytes of a block.
    const N_BYTES: usize;
    /// Parts of a block.
    const N_PARTS: usize;

    type Scales: Scales;

    /// Integers of part `part` of a block.
    unsafe fn integers(block: *const u8, part: usize) -> __m256i;
}

/// What the integers of one block of each of [`LANES`] rows are multiplied by.
pub(super) trait Scales: Copy {
    /// Something to begin with.
    unsafe fn none() -> Self;
    unsafe fn of(blocks: &Starts) -> Self;
    /// The scale of half a part, and what is subtracted from the scaled integers.
    unsafe fn at(&self, part: usize, half: usize) -> (__m256, Option<__m256>);
}

/// Defines a type of blocks by its integers.
macro_rules! define {
    ($name:ident, $kind:ident, $scales:ty, |$block:ident, $part:pat_param| $integers:expr) => {
        pub(super) struct $name;

        impl Type for $name {
            const N_BYTES: usize = BlockType::$kind.n_bytes();
            const N_PARTS: usize = BlockType::$kind.n_values() / PART;

            type Scales = $scales;

            #[inline(always)]
            unsafe fn integers($block: *const u8, $part: usize) -> __m256i {
                // SAFETY: as the trait says.
                unsafe { $integers }
            }
        }
    };
}

define!(Q4_0, Q4_0, Scale, |block, _| minus(nibbles(block.add(2)), 8));
define!(Q4_1, Q4_1, ScaleAndMinimum, |block, _| nibbles(block.add(4)));
define!(Q5_0, Q5_0, Scale, |block, _| {
    minus(_mm256_or_si256(nibbles(block.add(6)), fifth_bits(block.add(2))), 16)
});
define!(Q5_1, Q5_1, ScaleAndMinimum, |block, _| {
    _mm256_or_si256(nibbles(block.add(8)), fifth_bits(block.add(4)))
});
define!(Q8_0, Q8_0, Scale, |block, _| _mm256_loadu_si256(block.add(2).cast()));
define!(Iq4Nl, IQ4_NL, Scale, |block, _| {
    let levels =
        _mm_setr_epi8(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), nibbles(block.add(2)))
});
define!(Q4K, Q4_K, SixBits, |block, part| {
    bits(block.add(16 + part / 2 * PART), part % 2 * 4, 0x0f)
});
define!(Q5K, Q5_K, SixBits, |block, part| {
    let low = bits(block.add(48 + part / 2 * PART), part % 2 * 4, 0x0f);
    _mm256_or_si256(low, _mm256_slli_epi16::<4>(bits(block.add(16), part, 1)))
});
define!(Q6K, Q6_K, EightBits, |block, part| {
    let (half, quarter) = (part / 4, part % 4);
    let low = bits(block.add(half * 64 + quarter % 2 * PART), quarter / 2 * 4, 0x0f);
    let top = bits(block.add(128 + half * PART), quarter * 2, 3);
    minus(_mm256_or_si256(low, _mm256_slli_epi16::<4>(top)), 32)
});

/// One scale, in the first bytes of a block.
#[derive(Clone, Copy)]
pub(super) struct Scale(__m256);

impl Scales for Scale {
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: as the trait says, here and in all that follow.
        Self(unsafe { _mm256_setzero_ps() })
    }

    #[inline(always)]
    unsafe fn of(blocks: &Starts) -> Self {
        // SAFETY: as above.
        Self(unsafe { halves(blocks, 0) })
    }

    #[inline(always)]
    unsafe fn at(&self, _: usize, _: usize) -> (__m256, Option<__m256>) {
        (self.0, None)
    }
}

/// One scale and, after it, one number that is added.
#[derive(Clone, Copy)]
pub(super) struct ScaleAndMinimum(__m256, __m256);

impl Scales for ScaleAndMinimum {
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: as above.
        unsafe { Self(_mm256_setzero_ps(), _mm256_setzero_ps()) }
    }

    #[inline(always)]
    unsafe fn of(blocks: &Starts) -> Self {
        // SAFETY: as above.
        unsafe {
            let negative = _mm256_sub_ps(_mm256_set1_ps(-0.0), halves(blocks, 2));
            Self(halves(blocks, 0), negative)
        }
    }

    #[inline(always)]
    unsafe fn at(&self, _: usize, _: usize) -> (__m256, Option<__m256>) {
        (self.0, Some(self.1))
    }
}

/// A scale and a minimum per part: the halves at 0 and 2 times numbers of six bits.
#[derive(Clone, Copy)]
pub(super) struct SixBits([[__m256; 2]; K_PARTS]);

impl Scales for SixBits {
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: as above.
        Self([[unsafe { _mm256_setzero_ps() }; 2]; K_PARTS])
    }

    #[inline(always)]
    unsafe fn of(blocks: &Starts) -> Self {
        const SIX: u32 = 0x3f3f_3f3f;
        const FOUR: u32 = 0x0f0f_0f0f;
        const TWO: u32 = 0x0303_0303;
        let both = |first: u32, second: u32| u64::from(second) << 32 | u64::from(first);
        // SAFETY: as above.
        unsafe {
            let mut rows = [_mm256_setzero_si256(); LANES];
            for (row, block) in rows.iter_mut().zip(blocks) {
                let [a, b, c] = block.add(4).cast::<[u32; 3]>().read_unaligned();
                let scales = both(a & SIX, c & FOUR | (a >> 6 & TWO) << 4);
                let minima = both(b & SIX, c >> 4 & FOUR | (b >> 6 & TWO) << 4);
                let both = _mm_set_epi64x(minima.cast_signed(), scales.cast_signed());
                *row = _mm256_castsi128_si256(both);
            }
            let mut columns = [[[[0; _]; _]; _]; _];
            transpose(&mut columns, &rows);
            let (d, m) = (halves(blocks, 0), halves(blocks, 2));
            let mut scales = Self::none();
            for (part, scales) in scales.0.iter_mut().enumerate() {
                let column = |first: usize| numbers(&columns[first + part / 2][0][part % 2]);
                *scales = [_mm256_mul_ps(d, column(0)), _mm256_mul_ps(m, column(4))];
            }
            scales
        }
    }

    #[inline(always)]
    unsafe fn at(&self, part: usize, _: usize) -> (__m256, Option<__m256>) {
        let [scale, minimum] = self.0[part];
        (scale, Some(minimum))
    }
}

/// A scale per half of a part: the half at 208 times integers of eight bits.
#[derive(Clone, Copy)]
pub(super) struct EightBits([[__m256; 2]; K_PARTS]);

impl Scales for EightBits {
    #[inline(always)]
    unsafe fn none() -> Self {
        // SAFETY: as above.
        Self([[unsafe { _mm256_setzero_ps() }; 2]; K_PARTS])
    }

    #[inline(always)]
    unsafe fn of(blocks: &Starts) -> Self {
        // SAFETY: as above.
        unsafe {
            let mut rows = [_mm256_setzero_si256(); LANES];
            for (row, block) in rows.iter_mut().zip(blocks) {
                *row = _mm256_castsi128_si256(_mm_loadu_si128(block.add(192).cast()));
            }
            let mut columns = [[[[0; _]; _]; _]; _];
            transpose(&mut columns, &rows);
            let d = halves(blocks, 208);
            let mut scales = Self::none();
            for (scales, columns) in scales.0.iter_mut().zip(&columns) {
                for (scale, column) in scales.iter_mut().zip(&columns[0]) {
                    *scale = _mm256_mul_ps(d, numbers(column));
                }
            }
            scales
        }
    }

    #[inline(always)]
    unsafe fn at(&self, part: usize, half: usize) -> (__m256, Option<__m256>) {
        (self.0[part][half], None)
    }
}

/// Integers of some rows as numbers.
#[inline(always)]
unsafe fn numbers(column: &[i8; LANES]) -> __m256 {
    // SAFETY: the caller has the instructions, here and in all that follow.
    unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(column.as_ptr().cast()))) }
}

/// The half-precision numbers at byte `at` of blocks.
#[inline(always)]
unsafe fn halves(blocks: &Starts, at: usize) -> __m256 {
    // SAFETY: the blocks have all their bytes.
    unsafe {
        let mut halves = [0; LANES];
        for (half, block) in halves.iter_mut().zip(blocks) {
            *half = block.add(at).cast::<i16>().read_unaligned();
        }
        let [a, b, c, d, e, f, g, h] = halves;
        _mm256_cvtph_ps(_mm_set_epi16(h, g, f, e, d, c, b, a))
    }
}

/// The low four bits of 16 bytes, then the high four.
#[inline(always)]
unsafe fn nibbles(from: *const u8) -> __m256i {
    // SAFETY: the block has these bytes.
    unsafe {
        let both = _mm_loadu_si128(from.cast());
        let both = _mm256_set_m128i(_mm_srli_epi16::<4>(both), both);
        _mm256_and_si256(both, _mm256_set1_epi8(0x0f))
    }
}

/// `mask` of each of 32 bytes from bit `shift` on.
#[inline(always)]
unsafe fn bits(from: *const u8, shift: usize, mask: i8) -> __m256i {
    // SAFETY: the block has these bytes.
    unsafe {
        let shifted =
            _mm256_srl_epi16(_mm256_loadu_si256(from.cast()), _mm_cvtsi32_si128(shift as i32));
        _mm256_and_si256(shifted, _mm256_set1_epi8(mask))
    }
}

/// Bit `i` of four bytes as 16 in byte `i`.
#[inline(always)]
unsafe fn fifth_bits(from: *const u8) -> __m256i {
    // SAFETY: the block has these bytes.
    unsafe {
        let all = _mm256_set1_epi32(from.cast::<i32>().read_unaligned());
        let byte_of = _mm256_setr_epi8(
            0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3,
            3, 3, 3,
        );
        let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64.cast_signed());
        let own = _mm256_and_si256(_mm256_shuffle_epi8(all, byte_of), bit);
        _mm256_and_si256(_mm256_cmpeq_epi8(own, bit), _mm256_set1_epi8(16))
    }
}

#[inline(always)]
unsafe fn minus(integers: __m256i, subtracted: i8) -> __m256i {
    // SAFETY: as above.
    unsafe { _mm256_sub_epi8(integers, _mm256_set1_epi8(subtracted)) }
}

/// Writes rows of [`PART`] bytes as columns.
#[inline(always)]
unsafe fn transpose(columns: &mut Columns, rows: &[__m256i; LANES]) {
    // SAFETY: `columns` has room for eight registers.
    unsafe {
        let (mut pairs, mut fours) = (*rows, *rows);
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_epi8(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_epi8(rows[2 * i], rows[2 * i + 1]);
        }
        for i in 0..2 {
            for j in 0..2 {
                let (a, b) = (pairs[4 * i + j], pairs[4 * i + 2 + j]);
                fours[4 * i + 2 * j] = _mm256_unpacklo_epi16(a, b);
                fours[4 * i + 2 * j + 1] = _mm256_unpackhi_epi16(a, b);
            }
        }
        let to: *mut __m256i = columns.as_mut_ptr().cast();
        for i in 0..4 {
            let (a, b) = (fours[i], fours[4 + i]);
            _mm256_storeu_si256(to.add(2 * i), _mm256_unpacklo_epi32(a, b));
            _mm256_storeu_si256(to.add(2 * i + 1), _mm256_unpackhi_epi32(a, b));
        }
    }
}
