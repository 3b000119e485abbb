//! Dialogues: what a client says, what it hears, which mails come out.

use super::*;

/// Says all of it at once; what was heard, and the mails that came out.
fn converse(session: &mut Session, said: &[u8]) -> (Vec<String>, Vec<(Envelope, Vec<u8>)>) {
    let (mut heard, mut mails) = (Vec::new(), Vec::new());
    session.feed(said);
    while let Some(step) = session.step() {
        match step {
            Step::Reply(text) | Step::Close(text) => {
                heard.extend(text.lines().map(str::to_owned));
            }
            Step::Mail(envelope, data) => {
                mails.push((envelope, data));
                let kept = session.kept(Ok("7".to_owned()));
                heard.extend(kept.lines().map(str::to_owned));
            }
        }
    }
    (heard, mails)
}

fn codes(heard: &[String]) -> Vec<&str> {
    let last = heard
        .iter()
        .filter(|line| line.as_bytes().get(3) != Some(&b'-'));
    last.map(|line| &line[..3]).collect()
}

#[track_caller]
fn check(said: &str, expected: &[&str]) {
    let mut session = Session::new(1_000);
    let (heard, _) = converse(&mut session, said.as_bytes());
    assert_eq!(codes(&heard), expected, "{said:?}: {heard:?}");
}

const BEGIN: &str = "EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n";

#[test]
fn a_whole_dialogue_in_one_piece_gives_the_mail() {
    let said = format!("{BEGIN}Subject: a\r\n\r\ntext\r\n.\r\nQUIT\r\n");
    let mut session = Session::new(1_000);
    let (heard, mails) = converse(&mut session, said.as_bytes());
    assert_eq!(codes(&heard), ["250", "250", "250", "354", "250", "221"]);
    let (envelope, data) = &mails[0];
    assert_eq!((&*envelope.helo, &*envelope.from), ("me", "a@b"));
    assert_eq!(envelope.to, ["c@d"]);
    assert_eq!(data, b"Subject: a\r\n\r\ntext\r\n");
}

#[test]
fn it_does_not_matter_how_the_bytes_are_cut() {
    let said = format!("{BEGIN}..a\r\n.b\r\n\r\n.\r\n");
    let whole = converse(&mut Session::new(1_000), said.as_bytes());
    let mut session = Session::new(1_000);
    let (mut heard, mut mails) = (Vec::new(), Vec::new());
    for byte in said.as_bytes() {
        let (some, mail) = converse(&mut session, std::slice::from_ref(byte));
        heard.extend(some);
        mails.extend(mail);
    }
    assert_eq!((heard, mails), whole);
}

#[test]
fn the_dot_in_front_of_a_line_is_taken_away() {
    let said = format!("{BEGIN}..one\r\n.two\r\n...\r\n.\r\n");
    let (_, mails) = converse(&mut Session::new(1_000), said.as_bytes());
    assert_eq!(mails[0].1, b".one\r\ntwo\r\n..\r\n");
}

#[test]
fn only_a_dot_between_two_whole_line_ends_ends_a_mail() {
    for smuggled in ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r"] {
        let said = format!("{BEGIN}a{smuggled}MAIL FROM:<x@y>\r\n.\r\n");
        let (heard, mails) = converse(&mut Session::new(1_000), said.as_bytes());
        assert_eq!(mails.len(), 1, "{smuggled:?}");
        assert_eq!(codes(&heard).len(), 5, "{smuggled:?}: {heard:?}");
    }
}

#[test]
fn eight_bits_pass_unchanged() {
    let mut said = BEGIN
        .replace("<a@b>", "<a@b> BODY=8BITMIME SMTPUTF8")
        .into_bytes();
    said.extend_from_slice(b"\xc3\xbc\xff\r\n.\r\n");
    let (_, mails) = converse(&mut Session::new(1_000), &said);
    assert_eq!(mails[0].1, b"\xc3\xbc\xff\r\n");
}

#[test]
fn a_mail_that_is_too_large_is_refused_and_the_next_one_taken() {
    check(
        "EHLO me\r\nMAIL FROM:<a@b> SIZE=2000\r\nMAIL FROM:<a@b> SIZE=9\r\n",
        &["250", "552", "250"],
    );
    let large = "x".repeat(600);
    let said = format!(
        "{BEGIN}{large}\r\n{large}\r\n.\r\n{}ok\r\n.\r\n",
        &BEGIN[9..]
    );
    let (heard, mails) = converse(&mut Session::new(1_000), said.as_bytes());
    assert_eq!(
        codes(&heard),
        [
            "250", "250", "250", "354", "552", "250", "250", "354", "250"
        ]
    );
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].1, b"ok\r\n");
    let endless = format!("{BEGIN}{}", "x".repeat(1_001));
    let (heard, _) = converse(&mut Session::new(1_000), endless.as_bytes());
    assert_eq!(codes(&heard), ["250", "250", "250", "354", "552"]);
}

#[test]
fn what_is_no_command_is_said_and_borne_for_a_while() {
    check(
        "\u{1}\u{2}\r\nEHLO\r\nfoo\r\n\r\n",
        &["500", "501", "500", "500"],
    );
    let mut many = vec!["500"; MISTAKES_MAX - 1];
    many.push("421");
    check(&"foo\r\n".repeat(MISTAKES_MAX + 5), &many);
    check(&"x".repeat(LINE_BYTES_MAX + 1), &["500"]);
    let (heard, _) = converse(&mut Session::new(1_000), b"\xff\xfe\r\n");
    assert_eq!(codes(&heard), ["500"]);
}

#[test]
fn commands_have_an_order() {
    check("MAIL FROM:<a@b>\r\n", &["503"]);
    check(
        "EHLO me\r\nRCPT TO:<a@b>\r\nDATA\r\n",
        &["250", "503", "503"],
    );
    check(
        "EHLO me\r\nMAIL FROM:<a@b>\r\nMAIL FROM:<a@b>\r\nRSET\r\nMAIL FROM:<>\r\n",
        &["250", "250", "503", "250", "250"],
    );
    check(
        "HELO me\r\nNOOP\r\nVRFY a\r\nHELP\r\nSTARTTLS\r\n",
        &["250", "250", "252", "214", "502"],
    );
}

#[test]
fn paths_are_read_strictly() {
    check("EHLO me\r\nMAIL FROM:a@b\r\n", &["250", "501"]);
    check("EHLO me\r\nMAIL FROM:<a b@c>\r\n", &["250", "501"]);
    check("EHLO me\r\nMAIL FROM:<a@b> FOO=1\r\n", &["250", "555"]);
    check(
        "EHLO me\r\nmail from:<a@b>\r\nrcpt to: <@x,@y:c@d>\r\nRCPT TO:<>\r\n",
        &["250", "250", "250", "501"],
    );
    let many = format!(
        "EHLO me\r\nMAIL FROM:<a@b>\r\n{}",
        "RCPT TO:<c@d>\r\n".repeat(RECIPIENTS_MAX + 1)
    );
    let (heard, _) = converse(&mut Session::new(1_000), many.as_bytes());
    assert_eq!(codes(&heard).last(), Some(&"452"));
}

#[test]
fn everybody_logs_in() {
    check("EHLO me\r\nAUTH PLAIN AGEAYg==\r\n", &["250", "235"]);
    check(
        "EHLO me\r\nAUTH PLAIN\r\nAGEAYg==\r\n",
        &["250", "334", "235"],
    );
    check(
        "EHLO me\r\nAUTH LOGIN\r\nYQ==\r\nYg==\r\nNOOP\r\n",
        &["250", "334", "334", "235", "250"],
    );
    check("EHLO me\r\nAUTH CRAM-MD5\r\n", &["250", "504"]);
}

#[test]
fn a_mail_that_could_not_be_kept_is_to_be_sent_again() {
    let mut session = Session::new(1_000);
    session.feed(format!("{BEGIN}a\r\n.\r\n").as_bytes());
    while !matches!(session.step(), Some(Step::Mail(..))) {}
    assert!(session.kept(Err(())).starts_with("451"));
}
