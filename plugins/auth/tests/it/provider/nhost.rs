//! The same places for apps written for Nhost, by its clients of today and of some years ago.

use super::at_home;
use crate::clients::run;

const APP: &str = "http://app.example/signed-in?from=elsewhere";

#[tokio::test]
async fn an_app_written_for_nhost_signs_in_and_links_and_is_told_why_not() {
    let (stage, place, home) = at_home(&format!("redirect_urls = [\"{APP}\"]")).await;
    let variables = [("APP", APP), ("PLACE", &place.issuer), ("HOME", &home)];
    run(&stage, "nhost-providers.mjs", &variables).await;
    stage.host.stop().await;
}
