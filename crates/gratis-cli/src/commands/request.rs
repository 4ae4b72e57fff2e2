//! The size of a request for samples: reported before it starts, and rejected if it cannot fit.

use anyhow::Result;
use clap::Args;
use tracing::info;

use crate::failure::CliError;
use crate::usage;

/// Memory per sampled token until its chunk is written: id, log-probability, text.
const BYTES_PER_TOKEN: u128 = 16;
/// Bytes of text per token, for the size of the output.
const TEXT_BYTES_PER_TOKEN: u128 = 4;
/// More tokens than a machine samples in three years at 10,000 per second.
const MAX_TOKENS: u128 = 1_000_000_000_000;
/// Assumed if the system does not report free memory: 64 GiB.
const ASSUMED_MEMORY: u128 = 64 << 30;

/// Whether a request beyond the limits is allowed.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct RequestArgs {
    /// Sample even if the request could exceed the free memory or 10^12 tokens.
    #[arg(long)]
    allow_large: bool,
}

/// A request for samples.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// The kind of prompt: `problems`, `step prefixes`.
    pub(crate) of: &'static str,
    /// Number of prompts.
    pub(crate) n_prompts: usize,
    /// Prompts in memory at once.
    pub(crate) n_at_once: usize,
    /// Samples per prompt.
    pub(crate) n_samples: usize,
    /// Maximum sample length in tokens.
    pub(crate) max_tokens: usize,
    /// The flag that sets the number of samples.
    pub(crate) flag: &'static str,
}

impl RequestArgs {
    /// Logs the size of the request.
    ///
    /// # Errors
    /// [`CliError::TooLarge`] for a request that cannot fit, unless large requests are allowed.
    pub(crate) fn check(self, request: &Request) -> Result<()> {
        let Request { of, n_prompts, n_at_once, n_samples, max_tokens, flag } = *request;
        // The product of two 64-bit numbers fits into 128 bits; a third factor may overflow.
        let times =
            |a: usize, b: usize, c: usize| (a as u128 * b as u128).saturating_mul(c as u128);
        let n_tokens = times(n_prompts, n_samples, max_tokens);
        let amount = format!(
            "{n_prompts} {of} x {n_samples} samples of up to {max_tokens} tokens: at most {} \
             tokens, \
             {} of text",
            grouped(n_tokens),
            bytes(n_tokens.saturating_mul(TEXT_BYTES_PER_TOKEN)),
        );
        let memory =
            times(n_at_once.min(n_prompts), n_samples, max_tokens).saturating_mul(BYTES_PER_TOKEN);
        let free = usage::free_memory_bytes().map_or(ASSUMED_MEMORY, u128::from);
        let too_large = if memory > free {
            Some(format!(
                "a chunk of {n_at_once} could take {}, and {} are free",
                bytes(memory),
                bytes(free)
            ))
        } else if n_tokens > MAX_TOKENS {
            Some(format!("the limit is {} tokens", grouped(MAX_TOKENS)))
        } else {
            None
        };
        match too_large {
            Some(limit) if !self.allow_large => {
                Err(CliError::TooLarge { amount, limit, flag }.into())
            }
            _ => {
                info!("{amount}");
                Ok(())
            }
        }
    }
}

/// A number with its digits in groups of three.
fn grouped(n: u128) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes in the largest unit that it fills.
fn bytes(n: u128) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let (mut value, mut unit) = (n as f64, 0);
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request = Request {
        of: "problems",
        n_prompts: 40,
        n_at_once: 32,
        n_samples: 8,
        max_tokens: 512,
        flag: "--samples",
    };

    #[test]
    fn a_request_that_cannot_fit_is_refused_with_its_size() {
        RequestArgs::default().check(&REQUEST).expect("small");
        let huge = Request { n_samples: 1 << 32, ..REQUEST };
        let error = RequestArgs::default().check(&huge).expect_err("huge").to_string();
        assert!(error.contains("40 problems x 4294967296 samples of up to 512 tokens"), "{error}");
        assert!(error.contains("87,960,930,222,080 tokens, 320.0 TiB of text"), "{error}");
        assert!(error.contains("a chunk of 32 could take 1.0 PiB"), "{error}");
        let long = Request { n_prompts: 1 << 40, n_at_once: 1, ..REQUEST };
        let error = RequestArgs::default().check(&long).expect_err("long").to_string();
        assert!(error.contains("the limit is 1,000,000,000,000 tokens"), "{error}");
        RequestArgs { allow_large: true }.check(&huge).expect("let through");
        let most = usize::MAX;
        let most = Request { n_prompts: most, n_samples: most, max_tokens: 1, ..REQUEST };
        RequestArgs::default().check(&most).expect_err("no overflow");
    }
}
