//! The policy of this program, and what keeps a text from being one.

use super::*;
use crate::plugin::manifest::Role;

const SMALL: &str = r#"
    [actions]
    "note.read" = "O A V"
    "note.own" = "U"
    [routing]
    routes = []
    [rules]
    family = { family_id = { _eq = "X-Hasura-Family-Id" } }
    mine = { user_id = { _eq = "X-Hasura-User-Id" } }
    [tables.notes]
    select = { "note.read" = "any", "note.own" = "mine" }
"#;

#[track_caller]
fn refused(from: &str, to: &str, says: &str) {
    assert!(SMALL.contains(from), "{from}");
    let refusal = Policy::read(&SMALL.replacen(from, to, 1)).expect_err(to);
    assert!(refusal.to_string().contains(says), "{refusal}");
}

#[test]
fn the_policy_of_this_program_is_one() {
    Policy::read(SOURCE).expect("db/policy.toml reads");
    Policy::read(SMALL).expect("so does the one of these tests");
}

/// The matrix of the product, once more and by hand: whoever changes one of the two has to look at the other.
#[test]
fn the_matrix_is_the_products() {
    let rows: [(&str, &[&str]); 7] = [
        (
            "O A D Y",
            &[
                "post.create",
                "post.edit_own",
                "media.upload",
                "conversation.create",
                "message.send",
                "event.create",
                "recipe.manage",
                "location.share",
            ],
        ),
        (
            "O A",
            &[
                "post.delete_any",
                "media.delete_any",
                "member.manage",
                "device.manage",
                "audit.view",
                "family.settings",
            ],
        ),
        (
            "O A D",
            &[
                "content.view_adults_only",
                "vault.view",
                "vault.create",
                "vault.seal",
                "location.view",
            ],
        ),
        (
            "O",
            &[
                "member.change_role",
                "family.export",
                "family.delete_data",
                "family.delete",
            ],
        ),
        ("C", &["content.view_approved"]),
        ("V", &["content.view_streamed"]),
        ("O A D Y C V", &["stream.read"]),
    ];
    for (letters, actions) in rows {
        for action in actions {
            let roles = Policy::embedded().action(action).expect(action);
            let found: Vec<&str> = roles.iter().map(PolicyRole::letter).collect();
            assert_eq!(found.join(" "), letters, "{action}");
        }
    }
}

#[test]
fn a_child_does_not_chat_and_a_device_only_reads_streams() {
    let policy = Policy::embedded();
    let may = |role: Role, action: &str| policy.action(action).expect(action).contain(role);
    for action in [
        "conversation.view",
        "conversation.create",
        "message.send",
        "content.view",
    ] {
        assert!(!may(Role::ChildMember, action), "{action}");
    }
    let device: Vec<&str> = policy
        .actions()
        .filter(|(_, roles)| roles.contain(Role::Device))
        .map(|(action, _)| action)
        .collect();
    let expected = ["content.view_streamed", "family.view", "stream.read"];
    assert_eq!(device, expected);
    for (name, table) in policy.tables() {
        for operation in [Operation::Insert, Operation::Update, Operation::Delete] {
            let device = PolicyRole::Family(Role::Device);
            assert_eq!(policy.grants(table, operation, device).count(), 0, "{name}");
        }
    }
}

#[test]
fn what_is_written_wrong_is_told() {
    refused("\"O A V\"", "\"O A X\"", "\"X\"");
    refused("\"O A V\"", "\"A O\"", "\"O\"");
    refused("\"O A V\"", "\"O O\"", "\"O\"");
    refused(
        "\"note.own\" = \"U\"",
        "\"Note\" = \"U\"",
        "\"Note\" is no name",
    );
    refused(
        "\"note.own\" = \"mine\"",
        "\"note.owm\" = \"mine\"",
        "notes.select names the action \"note.owm\"",
    );
    refused(
        "\"note.own\" = \"mine\"",
        "\"note.own\" = \"mime\"",
        "notes.select names the rule \"mime\"",
    );
    refused(
        ", \"note.own\" = \"mine\"",
        "",
        "the action \"note.own\" is used by nothing",
    );
    refused(
        "mine =",
        "more = {}\nmine =",
        "the rule \"more\" is used by nothing",
    );
    refused(
        "[tables.notes]",
        "[tables.notes]\nrows = \"all\"",
        "notes names the rule \"all\"",
    );
    refused(
        "[tables.notes]",
        "[tables.notes]\nrow = \"all\"",
        "unknown field `row`",
    );
    refused("{ _eq = \"X-Hasura-User-Id\" }", "\"@mine\"", "\"@mine\"");
}

#[test]
fn a_rule_stands_on_what_the_token_of_its_role_carries() {
    // A device is nobody: it has no user.
    refused(
        "\"note.read\" = \"any\"",
        "\"note.read\" = \"mine\"",
        "DEVICE at notes.select: a token of that role carries no X-Hasura-User-Id",
    );
    // Who acts in one family has no list of all.
    refused(
        "_eq = \"X-Hasura-Family-Id\"",
        "_in = \"X-Hasura-Family-Ids\"",
        "OWNER at notes.select: a token of that role carries no X-Hasura-Family-Ids",
    );
    // Who acts in none sees of all of them what everybody there sees; Y and C do not see notes.
    refused(
        "user_id = { _eq = \"X-Hasura-User-Id\" }",
        "family_id = { _in = \"X-Hasura-Family-Ids\" }",
        "not even ADULT_MEMBER in the family sees that",
    );
}

#[test]
fn near_names_are_told() {
    let near = Policy::embedded().near("members.manage");
    assert_eq!(near[0], "member.manage");
}

#[test]
fn rules_are_put_together_as_short_as_they_can_be() {
    let policy = Policy::read(SMALL).expect("it reads");
    let (family, mine, none) = (
        policy.rule("family"),
        policy.rule("mine"),
        policy.rule("any"),
    );
    assert_eq!(rules::all(&[family, none]), *family);
    assert_eq!(rules::all(&[family, mine]).len(), 2);
    assert!(rules::all(&[family, family]).contains_key("_and"));
    assert_eq!(rules::any(&[mine, none]), *none);
    assert_eq!(rules::any(&[mine, mine]), *mine);
    assert!(rules::any(&[mine, family]).contains_key("_or"));
}
