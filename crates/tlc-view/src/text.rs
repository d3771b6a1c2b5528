//! Texts of tables where they could do more than be read.

/// `text` with a blank for each character that is none to see: control characters, which a terminal would obey and SVG
/// must not hold, and the two that are no characters at all.
///
/// ```
/// assert_eq!(tlc_view::printable("shoe\x1b[2J\n"), "shoe [2J ");
/// ```
pub fn printable(text: &str) -> String {
    let is_hidden = |c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect()
}

/// `text` with an apostrophe before it if a spreadsheet would take it for a formula.
pub(crate) fn no_formula(text: &str) -> String {
    let apostrophe = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("{apostrophe}{text}")
}
