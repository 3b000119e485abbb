//! `/auth/admin/providers`: what has to be registered at other places, and who uses them.

use nself_plugin_api::prelude::*;
use serde::Serialize;

use crate::{
    Auth,
    provider::{Protocol, Provider},
    routes::Private,
    store::identities,
};

/// A place as it is configured, without its secret.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Configured {
    /// Its name in addresses.
    pub id: String,
    /// Its name for people.
    pub label: String,
    /// `openid` for OpenID Connect, `oauth` for OAuth 2.0 with ways of its own.
    pub protocol: &'static str,
    /// What stands for the place in identities.
    pub issuer: String,
    /// What this installation is called there.
    pub client_id: String,
    /// What is asked for, words parted by spaces.
    pub scopes: String,
    /// Whether an address that it calls verified leads into the account that has it.
    pub trusts_email: bool,
    /// What has to be registered there as the address that people come back to: for the house's own apps and pages, and for
    /// apps written for Nhost.
    pub callback_urls: Vec<String>,
    /// People who have linked it.
    pub people: i64,
}

pub(crate) async fn list(cx: Cx<Auth>) -> Result<Private<Data<Vec<Configured>>>> {
    let people = identities::by_issuer(&cx.db()).await?;
    let root = cx.plugin().config.public_url.trim_end_matches('/');
    let configured = |provider: &Provider| {
        let slug = &provider.slug;
        let (protocol, issuer) = match &provider.protocol {
            Protocol::OpenId { issuer, .. } => ("openid", issuer),
            Protocol::OAuth(oauth) => ("oauth", &oauth.issuer),
        };
        Configured {
            protocol,
            issuer: issuer.clone(),
            id: slug.clone(),
            label: provider.label.clone(),
            client_id: provider.client_id.clone(),
            scopes: provider.scopes.clone(),
            trusts_email: provider.trusts_email,
            callback_urls: vec![
                format!("{root}/auth/oauth/{slug}/callback"),
                format!("{root}/signin/provider/{slug}/callback"),
            ],
            people: people.get(issuer).copied().unwrap_or_default(),
        }
    };
    let all = cx.plugin().providers.all().map(configured).collect();
    Ok(Private(Data(all)))
}
