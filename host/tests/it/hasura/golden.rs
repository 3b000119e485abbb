//! `hasura/` and `docs/graphql.md`: generated, to be read as a whole.

use std::collections::BTreeMap;
use std::path::Path;

use nself::{
    hasura::{TableName, contract, diff, project},
    policy::Policy,
};

use super::{built, catalog, checkout};

const RUN: &str = "is not current: run `cargo xtask golden` and look at the difference";

#[tokio::test]
async fn the_hasura_project_is_this_one() {
    let (catalog, directory) = (catalog().await, tempfile::tempdir().unwrap());
    let document = built(&catalog);
    let written = checkout().join("hasura");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        project::write(&written, &document).unwrap();
        let page = contract::page(Policy::embedded(), &document);
        std::fs::write(checkout().join("docs/graphql.md"), page).unwrap();
    }
    project::write(directory.path(), &document).unwrap();
    let (fresh, there) = (files(directory.path()), files(&written));
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&there), names(&fresh), "hasura/ {RUN}");
    for (name, text) in &fresh {
        assert!(there[name] == *text, "hasura/{name} {RUN}");
    }
    let page = std::fs::read_to_string(checkout().join("docs/graphql.md")).unwrap();
    assert!(
        page == contract::page(Policy::embedded(), &document),
        "docs/graphql.md {RUN}"
    );
}

#[tokio::test]
async fn a_project_reads_as_what_was_written() {
    let (catalog, directory) = (catalog().await, tempfile::tempdir().unwrap());
    let document = built(&catalog);
    project::write(directory.path(), &document).unwrap();
    let read = project::read(directory.path()).unwrap();
    assert_eq!(diff::lines(&document, &read), Vec::<String>::new());
    // The tag that the CLI writes elsewhere reads as the text that it writes here.
    let list = directory
        .path()
        .join("metadata/databases/default/tables/tables.yaml");
    let text = std::fs::read_to_string(&list).unwrap();
    std::fs::write(
        &list,
        text.replace("'!include ", "!include '")
            .replace("\"!include ", "!include \""),
    )
    .unwrap();
    let read = project::read(directory.path()).unwrap();
    assert_eq!(diff::lines(&document, &read), Vec::<String>::new());
    std::fs::write(&list, "['!include ../../../../../etc/passwd']").unwrap();
    let refusal = project::read(directory.path()).unwrap_err().to_string();
    assert!(refusal.contains("name a file below it"), "{refusal}");
}

#[tokio::test]
async fn what_is_no_longer_tracked_is_taken_out_of_the_project() {
    let (catalog, directory) = (catalog().await, tempfile::tempdir().unwrap());
    let stale = directory
        .path()
        .join("metadata/databases/default/tables/public_gone.yaml");
    std::fs::create_dir_all(stale.parent().unwrap()).unwrap();
    std::fs::write(&stale, "table: { schema: public, name: gone }").unwrap();
    project::write(directory.path(), &built(&catalog)).unwrap();
    assert!(!stale.exists());
}

#[tokio::test]
async fn every_table_of_the_shared_model_is_in_the_policy() {
    let catalog = catalog().await;
    let policy = Policy::embedded();
    let public = catalog
        .tables
        .keys()
        .filter(|table| table.schema == "public");
    let missing: Vec<String> = public
        .filter(|table| !policy.tables().contains_key(&table.name))
        .map(TableName::to_string)
        .collect();
    assert_eq!(
        missing,
        Vec::<String>::new(),
        "say in db/policy.toml who may do what with them"
    );
}

fn files(directory: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(place) = open.pop() {
        for entry in std::fs::read_dir(&place).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path
                .strip_prefix(directory)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
    files
}
