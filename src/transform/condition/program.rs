//! A compiled condition: a tree of tests that read an event's fields in place.
//!
//! Evaluation cannot fail. Unknown values are null: equal only to null, neither less nor greater than any value, and not part
//! of any string.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::sync::Arc;

use memchr::memmem::Finder;
use regex::Regex;

use super::parser::Relation;
use crate::event::Event;
use crate::event::fields::{Item, List, ReadItem, ReadText};
use crate::time::Timestamp;

/// A test of an event.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    /// A test that is part of several conditions.
    Shared(Arc<Test>),
    /// Whether both have the same result.
    Same(Box<Test>, Box<Test>),
    Texts(Comparison, Text, Text),
    Numbers(Comparison, Number, Number),
    Times(Comparison, Time, Time),
    /// Whether a string is one of these, which are sorted.
    OneOf(Text, Vec<Box<str>>),
    Contains(Text, Box<Finder<'static>>),
    /// Whether the first string contains the second, at this position.
    Contained(Position, Text, Text),
    Matches(Text, Regex),
    HasText(Text),
    HasNumber(Number),
    HasObject(fn(&Event<'_>) -> bool),
    /// Whether the item of the loop that is this many loops further out has an object.
    HasItemObject(usize, fn(Item<'_>) -> bool),
    /// Whether the test holds for at least one item of the list, or for all.
    Exists(List, Box<Test>),
    Every(List, Box<Test>),
}

/// A comparison of two values: a [`Relation`] other than `in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub(super) fn of(relation: Relation) -> Option<Self> {
        match relation {
            Relation::Equal => Some(Self::Equal),
            Relation::NotEqual => Some(Self::NotEqual),
            Relation::Less => Some(Self::Less),
            Relation::LessOrEqual => Some(Self::LessOrEqual),
            Relation::Greater => Some(Self::Greater),
            Relation::GreaterOrEqual => Some(Self::GreaterOrEqual),
            Relation::In => None,
        }
    }

    pub(super) fn is_equality(self) -> bool {
        matches!(self, Self::Equal | Self::NotEqual)
    }

    fn holds<T: Ord>(self, left: Option<T>, right: Option<T>) -> bool {
        match self {
            Self::Equal => return left == right,
            Self::NotEqual => return left != right,
            _ => {}
        }
        let (Some(left), Some(right)) = (left, right) else { return false };
        match left.cmp(&right) {
            Ordering::Less => matches!(self, Self::Less | Self::LessOrEqual),
            Ordering::Equal => matches!(self, Self::LessOrEqual | Self::GreaterOrEqual),
            Ordering::Greater => matches!(self, Self::Greater | Self::GreaterOrEqual),
        }
    }
}

/// A position in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Start,
    End,
    Anywhere,
}

impl Position {
    fn holds(self, whole: &str, part: &str) -> bool {
        match self {
            Self::Start => whole.starts_with(part),
            Self::End => whole.ends_with(part),
            Self::Anywhere => whole.contains(part),
        }
    }
}

/// What a test is evaluated on: the event and, inside `exists` and `all`, an item of a list.
#[derive(Clone, Copy)]
struct Subject<'s> {
    event: &'s Event<'s>,
    /// The event's id as hex digits, computed on first use.
    id: &'s OnceCell<[u8; 32]>,
    item: Option<Item<'s>>,
    outer: Option<&'s Subject<'s>>,
}

impl<'s> Subject<'s> {
    fn id(&self) -> Option<&'s str> {
        std::str::from_utf8(self.id.get_or_init(|| self.event.id.hex())).ok()
    }

    /// The item of the loop that is `up` loops further out.
    fn item(&self, up: usize) -> Option<Item<'s>> {
        match up {
            0 => self.item,
            _ => self.outer?.item(up - 1),
        }
    }
}

/// A string, or null.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Literal(Box<str>),
    Field(ReadText),
    /// The event's id.
    Id,
    /// A field of the item of the loop that is this many loops further out.
    Item(usize, ReadItem),
}

impl Text {
    fn read<'s>(&'s self, subject: &Subject<'s>) -> Option<&'s str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Field(read) => read(subject.event),
            Self::Id => subject.id(),
            Self::Item(up, read) => read(subject.item(*up)?),
        }
    }
}

/// An integer, or null.
#[derive(Clone, Debug)]
pub(super) enum Number {
    Literal(i64),
    Field(fn(&Event<'_>) -> Option<u64>),
    /// Number of characters of a string.
    Characters(Text),
    /// Number of items of a list.
    Items(List),
}

impl Number {
    fn read<'s>(&'s self, subject: &Subject<'s>) -> Option<i64> {
        match self {
            Self::Literal(number) => Some(*number),
            Self::Field(read) => read(subject.event).map(|number| i64::try_from(number).unwrap_or(i64::MAX)),
            Self::Characters(text) => text.read(subject).map(|text| count(text.chars().count())),
            Self::Items(list) => Some(count(list.len(subject.event))),
        }
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    Literal(Timestamp),
    Field(fn(&Event<'_>) -> Timestamp),
}

impl Time {
    fn read(self, event: &Event<'_>) -> Timestamp {
        match self {
            Self::Literal(time) => time,
            Self::Field(read) => read(event).to_micros(),
        }
    }
}

/// Whether the test holds for the event.
pub(super) fn evaluate(test: &Test, event: &Event<'_>) -> bool {
    let id = OnceCell::new();
    test.holds(&Subject { event, id: &id, item: None, outer: None })
}

impl Test {
    fn holds<'s>(&'s self, subject: &Subject<'s>) -> bool {
        match self {
            Self::Constant(value) => *value,
            Self::All(tests) => tests.iter().all(|test| test.holds(subject)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(subject)),
            Self::Not(test) => !test.holds(subject),
            Self::Shared(test) => test.holds(subject),
            Self::Same(left, right) => left.holds(subject) == right.holds(subject),
            Self::Texts(comparison, left, right) => comparison.holds(left.read(subject), right.read(subject)),
            Self::Numbers(comparison, left, right) => comparison.holds(left.read(subject), right.read(subject)),
            Self::Times(comparison, left, right) => {
                comparison.holds(Some(left.read(subject.event)), Some(right.read(subject.event)))
            }
            Self::OneOf(text, words) => text.read(subject).is_some_and(|text| is_among(text, words)),
            Self::Contains(text, needle) => {
                text.read(subject).is_some_and(|text| needle.find(text.as_bytes()).is_some())
            }
            Self::Contained(position, whole, part) => match (whole.read(subject), part.read(subject)) {
                (Some(whole), Some(part)) => position.holds(whole, part),
                _ => false,
            },
            Self::Matches(text, pattern) => text.read(subject).is_some_and(|text| pattern.is_match(text)),
            Self::HasText(text) => text.read(subject).is_some(),
            Self::HasNumber(number) => number.read(subject).is_some(),
            Self::HasObject(read) => read(subject.event),
            Self::HasItemObject(up, read) => subject.item(*up).is_some_and(read),
            Self::Exists(list, test) => list.items(subject.event).any(|item| test.holds_for_item(item, subject)),
            Self::Every(list, test) => list.items(subject.event).all(|item| test.holds_for_item(item, subject)),
        }
    }

    fn holds_for_item(&self, item: Item<'_>, outer: &Subject<'_>) -> bool {
        self.holds(&Subject { event: outer.event, id: outer.id, item: Some(item), outer: Some(outer) })
    }
}

fn is_among(text: &str, sorted: &[Box<str>]) -> bool {
    sorted.binary_search_by(|word| word.as_ref().cmp(text)).is_ok()
}
