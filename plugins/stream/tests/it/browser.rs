//! Pages of a real browser.

use nself_plugin_api::{prelude::Role, uuid::Uuid};
use nself_plugin_testkit::{TestHost, chromium, free_port, node_scripts};

use crate::stage::builder;

#[tokio::test(flavor = "multi_thread")]
async fn two_tabs_hear_each_other_and_miss_nothing_through_a_cut() {
    let port = free_port();
    let page = format!("http://localhost:{port}");
    let host = builder()
        .config(&format!("[http]\ncors_origins = [\"{page}\"]"))
        .config(&format!("[plugins.stream.config]\norigins = [\"{page}\"]"))
        .start()
        .await;
    let family = Uuid::now_v7();
    let profile = tempfile::tempdir().expect("there is room for a profile");
    let scripts = node_scripts!("tests/browser").await;
    let mut command = scripts.script("tabs.mjs");
    command
        .env("BASE_URL", format!("http://{}", host.address()))
        .env("PAGE_PORT", port.to_string())
        .env("CHANNEL", format!("family:{family}:chat:kitchen"))
        .env("ADA", host.token(Role::Owner, family))
        .env("BOB", host.token(Role::AdultMember, family))
        .env("KEY", TestHost::OPERATOR_KEY)
        .env("PROFILE", profile.path());
    scripts.run(command.env("CHROMIUM", chromium())).await;
    host.stop().await;
}
