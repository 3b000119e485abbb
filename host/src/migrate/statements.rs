//! Splits a file into its statements the way `psql` does: a step runs statement by statement, so that an error can
//! name its line and a `COMMIT` in the middle can be refused before it breaks the step's transaction.

/// One statement of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement<'a> {
    /// Its text without the comments before it and without the semicolon.
    pub(super) sql: &'a str,
    /// Line of its first character, from 1.
    pub(super) line: usize,
    /// Its first words, quoted names and dots, as written: enough to tell what kind of statement it is.
    pub(super) atoms: Vec<&'a str>,
}

/// A quote, comment or parenthesis that the file does not close.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {what} is not closed")]
pub(super) struct Unclosed {
    /// Where it opens, from 1.
    pub(super) line: usize,
    what: &'static str,
}

/// Enough for `create unique index concurrently if not exists "a" on only "b"."c"`.
const ATOMS_MAX: usize = 16;

impl Statement<'_> {
    /// Whether the statement starts with these words, whatever their case.
    pub(super) fn starts_with(&self, words: &[&str]) -> bool {
        self.atoms.len() >= words.len()
            && words
                .iter()
                .zip(&self.atoms)
                .all(|(word, atom)| atom.eq_ignore_ascii_case(word))
    }

    /// Line in the file of a byte offset in the statement, and that line's text, shortened.
    pub(super) fn locate(&self, offset: usize) -> (usize, String) {
        let before = self.sql.get(..offset).unwrap_or_default();
        let line = self.line + before.matches('\n').count();
        let text = self
            .sql
            .lines()
            .nth(line - self.line)
            .unwrap_or_default()
            .trim();
        let excerpt = match text.char_indices().nth(EXCERPT_CHARACTERS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        (line, excerpt)
    }
}

const EXCERPT_CHARACTERS_MAX: usize = 100;

/// Splits `file` at the semicolons that end statements.
pub(super) fn split(file: &str) -> Result<Vec<Statement<'_>>, Unclosed> {
    let mut scanner = Scanner { file, at: 0 };
    let mut statements = Vec::new();
    let mut current = Draft::default();
    while let Some((token, start)) = scanner.next()? {
        if token == Token::Semicolon && current.depth() == 0 {
            statements.extend(current.finish(file));
            current = Draft::default();
        } else {
            current.take(token, start, &file[start..scanner.at]);
        }
    }
    if let Some(opened) = current.parentheses.first() {
        return Err(Unclosed {
            line: line_of(file, *opened),
            what: "a parenthesis",
        });
    }
    statements.extend(current.finish(file));
    Ok(statements)
}

fn line_of(file: &str, offset: usize) -> usize {
    1 + file[..offset].matches('\n').count()
}

/// What has been read of the statement at hand.
#[derive(Default)]
struct Draft<'a> {
    start: Option<usize>,
    end: usize,
    atoms: Vec<&'a str>,
    parentheses: Vec<usize>,
    /// Depth of `BEGIN ATOMIC .. END` in the body of a function: semicolons in it end nothing.
    blocks: usize,
}

impl<'a> Draft<'a> {
    fn depth(&self) -> usize {
        self.parentheses.len() + self.blocks
    }

    fn take(&mut self, token: Token, start: usize, text: &'a str) {
        self.start.get_or_insert(start);
        self.end = start + text.len();
        match token {
            Token::Word => self.count_blocks(text),
            Token::Open => self.parentheses.push(start),
            Token::Close => drop(self.parentheses.pop()),
            Token::Quoted | Token::Semicolon | Token::Other => {}
        }
        let is_atom = matches!(token, Token::Word | Token::Quoted) || text == ".";
        if is_atom && self.atoms.len() < ATOMS_MAX {
            self.atoms.push(text);
        }
    }

    fn count_blocks(&mut self, word: &str) {
        if !self.makes_routine() || !self.parentheses.is_empty() {
            return;
        }
        if word.eq_ignore_ascii_case("begin")
            || (self.blocks > 0 && word.eq_ignore_ascii_case("case"))
        {
            self.blocks += 1;
        } else if word.eq_ignore_ascii_case("end") {
            self.blocks = self.blocks.saturating_sub(1);
        }
    }

    fn makes_routine(&self) -> bool {
        let is = |index: usize, word: &str| {
            self.atoms
                .get(index)
                .is_some_and(|atom| atom.eq_ignore_ascii_case(word))
        };
        let kind = if is(1, "or") && is(2, "replace") {
            3
        } else {
            1
        };
        is(0, "create") && (is(kind, "function") || is(kind, "procedure"))
    }

    fn finish(self, file: &'a str) -> Option<Statement<'a>> {
        let start = self.start?;
        Some(Statement {
            sql: &file[start..self.end],
            line: line_of(file, start),
            atoms: self.atoms,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Word,
    /// A `"quoted name"`.
    Quoted,
    Open,
    Close,
    Semicolon,
    /// Strings, numbers, operators.
    Other,
}

struct Scanner<'a> {
    file: &'a str,
    at: usize,
}

impl Scanner<'_> {
    /// The next token and where it starts; `at` is then behind it.
    fn next(&mut self) -> Result<Option<(Token, usize)>, Unclosed> {
        self.skip_blanks()?;
        let start = self.at;
        let Some(first) = self.peek(0) else {
            return Ok(None);
        };
        let token = match first {
            b'\'' => self.quoted(b'\'', false, "a string")?,
            b'"' => self.quoted(b'"', false, "a quoted name")?,
            b'$' => self.dollar()?,
            b'(' => self.single(Token::Open),
            b')' => self.single(Token::Close),
            b';' => self.single(Token::Semicolon),
            byte if is_word_start(byte) => self.word()?,
            byte if byte.is_ascii_digit() => self.number(),
            _ => self.single(Token::Other),
        };
        Ok(Some((token, start)))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.file.as_bytes().get(self.at + ahead).copied()
    }

    fn unclosed(&self, at: usize, what: &'static str) -> Unclosed {
        Unclosed {
            line: line_of(self.file, at),
            what,
        }
    }

    fn single(&mut self, token: Token) -> Token {
        self.at += 1;
        token
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&keep) {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) -> Result<(), Unclosed> {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace());
            match (self.peek(0), self.peek(1)) {
                (Some(b'-'), Some(b'-')) => self.skip_while(|byte| byte != b'\n'),
                (Some(b'/'), Some(b'*')) => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    /// `/* .. */`, which nests in SQL.
    fn skip_comment(&mut self) -> Result<(), Unclosed> {
        let opened = self.at;
        let mut depth = 0;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(b'/'), Some(b'*')) => (depth, self.at) = (depth + 1, self.at + 2),
                (Some(b'*'), Some(b'/')) => (depth, self.at) = (depth - 1, self.at + 2),
                (Some(_), _) => self.at += 1,
                (None, _) => return Err(self.unclosed(opened, "a comment")),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// A doubled quote inside needs no care: it ends one string and begins the next, and nothing stands between.
    fn quoted(
        &mut self,
        quote: u8,
        has_escapes: bool,
        what: &'static str,
    ) -> Result<Token, Unclosed> {
        let opened = self.at;
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            self.at += if has_escapes && byte == b'\\' { 2 } else { 1 };
            if byte == quote {
                return Ok(if quote == b'"' {
                    Token::Quoted
                } else {
                    Token::Other
                });
            }
        }
        Err(self.unclosed(opened, what))
    }

    /// `$$ .. $$`, `$tag$ .. $tag$`; a lone `$1` is just a token.
    fn dollar(&mut self) -> Result<Token, Unclosed> {
        let opened = self.at;
        self.at += 1;
        if self.peek(0).is_some_and(is_word_start) {
            self.skip_while(|byte| byte != b'$' && is_word(byte));
        }
        if self.peek(0) != Some(b'$') {
            return Ok(Token::Other);
        }
        self.at += 1;
        let tag = &self.file[opened..self.at];
        let Some(length) = self.file[self.at..].find(tag) else {
            return Err(self.unclosed(opened, "a dollar-quoted text"));
        };
        self.at += length + tag.len();
        Ok(Token::Other)
    }

    fn word(&mut self) -> Result<Token, Unclosed> {
        let start = self.at;
        self.skip_while(is_word);
        if self.peek(0) == Some(b'\'') && self.file[start..self.at].eq_ignore_ascii_case("e") {
            return self.quoted(b'\'', true, "a string");
        }
        Ok(Token::Word)
    }

    fn number(&mut self) -> Token {
        self.skip_while(|byte| is_word(byte) || byte == b'.');
        Token::Other
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

fn is_word(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, expected: &[(usize, &str)]) {
        let statements = split(file).expect("the file closes what it opens");
        let found: Vec<_> = statements
            .iter()
            .map(|statement| (statement.line, statement.sql))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn semicolons_end_statements_and_comments_belong_to_none() {
        check(
            "-- one\nSELECT 1;\n/* two /* nested; */ */ SELECT 2 -- tail;\n;\n;",
            &[(2, "SELECT 1"), (3, "SELECT 2")],
        );
        check("SELECT 1", &[(1, "SELECT 1")]);
        check(" -- nothing\n", &[]);
    }

    #[test]
    fn what_is_a_space_for_unicode_alone_is_left_to_postgres_to_refuse() {
        for odd in ["\u{a0}", "\u{b}", "\u{2003}"] {
            let file = format!("SELECT 1;\n{odd}");
            check(&file, &[(1, "SELECT 1"), (2, odd)]);
        }
    }

    #[test]
    fn semicolons_inside_quotes_and_bodies_end_nothing() {
        check(
            "SELECT ';''', E'\\';', \";\"\"\"; SELECT 2",
            &[(1, "SELECT ';''', E'\\';', \";\"\"\""), (1, "SELECT 2")],
        );
        check(
            "DO $$ BEGIN; END $$; DO $x$ $$;$$ $x$",
            &[(1, "DO $$ BEGIN; END $$"), (1, "DO $x$ $$;$$ $x$")],
        );
        check(
            "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2); SELECT 3",
            &[
                (1, "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)"),
                (1, "SELECT 3"),
            ],
        );
        let routine = "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        check(
            &format!("{routine};\nBEGIN; END"),
            &[(1, routine), (2, "BEGIN"), (2, "END")],
        );
    }

    #[test]
    fn what_is_not_closed_is_named_with_its_line() {
        for (file, what) in [
            ("\n'a;", "a string"),
            ("\n\"a", "a quoted name"),
            ("\n$a$ $b$", "a dollar-quoted text"),
            ("\n/* /* */", "a comment"),
            ("\nSELECT (1;", "a parenthesis"),
        ] {
            assert_eq!(split(file), Err(Unclosed { line: 2, what }));
        }
    }

    #[test]
    fn an_offset_becomes_a_line_of_the_file() {
        let statements = split("\nSELECT\n  a,\n  ü, b").expect("closed");
        assert_eq!(statements[0].locate(12), (4, "ü, b".to_owned()));
        assert_eq!(statements[0].locate(0), (2, "SELECT".to_owned()));
    }
}
