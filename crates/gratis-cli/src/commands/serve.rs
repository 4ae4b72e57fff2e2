//! `gratis serve`: the rewards of a reward model over HTTP.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use gratis::data::{ScorePart, StepSplit};
use gratis::encoding::OnOverlong;
use gratis::reward_model::ScoreBy;
use gratis::scoring::TokenRewards;
use gratis::selection::Aggregation;
use gratis_serve::{Settings, Stop, Token, about, serve};
use tracing::{info, warn};

use super::reward_model::{RewardModelArgs, Scoring};
use crate::Common;
use crate::failure::CliError;
use crate::interrupt;

/// Serve the rewards of a reward model over HTTP.
///
/// Answers `POST /score` and `/grade`, the remote reward model of OpenRLHF (`/get_reward`), and the
/// shapes of inference servers (`/classify`, `/pooling`, `/v1/embeddings`). `/openapi.json` describes
/// the routes, `/metrics` has counters for Prometheus. SIGTERM or SIGINT stops the service after it has answered what it accepted.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gratis serve --model runs/prm
  gratis serve --model runs/prm --aggregation outcome --port 9000
  gratis serve --model runs/prm --host 0.0.0.0 --token-file token.txt
  curl localhost:8080/score -d '{\"prompt\": \"1 + 1?\", \"completions\": [\"2\", \"3\"]}'")]
pub(crate) struct ServeArgs {
    /// Reward model: a model folder, run folder or adapter folder, a GGUF file, or `org/name` on a
    /// hub.
    #[arg(short, long)]
    model: PathBuf,
    #[command(flatten)]
    reward_model: RewardModelArgs,
    /// How completions without `steps` are split [default: the model's].
    #[arg(long)]
    step_split: Option<StepSplit>,
    /// How the steps become a completion's reward [default: the model's].
    #[arg(long, value_name = "NAME")]
    aggregation: Option<Aggregation>,
    /// What to do with completions longer than the context; `stop` answers with an error.
    #[arg(long, value_enum, default_value_t = OnOverlong::Stop)]
    on_overlong: OnOverlong,
    /// Part of each completion to score: the thought up to `</think>`, or the answer after it. The model
    /// reads all of it in any case.
    #[arg(long, value_enum, default_value_t)]
    score_part: ScorePart,
    /// Address to listen on; the default is reachable from this machine only.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 for any free one.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// File with a token that requests must carry (`Authorization: Bearer TOKEN`).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Largest body of a request, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=4096))]
    max_body: u32,
    /// Most tokens that a request may take.
    #[arg(long, value_name = "N", default_value_t = 1 << 18)]
    max_request_tokens: usize,
    /// Most requests accepted and not yet answered; further ones get status 429.
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_queue: usize,
    /// Seconds until a request is abandoned with status 504; a request may ask for less.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    deadline: u32,
    /// Memory for scores of completions seen before, in MiB; 0 to compute every one.
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    cache: u32,
}

pub(crate) fn run(args: &ServeArgs, common: &Common) -> Result<()> {
    args.reward_model.check()?;
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    // Before the model is loaded, which can take a while.
    let address = SocketAddr::new(args.host, args.port);
    let bound = TcpListener::bind(address);
    let listener = bound.with_context(|| format!("cannot listen on `{address}`"))?;
    let address = listener.local_addr().context("cannot read the address of the socket")?;
    let scoring = Scoring {
        by: ScoreBy::Reward,
        step_split: args.step_split.clone(),
        part: args.score_part,
        on_overlong: args.on_overlong,
        tokens: TokenRewards::Omit,
        aggregation: args.aggregation,
    };
    let mut reward_model = args.reward_model.open(&args.model, scoring, common)?;
    reward_model.keep_token_rewards();
    let about = about(&reward_model, args.reward_model.batch_tokens())?;
    if !args.host.is_loopback() && token.is_none() {
        warn!(
            "anyone who can reach `{address}` can use the service; `--token-file` asks for a token"
        );
    }
    let settings = Settings {
        max_body_bytes: (args.max_body as usize) << 20,
        max_request_tokens: args.max_request_tokens,
        max_queue: args.max_queue,
        deadline: Duration::from_secs(u64::from(args.deadline)),
        cache_bytes: (args.cache as usize) << 20,
        token,
        ..Settings::default()
    };
    let stop = Stop::default();
    let on_signal = stop.clone();
    interrupt::stop_by(move || {
        info!("stopping: accepted requests are answered first; a second signal ends at once");
        on_signal.stop();
    });
    let aggregation = about.aggregation;
    info!("listening on http://{address}, rewards aggregated by {aggregation}");
    let served = serve(listener, Arc::new(reward_model), about, settings, &stop);
    let summary = served.context("cannot serve")?;
    info!("{} answers", summary.n_answers);
    if summary.is_cut_off {
        warn!("connections that did not end were cut off");
    }
    Ok(())
}

fn read_token(path: &Path) -> Result<Token> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the token file `{}`", path.display()))?;
    Token::read(&text).ok_or_else(|| {
        CliError::Mismatch {
            what: format!("the token file `{}` is empty", path.display()),
            hint: "write a long random text into it",
        }
        .into()
    })
}
