//! Provides `auth.before_register/1`, `auth.before_sign_in/1` and `auth.claims/1`, and does with each what a test says: answers,
//! refuses, fails, panics, hangs. It is only ever loaded by tests.
#![forbid(unsafe_code)]

use std::{
    collections::HashMap,
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nself_plugin_api::{
    prelude::*,
    serde_json::{self, Value, json},
};

/// The plugin: what it is told to do, and what it was asked.
#[derive(Default)]
pub struct Hooks(Mutex<HashMap<&'static str, Hook>>);

#[derive(Default)]
struct Hook {
    /// `{"answer": …}`, `{"refuse": {"code": …, "message": …}}`, `"fail"`, `"panic"` or `"hang"`; `{}` is answered without it.
    act: Value,
    asked: Vec<Value>,
}

const REGISTER: &str = "register";
const SIGN_IN: &str = "sign-in";
const CLAIMS: &str = "claims";

impl Plugin for Hooks {
    const ABOUT: About = about!("fixture-hooks");

    const ROUTES: &'static [Route<Self>] = &[
        Route::put("/hooks/{hook}", act)
            .public()
            .summary("Say what a hook does from now on"),
        Route::get("/hooks/{hook}", asked)
            .public()
            .summary("What a hook was asked"),
    ];

    const PROVIDES: &'static [Provided<Self>] = &[
        Provided::new("auth.before_register/1", before_register),
        Provided::new("auth.before_sign_in/1", before_sign_in),
        Provided::new("auth.claims/1", claims),
    ];

    type Config = NoConfig;

    async fn create(_: Context, _: NoConfig) -> Result<Self> {
        Ok(Self::default())
    }
}

impl Hooks {
    fn all(&self) -> MutexGuard<'_, HashMap<&'static str, Hook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(hook: &str) -> Result<&'static str> {
    [REGISTER, SIGN_IN, CLAIMS]
        .into_iter()
        .find(|known| *known == hook)
        .ok_or_else(|| Error::not_found("HOOK_UNKNOWN", "there is no such hook"))
}

async fn act(cx: Cx<Hooks>, Path(hook): Path<String>, Body(body): Body) -> Result<NoContent> {
    let act = serde_json::from_slice(&body)
        .map_err(|error| Error::bad_request("BODY_INVALID", error.to_string()))?;
    cx.plugin().all().entry(known(&hook)?).or_default().act = act;
    Ok(NoContent)
}

async fn asked(cx: Cx<Hooks>, Path(hook): Path<String>) -> Result<Data<Vec<Value>>> {
    let hook = known(&hook)?;
    let all = cx.plugin().all();
    let asked = all.get(hook).map(|hook| hook.asked.clone());
    Ok(Data(asked.unwrap_or_default()))
}

async fn before_register(cx: Cx<Hooks>, call: CapabilityCall) -> Result<Vec<u8>> {
    answer(&cx, REGISTER, &call).await
}

async fn before_sign_in(cx: Cx<Hooks>, call: CapabilityCall) -> Result<Vec<u8>> {
    answer(&cx, SIGN_IN, &call).await
}

async fn claims(cx: Cx<Hooks>, call: CapabilityCall) -> Result<Vec<u8>> {
    answer(&cx, CLAIMS, &call).await
}

async fn answer(cx: &Cx<Hooks>, name: &'static str, call: &CapabilityCall) -> Result<Vec<u8>> {
    if call.method != "ask" {
        let message = format!("a hook has no method {}", call.method);
        return Err(Error::not_found("HOOK_METHOD", message));
    }
    let question = serde_json::from_slice(&call.payload).map_err(Error::internal)?;
    let act = {
        let mut all = cx.plugin().all();
        let hook = all.entry(name).or_default();
        hook.asked.push(question);
        hook.act.clone()
    };
    match act.as_str() {
        Some("fail") => Err(Error::new(500, "HOOK_BROKEN", "it does not work")),
        Some("panic") => panic!("a hook panics, as it was told"),
        Some("hang") => pending().await,
        _ => said(&act),
    }
}

fn said(act: &Value) -> Result<Vec<u8>> {
    let refusal = &act["refuse"];
    if let (Some(code), Some(message)) = (refusal["code"].as_str(), refusal["message"].as_str()) {
        return Err(Error::new(403, code.to_owned(), message.to_owned()));
    }
    let answer = act.get("answer").cloned().unwrap_or_else(|| json!({}));
    Ok(answer.to_string().into_bytes())
}

export_plugin!(Hooks);
