//! Reports as text: aligned columns for a terminal, or Markdown.

use super::measure::Measure;

const HEADER: [&str; 5] = ["measure", "k", "value", "±", "of"];

/// A line of a table: measure, k, value, standard error, what was looked at.
#[derive(Debug)]
pub(super) struct Line([String; 5]);

impl Line {
    /// `unit` is what the measure looked at, in the plural.
    pub(super) fn measure(name: &str, measure: &Measure, unit: &str) -> Self {
        let sample = grouped(measure.sample);
        Self([
            name.to_owned(),
            measure.k.map(|k| k.to_string()).unwrap_or_default(),
            decimals(measure.value),
            measure.standard_error.map(|error| decimals(Some(error))).unwrap_or_default(),
            if measure.exact { format!("all {sample} {unit}") } else { format!("a sample of {sample} {unit}") },
        ])
    }

    pub(super) fn number(name: &str, value: Option<f64>, of: &str) -> Self {
        Self([name.to_owned(), String::new(), decimals(value), String::new(), of.to_owned()])
    }

    pub(super) fn count(name: &str, count: usize, of: &str) -> Self {
        Self([name.to_owned(), String::new(), grouped(count), String::new(), of.to_owned()])
    }
}

fn decimals(value: Option<f64>) -> String {
    value.map_or_else(|| "undefined".to_owned(), |value| format!("{value:.4}"))
}

/// A count with a comma between thousands.
pub(super) fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Columns padded to their widest cell, numbers to the right, each line ended.
pub(super) fn aligned(lines: &[Line]) -> String {
    let rows: Vec<[&str; 5]> =
        std::iter::once(HEADER).chain(lines.iter().map(|line| line.0.each_ref().map(String::as_str))).collect();
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for [name, k, value, error, of] in rows {
        let line =
            format!("{name:<0$}  {k:>1$}  {value:>2$}  {error:>3$}  {of}", widths[0], widths[1], widths[2], widths[3]);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A Markdown table, each line ended.
pub(super) fn markdown(lines: &[Line]) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = row(&HEADER.map(str::to_owned));
    text.push_str("|---|---:|---:|---:|---|\n");
    text.extend(lines.iter().map(|line| row(&line.0)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn tables_are_aligned() {
        let measure = Measure { k: Some(15), value: Some(0.5), standard_error: Some(0.01), sample: 2000, exact: false };
        let lines = [Line::measure("trust", &measure, "rows"), Line::number("far", None, "all 3 rows")];
        assert_eq!(
            aligned(&lines),
            "measure   k      value       ±  of\n\
             trust    15     0.5000  0.0100  a sample of 2,000 rows\n\
             far          undefined          all 3 rows\n"
        );
        assert_eq!(
            markdown(&lines),
            "| measure | k | value | ± | of |\n\
             |---|---:|---:|---:|---|\n\
             | trust | 15 | 0.5000 | 0.0100 | a sample of 2,000 rows |\n\
             | far |  | undefined |  | all 3 rows |\n"
        );
    }
}
