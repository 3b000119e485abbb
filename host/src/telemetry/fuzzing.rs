//! Fuzz targets: statements on their way into a trace, and what a collector answers.

use super::{otlp, statement};

/// What is shown has no end of length, and nothing is left to be taken out of it.
pub(crate) fn statement(data: &[u8]) {
    let Ok(sql) = str::from_utf8(data) else {
        return;
    };
    let shown = statement::without_values(sql);
    assert!(shown.len() <= statement::BYTES_MAX + '…'.len_utf8());
    assert_eq!(statement::without_values(&shown), shown, "{sql:?}");
    assert!(statement::operation(sql).len() <= 32);
}

/// A message is no longer than the answer that it was in.
pub(crate) fn otlp_answer(data: &[u8]) {
    if let Some(partial) = otlp::wire::partial_success(data) {
        assert!(partial.message.len() <= data.len());
    }
}
