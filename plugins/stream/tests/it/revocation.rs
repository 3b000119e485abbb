//! What a family or a session takes away while somebody is connected.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{TestHost, within};

use crate::stage::{Client, family, host, issued, publish};

/// Long after the test, in seconds since 1970.
const UNTIL: u64 = 4_000_000_000;

/// A member who listens to the family, to the chat and to everybody.
async fn listener(host: &TestHost, person: Uuid, role: Role, family: Uuid) -> (Client, String) {
    let token = host.token_of(person, Some((role, family)));
    let mut client = Client::connect(host.address(), &token).await;
    for channel in [
        &*format!("family:{family}:news"),
        "typing:kitchen",
        "public:a",
    ] {
        let _ = client.subscribe(channel).await;
    }
    (client, token)
}

/// The channels that a client is put out of, so many of them, in no order.
async fn unsubscribed(client: &mut Client, amount: usize) -> Vec<Value> {
    let mut channels = Vec::new();
    while channels.len() < amount {
        let push = within("the end of a subscription", client.push()).await;
        assert_eq!(push["unsubscribe"]["code"], 2000, "{push}");
        channels.push(push["channel"].clone());
    }
    channels.sort_by_key(Value::to_string);
    channels
}

#[tokio::test]
async fn a_member_who_is_removed_is_put_out_of_the_family_s_channels_and_no_others() {
    let host = host().await;
    let sql = host.sql().await;
    let (family, person, member) = family(&sql, Role::AdultMember).await;
    let news = format!("family:{family}:news");
    let (mut client, token) = listener(&host, person, Role::AdultMember, family).await;
    publish(&sql, &news, json!("before")).await;
    assert_eq!(client.publication().await["data"], "before");
    let remove = "select public.remove_member($1, $2, null)";
    sql.execute(remove, &[&family, &member])
        .await
        .expect("they are removed");
    assert_eq!(
        unsubscribed(&mut client, 2).await,
        [json!(news), json!("typing:kitchen")]
    );
    publish(&sql, &news, json!("after")).await;
    publish(&sql, "public:a", json!("everybody")).await;
    assert_eq!(client.publication().await["data"], "everybody");
    for (command, channel) in [
        ("subscribe", &*news),
        ("history", &news),
        ("publish", "typing:kitchen"),
        ("presence", "chat:kitchen"),
    ] {
        let refused = client
            .refusal(command, json!({"channel": channel, "data": 1}))
            .await;
        assert_eq!(refused, 102, "{command} {channel}");
    }
    // The token is still good for a while; what it says of the family is not.
    let mut again = Client::connect(host.address(), &token).await;
    assert_eq!(
        again.refusal("subscribe", json!({"channel": news})).await,
        102
    );
    assert_eq!(
        again.refusal("history", json!({"channel": news})).await,
        102
    );
    let refreshed = again.ask("refresh", json!({"token": token})).await;
    assert!(refreshed["refresh"].is_object(), "{refreshed}");
    assert_eq!(
        again.refusal("subscribe", json!({"channel": news})).await,
        102
    );
    host.stop().await;
}

#[tokio::test]
async fn a_member_whose_role_is_lowered_keeps_what_the_lower_one_may() {
    let host = host().await;
    let sql = host.sql().await;
    let (family, person, member) = family(&sql, Role::AdultMember).await;
    let news = format!("family:{family}:news");
    let (mut client, _) = listener(&host, person, Role::AdultMember, family).await;
    let lower = "select public.change_member($1, $2, null, 'CHILD_MEMBER')";
    sql.execute(lower, &[&family, &member])
        .await
        .expect("they are changed");
    assert_eq!(
        unsubscribed(&mut client, 1).await,
        [json!("typing:kitchen")]
    );
    assert_eq!(
        client
            .refusal("subscribe", json!({"channel": "chat:kitchen"}))
            .await,
        103
    );
    publish(&sql, &news, json!("still")).await;
    assert_eq!(client.publication().await["data"], "still");
    host.stop().await;
}

#[tokio::test]
async fn a_device_that_is_revoked_and_a_family_that_is_deleted_are_heard_no_more() {
    let host = host().await;
    let sql = host.sql().await;
    let (family, person, _) = family(&sql, Role::AdultMember).await;
    let news = format!("family:{family}:news");
    let make = "insert into public.devices (family_id, name) values ($1, 'TV') returning id";
    let device: Uuid = sql
        .query_one(make, &[&family])
        .await
        .expect("a device")
        .get(0);
    let token = host.token_of(device, Some((Role::Device, family)));
    let mut tv = Client::connect(host.address(), &token).await;
    let _ = tv.subscribe(&news).await;
    let (mut client, _) = listener(&host, person, Role::AdultMember, family).await;
    let revoke = "update public.devices set revoked_at = now() where id = $1";
    sql.execute(revoke, &[&device])
        .await
        .expect("it is revoked");
    assert_eq!(unsubscribed(&mut tv, 1).await, [json!(news)]);
    let delete = "update public.families set deleted_at = now() where id = $1";
    sql.execute(delete, &[&family])
        .await
        .expect("it is deleted");
    assert_eq!(
        unsubscribed(&mut client, 2).await,
        [json!(news), json!("typing:kitchen")]
    );
    host.stop().await;
}

#[tokio::test]
async fn a_session_that_ends_takes_its_connections_along() {
    let host = crate::stage::builder()
        .plugin("nself-plugin-fixture")
        .secret("fixture-key", "a key of the tests")
        .start()
        .await;
    let _ = host.post("/fixture/keys").send().await.expect_status(200);
    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    let mut ended = Client::connect(host.address(), &issued(&host, first, 0).await).await;
    let mut outdated = Client::connect(host.address(), &issued(&host, second, 0).await).await;
    let mut newer = Client::connect(host.address(), &issued(&host, second, 1).await).await;
    let revoke = json!({"session": first, "until": UNTIL});
    let _ = host
        .post("/fixture/revoke")
        .json(&revoke)
        .send()
        .await
        .expect_status(204);
    assert_eq!(ended.end().await, (3500, "invalid token".to_owned()));
    let refuse = json!({"session": second, "epoch": 1, "until": UNTIL});
    let _ = host
        .post("/fixture/refuse-older")
        .json(&refuse)
        .send()
        .await
        .expect_status(204);
    // Its client comes again with a newer one.
    assert_eq!(
        outdated.end().await,
        (3005, "connection expired".to_owned())
    );
    let _ = newer.subscribe("public:a").await;
    let mut again = Client::open(host.address()).await;
    let old = issued(&host, second, 0).await;
    assert_eq!(again.refusal("connect", json!({"token": old})).await, 109);
    // Another key takes the place of the one that signed, under its id.
    let _ = host.post("/fixture/keys").send().await.expect_status(200);
    assert_eq!(newer.end().await, (3005, "connection expired".to_owned()));
    host.stop().await;
}
