//! The buttons of our own sign-in page: the whole way in a browser.

use super::at_home;
use crate::browser::run;

#[tokio::test]
async fn a_button_leads_elsewhere_and_back_to_what_was_wanted_or_says_that_it_did_not() {
    let (stage, place, home) = at_home("").await;
    let variables = [("BASE_URL", home), ("PLACE", place.issuer.clone())];
    run("provider.mjs", variables).await;
    stage.host.stop().await;
}
