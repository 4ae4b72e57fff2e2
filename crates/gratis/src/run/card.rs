//! What the model card of a run says beside the measured figures.

use super::TrainSettings;
use crate::baseline::ValueObjective;
use crate::manifest::{Kind, Manifest};
use crate::training::{ModelCard, RewardData, code};

/// Short forms of hashes have so many digits.
const N_DIGITS: usize = 12;

/// The card of a model that is trained with these settings.
pub(super) fn card(
    settings: &TrainSettings,
    manifest: &Manifest,
    base: &str,
    train: &RewardData,
    validation: &RewardData,
) -> ModelCard {
    let (summary, tag, objective) = match &manifest.kind {
        Kind::Implicit { objective } => (
            "An implicit process reward model: the reward of a step is beta times the sum of \
             `log pi - log pi_ref` over its tokens.",
            "implicit-prm",
            objective.to_string(),
        ),
        Kind::Head { objective, .. } => (
            "A reward model with a scalar head: a step is rewarded with the difference of two values.",
            "reward-head",
            match objective {
                ValueObjective::Outcome => "cross-entropy of the outcome label at the last token",
                ValueObjective::BradleyTerry => "Bradley-Terry on pairs, at the last token",
                ValueObjective::Steps => "cross-entropy of step labels at step ends",
                ValueObjective::EveryToken => "squared error of the outcome label at every token",
            }
            .to_owned(),
        ),
        Kind::LabelTokens { .. } => (
            "A process reward model that says after each step, by label tokens, whether it is right.",
            "label-tokens",
            "cross-entropy of the label tokens".to_owned(),
        ),
    };
    let short = |hash: &str| hash.chars().take(N_DIGITS).collect::<String>();
    let files: Vec<String> =
        settings.data.iter().map(|path| code(&path.to_string_lossy())).collect();
    let RewardData { n_problems, examples, .. } = train;
    let data = format!(
        "{}; {n_problems} problems, {} responses, {} correct (tokens: {})",
        files.join(", "),
        examples.len(),
        train.n_correct(),
        short(&manifest.data_hash),
    );
    let held_out = match (&settings.validation, validation.examples.len()) {
        (_, 0) => "none".to_owned(),
        (Some(file), n) => format!("{}, {n} responses", code(&file.to_string_lossy())),
        (None, n) => format!("{} of the problems, {n} responses", settings.validation_share),
    };
    let reference = manifest.reference.as_ref();
    let reference = reference.map(|own| format!("{} ({})", code(&own.path), short(&own.hash)));
    let optimization = &settings.optimization;
    let rate =
        optimization.learning_rate.map_or_else(|| "none".to_owned(), |rate| format!("{rate:e}"));
    let mut facts = vec![
        ("objective", objective),
        ("beta", manifest.beta.to_string()),
        ("reference", reference.unwrap_or_else(|| "none".to_owned())),
        ("step split", code(&manifest.step_split.to_string())),
        ("aggregation", code(manifest.aggregation.name())),
        ("prompt", code(&manifest.template)),
        ("data", data),
        ("held out", held_out),
        ("epochs", optimization.epochs.to_string()),
        ("batch size", optimization.batch_size.to_string()),
        ("learning rate", rate),
        ("seed", optimization.seed.to_string()),
    ];
    if let Some(rule) = manifest.value_rule {
        facts.insert(2, ("Q value", rule.name().to_owned()));
    }
    if let Some(rank) = settings.lora.lora_rank {
        facts.push(("adapter", format!("LoRA of rank {rank}")));
    }
    ModelCard {
        base: base.to_owned(),
        summary: summary.to_owned(),
        tags: ["reward-model", "process-reward-model", tag].map(str::to_owned).to_vec(),
        facts,
        has_reference: manifest.reference.is_some(),
    }
}
