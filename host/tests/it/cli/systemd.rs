//! The units for systemd.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use super::Project;

fn configured() -> Project {
    let text = "[project]\nname = \"the family's\"\n[http]\nport = 3999\n[shutdown]\ngrace_ms = 1500\n[backup]\ndirectory = \"/mnt/other disk\"\n";
    Project::with(&[("nself.toml", text)])
}

#[test]
fn the_service_runs_the_project_in_a_sandbox_and_the_socket_has_the_gateways_port() {
    let project = configured();
    let socket = project.run(&["systemd", "socket"]);
    assert_eq!(socket.code, 0, "{socket:?}");
    assert!(
        socket.stdout.contains("\nListenStream=127.0.0.1:3999\n"),
        "{socket:?}"
    );
    let service = project
        .run(&["systemd", "service", "--user", "nself"])
        .stdout;
    let directory = project.path().canonicalize().unwrap();
    for line in [
        "Description=nself (the family's)",
        "User=nself",
        "Type=notify",
        "Requires=nself.socket",
        "TimeoutStopSec=62",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        &format!(
            "ExecStart={} up --project {}",
            env!("CARGO_BIN_EXE_nself"),
            directory.display()
        ),
    ] {
        assert!(
            service.lines().any(|one| one == line),
            "no {line:?} in {service}"
        );
    }
    let url = ("DATABASE_URL", "postgres://app:never-shown@db/nself");
    let served = project
        .run_with(&["systemd", "service", "--user", "nself"], &[url])
        .stdout;
    assert!(
        served.contains(" serve --project ") && !served.contains("never-shown"),
        "{served}"
    );
}

#[test]
fn the_socket_has_the_port_that_sends_on_to_the_gateways_too() {
    let text = "[http]\nbind = \"::\"\nport = 443\n[http.tls]\nredirect_port = 80\n";
    let project = Project::with(&[("nself.toml", text)]);
    let socket = project.run(&["systemd", "socket"]).stdout;
    let both = "\nListenStream=[::]:443\nListenStream=[::]:80\nBindIPv6Only=ipv6-only\n";
    assert!(socket.contains(both), "{socket}");
}

#[test]
fn backups_may_be_written_where_the_operator_wants_them() {
    let text = "[backup]\ndirectory = \"/mnt/other disk\"\n[database]\nbackup_directory = \"/srv/archives\"\n";
    let project = Project::with(&[("nself.toml", text)]);
    let ran = project.run(&["systemd", "service", "--user", "nself"]);
    let directory = project.path().canonicalize().unwrap();
    // One that is not there keeps nothing from starting.
    let line = format!(
        "\nReadWritePaths={} \"-/mnt/other disk\" -/srv/archives\n",
        directory.display()
    );
    assert!(ran.stdout.contains(&line), "no {line:?} in {ran:?}");
}

#[test]
fn a_directory_with_blanks_and_percents_is_one_word() {
    let outer = configured();
    let directory = outer.path().join("50% of $all");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("nself.toml"), "").unwrap();
    let project = directory.to_str().unwrap();
    let service = outer.run(&[
        "--project",
        project,
        "systemd",
        "service",
        "--user",
        "nself",
    ]);
    for (key, written) in [
        ("\nReadWritePaths=\"", "/50%% of $all\"\n"),
        ("--project \"", "/50%% of $$all\"\n"),
    ] {
        let at = service.stdout.find(key).expect("it is there");
        let line = &service.stdout[at + 1..];
        assert!(
            line[..=line.find('\n').unwrap()].ends_with(written),
            "{line}"
        );
    }
}

#[test]
fn root_is_refused_and_the_owner_of_the_directory_runs_it() {
    let project = configured();
    let asked = ["systemd", "service", "--user", "root"];
    project
        .run(&asked)
        .check(2, &["error[SYSTEMD_ROOT]", "useradd", "--user"]);
    if rustix::process::geteuid().is_root() {
        project
            .run(&["systemd", "service"])
            .check(2, &["error[SYSTEMD_ROOT]"]);
        chown(project.path(), Some(4711), None).unwrap();
        let service = project.run(&["systemd", "service"]).stdout;
        assert!(service.contains("\nUser=4711\n"), "{service}");
    }
}

/// Where systemd's own judge is installed, it is asked.
#[test]
fn systemd_finds_nothing_to_complain_about() {
    let project = configured();
    let units = project.path().join("units");
    fs::create_dir(&units).unwrap();
    for (name, arguments) in [
        (
            "nself.service",
            ["systemd", "service", "--user", "daemon"].as_slice(),
        ),
        ("nself.socket", &["systemd", "socket"]),
    ] {
        fs::write(units.join(name), project.run(arguments).stdout).unwrap();
    }
    let judged = Command::new("systemd-analyze")
        .args([
            "verify",
            "--man=no",
            "--generators=no",
            "nself.service",
            "nself.socket",
        ])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
        .current_dir(&units)
        .output();
    let Ok(judged) = judged else {
        eprintln!("no systemd-analyze on this machine: the units are not judged");
        return;
    };
    let said = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(
        judged.status.success() && !said.contains("nself."),
        "{said}"
    );
}
