//! Who changes what a family, and a child in it, may: by every way in, with who it was, what it was, and what it became.

use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{family, modelled, person, value};
use crate::migrate::functions::{drop_login, plugin_login};

/// An entry of the log.
#[derive(Debug, PartialEq)]
struct Entry {
    deed: String,
    source: String,
    actor: String,
    target: String,
    details: Value,
}

/// The family's entries after the one of its making, the oldest first.
async fn entries(client: &Client, family: Uuid) -> Vec<Entry> {
    let sql = "SELECT action, source, actor, target, details FROM nself.audit_log \
               WHERE family_id = $1 AND action <> 'family.created' ORDER BY sequence";
    let rows = client.query(sql, &[&family]).await.unwrap();
    let entry = |row: &tokio_postgres::Row| Entry {
        deed: row.get(0),
        source: row.get(1),
        actor: row.get(2),
        target: row.get(3),
        details: row.get(4),
    };
    rows.iter().map(entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_what_a_family_may_is_an_entry_with_before_and_after() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, owner) = family(&client, ada).await;
    let change = async |sql: &str| {
        let sql = sql
            .replace("FAMILY", &format!("'{family}'"))
            .replace("MEMBER", &format!("'{owner}'"));
        client.batch_execute(&sql).await.unwrap();
    };
    change("UPDATE public.family_settings SET timezone = 'Europe/Rome' WHERE family_id = FAMILY")
        .await;
    change(
        "INSERT INTO public.family_flags (family_id, flag, is_on) VALUES (FAMILY, 'guests', true)",
    )
    .await;
    change("UPDATE public.family_flags SET is_on = false WHERE family_id = FAMILY").await;
    // What changes nothing is no deed.
    change("UPDATE public.family_flags SET is_on = false WHERE family_id = FAMILY").await;
    change("DELETE FROM public.family_flags WHERE family_id = FAMILY").await;
    change("INSERT INTO public.parental_controls (family_id, member_id) VALUES (FAMILY, MEMBER)")
        .await;
    change("UPDATE public.parental_controls SET can_watch = false, screen_minutes_daily = 30 WHERE member_id = MEMBER").await;
    change("UPDATE public.family_quotas SET storage_bytes_max = 7 WHERE family_id = FAMILY").await;

    let entries = entries(&client, family).await;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (&*entry.deed, &*entry.target, &entry.details))
        .collect();
    let (family, owner) = (family.to_string(), owner.to_string());
    assert_eq!(
        told[..4],
        [
            (
                "family.settings_changed",
                &*family,
                &json!({"from": {"timezone": "UTC"}, "to": {"timezone": "Europe/Rome"}})
            ),
            (
                "family.flag_changed",
                "guests",
                &json!({"from": null, "to": {"is_on": true, "set_by": null}})
            ),
            (
                "family.flag_changed",
                "guests",
                &json!({"from": {"is_on": true}, "to": {"is_on": false}})
            ),
            (
                "family.flag_changed",
                "guests",
                &json!({"from": {"is_on": false, "set_by": null}, "to": null})
            ),
        ]
    );
    let (deed, target, details) = told[4];
    assert_eq!(
        (deed, target),
        ("family.parental_controls_changed", &*owner)
    );
    assert_eq!(details["from"], Value::Null);
    assert_eq!(details["to"]["content_rating"], "all_ages");
    assert_eq!(
        told[5..],
        [
            (
                "family.parental_controls_changed",
                &*owner,
                &json!({
                    "from": {"can_watch": true, "screen_minutes_daily": null},
                    "to": {"can_watch": false, "screen_minutes_daily": 30},
                })
            ),
            (
                "family.quotas_changed",
                &*family,
                &json!({"from": {"storage_bytes_max": 53_687_091_200_u64}, "to": {"storage_bytes_max": 7}})
            ),
        ]
    );
    let broken = client
        .query("SELECT * FROM nself.verify_audit()", &[])
        .await;
    assert!(broken.unwrap().is_empty(), "the chain is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_is_named_and_nobody_names_somebody_else() {
    let database = modelled().await;
    let client = database.client().await;
    let (ada, ben) = (person(&client, "ada").await, person(&client, "ben").await);
    let (family, _) = family(&client, ada).await;
    let set = |minutes: u32| {
        format!(
            "UPDATE public.family_settings SET week_starts_on = {minutes} WHERE family_id = '{family}'"
        )
    };
    // A shell.
    client.batch_execute(&set(2)).await.unwrap();
    // Hasura, which says so for the transaction of a mutation.
    let claims = json!({"x-hasura-role": "OWNER", "x-hasura-user-id": ada});
    let hasura = format!(
        "BEGIN; SET LOCAL \"hasura.user\" = '{claims}'; {}; COMMIT",
        set(3)
    );
    client.batch_execute(&hasura).await.unwrap();
    // A plugin, in the name of whom the host says. What it says of itself about Hasura is nothing.
    let plugin = plugin_login(&database).await;
    let login: String = value(&plugin, "SELECT session_user::text", &[]).await;
    let grant = format!("GRANT SELECT, UPDATE ON public.family_settings TO {login}");
    client.batch_execute(&grant).await.unwrap();
    let named = format!(
        "BEGIN; SET LOCAL nself.family_id = '{family}'; SET LOCAL nself.user_id = '{ben}'; {}; COMMIT",
        set(4)
    );
    plugin.batch_execute(&named).await.unwrap();
    let pretending = format!(
        "BEGIN; SET LOCAL nself.family_id = '{family}'; SET LOCAL \"hasura.user\" = '{claims}'; {}; COMMIT",
        set(5)
    );
    plugin.batch_execute(&pretending).await.unwrap();

    let entries = entries(&client, family).await;
    let named: Vec<(&str, &str)> = entries
        .iter()
        .map(|entry| (&*entry.source, &*entry.actor))
        .collect();
    let (ada, ben) = (ada.to_string(), ben.to_string());
    let us = format!("/plugins/{}", database.name());
    assert_eq!(
        named[1..],
        [(named[0].0, &*ada), (&*us, &*ben), (&*us, &*us)]
    );
    assert_eq!(named[0].0, named[0].1, "a shell is its login");
    drop(plugin);
    drop_login(&database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_a_family_is_no_change_of_it() {
    let database = modelled().await;
    let client = database.client().await;
    let ada = person(&client, "ada").await;
    let (family, owner) = family(&client, ada).await;
    let sql = format!(
        "INSERT INTO public.parental_controls (family_id, member_id) VALUES ('{family}', '{owner}'); \
         DELETE FROM public.families WHERE id = '{family}'"
    );
    client.batch_execute(&sql).await.unwrap();
    let deeds: Vec<String> = entries(&client, family)
        .await
        .into_iter()
        .map(|entry| entry.deed)
        .collect();
    assert_eq!(
        deeds,
        ["family.parental_controls_changed"],
        "the first, and none of the end"
    );
}
