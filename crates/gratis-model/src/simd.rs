//! Run-time choice of vector instructions for loops over numbers.
//!
//! A crate built for plain x86-64 may only use SSE2. [`vectorised!`](crate::vectorised) compiles a
//! function once more for each wider instruction set and calls the widest that the processor has.
//! What is called inside must be `#[inline(always)]`, so that it is compiled with its caller's
//! instructions.

/// Defines a function whose body is compiled for several instruction sets.
#[doc(hidden)]
#[macro_export]
macro_rules! vectorised {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $value:ty)? $body:block
    ) => {
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $value)? {
            #[inline(always)]
            fn plain($($argument: $type),*) $(-> $value)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn with_avx512($($argument: $type),*) $(-> $value)? {
                    plain($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn with_avx2($($argument: $type),*) $(-> $value)? {
                    plain($($argument),*)
                }
                use $crate::simd::Instructions;
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
            plain($($argument),*)
        }
    };
}
/// Instruction sets that loops are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512 F, BW, DQ and VL, beside AVX2 and FMA.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
    /// What every processor of the architecture has.
    Baseline,
}

#[cfg(target_arch = "x86_64")]
impl Instructions {
    /// The widest that this processor has; the standard library remembers the answer. Compiled with
    /// `--cfg gratis_widest="avx2"` (or `"baseline"`), nothing wider is used: to test and to measure what
    /// another processor would do.
    #[inline]
    pub fn of_this_processor() -> Self {
        let has_avx2 = !cfg!(gratis_widest = "baseline")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma");
        let has_avx512 = has_avx2
            && !cfg!(gratis_widest = "avx2")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if has_avx512 {
            Self::Avx512
        } else if has_avx2 {
            Self::Avx2
        } else {
            Self::Baseline
        }
    }
}

/// Asks for the cache line of an address, which need not be valid.
#[inline]
#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "asks for nothing"))]
pub(crate) fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, and every processor of the architecture has it.
    #[expect(unsafe_code, reason = "takes a pointer")]
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
}
