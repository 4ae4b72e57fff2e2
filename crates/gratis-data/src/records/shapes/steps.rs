//! Responses in steps with a label each: TRL's stepwise supervision, RLHFlow's conversations, openr's
//! prefixes, ProcessBench.

use gratis_model::chat_template::Message;
use serde_json::{Map, Value};

use super::super::completion::Completion;
use super::super::reading::FileReading;
use super::super::record::Fault;
use super::super::rollout::Rollout;
use super::{Parsed, Prompt, labels, messages, named, shown, take, text};

/// Stands after each step in Math-Shepherd's data.
const TAG: &str = "ки";

/// A response of labelled steps.
fn stepped(steps: Vec<String>, labels: Vec<Option<f64>>, separator: &str) -> Completion {
    let completion = Completion { step_labels: Some(labels), ..steps.join(separator).into() };
    completion.with_steps(steps)
}

/// `completions` are the steps of one response, `labels` theirs. The response itself has no label.
pub(super) fn stepwise(mut record: Map<String, Value>, reading: &FileReading) -> Parsed<Rollout> {
    let steps = record.shift_remove("completions").unwrap_or_default();
    let steps = texts("completions", &steps)?;
    let (name, given) = take(&mut record, &["labels", "correctness"])
        .ok_or_else(|| Fault::new("labels", "a label for each step", "nothing"))?;
    let given = labels::labels(&name, &given, steps.len(), reading)?;
    let given = given.into_iter().map(|label| label.map(labels::Label::target)).collect();
    let (name, prompt) = take(&mut record, named::PROMPT)
        .ok_or_else(|| Fault::new("prompt", "a problem", "nothing"))?;
    let prompt = named::prompt(&name, &prompt)?;
    named::rollout(record, prompt, vec![stepped(steps, given, "\n")], reading)
}

fn texts(name: &str, value: &Value) -> Parsed<Vec<String>> {
    let items = value.as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(|| Fault::new(name, "a list of steps", shown(value)))?;
    let item = |(idx, item)| text(&format!("{name}[{idx}]"), item);
    items.iter().enumerate().map(item).collect()
}

/// Whether the assistant says nothing but `+` and `-`.
pub(super) fn is_prm_chat(conversation: &Value) -> bool {
    let Ok(messages) = messages::messages("messages", conversation) else { return false };
    let said: Vec<_> = messages.iter().filter(|message| message.role == "assistant").collect();
    !said.is_empty() && said.iter().all(|message| sign(message).is_some())
}

fn sign(message: &Message) -> Option<f64> {
    match message.content.trim() {
        "+" => Some(1.0),
        "-" => Some(0.0),
        _ => None,
    }
}

/// The user says the problem with the first step, then a step at a time; each is answered by its
/// label.
pub(super) fn prm_chat(record: Map<String, Value>) -> Parsed<Rollout> {
    const FIELD: &str = "conversations";
    let conversation = messages::conversation(&record).cloned().unwrap_or_default();
    let messages = messages::messages(FIELD, &conversation)?;
    let (mut steps, mut labels) = (Vec::new(), Vec::new());
    for (idx, pair) in messages.chunks(2).enumerate() {
        let [user, assistant] = pair else {
            return Err(Fault::new(FIELD, "a label after each step", "none after the last"));
        };
        let field = format!("{FIELD}[{}]", 2 * idx + 1);
        let label = sign(assistant).filter(|_| user.role == "user");
        let label = label.ok_or_else(|| Fault::new(field, "`+` or `-`", &assistant.content))?;
        steps.push(user.content.trim().trim_end_matches(TAG).trim_end().to_owned());
        labels.push(Some(label));
    }
    let Some(first) = steps.first_mut() else {
        return Err(Fault::new(FIELD, "at least one step", "none"));
    };
    let start = first.rfind("Step 1:").ok_or_else(|| {
        let expected = "the problem, then `Step 1:` (nothing else tells where the problem ends)";
        Fault::new(format!("{FIELD}[0]"), expected, "no `Step 1:`")
    })?;
    let step = first.split_off(start);
    let prompt = std::mem::replace(first, step).trim_end().to_owned();
    Ok(Rollout { prompt, completions: vec![stepped(steps, labels, "\n")], ..Rollout::default() })
}

/// Prefixes of solutions with their Monte Carlo values: every prefix that none goes on from is a
/// response, whose steps are what each prefix of it adds to the one before. Or a tree of steps, of
/// which every path to a leaf is a response.
pub(super) fn math_aps(record: &Map<String, Value>) -> Parsed<Rollout> {
    const FIELD: &str = "reasoning_steps";
    let get = |name: &str| record.get(name).cloned().unwrap_or_default();
    let mut rollout = Rollout {
        prompt: text("question", &get("question"))?,
        reference: match get("final_answer") {
            Value::Null => String::new(),
            value => named::reference("final_answer", &value)?,
        },
        ..Rollout::default()
    };
    match get(FIELD) {
        Value::Array(prefixes) => {
            let mut found = Vec::new();
            for (idx, prefix) in prefixes.iter().enumerate() {
                let field = format!("{FIELD}[{idx}].solution_prefix");
                let given = text(&field, prefix.get("solution_prefix").unwrap_or(&Value::Null))?;
                let solution = given.strip_prefix(&rollout.prompt).ok_or_else(|| {
                    Fault::new(field, "the question, and more", shown(&prefix["solution_prefix"]))
                })?;
                found.push((solution.to_owned(), prefix.get("mc_value").and_then(Value::as_f64)));
            }
            rollout.completions = maximal(found);
        }
        Value::Object(root) => {
            let mut path = Path::default();
            walk(&Value::Object(root), 0, &mut path, &mut rollout.completions)?;
        }
        other => return Err(Fault::new(FIELD, "a list of prefixes, or a tree", shown(&other))),
    }
    Ok(rollout)
}

/// A response for each prefix that no other begins with, in the order they are given.
fn maximal(prefixes: Vec<(String, Option<f64>)>) -> Vec<Completion> {
    let mut sorted: Vec<_> = prefixes.iter().enumerate().collect();
    // What begins with a prefix stands right behind it.
    sorted.sort_by(|(_, (a, _)), (_, (b, _))| a.cmp(b));
    sorted.dedup_by(|(_, (a, _)), (_, (b, _))| a == b);
    let mut open: Vec<&(String, Option<f64>)> = Vec::new();
    let mut found = Vec::new();
    for (at, (idx, prefix)) in sorted.iter().enumerate() {
        while open.last().is_some_and(|(before, _)| !prefix.0.starts_with(before.as_str())) {
            open.pop();
        }
        open.push(prefix);
        let goes_on =
            sorted.get(at + 1).is_some_and(|(_, (next, _))| next.starts_with(prefix.0.as_str()));
        if goes_on || prefix.0.trim().is_empty() {
            continue;
        }
        let (mut steps, mut labels, mut n_before) = (Vec::new(), Vec::new(), 0);
        for (text, label) in &open {
            let step = &text[n_before..];
            n_before = text.len();
            if !step.trim().is_empty() {
                steps.push(step.trim().to_owned());
                labels.push(*label);
            }
        }
        found.push((*idx, stepped(steps, labels, "\n\n")));
    }
    found.sort_by_key(|(idx, _)| *idx);
    found.into_iter().map(|(_, completion)| completion).collect()
}

#[derive(Default)]
struct Path {
    steps: Vec<String>,
    labels: Vec<Option<f64>>,
}

/// Every path below a node; the root's text is the problem.
fn walk(node: &Value, depth: usize, path: &mut Path, found: &mut Vec<Completion>) -> Parsed<()> {
    const MAX_DEPTH: usize = 512;
    if depth > MAX_DEPTH {
        let expected = format!("at most {MAX_DEPTH} steps deep");
        return Err(Fault::new("reasoning_steps", expected, "a deeper tree"));
    }
    if depth > 0 {
        let step = text("reasoning_steps.text", node.get("text").unwrap_or(&Value::Null))?;
        path.steps.push(step.trim().to_owned());
        path.labels.push(node.get("mc_value").and_then(Value::as_f64));
    }
    let children = node.get("children").and_then(Value::as_array).map(Vec::as_slice);
    match children.unwrap_or_default() {
        [] if depth > 0 => {
            found.push(stepped(path.steps.clone(), path.labels.clone(), "\n\n"));
        }
        children => {
            for child in children {
                walk(child, depth + 1, path, found)?;
            }
        }
    }
    if depth > 0 {
        path.steps.pop();
        path.labels.pop();
    }
    Ok(())
}

/// The steps before the first wrong one are good, that one is not, later ones have no label.
pub(super) fn process_bench(
    mut record: Map<String, Value>,
    reading: &FileReading,
) -> Parsed<Rollout> {
    let steps = record.shift_remove("steps").unwrap_or_default();
    let steps = texts("steps", &steps)?;
    let label = record.shift_remove("label").unwrap_or_default();
    let first_error = match label.as_i64() {
        Some(-1) => None,
        Some(idx) if usize::try_from(idx).is_ok_and(|idx| idx < steps.len()) => Some(idx as usize),
        _ => {
            let expected = format!("-1, or an index below {}", steps.len());
            return Err(Fault::new("label", expected, shown(&label)));
        }
    };
    let step_label = |idx: usize| match first_error {
        Some(error) if idx > error => None,
        Some(error) => Some(f64::from(idx < error)),
        None => Some(1.0),
    };
    let step_labels = (0..steps.len()).map(step_label).collect();
    let mut completion = stepped(steps, step_labels, "\n\n");
    let is_correct = record.shift_remove("final_answer_correct").unwrap_or_default();
    labels::put(&mut completion, labels::label("final_answer_correct", &is_correct, reading)?);
    let problem = record.shift_remove("problem").unwrap_or_default();
    let prompt = Prompt::from(text("problem", &problem)?);
    named::rollout(record, prompt, vec![completion], reading)
}
