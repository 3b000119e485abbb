//! SMTP out: the way to the configured server, and what its answers mean for a mail.

mod content;
mod dialogue;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod pool;
mod reply;

use std::{fs, iter, time::Instant};

use lettre::Message;
use nself_plugin_api::{
    capability::connect::{Connector, Outgoing, Tls},
    futures_util::future::join_all,
    prelude::*,
    tracing::error,
};

use self::{
    dialogue::{Dialogue, Failure, Limits, Login, Opening},
    pool::Pool,
};
use super::Outcome;
use crate::{
    Mail,
    config::{Delivery, PASSWORD, Protection, Settings, refused},
};

/// Longest reason that is kept, characters.
const REASON_CHARS_MAX: usize = 500;

/// Replies of a server that does not like how we log in: our fault, not the mail's (RFC 4954, 6).
const LOGIN_CODES: [u16; 5] = [454, 530, 534, 535, 538];

/// The way to the SMTP server.
pub(crate) struct Smtp {
    host: String,
    /// Where certificates are trusted besides the system's.
    connector: Option<Connector>,
    pool: Pool,
}

impl Smtp {
    /// The way that the configuration describes, if mails go out at all.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be read.
    pub(crate) async fn of(context: &Context, settings: &Settings) -> Result<Option<Self>> {
        let config = &settings.config;
        let (Delivery::Smtp, Some(host)) = (settings.delivery, &config.smtp_host) else {
            return Ok(None);
        };
        let connector = match &config.smtp_tls_ca_file {
            Some(file) if config.smtp_tls != Protection::None => {
                Some(trusting(context, file).await?)
            }
            _ => None,
        };
        Ok(Some(Self {
            host: host.clone(),
            connector,
            pool: Pool::new(usize::try_from(config.deliveries_at_once).unwrap_or(1)),
        }))
    }

    /// Sends a mail.
    pub(crate) async fn send(&self, cx: &Cx<Mail>, message: &Message) -> Outcome {
        let Err(failure) = self.hand_over(cx, message).await else {
            return Outcome::Delivered;
        };
        let code = failure.code();
        if code.is_some_and(|code| LOGIN_CODES.contains(&code)) {
            error!(
                code,
                "the SMTP server does not take the login: look at smtp_user and the secret smtp-password"
            );
        }
        classify(code, &shortened(&failure.to_string()))
    }

    /// Takes leave of the server where nothing was to send for a while.
    pub(crate) async fn rest(&self) {
        let old = self.pool.take_old();
        join_all(old.into_iter().map(Dialogue::quit)).await;
    }

    /// Takes leave of the server.
    pub(crate) async fn close(&self) {
        let resting = iter::from_fn(|| self.pool.take());
        join_all(resting.map(Dialogue::quit)).await;
    }

    async fn hand_over(&self, cx: &Cx<Mail>, message: &Message) -> Result<(), Failure> {
        let settings = &cx.plugin().settings;
        let limits = Limits {
            step: settings.smtp_timeout(),
            // Whoever takes the mail when the lease ends must not find it being sent.
            end: Instant::now() + settings.lease().mul_f32(0.9),
        };
        let mut dialogue = self.dialogue(cx, limits).await?;
        let mail = message.formatted();
        match dialogue.send(message.envelope(), &mail).await {
            Ok(()) => self.pool.put(dialogue),
            Err(failure) => {
                // Who said no is told goodbye; with a server that says nothing, or no SMTP, there is nothing to say.
                if failure.code().is_some() {
                    dialogue.quit().await;
                }
                return Err(failure);
            }
        }
        Ok(())
    }

    /// One that rests, or a new one.
    async fn dialogue(&self, cx: &Cx<Mail>, limits: Limits) -> Result<Dialogue, Failure> {
        while let Some(resting) = self.pool.take() {
            if let Some(dialogue) = resting.resume(limits).await {
                return Ok(dialogue);
            }
        }
        let settings = &cx.plugin().settings;
        let config = &settings.config;
        // Read each time: the password may have changed.
        let login = match (&config.smtp_user, password(cx)?) {
            (Some(user), Some(password)) => Some(Login {
                user: user.clone(),
                password,
            }),
            _ => None,
        };
        let opening = Opening {
            hello: settings.from.email.domain().to_owned(),
            is_starttls: config.smtp_tls == Protection::Starttls,
            login,
        };
        let connection = self.connect(cx, limits).await?;
        Dialogue::begin(connection, &opening, limits).await
    }

    async fn connect(&self, cx: &Cx<Mail>, limits: Limits) -> Result<Outgoing> {
        let config = &cx.plugin().settings.config;
        let tls = match config.smtp_tls {
            Protection::Tls => Tls::Yes,
            Protection::None | Protection::Starttls => Tls::No,
        };
        let (host, port) = (&self.host, config.smtp_port);
        match &self.connector {
            Some(connector) => connector.open(host, port, tls, limits.step).await,
            None => cx.connect().open(host, port, tls, limits.step).await,
        }
    }
}

/// One that trusts the certificates of a file, too.
async fn trusting(context: &Context, file: &str) -> Result<Connector> {
    let complain = |reason: &str| refused(&format!("smtp_tls_ca_file: {file}: {reason}"));
    let pem = fs::read(file).map_err(|error| complain(&error.to_string()))?;
    let trusting = context.connect().trusting(pem).await;
    trusting.map_err(|error| match error.code() {
        "EGRESS_CERTIFICATES" => complain(error.cause().unwrap_or_default()),
        _ => error,
    })
}

/// The password, if one is set.
fn password(cx: &Cx<Mail>) -> Result<Option<String>> {
    match cx.secrets().get(PASSWORD) {
        Ok(password) => {
            let password = String::from_utf8_lossy(&password);
            Ok(Some(password.trim_end_matches(['\r', '\n']).to_owned()))
        }
        Err(error) if error.code() == "SECRET_MISSING" => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a failure means for the mail: only a server that says no to it ends it. A server that cannot be reached, offers no TLS
/// or takes no login is a matter of the configuration, which may change before the mail is too old.
fn classify(code: Option<u16>, reason: &str) -> Outcome {
    let reason = reason.to_owned();
    match code {
        Some(code) if LOGIN_CODES.contains(&code) => Outcome::Later { reason },
        Some(500..) => Outcome::Refused {
            no_mailbox: says_no_mailbox(&reason),
            reason,
        },
        _ => Outcome::Later { reason },
    }
}

/// Whether a server's refusal has an enhanced status that speaks of the address (RFC 3463, 3.2 and 3.3). The basic code alone
/// does not tell: servers also say 550 to what they take for spam.
fn says_no_mailbox(reason: &str) -> bool {
    const STATUSES: [&str; 6] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"];
    reason
        .split(|c: char| !(c.is_ascii_digit() || c == '.'))
        .any(|word| STATUSES.contains(&word.trim_end_matches('.')))
}

fn shortened(reason: &str) -> String {
    reason
        .chars()
        .filter(|c| !c.is_control() || *c == ' ')
        .take(REASON_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: Option<u16>, reason: &str, expected: &str) {
        let got = match classify(code, reason) {
            Outcome::Delivered => "delivered",
            Outcome::Later { .. } => "later",
            Outcome::Refused {
                no_mailbox: false, ..
            } => "refused",
            Outcome::Refused {
                no_mailbox: true, ..
            } => "no mailbox",
        };
        assert_eq!(got, expected, "{code:?} {reason}");
    }

    #[test]
    fn a_refusal_is_for_ever_and_everything_else_is_tried_again() {
        check(None, "network error: connection refused", "later");
        check(Some(421), "transient error (421): 4.3.0 busy", "later");
        check(Some(552), "permanent error (552): too large", "refused");
        check(Some(550), "permanent error (550): 5.7.1 spam", "refused");
        check(
            None,
            "internal client error: STARTTLS is not supported",
            "later",
        );
    }

    #[test]
    fn a_login_that_is_not_taken_is_not_the_mails_fault() {
        check(Some(535), "permanent error (535): 5.7.8 no", "later");
        check(Some(530), "permanent error (530): 5.7.0 no", "later");
    }

    #[test]
    fn only_a_missing_mailbox_puts_an_address_on_the_list() {
        check(
            Some(550),
            "permanent error (550): 5.1.1 <a@b>: no",
            "no mailbox",
        );
        check(
            Some(550),
            "permanent error (550): 5.1.10 gone",
            "no mailbox",
        );
        check(
            Some(554),
            "permanent error (554): 5.2.1 disabled",
            "no mailbox",
        );
        check(Some(550), "permanent error (550): no such user", "refused");
        check(Some(550), "permanent error (550): 15.1.1", "refused");
    }
}
