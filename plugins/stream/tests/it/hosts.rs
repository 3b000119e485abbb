//! Several hosts on one database: each hears what the others do, and one that dies takes nothing along.

use nself_plugin_api::{prelude::Role, serde_json::json, uuid::Uuid};
use nself_plugin_testkit::eventually;

use crate::stage::{Client, host, publish};

#[tokio::test]
async fn what_is_published_at_one_host_is_heard_at_all() {
    let first = host().await;
    let second = first.beside().start().await;
    let family = Uuid::now_v7();
    let token = first.token(Role::Owner, family);
    let mut here = Client::connect(first.address(), &token).await;
    let mut there =
        Client::connect(second.address(), &first.token(Role::AdultMember, family)).await;
    for client in [&mut here, &mut there] {
        let _ = client.subscribe("chat:kitchen").await;
        let _ = client.subscribe("typing:kitchen").await;
    }
    // Joins were told too; they are not what this is about.
    let next = async |client: &mut Client| loop {
        let push = client.push().await;
        if push["pub"].is_object() {
            return push["pub"].clone();
        }
    };
    for number in 1..=20 {
        let request = json!({"channel": "chat:kitchen", "data": number});
        let published = if number % 2 == 0 {
            &mut here
        } else {
            &mut there
        };
        let published = published.ask("publish", request).await;
        assert!(published["publish"].is_object(), "{published}");
        for client in [&mut here, &mut there] {
            let publication = next(client).await;
            assert_eq!(
                (&publication["data"], &publication["offset"]),
                (&json!(number), &json!(number))
            );
        }
    }
    let typing = json!({"channel": "typing:kitchen", "data": "…"});
    let _ = here.ask("publish", typing).await;
    assert_eq!(next(&mut there).await["data"], "…");
    assert_eq!(next(&mut here).await["data"], "…");
    eventually("both are there", async || {
        let request = json!({"channel": "chat:kitchen"});
        let stats = there.ask("presence_stats", request).await;
        (stats["presence_stats"] == json!({"num_clients": 2, "num_users": 2})).then_some(())
    })
    .await;
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_dies_takes_its_people_along_and_no_publication() {
    let first = host().await;
    let other = first.process_beside().start().await;
    let family = Uuid::now_v7();
    let token = first.token(Role::Owner, family);
    let mut here = Client::connect(first.address(), &token).await;
    let _ = here.subscribe("chat:kitchen").await;
    let mut there = Client::connect(other.address(), &token).await;
    let begun = there.subscribe("chat:kitchen").await;
    let stats = json!({"channel": "chat:kitchen"});
    eventually("both are there", async || {
        let both = here.ask("presence_stats", stats.clone()).await;
        (both["presence_stats"]["num_clients"] == 2).then_some(())
    })
    .await;
    let sql = first.sql().await;
    let channel = format!("family:{family}:chat:kitchen");
    let writing = tokio::spawn(async move {
        for number in 1..=200 {
            publish(&sql, &channel, json!(number)).await;
        }
    });
    let mut received = Vec::new();
    while received.len() < 20 {
        let push = there.push().await;
        received.extend(push["pub"]["data"].as_i64());
    }
    other.kill().await;
    // Whatever it had sent before is still read.
    let told = there.rest().await;
    received.extend(told.iter().filter_map(|push| push["pub"]["data"].as_i64()));
    let mut back = Client::connect(first.address(), &token).await;
    let request = json!({"channel": "chat:kitchen", "recover": true, "offset": received.len(), "epoch": begun["epoch"]});
    let recovered = back.subscribe_with(request).await;
    assert_eq!(recovered["recovered"], true, "{recovered}");
    let publications = recovered["publications"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    received.extend(publications.iter().filter_map(|one| one["data"].as_i64()));
    while received.len() < 200 {
        let push = back.push().await;
        received.extend(push["pub"]["data"].as_i64());
    }
    writing.await.expect("the writer ends");
    let expected: Vec<i64> = (1..=200).collect();
    assert_eq!(received, expected);
    eventually("the dead host's people are gone", async || {
        let stats = here.ask("presence_stats", stats.clone()).await;
        (stats["presence_stats"]["num_clients"] == 2).then_some(())
    })
    .await;
    first.stop().await;
}
