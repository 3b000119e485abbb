//! The keys of `[plugins.mail.config]`, and what follows from them.

use std::{path::PathBuf, time::Duration};

use lettre::message::Mailbox;
use nself_plugin_api::{Error, Result, Schema, tracing::warn};
use serde::{Deserialize, Serialize};

use crate::address;

/// The secret with the password of the SMTP server. Without a value the plugin does not log in.
pub(crate) const PASSWORD: &str = "smtp-password";

/// The server of the configuration, and no other one, is where mails go out.
pub(crate) const SERVER: &str = "{smtp_host}:{smtp_port}";

/// The port of the catcher's SMTP, as MailHog has it.
pub(crate) const CATCHER_PORT: u16 = 1025;

/// The sender of caught mails when none is configured.
const CAUGHT_FROM: &str = "no-reply@localhost.localdomain";

/// Steps of a dialogue with an SMTP server, each of which may take the configured time.
const DIALOGUE_STEPS: u32 = 10;

/// Where mails go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// Into the catcher of this plugin, which shows them.
    Catch,
    /// To an SMTP server.
    Smtp,
}

/// How the connection to the SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum Protection {
    /// Not at all.
    None,
    /// By STARTTLS, which the server must offer.
    Starttls,
    /// From its first byte.
    Tls,
}

/// Whom the catcher answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Schema)]
#[serde(rename_all = "lowercase")]
pub enum OpenTo {
    /// Programs on this machine.
    Loopback,
    /// Also private networks, such as the containers of this machine.
    Private,
    /// Everybody who reaches the port.
    Everybody,
}

/// The plugin's configuration.
#[derive(Debug, Clone, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where mails go: `catch` (the default in development) keeps them in the catcher, `smtp` (the default elsewhere) sends them.
    pub delivery: Option<Delivery>,
    /// Sender of mails that name none, `Name <address>` or an address; needed for `smtp`.
    pub from: Option<String>,
    /// What the product is called in mails.
    pub app_name: String,
    /// Language of mails whose own is not there.
    pub default_language: String,
    /// Directory with templates and messages that replace or add to the built-in ones; read when the plugin starts.
    pub templates_directory: Option<String>,
    /// Name of the SMTP server; needed for `smtp`.
    pub smtp_host: Option<String>,
    /// Port of the SMTP server.
    #[schema(minimum = 1, default = "587")]
    pub smtp_port: u16,
    /// Protection of the connection: `starttls`, `tls` from the first byte, or `none`.
    pub smtp_tls: Protection,
    /// PEM file with certificates that are trusted beside the system's.
    pub smtp_tls_ca_file: Option<String>,
    /// User at the SMTP server; the password is the secret `smtp-password`.
    pub smtp_user: Option<String>,
    /// Seconds that one step of the dialogue with the SMTP server may take.
    #[schema(minimum = 1, maximum = 300)]
    pub smtp_timeout_seconds: u32,
    /// Mails that one replica sends at a time.
    #[schema(minimum = 1, maximum = 4)]
    pub deliveries_at_once: u32,
    /// Attempts after which a mail has failed.
    #[schema(minimum = 1, maximum = 1000)]
    pub attempts_max: u32,
    /// Hours after which a mail that was not delivered has failed.
    #[schema(minimum = 1, maximum = 720)]
    pub age_max_hours: u32,
    /// Seconds before the second attempt; the pause doubles with each further one.
    #[schema(minimum = 1, maximum = 3600)]
    pub retry_first_seconds: u32,
    /// Longest pause between two attempts, seconds.
    #[schema(minimum = 1, maximum = 86400)]
    pub retry_last_seconds: u32,
    /// Seconds after which a mail is sent again whose sender was killed; at least ten times `smtp_timeout_seconds` are used.
    #[schema(minimum = 10, maximum = 3600)]
    pub lease_seconds: u32,
    /// Days that mails are listed after they were sent or have failed. Idempotency keys are known as long.
    #[schema(minimum = 1, maximum = 365)]
    pub keep_finished_days: u32,
    /// Whom the catcher answers: `loopback`, `private` networks too, or `everybody`. It shows passwords' reset links.
    pub catcher_open_to: OpenTo,
    /// Mails that the catcher keeps; the oldest go first.
    #[schema(minimum = 1, maximum = 10000)]
    pub catcher_messages_max: u32,
    /// Largest mail that the catcher takes, bytes.
    #[schema(minimum = 1024, maximum = 52_428_800)]
    pub catcher_message_bytes_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delivery: None,
            from: None,
            app_name: "nself".to_owned(),
            default_language: "en".to_owned(),
            templates_directory: None,
            smtp_host: None,
            smtp_port: 587,
            smtp_tls: Protection::Starttls,
            smtp_tls_ca_file: None,
            smtp_user: None,
            smtp_timeout_seconds: 30,
            deliveries_at_once: 4,
            attempts_max: 20,
            age_max_hours: 48,
            retry_first_seconds: 10,
            retry_last_seconds: 6 * 60 * 60,
            lease_seconds: 300,
            keep_finished_days: 14,
            catcher_open_to: OpenTo::Loopback,
            catcher_messages_max: 500,
            catcher_message_bytes_max: 10 * 1024 * 1024,
        }
    }
}

/// The configuration with everything decided.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub config: Config,
    pub delivery: Delivery,
    pub from: Mailbox,
    pub templates_directory: Option<PathBuf>,
}

impl Settings {
    /// Decides what the configuration leaves open, or says which key is missing.
    pub(crate) fn resolve(config: Config, environment: &str) -> Result<Self> {
        let usual = match environment {
            "development" => Delivery::Catch,
            _ => Delivery::Smtp,
        };
        let delivery = config.delivery.unwrap_or(usual);
        if delivery == Delivery::Catch && usual != Delivery::Catch {
            warn!(
                environment,
                "mails are caught and not sent: see plugins.mail.config.delivery"
            );
        }
        if delivery == Delivery::Smtp && config.smtp_host.is_none() {
            return Err(refused(
                "smtp_host: mails are sent by SMTP, so a server is needed",
            ));
        }
        let from = match (&config.from, delivery) {
            (Some(from), _) => from.as_str(),
            (None, Delivery::Catch) => CAUGHT_FROM,
            (None, Delivery::Smtp) => {
                return Err(refused(
                    "from: mails are sent by SMTP, so a sender is needed",
                ));
            }
        };
        let from = address::parse("from", from).map_err(|error| refused(&error.to_string()))?;
        let templates_directory = config.templates_directory.as_ref().map(PathBuf::from);
        Ok(Self {
            config,
            delivery,
            from,
            templates_directory,
        })
    }

    /// How long a worker owns a mail that it has taken: never less than a slow dialogue with the server takes, or a mail that is
    /// being sent would be sent again.
    pub(crate) fn lease(&self) -> Duration {
        let stated = Duration::from_secs(self.config.lease_seconds.into());
        stated.max(self.smtp_timeout() * DIALOGUE_STEPS)
    }

    /// How long one step of the dialogue with the server may take.
    pub(crate) fn smtp_timeout(&self) -> Duration {
        Duration::from_secs(self.config.smtp_timeout_seconds.into())
    }
}

/// A key of the configuration that cannot be used.
pub(crate) fn refused(what: &str) -> Error {
    Error::invalid("CONFIG_INVALID", format!("plugins.mail.config.{what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_delivery(stated: Option<Delivery>, environment: &str, expected: Delivery) {
        let config = Config {
            delivery: stated,
            from: Some("us@example.org".to_owned()),
            smtp_host: Some("mail.example.org".to_owned()),
            ..Config::default()
        };
        let settings = Settings::resolve(config, environment).expect("nothing is missing");
        assert_eq!(settings.delivery, expected, "{stated:?} in {environment}");
    }

    #[test]
    fn only_development_catches_mails_by_itself() {
        check_delivery(None, "development", Delivery::Catch);
        check_delivery(None, "staging", Delivery::Smtp);
        check_delivery(None, "production", Delivery::Smtp);
        check_delivery(Some(Delivery::Smtp), "development", Delivery::Smtp);
        check_delivery(Some(Delivery::Catch), "staging", Delivery::Catch);
    }

    #[test]
    fn what_smtp_needs_is_named() {
        let complaint = |config| {
            let refused = Settings::resolve(config, "production").expect_err("something lacks");
            refused.message().to_owned()
        };
        let server = Some("mail.example.org".to_owned());
        assert!(complaint(Config::default()).contains("smtp_host"));
        let no_sender = Config {
            smtp_host: server.clone(),
            ..Config::default()
        };
        assert!(complaint(no_sender).contains("from"));
        let bad_sender = Config {
            smtp_host: server,
            from: Some("us".to_owned()),
            ..Config::default()
        };
        assert!(complaint(bad_sender).contains("from"));
    }
}
