//! What a family sees of its own audit log, and nobody else does.

use nself_plugin_api::{manifest::Role, uuid::Uuid};
use nself_plugin_testkit::TestHost;
use serde_json::Value;

use crate::started;

async fn entries(host: &TestHost, family: Uuid, count: i32) {
    let sql = "select nself.audit('note.made', 'note/' || n, '{}', $1, 'somebody') from generate_series(1, $2) n";
    let client = host.sql().await;
    client
        .execute(sql, &[&family, &count])
        .await
        .expect("the host audits");
}

async fn page(host: &TestHost, family: Uuid, query: &str) -> Value {
    let path = format!("/v1/audit{query}");
    let answer = host.get(&path).role(Role::Admin, family).send().await;
    answer.expect_status(200).data()
}

fn targets(page: &Value) -> Vec<&str> {
    let entries = page["entries"].as_array().expect("entries");
    entries
        .iter()
        .map(|entry| entry["target"].as_str().expect("a target"))
        .collect()
}

#[tokio::test]
async fn owners_and_admins_read_their_familys_log_page_by_page() {
    let host = started().await;
    let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
    entries(&host, ours, 5).await;
    entries(&host, theirs, 1).await;
    let first = page(&host, ours, "?limit=3").await;
    assert_eq!(targets(&first), ["note/5", "note/4", "note/3"]);
    let rest = page(&host, ours, &format!("?limit=3&before={}", first["next"])).await;
    assert_eq!(
        (targets(&rest), &rest["next"]),
        (vec!["note/2", "note/1"], &Value::Null)
    );
    let one = page(&host, ours, "?action=note.*&target=note/2").await;
    assert_eq!(targets(&one), ["note/2"]);
    assert!(targets(&page(&host, ours, "?actor=nobody").await).is_empty());
    assert!(targets(&page(&host, ours, "?until=2026-01-01T00:00:00Z").await).is_empty());
    assert_eq!(targets(&page(&host, theirs, "").await), ["note/1"]);
    host.stop().await;
}

#[tokio::test]
async fn others_are_refused_and_wrong_questions_are_named() {
    let host = started().await;
    let family = Uuid::now_v7();
    for path in ["/v1/audit", "/v1/audit/export"] {
        assert_eq!(host.get(path).send().await.status, 401);
        for role in [
            Role::AdultMember,
            Role::YouthMember,
            Role::ChildMember,
            Role::Device,
        ] {
            assert_eq!(
                host.get(path).role(role, family).send().await.status,
                403,
                "{path} {role:?}"
            );
        }
        let answer = host
            .get(&format!("{path}?familly=1"))
            .role(Role::Owner, family)
            .send()
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "QUERY_INVALID")
        );
        assert!(answer.text().contains("familly"), "{}", answer.text());
    }
    for query in ["limit=0", "limit=1001", "before=x", "since=yesterday"] {
        let path = format!("/v1/audit?{query}");
        let answer = host.get(&path).role(Role::Owner, family).send().await;
        assert_eq!(answer.code(), "QUERY_INVALID", "{query}");
    }
    host.stop().await;
}

#[tokio::test]
async fn an_export_is_whole_tells_of_itself_and_can_be_proved() {
    let host = started().await;
    let family = Uuid::now_v7();
    entries(&host, family, 2_000).await;
    let answer = host
        .get("/v1/audit/export")
        .role(Role::Owner, family)
        .send()
        .await
        .expect_status(200);
    let text = answer.text();
    assert_eq!(text.lines().count(), 2_001);
    let last: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!(last["action"], "audit.exported");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("audit.jsonl");
    std::fs::write(&file, text).expect("a file");
    let proof = nself::audit::archive::prove(&host.sql().await, &file)
        .await
        .expect("a proof");
    assert_eq!(
        (proof.entries, proof.streams, proof.broken),
        (2_001, 1, vec![])
    );
    host.stop().await;
}
