//! What the derive refuses, and in which words.

/// Expands the derive on `source`, which must fail, saying `reason`.
#[track_caller]
fn check(source: &str, reason: &str) {
    let input = syn::parse_str(source).expect("the source is Rust");
    let error = crate::shape::implement(&input)
        .expect_err("the derive refuses it")
        .to_string();
    assert!(
        error.contains(reason),
        "{source}\nsays: {error}\nnot: {reason}"
    );
}

#[test]
fn what_a_schema_cannot_say() {
    check("union U { a: u8 }", "a union has no schema");
    check("struct S;", "give it braces");
    check("struct S(u8, u8);", "a tuple has no schema");
    check("struct S();", "a tuple has no schema");
    check(
        "#[serde(transparent)] struct S { a: u8, b: u8 }",
        "exactly one field",
    );
    check("enum E {}", "without variants");
    check("enum E { #[serde(skip)] A }", "without variants");
    check("enum E { A(u8, u8) }", "a tuple has no schema");
    check(
        r#"#[serde(tag = "t")] enum E { A(u8) }"#,
        "add serde's `content`",
    );
    check(
        r#"#[serde(tag = "t")] struct S { a: u8 }"#,
        "write it as a field",
    );
    check("#[serde(untagged)] enum E { A(u8) }", "give it a tag");
}

#[test]
fn what_serde_does_beside_the_schema() {
    check(
        "struct S { #[serde(flatten)] a: T }",
        "write the fields out",
    );
    check(
        r#"struct S { #[serde(alias = "b")] a: u8 }"#,
        "remove the alias",
    );
    check(
        r#"struct S { #[serde(with = "m")] a: u8 }"#,
        "#[schema(as = Type)]",
    );
    check(
        r#"struct S { #[serde(serialize_with = "m")] a: u8 }"#,
        "#[schema(as = Type)]",
    );
    check(
        r#"struct S { #[serde(rename(serialize = "x"))] a: u8 }"#,
        "different names",
    );
    check(
        r#"#[serde(from = "A", into = "B")] struct S { a: u8 }"#,
        "different types",
    );
    check(
        r#"#[serde(rename_all = "Camel")] struct S { a: u8 }"#,
        "not one of serde's cases",
    );
    check(
        "enum E { A, #[serde(other)] B }",
        "not supported on a variant",
    );
    check("struct S { #[serde(new_thing)] a: u8 }", "does not know");
}

#[test]
fn what_is_wrong_with_an_override() {
    check(
        "struct S { #[schema(length = 1)] a: String }",
        "expected as, default, min_length",
    );
    check(
        "struct S { #[schema(min_length = -1)] a: String }",
        "not a number of characters",
    );
    check(
        "struct S { #[schema(min_length = 1, min_length = 2)] a: String }",
        "twice",
    );
    check(
        r#"struct S { #[serde(default)] #[schema(default = "dev")] a: String }"#,
        "is not JSON",
    );
    check(
        r#"struct S { #[schema(default = "1")] a: u8 }"#,
        "add #[serde(default)]",
    );
    check(
        r#"struct S(#[schema(default = "1")] u8);"#,
        "belongs to a named field",
    );
    check(
        "#[schema(minimum = 1)] struct S { a: u8 }",
        "stand on its fields",
    );
    check("#[schema(minimum = 1)] struct S(u8);", "the field inside");
    check(
        "#[schema(minimum = 1)] enum E { A }",
        "an enum has no limits",
    );
    check(
        "enum E { #[schema(minimum = 1)] A(u8) }",
        "they stand on its fields",
    );
}
