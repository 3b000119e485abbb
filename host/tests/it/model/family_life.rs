//! What happens to a family as a whole: each function does all of it or nothing, and leaves an entry and an event.

use serde_json::Value;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{family, modelled, person, refused_by, seeds, tenancy, told, value};
use crate::{
    lifecycle::project::eventually,
    migrate::functions::{drop_login, plugin_login},
};

async fn member(client: &Client, family: Uuid, person: Uuid) -> (Uuid, String, String) {
    let sql =
        "SELECT id, role, status FROM public.family_members WHERE family_id = $1 AND user_id = $2";
    let row = client.query_one(sql, &[&family, &person]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

/// The deeds in a family's log, the oldest first; the same as the events.
async fn deeds(client: &Client, family: Uuid) -> Vec<String> {
    let log = "SELECT action FROM nself.audit_log WHERE family_id = $1 ORDER BY sequence";
    let events = "SELECT type FROM nself.events WHERE family_id = $1 ORDER BY position";
    let rows = client.query(log, &[&family]).await.unwrap();
    let logged: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let rows = client.query(events, &[&family]).await.unwrap();
    let told: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(logged, told, "each entry has its event");
    logged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_is_made_with_its_owner_and_all_that_it_needs() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, _) = family(&client, ada).await;
    let (_, role, status) = member(&client, family, ada).await;
    assert_eq!((role.as_str(), status.as_str()), ("OWNER", "active"));
    for table in ["family_settings", "family_quotas", "family_usage"] {
        let sql = format!("SELECT count(*) FROM public.{table} WHERE family_id = $1");
        assert_eq!(value::<i64>(&client, &sql, &[&family]).await, 1, "{table}");
    }
    assert_eq!(deeds(&client, family).await, ["family.created"]);
    let nobody = client
        .query(
            "SELECT public.create_family('No name', $1)",
            &[&Uuid::nil()],
        )
        .await;
    assert_eq!(
        refused_by(nobody, "an owner whom nobody knows"),
        "families_created_by_fkey"
    );
    let nameless = client
        .query("SELECT public.create_family('', $1)", &[&ada])
        .await;
    assert_eq!(refused_by(nameless, "no name"), "families_name_check");
    let families: i64 = value(&client, "SELECT count(*) FROM public.families", &[]).await;
    assert_eq!(families, 1, "what is refused leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_invited_come_leave_and_come_back_as_the_same_member() {
    let database = modelled().await;
    let client = database.client().await;
    let (ada, ben) = (person(&client, "ada").await, person(&client, "ben").await);
    let (family, _) = family(&client, ada).await;
    let invite = "SELECT public.invite_member($1, $2, 'ADULT_MEMBER', $3)";
    let invited: Uuid = value(&client, invite, &[&family, &ben, &ada]).await;
    assert_eq!(member(&client, family, ben).await.2, "pending_invite");
    let answer = "SELECT public.answer_invitation($1, $2, $3)";
    let declined: Uuid = value(&client, answer, &[&family, &ben, &false]).await;
    assert_eq!(declined, invited);
    assert_eq!(member(&client, family, ben).await.2, "inactive");
    let late = client.query(answer, &[&family, &ben, &true]).await;
    assert_eq!(refused_by(late, "an answer after the answer"), "P0002");
    let again: Uuid = value(&client, invite, &[&family, &ben, &ada]).await;
    let came: Uuid = value(&client, answer, &[&family, &ben, &true]).await;
    assert_eq!((again, came), (invited, invited));
    let twice = client.query(invite, &[&family, &ben, &ada]).await;
    assert_eq!(
        refused_by(twice, "a member is invited"),
        "family_members_family_id_user_id_key"
    );
    let leave = "SELECT public.remove_member($1, $2, $3)";
    client.query(leave, &[&family, &came, &ben]).await.unwrap();
    let gone = client.query(leave, &[&family, &came, &ben]).await;
    assert_eq!(refused_by(gone, "leaving twice"), "P0002");
    let add = "SELECT public.add_member($1, $2, 'YOUTH_MEMBER', $3, $3)";
    let back: Uuid = value(&client, add, &[&family, &ben, &ada]).await;
    assert_eq!(back, invited);
    assert_eq!(
        deeds(&client, family).await,
        [
            "family.created",
            "family.member_invited",
            "family.invitation_declined",
            "family.member_invited",
            "family.member_added",
            "family.member_removed",
            "family.member_added",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_is_handed_over_and_never_without_an_owner() {
    let database = modelled().await;
    let client = database.client().await;
    let (ada, ben) = (person(&client, "ada").await, person(&client, "ben").await);
    let (family, owner) = family(&client, ada).await;
    let add = "SELECT public.add_member($1, $2, 'ADULT_MEMBER', $3, $3)";
    let heir: Uuid = value(&client, add, &[&family, &ben, &ada]).await;
    let last = client
        .query(
            "SELECT public.remove_member($1, $2, $3)",
            &[&family, &owner, &ada],
        )
        .await;
    assert_eq!(
        refused_by(last, "the last owner leaves"),
        "family_members_owner_check"
    );
    let change = "SELECT public.change_member($1, $2, $3, $4)";
    let last = client
        .query(change, &[&family, &owner, &ada, &"ADMIN"])
        .await;
    assert_eq!(
        refused_by(last, "the last owner steps down"),
        "family_members_owner_check"
    );
    let transfer = "SELECT public.transfer_ownership($1, $2, $3)";
    let not_hers = client.query(transfer, &[&family, &heir, &owner]).await;
    assert_eq!(
        refused_by(not_hers, "a family is given away by who does not own it"),
        "P0002"
    );
    let itself = client.query(transfer, &[&family, &owner, &owner]).await;
    assert_eq!(
        refused_by(itself, "a family is handed to who has it"),
        "P0002"
    );
    client
        .query(transfer, &[&family, &owner, &heir])
        .await
        .unwrap();
    assert_eq!(member(&client, family, ada).await.1, "ADMIN");
    assert_eq!(member(&client, family, ben).await.1, "OWNER");
    let changed: bool = value(&client, change, &[&family, &owner, &ben, &"ADMIN"]).await;
    assert!(!changed, "it is so already");
    assert_eq!(
        deeds(&client, family).await,
        [
            "family.created",
            "family.member_added",
            "family.ownership_transferred"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_childs_account_is_never_more_than_a_youth_whoever_writes() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, _) = family(&client, ada).await;
    let make = "INSERT INTO public.users (kind, display_name, created_by) VALUES ('child', 'Cy', $1) RETURNING id";
    let child: Uuid = value(&client, make, &[&ada]).await;
    let add = "SELECT public.add_member($1, $2, 'CHILD_MEMBER', $3, $3)";
    let member: Uuid = value(&client, add, &[&family, &child, &ada]).await;
    let change = "SELECT public.change_member($1, $2, $3, $4)";
    let changed: bool = value(&client, change, &[&family, &member, &ada, &"YOUTH_MEMBER"]).await;
    assert!(changed);
    let too_much = client
        .query(change, &[&family, &member, &ada, &"ADMIN"])
        .await;
    assert_eq!(
        refused_by(too_much, "a child administers"),
        "family_members_child_account_check"
    );
    let by_hand = "UPDATE public.family_members SET role = 'OWNER' WHERE id = $1";
    let too_much = client.execute(by_hand, &[&member]).await;
    assert_eq!(
        refused_by(too_much, "a child owns"),
        "family_members_child_account_check"
    );
    let odd = "UPDATE public.family_members SET status = 'pending_invite' WHERE id = $1";
    let odd = client.execute(odd, &[&member]).await;
    assert_eq!(
        refused_by(odd, "a member is invited again"),
        "family_members_life_check"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_goes_for_good_after_it_was_exported_and_not_before() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, owner) = family(&client, ada).await;
    let post = "INSERT INTO public.posts (family_id, author_id, title) VALUES ($1, $2, 'Keep me')";
    client.execute(post, &[&family, &owner]).await.unwrap();
    let purge = "SELECT public.purge_family($1, $2::uuid::text, $3::text::interval)";
    let living = client.query(purge, &[&family, &ada, &"0"]).await;
    assert_eq!(refused_by(living, "a family that nobody deleted"), "P0002");
    let export = "SELECT public.export_family($1, $2)";
    client.query(export, &[&family, &ada]).await.unwrap();
    client
        .query(
            "SELECT public.delete_family($1, $2::uuid::text)",
            &[&family, &ada],
        )
        .await
        .unwrap();
    let add = "SELECT public.add_member($1, $2, 'ADULT_MEMBER', $2, $2)";
    let late = client
        .query(add, &[&family, &person(&client, "ben").await])
        .await;
    assert_eq!(refused_by(late, "a member of a deleted family"), "P0002");
    let early = client.query(purge, &[&family, &ada, &"30 days"]).await;
    assert_eq!(refused_by(early, "before the time is over"), "55000");
    let unsaved = client.query(purge, &[&family, &ada, &"0"]).await;
    assert_eq!(
        refused_by(unsaved, "with an export from before only"),
        "55000"
    );
    let lines = client.query(export, &[&family, &ada]).await.unwrap();
    let lines: Vec<Value> = lines.iter().map(|row| row.get(0)).collect();
    assert_eq!(lines[0]["format"], "nself.family/1");
    let posts: Vec<&Value> = lines
        .iter()
        .filter(|line| line["table"] == "posts")
        .collect();
    assert_eq!(posts.len(), 1);
    assert_eq!(posts[0]["row"]["title"], "Keep me");
    client.query(purge, &[&family, &ada, &"0"]).await.unwrap();
    assert_eq!(rows_of(&client, family).await, 0);
    assert_eq!(
        deeds(&client, family).await,
        [
            "family.created",
            "family.exported",
            "family.deleted",
            "family.exported",
            "family.purged"
        ]
    );
    let people: i64 = value(
        &client,
        "SELECT count(*) FROM public.users WHERE id = $1",
        &[&ada],
    )
    .await;
    assert_eq!(people, 1, "a person is more than a family's");
}

/// Rows of a family in all tables.
async fn rows_of(client: &Client, family: Uuid) -> i64 {
    let mut rows = 0;
    for table in tenancy::tables(client).await {
        rows += tenancy::count(client, &table, family).await;
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_family_in_any_table_and_nothing_of_another_is_touched() {
    let database = modelled().await;
    let client = database.client().await;
    seeds::demo(&mut database.client().await).await;
    let (mine, theirs) = (tenancy::MINE, tenancy::THEIRS);
    // A table of a project, which goes with no family by itself.
    let pets = "CREATE TABLE public.pets (family_id uuid NOT NULL, name text NOT NULL)";
    client.batch_execute(pets).await.unwrap();
    let pet = "INSERT INTO public.pets VALUES ($1, 'Rex'), ($2, 'Tom')";
    client.execute(pet, &[&mine, &theirs]).await.unwrap();
    let tables = tenancy::tables(&client).await;
    let mut before = Vec::new();
    for table in &tables {
        let rows = tenancy::count(&client, table, mine).await;
        assert!(
            rows > 0 || table == tenancy::EMPTY,
            "{table} has rows to lose"
        );
        before.push(tenancy::count(&client, table, theirs).await);
    }
    let delete = "SELECT public.delete_family($1, 'ada')";
    client.query(delete, &[&mine]).await.unwrap();
    let export = "SELECT public.export_family($1, NULL)";
    let lines = client.query(export, &[&mine]).await.unwrap();
    let lines: Vec<Value> = lines.iter().map(|row| row.get(0)).collect();
    // Made from the others, or about the export itself.
    let untold = ["search_index", "family_usage", tenancy::EMPTY];
    for table in tables.iter().filter(|table| !untold.contains(&&***table)) {
        let told = lines.iter().any(|line| line["table"] == **table);
        assert!(told, "{table} is a part of the export");
    }
    let purge = "SELECT public.purge_family($1, 'ada', '0')";
    let purged = client.query(purge, &[&mine]).await;
    purged.unwrap_or_else(|error| panic!("{}", told(&error)));
    assert_eq!(rows_of(&client, mine).await, 0);
    for (table, rows) in tables.iter().zip(before) {
        assert_eq!(
            tenancy::count(&client, table, theirs).await,
            rows,
            "{table}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_takes_no_family_along_or_away_unless_it_was_granted_that() {
    let database = modelled().await;
    let owner = database.client().await;
    let ada = person(&owner, "ada").await;
    let (family, _) = family(&owner, ada).await;
    let plugin = plugin_login(&database).await;
    let login: String = value(&plugin, "SELECT session_user::text", &[]).await;
    // Each right alone, and both without the word that it works across families.
    let grants = format!(
        "GRANT USAGE ON SCHEMA public TO \"{login}\"; \
         GRANT SELECT, INSERT ON public.family_exports TO \"{login}\"; \
         GRANT SELECT, UPDATE, DELETE ON public.families TO \"{login}\""
    );
    for granted in [None, Some(grants)] {
        if let Some(granted) = granted {
            owner.batch_execute(&granted).await.unwrap();
        }
        for call in [
            "SELECT public.open_family_export($1)",
            "SELECT public.purge_family($1, 'plugin', '0')",
        ] {
            let refused = plugin.query(call, &[&family]).await;
            assert_eq!(refused_by(refused, call), "42501");
        }
    }
    drop(plugin);
    drop_login(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_family_is_taken_back_as_long_as_somebody_owns_it_and_there_is_time() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, owner) = family(&client, ada).await;
    let take_back = "SELECT public.take_back_family($1, 'ada', $2::text::interval)";
    let living = client.query(take_back, &[&family, &"30 days"]).await;
    assert_eq!(refused_by(living, "a family that nobody deleted"), "P0002");
    let delete = "SELECT public.delete_family($1, 'ada')";
    client.query(delete, &[&family]).await.unwrap();
    let late = client.query(take_back, &[&family, &"0"]).await;
    assert_eq!(refused_by(late, "after the time is over"), "55000");
    let leave = "UPDATE public.family_members SET status = $2, left_at = now() WHERE id = $1";
    client.execute(leave, &[&owner, &"inactive"]).await.unwrap();
    let nobodys = client.query(take_back, &[&family, &"30 days"]).await;
    assert_eq!(refused_by(nobodys, "without an owner"), "55000");
    let restored = "UPDATE public.families SET deleted_at = NULL WHERE id = $1";
    client.batch_execute("BEGIN").await.unwrap();
    client.execute(restored, &[&family]).await.unwrap();
    let active = "UPDATE public.family_members SET status = 'active', left_at = NULL WHERE id = $1";
    client.execute(active, &[&owner]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    client.query(delete, &[&family]).await.unwrap();
    client
        .query(take_back, &[&family, &"30 days"])
        .await
        .unwrap();
    assert_eq!(
        deeds(&client, family).await,
        [
            "family.created",
            "family.deleted",
            "family.deleted",
            "family.taken_back"
        ]
    );
}

/// Writes posts and pictures until the database refuses, and says by what.
async fn write_on(client: Client, family: Uuid, author: Uuid) -> String {
    let sql = "WITH p AS (INSERT INTO public.posts (family_id, author_id, title) VALUES ($1, $2, 'More') RETURNING id)
               INSERT INTO public.media_items (family_id, author_id, kind, mime_type, bytes, storage_key)
               SELECT $1, $2, 'photo', 'image/png', 1, id::text FROM p";
    loop {
        if let Err(error) = client.execute(sql, &[&family, &author]).await {
            let error = error.as_db_error().expect("the database refused it");
            return error.code().code().to_owned();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_is_purged_while_its_members_write_leaves_no_row() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, owner) = family(&client, ada).await;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        writers.spawn(write_on(database.client().await, family, owner));
    }
    let posts = "SELECT count(*) FROM public.posts WHERE family_id = $1";
    eventually("all write", async || {
        let written: i64 = value(&client, posts, &[&family]).await;
        (written > 40).then_some(())
    })
    .await;
    client
        .query(
            "SELECT public.delete_family($1, $2::uuid::text)",
            &[&family, &ada],
        )
        .await
        .unwrap();
    client
        .query("SELECT public.export_family($1, $2)", &[&family, &ada])
        .await
        .unwrap();
    let purge = "SELECT public.purge_family($1, $2::uuid::text, '0')";
    let purged = client.query(purge, &[&family, &ada]).await;
    purged.unwrap_or_else(|error| panic!("{}", told(&error)));
    // A reference to what is gone, and nothing worse: no deadlock, no half of a statement.
    while let Some(refused) = writers.join_next().await {
        assert_eq!(refused.unwrap(), "23503");
    }
    assert_eq!(rows_of(&client, family).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_family_uses_is_counted_and_the_quota_holds_for_everybody_at_once() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, _) = family(&client, ada).await;
    let quota = "UPDATE public.family_quotas SET storage_bytes_max = 1000 WHERE family_id = $1";
    client.execute(quota, &[&family]).await.unwrap();
    let mut uploads = JoinSet::new();
    for n in 0..16 {
        let client = database.client().await;
        uploads.spawn(async move {
            let sql =
                "INSERT INTO public.media_items (family_id, kind, mime_type, bytes, storage_key)
                       VALUES ($1, 'photo', 'image/png', 300, $2)";
            client.execute(sql, &[&family, &format!("key-{n}")]).await
        });
    }
    let results = uploads.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
    for refused in results.into_iter().filter(Result::is_err) {
        assert_eq!(
            refused_by(refused, "what does not fit"),
            "family_quotas_storage_check"
        );
    }
    let used = "SELECT storage_bytes FROM public.family_usage WHERE family_id = $1";
    assert_eq!(value::<i64>(&client, used, &[&family]).await, 900);
    client
        .execute(
            "DELETE FROM public.media_items WHERE family_id = $1",
            &[&family],
        )
        .await
        .unwrap();
    assert_eq!(value::<i64>(&client, used, &[&family]).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_a_sealed_vault_stays_until_the_family_goes() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, owner) = family(&client, ada).await;
    let make = "INSERT INTO public.legacy_vaults (family_id, author_id, title) VALUES ($1, $2, 'Later') RETURNING id";
    let vault: Uuid = value(&client, make, &[&family, &owner]).await;
    let put = "INSERT INTO public.legacy_items (family_id, vault_id, kind, title) VALUES ($1, $2, 'letter', 'To you')";
    client.execute(put, &[&family, &vault]).await.unwrap();
    let seal = "UPDATE public.legacy_vaults SET state = 'sealed', sealed_at = now() WHERE id = $1";
    client.execute(seal, &[&vault]).await.unwrap();
    for (sql, what) in [
        (put, "one thing more"),
        (
            "UPDATE public.legacy_items SET body = 'x' WHERE family_id = $1 AND vault_id = $2",
            "another text",
        ),
        (
            "DELETE FROM public.legacy_items WHERE family_id = $1 AND vault_id = $2",
            "one thing less",
        ),
    ] {
        let refused = client.execute(sql, &[&family, &vault]).await;
        assert_eq!(
            refused_by(refused, what),
            "legacy_vaults_sealed_check",
            "{what}"
        );
    }
    let open = "UPDATE public.legacy_vaults SET state = 'draft', sealed_at = NULL WHERE id = $1";
    let refused = client.execute(open, &[&vault]).await;
    assert_eq!(
        refused_by(refused, "a broken seal"),
        "legacy_vaults_order_check"
    );
    client
        .execute("DELETE FROM public.families WHERE id = $1", &[&family])
        .await
        .unwrap();
    assert_eq!(rows_of(&client, family).await, 0);
}
