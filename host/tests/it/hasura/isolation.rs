//! The proof over GraphQL: every permission of the built document, as every role of one family of the demo world, against
//! the rows of the other. What Hasura makes of a permission is made here too, as SQL: its condition is put before every
//! read, change and removal, and behind every insertion. As nobody there is no permission at all.

mod functions;

use std::path::Path;

use nself::{
    hasura::{TableName, catalog::Catalog, tables},
    migrate::seed,
    postgres::scratch::TestDatabase,
};
use serde_json::{Map, Value};
use tokio_postgres::Client;

use super::{built, checkout, database};

const OURS: &str = "01900000-0002-7000-8000-000000000100";
const THEIRS: &str = "01900000-0002-7000-8000-000000000200";

/// Who asks: what a token of theirs carries (auth's claims).
struct Caller {
    role: String,
    variables: Map<String, Value>,
}

async fn callers(client: &Client) -> Vec<Caller> {
    let family = OURS.parse::<uuid::Uuid>().unwrap();
    let members = "SELECT id::text, user_id::text, role FROM family_members WHERE family_id = $1";
    let mut callers = Vec::new();
    for row in client.query(members, &[&family]).await.unwrap() {
        let (member, user, role): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        callers.push(Caller {
            role,
            variables: variables(&[
                ("X-Hasura-Family-Id", OURS),
                ("X-Hasura-Member-Id", &member),
                ("X-Hasura-User-Id", &user),
            ]),
        });
        callers.push(Caller {
            role: "user".to_owned(),
            variables: variables(&[
                ("X-Hasura-Family-Ids", &format!("{{{OURS}}}")),
                ("X-Hasura-User-Id", &user),
            ]),
        });
    }
    let device = "SELECT id::text FROM devices WHERE family_id = $1";
    for row in client.query(device, &[&family]).await.unwrap() {
        let device: String = row.get(0);
        callers.push(Caller {
            role: "DEVICE".to_owned(),
            variables: variables(&[
                ("X-Hasura-Family-Id", OURS),
                ("X-Hasura-Device-Id", &device),
            ]),
        });
    }
    callers
}

fn variables(pairs: &[(&str, &str)]) -> Map<String, Value> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
    pairs.iter().map(pair).collect()
}

/// Hasura's boolean expressions as SQL.
struct Language<'a> {
    document: &'a Value,
    catalog: &'a Catalog,
    variables: &'a Map<String, Value>,
}

impl Language<'_> {
    fn all(&self, table: &TableName, alias: &str, condition: &Value) -> String {
        let parts = condition.as_object().expect("a condition").iter();
        let parts = parts.map(|(key, value)| self.one(table, alias, key, value));
        join(&parts.collect::<Vec<_>>(), " AND ", "true")
    }

    fn one(&self, table: &TableName, alias: &str, key: &str, value: &Value) -> String {
        let each = || -> Vec<String> {
            let parts = value.as_array().expect("a list").iter();
            parts.map(|part| self.all(table, alias, part)).collect()
        };
        match key {
            "_and" => join(&each(), " AND ", "true"),
            "_or" => join(&each(), " OR ", "false"),
            "_not" => format!("NOT ({})", self.all(table, alias, value)),
            column if self.catalog.tables[table].has(column) => {
                let tests = value.as_object().expect("operators").iter();
                let tests = tests.map(|(operator, operand)| {
                    self.compare(&format!("{alias}.{column}"), operator, operand)
                });
                join(&tests.collect::<Vec<_>>(), " AND ", "true")
            }
            relationship => self.related(table, alias, relationship, value),
        }
    }

    fn compare(&self, column: &str, operator: &str, operand: &Value) -> String {
        match (operator, operand) {
            ("_is_null", Value::Bool(true)) => format!("{column} IS NULL"),
            ("_is_null", Value::Bool(false)) => format!("{column} IS NOT NULL"),
            ("_eq", operand) => format!("{column} = {}", self.literal(operand)),
            ("_in", Value::Array(list)) => {
                let list: Vec<String> = list.iter().map(|one| self.literal(one)).collect();
                format!("{column} IN ({})", list.join(", "))
            }
            ("_in", operand) => format!("{column} = ANY ({})", self.literal(operand)),
            other => panic!("{other:?}: teach it to this test"),
        }
    }

    /// A variable that the token lacks is an error in Hasura: nothing is answered. In a comparison NULL is the same.
    fn literal(&self, value: &Value) -> String {
        let text = match value {
            Value::String(text) if text.starts_with("X-Hasura-") => {
                match self.variables.get(text) {
                    Some(value) => value.as_str().expect("claims are texts"),
                    None => return "NULL".to_owned(),
                }
            }
            Value::String(text) => text,
            other => return format!("'{other}'"),
        };
        format!("'{}'", text.replace('\'', "''"))
    }

    fn related(&self, table: &TableName, alias: &str, name: &str, condition: &Value) -> String {
        let (target, pairs) = self.relationship(table, name);
        let inner = format!("{alias}_");
        let joined = pairs
            .iter()
            .map(|(own, theirs)| format!("{inner}.{theirs} = {alias}.{own}"));
        format!(
            "EXISTS (SELECT FROM {}.{} {inner} WHERE {} AND {})",
            target.schema,
            target.name,
            join(&joined.collect::<Vec<_>>(), " AND ", "true"),
            self.all(&target, &inner, condition)
        )
    }

    /// The other table, and the columns here and there that are equal.
    fn relationship(&self, table: &TableName, name: &str) -> (TableName, Vec<(String, String)>) {
        let entry = tables(self.document)
            .iter()
            .find(|entry| TableName::read(&entry["table"]).as_ref() == Some(table));
        let entry = entry.unwrap_or_else(|| panic!("{table:?} is tracked"));
        let lists = ["object_relationships", "array_relationships"];
        let mut all = lists
            .iter()
            .filter_map(|list| entry[*list].as_array())
            .flatten();
        let found = all.find(|one| one["name"] == name);
        let using = &found.unwrap_or_else(|| panic!("{table:?} has {name}"))["using"]["foreign_key_constraint_on"];
        let (holder, columns) = if using["table"].is_object() {
            let holder = TableName::read(&using["table"]).expect("a table");
            let columns = [&using["column"], &using["columns"]];
            (holder, columns.into_iter().flat_map(names).collect())
        } else {
            (table.clone(), names(using))
        };
        let keys = &self.catalog.tables[&holder].foreign_keys;
        let is_own = holder == *table && !using["table"].is_object();
        let key = keys
            .iter()
            .find(|key| key.columns == columns && (is_own || key.target == *table));
        let key = key.unwrap_or_else(|| panic!("{name} of {table:?} follows a foreign key"));
        let pairs = key
            .columns
            .iter()
            .cloned()
            .zip(key.target_columns.iter().cloned());
        if is_own {
            (key.target.clone(), pairs.collect())
        } else {
            (holder, pairs.map(|(theirs, own)| (own, theirs)).collect())
        }
    }
}

fn names(value: &Value) -> Vec<String> {
    match value {
        Value::String(name) => vec![name.clone()],
        Value::Array(list) => list.iter().flat_map(names).collect(),
        _ => vec![],
    }
}

fn join(parts: &[String], word: &str, empty: &str) -> String {
    if parts.is_empty() {
        return empty.to_owned();
    }
    format!("({})", parts.join(word))
}

/// Which rows are a family's; none for tables that belong to all.
fn of_family(catalog: &Catalog, table: &TableName, family: &str) -> Option<String> {
    let relation = &catalog.tables[table];
    let members =
        format!("(SELECT user_id FROM public.family_members WHERE family_id = '{family}')");
    match table.name.as_str() {
        _ if relation.has("family_id") => Some(format!("t.family_id = '{family}'")),
        "families" => Some(format!("t.id = '{family}'")),
        "users" => Some(format!("t.id IN {members}")),
        _ if relation.has("user_id") => Some(format!("t.user_id IN {members}")),
        _ => None,
    }
}

const OPERATIONS: [(&str, &[&str]); 4] = [
    ("select_permissions", &["filter"]),
    ("insert_permissions", &["check"]),
    ("update_permissions", &["filter", "check"]),
    ("delete_permissions", &["filter"]),
];

/// A connection to a database with the demo world, and rows of both families in the tables of plugins.
async fn demo(database: &TestDatabase) -> Client {
    let mut client = database.client().await;
    for seed in seed::read(&checkout().join(Path::new("db/seed"))).unwrap() {
        seed.run(&mut client).await.unwrap();
    }
    for family in [OURS, THEIRS] {
        let plant = format!(
            "INSERT INTO hello.notes (family_id, title) VALUES ('{family}', 'Milk'); \
             INSERT INTO jobs.ready (queue, kind, family_id) SELECT min(id), 'mail', '{family}' FROM jobs.queues; \
             INSERT INTO public.family_exports (family_id, rows) VALUES ('{family}', 1)"
        );
        client.batch_execute(&plant).await.unwrap();
    }
    client
}

/// Both families have rows of the table, or nothing is proved by not seeing them.
async fn both_have_some(client: &Client, table: &TableName, ours: &str, theirs: &str) {
    let sql = format!(
        "SELECT count(*) FILTER (WHERE {ours}), count(*) FILTER (WHERE {theirs}) FROM {}.{} t",
        table.schema, table.name
    );
    let row = client.query_one(&sql, &[]).await.unwrap();
    let (ours, theirs): (i64, i64) = (row.get(0), row.get(1));
    assert!(
        ours > 0 && theirs > 0,
        "{table:?} has rows of both: {ours}, {theirs}"
    );
}

#[tokio::test]
async fn no_role_of_a_family_reaches_a_row_of_another_over_graphql() {
    let database = database().await;
    let client = demo(&database).await;
    let catalog = Catalog::read(&client).await.unwrap();
    let document = built(&catalog);
    let callers = callers(&client).await;
    let roles: Vec<&str> = callers.iter().map(|caller| &*caller.role).collect();
    let (mut probes, mut seen) = (0_u32, 0_i64);
    for entry in tables(&document) {
        let table = TableName::read(&entry["table"]).unwrap();
        let theirs = of_family(&catalog, &table, THEIRS);
        let ours = of_family(&catalog, &table, OURS);
        if let (Some(ours), Some(theirs)) = (&ours, &theirs) {
            both_have_some(&client, &table, ours, theirs).await;
        }
        for (operation, conditions) in OPERATIONS {
            for one in entry[operation].as_array().into_iter().flatten() {
                let role = one["role"].as_str().unwrap();
                assert!(
                    roles.contains(&role),
                    "{table:?}: {role} is nobody of a family"
                );
                for (caller, name) in callers
                    .iter()
                    .filter(|caller| caller.role == role)
                    .flat_map(|caller| conditions.iter().map(move |name| (caller, *name)))
                {
                    let condition = &one["permission"][name];
                    // An update without a check writes what its filter lets through.
                    let (Some(theirs), Some(ours), true) = (&theirs, &ours, condition.is_object())
                    else {
                        continue;
                    };
                    let language = Language {
                        document: &document,
                        catalog: &catalog,
                        variables: &caller.variables,
                    };
                    let sql = format!(
                        "SELECT count(*) FILTER (WHERE {theirs}), count(*) FILTER (WHERE {ours}) FROM {}.{} t WHERE {}",
                        table.schema,
                        table.name,
                        language.all(&table, "t", condition)
                    );
                    let row = client.query_one(&sql, &[]).await;
                    let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
                    let place = format!("{operation} of {} as {role}", table.name);
                    assert_eq!(row.get::<_, i64>(0), 0, "{place}: {sql}");
                    probes += 1;
                    seen += row.get::<_, i64>(1);
                }
            }
        }
    }
    println!("{probes} probes of permissions; {seen} times a row of one's own was reached");
    assert!(probes > 500, "{probes}: the probes do not meet the tables");
    assert!(seen > 500, "{seen}: who reaches nothing proves nothing");
}

fn table_named<'a>(document: &'a Value, name: &str) -> (TableName, &'a Value) {
    let mut all = tables(document).iter();
    let entry =
        all.find(|entry| entry["table"]["schema"] == "public" && entry["table"]["name"] == name);
    let entry = entry.unwrap_or_else(|| panic!("{name} is tracked"));
    (TableName::read(&entry["table"]).unwrap(), entry)
}

/// Two doors to the same content: what one of them shows the other must not refuse, and the other way round.
#[tokio::test]
async fn a_live_event_is_shown_to_whom_a_media_session_of_it_is_admitted() {
    let database = database().await;
    let client = demo(&database).await;
    let catalog = Catalog::read(&client).await.unwrap();
    let document = built(&catalog);
    let make = format!(
        "INSERT INTO public.live_events (family_id, title, planned_at, visibility, child_approved_at) \
             SELECT '{OURS}', 'Wedding', now(), v, CASE WHEN a THEN now() END \
             FROM unnest(ARRAY['private', 'family', 'public', 'adults_only']) v, unnest(ARRAY[false, true]) a; \
         INSERT INTO public.event_markers (family_id, live_event_id, offset_ms, label) \
             SELECT family_id, id, 0, 'Vows' FROM public.live_events WHERE title = 'Wedding'"
    );
    client.batch_execute(&make).await.unwrap();
    let mut seen = Map::new();
    for caller in callers(&client).await {
        let (events, event_rules) = table_named(&document, "live_events");
        let (markers, marker_rules) = table_named(&document, "event_markers");
        let language = Language {
            document: &document,
            catalog: &catalog,
            variables: &caller.variables,
        };
        let shown = |rules: &Value, table: &TableName| {
            let mut all = rules["select_permissions"].as_array().into_iter().flatten();
            let found = all.find(|one| one["role"] == *caller.role)?;
            Some(language.all(table, "t", &found["permission"]["filter"]))
        };
        let Some(event) = shown(event_rules, &events) else {
            continue;
        };
        let marker = shown(marker_rules, &markers).expect("who sees an event sees its markers");
        let member = language.literal(&"X-Hasura-Member-Id".into());
        let sql = format!(
            "WITH e AS (SELECT t.id, coalesce({event}, false) AS is_shown, nself.sees_content( \
                 '{role}', t.visibility, t.author_id, t.child_approved_at, {member}::uuid) AS is_admitted \
                 FROM public.live_events t WHERE t.family_id = '{OURS}' AND t.deleted_at IS NULL), \
             m AS (SELECT t.live_event_id AS id, coalesce({marker}, false) AS is_shown \
                 FROM public.event_markers t WHERE t.family_id = '{OURS}') \
             SELECT (SELECT count(*) FROM e WHERE is_shown), \
                 (SELECT count(*) FROM e WHERE is_shown <> is_admitted), \
                 (SELECT count(*) FROM e JOIN m USING (id) WHERE m.is_shown <> e.is_admitted)",
            role = caller.role
        );
        let row = client.query_one(&sql, &[]).await;
        let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let counted: (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!((counted.1, counted.2), (0, 0), "{}: {sql}", caller.role);
        seen.insert(caller.role, counted.0.into());
    }
    // Approved ones for children, what is for the family for machines, all but what is private for grown-ups.
    assert!(
        seen["CHILD_MEMBER"].as_i64() < seen["DEVICE"].as_i64(),
        "{seen:?}"
    );
    assert!(
        seen["DEVICE"].as_i64() < seen["ADULT_MEMBER"].as_i64(),
        "{seen:?}"
    );
}
