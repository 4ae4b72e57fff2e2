//! Heads of reward models on servers: what is asked for, and the check at the start.
//!
//! A server that pools may apply a softmax, average over the tokens, or give values at some tokens
//! only, and all of it is answered with success. So the values of known sequences are asked for with
//! and without the activation, alone and in a batch, before anything is scored: a value that is not the
//! head's own output at the token asked for is refused. SGLang has no switch for the activation, and its
//! classes may have a bias that the checkpoint lacks, so its values are compared with the head's tensors
//! where these are known.

use gratis_engine::Score as _;

use crate::address::Protocol;
use crate::answer::Sequence;
use crate::canary;
use crate::classify::{self, Bias, FromState, HeadFiles};
use crate::error::{Error, Result};
use crate::http::Client;
use crate::inference::InferenceEngine;
use crate::pooling::{Activation, Checked, Head, Pooled, Task};
use crate::settings::DataType;

/// Sequences that end differently, of the check of the pooling.
const N_ENDS: u32 = 6;
/// Tokens of such a sequence: the longer, the less one token changes an average.
const N_TOKENS: usize = 64;
/// Smallest share of the spread between unrelated sequences that the spread between sequences which
/// differ in their last token alone must have. Observed: 1.15 where the last token is read, 0.032 for an
/// average over the tokens.
const LEAST_SHARE: f64 = 0.3;

impl InferenceEngine {
    /// Checks every server's head on known sequences.
    pub(crate) fn check_head(&self, head: Head, files: &HeadFiles) -> Result<Checked> {
        let mut known: Option<(Checked, Pooled)> = None;
        for client in self.clients() {
            let (found, values) = match head {
                Head::Labels(labels) => {
                    self.check_labels(client)?;
                    (Checked::Labels(labels), Pooled { n_channels: 0, rows: Vec::new() })
                }
                Head::EachToken { .. } | Head::LastToken
                    if self.settings().protocol == Protocol::Sglang =>
                {
                    self.check_classified(client, head, files)?
                }
                Head::EachToken { tag } => self.check_pooled(client, &[Task::EachToken], tag)?,
                Head::LastToken => {
                    let found =
                        self.check_pooled(client, &[Task::LastToken, Task::EachToken], None)?;
                    if let Checked::Pooled { task: Task::LastToken, .. } = found.0 {
                        self.check_last_token(client)?;
                    }
                    found
                }
            };
            let (first, first_values) = known.get_or_insert_with(|| (found, values.clone()));
            if *first != found {
                let reason = format!("its head is {found:?}, that of the first server {first:?}");
                return Err(failed(client, reason));
            }
            for (row, first_row) in values.rows.iter().zip(&first_values.rows) {
                self.check_difference(client, "from that of the first server", row, first_row)?;
            }
        }
        known.map(|(found, _)| found).ok_or_else(|| Error::Setting {
            engine: self.settings().model.clone(),
            field: "url",
            reason: "no server is named".to_owned(),
        })
    }

    fn check_difference(&self, client: &Client, what: &str, a: &[f32], b: &[f32]) -> Result<()> {
        let difference = canary::difference(a, b);
        let tolerance = self.settings().tolerance();
        if difference > tolerance {
            let reason = format!(
                "the value of a token differs by {difference} {what}, and {tolerance} is accepted \
                 (`tolerance`)"
            );
            return Err(failed(client, reason));
        }
        Ok(())
    }

    /// How much the values of a server may differ by rounding.
    fn rounding(&self) -> f32 {
        match self.settings().dtype {
            // Observed on the fake server: below 1e-8.
            DataType::Float32 => 1e-3,
            _ => 0.05,
        }
    }

    /// The check of SGLang, whose values are those of the last token.
    fn check_classified(
        &self,
        client: &Client,
        head: Head,
        files: &HeadFiles,
    ) -> Result<(Checked, Pooled)> {
        let task = if head == Head::LastToken { Task::LastToken } else { Task::Prefix };
        let (n_vocab, n_context) = (self.describe().vocab_size, self.describe().context_length);
        let alone = [Sequence { n_context: 0, ..canary::alone(n_vocab, n_context) }];
        let ask = |sequences: &[Sequence]| {
            self.ask_pooled_once(client, sequences, task, None, Activation::Off)
        };
        let values = match ask(&alone) {
            Err(error @ Error::Refused { status: 400 | 404 | 405 | 501, .. }) => {
                return Err(Error::Unsupported {
                    server: client.name().to_owned(),
                    what: format!("give the values of a head: {error}"),
                });
            }
            values => values?,
        };
        let batch = canary::in_batch(n_vocab, n_context).into_iter();
        let batch: Vec<Sequence> =
            batch.map(|sequence| Sequence { n_context: 0, ..sequence }).collect();
        let batched = ask(&batch)?;
        let last = |row: &[f32], n_tokens: usize| -> Vec<f32> {
            row.chunks(n_tokens).filter_map(|channel| channel.last().copied()).collect()
        };
        let n_tokens = alone[0].tokens.len();
        let own = last(&values.rows[0], n_tokens);
        let beside = last(canary::of_batch(&batched.rows), n_tokens);
        self.check_difference(client, "alone and in a batch", &own, &beside)?;
        self.check_last_token(client)?;
        let (ends, others) = self.ends();
        let rounding = self.rounding();
        if ask(&ends)?.are_probabilities(rounding) && ask(&others)?.are_probabilities(rounding) {
            return Err(failed(
                client,
                "its values look like probabilities, the head gives logits".to_owned(),
            ));
        }
        self.check_tensors(client, &ends, files)?;
        let n_channels = values.n_channels;
        let values = Pooled { n_channels, rows: vec![own] };
        Ok((Checked::Pooled { task, tag: None, n_channels }, values))
    }

    /// Whether the values are those of the head's tensors, applied to the server's own states. Without
    /// tensors or states the class must be one whose head has a bias where the checkpoint has one.
    fn check_tensors(&self, client: &Client, ends: &[Sequence], files: &HeadFiles) -> Result<()> {
        if let Some(layers) = &files.layers {
            let states = match self.ask_again(client, || self.ask_states(client, ends)) {
                Err(Error::Refused { status: 400 | 404 | 405 | 422 | 501, .. }) => None,
                states => states?,
            };
            if let Some(states) = states {
                return self.check_states(client, layers, &states);
            }
        }
        let class = self.class_of(client)?;
        if class.as_deref().and_then(classify::bias_of) == Some(files.bias) {
            return Ok(());
        }
        let class = class.unwrap_or_else(|| "a class that it does not name".to_owned());
        let reason = match files.bias {
            Bias::Absent => {
                "SGLang gives heads of Qwen classes a bias of random values if the checkpoint has none; \
                 add a tensor `score.bias` of zeros to the served checkpoint"
            }
            Bias::Present => "SGLang may drop the bias of the checkpoint",
        };
        Err(failed(
            client,
            format!(
                "it runs `{class}`, and {reason}; put the file with the tensors of the head beside the \
                 tokenizer, so that the values can be compared with them"
            ),
        ))
    }

    fn check_states(
        &self,
        client: &Client,
        layers: &[gratis_model::Dense],
        states: &[FromState],
    ) -> Result<()> {
        for (found, state) in states {
            let Some(expected) = classify::outputs(layers, state) else {
                let n = state.len();
                let reason = format!("its states have {n} numbers, which the head does not take");
                return Err(failed(client, reason));
            };
            if found.len() != expected.len() {
                let (n, n_expected) = (found.len(), expected.len());
                let reason = format!("it gives {n} values per token, the head has {n_expected}");
                return Err(failed(client, reason));
            }
            for (found, expected) in found.iter().zip(&expected) {
                let (difference, scale) = ((found - expected).abs(), 1.0 + expected.abs());
                if difference > self.head_tolerance() * scale {
                    return Err(failed(
                        client,
                        format!(
                            "a value differs by {difference:.2e} from that of the head's tensors beside \
                             the tokenizer: SGLang gives the heads of Qwen classes a bias of random \
                             values if the checkpoint has none (add a tensor `score.bias` of zeros to \
                             the served checkpoint), or it serves another head"
                        ),
                    ));
                }
            }
        }
        Ok(())
    }

    /// How much a value may differ from that of the head's tensors, as a share of 1 + its size.
    fn head_tolerance(&self) -> f64 {
        match self.settings().dtype {
            // Observed in a recorded answer of SGLang 0.5.23: 3e-8.
            DataType::Float32 => 1e-4,
            _ => 0.01,
        }
    }

    /// The class that a server of SGLang runs, if it says so.
    fn class_of(&self, client: &Client) -> Result<Option<String>> {
        match self.pool().ask_first(client, classify::INFO_ROUTE, "the class of its model") {
            Ok(found) => Ok(found["architectures"][0].as_str().map(str::to_owned)),
            Err(Error::Refused { status: 404 | 405, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The values of the head with and without its activation, alone and in a batch.
    fn check_pooled(
        &self,
        client: &Client,
        tasks: &[Task],
        tag: Option<u32>,
    ) -> Result<(Checked, Pooled)> {
        let (n_vocab, n_context) = (self.describe().vocab_size, self.describe().context_length);
        let alone = [tagged(canary::alone(n_vocab, n_context), tag)];
        let mut refusal = None;
        let mut found = None;
        for &task in tasks {
            match self.ask_pooled_once(client, &alone, task, tag, Activation::Off) {
                Ok(raw) => {
                    found = Some((task, raw));
                    break;
                }
                Err(error @ Error::Refused { status: 400 | 404 | 405 | 501, .. }) => {
                    refusal.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let Some((task, raw)) = found else {
            let reason = refusal.map(|error| error.to_string()).unwrap_or_default();
            return Err(Error::Unsupported {
                server: client.name().to_owned(),
                what: format!("give the values of a head per token: {reason}"),
            });
        };
        let n_channels = raw.n_channels;
        let activated = self.ask_pooled_once(client, &alone, task, tag, Activation::On)?;
        raw.check_activation(&activated, self.rounding())
            .map_err(|reason| failed(client, reason))?;
        let batch = canary::in_batch(n_vocab, n_context).into_iter();
        let batch: Vec<Sequence> = batch.map(|sequence| tagged(sequence, tag)).collect();
        let batched = self.ask_pooled_once(client, &batch, task, tag, Activation::Off)?;
        let beside = canary::of_batch(&batched.rows);
        self.check_difference(client, "alone and in a batch", &raw.rows[0], beside)?;
        Ok((Checked::Pooled { task, tag, n_channels }, raw))
    }

    /// Sequences that differ in their last token alone, and unrelated ones.
    fn ends(&self) -> (Vec<Sequence>, Vec<Sequence>) {
        let n = N_TOKENS.min(self.describe().context_length);
        canary::ends(n, N_ENDS, self.describe().vocab_size)
    }

    /// Whether one value per sequence is that of its last token, not of the first or an average.
    fn check_last_token(&self, client: &Client) -> Result<()> {
        let (own, other) = self.ends();
        let ask = |sequences: &[Sequence]| -> Result<Vec<f64>> {
            let task = Task::LastToken;
            let values = self.ask_pooled_once(client, sequences, task, None, Activation::Off)?;
            Ok(values.rows.iter().filter_map(|row| row.last().copied().map(f64::from)).collect())
        };
        let (of_ends, of_others) = (spread(&ask(&own)?), spread(&ask(&other)?));
        if of_ends < LEAST_SHARE * of_others || of_ends == 0.0 {
            return Err(failed(
                client,
                format!(
                    "the value of a sequence hardly depends on its last token (a spread of \
                     {of_ends:.2e}, {of_others:.2e} between other sequences), so it is an average or \
                     that of another token{}",
                    match self.settings().protocol {
                        Protocol::Vllm => {
                            "; start the server with `--pooler-config '{\"task\":\"token_classify\"}'` to \
                             read the last token itself"
                        }
                        _ => "",
                    }
                ),
            ));
        }
        Ok(())
    }

    /// The log-probability of a label by both ways in which it is asked for.
    fn check_labels(&self, client: &Client) -> Result<()> {
        self.check_scores()?;
        let alone = canary::alone(self.describe().vocab_size, self.describe().context_length);
        let n = alone.tokens.len();
        if n < 2 {
            return Ok(());
        }
        let last = [Sequence { n_context: n - 1, tokens: alone.tokens }];
        let scored = self.ask_again(client, || self.ask_scores(client, &last))?.concat();
        let chosen = self.ask_again(client, || self.ask_labels(client, &last))?;
        let difference = canary::difference(&scored, &chosen);
        let tolerance = self.settings().tolerance();
        if difference > tolerance {
            return Err(failed(
                client,
                format!(
                    "the log-probability of a token differs by {difference} as a part of the prompt and \
                     as the only token allowed, and {tolerance} is accepted (`tolerance`): its \
                     log-probabilities are not those of the whole softmax (`--logprobs-mode`)"
                ),
            ));
        }
        Ok(())
    }

    fn ask_pooled_once(
        &self,
        client: &Client,
        sequences: &[Sequence],
        task: Task,
        tag: Option<u32>,
        activation: Activation,
    ) -> Result<Pooled> {
        self.ask_again(client, || self.ask_pooled(client, sequences, task, tag, activation))
    }
}

fn failed(client: &Client, reason: String) -> Error {
    Error::Head { server: client.name().to_owned(), reason }
}

/// The sequence with the tag at some of its tokens, the last included.
fn tagged(mut sequence: Sequence, tag: Option<u32>) -> Sequence {
    if let Some(tag) = tag {
        let n = sequence.tokens.len();
        for at in (0..n).filter(|at| at % 5 == 3 || at + 1 == n) {
            sequence.tokens[at] = tag;
        }
    }
    Sequence { n_context: 0, ..sequence }
}

/// The standard deviation.
fn spread(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt()
}
