//! The syntax tree of a condition: parsing tokens into it, and its canonical text.
//!
//! Operators in order of increasing precedence: `||`, `&&`, relations, `!`.

use std::fmt;
use std::iter::Peekable;
use std::ops::Range;
use std::vec::IntoIter;

use super::diagnostic::{ConditionDiagnostic, MAX_BYTES, MAX_DEPTH};
use super::lexer::{Spanned, Token, tokens, write_string};

/// An expression and its span in the text.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) kind: ExprKind,
    pub(super) span: Range<usize>,
    /// Levels of expressions below this one: limited, which limits recursion over the tree.
    pub(super) height: usize,
}

/// The kind of an expression.
#[derive(Clone, Debug)]
pub(super) enum ExprKind {
    Null,
    Bool(bool),
    Number(i64),
    String(String),
    List(Vec<Expr>),
    /// A field of the envelope, or a variable.
    Name(String),
    /// A field of an object: the object, the field, the field's span.
    Select(Box<Expr>, String, Range<usize>),
    Call(Call),
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Relation(Relation, Box<Expr>, Box<Expr>),
}

/// A function call, or a method call on `of`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) of: Option<Box<Expr>>,
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) arguments: Vec<Expr>,
}

/// A relation between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

impl Relation {
    const ALL: [Self; 7] =
        [Self::Equal, Self::NotEqual, Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual, Self::In];

    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
        }
    }

    pub(super) fn of_symbol(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|relation| relation.symbol() == symbol)
    }
}

impl Expr {
    /// An expression without parts.
    pub(super) fn leaf(kind: ExprKind, span: Range<usize>) -> Self {
        Self { kind, span, height: 0 }
    }

    /// The precedence of its operator: a part of lower precedence needs parentheses.
    fn precedence(&self) -> u8 {
        match self.kind {
            ExprKind::Any(_) => 0,
            ExprKind::All(_) => 1,
            ExprKind::Relation(..) => 2,
            ExprKind::Not(_) => 3,
            ExprKind::Number(number) if number < 0 => 3,
            _ => 4,
        }
    }
}

/// The canonical text: one space around operators, only necessary parentheses, no comments.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ExprKind::Null => f.write_str("null"),
            ExprKind::Bool(value) => write!(f, "{value}"),
            ExprKind::Number(number) => write!(f, "{number}"),
            ExprKind::String(text) => write_string(text, f),
            ExprKind::Name(name) => f.write_str(name),
            ExprKind::List(items) => {
                f.write_str("[")?;
                write_joined(items, ", ", 0, f)?;
                f.write_str("]")
            }
            ExprKind::Select(of, field, _) => {
                write_part(of, 4, f)?;
                write!(f, ".{field}")
            }
            ExprKind::Call(call) => write_call(call, f),
            ExprKind::Not(inner) => {
                f.write_str("!")?;
                write_part(inner, 3, f)
            }
            ExprKind::All(parts) => write_joined(parts, " && ", 2, f),
            ExprKind::Any(parts) => write_joined(parts, " || ", 1, f),
            ExprKind::Relation(relation, left, right) => {
                write_part(left, 3, f)?;
                write!(f, " {} ", relation.symbol())?;
                write_part(right, 3, f)
            }
        }
    }
}

fn write_call(call: &Call, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(of) = &call.of {
        write_part(of, 4, f)?;
        f.write_str(".")?;
    }
    write!(f, "{}(", call.name)?;
    write_joined(&call.arguments, ", ", 0, f)?;
    f.write_str(")")
}

fn write_joined(parts: &[Expr], between: &str, precedence: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write_part(part, precedence, f)?;
    }
    Ok(())
}

fn write_part(part: &Expr, precedence: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if part.precedence() < precedence { write!(f, "({part})") } else { write!(f, "{part}") }
}

type Parsed<T> = Result<T, ConditionDiagnostic>;

/// Parses a condition.
///
/// # Errors
/// The first syntax error.
pub(super) fn parse(text: &str) -> Parsed<Expr> {
    if text.len() > MAX_BYTES {
        let message = format!("the condition is longer than {MAX_BYTES} bytes");
        return Err(ConditionDiagnostic::new(0..1, message, "split it into two filters in sequence"));
    }
    let end = text.trim_end().len();
    let mut parser = Parser { tokens: tokens(text)?.into_iter().peekable(), end: end..end + 1, depth: 0 };
    let whole = parser.expression(0)?;
    match parser.tokens.peek() {
        None => Ok(whole),
        Some(_) => Err(parser.unexpected("an operator such as `&&` or `==`, or the end")),
    }
}

struct Parser<'t> {
    tokens: Peekable<IntoIter<Spanned<'t>>>,
    /// The span after the last token.
    end: Range<usize>,
    depth: usize,
}

/// An operator between two expressions.
#[derive(Clone, Copy)]
enum Operator {
    Or,
    And,
    Relation(Relation),
}

impl Operator {
    fn of(token: &Token<'_>) -> Option<Self> {
        match token {
            Token::Symbol("||") => Some(Self::Or),
            Token::Symbol("&&") => Some(Self::And),
            Token::Symbol(symbol) => Relation::of_symbol(symbol).map(Self::Relation),
            Token::Word("in") => Some(Self::Relation(Relation::In)),
            _ => None,
        }
    }

    fn precedence(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Relation(_) => 3,
        }
    }
}

impl Parser<'_> {
    /// Parses expressions that are joined by operators of a higher precedence than `min`.
    fn expression(&mut self, min: u8) -> Parsed<Expr> {
        let mut left = self.nested(Self::unary)?;
        while let Some(operator) = self.operator_above(min) {
            self.tokens.next();
            let right = self.nested(|parser| parser.expression(operator.precedence()))?;
            left = self.joined(operator, left, right)?;
        }
        Ok(left)
    }

    fn operator_above(&mut self, min: u8) -> Option<Operator> {
        let operator = Operator::of(&self.tokens.peek()?.0)?;
        (operator.precedence() > min).then_some(operator)
    }

    fn joined(&self, operator: Operator, left: Expr, right: Expr) -> Parsed<Expr> {
        let span = left.span.start..right.span.end;
        match operator {
            Operator::Or => self.chain(left, right, span, ExprKind::Any, |kind| match kind {
                ExprKind::Any(parts) => Ok(parts),
                other => Err(other),
            }),
            Operator::And => self.chain(left, right, span, ExprKind::All, |kind| match kind {
                ExprKind::All(parts) => Ok(parts),
                other => Err(other),
            }),
            Operator::Relation(relation) => {
                let height = left.height.max(right.height);
                self.branch(ExprKind::Relation(relation, Box::new(left), Box::new(right)), span, height)
            }
        }
    }

    /// A chain of one operator is one expression of any length: it does not add depth.
    fn chain(
        &self,
        left: Expr,
        right: Expr,
        span: Range<usize>,
        join: fn(Vec<Expr>) -> ExprKind,
        parts_of: fn(ExprKind) -> Result<Vec<Expr>, ExprKind>,
    ) -> Parsed<Expr> {
        let mut parts = match parts_of(left.kind) {
            Ok(parts) => parts,
            Err(kind) => vec![Expr { kind, ..left }],
        };
        parts.push(right);
        let height = parts.iter().map(|part| part.height).max().unwrap_or(0);
        self.branch(join(parts), span, height)
    }

    fn branch(&self, kind: ExprKind, span: Range<usize>, height_below: usize) -> Parsed<Expr> {
        let height = height_below + 1;
        if height > MAX_DEPTH { Err(too_deep(span)) } else { Ok(Expr { kind, span, height }) }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        // Each nesting level of the text calls this at most twice.
        if self.depth >= 2 * MAX_DEPTH {
            return Err(too_deep(self.span()));
        }
        self.depth += 1;
        let parsed = read(self);
        self.depth -= 1;
        parsed
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        if self.take("!") {
            let inner = self.nested(Self::unary)?;
            let (span, height) = (start..inner.span.end, inner.height);
            return self.branch(ExprKind::Not(Box::new(inner)), span, height);
        }
        let mut part = self.primary()?;
        loop {
            part = match self.tokens.peek() {
                Some((Token::Symbol("."), _)) => self.member(part)?,
                Some((Token::Symbol("["), span)) => {
                    let hint = "to test the items of a list, write related.exists(r, r.name == \"...\")";
                    return Err(ConditionDiagnostic::new(
                        span.clone(),
                        "conditions have no `[...]` after a value",
                        hint,
                    ));
                }
                _ => return Ok(part),
            };
        }
    }

    /// Parses `.field` or `.method(...)` after an expression.
    fn member(&mut self, of: Expr) -> Parsed<Expr> {
        self.tokens.next();
        let Some((Token::Word(name), name_span)) = self.tokens.next_if(|(token, _)| matches!(token, Token::Word(_)))
        else {
            return Err(self.unexpected("the name of a field or method"));
        };
        let (start, height) = (of.span.start, of.height);
        if !self.take("(") {
            let span = start..name_span.end;
            return self.branch(ExprKind::Select(Box::new(of), name.to_owned(), name_span), span, height);
        }
        self.call(Some(Box::new(of)), name, name_span, start, height)
    }

    /// Parses a call after its opening parenthesis.
    fn call(
        &mut self,
        of: Option<Box<Expr>>,
        name: &str,
        name_span: Range<usize>,
        start: usize,
        height: usize,
    ) -> Parsed<Expr> {
        let (arguments, end) = self.list_until(")")?;
        let height = arguments.iter().map(|argument| argument.height).fold(height, usize::max);
        let call = Call { of, name: name.to_owned(), name_span, arguments };
        self.branch(ExprKind::Call(call), start..end, height)
    }

    /// Parses expressions that are separated by commas; returns the end of the closing symbol too.
    fn list_until(&mut self, closing: &'static str) -> Parsed<(Vec<Expr>, usize)> {
        let mut items = Vec::new();
        loop {
            let end = self.span().end;
            if self.take(closing) {
                return Ok((items, end));
            }
            if !items.is_empty() && !self.take(",") {
                return Err(self.unexpected(&format!("`,` or `{closing}`")));
            }
            items.push(self.expression(0)?);
        }
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let Some((token, span)) = self.tokens.peek().cloned() else { return Err(self.unexpected(A_VALUE)) };
        let kind = match token {
            Token::Symbol("(") => return self.parenthesized(),
            Token::Symbol("[") => return self.list(),
            Token::Symbol("-") => return self.negative(),
            Token::Word("in") | Token::Symbol(_) => return Err(self.unexpected(A_VALUE)),
            Token::Word("null") => ExprKind::Null,
            Token::Word("true") => ExprKind::Bool(true),
            Token::Word("false") => ExprKind::Bool(false),
            Token::Word(name) => return self.name_or_call(name, span),
            Token::String(text) => ExprKind::String(text),
            Token::Number(number) => ExprKind::Number(i64::try_from(number).map_err(|_| too_large(span.clone()))?),
        };
        self.tokens.next();
        Ok(Expr::leaf(kind, span))
    }

    fn name_or_call(&mut self, name: &str, span: Range<usize>) -> Parsed<Expr> {
        self.tokens.next();
        if self.take("(") {
            return self.call(None, name, span.clone(), span.start, 0);
        }
        Ok(Expr::leaf(ExprKind::Name(name.to_owned()), span))
    }

    fn parenthesized(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        self.tokens.next();
        let inner = self.expression(0)?;
        let end = self.span().end;
        if !self.take(")") {
            return Err(self.unexpected("`)`, or an operator such as `&&`"));
        }
        Ok(Expr { span: start..end, ..inner })
    }

    fn list(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        self.tokens.next();
        let (items, end) = self.list_until("]")?;
        let height = items.iter().map(|item| item.height).max().unwrap_or(0);
        self.branch(ExprKind::List(items), start..end, height)
    }

    fn negative(&mut self) -> Parsed<Expr> {
        let start = self.span().start;
        self.tokens.next();
        let Some((Token::Number(number), span)) = self.tokens.next_if(|(token, _)| matches!(token, Token::Number(_)))
        else {
            return Err(self.unexpected("a number after `-`"));
        };
        let span = start..span.end;
        let number = i64::try_from(-i128::from(number)).map_err(|_| too_large(span.clone()))?;
        Ok(Expr::leaf(ExprKind::Number(number), span))
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        self.tokens.next_if(|(token, _)| *token == Token::Symbol(symbol)).is_some()
    }

    /// The span of the next token.
    fn span(&mut self) -> Range<usize> {
        self.tokens.peek().map_or_else(|| self.end.clone(), |(_, span)| span.clone())
    }

    fn unexpected(&mut self, expected: &str) -> ConditionDiagnostic {
        let hint = format!("expected {expected}");
        let Some((token, span)) = self.tokens.peek() else {
            return ConditionDiagnostic::new(self.end.clone(), "unexpected end of the condition", hint);
        };
        let (message, hint) = match token {
            Token::Word(word) => (format!("unexpected `{word}`"), operator_hint(word).unwrap_or(hint)),
            Token::Symbol(symbol) => (format!("unexpected `{symbol}`"), hint),
            Token::Number(_) => ("unexpected number".to_owned(), hint),
            Token::String(_) => ("unexpected string".to_owned(), hint),
        };
        ConditionDiagnostic::new(span.clone(), message, hint)
    }
}

const A_VALUE: &str = "a field such as `actor.type`, a string between quotes, a number, `(` or `!`";

/// A hint for operators of other languages.
fn operator_hint(word: &str) -> Option<String> {
    let operator = match word.to_ascii_lowercase().as_str() {
        "and" => "&&",
        "or" => "||",
        "is" | "eq" => "==",
        "ne" => "!=",
        "not" => return Some("for `not`, write `!`: !(actor.type in [\"user\"])".to_owned()),
        "like" | "contains" => return Some("write field.contains(\"...\") or field.matches(\"...\")".to_owned()),
        _ => return None,
    };
    Some(format!("for `{word}`, write `{operator}`"))
}

fn too_deep(span: Range<usize>) -> ConditionDiagnostic {
    let message = format!("the condition is nested more than {MAX_DEPTH} levels deep");
    ConditionDiagnostic::new(span, message, "remove redundant parentheses, or split it into two filters in sequence")
}

fn too_large(span: Range<usize>) -> ConditionDiagnostic {
    ConditionDiagnostic::new(
        span,
        "the number is too large",
        "numbers range from -9223372036854775808 to 9223372036854775807",
    )
}
