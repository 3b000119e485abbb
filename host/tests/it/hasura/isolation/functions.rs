//! The same for what functions answer: rows of one's own family only, and of a row nothing that could not be read anyway.

use nself::hasura::functions as tracked;

use super::*;

/// The condition under which a role reads rows of a table; none when it does not.
fn filter<'a>(document: &'a Value, table: &TableName, role: &str) -> Option<&'a Value> {
    let is_it = |entry: &&Value| TableName::read(&entry["table"]).as_ref() == Some(table);
    let entry = tables(document).iter().find(is_it)?;
    let mut permissions = entry["select_permissions"].as_array()?.iter();
    let one = permissions.find(|one| one["role"] == role)?;
    Some(&one["permission"]["filter"])
}

fn lets(one: &Value, role: &str) -> bool {
    let permissions = one["permissions"].as_array().unwrap();
    permissions.iter().any(|one| one["role"] == role)
}

/// A search for every word that stands anywhere.
async fn every_word(client: &Client) -> String {
    let words = "SELECT string_agg(DISTINCT quote_ident(w.lexeme), ' or ') FROM search_index s, unnest(s.document) w";
    let row = client.query_one(words, &[]).await.unwrap();
    row.get::<_, String>(0)
}

#[tokio::test]
async fn a_function_answers_rows_of_the_family_that_asks_and_no_others() {
    let database = database().await;
    let client = demo(&database).await;
    let catalog = Catalog::read(&client).await.unwrap();
    let document = built(&catalog);
    let words = every_word(&client).await.replace('\'', "''");
    let (mut probes, mut seen) = (0_u32, 0_i64);
    for one in tracked(&document) {
        let name = TableName::read(&one["function"]).unwrap();
        let function = &catalog.functions[&name];
        let table = function.returns.as_ref().unwrap();
        let theirs = of_family(&catalog, table, THEIRS).unwrap();
        let ours = of_family(&catalog, table, OURS).unwrap();
        for caller in callers(&client).await {
            let readable = filter(&document, table, &caller.role);
            if !lets(one, &caller.role) {
                continue;
            }
            // Hasura puts the session's variables there, whatever the caller says, in lower case.
            let session = caller
                .variables
                .iter()
                .map(|(name, value)| (name.to_lowercase(), value.clone()));
            let session = Value::Object(session.collect());
            let arguments =
                function
                    .arguments
                    .iter()
                    .map(|argument| match argument.kind.as_str() {
                        "json" => format!("'{session}'::json"),
                        "text" => format!("'{words}'"),
                        other => panic!("{name} takes {other}: teach it to this test"),
                    });
            let call = format!(
                "{}.{}({})",
                name.schema,
                name.name,
                arguments.collect::<Vec<_>>().join(", ")
            );
            let language = Language {
                document: &document,
                catalog: &catalog,
                variables: &caller.variables,
            };
            // As Hasura asks, and the function alone: the one is the proof, the other that it searches no other family.
            for condition in [
                language.all(table, "t", readable.unwrap()),
                "true".to_owned(),
            ] {
                let sql = format!(
                    "SELECT count(*) FILTER (WHERE {theirs}), count(*) FILTER (WHERE {ours}) FROM {call} t WHERE {condition}"
                );
                let row = client.query_one(&sql, &[]).await;
                let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
                assert_eq!(row.get::<_, i64>(0), 0, "{name} as {}: {sql}", caller.role);
                probes += 1;
                seen += row.get::<_, i64>(1);
            }
        }
    }
    println!("{probes} probes of functions; {seen} times a row of one's own was found");
    assert!(
        probes >= 10 && seen > 10,
        "{probes} {seen}: who finds nothing proves nothing"
    );
}

/// A field and what it is made of, so that both can be compared: `{filter}` is what the role reads of that table.
const MADE_OF: [(&str, &str, &str, &str); 2] = [
    (
        "posts",
        "reaction_count",
        "post_reactions",
        "(SELECT count(*) FROM post_reactions r WHERE r.post_id = t.id AND {filter})",
    ),
    (
        "family_members",
        "display_name",
        "users",
        "(SELECT r.display_name FROM users r WHERE r.id = t.user_id AND {filter})",
    ),
];

#[tokio::test]
async fn a_computed_field_tells_nothing_that_the_role_could_not_read_itself() {
    let database = database().await;
    let client = demo(&database).await;
    let catalog = Catalog::read(&client).await.unwrap();
    let document = built(&catalog);
    let mut compared = 0;
    for entry in tables(&document) {
        let table = TableName::read(&entry["table"]).unwrap();
        for field in entry["computed_fields"].as_array().into_iter().flatten() {
            let name = field["name"].as_str().unwrap();
            let made = MADE_OF
                .iter()
                .find(|made| (made.0, made.1) == (&*table.name, name));
            let (_, _, source, same) =
                made.unwrap_or_else(|| panic!("{table}.{name}: say here what it is made of"));
            let function = TableName::read(&field["definition"]["function"]).unwrap();
            for caller in callers(&client).await {
                let Some(readable) = filter(&document, &table, &caller.role) else {
                    continue;
                };
                let source = filter(&document, &TableName::public(source), &caller.role);
                let source = source.unwrap_or_else(|| {
                    panic!("{name} as {}: what it is made of is hidden", caller.role)
                });
                let language = Language {
                    document: &document,
                    catalog: &catalog,
                    variables: &caller.variables,
                };
                let same = same.replace(
                    "{filter}",
                    &language.all(&TableName::public(made.unwrap().2), "r", source),
                );
                let sql = format!(
                    "SELECT count(*), count(*) FILTER (WHERE {}.{}(t) IS DISTINCT FROM {same}) FROM {}.{} t WHERE {}",
                    function.schema,
                    function.name,
                    table.schema,
                    table.name,
                    language.all(&table, "t", readable)
                );
                let row = client.query_one(&sql, &[]).await;
                let row = row.unwrap_or_else(|error| panic!("{sql}: {error}"));
                assert_eq!(row.get::<_, i64>(1), 0, "{name} as {}: {sql}", caller.role);
                compared += row.get::<_, i64>(0);
            }
        }
    }
    println!("{compared} values of computed fields are what their role can read");
    assert!(
        compared > 20,
        "{compared}: who reads nothing proves nothing"
    );
}
