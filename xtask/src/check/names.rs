//! What the documents name exists: `tlc` commands, files, tests and other functions.
//!
//! Looked at is what stands in back-ticks or behind a `$`. A name of four words or more, such as
//! `a_table_is_created_once`, is a function's; so is what follows a file's name and a colon.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::places;

/// The documents besides those in `docs`.
const DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"];
const ENDINGS: [&str; 4] = [".rs", ".cpp", ".py", ".sh"];

pub(crate) fn check() -> Result<()> {
    let root = places::workspace();
    let known = Known::read(&root)?;
    let mut documents: Vec<_> = DOCUMENTS.iter().map(|name| root.join(name)).collect();
    for entry in fs::read_dir(root.join("docs"))? {
        documents.extend(Some(entry?.path()).filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    documents.sort();
    let mut wrong = Vec::new();
    let mut n_names = 0;
    for document in documents {
        let text = fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))?;
        let name = document.strip_prefix(&root).unwrap_or(&document).display().to_string();
        for (number, line) in text.lines().enumerate() {
            for mentioned in mentions(line) {
                n_names += 1;
                if let Some(what) = known.is_missing(&mentioned) {
                    wrong.push(format!("{name}:{}: {what}", number + 1));
                }
            }
        }
    }
    // So that a change of how documents are written cannot switch this off.
    ensure!(n_names > 100, "only {n_names} names were found in the documents: this check looks at the wrong thing");
    ensure!(wrong.is_empty(), "documents name what is not there:\n{}", wrong.join("\n"));
    Ok(())
}

/// What a document says that there is.
#[derive(Debug, PartialEq, Eq)]
enum Mention {
    /// A sub-command of `tlc`.
    Command(String),
    /// The end of a file's path.
    File(String),
    Function(String),
}

/// What there is.
struct Known {
    commands: BTreeSet<String>,
    /// From the root on, with `/` before the first folder.
    files: Vec<String>,
    functions: BTreeSet<String>,
}

impl Known {
    fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        list_files(root, "", &mut files)?;
        let mut functions = BTreeSet::new();
        for file in files.iter().filter(|file| file.ends_with(".rs") || file.ends_with(".py")) {
            let text = fs::read_to_string(root.join(&file[1..])).with_context(|| format!("cannot read {file}"))?;
            functions.extend(words_after(&text, &["fn ", "def "]));
        }
        let cli = "crates/tlc/src/cli/mod.rs";
        let text = fs::read_to_string(root.join(cli)).with_context(|| format!("cannot read {cli}"))?;
        let commands = variants(&text, "enum Command {");
        for wanted in ["demo", "remove-run"] {
            ensure!(commands.contains(wanted), "{cli} seems to have no command {wanted}: this check reads it wrongly");
        }
        Ok(Self { commands, files, functions })
    }

    /// What is wrong with a mention, if anything is.
    fn is_missing(&self, mention: &Mention) -> Option<String> {
        match mention {
            Mention::Command(name) if !self.commands.contains(name) => {
                let known: Vec<&str> = self.commands.iter().map(String::as_str).collect();
                Some(format!("`tlc {name}` is none of {}", known.join(", ")))
            }
            Mention::File(path) if !self.files.iter().any(|file| file.ends_with(&format!("/{path}"))) => {
                Some(format!("there is no file `{path}`"))
            }
            Mention::Function(name) if !self.functions.contains(name) => {
                Some(format!("there is no function or test `{name}`"))
            }
            _ => None,
        }
    }
}

/// The files below `folder`, which is `name` from the root; not what was built, fetched, or is hidden.
fn list_files(folder: &Path, name: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let own = entry.file_name().to_string_lossy().into_owned();
        if own.starts_with('.') || own == "target" || own == "node_modules" {
            continue;
        }
        let path = format!("{name}/{own}");
        match entry.file_type()?.is_dir() {
            true => list_files(&entry.path(), &path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}

/// The identifiers that follow one of `keywords`.
fn words_after<'a>(text: &'a str, keywords: &'a [&str]) -> impl Iterator<Item = String> + 'a {
    keywords
        .iter()
        .flat_map(move |keyword| text.split(keyword).skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
}

/// The variants of an enumeration as clap calls them: `RemoveRun` is `remove-run`.
fn variants(text: &str, start: &str) -> BTreeSet<String> {
    let body = text.split_once(start).map_or("", |(_, rest)| rest);
    let lines = body.lines().take_while(|line| *line != "}").map(str::trim);
    let names = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    names
        .map(|line| {
            let mut name = String::new();
            for c in line.chars().take_while(char::is_ascii_alphanumeric) {
                if c.is_ascii_uppercase() && !name.is_empty() {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
            }
            name
        })
        .collect()
}

/// What a line mentions in back-ticks or behind a prompt.
fn mentions(line: &str) -> Vec<Mention> {
    let spans = line.split('`').skip(1).step_by(2);
    spans.chain(line.trim().strip_prefix("$ ")).flat_map(mentions_of).collect()
}

fn mentions_of(span: &str) -> Vec<Mention> {
    if let Some(rest) = span.strip_prefix("tlc ") {
        let name = rest.split_whitespace().next().unwrap_or_default();
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase());
        return is_name.then(|| Mention::Command(name.to_owned())).into_iter().collect();
    }
    // A glob or what stands for a name is none.
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c));
    let is_function = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let is_file =
        |text: &str| is_plain(text) && ENDINGS.iter().any(|ending| text.len() > ending.len() && text.ends_with(ending));
    match span.split_once(": ") {
        Some((file, name)) if is_file(file) && is_function(name) => {
            vec![Mention::File(file.to_owned()), Mention::Function(name.to_owned())]
        }
        _ if is_file(span) => vec![Mention::File(span.to_owned())],
        _ if is_function(span) && span.matches('_').count() >= 3 => vec![Mention::Function(span.to_owned())],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_mention_commands_files_and_functions() {
        let line = "`tlc ls`, `tlc --help`, `lance/tests.rs: a_b`, `url.rs`, `four_words_are_one`, `n_rows`, `a::b.rs`";
        let [command, file, function] = [Mention::Command, Mention::File, Mention::Function]
            .map(|mention| move |name: &str| mention(name.to_owned()));
        let expected =
            [command("ls"), file("lance/tests.rs"), function("a_b"), file("url.rs"), function("four_words_are_one")];
        assert_eq!(mentions(line), expected);
        assert_eq!(mentions("    $ tlc find moved my-project"), [command("find")]);
        assert!(mentions("…_on_s3 without back-ticks: url.rs, tlc nothing").is_empty());
    }

    #[test]
    fn what_is_not_there_is_told() {
        let known = Known {
            commands: variants(
                "enum Command {\n    /// Text\n    Ls(LsArgs),\n    #[cfg(x)]\n    RemoveRun,\n}\n",
                "enum Command {",
            ),
            files: vec!["/crates/a/src/url.rs".to_owned()],
            functions: words_after("    fn it_works_as_said() {}\npub fn a<T>()", &["fn "]).collect(),
        };
        let missing = |mention: Mention| known.is_missing(&mention).is_some();
        let (command, file) = (|name: &str| Mention::Command(name.into()), |name: &str| Mention::File(name.into()));
        assert_eq!([command("ls"), command("remove-run"), command("rm")].map(missing), [false, false, true]);
        assert_eq!([file("src/url.rs"), file("url.rs"), file("rl.rs")].map(missing), [false, false, true]);
        let function = |name: &str| Mention::Function(name.into());
        assert_eq!([function("it_works_as_said"), function("a"), function("b")].map(missing), [false, false, true]);
    }

    /// Runs in every `cargo test`, not only where everything is checked.
    #[test]
    fn what_the_documents_of_this_repository_name_is_there() {
        check().expect("the documents are right");
    }
}
