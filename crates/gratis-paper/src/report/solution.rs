//! A solution whose steps are coloured by process reward (paper section 3), for pages and
//! terminals.
//!
//! Blue is above the threshold, orange below; the further, the stronger. The number is beside each
//! step, and the first step below the threshold is marked: it is the predicted first error.

use serde::{Deserialize, Serialize};

use super::page::{SolutionPage, StepLine};
use crate::summary::Colours;
use gratis::JudgedSolution;
use gratis::visible::visible;

/// A step with its reward.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JudgedStep {
    /// The step's text.
    pub text: String,
    /// Its process reward.
    pub process_reward: f64,
}

/// A scored solution.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SolutionView {
    /// The problem.
    pub problem: String,
    /// The steps.
    pub steps: Vec<JudgedStep>,
    /// A step with a process reward below this is predicted to be wrong.
    pub threshold: f64,
    /// Distance from the threshold at which a colour is strong.
    pub scale: f64,
    /// Index of the first step that is really wrong; `None` if none is.
    pub first_error: Option<usize>,
    /// A last line: the outcome reward, the answer, a verdict.
    pub summary: String,
}

impl SolutionView {
    fn predicted(&self) -> Option<usize> {
        let rewards: Vec<f64> = self.steps.iter().map(|step| step.process_reward).collect();
        JudgedSolution::predict(&rewards, self.threshold)
    }

    /// In `-1..=1`: how far the step's reward is from the threshold, squashed.
    fn tone(&self, step: &JudgedStep) -> f64 {
        let tone = ((step.process_reward - self.threshold) / self.scale.max(1e-12)).tanh();
        if tone.is_nan() { -1.0 } else { tone }
    }

    fn remark(&self, step_idx: usize) -> &'static str {
        let predicted = self.predicted() == Some(step_idx);
        match (predicted, self.first_error == Some(step_idx)) {
            (true, true) => "✗ first error, found",
            (true, false) => "✗ predicted first error",
            (false, true) => "✗ true first error, missed",
            (false, false) => "",
        }
    }

    /// The solution as a page shows it.
    pub(super) fn to_page(&self) -> SolutionPage {
        let line = |(idx, step): (usize, &JudgedStep)| {
            let tone = self.tone(step);
            StepLine {
                tone: if tone >= 0.0 { "up" } else { "down" },
                strength: (45.0 * tone.abs()).round() as u32,
                reward: signed(step.process_reward),
                text: step.text.trim_end().to_owned(),
                remark: self.remark(idx),
            }
        };
        SolutionPage {
            problem: self.problem.trim_end().to_owned(),
            steps: self.steps.iter().enumerate().map(line).collect(),
            summary: self.summary.clone(),
        }
    }

    /// The solution as lines for a terminal. Control characters of the texts are made visible, so
    /// that no completion can steer the terminal.
    pub(crate) fn to_terminal(&self, colours: Colours) -> String {
        let mut lines = format!("{}\n", visible(self.problem.trim_end()));
        for (idx, step) in self.steps.iter().enumerate() {
            let tone = self.tone(step);
            let (start, end) = match colours {
                Colours::None => (String::new(), ""),
                Colours::Ansi => (ansi(tone), "\x1b[0m"),
            };
            let (text, remark) = (visible(step.text.trim_end()), self.remark(idx));
            let line =
                format!("  {start}{:>8} ▌{end} {text:<32}  {remark}", signed(step.process_reward));
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines + "  " + &visible(&self.summary) + "\n"
    }
}

/// A reward with its sign; what rounds to nothing has a plus.
fn signed(reward: f64) -> String {
    let text = format!("{reward:+.2}");
    if text == "-0.00" { "+0.00".to_owned() } else { text }
}

/// Foreground from grey to blue or orange, readable on black and on white.
fn ansi(tone: f64) -> String {
    let grey = [128.0, 128.0, 128.0];
    let end = if tone >= 0.0 { [30.0, 130.0, 220.0] } else { [235.0, 105.0, 10.0] };
    let [r, g, b] = [0, 1, 2].map(|i| grey[i] + tone.abs() * (end[i] - grey[i]));
    format!("\x1b[1;38;2;{r:.0};{g:.0};{b:.0}m")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Page;

    fn view() -> SolutionView {
        let step =
            |text: &str, process_reward| JudgedStep { text: text.to_owned(), process_reward };
        assert_eq!((signed(-0.001), signed(-0.006)), ("+0.00".to_owned(), "-0.01".to_owned()));
        SolutionView {
            problem: "What is 1 < 2?\n".to_owned(),
            steps: vec![step("a\n", 0.5), step("\x1b[2Jb\n", -3.0), step("<c>", -4.0)],
            threshold: -1.0,
            scale: 1.0,
            first_error: Some(1),
            summary: "outcome reward -6.50".to_owned(),
        }
    }

    #[test]
    fn the_terminal_shows_rewards_and_cannot_be_steered() {
        let text = view().to_terminal(Colours::None);
        insta::assert_snapshot!(text, @r"
        What is 1 < 2?
             +0.50 ▌ a
             -3.00 ▌ \u{1b}[2Jb                        ✗ first error, found
             -4.00 ▌ <c>
          outcome reward -6.50
        ");
        assert!(view().to_terminal(Colours::Ansi).contains("\x1b[1;38;2;"));
    }

    #[test]
    fn a_missed_error_is_said_to_be_missed() {
        let view = SolutionView { first_error: Some(0), ..view() };
        let text = view.to_terminal(Colours::None);
        assert!(
            text.contains("a                                 ✗ true first error, missed"),
            "{text}"
        );
        assert!(text.contains("✗ predicted first error"));
    }

    #[test]
    fn a_page_holds_escaped_steps_in_both_tones() {
        let mut page = Page::new("t", "l");
        page.solution(&view());
        let html = page.render().expect("rendered");
        assert!(html.contains("&lt;c&gt;") && !html.contains("<c>"));
        assert_eq!(
            (html.matches("class=\"up\"").count(), html.matches("class=\"down\"").count()),
            (1, 2)
        );
    }
}
