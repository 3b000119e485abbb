//! The matrix, three times: what the policy says, what a route lets through, and what Hasura is told are the same.

use nself::{
    hasura::{TableName, tables},
    identity::{Gate, Kind, Principal, Verdict},
    plugin::manifest::{Access, Role},
    policy::{Operation, Policy, PolicyRole, carried, rules},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{built, catalog};

fn caller(role: Role) -> Principal {
    let kind = if role == Role::Device {
        Kind::Device
    } else {
        Kind::User
    };
    Principal {
        kind,
        subject: "someone".into(),
        user_id: (kind == Kind::User).then(|| Uuid::from_u128(1)),
        session_id: None,
        epoch: 0,
        member_id: None,
        family_id: Some(Uuid::from_u128(2)),
        device_id: None,
        role: Some(role),
        family_ids: vec![],
        scopes: vec![],
        aal: 1,
        elevated: false,
        expires_at: None,
    }
}

#[test]
fn a_route_lets_through_whom_the_policy_names() {
    let mut pairs = 0;
    for (action, roles) in Policy::embedded().actions() {
        let gate = Gate::new(&Access::Action(action.to_owned()));
        for role in PolicyRole::ALL {
            let PolicyRole::Family(role) = role else {
                continue;
            };
            let verdict = gate.admit(Some(&caller(role)));
            assert_eq!(
                verdict == Verdict::Allow,
                roles.contain(role),
                "{action} as {role:?}"
            );
            pairs += 1;
        }
        assert_eq!(gate.admit(None), Verdict::Unauthenticated, "{action}");
    }
    println!("{pairs} pairs of action and role");
}

#[test]
fn an_action_that_nobody_knows_lets_nobody_through() {
    let gate = Gate::new(&Access::Action("posts.create".to_owned()));
    assert_eq!(gate.admit(Some(&caller(Role::Owner))), Verdict::Forbidden);
}

#[tokio::test]
async fn hasura_is_told_what_the_policy_says_for_every_table_operation_and_role() {
    let policy = Policy::embedded();
    let document = built(&catalog().await);
    let mut pairs = 0;
    for (name, tabled) in policy.tables() {
        let table = TableName::public(name);
        let entry = tables(&document)
            .iter()
            .find(|entry| TableName::read(&entry["table"]).as_ref() == Some(&table))
            .expect(name);
        for operation in Operation::ALL {
            for role in PolicyRole::ALL {
                let told = permission(entry, operation, role);
                let granted: Vec<_> = policy.grants(tabled, operation, role).collect();
                let place = format!("{name}, {} of {}", operation.name(), role.name());
                assert_eq!(told.is_some(), !granted.is_empty(), "{place}");
                pairs += 1;
                let Some(told) = told else { continue };
                let condition = condition(told, operation);
                // Every role in a family is held in it; the one in none has nothing but its own.
                let used = rules::variables(condition);
                let in_family = used.iter().any(|one| one == "X-Hasura-Family-Id");
                let everybodys = ["apps", "user_app_roles"].contains(&name.as_str());
                if role != PolicyRole::User {
                    assert!(in_family || everybodys, "{place}: {condition:?}");
                }
                for variable in &used {
                    assert!(
                        carried::variables(role).contains(&variable.as_str()),
                        "{place}: {variable}"
                    );
                }
            }
        }
    }
    println!("{pairs} triples of table, operation and role");
}

fn permission(entry: &Value, operation: Operation, role: PolicyRole) -> Option<&Value> {
    let list = entry[format!("{}_permissions", operation.name())].as_array()?;
    let found = list.iter().find(|one| one["role"] == role.name())?;
    Some(&found["permission"])
}

fn condition(permission: &Value, operation: Operation) -> &Map<String, Value> {
    let key = if operation == Operation::Insert {
        "check"
    } else {
        "filter"
    };
    permission[key].as_object().expect("a condition")
}

#[tokio::test]
async fn what_the_matrix_forbids_is_not_in_the_rules() {
    let document = built(&catalog().await);
    let text = |name: &str, operation: Operation, role: Role| {
        let entry = tables(&document)
            .iter()
            .find(|entry| entry["table"]["name"] == name && entry["table"]["schema"] == "public");
        let permission = permission(entry.expect(name), operation, PolicyRole::Family(role));
        permission
            .map(|one| condition(one, operation))
            .map(|one| Value::from(one.clone()).to_string())
    };
    for name in [
        "posts",
        "media_items",
        "albums",
        "recipes",
        "trips",
        "calendar_events",
        "live_events",
    ] {
        let youth = text(name, Operation::Select, Role::YouthMember).expect(name);
        assert!(!youth.contains("adults_only"), "{name}: {youth}");
        let adult = text(name, Operation::Select, Role::AdultMember).expect(name);
        assert!(adult.contains("adults_only"), "{name}: {adult}");
        let child = text(name, Operation::Select, Role::ChildMember).expect(name);
        assert!(!child.contains("adults_only"), "{name}: {child}");
    }
    let child = text("posts", Operation::Select, Role::ChildMember).expect("a child reads");
    assert!(child.contains("child_approved_at"), "{child}");
    for name in [
        "conversations",
        "messages",
        "message_reactions",
        "read_states",
    ] {
        for operation in Operation::ALL {
            assert_eq!(text(name, operation, Role::ChildMember), None, "{name}");
        }
    }
    // Delete any post: O A. Everybody else their own.
    let by_me = "X-Hasura-Member-Id";
    for (role, is_any) in [
        (Role::Owner, true),
        (Role::Admin, true),
        (Role::AdultMember, false),
        (Role::YouthMember, false),
    ] {
        let delete = text("posts", Operation::Delete, role).expect("they may");
        assert_eq!(!delete.contains(by_me), is_any, "{role:?}: {delete}");
    }
}
