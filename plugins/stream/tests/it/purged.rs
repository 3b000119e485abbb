//! A family that has gone for good takes what it published along.

use nself_plugin_api::{prelude::Role, serde_json::json};

use crate::stage::{count, family, host, publish, until_count};

#[tokio::test]
async fn what_a_purged_family_published_goes_at_once_and_nothing_else() {
    let host = host().await;
    let sql = host.sql().await;
    let (gone, ..) = family(&sql, Role::AdultMember).await;
    let (stays, ..) = family(&sql, Role::AdultMember).await;
    for family in [gone, stays] {
        for channel in ["news", "chat:kitchen"] {
            let channel = format!("family:{family}:{channel}");
            publish(&sql, &channel, json!(channel)).await;
            let keyed = "select stream.publish($1, '1', '{\"key\": \"once\"}')";
            sql.execute(keyed, &[&channel])
                .await
                .expect("it is published");
        }
    }
    // That it is said to have gone is not enough.
    let lie = "select nself.emit_event('family.purged', $1::uuid::text, '{}', $1)";
    sql.execute(lie, &[&stays]).await.expect("it is said");
    sql.execute("select public.delete_family($1, 'test')", &[&gone])
        .await
        .expect("it is deleted");
    sql.execute("select public.note_export($1, null, 0, 'test')", &[&gone])
        .await
        .expect("it is exported");
    sql.execute("select public.purge_family($1, 'test', '0 days')", &[&gone])
        .await
        .expect("it is purged");
    let channels =
        format!("select count(*) from stream.channels where name like 'family:{gone}:%'");
    until_count(&sql, &channels, 0).await;
    for (table, left) in [("channels", 2), ("publications", 4), ("keys", 2)] {
        let query = format!("select count(*) from stream.{table}");
        assert_eq!(count(&sql, &query).await, left, "{table}");
    }
    host.stop().await;
}
