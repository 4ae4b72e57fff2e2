//! Table 1: every reward model, three generators, best of 4, 16 and 64 (paper section 4.2).

use gratis::evaluation::{Bootstrap, Interval};
use gratis::objective::{Ce, Objective};

use crate::cache::{Cache, LabelRecord};
use crate::error::Result;
use crate::example;
use crate::measured::{By, Measured, MeasuredControls, RowHeading, comparison, conditions};
use crate::outcome::{Claim, Outcome, PlainTable};
use crate::rows::{Baseline, Factor, Learns, Recipe, Tuned, baselines, objectives, tuned};

const CONTROLS: &str = "Without a reward model";
const BASELINES: &str = "Baselines";
const IMPLICIT: &str = "Implicit PRM";
const BEYOND: &str = "Implicit PRM, beyond the paper";
const SOURCE: &str = "section 4.2, table 1";

/// An implicit model of the table with what was measured.
struct ImplicitRow {
    objective: Objective,
    factor: Factor,
    paper: Option<f64>,
    measured: Measured,
}

/// Trains and evaluates every row.
pub(super) fn run(cache: &mut Cache<'_>) -> Result<Outcome> {
    let bootstrap = cache.settings.bootstrap;
    let mut table = comparison(
        cache,
        "Accuracy of the selected candidate in percent; `vote` is the average of the vote weighted \
         by the reward model, `F1` finds the first wrong step",
    );
    let controls = MeasuredControls::evaluate(cache)?;
    for (name, measured) in [
        ("pass@1", &controls.random),
        ("majority vote", &controls.majority),
        ("oracle", &controls.oracle),
    ] {
        let row = RowHeading { group: CONTROLS, name, detail: String::new(), paper: None };
        table.rows.push(measured.row(row, &bootstrap));
    }
    let mut rivals: Vec<(Baseline, Measured)> = Vec::new();
    for baseline in baselines() {
        let measured = Measured::evaluate(cache, &baseline.name, baseline.clone())?;
        let (name, detail, paper) = (&baseline.name[..], baseline.detail(), baseline.paper);
        let row = RowHeading { group: BASELINES, name, detail, paper };
        table.rows.push(measured.row(row, &bootstrap));
        rivals.push((baseline, measured));
    }
    let mut implicit: Vec<ImplicitRow> = Vec::new();
    for (objective, factor, Tuned { recipe, paper }) in implicit_rows() {
        let name = match factor {
            Factor::DatasetBalanced => format!("{}, dataset-balanced", objective.name()),
            Factor::InstructionBalanced => format!("{}, instruction-balanced", objective.name()),
            _ => objective.name().to_owned(),
        };
        let detail = recipe.detail();
        let measured = Measured::evaluate(cache, &name, recipe)?;
        let group = if paper.is_some() { IMPLICIT } else { BEYOND };
        let row = RowHeading { group, name: &name, detail, paper };
        table.rows.push(measured.row(row, &bootstrap));
        implicit.push(ImplicitRow { objective, factor, paper, measured });
    }
    let ce = tuned(Objective::Ce(Ce::default())).recipe;
    Ok(Outcome {
        name: "Table 1".to_owned(),
        title: "best-of-N with every reward model".to_owned(),
        question:
            "Which reward model is best at selecting one of N candidates? Implicit process reward \
             models with four objectives against Math-Shepherd, AutoPSV and outcome reward models, \
             all from the same rollouts."
                .to_owned(),
        comparisons: vec![table],
        tables: vec![label_table(cache)?],
        examples: Some(example::examples(cache, &ce)?),
        claims: claims(&controls, &rivals, &implicit, &bootstrap),
        conditions: conditions(cache),
        ..Outcome::default()
    })
}

/// Every objective as it was tuned, and CE on balanced data besides.
fn implicit_rows() -> Vec<(Objective, Factor, Tuned)> {
    let mut rows = Vec::new();
    for objective in objectives() {
        let plain = tuned(objective);
        rows.push((objective, Factor::None, plain.clone()));
        if matches!(objective, Objective::Ce(_)) {
            for (factor, paper) in
                [(Factor::DatasetBalanced, 47.8), (Factor::InstructionBalanced, 49.0)]
            {
                let recipe = Recipe { factor, ..plain.recipe.clone() };
                rows.push((objective, factor, Tuned { recipe, paper: Some(paper) }));
            }
        }
    }
    rows
}

fn claims(
    controls: &MeasuredControls,
    rivals: &[(Baseline, Measured)],
    implicit: &[ImplicitRow],
    bootstrap: &Bootstrap,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    for ImplicitRow { objective, measured, .. } in
        implicit.iter().filter(|row| row.factor == Factor::None && row.paper.is_some())
    {
        let name = objective.name();
        claims.push(Claim::above(
            &format!("`{name}` improves on the generators"),
            SOURCE,
            "average minus pass@1",
            measured.gain(By::BestOfN, (&controls.random, By::BestOfN), bootstrap),
            0.0,
        ));
        claims.push(Claim::above(
            &format!("`{name}` improves on the majority vote by 15 points (ours, not the paper's)"),
            "this project",
            "average minus majority",
            measured.gain(By::BestOfN, (&controls.majority, By::BestOfN), bootstrap),
            0.15,
        ));
    }
    let of = |factor: Factor, is: fn(&Objective) -> bool| {
        implicit.iter().find(|row| row.factor == factor && is(&row.objective))
    };
    let ce = of(Factor::None, |objective| matches!(objective, Objective::Ce(_)));
    let dpo = of(Factor::None, |objective| matches!(objective, Objective::Dpo(_)));
    let kto = of(Factor::None, |objective| matches!(objective, Objective::Kto(_)));
    let nca = of(Factor::None, |objective| matches!(objective, Objective::Nca(_)));
    let by_instruction = of(Factor::InstructionBalanced, |_| true);
    let by_dataset = of(Factor::DatasetBalanced, |_| true);
    let averages = "difference of averages";
    for (statement, measure, better, worse) in [
        ("DPO is better than CE", averages, dpo, ce),
        ("DPO is better than NCA", averages, dpo, nca),
        ("CE is better than KTO", averages, ce, kto),
        ("balancing each instruction helps CE", averages, by_instruction, ce),
        ("balancing only the data set hurts CE", "CE minus dataset-balanced CE", ce, by_dataset),
    ] {
        if let (Some(better), Some(worse)) = (better, worse) {
            let measure = with_paper(measure, better.paper, worse.paper);
            let gain = gain(&better.measured, &worse.measured, bootstrap);
            claims.push(Claim::above(statement, SOURCE, &measure, gain, 0.0));
        }
    }
    let Some(ce) = ce else { return claims };
    let in_paper = || rivals.iter().filter(|(baseline, _)| baseline.paper.is_some());
    for (baseline, measured) in in_paper() {
        let claim = Claim::above(
            &format!("CE is better than {}", baseline.name),
            SOURCE,
            &with_paper(averages, ce.paper, baseline.paper),
            gain(&ce.measured, measured, bootstrap),
            0.0,
        );
        claims.push(with_caveat(claim, baseline));
    }
    for (baseline, measured) in in_paper() {
        let claim = Claim::above(
            &format!("CE finds first wrong steps better than {}", baseline.name),
            "beyond the paper",
            "difference of first-error F1",
            ce.measured.first_error_gain(measured, bootstrap),
            0.0,
        );
        claims.push(with_caveat(claim, baseline));
    }
    claims
}

fn gain(better: &Measured, worse: &Measured, bootstrap: &Bootstrap) -> Interval {
    better.gain(By::BestOfN, (worse, By::BestOfN), bootstrap)
}

/// A measure with the paper's difference in points.
fn with_paper(measure: &str, better: Option<f64>, worse: Option<f64>) -> String {
    match (better, worse) {
        (Some(better), Some(worse)) => format!("{measure}, paper {:+.1}", better - worse),
        _ => measure.to_owned(),
    }
}

/// A claim over a row that does not learn this task is not counted.
fn with_caveat(claim: Claim, baseline: &Baseline) -> Claim {
    match baseline.learns {
        Learns::Yes => claim,
        Learns::NotHere => claim.with_caveat(format!(
            "not counted: the row `{}` does not learn this task, even from true step labels",
            baseline.name
        )),
    }
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
