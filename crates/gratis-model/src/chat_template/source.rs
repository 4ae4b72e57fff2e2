//! Sources that would exhaust the compiler before a rendering can be bounded.
//!
//! The compiler follows a chain such as `a + b + c` by recursion and computes constant expressions
//! at once. So the number of tokens in one tag is bounded, and the size of what constants make.

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Token, parse, tokenize};
use minijinja::{Error, Value};

use super::environment::syntax;
use super::limits::refused;

/// Longest source, in bytes; templates in use have some ten thousand.
const MAX_SOURCE: usize = 1 << 19;
/// Most tokens between `{{` and `}}` or `{%` and `%}`.
const MAX_TOKENS: usize = 2000;
/// Most branches of one `if`, and most tags altogether that may continue one.
const MAX_BRANCHES: usize = 500;
/// Largest value that constants may make, in bytes.
const MAX_CONSTANT: usize = 1 << 20;

/// Rejects a source that is too long or has expressions that are too long.
pub(super) fn check(source: &str) -> Result<(), Error> {
    if source.len() > MAX_SOURCE {
        return Err(refused(format!(
            "the template has {} bytes; at most {MAX_SOURCE} are allowed",
            source.len()
        )));
    }
    let (mut n_tokens, mut n_branches, mut is_first) = (0, 0, false);
    for token in tokenize(source, false, syntax()) {
        match token?.0 {
            Token::VariableStart | Token::BlockStart => (n_tokens, is_first) = (0, true),
            Token::Ident("elif") if is_first => {
                n_branches += 1;
                if n_branches > MAX_BRANCHES {
                    return Err(refused(format!("more than {MAX_BRANCHES} `elif`")));
                }
                is_first = false;
            }
            _ => {
                n_tokens += 1;
                is_first = false;
                if n_tokens > MAX_TOKENS {
                    return Err(refused(format!("a tag of more than {MAX_TOKENS} tokens")));
                }
            }
        }
    }
    let template = parse(source, super::NAME, syntax())?;
    statement(&template)
}

fn statements(all: &[Stmt<'_>]) -> Result<(), Error> {
    all.iter().try_for_each(statement)
}

fn statement(statement: &Stmt<'_>) -> Result<(), Error> {
    match statement {
        Stmt::Template(template) => statements(&template.children),
        Stmt::EmitExpr(emit) => bounded(&emit.expr),
        Stmt::ForLoop(r#for) => {
            bounded(&r#for.iter)?;
            optional(r#for.filter_expr.as_ref())?;
            statements(&r#for.body)?;
            statements(&r#for.else_body)
        }
        Stmt::IfCond(condition) => {
            bounded(&condition.expr)?;
            statements(&condition.true_body)?;
            statements(&condition.false_body)
        }
        Stmt::WithBlock(with) => {
            with.assignments.iter().try_for_each(|(_, value)| bounded(value))?;
            statements(&with.body)
        }
        Stmt::Set(set) => bounded(&set.expr),
        Stmt::SetBlock(set) => {
            optional(set.filter.as_ref())?;
            statements(&set.body)
        }
        Stmt::AutoEscape(escape) => {
            bounded(&escape.enabled)?;
            statements(&escape.body)
        }
        Stmt::FilterBlock(filter) => {
            bounded(&filter.filter)?;
            statements(&filter.body)
        }
        Stmt::Block(block) => statements(&block.body),
        Stmt::Macro(r#macro) => {
            r#macro.defaults.iter().try_for_each(bounded)?;
            statements(&r#macro.body)
        }
        Stmt::CallBlock(call) => {
            bounded(&call.call.expr)?;
            arguments(&call.call.args)?;
            statements(&call.macro_decl.body)
        }
        Stmt::Do(r#do) => {
            bounded(&r#do.call.expr)?;
            arguments(&r#do.call.args)
        }
        Stmt::EmitRaw(_)
        | Stmt::Import(_)
        | Stmt::FromImport(_)
        | Stmt::Extends(_)
        | Stmt::Include(_)
        | Stmt::Continue(_)
        | Stmt::Break(_) => Ok(()),
    }
}

fn optional(expression: Option<&Expr<'_>>) -> Result<(), Error> {
    expression.map_or(Ok(()), bounded)
}

fn arguments(all: &[CallArg<'_>]) -> Result<(), Error> {
    all.iter().try_for_each(|argument| match argument {
        CallArg::Pos(value)
        | CallArg::Kwarg(_, value)
        | CallArg::PosSplat(value)
        | CallArg::KwargSplat(value) => bounded(value),
    })
}

fn bounded(expression: &Expr<'_>) -> Result<(), Error> {
    constant(expression).map(|_| ())
}

/// A bound on the bytes of what a constant expression makes; `None` for one with variables.
fn constant(expression: &Expr<'_>) -> Result<Option<usize>, Error> {
    let checked = |n_bytes: usize| {
        if n_bytes <= MAX_CONSTANT {
            return Ok(Some(n_bytes));
        }
        Err(refused(format!("constants that make more than {MAX_CONSTANT} bytes")))
    };
    let all = |items: &[Expr<'_>]| -> Result<Option<usize>, Error> {
        let mut total = Some(0_usize);
        for item in items {
            total = total.zip(constant(item)?).map(|(a, b)| a.saturating_add(b + 32));
        }
        total.map_or(Ok(None), checked)
    };
    match expression {
        Expr::Const(constant) => Ok(Some(size(&constant.value))),
        Expr::List(list) => all(&list.items),
        Expr::Tuple(tuple) => all(&tuple.items),
        Expr::Map(map) => Ok(all(&map.keys)?.zip(all(&map.values)?).map(|(a, b)| a + b)),
        Expr::UnaryOp(operation) => constant(&operation.expr),
        Expr::BinOp(operation) => {
            let (left, right) = (&operation.left, &operation.right);
            let Some((left_size, right_size)) = constant(left)?.zip(constant(right)?) else {
                return Ok(None);
            };
            checked(match operation.op {
                BinOpKind::Mul => {
                    let times = |expression: &Expr<'_>| {
                        let value = expression.as_const();
                        let times = value.and_then(|value| i128::try_from(value).ok());
                        times.map_or(1, |n| usize::try_from(n.max(1)).unwrap_or(usize::MAX))
                    };
                    // A product of numbers is a number.
                    let is_number = |expression: &Expr<'_>| {
                        expression.as_const().is_some_and(|value| f64::try_from(value).is_ok())
                    };
                    if is_number(left) && is_number(right) {
                        32
                    } else {
                        left_size
                            .saturating_mul(times(right))
                            .max(right_size.saturating_mul(times(left)))
                    }
                }
                _ => left_size.saturating_add(right_size),
            })
        }
        Expr::Compare(compare) => {
            let mut all = constant(&compare.expr)?;
            for operand in &compare.ops {
                all = all.zip(constant(&operand.expr)?).map(|(a, b)| a.max(b));
            }
            Ok(all)
        }
        Expr::Slice(slice) => {
            bounded(&slice.expr)?;
            [&slice.start, &slice.stop, &slice.step]
                .into_iter()
                .try_for_each(|bound| optional(bound.as_ref()))?;
            Ok(None)
        }
        Expr::IfExpr(choice) => {
            bounded(&choice.test_expr)?;
            bounded(&choice.true_expr)?;
            optional(choice.false_expr.as_ref())?;
            Ok(None)
        }
        Expr::Filter(filter) => {
            optional(filter.expr.as_ref())?;
            arguments(&filter.args)?;
            Ok(None)
        }
        Expr::Test(test) => {
            bounded(&test.expr)?;
            arguments(&test.args)?;
            Ok(None)
        }
        Expr::GetAttr(attribute) => bounded(&attribute.expr).map(|()| None),
        Expr::GetItem(item) => {
            bounded(&item.expr)?;
            bounded(&item.subscript_expr)?;
            Ok(None)
        }
        Expr::Call(call) => {
            bounded(&call.expr)?;
            arguments(&call.args)?;
            Ok(None)
        }
        Expr::Var(_) => Ok(None),
    }
}

fn size(value: &Value) -> usize {
    value.as_str().map_or(16, str::len)
}
