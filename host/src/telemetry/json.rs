//! Log lines as JSON, written straight into the line: one object, the event's own fields beside `timestamp`, `level` and
//! `target`, the spans around it in `span` (the innermost) and `spans` (from the outermost). The shape is that of
//! tracing-subscriber's own JSON, which keeps the fields of each span as a tree and reads them back for each line: with it the
//! access log cost more than anything else on the way of a request.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// An event as one line.
pub(super) struct JsonLine;

/// A span's fields as members of an object that somebody else opens and closes.
pub(super) struct JsonMembers;

impl<S> FormatEvent<S, JsonMembers> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonMembers>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let about = event.metadata();
        line.write_str(r#"{"timestamp":""#)?;
        SystemTime.format_time(&mut line)?;
        write!(line, r#"","level":"{}""#, about.level())?;
        let mut members = Members::after_others(&mut line);
        event.record(&mut members);
        members.failed?;
        line.write_str(r#","target":"#)?;
        text(&mut line, about.target())?;
        let innermost = match event.parent() {
            Some(parent) => context.span(parent),
            None => context.lookup_current(),
        };
        if let Some(innermost) = innermost {
            line.write_str(r#","span":"#)?;
            span(&mut line, &innermost)?;
            let mut opening = r#","spans":["#;
            for each in innermost.scope().from_root() {
                line.write_str(opening)?;
                span(&mut line, &each)?;
                opening = ",";
            }
            line.write_char(']')?;
        }
        line.write_str("}\n")
    }
}

impl<'writer> FormatFields<'writer> for JsonMembers {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut members = Members {
            line: &mut writer,
            separator: "",
            failed: Ok(()),
        };
        fields.record(&mut members);
        members.failed
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        if !current.fields.is_empty() && !fields.is_empty() {
            current.fields.push(',');
        }
        self.format_fields(current.as_writer(), fields)
    }
}

fn span<S: for<'a> LookupSpan<'a>>(line: &mut Writer<'_>, span: &SpanRef<'_, S>) -> fmt::Result {
    line.write_char('{')?;
    if let Some(fields) = span.extensions().get::<FormattedFields<JsonMembers>>()
        && !fields.is_empty()
    {
        line.write_str(fields)?;
        line.write_char(',')?;
    }
    line.write_str(r#""name":"#)?;
    text(line, span.name())?;
    line.write_char('}')
}

/// Writes fields as the members of an object.
struct Members<'a, 'line> {
    line: &'a mut Writer<'line>,
    separator: &'static str,
    failed: fmt::Result,
}

impl<'a, 'line> Members<'a, 'line> {
    fn after_others(line: &'a mut Writer<'line>) -> Self {
        Self {
            line,
            separator: ",",
            failed: Ok(()),
        }
    }

    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'line>) -> fmt::Result) {
        if self.failed.is_err() {
            return;
        }
        let line = &mut *self.line;
        // Names are identifiers of the program, or stand between quotes in it.
        let name = field.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.failed = line
            .write_str(self.separator)
            .and_then(|()| text(line, name))
            .and_then(|()| line.write_char(':'))
            .and_then(|()| value(line));
        self.separator = ",";
    }
}

impl Visit for Members<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, |line| {
            if value.is_finite() {
                write!(line, "{value:?}")
            } else {
                line.write_str("null")
            }
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| text(line, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |line| {
            line.write_char('"')?;
            write!(Escaped(line), "{value:?}")?;
            line.write_char('"')
        });
    }
}

fn text(line: &mut Writer<'_>, text: &str) -> fmt::Result {
    line.write_char('"')?;
    Escaped(line).write_str(text)?;
    line.write_char('"')
}

/// The inside of a JSON string (RFC 8259, section 7).
struct Escaped<'a, 'line>(&'a mut Writer<'line>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
        // Without a way out in the middle, so that many bytes are looked at together.
        if !text
            .bytes()
            .fold(false, |found, byte| found | is_special(byte))
        {
            return self.0.write_str(text);
        }
        let mut plain = 0;
        for (place, byte) in text.bytes().enumerate() {
            let escape = match byte {
                b'"' => "\\\"",
                b'\\' => "\\\\",
                b'\n' => "\\n",
                b'\r' => "\\r",
                b'\t' => "\\t",
                0..0x20 => "",
                _ => continue,
            };
            self.0.write_str(&text[plain..place])?;
            if escape.is_empty() {
                write!(self.0, "\\u{byte:04x}")?;
            } else {
                self.0.write_str(escape)?;
            }
            plain = place + 1;
        }
        self.0.write_str(&text[plain..])
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, fmt as lines};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let page = Page::default();
        let to = page.clone();
        let layer = lines::layer()
            .fmt_fields(JsonMembers)
            .event_format(JsonLine)
            .with_writer(move || to.clone());
        tracing::subscriber::with_default(Registry::default().with(layer), work);
        let bytes = page.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("text");
        let read = |line| serde_json::from_str(line).expect("one JSON object a line");
        text.lines().map(read).collect()
    }

    #[test]
    fn values_keep_their_kind_and_text_is_escaped() {
        let wild = "say \"no\"\\\n\r\t\u{1}\u{1f} é 🦀";
        let lines = logged(|| {
            tracing::warn!(
                whole = -3_i64,
                large = u64::MAX,
                half = 0.5,
                none = f64::NAN,
                yes = true,
                wild,
                shown = %wild,
                debug = ?Some("x"),
                r#type = "word",
                "a {wild}"
            );
        });
        let line = &lines[0];
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["target"], module_path!());
        assert_eq!(
            (
                &line["whole"],
                &line["large"],
                &line["half"],
                &line["none"],
                &line["yes"]
            ),
            (
                &json!(-3),
                &json!(u64::MAX),
                &json!(0.5),
                &Value::Null,
                &json!(true)
            )
        );
        assert_eq!(
            (&line["wild"], &line["shown"]),
            (&json!(wild), &json!(wild))
        );
        assert_eq!(
            (&line["debug"], &line["type"]),
            (&json!("Some(\"x\")"), &json!("word"))
        );
        assert_eq!(line["message"], format!("a {wild}"));
        assert!(line["timestamp"].as_str().expect("text").ends_with('Z'));
        assert!(line.get("span").is_none() && line.get("spans").is_none());
    }

    #[test]
    fn spans_stand_from_the_outermost_and_take_fields_later() {
        let lines = logged(|| {
            let outer =
                tracing::info_span!("outer", plugin = "hello", later = tracing::field::Empty);
            outer.in_scope(|| {
                tracing::info_span!("inner").in_scope(|| {
                    outer.record("later", 7);
                    tracing::info!("told");
                });
            });
            let alone = tracing::info_span!("alone", later = tracing::field::Empty);
            alone.record("later", "\"");
            tracing::info!(parent: &alone, "told by name");
        });
        assert_eq!(lines[0]["span"], json!({"name": "inner"}));
        assert_eq!(
            lines[0]["spans"],
            json!([{"plugin": "hello", "later": 7, "name": "outer"}, {"name": "inner"}])
        );
        assert_eq!(lines[1]["spans"], json!([{"later": "\"", "name": "alone"}]));
    }
}
