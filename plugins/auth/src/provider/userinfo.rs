//! Who somebody is: what the userinfo endpoint of an OpenID provider says, and what others have in its place.

use nself_plugin_api::{prelude::*, serde_json::Value};
use serde::Deserialize;

use super::{Dialect, OAuth, Profile, Provider, failed, fetch, id_token::Person};
use crate::{Auth, account};

const SUBJECT_LENGTH_MAX: usize = 255;
pub(super) const NAME_LENGTH_MAX: usize = 200;

#[derive(Deserialize)]
struct UserInfo {
    sub: String,
    #[serde(flatten)]
    person: Person,
}

/// OpenID Connect Core 1.0, section 5.3. Another person's answer is not taken.
pub(super) async fn of_openid(
    cx: &Cx<Auth>,
    provider: &Provider,
    endpoint: &str,
    token: &str,
    subject: &str,
) -> Result<Person> {
    let info: UserInfo = fetch::get(cx, provider, endpoint, Some(token)).await?.value;
    if info.sub == subject {
        Ok(info.person)
    } else {
        Err(failed(provider, "its userinfo is of another person"))
    }
}

/// An address of somebody at GitHub.
#[derive(Deserialize)]
struct GithubEmail {
    email: String,
    primary: bool,
    verified: bool,
}

/// Who somebody is at a place that is no OpenID provider.
pub(super) async fn of_oauth(
    cx: &Cx<Auth>,
    provider: &Provider,
    oauth: &OAuth,
    token: &str,
) -> Result<Profile> {
    let info: Value = fetch::get(cx, provider, &oauth.userinfo, Some(token))
        .await?
        .value;
    let text = |key: &str| info[key].as_str();
    // A number at GitHub, a text elsewhere. Never the name there: that one can be changed and given to somebody else.
    let subject = match &info["id"] {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return Err(failed(provider, "it does not say who somebody is")),
    };
    let (email, is_verified) = match oauth.dialect {
        Dialect::Github => of_github(cx, provider, oauth, token).await?,
        Dialect::Discord => (
            text("email").map(str::to_owned),
            info["verified"].as_bool() == Some(true),
        ),
        // It does not say whether somebody has shown that the address is theirs.
        Dialect::Facebook => (text("email").map(str::to_owned), false),
    };
    let names = ["name", "global_name", "login", "username"];
    let name = names.into_iter().find_map(text).unwrap_or_default();
    made(
        provider,
        &oauth.issuer,
        &subject,
        email.as_deref(),
        is_verified,
        name,
    )
}

/// The address that somebody has chosen as theirs, and whether they have shown it. The profile's own one is for show.
async fn of_github(
    cx: &Cx<Auth>,
    provider: &Provider,
    oauth: &OAuth,
    token: &str,
) -> Result<(Option<String>, bool)> {
    let Some(endpoint) = &oauth.emails else {
        return Ok((None, false));
    };
    let emails: Vec<GithubEmail> = fetch::get(cx, provider, endpoint, Some(token)).await?.value;
    let primary = emails.into_iter().find(|email| email.primary);
    Ok(primary.map_or((None, false), |email| (Some(email.email), email.verified)))
}

/// The profile of who is known to an OpenID provider.
pub(super) fn profile(
    provider: &Provider,
    issuer: &str,
    subject: &str,
    person: &Person,
) -> Result<Profile> {
    let name = person.name.as_deref().unwrap_or_default();
    let (email, is_verified) = (person.email.as_deref(), person.is_email_verified());
    made(provider, issuer, subject, email, is_verified, name)
}

fn made(
    provider: &Provider,
    issuer: &str,
    subject: &str,
    email: Option<&str>,
    is_verified: bool,
    name: &str,
) -> Result<Profile> {
    if subject.is_empty() || subject.len() > SUBJECT_LENGTH_MAX || subject.contains('\0') {
        return Err(failed(provider, "its name for somebody is none"));
    }
    let email = email.and_then(|email| account::email(email).ok());
    let name: String = name.chars().take(NAME_LENGTH_MAX).collect();
    Ok(Profile {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        is_email_verified: is_verified && email.is_some(),
        email,
        name: account::display_name(&name).unwrap_or_default(),
    })
}
