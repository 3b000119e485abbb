//! `/signin/provider`: signing in with another place, and linking one, as apps written for Nhost do it.
//!
//! The way there and back is that of `/auth/oauth`, with an address of its own that the place answers to. What differs is the
//! end: hasura-auth's apps take a refresh token from the address that the browser returns to, or, if they have sent the hash
//! of a secret, a code for it.

use nself_plugin_api::{
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CACHE_CONTROL, LOCATION, REFERER, REFERRER_POLICY},
    },
    prelude::*,
    serde_json,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Options, TICKET,
    words::{refusal, words},
};
use crate::{
    Auth,
    caller::Caller,
    landing,
    linking::{self, Owner},
    newcomer::Newcomer,
    one_time::Purpose,
    proof::SignedIn,
    provider::Provider,
    routes::providers::{
        self, Callback,
        answer::with_cookie,
        flow::{Flow, Goal, check_challenge},
        is_secure,
    },
    session_code,
    throttle::{self, Action},
};

/// How signing in is to end, as an address says it.
#[derive(Deserialize, Schema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Start {
    /// Exactly an address of `redirect_urls`; the first of them without it.
    #[schema(max_length = 2000)]
    pub redirect_to: Option<String>,
    /// Given back unread.
    #[schema(max_length = 500)]
    pub state: Option<String>,
    /// S256 of a secret of the app's own: then the browser brings a code for `/token/exchange`.
    #[schema(max_length = 43)]
    pub code_challenge: Option<String>,
    /// An access token of who links the place to their account.
    #[schema(max_length = 8192)]
    pub connect: Option<String>,
    /// As others will see somebody who has no account yet.
    #[schema(max_length = 200)]
    pub display_name: Option<String>,
    /// Language tag.
    #[schema(max_length = 35)]
    pub locale: Option<String>,
    /// What the app keeps of the person, as JSON.
    #[schema(max_length = 8192)]
    pub metadata: Option<String>,
    /// Only `user`: roles come from families. Words parted by commas.
    #[schema(max_length = 500)]
    pub allowed_roles: Option<String>,
    /// Only `user`.
    #[schema(max_length = 100)]
    pub default_role: Option<String>,
}

impl Start {
    fn newcomer(&self) -> Result<Newcomer> {
        let no_object = |_| Error::bad_request("BODY_INVALID", "metadata: expected a JSON object");
        let metadata = self.metadata.as_deref().map(serde_json::from_str);
        let roles = self.allowed_roles.as_deref();
        let options = Options {
            display_name: self.display_name.clone(),
            locale: self.locale.clone(),
            metadata: metadata.transpose().map_err(no_object)?,
            allowed_roles: roles.map(|roles| roles.split(',').map(str::to_owned).collect()),
            default_role: self.default_role.clone(),
            redirect_to: None,
        };
        options.check_roles()?;
        options.newcomer()
    }
}

/// How signing in is to end, as it is kept.
#[derive(Serialize, Deserialize)]
struct Aim {
    redirect_to: String,
    state: Option<String>,
    code_challenge: Option<String>,
    /// Who links the place.
    connect: Option<Owner>,
    newcomer: Newcomer,
}

impl Goal for Aim {
    const PURPOSE: Purpose = Purpose::NhostProviderFlow;
    const PATH: &'static str = "/signin/provider";

    fn owner(&self) -> Option<Uuid> {
        self.connect.map(|owner| owner.user_id)
    }
}

impl Aim {
    async fn new(
        cx: &Cx<Auth>,
        redirect_to: &str,
        start: Start,
        headers: &HeaderMap,
    ) -> Result<Self> {
        let newcomer = start.newcomer()?;
        if let Some(challenge) = &start.code_challenge {
            check_challenge(challenge)?;
        }
        let connect = match &start.connect {
            Some(token) => {
                check_asked_by_app(headers, redirect_to)?;
                Some(Owner::of_token(cx, token).await?)
            }
            None => None,
        };
        Ok(Self {
            redirect_to: redirect_to.to_owned(),
            state: start.state,
            code_challenge: start.code_challenge,
            connect,
            newcomer,
        })
    }

    /// Where the browser goes, with what the app is told.
    fn answered(&self, told: &[(&str, &str)]) -> String {
        returned(&self.redirect_to, self.state.as_deref(), told)
    }
}

pub(crate) async fn start(
    cx: Cx<Auth>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Query(start): Query<Start>,
) -> Result<Response> {
    if let Err(error) = throttle::address(&cx, Action::SignIn, &caller).await {
        return Ok(refusal(&error));
    }
    let redirect_to = match landing::allowed(&cx, start.redirect_to.as_deref()) {
        Ok(redirect_to) => redirect_to.to_owned(),
        Err(error) => return Ok(refusal(&error)),
    };
    let state = start.state.clone();
    match begin(&cx, &slug, &redirect_to, start, &headers).await {
        Ok((flow, address)) => {
            let browser = Some(&*flow.browser);
            with_cookie(found(&address)?, &flow.state, browser, is_secure(&cx))
        }
        Err(error) => {
            let (_, word, sentence) = words(&error);
            let told = [("error", word), ("errorDescription", sentence)];
            found(&returned(&redirect_to, state.as_deref(), &told))
        }
    }
}

async fn begin(
    cx: &Cx<Auth>,
    slug: &str,
    redirect_to: &str,
    start: Start,
    headers: &HeaderMap,
) -> Result<(Flow<Aim>, String)> {
    let provider = cx.plugin().providers.find(slug)?;
    let aim = Aim::new(cx, redirect_to, start, headers).await?;
    let begun = providers::begin(cx, provider, aim).await;
    begun.inspect_err(|error| providers::note(provider, error))
}

/// Whether a browser was sent here by a page of the app that it returns to. A place is linked without another question, and
/// anybody can be talked into opening an address: theirs would link it to somebody else's account.
///
/// # Errors
///
/// `REFERRER_MISSING`.
fn check_asked_by_app(headers: &HeaderMap, redirect_to: &str) -> Result<()> {
    let referrer = headers.get(REFERER).and_then(|value| value.to_str().ok());
    let asking = referrer.and_then(origin);
    if asking.is_some() && asking == origin(redirect_to) {
        return Ok(());
    }
    Err(Error::forbidden(
        "REFERRER_MISSING",
        "a place is linked from a page of the app that the browser returns to, and the browser has to say so",
    ))
}

/// Scheme, host and port of a page.
fn origin(address: &str) -> Option<(String, String)> {
    let uri: Uri = address.parse().ok()?;
    let scheme = uri
        .scheme_str()
        .filter(|scheme| ["http", "https"].contains(scheme))?;
    Some((
        scheme.to_owned(),
        uri.authority()?.as_str().to_ascii_lowercase(),
    ))
}

pub(crate) async fn callback(
    cx: Cx<Auth>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Query(callback): Query<Callback>,
) -> Result<Response> {
    let state = callback.state.as_deref().unwrap_or_default();
    let (provider, flow) = match resume(&cx, &caller, &slug, state, &headers).await {
        Ok(resumed) => resumed,
        Err(error) if error.status() >= 500 => return Err(error),
        // Nobody knows which app it was.
        Err(error) => {
            let (_, word, sentence) = words(&error);
            let told = [("error", word), ("errorDescription", sentence)];
            return found(&landing::with_query(landing::home(&cx), &told));
        }
    };
    let target = match finish(&cx, provider, &flow, &callback, &caller).await {
        Ok(None) => flow.goal.answered(&[]),
        Ok(Some((name, value))) => flow.goal.answered(&[(name, &value)]),
        Err(error) => {
            providers::note(provider, &error);
            let (_, word, sentence) = words(&error);
            let mut told = vec![("error", word), ("errorDescription", sentence)];
            if let Some(error) = &callback.error {
                told.push(("provider_error", error));
            }
            flow.goal.answered(&told)
        }
    };
    with_cookie(found(&target)?, state, None, is_secure(&cx))
}

async fn resume<'a>(
    cx: &'a Cx<Auth>,
    caller: &Caller,
    slug: &str,
    state: &str,
    headers: &HeaderMap,
) -> Result<(&'a Provider, Flow<Aim>)> {
    throttle::address(cx, Action::Code, caller).await?;
    let provider = cx.plugin().providers.find(slug)?;
    Ok((provider, Flow::resume(cx, provider, state, headers).await?))
}

/// What the app is told of who has come back; nothing when a place was linked.
async fn finish(
    cx: &Cx<Auth>,
    provider: &Provider,
    flow: &Flow<Aim>,
    callback: &Callback,
    caller: &Caller,
) -> Result<Option<(&'static str, String)>> {
    let profile = flow.profile(cx, provider, callback).await?;
    let aim = &flow.goal;
    if let Some(owner) = aim.connect {
        linking::link(cx, provider, &profile, owner, caller).await?;
        return Ok(None);
    }
    let user_id = linking::account_of(cx, provider, &profile, &aim.newcomer, caller).await?;
    let signed_in = providers::sign_in(cx, user_id, flow.begun_by, None, caller).await?;
    told(cx, signed_in, aim.code_challenge.as_deref())
        .await
        .map(Some)
}

/// What is said in the address of somebody who is signed in.
pub(super) async fn told(
    cx: &Cx<Auth>,
    signed_in: SignedIn,
    code_challenge: Option<&str>,
) -> Result<(&'static str, String)> {
    Ok(match (signed_in, code_challenge) {
        (SignedIn::SecondFactor(question), _) => {
            ("mfaTicket", format!("{TICKET}{}", question.flow_id))
        }
        (SignedIn::Tokens(tokens), Some(challenge)) => {
            ("code", session_code::make(cx, &tokens, challenge).await?)
        }
        (SignedIn::Tokens(tokens), None) => ("refreshToken", tokens.refresh_token),
    })
}

pub(crate) async fn callback_form(
    cx: Cx<Auth>,
    Path(slug): Path<String>,
    Body(body): Body,
) -> Result<Response> {
    providers::come_again::<Aim>(&cx, &slug, &body)
}

fn returned(redirect_to: &str, state: Option<&str>, told: &[(&str, &str)]) -> String {
    let state = state.map(|state| ("state", state));
    let all: Vec<_> = told.iter().copied().chain(state).collect();
    if all.is_empty() {
        redirect_to.to_owned()
    } else {
        landing::with_query(redirect_to, &all)
    }
}

/// 302, as hasura-auth answers. The address has a secret in it: it goes into no cache, and to no other site.
pub(super) fn found(address: &str) -> Result<Response> {
    let address = HeaderValue::try_from(address).map_err(Error::internal)?;
    Ok(Response::new(StatusCode::FOUND, "")
        .header(LOCATION, address)
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(referrer: Option<&str>, redirect_to: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(referrer) = referrer {
            headers.insert(REFERER, HeaderValue::try_from(referrer).expect("a header"));
        }
        let asked = check_asked_by_app(&headers, redirect_to).is_ok();
        assert_eq!(asked, expected, "{referrer:?} {redirect_to}");
    }

    #[test]
    fn only_a_page_of_the_app_itself_asks_to_link() {
        let app = "https://app.example/linked?a=b";
        check(Some("https://app.example/"), app, true);
        check(Some("https://app.example/settings?x=y"), app, true);
        for other in [
            "https://evil.example/",
            "https://evil.example/https://app.example/",
            "https://app.example.evil.example/",
            "https://app.example@evil.example/",
            "https://app.example:8443/",
            "http://app.example/",
            "app.example",
            "",
        ] {
            check(Some(other), app, false);
        }
        check(None, app, false);
        check(None, "family://auth", false);
        check(Some("family://auth"), "family://auth", false);
    }
}
