//! The port without TLS of a real host, as curl finds it.

use std::fs;

use super::project::{Project, free_ports, until};
use super::tls::said;
use crate::certificates::{Authority, LONG};

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_without_tls_arrives_with_it() {
    let project = Project::served("").await;
    let authority = Authority::new();
    authority.certify(LONG).put(project.path());
    authority.put_root(project.path());
    let [port, redirect] = free_ports();
    let settings = format!(
        "[http]\nplugin_ports = false\nport = {port}\npublic_url = \"https://localhost:{port}\"\n\
         [http.tls]\ncertificate = \"certificate.pem\"\nkey = \"key.pem\"\nredirect_port = {redirect}\n"
    );
    fs::write(project.path().join("nself.toml"), settings).unwrap();
    let host = project
        .start_with(&["serve", "--json"])
        .unwrap_or_else(|ran| panic!("{ran:?}"));
    assert_eq!(host.address.port(), port);
    let plain = format!("http://localhost:{redirect}/livez?x=1");
    let format = "\n%{http_code} %{url_effective}";
    let curl = ["-sSL", "--cacert", "root.pem", "-w", format, &plain];
    let answer = said(&project, "curl", &curl);
    let arrived = format!("200 https://localhost:{port}/livez?x=1");
    assert!(answer.ends_with(&arrived), "{answer}");
    until("both lines", || {
        host.logged(&["nself::access", "\"route\":\"redirect\"", "308"]) == 1
            && host.logged(&["\"message\":\"listening\"", "\"scheme\":\"http\""]) == 1
    });
    // Addresses for people are those with TLS alone.
    let urls = project.nself(&["urls"]).done().stdout;
    assert!(!urls.contains(&redirect.to_string()), "{urls}");
}
