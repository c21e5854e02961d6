//! Sources that are made from the rows of lists.
//!
//! ```text
//! sources_from: {"clumio_{{ tenant }}": {file: tenants.csv, template: {type: clumio, region: "{{ region }}"}}}
//! tenants.csv:  tenant,region
//!               acme,us-west-2
//!               umbrella,eu-central-1
//!     sources:  clumio_acme:     {type: clumio, region: us-west-2}
//!               clumio_umbrella: {type: clumio, region: eu-central-1}
//! ```
//!
//! From then on they are sources as any other. A value of a row keeps its place in the list, and the rest of the settings its
//! place in the template.

use std::collections::HashMap;
use std::path::Path;

use super::component::{Section, check_name};
use super::files::{LIST, ReadFiles};
use super::merge::duplicate;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::environment::Environment;
use crate::config::node::{Entry, KeyPath, Node, Scalar, TextSpan, Value};
use crate::config::row_template::{RowTemplate, TemplateError};
use crate::config::rows::{Cell, Row, RowList};
use crate::config::source_list::{SOURCES_FROM, SourceList, TEMPLATE};
use crate::config::{multi_error, row_file, suggest};

/// Adds the sources of all lists to the `sources` of the pipeline.
pub(super) fn expand(root: &mut Node, read: &mut ReadFiles, environment: &Environment, diagnostics: &mut Diagnostics) {
    let Some(lists) = root.entry(SOURCES_FROM).cloned() else { return };
    let sources = sources_of(root, &lists, diagnostics);
    if diagnostics.is_dropped(lists.value.id) {
        diagnostics.skip(sources.id);
    }
    let Value::Map(entries) = &mut sources.value else { return };
    let names = entries.iter().map(|source| (source.key.clone(), source.span)).collect();
    let mut expansion = Expansion { read, environment, names, sources: Vec::new(), diagnostics };
    let mut is_complete = true;
    for list in lists.value.entries() {
        is_complete &= expansion.expand(list).is_some();
    }
    entries.append(&mut expansion.sources);
    if !is_complete {
        diagnostics.skip(sources.id);
    }
}

/// The section of sources, which the pipeline may lack.
fn sources_of<'r>(root: &'r mut Node, lists: &Entry, diagnostics: &mut Diagnostics) -> &'r mut Node {
    let key = Section::Source.key();
    let Value::Map(sections) = &mut root.value else { unreachable!("merged files are a map") };
    let index = sections.iter().position(|section| section.key == key).unwrap_or_else(|| {
        let value = Node { id: diagnostics.new_node(), span: lists.value.span, value: Value::Map(Vec::new()) };
        sections.push(Entry { key: key.to_owned(), span: lists.span, value });
        sections.len() - 1
    });
    &mut sections[index].value
}

struct Expansion<'e> {
    read: &'e mut ReadFiles,
    environment: &'e Environment,
    /// The place of each name of a source.
    names: HashMap<String, TextSpan>,
    sources: Vec<Entry>,
    diagnostics: &'e mut Diagnostics,
}

impl Expansion<'_> {
    /// Adds the sources of one list. `None` if they are not all known, which is reported.
    fn expand(&mut self, entry: &Entry) -> Option<()> {
        let path = KeyPath::default().key(SOURCES_FROM).key(&entry.key);
        let settings = Node { span: entry.span, ..entry.value.clone() };
        let settings = multi_error::read_type::<SourceList>(&settings, &path, self.diagnostics).complete()?;
        let list = self.read_list(entry, &settings.file, &path.key("file"))?;
        let errors = self.diagnostics.len();
        let name = self.parse(&entry.key, entry.span, &path, &list);
        let settings = &entry.value.entry(TEMPLATE)?.value;
        let template = self.template(settings, &path.key(TEMPLATE), &list);
        let (name, template) = (name?, template.filter(|_| self.diagnostics.len() == errors)?);
        if name.columns().next().is_none() {
            let message = format!("all sources of the list would be called `{}`", entry.key);
            let hint = format!("name a column: `{}_{{{{ {} }}}}:`", entry.key, list.columns.first()?);
            self.diagnostics.push(Diagnostic::error(Some(entry.span), &path, message, hint));
            return None;
        }
        let sources =
            list.rows.iter().map(|row| self.source(entry, &name, &template, (row, &list))).collect::<Vec<_>>();
        let is_complete = sources.iter().all(Option::is_some);
        self.sources.extend(sources.into_iter().flatten());
        is_complete.then_some(())
    }

    fn read_list(&mut self, entry: &Entry, file: &Path, key: &KeyPath) -> Option<RowList> {
        let written = entry.value.entry("file")?;
        let path = self.read.directory(written.value.span).join(file);
        let (span, errors) = (written.value.span, self.diagnostics.len());
        let number = match self.read.read(&path, LIST, self.diagnostics) {
            Ok(number) => number,
            Err(error) => {
                let message = format!("cannot read the list {}: {error}", path.display());
                let hint = "check the path, which is relative to this file, its permissions, and that it is UTF-8 text";
                self.diagnostics.push(Diagnostic::error(Some(span), key, message, hint));
                return None;
            }
        };
        let list = row_file::read(&path, number, self.diagnostics)?;
        if list.rows.is_empty() && self.diagnostics.len() == errors {
            let message = format!("the list {} has no rows", path.display());
            let hint = "add a row for each source; without any, remove this entry";
            self.diagnostics.push(Diagnostic::error(Some(span), key, message, hint));
        }
        Some(list).filter(|_| self.diagnostics.len() == errors)
    }

    /// The template of a node, with parsed texts. `None` if it has a mistake.
    fn template(&mut self, node: &Node, path: &KeyPath, list: &RowList) -> Option<Template> {
        let value = match &node.value {
            Value::Scalar(scalar) => {
                let text = self.parse(&scalar.text, node.span, path, list)?;
                TemplateValue::Scalar(scalar.clone(), text)
            }
            Value::List(items) => {
                let items = items.iter().enumerate().map(|(index, item)| self.template(item, &path.index(index), list));
                TemplateValue::List(items.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?)
            }
            Value::Map(entries) => {
                let entries = entries.iter().map(|entry| {
                    let value = self.template(&entry.value, &path.key(&entry.key), list)?;
                    Some((entry.key.clone(), entry.span, value))
                });
                TemplateValue::Map(entries.collect::<Vec<_>>().into_iter().collect::<Option<_>>()?)
            }
        };
        Some(Template { span: node.span, path: path.clone(), value })
    }

    fn parse(&mut self, text: &str, span: TextSpan, path: &KeyPath, list: &RowList) -> Option<RowTemplate> {
        let (message, hint) = match RowTemplate::parse(text, list) {
            Ok(template) => return Some(template),
            Err(TemplateError::UnknownColumn(name)) => {
                let columns: Vec<&str> = list.columns.iter().map(String::as_str).collect();
                (format!("the list has no column `{name}`"), suggest::hint(&name, &columns))
            }
            Err(TemplateError::Unclosed(opening)) => {
                let hint = "write `{{ column }}` or `${VARIABLE}`, or `$${` for a literal `${`";
                (format!("a `{opening}` is not closed"), hint.to_owned())
            }
        };
        self.diagnostics.push(Diagnostic::error(Some(span), path, message, hint).without_token());
        None
    }

    /// The source of a row; `None` if it has no name, or no value for a column of the template.
    fn source(
        &mut self,
        entry: &Entry,
        name: &RowTemplate,
        template: &Template,
        (row, list): (&Row, &RowList),
    ) -> Option<Entry> {
        let mut columns: Vec<usize> = name.columns().collect();
        template.columns(&mut columns);
        if let Some(missing) = columns.into_iter().find(|column| row.cells[*column].is_none()) {
            let column = &list.columns[missing];
            let message = format!("this row has no `{column}`, which the template `{}` names", entry.key);
            self.diagnostics.push(Diagnostic::error(Some(row.span), "", message, "add it to the row").without_token());
            return None;
        }
        for (cell, column) in row.cells.iter().zip(&list.columns) {
            // The values of a row that an alias stands for have its place.
            let cell = cell.iter().filter(|cell| cell.span != row.span);
            cell.for_each(|cell| self.diagnostics.add_cell(cell.span, column));
        }
        let place = name.first_cell(row).map_or(row.span, |cell| cell.span);
        // The values of variables are secrets; names are not.
        let key = name.render(row, &Environment::default());
        let key =
            key.map_err(|error| self.diagnostics.push(Diagnostic::error(Some(place), "", error.message, error.hint)));
        let key = key.ok()?.text;
        let path = KeyPath::default().key(Section::Source.key()).key(&key);
        let value = self.render(template, row)?;
        let source = Entry { key, span: place, value };
        if !check_name(&source, &path, self.diagnostics) {
            return None;
        }
        let first = *self.names.entry(source.key.clone()).or_insert(place);
        if first != place {
            self.diagnostics.push(duplicate(&source, first, &path, self.diagnostics));
            return None;
        }
        self.diagnostics.add_generated(&source.key, place);
        Some(Entry { span: entry.span, ..source })
    }

    /// The node of a row. `None` if its value is left out.
    fn render(&mut self, template: &Template, row: &Row) -> Option<Node> {
        let mut span = template.span;
        let id = self.diagnostics.new_node();
        let value = match &template.value {
            TemplateValue::Scalar(_, text) if text.is_left_out(row) => return None,
            TemplateValue::Scalar(scalar, text) => {
                let cell = text.first_cell(row);
                span = cell.map_or(span, |cell| cell.span);
                let rendered = text.render(row, self.environment).unwrap_or_else(|error| {
                    let diagnostic = Diagnostic::error(Some(span), &template.path, error.message, error.hint);
                    self.diagnostics.push_and_drop(diagnostic.without_token(), id);
                    Default::default()
                });
                let written = rendered.has_variables.then(|| scalar.text.clone());
                Value::Scalar(Scalar { text: rendered.text, plain: scalar.plain, written, from_row: cell.is_some() })
            }
            TemplateValue::List(items) => Value::List(items.iter().filter_map(|item| self.render(item, row)).collect()),
            TemplateValue::Map(entries) => {
                let entries = entries.iter().filter_map(|(key, span, value)| {
                    if let Some(cell) = value.empty_cell(row) {
                        self.diagnostics.add_left_out(id, key, cell.span);
                    }
                    Some(Entry { key: key.clone(), span: *span, value: self.render(value, row)? })
                });
                Value::Map(entries.collect())
            }
        };
        Some(Node { id, span, value })
    }
}

/// A node with parsed texts.
struct Template {
    span: TextSpan,
    path: KeyPath,
    value: TemplateValue,
}

enum TemplateValue {
    Scalar(Scalar, RowTemplate),
    List(Vec<Template>),
    Map(Vec<(String, TextSpan, Template)>),
}

impl Template {
    /// The empty value of a row because of which the value is left out.
    fn empty_cell<'r>(&self, row: &'r Row) -> Option<&'r Cell> {
        match &self.value {
            TemplateValue::Scalar(_, text) => text.first_cell(row).filter(|_| text.is_left_out(row)),
            TemplateValue::List(_) | TemplateValue::Map(_) => None,
        }
    }

    fn columns(&self, found: &mut Vec<usize>) {
        match &self.value {
            TemplateValue::Scalar(_, text) => found.extend(text.columns()),
            TemplateValue::List(items) => items.iter().for_each(|item| item.columns(found)),
            TemplateValue::Map(entries) => entries.iter().for_each(|(.., value)| value.columns(found)),
        }
    }
}
