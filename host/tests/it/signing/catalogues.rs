//! Catalogues: plugins by their names, over HTTP and from a directory.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::lifecycle::plugin_file::{bad, changed};
use super::super::lifecycle::project::{Host, Project};
use super::web::{Answer, Web};
use super::{keygen, pack, project, settings, write};

/// A publisher with a key and a directory of archives, and a web server that hands it out.
struct Publisher {
    home: Project,
    web: Web,
    key: String,
}

impl Publisher {
    fn new() -> Self {
        let home = project("");
        let key = keygen(&home, "publisher");
        fs::create_dir(home.path().join("catalogue")).unwrap();
        Self {
            home,
            web: Web::start(),
            key,
        }
    }

    /// With these versions of the plugin `bad`.
    fn with(versions: &[&str]) -> Self {
        let publisher = Self::new();
        for version in versions {
            publisher.add(&bad(version));
        }
        publisher.publish(&["--key", "publisher.key"]);
        publisher
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("catalogue")
    }

    /// Packs a plugin and puts it into the directory.
    fn add(&self, bytes: &[u8]) {
        let archive = pack(&self.home, bytes, Some("publisher"));
        let name = archive.file_name().unwrap();
        fs::rename(&archive, self.directory().join(name)).unwrap();
    }

    /// Makes the index, and hands out the directory as it is then.
    fn publish(&self, more: &[&str]) {
        let arguments = [&["plugin", "publish", "catalogue"], more].concat();
        self.home.nself(&arguments).done();
        self.serve();
    }

    fn serve(&self) {
        for entry in fs::read_dir(self.directory()).unwrap() {
            let entry = entry.unwrap();
            let path = format!("/{}", entry.file_name().to_string_lossy());
            self.web
                .put(&path, Answer::Whole(fs::read(entry.path()).unwrap()));
        }
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.directory().join("index.json")).unwrap()).unwrap()
    }

    /// Signs an index of one's own making.
    fn sign(&self, index: &Value) {
        let path = self.directory().join("index.json");
        fs::write(&path, index.to_string()).unwrap();
        let signed = std::process::Command::new("minisign")
            .args(["-S", "-s", "publisher.key", "-m", "catalogue/index.json"])
            .current_dir(self.home.path())
            .output()
            .unwrap();
        assert!(signed.status.success(), "{signed:?}");
        self.serve();
    }

    /// `[plugins]` of somebody who trusts this publisher.
    fn settings(&self, policy: &str) -> String {
        let url = self.web.url("/index.json");
        format!(
            "{}catalogue = {url:?}\n",
            settings(policy, &[&format!("{} publisher", self.key)])
        )
    }
}

fn rows(project: &Project, arguments: &[&str]) -> Value {
    project.nself(&[arguments, &["--json"]].concat()).data()
}

async fn version(host: &Host) -> String {
    let answer = host.caller().await.get("/bad/version").await;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["data"].as_str().unwrap().to_owned()
}

#[test]
fn a_plugin_is_found_and_installed_by_its_name_in_the_newest_version_that_runs_here() {
    let publisher = Publisher::with(&["1.0.0", "1.10.0"]);
    publisher.add(&changed(|manifest| {
        manifest["version"] = "2.0.0".into();
        manifest["abi"]["needs"] = 99.into();
    }));
    publisher.publish(&["--key", "publisher.key"]);
    let project = project(&publisher.settings("require"));
    let found = rows(&project, &["plugin", "search", "BAD"]);
    assert_eq!(
        (&found[0]["id"], &found[0]["version"]),
        (&json!("bad"), &json!("1.10.0"))
    );
    assert_eq!(found[0]["signer"], publisher.key.as_str());
    assert_eq!(rows(&project, &["plugin", "search", "nothing"]), json!([]));
    project.nself(&["plugin", "install", "bad"]).done();
    assert_eq!(project.plugin("bad")["version"], "1.10.0");
    assert_eq!(project.plugin("bad")["signer"]["name"], "publisher");
    let other = super::project(&publisher.settings("require"));
    other.nself(&["plugin", "install", "bad@1.0.0"]).done();
    assert_eq!(other.plugin("bad")["version"], "1.0.0");
    let third = super::project(&publisher.settings("require"));
    for (subject, says) in [
        ("bad@2", "2.0.0 needs plugin ABI 1.99"),
        ("bad@7", "no such version of bad, only 2.0.0, 1.10.0, 1.0.0"),
        ("worse", "the catalogue has no plugin worse"),
    ] {
        third
            .nself(&["plugin", "install", subject])
            .refused(1, &["CATALOGUE_VERSION", says]);
    }
    super::project("")
        .nself(&["plugin", "install", "bad"])
        .refused(78, &["CATALOGUE", "no catalogue is configured"]);
}

#[test]
fn a_catalogue_in_a_directory_is_as_good() {
    let publisher = Publisher::with(&["1.0.0"]);
    let place = publisher.directory().join("index.json");
    let trust = settings("require", &[&publisher.key]);
    let project = project(&format!("{trust}catalogue = {place:?}\n"));
    project
        .nself(&["plugin", "install", "bad", "--enable"])
        .done();
    assert_eq!(project.plugin("bad")["enabled"], true);
}

#[test]
fn an_index_that_nobody_stands_for_is_not_believed() {
    let publisher = Publisher::with(&["1.0.0"]);
    let project = project(&publisher.settings("require"));
    let refused = |says: &[&str]| {
        project
            .nself(&["plugin", "install", "bad"])
            .refused(65, &[&["CATALOGUE"], says].concat());
        project.nself(&["plugin", "search"]).refused(65, says);
    };
    let signature = fs::read(publisher.directory().join("index.json.minisig")).unwrap();
    let index = publisher.index();
    let mut forged = index.clone();
    forged["plugins"]["bad"]["versions"][0]["url"] = "http://evil.example/x.tar.gz".into();
    publisher.web.put(
        "/index.json",
        Answer::Whole(forged.to_string().into_bytes()),
    );
    refused(&["it is not what key"]);
    publisher.serve();
    publisher
        .web
        .put("/index.json.minisig", Answer::Status(404));
    refused(&["it is not signed", "ask who publishes it"]);
    publisher
        .web
        .put("/index.json.minisig", Answer::Whole(b"garbled".to_vec()));
    refused(&["it has a signature file that does not read"]);
    publisher
        .web
        .put("/index.json.minisig", Answer::Whole(signature));
    project.configure(
        &publisher
            .settings("require")
            .replace(&publisher.key, &keygen(&project, "other")),
    );
    refused(&["which is not trusted"]);
    project.configure(&publisher.settings("require"));
    project.nself(&["plugin", "install", "bad"]).done();
}

#[test]
fn an_index_that_does_not_come_is_told_from_one_that_is_wrong() {
    let publisher = Publisher::with(&["1.0.0"]);
    let project = project(&publisher.settings("require"));
    let search = || project.nself(&["plugin", "search"]);
    let whole = fs::read(publisher.directory().join("index.json")).unwrap();
    publisher.web.put("/index.json", Answer::Cut(whole));
    search().refused(69, &["PLUGIN_DOWNLOAD", "does not answer"]);
    publisher.web.put("/index.json", Answer::Status(404));
    search().refused(69, &["PLUGIN_DOWNLOAD", "answers 404"]);
    publisher.serve();
    // A signature that does not come is not one that is not there.
    publisher
        .web
        .put("/index.json.minisig", Answer::Status(503));
    search().refused(69, &["PLUGIN_DOWNLOAD", "answers 503"]);
    for (index, says) in [
        (
            json!({"schema": 2, "serial": 1, "plugins": {}}),
            "its schema is 2",
        ),
        (json!({"schema": 1}), "it is no index of plugins"),
        (
            json!({"schema": 1, "serial": 9, "expires": "2001-01-01T00:00:00Z", "plugins": {}}),
            "it expired at 2001",
        ),
    ] {
        publisher.sign(&index);
        search().refused(65, &["CATALOGUE", says]);
    }
}

#[test]
fn an_older_index_than_was_seen_is_refused_however_well_it_is_signed() {
    let publisher = Publisher::with(&["1.0.0"]);
    let project = project(&publisher.settings("require"));
    project.nself(&["plugin", "search"]).done();
    let (old, signature) = (
        fs::read(publisher.directory().join("index.json")).unwrap(),
        fs::read(publisher.directory().join("index.json.minisig")).unwrap(),
    );
    publisher.add(&bad("1.0.1"));
    publisher.publish(&["--key", "publisher.key", "--expires", "30"]);
    assert_eq!(publisher.index()["serial"], 2);
    project.nself(&["plugin", "search"]).done();
    publisher.web.put("/index.json", Answer::Whole(old));
    publisher
        .web
        .put("/index.json.minisig", Answer::Whole(signature));
    project.nself(&["plugin", "install", "bad"]).refused(
        65,
        &[
            "CATALOGUE",
            "it is older (serial 1) than the one that was seen before (serial 2)",
            "catalogues.json",
        ],
    );
}

#[test]
fn an_archive_that_is_not_what_the_index_says_is_refused() {
    let publisher = Publisher::with(&["1.0.0", "2.0.0"]);
    let project = project(&publisher.settings("require"));
    let archive = |version: &str| format!("/bad-{version}.plugin.tar.gz");
    let other = fs::read(publisher.directory().join(&archive("1.0.0")[1..])).unwrap();
    publisher
        .web
        .put(&archive("2.0.0"), Answer::Whole(other.clone()));
    project
        .nself(&["plugin", "install", "bad"])
        .refused(65, &["PLUGIN_ARCHIVE", "and the catalogue says"]);
    publisher
        .web
        .put(&archive("2.0.0"), Answer::Cut(other.clone()));
    project
        .nself(&["plugin", "install", "bad"])
        .refused(69, &["PLUGIN_DOWNLOAD"]);
    // The index may be mistaken itself: hash and signature are right, and it is another version all the same.
    let mut index = publisher.index();
    let versions = index["plugins"]["bad"]["versions"].as_array_mut().unwrap();
    for key in ["url", "sha256", "bytes"] {
        versions[1][key] = versions[0][key].clone();
    }
    publisher.sign(&index);
    project.nself(&["plugin", "install", "bad@2.0.0"]).refused(
        65,
        &[
            "PLUGIN_ARCHIVE",
            "holds bad 1.0.0, and the catalogue says bad 2.0.0",
        ],
    );
    let mut index = publisher.index();
    index["serial"] = 7.into();
    index["plugins"]["bad"]["versions"][0]["signer"] = keygen(&publisher.home, "somebody").into();
    publisher.sign(&index);
    project.nself(&["plugin", "install", "bad@1.0.0"]).refused(
        65,
        &[
            "PLUGIN_ARCHIVE",
            "is signed by another key than the catalogue says",
        ],
    );
    assert_eq!(
        fs::read_dir(project.path().join("plugins.d"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn what_was_withdrawn_stays_withdrawn_and_the_same_archives_make_the_same_index() {
    let publisher = Publisher::with(&["1.0.0", "2.0.0"]);
    publisher.publish(&["--key", "publisher.key", "--yank", "bad@2.0.0"]);
    let first = publisher.index();
    assert_eq!(
        (
            &first["serial"],
            &first["plugins"]["bad"]["versions"][1]["yanked"]
        ),
        (&json!(2), &json!(true))
    );
    publisher
        .home
        .nself(&["plugin", "publish", "catalogue", "--yank", "bad@3.0.0"])
        .refused(65, &["CATALOGUE", "no bad@3.0.0 to withdraw"]);
    publisher.publish(&["--key", "publisher.key"]);
    assert_eq!(publisher.index(), first);
    let project = project(&publisher.settings("require"));
    project.nself(&["plugin", "install", "bad"]).done();
    assert_eq!(project.plugin("bad")["version"], "1.0.0");
    write(
        &publisher.home,
        "catalogue/broken.plugin.tar.gz",
        b"no archive",
    );
    publisher
        .home
        .nself(&["plugin", "publish", "catalogue"])
        .refused(65, &["PLUGIN_ARCHIVE", "pack broken.plugin.tar.gz again"]);
    fs::remove_file(publisher.directory().join("broken.plugin.tar.gz")).unwrap();
    write(&publisher.home, "catalogue/index.json", b"{}");
    publisher
        .home
        .nself(&["plugin", "publish", "catalogue"])
        .refused(65, &["CATALOGUE", "its serial must go on growing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_plugin_is_upgraded_from_the_catalogue() {
    let publisher = Publisher::with(&["1.0.0"]);
    let project = Project::served(&publisher.settings("require")).await;
    let host = project.start();
    project
        .nself(&["plugin", "install", "bad", "--enable"])
        .done();
    assert_eq!(version(&host).await, "1.0.0");
    project.nself(&["plugin", "outdated"]).done();
    let nothing = project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(nothing.stdout, "bad 1.0.0 runs already\n");

    publisher.add(&bad("1.1.0"));
    publisher.publish(&["--key", "publisher.key"]);
    let outdated = project.nself(&["plugin", "outdated"]);
    assert_eq!(outdated.code, 3, "{outdated:?}");
    assert!(
        outdated.stdout.contains("1.1.0") && outdated.stderr.contains("PLUGIN_OUTDATED"),
        "{outdated:?}"
    );
    let upgraded = project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(upgraded.stdout, "bad: 1.0.0 -> 1.1.0\n");
    assert_eq!(version(&host).await, "1.1.0");
    project.nself(&["plugin", "rollback", "bad"]).done();
    assert_eq!(version(&host).await, "1.0.0");
    project.nself(&["plugin", "upgrade", "bad@1.1.0"]).done();
    assert_eq!(version(&host).await, "1.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_asks_for_more_says_so_and_waits_for_the_grant() {
    let publisher = Publisher::with(&["1.0.0"]);
    let project = Project::served(&publisher.settings("require")).await;
    let host = project.start();
    project
        .nself(&["plugin", "install", "bad", "--enable"])
        .done();
    publisher.add(&changed(|manifest| {
        manifest["version"] = "2.0.0".into();
        manifest["requires"]["egress"] = json!(["example.org"]);
    }));
    publisher.publish(&["--key", "publisher.key"]);
    let refused = project.nself(&["plugin", "upgrade", "bad"]);
    let refused = refused.refused(
        77,
        &["PLUGIN_NOT_GRANTED", "example.org", "nself plugin grant /"],
    );
    assert_eq!(version(&host).await, "1.0.0");
    // The command that it names can be pasted.
    let file = refused.stderr.split("nself plugin grant ").nth(1).unwrap();
    let file = file.split(' ').next().unwrap();
    project.nself(&["plugin", "grant", file]).done();
    project.nself(&["plugin", "upgrade", "bad"]).done();
    assert_eq!(version(&host).await, "2.0.0");
}
