//! A fuzz target: what a client of the catcher says.

use super::session::{Session, Step};

/// Longest mail that is taken.
const MAIL_BYTES_MAX: usize = 2_000;

/// Longest dialogue that is tried: no line and no mail is too long then, which depends on how it comes.
const SAID_BYTES_MAX: usize = MAIL_BYTES_MAX;

/// The first byte says how many bytes come at a time: what is answered is the same as if all of them had come at once.
pub(crate) fn smtp_session(data: &[u8]) {
    let Some((step, said)) = data.split_first() else {
        return;
    };
    let step = usize::from(*step).max(1);
    let answered = converse(said, step);
    if said.len() <= SAID_BYTES_MAX {
        assert_eq!(answered, converse(said, said.len().max(1)));
    }
    for step in answered {
        match step {
            Step::Reply(text) | Step::Close(text) => assert!(text.ends_with("\r\n")),
            Step::Mail(envelope, mail) => {
                assert!(mail.len() <= MAIL_BYTES_MAX);
                let paths = envelope.to.iter().chain([&envelope.from]);
                assert!(
                    paths
                        .into_iter()
                        .all(|path| !path.contains(char::is_control))
                );
            }
        }
    }
}

fn converse(said: &[u8], step: usize) -> Vec<Step> {
    let (mut session, mut steps) = (Session::new(MAIL_BYTES_MAX), Vec::new());
    for part in said.chunks(step) {
        session.feed(part);
        while let Some(step) = session.step() {
            let is_mail = matches!(step, Step::Mail(..));
            steps.push(step);
            if is_mail {
                let kept = session.kept(Ok("7".to_owned()));
                steps.push(Step::Reply(kept));
            }
        }
    }
    steps
}
