//! The host checks by schema what the plugin then reads with serde: both must say the same about every value.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Change, Code, Config, Empty, Filter, Names, Note, Page, Role, Step, Timer, schema_of};

/// What serde reads is valid, and so is what it writes again; what it refuses is not valid.
#[track_caller]
fn check<T: Serialize + DeserializeOwned>(schema: &Value, good: &[Value], bad: &[Value]) {
    let validator = jsonschema::validator_for(schema).expect("a JSON Schema");
    for value in good {
        assert!(validator.is_valid(value), "the schema refuses {value}");
        let read: T = serde_json::from_value(value.clone())
            .unwrap_or_else(|error| panic!("serde refuses {value}: {error}"));
        let written = serde_json::to_value(&read).expect("it can be written");
        assert!(
            validator.is_valid(&written),
            "the schema refuses what serde writes: {written}"
        );
    }
    for value in bad {
        assert!(!validator.is_valid(value), "the schema lets {value} pass");
        assert!(
            serde_json::from_value::<T>(value.clone()).is_err(),
            "serde reads {value}"
        );
    }
}

#[test]
fn about_structs() {
    check::<Note>(
        &schema_of!(Note),
        &[
            json!({"longTitle": "a", "kind": true}),
            json!({"longTitle": "a", "kind": true, "body": null, "tags": ["x"], "more": 1}),
        ],
        &[
            json!({"longTitle": "a"}),
            json!({"long_title": "a", "kind": true}),
            json!({"longTitle": "a", "kind": true, "tags": null}),
        ],
    );
    check::<Config>(
        &schema_of!(Config),
        &[
            json!({}),
            json!({"greeting": "hi", "period_s": 1, "offset": null, "sender": "a@b.example"}),
        ],
        &[
            json!({"greting": "hi"}),
            json!({"period_s": -1}),
            json!({"greeting": null}),
        ],
    );
    check::<Empty>(&schema_of!(Empty), &[json!({})], &[json!(null), json!("x")]);
    check::<Names>(
        &schema_of!(Names),
        &[json!({}), json!({"a": "b"})],
        &[json!({"a": 1}), json!(null)],
    );
    check::<Code>(
        &schema_of!(Code),
        &[json!("abc")],
        &[json!("abcd"), json!(["a"])],
    );
    check::<Timer>(
        &schema_of!(Timer),
        &[json!({"every": 60})],
        &[json!({}), json!({"every": "60"})],
    );
    check::<Page<u8>>(
        &schema_of!(Page<u8>),
        &[
            json!({"items": [1, 2], "first": 1}),
            json!({"items": [], "first": 1, "next": "x"}),
        ],
        &[json!({"items": [256], "first": 1}), json!({"items": [1]})],
    );
}

#[test]
fn about_enums() {
    check::<Role>(
        &schema_of!(Role),
        &[json!("owner"), json!("kid")],
        &[json!("Owner"), json!("child"), json!("unknown")],
    );
    check::<Step>(
        &schema_of!(Step),
        &[
            json!({"type": "wait", "SECONDS": 1}),
            json!({"type": "call-out", "toUrl": "x"}),
            json!({"type": "stop"}),
        ],
        &[
            json!({"type": "wait"}),
            json!({"type": "Wait", "SECONDS": 1}),
            json!({"SECONDS": 1}),
            json!("stop"),
        ],
    );
    check::<Step>(
        &schema_of!(Step),
        &[],
        &[json!({"type": "wait", "SECONDS": 1, "more": 1})],
    );
    check::<Filter>(
        &schema_of!(Filter),
        &[
            json!("All"),
            json!({"Title": "x"}),
            json!({"Range": {"to": 1}}),
        ],
        &[
            json!("Title"),
            json!({"Title": "x", "None": null}),
            json!({"Range": {}}),
        ],
    );
    check::<Change>(
        &schema_of!(Change),
        &[
            json!({"op": "Rename", "value": "x"}),
            json!({"op": "Move", "value": {"by": 1}}),
            json!({"op": "Remove"}),
        ],
        &[
            json!({"op": "Rename"}),
            json!({"op": "Move", "value": "x"}),
            json!({"value": "x"}),
        ],
    );
}

/// Types that differ only in the rule, with names that try its corners.
macro_rules! cases {
    ($($rule:literal $module:ident)*) => {
        $( mod $module {
            #[derive(Default, serde::Serialize, serde::Deserialize, nself_plugin_api::Schema)]
            #[serde(rename_all = $rule, deny_unknown_fields)]
            pub(super) struct Fields { one: u8, two_words: u8, r#type: u8, v2_of_it: u8, trailing_: u8 }

            #[derive(serde::Serialize, serde::Deserialize, nself_plugin_api::Schema)]
            #[serde(rename_all = $rule)]
            pub(super) enum Variants { One, TwoWords, HTTPUrl, V2OfIt }
        } )*

        #[test]
        fn about_names_in_every_case() {
            $( {
                use $module::{Fields, Variants};
                let fields = serde_json::to_value(Fields::default()).expect("it can be written");
                check::<Fields>(&schema_of!(Fields), &[fields], &[]);
                let all = [Variants::One, Variants::TwoWords, Variants::HTTPUrl, Variants::V2OfIt];
                assert_eq!(schema_of!(Variants)["enum"], serde_json::to_value(all).expect("it can be written"), $rule);
            } )*
        }
    };
}

cases! {
    "lowercase" lower "UPPERCASE" upper "PascalCase" pascal "camelCase" camel "snake_case" snake
    "SCREAMING_SNAKE_CASE" screaming_snake "kebab-case" kebab "SCREAMING-KEBAB-CASE" screaming_kebab
}
