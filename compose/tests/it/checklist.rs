//! What a good stack is, item by item, for every stage.

use nself_compose::stack::{OPERATOR, STAGES, Service, Stack, Stage, config, seconds};
use serde_json::Value;

/// Calls `check` for every service of every stage.
fn each(check: impl Fn(Stage, &Stack, Service<'_>)) {
    for stage in STAGES {
        let stack = Stack::of(stage);
        for service in stack.services() {
            check(stage, &stack, service);
        }
    }
}

/// `name:tag@sha256:…`, where the tag is a version.
#[track_caller]
pub(crate) fn check_pinned(image: &str) {
    let (name, digest) = image
        .split_once("@sha256:")
        .unwrap_or_else(|| panic!("{image} has no digest"));
    assert!(
        digest.len() == 64 && digest.chars().all(|letter| letter.is_ascii_hexdigit()),
        "{image}"
    );
    check_tag(name);
}

#[track_caller]
fn check_tag(name: &str) {
    let (_, tag) = name
        .rsplit_once(':')
        .unwrap_or_else(|| panic!("{name} has no tag"));
    assert_ne!(tag, "latest", "{name}");
    let says_something =
        tag.contains(|letter: char| letter.is_ascii_digit()) || tag.starts_with("bookworm");
    assert!(says_something, "{name}");
}

#[test]
fn every_image_is_pinned_by_tag_and_digest() {
    each(|_, _, service| match service.name {
        // Built here: what it is made of is pinned in the Dockerfile.
        "nself" => assert!(service.at("/build").is_object()),
        // Its digest could be confirmed by nobody here: `pin.sh --write` adds it where the registry can be asked.
        "hasura" => check_tag(service.text("/image")),
        _ => check_pinned(service.text("/image")),
    });
}

#[test]
fn hasura_is_a_release_of_2_48() {
    let stack = Stack::of(Stage::Base);
    let image = stack.service("hasura").text("/image");
    assert!(image.starts_with("hasura/graphql-engine:v2.48."), "{image}");
}

#[test]
fn every_container_is_read_only_and_gains_nothing() {
    each(|_, _, service| {
        let name = service.name;
        assert_eq!(service.at("/read_only"), &Value::Bool(true), "{name}");
        assert_eq!(service.words("/cap_drop"), ["ALL"], "{name}");
        assert_eq!(
            service.words("/security_opt"),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert!(service.at("/privileged").is_null(), "{name}");
        for tmpfs in service.words("/tmpfs") {
            assert!(tmpfs.contains(":size="), "{name}: {tmpfs}");
        }
    });
}

/// The job that gives volumes away has one right more and no network, the proxy the one that its program asks for.
#[test]
fn two_services_have_one_capability_each() {
    each(|_, _, service| {
        let expected: &[&str] = match service.name {
            "owners" => &["CHOWN"],
            "caddy" => &["NET_BIND_SERVICE"],
            _ => &[],
        };
        assert_eq!(service.words("/cap_add"), expected, "{}", service.name);
    });
}

#[test]
fn every_service_runs_as_a_number_that_is_not_root() {
    each(|_, _, service| {
        if service.name == "owners" {
            assert_eq!(service.user(), (0, 0));
            assert_eq!(service.text("/network_mode"), "none");
            assert!(service.is_job());
        } else {
            assert_ne!(service.user().0, 0, "{}", service.name);
        }
    });
}

#[test]
fn every_service_that_stays_has_a_health_check_that_holds_no_secret() {
    each(|_, _, service| {
        let name = service.name;
        if service.is_job() {
            return;
        }
        let test = service.words("/healthcheck/test").join(" ");
        assert!(!test.is_empty(), "{name}");
        assert!(
            !test.contains("/run/secrets") && !test.contains('$'),
            "{name}: {test}"
        );
        for key in ["interval", "timeout", "start_period", "start_interval"] {
            assert!(
                service.at(&format!("/healthcheck/{key}")).is_string(),
                "{name}: {key}"
            );
        }
        assert_eq!(service.text("/restart"), "unless-stopped", "{name}");
    });
}

#[test]
fn who_depends_waits_until_the_other_is_well() {
    each(|_, stack, service| {
        for (other, how) in service.table("/depends_on") {
            let expected = if stack.service(&other).is_job() {
                "service_completed_successfully"
            } else {
                "service_healthy"
            };
            assert_eq!(how["condition"], expected, "{} on {other}", service.name);
        }
    });
    let stack = Stack::of(Stage::Base);
    for (service, needed) in [
        ("nself", "postgres"),
        ("nself", "redis"),
        ("hasura", "postgres"),
        ("hasura", "nself"),
        ("buckets", "minio"),
    ] {
        let depends = stack.service(service).table("/depends_on");
        assert!(depends.contains_key(needed), "{service} on {needed}");
    }
}

#[test]
fn only_the_proxy_is_reached_from_other_machines() {
    each(|_, _, service| {
        for port in service.list("/ports") {
            let address = port["host_ip"].as_str().unwrap_or_default();
            let expected = if service.name == "caddy" {
                ""
            } else {
                "127.0.0.1"
            };
            assert_eq!(address, expected, "{}: {port}", service.name);
        }
    });
    let stack = Stack::of(Stage::Base);
    assert_eq!(stack.service("caddy").words("/profiles"), ["tls"]);
}

#[test]
fn the_ports_are_the_seeds() {
    let stack = Stack::of(Stage::Base);
    for (service, published) in [
        (
            "nself",
            ["3000", "3001", "3002", "3003", "3004", "3005"].as_slice(),
        ),
        ("hasura", &["8080"]),
        ("minio", &["9001"]),
        ("mailpit", &["1025", "8025"]),
    ] {
        let ports = stack.service(service).list("/ports");
        let ports: Vec<&str> = ports
            .iter()
            .filter_map(|port| port["published"].as_str())
            .collect();
        assert_eq!(ports, published, "{service}");
    }
    let nself = stack.service("nself");
    for (plugin, port) in [
        ("AUTH", "3001"),
        ("ORCHESTRATOR", "3002"),
        ("SCHEDULER", "3003"),
        ("JOBS", "3004"),
        ("STREAM", "3005"),
    ] {
        assert_eq!(nself.text(&format!("/environment/{plugin}_PORT")), port);
    }
}

#[test]
fn data_has_a_network_without_a_way_out() {
    each(|stage, stack, service| {
        assert_eq!(stack.at("/networks/data/internal"), &Value::Bool(true));
        if service.name == "redis" || service.name == "postgres" && stage != Stage::Dev {
            let networks = service.table("/networks");
            assert_eq!(
                networks.keys().collect::<Vec<_>>(),
                ["data"],
                "{stage:?} {}",
                service.name
            );
        }
    });
}

#[test]
fn secrets_are_files_and_never_variables() {
    each(|_, _, service| {
        for (name, value) in service.environment() {
            let secret = ["PASSWORD", "SECRET", "TOKEN", "KEY", "URL"]
                .iter()
                .any(|word| name.contains(word));
            // Addresses and settings that hold no secret, under names that sound like one.
            let open = [
                "HASURA_GRAPHQL_JWT_SECRET",
                "NSELF_URL",
                "NSELF_SECRETS__DIRECTORY",
                "NSELF_PLUGINS__AUTH__CONFIG__PUBLIC_URL",
                "NSELF_IDENTITY__API_KEYS__OPERATOR__SCOPES",
                "NSELF_IDENTITY__API_KEYS__HASURA__SCOPES",
            ];
            let is_file = name.ends_with("_FILE") && value.starts_with("/run/secrets/");
            assert!(
                !secret || is_file || open.contains(&name.as_str()),
                "{}: {name}",
                service.name
            );
            if is_file {
                let mounted = service.list("/secrets");
                assert!(
                    mounted
                        .iter()
                        .any(|secret| secret["target"] == value.as_str()),
                    "{}: {name}",
                    service.name
                );
            }
        }
    });
}

#[test]
fn everything_has_a_limit() {
    each(|_, _, service| {
        let name = service.name;
        for resource in ["cpus", "memory", "pids"] {
            let limit = service.at(&format!("/deploy/resources/limits/{resource}"));
            assert!(!limit.is_null(), "{name}: {resource}");
        }
        assert_eq!(service.text("/logging/driver"), "local", "{name}");
        assert_eq!(service.text("/logging/options/max-size"), "10m", "{name}");
        assert_eq!(service.text("/logging/options/max-file"), "3", "{name}");
    });
}

#[test]
fn docker_waits_longer_for_an_end_than_the_service_takes() {
    each(|_, _, service| {
        let grace = service.text("/stop_grace_period");
        let takes = match service.name {
            "nself" => {
                service
                    .text("/environment/NSELF_SHUTDOWN__GRACE_MS")
                    .parse::<u64>()
                    .expect("a number")
                    / 1000
            }
            "hasura" => service
                .text("/environment/HASURA_GRAPHQL_GRACEFUL_SHUTDOWN_TIMEOUT")
                .parse()
                .expect("a number"),
            _ if service.is_job() => return,
            // Docker's own default is 10 s.
            _ => 9,
        };
        assert!(seconds(grace) > takes, "{}: {grace}", service.name);
    });
}

#[test]
fn what_is_kept_is_in_named_volumes_and_the_plugin_directory_is_one() {
    each(|_, _, service| {
        for volume in service.list("/volumes") {
            assert_eq!(volume["type"], "volume", "{}: {volume}", service.name);
        }
    });
    let stack = Stack::of(Stage::Base);
    let volumes = stack.service("nself").list("/volumes");
    assert!(
        volumes
            .iter()
            .any(|volume| volume["target"] == "/var/lib/nself/plugins.d")
    );
}

#[test]
fn each_stage_is_what_it_is_called() {
    for (stage, environment, console) in [
        (Stage::Base, "production", "false"),
        (Stage::Dev, "development", "true"),
        (Stage::Staging, "staging", "false"),
        (Stage::Prod, "production", "false"),
    ] {
        let stack = Stack::of(stage);
        assert_eq!(stack.service("nself").text("/environment/ENV"), environment);
        assert_eq!(
            stack
                .service("hasura")
                .text("/environment/HASURA_GRAPHQL_ENABLE_CONSOLE"),
            console
        );
        // A catcher of production's mails is started by nobody who does not ask for it.
        let hidden = stack.service("mailpit").words("/profiles");
        assert_eq!(!hidden.is_empty(), stage == Stage::Prod, "{stage:?}");
        let host = stack
            .service("nself")
            .text("/environment/NSELF_PLUGINS__MAIL__CONFIG__SMTP_HOST");
        assert_eq!(host != "mailpit", stage == Stage::Prod, "{stage:?}");
    }
}

#[test]
fn production_does_not_start_before_the_operator_has_said_what_only_he_knows() {
    for (missing, _) in OPERATOR {
        let stated: Vec<_> = OPERATOR
            .into_iter()
            .filter(|(name, _)| *name != missing)
            .collect();
        let said = config(&Stage::Prod.files(), &stated);
        assert!(
            !said.success && said.err.contains(missing),
            "{missing}: {}",
            said.err
        );
    }
}

/// Hasura accepts a token without an issuer, and any audience, unless both are stated; the issuer is the address of auth.
#[test]
fn hasura_takes_the_tokens_of_auth_and_no_others() {
    for stage in STAGES {
        let stack = Stack::of(stage);
        let settings = stack
            .service("hasura")
            .text("/environment/HASURA_GRAPHQL_JWT_SECRET");
        let settings: Value = serde_json::from_str(settings).expect("JSON");
        let issuer = stack
            .service("nself")
            .text("/environment/NSELF_PLUGINS__AUTH__CONFIG__PUBLIC_URL");
        assert_eq!(settings["issuer"], issuer, "{stage:?}");
        assert_eq!(settings["audience"], "hasura");
        assert_eq!(
            settings["jwk_url"],
            "http://nself:3001/.well-known/jwks.json"
        );
        assert!(settings["key"].is_null());
    }
}
