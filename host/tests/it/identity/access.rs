//! Every access rule against every kind of caller.

use std::sync::Arc;

use nself::identity::Verdict::{self, Allow, Forbidden, Unauthenticated};
use nself::identity::{Kind, Principal, check};
use nself::plugin::manifest::{Access, Role};
use uuid::Uuid;

fn principal(kind: Kind) -> Principal {
    let person = matches!(kind, Kind::User).then(|| Uuid::from_u128(1));
    Principal {
        kind,
        subject: "someone".into(),
        user_id: person,
        session_id: None,
        member_id: None,
        family_id: None,
        device_id: None,
        role: None,
        family_ids: Vec::new(),
        scopes: Vec::new(),
        aal: 1,
        elevated: false,
        epoch: 0,
        expires_at: None,
    }
}

fn member(kind: Kind, role: Role) -> Principal {
    Principal {
        role: Some(role),
        family_id: Some(Uuid::from_u128(2)),
        ..principal(kind)
    }
}

fn scoped(kind: Kind, scope: &str) -> Principal {
    Principal {
        scopes: vec![Arc::from(scope)],
        ..principal(kind)
    }
}

/// In the order of the columns.
fn rules() -> [Access; 7] {
    [
        Access::Public,
        Access::Authenticated,
        Access::Roles(vec![Role::Owner, Role::AdultMember]),
        Access::Roles(vec![Role::Device]),
        Access::Service("jobs.write".to_owned()),
        Access::Operator,
        Access::Action("member.manage".to_owned()),
    ]
}

#[track_caller]
fn check_row(who: &str, principal: Option<&Principal>, expected: [Verdict; 7]) {
    for (rule, expected) in rules().iter().zip(expected) {
        assert_eq!(check(rule, principal), expected, "{who} at {rule:?}");
    }
}

#[test]
fn the_matrix() {
    const N: Verdict = Forbidden;
    let rows = [
        //                                                        public signed-in adults devices service operator member.manage
        (
            "owner",
            member(Kind::User, Role::Owner),
            [Allow, Allow, Allow, N, N, N, Allow],
        ),
        (
            "admin",
            member(Kind::User, Role::Admin),
            [Allow, Allow, N, N, N, N, Allow],
        ),
        (
            "adult",
            member(Kind::User, Role::AdultMember),
            [Allow, Allow, Allow, N, N, N, N],
        ),
        (
            "youth",
            member(Kind::User, Role::YouthMember),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "child",
            member(Kind::User, Role::ChildMember),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "device",
            member(Kind::Device, Role::Device),
            [Allow, Allow, N, Allow, N, N, N],
        ),
        (
            "user without family",
            principal(Kind::User),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "owner of no family",
            Principal {
                role: Some(Role::Owner),
                ..principal(Kind::User)
            },
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "user with the scope",
            scoped(Kind::User, "jobs.write"),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "device with the scope",
            scoped(Kind::Device, "jobs.write"),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "service without scope",
            principal(Kind::Service),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "service with another",
            scoped(Kind::Service, "jobs.read"),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "service with the scope",
            scoped(Kind::Service, "jobs.write"),
            [Allow, Allow, N, N, Allow, N, N],
        ),
        (
            "service with all",
            scoped(Kind::Service, "*"),
            [Allow, Allow, N, N, Allow, N, N],
        ),
        (
            "service as owner",
            member(Kind::Service, Role::Owner),
            [Allow, Allow, N, N, N, N, N],
        ),
        (
            "operator",
            principal(Kind::Operator),
            [Allow, Allow, N, N, Allow, Allow, N],
        ),
        (
            "operator with the scope",
            scoped(Kind::Operator, "jobs.write"),
            [Allow, Allow, N, N, Allow, Allow, N],
        ),
        (
            "operator as owner",
            member(Kind::Operator, Role::Owner),
            [Allow, Allow, N, N, Allow, Allow, N],
        ),
    ];
    for (who, principal, expected) in &rows {
        check_row(who, Some(principal), *expected);
    }
    let closed = Unauthenticated;
    check_row(
        "nobody",
        None,
        [Allow, closed, closed, closed, closed, closed, closed],
    );
}
