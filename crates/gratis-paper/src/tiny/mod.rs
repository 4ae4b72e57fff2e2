//! The tiny world as a cast: the rows of table 1 with the settings that were chosen for them.

mod inference;
mod operations;
mod prefixes;

use gratis::data::Rollout;
use gratis::evaluation::Bootstrap;
use gratis::objective::{Ce, Dpo, Objective};
use gratis::selection::mean_pass_at_1;
use gratis::theory::PrefixEstimate;

use crate::cache::{Cache, LabelRecord};
use crate::cast::{Cast, Details, Role, TableRow};
use crate::cast::{Inference, Operations, Propositions, Way};
use crate::error::Result;
use crate::evaluation::{Choices, Controls, Evaluation};
use crate::example;
use crate::outcome::PlainTable;
use crate::rows::{BASELINES, BEYOND, Factor, IMPLICIT, Recipe, RewardModel, Tuned};
use crate::rows::{baselines, implicit_configurations, math_shepherd, objectives, tuned};
use crate::settings::SampleSettings;
use crate::world::{Split, Strength};

/// Our own claim: every objective improves on the majority vote by this much.
const MARGIN: f64 = 0.15;

impl Cast for Cache<'_> {
    fn seeds(&self) -> Vec<u64> {
        self.settings.seeds.clone()
    }

    fn ns(&self) -> Vec<usize> {
        self.settings.ns.clone()
    }

    fn bootstrap(&self) -> Bootstrap {
        self.settings.bootstrap
    }

    fn generators(&self) -> Vec<String> {
        Strength::ALL.iter().map(|strength| strength.name().to_owned()).collect()
    }

    fn train_size(&mut self) -> Result<(usize, usize)> {
        Ok((self.settings.train.n_problems, self.settings.train.n_samples))
    }

    fn conditions(&self) -> Vec<String> {
        conditions(self)
    }

    fn tuning(&self) -> Option<String> {
        Some(
            "`best of` counts what was tried on the validation problems of seed 0, by the same rule for \
             every row: the best average of best-of-N. Settings are pairs of beta and learning rate, or \
             learning rates where there is no beta; objectives share a grid, which goes further where \
             the best beta was at its edge. Readings are ways to make one score of the steps: the \
             aggregation, and for `prefix_ce` the value rule; the other implicit models have the \
             paper's reading alone."
                .to_owned(),
        )
    }

    fn left_out(&self) -> Vec<[String; 2]> {
        Vec::new()
    }

    fn leave_out(&mut self, what: &str, why: &str) {
        self.observer.note(&format!("left out: {what}, because {why}"));
    }

    fn offers(&self, _model: &RewardModel) -> Result<(), &'static str> {
        Ok(())
    }

    fn start_name(&self) -> String {
        "medium generator".to_owned()
    }

    fn here(&self) -> &'static str {
        "in the tiny world"
    }

    fn margin(&self) -> Option<f64> {
        Some(MARGIN)
    }

    fn begin_row(&mut self, row: &str, seed: u64) {
        Cache::begin_row(self, row, seed);
    }

    fn rows(&mut self) -> Vec<TableRow> {
        let baselines = baselines().into_iter().map(|baseline| {
            let n_settings = baseline.form.configurations().len();
            let (name, detail, paper) = (baseline.name.clone(), baseline.detail(), baseline.paper);
            let role = Role::Baseline(baseline.learns);
            let model = RewardModel::from(baseline);
            let detail = with_trials(detail, n_settings, &model);
            TableRow { group: BASELINES, name, detail, paper, role, model }
        });
        baselines.chain(implicit_rows()).collect()
    }

    fn recipe(&mut self, objective: Objective) -> Option<Tuned> {
        Some(tuned(objective))
    }

    fn controls(&mut self, seed: u64) -> Result<Controls> {
        Cache::controls(self, seed)
    }

    fn evaluate(&mut self, seed: u64, model: &RewardModel) -> Result<Evaluation> {
        Cache::evaluate(self, seed, model)
    }

    fn policy(&mut self, seed: u64, model: &RewardModel, n_samples: usize) -> Result<Vec<f64>> {
        let draw = SampleSettings { n_samples, ..self.settings.test };
        let model = self.model(seed, model)?;
        let samples = self.samples(seed, &model, Split::Test, draw)?;
        let rollouts = self.rollouts(&samples)?;
        let mean = |rollout: &Rollout| Ok(mean_pass_at_1(&rollout.labels("pass@1")?));
        rollouts.iter().map(mean).collect()
    }

    fn temperature(&self) -> f32 {
        self.settings.test.temperature
    }

    fn way_name(&self, way: Way) -> String {
        match way {
            Way::Ce => "implicit PRM, CE".to_owned(),
            Way::Dpo => "implicit PRM, DPO".to_owned(),
            Way::MathShepherd => math_shepherd().name,
        }
    }

    fn way_model(&mut self, way: Way, n_responses: Option<usize>) -> Option<RewardModel> {
        Some(model_of(way, n_responses))
    }

    fn operations(&mut self, seed: u64, way: Way, n_responses: usize) -> Result<Operations> {
        operations::operations(self, seed, way, n_responses)
    }

    fn counting(&self) -> String {
        "A multiplication with an addition counts as two operations; the rollouts and their grades, \
         which all methods share, are not counted, as the paper's ratios imply. As run: the share of \
         tokens left by packing is measured on the CE model and applied to all trainings."
            .to_owned()
    }

    fn processor_seconds(&mut self, seed: u64, way: Way) -> Result<Option<f64>> {
        operations::processor_seconds(self, seed, way)
    }

    fn inference(&mut self, seed: u64) -> Result<Vec<Inference>> {
        inference::inference(self, seed)
    }

    fn propositions(&self) -> Propositions {
        prefixes::COUNTS
    }

    fn prefix_estimates(&mut self, seed: u64) -> Result<Vec<PrefixEstimate>> {
        prefixes::estimates(self, seed)
    }

    fn details(&mut self, _rows: &[TableRow]) -> Result<Details> {
        let ce = tuned(Objective::Ce(Ce::default())).recipe;
        Ok(Details {
            tables: vec![label_table(self)?],
            examples: Some(example::examples(self, &ce)?),
        })
    }
}

/// Settings in words, with the number of settings that they are the best of on validation problems, and
/// of the ways in which the scores of each were read.
fn with_trials(detail: String, n_settings: usize, model: &RewardModel) -> String {
    let Choices { aggregations, value_rules, .. } = Choices::of(model);
    match (n_settings, aggregations.len() * value_rules.len()) {
        (0 | 1, 0 | 1) => detail,
        (0 | 1, n_readings) => format!("{detail}, best of {n_readings} readings"),
        (_, 0 | 1) => format!("{detail}, best of {n_settings} settings"),
        (_, n_readings) => {
            format!("{detail}, best of {n_settings} settings x {n_readings} readings")
        }
    }
}

/// The reward model of a way, from the first `n_responses` of each training problem.
fn model_of(way: Way, n_responses: Option<usize>) -> RewardModel {
    let implicit = |objective| RewardModel::from(Recipe { n_responses, ..tuned(objective).recipe });
    match way {
        Way::Ce => implicit(Objective::Ce(Ce::default())),
        Way::Dpo => implicit(Objective::Dpo(Dpo::default())),
        Way::MathShepherd => RewardModel::from(math_shepherd()),
    }
}

/// Every objective as it was tuned, and CE on balanced data besides.
fn implicit_rows() -> Vec<TableRow> {
    let mut rows = Vec::new();
    for objective in objectives() {
        let plain = tuned(objective);
        let mut of_objective = vec![(Factor::None, plain.clone())];
        if matches!(objective, Objective::Ce(_)) {
            for (factor, paper) in
                [(Factor::DatasetBalanced, 47.8), (Factor::InstructionBalanced, 49.0)]
            {
                let recipe = Recipe { factor, ..plain.recipe.clone() };
                of_objective.push((factor, Tuned { recipe, paper: Some(paper) }));
            }
        }
        rows.extend(of_objective.into_iter().map(|(factor, Tuned { recipe, paper })| TableRow {
            group: if paper.is_some() { IMPLICIT } else { BEYOND },
            name: match factor {
                Factor::DatasetBalanced => format!("{}, dataset-balanced", objective.name()),
                Factor::InstructionBalanced => {
                    format!("{}, instruction-balanced", objective.name())
                }
                _ => objective.name().to_owned(),
            },
            detail: match factor {
                Factor::None => {
                    let n_settings = implicit_configurations(objective).len();
                    with_trials(recipe.detail(), n_settings, &recipe.clone().into())
                }
                _ => format!("{}, as `{}`", recipe.detail(), objective.name()),
            },
            paper,
            role: Role::Implicit(objective, factor),
            model: recipe.into(),
        }));
    }
    rows
}

/// The quality of Math-Shepherd's labels, seed by seed.
fn label_table(cache: &mut Cache<'_>) -> Result<PlainTable> {
    let mut rows = Vec::new();
    for seed in cache.settings.seeds.clone() {
        let LabelRecord { hard, soft, counts, .. } = cache.label_record(seed)?;
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let shares = [hard, soft].map(|of| [percent(of.good_kept), percent(of.bad_caught)]);
        let named = [seed.to_string(), counts.n_continuations.to_string()];
        rows.push(named.into_iter().chain(shares.into_iter().flatten()).collect());
    }
    Ok(PlainTable {
        caption: "Math-Shepherd's labels compared with the checker, in percent: steps before any \
                  error that are labelled good, first wrong steps that are labelled bad; soft \
                  labels are compared with one half"
            .to_owned(),
        header: [
            "seed",
            "continuations",
            "hard: good kept",
            "hard: bad caught",
            "soft: good kept",
            "soft: bad caught",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows,
    })
}

/// The conditions that every number of a reproduction in the tiny world depends on.
fn conditions(cache: &Cache<'_>) -> Vec<String> {
    let settings = &cache.settings;
    let (train, test) = (&settings.train, &settings.test);
    let mut all = vec![
        format!(
            "Reward models start from the medium generator and are trained on {} problems x {} of \
             its responses at temperature {}, for one epoch unless stated otherwise; AdamW, {} \
             warm-up steps, then linear decay to 0; batches of {} responses or half as many \
             pairs.",
            train.n_problems,
            train.n_samples,
            train.temperature,
            settings.reward_model.n_warm_up_steps,
            settings.reward_model.batch_size,
        ),
        format!(
            "Evaluated on {} separate problems with {} candidates per problem from each of three \
             generators at temperature {}, all of the reward model's size; the first N candidates \
             are used; a candidate's score is its lowest process reward; ties go to the first.",
            test.n_problems, test.n_samples, test.temperature,
        ),
        format!(
            "Chosen on {} validation problems with {} candidates of each generator: beta, learning \
             rate, the threshold below which a step is predicted wrong, and the temperature of the \
             vote weighted by exp(score / temperature).",
            settings.validation.n_problems, settings.validation.n_samples,
        ),
        format!(
            "Seeds {:?}: each has its own world, with its own problems, error contexts, weights \
             and samples. Intervals are {:.0} % percentile bootstraps over seeds and problems ({} \
             resamples, seed {}).",
            settings.seeds,
            100.0 * settings.bootstrap.confidence,
            settings.bootstrap.n_resamples,
            settings.bootstrap.seed,
        ),
    ];
    if !cache.failed_seeds.is_empty() {
        all.push(format!(
            "Seeds {:?} are left out: their base models, from which everything starts, did not learn \
             to solve the problems.",
            cache.failed_seeds,
        ));
    }
    all
}
