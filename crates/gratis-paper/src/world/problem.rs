//! Problems: a chain of people; each person's number is the previous person's number changed by an
//! operation.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use rand::{Rng, RngExt};

/// All counting is modulo this prime.
pub(super) const MODULUS: u32 = 23;

/// Everybody who can appear in a problem, at most once.
pub(super) const PEOPLE: [&str; 10] =
    ["Ann", "Ben", "Cal", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Joy"];

/// The sentence that ends every problem; the line break belongs to the prompt.
pub(super) const QUESTION: &str = "How many does the last one have, counting modulo 23?";

/// How often the operand is the base person's value, where it can be.
const BASE_OPERAND_RATE: f64 = 0.3;

/// What is done to the previous person's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operator {
    /// `left + right`.
    Add,
    /// `left - right`.
    Subtract,
    /// `left * right`.
    Multiply,
}

impl Operator {
    /// All operators.
    pub(crate) const ALL: [Self; 3] = [Self::Add, Self::Subtract, Self::Multiply];

    /// The sign in a solution.
    pub(crate) fn symbol(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
        }
    }

    /// The true result modulo [`MODULUS`].
    pub(crate) fn apply(self, left: u32, right: u32) -> u32 {
        let (left, right) = (left % MODULUS, right % MODULUS);
        let result = match self {
            Self::Add => left + right,
            Self::Subtract => left + MODULUS - right,
            Self::Multiply => left * right,
        };
        result % MODULUS
    }
}

/// The right operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operand {
    /// A number in the problem's text.
    Constant(u32),
    /// What the base person has.
    BasePerson,
}

/// One derived person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Derivation {
    /// Index in [`PEOPLE`].
    pub person: usize,
    /// What is done to the previous person's value.
    pub operator: Operator,
    /// With what.
    pub operand: Operand,
}

/// A problem: a base person with a start value, and people derived from it one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Problem {
    /// The base person, an index in [`PEOPLE`].
    pub base: usize,
    /// What the base person has, below [`MODULUS`].
    pub start: u32,
    /// The derived people, in order.
    pub derivations: Vec<Derivation>,
}

impl Problem {
    /// Draws a problem with a number of derived people uniform in `n_derived` (at least 1, at most
    /// nine: names do not repeat).
    pub(crate) fn draw(n_derived: &RangeInclusive<usize>, rng: &mut impl Rng) -> Self {
        let n_derived = rng.random_range(n_derived.clone()).clamp(1, PEOPLE.len() - 1);
        let people = rand::seq::index::sample(rng, PEOPLE.len(), n_derived + 1);
        let derivations = people
            .iter()
            .skip(1)
            .enumerate()
            .map(|(idx, person)| {
                let operator = Operator::ALL[rng.random_range(0..Operator::ALL.len())];
                let can_be_base = idx > 0 && operator != Operator::Multiply;
                let operand = if can_be_base && rng.random_bool(BASE_OPERAND_RATE) {
                    Operand::BasePerson
                } else if operator == Operator::Multiply {
                    Operand::Constant(rng.random_range(2..=9))
                } else {
                    Operand::Constant(rng.random_range(2..MODULUS))
                };
                Derivation { person, operator, operand }
            })
            .collect();
        Self { base: people.index(0), start: rng.random_range(0..MODULUS), derivations }
    }

    /// The text a model reads, its last line break included.
    pub(crate) fn prompt(&self) -> String {
        let base = PEOPLE[self.base];
        let mut text = format!("{base} has {} coins. ", self.start);
        for &Derivation { person, operator, operand } in &self.derivations {
            let clause = match (operator, operand) {
                (Operator::Add, Operand::Constant(n)) => format!("{n} more"),
                (Operator::Subtract, Operand::Constant(n)) => format!("{n} fewer"),
                (Operator::Multiply, Operand::Constant(n)) => format!("{n} times as many"),
                (Operator::Add, Operand::BasePerson) => format!("that plus {base}'s"),
                (Operator::Subtract, Operand::BasePerson) => format!("that minus {base}'s"),
                (Operator::Multiply, Operand::BasePerson) => format!("that times {base}'s"),
            };
            // Writing to a string does not fail.
            let _ = write!(text, "{} has {clause}. ", PEOPLE[person]);
        }
        text + QUESTION + "\n"
    }

    /// Reads a problem back from its prompt; `None` if it is not a problem of this world.
    pub(crate) fn parse(prompt: &str) -> Option<Self> {
        let told = prompt.strip_suffix('\n').unwrap_or(prompt).strip_suffix(QUESTION)?;
        let mut sentences =
            told.split_terminator(". ").map(|sentence| sentence.split_once(" has "));
        let person = |name: &str| PEOPLE.iter().position(|&known| known == name);
        let number = |digits: &str| digits.parse().ok().filter(|&n: &u32| n < MODULUS);

        let (name, amount) = sentences.next()??;
        let (base, start) = (person(name)?, number(amount.strip_suffix(" coins")?)?);
        let base_operand = format!("{name}'s");
        let derivations = sentences
            .map(|sentence| {
                let (name, clause) = sentence?;
                let (first, rest) = clause.split_once(' ')?;
                let (operator, operand) = match (first, rest) {
                    (n, "more") => (Operator::Add, Operand::Constant(number(n)?)),
                    (n, "fewer") => (Operator::Subtract, Operand::Constant(number(n)?)),
                    (n, "times as many") => (Operator::Multiply, Operand::Constant(number(n)?)),
                    ("that", rest) => {
                        let (word, owner) = rest.split_once(' ')?;
                        let operator = match word {
                            "plus" => Operator::Add,
                            "minus" => Operator::Subtract,
                            _ => return None,
                        };
                        (owner == base_operand).then_some((operator, Operand::BasePerson))?
                    }
                    _ => return None,
                };
                Some(Derivation { person: person(name)?, operator, operand })
            })
            .collect::<Option<Vec<_>>>()?;
        (!derivations.is_empty()).then_some(Self { base, start, derivations })
    }

    /// The arithmetic without the names: two problems with the same skeleton are the same problem.
    pub(super) fn skeleton(&self) -> Vec<u64> {
        let derivations = self.derivations.iter().flat_map(|derivation| {
            let operand = match derivation.operand {
                Operand::Constant(n) => n,
                Operand::BasePerson => MODULUS,
            };
            [derivation.operator as u64, u64::from(operand)]
        });
        std::iter::once(u64::from(self.start)).chain(derivations).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_problem_reads_as_designed() {
        let text = "Eve has 20 coins. Cal has 4 times as many. Dan has that plus Eve's. \
                    Fay has 2 more. Ben has that minus Eve's. Ann has 3 fewer. \
                    How many does the last one have, counting modulo 23?\n";
        let problem = Problem::parse(text).expect("a problem");
        assert_eq!(problem.prompt(), text);
    }

    #[test]
    fn other_texts_are_no_problems() {
        for text in [
            "",
            "How many does the last one have, counting modulo 23?\n",
            "Eve has 20 coins. How many does the last one have, counting modulo 23?\n",
            "Eve has 23 coins. Cal has 4 more. How many does the last one have, counting modulo 23?",
            "Eve has 3 coins. Zoe has 4 more. How many does the last one have, counting modulo 23?",
            "Eve has 3 coins. Cal has that plus Ann's. How many does the last one have, counting modulo 23?",
        ] {
            assert_eq!(Problem::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_problem_survives_its_text(seed: u64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let problem = Problem::draw(&(1..=9), &mut rng);
            prop_assert_eq!(Problem::parse(&problem.prompt()), Some(problem));
        }

        #[test]
        fn people_do_not_repeat_and_operands_are_in_range(seed: u64) {
            let problem = Problem::draw(&(3..=6), &mut ChaCha8Rng::seed_from_u64(seed));
            let mut people: Vec<_> = problem.derivations.iter().map(|d| d.person).collect();
            people.push(problem.base);
            people.sort_unstable();
            people.dedup();
            prop_assert_eq!(people.len(), problem.derivations.len() + 1);
            prop_assert!((3..=6).contains(&problem.derivations.len()));
            prop_assert_ne!(problem.derivations[0].operand, Operand::BasePerson);
            for d in &problem.derivations {
                match (d.operator, d.operand) {
                    (Operator::Multiply, Operand::Constant(n)) => prop_assert!((2..=9).contains(&n)),
                    (Operator::Multiply, Operand::BasePerson) => prop_assert!(false),
                    (_, Operand::Constant(n)) => prop_assert!((2..=22).contains(&n)),
                    (_, Operand::BasePerson) => {}
                }
            }
        }
    }
}
