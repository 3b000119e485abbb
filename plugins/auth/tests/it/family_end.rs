//! The end of a family: what is taken along, how it is taken back, and when it goes for good.

use std::collections::BTreeMap;

use http_body_util::BodyExt as _;
use nself_plugin_testkit::{Answer, eventually};
use serde_json::{Value, json};

use crate::{
    anonymous::sweep,
    household::verdict,
    stage::{PASSWORD, Session, Stage},
};

const ADA: &str = "ada@example.org";

/// What nobody but who owns the family learns of.
const NOT_THERE: (u16, &str) = (404, "FAMILY_NOT_FOUND");

fn path(family: &str, deed: &str) -> String {
    format!("/auth/families/{family}{deed}")
}

async fn export(stage: &Stage, session: &Session, family: &str) -> Answer {
    stage
        .post_as(session, &path(family, "/export"), &json!({}))
        .await
}

async fn delete(stage: &Stage, session: &Session, family: &str) {
    let deleted = stage
        .send_as(session, "DELETE", &path(family, ""), &json!({}))
        .await;
    let _ = deleted.expect_status(200);
}

async fn as_operator(stage: &Stage, method: &str, path: &str, body: &Value) -> Answer {
    let request = stage.host.request(method, path).operator();
    request.json(body).send().await
}

async fn number(stage: &Stage, query: &str, family: &str) -> i64 {
    let sql = stage.host.sql().await;
    let row = sql.query_one(query, &[&family]).await;
    row.unwrap_or_else(|error| panic!("{query}: {error}"))
        .get(0)
}

async fn written(stage: &Stage, statement: &str, family: &str) {
    let sql = stage.host.sql().await;
    let done = sql.execute(statement, &[&family]).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// Posts, with four kilobytes of text each.
async fn posts(stage: &Stage, family: &str, count: u32) {
    let insert = format!(
        "insert into public.posts (family_id, title, body) \
         select $1::text::uuid, 'Post ' || n, repeat('long ', 800) from generate_series(1, {count}) n"
    );
    written(stage, &insert, family).await;
}

/// More than the days in which a family is kept pass, for all that are deleted.
async fn a_month_passes(stage: &Stage) {
    let sql = stage.host.sql().await;
    sql.batch_execute(
        "update public.families set deleted_at = deleted_at - interval '31 days' where deleted_at is not null; \
         update public.family_exports set exported_at = exported_at - interval '31 days'",
    )
    .await
    .expect("time passes");
}

/// How many rows there are of a family, by table: in all schemas, but for the logs, which stay.
async fn rows_of(stage: &Stage, family: &str) -> BTreeMap<String, i64> {
    let tables = "select c.oid::regclass::text from pg_class c \
        join pg_namespace n on n.oid = c.relnamespace \
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'family_id' and not a.attisdropped \
        where c.relkind in ('r', 'p') and not c.relispartition \
          and n.nspname not in ('nself', 'information_schema', 'pg_catalog') order by 1";
    let sql = stage.host.sql().await;
    let tables = sql.query(tables, &[]).await.expect("the catalogue reads");
    let mut rows = BTreeMap::new();
    for table in tables {
        let table: String = table.get(0);
        let count = format!("select count(*) from {table} where family_id = $1::text::uuid");
        let count = sql.query_one(&count, &[&family]).await;
        rows.insert(table, count.expect("rows are counted").get(0));
    }
    assert!(rows.len() > 40, "{rows:?}");
    rows
}

#[tokio::test]
async fn who_owns_a_family_takes_along_what_it_has_and_nobody_else_does() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner(ADA).await;
    let (_, stranger) = stage.owner("eve@example.org").await;
    posts(&stage, &family, 3).await;
    for role in ["ADMIN", "ADULT_MEMBER", "YOUTH_MEMBER", "CHILD_MEMBER"] {
        let email = format!("{role}@example.org").to_lowercase();
        let member = stage.member(&email, &owner, &family, role).await;
        let refused = export(&stage, &member, &family).await;
        assert_eq!(verdict(&refused), (403, "ROLE_TOO_LOW".into()), "{role}");
    }
    let refused = export(&stage, &stranger, &family).await;
    assert_eq!(verdict(&refused), (NOT_THERE.0, NOT_THERE.1.into()));
    let taken = export(&stage, &owner, &family).await.expect_status(200);
    assert_eq!(taken.headers["content-type"], "application/x-ndjson");
    assert_eq!(taken.headers["cache-control"], "no-store");
    let lines = taken.text();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is JSON"))
        .collect();
    assert_eq!(
        (&lines[0]["format"], &lines[0]["family_id"]),
        (&json!("nself.family/1"), &json!(family))
    );
    let of = |table: &str| lines.iter().filter(|line| line["table"] == table).count();
    assert_eq!((of("families"), of("posts"), of("users")), (1, 3, 5));
    let people = lines.iter().filter(|line| line["table"] == "users");
    for line in people {
        assert!(line["row"].get("email").is_none(), "{line}");
    }
    let rows = "select rows from public.family_exports where family_id::text = $1";
    let told = number(&stage, rows, &family).await;
    assert_eq!(usize::try_from(told).ok(), Some(lines.len() - 1));
    assert_eq!(stage.told(&family, "family.exported").await, (1, 1));

    // A proof that is not fresh any more is none.
    let stale = "update auth.sessions set elevated_until = null where user_id::text = $1";
    written(&stage, stale, &owner.user_id()).await;
    let stale = Session(
        stage
            .refresh(owner.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let refused = export(&stage, &stale, &family).await;
    assert_eq!(verdict(&refused), (403, "STEP_UP_REQUIRED".into()));
    stage.host.stop().await;
}

#[tokio::test]
async fn an_export_is_read_no_faster_than_it_is_taken_and_counts_once_it_is_taken_whole() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner(ADA).await;
    posts(&stage, &family, 10_000).await;
    let request = stage.host.post(&path(&family, "/export"));
    let mut answer = request.token(owner.access()).open().await;
    assert_eq!(answer.status(), 200);
    let first = answer.frame().await.expect("it begins").expect("it reads");
    assert!(!first.data_ref().expect("some lines").is_empty());
    // Forty megabytes wait to be taken: the database has stopped half-way, and holds a cursor, not lines.
    let waits = "select count(*) from pg_stat_activity where $1 <> '' and state = 'idle in transaction' \
                 and query like 'fetch%' and state_change < clock_timestamp() - interval '1 second'";
    eventually("the database waits for the reader", async || {
        (number(&stage, waits, &family).await == 1).then_some(())
    })
    .await;
    drop(answer);
    let open = "select count(*) from pg_stat_activity where $1 <> '' and state like 'idle in transaction%' \
                and query like 'fetch%'";
    eventually("who went away holds nothing", async || {
        (number(&stage, open, &family).await == 0).then_some(())
    })
    .await;
    let exports = "select count(*) from public.family_exports where family_id::text = $1";
    assert_eq!(number(&stage, exports, &family).await, 0);
    assert_eq!(stage.told(&family, "family.exported").await, (0, 0));

    let whole = export(&stage, &owner, &family).await.expect_status(200);
    let taken = whole.text();
    assert!(taken.lines().count() > 10_000);
    assert_eq!(number(&stage, exports, &family).await, 1);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_deleted_family_is_taken_back_by_its_owner_as_long_as_there_is_time() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner(ADA).await;
    let bob = stage
        .member("bob@example.org", &owner, &family, "ADMIN")
        .await;
    posts(&stage, &family, 2).await;
    let take_back = path(&family, "/take-back");
    let early = stage.post_as(&owner, &take_back, &json!({})).await;
    assert_eq!(verdict(&early), (404, "FAMILY_NOT_FOUND".into()));
    delete(&stage, &owner, &family).await;
    stage.refused(&owner, "TOKEN_OUTDATED").await;
    let owner = Session(
        stage
            .refresh(owner.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let bob = Session(stage.refresh(bob.refresh()).await.expect_status(200).data());
    let deleted = async |session: &Session| {
        let list = stage.get_as(session, "/auth/families/deleted").send().await;
        list.expect_status(200).data()
    };
    let listed = deleted(&owner).await;
    assert_eq!(
        (&listed[0]["id"], &listed[0]["exported_at"]),
        (&json!(family), &Value::Null)
    );
    assert_eq!(deleted(&bob).await, json!([]));
    // For the others it is not there, whatever they want of it.
    for deed in ["/take-back", "/export"] {
        let refused = stage.post_as(&bob, &path(&family, deed), &json!({})).await;
        assert_eq!(
            verdict(&refused),
            (NOT_THERE.0, NOT_THERE.1.into()),
            "{deed}"
        );
    }
    let back = stage.post_as(&owner, &take_back, &json!({})).await;
    assert_eq!(back.expect_status(200).data()["role"], "OWNER");
    let again = stage.post_as(&owner, &take_back, &json!({})).await;
    assert_eq!(verdict(&again), (404, "FAMILY_NOT_FOUND".into()));
    assert_eq!(stage.told(&family, "family.taken_back").await, (1, 1));
    let bob = stage.switch(&bob, &family).await;
    assert_eq!(bob.hasura()["x-hasura-default-role"], "ADMIN");
    let owner = stage.switch(&owner, &family).await;
    let taken = export(&stage, &owner, &family).await.expect_status(200);
    assert_eq!(taken.text().matches("\"table\": \"posts\"").count(), 2);

    delete(&stage, &owner, &family).await;
    a_month_passes(&stage).await;
    stage.refused(&owner, "TOKEN_OUTDATED").await;
    let owner = Session(
        stage
            .refresh(owner.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let late = stage.post_as(&owner, &take_back, &json!({})).await;
    assert_eq!(verdict(&late), (409, "FAMILY_LOST".into()));
    // It was not exported since, so it is kept, and there is still something to take along.
    let _ = export(&stage, &owner, &family).await.expect_status(200);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_family_goes_for_good_when_it_was_exported_and_its_time_is_over_and_another_one_never() {
    let stage = Stage::open().await;
    let (gone, ada) = stage.owner(ADA).await;
    let (unsaved, bob) = stage.owner("bob@example.org").await;
    let (recent, eve) = stage.owner("eve@example.org").await;
    let (living, zoe) = stage.owner("zoe@example.org").await;
    let child = stage.child(&ada, &gone, "Cleo").await;
    let child_id = child["user_id"].as_str().expect("a person").to_owned();
    for family in [&gone, &unsaved, &recent, &living] {
        posts(&stage, family, 5).await;
        written(
            &stage,
            "with machine as (\
               insert into public.devices (family_id, name) values ($1::text::uuid, 'Box') returning id, family_id) \
             insert into auth.sessions (device_id, family_id, aal, amr, created_at, rotated_at, auth_time, idle_expiry, \
               absolute_expiry) \
             select id, family_id, 1, '{}', now(), now(), now(), now() + interval '1 day', now() + interval '1 day' \
             from machine",
            family,
        )
        .await;
    }
    // Exported before only: what was written after that is in no export.
    let _ = export(&stage, &bob, &unsaved).await.expect_status(200);
    for (family, owner) in [(&gone, &ada), (&unsaved, &bob)] {
        delete(&stage, owner, family).await;
    }
    let ada = Session(stage.refresh(ada.refresh()).await.expect_status(200).data());
    let _ = export(&stage, &ada, &gone).await.expect_status(200);
    a_month_passes(&stage).await;
    delete(&stage, &eve, &recent).await;
    let eve = Session(stage.refresh(eve.refresh()).await.expect_status(200).data());
    let _ = export(&stage, &eve, &recent).await.expect_status(200);
    sweep(&stage).await;
    let sql = stage.host.sql().await;
    let there = "select count(*) from public.families where id::text = $1";
    eventually("the family that may go is gone", async || {
        (number(&stage, there, &gone).await == 0).then_some(())
    })
    .await;
    let left: Vec<(String, i64)> = rows_of(&stage, &gone)
        .await
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .collect();
    assert_eq!(left, [], "rows of a family that is gone");
    for family in [&unsaved, &recent, &living] {
        let rows = rows_of(&stage, family).await;
        let of = |table: &str| rows[table];
        assert_eq!(
            (of("posts"), of("family_members"), of("devices")),
            (5, 1, 1),
            "{rows:?}"
        );
        assert_eq!(number(&stage, there, family).await, 1);
    }
    // Whose account was made for it is gone with it, whoever else was in it is not.
    let status = "select count(*) from public.users where id::text = $1 and status = 'deleted' and display_name = ''";
    assert_eq!(number(&stage, status, &child_id).await, 1);
    let me = stage.get_as(&ada, "/auth/me").send().await;
    assert_eq!(me.expect_status(200).data()["families"], json!([]));
    assert_eq!(stage.told(&gone, "family.purged").await, (1, 1));
    assert_eq!(stage.told(&gone, "family.created").await, (1, 1));
    let by = "select count(*) from nself.audit_log where action = 'family.purged' and actor = 'auth.sweep' \
              and family_id::text = $1";
    assert_eq!(number(&stage, by, &gone).await, 1);
    let broken = sql.query("select * from nself.verify_audit()", &[]).await;
    assert!(broken.expect("the chains are read").is_empty());
    drop((sql, zoe));
    stage.host.stop().await;
}

#[tokio::test]
async fn every_row_of_a_plugin_that_names_a_family_goes_with_the_family() {
    let stage = Stage::open().await;
    let sql = stage.host.sql().await;
    let forgotten = "select c.oid::regclass::text from pg_class c \
        join pg_namespace n on n.oid = c.relnamespace \
        join pg_attribute a on a.attrelid = c.oid and a.attname = 'family_id' and not a.attisdropped \
        where c.relkind in ('r', 'p') and not c.relispartition \
          and n.nspname not in ('nself', 'information_schema', 'pg_catalog') and not exists (\
            select from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.confdeltype in ('c', 'n') \
              and a.attnum = any(k.conkey)) order by 1";
    let rows = sql
        .query(forgotten, &[])
        .await
        .expect("the catalogue reads");
    let forgotten: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        forgotten,
        [] as [&str; 0],
        "give them a foreign key to public.families that deletes or forgets"
    );
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn a_purge_that_is_cut_off_half_way_has_done_nothing_and_is_done_the_next_time() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner(ADA).await;
    stage.child(&owner, &family, "Cleo").await;
    posts(&stage, &family, 50).await;
    delete(&stage, &owner, &family).await;
    let owner = Session(
        stage
            .refresh(owner.refresh())
            .await
            .expect_status(200)
            .data(),
    );
    let _ = export(&stage, &owner, &family).await.expect_status(200);
    let sql = stage.host.sql().await;
    let before = rows_of(&stage, &family).await;
    let mut other = stage.host.sql().await;
    let holds = other.transaction().await.expect("it begins");
    let hold = "select from public.posts where family_id = $1::text::uuid limit 1 for update";
    let _ = holds.query(hold, &[&family]).await.expect("a row is held");
    let purge = format!("/auth/admin/families/{family}/purge");
    let now = json!({"now": true});
    let cut = async {
        let find = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like '%purge_family%'";
        let pid: i32 = eventually("the purge is half-way", async || {
            let rows = sql.query(find, &[]).await.expect("activity is told");
            rows.first().map(|row| row.get(0))
        })
        .await;
        let cut = sql
            .query_one("select pg_terminate_backend($1)", &[&pid])
            .await;
        assert!(cut.expect("it is cut off").get::<_, bool>(0));
    };
    let (purged, ()) = tokio::join!(as_operator(&stage, "POST", &purge, &now), cut);
    assert!(purged.status >= 500, "{}", purged.text());
    holds.rollback().await.expect("the row is free");
    assert_eq!(rows_of(&stage, &family).await, before);
    assert_eq!(stage.told(&family, "family.purged").await, (0, 0));
    let children = "select count(*) from public.users u join public.family_members m on m.user_id = u.id \
                    where m.family_id::text = $1 and u.kind = 'child' and u.status = 'active'";
    assert_eq!(number(&stage, children, &family).await, 1);

    let again = as_operator(&stage, "POST", &purge, &now).await;
    let _ = again.expect_status(200);
    assert!(
        rows_of(&stage, &family)
            .await
            .values()
            .all(|rows| *rows == 0)
    );
    assert_eq!(stage.told(&family, "family.purged").await, (1, 1));
    drop(sql);
    stage.host.stop().await;
}

#[tokio::test]
async fn an_operator_does_it_for_those_who_cannot_and_leaves_a_name() {
    let stage = Stage::open().await;
    let (family, owner) = stage.owner(ADA).await;
    posts(&stage, &family, 1).await;
    let deed = |deed: &str| format!("/auth/admin/families/{family}{deed}");
    let nothing = json!({});
    let purge = async |body: Value| {
        let answer = as_operator(&stage, "POST", &deed("/purge"), &body).await;
        verdict(&answer)
    };
    let not_there = (NOT_THERE.0, NOT_THERE.1.to_owned());
    assert_eq!(purge(json!({"now": true})).await, not_there, "it lives");
    let _ = as_operator(&stage, "DELETE", &deed(""), &nothing)
        .await
        .expect_status(200);
    stage.refused(&owner, "TOKEN_OUTDATED").await;
    let twice = as_operator(&stage, "DELETE", &deed(""), &nothing).await;
    assert_eq!(verdict(&twice), not_there);
    let back = as_operator(&stage, "POST", &deed("/take-back"), &nothing).await;
    let _ = back.expect_status(200);

    // An account that goes takes the family along that nobody else is in: then nobody is left to take it back or along.
    let signed_in = stage.login(ADA, PASSWORD).await.expect_status(200).data();
    let owner = Session(signed_in);
    let left = stage.send_as(&owner, "DELETE", "/auth/me", &nothing).await;
    let _ = left.expect_status(200);
    let back = as_operator(&stage, "POST", &deed("/take-back"), &nothing).await;
    assert_eq!(verdict(&back), (409, "FAMILY_LOST".into()));
    let kept = (409, "FAMILY_KEPT".to_owned());
    assert_eq!(purge(json!({"now": true})).await, kept, "not exported");
    let list = "/auth/admin/families?deleted=true";
    let listed = as_operator(&stage, "GET", list, &nothing).await;
    let listed = listed.expect_status(200).data();
    assert_eq!(
        (&listed[0]["id"], &listed[0]["members"]),
        (&json!(family), &json!(0))
    );
    let taken = as_operator(&stage, "POST", &deed("/export"), &nothing).await;
    assert!(taken.expect_status(200).text().contains("Post 1"));
    assert_eq!(purge(json!({})).await, kept, "its time is not over");
    assert_eq!(purge(json!({"now": true})).await.0, 200);
    let named = "select count(*) from nself.audit_log where actor like 'operator/%' and family_id::text = $1 \
                 and action in ('family.deleted', 'family.taken_back', 'family.exported', 'family.purged')";
    assert_eq!(number(&stage, named, &family).await, 4);
    stage.host.stop().await;
}
