//! The policy's answer to "does this role see such content", as a function in the database: for SQL that has to know it where no
//! query of Hasura's is asked, such as the admission of a media session. Written once more by nobody: a test holds the step of
//! `db/nself` that makes the function, and this, together.

use serde_json::{Map, Value};

use super::{Operation, Policy, PolicyRole, rules};
use crate::plugin::manifest::Role;

/// What people see of content is said for media.
const CONTENT: &str = "media_items";
/// What machines are shown is said for what is streamed.
const STREAMED: &str = "live_events";

/// The statement that makes the function, or what of the rules is no condition on the function's arguments.
fn statement(policy: &Policy) -> Result<String, String> {
    let mut cases = vec![];
    for role in PolicyRole::ALL {
        let PolicyRole::Family(family_role) = role else {
            continue;
        };
        let table = if family_role == Role::Device {
            STREAMED
        } else {
            CONTENT
        };
        let table = policy.tables().get(table).ok_or("no such table")?;
        let grants = policy.grants(table, Operation::Select, role);
        let granted: Vec<_> = grants.map(|grant| policy.rule(&grant.rule)).collect();
        let condition = match granted.as_slice() {
            [] => "false".to_owned(),
            granted => condition(&rules::any(granted))?,
        };
        cases.push(format!("        WHEN '{}' THEN {condition}", role.name()));
    }
    Ok(format!(
        "CREATE OR REPLACE FUNCTION nself.sees_content(\n    \
             role text, visibility text, author_id uuid, child_approved_at timestamptz, member_id uuid\n\
         ) RETURNS boolean\n    LANGUAGE sql IMMUTABLE\nAS $$\n    SELECT coalesce(CASE role\n{}\n    END, false)\n$$;\n",
        cases.join("\n")
    ))
}

/// All entries hold.
fn condition(rule: &Map<String, Value>) -> Result<String, String> {
    let entries: Result<Vec<String>, String> =
        rule.iter().map(|(key, value)| entry(key, value)).collect();
    Ok(match entries?.as_slice() {
        [] => "true".to_owned(),
        entries => entries.join(" AND "),
    })
}

fn entry(key: &str, value: &Value) -> Result<String, String> {
    let unknown = || format!("{key}: {value} is no condition on content");
    match (key, value) {
        ("_or" | "_and", Value::Array(parts)) => {
            let parts = parts.iter().map(|part| {
                let part = part.as_object().ok_or_else(unknown)?;
                Ok(format!("({})", condition(part)?))
            });
            let parts: Result<Vec<String>, String> = parts.collect();
            let between = if key == "_or" { " OR " } else { " AND " };
            Ok(format!("({})", parts?.join(between)))
        }
        ("visibility" | "author_id" | "child_approved_at", Value::Object(tests)) => {
            let tests = tests
                .iter()
                .map(|(name, against)| test(key, name, against).ok_or_else(unknown));
            let tests: Result<Vec<String>, String> = tests.collect();
            Ok(tests?.join(" AND "))
        }
        _ => Err(unknown()),
    }
}

fn test(column: &str, name: &str, against: &Value) -> Option<String> {
    match (name, against) {
        ("_eq", Value::String(text)) => Some(format!("{column} = {}", operand(text)?)),
        ("_in", Value::Array(texts)) => {
            let texts = texts.iter().map(|text| operand(text.as_str()?));
            let texts: Option<Vec<String>> = texts.collect();
            Some(format!("{column} IN ({})", texts?.join(", ")))
        }
        ("_is_null", Value::Bool(true)) => Some(format!("{column} IS NULL")),
        ("_is_null", Value::Bool(false)) => Some(format!("{column} IS NOT NULL")),
        _ => None,
    }
}

fn operand(text: &str) -> Option<String> {
    match text {
        "X-Hasura-Member-Id" => Some("member_id".to_owned()),
        word if word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_') =>
        {
            Some(format!("'{word}'"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The newest step that makes it.
    const STEP: &str = include_str!("../../../db/nself/0009_seeing.up.sql");

    #[test]
    fn the_function_of_the_database_says_what_the_policy_says() {
        let statement = statement(Policy::embedded()).expect("the rules are conditions");
        assert!(
            STEP.contains(&statement),
            "write a step of db/nself with this:\n{statement}"
        );
    }

    #[test]
    fn a_rule_that_the_function_cannot_ask_makes_none() {
        for rule in [
            r#"{"post_audiences": {"member_id": {"_eq": "X-Hasura-Member-Id"}}}"#,
            r#"{"visibility": {"_eq": "x' or true"}}"#,
            r#"{"visibility": {"_like": "x"}}"#,
            r#"{"_or": ["x"]}"#,
        ] {
            let rule: Map<String, Value> = serde_json::from_str(rule).expect("JSON");
            assert!(condition(&rule).is_err(), "{rule:?}");
        }
    }
}
