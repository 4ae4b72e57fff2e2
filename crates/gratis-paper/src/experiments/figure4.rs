//! Figure 4: more instructions (paper section 5.1).

use super::scaling::{self, Part, Scaling};
use crate::cast::Cast;
use crate::error::Result;
use crate::measured::By;
use crate::outcome::{Claim, Outcome};
use crate::report::XScale;

/// Shares of the instructions, in percent.
const SHARES: [usize; 4] = [25, 50, 75, 100];

/// Trains CE and DPO on shares of the instructions.
pub(super) fn run(cast: &mut dyn Cast) -> Result<Outcome> {
    let bootstrap = cast.bootstrap();
    let Scaling { table, plots, curves } =
        scaling::evaluate(cast, "instructions, %", XScale::Linear, |_| {
            SHARES.map(Part::Instructions).to_vec()
        })?;
    let mut claims = Vec::new();
    for curve in &curves {
        if let (Some(least), Some(most)) = (curve.parts.first(), curve.parts.last()) {
            claims.push(Claim::above(
                &format!("more instructions help `{}`", curve.objective.name()),
                "section 5.1, figure 4",
                "average with the most minus with the least",
                most.measured.gain(By::BestOfN, (&least.measured, By::BestOfN), &bootstrap),
                0.0,
            ));
        }
    }
    Ok(Outcome {
        name: "Figure 4".to_owned(),
        title: "scaling instructions".to_owned(),
        question: "Does the reward model get better with more instructions?".to_owned(),
        comparisons: vec![table],
        plots,
        claims,
        conditions: cast.conditions(),
        ..Outcome::default()
    })
}
