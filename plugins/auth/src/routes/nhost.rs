//! The surface of Nhost's hasura-auth, at the root: apps written for it sign in here unchanged.
//!
//! The same engine as under `/auth`, in other words: each handler reads hasura-auth's request, calls what the house's own
//! route calls, and answers in hasura-auth's shapes. Where the house is stricter, it stays so: an address that is taken is
//! not told unless sign-up is open, roles come from families alone, and a new password needs a proof of minutes ago.

pub(crate) mod id_token;
pub(crate) mod mfa;
pub(crate) mod provider;
pub(crate) mod sign_in;
pub(crate) mod sign_up;
pub(crate) mod tokens;
pub(crate) mod user;
pub(crate) mod verify;
pub(crate) mod webauthn;
mod words;

use std::future::Future;

use nself_plugin_api::{
    extract::{Extract, Request, misfit},
    http::{HeaderValue, header::CACHE_CONTROL},
    jiff::Timestamp,
    prelude::*,
    schema::Shape,
    serde_json::{self, Map, Value},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use self::words::refusal;
use super::providers::flow::check_challenge;
use crate::{
    Auth, account,
    landing::{self, Landing},
    newcomer::Newcomer,
    proof::SignedIn,
    registration::Applicant,
    session::Tokens,
    store::accounts,
};

/// A body, or what is wrong with it: that is told in hasura-auth's words, too. Nothing sent counts as nothing said.
pub(crate) struct Sent<T>(Result<T>);

impl<T: DeserializeOwned + Schema + Send> Extract for Sent<T> {
    const BODY: Option<&'static Shape> = Some(&T::SHAPE);

    async fn extract(request: &mut Request) -> Result<Self> {
        let is_json = request
            .header("content-type")
            .is_some_and(|kind| kind.to_ascii_lowercase().starts_with("application/json"));
        let Body(bytes) = Body::extract(request).await?;
        if !is_json && !bytes.is_empty() {
            let message = "the body must be sent as application/json";
            return Ok(Self(Err(Error::new(415, "CONTENT_TYPE", message))));
        }
        let text = if bytes.is_empty() { b"{}" } else { &bytes[..] };
        let read = serde_json::from_slice(text);
        Ok(Self(read.map_err(|error| misfit(&error))))
    }
}

/// An answer in hasura-auth's shapes.
pub(crate) struct Answer<T>(Result<T>);

impl<T: Serialize + Schema> Respond for Answer<T> {
    const SHAPE: Option<&'static Shape> = Some(&T::SHAPE);
    const KIND: &'static str = "raw";

    fn respond(self) -> Result<Response> {
        let answer = match self.0 {
            Ok(body) => Json(body).respond()?,
            Err(error) => refusal(&error),
        };
        Ok(answer.header(CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }
}

/// Runs a handler's work. Its errors are answers, not the host's problems: those have another shape.
pub(crate) async fn answer<T>(work: impl Future<Output = Result<T>>) -> Result<Answer<T>> {
    Ok(Answer(work.await))
}

/// How the ticket of a sign-in that waits for its second factor begins.
pub(crate) const TICKET: &str = "mfaTotp:";

/// hasura-auth's word for "done".
pub(crate) const OK: &str = "OK";

/// What an app says of a person who signs up, and of where its mails lead.
#[derive(Default, Deserialize, Schema)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Options {
    /// As others will see the person.
    pub display_name: Option<String>,
    /// Language tag.
    pub locale: Option<String>,
    /// What the app keeps of the person.
    pub metadata: Option<Map<String, Value>>,
    /// Where a link in a mail leads at last: exactly an address of `redirect_urls`.
    pub redirect_to: Option<String>,
    /// Only `user`: roles come from families.
    pub allowed_roles: Option<Vec<String>>,
    /// Only `user`.
    pub default_role: Option<String>,
}

impl Options {
    /// Nobody chooses roles: an app that asks for another one than everybody's is told so.
    pub(crate) fn check_roles(&self) -> Result<()> {
        let mut roles = self.allowed_roles.iter().flatten();
        let mut default = self.default_role.iter();
        if roles.any(|role| role != "user" && role != "me") || default.any(|role| role != "user") {
            return Err(Error::bad_request(
                "ROLE_NOT_ALLOWED",
                "Role not allowed: roles come from families here",
            ));
        }
        Ok(())
    }

    /// Who wants an account, with what is said of them.
    pub(crate) fn applicant<'a>(
        &'a self,
        email: &'a str,
        password: Option<&'a str>,
    ) -> Applicant<'a> {
        Applicant {
            email,
            password,
            display_name: self.display_name.as_deref().unwrap_or_default(),
            locale: self.locale.as_deref(),
            profile: self.metadata.clone().unwrap_or_default(),
            invitation: None,
        }
    }

    /// What is said of somebody who has no account yet.
    pub(crate) fn newcomer(&self) -> Result<Newcomer> {
        let (name, locale) = (self.display_name.as_deref(), self.locale.as_deref());
        Newcomer::new(name, locale, self.metadata.clone())
    }

    /// Whether all is good, also where nothing of it is used: an answer that looked at it for new addresses alone would tell
    /// which are new.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_roles()?;
        self.newcomer().map(drop)
    }
}

/// Where the link in a mail that a request asks for leads.
pub(crate) fn landing<'a>(
    cx: &'a Cx<Auth>,
    redirect_to: Option<&str>,
    code_challenge: Option<&'a str>,
) -> Result<Landing<'a>> {
    if let Some(challenge) = code_challenge {
        check_challenge(challenge)?;
    }
    Ok(Landing::Verify {
        redirect_to: landing::allowed(cx, redirect_to)?,
        code_challenge,
    })
}

/// A person in hasura-auth's shape.
#[derive(Debug, Serialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    /// Stays for good.
    pub id: Uuid,
    /// When the account was made.
    pub created_at: Timestamp,
    /// As others see the person.
    pub display_name: String,
    /// A picture; empty for none.
    pub avatar_url: String,
    /// Language tag.
    pub locale: String,
    /// The address.
    pub email: Option<String>,
    /// Has no address yet.
    pub is_anonymous: bool,
    /// The role in the active family; `user` without one.
    pub default_role: String,
    /// The roles that a request may act in.
    pub roles: Vec<String>,
    /// What apps keep of the person.
    pub metadata: Value,
    /// Whether the address was proved.
    pub email_verified: bool,
    /// Always null.
    pub phone_number: Option<String>,
    /// Always false.
    pub phone_number_verified: bool,
    /// `totp`, or null.
    pub active_mfa_type: Option<&'static str>,
}

pub(crate) async fn user(cx: &Cx<Auth>, user: account::User, role: Option<&str>) -> Result<User> {
    let (metadata, has_totp) = accounts::profile(&cx.db(), user.id).await?;
    let everybody = "user".to_owned();
    Ok(User {
        id: user.id,
        created_at: user.created_at,
        display_name: user.display_name,
        avatar_url: user.avatar_url.unwrap_or_default(),
        locale: user.locale,
        email: user.email,
        is_anonymous: user.is_anonymous,
        default_role: role.map_or_else(|| everybody.clone(), str::to_owned),
        roles: role
            .map(str::to_owned)
            .into_iter()
            .chain([everybody])
            .collect(),
        metadata,
        email_verified: user.is_email_verified,
        phone_number: None,
        phone_number_verified: false,
        active_mfa_type: has_totp.then_some("totp"),
    })
}

/// What a signed-in app gets.
#[derive(Debug, Serialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    /// For `Authorization: Bearer`.
    pub access_token: String,
    /// Seconds until it ends.
    pub access_token_expires_in: i64,
    /// The session.
    pub refresh_token_id: Uuid,
    /// Gets the next access token.
    pub refresh_token: String,
    /// Who it is; nobody for a machine.
    pub user: Option<User>,
}

pub(crate) async fn session(cx: &Cx<Auth>, tokens: Tokens) -> Result<Session> {
    let user = match tokens.user {
        Some(user) => Some(self::user(cx, user, tokens.role.as_deref()).await?),
        None => None,
    };
    Ok(Session {
        access_token: tokens.access_token,
        access_token_expires_in: tokens.expires_in,
        refresh_token_id: tokens.session_id,
        refresh_token: tokens.refresh_token,
        user,
    })
}

/// A session, or none yet.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct SessionPayload {
    /// Null while a mail or a second factor is awaited.
    pub session: Option<Session>,
    /// The question for a second factor.
    pub mfa: Option<Challenge>,
}

/// The first factor was right; the second is awaited.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Challenge {
    /// Names this sign-in when the second factor is shown.
    pub ticket: String,
}

impl SessionPayload {
    pub(crate) const NONE: Self = Self {
        session: None,
        mfa: None,
    };

    pub(crate) async fn of(cx: &Cx<Auth>, tokens: Tokens) -> Result<Self> {
        Ok(Self {
            session: Some(session(cx, tokens).await?),
            mfa: None,
        })
    }

    pub(crate) async fn signed_in(cx: &Cx<Auth>, signed_in: SignedIn) -> Result<Self> {
        match signed_in {
            SignedIn::Tokens(tokens) => Self::of(cx, *tokens).await,
            SignedIn::SecondFactor(question) => Ok(Self {
                session: None,
                mfa: Some(Challenge {
                    ticket: format!("{TICKET}{}", question.flow_id),
                }),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_chooses_a_role() {
        let options = |roles: &[&str], default: Option<&str>| Options {
            allowed_roles: Some(roles.iter().map(ToString::to_string).collect()),
            default_role: default.map(str::to_owned),
            ..Options::default()
        };
        assert!(options(&["user"], Some("user")).check_roles().is_ok());
        assert!(options(&["user", "admin"], None).check_roles().is_err());
        assert!(options(&[], Some("OWNER")).check_roles().is_err());
    }
}
