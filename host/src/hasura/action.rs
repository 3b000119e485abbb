//! Actions: routes of plugins as root fields of GraphQL. Hasura calls the route as it is, with the caller's own token: what a
//! caller may do is decided there, and the permissions here only say who sees the field.

mod template;
mod types;

use serde_json::{Map, Value, json};

pub use self::types::Types;
use self::{template::Template, types::Way};
use super::{HOST, is_name};
use crate::{
    plugin::manifest::{Access, Manifest, Route, Schema},
    policy::{Policy, PolicyRole},
};

/// The argument that is the request's body.
const INPUT: &str = "input";

/// What Hasura waits beyond the time that the route has, seconds.
const SPARE_SECONDS: u64 = 5;

/// The actions of plugins, and the types that they use.
#[derive(Debug, Default)]
pub struct Actions {
    /// As they stand in the document.
    pub list: Vec<Value>,
    /// What their arguments and answers are.
    pub types: Types,
}

impl Actions {
    /// Adds those of a plugin. Routes whose declaration is none have been refused when the plugin was loaded.
    pub fn add(&mut self, manifest: &Manifest, policy: &Policy) {
        for route in &manifest.routes {
            let Some(name) = &route.graphql else { continue };
            let name = format!("{}_{name}", manifest.id.replace('-', "_"));
            let action = action(&name, route, policy, &mut self.types);
            self.list.push(action);
        }
        self.list
            .sort_by_key(|action| action["name"].as_str().map(str::to_owned));
    }
}

/// Why a route cannot be a root field.
///
/// # Errors
///
/// A sentence for the plugin's author.
pub fn admit(route: &Route) -> Result<(), String> {
    let Some(name) = &route.graphql else {
        return Ok(());
    };
    if !is_name(name) {
        return Err(format!(
            "{name:?} is no name of GraphQL: lower-case letters, digits and _"
        ));
    }
    if roles(&route.access, Policy::embedded()).is_empty() {
        return Err(
            "services and operators do not come by GraphQL: it is for routes of people".to_owned(),
        );
    }
    let answer = route.response.as_ref().filter(|_| route.kind == "json");
    if !answer.is_some_and(|answer| types::is_answer(&answer.read())) {
        return Err("GraphQL needs an answer that is Data or Created with an object, or with a list of objects".to_owned());
    }
    if route
        .request
        .as_ref()
        .is_some_and(|body| !types::is_object(&body.read()))
    {
        return Err("GraphQL needs a body that is an object".to_owned());
    }
    if route.path.contains("{*") {
        return Err("GraphQL has no arguments for the rest of a path".to_owned());
    }
    let query = route.query.as_ref().map(Schema::read);
    let asked = asked(query.as_ref()).map(|(name, _)| name);
    let named = template::parameters(&route.path).chain(asked);
    match named
        .into_iter()
        .find(|name| !is_name(name) || *name == INPUT)
    {
        Some(name) => Err(format!(
            "the parameter {name:?} cannot be an argument of GraphQL"
        )),
        None => Ok(()),
    }
}

/// Hasura's roles that a route lets in.
pub fn roles(access: &Access, policy: &Policy) -> Vec<&'static str> {
    let is_let_in = |role: PolicyRole| match (access, role) {
        (Access::Public | Access::Authenticated, _) => true,
        (Access::Roles(roles), PolicyRole::Family(role)) => roles.contains(&role),
        (Access::Action(action), role) => {
            policy.action(action).is_some_and(|roles| roles.has(role))
        }
        _ => false,
    };
    let roles = PolicyRole::ALL.into_iter().filter(|role| is_let_in(*role));
    roles.map(PolicyRole::name).collect()
}

fn action(name: &str, route: &Route, policy: &Policy, types: &mut Types) -> Value {
    let kind = if route.method == "GET" {
        "query"
    } else {
        "mutation"
    };
    let mut definition = json!({
        "type": kind,
        "handler": HOST,
        "forward_client_headers": true,
        "arguments": arguments(name, route, types),
        "output_type": types.answer(&route.response.as_ref().map_or(Value::Null, Schema::read), name),
        "request_transform": request(route),
        "response_transform": {
            "version": 2, "template_engine": "Kriti",
            "body": {"action": "transform", "template": template::ANSWER},
        },
    });
    // Hasura knows no other way to ask a query, and says none when it is asked what it has.
    if kind == "mutation" {
        definition["kind"] = "synchronous".into();
    }
    if let Some(timeout_ms) = route.timeout_ms {
        definition["timeout"] = (timeout_ms.div_ceil(1_000) + SPARE_SECONDS).into();
    }
    let roles = roles(&route.access, policy);
    let permissions = roles.iter().map(|role| json!({"role": role}));
    let mut action = json!({
        "name": name,
        "definition": definition,
        "permissions": permissions.collect::<Vec<_>>(),
    });
    if !route.summary.is_empty() {
        action["comment"] = route.summary.clone().into();
    }
    action
}

fn arguments(action: &str, route: &Route, types: &mut Types) -> Vec<Value> {
    let text = || json!({"type": "string"});
    let in_path = template::parameters(&route.path).enumerate();
    let mut arguments: Vec<Value> = in_path
        .map(|(position, name)| {
            let schema = route.param(position, name).unwrap_or_else(text);
            let kind = types.reference(&schema, &types::inner(action, name), Way::In);
            json!({"name": name, "type": kind.required()})
        })
        .collect();
    let query = route.query.as_ref().map(Schema::read);
    for (name, schema) in asked(query.as_ref()) {
        let kind = types.reference(schema, &types::inner(action, name), Way::In);
        let is_required = types::requires(query.as_ref(), name);
        let mut argument = json!({"name": name, "type": kind.stated(is_required)});
        types::describe(&mut argument, schema);
        arguments.push(argument);
    }
    if let Some(body) = &route.request {
        let kind = types.reference(&body.read(), &types::inner(action, INPUT), Way::In);
        arguments.push(json!({"name": INPUT, "type": kind.required()}));
    }
    arguments
}

/// Parameters of a query's schema.
fn asked(query: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    let properties = query.and_then(|query| query["properties"].as_object());
    let properties = properties.into_iter().flatten();
    properties.map(|(name, schema)| (name.as_str(), schema))
}

/// The request of the route, made from the action's.
fn request(route: &Route) -> Value {
    let is_text = |position, name: &str| {
        let schema = route.param(position, name);
        schema.is_none_or(|schema| types::is_text(&schema))
    };
    let mut request = json!({
        "version": 2, "template_engine": "Kriti", "method": route.method,
        "url": Template::of_path(&route.path, is_text).text(),
        "body": match &route.request {
            Some(_) => json!({"action": "transform", "template": format!("{{{{$body.input.{INPUT}}}}}")}),
            None => json!({"action": "remove"}),
        },
    });
    // What is not given is left out: Hasura drops parameters whose value is `null`.
    let asked_of = route.query.as_ref().map(Schema::read);
    let query = asked(asked_of.as_ref()).map(|(name, _)| {
        (
            name.to_owned(),
            json!(format!("{{{{$body.input?.{name}}}}}")),
        )
    });
    let query: Map<String, Value> = query.collect();
    if !query.is_empty() {
        request["query_params"] = query.into();
    }
    request
}
