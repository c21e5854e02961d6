//! The syntax tree of a condition, and its canonical text.

use std::fmt;
use std::ops::Range;

use super::literal;

/// A part of a condition and its place in the text.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) kind: Kind,
    pub(super) place: Range<usize>,
    /// Levels of parts below this one: bounded, so that recursion over the tree is.
    pub(super) height: usize,
}

/// What a part is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Expr>),
    /// A field of the envelope, or a variable.
    Name(String),
    /// A field of an object: the object, the field, its place.
    Select(Box<Expr>, String, Range<usize>),
    Call(Call),
    Not(Box<Expr>),
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Relation(Relation, Box<Expr>, Box<Expr>),
}

/// A call of a function, or of a method of `of`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) of: Option<Box<Expr>>,
    pub(super) name: String,
    pub(super) name_place: Range<usize>,
    pub(super) arguments: Vec<Expr>,
}

/// What is asked of two values.
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
    /// A part without parts.
    pub(super) fn leaf(kind: Kind, place: Range<usize>) -> Self {
        Self { kind, place, height: 0 }
    }

    /// How tightly its parts hold together: a part inside a tighter one needs parentheses.
    fn tightness(&self) -> u8 {
        match self.kind {
            Kind::Any(_) => 0,
            Kind::All(_) => 1,
            Kind::Relation(..) => 2,
            Kind::Not(_) => 3,
            Kind::Number(number) if number < 0 => 3,
            _ => 4,
        }
    }
}

/// The canonical text: one blank around operators, parentheses only where they are needed, no comments.
impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Null => f.write_str("null"),
            Kind::Bool(value) => write!(f, "{value}"),
            Kind::Number(number) => write!(f, "{number}"),
            Kind::Text(text) => literal::write(text, f),
            Kind::Name(name) => f.write_str(name),
            Kind::List(items) => {
                f.write_str("[")?;
                write_joined(items, ", ", 0, f)?;
                f.write_str("]")
            }
            Kind::Select(of, field, _) => {
                write_part(of, 4, f)?;
                write!(f, ".{field}")
            }
            Kind::Call(call) => write_call(call, f),
            Kind::Not(inner) => {
                f.write_str("!")?;
                write_part(inner, 3, f)
            }
            Kind::All(parts) => write_joined(parts, " && ", 2, f),
            Kind::Any(parts) => write_joined(parts, " || ", 1, f),
            Kind::Relation(relation, left, right) => {
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

fn write_joined(parts: &[Expr], between: &str, tightness: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        write_part(part, tightness, f)?;
    }
    Ok(())
}

fn write_part(part: &Expr, tightness: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if part.tightness() < tightness { write!(f, "({part})") } else { write!(f, "{part}") }
}
