//! `try`: which errors are caught, how often it is tried again, and what is done in the end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    data::Scope,
    error::Error,
    machine::Machine,
    record::RecordStatus,
    state::{Role, Stage, TaskFrame},
};
use crate::dsl::{Catch, ErrorFilter, Kind, Retry, Span};

impl Machine<'_> {
    /// Begins an attempt of the `try` on top.
    pub(super) fn attempt_try(&mut self, thread: u64, since: Timestamp) -> Result<(), Error> {
        let Some(frame) = self.top(thread).cloned() else {
            return Err(Error::runtime("no task is under way"));
        };
        let mut limit = None;
        if let Some(policy) = self.policy(&frame)? {
            let duration = &policy.limit["attempt"]["duration"];
            if !duration.is_null() {
                let span = self.span(duration, frame.input(), Self::scope(thread, &frame))?;
                let at = self.after(span)?;
                limit = Some(self.wait(thread, Role::Attempt, Some(at)));
            }
        }
        self.set_stage(thread, Stage::Trying { since, limit });
        let list = format!("{}/try", frame.task);
        // The path is the same on every attempt, and so are the keys of what is called in it.
        let path = frame.path.clone();
        self.push_list(thread, list, path, frame.input().clone(), BTreeMap::new());
        Ok(())
    }

    /// The `try` on top is offered an error; true when it has taken it.
    pub(super) fn catch(
        &mut self,
        thread: u64,
        since: Timestamp,
        error: &Error,
    ) -> Result<bool, Error> {
        let Some(frame) = self.top(thread).cloned() else {
            return Ok(false);
        };
        let node = self.node(&frame);
        let Kind::Try(_, catch) = &node.task.kind else {
            return Ok(false);
        };
        let described = serde_json::to_value(error).unwrap_or_default();
        let variable = catch.variable.as_deref().unwrap_or("error");
        let scope = Scope {
            variable: Some((variable, &described)),
            ..Self::scope(thread, &frame)
        };
        if !self.is_meant(catch, &described, &frame, scope)? {
            return Ok(false);
        }
        let policy = self.policy(&frame)?;
        if let Some(policy) = &policy
            && let Some(at) = self.tries_again(policy, &frame, since, scope)?
        {
            self.record(&frame, RecordStatus::Retried, |record| {
                record.error = Some(error.clone());
            });
            self.delay(thread, since, at);
            return Ok(true);
        }
        if catch.tasks.is_some() {
            self.set_stage(thread, Stage::Catching);
            let variables = BTreeMap::from([(variable.to_owned(), described.clone())]);
            let list = format!("{}/catch/do", frame.task);
            let path = format!("{}/catch", frame.path);
            self.push_list(thread, list, path, frame.input().clone(), variables);
            return Ok(true);
        }
        if policy.is_some() {
            return Ok(false);
        }
        self.set_stage(thread, Stage::Catching);
        self.finish(thread, frame.input().clone(), None)?;
        Ok(true)
    }

    /// Whether a catch is meant for an error.
    fn is_meant(
        &self,
        catch: &Catch,
        error: &Value,
        frame: &TaskFrame,
        scope: Scope<'_>,
    ) -> Result<bool, Error> {
        let ErrorFilter { with } = &catch.errors;
        for (field, expected) in with {
            // The schema says `details` where an error says `detail`.
            let field = if field == "details" { "detail" } else { field };
            let expected = self.resolve(expected, frame.input(), scope)?;
            if error[field] != expected {
                return Ok(false);
            }
        }
        self.both(
            catch.when.as_deref(),
            catch.except_when.as_deref(),
            frame,
            scope,
        )
    }

    /// `when` holds and `exceptWhen` does not.
    fn both(
        &self,
        when: Option<&str>,
        except_when: Option<&str>,
        frame: &TaskFrame,
        scope: Scope<'_>,
    ) -> Result<bool, Error> {
        if let Some(when) = when
            && !self.holds(when, frame.input(), scope)?
        {
            return Ok(false);
        }
        match except_when {
            Some(except) => Ok(!self.holds(except, frame.input(), scope)?),
            None => Ok(true),
        }
    }

    /// The retry policy of a `try`.
    fn policy(&self, frame: &TaskFrame) -> Result<Option<Retry>, Error> {
        let Kind::Try(_, catch) = &self.node(frame).task.kind else {
            return Ok(None);
        };
        match &catch.retry {
            None => Ok(None),
            Some(Value::String(name)) => {
                let shared = self.program.definition.shared.retries.get(name);
                let missing = || Error::configuration(format!("no retry policy named {name}"));
                Ok(Some(shared.ok_or_else(missing)?.clone()))
            }
            Some(own) => serde_json::from_value(own.clone())
                .map(Some)
                .map_err(|error| Error::configuration(error.to_string())),
        }
    }

    /// When it is tried again; none when it is not. Nothing begins after the time that there is for it.
    fn tries_again(
        &self,
        policy: &Retry,
        frame: &TaskFrame,
        since: Timestamp,
        scope: Scope<'_>,
    ) -> Result<Option<Timestamp>, Error> {
        if !self.both(
            policy.when.as_deref(),
            policy.except_when.as_deref(),
            frame,
            scope,
        )? {
            return Ok(None);
        }
        if let Some(count) = policy.limit["attempt"]["count"].as_u64()
            && u64::from(frame.attempt) > count
        {
            return Ok(None);
        }
        let at = self.after(self.delay_of(policy, frame, scope)?)?;
        let duration = &policy.limit["duration"];
        if duration.is_null() {
            return Ok(Some(at));
        }
        let limit = self.span(duration, frame.input(), scope)?;
        Ok((at.duration_since(since) <= limit).then_some(at))
    }

    /// Waits until it is tried again.
    fn delay(&mut self, thread: u64, since: Timestamp, at: Timestamp) {
        if let Some(task) = self.top_mut(thread) {
            task.attempt += 1;
        }
        let need = self.wait(thread, Role::Task, Some(at));
        self.set_stage(thread, Stage::Delaying { since, need });
    }

    fn delay_of(&self, policy: &Retry, frame: &TaskFrame, scope: Scope<'_>) -> Result<Span, Error> {
        let input = frame.input();
        let span = |value: &Value| self.span(value, input, scope);
        let base = policy.delay.as_ref().map_or(Ok(Span::ZERO), span)?;
        let attempt = frame.attempt.max(1);
        let factor = if policy.backoff.contains_key("exponential") {
            1_i32
                .checked_shl(attempt - 1)
                .filter(|factor| *factor > 0)
                .unwrap_or(i32::MAX)
        } else if policy.backoff.contains_key("linear") {
            i32::try_from(attempt).unwrap_or(i32::MAX)
        } else {
            1
        };
        let mut delay = base.checked_mul(factor).unwrap_or(base);
        if let Some(jitter) = &policy.jitter {
            let bound = |name: &str| jitter.get(name).map_or(Ok(Span::ZERO), span);
            let (from, to) = (bound("from")?, bound("to")?);
            let share = (to - from).as_secs_f64().max(0.0) * (self.around.random)();
            delay += from + Span::try_from_secs_f64(share).unwrap_or(Span::ZERO);
        }
        Ok(delay)
    }
}
