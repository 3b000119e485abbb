//! `scheduler.schedules/1`: schedules that another plugin keeps here while it runs. It says all that it wants, again and again, and what
//! is here is brought to that; what cannot be is told, and hinders nothing else.

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Value},
};
use serde::{Deserialize, Serialize};

use crate::{
    Scheduler,
    plan::{self, Plan, Wanted},
    refusal::ScheduleError,
    routes::reserved,
    schedule::Definition,
    store::schedules,
};

/// All schedules of a keeper.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Under which name they are kept: `owner` is `kept:` and this.
    keeper: String,
    schedules: Vec<Value>,
}

/// What became of them.
#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    plan: Plan,
    refused: Vec<Refused>,
}

/// One that cannot be.
#[derive(Serialize)]
struct Refused {
    name: String,
    problem: String,
}

/// Answers a call of `scheduler.schedules/1`: `apply`, and `check`, which changes nothing.
pub(crate) async fn call(cx: Cx<Scheduler>, call: CapabilityCall) -> Result<Vec<u8>> {
    let asked: Asked = call.json()?;
    if !is_keeper(&asked.keeper) {
        let problem = "must be a word in lower-case letters";
        return Err(ScheduleError::invalid("keeper", problem).into());
    }
    let (mut wanted, mut refused) = (Vec::new(), Vec::new());
    for schedule in asked.schedules {
        let name = schedule["name"].as_str().unwrap_or_default().to_owned();
        match read(&cx, schedule).await {
            Ok(one) => wanted.push(one),
            Err(error) if error.status() < 500 => {
                let problem = error.message().to_owned();
                refused.push(Refused { name, problem });
            }
            Err(error) => return Err(error),
        }
    }
    let plan = match call.method.as_str() {
        "apply" => plan::apply(&cx, &format!("kept:{}", asked.keeper), wanted, false).await?,
        "check" => Plan::default(),
        other => {
            return Err(Error::invalid(
                "SCHEDULE_INVALID",
                format!("scheduler.schedules/1 has no method {other:?}"),
            ));
        }
    };
    serde_json::to_vec(&Answer { plan, refused }).map_err(Error::internal)
}

/// A schedule with what its target means: nothing that only operators may let happen.
async fn read(cx: &Cx<Scheduler>, schedule: Value) -> Result<Wanted> {
    let definition: Definition = serde_json::from_value(schedule)
        .map_err(|error| ScheduleError::invalid("schedule", error.to_string()))?;
    let action = definition.check()?;
    let now = schedules::now(&cx.db()).await?;
    definition.when().read(now, &cx.plugin().zones)?;
    reserved::check_action(cx, &action).await?;
    Ok(Wanted { definition, action })
}

fn is_keeper(name: &str) -> bool {
    (1..=40).contains(&name.len())
        && name
            .chars()
            .all(|one| one.is_ascii_lowercase() || matches!(one, '_' | '-'))
}
