//! The mail itself: headers and body.

use std::time::SystemTime;

use lettre::{
    Message,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

use crate::{address, store::messages::Claimed};

/// Writes a mail; or why that cannot be done, which no later attempt would change.
///
/// The `Message-ID` follows from the row's id: a mail that arrives twice, because its sender was killed at the wrong moment,
/// can be recognised.
pub(super) fn compose(claimed: &Claimed, date: SystemTime) -> Result<Message, String> {
    let mailbox = |field, text: &str| -> Result<Mailbox, String> {
        address::parse(field, text).map_err(|error| error.to_string())
    };
    let sender = mailbox("from", &claimed.sender)?;
    let message_id = format!("<{}@{}>", claimed.id, sender.email.domain());
    let mut builder = Message::builder()
        .from(sender)
        .to(mailbox("to", &claimed.recipient)?)
        .subject(&claimed.content.subject)
        .date(date)
        .message_id(Some(message_id))
        // RFC 3834: machines do not answer this one.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    if let Some(reply_to) = &claimed.reply_to {
        builder = builder.reply_to(mailbox("reply_to", reply_to)?);
    }
    let text = claimed.content.text.clone();
    let message = match &claimed.content.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(text, html.clone())),
        None => builder.singlepart(SinglePart::plain(text)),
    };
    message.map_err(|error| error.to_string())
}
