//! `jobs.send_email`: hands a mail to whoever provides `mail.send/1`.

use std::time::Duration;

use nself_plugin_api::{
    prelude::*,
    serde_json::{Map, Value},
};

use crate::Jobs;

const MAIL: &str = "mail.send/1";

/// How long a job waits for a plugin that sends mails.
const AWAY_PAUSE: Duration = Duration::from_secs(60);

/// The payload is what `send` of `mail.send/1` takes. A mail is queued once for each job, however often the job runs.
pub(crate) async fn run(cx: Cx<Jobs>, job: JobRun) -> Result<Value> {
    let mut letter: Map<String, Value> = job.json()?;
    letter
        .entry("idempotency_key")
        .or_insert_with(|| format!("jobs:{}", job.id).into());
    let sent = cx.calls().json_if_provided(MAIL, "send", &letter).await;
    match sent {
        Ok(Some(receipt)) => Ok(receipt),
        Ok(None) => Err(Error::unavailable(
            "CAPABILITY_UNAVAILABLE",
            "no enabled plugin provides mail.send/1",
            AWAY_PAUSE,
        )),
        // It is the letter that is wrong, and it stays so.
        Err(error) if matches!(error.status(), 400..=428 | 430..=499) => Err(Error::discard(
            format!("{} ({})", error.message(), error.code()),
        )),
        Err(error) => Err(error),
    }
}
