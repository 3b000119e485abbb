//! The small world of `db/seed` and the generator of large ones: the same every time, whole or not at all.

use std::path::Path;

use nself::migrate::seed::{self, Seed};
use nself::postgres::scratch::TestDatabase;
use tokio_postgres::Client;

use super::{modelled, value};
use crate::lifecycle::project::eventually;

/// Runs the files of `db/seed`.
pub(super) async fn demo(client: &mut Client) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../db/seed");
    let seeds = seed::read(&directory).unwrap();
    assert!(!seeds.is_empty());
    for seed in seeds {
        seed.run(client).await.unwrap();
    }
}

/// A hash of all rows of the model, and how many there are.
async fn state(client: &Client) -> (String, i64) {
    let sql = "SELECT format('SELECT coalesce(md5(string_agg(row_text, '''' ORDER BY row_text)), ''''), count(*) FROM (%s) AS rows',
                   string_agg(format('SELECT t::text AS row_text FROM %s t', oid::regclass), ' UNION ALL '))
               FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    let all: String = value(client, sql, &[]).await;
    let row = client.query_one(&all, &[]).await.unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_world_is_the_same_however_often_it_is_seeded() {
    let database = modelled().await;
    let mut client = database.client().await;
    demo(&mut client).await;
    let first = state(&client).await;
    demo(&mut client).await;
    assert_eq!(state(&client).await, first);
    let roles = "SELECT count(DISTINCT role) FROM public.family_members";
    assert_eq!(value::<i64>(&client, roles, &[]).await, 5);
    let machines = "SELECT count(*) FROM public.devices";
    assert_eq!(
        value::<i64>(&client, machines, &[]).await,
        2,
        "the sixth role"
    );
    let audience = "SELECT count(DISTINCT visibility) FROM public.posts";
    assert_eq!(value::<i64>(&client, audience, &[]).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_world_has_the_size_that_was_asked_for_and_a_larger_one_adds_to_it() {
    let database = modelled().await;
    let mut client = database.client().await;
    let made = Seed::world(2_000).run(&mut client).await.unwrap();
    let rows = made.rows.unwrap();
    assert!((1_900..=2_400).contains(&rows), "{rows}");
    let first = state(&client).await;
    let again = Seed::world(2_000).run(&mut client).await.unwrap();
    assert_eq!(again.rows, Some(0));
    assert_eq!(state(&client).await, first);
    let more = Seed::world(4_000).run(&mut client).await.unwrap();
    assert_eq!(more.rows, Some(2_000));
}

/// Ends the other sessions of the database once one of them writes.
async fn interrupt(database: &TestDatabase, client: &Client) {
    let writing =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()
                   AND backend_xid IS NOT NULL AND query LIKE '%INSERT INTO media_items%'";
    eventually("the seed writes", async || {
        let writers: i64 = value(client, writing, &[&database.name()]).await;
        (writers > 0).then_some(())
    })
    .await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND backend_xid IS NOT NULL";
    client.query(end, &[&database.name()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_made_world_that_is_interrupted_leaves_nothing_and_can_be_made_again() {
    let database = modelled().await;
    let client = database.client().await;
    let mut seeding = database.client().await;
    let world = Seed::world(100_000);
    let (seeded, ()) = tokio::join!(world.run(&mut seeding), interrupt(&database, &client));
    assert!(seeded.is_err(), "it was interrupted");
    let (_, rows) = state(&client).await;
    assert_eq!(rows, 0);
    let made = Seed::world(2_000)
        .run(&mut database.client().await)
        .await
        .unwrap();
    assert!(made.rows > Some(1_900));
}
