//! The auth plugin beside better-auth on Node: the same Postgres server, a database each, the same kinds of requests, in turns.
//!
//! CPU is what counts: the server's, and that of the database's sessions. Rates on a shared machine say less.

mod doors;
mod hashes;

use std::{net::SocketAddr, path::Path, time::Instant};

use futures_util::future::try_join_all;
use nself::postgres::scratch::{Scratch, TestDatabase};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{
    Failure, Result,
    child::{Log, Served},
    client::{Http, json_post, with_bearer},
    cpu, peers,
    project::Project,
    report::{Pairs, Report, Spread, at_most},
};

/// Connections at a time.
const CONNECTIONS: usize = 8;

const ROUNDS: usize = 12;

const PASSWORD: &str = "correct horse battery staple";

/// No limit that would be measured instead. Mails are written as in use.
const SETTINGS: &str = "[database]\nplugin_pool_max = 4\n[plugins.mail.listen]\n1025 = 0\n[plugins.auth.config]\nsign_up = \"open\"\n\
    tries_per_address = 4000000000\ntries_per_account = 4000000000\n";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    SignUp,
    Login,
    Refresh,
    Me,
}

impl Action {
    const ALL: [(Self, &'static str, usize, [&'static str; 2]); 4] = [
        (Self::SignUp, "sign-up", 2, ["<= 0.20", ""]),
        (Self::Login, "login", 2, ["<= 0.20", ""]),
        (Self::Refresh, "refresh", 200, ["<= 0.04", ">= 10"]),
        (Self::Me, "me", 200, ["<= 0.05", ">= 20"]),
    ];

    /// Whether a password is hashed for it.
    fn hashes(self) -> bool {
        matches!(self, Self::SignUp | Self::Login)
    }
}

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    let mut ours = Side::ours().await?;
    let mut peer = Side::better_auth().await?;
    let idle = (ours.resident_kib()?, peer.resident_kib()?);
    for side in [&mut ours, &mut peer] {
        side.make_people().await?;
    }
    for (action, name, each, goals) in Action::ALL {
        compare(report, &mut ours, &mut peer, action, name, each, goals).await?;
    }
    doors::measure(report, &mut ours).await?;
    let loaded = (ours.resident_kib()?, peer.resident_kib()?);
    for (name, (ours, peer), goal) in [
        (
            "auth: resident memory, idle, of better-auth's",
            idle,
            "<= 0.2",
        ),
        (
            "auth: resident memory after load, of better-auth's",
            loaded,
            "<= 0.35",
        ),
    ] {
        let ratio = mebibytes(ours) / mebibytes(peer);
        let value = format!(
            "{ratio:.2} ({:.0} of {:.0} MiB)",
            mebibytes(ours),
            mebibytes(peer)
        );
        report.text(name, value, goal);
    }
    let started = (ours.started.as_secs_f64(), peer.started.as_secs_f64());
    let value = format!(
        "{:.2} ({:.0} of {:.0} ms)",
        started.0 / started.1,
        started.0 * 1e3,
        started.1 * 1e3
    );
    report.text("auth: start to ready, of better-auth's", value, "<= 0.2");
    Ok(())
}

fn mebibytes(kib: u64) -> f64 {
    u32::try_from(kib).map_or(f64::NAN, f64::from) / 1_024.0
}

async fn compare(
    report: &mut Report,
    ours: &mut Side,
    peer: &mut Side,
    action: Action,
    name: &str,
    each: usize,
    [cpu_goal, rate_goal]: [&'static str; 2],
) -> Result<()> {
    let (mut server, mut database, mut time) = (Pairs::default(), Pairs::default(), Vec::new());
    let (mut arena, mut of_hashes) = (Vec::new(), Vec::new());
    for side in [&mut *ours, &mut *peer] {
        side.round(action, 1).await?;
    }
    for round in 0..at_most(ROUNDS) {
        let (one, other) = if round % 2 == 0 {
            let one = ours.round(action, each).await?;
            (one, peer.round(action, each).await?)
        } else {
            let other = peer.round(action, each).await?;
            (ours.round(action, each).await?, other)
        };
        server.push(other.server, one.server);
        database.push(other.database, one.database);
        time.push(other.time / one.time);
        if action.hashes() {
            of_hashes.push(hashes::seconds(&mut arena)? / one.time);
        }
    }
    let of = "of better-auth's";
    report.spread(
        &format!("auth: {name}, CPU of the server, {of}"),
        server.ratio(),
        "x",
        cpu_goal,
    );
    report.spread(
        &format!("auth: {name}, CPU of the database, {of}"),
        database.ratio(),
        "x",
        "",
    );
    report.spread(
        &format!("auth: {name}, requests/s, {of}"),
        Spread::of(time),
        "x",
        rate_goal,
    );
    if action.hashes() {
        let name = format!("auth: {name}, requests/s, of the hashes that one core does");
        report.spread(&name, Spread::of(of_hashes), "x", ">= 0.85");
    }
    let micros = server.plugin().median * 1e6;
    let name = format!("auth: {name}, CPU of our server for one");
    report.text(&name, format!("{micros:.0} us"), "");
    Ok(())
}

/// What one request of a round took, in seconds.
struct Used {
    server: f64,
    database: f64,
    time: f64,
}

/// A server that people sign in to.
struct Side {
    address: SocketAddr,
    process: Process,
    database: TestDatabase,
    started: std::time::Duration,
    people: Vec<Person>,
    strangers: usize,
    /// So many of the first strangers have accounts.
    members: usize,
}

enum Process {
    /// The project's directory stays as long as its server.
    Ours(Box<(Served, Project)>),
    Peer(Child),
}

/// Somebody with an account, and what they hold. Each connection has one of its own: a refresh token is good once.
#[derive(Clone)]
struct Person {
    email: String,
    access: String,
    refresh: String,
}

impl Side {
    async fn ours() -> Result<Self> {
        let database = Scratch::shared().database().await;
        let project = Project::with(SETTINGS)?;
        project.put_file("mail")?;
        project.put_file("auth")?;
        // Accepted, migrated, and stopped: what is timed is a start as it is every day.
        drop(Served::start(project.path(), &database.url(), Log::Off, &["mail", "auth"]).await?);
        let begun = Instant::now();
        let served = Served::start(project.path(), &database.url(), Log::Off, &[]).await?;
        Ok(Self {
            address: served.gateway,
            started: begun.elapsed(),
            process: Process::Ours(Box::new((served, project))),
            database,
            people: Vec::new(),
            strangers: 0,
            members: 0,
        })
    }

    async fn better_auth() -> Result<Self> {
        let database = Scratch::shared().database().await;
        let directory = peers::installed("better-auth").await?;
        let _migrated = peer(&directory, &database.url()).await?;
        let begun = Instant::now();
        let (child, address) = peer(&directory, &database.url()).await?;
        Ok(Self {
            address,
            started: begun.elapsed(),
            process: Process::Peer(child),
            database,
            people: Vec::new(),
            strangers: 0,
            members: 0,
        })
    }

    fn is_ours(&self) -> bool {
        matches!(self.process, Process::Ours(_))
    }

    fn pid(&self) -> Result<u32> {
        match &self.process {
            Process::Ours(ours) => ours.0.pid(),
            Process::Peer(child) => child
                .id()
                .ok_or_else(|| Failure::from("better-auth has ended")),
        }
    }

    fn resident_kib(&self) -> Result<u64> {
        cpu::resident_kib(self.pid()?)
    }

    async fn make_people(&mut self) -> Result<()> {
        for _ in 0..CONNECTIONS {
            let person = self.stranger();
            let answer = self.ask(&self.request(Action::SignUp, &person)).await?;
            let answer = if self.is_ours() {
                answer["data"].clone()
            } else {
                answer
            };
            self.people.push(self.read(&answer, &person)?);
        }
        self.members = self.strangers;
        Ok(())
    }

    /// The address of the stranger of that number, from 1.
    fn address_of(number: usize) -> String {
        format!("person{number}@example.org")
    }

    fn stranger(&mut self) -> Person {
        self.strangers += 1;
        Person {
            email: Self::address_of(self.strangers),
            access: String::new(),
            refresh: String::new(),
        }
    }

    /// What somebody holds after signing in.
    fn read(&self, answer: &Value, person: &Person) -> Result<Person> {
        let text = |key: &str| answer[key].as_str().map(str::to_owned);
        let (access, refresh) = if self.is_ours() {
            (text("access_token"), text("refresh_token"))
        } else {
            (text("token"), text("token"))
        };
        let missing = || Failure::from(format!("no token in {answer}"));
        Ok(Person {
            email: person.email.clone(),
            access: access.ok_or_else(missing)?,
            refresh: refresh.ok_or_else(missing)?,
        })
    }

    fn request(&self, action: Action, person: &Person) -> Vec<u8> {
        let (email, password) = (&person.email, PASSWORD);
        match (action, self.is_ours()) {
            (Action::SignUp, true) => json_post(
                "/auth/register",
                &json!({"email": email, "password": password}),
            ),
            (Action::SignUp, false) => json_post(
                "/api/auth/sign-up/email",
                &json!({"email": email, "password": password, "name": "Ada"}),
            ),
            (Action::Login, true) => json_post(
                "/auth/login",
                &json!({"email": email, "password": password}),
            ),
            (Action::Login, false) => json_post(
                "/api/auth/sign-in/email",
                &json!({"email": email, "password": password}),
            ),
            (Action::Refresh, true) => {
                json_post("/auth/refresh", &json!({"refresh_token": person.refresh}))
            }
            // A session becomes a JWT; better-auth neither rotates nor writes here.
            (Action::Refresh, false) => with_bearer("/api/auth/token", &person.refresh),
            (Action::Me, true) => with_bearer("/auth/me", &person.access),
            (Action::Me, false) => with_bearer("/api/auth/get-session", &person.access),
        }
    }

    async fn ask(&self, request: &[u8]) -> Result<Value> {
        let mut http = Http::over(TcpStream::connect(self.address).await?);
        json_of(&mut http, request).await
    }

    /// `each` requests on each of the connections.
    async fn round(&mut self, action: Action, each: usize) -> Result<Used> {
        let each = at_most(u8::try_from(each)?);
        let mut callers = Vec::new();
        for at in 0..CONNECTIONS {
            let strangers = (0..each).map(|_| self.stranger()).collect::<Vec<_>>();
            callers.push((self.people[at].clone(), strangers));
        }
        let sessions = self.sessions().await?;
        let before = (
            cpu::process_time(self.pid()?)?,
            database_time(&sessions),
            Instant::now(),
        );
        let this = &*self;
        let done = callers
            .into_iter()
            .map(|(person, strangers)| this.caller(action, person, strangers));
        let people = try_join_all(done).await?;
        let time = before.2.elapsed().as_secs_f64();
        let server = cpu::process_time(self.pid()?)?
            .saturating_sub(before.0)
            .as_secs_f64();
        let database = database_time(&sessions)
            .saturating_sub(before.1)
            .as_secs_f64();
        self.people = people;
        if action == Action::SignUp {
            self.members = self.strangers;
        }
        let requests = f64::from(each) * f64::from(u8::try_from(CONNECTIONS)?);
        Ok(Used {
            server: server / requests,
            database: database / requests,
            time: time / requests,
        })
    }

    async fn caller(
        &self,
        action: Action,
        mut person: Person,
        strangers: Vec<Person>,
    ) -> Result<Person> {
        let mut http = Http::over(TcpStream::connect(self.address).await?);
        for stranger in strangers {
            let asked = if action == Action::SignUp {
                &stranger
            } else {
                &person
            };
            let answer = json_of(&mut http, &self.request(action, asked)).await?;
            if action == Action::Refresh && self.is_ours() {
                person = self.read(&answer["data"], &person)?;
            }
        }
        Ok(person)
    }

    /// The database's processes that work for this side.
    async fn sessions(&self) -> Result<Vec<u32>> {
        let client = self.database.client().await;
        let sql = "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
        let rows = client.query(sql, &[]).await?;
        Ok(rows
            .iter()
            .filter_map(|row| u32::try_from(row.get::<_, i32>(0)).ok())
            .collect())
    }
}

fn database_time(sessions: &[u32]) -> std::time::Duration {
    // One that has ended meanwhile used nothing worth counting.
    sessions
        .iter()
        .map(|pid| cpu::process_time(*pid).unwrap_or_default())
        .sum()
}

async fn json_of(http: &mut Http<TcpStream>, request: &[u8]) -> Result<Value> {
    let (answer, body) = http.send_for_body(request).await?;
    if !(200..300).contains(&answer.status) {
        return Err(Failure::from(format!(
            "{}: {}",
            answer.status,
            String::from_utf8_lossy(&body)
        )));
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Starts the peer and waits until it is ready.
async fn peer(directory: &Path, database_url: &str) -> Result<(Child, SocketAddr)> {
    let mut command = Command::new("node");
    command
        .arg("server.mjs")
        .current_dir(directory)
        .env("DATABASE_URL", database_url)
        .env("NODE_ENV", "production");
    peers::start(&mut command).await
}
