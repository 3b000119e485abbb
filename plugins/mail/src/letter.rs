//! A mail as another plugin asks for it, and as it goes into the queue.

use lettre::message::Mailbox;
use nself_plugin_api::{
    Result, Schema,
    serde_json::{Map, Value},
    uuid::Uuid,
};
use serde::{Deserialize, Serialize};

use crate::{address, config::Settings, error::MailError, template::Templates};

/// Longest subject, characters. One line of a mail holds 998 octets (RFC 5322, 2.1.1).
const SUBJECT_CHARS_MAX: usize = 200;
/// Longest text and longest HTML, bytes.
const BODY_BYTES_MAX: usize = 512 * 1024;
/// Longest idempotency key, characters.
const KEY_CHARS_MAX: usize = 200;

/// What `send` of `mail.send/1` takes: a template with its variables, or a subject and a text.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Letter {
    /// Who gets it.
    pub to: String,
    /// Name of a template, such as `auth/verify-email`.
    pub template: Option<String>,
    /// Language of the template, such as `de` or `de-AT`.
    pub language: Option<String>,
    /// What the template is filled with.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// Without a template: the subject.
    pub subject: Option<String>,
    /// Without a template: the text.
    pub text: Option<String>,
    /// Without a template: the same as HTML.
    pub html: Option<String>,
    /// A second mail with the same key is not sent.
    pub idempotency_key: Option<String>,
    /// Who sends it, instead of the configured sender.
    pub from: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
}

/// What a mail says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
}

/// A mail that has been checked and rendered.
#[derive(Debug)]
pub(crate) struct NewMessage {
    pub recipient: Mailbox,
    pub sender: Mailbox,
    pub reply_to: Option<Mailbox>,
    pub template: Option<String>,
    pub language: Option<String>,
    pub content: Content,
    pub idempotency_key: Option<String>,
}

/// What became of a mail that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Schema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Taken {
    /// It is on its way.
    Queued,
    /// There was one with this idempotency key.
    Duplicate,
    /// The address gets no mail.
    Suppressed,
}

/// The answer of `send`.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Receipt {
    /// The mail; of a duplicate, the first one.
    pub id: Uuid,
    /// What became of it.
    pub status: Taken,
}

impl Letter {
    /// Checks and renders it.
    ///
    /// # Errors
    ///
    /// [`MailError`] with what the caller has to change.
    pub(crate) fn prepare(self, settings: &Settings, templates: &Templates) -> Result<NewMessage> {
        let recipient = address::parse("to", &self.to)?;
        let sender = match &self.from {
            Some(from) => address::parse("from", from)?,
            None => settings.from.clone(),
        };
        let reply_to = self.reply_to.as_deref();
        let reply_to = reply_to
            .map(|address| address::parse("reply_to", address))
            .transpose()?;
        check_key(self.idempotency_key.as_deref())?;
        let content = match (&self.template, self.subject, self.text) {
            (Some(template), None, None) if self.html.is_none() => {
                let language = self.language.as_deref();
                templates.render(template, language, &self.variables)?
            }
            (None, Some(subject), Some(text)) => Content {
                subject,
                text,
                html: self.html,
            },
            _ => {
                let reason =
                    "expected either `template`, or `subject` and `text` with or without `html`";
                return Err(MailError::Content { reason }.into());
            }
        };
        content.check()?;
        Ok(NewMessage {
            recipient,
            sender,
            reply_to,
            template: self.template,
            language: self.language,
            content,
            idempotency_key: self.idempotency_key,
        })
    }
}

impl Content {
    fn check(&self) -> Result<(), MailError> {
        let refuse = |reason| Err(MailError::Subject { reason });
        if self.subject.chars().any(char::is_control) {
            return refuse("it holds a line break or another control character");
        }
        if self.subject.trim().is_empty() {
            return refuse("it is empty");
        }
        if self.subject.chars().count() > SUBJECT_CHARS_MAX {
            return refuse("it has more than 200 characters");
        }
        let html_bytes = self.html.as_ref().map_or(0, String::len);
        if self.text.len().max(html_bytes) > BODY_BYTES_MAX {
            let reason = "text and html may have 512 KiB each";
            return Err(MailError::Content { reason });
        }
        if self.text.contains('\0') || self.html.as_ref().is_some_and(|html| html.contains('\0')) {
            let reason = "text and html may not hold a zero character";
            return Err(MailError::Content { reason });
        }
        Ok(())
    }
}

fn check_key(key: Option<&str>) -> Result<(), MailError> {
    let fits = |key: &str| {
        (1..=KEY_CHARS_MAX).contains(&key.chars().count()) && !key.chars().any(char::is_control)
    };
    match key {
        Some(key) if !fits(key) => Err(MailError::IdempotencyKey),
        _ => Ok(()),
    }
}
