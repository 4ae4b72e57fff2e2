//! Jobs whose instructions `bench/instructions.sh` counts: the main kernels and one whole job.
//!
//! `instructions <job> <n>` sets a job up and runs it `n` times. The difference of the counts of two
//! `n` is what the job takes, without start and set-up. All numbers are fixed, one thread works.
//! Without arguments the names of the jobs are printed.

#![expect(clippy::print_stdout, reason = "it prints the names of its jobs")]

use anyhow::{Context as _, Result, bail};
use gratis::Candidates;
use gratis::selection::{Method, Subsets, VoteWeight};
use gratis_cpu::{Initialisation, NativeEngine, NativeOptions};
use gratis_engine::{
    Generate as _, PackedBatch, SampleRequest, SamplingSettings, Score as _, TokenValues,
    Train as _,
};
use gratis_grading::{Options, grade};
use gratis_model::ModelConfig;

/// A job, ready to run.
type Job = Box<dyn FnMut() -> Result<()>>;

/// Makes a job ready.
type Prepare = fn() -> Result<Job>;

/// The jobs with what makes them ready.
const JOBS: [(&str, Prepare); 8] = [
    ("matmul", matmul),
    ("attention-forward", || attention(Direction::Forward)),
    ("attention-backward", || attention(Direction::Both)),
    ("head", head),
    ("decode", decode),
    ("grade", grade_answers),
    ("select", select),
    ("score-tiny", score_tiny),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Both,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [] => JOBS.iter().for_each(|(name, _)| println!("{name}")),
        [name, n] => {
            let (_, prepare) = JOBS.iter().find(|(job, _)| job == name).context("no such job")?;
            let mut job = prepare()?;
            for _ in 0..n.parse::<usize>().context("a number of runs")? {
                job()?;
            }
        }
        _ => bail!("usage: instructions [<job> <n>]"),
    }
    Ok(())
}

/// A small model: one layer of a head of 64 unless changed.
fn small() -> ModelConfig {
    ModelConfig {
        vocab_size: 64,
        hidden_size: 64,
        intermediate_size: 64,
        n_layers: 1,
        n_heads: 1,
        n_kv_heads: 1,
        head_dim: 64,
        context_length: 4096,
        ..ModelConfig::LLAMA
    }
}

fn engine(config: ModelConfig) -> Result<NativeEngine> {
    let options = NativeOptions::default();
    Ok(NativeEngine::initialise(config, Initialisation::default(), 1, options)?)
}

/// `n` fixed tokens below `vocabulary`.
fn tokens(n: usize, vocabulary: usize, seed: u32) -> Vec<u32> {
    let token = |i: u32| (i + 7919 * seed).wrapping_mul(2_654_435_761) >> 16;
    (0..n as u32).map(|i| token(i) % vocabulary as u32).collect()
}

fn batch(vocabulary: usize, n_prompt: usize, lengths: &[usize]) -> Result<PackedBatch> {
    let prompt = tokens(n_prompt, vocabulary, 0);
    let responses: Vec<Vec<u32>> =
        lengths.iter().zip(1..).map(|(&n, seed)| tokens(n, vocabulary, seed)).collect();
    Ok(PackedBatch::from_groups([(&prompt[..], responses.iter().map(Vec::as_slice))])?)
}

fn scoring(config: ModelConfig, n_prompt: usize, lengths: &[usize]) -> Result<Job> {
    let batch = batch(config.vocab_size, n_prompt, lengths)?;
    let engine = engine(config)?;
    Ok(Box::new(move || {
        std::hint::black_box(engine.log_probs(std::slice::from_ref(&batch))?);
        Ok(())
    }))
}

/// A wide layer on few tokens: products with weights are nearly everything.
fn matmul() -> Result<Job> {
    let config = ModelConfig {
        hidden_size: 256,
        intermediate_size: 688,
        n_heads: 4,
        n_kv_heads: 4,
        ..small()
    };
    scoring(config, 8, &[56])
}

/// A narrow layer on many tokens: attention is nearly everything.
fn attention(direction: Direction) -> Result<Job> {
    if direction == Direction::Forward {
        return scoring(small(), 256, &[256]);
    }
    let batch = batch(small().vocab_size, 256, &[256])?;
    let mut engine = engine(small())?;
    Ok(Box::new(move || {
        let mut weigh = |_, log_probs: &TokenValues| {
            let mut weights = log_probs.zeros_like();
            weights.values_mut().fill(-1e-3);
            Ok(weights)
        };
        engine.forward_backward(std::slice::from_ref(&batch), &mut weigh)?;
        Ok(())
    }))
}

/// A large vocabulary.
fn head() -> Result<Job> {
    scoring(ModelConfig { vocab_size: 8192, ..small() }, 4, &[32])
}

/// Sixteen samples of a prompt, step by step.
fn decode() -> Result<Job> {
    let config =
        ModelConfig { n_layers: 2, hidden_size: 128, n_heads: 2, n_kv_heads: 2, ..small() };
    let engine = engine(config)?;
    let settings = SamplingSettings {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        max_new_tokens: 8,
        stop_tokens: Vec::new(),
        seed: 1,
    };
    let request = SampleRequest {
        prompt: tokens(32, small().vocab_size, 0),
        key: 0,
        first_sample: 0,
        n_samples: 16,
    };
    Ok(Box::new(move || {
        engine.sample_all(std::slice::from_ref(&request), &settings)?;
        Ok(())
    }))
}

/// Solutions with their gold answers.
#[expect(clippy::unnecessary_wraps, reason = "every job is made ready by a function of one type")]
fn grade_answers() -> Result<Job> {
    const CASES: [(&str, &str); 6] = [
        (r"\dfrac{1}{2}", r"So it is $\boxed{\frac{1}{2}}$."),
        ("18", "She makes 9 * 2 = 18 dollars.\n#### 18"),
        (r"x^2+2x+1", r"Therefore \boxed{(x+1)^2}"),
        (r"[2,5)", r"The answer is $[2, 5)$."),
        ("5 m", r"It is \boxed{500 \text{ cm}}"),
        (
            r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}",
            r"\boxed{\begin{pmatrix}1&2\\3&4\end{pmatrix}}",
        ),
    ];
    Ok(Box::new(|| {
        for (gold, solution) in CASES {
            std::hint::black_box(grade(gold, solution, &Options::default()));
        }
        Ok(())
    }))
}

/// The curve of a weighted vote and of best-of-n over all subsets.
#[expect(clippy::unnecessary_wraps, reason = "every job is made ready by a function of one type")]
fn select() -> Result<Job> {
    let numbers = tokens(64, 1000, 3);
    let scores: Vec<f64> = numbers.iter().map(|&n| f64::from(n) / 1000.0).collect();
    let answers: Vec<usize> = numbers.iter().map(|&n| n as usize % 9).collect();
    let correct: Vec<bool> = answers.iter().map(|&answer| answer == 3).collect();
    let vote = Method::WeightedVote { weight: VoteWeight::Exponential { temperature: 0.1 } };
    Ok(Box::new(move || {
        let candidates = Candidates { scores: &scores, answers: &answers, correct: &correct };
        let subsets = Subsets::Unbiased { n_samples: 64, seed: 1 };
        for n in [1, 4, 16, 64] {
            for method in [Method::BestOfN, vote] {
                std::hint::black_box(candidates.accuracy(method, n, subsets)?);
            }
        }
        Ok(())
    }))
}

/// Scoring four candidates with a model of the tiny world's size.
fn score_tiny() -> Result<Job> {
    let config = ModelConfig {
        vocab_size: 69,
        intermediate_size: 160,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 4,
        head_dim: 16,
        ..small()
    };
    scoring(config, 18, &[34, 30, 38, 26])
}
