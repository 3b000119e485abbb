//! Every list of the model that people leaf through is read from an index in its own order: a page costs a page, not the family.

use serde_json::Value;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{modelled, value};

/// What is listed: the table, which of the family's rows, and the order.
const FEEDS: [(&str, &str, &str); 19] = [
    ("posts", "deleted_at IS NULL", "created_at DESC, id DESC"),
    (
        "posts",
        "deleted_at IS NULL AND child_approved_at IS NOT NULL",
        "created_at DESC, id DESC",
    ),
    (
        "posts",
        "author_id = NOBODY AND deleted_at IS NULL",
        "created_at DESC, id DESC",
    ),
    (
        "posts",
        "is_pinned AND deleted_at IS NULL",
        "created_at DESC",
    ),
    ("albums", "deleted_at IS NULL", "created_at DESC, id DESC"),
    (
        "media_items",
        "deleted_at IS NULL",
        "created_at DESC, id DESC",
    ),
    (
        "media_items",
        "deleted_at IS NULL AND taken_at IS NOT NULL",
        "taken_at DESC, id DESC",
    ),
    (
        "media_items",
        "album_id = NOBODY AND deleted_at IS NULL",
        "taken_at, id",
    ),
    ("recipes", "deleted_at IS NULL", "created_at DESC, id DESC"),
    ("calendar_events", "deleted_at IS NULL", "starts_at, id"),
    (
        "live_events",
        "deleted_at IS NULL",
        "planned_at DESC, id DESC",
    ),
    ("comments", "post_id = NOBODY", "created_at, id"),
    ("comments", "media_item_id = NOBODY", "created_at, id"),
    ("comments", "recipe_id = NOBODY", "created_at, id"),
    (
        "favourites",
        "member_id = NOBODY",
        "created_at DESC, id DESC",
    ),
    (
        "conversations",
        "deleted_at IS NULL",
        "last_message_at DESC, id DESC",
    ),
    (
        "messages",
        "conversation_id = NOBODY",
        "created_at DESC, id DESC",
    ),
    (
        "legacy_vaults",
        "deleted_at IS NULL",
        "created_at DESC, id DESC",
    ),
    ("family_exports", "true", "exported_at DESC"),
];

/// The kinds of the plan's nodes, the outermost first.
fn nodes(plan: &Value, found: &mut Vec<String>) {
    found.push(plan["Node Type"].as_str().expect("a node").to_owned());
    for inner in plan["Plans"].as_array().into_iter().flatten() {
        nodes(inner, found);
    }
}

/// The plan of a page, as it would be for tables of any size: what a small one is read by without an index is left out.
async fn plan(client: &Client, table: &str, rows: &str, order: &str) -> Vec<String> {
    let sql = format!(
        "EXPLAIN (FORMAT JSON) SELECT * FROM public.{table} \
         WHERE family_id = NOBODY AND {rows} ORDER BY {order} LIMIT 20"
    );
    let nobody = format!("'{}'", Uuid::nil());
    let plan: Value = value(client, &sql.replace("NOBODY", &nobody), &[]).await;
    let mut found = vec![];
    nodes(&plan[0]["Plan"], &mut found);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_every_feed_is_read_in_its_order_without_a_sort() {
    let database = modelled().await;
    let client = database.client().await;
    client
        .batch_execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        .await
        .unwrap();
    for (table, rows, order) in FEEDS {
        let nodes = plan(&client, table, rows, order).await;
        assert!(
            nodes.iter().any(|node| node.starts_with("Index"))
                && !nodes.iter().any(|node| node.contains("Sort")),
            "{table} by {order}: {nodes:?}"
        );
    }
    // What has no index for its order is seen as such.
    let sorted = plan(&client, "posts", "deleted_at IS NULL", "title").await;
    assert!(sorted.contains(&"Sort".to_owned()), "{sorted:?}");
}
