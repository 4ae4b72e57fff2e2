//! The paper's run on inference and training servers: tokens, requests, bytes on the wire, time, price,
//! and what limits each job, from explicit assumptions.
//!
//! An estimate: the counts follow from the sizes, and the rates are assumptions to replace with
//! measured ones.

use clap::Args;
use gratis::Error;
use serde::Serialize;

/// Bytes of JSON per token of a prompt that is sent.
const BYTES_PER_TOKEN_SENT: f64 = 5.0;
/// Bytes per request beside its tokens: the settings of a sampling request.
const BYTES_PER_SAMPLE_SENT: f64 = 300.0;
/// Bytes of JSON per sampled token that is received, with its log-probability.
const BYTES_PER_TOKEN_SAMPLED: f64 = 100.0;
/// Bytes of JSON per token of a prompt that is received with its log-probability (vLLM).
const BYTES_PER_TOKEN_SCORED: f64 = 71.0;
/// Bytes per token of a forward and of a backward pass that are sent to a training server: ids and
/// targets; weights and log-probabilities too.
const BYTES_PER_TOKEN_TRAINED: [f64; 2] = [12.0, 24.0];
/// Bytes per token that a training server answers to both passes together.
const BYTES_PER_TOKEN_FROM_TRAINING: f64 = 16.0;
/// Requests per optimizer step of a training server: forward, backward, step.
const REQUESTS_PER_STEP: f64 = 3.0;
/// Floating-point operations per parameter and token of two forward passes and a backward pass.
const PASSES_OF_TRAINING: f64 = 2.0 + 2.0 + 4.0;

/// Sizes and rates; the defaults are those of `docs/scale.md`.
#[derive(Debug, Clone, Copy, PartialEq, Args, Serialize)]
#[command(next_help_heading = "Sizes and rates of --servers")]
pub(crate) struct ServerPlan {
    /// Instructions of the training data.
    #[arg(long = "instructions", value_name = "N", default_value_t = Self::default().n_instructions)]
    n_instructions: f64,
    /// Responses per instruction.
    #[arg(long = "responses", value_name = "N", default_value_t = Self::default().n_responses)]
    n_responses: f64,
    /// Problems of the best-of-n evaluation.
    #[arg(long = "problems", value_name = "N", default_value_t = Self::default().n_problems)]
    n_problems: f64,
    /// Candidates per problem.
    #[arg(long = "candidates", value_name = "N", default_value_t = Self::default().n_candidates)]
    n_candidates: f64,
    /// Tokens of a prompt.
    #[arg(long, value_name = "N", default_value_t = Self::default().prompt_tokens)]
    prompt_tokens: f64,
    /// Tokens of a response.
    #[arg(long, value_name = "N", default_value_t = Self::default().response_tokens)]
    response_tokens: f64,
    /// Parameters of each model.
    #[arg(long = "parameters", value_name = "N", default_value_t = Self::default().n_parameters)]
    n_parameters: f64,
    /// GPUs.
    #[arg(long = "gpus", value_name = "N", default_value_t = Self::default().n_gpus)]
    n_gpus: f64,
    /// Tokens per second that one GPU samples.
    #[arg(long, value_name = "RATE", default_value_t = Self::default().sampling_rate)]
    sampling_rate: f64,
    /// Samples that one GPU works on at once at that rate.
    #[arg(long, value_name = "N", default_value_t = Self::default().samples_at_once)]
    samples_at_once: f64,
    /// Tokens per second that one GPU scores.
    #[arg(long, value_name = "RATE", default_value_t = Self::default().scoring_rate)]
    scoring_rate: f64,
    /// Floating-point operations per second of one GPU in training.
    #[arg(long, value_name = "RATE", default_value_t = Self::default().training_flops)]
    training_flops: f64,
    /// Tokens per scoring request.
    #[arg(long, value_name = "N", default_value_t = Self::default().request_tokens)]
    request_tokens: f64,
    /// Responses per optimizer step.
    #[arg(long, value_name = "N", default_value_t = Self::default().batch_size)]
    batch_size: f64,
    /// Seconds of a round trip to the training server.
    #[arg(long, value_name = "SECONDS", default_value_t = Self::default().round_trip)]
    round_trip: f64,
    /// Bytes per second of the link to the servers.
    #[arg(long, value_name = "RATE", default_value_t = Self::default().link_rate)]
    link_rate: f64,
    /// Bytes of answers per second that the client reads.
    #[arg(long, value_name = "RATE", default_value_t = Self::default().reading_rate)]
    reading_rate: f64,
    /// Price of a GPU hour in dollars.
    #[arg(long, value_name = "PRICE", default_value_t = Self::default().price)]
    pub(super) price: f64,
}

impl Default for ServerPlan {
    /// The paper's run with a model of 8B parameters on 8 GPUs.
    fn default() -> Self {
        Self {
            n_instructions: 33_000.0,
            n_responses: 8.0,
            n_problems: 500.0,
            n_candidates: 64.0,
            prompt_tokens: 250.0,
            response_tokens: 400.0,
            n_parameters: 8e9,
            n_gpus: 8.0,
            sampling_rate: 5_000.0,
            samples_at_once: 128.0,
            scoring_rate: 10_000.0,
            training_flops: 4e14,
            request_tokens: 8192.0,
            batch_size: 64.0,
            round_trip: 0.2,
            link_rate: 125e6,
            reading_rate: 40e6,
            price: 2.5,
        }
    }
}

/// What takes the time of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    /// The GPUs.
    Servers,
    /// The link.
    Link,
    /// Reading the answers.
    Client,
    /// The round trips, one after the other.
    RoundTrips,
}

/// A job on servers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct ServerJob {
    /// What it is.
    pub(super) name: &'static str,
    /// Prompts with a response.
    pub(super) n_sequences: f64,
    /// Tokens that the servers compute if every sequence is computed on its own, as vLLM does where it
    /// scores; sampled ones where it samples.
    pub(super) n_tokens: f64,
    /// The same if prompts are shared.
    pub(super) n_tokens_shared: f64,
    /// Requests.
    pub(super) n_requests: f64,
    /// Bytes sent.
    pub(super) bytes_out: f64,
    /// Bytes received.
    pub(super) bytes_in: f64,
    /// Seconds that the GPUs, the link, the client and the round trips take, each alone.
    pub(super) seconds: [f64; 4],
    /// What takes longest.
    pub(super) limit: Limit,
    /// Hours of GPUs while the job runs.
    pub(super) gpu_hours: f64,
    /// Their price.
    pub(super) price: f64,
}

impl ServerPlan {
    /// Refuses sizes and rates where they change nothing.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub(super) fn check_unused(self) -> Result<(), Error> {
        if self.checked()? == Self::default() {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: "sizes and rates of servers are those of `--servers`".to_owned(),
            hint: "add `--servers`, or leave them out",
        })
    }

    /// The plan, if its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a number that is not positive.
    pub(super) fn checked(self) -> Result<Self, Error> {
        let positive = [
            ("--instructions", self.n_instructions),
            ("--responses", self.n_responses),
            ("--problems", self.n_problems),
            ("--candidates", self.n_candidates),
            ("--prompt-tokens", self.prompt_tokens),
            ("--response-tokens", self.response_tokens),
            ("--parameters", self.n_parameters),
            ("--gpus", self.n_gpus),
            ("--sampling-rate", self.sampling_rate),
            ("--samples-at-once", self.samples_at_once),
            ("--scoring-rate", self.scoring_rate),
            ("--training-flops", self.training_flops),
            ("--request-tokens", self.request_tokens),
            ("--batch-size", self.batch_size),
            ("--link-rate", self.link_rate),
            ("--reading-rate", self.reading_rate),
        ];
        let is_wrong = |value: f64| !(value.is_finite() && value > 0.0);
        let wrong = positive.into_iter().find(|&(_, value)| is_wrong(value));
        let at_least_zero = [("--round-trip", self.round_trip), ("--price", self.price)];
        let negative = at_least_zero.into_iter().find(|&(_, value)| !(0.0..1e9).contains(&value));
        if let Some((flag, value)) = wrong.or(negative) {
            return Err(Error::Mismatch {
                what: format!("`{flag} {value}` is no size or rate"),
                hint: "give a positive number",
            });
        }
        Ok(self)
    }

    /// Tokens of a prompt with its response.
    fn sequence_tokens(&self) -> f64 {
        self.prompt_tokens + self.response_tokens
    }

    /// Requests in flight that keep all GPUs busy while they sample.
    pub(super) fn samples_in_flight(&self) -> f64 {
        self.n_gpus * self.samples_at_once
    }

    /// Sampling requests per second of all GPUs.
    pub(super) fn samples_per_second(&self) -> f64 {
        self.n_gpus * self.sampling_rate / self.response_tokens
    }

    fn job(&self, job: ServerJob, server_seconds: f64, trip_seconds: f64) -> ServerJob {
        let wire = (job.bytes_out + job.bytes_in) / self.link_rate;
        let seconds = [server_seconds, wire, job.bytes_in / self.reading_rate, trip_seconds];
        let limits = [Limit::Servers, Limit::Link, Limit::Client, Limit::RoundTrips];
        let longest = seconds.into_iter().zip(limits).reduce(|a, b| if b.0 > a.0 { b } else { a });
        let (duration, limit) = longest.unwrap_or((0.0, Limit::Servers));
        let gpu_hours = self.n_gpus * duration / 3600.0;
        ServerJob { seconds, limit, gpu_hours, price: gpu_hours * self.price, ..job }
    }

    fn empty(name: &'static str, n_sequences: f64) -> ServerJob {
        ServerJob {
            name,
            n_sequences,
            n_tokens: 0.0,
            n_tokens_shared: 0.0,
            n_requests: 0.0,
            bytes_out: 0.0,
            bytes_in: 0.0,
            seconds: [0.0; 4],
            limit: Limit::Servers,
            gpu_hours: 0.0,
            price: 0.0,
        }
    }

    /// Sampling the responses of the training data.
    pub(super) fn rollouts(&self) -> ServerJob {
        let n = self.n_instructions * self.n_responses;
        let n_tokens = n * self.response_tokens;
        let sent = self.prompt_tokens * BYTES_PER_TOKEN_SENT + BYTES_PER_SAMPLE_SENT;
        let job = ServerJob {
            n_tokens,
            n_tokens_shared: n_tokens,
            n_requests: n,
            bytes_out: n * sent,
            bytes_in: n_tokens * BYTES_PER_TOKEN_SAMPLED,
            ..Self::empty("rollouts", n)
        };
        self.job(job, n_tokens / (self.n_gpus * self.sampling_rate), 0.0)
    }

    /// Scoring `n_responses` responses of each of `n_prompts` prompts by one model.
    fn scoring(&self, name: &'static str, n_prompts: f64, n_responses: f64) -> ServerJob {
        let n = n_prompts * n_responses;
        let n_tokens = n * self.sequence_tokens();
        let per_request = (self.request_tokens / self.sequence_tokens()).floor().max(1.0);
        let job = ServerJob {
            n_tokens,
            n_tokens_shared: n_prompts * (self.prompt_tokens + n_responses * self.response_tokens),
            n_requests: (n / per_request).ceil(),
            bytes_out: n_tokens * BYTES_PER_TOKEN_SENT,
            bytes_in: n_tokens * BYTES_PER_TOKEN_SCORED,
            ..Self::empty(name, n)
        };
        self.job(job, n_tokens / (self.n_gpus * self.scoring_rate), 0.0)
    }

    /// The log-probabilities of the reference.
    pub(super) fn reference(&self) -> ServerJob {
        self.scoring("reference pass", self.n_instructions, self.n_responses)
    }

    /// The log-probabilities of one model for the candidates of the evaluation.
    pub(super) fn best_of_n(&self) -> ServerJob {
        self.scoring("best-of-n, each model", self.n_problems, self.n_candidates)
    }

    /// One epoch of training.
    pub(super) fn training(&self) -> ServerJob {
        let n = self.n_instructions * self.n_responses;
        let n_tokens = n * self.sequence_tokens();
        let n_requests = (n / self.batch_size).ceil() * REQUESTS_PER_STEP;
        let job = ServerJob {
            n_tokens,
            n_tokens_shared: n_tokens,
            n_requests,
            bytes_out: n_tokens * BYTES_PER_TOKEN_TRAINED.iter().sum::<f64>(),
            bytes_in: n_tokens * BYTES_PER_TOKEN_FROM_TRAINING,
            ..Self::empty("training, one epoch", n)
        };
        let flops = PASSES_OF_TRAINING * self.n_parameters * n_tokens;
        self.job(job, flops / (self.n_gpus * self.training_flops), n_requests * self.round_trip)
    }

    /// All jobs: rollouts, reference pass, training, best-of-n by one model.
    pub(super) fn jobs(&self) -> [ServerJob; 4] {
        [self.rollouts(), self.reference(), self.training(), self.best_of_n()]
    }

    /// Hours of GPUs of a whole run: every job once, and best-of-n by the policy and the reference.
    pub(super) fn gpu_hours(&self) -> f64 {
        self.jobs().iter().map(|job| job.gpu_hours).sum::<f64>() + self.best_of_n().gpu_hours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds that a job takes: those of what limits it.
    fn duration(job: &ServerJob) -> f64 {
        job.seconds.iter().copied().fold(0.0, f64::max)
    }

    #[test]
    fn the_papers_run_by_hand() {
        let plan = ServerPlan::default();
        let [rollouts, reference, training, best_of_n] = plan.jobs();
        assert_eq!((rollouts.n_sequences, rollouts.n_tokens), (264_000.0, 105.6e6));
        assert_eq!(duration(&rollouts), 2640.0);
        // 12 sequences of 650 tokens fit a request of 8192.
        assert_eq!((reference.n_requests, reference.n_tokens), (22_000.0, 171.6e6));
        assert_eq!(reference.n_tokens_shared, 33_000.0 * 3450.0);
        assert_eq!(best_of_n.n_tokens_shared, 500.0 * 25_850.0);
        assert_eq!((training.n_requests, training.bytes_in), (12_375.0, 171.6e6 * 16.0));
        assert_eq!(training.seconds[0], 8.0 * 8e9 * 171.6e6 / (8.0 * 4e14));
        assert!([rollouts, reference, training].iter().all(|job| job.limit == Limit::Servers));
        // Small steps, or a slow link, and something else limits.
        let small = ServerPlan { batch_size: 8.0, ..plan }.training();
        assert_eq!((small.limit, duration(&small)), (Limit::RoundTrips, 99_000.0 * 0.2));
        let slow = ServerPlan { link_rate: 1e6, ..plan }.reference();
        assert_eq!(slow.limit, Limit::Link);
        let busy = ServerPlan { reading_rate: 1e6, ..plan }.reference();
        assert_eq!(busy.limit, Limit::Client);
    }
}
