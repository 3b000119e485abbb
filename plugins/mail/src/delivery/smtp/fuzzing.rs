//! A fuzz target: replies of a server.

use super::reply::{Replies, Reply};

/// The first byte says how many bytes come at a time: the replies are the same as if all of them had come at once.
pub(crate) fn smtp_reply(data: &[u8]) {
    if let Some((step, sent)) = data.split_first() {
        let at_once = heard(sent, sent.len().max(1));
        assert_eq!(heard(sent, usize::from(*step).max(1)), at_once);
    }
}

/// The replies, and whether all of it was SMTP.
fn heard(sent: &[u8], step: usize) -> (Vec<Reply>, bool) {
    let (mut replies, mut read) = (Replies::default(), Vec::new());
    for part in sent.chunks(step) {
        replies.feed(part);
        loop {
            match replies.next() {
                Ok(Some(reply)) => read.push(reply),
                Ok(None) => break,
                Err(_) => return (read, false),
            }
        }
    }
    assert!(read.iter().all(|reply| (2..=5).contains(&reply.class())));
    (read, true)
}
