//! Heads of reward models on servers: what is asked for, and the check at the start.
//!
//! A server that pools may apply a softmax, average over the tokens, or give values at some tokens
//! only, and all of it is answered with success. So the values of known sequences are asked for with
//! and without the activation, alone and in a batch, before anything is scored: a value that is not the
//! head's own output at the token asked for is refused.

use gratis_engine::Score as _;

use crate::answer::Sequence;
use crate::canary;
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
    pub(crate) fn check_head(&self, head: Head) -> Result<Checked> {
        let mut known: Option<Checked> = None;
        for client in self.clients() {
            let found = match head {
                Head::EachToken { tag } => self.check_pooled(client, &[Task::EachToken], tag)?,
                Head::LastToken => {
                    let found =
                        self.check_pooled(client, &[Task::LastToken, Task::EachToken], None)?;
                    if let Checked::Pooled { task: Task::LastToken, .. } = found {
                        self.check_last_token(client)?;
                    }
                    found
                }
                Head::Labels(labels) => {
                    self.check_labels(client)?;
                    Checked::Labels(labels)
                }
            };
            if *known.get_or_insert(found) != found {
                let reason = format!("its head is {found:?}, that of the first server {known:?}");
                return Err(failed(client, reason));
            }
        }
        known.ok_or_else(|| Error::Setting {
            engine: self.settings().model.clone(),
            field: "url",
            reason: "no server is named".to_owned(),
        })
    }

    /// The values of the head with and without its activation, alone and in a batch.
    fn check_pooled(&self, client: &Client, tasks: &[Task], tag: Option<u32>) -> Result<Checked> {
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
        let numeric = match self.settings().dtype {
            // Observed on the fake server: below 1e-8.
            DataType::Float32 => 1e-3,
            _ => 0.05,
        };
        raw.check_activation(&activated, numeric).map_err(|reason| failed(client, reason))?;
        let batch = canary::in_batch(n_vocab, n_context).into_iter();
        let batch: Vec<Sequence> = batch.map(|sequence| tagged(sequence, tag)).collect();
        let batched = self.ask_pooled_once(client, &batch, task, tag, Activation::Off)?;
        let difference = canary::difference(&raw.rows[0], canary::of_batch(&batched.rows));
        let tolerance = self.settings().tolerance();
        if difference > tolerance {
            return Err(failed(
                client,
                format!(
                    "the value of a token differs by {difference} alone and in a batch, and \
                     {tolerance} is accepted (`tolerance`)"
                ),
            ));
        }
        Ok(Checked::Pooled { task, tag, n_channels })
    }

    /// Whether one value per sequence is that of its last token, not of the first or an average.
    fn check_last_token(&self, client: &Client) -> Result<()> {
        let n = N_TOKENS.min(self.describe().context_length);
        let (own, other) = canary::ends(n, N_ENDS, self.describe().vocab_size);
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
                     that of another token; start the server with `--pooler-config \
                     '{{\"task\":\"token_classify\"}}'` to read the last token itself"
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
    Error::Canary { server: client.name().to_owned(), reason }
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
