//! What `check` finds.

use nself::{
    hasura::{
        catalog::Catalog,
        check::{Against, check},
    },
    policy::Policy,
};
use serde_json::{Value, json};

use super::{built, catalog};

/// The repository's document with one change, and what is then told.
struct Changed<'a> {
    catalog: &'a Catalog,
    document: Value,
}

impl<'a> Changed<'a> {
    fn new(catalog: &'a Catalog, change: impl FnOnce(&mut Value)) -> Self {
        let mut document = built(catalog);
        change(&mut document);
        Self { catalog, document }
    }

    fn told(&self) -> Vec<String> {
        let against = Against {
            policy: Policy::embedded(),
            catalog: self.catalog,
            unauthorized: "anonymous",
        };
        let faults = check(&self.document, against);
        faults.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn tells(&self, expected: &str) {
        let told = self.told();
        assert!(
            told.iter().any(|fault| fault.contains(expected)),
            "{expected:?} is not in {told:#?}"
        );
    }
}

fn table<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    let tables = document["sources"][0]["tables"].as_array_mut().unwrap();
    tables
        .iter_mut()
        .find(|entry| entry["table"]["name"] == name)
        .unwrap()
}

fn filter<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    &mut table(document, name)["select_permissions"][0]["permission"]["filter"]
}

#[tokio::test]
async fn the_document_of_this_repository_has_no_fault() {
    let catalog = catalog().await;
    assert_eq!(Changed::new(&catalog, |_| {}).told(), Vec::<String>::new());
}

#[tokio::test]
async fn names_that_are_not_in_the_live_schema_are_told() {
    let catalog = catalog().await;
    let changed = |change: fn(&mut Value)| Changed::new(&catalog, change);
    changed(|document| table(document, "posts")["table"]["name"] = json!("postz"))
        .tells("public.postz: there is no such table");
    changed(|document| {
        table(document, "posts")["select_permissions"][0]["permission"]["columns"] =
            json!(["id", "titel"]);
    })
    .tells("public.posts, select of OWNER: there is no column titel");
    changed(|document| {
        table(document, "posts")["insert_permissions"][0]["permission"]["set"] =
            json!({"authr": "x"});
    })
    .tells("public.posts, insert of OWNER: there is no column authr");
    changed(|document| *filter(document, "posts") = json!({"visibilty": {"_eq": "family"}}))
        .tells("public.posts has neither a column nor a relationship visibilty");
    changed(|document| *filter(document, "posts") = json!({"author": {"rool": {"_eq": "OWNER"}}}))
        .tells("public.family_members has neither a column nor a relationship rool");
    changed(|document| *filter(document, "posts") = json!({"_not": {"_or": [{"friends": {}}]}}))
        .tells("neither a column nor a relationship friends");
    changed(|document| {
        *filter(document, "posts") =
            json!({"_exists": {"_table": {"schema": "public", "name": "x"}, "_where": {}}});
    })
    .tells("there is no table public.x");
    changed(|document| *filter(document, "posts") = json!({"title": {"_equals": "x"}}))
        .tells("there is no operator _equals");
    changed(|document| {
        table(document, "posts")["object_relationships"] =
            json!([{"name": "owner", "using": {"foreign_key_constraint_on": "owner_id"}}]);
    })
    .tells("public.posts, relationship owner: public.posts has no foreign key on owner_id");
    changed(|document| {
        table(document, "posts")["computed_fields"] =
            json!([{"name": "words", "definition": {"function": {"schema": "public", "name": "count_words"}}}]);
    })
    .tells("public.posts, computed field words: there is no function public.count_words");
}

#[tokio::test]
async fn permissions_beyond_the_policy_are_told() {
    let catalog = catalog().await;
    let add = |name: &'static str, list: &'static str, role: &'static str, permission: Value| {
        Changed::new(&catalog, move |document| {
            let entry = table(document, name);
            if entry[list].is_null() {
                entry[list] = json!([]);
            }
            let list = entry[list].as_array_mut().unwrap();
            list.push(json!({"role": role, "permission": permission}));
        })
    };
    let all = || json!({"columns": ["id"], "filter": {}});
    add("posts", "select_permissions", "admin", all())
        .tells("select of admin: admin may do everything");
    add("posts", "select_permissions", "GUEST", all())
        .tells("select of GUEST: the policy has no such role");
    add("posts", "select_permissions", "DEVICE", all())
        .tells("public.posts, select of DEVICE: no action of db/policy.toml lets this role do it");
    add(
        "legacy_vaults",
        "delete_permissions",
        "CHILD_MEMBER",
        json!({"filter": {}}),
    )
    .tells("public.legacy_vaults, delete of CHILD_MEMBER: no action of db/policy.toml");
    let union = Changed::new(&catalog, |document| {
        document["inherited_roles"] =
            json!([{"role_name": "parent", "role_set": ["OWNER", "ADMIN"]}]);
    });
    union.tells("inherited role parent: a role is one of the policy's");
}

#[tokio::test]
async fn variables_that_nobody_vouches_for_are_told() {
    let catalog = catalog().await;
    let changed = |change: fn(&mut Value)| Changed::new(&catalog, change);
    // Anybody may send the header when no token says it.
    changed(|document| {
        table(document, "notes")["select_permissions"] = json!([{"role": "anonymous", "permission": {
            "columns": ["id"], "filter": {"family_id": {"_eq": "x-hasura-family-id"}},
        }}]);
    })
    .tells("anonymous comes without a token, so anybody could forge x-hasura-family-id");
    changed(|document| {
        *filter(document, "posts") = json!({"family_id": {"_in": "X-Hasura-Family-Ids"}});
    })
    .tells("the token of OWNER does not carry X-Hasura-Family-Ids");
    changed(|document| {
        *filter(document, "posts") = json!({"family_id": {"_eq": "X-Hasura-Famly-Id"}});
    })
    .tells("the token of OWNER does not carry X-Hasura-Famly-Id");
}

#[tokio::test]
async fn keys_that_hasura_does_not_know_are_told() {
    let catalog = catalog().await;
    let changed = |change: fn(&mut Value)| Changed::new(&catalog, change);
    changed(|document| document["sauces"] = json!([])).tells("'sauces' was unexpected");
    changed(|document| table(document, "posts")["select_permisions"] = json!([]))
        .tells("public.posts/");
    changed(|document| {
        table(document, "posts")["select_permissions"][0]["permission"]["filtr"] = json!({});
    })
    .tells("'filtr' was unexpected");
    // A limit that is misspelt would open what was closed.
    changed(|document| {
        table(document, "posts")["update_permissions"][0]["permission"]
            .as_object_mut()
            .unwrap()
            .remove("check");
    })
    .tells("\"check\" is a required property");
}
