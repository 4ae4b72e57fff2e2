//! LaTeX environments: matrices, determinants, cases, aligned lines.

use super::alphabet::{AND, NEW_ROW};
use super::structure::{Parser, list};
use super::token::{Kind, Token};
use crate::syntax::{Expr, Separator};

/// The largest determinant that is expanded.
const MAX_DETERMINANT: usize = 4;
/// Words before the condition of a case.
const CONDITION_WORDS: [&str; 4] = ["if", "when", "for", "where"];

impl Parser {
    /// The content of an environment after its `\begin`.
    pub(super) fn environment(&mut self, environment: &str) -> Option<Expr> {
        match environment.trim_end_matches('*') {
            "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "smallmatrix" | "array" | "vmatrix"
            | "Vmatrix" => {}
            "cases" | "dcases" | "rcases" => return self.cases(),
            "aligned" | "align" | "gathered" | "gather" | "split" | "equation" | "eqnarray" => {
                return self.lines();
            }
            _ => return None,
        }
        if environment == "array" && self.eat('{') {
            while !self.eat('}') {
                self.next()?;
            }
        }
        let rows = self.bracketed(|parser| {
            let mut rows = vec![Vec::new()];
            loop {
                while parser.eat(NEW_ROW) {
                    rows.push(Vec::new());
                }
                if parser.peek() == Some(&Kind::End) {
                    break;
                }
                let cell = parser.relation()?;
                rows.last_mut()?.push(cell);
                if !parser.eat('&') && !parser.is_at(NEW_ROW) && parser.peek() != Some(&Kind::End) {
                    return None;
                }
            }
            rows.retain(|row| !row.is_empty());
            Some(rows)
        })?;
        self.skip();
        if environment.starts_with("vmatrix") {
            return determinant(&rows);
        }
        (!rows.is_empty()).then_some(Expr::Matrix(rows))
    }

    /// The tokens up to the end of this environment, which is read as well.
    fn body(&mut self) -> Option<Vec<Token>> {
        let mut n_open = 1_usize;
        let mut length = 0;
        for token in self.rest() {
            match token.kind {
                Kind::Begin(_) => n_open += 1,
                Kind::End => n_open -= 1,
                _ => {}
            }
            if n_open == 0 {
                break;
            }
            length += 1;
        }
        let body = self.rest().get(..length)?.to_vec();
        (n_open == 0).then_some(())?;
        for _ in 0..=length {
            self.skip();
        }
        Some(body)
    }

    /// `x & x > 0 \\\\ -x & x \le 0`, or the equations of a system.
    fn cases(&mut self) -> Option<Expr> {
        let body = self.body()?;
        let rows: Vec<Vec<Vec<Token>>> = split(&body, NEW_ROW)
            .into_iter()
            .filter(|row| !row.is_empty())
            .map(|row| split(&row, '&'))
            .collect();
        if rows.iter().all(|row| row.len() == 1) {
            let items: Option<Vec<Expr>> =
                rows.iter().map(|row| self.inner(trimmed(row[0].clone()))).collect();
            return Some(list(items?, Separator::And));
        }
        let mut cases = Vec::new();
        for row in rows {
            let [value, condition] = row.try_into().ok()?;
            let value = self.inner(trimmed(value))?;
            cases.push((value, self.condition(trimmed(condition))?));
        }
        (!cases.is_empty()).then_some(Expr::Cases(cases))
    }

    fn condition(&self, mut tokens: Vec<Token>) -> Option<Expr> {
        if let Some(Kind::Text(text)) = tokens.first().map(|token| &token.kind) {
            let words = text.trim().to_lowercase();
            if words == "otherwise" || words == "else" {
                return Some(Expr::Text("otherwise".to_owned()));
            }
            if CONDITION_WORDS.contains(&words.as_str()) {
                tokens.remove(0);
            }
        }
        self.inner(tokens)
    }

    /// Lines aligned at `&`: a line that begins with a relation goes on with the one before it.
    fn lines(&mut self) -> Option<Expr> {
        let body = self.body()?;
        let mut joined: Vec<Token> = Vec::new();
        let mut is_new = false;
        for token in body {
            match token.kind {
                Kind::Mark('&') => continue,
                Kind::Mark(NEW_ROW) => {
                    is_new = true;
                    continue;
                }
                Kind::Mark('=' | '≈' | '<' | '>' | '≤' | '≥' | '+' | '-') => {}
                _ if is_new && !joined.is_empty() => {
                    joined.push(Token { kind: Kind::Mark(';'), is_spaced: false });
                }
                _ => {}
            }
            is_new = false;
            joined.push(token);
        }
        self.inner(trimmed(joined))
    }
}

/// The tokens between the marks `at` that are in no inner environment.
fn split(tokens: &[Token], at: char) -> Vec<Vec<Token>> {
    let mut parts = vec![Vec::new()];
    let mut n_open = 0_usize;
    for token in tokens {
        match &token.kind {
            Kind::Begin(_) => n_open += 1,
            Kind::End => n_open = n_open.saturating_sub(1),
            Kind::Mark(mark) if *mark == at && n_open == 0 => {
                parts.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(token.clone());
        }
    }
    parts
}

/// The tokens without the commas and the `and` that end them.
fn trimmed(mut tokens: Vec<Token>) -> Vec<Token> {
    while let Some(Kind::Mark(',' | ';' | AND)) = tokens.last().map(|token| &token.kind) {
        tokens.pop();
    }
    tokens
}

/// A determinant, expanded along its first row.
pub(super) fn determinant(rows: &[Vec<Expr>]) -> Option<Expr> {
    let n = rows.len();
    if n == 0 || n > MAX_DETERMINANT || rows.iter().any(|row| row.len() != n) {
        return None;
    }
    let (first, below) = rows.split_first()?;
    if below.is_empty() {
        return first.first().cloned();
    }
    let mut terms = Vec::with_capacity(n);
    for (column, entry) in first.iter().enumerate() {
        let minor: Vec<Vec<Expr>> = below
            .iter()
            .map(|row| {
                row.iter()
                    .enumerate()
                    .filter(|(idx, _)| *idx != column)
                    .map(|(_, cell)| cell.clone())
                    .collect()
            })
            .collect();
        let term = Expr::Product(vec![entry.clone(), determinant(&minor)?]);
        terms.push(if column % 2 == 0 { term } else { Expr::Negative(Box::new(term)) });
    }
    Some(Expr::Sum(terms))
}
