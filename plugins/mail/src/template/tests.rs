//! What mails say, in each language, and what is refused.

use std::fs;

use nself_plugin_api::serde_json::{Map, Value, json};

use super::*;
use crate::config::Config;

/// Every mail that the identity plugin sends, with what it is filled with.
const AUTH: [&str; 19] = [
    "auth/verify-email",
    "auth/reset-password",
    "auth/magic-link",
    "auth/otp",
    "auth/change-email",
    "auth/password-changed",
    "auth/totp-added",
    "auth/totp-removed",
    "auth/recovery-codes-replaced",
    "auth/passkey-added",
    "auth/passkey-removed",
    "auth/token-made",
    "auth/email-changed",
    "auth/session-reuse",
    "auth/new-sign-in",
    "auth/invitation",
    "auth/account-exists",
    "auth/sign-up-refused",
    "auth/account-deleted",
];

fn templates(config: Config) -> Templates {
    let settings = Settings::resolve(config, "development").expect("nothing is missing");
    Templates::load(&settings).unwrap_or_else(|error| panic!("{error}"))
}

fn builtin() -> Templates {
    templates(Config {
        app_name: "Hearth".to_owned(),
        ..Config::default()
    })
}

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn everything() -> Map<String, Value> {
    map(json!({
        "link": "https://example.org/?a=1&b=2", "code": "314159", "name": "Ada", "family": "Lovelace",
        "inviter": "Charles", "expires_minutes": 30, "when": "12 May 2026, 10:00 UTC", "ip": "203.0.113.7",
        "reason": "do your chores first",
    }))
}

fn render(template: &str, language: &str, variables: Value) -> Result<Content, MailError> {
    builtin().render(template, Some(language), &map(variables))
}

#[test]
fn every_mail_of_the_identity_plugin_is_there_in_english_and_german() {
    let templates = builtin();
    for template in AUTH {
        let [en, de] = ["en", "de"].map(|language| {
            let mail = templates.render(template, Some(language), &everything());
            mail.unwrap_or_else(|error| panic!("{template} in {language}: {error}"))
        });
        assert_ne!(en.subject, de.subject, "{template}");
        assert!(en.text.contains("Hello Ada,"), "{template}: {}", en.text);
        assert!(de.text.contains("Hallo Ada,"), "{template}: {}", de.text);
        for mail in [en, de] {
            let html = mail.html.expect("each has HTML");
            for text in [&mail.subject, &mail.text, &html] {
                assert!(!text.contains("{{") && !text.contains("{%"), "{text}");
            }
            assert!(html.contains("Hearth"), "{template}");
        }
    }
}

#[test]
fn the_languages_have_the_same_mails() {
    let templates = builtin();
    let mails = |language: &str| -> Vec<String> {
        let language = &templates.languages[language];
        language.templates.keys().cloned().collect()
    };
    assert_eq!(mails("en"), mails("de"));
}

#[test]
fn only_mails_with_a_link_or_a_code_show_one() {
    let templates = builtin();
    for template in AUTH {
        let mail = templates
            .render(template, None, &everything())
            .unwrap_or_else(|error| panic!("{error}"));
        let with_link = [
            "auth/verify-email",
            "auth/reset-password",
            "auth/magic-link",
            "auth/change-email",
            "auth/invitation",
        ];
        let html = mail.html.unwrap_or_default();
        let has_link = with_link.contains(&template);
        assert_eq!(
            mail.text.contains("https://example.org/?a=1&b=2"),
            has_link,
            "{template}"
        );
        assert_eq!(html.contains("<a href="), has_link, "{template}");
        assert_eq!(mail.text.contains("314159"), template == "auth/otp");
        assert_eq!(html.contains("314159"), template == "auth/otp");
    }
}

#[test]
fn what_somebody_calls_himself_is_text_and_not_html() {
    let variables = json!({"inviter": "<b>Eve</b>", "family": "\"A\" & B", "link": "https://example.org/\"onclick=x", "expires_minutes": 5});
    let mail = render("auth/invitation", "en", variables).expect("it renders");
    assert_eq!(mail.subject, "<b>Eve</b> invites you to \"A\" & B");
    assert!(mail.text.contains("<b>Eve</b>"));
    let html = mail.html.expect("it has HTML");
    assert!(html.contains("&lt;b&gt;Eve"), "{html}");
    assert!(!html.contains("<b>Eve"), "{html}");
    assert!(!html.contains("/\"onclick"), "{html}");
}

#[test]
fn a_link_leads_to_the_web() {
    for link in [
        "javascript:alert(1)",
        "https://a b",
        "",
        "ftp://a",
        "https://a\r\nb",
    ] {
        let refused = render(
            "auth/magic-link",
            "en",
            json!({"link": link, "expires_minutes": 5}),
        );
        assert!(matches!(refused, Err(MailError::Link)), "{link:?}");
    }
}

#[track_caller]
fn check_language(wanted: Option<&str>, default: &str, expected: &str) {
    let templates = templates(Config {
        default_language: default.to_owned(),
        ..Config::default()
    });
    let mail = templates.render("mail/test", wanted, &Map::new());
    let mail = mail.expect("it renders");
    assert!(mail.subject.starts_with(expected), "{}", mail.subject);
}

#[test]
fn the_nearest_language_is_used() {
    check_language(Some("de"), "en", "Testmail");
    check_language(Some("de-AT"), "en", "Testmail");
    check_language(Some("de_CH"), "en", "Testmail");
    check_language(Some("DE"), "en", "Testmail");
    check_language(Some("fr"), "en", "Test mail");
    check_language(Some("fr"), "de", "Testmail");
    check_language(None, "de", "Testmail");
    check_language(Some("fr"), "pt", "Test mail");
}

#[test]
fn a_missing_variable_is_named() {
    let missing = |template, variables| match render(template, "en", variables) {
        Err(MailError::VariableMissing { missing, .. }) => missing,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        missing("auth/verify-email", json!({})),
        ["expires_minutes", "link"]
    );
    assert_eq!(
        missing("auth/otp", json!({"expires_minutes": 5, "code": null})),
        ["code"]
    );
    assert_eq!(
        missing(
            "auth/invitation",
            json!({"link": "https://a", "expires_minutes": 5})
        ),
        ["family", "inviter"]
    );
}

#[test]
fn a_template_that_is_not_there_is_refused() {
    for template in ["auth/nothing", "", "layout", "notice", "../auth/otp"] {
        let refused = render(template, "en", json!({}));
        let refused = refused.expect_err("there is none");
        assert!(matches!(refused, MailError::TemplateUnknown { .. }));
    }
}

#[test]
fn an_invitation_of_days_says_days() {
    let mut variables = everything();
    for (minutes, expected) in [(60, "60 minutes"), (10_080, "7 days")] {
        variables.insert("expires_minutes".to_owned(), json!(minutes));
        let mail = builtin().render("auth/invitation", None, &variables);
        let mail = mail.expect("it renders");
        assert!(mail.text.contains(expected), "{}", mail.text);
    }
}

/// A directory of an operator with these files.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    for (name, text) in files {
        let path = directory.path().join(name);
        let folder = path.parent().expect("a file is in a folder");
        fs::create_dir_all(folder).expect("a new folder");
        fs::write(path, text).expect("a new file");
    }
    directory
}

fn with_directory(directory: &tempfile::TempDir) -> Config {
    Config {
        templates_directory: Some(directory.path().display().to_string()),
        ..Config::default()
    }
}

#[test]
fn an_operator_replaces_texts_and_looks_and_adds_mails_and_languages() {
    let directory = directory(&[
        (
            "messages/en.json",
            r#"{"templates": {"auth/otp": {"subject": "Code for us"}, "shop/receipt": {"subject": "Receipt {{ number }}", "intro": ["Thanks."]}}}"#,
        ),
        (
            "messages/fr.json",
            r#"{"common": {"greeting": "Bonjour,", "footer": "Fin.", "link_fallback": "", "intro": [], "outro": [], "action": false, "code": false},
                "templates": {"auth/otp": {"subject": "Votre code", "code": true}}}"#,
        ),
        ("templates/auth/otp.html", "<p>Ours: {{ code }}</p>"),
    ]);
    let templates = templates(with_directory(&directory));
    let otp = |language| {
        templates
            .render("auth/otp", Some(language), &everything())
            .expect("it renders")
    };
    let (en, fr, de) = (otp("en"), otp("fr-CA"), otp("de"));
    assert_eq!(en.subject, "Code for us");
    assert!(en.text.contains("Hello Ada,"), "the rest stays");
    assert_eq!(en.html.as_deref(), Some("<p>Ours: 314159</p>"));
    assert_eq!(fr.subject, "Votre code");
    assert!(fr.text.starts_with("Bonjour,"));
    assert!(de.subject.starts_with("Dein Code"));
    let added = templates.render("shop/receipt", None, &map(json!({"number": 7})));
    assert_eq!(added.expect("it renders").subject, "Receipt 7");
}

#[test]
fn a_mistake_in_the_directory_is_named_when_the_plugin_starts() {
    for (file, text) in [
        ("messages/en.json", "{"),
        ("messages/en.json", r#"{"texts": {}}"#),
        ("templates/layout.html", "{% block %}"),
    ] {
        let directory = directory(&[(file, text)]);
        let settings = Settings::resolve(with_directory(&directory), "development");
        let refused = Templates::load(&settings.expect("nothing is missing"));
        let refused = refused.err().expect("there is a mistake").to_string();
        let name = file.rsplit('/').next().expect("a name");
        assert!(refused.contains(name), "{refused}");
    }
    let gone = Config {
        templates_directory: Some("/nowhere/at/all".to_owned()),
        ..Config::default()
    };
    let settings = Settings::resolve(gone, "development").expect("nothing is missing");
    let refused = Templates::load(&settings).err().expect("it is not there");
    assert!(refused.to_string().contains("/nowhere/at/all"));
}

#[test]
fn a_look_that_uses_what_nobody_gives_is_told_to_the_caller() {
    let directory = directory(&[("templates/auth/otp.html", "{{ colour }}")]);
    let templates = templates(with_directory(&directory));
    let refused = templates.render("auth/otp", None, &everything());
    assert!(
        matches!(refused, Err(MailError::VariableMissing { .. })),
        "{refused:?}"
    );
}
