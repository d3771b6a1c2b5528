//! Conditions on rows as people type them and the page copies them: the part of SQL that says which rows are meant.

use serde_json::Value;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value as Literal};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;
use tlc_core::{Comparison, Filter};

/// A text that is no condition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConditionError {
    /// No SQL.
    #[error("cannot read the condition {text:?}")]
    Syntax {
        /// The condition.
        text: String,
        /// Why.
        #[source]
        source: ParserError,
    },
    /// SQL that says something else.
    #[error(
        "the condition has {part}, which is not understood; AND, OR, NOT, =, <>, <, <=, >, >=, IN, BETWEEN and IS NULL on \
         columns, numbers, 'texts', true and false are; odd names stand in double quotes"
    )]
    Unknown {
        /// The part that is not understood.
        part: String,
    },
}

type Result<T> = std::result::Result<T, ConditionError>;

/// The filter that an SQL condition is, such as follows `WHERE`.
///
/// ```
/// use tlc::core::Filter;
/// let filter = tlc::condition::parse("label NOT IN ('Shirt') AND loss >= 0.5")?;
/// assert_eq!(filter, Filter::is_in("label", ["Shirt"]).negated().and(Filter::ge("loss", 0.5)));
/// # Ok::<(), tlc::condition::ConditionError>(())
/// ```
///
/// # Errors
/// [`ConditionError`]: no SQL; functions, patterns, arithmetic, other queries.
pub fn parse(text: &str) -> Result<Filter> {
    let read = || -> std::result::Result<Expr, ParserError> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text)?;
        let condition = parser.parse_expr()?;
        parser.expect_token(&Token::EOF)?;
        Ok(condition)
    };
    of(&read().map_err(|source| ConditionError::Syntax { text: text.to_owned(), source })?)
}

fn unknown<T>(part: impl ToString) -> Result<T> {
    Err(ConditionError::Unknown { part: part.to_string() })
}

fn of(condition: &Expr) -> Result<Filter> {
    let negated = |filter: Filter, is_negated: bool| if is_negated { filter.negated() } else { filter };
    Ok(match condition {
        Expr::Nested(inner) => of(inner)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => of(expr)?.negated(),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => of(left)?.and(of(right)?),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => of(left)?.or(of(right)?),
        Expr::BinaryOp { left, op, right } => compared(condition, left, op, right)?,
        Expr::InList { expr, list, negated: is_negated } => {
            let column = column(expr)?;
            let values: Vec<Value> = list.iter().map(literal).collect::<Result<_>>()?;
            negated(Filter::In { column, values }, *is_negated)
        }
        Expr::Between { expr, negated: is_negated, low, high } => {
            let column = column(expr)?;
            let both = Filter::ge(&column, literal(low)?).and(Filter::le(&column, literal(high)?));
            negated(both, *is_negated)
        }
        Expr::IsNull(expr) => Filter::is_null(&column(expr)?),
        Expr::IsNotNull(expr) => Filter::is_null(&column(expr)?).negated(),
        Expr::IsTrue(expr) => Filter::eq(&column(expr)?, true),
        Expr::IsFalse(expr) => Filter::eq(&column(expr)?, false),
        Expr::Identifier(name) => Filter::eq(&name.value, true),
        // All of nothing, and any of nothing.
        Expr::Value(value) if value.value == Literal::Boolean(true) => Filter::And(Vec::new()),
        Expr::Value(value) if value.value == Literal::Boolean(false) => Filter::Or(Vec::new()),
        other => return unknown(other),
    })
}

fn compared(whole: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Filter> {
    let is = match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::Ne,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::Le,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::Ge,
        _ => return unknown(whole),
    };
    let mirrored = match is {
        Comparison::Lt => Comparison::Gt,
        Comparison::Le => Comparison::Ge,
        Comparison::Gt => Comparison::Lt,
        Comparison::Ge => Comparison::Le,
        same => same,
    };
    Ok(match (column(left), column(right)) {
        (Ok(column), Ok(other)) => Filter::CompareColumns { column, is, other },
        (Ok(column), Err(_)) => Filter::Compare { column, is, value: literal(right)? },
        (Err(_), Ok(column)) => Filter::Compare { column, is: mirrored, value: literal(left)? },
        (Err(error), Err(_)) => return Err(error),
    })
}

fn column(expr: &Expr) -> Result<String> {
    match expr {
        Expr::Identifier(name) => Ok(name.value.clone()),
        Expr::Nested(inner) => column(inner),
        other => unknown(other),
    }
}

fn literal(expr: &Expr) -> Result<Value> {
    let number = |text: &str| -> Result<Value> {
        // As JSON has them: whole numbers stay whole.
        let whole = serde_json::from_str(text).ok();
        whole.or_else(|| text.parse::<f64>().ok().map(Value::from)).map_or_else(|| unknown(text), Ok)
    };
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Literal::Number(text, _) => number(&format!("-{text}")),
                other => unknown(format!("-{other}")),
            },
            other => unknown(format!("-{other}")),
        },
        Expr::Value(value) => match &value.value {
            Literal::Number(text, _) => number(text),
            Literal::SingleQuotedString(text) => Ok(text.clone().into()),
            Literal::Boolean(value) => Ok((*value).into()),
            other => unknown(other),
        },
        other => unknown(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(condition: &str) -> String {
        parse(condition).expect("understood").to_string()
    }

    #[test]
    fn what_the_page_copies_is_understood() {
        let copied =
            r#"label NOT IN ('Shirt', 'O''Neill') AND loss >= -0.5 AND "odd ""name""" <= 3 AND label <> predicted"#;
        let expected = Filter::is_in("label", ["Shirt", "O'Neill"])
            .negated()
            .and(Filter::ge("loss", -0.5))
            .and(Filter::le("odd \"name\"", 3))
            .and(Filter::CompareColumns { column: "label".into(), is: Comparison::Ne, other: "predicted".into() });
        assert_eq!(parse(copied).expect("understood"), expected);
        assert_eq!(parse("true").expect("understood"), Filter::And(Vec::new()));
        assert_eq!(parse("correct NOT IN (true)").expect("understood"), Filter::is_in("correct", [true]).negated());
    }

    #[test]
    fn sql_binds_as_sql_does() {
        assert_eq!(text("a = 1 OR b = 2 AND NOT c"), "a = 1 or (b = 2 and not (c = true))");
        assert_eq!(text("2 < a"), text("a > 2"));
        assert_eq!(text("a BETWEEN 1 AND 2.5"), "a >= 1 and a <= 2.5");
        assert_eq!(text("a IS NOT NULL"), "not (a is null)");
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_would_be() {
        for condition in ["", "a =", "a = 1; drop table b", "a LIKE 'x%'", "f(a) = 1", "1 = 1", "a = (select 1)"] {
            assert!(parse(condition).is_err(), "{condition}");
        }
        let error = parse("a LIKE 'x%'").expect_err("refused").to_string();
        assert!(error.contains("LIKE") && error.contains("IS NULL"), "{error}");
    }
}
