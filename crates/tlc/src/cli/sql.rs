//! Conditions as the page copies them and people type them: the part of SQL that says which rows are meant.

use anyhow::{Context, bail};
use serde_json::Value;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value as Literal};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use tlc::core::{Comparison, Filter};

const ACCEPTED: &str = "AND, OR, NOT, =, <>, <, <=, >, >=, IN, BETWEEN and IS NULL on columns, numbers, 'texts', true and \
                        false are; odd names stand in double quotes";

/// The filter that a condition is.
pub(super) fn filter(text: &str) -> anyhow::Result<Filter> {
    let parse = || -> Result<Expr, sqlparser::parser::ParserError> {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(text)?;
        let condition = parser.parse_expr()?;
        parser.expect_token(&Token::EOF)?;
        Ok(condition)
    };
    of(&parse().with_context(|| format!("cannot read the condition {text:?}"))?)
}

fn of(condition: &Expr) -> anyhow::Result<Filter> {
    let negated = |filter: Filter, is_negated: bool| if is_negated { filter.negated() } else { filter };
    Ok(match condition {
        Expr::Nested(inner) => of(inner)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => of(expr)?.negated(),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => of(left)?.and(of(right)?),
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => of(left)?.or(of(right)?),
        Expr::BinaryOp { left, op, right } => compared(condition, left, op, right)?,
        Expr::InList { expr, list, negated: is_negated } => {
            let column = column(expr)?;
            let values: Vec<Value> = list.iter().map(literal).collect::<anyhow::Result<_>>()?;
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
        other => bail!("the condition {other} is not understood; {ACCEPTED}"),
    })
}

fn compared(whole: &Expr, left: &Expr, op: &BinaryOperator, right: &Expr) -> anyhow::Result<Filter> {
    let is = match op {
        BinaryOperator::Eq => Comparison::Eq,
        BinaryOperator::NotEq => Comparison::Ne,
        BinaryOperator::Lt => Comparison::Lt,
        BinaryOperator::LtEq => Comparison::Le,
        BinaryOperator::Gt => Comparison::Gt,
        BinaryOperator::GtEq => Comparison::Ge,
        _ => bail!("the condition {whole} is not understood; {ACCEPTED}"),
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

fn column(expr: &Expr) -> anyhow::Result<String> {
    match expr {
        Expr::Identifier(name) => Ok(name.value.clone()),
        Expr::Nested(inner) => column(inner),
        other => bail!("{other} is no column; {ACCEPTED}"),
    }
}

fn literal(expr: &Expr) -> anyhow::Result<Value> {
    let number = |text: &str| -> anyhow::Result<Value> {
        // As JSON has them: whole numbers stay whole.
        serde_json::from_str(text)
            .or_else(|_| text.parse::<f64>().map(Value::from))
            .with_context(|| format!("{text:?} is no number"))
    };
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(value) => match &value.value {
                Literal::Number(text, _) => number(&format!("-{text}")),
                other => bail!("-{other} is no number"),
            },
            other => bail!("-{other} is no number"),
        },
        Expr::Value(value) => match &value.value {
            Literal::Number(text, _) => number(text),
            Literal::SingleQuotedString(text) => Ok(text.clone().into()),
            Literal::Boolean(value) => Ok((*value).into()),
            other => bail!("{other} cannot be compared with; {ACCEPTED}"),
        },
        other => bail!("{other} cannot be compared with; {ACCEPTED}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(condition: &str) -> String {
        filter(condition).expect("understood").to_string()
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
        assert_eq!(filter(copied).expect("understood"), expected);
        assert_eq!(filter("true").expect("understood"), Filter::And(Vec::new()));
        assert_eq!(filter("correct NOT IN (true)").expect("understood"), Filter::is_in("correct", [true]).negated());
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
            assert!(filter(condition).is_err(), "{condition}");
        }
        let error = filter("a LIKE 'x%'").expect_err("refused").to_string();
        assert!(error.contains("LIKE") && error.contains("IS NULL"), "{error}");
    }
}
