//! One certificate: an account, an order, a proof for each name, and what comes of it.

use std::time::Duration;

use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType,
    Error as ProtocolError, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::{
    AcmeSettings,
    client::{Outgoing, RetryAfter},
    error::{AttemptError, is_of_kind},
};
use crate::{
    config::{Secret, secrets::Secrets},
    http::Challenges,
};

/// How often, and for how long, it is asked whether it has looked, and whether it has signed.
const ASKING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// What is asked, and with what.
pub(super) struct Asking<'a> {
    pub(super) settings: &'a AcmeSettings,
    pub(super) secrets: &'a Secrets,
    pub(super) challenges: &'a Challenges,
    pub(super) retry_after: RetryAfter,
}

impl Asking<'_> {
    /// A key and the certificate for it with its issuers', as PEM.
    pub(super) async fn certificate(&self) -> Result<Secret, AttemptError> {
        let identifiers: Vec<Identifier> = self
            .settings
            .domains
            .iter()
            .map(|domain| Identifier::Dns(domain.clone()))
            .collect();
        let wanted = NewOrder::new(&identifiers);
        let mut order = match self.account().await?.new_order(&wanted).await {
            // Authorities for tests forget all when they end.
            Err(ProtocolError::Api(problem)) if is_of_kind(&problem, "accountDoesNotExist") => {
                warn!(
                    "the authority does not know this host's account any more, another one is made"
                );
                self.new_account().await?.new_order(&wanted).await?
            }
            order => order?,
        };
        // Whatever comes of it: nothing is promised any longer then.
        let _promised = Promised(self.challenges);
        self.prove(&mut order).await?;
        match order.poll_ready(&ASKING).await {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => {}
            Ok(_) => return Err(reason(&mut order).await.unwrap_or(AttemptError::Late)),
            Err(error) => return Err(reason(&mut order).await.unwrap_or(error.into())),
        }
        let key = Zeroizing::new(order.finalize().await?);
        let chain = order.poll_certificate(&ASKING).await?;
        Ok(Secret::new(format!("{}{chain}", key.as_str())))
    }

    async fn account(&self) -> Result<Account, AttemptError> {
        let Some(kept) = self.secrets.get(&self.settings.account_name())? else {
            return self.new_account().await;
        };
        let Ok(credentials) = serde_json::from_str::<AccountCredentials>(kept.expose()) else {
            // The cause may quote the key.
            warn!(
                secret = self.settings.account_name(),
                "the kept account with the authority cannot be read, another one is made"
            );
            return self.new_account().await;
        };
        let account = self.builder().await?.from_credentials(credentials).await?;
        Ok(account)
    }

    async fn new_account(&self) -> Result<Account, AttemptError> {
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let directory = self.settings.directory.to_string();
        let created = self.builder().await?.create(&wanted, directory, None);
        let (account, credentials) = created.await?;
        let text = serde_json::to_string(&credentials).map_err(ProtocolError::from)?;
        self.secrets
            .set(&self.settings.account_name(), &Secret::new(text))?;
        info!(
            account = account.id(),
            "this host has an account with the authority"
        );
        Ok(account)
    }

    async fn builder(&self) -> Result<AccountBuilder, AttemptError> {
        let outgoing = Outgoing::new(self.settings, self.retry_after.clone()).await?;
        Ok(Account::builder_with_http(Box::new(outgoing)))
    }

    /// Promises what the authority will look for at each name, and tells it so.
    async fn prove(&self, order: &mut Order) -> Result<(), AttemptError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            // Some are good for a while, and need no proof in that time.
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let domain = authorization.identifier().to_string();
            let challenge = authorization.challenge(ChallengeType::Http01);
            let mut challenge = challenge.ok_or(AttemptError::NoHttp { domain })?;
            let answer = challenge.key_authorization();
            self.challenges.put(&challenge.token, answer.as_str());
            challenge.set_ready().await?;
        }
        Ok(())
    }
}

/// Promises that end.
struct Promised<'a>(&'a Challenges);

impl Drop for Promised<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Why an order has come to nothing: the first of its names for which the authority says something.
async fn reason(order: &mut Order) -> Option<AttemptError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let state = authorization.refresh().await.ok()?;
        let problem = state
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.clone());
        if let Some(problem) = problem {
            let domain = state.identifier().to_string();
            let detail = problem.detail.clone();
            let detail = detail.unwrap_or_else(|| problem.to_string());
            return Some(AttemptError::Challenge { domain, detail });
        }
    }
    None
}
