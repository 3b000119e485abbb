//! The bounds of an evaluation.
//!
//! jq has no limits of its own. Every definition, the library's too, begins with a step that is counted here, and every place
//! where a value may grow is looked at. What exceeds a bound unwinds out of the evaluation with [`std::panic::resume_unwind`],
//! which calls no panic hook: an error of jq could be caught by the expression itself.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use jaq_core::{
    DataT,
    native::{Fun, bome, run, v},
};
use jaq_json::{Num, Val};

use crate::config::setting;

/// What an evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Steps.
    pub steps: u64,
    /// Bytes of a value, roughly as JSON.
    pub bytes: usize,
    /// Seconds since 1970 that `now` gives.
    pub now_ms: i64,
}

/// Stack that an evaluation may use.
const STACK_BYTES: usize = 384 << 10;
/// How deep a value may be.
pub(super) const DEPTH: usize = 120;
/// How many digits a whole number may have, in bits.
const NUMBER_BITS: u64 = 4_096;

#[derive(Clone, Copy)]
struct Meter {
    steps: u64,
    bytes: usize,
    now_ms: i64,
    stack: usize,
}

/// Values are as large as all that a run keeps, at most.
const TOO_LARGE: &str = "a value is too large";
const TOO_LONG: &str = "it takes too many steps; it may have no end";

thread_local! {
    static METER: Cell<Meter> = const { Cell::new(Meter { steps: 0, bytes: 0, now_ms: 0, stack: 0 }) };
}

/// A bound that was exceeded, as it unwinds.
struct Exceeded(&'static str);

/// Evaluates within bounds.
pub(super) fn within<T>(bounds: Bounds, evaluate: impl FnOnce() -> T) -> Result<T, String> {
    METER.set(Meter {
        steps: bounds.steps,
        bytes: bounds.bytes,
        now_ms: bounds.now_ms,
        stack: here(),
    });
    catch_unwind(AssertUnwindSafe(evaluate)).map_err(|cause| match cause.downcast::<Exceeded>() {
        Ok(exceeded) => match exceeded.0 {
            TOO_LARGE => format!(
                "{TOO_LARGE}: larger than {}",
                setting("state_bytes_max", bounds.bytes)
            ),
            TOO_LONG => format!(
                "{TOO_LONG} (more than {}, which no setting changes)",
                bounds.steps
            ),
            what => what.to_owned(),
        },
        Err(_) => "the evaluation broke".to_owned(),
    })
}

/// About where the stack is.
#[inline(never)]
fn here() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(&local).addr()
}

fn exceed(what: &'static str) -> ! {
    resume_unwind(Box::new(Exceeded(what)))
}

fn step(cost: u64) {
    let mut meter = METER.get();
    let Some(steps) = meter.steps.checked_sub(cost) else {
        exceed(TOO_LONG);
    };
    meter.steps = steps;
    METER.set(meter);
    if here().abs_diff(meter.stack) > STACK_BYTES {
        exceed("it is nested too deep");
    }
}

/// Looks at a value that has just been made.
pub(super) fn look(value: &Val) {
    let mut left = METER.get().bytes;
    weigh(value, 0, &mut left);
}

/// Counts every part of a value against what is left, so that shared parts cost what they would cost as JSON.
fn weigh(value: &Val, depth: usize, left: &mut usize) {
    if depth > DEPTH {
        exceed("a value is nested too deep");
    }
    let cost = match value {
        Val::TStr(text) | Val::BStr(text) => text.len() + 2,
        Val::Num(Num::BigInt(number)) if number.bits() > NUMBER_BITS => {
            exceed("a number is too large")
        }
        _ => 4,
    };
    let Some(rest) = left.checked_sub(cost) else {
        exceed(TOO_LARGE);
    };
    *left = rest;
    match value {
        Val::Arr(items) => items.iter().for_each(|item| weigh(item, depth + 1, left)),
        Val::Obj(fields) => fields.iter().for_each(|(name, field)| {
            weigh(name, depth + 1, left);
            weigh(field, depth + 1, left);
        }),
        _ => {}
    }
}

/// How long a value is, without what is in it.
fn length(value: &Val) -> usize {
    match value {
        Val::TStr(text) | Val::BStr(text) => text.len(),
        Val::Arr(items) => items.len() * 4,
        Val::Obj(fields) => fields.len() * 8,
        Val::Num(Num::BigInt(number)) => {
            if number.bits() > NUMBER_BITS {
                exceed("a number is too large");
            }
            8
        }
        _ => 0,
    }
}

/// Refuses the repetition of a text that would be too long, before it is made.
fn multiply(left: Val, right: Val) -> Result<Val, jaq_core::Error<Val>> {
    let repeated = match (&left, &right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(times))
        | (Val::Num(times), Val::TStr(text) | Val::BStr(text)) => {
            let times = times
                .as_isize()
                .map_or(usize::MAX, |times| usize::try_from(times).unwrap_or(0));
            match times_of(&right, &left) {
                Some(float) if float < 1e15 => text.len().saturating_mul(float_to_usize(float)),
                Some(_) => usize::MAX,
                None => text.len().saturating_mul(times),
            }
        }
        _ => 0,
    };
    if repeated > METER.get().bytes {
        exceed(TOO_LARGE);
    }
    let product = (left * right)?;
    length(&product);
    Ok(product)
}

/// The factor when it is not a whole number.
fn times_of(one: &Val, other: &Val) -> Option<f64> {
    [one, other].into_iter().find_map(|value| match value {
        Val::Num(Num::Float(float)) => Some(*float),
        Val::Num(Num::Dec(text)) => text.parse().ok(),
        _ => None,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded by the caller, and what is negative or no number repeats nothing"
)]
fn float_to_usize(float: f64) -> usize {
    float.max(0.0) as usize
}

/// The native filters that the rewritten terms call.
pub(super) fn natives<D: for<'a> DataT<V<'a> = Val>>() -> impl Iterator<Item = Fun<D>> {
    let all: [jaq_core::native::Filter<jaq_core::RunPtr<D>>; 5] = [
        ("__step", v(0), |_| {
            step(1);
            bome(Ok(Val::Bool(true)))
        }),
        ("__look", v(0), |cv| {
            step(1);
            look(&cv.1);
            bome(Ok(cv.1))
        }),
        ("__length", v(0), |cv| {
            step(1);
            if length(&cv.1) > METER.get().bytes {
                exceed(TOO_LARGE);
            }
            bome(Ok(cv.1))
        }),
        ("__multiply", v(2), |mut cv| {
            step(1);
            let right = cv.0.pop_var();
            let left = cv.0.pop_var();
            bome(multiply(left, right))
        }),
        ("now", v(0), |_| {
            #[expect(clippy::cast_precision_loss, reason = "seconds of jq are a float")]
            let seconds = METER.get().now_ms as f64 / 1_000.0;
            bome(Ok(Val::from(seconds)))
        }),
    ];
    all.into_iter().map(|filter| run::<D>(filter))
}
