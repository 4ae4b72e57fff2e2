//! `gratis cost --servers`: the paper's run on servers, estimated from sizes and rates.

use anyhow::Result;
use clap::Args;
use gratis::Error;
use gratis::cost::servers::{Limit, ServerJob, ServerPlan};
use serde_json::json;

use crate::output;

/// Sizes and rates; the defaults are those of `docs/scale.md`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sizes and rates of --servers")]
pub(crate) struct PlanArgs {
    /// Instructions of the training data.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().n_instructions)]
    instructions: f64,
    /// Responses per instruction.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().n_responses)]
    responses: f64,
    /// Problems of the best-of-n evaluation.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().n_problems)]
    problems: f64,
    /// Candidates per problem.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().n_candidates)]
    candidates: f64,
    /// Tokens of a prompt.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().prompt_tokens)]
    prompt_tokens: f64,
    /// Tokens of a response.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().response_tokens)]
    response_tokens: f64,
    /// Parameters of each model.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().n_parameters)]
    parameters: f64,
    /// GPUs.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().n_gpus)]
    gpus: f64,
    /// Tokens per second that one GPU samples.
    #[arg(long, value_name = "RATE", default_value_t = ServerPlan::default().sampling_rate)]
    sampling_rate: f64,
    /// Samples that one GPU works on at once at that rate.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().samples_at_once)]
    samples_at_once: f64,
    /// Tokens per second that one GPU scores.
    #[arg(long, value_name = "RATE", default_value_t = ServerPlan::default().scoring_rate)]
    scoring_rate: f64,
    /// Floating-point operations per second of one GPU in training.
    #[arg(long, value_name = "RATE", default_value_t = ServerPlan::default().training_flops)]
    training_flops: f64,
    /// Tokens per scoring request.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().request_tokens)]
    request_tokens: f64,
    /// Responses per optimizer step.
    #[arg(long, value_name = "N", default_value_t = ServerPlan::default().batch_size)]
    batch_size: f64,
    /// Seconds of a round trip to the training server.
    #[arg(long, value_name = "SECONDS", default_value_t = ServerPlan::default().round_trip)]
    round_trip: f64,
    /// Bytes per second of the link to the servers.
    #[arg(long, value_name = "RATE", default_value_t = ServerPlan::default().link_rate)]
    link_rate: f64,
    /// Bytes of answers per second that the client reads.
    #[arg(long, value_name = "RATE", default_value_t = ServerPlan::default().reading_rate)]
    reading_rate: f64,
    /// Price of a GPU hour in dollars.
    #[arg(long, value_name = "PRICE", default_value_t = ServerPlan::default().price)]
    price: f64,
}

impl PlanArgs {
    /// Refuses sizes and rates where they change nothing.
    ///
    /// # Errors
    /// [`Error::Mismatch`].
    pub(crate) fn check_unused(&self) -> Result<(), Error> {
        if self.plan()? == ServerPlan::default() {
            return Ok(());
        }
        Err(Error::Mismatch {
            what: "sizes and rates of servers are those of `--servers`".to_owned(),
            hint: "add `--servers`, or leave them out",
        })
    }

    /// The plan.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for a number that is not positive.
    fn plan(&self) -> Result<ServerPlan, Error> {
        let positive = [
            ("--instructions", self.instructions),
            ("--responses", self.responses),
            ("--problems", self.problems),
            ("--candidates", self.candidates),
            ("--prompt-tokens", self.prompt_tokens),
            ("--response-tokens", self.response_tokens),
            ("--parameters", self.parameters),
            ("--gpus", self.gpus),
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
        Ok(ServerPlan {
            n_instructions: self.instructions,
            n_responses: self.responses,
            n_problems: self.problems,
            n_candidates: self.candidates,
            prompt_tokens: self.prompt_tokens,
            response_tokens: self.response_tokens,
            n_parameters: self.parameters,
            n_gpus: self.gpus,
            sampling_rate: self.sampling_rate,
            samples_at_once: self.samples_at_once,
            scoring_rate: self.scoring_rate,
            training_flops: self.training_flops,
            request_tokens: self.request_tokens,
            batch_size: self.batch_size,
            round_trip: self.round_trip,
            link_rate: self.link_rate,
            reading_rate: self.reading_rate,
            price: self.price,
        })
    }
}

pub(crate) fn run(args: &PlanArgs, as_json: bool) -> Result<()> {
    let plan = args.plan()?;
    let jobs = plan.jobs();
    let (hours, price) = (plan.gpu_hours(), plan.gpu_hours() * plan.price);
    if as_json {
        let document = json!({
            "assumptions": plan,
            "jobs": jobs,
            "samples_in_flight": plan.samples_in_flight(),
            "samples_per_second": plan.samples_per_second(),
            "gpu_hours": hours,
            "price": price,
        });
        return output::print_json(&document);
    }
    let row = |what: &str, value: &dyn Fn(&ServerJob) -> String| -> Vec<String> {
        std::iter::once(what.to_owned()).chain(jobs.iter().map(value)).collect()
    };
    let gigabytes = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
    let minutes = |seconds: f64| format!("{:.1} min", seconds / 60.0);
    let rows = vec![
        row("sequences", &|job| format!("{:.0}", job.n_sequences)),
        row("tokens computed", &|job| format!("{:.1}M", job.n_tokens / 1e6)),
        row("tokens with shared prompts", &|job| format!("{:.1}M", job.n_tokens_shared / 1e6)),
        row("requests", &|job| format!("{:.0}", job.n_requests)),
        row("bytes out", &|job| gigabytes(job.bytes_out)),
        row("bytes in", &|job| gigabytes(job.bytes_in)),
        row("time of the servers", &|job| minutes(job.seconds[0])),
        row("time of the link", &|job| minutes(job.seconds[1])),
        row("time to read the answers", &|job| minutes(job.seconds[2])),
        row("time of round trips in sequence", &|job| minutes(job.seconds[3])),
        row("limited by", &|job| limit(job.limit).to_owned()),
        row("GPU hours", &|job| format!("{:.1}", job.gpu_hours)),
        row("price", &|job| format!("{:.2} USD", job.price)),
    ];
    let header: Vec<&str> = std::iter::once("").chain(jobs.iter().map(|job| job.name)).collect();
    output::print(&format!(
        "{}\nWhole run, best-of-n by policy and reference: {hours:.1} GPU hours, {price:.2} USD.\n\
         Sampling at this rate takes {:.0} requests per second, {:.0} in flight.\n",
        output::table(&header, &rows),
        plan.samples_per_second(),
        plan.samples_in_flight(),
    ))
}

fn limit(limit: Limit) -> &'static str {
    match limit {
        Limit::Servers => "servers",
        Limit::Link => "link",
        Limit::Client => "client",
        Limit::RoundTrips => "round trips",
    }
}
