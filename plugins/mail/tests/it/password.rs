//! The password of the SMTP server, out of a directory that somebody else has filled.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use nself_plugin_testkit::{LIMIT, TestHostBuilder};

use crate::{
    smtp_server::SmtpServer,
    stage::{is_put_off, plain, reaches, send, sending_to},
};

const PASSWORD: &str = "smtp-password";

fn mounted(password: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("there is room");
    chmod(directory.path(), 0o755);
    fs::write(directory.path().join(PASSWORD), password).expect("there is room");
    chmod(&directory.path().join(PASSWORD), 0o400);
    directory
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// A host that logs in, whose own store has another password than the directory.
fn logging_in(server: &SmtpServer, directory: &Path) -> TestHostBuilder {
    sending_to(server.port())
        .config(&format!("[secrets]\ndirectory = \"{}\"", directory.display()))
        .config("[plugins.mail.config]\nsmtp_user = \"us\"\nretry_first_seconds = 1\nretry_last_seconds = 1\nattempts_max = 1000")
        .secret(PASSWORD, "the own one")
}

/// RFC 4616: zero, user, zero, password.
fn login(password: &str) -> String {
    BASE64_STANDARD.encode(format!("\0us\0{password}"))
}

#[tokio::test]
async fn of_two_passwords_the_mounted_one_logs_in_and_a_changed_one_at_once() {
    let server = SmtpServer::start().await;
    let directory = mounted("the mounted one\n");
    let host = logging_in(&server, directory.path()).start().await;
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    reaches(&host, &id, "sent").await;
    let received = server.receives(1).await;
    assert_eq!(received[0].login, Some(login("the mounted one")));

    let file = directory.path().join(PASSWORD);
    fs::remove_file(&file).expect("it is ours");
    server.hang_up();
    let (id, _) = send(&host, &plain("bob@example.org")).await;
    reaches(&host, &id, "sent").await;
    let received = server.receives(2).await;
    assert_eq!(received[1].login, Some(login("the own one")));
    host.stop().await;
}

#[tokio::test]
async fn a_password_that_others_can_read_is_not_sent_and_keeps_the_plugin_from_starting() {
    let server = SmtpServer::start().await;
    let directory = mounted("the mounted one");
    let host = logging_in(&server, directory.path()).start().await;
    let file = directory.path().join(PASSWORD);
    chmod(&file, 0o444);
    let complaint = format!(
        "{file} can be reached by others (mode 444): chmod 600 '{file}'",
        file = file.display()
    );
    let (id, _) = send(&host, &plain("ada@example.org")).await;
    is_put_off(&host, &id, &complaint).await;
    assert_eq!(server.dialogues(), 0, "nothing was said to the server");

    let registry = host.registry();
    let disabled = registry.disable("mail", LIMIT, false).await;
    disabled.expect("it stops");
    let refused = registry.enable("mail").await.expect_err("it is refused");
    assert_eq!(
        refused.to_string(),
        format!("a secret of mail: {complaint}")
    );
    chmod(&file, 0o600);
    registry.enable("mail").await.expect("it starts");
    reaches(&host, &id, "sent").await;
    host.stop().await;
}
