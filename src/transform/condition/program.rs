//! A compiled condition: a tree of tests that read an event's fields where they lie.
//!
//! Nothing here can fail. What is unknown is null: equal to null and to nothing else, and neither less nor greater than
//! anything; no text contains it and it contains none.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::sync::Arc;

use memchr::memmem::Finder;
use regex::Regex;

use super::syntax::Relation;
use crate::event::{Change, Event, Related};
use crate::time::Timestamp;

/// Something that is true or false of an event.
#[derive(Debug)]
pub(super) enum Test {
    Constant(bool),
    All(Vec<Test>),
    Any(Vec<Test>),
    Not(Box<Test>),
    /// A test that several conditions are made of.
    Shared(Arc<Test>),
    /// Whether both are true or both false.
    Same(Box<Test>, Box<Test>),
    Texts(Comparison, Text, Text),
    Numbers(Comparison, Number, Number),
    Times(Comparison, Time, Time),
    /// Whether a text is one of these, which are sorted.
    OneOf(Text, Vec<Box<str>>),
    Contains(Text, Box<Finder<'static>>),
    /// A part of one text is another: of two fields.
    Part(Part, Text, Text),
    Matches(Text, Regex),
    HasText(Text),
    HasNumber(Number),
    HasObject(ReadBool),
    /// Whether the test holds for at least one item of the list, or for every one.
    Exists(List, Box<Test>),
    Every(List, Box<Test>),
}

/// How two values are compared. Unlike [`Relation`], without lists.
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

/// Which part of a text is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Start,
    End,
    Anywhere,
}

impl Part {
    fn holds(self, whole: &str, part: &str) -> bool {
        match self {
            Self::Start => whole.starts_with(part),
            Self::End => whole.ends_with(part),
            Self::Anywhere => whole.contains(part),
        }
    }
}

/// What a test is asked about: the event and, inside `exists` and `all`, an item of a list.
#[derive(Clone, Copy)]
pub(super) struct Subject<'s> {
    pub(super) event: &'s Event<'s>,
    hex: &'s OnceCell<[u8; 32]>,
    item: Option<Item<'s>>,
    outer: Option<&'s Subject<'s>>,
}

impl<'s> Subject<'s> {
    /// The event's id in hexadecimal digits, written when it is first asked for.
    pub(super) fn id(&self) -> Option<&'s str> {
        std::str::from_utf8(self.hex.get_or_init(|| self.event.id.hex())).ok()
    }

    /// The item of the loop that is `up` loops further out.
    fn item(&self, up: usize) -> Option<Item<'s>> {
        match up {
            0 => self.item,
            _ => self.outer?.item(up - 1),
        }
    }
}

/// An item of a list of the envelope.
#[derive(Clone, Copy)]
pub(super) enum Item<'s> {
    Related(&'s Related<'s>),
    Change(&'s Change<'s>),
}

/// Reads a text of an event.
pub(super) type ReadText = for<'s> fn(&Subject<'s>) -> Option<&'s str>;
/// Reads a number of an event.
pub(super) type ReadNumber = fn(&Event<'_>) -> Option<i64>;
/// Reads a time of an event.
pub(super) type ReadTime = fn(&Event<'_>) -> Timestamp;
/// Whether an object of an event is there.
pub(super) type ReadBool = fn(&Event<'_>) -> bool;
/// Reads a text of an item.
pub(super) type ReadItem = for<'s> fn(Item<'s>) -> Option<&'s str>;

/// A text, or null.
#[derive(Clone, Debug)]
pub(super) enum Text {
    Literal(Box<str>),
    Field(ReadText),
    /// A field of the item of the loop that is so many loops further out.
    Item(usize, ReadItem),
}

impl Text {
    fn read<'s>(&'s self, subject: &Subject<'s>) -> Option<&'s str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Field(read) => read(subject),
            Self::Item(up, read) => read(subject.item(*up)?),
        }
    }
}

/// A whole number, or null.
#[derive(Clone, Debug)]
pub(super) enum Number {
    Literal(i64),
    Field(ReadNumber),
    /// How many characters a text has.
    Characters(Text),
    /// How many items a list has.
    Items(List),
}

impl Number {
    fn read<'s>(&'s self, subject: &Subject<'s>) -> Option<i64> {
        match self {
            Self::Literal(number) => Some(*number),
            Self::Field(read) => read(subject.event),
            Self::Characters(text) => text.read(subject).map(|text| count(text.chars().count())),
            Self::Items(list) => Some(count(list.length(subject.event))),
        }
    }
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time {
    Literal(Timestamp),
    Field(ReadTime),
}

impl Time {
    fn read(self, event: &Event<'_>) -> Timestamp {
        match self {
            Self::Literal(time) => time,
            Self::Field(read) => read(event),
        }
    }
}

/// A list of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Related,
    Changes,
}

impl List {
    fn length(self, event: &Event<'_>) -> usize {
        match self {
            Self::Related => event.related.len(),
            Self::Changes => event.changes.len(),
        }
    }

    fn item<'s>(self, event: &'s Event<'s>, index: usize) -> Option<Item<'s>> {
        match self {
            Self::Related => event.related.get(index).map(Item::Related),
            Self::Changes => event.changes.get(index).map(Item::Change),
        }
    }

    fn items<'s>(self, event: &'s Event<'s>) -> impl Iterator<Item = Item<'s>> {
        (0..self.length(event)).filter_map(move |index| self.item(event, index))
    }
}

/// Whether the test holds for the event.
pub(super) fn holds(test: &Test, event: &Event<'_>) -> bool {
    let hex = OnceCell::new();
    test.holds(&Subject { event, hex: &hex, item: None, outer: None })
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
            Self::Part(part, whole, wanted) => match (whole.read(subject), wanted.read(subject)) {
                (Some(whole), Some(wanted)) => part.holds(whole, wanted),
                _ => false,
            },
            Self::Matches(text, pattern) => text.read(subject).is_some_and(|text| pattern.is_match(text)),
            Self::HasText(text) => text.read(subject).is_some(),
            Self::HasNumber(number) => number.read(subject).is_some(),
            Self::HasObject(read) => read(subject.event),
            Self::Exists(list, test) => list.items(subject.event).any(|item| test.holds_for_item(item, subject)),
            Self::Every(list, test) => list.items(subject.event).all(|item| test.holds_for_item(item, subject)),
        }
    }

    fn holds_for_item(&self, item: Item<'_>, outer: &Subject<'_>) -> bool {
        self.holds(&Subject { event: outer.event, hex: outer.hex, item: Some(item), outer: Some(outer) })
    }
}

fn is_among(text: &str, sorted: &[Box<str>]) -> bool {
    sorted.binary_search_by(|word| word.as_ref().cmp(text)).is_ok()
}
