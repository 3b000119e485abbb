//! Fuzz targets: what servers answer, what clients of the catcher say, and mails that were caught.

#[macro_use]
#[path = "../../../fuzz/targets.rs"]
mod targets;

use crate::{
    address,
    catcher::mime::{Mime, Part},
};

targets! {
    mail_address: mailbox,
    mime: mail,
    smtp_reply: crate::delivery::smtp::fuzzing::smtp_reply,
    smtp_session: crate::catcher::fuzzing::smtp_session,
}

/// An address that is taken cannot end a line, and reads again as the same.
fn mailbox(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(mailbox) = address::parse("to", text) else {
        return;
    };
    let email = mailbox.email.to_string();
    assert!(!email.contains(char::is_control), "{text:?}");
    let again = address::parse("to", &email).expect("an address that was taken");
    assert_eq!(again.email, mailbox.email);
    assert_eq!(address::key(&again), address::key(&mailbox));
}

/// Everything can be taken apart, and no mail becomes many times as long by that.
fn mail(data: &[u8]) {
    let mime = Mime::parse(data);
    let (mut parts, mut bytes) = (0, 0);
    count(&mime.tree(), &mut parts, &mut bytes);
    // A part lies in ten others at most, and what is not UTF-8 becomes three bytes each.
    assert!(bytes <= 64 * (data.len() + 1), "{bytes}");
    assert!(parts <= 16 * (data.len() + 1), "{parts}");
    let texts = [mime.text(), mime.html()].into_iter().flatten();
    let text: usize = texts.map(|text| text.len()).sum();
    let searched = mime.searched().len();
    assert!(text + searched <= 64 * (data.len() + 1));
    assert!(mime.attachments().len() <= data.len() + 1);
    for header in ["Subject", "From", "To", "X-Other"] {
        let _ = mime.header(header);
    }
}

fn count(part: &Part, parts: &mut usize, bytes: &mut usize) {
    *parts += 1;
    *bytes += part.body.len();
    for part in part.parts.iter().flatten() {
        count(part, parts, bytes);
    }
}
