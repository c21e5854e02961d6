//! Files with lists of rows: CSV with a header, or a YAML list of flat maps.

use std::path::Path;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::node::{Node, TextSpan, Value};
use super::rows::{Cell, Row, RowList};
use super::{csv, yaml};

/// Reads a file of `diagnostics` in the format that the end of its name says. Errors go there. `None` if it cannot be read.
pub(crate) fn read(path: &Path, file: usize, diagnostics: &mut Diagnostics) -> Option<RowList> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => csv::read(file, diagnostics),
        Some("yaml" | "yml") => {
            let root = yaml::read_list(file, diagnostics)?;
            of_nodes(&root, diagnostics)
        }
        _ => {
            let span = TextSpan { file, line: 1, column: 1, width: 1 };
            let message = "the format of this list is not known";
            let hint = "a list is CSV in a file `*.csv`, or YAML in a file `*.yaml` or `*.yml`";
            diagnostics.push(Diagnostic::error(Some(span), "", message, hint).without_token());
            None
        }
    }
}

fn of_nodes(root: &Node, diagnostics: &mut Diagnostics) -> Option<RowList> {
    let Value::List(items) = &root.value else {
        diagnostics.push(not_flat(root.span, "this is not a list"));
        return None;
    };
    let mut list = RowList::default();
    for item in items {
        let Value::Map(entries) = &item.value else {
            diagnostics.push(not_flat(item.span, "this row is not a map"));
            continue;
        };
        let mut row = Row { span: item.span, cells: Vec::new() };
        for entry in entries {
            let Value::Scalar(scalar) = &entry.value.value else {
                diagnostics.push(not_flat(entry.value.span, "this value is a list or a map"));
                continue;
            };
            let known = list.columns.iter().position(|column| *column == entry.key);
            let index = known.unwrap_or_else(|| {
                list.columns.push(entry.key.clone());
                list.columns.len() - 1
            });
            let text = if entry.value.is_null() { String::new() } else { scalar.text.clone() };
            row.cells.resize(row.cells.len().max(index + 1), None);
            // What an alias stands for was written before it, maybe as another row.
            row.cells[index] = Some(Cell { text, span: entry.value.span.max(item.span) });
        }
        list.rows.push(row);
    }
    let width = list.columns.len();
    list.rows.iter_mut().for_each(|row| row.cells.resize(width, None));
    Some(list)
}

fn not_flat(span: TextSpan, message: &str) -> Diagnostic {
    let hint = "write a list of maps from names to values: `- {tenant: acme, region: eu}`";
    Diagnostic::error(Some(span), "", message, hint).without_token()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, text: &str) -> (Option<RowList>, Vec<Diagnostic>) {
        let mut diagnostics = Diagnostics::of_file(name, text);
        let list = read(Path::new(name), 0, &mut diagnostics);
        (list, diagnostics.resolve(""))
    }

    #[test]
    fn a_yaml_list_may_leave_out_values() {
        let (list, mistakes) = read_text("a.yaml", "- {a: 1, b: x}\n- b: ~\n  c: '2'\n");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let list = list.expect("a list");
        assert_eq!(list.columns, ["a", "b", "c"]);
        let texts = |row: &Row| row.cells.iter().map(|cell| cell.clone().map(|cell| cell.text)).collect::<Vec<_>>();
        assert_eq!(texts(&list.rows[0]), [Some("1".into()), Some("x".into()), None]);
        assert_eq!(texts(&list.rows[1]), [None, Some(String::new()), Some("2".into())]);
    }

    #[test]
    fn what_is_not_a_list_of_flat_maps_is_reported_at_its_place() {
        for (name, text, line) in [
            ("a.yaml", "a: 1\n", 1),
            ("a.yml", "- {a: 1}\n- x\n", 2),
            ("a.yaml", "- {a: 1}\n- {a: [1]}\n", 2),
            ("a.txt", "a\n1\n", 1),
        ] {
            let (_, mistakes) = read_text(name, text);
            assert_eq!(
                mistakes.iter().map(|one| one.span.expect("a place").line).collect::<Vec<_>>(),
                [line],
                "{text}"
            );
        }
    }
}
