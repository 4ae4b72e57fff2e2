//! Table 1: every reward model, three generators, best of 4, 16 and 64 (paper section 4.2).

use super::baselines::{Baseline, Configuration, Form, baselines};
use super::example;
use super::lab::{Factor, InferenceReference, Lab, LabelRecord, Recipe};
use super::measured::{By, Measured, RowName, comparison, conditions};
use super::outcome::{Claim, Outcome, PlainTable};
use super::tuning::{self, Trial};
use gratis::error::Result;
use gratis::objective::{Ce, Objective};

const CONTROLS: &str = "Without a reward model";
const BASELINES: &str = "Baselines";
const IMPLICIT: &str = "Implicit PRM";
/// The paper's average of CE, in percent.
const PAPER_CE: f64 = 48.4;
const BEYOND: &str = "Implicit PRM, beyond the paper";

/// Trains and judges every row.
///
/// # Errors
/// Those of the laboratory.
pub fn run(lab: &mut Lab<'_>) -> Result<Outcome> {
    let bootstrap = lab.settings.bootstrap;
    let mut table = comparison(
        lab,
        "Accuracy of the selected candidate in percent; `vote` is the average of the vote weighted \
         by the reward model, `F1` finds the first wrong step",
    );
    let majority = Measured::control(lab, |lab, seed| Ok(lab.controls(seed)?.majority))?;
    let random = Measured::control(lab, |lab, seed| Ok(lab.controls(seed)?.random))?;
    let oracle = Measured::control(lab, |lab, seed| Ok(lab.controls(seed)?.oracle))?;
    for (name, measured) in [("pass@1", &random), ("majority vote", &majority), ("oracle", &oracle)]
    {
        let row = RowName { group: CONTROLS, name, detail: String::new(), paper: None };
        table.rows.push(measured.row(row, &bootstrap));
    }
    let mut rivals: Vec<(String, Measured)> = Vec::new();
    for baseline in baselines() {
        let configuration = tuning::chosen_baseline(&baseline);
        let measured =
            Measured::judge(lab, |lab, seed| lab.judge_baseline(seed, &baseline, configuration))?;
        let row = RowName {
            group: BASELINES,
            name: &baseline.name,
            detail: detail_of(&baseline, configuration),
            paper: paper_baseline(&baseline.name),
        };
        table.rows.push(measured.row(row, &bootstrap));
        rivals.push((baseline.name, measured));
    }

    let mut rows = Vec::new();
    for objective in tuning::objectives() {
        let chosen = tuning::chosen(objective);
        let recipe = chosen.recipe();
        let name = objective.name();
        let group = if paper(name).is_some() { IMPLICIT } else { BEYOND };
        rows.push((group, name.to_owned(), chosen, recipe.clone(), paper(name)));
        if name == "ce" {
            let balanced = |factor| Recipe { factor, ..recipe.clone() };
            for (name, factor, paper) in [
                ("ce, dataset-balanced", Factor::DatasetBalanced, 47.8),
                ("ce, instruction-balanced", Factor::InstructionBalanced, 49.0),
            ] {
                rows.push((IMPLICIT, name.to_owned(), chosen, balanced(factor), Some(paper)));
            }
        }
    }
    let mut implicit: Vec<(String, Measured)> = Vec::new();
    for (group, name, chosen, recipe, paper) in rows {
        let measured =
            Measured::judge(lab, |lab, seed| lab.judge(seed, &recipe, InferenceReference::Start))?;
        let row = RowName { group, name: &name, detail: detail(&chosen), paper };
        table.rows.push(measured.row(row, &bootstrap));
        implicit.push((name, measured));
    }

    let of = |name: &str| implicit.iter().find(|(own, _)| own == name).map(|(_, m)| m);
    let mut claims = Vec::new();
    let source = "section 4.2, table 1";
    for name in ["dpo", "kto", "nca", "ce"] {
        if let Some(own) = of(name) {
            claims.push(Claim::above(
                &format!("`{name}` improves on the generators"),
                source,
                "average minus pass@1",
                own.gain(By::BestOfN, (&random, By::BestOfN), &bootstrap),
                0.0,
            ));
            claims.push(Claim::above(
                &format!(
                    "`{name}` improves on the majority vote by 15 points (ours, not the paper's)"
                ),
                "this project",
                "average minus majority",
                own.gain(By::BestOfN, (&majority, By::BestOfN), &bootstrap),
                0.15,
            ));
        }
    }
    let mut compare = |statement: &str, paper: &str, a: Option<&Measured>, b: Option<&Measured>| {
        if let (Some(a), Some(b)) = (a, b) {
            let gain = a.gain(By::BestOfN, (b, By::BestOfN), &bootstrap);
            claims.push(Claim::above(statement, source, paper, gain, 0.0));
        }
    };
    compare("DPO is better than CE", "difference of averages, paper +2.0", of("dpo"), of("ce"));
    compare("DPO is better than NCA", "difference of averages, paper +1.0", of("dpo"), of("nca"));
    compare("CE is better than KTO", "difference of averages, paper +2.7", of("ce"), of("kto"));
    compare(
        "balancing each instruction helps CE",
        "difference of averages, paper +0.6",
        of("ce, instruction-balanced"),
        of("ce"),
    );
    compare(
        "balancing only the data set hurts CE",
        "CE minus dataset-balanced CE, paper +0.6",
        of("ce"),
        of("ce, dataset-balanced"),
    );
    for (name, measured) in &rivals {
        if let Some(paper) = paper_baseline(name) {
            compare(
                &format!("CE is better than {name}"),
                &format!("difference of averages, paper {:+.1}", PAPER_CE - paper),
                of("ce"),
                Some(measured),
            );
        }
    }
    if let Some(ce) = of("ce") {
        for (name, measured) in rivals.iter().filter(|(name, _)| paper_baseline(name).is_some()) {
            claims.push(Claim::above(
                &format!("CE finds first wrong steps better than {name}"),
                "beyond the paper",
                "difference of first-error F1",
                ce.first_error_gain(measured, &bootstrap),
                0.0,
            ));
        }
    }
    let ce = tuning::chosen(Objective::Ce(Ce::default())).recipe();
    let shown = example::examples(lab, &ce)?;
    let mut labels = Vec::new();
    for seed in lab.settings.seeds.clone() {
        let LabelRecord { hard, soft, counts, .. } = lab.label_record(seed)?;
        let percent = |share: f64| format!("{:.1}", 100.0 * share);
        let shares = [hard, soft].map(|of| [percent(of.good_kept), percent(of.bad_caught)]);
        let named = [seed.to_string(), counts.n_continuations.to_string()];
        labels.push(named.into_iter().chain(shares.into_iter().flatten()).collect());
    }
    Ok(Outcome {
        title: "Table 1: best-of-N with every reward model".to_owned(),
        question:
            "Which reward model picks the right one of N candidates? Implicit process reward \
                   models with four objectives against Math-Shepherd, AutoPSV and outcome reward \
                   models, all from the same rollouts."
                .to_owned(),
        comparisons: vec![table],
        tables: vec![PlainTable {
            caption:
                "Math-Shepherd's labels against the checker, in percent: steps before any error \
                      that are labelled good, first wrong steps that are labelled bad; soft labels \
                      held against one half"
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
            rows: labels,
        }],
        examples: Some(shown),
        claims,
        conditions: conditions(lab),
        ..Outcome::default()
    })
}

/// The paper's average in percent.
fn paper(objective: &str) -> Option<f64> {
    match objective {
        "dpo" => Some(50.4),
        "kto" => Some(45.7),
        "nca" => Some(49.4),
        "ce" => Some(PAPER_CE),
        _ => None,
    }
}

/// The same of baselines: the paper has one row of each kind, whatever the head.
fn paper_baseline(name: &str) -> Option<f64> {
    match name {
        name if name.starts_with("Math-Shepherd hard") => Some(47.8),
        name if name.starts_with("AutoPSV") => Some(45.7),
        _ => None,
    }
}

/// What was chosen for a baseline, in words.
pub(super) fn detail_of(baseline: &Baseline, configuration: Configuration) -> String {
    let Configuration { learning_rate, beta } = configuration;
    match baseline.form {
        Form::Likelihood | Form::SelfCertainty => "not trained".to_owned(),
        Form::LogRatio(_) => format!("beta {beta}, learning rate {learning_rate}"),
        Form::Head(..) | Form::LabelTokens => format!("learning rate {learning_rate}"),
    }
}

/// Beta and learning rate in words.
pub(super) fn detail(chosen: &Trial) -> String {
    format!("beta {}, learning rate {}", chosen.objective.beta(), chosen.learning_rate)
}
