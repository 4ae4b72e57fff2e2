//! Rewrites a compiled template so that the size of every value is measured.
//!
//! `minijinja` bounds the number of instructions, not what each of them works on. Every instruction
//! that makes a value is therefore followed, and every one that reads values preceded, by a call of
//! a filter of [`super::guards`]; the rest is copied.

use minijinja::machinery::{Instruction, Instructions};
use minijinja::{Error, ErrorKind, Value};

use super::guards;

/// The filters are looked up by name each time.
const NO_CACHE: u8 = !0;

/// Rewrites the instructions of a template or of a block.
///
/// # Errors
/// For a statement that takes another template.
pub(super) fn guarded<'source>(
    instructions: &Instructions<'source>,
) -> Result<Instructions<'source>, Error> {
    let mut rewritten = Vec::new();
    let mut starts = Vec::new();
    let mut place = 0;
    while let Some(instruction) = instructions.get(place) {
        starts.push(rewritten.len() as u32);
        let previous = place.checked_sub(1).and_then(|place| instructions.get(place));
        rewritten.extend(around(previous, instruction)?.into_iter().map(|new| (place, new)));
        place += 1;
    }
    starts.push(rewritten.len() as u32);
    let moved = |target: &mut u32| {
        if let Some(start) = starts.get(*target as usize) {
            *target = *start;
        }
    };
    let mut out = Instructions::new(instructions.name(), instructions.source());
    for (place, mut instruction) in rewritten {
        match &mut instruction {
            Instruction::Iterate(target)
            | Instruction::Jump(target)
            | Instruction::JumpIfFalse(target)
            | Instruction::JumpIfFalseOrPop(target)
            | Instruction::JumpIfTrueOrPop(target)
            | Instruction::BuildMacro(_, target, _) => moved(target),
            _ => {}
        }
        match (instructions.get_span(place), instructions.get_line(place)) {
            (Some(span), _) => out.add_with_span(instruction, span),
            (None, Some(line)) => out.add_with_line(instruction, line as u16),
            (None, None) => out.add(instruction),
        };
    }
    Ok(out)
}

/// An instruction, after `previous`, with what goes before and after it.
fn around<'source>(
    previous: Option<&Instruction<'source>>,
    instruction: &Instruction<'source>,
) -> Result<Vec<Instruction<'source>>, Error> {
    let call = |name, n_arguments| Instruction::ApplyFilter(name, Some(n_arguments), NO_CACHE);
    let itself = instruction.clone();
    let followed_by = |name| vec![instruction.clone(), call(name, 1)];
    // The two topmost values, one after the other.
    let weighed_pair = || {
        vec![call(guards::WEIGH, 1), Instruction::Swap, call(guards::WEIGH, 1), Instruction::Swap]
    };
    let preceded = |mut before: Vec<Instruction<'source>>| {
        before.push(instruction.clone());
        before
    };
    Ok(match instruction {
        Instruction::EmitRaw(text) => {
            vec![Instruction::LoadConst(Value::from(*text)), Instruction::Emit]
        }
        Instruction::Add => followed_by(guards::ADDED),
        Instruction::StringConcat => {
            let mut all = preceded(weighed_pair());
            all.push(call(guards::JOINED, 1));
            all
        }
        Instruction::Mul => vec![call(guards::MULTIPLY, 2)],
        Instruction::Slice => vec![call(guards::SLICE, 4)],
        Instruction::BuildList(_) | Instruction::BuildTuple(_) => followed_by(guards::LISTED),
        Instruction::BuildMap(_) => followed_by(guards::MAPPED),
        Instruction::EndCapture => followed_by(guards::CAPTURED),
        // The library divides by the number of values.
        Instruction::CallMethod("cycle", Some(1)) => {
            let reason = "`cycle` needs at least one value";
            return Err(Error::new(ErrorKind::MissingArgument, reason));
        }
        Instruction::CallMethod(_, Some(2)) => {
            vec![call(guards::WEIGH, 1), itself, call(guards::CALLED, 1)]
        }
        Instruction::CallMethod(..)
        | Instruction::CallFunction(..)
        | Instruction::CallObject(_) => followed_by(guards::CALLED),
        // The filter's name becomes the last argument of one that weighs, applies and measures.
        Instruction::ApplyFilter(name, Some(n_arguments), _) => {
            let name = Instruction::LoadConst(Value::from(*name));
            vec![name, call(guards::APPLY, n_arguments + 1)]
        }
        Instruction::ApplyFilter(name, None, _) => vec![
            Instruction::LoadConst(Value::from(*name)),
            Instruction::Swap,
            Instruction::LoadConst(Value::from(1)),
            Instruction::Add,
            Instruction::ApplyFilter(guards::APPLY, None, NO_CACHE),
        ],
        // A constant key is short, and the names in messages are found by it.
        Instruction::GetItem if matches!(previous, Some(Instruction::LoadConst(_))) => vec![itself],
        Instruction::PerformTest(_, Some(1), _) | Instruction::GetItem => {
            preceded(vec![call(guards::WEIGH_TOP, 1)])
        }
        Instruction::PerformTest(..)
        | Instruction::Eq
        | Instruction::Ne
        | Instruction::Lt
        | Instruction::Lte
        | Instruction::Gt
        | Instruction::Gte
        | Instruction::In
        | Instruction::CompareAndPreserve(_) => preceded(weighed_pair()),
        Instruction::SetAttr(_) => {
            preceded(vec![Instruction::Swap, call(guards::STORE, 1), Instruction::Swap])
        }
        Instruction::Include(_) | Instruction::LoadBlocks | Instruction::ExportLocals => {
            let reason = "a chat template cannot `include`, `import` or `extends` another one";
            return Err(Error::new(ErrorKind::InvalidOperation, reason));
        }
        _ => vec![itself],
    })
}
