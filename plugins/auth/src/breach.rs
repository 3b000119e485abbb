//! Asks a public collection of leaked passwords, without telling it the password.
//!
//! The range interface of Have I Been Pwned: the first five characters of the SHA-1 are sent, and all hashes that begin so
//! come back, some hundreds of them, with made-up ones among them (`Add-Padding`) so that not even the length of the answer
//! tells which five it were. What does not work is no reason to keep somebody from having a password.

use std::time::Duration;

use data_encoding::HEXUPPER;
use nself_plugin_api::{prelude::*, tracing::warn};
use sha1::{Digest as _, Sha1};

use crate::{Auth, password};

/// Characters of the hash that are sent.
const PREFIX: usize = 5;

/// Longest answer; the longest of the collection has about 40 KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Longest wait. Somebody sits before the form.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refuses a password that the collection has.
///
/// # Errors
///
/// `PASSWORD_LEAKED`.
pub(crate) async fn check(cx: &Cx<Auth>, password: &str) -> Result<()> {
    if !cx.plugin().config.breach_check {
        return Ok(());
    }
    let hash = HEXUPPER.encode(&Sha1::digest(password));
    let (prefix, rest) = hash.split_at(PREFIX);
    match range(cx, prefix).await {
        Ok(answer) if has(&answer, rest) => Err(password::leaked()),
        Ok(_) => Ok(()),
        Err(error) => {
            warn!(%error, "the collection of leaked passwords was not asked");
            Ok(())
        }
    }
}

async fn range(cx: &Cx<Auth>, prefix: &str) -> Result<String> {
    let root = cx.plugin().config.breach_url.trim_end_matches('/');
    let url = format!("{root}/range/{prefix}");
    let http = cx.http();
    let request = http.get(&url).header("add-padding", "true");
    let asking = request.header("user-agent", "nself-auth").timeout(PATIENCE);
    let answer = asking.send().await?;
    if answer.status() != 200 {
        let status = answer.status();
        return Err(Error::new(
            502,
            "EGRESS_INVALID",
            format!("it answered with {status}"),
        ));
    }
    let bytes = answer.bytes(ANSWER_BYTES_MAX).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a line is `REST:COUNT` with a count; those that are made up have none.
fn has(answer: &str, rest: &str) -> bool {
    let found = answer
        .lines()
        .filter_map(|line| line.trim().split_once(':'));
    let mut counts = found.filter(|(hash, _)| hash.eq_ignore_ascii_case(rest));
    counts.any(|(_, count)| count.trim().parse::<u64>().is_ok_and(|count| count > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_count_is_a_leak() {
        let hash = HEXUPPER.encode(&Sha1::digest("password"));
        assert_eq!(hash, "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
        let rest = &hash[PREFIX..];
        assert!(has(
            &format!("0018A45C4D1DEF81644B54AB7F969B88D65:3\r\n{rest}:10434004\r\n"),
            rest
        ));
        assert!(!has(&format!("{rest}:0\r\n"), rest), "made up");
        assert!(!has("", rest));
        assert!(!has("<html>\n", rest));
    }
}
