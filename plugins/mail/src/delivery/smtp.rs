//! SMTP out, by lettre: it blocks, so it runs on the host's blocking threads.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use lettre::{
    Message, SmtpTransport, Transport,
    transport::smtp::{
        PoolConfig,
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
        extension::ClientId,
    },
};
use nself_plugin_api::{prelude::*, tracing::error};

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
    tls: Tls,
    /// Made at the first mail, and again after the server did not take the login: the password may have changed.
    transport: Mutex<Option<SmtpTransport>>,
}

impl Smtp {
    /// The way that the configuration describes, if mails go out at all.
    ///
    /// # Errors
    ///
    /// When the certificates cannot be read.
    pub(crate) fn of(settings: &Settings) -> Result<Option<Self>> {
        let (Delivery::Smtp, Some(host)) = (settings.delivery, &settings.config.smtp_host) else {
            return Ok(None);
        };
        let tls = match settings.config.smtp_tls {
            Protection::None => Tls::None,
            Protection::Starttls => Tls::Required(parameters(host, settings)?),
            Protection::Tls => Tls::Wrapper(parameters(host, settings)?),
        };
        Ok(Some(Self {
            host: host.clone(),
            tls,
            transport: Mutex::default(),
        }))
    }

    /// Sends a mail.
    ///
    /// # Errors
    ///
    /// When there is no thread for it, or no reading of the secret.
    pub(crate) async fn send(&self, cx: &Cx<Mail>, message: Message) -> Result<Outcome> {
        let transport = self.transport(cx)?;
        let sent = cx
            .tasks()
            .blocking(move || transport.send(&message))
            .await?;
        let Err(failure) = sent else {
            return Ok(Outcome::Delivered);
        };
        let code = failure.status().map(u16::from);
        if code.is_some_and(|code| LOGIN_CODES.contains(&code)) {
            self.forget();
            error!(
                code,
                "the SMTP server does not take the login: look at smtp_user and the secret smtp-password"
            );
        }
        Ok(classify(code, &shortened(&failure.to_string())))
    }

    fn transport(&self, cx: &Cx<Mail>) -> Result<SmtpTransport> {
        let mut transport = self.lock();
        if let Some(transport) = &*transport {
            return Ok(transport.clone());
        }
        let built = self.build(&cx.plugin().settings, password(cx)?);
        *transport = Some(built.clone());
        Ok(built)
    }

    fn build(&self, settings: &Settings, password: Option<String>) -> SmtpTransport {
        let config = &settings.config;
        let domain = settings.from.email.domain().to_owned();
        let mut builder = SmtpTransport::builder_dangerous(&self.host)
            .port(config.smtp_port)
            .tls(self.tls.clone())
            .hello_name(ClientId::Domain(domain))
            .timeout(Some(settings.smtp_timeout()))
            .pool_config(PoolConfig::new().max_size(config.deliveries_at_once));
        if let (Some(user), Some(password)) = (&config.smtp_user, password) {
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        builder.build()
    }

    fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<SmtpTransport>> {
        self.transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
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

fn parameters(host: &str, settings: &Settings) -> Result<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = &settings.config.smtp_tls_ca_file {
        let complain = |reason: &dyn std::fmt::Display| {
            refused(&format!("smtp_tls_ca_file: {file}: {reason}"))
        };
        let pem = fs::read(file).map_err(|error| complain(&error))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| complain(&error))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(Error::internal)
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
