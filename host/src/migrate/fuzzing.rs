//! A fuzz target: files of statements.

use super::statements;

/// Statements are parts of their file, in order, each on the line that it says.
pub(crate) fn migration(data: &[u8]) {
    let Ok(file) = str::from_utf8(data) else {
        return;
    };
    let Ok(statements) = statements::split(file) else {
        return;
    };
    let mut end = 0;
    for statement in statements {
        let start = statement.sql.as_ptr().addr() - file.as_ptr().addr();
        assert!(start >= end && !statement.sql.is_empty());
        end = start + statement.sql.len();
        assert_eq!(&file[start..end], statement.sql);
        assert_eq!(statement.line, 1 + file[..start].matches('\n').count());
        let (first, _) = statement.locate(0);
        let (last, _) = statement.locate(statement.sql.len());
        assert!(first == statement.line && last >= first);
    }
}
