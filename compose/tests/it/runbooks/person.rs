//! Somebody with an account.

use serde_json::{Value, json};

use crate::household::{Household, Reply, text};

pub(super) const EMAIL: &str = "ada@example.org";
/// A header that says nothing of who asks.
const ANYBODY: &str = "accept: application/json";
const PASSWORD: &str = "correct horse battery staple";

/// Settings with which one is signed in as soon as one registers.
pub(super) const OPEN: &str =
    "[plugins.mail.listen]\n1025 = 0\n[plugins.auth.config]\nsign_up = \"open\"\n";

/// What signing in gives.
pub(super) struct Person(Value);

impl Person {
    pub(super) fn registers(household: &Household) -> Self {
        let body = json!({"email": EMAIL, "password": PASSWORD, "display_name": "Ada"});
        Self(household.posts("/auth/register", ANYBODY, &body).data())
    }

    pub(super) fn signs_in(household: &Household) -> Self {
        Self(tries(household, PASSWORD).data())
    }

    /// Goes on with the token that renews.
    pub(super) fn renews(&self, household: &Household, family: Option<&str>) -> Reply {
        let body = json!({"refresh_token": text(&self.0, "/refresh_token"), "family_id": family});
        household.posts("/auth/refresh", ANYBODY, &body)
    }

    /// Makes a family and acts in it; its id.
    pub(super) fn makes_a_family(self, household: &Household) -> (Self, String) {
        let made = household.posts("/auth/families", &self.header(), &json!({"name": "Home"}));
        let family = text(&made.data(), "/id");
        let acting = Self(self.renews(household, Some(&family)).data());
        (acting, family)
    }

    pub(super) fn header(&self) -> String {
        format!("authorization: Bearer {}", self.token())
    }

    pub(super) fn token(&self) -> String {
        text(&self.0, "/access_token")
    }

    pub(super) fn id(&self) -> String {
        text(&self.0, "/user/id")
    }

    /// The name of the key that has signed the token.
    pub(super) fn signed_by(&self) -> String {
        jsonwebtoken::decode_header(self.token())
            .expect("a token")
            .kid
            .expect("a key's name")
    }

    /// Whether the host still takes the token.
    pub(super) fn is_known(&self, household: &Household) -> bool {
        let header = self.header();
        let asked = household.asks("/auth/sessions", &["--header", &header]);
        asked.expect("an answer").status == 200
    }
}

/// Somebody signs in with that password.
pub(super) fn tries(household: &Household, password: &str) -> Reply {
    let body = json!({"email": EMAIL, "password": password});
    household.posts("/auth/login", ANYBODY, &body)
}
