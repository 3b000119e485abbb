//! What holds for every table of the model, asked of the catalogue: a table that is added later is held to it, too.

use tokio_postgres::Client;

use super::modelled;

/// Tables of the model that belong to no family.
const HOUSE: [&str; 1] = ["apps"];

async fn names(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_from_one_familys_row_to_another_names_the_family_too() {
    let database = modelled().await;
    let loose = names(
        &database.client().await,
        "SELECT c.conrelid::regclass || '.' || c.conname FROM pg_constraint c
         JOIN pg_attribute mine ON mine.attrelid = c.conrelid AND mine.attname = 'family_id'
         JOIN pg_attribute theirs ON theirs.attrelid = c.confrelid AND theirs.attname = 'family_id'
         WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
             SELECT FROM unnest(c.conkey, c.confkey) AS pair (mine, theirs)
             WHERE pair.mine = mine.attnum AND pair.theirs = theirs.attnum
         )",
    )
    .await;
    assert!(loose.is_empty(), "{loose:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reference_has_an_index_that_a_deletion_finds_it_by() {
    let database = modelled().await;
    let client = database.client().await;
    // The index begins with the columns of the key, in any order; it may leave out rows where one of them is null.
    let slow = names(
        &client,
        "SELECT c.conrelid::regclass || '.' || c.conname FROM pg_constraint c
         WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
             SELECT FROM pg_index i
             CROSS JOIN LATERAL (
                 SELECT (i.indkey::int2[])[0:cardinality(c.conkey) - 1] AS columns
             ) AS first
             WHERE i.indrelid = c.conrelid AND i.indisvalid
                 AND first.columns @> c.conkey AND first.columns <@ c.conkey
                 AND (i.indpred IS NULL OR pg_get_expr(i.indpred, i.indrelid) IN (
                     SELECT format('(%I IS NOT NULL)', a.attname) FROM pg_attribute a
                     WHERE a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
                 ))
         )",
    )
    .await;
    assert!(slow.is_empty(), "{slow:?}");
    let keys = "SELECT count(*)::text FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace";
    println!(
        "{} foreign keys have an index",
        names(&client, keys).await[0]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_filter_and_feed_has_an_index() {
    let database = modelled().await;
    let client = database.client().await;
    let unfiltered = names(
        &client,
        "SELECT a.attrelid::regclass::text FROM pg_attribute a
         JOIN pg_class t ON t.oid = a.attrelid AND t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
         WHERE a.attname = 'family_id' AND NOT EXISTS (
             SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indkey[0] = a.attnum AND i.indpred IS NULL
         )",
    )
    .await;
    assert!(unfiltered.is_empty(), "by family: {unfiltered:?}");
    // What people can take back is listed by a family without what is gone.
    let unlisted = names(
        &client,
        "SELECT a.attrelid::regclass::text FROM pg_attribute a
         JOIN pg_class t ON t.oid = a.attrelid AND t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
         WHERE a.attname = 'deleted_at'
             AND EXISTS (SELECT FROM pg_attribute f WHERE f.attrelid = t.oid AND f.attname = 'family_id')
             -- Of one post, of one conversation: read by that.
             AND t.relname NOT IN ('comments', 'messages')
             AND NOT EXISTS (
                 SELECT FROM pg_index i WHERE i.indrelid = t.oid
                     AND pg_get_expr(i.indpred, i.indrelid) = '(deleted_at IS NULL)'
             )",
    )
    .await;
    assert!(unlisted.is_empty(), "by what is not deleted: {unlisted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_held_apart_by_family_and_says_what_a_row_is() {
    let database = modelled().await;
    let client = database.client().await;
    let open = names(
        &client,
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relrowsecurity ORDER BY 1",
    )
    .await;
    assert_eq!(open, HOUSE);
    let dumb = names(
        &client,
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND obj_description(oid) IS NULL",
    )
    .await;
    assert!(dumb.is_empty(), "{dumb:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_with_the_owners_rights_trusts_no_search_path() {
    let database = modelled().await;
    let loose = names(
        &database.client().await,
        "SELECT p.oid::regprocedure::text FROM pg_proc p
         WHERE p.pronamespace IN ('public'::regnamespace, 'nself'::regnamespace)
             AND p.prosecdef AND NOT coalesce(p.proconfig @> '{\"search_path=pg_catalog, pg_temp\"}', false)",
    )
    .await;
    assert!(loose.is_empty(), "{loose:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_have_a_zone_and_constraints_a_name_of_ours() {
    let database = modelled().await;
    let client = database.client().await;
    let zoneless = names(
        &client,
        "SELECT a.attrelid::regclass || '.' || a.attname FROM pg_attribute a
         JOIN pg_class t ON t.oid = a.attrelid AND t.relkind = 'r' AND t.relnamespace = 'public'::regnamespace
         WHERE a.atttypid = 'timestamp'::regtype",
    )
    .await;
    assert!(zoneless.is_empty(), "{zoneless:?}");
    let foreign = names(
        &client,
        "SELECT conrelid::regclass || '.' || conname FROM pg_constraint
         WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
             AND NOT starts_with(conname, (SELECT relname FROM pg_class WHERE oid = conrelid))",
    )
    .await;
    assert!(foreign.is_empty(), "{foreign:?}");
}
