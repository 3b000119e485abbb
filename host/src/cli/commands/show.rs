//! An answer as a table, or field by field.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::{CliError, Context, Table, output::clean};
use crate::plugin::manifest::Command;

pub(super) fn answer(context: &Context, command: &Command, answer: &Value) -> Result<(), CliError> {
    context.output.answer(answer, || {
        if command.columns.is_empty() {
            return fields(answer);
        }
        let table = table(command, answer);
        if table.is_empty() {
            return "nothing\n".to_owned();
        }
        context.output.table(&table)
    })
}

fn table(command: &Command, answer: &Value) -> Table {
    let heads: Vec<&str> = command
        .columns
        .iter()
        .map(|column| column.head.as_str())
        .collect();
    let mut table = Table::new(&heads);
    let rows = at(answer, &command.rows);
    for row in rows.as_array().into_iter().flatten() {
        let cells = command.columns.iter();
        table.cells(cells.map(|column| cell(at(row, &column.cell))));
    }
    table
}

/// What a path of names joined by dots leads to; null where it ends early.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    let names = path.split('.').filter(|name| !name.is_empty());
    names.fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(items)
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            items.iter().map(cell).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// One line per field; those of an object within begin with its name.
fn fields(answer: &Value) -> String {
    let mut text = String::new();
    write_fields(&mut text, "", answer);
    text
}

fn write_fields(text: &mut String, name: &str, value: &Value) {
    let inner = |key: &str| {
        if name.is_empty() {
            key.to_owned()
        } else {
            format!("{name}.{key}")
        }
    };
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                write_fields(text, &inner(key), value);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for (number, item) in items.iter().enumerate() {
                write_fields(text, &inner(&(number + 1).to_string()), item);
            }
        }
        other => {
            let line = clean(&cell(other)).replace('\n', " ");
            let line = if name.is_empty() {
                line
            } else {
                format!("{}: {line}", clean(name))
            };
            writeln!(text, "{line}").expect("a string takes all text");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_become_a_table_and_the_rest_lines() {
        let command: Command = serde_json::from_value(json!({
            "name": "x", "method": "GET", "path": "/x", "rows": "page.rows",
            "columns": [{"head": "ID", "cell": "id"}, {"head": "NAME", "cell": "user.name"}],
        }))
        .expect("a command");
        let answer = json!({"page": {"rows": [{"id": 1, "user": {"name": "a\u{1b}"}}, {"id": 2}]}});
        let table = table(&command, &answer);
        let output = crate::cli::Output::new(false, &[("NO_COLOR".into(), "1".into())].into());
        assert_eq!(output.table(&table), "ID  NAME\n1   a\\u{1b}\n2   -\n");
        let shown = fields(&json!({"a": {"b": true, "c": [1, "x"]}, "d": [{"e": null}]}));
        assert_eq!(shown, "a.b: yes\na.c: 1, x\nd.1.e: -\n");
        assert_eq!(fields(&json!("done")), "done\n");
    }
}
