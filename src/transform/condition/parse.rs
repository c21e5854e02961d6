//! From words and symbols to the syntax tree, by the strength of operators (`||` is the weakest, then `&&`, then relations,
//! then `!`).

use std::iter::Peekable;
use std::ops::Range;
use std::vec::IntoIter;

use super::syntax::{Call, Expr, Kind, Relation};
use super::token::{Placed, Token, tokens};
use super::{DEEPEST, MOST_BYTES, Mistake};

type Outcome<T> = Result<T, Mistake>;

/// Reads a condition.
///
/// # Errors
/// The first place where it is not one.
pub(super) fn parse(text: &str) -> Outcome<Expr> {
    if text.len() > MOST_BYTES {
        let message = format!("the condition is longer than {MOST_BYTES} bytes");
        return Err(Mistake::new(0..1, message, "make two filters of it, one behind the other"));
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
    tokens: Peekable<IntoIter<Placed<'t>>>,
    /// The place behind the last token.
    end: Range<usize>,
    depth: usize,
}

/// What stands between two parts.
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

    fn strength(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Relation(_) => 3,
        }
    }
}

impl Parser<'_> {
    /// Parts joined by operators that are stronger than `weakest`.
    fn expression(&mut self, weakest: u8) -> Outcome<Expr> {
        let mut left = self.nested(Self::unary)?;
        while let Some(operator) = self.operator_above(weakest) {
            self.tokens.next();
            let right = self.nested(|parser| parser.expression(operator.strength()))?;
            left = self.joined(operator, left, right)?;
        }
        Ok(left)
    }

    fn operator_above(&mut self, weakest: u8) -> Option<Operator> {
        let operator = Operator::of(&self.tokens.peek()?.0)?;
        (operator.strength() > weakest).then_some(operator)
    }

    fn joined(&self, operator: Operator, left: Expr, right: Expr) -> Outcome<Expr> {
        let place = left.place.start..right.place.end;
        match operator {
            Operator::Or => self.chain(left, right, place, Kind::Any, |kind| match kind {
                Kind::Any(parts) => Ok(parts),
                other => Err(other),
            }),
            Operator::And => self.chain(left, right, place, Kind::All, |kind| match kind {
                Kind::All(parts) => Ok(parts),
                other => Err(other),
            }),
            Operator::Relation(relation) => {
                let height = left.height.max(right.height);
                self.branch(Kind::Relation(relation, Box::new(left), Box::new(right)), place, height)
            }
        }
    }

    /// Chains of one operator are one part, however long: so their length is no depth.
    fn chain(
        &self,
        left: Expr,
        right: Expr,
        place: Range<usize>,
        join: fn(Vec<Expr>) -> Kind,
        parts_of: fn(Kind) -> Result<Vec<Expr>, Kind>,
    ) -> Outcome<Expr> {
        let mut parts = match parts_of(left.kind) {
            Ok(parts) => parts,
            Err(kind) => vec![Expr { kind, ..left }],
        };
        parts.push(right);
        let height = parts.iter().map(|part| part.height).max().unwrap_or(0);
        self.branch(join(parts), place, height)
    }

    fn branch(&self, kind: Kind, place: Range<usize>, height_below: usize) -> Outcome<Expr> {
        let height = height_below + 1;
        if height > DEEPEST { Err(too_deep(place)) } else { Ok(Expr { kind, place, height }) }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        // Each level of the text goes through here at most twice.
        if self.depth >= 2 * DEEPEST {
            return Err(too_deep(self.place()));
        }
        self.depth += 1;
        let outcome = read(self);
        self.depth -= 1;
        outcome
    }

    fn unary(&mut self) -> Outcome<Expr> {
        let start = self.place().start;
        if self.take("!") {
            let inner = self.nested(Self::unary)?;
            let (place, height) = (start..inner.place.end, inner.height);
            return self.branch(Kind::Not(Box::new(inner)), place, height);
        }
        let mut part = self.primary()?;
        loop {
            part = match self.tokens.peek() {
                Some((Token::Symbol("."), _)) => self.member(part)?,
                Some((Token::Symbol("["), place)) => {
                    let hint = "to look into a list, write related.exists(r, r.name == \"...\")";
                    return Err(Mistake::new(place.clone(), "conditions know no `[...]` behind a value", hint));
                }
                _ => return Ok(part),
            };
        }
    }

    /// `.field` or `.method(...)` behind a part.
    fn member(&mut self, of: Expr) -> Outcome<Expr> {
        self.tokens.next();
        let Some((Token::Word(name), name_place)) = self.tokens.next_if(|(token, _)| matches!(token, Token::Word(_)))
        else {
            return Err(self.unexpected("the name of a field or method"));
        };
        let (start, height) = (of.place.start, of.height);
        if !self.take("(") {
            let place = start..name_place.end;
            return self.branch(Kind::Select(Box::new(of), name.to_owned(), name_place), place, height);
        }
        self.call(Some(Box::new(of)), name, name_place, start, height)
    }

    /// A call whose opening parenthesis has been read.
    fn call(
        &mut self,
        of: Option<Box<Expr>>,
        name: &str,
        name_place: Range<usize>,
        start: usize,
        height: usize,
    ) -> Outcome<Expr> {
        let (arguments, end) = self.list_until(")")?;
        let height = arguments.iter().map(|argument| argument.height).fold(height, usize::max);
        let call = Call { of, name: name.to_owned(), name_place, arguments };
        self.branch(Kind::Call(call), start..end, height)
    }

    /// Parts between commas; returns too where the closing symbol ends.
    fn list_until(&mut self, closing: &'static str) -> Outcome<(Vec<Expr>, usize)> {
        let mut items = Vec::new();
        loop {
            let end = self.place().end;
            if self.take(closing) {
                return Ok((items, end));
            }
            if !items.is_empty() && !self.take(",") {
                return Err(self.unexpected(&format!("`,` or `{closing}`")));
            }
            items.push(self.expression(0)?);
        }
    }

    fn primary(&mut self) -> Outcome<Expr> {
        let Some((token, place)) = self.tokens.peek().cloned() else { return Err(self.unexpected(A_VALUE)) };
        let kind = match token {
            Token::Symbol("(") => return self.parenthesized(),
            Token::Symbol("[") => return self.list(),
            Token::Symbol("-") => return self.negative(),
            Token::Word("in") | Token::Symbol(_) => return Err(self.unexpected(A_VALUE)),
            Token::Word("null") => Kind::Null,
            Token::Word("true") => Kind::Bool(true),
            Token::Word("false") => Kind::Bool(false),
            Token::Word(name) => return self.name_or_call(name, place),
            Token::Text(text) => Kind::Text(text),
            Token::Number(number) => Kind::Number(i64::try_from(number).map_err(|_| too_large(place.clone()))?),
        };
        self.tokens.next();
        Ok(Expr::leaf(kind, place))
    }

    fn name_or_call(&mut self, name: &str, place: Range<usize>) -> Outcome<Expr> {
        self.tokens.next();
        if self.take("(") {
            return self.call(None, name, place.clone(), place.start, 0);
        }
        Ok(Expr::leaf(Kind::Name(name.to_owned()), place))
    }

    fn parenthesized(&mut self) -> Outcome<Expr> {
        let start = self.place().start;
        self.tokens.next();
        let inner = self.expression(0)?;
        let end = self.place().end;
        if !self.take(")") {
            return Err(self.unexpected("`)`, or an operator such as `&&`"));
        }
        Ok(Expr { place: start..end, ..inner })
    }

    fn list(&mut self) -> Outcome<Expr> {
        let start = self.place().start;
        self.tokens.next();
        let (items, end) = self.list_until("]")?;
        let height = items.iter().map(|item| item.height).max().unwrap_or(0);
        self.branch(Kind::List(items), start..end, height)
    }

    fn negative(&mut self) -> Outcome<Expr> {
        let start = self.place().start;
        self.tokens.next();
        let Some((Token::Number(number), place)) = self.tokens.next_if(|(token, _)| matches!(token, Token::Number(_)))
        else {
            return Err(self.unexpected("a number behind `-`"));
        };
        let place = start..place.end;
        let number = i64::try_from(-i128::from(number)).map_err(|_| too_large(place.clone()))?;
        Ok(Expr::leaf(Kind::Number(number), place))
    }

    fn take(&mut self, symbol: &'static str) -> bool {
        self.tokens.next_if(|(token, _)| *token == Token::Symbol(symbol)).is_some()
    }

    /// Where the next token stands.
    fn place(&mut self) -> Range<usize> {
        self.tokens.peek().map_or_else(|| self.end.clone(), |(_, place)| place.clone())
    }

    fn unexpected(&mut self, expected: &str) -> Mistake {
        let hint = format!("expected {expected}");
        let Some((token, place)) = self.tokens.peek() else {
            return Mistake::new(self.end.clone(), "the condition ends too early", hint);
        };
        let (message, hint) = match token {
            Token::Word(word) => (format!("`{word}` cannot stand here"), meant_by(word).unwrap_or(hint)),
            Token::Symbol(symbol) => (format!("`{symbol}` cannot stand here"), hint),
            Token::Number(_) => ("a number cannot stand here".to_owned(), hint),
            Token::Text(_) => ("a text cannot stand here".to_owned(), hint),
        };
        Mistake::new(place.clone(), message, hint)
    }
}

const A_VALUE: &str = "a field such as `actor.type`, a text between quotes, a number, `(` or `!`";

/// Words of other languages.
fn meant_by(word: &str) -> Option<String> {
    let meant = match word.to_ascii_lowercase().as_str() {
        "and" => "&&",
        "or" => "||",
        "is" | "eq" => "==",
        "ne" => "!=",
        "not" => return Some("for `not`, write `!`: !(actor.type in [\"user\"])".to_owned()),
        "like" | "contains" => return Some("write field.contains(\"...\") or field.matches(\"...\")".to_owned()),
        _ => return None,
    };
    Some(format!("for `{word}`, write `{meant}`"))
}

fn too_deep(place: Range<usize>) -> Mistake {
    let message = format!("the condition is nested more than {DEEPEST} levels deep");
    Mistake::new(place, message, "take needless parentheses out, or make two filters of it, one behind the other")
}

fn too_large(place: Range<usize>) -> Mistake {
    Mistake::new(place, "the number is too large", "numbers reach from -9223372036854775808 to 9223372036854775807")
}
