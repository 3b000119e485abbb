//! `/auth/providers` and `/auth/oauth`: signing in with another place.
//!
//! Three parties take part, and each shows a secret of its own. The place sees the hash of a secret that only this host
//! knows (PKCE), so a stolen code of theirs is worth nothing. The browser keeps a cookie, so an answer that somebody else
//! began is not taken. The app knows the secret whose hash it sent along, so our own code is worth nothing to anybody else.
//! Tokens never stand in an address.

pub(crate) mod answer;
pub(crate) mod flow;

use nself_plugin_api::{http::HeaderMap, prelude::*, schema::Shape, serde_json, tracing::warn};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::{
    answer::{see_other, with_cookie},
    flow::{Flow, Goal},
};
use super::Private;
use crate::{
    Auth,
    caller::Caller,
    linking::{self, Owner},
    newcomer::Newcomer,
    one_time::{self, Purpose, Subject},
    problem,
    proof::{First, SecondFactor, SignedIn, after_first_factor},
    provider::{Profile, Provider, authorization, user_field},
    redirect,
    session::Tokens,
    store::{accounts, identities, identities::Identity},
    throttle::{self, Action},
};

pub(crate) use self::flow::{Aim, Ticket};

/// How signing in elsewhere is told from other ways.
const METHOD: &str = "fed";

/// Whether browsers reach this installation by TLS.
pub(crate) fn is_secure(cx: &Cx<Auth>) -> bool {
    cx.plugin().config.public_url.starts_with("https://")
}

/// A place that people may sign in with.
#[derive(Serialize, Schema)]
pub(crate) struct Shown {
    /// Its name in addresses.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// Where signing in begins; takes `redirect_to`, `code_challenge` and `state`.
    pub start_url: String,
}

pub(crate) async fn list(cx: Cx<Auth>) -> Result<Data<Vec<Shown>>> {
    let root = cx.plugin().config.public_url.trim_end_matches('/');
    let shown = |provider: &Provider| Shown {
        id: provider.slug.clone(),
        label: provider.label.clone(),
        start_url: format!("{root}/auth/oauth/{}/start", provider.slug),
    };
    Ok(Data(cx.plugin().providers.all().map(shown).collect()))
}

/// How signing in is to end.
#[derive(Deserialize, Schema)]
pub(crate) struct Start {
    /// Where the browser goes at the end, with a code or an error: listed in `redirect_urls`, or a path of this
    /// installation.
    #[schema(max_length = 2000)]
    pub redirect_to: Option<String>,
    /// S256 of a secret of the app's own (RFC 7636); the secret is shown when the code is exchanged.
    #[schema(max_length = 43)]
    pub code_challenge: Option<String>,
    /// `S256`, which is also meant without it.
    pub code_challenge_method: Option<String>,
    /// Given back unread.
    #[schema(max_length = 500)]
    pub state: Option<String>,
    /// The ticket of a linking, in place of the others.
    #[schema(max_length = 200)]
    pub link: Option<String>,
}

pub(crate) async fn start(
    cx: Cx<Auth>,
    caller: Caller,
    Path(slug): Path<String>,
    Query(start): Query<Start>,
) -> Result<Response> {
    throttle::address(&cx, Action::SignIn, &caller).await?;
    let provider = cx.plugin().providers.find(&slug)?;
    let aim = match &start.link {
        Some(ticket) => Aim::of_ticket(&cx, provider, ticket).await?,
        None => Aim::of_query(&cx, &start)?,
    };
    let (redirect_to, state) = (aim.redirect_to.clone(), aim.state.clone());
    match begin(&cx, provider, aim).await {
        Ok((flow, address)) => {
            let browser = Some(&*flow.browser);
            with_cookie(see_other(&address)?, &flow.state, browser, is_secure(&cx))
        }
        Err(error) => see_other(&refused(provider, &redirect_to, state.as_deref(), &error)?),
    }
}

/// A new flow, and where the browser is sent.
pub(crate) async fn begin<G: Goal>(
    cx: &Cx<Auth>,
    provider: &Provider,
    goal: G,
) -> Result<(Flow<G>, String)> {
    let flow = Flow::begin(cx, provider, goal).await?;
    let address = flow.address(cx, provider).await?;
    Ok((flow, address))
}

/// Where the browser goes when nobody was signed in. The page learns the code, the log the reason.
fn refused(
    provider: &Provider,
    redirect_to: &str,
    state: Option<&str>,
    error: &Error,
) -> Result<String> {
    note(provider, error);
    answered(redirect_to, ("error", error.code()), state)
}

pub(crate) fn note(provider: &Provider, error: &Error) {
    let (code, cause) = (error.code(), error.cause().unwrap_or_default());
    warn!(
        provider = provider.slug,
        code, cause, "nobody was signed in by another place"
    );
}

fn answered(redirect_to: &str, result: (&str, &str), state: Option<&str>) -> Result<String> {
    let told: Vec<_> = std::iter::once(result)
        .chain(state.map(|state| ("state", state)))
        .collect();
    redirect::with(redirect_to, &told)
}

/// What a place answers (RFC 6749, section 4.1.2; RFC 9207). More may stand there, and is not read.
#[derive(Deserialize, Serialize, Schema)]
pub(crate) struct Callback {
    /// Names the flow.
    #[schema(max_length = 200)]
    pub state: Option<String>,
    /// What is exchanged for tokens.
    #[schema(max_length = 4096)]
    pub code: Option<String>,
    /// The issuer.
    #[schema(max_length = 500)]
    pub iss: Option<String>,
    /// Why there is no code.
    #[schema(max_length = 500)]
    pub error: Option<String>,
    /// Apple: who somebody is, the first time; JSON in its form, sealed in our address.
    #[schema(max_length = 4096)]
    pub user: Option<String>,
}

pub(crate) async fn callback(
    cx: Cx<Auth>,
    caller: Caller,
    headers: HeaderMap,
    Path(slug): Path<String>,
    Query(callback): Query<Callback>,
) -> Result<Response> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let provider = cx.plugin().providers.find(&slug)?;
    let state = callback.state.as_deref().unwrap_or_default();
    let flow = Flow::<Aim>::resume(&cx, provider, state, &headers).await?;
    let ended = finish(&cx, provider, &flow, &callback, &caller).await;
    let (redirect_to, told) = (&flow.goal.redirect_to, flow.goal.state.as_deref());
    let target = match ended {
        Ok(code) => answered(redirect_to, ("code", &code), told)?,
        Err(error) => refused(provider, redirect_to, told, &error)?,
    };
    with_cookie(see_other(&target)?, state, None, is_secure(&cx))
}

/// Who came back from another place, and for what.
#[derive(Serialize, Deserialize)]
struct Arrival {
    provider: String,
    code_challenge: String,
    profile: Profile,
    is_linking: bool,
    /// The code of the way there.
    begun_by: Option<Uuid>,
}

/// What the place says becomes an account, and the account a code of our own.
async fn finish(
    cx: &Cx<Auth>,
    provider: &Provider,
    flow: &Flow<Aim>,
    callback: &Callback,
    caller: &Caller,
) -> Result<String> {
    let profile = flow.profile(cx, provider, callback).await?;
    let user_id = match flow.goal.link {
        Some(user_id) => user_id,
        None => linking::account_of(cx, provider, &profile, &Newcomer::default(), caller).await?,
    };
    let arrival = Arrival {
        provider: provider.slug.clone(),
        code_challenge: flow.goal.code_challenge.clone(),
        profile,
        is_linking: flow.goal.link.is_some(),
        begun_by: flow.begun_by,
    };
    let target = Uuid::now_v7().to_string();
    let subject = Subject {
        purpose: Purpose::ProviderCode,
        target: &target,
        user_id: Some(user_id),
        payload: serde_json::to_value(&arrival).map_err(Error::internal)?,
    };
    let code = one_time::link(cx, &cx.db(), subject).await?;
    code.ok_or_else(problem::bad_code)
}

/// A place that answers by a form posts it from its own page, and the browser sends no cookie of ours along with that. So
/// the browser is asked to come again by itself.
pub(crate) async fn callback_form(
    cx: Cx<Auth>,
    Path(slug): Path<String>,
    Body(body): Body,
) -> Result<Response> {
    come_again::<Aim>(&cx, &slug, &body)
}

pub(crate) fn come_again<G: Goal>(cx: &Cx<Auth>, slug: &str, form: &[u8]) -> Result<Response> {
    let provider = cx.plugin().providers.find(slug)?;
    let mut callback: Callback = serde_urlencoded::from_bytes(form)
        .map_err(|_| Error::bad_request("BODY_INVALID", "body: expected a form"))?;
    let field = callback.user.take();
    let field = field.filter(|_| provider.names_beside_the_code());
    if let (Some(state), Some(field)) = (&callback.state, field) {
        callback.user = user_field::seal(cx, &field, state)?;
    }
    let query = serde_urlencoded::to_string(&callback).map_err(Error::internal)?;
    let address = flow::callback::<G>(cx, provider);
    see_other(&format!("{address}?{query}"))
}

/// A code that a browser has brought.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    /// As it stands in the address.
    #[schema(max_length = 200)]
    pub code: String,
    /// The secret whose S256 was sent at the start.
    #[schema(max_length = 128)]
    pub code_verifier: String,
    /// The family to act in; the last one without it.
    pub family_id: Option<Uuid>,
}

/// What a code is good for.
pub(crate) enum Exchanged {
    SignedIn(SignedIn),
    Linked(Identity),
}

impl Respond for Exchanged {
    const SHAPE: Option<&'static Shape> = Some(&Shape::OneOf(&[
        &Tokens::SHAPE,
        &SecondFactor::SHAPE,
        &Identity::SHAPE,
    ]));
    const KIND: &'static str = "json";

    fn respond(self) -> Result<Response> {
        match self {
            Self::SignedIn(signed_in) => signed_in.respond(),
            Self::Linked(identity) => Data(identity).respond(),
        }
    }
}

pub(crate) async fn exchange(
    cx: Cx<Auth>,
    caller: Caller,
    principal: Option<Principal>,
    Json(exchange): Json<Exchange>,
) -> Result<Private<Exchanged>> {
    throttle::address(&cx, Action::Code, &caller).await?;
    let transaction = cx.db().begin().await?;
    let (transaction, used) =
        one_time::use_link(&cx, transaction, Purpose::ProviderCode, &exchange.code).await?;
    // Used up, whatever comes next: who shows a wrong secret has stolen the code.
    transaction.commit().await?;
    let user_id = used.user_id.ok_or_else(problem::bad_code)?;
    let arrival: Arrival = serde_json::from_value(used.payload).map_err(Error::internal)?;
    flow::check_verifier(&exchange.code_verifier, &arrival.code_challenge)?;
    if arrival.is_linking {
        let owner = owner(principal).filter(|owner| owner.user_id == user_id);
        let owner = owner.ok_or_else(problem::bad_code)?;
        let provider = cx.plugin().providers.find(&arrival.provider)?;
        let linked = linking::link(&cx, provider, &arrival.profile, owner, &caller).await?;
        return Ok(Private(Exchanged::Linked(linked)));
    }
    // Unlinked meanwhile, or taken from an account whose owner has come: then the code is nobody's.
    identities::find(&cx.db(), &arrival.profile, user_id)
        .await?
        .ok_or_else(problem::bad_code)?;
    let (begun_by, family) = (arrival.begun_by, exchange.family_id);
    let signed_in = sign_in(&cx, user_id, begun_by, family, &caller).await?;
    Ok(Private(Exchanged::SignedIn(signed_in)))
}

fn owner(principal: Option<Principal>) -> Option<Owner> {
    let principal = principal?;
    Some(Owner {
        user_id: principal.user_id?,
        session_id: principal.session_id?,
    })
}

/// Signs in who has come from another place.
pub(crate) async fn sign_in(
    cx: &Cx<Auth>,
    user_id: Uuid,
    begun_by: Option<Uuid>,
    family: Option<Uuid>,
    caller: &Caller,
) -> Result<SignedIn> {
    let account = accounts::find_by_id(&cx.db(), user_id)
        .await?
        .ok_or_else(problem::bad_credentials)?;
    let first = First {
        method: METHOD,
        begun_by,
    };
    after_first_factor(cx, &account, first, family, caller).await
}

/// What the system of a phone gave to an app.
#[derive(Deserialize, Schema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppProof {
    /// The token.
    #[schema(max_length = 16384)]
    pub id_token: String,
    /// What the app asked the system with, or what it gave the system the SHA-256 of.
    #[schema(min_length = 8, max_length = 200)]
    pub nonce: String,
    /// The family to act in; the last one without it.
    pub family_id: Option<Uuid>,
}

pub(crate) async fn id_token(
    cx: Cx<Auth>,
    caller: Caller,
    Path(slug): Path<String>,
    Json(shown): Json<AppProof>,
) -> Result<Private<SignedIn>> {
    throttle::address(&cx, Action::SignIn, &caller).await?;
    let provider = cx.plugin().providers.find(&slug)?;
    let (token, nonce) = (&shown.id_token, &shown.nonce);
    let profile = authorization::accept_id_token(&cx, provider, token, nonce).await?;
    let newcomer = Newcomer::default();
    let user_id = linking::account_of(&cx, provider, &profile, &newcomer, &caller).await?;
    Ok(Private(
        sign_in(&cx, user_id, None, shown.family_id, &caller).await?,
    ))
}
