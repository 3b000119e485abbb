//! Commands on their way to a device, and what it says of them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::manifest::Role;
use nself_plugin_testkit::{TestHost, eventually, node_scripts};
use percent_encoding::NON_ALPHANUMERIC;
use serde_json::{Value, json};

use crate::stage::{Home, ask, builder, fetch, home, host, host_with, pause, show};

async fn say(
    host: &TestHost,
    home: &Home,
    id: &Value,
    body: &Value,
) -> nself_plugin_testkit::Answer {
    let id = id.as_str().expect("an id");
    let path = format!("/v1/device-commands/{id}/outcome");
    host.post(&path)
        .token(&home.device_token)
        .json(body)
        .send()
        .await
}

fn part(signed: &str, number: usize) -> Value {
    let part = signed.split('.').nth(number).expect("a part");
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test]
async fn a_device_gets_a_signed_text_that_names_it_and_says_what_came_of_it() {
    let host = host().await;
    let home = home(&host).await;
    let asked = ask(
        &host,
        &home,
        json!({"name": "volume.set", "input": {"to": 7}, "expires_seconds": 60}),
    )
    .await;
    let got = fetch(&host, &home, 0).await;
    assert_eq!((got.len(), &got[0]["id"]), (1, &asked["id"]));
    let signed = got[0]["signed"].as_str().expect("a text");
    let (header, claims) = (part(signed, 0), part(signed, 1));
    assert_eq!(
        (&header["alg"], &header["typ"]),
        (&json!("EdDSA"), &json!("nself-command+jws"))
    );
    assert_eq!(
        (&claims["sub"], &claims["family"], &claims["jti"]),
        (&json!(home.device), &json!(home.family), &asked["id"])
    );
    assert_eq!(
        (&claims["name"], &claims["input"]),
        (&json!("volume.set"), &json!({"to": 7}))
    );
    let lasts = claims["exp"].as_i64().zip(claims["iat"].as_i64());
    assert_eq!(lasts.map(|(exp, iat)| exp - iat), Some(60));
    let keys = host.get("/v1/device-commands/keys").send().await.json();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert!(keys["keys"][0].get("d").is_none(), "{keys}");

    assert_eq!(
        show(&host, &home, &asked["id"]).await["status"],
        "delivered"
    );
    let outcome = json!({"done": true, "result": {"was": 3}});
    let said = say(&host, &home, &asked["id"], &outcome).await;
    assert_eq!(said.expect_status(200).data()["status"], "done");
    // It did not see the answer and says it once more.
    let again = say(&host, &home, &asked["id"], &outcome).await;
    assert_eq!(again.expect_status(200).data()["status"], "done");
    let other = say(&host, &home, &asked["id"], &json!({"done": false})).await;
    assert_eq!(other.code(), "COMMAND_ENDED");
    assert_eq!(
        show(&host, &home, &asked["id"]).await["result"],
        json!({"was": 3})
    );
    let sql = host.sql().await;
    let told =
        "select count(*) from nself.events where type = 'device_command.ended' and family_id = $1";
    let told: i64 = sql
        .query_one(told, &[&home.family])
        .await
        .expect("events")
        .get(0);
    assert_eq!(told, 1);
    host.stop().await;
}

#[tokio::test]
async fn a_device_that_trusts_jose_alone_takes_our_commands_and_no_others() {
    let host = host().await;
    let home = home(&host).await;
    ask(
        &host,
        &home,
        json!({"name": "volume.set", "input": {"to": 7}}),
    )
    .await;
    let got = fetch(&host, &home, 0).await;
    let scripts = node_scripts!("tests/clients").await;
    let mut device = scripts.script("device.mjs");
    let device = device.envs([
        ("BASE_URL", format!("http://{}", host.address())),
        (
            "SIGNED",
            got[0]["signed"].as_str().expect("a text").to_owned(),
        ),
        ("DEVICE", home.device.to_string()),
    ]);
    let read: Value = scripts.run(device).await.parse().expect("JSON");
    assert_eq!(read, json!({"name": "volume.set", "input": {"to": 7}}));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_connected_to_the_stream_is_told_at_once() {
    let host = builder()
        .plugin("nself-plugin-stream")
        .config("[plugins.stream.config.namespaces.user]\non_connect = true")
        .start()
        .await;
    let home = home(&host).await;
    // Nothing is named: the server knows whose line it is.
    let connect = json!({"token": home.device_token, "subs": {}}).to_string();
    let connect = percent_encoding::utf8_percent_encode(&connect, NON_ALPHANUMERIC);
    let path = format!("/connection/uni_sse?cf_connect={connect}");
    let mut events = host.get(&path).events().await;
    let mut push = async || -> Value {
        let event = events.next().await.expect("the stream goes on");
        event.data.parse().expect("JSON")
    };
    let own = format!("user:{}", home.device);
    let connected = push().await;
    assert!(
        connected["connect"]["subs"][&own].is_object(),
        "{connected}"
    );
    let asked = pause(&host, &home).await;
    let told = loop {
        let told = push().await;
        if told["pub"].is_object() {
            break told;
        }
    };
    assert_eq!(
        (&told["channel"], &told["pub"]["data"]),
        (&json!(own), &json!({"type": "device_command.waiting"}))
    );
    assert_eq!(fetch(&host, &home, 0).await[0]["id"], asked["id"]);
    host.stop().await;
}

#[tokio::test]
async fn a_device_gets_what_is_for_it_and_nothing_else() {
    let host = host().await;
    let (ours, theirs) = (home(&host).await, home(&host).await);
    let asked = pause(&host, &ours).await;
    assert!(fetch(&host, &theirs, 0).await.is_empty());
    let path = format!("/v1/devices/{}/commands", ours.device);
    let other = host.get(&path).token(&theirs.device_token).send().await;
    assert_eq!(other.code(), "COMMAND_DEVICE_NOT_FOUND");
    let owner = host.get(&path).role(Role::Owner, ours.family).send().await;
    assert_eq!(owner.status, 403, "{}", owner.text());
    let said = say(&host, &theirs, &asked["id"], &json!({"done": true})).await;
    assert_eq!(said.code(), "COMMAND_NOT_FOUND");

    // Its token lives on for a while when it was let out.
    let sql = host.sql().await;
    sql.execute(
        "update public.devices set revoked_at = now() where id = $1",
        &[&ours.device],
    )
    .await
    .expect("it is let out");
    let gone = host.get(&path).token(&ours.device_token).send().await;
    assert_eq!(gone.code(), "COMMAND_DEVICE_NOT_FOUND");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_waits_is_handed_a_command_when_it_is_asked_for() {
    let host = host().await;
    let home = home(&host).await;
    let (got, asked) = tokio::join!(
        async {
            loop {
                let got = fetch(&host, &home, 25).await;
                if !got.is_empty() {
                    return got;
                }
            }
        },
        pause(&host, &home)
    );
    assert_eq!(got[0]["id"], asked["id"]);
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nothing_was_said_of_is_handed_out_again_and_fails_in_the_end() {
    let host = host_with("device_redelivery_seconds = 1\ndevice_deliveries_max = 2").await;
    let home = home(&host).await;
    let asked = pause(&host, &home).await;
    for _ in 0..2 {
        eventually("the command is handed out", async || {
            let got = fetch(&host, &home, 5).await;
            got.first().map(|one| assert_eq!(one["id"], asked["id"]))
        })
        .await;
    }
    let ended = eventually("it has failed", async || {
        let command = show(&host, &home, &asked["id"]).await;
        (command["status"] == "failed").then_some(command)
    })
    .await;
    assert_eq!(
        ended["error"],
        "it was handed out as often as device_deliveries_max of [plugins.orchestrator.config], which is 2"
    );
    host.stop().await;
}

#[tokio::test]
async fn a_command_whose_time_is_over_is_not_handed_out_and_takes_no_outcome() {
    let host = host().await;
    let home = home(&host).await;
    let asked = pause(&host, &home).await;
    let sql = host.sql().await;
    sql.execute(
        "update orchestrator.device_commands set expires_at = created_at",
        &[],
    )
    .await
    .expect("its time is over");
    assert!(fetch(&host, &home, 0).await.is_empty());
    let said = say(&host, &home, &asked["id"], &json!({"done": true})).await;
    assert_eq!(said.code(), "COMMAND_ENDED");
    assert_eq!(show(&host, &home, &asked["id"]).await["status"], "expired");
    host.stop().await;
}
