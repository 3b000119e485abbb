//! All rows of the database, to see that nothing has changed.

use std::collections::BTreeMap;

use crate::stage::Stage;

/// The rows of every table of people, families, machines and of this plugin, as JSON.
///
/// Two things may change when a stranger tries: what counts tries, and a session that ended as it began because it asked
/// for a family that is not the caller's.
pub(crate) async fn rows(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let sql = stage.host.sql().await;
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('public', 'auth')";
    let tables = sql.query(tables, &[]).await.expect("tables are listed");
    let mut all = BTreeMap::new();
    for table in tables {
        let table: String = table.get(0);
        let rows = format!(
            "select (to_jsonb(t) - 'tries')::text from {table} t \
             where to_jsonb(t) ->> 'revoked_why' is distinct from 'family' order by 1"
        );
        let rows = sql.query(&rows, &[]).await.expect("a table reads");
        all.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    assert!(all.contains_key("auth.sessions") && all.contains_key("public.users"));
    all
}
