//! `gratis cost --servers`: the paper's run on servers, estimated from sizes and rates.

use anyhow::Result;
use serde_json::json;

use super::server_plan::{Limit, ServerJob, ServerPlan};
use crate::output;

pub(crate) fn run(plan: ServerPlan, as_json: bool) -> Result<()> {
    let plan = plan.checked()?;
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
