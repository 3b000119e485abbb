//! Cryptography and secrets: keys stay in the host.

use serde_json::json;

use crate::{KEY, started};

#[tokio::test]
async fn what_is_sealed_opens_only_in_its_own_context() {
    let host = started().await;
    let sealed = host
        .post("/fixture/seal")
        .body("the family's bank account")
        .send()
        .await;
    let expected = json!({"opened": true, "hidden": true, "elsewhere": "SEAL_BROKEN"});
    assert_eq!(sealed.expect_status(200).data(), expected);
    host.stop().await;
}

#[tokio::test]
async fn signatures_verify_and_the_private_key_is_not_handed_out() {
    let host = started().await;
    let expected = ["ES256", "EdDSA"].map(
        |algorithm| json!({"algorithm": algorithm, "right": true, "wrong": false, "private": null}),
    );
    assert_eq!(
        host.get("/fixture/sign")
            .send()
            .await
            .expect_status(200)
            .data(),
        json!(expected)
    );
    host.stop().await;
}

#[tokio::test]
async fn a_password_is_known_again_and_another_is_not() {
    let host = started().await;
    let checked = host
        .post("/fixture/password")
        .json(&json!({"password": "pässword"}))
        .send()
        .await;
    let expected = json!({"argon2id": true, "right": true, "wrong": true});
    assert_eq!(checked.expect_status(200).data(), expected);
    host.stop().await;
}

#[tokio::test]
async fn a_plugin_gets_the_secrets_that_its_manifest_names_and_no_others() {
    let host = started().await;
    let done = host
        .post("/fixture/hmac")
        .body("message")
        .send()
        .await
        .expect_status(200)
        .data();
    assert_eq!(done["secret_bytes"], KEY.len());
    assert_eq!(done["tag"].as_array().map(Vec::len), Some(32));
    assert!(done["not_granted"].is_string(), "{done}");
    assert_eq!(done["random_differs"], true);
    host.stop().await;
}
