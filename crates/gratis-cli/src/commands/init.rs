//! `gratis init`: a new model from a size and a tokenizer.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use gratis::Error;
use gratis::data::{OnInvalid, RecordReader};
use gratis::reward_model::Model;
use gratis::training::LanguageExample;
use gratis_model::atomic::Published;
use gratis_model::config::{Head, ModelConfig};
use gratis_model::{SpecialTokens, Tokenizer};
use tracing::info;

use super::{read_records, refuse_file_name};
use crate::failure::CliError;

/// Create a new model with random weights.
///
/// The tokenizer is copied from another model, or a byte-level BPE trained on a corpus.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis init --preset small --train-tokenizer corpus.jsonl --vocab 4096 my-model
  gratis init --preset tiny --tokenizer other-model my-model

Presets (width, layers, heads, feed-forward; a tied head):
  nano   64, 2, 4, 160
  tiny   128, 4, 4, 384
  mini   192, 5, 6, 512
  small  256, 6, 4, 688
  base   512, 8, 8, 1376")]
pub(crate) struct InitArgs {
    /// Folder of the new model.
    #[arg(value_name = "FOLDER")]
    output: PathBuf,
    /// Size of the model.
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    /// Use the tokenizer of this model folder.
    #[arg(long, value_name = "FOLDER", required_unless_present = "train_tokenizer")]
    tokenizer: Option<PathBuf>,
    /// Train a tokenizer on the texts, prompts and completions of this file.
    #[arg(long, value_name = "FILE", conflicts_with = "tokenizer")]
    train_tokenizer: Option<PathBuf>,
    /// Vocabulary size of a trained tokenizer.
    #[arg(long, default_value_t = 4096)]
    vocab: usize,
    /// Maximum sequence length in tokens.
    #[arg(long, default_value_t = 1024)]
    context_length: usize,
    /// Seed of the weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    Nano,
    Tiny,
    Mini,
    Small,
    Base,
}

impl Preset {
    /// Width, layers, heads, width of the feed-forward.
    fn shape(self) -> (usize, usize, usize, usize) {
        match self {
            Self::Nano => (64, 2, 4, 160),
            Self::Tiny => (128, 4, 4, 384),
            Self::Mini => (192, 5, 6, 512),
            Self::Small => (256, 6, 4, 688),
            Self::Base => (512, 8, 8, 1376),
        }
    }
}

/// Longest context of a new model; a `config.json` with a larger one is not read.
const MAX_CONTEXT: usize = 1 << 24;

pub(crate) fn run(args: &InitArgs) -> Result<()> {
    if !(1..=MAX_CONTEXT).contains(&args.context_length) {
        return Err(CliError::Mismatch {
            what: format!("`--context-length` is {}", args.context_length),
            hint: "it must be between 1 and 16777216 tokens",
        }
        .into());
    }
    refuse_file_name(&args.output)?;
    let tokenizer = match (&args.tokenizer, &args.train_tokenizer) {
        (Some(folder), _) => {
            gratis_model::links::check(folder)?;
            Tokenizer::load(folder)?
        }
        (None, Some(corpus)) => learn_tokenizer(corpus, args.vocab)?,
        (None, None) => {
            let hint = "give `--tokenizer FOLDER` or `--train-tokenizer FILE`".to_owned();
            return Err(CliError::Missing { field: "tokenizer", hint }.into());
        }
    };
    let (hidden_size, n_layers, n_heads, intermediate_size) = args.preset.shape();
    let config = ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size,
        intermediate_size,
        n_layers,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: hidden_size / n_heads,
        context_length: args.context_length,
        head: Head::Tied,
        bos_token: tokenizer.bos(),
        eos_tokens: tokenizer.eos().into_iter().collect(),
        ..ModelConfig::LLAMA
    };
    let (n_parameters, published) =
        Model::initialise(&args.output, config, &tokenizer, args.seed, 1)?;
    if published == Published::WasThere {
        info!("`{}` already contained the same model", args.output.display());
    }
    info!(
        "`{}`: {n_parameters} parameters, {} tokens",
        args.output.display(),
        tokenizer.vocab_size()
    );
    Ok(())
}

fn learn_tokenizer(path: &Path, vocab: usize) -> Result<Tokenizer> {
    let examples: Vec<LanguageExample> = read_records(RecordReader::open(path, OnInvalid::Stop)?)?;
    let texts: Vec<String> = examples
        .into_iter()
        .flat_map(|example| {
            let completions = example.completions.unwrap_or_default();
            example.text.into_iter().chain([example.prompt]).chain(completions)
        })
        .filter(|text| !text.is_empty())
        .collect();
    if texts.is_empty() {
        return Err(Error::NoExamples { purpose: "learn a tokenizer from", n_left_out: 0 }.into());
    }
    let special =
        SpecialTokens { pad: None, bos: Some("<s>".to_owned()), eos: Some("</s>".to_owned()) };
    Ok(Tokenizer::train_bpe(texts.into_iter(), vocab, &special)?)
}
