//! Which column is what, by types and names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, Int64Array};
use arrow_schema::{DataType, Field};
use tlc_core::{Column, FieldRoles, NumberRole, embedding_width};

use super::columns::{parsed, stacked};
use super::{ForeignError, n_valid};

/// Classes that a legend can still hold.
const MAX_CLASSES: usize = 1000;
/// Numbered columns that are an embedding rather than a few measurements.
const MIN_WIDTH: usize = 4;

const LABELS: [&str; 6] = ["label", "labels", "class", "target", "category", "y"];
const PREDICTIONS: [&str; 5] = ["predicted", "prediction", "predictions", "pred", "predicted_label"];
const LOSSES: [&str; 1] = ["loss"];
const TEXTS: [&str; 6] = ["text", "sentence", "title", "content", "caption", "description"];

/// Gives roles to columns that have none. `embedding` names what a map shall be made of.
pub(super) fn assign(mut columns: Vec<Column>, path: &Path, embedding: &[String]) -> Result<Vec<Column>, ForeignError> {
    let listed = list_of(&columns);
    for column in &mut columns {
        if let Some(vectors) = parsed(column) {
            *column = vectors;
        }
    }
    let arrow = |source| ForeignError::Arrow { path: path.to_owned(), source };
    if embedding.is_empty() {
        for (name, members) in numbered(&columns) {
            let parts: Vec<&Column> = members.iter().map(|&index| &columns[index]).collect();
            let vectors = stacked(&free(&name, &columns), &parts).map_err(arrow)?;
            replace(&mut columns, &members, vectors);
        }
        if let Some((name, members)) = coordinates(&columns) {
            let parts: Vec<&Column> = members.iter().map(|&index| &columns[index]).collect();
            let places = stacked(&free(&name, &columns), &parts).map_err(arrow)?;
            replace(&mut columns, &members, places);
        }
    } else {
        name_embedding(&mut columns, path, embedding)?;
    }
    vector_roles(&mut columns, !embedding.is_empty());
    let is_shown =
        |column: &Column| matches!(column.field.role(), Some(NumberRole::ReducedEmbedding | NumberRole::NnEmbedding));
    if !columns.iter().any(is_shown) {
        return Err(ForeignError::NoVectors { path: path.to_owned(), columns: listed });
    }
    for column in &mut columns {
        name_classes(column);
    }
    give(&mut columns, &LABELS, NumberRole::Label, is_class);
    give(&mut columns, &PREDICTIONS, NumberRole::Prediction, is_class);
    give(&mut columns, &LOSSES, NumberRole::Loss, |column| column.field.data_type() == &DataType::Float32);
    give(&mut columns, &TEXTS, NumberRole::Text, |column| column.field.data_type() == &DataType::Utf8);
    if let Some(pictures) = columns.iter_mut().find(|column| holds_pictures(column)) {
        pictures.field = pictures.field.clone().with_role(NumberRole::Image);
    }
    Ok(columns)
}

fn list_of(columns: &[Column]) -> String {
    let text = |column: &Column| format!("{} ({})", column.field.name(), column.field.data_type());
    match columns.is_empty() {
        true => "none".to_owned(),
        false => columns.iter().map(text).collect::<Vec<_>>().join(", "),
    }
}

/// `name`, or one like it if a column is called so.
fn free(name: &str, columns: &[Column]) -> String {
    let mut name = name.to_owned();
    while columns.iter().any(|column| *column.field.name() == name) {
        name.push_str("_map");
    }
    name
}

/// Puts `column` in the place of the first of `members`.
fn replace(columns: &mut Vec<Column>, members: &[usize], column: Column) {
    let Some(&first) = members.iter().min() else { return };
    let mut index = 0;
    let mut column = Some(column);
    columns.retain_mut(|old| {
        let (is_member, is_first) = (members.contains(&index), index == first);
        index += 1;
        if is_first && let Some(column) = column.take() {
            *old = column;
            return true;
        }
        !is_member
    });
}

fn is_number(column: &Column) -> bool {
    matches!(column.field.data_type(), DataType::Int64 | DataType::Float32) && column.field.role().is_none()
}

/// Runs of columns such as `pixel0`, `pixel1`, …, by what their names have in common.
fn numbered(columns: &[Column]) -> Vec<(String, Vec<usize>)> {
    let mut families: BTreeMap<String, BTreeMap<usize, usize>> = BTreeMap::new();
    for (index, column) in columns.iter().enumerate().filter(|(_, column)| is_number(column)) {
        let name = column.field.name();
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if let Ok(number) = name[stem.len()..].parse() {
            families.entry(stem.to_owned()).or_default().insert(number, index);
        }
    }
    let complete = |(stem, members): (String, BTreeMap<usize, usize>)| {
        let first = *members.keys().next()?;
        let is_run = first <= 1 && members.keys().copied().eq(first..first + members.len());
        // Of two or three only what an exported map is called: `map_0`, `map_1`.
        let is_long = members.len() >= MIN_WIDTH || (members.len() >= 2 && stem.ends_with('_') && first == 0);
        let name = stem.trim_end_matches(['_', '.', '-', '[', ' ']);
        let name = if name.is_empty() { "values" } else { name };
        (is_run && is_long).then(|| (name.to_owned(), members.into_values().collect()))
    };
    let mut found: Vec<(String, Vec<usize>)> = families.into_iter().filter_map(complete).collect();
    // From the end, so that places before stay what they are.
    found.sort_by_key(|(_, members)| std::cmp::Reverse(members.iter().min().copied()));
    // Members that lie between those of another family would be moved by it.
    let is_apart = found.len() < 2;
    if !is_apart {
        let spans: Vec<(usize, usize)> = found
            .iter()
            .map(|(_, members)| (*members.iter().min().unwrap_or(&0), *members.iter().max().unwrap_or(&0)))
            .collect();
        if spans.windows(2).any(|pair| pair[1].1 > pair[0].0) {
            found.sort_by_key(|(_, members)| std::cmp::Reverse(members.len()));
            found.truncate(1);
        }
    }
    found
}

/// Columns such as `x`, `y` and `z`, or `projection_x` and `projection_y`, the first such.
fn coordinates(columns: &[Column]) -> Option<(String, Vec<usize>)> {
    let find = |name: &str| {
        columns.iter().position(|column| is_number(column) && column.field.name().eq_ignore_ascii_case(name))
    };
    columns.iter().filter(|column| is_number(column)).find_map(|column| {
        let name = column.field.name().to_ascii_lowercase();
        let with = |axis: &str| match name.as_str() {
            "x" => Some(axis.to_owned()),
            other => other
                .strip_suffix("_x")
                .map(|stem| format!("{stem}_{axis}"))
                .or_else(|| other.strip_prefix("x_").map(|stem| format!("{axis}_{stem}"))),
        };
        let mut members = vec![find(&with("x")?)?, find(&with("y")?)?];
        members.extend(with("z").and_then(|name| find(&name)));
        let stem = name.trim_end_matches('x').trim_end_matches('_').trim_start_matches("x_").to_owned();
        Some((if stem.is_empty() { "map".to_owned() } else { stem }, members))
    })
}

/// The named column of vectors, or the named columns of numbers as one.
fn name_embedding(columns: &mut Vec<Column>, path: &Path, names: &[String]) -> Result<(), ForeignError> {
    let refused = |column: &str, reason: String| ForeignError::Column {
        column: column.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let mut members = Vec::new();
    for name in names {
        let index = columns.iter().position(|column| column.field.name() == name);
        members.push(index.ok_or_else(|| refused(name, format!("there is none; there are {}", list_of(columns))))?);
    }
    if let [one] = members[..]
        && embedding_width(&columns[one].field).is_some()
    {
        let field = columns[one].field.clone().with_role(NumberRole::NnEmbedding);
        columns[one].field = field;
        return Ok(());
    }
    if let Some(&other) = members.iter().find(|&&index| !is_number(&columns[index])) {
        let kind = columns[other].field.data_type().clone();
        let reason = format!("it is of {kind}; one column of vectors or several of numbers are needed");
        return Err(refused(columns[other].field.name(), reason));
    }
    if members.len() < 2 {
        return Err(refused(&names[0], "it holds single numbers; name two or more such columns".to_owned()));
    }
    let parts: Vec<&Column> = members.iter().map(|&index| &columns[index]).collect();
    let mut vectors = stacked(&free("embedding", columns), &parts)
        .map_err(|source| ForeignError::Arrow { path: path.to_owned(), source })?;
    vectors.field = vectors.field.with_role(NumberRole::NnEmbedding);
    replace(columns, &members, vectors);
    Ok(())
}

/// Vectors of two or three numbers are places; one column of wider ones is what a map is made of, preferably one that is
/// called so.
fn vector_roles(columns: &mut [Column], is_named: bool) {
    for column in columns.iter_mut().filter(|column| column.field.role().is_none()) {
        if embedding_width(&column.field).is_some_and(|width| (2..=3).contains(&width)) {
            column.field = column.field.clone().with_role(NumberRole::ReducedEmbedding);
        }
    }
    let has_one = columns.iter().any(|column| column.field.role() == Some(NumberRole::NnEmbedding));
    if is_named || has_one {
        return;
    }
    let is_wide = |column: &&mut Column| {
        column.field.role().is_none() && embedding_width(&column.field).is_some_and(|width| width > 3)
    };
    let is_called_so = |column: &Column| {
        let name = column.field.name().to_ascii_lowercase();
        ["embed", "vector", "feature", "latent"].iter().any(|word| name.contains(word))
    };
    let chosen = columns.iter_mut().filter(is_wide).min_by_key(|column| !is_called_so(column));
    if let Some(column) = chosen {
        column.field = column.field.clone().with_role(NumberRole::NnEmbedding);
    }
}

/// Texts that repeat are classes: numbers with names, in the names' order.
fn name_classes(column: &mut Column) {
    if column.field.role().is_some() {
        return;
    }
    let Some(texts) = column.values.as_string_opt::<i32>() else { return };
    let is_label = |names: &[&str]| names.iter().any(|name| column.field.name().eq_ignore_ascii_case(name));
    let mut names = BTreeSet::new();
    for text in texts.iter().flatten() {
        names.insert(text);
        if names.len() > MAX_CLASSES {
            return;
        }
    }
    let repeats = 2 * names.len() <= n_valid(column);
    if names.is_empty() || !(repeats || is_label(&LABELS) || is_label(&PREDICTIONS)) || is_label(&TEXTS) {
        return;
    }
    let numbers: BTreeMap<&str, i64> = names.iter().copied().zip(0..).collect();
    let values: Int64Array = texts.iter().map(|text| text.map(|text| numbers[text])).collect();
    let names: BTreeMap<i64, String> = numbers.iter().map(|(name, number)| (*number, (*name).to_owned())).collect();
    let field = Field::new(column.field.name(), DataType::Int64, true).with_value_map(&names);
    *column = Column { field, values: Arc::new(values) };
}

fn is_class(column: &Column) -> bool {
    column.field.data_type() == &DataType::Int64
}

/// Gives `role` to the first column that is called as the first of `names` that any is called, unless one has it.
fn give(columns: &mut [Column], names: &[&str], role: NumberRole, fits: impl Fn(&Column) -> bool) {
    if columns.iter().any(|column| column.field.role().as_ref() == Some(&role)) {
        return;
    }
    let index = names.iter().find_map(|name| {
        columns.iter().position(|column| {
            column.field.role().is_none() && column.field.name().eq_ignore_ascii_case(name) && fits(column)
        })
    });
    if let Some(index) = index {
        columns[index].field = columns[index].field.clone().with_role(role);
    }
}

/// Whether the first value is an encoded picture. The paths of files are not followed: the file may come from anywhere.
fn holds_pictures(column: &Column) -> bool {
    let Some(bytes) = column.values.as_binary_opt::<i32>() else { return false };
    let starts: [&[u8]; 4] = [b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8"];
    let first = (0..bytes.len()).find(|&row| bytes.is_valid(row));
    first.is_some_and(|row| starts.iter().any(|start| bytes.value(row).starts_with(start)))
}
