//! Statements as they are shown to others: how they are written, and none of the values in them.
//!
//! What a plugin passes beside its statement is not in the text to begin with. What it writes into the text goes, and so do comments:
//! there is no telling what is in them.

/// Longest text that is shown.
pub(super) const BYTES_MAX: usize = 4 * 1024;

/// The statement with `?` for each literal, its spaces and comments made one space.
pub(crate) fn without_values(sql: &str) -> String {
    let mut shown = String::with_capacity(sql.len().min(BYTES_MAX));
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = token(rest, first);
        match token {
            Token::Kept => shown.push_str(&rest[..length]),
            Token::Value => shown.push('?'),
            Token::Space if shown.is_empty() || shown.ends_with(' ') => {}
            Token::Space => shown.push(' '),
        }
        if shown.len() > BYTES_MAX {
            return cut(shown);
        }
        rest = &rest[length..];
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// The beginning of what is too long; one token may be that.
fn cut(mut shown: String) -> String {
    let mut ends = (0..=BYTES_MAX).rev();
    let end = ends.find(|end| shown.is_char_boundary(*end));
    shown.truncate(end.unwrap_or_default());
    shown.push('…');
    shown
}

/// The first word, by which a statement is called: `SELECT`.
pub(crate) fn operation(sql: &str) -> String {
    let word = sql.trim_start();
    let end = word.find(|char: char| !char.is_ascii_alphabetic());
    let word = &word[..end.unwrap_or(word.len()).min(32)];
    if word.is_empty() {
        return "statement".to_owned();
    }
    word.to_ascii_uppercase()
}

enum Token {
    Kept,
    Value,
    Space,
}

/// The first token and its length. What does not end goes on to the end of the text.
fn token(rest: &str, first: char) -> (Token, usize) {
    match first {
        _ if first.is_whitespace() => (Token::Space, run(rest, char::is_whitespace)),
        '\'' => (Token::Value, quoted(rest, '\'', false)),
        '"' => (Token::Kept, quoted(rest, '"', false)),
        '-' if rest.starts_with("--") => (Token::Space, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (Token::Space, comment(rest)),
        '$' => dollar(rest),
        '0'..='9' => (Token::Value, number(rest)),
        '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
            (Token::Value, number(rest))
        }
        _ if is_word(first) => word(rest),
        _ => (Token::Kept, first.len_utf8()),
    }
}

fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_' || char == '$'
}

fn run(rest: &str, belongs: impl Fn(char) -> bool) -> usize {
    rest.find(|char| !belongs(char)).unwrap_or(rest.len())
}

/// A name, or the letter before a literal: `E'it\'s'` may have escapes.
fn word(rest: &str) -> (Token, usize) {
    let length = run(rest, is_word);
    let (word, after) = rest.split_at(length);
    let is_prefix = ["e", "b", "x", "n"]
        .iter()
        .any(|prefix| word.eq_ignore_ascii_case(prefix));
    if is_prefix && after.starts_with('\'') {
        let escapes = word.eq_ignore_ascii_case("e");
        return (Token::Value, length + quoted(after, '\'', escapes));
    }
    (Token::Kept, length)
}

fn quoted(rest: &str, quote: char, escapes: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, char)) = chars.next() {
        if escapes && char == '\\' {
            chars.next();
        } else if char == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    rest.len()
}

/// They may stand in one another.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// `$1` is a placeholder, `$tag$ … $tag$` a literal.
fn dollar(rest: &str) -> (Token, usize) {
    let inner = &rest[1..];
    let digits = run(inner, |char| char.is_ascii_digit());
    if digits > 0 {
        return (Token::Kept, 1 + digits);
    }
    let name = run(inner, |char| char.is_alphanumeric() || char == '_');
    if !inner[name..].starts_with('$') {
        return (Token::Kept, 1);
    }
    let tag = &rest[..name + 2];
    let end = rest[tag.len()..].find(tag);
    (
        Token::Value,
        end.map_or(rest.len(), |end| end + 2 * tag.len()),
    )
}

fn number(rest: &str) -> usize {
    let length = run(rest, |char| {
        char.is_ascii_alphanumeric() || char == '.' || char == '_'
    });
    let has_sign = rest[..length].ends_with(['e', 'E']) && !rest.starts_with("0x");
    let after = &rest[length..];
    if has_sign && after.starts_with(['+', '-']) {
        return length + 1 + run(&after[1..], |char| char.is_ascii_digit());
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_shown(sql: &str, expected: &str) {
        assert_eq!(without_values(sql), expected, "{sql}");
    }

    #[test]
    fn placeholders_names_and_words_stay() {
        check_shown(
            "select a.id, \"b c\".\"d\"\"1\" from t1 a where x = $1 and y = any($2::uuid[])",
            "select a.id, \"b c\".\"d\"\"1\" from t1 a where x = $1 and y = any($2::uuid[])",
        );
        check_shown("  select\n    größe\tfrom t  ", "select größe from t");
        check_shown("select a-b, a->>$1, c/d", "select a-b, a->>$1, c/d");
    }

    #[test]
    fn values_go_however_they_are_written() {
        check_shown(
            "select 'it''s', E'it\\'s secret', 1, 1.5e-3, .5, 0xff",
            "select ?, ?, ?, ?, ?, ?",
        );
        check_shown(
            "select $$secret$$, $a$ $$ secret $b$ $a$, b'01'",
            "select ?, ?, ?",
        );
        check_shown("select U&'secret', date 'secret'", "select U&?, date ?");
        check_shown("select 1 -- secret\n+ 2", "select ? + ?");
        check_shown("select /* a /* secret */ b */ 1", "select ?");
        check_shown("/* secret */ select -- secret", "select");
        check_shown(
            "set local nself.user_id = 'secret'",
            "set local nself.user_id = ?",
        );
        check_shown("limit 10 offset 20;commit", "limit ? offset ?;commit");
    }

    #[test]
    fn what_does_not_end_shows_nothing_of_itself() {
        for text in [
            "'secret",
            "E'secret\\'",
            "$a$ secret $b$",
            "/* secret",
            "-- secret",
        ] {
            let shown = without_values(&format!("select {text}"));
            assert!(shown == "select ?" || shown == "select", "{shown}");
        }
    }

    #[test]
    fn what_is_long_is_cut_also_when_it_is_one_word_or_name() {
        let words = "a ".repeat(BYTES_MAX);
        let word = "ü".repeat(BYTES_MAX);
        for long in [&words, &word, &format!("\"{word}"), &format!(" {word}\"")] {
            let shown = without_values(long);
            assert!(shown.len() <= BYTES_MAX + '…'.len_utf8());
            assert!(shown.ends_with('…'), "{long:.20}");
        }
    }

    #[test]
    fn it_is_called_by_its_first_word() {
        assert_eq!(operation("\n select 1"), "SELECT");
        assert_eq!(operation("commit"), "COMMIT");
        assert_eq!(operation("(select 1)"), "statement");
        assert_eq!(operation(""), "statement");
    }
}
