//! Calls of operations that a document of OpenAPI 3 or Swagger 2 describes: what is sent, what comes back, and what is not done.

use nself_plugin_orchestrator::engine::{Error, HttpCall, HttpOutput, OpenApiCall, resolve};
use nself_plugin_testkit::{TestHost, node_scripts};
use serde_json::{Value, json};

use crate::{
    stage::{builder, definition, ended, put, start},
    stub::{Asked, Reply, Stub},
};

fn resolved(document: &Value, parameters: &Value) -> Result<HttpCall, Error> {
    let parameters = parameters.as_object().expect("a map").clone();
    let call = OpenApiCall {
        document: "https://api.test/docs/openapi.json".to_owned(),
        document_authentication: None,
        operation: "op".to_owned(),
        parameters: parameters.into_iter().collect(),
        authentication: None,
        output: HttpOutput::Content,
        redirect: false,
    };
    resolve(document, &call)
}

/// A document with one operation.
fn document(path: &str, operation: &Value) -> Value {
    let mut operation = operation.clone();
    operation["operationId"] = json!("op");
    json!({"openapi": "3.0.4", "paths": {path: {"post": operation}}})
}

/// A colour as a parameter, and what becomes of it in the address, or in the header that holds it.
#[track_caller]
fn check_style(mut parameter: Value, value: &Value, expected: &str) {
    parameter["name"] = json!("color");
    let place = parameter["in"].as_str().expect("a place").to_owned();
    let path = match &*place {
        "path" => "/colors/{color}",
        _ => "/colors",
    };
    let document = document(path, &json!({"parameters": [parameter]}));
    let request = resolved(&document, &json!({"color": value}));
    let request = request.unwrap_or_else(|error| panic!("{parameter}: {error}"));
    let found = match &*place {
        "header" => &request.headers["color"],
        "cookie" => &request.headers["cookie"],
        _ => request
            .endpoint
            .trim_start_matches("https://api.test/colors"),
    };
    assert_eq!(found, expected, "{parameter} of {value}");
}

#[test]
fn parameters_are_written_in_every_style_of_the_standard() {
    let (one, none) = (json!("blue"), json!(""));
    let list = json!(["blue", "black", "brown"]);
    let object = json!({"B": 150, "G": 200, "R": 100});
    let styled = |place: &str, style: &str, explode: bool| json!({"in": place, "style": style, "explode": explode});
    for (place, style, explode, value, expected) in [
        ("path", "simple", false, &one, "/blue"),
        ("path", "simple", false, &list, "/blue,black,brown"),
        ("path", "simple", false, &object, "/B,150,G,200,R,100"),
        ("path", "simple", true, &object, "/B=150,G=200,R=100"),
        ("path", "label", false, &one, "/.blue"),
        ("path", "label", false, &list, "/.blue,black,brown"),
        ("path", "label", true, &list, "/.blue.black.brown"),
        ("path", "label", true, &object, "/.B=150.G=200.R=100"),
        ("path", "matrix", false, &none, "/;color"),
        ("path", "matrix", false, &one, "/;color=blue"),
        ("path", "matrix", false, &list, "/;color=blue,black,brown"),
        (
            "path",
            "matrix",
            true,
            &list,
            "/;color=blue;color=black;color=brown",
        ),
        (
            "path",
            "matrix",
            false,
            &object,
            "/;color=B,150,G,200,R,100",
        ),
        ("path", "matrix", true, &object, "/;B=150;G=200;R=100"),
        ("query", "form", false, &none, "?color="),
        ("query", "form", true, &one, "?color=blue"),
        ("query", "form", false, &list, "?color=blue,black,brown"),
        (
            "query",
            "form",
            true,
            &list,
            "?color=blue&color=black&color=brown",
        ),
        ("query", "form", false, &object, "?color=B,150,G,200,R,100"),
        ("query", "form", true, &object, "?B=150&G=200&R=100"),
        (
            "query",
            "spaceDelimited",
            false,
            &list,
            "?color=blue%20black%20brown",
        ),
        (
            "query",
            "pipeDelimited",
            false,
            &list,
            "?color=blue%7Cblack%7Cbrown",
        ),
        (
            "query",
            "pipeDelimited",
            false,
            &object,
            "?color=B%7C150%7CG%7C200%7CR%7C100",
        ),
        (
            "query",
            "deepObject",
            true,
            &object,
            "?color%5BB%5D=150&color%5BG%5D=200&color%5BR%5D=100",
        ),
        ("header", "simple", false, &list, "blue,black,brown"),
        ("header", "simple", false, &object, "B,150,G,200,R,100"),
        ("header", "simple", true, &object, "B=150,G=200,R=100"),
        ("cookie", "form", false, &list, "color=blue,black,brown"),
        ("cookie", "form", true, &one, "color=blue"),
    ] {
        check_style(styled(place, style, explode), value, expected);
    }
    // What is meant when the document does not say.
    check_style(json!({"in": "path"}), &list, "/blue,black,brown");
    check_style(
        json!({"in": "query"}),
        &list,
        "?color=blue&color=black&color=brown",
    );
    check_style(json!({"in": "header"}), &list, "blue,black,brown");
}

#[test]
fn what_would_mean_something_else_is_escaped() {
    let text = json!("a b/\u{fc}&c?#=");
    check_style(json!({"in": "path"}), &text, "/a%20b%2F%C3%BC%26c%3F%23%3D");
    check_style(
        json!({"in": "query"}),
        &text,
        "?color=a%20b%2F%C3%BC%26c%3F%23%3D",
    );
    let reserved = json!({"in": "query", "allowReserved": true});
    check_style(reserved, &text, "?color=a%20b/%C3%BC%26c?%23%3D");
    let content = json!({"in": "query", "content": {"application/json": {}}});
    check_style(
        content,
        &json!({"a": [1]}),
        "?color=%7B%22a%22%3A%5B1%5D%7D",
    );
}

/// What is sent as the body: its type and text.
#[track_caller]
fn check_body(document: &Value, parameters: &Value, kind: &str, text: &str) {
    let request = resolved(document, parameters).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(request.headers["content-type"], kind, "{document}");
    assert_eq!(request.body, Some(json!(text)), "{document}");
}

#[test]
fn a_body_is_written_as_the_operation_takes_it() {
    let taking = |content: Value| document("/x", &json!({"requestBody": {"content": content}}));
    let json = taking(json!({"application/x-www-form-urlencoded": {}, "application/json": {}}));
    check_body(&json, &json!({"body": [1]}), "application/json", "[1]");
    check_body(
        &json,
        &json!({"body": "text"}),
        "application/json",
        "\"text\"",
    );
    // Parameters that are not the operation's are the fields of its body.
    check_body(
        &json,
        &json!({"a": 1, "b": "c"}),
        "application/json",
        "{\"a\":1,\"b\":\"c\"}",
    );
    let special = taking(json!({"application/vnd.api+json": {}}));
    check_body(
        &special,
        &json!({"body": {}}),
        "application/vnd.api+json",
        "{}",
    );
    let form = "application/x-www-form-urlencoded";
    let encoding = json!({"tags": {"style": "form", "explode": false}});
    let plain = taking(json!({form: {"encoding": encoding}}));
    let fields =
        json!({"name": "a b", "more": [1, 2], "tags": ["x", "y"], "at": {"k": 1}, "none": null});
    let text = "at=%7B%22k%22%3A1%7D&more=1&more=2&name=a%20b&tags=x,y";
    check_body(&plain, &fields, form, text);
    check_body(
        &taking(json!({"text/plain": {}})),
        &json!({"body": "hi"}),
        "text/plain",
        "hi",
    );
    check_body(
        &taking(json!({"application/xml": {}})),
        &json!({"body": "<a/>"}),
        "application/xml",
        "<a/>",
    );
}

#[test]
fn swagger_2_has_bodies_forms_and_collections_of_its_own() {
    let swagger = |operation: Value| {
        let mut operation = operation;
        operation["operationId"] = json!("op");
        json!({"swagger": "2.0", "schemes": ["http", "https"], "basePath": "/v2", "paths": {"/x": {"put": operation}}})
    };
    let parameter = |place: &str, more: Value| {
        let mut parameter = json!({"name": "p", "in": place});
        for (name, value) in more.as_object().expect("a map") {
            parameter[name] = value.clone();
        }
        json!({"parameters": [parameter]})
    };
    let list = json!({"p": ["a", "b"]});
    for (format, expected) in [
        ("csv", "p=a,b"),
        ("ssv", "p=a%20b"),
        ("tsv", "p=a%09b"),
        ("pipes", "p=a%7Cb"),
        ("multi", "p=a&p=b"),
    ] {
        let more = json!({"type": "array", "collectionFormat": format});
        let request = resolved(&swagger(parameter("query", more)), &list).expect(format);
        assert_eq!(
            request.endpoint,
            format!("https://api.test/v2/x?{expected}")
        );
        assert_eq!(request.method, "PUT");
    }
    check_body(
        &swagger(parameter("formData", json!({"collectionFormat": "multi"}))),
        &list,
        "application/x-www-form-urlencoded",
        "p=a&p=b",
    );
    let body = swagger(parameter("body", json!({"schema": {}})));
    check_body(
        &body,
        &json!({"p": {"a": 1}}),
        "application/json",
        "{\"a\":1}",
    );
}

#[test]
fn an_operation_is_where_the_nearest_servers_say() {
    let variables = json!({"version": {"default": "v3"}});
    for (servers, expected) in [
        (json!(null), "https://api.test/x"),
        (json!([{"url": "/base/"}]), "https://api.test/base/x"),
        (json!([{"url": "./base"}]), "https://api.test/docs/base/x"),
        (json!([{"url": "//other.test/b"}]), "https://other.test/b/x"),
        (
            json!([{"url": "http://other.test:8080"}, {"url": "/never"}]),
            "http://other.test:8080/x",
        ),
        (
            json!([{"url": "https://{version}.other.test/{version}", "variables": variables}]),
            "https://v3.other.test/v3/x",
        ),
    ] {
        let mut document = document("/x", &json!({}));
        document["servers"] = servers;
        assert_eq!(
            resolved(&document, &json!({}))
                .expect("it is good")
                .endpoint,
            expected
        );
        document["paths"]["/x"]["servers"] = json!([{"url": "https://path.test"}]);
        assert_eq!(
            resolved(&document, &json!({}))
                .expect("it is good")
                .endpoint,
            "https://path.test/x"
        );
        document["paths"]["/x"]["post"]["servers"] = json!([{"url": "https://operation.test"}]);
        assert_eq!(
            resolved(&document, &json!({}))
                .expect("it is good")
                .endpoint,
            "https://operation.test/x"
        );
    }
}

#[test]
fn references_within_the_document_are_followed_and_the_operation_has_the_last_word() {
    let document = json!({
        "openapi": "3.1.0",
        "paths": {"/pets/{id}": {"$ref": "#/components/pathItems/a~1pet"}},
        "components": {
            "pathItems": {"a/pet": {
                "parameters": [{"$ref": "#/components/parameters/id"}, {"name": "tag", "in": "query", "style": "pipeDelimited", "explode": false}],
                "post": {"operationId": "op", "parameters": [{"name": "tag", "in": "query", "explode": false}],
                    "requestBody": {"$ref": "#/components/requestBodies/pet"}},
            }},
            "parameters": {"id": {"$ref": "#/components/parameters/number"}, "number": {"name": "id", "in": "path", "required": true}},
            "requestBodies": {"pet": {"required": true, "content": {"application/json": {}}}},
        },
    });
    let given = json!({"id": 7, "tag": ["a", "b"], "name": "milou"});
    let request = resolved(&document, &given).expect("it is good");
    assert_eq!(request.endpoint, "https://api.test/pets/7?tag=a,b");
    assert_eq!(request.body, Some(json!("{\"name\":\"milou\"}")));
}

/// What a request's form consists of, as the parser of node's `fetch` reads it.
async fn read_by_node(request: &HttpCall) -> Value {
    let scripts = node_scripts!("tests/clients").await;
    let body = request.body.as_ref().and_then(Value::as_str);
    let mut script = scripts.script("form.mjs");
    let script = script.envs([
        ("TYPE", &*request.headers["content-type"]),
        ("BODY", body.expect("a text")),
    ]);
    let read = scripts.run(script).await;
    read.parse().expect("JSON")
}

#[tokio::test]
async fn a_form_in_parts_is_read_by_others_as_its_schema_means_it() {
    let operation = json!({"requestBody": {"content": {"multipart/form-data": {
        "schema": {"$ref": "#/components/schemas/pet"},
        "encoding": {"note": {"contentType": "text/markdown, text/plain"}},
    }}}});
    let mut document = document("/pets", &operation);
    document["components"] = json!({"schemas": {
        "pet": {"properties": {
            "photo": {"$ref": "#/components/schemas/file"},
            "scans": {"type": "array", "items": {"type": "string", "contentMediaType": "image/svg+xml"}},
        }},
        "file": {"type": "string", "format": "binary"},
    }});
    let given = json!({
        "name": "mi\"lou\r\n--nself-part-0", "born": 2019, "gone": null, "tags": ["a", "b"],
        "owner": {"name": "Tim"}, "note": "# Hi", "photo": "bytes", "scans": ["<svg/>"], "od\"d\r\n": "x",
    });
    let request = resolved(&document, &given).expect("it is good");
    assert_eq!(
        resolved(&document, &given).expect("it is good"),
        request,
        "the same once more"
    );
    let read = read_by_node(&request).await;
    let text = |name: &str, value: &str| json!([name, value]);
    let file = |name: &str, kind: &str, value: &str| json!([name, {"filename": name, "type": kind, "text": value}]);
    let mut expected = [
        text("name", "mi\"lou\r\n--nself-part-0"),
        text("born", "2019"),
        text("tags", "a"),
        text("tags", "b"),
        text("owner", "{\"name\":\"Tim\"}"),
        text("note", "# Hi"),
        file("photo", "application/octet-stream", "bytes"),
        file("scans", "image/svg+xml", "<svg/>"),
        text("od\"d\r\n", "x"),
    ];
    let mut read = read.as_array().expect("a list").clone();
    let by_text = |one: &Value, other: &Value| one.to_string().cmp(&other.to_string());
    expected.sort_by(by_text);
    read.sort_by(by_text);
    assert_eq!(read, expected);
    let body = request.body.expect("a body").to_string();
    for kind in ["application/json", "text/markdown"] {
        let line = format!("\\r\\ncontent-type: {kind}\\r\\n");
        assert!(body.contains(&line), "{line} in {body}");
    }
}

#[tokio::test]
async fn a_form_of_swagger_with_a_file_goes_in_parts() {
    let parameters = json!([
        {"name": "photo", "in": "formData", "type": "file"},
        {"name": "all", "in": "formData", "type": "array", "collectionFormat": "multi"},
        {"name": "piped", "in": "formData", "type": "array", "collectionFormat": "pipes"},
        {"name": "spaced", "in": "formData", "type": "array", "collectionFormat": "ssv"},
        {"name": "name", "in": "formData", "type": "string"},
    ]);
    let document = json!({"swagger": "2.0", "host": "api.test", "schemes": ["https"], "paths": {"/x": {"post": {
        "operationId": "op", "consumes": ["multipart/form-data"], "parameters": parameters,
    }}}});
    let mut given =
        json!({"all": ["a", "b"], "piped": ["c d", "e"], "spaced": [1, 2], "name": "R&D"});
    let fields = json!([
        ["all", "a"],
        ["all", "b"],
        ["piped", "c d|e"],
        ["spaced", "1 2"],
        ["name", "R&D"]
    ]);
    let request = resolved(&document, &given).expect("it is good");
    assert_eq!(read_by_node(&request).await, fields);
    given["photo"] = json!("bytes");
    let request = resolved(&document, &given).expect("it is good");
    let read = read_by_node(&request).await;
    let photo = json!(["photo", {"filename": "photo", "type": "application/octet-stream", "text": "bytes"}]);
    assert_eq!(read[0], photo);
    assert_eq!(read[5], fields[4]);
}

#[test]
fn what_is_not_done_is_said_before_anything_is_sent() {
    let body = |content: Value| json!({"requestBody": {"content": content, "required": true}});
    let parameter = |more: Value| json!({"parameters": [more]});
    let elsewhere = json!({"$ref": "common.json#/id"});
    for (path, operation, given, words) in [
        (
            "/x",
            body(json!({"multipart/form-data": {}})),
            json!({"body": "all of it"}),
            "a form in parts that is no object: calls of openapi do not do that",
        ),
        (
            "/x",
            body(
                json!({"multipart/form-data": {"encoding": {"a": {"contentType": "text/plain\r\nx-more: 1"}}}}),
            ),
            json!({"a": 1}),
            "a content type of a part with a line break",
        ),
        (
            "/x",
            body(json!({"application/xml": {}})),
            json!({"a": 1}),
            "application/xml that is no text",
        ),
        (
            "/x",
            body(json!({"application/json": {}})),
            json!({}),
            "the parameter body is missing",
        ),
        (
            "/x",
            json!({}),
            json!({"a": 1}),
            "the operation op has no parameter a",
        ),
        (
            "/x/{id}",
            json!({}),
            json!({}),
            "the parameter id is missing",
        ),
        (
            "/x",
            parameter(json!({"name": "q", "in": "query", "required": true})),
            json!({"q": null}),
            "the parameter q is missing",
        ),
        (
            "/x/{id}",
            parameter(json!({"name": "id", "in": "path"})),
            json!({"id": ".."}),
            "another path",
        ),
        (
            "/x",
            parameter(elsewhere),
            json!({}),
            "common.json#/id leads to another document",
        ),
        (
            "/x",
            parameter(json!({"$ref": "#/nowhere"})),
            json!({}),
            "nothing at #/nowhere",
        ),
        (
            "/x",
            parameter(json!({"name": "q", "in": "query", "style": "odd"})),
            json!({"q": 1}),
            "the style \"odd\"",
        ),
        (
            "/x",
            parameter(json!({"name": "q", "in": "query", "style": "deepObject"})),
            json!({"q": 1}),
            "the style deepObject",
        ),
        (
            "/x",
            parameter(json!({"name": "q", "in": "query", "style": "label"})),
            json!({"q": 1}),
            "style of a path",
        ),
        (
            "/x/{q}",
            parameter(json!({"name": "q", "in": "path", "style": "form"})),
            json!({"q": 1}),
            "style of a query",
        ),
        (
            "/x",
            json!({"servers": [{"url": "https://{region}.test"}]}),
            json!({}),
            "a variable without a default",
        ),
    ] {
        let error = resolved(&document(path, &operation), &given).expect_err(words);
        assert!(error.kind.ends_with("/configuration"), "{error}");
        assert!(error.to_string().contains(words), "{error} has not {words}");
    }
    let circle = json!({"openapi": "3.0.0", "paths": {"/x": {"$ref": "#/paths/~1x"}}});
    let unknown = document("/x", &json!({}));
    for (document, words) in [
        (
            json!({"openapi": "2.9"}),
            "neither of OpenAPI 3 nor of Swagger 2",
        ),
        (json!({"openapi": "3.0.0"}), "has no operation op"),
        (circle, "lead in a circle"),
        (unknown, "has no parameter f"),
    ] {
        let error = resolved(&document, &json!({"f": "x"})).expect_err(words);
        assert!(error.to_string().contains(words), "{error} has not {words}");
    }
}

/// What the server's document says.
fn pets(asked: &Asked, address: std::net::SocketAddr) -> Reply {
    match asked.path.split('?').next().unwrap_or_default() {
        "/docs/openapi.json" => Reply::json(200, &described(address)),
        "/docs/old.json" => Reply::json(404, &Value::Null),
        "/v1/gone" => Reply::json(410, &json!({"why": "sold"})),
        "/v1/moved" => Reply {
            headers: "location: /v1/pets/1\r\n".to_owned(),
            ..Reply::json(302, &json!({"moved": true}))
        },
        "/v1/picture" => Reply {
            kind: "image/png",
            body: vec![0, 159, 255],
            ..Reply::json(200, &Value::Null)
        },
        _ => Reply::json(200, &json!({"line": asked.line(), "body": asked.body})),
    }
}

fn described(address: std::net::SocketAddr) -> Value {
    let server = json!({
        "url": "http://{place}/{version}",
        "variables": {"place": {"default": address.to_string()}, "version": {"default": "v1"}},
    });
    let only = |id: &str| json!({"get": {"operationId": id}});
    json!({
        "openapi": "3.0.4", "servers": [server],
        "paths": {
            "/pets/{petId}": {"put": {
                "operationId": "keepPet",
                "parameters": [
                    {"$ref": "#/components/parameters/petId"},
                    {"name": "tags", "in": "query"},
                    {"name": "X-Trace", "in": "header"},
                    {"name": "session", "in": "cookie"},
                ],
                "requestBody": {"content": {"application/json": {}}},
            }},
            "/pets": {"post": {"operationId": "addPet", "requestBody": {"content": {"application/x-www-form-urlencoded": {}}}}},
            "/gone": only("gone"), "/moved": only("moved"), "/picture": only("picture"),
        },
        "components": {"parameters": {"petId": {"name": "petId", "in": "path", "required": true}}},
    })
}

/// Runs one call to its end.
async fn called(host: &TestHost, server: &Stub, number: usize, with: &Value) -> Value {
    let mut with = with.clone();
    if with["document"].is_null() {
        let endpoint = format!("http://{}/docs/openapi.json", server.address);
        with["document"] = json!({"endpoint": endpoint});
    }
    let name = format!("call{number}");
    let task = json!({"call": "openapi", "with": with});
    put(
        host,
        &name,
        &definition(&name, "", &format!("  - ask: {task}\n")),
    )
    .await;
    let started = start(host, &name, json!({"tags": ["a", "b"]}), 25).await;
    ended(host, &started["id"]).await
}

#[tokio::test]
async fn an_operation_is_sent_as_its_document_says_and_its_answer_is_read() {
    let server = Stub::open(pets).await;
    let host = builder().config(&server.egress()).start().await;
    let given = json!({"petId": "a/b", "tags": "${ .tags }", "X-Trace": "t1", "session": "s 1", "name": "milou"});
    let with = json!({"operationId": "keepPet", "parameters": given});
    let kept = called(&host, &server, 0, &with).await;
    let line = "PUT /v1/pets/a%2Fb?tags=a&tags=b";
    assert_eq!(
        kept["output"],
        json!({"line": line, "body": "{\"name\":\"milou\"}"}),
        "{kept}"
    );
    let asked = server.asked().pop().expect("it was asked");
    for (name, value) in [
        ("x-trace", "t1"),
        ("cookie", "session=s%201"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(asked.header(name), value, "{name}");
    }
    assert!(!asked.header("idempotency-key").is_empty());
    let with =
        json!({"operationId": "addPet", "parameters": {"name": "mi lou", "tags": "${ .tags }"}});
    let added = called(&host, &server, 1, &with).await;
    assert_eq!(
        added["output"]["body"], "name=mi%20lou&tags=a&tags=b",
        "{added}"
    );
    host.stop().await;
}

#[tokio::test]
async fn an_answer_is_content_response_or_raw_and_an_error_has_its_status() {
    let server = Stub::open(pets).await;
    let host = builder().config(&server.egress()).start().await;
    let with = |operation: &str, more: Value| {
        let mut with = json!({"operationId": operation});
        for (name, value) in more.as_object().expect("a map") {
            with[name] = value.clone();
        }
        with
    };
    let whole = called(
        &host,
        &server,
        0,
        &with("moved", json!({"redirect": true, "output": "response"})),
    )
    .await;
    let output = &whole["output"];
    assert_eq!(
        (
            &output["statusCode"],
            &output["headers"]["location"],
            &output["content"]
        ),
        (&json!(302), &json!("/v1/pets/1"), &json!({"moved": true})),
        "{whole}"
    );
    assert_eq!(
        output["request"]["uri"],
        format!("http://{}/v1/moved", server.address)
    );
    let raw = called(
        &host,
        &server,
        1,
        &with("picture", json!({"output": "raw"})),
    )
    .await;
    assert_eq!(raw["output"], "AJ//", "{raw}");
    let old = json!({"document": {"endpoint": format!("http://{}/docs/old.json", server.address)}});
    for (number, call, kind, status, words) in [
        (
            2,
            with("gone", json!({})),
            "communication",
            410,
            "answered 410",
        ),
        (
            3,
            with("moved", json!({})),
            "communication",
            302,
            "answered 302",
        ),
        (
            4,
            with("nothing", json!({})),
            "configuration",
            400,
            "no operation nothing",
        ),
        (
            5,
            with("gone", old),
            "communication",
            404,
            "the OpenAPI document was answered 404",
        ),
        (
            6,
            with("keepPet", json!({"parameters": {}})),
            "configuration",
            400,
            "petId is missing",
        ),
    ] {
        let run = called(&host, &server, number, &call).await;
        let error = &run["error"];
        assert!(
            error["type"]
                .as_str()
                .is_some_and(|one| one.ends_with(kind)),
            "{run}"
        );
        assert_eq!(
            (&error["status"], &error["instance"]),
            (&json!(status), &json!("/do/0/ask")),
            "{run}"
        );
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|one| one.contains(words)),
            "{run}"
        );
    }
    host.stop().await;
}
