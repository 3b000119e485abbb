//! Somebody tries passwords, and gets in.

use nself_compose::shell::eventually;

use super::{
    page::{Page, cell, when},
    person::{EMAIL, OPEN, Person, tries},
};
use crate::household::Household;

pub(super) fn drill(page: &mut Page) {
    let household = Household::start(&["mail", "auth"], OPEN);
    let thief = Person::registers(&household);
    // Limits hold for the account, which the person feels as well.
    eventually("the account is shut for a while", || {
        let refused = tries(&household, "a guess");
        when(refused.status == 429, refused.body)
    });

    let refused = page
        .types(&household, "nself auth lockouts", &[])
        .good("who was turned away");
    assert_eq!(cell(&refused, &[EMAIL], "FROM"), "127.0.0.1");
    let account = cell(&refused, &[EMAIL], "ACCOUNT");
    assert_eq!(account, thief.id());
    let done = page
        .types(&household, "nself auth audit", &[])
        .good("what was done");
    assert!(done.contains("auth.signed_up"), "{done}");
    let open = page.types(
        &household,
        "nself auth sessions --user ID",
        &[("ID", &account)],
    );
    let open = open.good("what it has open");
    assert_eq!(cell(&open, &[EMAIL], "IP"), "127.0.0.1");

    page.types(
        &household,
        "nself auth users sign-out ID",
        &[("ID", &account)],
    )
    .good("it is out");
    assert_eq!(thief.renews(&household, None).status, 401);
    assert!(!thief.is_known(&household), "the token is no longer taken");
    household
        .run(&["auth", "lockouts", "lift", &account])
        .good("it may try again");
    let person = Person::signs_in(&household);
    page.types(&household, "nself auth keys rotate --now", &[])
        .good("another key signs");
    let renewed = Person::signs_in(&household);
    assert_ne!(renewed.signed_by(), person.signed_by());
}
