//! Families for tests: who is in them is asked in and comes in as people do.

use nself_plugin_testkit::{Answer, eventually};
use serde_json::{Value, json};

use crate::stage::{Session, Stage};

impl Session {
    pub(crate) fn user_id(&self) -> String {
        self.0["user"]["id"].as_str().expect("a person").to_owned()
    }

    /// The session variables that Hasura and the host read.
    pub(crate) fn hasura(&self) -> Value {
        self.claims()["https://hasura.io/jwt/claims"].take()
    }

    pub(crate) fn member_id(&self) -> String {
        let hasura = self.hasura();
        let member = hasura["x-hasura-member-id"].as_str();
        member.expect("a member").to_owned()
    }
}

impl Stage {
    pub(crate) async fn send_as(
        &self,
        session: &Session,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Answer {
        let request = self.host.request(method, path).token(session.access());
        request.json(body).send().await
    }

    /// Acts in a family from now on.
    pub(crate) async fn switch(&self, session: &Session, family: &str) -> Session {
        let body = json!({"refresh_token": session.refresh(), "family_id": family});
        let answer = self.post("/auth/refresh", &body).await;
        Session(answer.expect_status(200).data())
    }

    /// A person who owns a new family and acts in it.
    pub(crate) async fn owner(&self, email: &str) -> (String, Session) {
        let person = self.person(email).await;
        let body = json!({"name": format!("The family of {email}")});
        let made = self.post_as(&person, "/auth/families", &body).await;
        let family = id_of(&made.expect_status(201).data());
        let owner = self.switch(&person, &family).await;
        (family, owner)
    }

    /// The token of a new link into a family.
    pub(crate) async fn link(&self, manager: &Session, family: &str, asked: &Value) -> String {
        let path = format!("/auth/families/{family}/invitations");
        let made = self.post_as(manager, &path, asked).await.expect_status(201);
        let token = made.data()["token"].take();
        token.as_str().expect("a link's token").to_owned()
    }

    pub(crate) async fn accept(&self, session: &Session, token: &str) -> Answer {
        let body = json!({"token": token});
        self.post_as(session, "/auth/invitations/accept", &body)
            .await
    }

    /// A person who has come into a family with that role and acts in it.
    pub(crate) async fn member(
        &self,
        email: &str,
        manager: &Session,
        family: &str,
        role: &str,
    ) -> Session {
        let person = self.person(email).await;
        let token = self.link(manager, family, &json!({"role": role})).await;
        let _ = self.accept(&person, &token).await.expect_status(201);
        self.switch(&person, family).await
    }

    /// A child's account with its membership, made by a guardian.
    pub(crate) async fn child(&self, guardian: &Session, family: &str, name: &str) -> Value {
        let path = format!("/auth/families/{family}/children");
        let made = self
            .post_as(guardian, &path, &json!({"display_name": name}))
            .await;
        made.expect_status(201).data()
    }

    /// A child who has signed in by a guardian's code.
    pub(crate) async fn signed_in_child(
        &self,
        guardian: &Session,
        family: &str,
        child: &Value,
    ) -> Session {
        let code = self
            .child_code(guardian, family, child)
            .await
            .expect_status(201);
        let code = code.data();
        let body = json!({"flow_id": code["flow_id"], "code": code["code"]});
        let answer = self.post("/auth/children/sign-in", &body).await;
        Session(answer.expect_status(200).data())
    }

    pub(crate) async fn child_code(
        &self,
        guardian: &Session,
        family: &str,
        child: &Value,
    ) -> Answer {
        let member = child["id"].as_str().expect("a membership");
        let path = format!("/auth/families/{family}/children/{member}/sign-in-code");
        self.post_as(guardian, &path, &json!({})).await
    }

    /// Waits until a token is answered with that code.
    pub(crate) async fn refused(&self, session: &Session, code: &str) {
        eventually(&format!("a token is answered {code}"), async || {
            let answer = self.get_as(session, "/auth/sessions").send().await;
            // It may be out of date first, and ended a moment later.
            (answer.status == 401 && answer.code() == code).then_some(())
        })
        .await;
    }

    /// How many events of a type, or entries of the audit log with an action, there are of a family.
    pub(crate) async fn told(&self, family: &str, action: &str) -> (i64, i64) {
        let sql = self.host.sql().await;
        let counts = "select (select count(*) from nself.events where type = $1 and family_id::text = $2), \
                      (select count(*) from nself.audit_log where action = $1 and family_id::text = $2)";
        let row = sql
            .query_one(counts, &[&action, &family])
            .await
            .expect("the logs read");
        (row.get(0), row.get(1))
    }
}

pub(crate) fn id_of(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

/// Status and code of an answer.
pub(crate) fn verdict(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}
