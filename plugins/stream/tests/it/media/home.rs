//! A family that watches: people, machines, films, and their players.

use nself_plugin_api::{
    prelude::Role,
    serde_json::{Value, json},
    uuid::Uuid,
};
use nself_plugin_testkit::{Answer, TestHost, eventually};
use tokio_postgres::Client as Sql;

use crate::stage::builder;

pub(crate) const SESSIONS: &str = "/v1/stream/sessions";

/// A family on a host.
pub(crate) struct Home {
    pub host: TestHost,
    pub sql: Sql,
    pub id: Uuid,
    pub owner: Uuid,
    /// A film that everybody of the family may see.
    pub film: Uuid,
}

/// A member, and their token.
pub(crate) struct Person {
    pub id: Uuid,
    pub member: Uuid,
    pub token: String,
}

/// A session as its player knows it.
#[derive(Clone)]
pub(crate) struct Player {
    pub session: Uuid,
    pub token: String,
    pub address: String,
    /// The token of the person, or of the machine.
    pub bearer: String,
    pub device: Option<Uuid>,
}

impl Home {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With these words under `[plugins.stream.config.media]`. Nobody is silent for too long, however slow the machine is, unless
    /// the test is about that.
    pub(crate) async fn with(settings: &str) -> Self {
        let mut config = format!("[plugins.stream.config.media]\n{settings}\n");
        for patient in ["timeout_seconds", "idle_seconds"] {
            if !settings.contains(patient) {
                config += patient;
                config += " = 600\n";
            }
        }
        Self::on(builder().config(&config).start().await).await
    }

    pub(crate) async fn on(host: TestHost) -> Self {
        let sql = host.sql().await;
        let (id, owner, film) = family(&sql).await;
        Self {
            host,
            sql,
            id,
            owner,
            film,
        }
    }

    /// The same host with another family.
    pub(crate) async fn neighbour(&self) -> (Uuid, Uuid, Uuid) {
        family(&self.sql).await
    }

    pub(crate) fn owner(&self) -> String {
        self.host.token_of(self.owner, Some((Role::Owner, self.id)))
    }

    pub(crate) async fn person(&self, role: Role) -> Person {
        let id = person(&self.sql).await;
        let add = "select public.add_member($1, $2, $3, $4, $4)";
        let added = self
            .sql
            .query_one(add, &[&self.id, &id, &role.name(), &self.owner])
            .await;
        Person {
            id,
            member: added.expect("a member").get(0),
            token: self.host.token_of(id, Some((role, self.id))),
        }
    }

    pub(crate) async fn device(&self) -> Uuid {
        device(&self.sql, self.id).await
    }

    /// The token of a machine by itself.
    pub(crate) fn token_of_device(&self, device: Uuid) -> String {
        self.host.token_of(device, Some((Role::Device, self.id)))
    }

    /// Runs a statement that changes something.
    pub(crate) async fn change(&self, sql: &str, ids: &[Uuid]) {
        let params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            ids.iter().map(|id| id as _).collect();
        let changed = self.sql.execute(sql, &params).await;
        let changed = changed.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        assert!(changed > 0, "{sql} changes something");
    }

    /// Asks for a session.
    pub(crate) async fn ask(&self, bearer: &str, body: Value) -> Answer {
        self.host
            .post(SESSIONS)
            .token(bearer)
            .json(&body)
            .send()
            .await
    }

    /// Asks for the family's film.
    pub(crate) async fn ask_film(&self, bearer: &str) -> Answer {
        self.ask(bearer, json!({"content_id": self.film})).await
    }

    /// Plays the family's film, which must be admitted.
    pub(crate) async fn play(&self, bearer: &str) -> Player {
        self.play_with(bearer, json!({})).await
    }

    pub(crate) async fn play_on(&self, bearer: &str, device: Uuid) -> Player {
        self.play_with(bearer, json!({"device_id": device})).await
    }

    /// With these words beside the film's id.
    pub(crate) async fn play_with(&self, bearer: &str, mut body: Value) -> Player {
        body["content_id"] = json!(self.film);
        let answer = self.ask(bearer, body.clone()).await.expect_status(201);
        let data = answer.data();
        let text = |name: &str| data[name].as_str().expect(name).to_owned();
        Player {
            session: text("id").parse().expect("an id"),
            token: text("token"),
            address: text("playback_url"),
            bearer: bearer.to_owned(),
            device: body["device_id"].as_str().and_then(|id| id.parse().ok()),
        }
    }

    /// A player says something of itself: `heartbeat`, `pause`, `end`.
    pub(crate) async fn say(&self, player: &Player, what: &str, state: &str) -> Answer {
        let mut body = json!({"token": player.token, "state": state});
        if let Some(device) = player.device {
            body["device_id"] = json!(device);
        }
        self.host
            .post(&format!("{SESSIONS}/{}/{what}", player.session))
            .token(&player.bearer)
            .json(&body)
            .send()
            .await
    }

    pub(crate) async fn beat(&self, player: &Player) -> Answer {
        self.say(player, "heartbeat", "playing").await
    }

    /// What a media origin is told of an address.
    pub(crate) async fn verified(&self, address: &str) -> u16 {
        let asked = self.host.get("/v1/stream/verify");
        asked.header("x-original-uri", address).send().await.status
    }

    /// Why a session has ended; waits until it has.
    pub(crate) async fn end_of(&self, session: Uuid) -> String {
        let query = "select end_reason from stream.sessions where id = $1";
        eventually("the end of a session", async || {
            let row = self.sql.query_one(query, &[&session]).await;
            row.expect("there is the session").get(0)
        })
        .await
    }

    /// Whether a session is open.
    pub(crate) async fn is_open(&self, session: Uuid) -> bool {
        let query = "select ended_at is null from stream.sessions where id = $1";
        let row = self.sql.query_one(query, &[&session]).await;
        row.expect("there is the session").get(0)
    }

    /// Waits until what the player says of itself is written.
    pub(crate) async fn until_it_is(&self, session: Uuid, state: &str) {
        let query = "select state from stream.sessions where id = $1";
        eventually(state, async || {
            let row = self.sql.query_one(query, &[&session]).await;
            let found: String = row.expect("there is the session").get(0);
            (found == state).then_some(())
        })
        .await;
    }

    /// What the audit log has on sessions of the family: actions, targets and details, the oldest first.
    pub(crate) async fn audited(&self) -> Vec<(String, String, Value)> {
        let query = "select action, target, details from nself.audit_log \
            where family_id = $1 and action like 'stream.%' order by sequence";
        let rows = self.sql.query(query, &[&self.id]).await.expect("the log");
        rows.iter()
            .map(|row| (row.get(0), row.get(1), row.get(2)))
            .collect()
    }
}

async fn person(sql: &Sql) -> Uuid {
    let make = "insert into public.users (display_name) values ('Somebody') returning id";
    sql.query_one(make, &[]).await.expect("a person").get(0)
}

/// A family, its owner, and a film.
async fn family(sql: &Sql) -> (Uuid, Uuid, Uuid) {
    let owner = person(sql).await;
    let make = "select public.create_family('Home', $1)";
    let family: Uuid = sql
        .query_one(make, &[&owner])
        .await
        .expect("a family")
        .get(0);
    let film = film(sql, family, "").await;
    (family, owner, film)
}

/// A machine of a family.
pub(crate) async fn device(sql: &Sql, family: Uuid) -> Uuid {
    let make = "insert into public.devices (family_id, name, kind) values ($1, 'Screen', 'tv') returning id";
    sql.query_one(make, &[&family])
        .await
        .expect("a device")
        .get(0)
}

/// A film of a family, changed by such an assignment.
pub(crate) async fn film(sql: &Sql, family: Uuid, but: &str) -> Uuid {
    let make = "insert into public.media_items (family_id, kind, mime_type, bytes, storage_key, state) \
        values ($1, 'video', 'video/mp4', 7, gen_random_uuid()::text, 'ready') returning id";
    let film: Uuid = sql
        .query_one(make, &[&family])
        .await
        .expect("a film")
        .get(0);
    if !but.is_empty() {
        let change = format!("update public.media_items set {but} where id = $1");
        let changed = sql.execute(&change, &[&film]).await;
        changed.unwrap_or_else(|error| panic!("{but}: {error:?}"));
    }
    film
}
