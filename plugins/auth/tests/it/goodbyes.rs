//! Accounts that end while their sessions and machines do: everybody locks in one order, so nobody waits for ever.

use nself_plugin_testkit::eventually;
use serde_json::json;
use uuid::Uuid;

use crate::stage::{Session, Stage};

const ROUNDS: u32 = 10;

const UNTHROTTLED: &str =
    "[plugins.auth.config]\nanonymous_sign_in = true\ntries_per_address = 1000000";

/// Somebody whose entries stand in the same stream of the audit log as those of nobody in particular.
async fn somebody(stage: &Stage) -> Session {
    let sql = stage.host.sql().await;
    loop {
        let begun = stage.post("/auth/anonymous", &json!({})).await;
        let session = Session(begun.expect_status(201).data());
        let same = "select nself.system_stream($1) = nself.system_stream('/plugins/auth')";
        let same = sql.query_one(same, &[&session.user_id()]).await;
        if same.expect("streams are told").get(0) {
            return session;
        }
    }
}

/// A family that somebody owns alone, with machines that are signed in; and more sessions of the person.
async fn household(stage: &Stage, session: &Session) -> Uuid {
    let mut sql = stage.host.sql().await;
    let person = session.user_id();
    let transaction = sql.transaction().await.expect("it begins");
    let family = "insert into public.families (name) values ('Alone') returning id";
    let family: Uuid = transaction
        .query_one(family, &[])
        .await
        .expect("a family")
        .get(0);
    for statement in [
        "insert into public.family_members (family_id, user_id, role) values ($1, $2::text::uuid, 'OWNER')",
        "insert into public.devices (family_id, name) \
         select $1, 'Box ' || n from generate_series(1, 6) n where $2::text <> ''",
        "insert into auth.sessions (device_id, family_id, aal, amr, created_at, rotated_at, auth_time, idle_expiry, \
           absolute_expiry) \
         select d.id, d.family_id, 1, '{}', now(), now(), now(), now() + interval '1 day', now() + interval '1 day' \
         from public.devices d where d.family_id = $1 and $2::text <> ''",
        "insert into auth.sessions (user_id, family_id, aal, amr, created_at, rotated_at, auth_time, idle_expiry, \
           absolute_expiry) \
         select $2::text::uuid, $1, 1, '{}', now(), now(), now(), now() + interval '1 day', now() + interval '1 day' \
         from generate_series(1, 6)",
    ] {
        let done = transaction.execute(statement, &[&family, &person]).await;
        done.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    transaction.commit().await.expect("it is there");
    family
}

#[tokio::test]
async fn an_account_that_is_deleted_while_it_signs_out_everywhere_waits_for_nobody_for_ever() {
    let stage = Stage::with(UNTHROTTLED).await;
    for round in 0..ROUNDS {
        let ada = somebody(&stage).await;
        household(&stage, &ada).await;
        let (everywhere, here) = (json!({"all": true}), json!({}));
        let token = json!({"refresh_token": ada.refresh()});
        let (deleted, out, all, revoked) = tokio::join!(
            stage.send_as(&ada, "DELETE", "/auth/me", &here),
            stage.post_as(&ada, "/auth/logout", &here),
            stage.post_as(&ada, "/auth/logout", &everywhere),
            stage.post("/auth/revoke", &token),
        );
        for answer in [&deleted, &out, &all, &revoked] {
            // Whose session has ended already is told so.
            assert!(
                [200, 401].contains(&answer.status),
                "round {round}: {}",
                answer.text()
            );
        }
    }
    let sql = stage.host.sql().await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    let deadlocks = sql.query_one(deadlocks, &[]).await;
    assert_eq!(deadlocks.expect("they are counted").get::<_, i64>(0), 0);
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn who_is_deleted_touches_the_log_when_all_sessions_are_theirs() {
    let stage = Stage::with(UNTHROTTLED).await;
    let ada = somebody(&stage).await;
    household(&stage, &ada).await;
    // Somebody signs out at this moment: a session is held, and the log is not written yet.
    let mut other = stage.host.sql().await;
    let signs_out = other.transaction().await.expect("it begins");
    let own = "update auth.sessions set ip = null where user_id = $1::text::uuid";
    let held = signs_out.execute(own, &[&ada.user_id()]).await;
    assert_eq!(held.expect("sessions are held"), 7);
    let goes_on = async {
        let sql = stage.host.sql().await;
        let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%auth.sessions%'";
        eventually("the account waits for the session", async || {
            let row = sql.query_one(waits, &[]).await.expect("activity is told");
            (row.get::<_, i64>(0) > 0).then_some(())
        })
        .await;
        // Every stream of the log is free for who signs out.
        let all = "select nself.audit('test.signed_out', n::text, '{}', null, n::text) from generate_series(1, 200) n";
        let written = signs_out.query(all, &[]).await;
        assert_eq!(written.expect("nobody holds the log").len(), 200);
        signs_out.commit().await.expect("who signs out is done");
    };
    let nothing = json!({});
    let (deleted, ()) = tokio::join!(stage.send_as(&ada, "DELETE", "/auth/me", &nothing), goes_on);
    let _ = deleted.expect_status(200);
    stage.host.stop().await;
}
