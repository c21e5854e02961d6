//! Writing JSON objects that hold only what is known: no nulls, no empty strings, no empty lists, no empty objects.
//!
//! OCSF and ECS both ask for that. The native form does not (there every field is always present), so it does without.

use std::io::Write;

use super::json::push_string;

/// A JSON object that is being written into a buffer. Closed by [`Object::write`] when its fields are done.
pub(super) struct Object<'out> {
    out: &'out mut Vec<u8>,
    is_empty: bool,
}

impl Object<'_> {
    /// Appends an object with the fields that `fill` gives it; `{}` if it gives none.
    pub(super) fn write(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
        Self::write_unless_empty(out, fill);
    }

    /// Returns whether the object has a field.
    fn write_unless_empty(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) -> bool {
        out.push(b'{');
        let mut object = Object { out, is_empty: true };
        fill(&mut object);
        let is_empty = object.is_empty;
        out.push(b'}');
        !is_empty
    }

    /// A text; left out if it is empty.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.key(key);
        push_string(self.out, text);
    }

    /// A text that may be unknown.
    pub(super) fn optional(&mut self, key: &str, text: Option<&str>) {
        self.text(key, text.unwrap_or_default());
    }

    /// Something whose written form needs no escaping: a time, an id, a word of a closed list.
    pub(super) fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        write!(self.out, "\"{value}\"").expect("a buffer in memory takes every byte");
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &str, number: impl Into<i128>) {
        self.key(key);
        write!(self.out, "{}", number.into()).expect("a buffer in memory takes every byte");
    }

    /// An object; left out if `fill` gives it no field.
    pub(super) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.undone_if_empty(key, |out| Self::write_unless_empty(out, fill));
    }

    /// A list of objects, one for each item that `fill` gives a field; left out if there is none.
    pub(super) fn objects<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T),
    ) {
        self.list(key, items, |out, item| Self::write_unless_empty(out, |object| fill(object, item)));
    }

    /// A list of texts, without the empty ones; left out if there is none.
    pub(super) fn texts<'t>(&mut self, key: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.list(key, texts, |out, text| {
            push_string(out, text);
            !text.is_empty()
        });
    }

    /// A list of what `push` writes for each item; an item for which it says `false` is taken back.
    fn list<T>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = T>,
        mut push: impl FnMut(&mut Vec<u8>, T) -> bool,
    ) {
        self.undone_if_empty(key, |out| {
            out.push(b'[');
            let start = out.len();
            for item in items {
                let before = out.len();
                if before > start {
                    out.push(b',');
                }
                if !push(out, item) {
                    out.truncate(before);
                }
            }
            let has_items = out.len() > start;
            out.push(b']');
            has_items
        });
    }

    fn undone_if_empty(&mut self, key: &str, push: impl FnOnce(&mut Vec<u8>) -> bool) {
        let (before, was_empty) = (self.out.len(), self.is_empty);
        self.key(key);
        if !push(self.out) {
            self.out.truncate(before);
            self.is_empty = was_empty;
        }
    }

    fn key(&mut self, key: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(fill: impl FnOnce(&mut Object<'_>)) -> String {
        let mut out = Vec::new();
        Object::write(&mut out, fill);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn what_is_empty_leaves_no_trace() {
        let line = written(|object| {
            object.text("a", "");
            object.optional("b", None);
            object.object("c", |inner| inner.object("d", |_| {}));
            object.texts("e", ["", ""]);
            object.objects("f", [1, 2], |_, _| {});
        });
        assert_eq!(line, "{}");
    }

    #[test]
    fn commas_stand_only_between_fields_and_items() {
        let line = written(|object| {
            object.object("gone", |_| {});
            object.text("a", "\"x\"");
            object.number("n", -3);
            object.object("gone_too", |inner| inner.text("b", ""));
            object.texts("t", ["", "one", "", "two", ""]);
            object.objects("o", ["", "p", "q"], |inner, text| inner.text("k", text));
            object.plain("w", 7);
        });
        assert_eq!(line, r#"{"a":"\"x\"","n":-3,"t":["one","two"],"o":[{"k":"p"},{"k":"q"}],"w":"7"}"#);
    }
}
