//! A change and the mail that tells of it: there are both or neither, wherever the host dies.

use nself_plugin_testkit::eventually;
use serde_json::json;

use super::{dies_while_asked, waits};
use crate::stage::{PASSWORD, Session, Stage};

const ADA: &str = "ada@example.org";
const ANOTHER: &str = "zwetschgenknoedel";
const TOLD: &str = "The password of your account was changed";

async fn stage() -> (Stage, Session) {
    let config = "[plugins.auth.config]\nsign_up = \"open\"";
    let host = Stage::builder(config).program().start().await;
    let stage = Stage { host };
    let ada = stage.person(ADA).await;
    stage.mail(ADA, "/verify-email?token=").await;
    (stage, ada)
}

fn change() -> serde_json::Value {
    json!({"current_password": PASSWORD, "password": ANOTHER})
}

#[tokio::test]
async fn a_change_whose_mail_was_not_asked_for_yet_is_lost_with_its_host() {
    let (mut stage, ada) = stage().await;
    let holder = stage.host.sql().await;
    holder
        .batch_execute("begin; lock table mail.letters in exclusive mode")
        .await
        .expect("the queue is held");
    dies_while_asked(&mut stage, &ada, "/auth/password/change", &change()).await;
    holder.batch_execute("commit").await.expect("it is let go");
    drop(holder);
    stage.host.start_again().await;
    let _ = stage.login(ADA, ANOTHER).await.expect_status(401);
    let _ = stage.login(ADA, PASSWORD).await.expect_status(200);
    let told = stage.mails(ADA).await;
    assert!(!told.iter().any(|mail| mail.contains(TOLD)), "{told:?}");
    stage.host.stop().await;
}

#[tokio::test]
async fn a_change_that_was_made_is_told_though_its_host_dies_before_the_mail_is_written() {
    let (mut stage, ada) = stage().await;
    let holder = stage.host.sql().await;
    // Whoever writes mails waits; whoever asks for them does not.
    holder
        .batch_execute("begin; lock table mail.messages in exclusive mode")
        .await
        .expect("the mails are held");
    let changed = stage
        .post_as(&ada, "/auth/password/change", &change())
        .await;
    let _ = changed.expect_status(200);
    waits(&stage, "mail.messages").await;
    stage.host.kill().await;
    holder.batch_execute("commit").await.expect("it is let go");
    drop(holder);
    stage.host.start_again().await;
    let _ = stage.login(ADA, ANOTHER).await.expect_status(200);
    stage.mail(ADA, TOLD).await;
    let told = stage.mails(ADA).await;
    assert_eq!(told.iter().filter(|mail| mail.contains(TOLD)).count(), 1);
    let sql = stage.host.sql().await;
    eventually("no letter waits", async || {
        let row = sql
            .query_one("select count(*) from mail.letters", &[])
            .await;
        (row.expect("letters are counted").get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    drop(sql);
    stage.host.stop().await;
}
