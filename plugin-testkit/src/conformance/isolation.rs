//! Families are apart: by every route, as every role of the other family, and in the tables below them.

use std::path::Path;

use nself::plugin::manifest::{Access, Route};
use nself_plugin_api::manifest::Role as ApiRole;
use serde_json::Value;
use uuid::Uuid;

use super::{
    Belonging, Conformance,
    routes::{admitted, filled, head, is_named, name, path_of, path_with, query_of},
};
use crate::{answer::Answer, host::TestHost, wait::eventually};

/// What a caller of another family is told, without the ids that were asked for.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: u16,
    text: String,
}

impl Told {
    fn new(answer: &Answer, ids: &[String]) -> Self {
        let text = ids
            .iter()
            .fold(answer.text(), |text, id| text.replace(id, "ID"));
        Self {
            status: answer.status,
            text,
        }
    }
}

impl Conformance {
    /// What one family has, nobody of another can tell from what does not exist, and a list does not show; it stays as it was.
    /// The number of probes is printed.
    ///
    /// # Panics
    ///
    /// With the first route that is not so, and with one that is about something that nothing has been made of.
    pub async fn another_family_reaches_nothing(&self) {
        if let Some(file) = &self.swept_in {
            let file = self.folder.join("tests/it").join(file);
            assert!(Path::exists(&file), "{} sweeps", file.display());
            return;
        }
        let host = self.start().await;
        let (ours, theirs) = (Uuid::now_v7(), Uuid::now_v7());
        for family in [ours, theirs] {
            host.settle(family).await;
        }
        let things = self.things_of(&host, ours).await;
        for route in self.of_families().filter(|route| route.path.contains('{')) {
            assert!(
                things.iter().any(|thing| thing.is_about(route)),
                "{}: make what it is about (Conformance::belongings), so that another family is tried on it",
                name(route)
            );
        }
        let before = self.settled(&host, ours, &things).await;
        let mut probes = 0;
        for thing in &things {
            for route in self.of_families().filter(|route| thing.is_about(route)) {
                probes += try_from_outside(&host, route, thing, theirs).await;
            }
        }
        for route in self.of_families().filter(|route| is_list(route)) {
            probes += look_from_outside(&host, route, &things, theirs).await;
        }
        assert_eq!(
            self.seen_by(&host, ours, &things).await,
            before,
            "{}: something has changed for the family whose things they are",
            self.id()
        );
        println!(
            "{}: {probes} probes by another family of {} things",
            self.id(),
            things.len()
        );
        self.finish(host).await;
    }

    /// A table of the plugin with rows of families is held apart by row-level security, or the plugin's tests say why not.
    ///
    /// # Panics
    ///
    /// With the tables that are neither, and with those that need no excuse.
    pub async fn rows_of_families_are_held_apart(&self) {
        let host = self.start().await;
        let sql = "select c.relname::text from pg_class c join pg_attribute a on a.attrelid = c.oid \
             where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p') and not c.relispartition \
               and a.attname = 'family_id' and not a.attisdropped and not c.relrowsecurity order by 1";
        let rows = host.sql().await.query(sql, &[&self.id()]).await;
        let open: Vec<String> = rows
            .expect("the catalogue answers")
            .iter()
            .map(|row| row.get(0))
            .collect();
        let mut said = self.open_tables.clone();
        said.sort();
        assert_eq!(
            open,
            said,
            "{}: tables that are not held apart, and those that say why (Conformance::not_held_apart)",
            self.id()
        );
        self.finish(host).await;
    }

    /// Routes by which people reach what is a family's.
    fn of_families(&self) -> impl Iterator<Item = &Route> {
        self.routes().filter(|route| {
            let by_people = matches!(
                route.access,
                Access::Authenticated | Access::Roles(_) | Access::Action(_)
            );
            let of_the_house = self.house.iter().any(|path| route.path.starts_with(path));
            by_people && !of_the_house && !self.is_excepted(route)
        })
    }

    /// One thing of each kind that a `POST` makes, and those that the plugin's tests make.
    async fn things_of(&self, host: &TestHost, family: Uuid) -> Vec<Belonging> {
        let mut things = match self.belongings {
            Some(make) => make(host, family).await,
            None => Vec::new(),
        };
        for route in self.of_families() {
            let Some(member) = self.member_of(route) else {
                continue;
            };
            if things.iter().any(|thing| thing.is_about(member)) {
                continue;
            }
            let answer = filled(route, admitted(host, route, &route.path, family))
                .send()
                .await;
            let data = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
            let id = match &data["data"]["id"] {
                Value::String(id) => id.clone(),
                Value::Number(id) => id.to_string(),
                _ => continue,
            };
            things.push(Belonging::new(&member.path, &[id]));
        }
        things
    }

    /// The route about one thing of the collection that a `POST` adds to.
    fn member_of(&self, collection: &Route) -> Option<&Route> {
        if collection.method != "POST" || collection.path.contains('{') {
            return None;
        }
        self.of_families().find(|route| {
            let rest = route.path.strip_prefix(&*collection.path);
            let rest = rest.and_then(|rest| rest.strip_prefix('/'));
            rest.is_some_and(|rest| rest.starts_with('{') && !rest.contains('/'))
        })
    }

    /// What the family is shown once two looks say the same: some things move for a while by themselves, or by being looked at.
    async fn settled(&self, host: &TestHost, family: Uuid, things: &[Belonging]) -> Vec<String> {
        eventually("the things of the family rest", async || {
            let first = self.seen_by(host, family, things).await;
            let again = self.seen_by(host, family, things).await;
            (first == again).then_some(again)
        })
        .await
    }

    /// What the family itself is shown of its things; and that it is shown something, where there is a route for it.
    async fn seen_by(&self, host: &TestHost, family: Uuid, things: &[Belonging]) -> Vec<String> {
        let mut seen = Vec::new();
        for thing in things {
            for route in self.of_families() {
                if route.method != "GET" || route.kind != "json" || !thing.is_about(route) {
                    continue;
                }
                let path = path_with(route, thing.ids());
                let answer = admitted(host, route, &path, family).send().await;
                assert_eq!(
                    answer.status,
                    200,
                    "{} as the family whose it is: {}",
                    name(route),
                    answer.text()
                );
                seen.push(answer.text());
            }
        }
        seen
    }
}

/// A list, which says what there is.
fn is_list(route: &Route) -> bool {
    route.method == "GET" && route.kind == "json" && !route.path.contains('{')
}

/// Everybody of a family whom the rule lets in, by their tokens; and, where it asks for no family, somebody who is in none.
fn callers(host: &TestHost, route: &Route, family: Uuid) -> Vec<(&'static str, String)> {
    let named = ApiRole::ALL
        .iter()
        .filter(|role| is_named(&route.access, **role));
    let mut callers: Vec<_> = named
        .map(|role| (role.name(), host.token(*role, family)))
        .collect();
    if route.access == Access::Authenticated {
        callers.push(("nobody of a family", host.token_of(Uuid::now_v7(), None)));
    }
    callers
}

/// Calls the route with the thing's ids, and with ids of nothing.
async fn try_from_outside(host: &TestHost, route: &Route, thing: &Belonging, family: Uuid) -> u32 {
    let mut probes = 0;
    for (who, token) in callers(host, route, family) {
        let path_of_nothing = path_of(route);
        let nothing: Vec<String> = ids_in(route, &path_of_nothing);
        let mut told = Vec::new();
        for (path, ids) in [
            (path_with(route, thing.ids()), thing.ids()),
            (path_of_nothing, &nothing),
        ] {
            let path = format!("{path}{}", query_of(route));
            let request = host.request(&route.method, &path).token(&token);
            told.push(Told::new(&head(route, filled(route, request)).await, ids));
        }
        assert_eq!(
            told[0],
            told[1],
            "{} as {who} of another family can be told from nothing",
            name(route)
        );
        assert!(
            matches!(told[0].status, 403 | 404),
            "{} as {who} of another family: {:?}",
            name(route),
            told[0]
        );
        probes += 1;
    }
    probes
}

/// Reads the list.
async fn look_from_outside(
    host: &TestHost,
    route: &Route,
    things: &[Belonging],
    family: Uuid,
) -> u32 {
    let mut probes = 0;
    for (who, token) in callers(host, route, family) {
        let path = format!("{}{}", route.path, query_of(route));
        let answer = host.request("GET", &path).token(&token).send().await;
        for id in things.iter().flat_map(Belonging::ids) {
            assert!(
                !answer.text().contains(id.as_str()),
                "{} as {who} of another family shows {id}",
                name(route)
            );
        }
        probes += 1;
    }
    probes
}

/// What stands in the places for parameters.
fn ids_in(route: &Route, path: &str) -> Vec<String> {
    let places = route.path.split('/').zip(path.split('/'));
    places
        .filter(|(segment, _)| segment.starts_with('{'))
        .map(|(_, id)| id.to_owned())
        .collect()
}
