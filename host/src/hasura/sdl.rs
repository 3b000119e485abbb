//! `actions.graphql`: the half of actions and their types that the Hasura CLI keeps in GraphQL's own language. The other half,
//! `actions.yaml`, has the same names; together they are the document's `actions` and `custom_types`.

use std::fmt::Write as _;

use graphql_parser::schema::{
    Definition, EnumType, Field, InputObjectType, InputValue, ParseError, ScalarType, Type,
    TypeDefinition, TypeExtension, parse_schema,
};
use serde_json::{Map, Value, json};

/// What stands in GraphQL of an action's definition, and not in YAML.
pub(super) const OF_DEFINITION: [&str; 3] = ["arguments", "output_type", "type"];

/// The lists of `custom_types`, in the order of the file.
pub(super) const TYPES: [&str; 4] = ["enums", "input_objects", "objects", "scalars"];

/// Root types and what the document calls them.
const ROOTS: [(&str, &str); 2] = [("Query", "query"), ("Mutation", "mutation")];

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Sdl {
    /// Definitions of actions by name, with the keys of [`OF_DEFINITION`].
    pub actions: Map<String, Value>,
    /// As `custom_types` of the document.
    pub types: Value,
}

/// Writes the file.
pub(super) fn write(document: &Value) -> String {
    let mut parts: Vec<String> = vec![];
    let actions = document["actions"].as_array();
    for (root, kind) in ROOTS {
        let mut fields = String::new();
        for action in actions.into_iter().flatten() {
            let definition = &action["definition"];
            // Mutations need not say what they are.
            if definition["type"].as_str().unwrap_or("mutation") == kind {
                fields.push_str(&root_field(text(&action["name"]), definition));
            }
        }
        if !fields.is_empty() {
            parts.push(format!("type {root} {{\n{fields}}}\n"));
        }
    }
    let types = &document["custom_types"];
    for list in TYPES {
        for one in types[list].as_array().into_iter().flatten() {
            let name = text(&one["name"]);
            let about = about(one, "");
            parts.push(match list {
                "scalars" => format!("{about}scalar {name}\n"),
                "enums" => format!("{about}enum {name} {{\n{}}}\n", values(one)),
                "objects" => format!(
                    "{about}type {name} {{\n{}}}\n",
                    fields(&one["fields"], "  ")
                ),
                _ => format!(
                    "{about}input {name} {{\n{}}}\n",
                    fields(&one["fields"], "  ")
                ),
            });
        }
    }
    parts.join("\n")
}

fn root_field(name: &str, definition: &Value) -> String {
    let arguments = fields(&definition["arguments"], "    ");
    let arguments = if arguments.is_empty() {
        arguments
    } else {
        format!("(\n{arguments}  )")
    };
    format!(
        "  {name}{arguments}: {}\n",
        text(&definition["output_type"])
    )
}

fn fields(list: &Value, indent: &str) -> String {
    let mut lines = String::new();
    for field in list.as_array().into_iter().flatten() {
        let (about, name, kind) = (
            about(field, indent),
            text(&field["name"]),
            text(&field["type"]),
        );
        let _ = writeln!(lines, "{about}{indent}{name}: {kind}");
    }
    lines
}

fn values(choice: &Value) -> String {
    let mut lines = String::new();
    for value in choice["values"].as_array().into_iter().flatten() {
        let _ = writeln!(lines, "{}  {}", about(value, "  "), text(&value["value"]));
    }
    lines
}

/// A description in the line above.
fn about(of: &Value, indent: &str) -> String {
    let Some(description) = of["description"].as_str() else {
        return String::new();
    };
    // In a string of one line there is no other escape than JSON's.
    let description = Value::from(description.replace('\n', " "));
    format!("{indent}{description}\n")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Reads the file.
///
/// # Errors
///
/// When it is no GraphQL.
pub(super) fn read(source: &str) -> Result<Sdl, ParseError> {
    let mut sdl = Sdl {
        actions: Map::new(),
        types: json!({"enums": [], "input_objects": [], "objects": [], "scalars": []}),
    };
    if source.trim().is_empty() {
        return Ok(sdl);
    }
    for definition in parse_schema::<String>(source)?.definitions {
        match definition {
            Definition::TypeDefinition(TypeDefinition::Object(one)) => {
                sdl.object(&one.name, &one.fields, one.description.as_ref());
            }
            Definition::TypeExtension(TypeExtension::Object(one)) => {
                sdl.object(&one.name, &one.fields, None);
            }
            Definition::TypeDefinition(TypeDefinition::InputObject(one)) => sdl.input(&one),
            Definition::TypeDefinition(TypeDefinition::Enum(one)) => sdl.choice(&one),
            Definition::TypeDefinition(TypeDefinition::Scalar(one)) => sdl.scalar(&one),
            // Actions have neither unions nor interfaces; whoever needs one is told of a type that is not there.
            _ => {}
        }
    }
    Ok(sdl)
}

impl Sdl {
    fn object(&mut self, name: &str, fields: &[Field<'_, String>], description: Option<&String>) {
        let Some((_, kind)) = ROOTS.iter().find(|(root, _)| *root == name) else {
            let fields = fields
                .iter()
                .map(|field| named(&field.name, &field.field_type, field.description.as_ref()));
            let object = json!({"name": name, "fields": fields.collect::<Vec<_>>()});
            return self.add("objects", described(object, description));
        };
        for field in fields {
            let definition = json!({
                "type": kind,
                "arguments": arguments(&field.arguments),
                "output_type": shown(&field.field_type),
            });
            self.actions.insert(field.name.clone(), definition);
        }
    }

    fn input(&mut self, one: &InputObjectType<'_, String>) {
        let input = json!({"name": one.name, "fields": arguments(&one.fields)});
        self.add("input_objects", described(input, one.description.as_ref()));
    }

    fn choice(&mut self, one: &EnumType<'_, String>) {
        let values = one
            .values
            .iter()
            .map(|value| described(json!({"value": value.name}), value.description.as_ref()));
        let choice = json!({"name": one.name, "values": values.collect::<Vec<_>>()});
        self.add("enums", described(choice, one.description.as_ref()));
    }

    fn scalar(&mut self, one: &ScalarType<'_, String>) {
        let scalar = json!({"name": one.name});
        self.add("scalars", described(scalar, one.description.as_ref()));
    }

    fn add(&mut self, list: &str, one: Value) {
        if let Some(list) = self.types[list].as_array_mut() {
            list.push(one);
        }
    }
}

fn arguments(list: &[InputValue<'_, String>]) -> Vec<Value> {
    let one =
        |one: &InputValue<'_, String>| named(&one.name, &one.value_type, one.description.as_ref());
    list.iter().map(one).collect()
}

fn named(name: &str, kind: &Type<'_, String>, description: Option<&String>) -> Value {
    described(json!({"name": name, "type": shown(kind)}), description)
}

fn described(mut value: Value, description: Option<&String>) -> Value {
    if let Some(description) = description {
        value["description"] = description.as_str().into();
    }
    value
}

fn shown(kind: &Type<'_, String>) -> String {
    match kind {
        Type::NamedType(name) => name.clone(),
        Type::ListType(inner) => format!("[{}]", shown(inner)),
        Type::NonNullType(inner) => format!("{}!", shown(inner)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_as_it_was() {
        let document = json!({
            "actions": [
                {"name": "a_list", "definition": {"type": "query", "output_type": "[AOutput!]!", "arguments": []}},
                {"name": "a_make", "definition": {"type": "mutation", "output_type": "AOutput!", "arguments": [
                    {"name": "id", "type": "uuid!"}, {"name": "input", "type": "AInput!", "description": "says \"this\""},
                ]}},
            ],
            "custom_types": {
                "enums": [{"name": "AKind", "values": [{"value": "ONE"}, {"value": "TWO", "description": "the other"}]}],
                "input_objects": [{"name": "AInput", "fields": [{"name": "kinds", "type": "[AKind!]"}]}],
                "objects": [{"name": "AOutput", "description": "what is\\there", "fields": [{"name": "id", "type": "uuid!"}]}],
                "scalars": [{"name": "Anything"}],
            },
        });
        let sdl = read(&write(&document)).expect("it reads");
        assert_eq!(sdl.types, document["custom_types"]);
        for action in document["actions"].as_array().expect("a list") {
            assert_eq!(sdl.actions[text(&action["name"])], action["definition"]);
        }
    }

    #[test]
    fn what_the_cli_writes_reads_too() {
        let sdl = read(
            "extend type Mutation {\n  one(a: Int): X\n}\ntype Mutation { two: X }\ntype Query { three: [X] }\n\
             \"\"\"\nin a block\n\"\"\"\ntype X { a: Int! }\n",
        );
        let sdl = sdl.expect("it reads");
        let kinds: Vec<(&str, &str)> = sdl
            .actions
            .iter()
            .map(|(name, one)| (name.as_str(), text(&one["type"])))
            .collect();
        assert_eq!(
            kinds,
            [("one", "mutation"), ("three", "query"), ("two", "mutation")]
        );
        assert_eq!(sdl.types["objects"][0]["description"], "in a block");
        assert!(read("type {").is_err());
        assert!(read(" \n").expect("nothing").actions.is_empty());
    }
}
