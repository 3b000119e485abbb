//! Events as programs of others write and read them: by the CloudEvents SDK, in a pinned version of its npm package.

use nself_plugin_testkit::{TestHost, node_scripts, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::stage::{builder, definition, ended, host, put, start, until};

#[tokio::test]
async fn events_of_the_sdk_are_taken_structured_and_binary_and_are_the_same_inside() {
    let host = host().await;
    let hear = "  - hear:\n      listen: {to: {any: [{with: {source: 'https://example.org/kitchen'}}], until: '(. | length) >= 5'}, read: envelope}\n";
    put(&host, "hear", &definition("hear", "", hear)).await;
    let run = start(&host, "hear", json!({}), 0).await["id"].clone();
    until(&host, &run, "waiting").await;
    let scripts = node_scripts!("tests/clients").await;
    let base = format!("http://{}", host.address());
    let mut sender = scripts.script("sender.mjs");
    let sender = sender.envs([("BASE_URL", &*base), ("TOKEN", TestHost::OPERATOR_KEY)]);
    let printed = scripts.run(sender).await;
    let answers: Vec<Value> = serde_json::from_str(&printed).expect("JSON");
    let new: Vec<_> = answers
        .iter()
        .map(|answer| (&answer["status"], &answer["body"]["data"]["new"]))
        .collect();
    let (ok, [none, one]) = (json!(200), [json!(0), json!(1)]);
    let expected = [&one, &none, &one, &one, &one, &one].map(|new| (&ok, new));
    assert_eq!(new, expected, "{answers:?}");

    let heard = until(&host, &run, "completed").await["output"].clone();
    let mut heard = heard.as_array().expect("a list").clone();
    heard.sort_by_key(|event| event["id"].as_str().map(str::to_owned));
    let ids: Vec<&str> = heard
        .iter()
        .filter_map(|event| event["id"].as_str())
        .collect();
    assert_eq!(
        ids,
        ["binary", "binary bytes", "bytes", "structured", "text"]
    );
    let [binary, binary_bytes, bytes, structured, text] = &heard[..] else {
        panic!("{heard:?}")
    };
    assert_eq!(
        (&binary["data"], &structured["data"]),
        (&json!({"cup": 2}), &json!({"cup": 1}))
    );
    for name in ["source", "type", "subject", "time", "specversion"] {
        assert_eq!(binary[name], structured[name], "{name}");
    }
    assert_eq!(structured["subject"], "Gr\u{fc}ner Tee 100 %");
    assert_eq!(text["data"], "hot & strong");
    assert_eq!(bytes["data_base64"], "AJ//");
    assert_eq!(binary_bytes["data_base64"], "AJ//");
    host.stop().await;
}

#[tokio::test]
async fn an_event_that_was_emitted_and_is_sent_on_is_one_that_the_sdk_reads() {
    let scripts = node_scripts!("tests/clients").await;
    let mut receiver = scripts.start(&mut scripts.script("receiver.mjs"));
    let printed = receiver.stdout.take().expect("what it prints is read");
    let mut lines = BufReader::new(printed).lines();
    let mut next = async || -> Value {
        let line = within("a line of the receiver", lines.next_line()).await;
        let line = line.expect("it can be read").expect("it has not ended");
        serde_json::from_str(&line).expect("JSON")
    };
    let address = next().await["address"]
        .as_str()
        .expect("it listens")
        .to_owned();
    let config = format!("[plugins.orchestrator]\negress = [\"{address}\"]\n");
    let host = builder().config(&config).start().await;
    let tasks = format!(
        "  - say:\n      emit: {{event: {{with: {{source: 'https://example.org/kitchen', type: org.example.tea, subject: cup, data: {{cup: 9}}}}}}}}\n  - pass:\n      call: http\n      with: {{method: post, endpoint: 'http://{address}/', headers: {{content-type: application/cloudevents+json}}, body: '${{ . }}'}}\n"
    );
    put(&host, "say", &definition("say", "", &tasks)).await;
    let run = start(&host, "say", json!({}), 0).await["id"].clone();
    let read = next().await;
    let event = &read["event"];
    assert_eq!(
        (&event["type"], &event["subject"], &event["data"]),
        (&json!("org.example.tea"), &json!("cup"), &json!({"cup": 9})),
        "{read}"
    );
    assert_eq!(ended(&host, &run).await["status"], "completed");
    // What stands on the host's log is the same event.
    let sql = host.sql().await;
    let told = "select data from nself.events where type = 'workflow.emitted'";
    let told: Value = sql.query_one(told, &[]).await.expect("the log").get(0);
    for name in ["id", "source", "type", "subject", "data"] {
        assert_eq!(told[name], event[name], "{name}");
    }
    host.stop().await;
}
