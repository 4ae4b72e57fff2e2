//! Texts without letters, digits and spaces beyond ASCII, as most are: they are read without regular
//! expressions, which take long to compile and are slow where they know all of Unicode.

/// Whether a text has no other characters than ASCII and signs of typography, money and mathematics.
pub(super) fn is_plain(text: &str) -> bool {
    text.is_ascii() || text.chars().all(|c| c.is_ascii() || is_sign(c))
}

/// Signs that belong to no word.
fn is_sign(c: char) -> bool {
    matches!(c, '\u{a1}'..='\u{a9}' | '\u{ab}'..='\u{b4}' | '\u{b6}'..='\u{b9}' | '\u{bb}'..='\u{bf}' | '×' | '÷'
        | '\u{2010}'..='\u{2027}' | '\u{20a0}'..='\u{20cf}' | '\u{2190}'..='\u{22ff}')
}
