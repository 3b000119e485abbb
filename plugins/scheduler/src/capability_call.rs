//! The job that calls a capability of another plugin for a schedule. Which ones may be called, the operator says in
//! `[plugins.scheduler] capabilities`: the manifest, which is the same everywhere, asks for none of them.

use nself_plugin_api::{
    prelude::{Cx, Error, JobRun, Result},
    serde_json::{self, Value},
};
use serde::Deserialize;

use crate::{Scheduler, store, target::Call};

#[derive(Deserialize)]
struct Run {
    schedule: String,
}

/// Calls what the schedule says now. The answer is the result, when it is JSON.
pub(crate) async fn run(cx: Cx<Scheduler>, job: JobRun) -> Result<Value> {
    let Run { schedule } = job.json()?;
    let stored = store::schedules::find(&cx.db(), &schedule).await?;
    let target = stored.map(|stored| stored.definition.target);
    let call = target.and_then(|target| Call::deserialize(&target["capability"]).ok());
    let Some(call) = call else {
        return Err(Error::discard(format!(
            "the schedule {schedule:?} is gone, or calls nothing any more"
        )));
    };
    let payload = serde_json::to_vec(&call.payload).map_err(Error::internal)?;
    let answer = cx.calls().call(&call.id, &call.method, payload).await;
    match answer {
        Ok(answer) => Ok(serde_json::from_slice(&answer).unwrap_or_default()),
        Err(error) if error.code() == "CAPABILITY_NOT_GRANTED" => Err(Error::discard(format!(
            "{} is not named in [plugins.scheduler] capabilities",
            call.id
        ))),
        // It is the call that is wrong, and it stays so.
        Err(error) if matches!(error.status(), 400..=428 | 430..=499) => Err(Error::discard(
            format!("{} ({})", error.message(), error.code()),
        )),
        Err(error) => Err(error),
    }
}
