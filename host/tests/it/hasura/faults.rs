//! What `check` finds.

use nself::{
    hasura::{
        catalog::Catalog,
        check::{Against, check},
    },
    policy::Policy,
};
use serde_json::{Value, json};

use super::{brought, built, catalog};

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
            routes: &brought().routes,
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

fn action<'a>(document: &'a mut Value, name: &str) -> &'a mut Value {
    let actions = document["actions"].as_array_mut().unwrap();
    actions.iter_mut().find(|one| one["name"] == name).unwrap()
}

/// An event trigger of `posts` that nothing is wrong with.
fn trigger() -> Value {
    json!({
        "name": "post_written",
        "definition": {"enable_manual": true, "insert": {"columns": "*"}, "update": {"columns": ["title"], "payload": ["id", "title"]}},
        "retry_conf": {"num_retries": 3, "interval_sec": 10, "timeout_sec": 60},
        "webhook": "{{NSELF_URL}}/v1/jobs/hasura/posts.index",
        "headers": [{"name": "Authorization", "value_from_env": "NSELF_EVENTS_AUTHORIZATION"}],
    })
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

#[tokio::test]
async fn actions_that_lead_nowhere_or_let_in_too_many_are_told() {
    let catalog = catalog().await;
    let changed = |change: fn(&mut Value)| Changed::new(&catalog, change);
    changed(|document| {
        action(document, "auth_me")["definition"]["request_transform"]["url"] =
            json!("{{$base_url}}/auth/myself");
    })
    .tells("action auth_me: no enabled plugin serves GET /auth/myself");
    changed(|document| {
        action(document, "auth_invite")["definition"]["request_transform"]["method"] = json!("PUT");
    })
    .tells("action auth_invite: no enabled plugin serves PUT /auth/families/");
    changed(|document| {
        action(document, "auth_devices")["permissions"] =
            json!([{"role": "OWNER"}, {"role": "CHILD_MEMBER"}]);
    })
    .tells(
        "action auth_devices, CHILD_MEMBER: the route GET /auth/devices does not let this role in",
    );
    changed(|document| action(document, "auth_me")["permissions"] = json!([{"role": "GUEST"}]))
        .tells("action auth_me, GUEST: the policy has no such role");
    changed(|document| action(document, "auth_me")["permissions"] = json!([{"role": "admin"}]))
        .tells("action auth_me, admin: admin may do everything");
    // A route for who is signed in is none for nobody.
    changed(|document| action(document, "auth_me")["permissions"] = json!([{"role": "anonymous"}]))
        .tells("action auth_me, anonymous: the route GET /auth/me does not let this role in");
    let anybody = |url: &'static str| {
        Changed::new(&catalog, move |document| {
            let one = action(document, "auth_me");
            one["permissions"] = json!([{"role": "anonymous"}]);
            one["definition"]["request_transform"]["method"] = json!("POST");
            one["definition"]["request_transform"]["url"] = json!(url);
        })
    };
    assert_eq!(
        anybody("{{$base_url}}/auth/invitations/show").told(),
        Vec::<String>::new()
    );
    anybody("{{$base_url}}/auth/invitations/show?as={{$session_variables['x-hasura-user-id']}}")
        .tells(
            "action auth_me, anonymous: anonymous comes without a token, so anybody could forge",
        );
    changed(|document| action(document, "auth_me")["name"] = json!("posts"))
        .tells("action posts: a table has the same root field");
    changed(|document| {
        let again = action(document, "auth_me").clone();
        document["actions"].as_array_mut().unwrap().push(again);
    })
    .tells("action auth_me: there are two of that name");
}

#[tokio::test]
async fn types_that_actions_use_and_nobody_says_are_told() {
    let catalog = catalog().await;
    let changed = |change: fn(&mut Value)| Changed::new(&catalog, change);
    changed(|document| action(document, "auth_me")["definition"]["output_type"] = json!("Who!"))
        .tells("action auth_me, answer: there is no type Who that can stand here");
    // What is given is no answer, and the other way round.
    changed(|document| {
        action(document, "auth_me")["definition"]["output_type"] = json!("AuthInviteInput");
    })
    .tells("action auth_me, answer: there is no type AuthInviteInput that can stand here");
    changed(|document| {
        action(document, "auth_invite")["definition"]["arguments"][0]["type"] = json!("uuidd!");
    })
    .tells("action auth_invite, argument id: there is no type uuidd that can stand here");
    changed(|document| {
        action(document, "auth_invite")["definition"]["arguments"][1]["type"] =
            json!("AuthInviteOutput!");
    })
    .tells(
        "action auth_invite, argument input: there is no type AuthInviteOutput that can stand here",
    );
    changed(|document| {
        document["custom_types"]["objects"][0]["fields"][0]["type"] = json!("[Thing!]!");
    })
    .tells("there is no type Thing that can stand here");
    changed(|document| {
        let again = document["custom_types"]["objects"][0].clone();
        document["custom_types"]["objects"]
            .as_array_mut()
            .unwrap()
            .push(again);
    })
    .tells("there are two of that name");
    changed(|document| action(document, "auth_me")["definition"]["handlr"] = json!("x"))
        .tells("'handlr' was unexpected");
    changed(|document| {
        action(document, "auth_me")["definition"]["request_transform"]["boddy"] = json!({});
    })
    .tells("'boddy' was unexpected");
}

#[tokio::test]
async fn event_triggers_that_would_never_work_or_tell_a_secret_are_told() {
    let catalog = catalog().await;
    let with = |change: fn(&mut Value)| {
        let mut one = trigger();
        change(&mut one);
        Changed::new(&catalog, move |document| {
            table(document, "posts")["event_triggers"] = json!([one]);
        })
    };
    assert_eq!(with(|_| {}).told(), Vec::<String>::new());
    let place = "public.posts, event trigger post_written: ";
    let tells = |changed: Changed<'_>, problem: &str| changed.tells(&format!("{place}{problem}"));
    tells(
        with(|one| one["definition"]["update"]["columns"] = json!(["titel"])),
        "there is no column titel",
    );
    tells(
        with(|one| one["definition"]["update"]["payload"] = json!(["bodi"])),
        "there is no column bodi",
    );
    tells(
        with(|one| one["definition"] = json!({})),
        "it fires on nothing",
    );
    tells(
        with(|one| one["webhook"] = json!("{{NSELF_URL}}/v1/job/hasura/posts.index")),
        "no enabled plugin serves POST /v1/job/hasura/posts.index",
    );
    tells(
        with(|one| one["webhook"] = json!("{{NSELF_URL}}/hello/notes")),
        "the route POST /hello/notes is for people",
    );
    tells(
        with(|one| one["headers"] = json!([{"name": "x-other", "value": "1"}])),
        "the route asks for a key",
    );
    tells(
        with(|one| one["headers"] = json!([{"name": "Authorization", "value": "Bearer nsk_1"}])),
        "the header Authorization is a secret",
    );
    tells(
        with(|one| one["headers"] = json!([{"name": "Authorization"}])),
        "the header Authorization needs value or value_from_env",
    );
    with(|one| one["retry_cnf"] = json!({})).tells("'retry_cnf' was unexpected");
    with(|one| one["retry_conf"]["num_retrys"] = json!(1)).tells("'num_retrys' was unexpected");
    with(|one| one["name"] = json!("a name with blanks")).tells("does not match");
    with(|one| one["webhook_from_env"] = json!("TOO_MUCH")).tells("public.posts/event_triggers");
    let twice = Changed::new(&catalog, |document| {
        table(document, "posts")["event_triggers"] = json!([trigger()]);
        table(document, "recipes")["event_triggers"] = json!([trigger()]);
    });
    twice.tells("event trigger post_written: there are two of that name");
}

#[tokio::test]
async fn cron_triggers_and_remote_schemas_that_cannot_be_meant_are_told() {
    let catalog = catalog().await;
    let cron = |change: fn(&mut Value)| {
        let mut one = json!({
            "name": "nightly", "schedule": "0 3 * * *", "include_in_metadata": true, "payload": {},
            "webhook": "{{NSELF_URL}}/v1/jobs/hasura/tidy.up",
            "headers": [{"name": "authorization", "value_from_env": "NSELF_EVENTS_AUTHORIZATION"}],
        });
        change(&mut one);
        Changed::new(&catalog, move |document| {
            document["cron_triggers"] = json!([one]);
        })
    };
    assert_eq!(cron(|_| {}).told(), Vec::<String>::new());
    cron(|one| one["webhook"] = json!("{{NSELF_URL}}/v1/nothing"))
        .tells("cron trigger nightly: no enabled plugin serves POST /v1/nothing");
    cron(|one| one["headers"] = json!([])).tells("cron trigger nightly: the route asks for a key");
    // Hasura would drop it when it is asked what it has.
    cron(|one| one["include_in_metadata"] = json!(false))
        .tells("/cron_triggers/0/include_in_metadata");
    cron(|one| one["shedule"] = json!("* * * * *")).tells("'shedule' was unexpected");
    let remote = |change: fn(&mut Value)| {
        let mut one = json!({
            "name": "weather",
            "definition": {
                "url_from_env": "WEATHER_URL", "timeout_seconds": 10, "customization": {"root_fields_namespace": "weather"},
                "headers": [{"name": "Authorization", "value_from_env": "WEATHER_AUTHORIZATION"}],
            },
            "permissions": [{"role": "OWNER", "definition": {"schema": "type Query { now: Int }"}}],
        });
        change(&mut one);
        Changed::new(&catalog, move |document| {
            document["remote_schemas"] = json!([one]);
        })
    };
    assert_eq!(remote(|_| {}).told(), Vec::<String>::new());
    remote(|one| one["definition"]["url"] = json!("https://example.org"))
        .tells("/remote_schemas/0");
    remote(|one| one["definition"]["timeout"] = json!(10)).tells("'timeout' was unexpected");
    remote(|one| one["permissions"][0]["role"] = json!("GUEST"))
        .tells("remote schema weather, GUEST: the policy has no such role");
    remote(|one| {
        one["definition"]["headers"][0] = json!({"name": "authorization", "value": "Bearer x"});
    })
    .tells("remote schema weather: the header authorization is a secret");
}

#[tokio::test]
async fn functions_that_hasura_or_the_policy_would_not_have_are_told() {
    let catalog = catalog().await;
    let function = |change: fn(&mut Value)| {
        Changed::new(&catalog, move |document| {
            change(&mut document["sources"][0]["functions"][0]);
        })
    };
    function(|one| one["function"]["name"] = json!("serch"))
        .tells("function public.serch: there is no function public.serch");
    function(|one| one["permissions"] = json!([{"role": "DEVICE"}]))
        .tells("function public.search, DEVICE: this role does not read public.search_index");
    function(|one| one["configuration"] = json!({})).tells(
        "function public.search: its argument hasura_session has to be the session_argument",
    );
    function(|one| one["configuration"]["session_argument"] = json!("words"))
        .tells("function public.search: it has no argument words of type json");
    function(|one| one["configuration"]["exposed"] = json!("query"))
        .tells("'exposed' was unexpected");
    function(|one| one["function"]["name"] = json!("create_family"))
        .tells("function public.create_family: it answers no rows of a table");
    function(|one| one["function"]["name"] = json!("purge_family"))
        .tells("function public.purge_family: it is volatile");
    let computed = |change: fn(&mut Value)| {
        Changed::new(&catalog, move |document| change(table(document, "posts")))
    };
    computed(|posts| {
        posts["computed_fields"][0]["definition"]["function"]["name"] =
            json!("family_members_display_name");
    })
    .tells(
        "public.posts, computed field reaction_count: its function takes no row of public.posts",
    );
    computed(|posts| posts["computed_fields"][0]["name"] = json!("title"))
        .tells("public.posts, computed field title: a column has the same name");
    computed(|posts| {
        posts["select_permissions"][0]["permission"]["computed_fields"] = json!(["likes"]);
    })
    .tells("public.posts, select of OWNER: there is no computed field likes");
    computed(|posts| {
        posts["computed_fields"][0]["name"] = json!("likes");
        posts["select_permissions"][0]["permission"]["computed_fields"] = json!(["likes"]);
    })
    .tells("public.posts, select of OWNER: db/policy.toml does not name the computed field likes");
}
