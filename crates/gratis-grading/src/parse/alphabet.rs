//! The common alphabet of LaTeX, plain text and Unicode: which mark or name a command or a character
//! stands for.

/// `\{` and `\}` as marks.
pub(crate) const OPEN_SET: char = '⦃';
/// The closing brace of a set.
pub(crate) const CLOSE_SET: char = '⦄';
/// The end of a matrix row.
pub(crate) const NEW_ROW: char = '\n';
/// The word `and`.
pub(crate) const AND: char = '∧';
/// The word `or`.
pub(crate) const OR: char = '∨';
/// `\mid`, or a bar that is surely no absolute value.
pub(crate) const MID: char = '∣';

/// The commands that take two arguments.
pub(super) fn is_two_argument(name: &str) -> bool {
    matches!(name, "frac" | "dfrac" | "tfrac" | "cfrac" | "ffrac" | "binom" | "dbinom" | "tbinom")
}

/// Commands whose argument is words.
pub(super) fn is_text_command(name: &str) -> bool {
    matches!(
        name,
        "text"
            | "textbf"
            | "textit"
            | "textrm"
            | "textsf"
            | "texttt"
            | "textnormal"
            | "textsc"
            | "mbox"
            | "hbox"
            | "emph"
            | "mathrm"
            | "mathsf"
            | "mathit"
            | "mathbf"
            | "boldsymbol"
            | "operatorname"
            | "operatornamewithlimits"
    )
}

/// Commands that change how things look, not what they are.
pub(super) fn is_style_command(name: &str) -> bool {
    matches!(
        name,
        "displaystyle"
            | "textstyle"
            | "scriptstyle"
            | "limits"
            | "nolimits"
            | "quad"
            | "qquad"
            | "rm"
            | "bf"
            | "it"
            | "mathcal"
            | "vec"
            | "hat"
            | "bar"
            | "tilde"
            | "widehat"
            | "overrightarrow"
            | "underline"
            | "boxed"
            | "fbox"
            | "thinspace"
            | "enspace"
            | "space"
            | "mathop"
            | "hfill"
            | "nonumber"
            | "overline"
            | "mathbb"
            | "mathfrak"
            | "mathscr"
            | "therefore"
            | "because"
            | "checkmark"
            | "blacksquare"
            | "qed"
            | "large"
            | "Large"
            | "small"
            | "normalsize"
            | "bold"
    )
}

/// The Greek letters and other names that stand for themselves.
pub(super) fn greek_or_name(name: &str) -> Option<String> {
    const NAMES: &[&str] = &[
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
        "angle",
        "triangle",
        "partial",
        "nabla",
        "clubsuit",
        "diamondsuit",
        "heartsuit",
        "spadesuit",
    ];
    match name {
        "varepsilon" => Some("epsilon".to_owned()),
        "vartheta" => Some("theta".to_owned()),
        "varphi" => Some("phi".to_owned()),
        "mathbbR" | "R" | "reals" => Some("R".to_owned()),
        "imath" => Some("i".to_owned()),
        _ => NAMES.contains(&name).then(|| name.to_owned()),
    }
}

/// A Greek letter typed as itself, by its name.
pub(super) fn greek_name(letter: &str) -> String {
    match letter {
        "π" => "pi",
        "θ" => "theta",
        "α" => "alpha",
        "β" => "beta",
        "γ" => "gamma",
        "λ" => "lambda",
        "μ" => "mu",
        "ω" => "omega",
        "φ" => "phi",
        "ℝ" => "R",
        _ => letter,
    }
    .to_owned()
}

/// The mark for a command.
pub(super) fn mark_of_command(name: &str) -> Option<char> {
    Some(match name {
        "times" | "cdot" | "ast" | "bullet" => '*',
        "div" => '/',
        "pm" => '±',
        "mp" => '∓',
        "le" | "leq" | "leqslant" | "leqq" => '≤',
        "ge" | "geq" | "geqslant" | "geqq" => '≥',
        "lt" => '<',
        "gt" => '>',
        "ne" | "neq" => '≠',
        "approx" | "simeq" | "thickapprox" | "cong" => '≈',
        "in" => '∈',
        "cup" | "bigcup" => '∪',
        "cap" | "bigcap" => '∩',
        "setminus" | "backslash" | "smallsetminus" => '∖',
        "infty" => '∞',
        "circ" | "degree" => '°',
        "lbrace" => OPEN_SET,
        "rbrace" => CLOSE_SET,
        "lbrack" => '[',
        "rbrack" => ']',
        "langle" => '⟨',
        "rangle" => '⟩',
        "lfloor" => '⌊',
        "rfloor" => '⌋',
        "lceil" => '⌈',
        "rceil" => '⌉',
        "vert" | "lvert" | "rvert" | "Vert" | "lVert" | "rVert" => '|',
        "mid" => MID,
        "colon" => ':',
        "prime" => '\'',
        "land" | "wedge" => AND,
        "lor" | "vee" => OR,
        "cr" => NEW_ROW,
        "emptyset" | "varnothing" => '∅',
        "to" | "rightarrow" | "Rightarrow" | "implies" | "Longrightarrow" | "mapsto" => '→',
        "equiv" => '≡',
        _ => return None,
    })
}

/// The meaning of a raised character.
pub(super) fn raised(c: char) -> Option<char> {
    Some(match c {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴'..='⁹' => char::from_digit(u32::from(c) - u32::from('⁰'), 10)?,
        '⁺' => '+',
        '⁻' => '-',
        'ⁿ' => 'n',
        'ˣ' => 'x',
        '⁽' => '(',
        '⁾' => ')',
        _ => return None,
    })
}

/// The meaning of a lowered character.
pub(super) fn lowered(c: char) -> Option<char> {
    match c {
        '₀'..='₉' => char::from_digit(u32::from(c) - u32::from('₀'), 10),
        'ₙ' => Some('n'),
        'ₖ' => Some('k'),
        _ => None,
    }
}

/// Whether a character is Chinese, Japanese or Korean script.
pub(super) fn is_cjk(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7af)
}

/// The mark of a character that is typed as itself.
pub(super) fn plain_mark(c: char) -> Option<char> {
    Some(match c {
        '−' | '–' | '—' | '－' | '‐' | '‑' => '-',
        '×' | '·' | '⋅' | '∙' | '＊' | '∗' => '*',
        '÷' | '／' | '⁄' | '∕' => '/',
        '（' => '(',
        '）' => ')',
        '［' | '【' => '[',
        '］' | '】' => ']',
        '，' | '、' => ',',
        '；' => ';',
        '：' => ':',
        '＝' => '=',
        '％' => '%',
        '＋' => '+',
        '＜' => '<',
        '＞' => '>',
        '≦' | '⩽' => '≤',
        '≧' | '⩾' => '≥',
        '′' | '’' => '\'',
        '→' | '⇒' => '→',
        '+' | '-' | '*' | '/' | '^' | '_' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | ',' | ';'
        | ':' | '!' | '\'' | '&' | '<' | '>' | '=' | '≤' | '≥' | '≠' | '≈' | '∈' | '∪' | '∩'
        | '∖' | '±' | '∓' | '%' | '∞' | '⟨' | '⟩' | '⌊' | '⌋' | '⌈' | '⌉' | '∅' | '∣' | '≡' => {
            c
        }
        _ => return None,
    })
}
