//! `.env` files, with line numbers.
//!
//! Not the crate `dotenvy`: it expands `$NAME` from the process environment, which breaks passwords that contain `$`,
//! and it does not say which line a value stands in.

use std::io::ErrorKind;
use std::path::Path;

use super::variables::Statement;
use super::{ConfigError, Origin};

/// The statements of a `.env` file in `directory`; none when there is no such file.
pub(super) fn read(directory: &Path, name: &'static str) -> Result<Vec<Statement>, ConfigError> {
    let file = directory.join(name);
    match std::fs::read_to_string(&file) {
        Ok(text) => parse(name, &text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ConfigError::Read { file, source }),
    }
}

pub(super) fn parse(file: &'static str, text: &str) -> Result<Vec<Statement>, ConfigError> {
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    let mut statements = Vec::new();
    while !rest.is_empty() {
        let (current, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let statement = current.trim();
        if statement.is_empty() || statement.starts_with('#') {
            (rest, line) = (after, line + 1);
            continue;
        }
        let wrong = |message: &str| ConfigError::Syntax {
            file: file.to_owned(),
            line,
            message: message.to_owned(),
        };
        let (name, value_on) = rest
            .split_once('=')
            .filter(|(name, _)| !name.contains('\n'))
            .ok_or_else(|| wrong("expected NAME=value"))?;
        let name = name.trim();
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if !is_name(name) {
            return Err(wrong(
                "a name consists of letters, digits and `_`, and starts with a letter or `_`",
            ));
        }
        let (value, after) = value(value_on).map_err(wrong)?;
        let origin = Origin::File {
            name: file,
            line,
            variable: Some(name.to_owned()),
        };
        statements.push(Statement {
            name: name.to_owned(),
            value,
            origin,
        });
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    Ok(statements)
}

fn is_name(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

/// The value at the start of `text`, and what follows its line.
fn value(text: &str) -> Result<(String, &str), &'static str> {
    let text = text.trim_start_matches([' ', '\t']);
    let (value, after) = match text.chars().next() {
        Some('\'') => {
            let (value, after) = text[1..]
                .split_once('\'')
                .ok_or("the single quote is never closed")?;
            (value.to_owned(), after)
        }
        Some('"') => double_quoted(&text[1..])?,
        _ => {
            let (line, after) = text.split_once('\n').unwrap_or((text, ""));
            return Ok((before_comment(line).trim().to_owned(), after));
        }
    };
    let (trailing, after) = after.split_once('\n').unwrap_or((after, ""));
    let trailing = trailing.trim();
    if !trailing.is_empty() && !trailing.starts_with('#') {
        return Err("text after the closing quote");
    }
    Ok((value, after))
}

/// `#` starts a comment at the start of a value or after white space: `pass#word` is a value.
fn before_comment(line: &str) -> &str {
    let comment = line.char_indices().find(|(at, letter)| {
        *letter == '#'
            && line[..*at]
                .chars()
                .next_back()
                .is_none_or(char::is_whitespace)
    });
    comment.map_or(line, |(at, _)| &line[..at])
}

fn double_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, 't')) => value.push('\t'),
                Some((_, plain @ ('"' | '\\' | '$' | '`'))) => value.push(plain),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("the double quote is never closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str, usize)]) {
        let statements = parse(".env", text).expect("it parses");
        let found: Vec<_> = statements
            .iter()
            .map(|statement| {
                let Origin::File { line, .. } = statement.origin else {
                    panic!("not from a file")
                };
                (statement.name.as_str(), statement.value.as_str(), line)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn values_may_be_plain_quoted_exported_and_commented() {
        check(
            "# hello\n\nA=1\nexport B = two words # comment\r\nC=pass#word\nD=#\n",
            &[
                ("A", "1", 3),
                ("B", "two words", 4),
                ("C", "pass#word", 5),
                ("D", "", 6),
            ],
        );
        check(
            "A='it is $HOME # so'\nB=\"say \\\"hi\\\"\\n\" # comment",
            &[("A", "it is $HOME # so", 1), ("B", "say \"hi\"\n", 2)],
        );
    }

    #[test]
    fn double_quotes_may_span_lines_and_lines_are_counted_on() {
        check(
            "KEY=\"-----BEGIN\nabc\n-----END\"\nNEXT=x\n",
            &[("KEY", "-----BEGIN\nabc\n-----END", 1), ("NEXT", "x", 4)],
        );
    }

    #[track_caller]
    fn check_wrong(text: &str, expected: &str) {
        let error = parse(".env", text).expect_err("it does not parse");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        check_wrong("A=1\nnonsense\n", ".env:2: expected NAME=value");
        check_wrong(
            "A=1\n\nB=\"open\n",
            ".env:3: the double quote is never closed",
        );
        check_wrong(
            "1A=1",
            ".env:1: a name consists of letters, digits and `_`, and starts with a letter or `_`",
        );
        check_wrong("A=\"x\" y", ".env:1: text after the closing quote");
    }
}
