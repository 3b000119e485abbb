//! What collectors do, and that it costs no request anything.

use std::{fs, sync::Arc, time::Duration};

use nself_plugin_testkit::{Collector, Reaction, Signal, TestHost, attribute, eventually};
use tokio::{net::TcpSocket, time::Instant};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::{exporting, exporting_host};
use crate::fixture;

/// Asks for something that leaves a span.
async fn ask(host: &TestHost) {
    let _ = host.get("/fixture/about").send().await.expect_status(200);
}

async fn asked_for(collector: &Collector) {
    let is_it =
        |span: &nself_plugin_testkit::otlp::trace::v1::Span| span.name == "GET /fixture/about";
    collector.span("the span", is_it).await;
}

async fn dropped(host: &TestHost, signal: &str, reason: &str) -> u64 {
    let series = format!("nself_otlp_dropped_total{{reason=\"{reason}\",signal=\"{signal}\"}}");
    let count = host.metric(&series).await;
    format!("{count}").parse().expect("a count is whole")
}

async fn until_dropped(host: &TestHost, signal: &str, reason: &str) {
    eventually(reason, async || {
        (dropped(host, signal, reason).await > 0).then_some(())
    })
    .await;
}

/// How often a line with this is in the log.
fn logged(host: &TestHost, text: &str) -> usize {
    host.log()
        .lines()
        .filter(|line| line.contains(text))
        .count()
}

/// A server's side of TLS, and the certificate that a client has to trust.
fn tls() -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a key and a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

#[tokio::test]
async fn a_collector_behind_tls_gets_the_headers_and_nobody_else_sees_them() {
    let (acceptor, certificate) = tls();
    let collector = Collector::start_tls(acceptor);
    let file = tempfile::NamedTempFile::new().expect("there is room");
    fs::write(file.path(), certificate).expect("there is room");
    let more = format!(
        "headers = \"authorization=Bearer%20canary,x-tenant=7\"\ncertificate = \"{}\"\n\
         service_name = \"home\"\nresource_attributes = \"service.name=other,host.name=my%20attic\"\n",
        file.path().display()
    );
    let config = collector.config() + &more;
    let host = fixture().config(&config).program().start().await;
    ask(&host).await;
    asked_for(&collector).await;
    for export in collector.exports() {
        assert_eq!(export.headers["authorization"], "Bearer canary");
        assert_eq!(export.headers["x-tenant"], "7");
    }
    let resource = collector.resource();
    let named = |key| attribute(&resource.attributes, key).unwrap_or_default();
    assert_eq!(
        (&*named("service.name"), &*named("host.name")),
        ("home", "my attic")
    );

    let (doctor, _) = host.command_line(&["doctor"]).await;
    assert!(doctor.contains("takes it"), "{doctor}");
    let (shown, _) = host.command_line(&["config", "--json"]).await;
    assert!(shown.contains("telemetry.headers"), "{shown}");
    for text in [shown, doctor, host.log(), collector.text()] {
        assert!(!text.contains("canary"), "{text}");
    }
    host.stop().await;
}

#[tokio::test]
async fn one_without_that_certificate_is_not_trusted() {
    let (acceptor, _) = tls();
    let collector = Collector::start_tls(acceptor);
    let host = exporting(&collector).program().start().await;
    ask(&host).await;
    eventually("a word in the log", async || {
        (logged(&host, "cannot export to the collector") == 1).then_some(())
    })
    .await;
    let (doctor, _) = host.command_line(&["doctor"]).await;
    assert!(doctor.contains("certificate"), "{doctor}");
    host.stop().await;
    assert_eq!(collector.exports().len(), 0);
}

#[tokio::test]
async fn one_that_has_no_time_is_asked_again_when_it_says() {
    let collector = Collector::start();
    collector.react(&[
        Reaction::Refuse(429, Some(2)),
        Reaction::Refuse(503, None),
        Reaction::Refuse(502, Some(0)),
        Reaction::Refuse(504, Some(0)),
    ]);
    let host = exporting_host(&collector).await;
    ask(&host).await;
    asked_for(&collector).await;
    let exports = collector.exports();
    let first: Vec<_> = exports.iter().take(5).collect();
    assert!(
        first
            .iter()
            .all(|export| export.message == first[0].message)
    );
    assert!(
        first[1].at - first[0].at >= Duration::from_secs(2),
        "it was told when"
    );
    let pause = first[2].at - first[1].at;
    assert!(
        pause >= Duration::from_secs(1),
        "the second pause: {pause:?}"
    );
    let names = collector.spans().into_iter().map(|span| span.span_id);
    let all: Vec<_> = names.collect();
    let mut each = all.clone();
    each.sort();
    each.dedup();
    assert_eq!(all.len(), each.len(), "no span comes twice");
    for reason in ["queue_full", "unreachable", "refused", "rejected"] {
        assert_eq!(dropped(&host, "traces", reason).await, 0, "{reason}");
    }
    host.stop().await;
}

#[tokio::test]
async fn one_that_says_no_is_not_asked_the_same_again() {
    let collector = Collector::start();
    collector.react(&[
        Reaction::Refuse(400, None),
        Reaction::Refuse(401, Some(0)),
        Reaction::Refuse(302, None),
    ]);
    let host = exporting(&collector).program().start().await;
    for count in 1..=3 {
        ask(&host).await;
        eventually("a refusal", async || {
            (collector.exports().len() >= count).then_some(())
        })
        .await;
    }
    until_dropped(&host, "traces", "refused").await;
    ask(&host).await;
    asked_for(&collector).await;
    let exports = collector.exports();
    for (one, other) in exports.iter().zip(&exports[1..]) {
        assert_ne!(one.message, other.message);
    }
    assert_eq!(dropped(&host, "traces", "unreachable").await, 0);
    assert_eq!(logged(&host, "cannot export to the collector"), 1);
    assert_eq!(logged(&host, "exported to the collector again"), 1);
    host.stop().await;
}

#[tokio::test]
async fn what_it_takes_in_part_or_answers_with_nonsense_is_said_and_not_sent_again() {
    let collector = Collector::start();
    collector.react(&[
        Reaction::TakeBut(2, "too old\u{1b}[31m".to_owned()),
        Reaction::Babble,
        Reaction::TakeBut(0, "mind the quota".to_owned()),
    ]);
    let host = exporting(&collector).program().start().await;
    for count in 1..=4 {
        ask(&host).await;
        eventually("an export", async || {
            (collector.exports().len() >= count).then_some(())
        })
        .await;
    }
    until_dropped(&host, "traces", "rejected").await;
    assert_eq!(dropped(&host, "traces", "rejected").await, 2);
    eventually("words in the log", async || {
        let said = ["too old", "its answer cannot be read", "mind the quota"];
        said.iter()
            .all(|said| logged(&host, said) == 1)
            .then_some(())
    })
    .await;
    assert!(!host.log().contains('\u{1b}'));
    let exports = collector.exports();
    for (one, other) in exports.iter().zip(&exports[1..]) {
        assert_ne!(one.message, other.message);
    }
    host.stop().await;
}

#[tokio::test]
async fn one_that_is_away_costs_spans_and_no_request_and_is_found_again() {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    let bound = socket.bind(([127, 0, 0, 1], 0).into());
    bound.expect("there are ports");
    let port = socket.local_addr().expect("it is bound").port();
    let config = format!(
        "[telemetry]\nendpoint = \"http://127.0.0.1:{port}\"\nmetric_export_interval_ms = 500\n"
    );
    let host = fixture().config(&config).program().start().await;
    ask(&host).await;
    until_dropped(&host, "traces", "unreachable").await;
    until_dropped(&host, "metrics", "unreachable").await;
    assert_eq!(
        logged(&host, "cannot export to the collector"),
        2,
        "once for each signal"
    );
    let (doctor, _) = host.command_line(&["doctor"]).await;
    assert!(doctor.contains("Connection refused"), "{doctor}");

    let collector = Collector::start_on(socket);
    ask(&host).await;
    asked_for(&collector).await;
    eventually("metrics", async || {
        (!collector.metrics().is_empty()).then_some(())
    })
    .await;
    eventually("a word in the log", async || {
        (logged(&host, "exported to the collector again") == 2).then_some(())
    })
    .await;
    host.stop().await;
}

#[tokio::test]
async fn one_that_is_silent_fills_the_queue_and_what_is_more_is_dropped_and_counted() {
    let collector = Collector::start();
    collector.always(Reaction::BeSilent);
    let host = exporting_host(&collector).await;
    let begun = Instant::now();
    // More than fifty statements each.
    for _ in 0..100 {
        let _ = host
            .get("/fixture/pipeline")
            .send()
            .await
            .expect_status(200);
    }
    let took = begun.elapsed();
    let lost = dropped(&host, "traces", "queue_full").await;
    assert!(lost >= 2_000, "{lost}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(collector.spans().len(), 0);
    // It comes to itself, and gets those that have waited.
    collector.always(Reaction::Take);
    eventually("the others", async || {
        (collector.spans().len() >= 2_048).then_some(())
    })
    .await;
    let largest = collector.exports().into_iter().map(|export| {
        String::from_utf8_lossy(&export.message)
            .matches("select $1::bigint")
            .count()
    });
    assert!(largest.max().is_some_and(|spans| spans <= 512));
    host.stop().await;
}

#[tokio::test]
async fn a_host_that_stops_sends_what_is_left() {
    let collector = Collector::start();
    let config = collector.config().replace("= 100", "= 3600000");
    let host = fixture().config(&config).program().start().await;
    // Both are far from being sent by themselves.
    ask(&host).await;
    host.stop().await;
    asked_for(&collector).await;
    let metrics = collector.metrics();
    assert!(
        metrics
            .iter()
            .any(|metric| metric.name == "nself_http_requests_total")
    );
}

#[tokio::test]
async fn a_collector_that_is_silent_does_not_keep_a_host_from_stopping() {
    let collector = Collector::start();
    collector.always(Reaction::BeSilent);
    let host = fixture().start().await;
    let config = collector.config() + "[shutdown]\ngrace_ms = 2000\n";
    let mut process = host.process_beside().config(&config).start().await;
    // Its metrics are on their way when it is told to stop.
    eventually("an export", async || {
        (!collector.exports().is_empty()).then_some(())
    })
    .await;
    let begun = Instant::now();
    process.signal(Signal::TERM);
    process.ended().await;
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
    let log = process.log_text();
    assert!(log.contains("could not be exported in time"), "{log}");
    host.stop().await;
}
