//! What a task said, found in what Ballista makes of it.
//!
//! Errors become texts on their way: an executor quotes the debug form of a task's error, perhaps several times over, and
//! a scheduler puts its own words around that. A text that could not be parsed into a plan is not quoted.

/// What begins a text in quotes; whether that was an error of input or output.
const QUOTES: [(&str, bool); 3] = [
    ("Execution(\"", false),
    ("IoError(Custom { kind: Other, error: \"", true),
    // Before the debug form of a text that holds one of the others.
    ("most recent failure reason: \"", false),
];
/// Before a text of ours that is not quoted.
const PLAIN: &str = "Execution error: ";
/// How the debug forms of errors begin, for which a quoted text is searched in turn; all others are somebody's words.
const DEBUG_FORMS: [&str; 6] =
    ["DataFusionError(", "ArrowError(", "Execution(", "IoError(", "Shared(", "Task failed due to "];
/// How those of errors of input or output begin that were not made by us.
const IO_ERRORS: [&str; 3] = ["IoError(", "DataFusionError(IoError(", "ArrowError(IoError("];

/// The innermost text, and what kind of error it was.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    /// An error of input or output, which may pass.
    pub(super) is_io: bool,
}

impl Said {
    pub(super) fn find_in(text: &str) -> Self {
        let mut said = Self { text: text.trim_end().to_owned(), is_io: begins_with_any(text, &IO_ERRORS) };
        let mut was_quoted = false;
        while let Some((inside, is_io)) = quoted_in(&said.text) {
            was_quoted = true;
            let is_io = said.is_io || is_io || begins_with_any(&inside, &IO_ERRORS);
            said = Self { text: inside, is_io };
            if !begins_with_any(&said.text, &DEBUG_FORMS) {
                break;
            }
        }
        match said.text.split_once(PLAIN) {
            Some((_, plain)) if !was_quoted => Self { text: plain.to_owned(), ..said },
            _ => said,
        }
    }
}

fn begins_with_any(text: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| text.starts_with(beginning))
}

/// The first quoted text, without what escapes its characters.
fn quoted_in(text: &str) -> Option<(String, bool)> {
    let starts = QUOTES.iter().filter_map(|(mark, is_io)| Some((text.find(mark)?, mark.len(), *is_io)));
    let (at, length, is_io) = starts.min_by_key(|(at, ..)| *at)?;
    let mut inside = String::new();
    let mut rest = text[at + length..].chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => inside.push('\n'),
                Some(escaped) => inside.push(escaped),
                None => break,
            },
            c => inside.push(c),
        }
    }
    Some((inside, is_io))
}

#[cfg(test)]
mod tests {
    use std::io;

    use ballista_core::error::BallistaError;
    use datafusion::error::DataFusionError;

    use super::*;

    #[test]
    fn what_a_task_said_is_told_in_its_own_words() {
        let words = "column \"e\" of\ntable";
        let own = || DataFusionError::Execution(words.to_owned());
        // As an executor makes it of an error that a stream gave.
        let again = DataFusionError::Execution(format!("{:?}", BallistaError::DataFusionError(Box::new(own()))));
        for error in [own(), again] {
            let text = format!("Job 7 failed: Task failed due to runtime execution error: DataFusionError({error:?})");
            assert_eq!(Said::find_in(&text), Said { text: words.to_owned(), is_io: false });
        }
        let plain = "Could not parse plan: DataFusion error: Execution error: another version";
        assert_eq!(Said::find_in(plain).text, "another version");
        assert_eq!(Said::find_in("there was no executor for 2 s\n").text, "there was no executor for 2 s");
    }

    #[test]
    fn an_error_of_input_or_output_is_told_from_others() {
        let words = "cannot write \"t\": no space";
        let own = BallistaError::DataFusionError(Box::new(DataFusionError::IoError(io::Error::other(words))));
        let expected = Said { text: words.to_owned(), is_io: true };
        let of_a_stream = DataFusionError::Execution(format!("{own:?}"));
        assert_eq!(Said::find_in(&format!("{of_a_stream:?}")), expected);
        let error =
            format!("Task failed due to DataFusion IO error: {:?}", DataFusionError::IoError(io::Error::other(words)));
        let of_a_job = format!(
            "Job failed due to stage 1 failed: Task 0 in Stage 1 failed 4 times, fail the stage, most recent failure \
             reason: {error:?}\n"
        );
        assert_eq!(Said::find_in(&of_a_job), expected);
        let system = BallistaError::IoError(io::Error::from_raw_os_error(28));
        let said = Said::find_in(&format!("{:?}", DataFusionError::Execution(format!("{system:?}"))));
        assert!(said.is_io && said.text.contains("code: 28"), "{said:?}");
    }
}
