//! A Rust file taken apart just far enough for the rules: code without comments and literals, and the literals.

use std::ops::Range;

/// A file with its text taken apart.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the root.
    pub(crate) path: String,
    /// As it stands in the file.
    pub(crate) text: String,
    /// Line by line, with comments and the insides of literals blanked.
    pub(crate) code: Vec<String>,
    /// String literals: line (from 1) and what stands between the quotes, escapes as written.
    pub(crate) strings: Vec<(usize, String)>,
    /// The first line (from 1) of what only tests compile; past the end when there is none.
    tests_from: usize,
}

impl Source {
    /// Takes `text` apart.
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let pieces = pieces(text);
        let mut blanked = text.as_bytes().to_vec();
        for piece in &pieces {
            for byte in &mut blanked[piece.inside.clone()] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        let code: Vec<String> = String::from_utf8_lossy(&blanked)
            .lines()
            .map(str::to_owned)
            .collect();
        let strings = pieces
            .iter()
            .filter(|piece| piece.is_string)
            .map(|piece| {
                (
                    line_of(text, piece.inside.start),
                    text[piece.inside.clone()].to_owned(),
                )
            })
            .collect();
        let all_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
        let marked = code.iter().position(|line| line.trim() == "#[cfg(test)]");
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            tests_from: if all_tests {
                1
            } else {
                marked.unwrap_or(code.len()) + 1
            },
            code,
            strings,
        }
    }

    /// Whether only tests compile this line (from 1): tests stand last in a file.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }

    /// Lines of code with their numbers (from 1).
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code
            .iter()
            .enumerate()
            .map(|(index, line)| (index + 1, line.as_str()))
    }
}

/// Whether `word` stands in `line` by itself, not as a part of a longer name.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

/// A comment or literal; `inside` is what is blanked.
struct Piece {
    inside: Range<usize>,
    is_string: bool,
}

fn pieces(text: &str) -> Vec<Piece> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (end, piece) = match rest[0] {
            b'/' if rest.starts_with(b"//") => comment(at, line_end(bytes, at)),
            b'/' if rest.starts_with(b"/*") => comment(at, block_end(bytes, at)),
            b'"' => string(at + 1, quote_end(bytes, at + 1), 1),
            b'r' if !continues_name(bytes, at) => match raw_hashes(rest) {
                Some(hashes) => {
                    let inside = at + 2 + hashes;
                    string(inside, raw_end(bytes, inside, hashes), 1 + hashes)
                }
                None => (at + 1, None),
            },
            b'\'' => (char_end(bytes, at), None),
            _ => (at + 1, None),
        };
        found.extend(piece);
        at = end;
    }
    found
}

fn comment(start: usize, end: usize) -> (usize, Option<Piece>) {
    let piece = Piece {
        inside: start..end,
        is_string: false,
    };
    (end, Some(piece))
}

/// `closing` is how many bytes end the literal.
fn string(start: usize, end: usize, closing: usize) -> (usize, Option<Piece>) {
    let piece = Piece {
        inside: start..end,
        is_string: true,
    };
    (end + closing, Some(piece))
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let line = bytes[at..].iter().position(|byte| *byte == b'\n');
    line.map_or(bytes.len(), |length| at + length)
}

/// Block comments nest.
fn block_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn quote_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// Number of `#` of the raw string that begins here, if one does.
fn raw_hashes(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    (rest.get(1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn raw_end(bytes: &[u8], start: usize, hashes: usize) -> usize {
    let closing = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
    let end = (start..bytes.len()).find(|at| bytes[*at..].starts_with(&closing));
    end.unwrap_or(bytes.len())
}

fn continues_name(bytes: &[u8], at: usize) -> bool {
    // `br"…"` is a raw string, `for"` is none: only a lone prefix counts.
    let before = at.checked_sub(1).map(|at| bytes[at]);
    let before = if before == Some(b'b') {
        at.checked_sub(2).map(|at| bytes[at])
    } else {
        before
    };
    before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// After `'x'`, `'\''` or a lifetime's quote.
fn char_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let end = bytes[at + 3..].iter().position(|byte| *byte == b'\'');
        return end.map_or(bytes.len(), |length| at + 3 + length + 1);
    }
    // A character's own length: up to four bytes before the closing quote. A lifetime has no such quote.
    let end = (at + 2..=at + 5).find(|end| bytes.get(*end) == Some(&b'\''));
    match end {
        Some(end)
            if std::str::from_utf8(&bytes[at + 1..end]).is_ok_and(|c| c.chars().count() == 1) =>
        {
            end + 1
        }
        _ => at + 1,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_code(text: &str, expected: &str) {
        let squeezed: Vec<String> = Source::new("a.rs", text)
            .code
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(squeezed.join("\n"), expected, "{text}");
    }

    #[test]
    fn comments_and_the_insides_of_literals_are_not_code() {
        check_code("a // unsafe\nb", "a\nb");
        check_code("a /* x /* y */ unsafe */ b", "a b");
        check_code(r#"f("unsafe \" // x"); g"#, r#"f(" "); g"#);
        check_code("f(r#\"a \"unsafe\" b\"#); g", "f(r#\" \"#); g");
        check_code("f(br\"\\\"); g", "f(br\" \"); g");
    }

    #[test]
    fn quotes_of_characters_and_lifetimes_do_not_open_strings() {
        check_code("f('\"'); g // x", "f('\"'); g");
        check_code("f('\\''); g // x", "f('\\''); g");
        check_code(
            "fn f<'a>(a: &'a str, q: char) { q == 'ɳ' } // x",
            "fn f<'a>(a: &'a str, q: char) { q == 'ɳ' }",
        );
        check_code("if c == '\\\\' { \"unsafe\" }", "if c == '\\\\' { \" \" }");
    }

    #[test]
    fn strings_know_their_lines() {
        let source = Source::new("a.rs", "f(\"one\");\n\ng(\"two\");\n");
        assert_eq!(
            source.strings,
            [(1, "one".to_owned()), (3, "two".to_owned())]
        );
    }

    #[test]
    fn what_stands_below_cfg_test_is_test() {
        let source = Source::new("host/src/a.rs", "fn f() {}\n#[cfg(test)]\nmod tests {}\n");
        assert_eq!(
            [1, 2, 3].map(|line| source.is_test(line)),
            [false, true, true]
        );
        assert!(Source::new("host/tests/it/a.rs", "fn f() {}\n").is_test(1));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
        assert!(!has_word("not_unsafe", "unsafe"));
    }
}
