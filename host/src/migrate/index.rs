//! Statements that Postgres refuses in a transaction. Each has a rule that makes it resumable: what a killed run left
//! behind is looked at before the statement is run again.

use tokio_postgres::{Client, Error};

use super::statements::Statement;

/// How a statement outside a transaction is resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resumable {
    /// `CREATE INDEX CONCURRENTLY`: an invalid index of that name is dropped first; a valid one means that it is done.
    CreateIndex {
        /// The index, as written.
        index: String,
        /// The table, as written.
        table: String,
    },
    /// `DROP INDEX CONCURRENTLY`: an index that is gone means that it is done.
    DropIndex {
        /// The index, as written.
        index: String,
    },
    /// Can simply be run again.
    Repeatable,
}

const SUPPORTED: &str = "only CREATE INDEX CONCURRENTLY with a name, DROP INDEX CONCURRENTLY, \
    ALTER TYPE .. ADD VALUE IF NOT EXISTS and VACUUM may run without transaction, because a killed run of them can be resumed";

impl Resumable {
    pub(super) fn of(statement: &Statement<'_>) -> Result<Self, String> {
        let unsupported = || SUPPORTED.to_owned();
        let skip = |words: &[&[&str]]| {
            words
                .iter()
                .find(|words| statement.starts_with(words))
                .map(|words| words.len())
        };
        if statement.starts_with(&["vacuum"]) {
            return Ok(Self::Repeatable);
        }
        if statement.starts_with(&["alter", "type"]) {
            let text = statement.sql.to_ascii_lowercase();
            let words: Vec<_> = text.split_ascii_whitespace().collect();
            let is_repeatable = words
                .windows(5)
                .any(|words| words == ["add", "value", "if", "not", "exists"]);
            return if is_repeatable {
                Ok(Self::Repeatable)
            } else {
                Err(unsupported())
            };
        }
        if let Some(start) = skip(&[
            &["drop", "index", "concurrently", "if", "exists"],
            &["drop", "index", "concurrently"],
        ]) {
            let (index, _) = name_at(&statement.atoms, start).ok_or_else(unsupported)?;
            return Ok(Self::DropIndex { index });
        }
        let start = skip(&[
            &["create", "index", "concurrently", "if", "not", "exists"],
            &[
                "create",
                "unique",
                "index",
                "concurrently",
                "if",
                "not",
                "exists",
            ],
            &["create", "index", "concurrently"],
            &["create", "unique", "index", "concurrently"],
        ])
        .ok_or_else(unsupported)?;
        let (index, next) = name_at(&statement.atoms, start).ok_or_else(unsupported)?;
        let is = |at: usize, word: &str| {
            statement
                .atoms
                .get(at)
                .is_some_and(|atom| atom.eq_ignore_ascii_case(word))
        };
        if !is(next, "on") || index.eq_ignore_ascii_case("on") {
            return Err(unsupported());
        }
        let table_at = if is(next + 1, "only") {
            next + 2
        } else {
            next + 1
        };
        let (table, _) = name_at(&statement.atoms, table_at).ok_or_else(unsupported)?;
        Ok(Self::CreateIndex { index, table })
    }

    /// Whether the statement has nothing left to do because an earlier run of this step, which was `begun`, got that
    /// far. Removes what the earlier run left half-made.
    pub(super) async fn is_done(&self, client: &Client, begun: bool) -> Result<bool, Error> {
        match self {
            Self::Repeatable => Ok(false),
            Self::DropIndex { index } => {
                let found = client
                    .query_one("SELECT to_regclass($1) IS NOT NULL", &[index])
                    .await?;
                Ok(begun && !found.get::<_, bool>(0))
            }
            Self::CreateIndex { index, table } => match find_index(client, index, table).await? {
                Some(Found { is_valid: true, .. }) => Ok(begun),
                Some(Found {
                    is_valid: false,
                    name,
                }) => {
                    client
                        .batch_execute(&format!("DROP INDEX CONCURRENTLY {name}"))
                        .await?;
                    Ok(false)
                }
                None => Ok(false),
            },
        }
    }
}

struct Found {
    /// Quoted and qualified.
    name: String,
    is_valid: bool,
}

/// An index lives in its table's schema, under a name without one.
async fn find_index(client: &Client, index: &str, table: &str) -> Result<Option<Found>, Error> {
    let row = client
        .query_opt(
            "SELECT format('%I.%I', n.nspname, i.relname), x.indisvalid AND x.indisready
             FROM pg_class t
             JOIN pg_namespace n ON n.oid = t.relnamespace
             JOIN pg_class i ON i.relnamespace = n.oid AND i.relname = (parse_ident($1))[1]
             JOIN pg_index x ON x.indexrelid = i.oid
             WHERE t.oid = to_regclass($2)",
            &[&index, &table],
        )
        .await?;
    Ok(row.map(|row| Found {
        name: row.get(0),
        is_valid: row.get(1),
    }))
}

/// The name that starts at this atom, qualified or not, and the place behind it.
fn name_at(atoms: &[&str], start: usize) -> Option<(String, usize)> {
    let first = atoms.get(start)?;
    match (atoms.get(start + 1), atoms.get(start + 2)) {
        (Some(&"."), Some(second)) => Some((format!("{first}.{second}"), start + 3)),
        _ => Some(((*first).to_owned(), start + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::statements::split;
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: impl Into<Option<Resumable>>) {
        let statements = split(sql).expect("closed");
        assert_eq!(Resumable::of(&statements[0]).ok(), expected.into(), "{sql}");
    }

    #[test]
    fn only_statements_with_a_rule_are_resumable() {
        let create = |index: &str, table: &str| Resumable::CreateIndex {
            index: index.into(),
            table: table.into(),
        };
        check(
            "CREATE INDEX CONCURRENTLY a ON b (c)",
            Some(create("a", "b")),
        );
        check(
            "create unique index concurrently if not exists \"A b\" on only s.\"T\"(c)",
            Some(create("\"A b\"", "s.\"T\"")),
        );
        check("CREATE INDEX CONCURRENTLY ON b (c)", None);
        check("CREATE INDEX a ON b (c)", None);
        check(
            "DROP INDEX CONCURRENTLY IF EXISTS s.a",
            Some(Resumable::DropIndex {
                index: "s.a".into(),
            }),
        );
        check(
            "ALTER TYPE mood ADD VALUE  IF NOT EXISTS 'calm'",
            Some(Resumable::Repeatable),
        );
        check("ALTER TYPE mood ADD VALUE 'calm'", None);
        check("REINDEX TABLE CONCURRENTLY b", None);
    }
}
