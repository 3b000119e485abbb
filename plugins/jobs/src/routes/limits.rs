//! The limits of a queue by themselves: who works on it stays as it is.

use nself_plugin_api::{prelude::*, serde_json::json};
use serde::Deserialize;

use super::queues::one;
use crate::{
    Jobs, audit,
    error::{JobError, refused},
    store::{
        self,
        queues::{Queue, Rate, Settings},
    },
};

/// What is set: what is not given has no limit.
#[derive(Debug, Default, Deserialize, Schema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Most jobs that run at a time, over all hosts.
    #[schema(minimum = 0, maximum = 1_000_000)]
    pub running_max: Option<i32>,
    /// The same for each concurrency key.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub running_per_key_max: Option<i32>,
    /// How many start: a number and a unit, such as `30/minute`. Units are second, minute, hour and day.
    pub rate: Option<String>,
    /// Starts that may come at once, after a pause; 1 when it is not said.
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub burst: Option<i32>,
    /// `queue` for all of it, or `key`: each rate key of its jobs has a rate of its own.
    pub by: Option<String>,
}

impl Limits {
    fn rate(&self) -> Result<Option<Rate>> {
        // Also where no rate would use it.
        store::queues::within("burst", self.burst, 1)?;
        let Some(rate) = &self.rate else {
            return Ok(None);
        };
        let per_second = per_second(rate).ok_or_else(|| JobError::Option {
            message: "rate: expected a number and a unit, such as 30/minute".to_owned(),
        })?;
        Ok(Some(Rate {
            per_second,
            burst: self.burst.unwrap_or(1),
            by: self.by.clone().unwrap_or_else(|| "queue".to_owned()),
        }))
    }
}

fn per_second(rate: &str) -> Option<f64> {
    let (number, unit) = rate.split_once('/')?;
    let seconds = match unit.trim() {
        "second" => 1.0,
        "minute" => 60.0,
        "hour" => 3_600.0,
        "day" => 86_400.0,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number > 0.0).then_some(number / seconds)
}

pub(crate) async fn set(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(name): Path<String>,
    Json(limits): Json<Limits>,
) -> Result<Data<Queue>> {
    change(&cx, &principal, name, &limits).await.map(Data)
}

pub(crate) async fn remove(
    cx: Cx<Jobs>,
    principal: Principal,
    Path(name): Path<String>,
) -> Result<Data<Queue>> {
    let none = Limits::default();
    change(&cx, &principal, name, &none).await.map(Data)
}

async fn change(
    cx: &Cx<Jobs>,
    principal: &Principal,
    name: String,
    limits: &Limits,
) -> Result<Queue> {
    let rate = limits.rate()?;
    let tx = cx.db().begin().await?;
    let Some(worker) = store::queues::lock(&tx, &name).await? else {
        return Err(JobError::UnknownQueue { name }.into());
    };
    let settings = Settings {
        worker,
        running_max: limits.running_max,
        running_per_key_max: limits.running_per_key_max,
        rate,
    };
    store::queues::set(&tx, &name, &settings)
        .await
        .map_err(refused)?;
    audit::note(&tx, principal, "jobs.queue_limited", &name, json!(settings)).await?;
    let queue = one(&tx, name).await?;
    tx.commit().await?;
    Ok(queue)
}
