//! Which prefix the object of an event has: that of `key_prefix`, or that of the event's OCSF class.

use crate::event::Event;
use crate::event::ocsf::columns::class_uid;
use crate::sinks::template::{PathCache, Template};

/// Renders the prefix of each event.
#[derive(Debug)]
pub(super) struct Prefixes {
    /// The classes and their templates; one without a class for all events.
    templates: Vec<(Option<u32>, Template, PathCache)>,
    last: usize,
}

impl Prefixes {
    /// One template for all events.
    pub(super) fn of_all(template: Template) -> Self {
        Self { templates: vec![(None, template, PathCache::limited())], last: 0 }
    }

    /// A template per OCSF class.
    pub(super) fn of_classes(templates: impl IntoIterator<Item = (u32, Template)>) -> Self {
        let of_class = |(class, template)| (Some(class), template, PathCache::limited());
        Self { templates: templates.into_iter().map(of_class).collect(), last: 0 }
    }

    /// Starts a batch.
    pub(super) fn begin(&mut self) {
        self.templates.iter_mut().for_each(|(.., cache)| cache.begin());
    }

    /// The prefix of an event, and whether it is another one than at the call before.
    pub(super) fn render(&mut self, event: &Event<'_>) -> (&str, bool) {
        let index = match self.templates.as_slice() {
            [(None, ..)] => 0,
            templates => {
                let class = Some(class_uid(event));
                templates.iter().position(|(of, ..)| *of == class).expect("every class has a template")
            }
        };
        let is_other = std::mem::replace(&mut self.last, index) != index;
        let (_, template, cache) = &mut self.templates[index];
        let (prefix, changed) = cache.render(template, event);
        (prefix, changed || is_other)
    }
}
