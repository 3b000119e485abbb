//! A fuzz target: `.env` files.

use super::dotenv;

/// What is read has names, in the order of its lines, and is no longer than the file.
pub(crate) fn dotenv(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(statements) = dotenv::parse(".env", text) else {
        return;
    };
    let read: usize = statements
        .iter()
        .map(|statement| statement.name.len() + statement.value.len())
        .sum();
    assert!(read <= text.len());
    for statement in statements {
        let is_of_one = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        assert!(statement.name.bytes().all(is_of_one));
        assert!(
            !statement
                .name
                .starts_with(|first: char| first.is_ascii_digit())
        );
    }
}
