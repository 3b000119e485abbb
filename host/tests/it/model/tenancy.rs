//! Two families in one database: no row of one refers to the other, and a plugin's login that acts for one neither sees nor
//! changes the other. Asked of the catalogue, with the world of `db/seed`, so a table that is added later is asked, too.

use serde_json::Value;
use tokio_postgres::{Client, error::SqlState, types::Json};
use uuid::Uuid;

use super::{modelled, refused_by, seeds, told, value};
use crate::migrate::functions::{drop_login, plugin_login};

/// The families of `db/seed`.
pub(super) const MINE: Uuid = Uuid::from_u128(0x0190_0000_0002_7000_8000_0000_0000_0100);
pub(super) const THEIRS: Uuid = Uuid::from_u128(0x0190_0000_0002_7000_8000_0000_0000_0200);

/// Made by functions alone; the seed has none of them.
pub(super) const EMPTY: &str = "family_exports";

/// The tables with rows of families.
pub(super) async fn tables(client: &Client) -> Vec<String> {
    let sql = "SELECT t.relname::text FROM pg_class t
               JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = 'family_id' AND NOT a.attisdropped
               WHERE t.relkind IN ('r', 'p') AND t.relnamespace = 'public'::regnamespace ORDER BY 1";
    let rows = client.query(sql, &[]).await.unwrap();
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        tables.len() > 35,
        "the catalogue has the tables of families"
    );
    tables
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_of_a_family_can_refer_to_another_familys() {
    let database = modelled().await;
    let client = database.client().await;
    seeds::demo(&mut database.client().await).await;
    let keys = client
        .query(
            "SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, c.conname::text,
                 string_agg(quote_ident(mine.attname), ', ' ORDER BY pair.place) FILTER (WHERE mine.attname <> 'family_id'),
                 string_agg(quote_ident(theirs.attname), ', ' ORDER BY pair.place) FILTER (WHERE mine.attname <> 'family_id')
             FROM pg_constraint c
             CROSS JOIN LATERAL unnest(c.conkey, c.confkey) WITH ORDINALITY AS pair (mine, theirs, place)
             JOIN pg_attribute mine ON mine.attrelid = c.conrelid AND mine.attnum = pair.mine
             JOIN pg_attribute theirs ON theirs.attrelid = c.confrelid AND theirs.attnum = pair.theirs
             WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND cardinality(c.conkey) > 1
             GROUP BY 1, 2, 3 ORDER BY 3",
            &[],
        )
        .await
        .unwrap();
    forget_checks(&client).await;
    for key in &keys {
        let [table, target, name, columns, keys]: [String; 5] =
            std::array::from_fn(|place| key.get(place));
        let sql = format!(
            "UPDATE {table} SET ({columns}) = (SELECT {keys} FROM {target} WHERE family_id = $2 LIMIT 1)
             WHERE ctid = (SELECT ctid FROM {table} WHERE family_id = $1 LIMIT 1)"
        );
        let refused = client.execute(&sql, &[&MINE, &THEIRS]).await;
        // By this key, or by another that the same column is in.
        let by = refused_by(refused, &name);
        assert!(by.ends_with("_fkey"), "{name}: {by}");
    }
    assert!(
        keys.len() > 70,
        "the catalogue has the references of families"
    );
    println!("{} references into another family refused", keys.len());
}

/// Other constraints would speak up first here and there (a comment is about one thing): the keys alone have to do.
async fn forget_checks(client: &Client) {
    let sql = "SELECT string_agg(format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname), '; ')
               FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace AND conrelid <> 0";
    let forget: String = value(client, sql, &[]).await;
    client.batch_execute(&forget).await.unwrap();
}

/// Acts for the family, or for none.
async fn act_for(client: &Client, family: Option<Uuid>) {
    let family = family.map_or_else(String::new, |family| family.to_string());
    let sql = "SELECT set_config('nself.family_id', $1, false)";
    client.query(sql, &[&family]).await.unwrap();
}

/// Rows of a family in a table.
pub(super) async fn count(client: &Client, table: &str, family: Uuid) -> i64 {
    let sql = format!("SELECT count(*) FROM public.{table} WHERE family_id = $1");
    value(client, &sql, &[&family]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_login_reaches_the_rows_of_the_sessions_family_alone() {
    let database = modelled().await;
    let owner = database.client().await;
    seeds::demo(&mut database.client().await).await;
    let plugin = plugin_login(&database).await;
    let login: String = value(&plugin, "SELECT session_user::text", &[]).await;
    let grant = format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{login}\";
         GRANT USAGE ON SCHEMA public TO \"{login}\""
    );
    owner.batch_execute(&grant).await.unwrap();
    let tables = tables(&owner).await;
    let mut probes = 0;
    for table in tables.iter().filter(|table| *table != EMPTY) {
        act_for(&plugin, None).await;
        assert_eq!(count(&plugin, table, MINE).await, 0, "{table}, for nobody");
        act_for(&plugin, Some(MINE)).await;
        assert!(count(&plugin, table, MINE).await > 0, "{table}, one's own");
        assert_eq!(count(&plugin, table, THEIRS).await, 0, "{table}, another's");
        probes += 3 + write(&owner, &plugin, table).await;
    }
    println!(
        "{probes} probes of {} tables by a plugin's login stayed in their family",
        tables.len() - 1
    );
    drop(plugin);
    drop_login(&database).await;
}

/// Tries to change, delete, move and insert rows of the other family; how often it tried.
async fn write(owner: &Client, plugin: &Client, table: &str) -> usize {
    let before = count(owner, table, THEIRS).await;
    let change = format!("UPDATE public.{table} SET family_id = family_id WHERE family_id = $1");
    let delete = format!("DELETE FROM public.{table} WHERE family_id = $1");
    for sql in [change, delete] {
        let changed = plugin.execute(&sql, &[&THEIRS]).await;
        assert_eq!(
            changed.unwrap_or_else(|error| panic!("{sql}: {error}")),
            0,
            "{sql}"
        );
    }
    let sql = format!("SELECT to_jsonb(t) FROM public.{table} t WHERE family_id = $1 LIMIT 1");
    let row: Json<Value> = value(owner, &sql, &[&THEIRS]).await;
    let insert = format!(
        "INSERT INTO public.{table} SELECT * FROM jsonb_populate_record(NULL::public.{table}, $1)"
    );
    let refused = plugin.execute(&insert, &[&row]).await;
    let error = refused
        .err()
        .unwrap_or_else(|| panic!("{table}: a row for another family"));
    assert_eq!(
        error.code().map(SqlState::code),
        Some("42501"),
        "{table}: {}",
        told(&error)
    );
    let moved = format!("UPDATE public.{table} SET family_id = $2 WHERE family_id = $1");
    let refused = plugin.execute(&moved, &[&MINE, &THEIRS]).await;
    assert!(
        refused.is_err(),
        "{table}: a row was moved to another family"
    );
    assert_eq!(count(owner, table, THEIRS).await, before, "{table}");
    4
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_may_work_across_families_sees_them_all() {
    let database = modelled().await;
    let owner = database.client().await;
    seeds::demo(&mut database.client().await).await;
    let plugin = plugin_login(&database).await;
    let login: String = value(&plugin, "SELECT session_user::text", &[]).await;
    let grant = format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{login}\"");
    owner.batch_execute(&grant).await.unwrap();
    let sql = "SELECT count(*) FROM public.families";
    assert_eq!(value::<i64>(&plugin, sql, &[]).await, 0, "not yet");
    let grant =
        "UPDATE nself.plugins SET granted = granted || '{\"families\": \"all\"}' WHERE id = $1";
    owner.execute(grant, &[&database.name()]).await.unwrap();
    for table in ["families", "users", "family_members", "posts", "devices"] {
        let sql = format!("SELECT count(*) FROM public.{table}");
        let all: i64 = value(&owner, &sql, &[]).await;
        assert_eq!(value::<i64>(&plugin, &sql, &[]).await, all, "{table}");
    }
    let own =
        "UPDATE nself.plugins SET granted = granted || '{\"families\": \"own\"}' WHERE id = $1";
    owner.execute(own, &[&database.name()]).await.unwrap();
    assert_eq!(value::<i64>(&plugin, sql, &[]).await, 0, "not any more");
    drop(plugin);
    drop_login(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_seen_by_themselves_and_by_their_family() {
    let database = modelled().await;
    let owner = database.client().await;
    seeds::demo(&mut database.client().await).await;
    let plugin = plugin_login(&database).await;
    let login: String = value(&plugin, "SELECT session_user::text", &[]).await;
    // Who may read people need not be allowed to read members.
    let grant = format!("GRANT SELECT ON public.users, public.user_app_roles TO \"{login}\"");
    owner.batch_execute(&grant).await.unwrap();
    let people = "SELECT count(*) FROM public.users";
    assert_eq!(value::<i64>(&plugin, people, &[]).await, 0, "for nobody");
    act_for(&plugin, Some(MINE)).await;
    assert_eq!(value::<i64>(&plugin, people, &[]).await, 5, "of a family");
    act_for(&plugin, None).await;
    let me: Uuid = value(&owner, "SELECT min(id::text)::uuid FROM public.users", &[]).await;
    let sql = "SELECT set_config('nself.user_id', $1, false)";
    plugin.query(sql, &[&me.to_string()]).await.unwrap();
    assert_eq!(value::<i64>(&plugin, people, &[]).await, 1, "oneself");
    let roles = "SELECT count(*) FROM public.user_app_roles";
    assert_eq!(
        value::<i64>(&plugin, roles, &[]).await,
        1,
        "one's own roles"
    );
    drop(plugin);
    drop_login(&database).await;
}
