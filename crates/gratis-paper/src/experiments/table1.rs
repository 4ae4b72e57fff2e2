//! Table 1: every reward model, three generators, best of 4, 16 and 64 (paper section 4.2).

use gratis::evaluation::{Bootstrap, Interval};
use gratis::objective::Objective;

use crate::cast::{Cast, Details, Role, TableRow};
use crate::error::Result;
use crate::measured::{By, Measured, MeasuredControls, RowHeading, comparison};
use crate::outcome::{Claim, Outcome};
use crate::rows::{Factor, Learns};

const CONTROLS: &str = "Without a reward model";
const SOURCE: &str = "section 4.2, table 1";

/// A row of the table with what was measured.
struct MeasuredRow {
    row: TableRow,
    measured: Measured,
}

/// Trains and evaluates every row.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let mut table = comparison(
        cast,
        "Accuracy of the selected candidate in percent; `vote` is the average of the vote weighted \
         by the reward model, `F1` finds the first wrong step",
    );
    let controls = MeasuredControls::evaluate(cast)?;
    for (name, measured) in [
        ("pass@1", &controls.random),
        ("majority vote", &controls.majority),
        ("oracle", &controls.oracle),
    ] {
        let row = RowHeading { group: CONTROLS, name, detail: String::new(), paper: None };
        table.rows.push(measured.row(row, &bootstrap));
    }
    let mut rows: Vec<MeasuredRow> = Vec::new();
    for row in cast.rows() {
        let measured = Measured::evaluate(cast, &row.name, row.model.clone())?;
        let (group, name, detail) = (row.group, &row.name[..], row.detail.clone());
        let heading = RowHeading { group, name, detail, paper: row.paper };
        table.rows.push(measured.row(heading, &bootstrap));
        rows.push(MeasuredRow { row, measured });
    }
    let all: Vec<TableRow> = rows.iter().map(|of| of.row.clone()).collect();
    let Details { tables, examples } = cast.details(&all)?;
    Ok(Outcome {
        name: "Table 1".to_owned(),
        title: "best-of-N with every reward model".to_owned(),
        question:
            "Which reward model is best at selecting one of N candidates? Implicit process reward \
             models with four objectives against Math-Shepherd, AutoPSV and outcome reward models, \
             all from the same rollouts."
                .to_owned(),
        comparisons: vec![table],
        tables,
        examples,
        claims: claims(cast.margin(), &controls, &rows, &bootstrap),
        conditions: cast.conditions().into_iter().chain(cast.tuning()).collect(),
        ..Outcome::default()
    })
}

/// The paper's claims; `margin` is that of our own over the majority vote.
fn claims(
    margin: Option<f64>,
    controls: &MeasuredControls,
    rows: &[MeasuredRow],
    bootstrap: &Bootstrap,
) -> Vec<Claim> {
    let mut claims = Vec::new();
    for MeasuredRow { row, measured } in rows {
        let (Role::Implicit(objective, Factor::None), Some(_)) = (row.role, row.paper) else {
            continue;
        };
        let name = objective.name();
        claims.push(Claim::above(
            &format!("`{name}` improves on the generators"),
            SOURCE,
            "average minus pass@1",
            measured.gain(By::BestOfN, (&controls.random, By::BestOfN), bootstrap),
            0.0,
        ));
        if let Some(margin) = margin {
            let points = 100.0 * margin;
            claims.push(Claim::above(
                &format!(
                    "`{name}` improves on the majority vote by {points} points (ours, not the \
                     paper's)"
                ),
                "this project",
                "average minus majority",
                measured.gain(By::BestOfN, (&controls.majority, By::BestOfN), bootstrap),
                margin,
            ));
        }
    }
    let of = |asked: Factor, is: fn(&Objective) -> bool| {
        rows.iter().find(|of| match &of.row.role {
            Role::Implicit(objective, factor) => *factor == asked && is(objective),
            _ => false,
        })
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
            let measure = with_paper(measure, better.row.paper, worse.row.paper);
            let gain = gain(&better.measured, &worse.measured, bootstrap);
            claims.push(Claim::above(statement, SOURCE, &measure, gain, 0.0));
        }
    }
    let Some(ce) = ce else { return claims };
    let in_paper = || {
        rows.iter().filter_map(|MeasuredRow { row, measured }| match row.role {
            Role::Baseline(learns) if row.paper.is_some() => Some((row, learns, measured)),
            _ => None,
        })
    };
    for (row, learns, measured) in in_paper() {
        let claim = Claim::above(
            &format!("CE is better than {}", row.name),
            SOURCE,
            &with_paper(averages, ce.row.paper, row.paper),
            gain(&ce.measured, measured, bootstrap),
            0.0,
        );
        claims.push(with_caveat(claim, row, learns));
    }
    for (row, learns, measured) in in_paper() {
        if measured.first_error(bootstrap).is_none() {
            continue;
        }
        let claim = Claim::above(
            &format!("CE finds first wrong steps better than {}", row.name),
            "beyond the paper",
            "difference of first-error F1",
            ce.measured.first_error_gain(measured, bootstrap),
            0.0,
        );
        claims.push(with_caveat(claim, row, learns));
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
fn with_caveat(claim: Claim, row: &TableRow, learns: Learns) -> Claim {
    match learns {
        Learns::Yes => claim,
        Learns::NotHere => claim.with_caveat(format!(
            "not counted: the row `{}` does not learn this task, even from true step labels",
            row.name
        )),
    }
}
