//! Leaving: what is taken along, what is taken away, and who cannot leave yet.

use nself_plugin_testkit::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::stage::{PASSWORD, Session, Stage};

fn user_id(session: &Session) -> Uuid {
    let id = session.0["user"]["id"]
        .as_str()
        .expect("a person has an id");
    id.parse().expect("it is a UUID")
}

/// A family with these members.
async fn family(stage: &Stage, name: &str, members: &[(&Session, &str)]) -> Uuid {
    let mut sql = stage.host.sql().await;
    let transaction = sql.transaction().await.expect("a transaction begins");
    let row = transaction
        .query_one(
            "insert into public.families (name) values ($1) returning id",
            &[&name],
        )
        .await
        .expect("a family is made");
    let family: Uuid = row.get(0);
    for (session, role) in members {
        transaction
            .execute(
                "insert into public.family_members (family_id, user_id, role) values ($1, $2, $3)",
                &[&family, &user_id(session), role],
            )
            .await
            .expect("a member joins");
    }
    transaction.commit().await.expect("the family has an owner");
    family
}

async fn leave(stage: &Stage, session: &Session) -> nself_plugin_testkit::Answer {
    stage
        .host
        .delete("/auth/me")
        .token(session.access())
        .send()
        .await
}

async fn text(stage: &Stage, query: &str) -> String {
    let sql = stage.host.sql().await;
    let row = sql
        .query_one(query, &[])
        .await
        .expect("a query is answered");
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

#[tokio::test]
async fn an_export_has_everything_about_the_person_and_no_secret() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let eve = stage.person("eve@example.org").await;
    family(
        &stage,
        "Lovelace",
        &[(&ada, "OWNER"), (&eve, "ADULT_MEMBER")],
    )
    .await;
    let answer = stage
        .get_as(&ada, "/auth/me/export")
        .send()
        .await
        .expect_status(200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let document = answer.data();
    assert_eq!(document["account"]["email"], "ada@example.org");
    assert_eq!(document["families"][0]["name"], "Lovelace");
    assert_eq!(document["credentials"][0]["kind"], "password");
    assert_eq!(document["sessions"].as_array().map(Vec::len), Some(1));
    let actions: Vec<&str> = document["audit"]
        .as_array()
        .expect("a list of entries")
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert!(actions.contains(&"auth.signed_up"), "{actions:?}");
    assert!(actions.contains(&"auth.signed_in"), "{actions:?}");
    let text = document.to_string();
    for secret in [
        "argon2",
        "secret",
        "_mac",
        "sealed",
        ada.refresh(),
        "eve@example.org",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    let mine = "select count(*)::text from nself.audit_log where action = 'auth.account_exported'";
    assert_eq!(self::text(&stage, mine).await, "1");
    let _ = stage
        .host
        .get("/auth/me/export")
        .send()
        .await
        .expect_status(401);
    stage.host.stop().await;
}

#[tokio::test]
async fn every_table_that_names_a_person_is_in_the_export_or_is_known_not_to_be() {
    let stage = Stage::open().await;
    let sql = stage.host.sql().await;
    let rows = sql
        .query(
            "select distinct c.conrelid::regclass::text from pg_constraint c \
             where c.contype = 'f' and c.confrelid = 'public.users'::regclass order by 1",
            &[],
        )
        .await
        .expect("the catalog is read");
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let statement = include_str!("../../src/store/export.rs");
    for table in &tables {
        let qualified = if table.contains('.') {
            table.clone()
        } else {
            format!("public.{table}")
        };
        assert!(
            statement.contains(&qualified),
            "{table} is not in the export"
        );
    }
    assert!(tables.len() > 8, "{tables:?}");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_leaves_is_signed_out_and_forgotten_and_the_address_is_free_again() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let other = Session(
        stage
            .login("ada@example.org", PASSWORD)
            .await
            .expect_status(200)
            .data(),
    );
    let alone = family(&stage, "Alone", &[(&ada, "OWNER")]).await;
    let describe =
        json!({"avatar_url": "https://example.org/ada.png", "timezone": "Europe/Vienna"});
    let changed = stage.host.request("PATCH", "/auth/me").token(ada.access());
    let _ = changed.json(&describe).send().await.expect_status(200);
    let deleted = leave(&stage, &ada).await.expect_status(200);
    assert_eq!(deleted.data()["status"], "account_deleted");
    for session in [&ada, &other] {
        eventually("every access token ends", async || {
            let answer = stage.get_as(session, "/auth/me").send().await;
            (answer.status == 401).then_some(())
        })
        .await;
        let _ = stage.refresh(session.refresh()).await.expect_status(401);
    }
    let _ = stage
        .login("ada@example.org", PASSWORD)
        .await
        .expect_status(401);
    let row = "select row_to_json(u)::text from public.users u where status = 'deleted'";
    let row: Value = serde_json::from_str(&text(&stage, row).await).expect("a row");
    assert_eq!(row["email"], Value::Null);
    assert_eq!(
        (&row["display_name"], &row["avatar_url"]),
        (&json!(""), &Value::Null)
    );
    assert_eq!(row["timezone"], "UTC");
    let left = "select (select count(*) from auth.credentials) || ' ' || \
                (select count(*) from auth.one_time) || ' ' || \
                (select count(*) from auth.sessions where ip is not null or user_agent is not null) || ' ' || \
                (select count(*) from public.family_members where status = 'active') || ' ' || \
                (select count(*) from public.families where deleted_at is null)";
    assert_eq!(
        text(&stage, left).await,
        "0 0 0 0 0",
        "nothing is left of {alone}"
    );
    let entry = "select details::text from nself.audit_log where action = 'auth.account_deleted'";
    assert!(text(&stage, entry).await.contains(&alone.to_string()));
    let event =
        "select string_agg(type, ' ' order by type) from nself.events where type like '%deleted'";
    assert_eq!(
        text(&stage, event).await,
        "auth.user_deleted family.deleted"
    );
    stage.mail("ada@example.org", "deleted").await;
    let again = stage.person("ada@example.org").await;
    assert_ne!(user_id(&again), user_id(&ada));
    stage.host.stop().await;
}

#[tokio::test]
async fn the_last_owner_of_others_cannot_leave_before_somebody_else_owns() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let bob = stage.person("bob@example.org").await;
    let shared = family(&stage, "Shared", &[(&ada, "OWNER"), (&bob, "ADULT_MEMBER")]).await;
    let alone = family(&stage, "Alone", &[(&ada, "OWNER")]).await;
    let refused = leave(&stage, &ada).await.expect_status(409);
    assert_eq!(refused.code(), "LAST_OWNER");
    let families = refused.json()["details"]["families"].clone();
    assert_eq!(families, json!([{"family_id": shared, "name": "Shared"}]));
    let kept = "select count(*)::text from public.families where deleted_at is null";
    assert_eq!(
        text(&stage, kept).await,
        "2",
        "{alone} was not closed either"
    );
    let _ = stage
        .get_as(&ada, "/auth/me")
        .send()
        .await
        .expect_status(200);
    let sql = stage.host.sql().await;
    sql.execute(
        "update public.family_members set role = 'OWNER' where user_id = $1",
        &[&user_id(&bob)],
    )
    .await
    .expect("the ownership is shared");
    let _ = leave(&stage, &ada).await.expect_status(200);
    assert_eq!(text(&stage, kept).await, "1");
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn of_two_owners_who_leave_at_once_one_stays() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let bob = stage.person("bob@example.org").await;
    let kid = stage.person("kid@example.org").await;
    family(
        &stage,
        "Ours",
        &[(&ada, "OWNER"), (&bob, "OWNER"), (&kid, "CHILD_MEMBER")],
    )
    .await;
    let (first, second) = tokio::join!(leave(&stage, &ada), leave(&stage, &bob));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    let owners = "select count(*)::text from public.family_members where role = 'OWNER' and status = 'active'";
    assert_eq!(text(&stage, owners).await, "1");
    stage.host.stop().await;
}

#[tokio::test]
async fn leaving_needs_a_fresh_proof() {
    let stage = Stage::open().await;
    let ada = stage.person("ada@example.org").await;
    let sql = stage.host.sql().await;
    sql.batch_execute("update auth.sessions set elevated_until = null")
        .await
        .expect("the proof is long ago");
    let stale = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    let refused = leave(&stage, &stale).await.expect_status(403);
    assert_eq!(refused.code(), "STEP_UP_REQUIRED");
    let _ = stage
        .get_as(&stale, "/auth/me")
        .send()
        .await
        .expect_status(200);
    drop(sql);
    stage.host.stop().await;
}
