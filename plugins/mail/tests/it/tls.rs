//! TLS to the SMTP server: demanded where it is configured, and with a certificate that is trusted.

use std::{fs, sync::Arc};

use nself_plugin_testkit::TestHostBuilder;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::{
    smtp_server::{Encryption, SmtpServer},
    stage::{is_put_off, plain, reaches, send, sending_to},
};

/// A server's side of TLS, and the file that a client has to trust.
struct Authority {
    acceptor: TlsAcceptor,
    file: tempfile::NamedTempFile,
}

fn authority() -> Authority {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a key and a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    let file = tempfile::NamedTempFile::new().expect("there is room");
    fs::write(file.path(), made.cert.pem()).expect("there is room");
    Authority {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        file,
    }
}

/// A host that demands TLS of the server at that port, and trusts that file.
fn encrypted(port: u16, mode: &str, authority: Option<&Authority>) -> TestHostBuilder {
    let trusted = authority.map_or(String::new(), |authority| {
        format!(
            "smtp_tls_ca_file = \"{}\"\n",
            authority.file.path().display()
        )
    });
    sending_to(port).config(&format!(
        "[plugins.mail.config]\nsmtp_host = \"localhost\"\nsmtp_tls = \"{mode}\"\n{trusted}"
    ))
}

#[tokio::test]
async fn a_mail_goes_through_tls_that_was_begun_in_between_or_from_the_start() {
    let authority = authority();
    let modes = [
        ("starttls", Encryption::Starttls(authority.acceptor.clone())),
        ("tls", Encryption::FromTheStart(authority.acceptor.clone())),
    ];
    for (mode, encryption) in modes {
        let server = SmtpServer::start_at(0, encryption).await;
        let host = encrypted(server.port(), mode, Some(&authority));
        let host = host.start().await;
        let (id, _) = send(&host, &plain("ada@example.org")).await;
        reaches(&host, &id, "sent").await;
        assert!(server.receives(1).await[0].is_encrypted, "{mode}");
        host.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_trusted_or_offers_no_tls() {
    let authority = authority();
    let rows = [
        (Encryption::Starttls(authority.acceptor.clone()), None),
        (Encryption::Never, Some(&authority)),
    ];
    for (encryption, trusted) in rows {
        let server = SmtpServer::start_at(0, encryption).await;
        let host = encrypted(server.port(), "starttls", trusted).start().await;
        let (id, _) = send(&host, &plain("ada@example.org")).await;
        is_put_off(&host, &id, "").await;
        assert_eq!(server.received().len(), 0);
        host.stop().await;
    }
}
