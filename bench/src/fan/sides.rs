//! The servers: what each is, how it is started on the first core, and how it is told what to send.

use std::{path::Path, time::Duration};

use nself::{
    config::{Config, Variables, secrets::Secrets},
    identity::development::{Bearer, DevelopmentIssuer},
    plugin::manifest::Role,
    postgres::scratch::{Scratch, TestDatabase},
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedWriteHalf},
    process::{Child, Command},
};
use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    BARE, MESSAGE_BYTES,
    audience::Audience,
    dialect::{Dialect, Entrance},
};
use crate::{
    Failure, Result,
    child::{Log, Served},
    cpu, peers,
    project::Project,
};

/// Tokens that there are, each of a person of its own.
const PEOPLE: u32 = 5_100;
/// For all of them.
const FAMILY: Uuid = Uuid::from_u128(0x0197_0000_0000_7000_8000_0000_00be_7c41);

/// The clients answer no pings of WebSocket itself.
const HUB: &str = "concurrency_per_plugin = 20000\nwebsocket_ping_ms = 3600000\n[database]\nplugin_pool_max = 2\n";
const STREAM: &str = "[plugins.stream.config]\nping_seconds = 300\npong_seconds = 60\n\
                      [plugins.stream.config.namespaces.bench]\nhistory_size = 128\n";

/// A server, who listens to it, and who speaks.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) entrance: Entrance,
    pub(super) audience: Option<Audience>,
    process: Process,
    speaker: Speaker,
}

enum Process {
    /// The project and the database stay as long as the server.
    Ours(Box<(Served, Project, TestDatabase)>),
    Other(Child),
}

enum Speaker {
    Socket(OwnedWriteHalf, Vec<u8>),
    Sql(Client),
}

impl Side {
    /// The plugin, with tokens and subscriptions.
    pub(super) async fn stream() -> Result<Self> {
        let database = Scratch::durable().database().await;
        // What recovery asks the database for is counted.
        let client = database.client().await;
        let name: String = client
            .query_one("select current_database()::text", &[])
            .await?
            .get(0);
        let count = format!("alter database \"{name}\" set track_functions = 'all'");
        client.batch_execute(&count).await?;
        let project = Project::with(&[HUB, STREAM].concat())?;
        project.put_file("stream")?;
        let served = Served::start(project.path(), &database.url(), Log::Off, &["stream"]).await?;
        let entrance = Entrance {
            address: served.gateway,
            path: "/connection/websocket",
            dialect: Dialect::Centrifugo,
            channel: format!("family:{FAMILY}:bench:all"),
            tokens: tokens(project.path())?,
        };
        Ok(Self {
            name: "stream",
            entrance,
            audience: None,
            speaker: Speaker::Sql(database.client().await),
            process: Process::Ours(Box::new((served, project, database))),
        })
    }

    /// The host's hub alone, by a plugin that does nothing but fan out.
    pub(super) async fn hub() -> Result<Self> {
        let database = Scratch::shared().database().await;
        let project = Project::with(HUB)?;
        project.put(0, 0)?;
        let served = Served::start(project.path(), &database.url(), Log::Off, &["bench00"]).await?;
        let entrance = entrance(served.gateway, "/bench00/fan", Dialect::Plain);
        let process = Process::Ours(Box::new((served, project, database)));
        Self::speaking("the hub", entrance, process).await
    }

    pub(super) async fn bare() -> Result<Self> {
        let mut command = on_the_first_core(&std::env::current_exe()?);
        command.arg(BARE);
        Self::other("bare", &mut command, Dialect::Plain).await
    }

    pub(super) async fn ws() -> Result<Self> {
        let mut command = on_the_first_core("node".as_ref());
        command
            .arg("ws.mjs")
            .current_dir(peers::installed("fan").await?);
        Self::other("ws", &mut command, Dialect::Plain).await
    }

    pub(super) async fn socket_io() -> Result<Self> {
        let mut command = on_the_first_core("node".as_ref());
        command
            .arg("socket.io.mjs")
            .current_dir(peers::installed("fan").await?)
            .env("NODE_ENV", "production");
        Self::other("socket.io", &mut command, Dialect::SocketIo).await
    }

    pub(super) async fn bun() -> Result<Self> {
        let directory = peers::installed("fan").await?;
        let program = directory.join("node_modules/@oven/bun-linux-x64/bin/bun");
        if !program.exists() {
            return Err(Failure::from("npm has brought no program for this machine"));
        }
        let mut command = on_the_first_core(&program);
        command.arg("bun.mjs").current_dir(directory);
        Self::other("Bun", &mut command, Dialect::Plain).await
    }

    /// nginx with Debian's module; its configuration is in `bench/peers/fan`.
    pub(super) async fn nchan() -> Result<Self> {
        let module = "/usr/lib/nginx/modules/ngx_nchan_module.so";
        if !Path::new(module).exists() {
            return Err(Failure::from(
                "install nginx and libnginx-mod-nchan (Debian)",
            ));
        }
        let directory = peers::installed("fan").await?;
        let free = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let settings = std::fs::read_to_string(directory.join("nchan.conf"))?;
        let settings = settings.replace("PORT", &free.port().to_string());
        std::fs::write(directory.join("nginx.conf"), settings)?;
        let child = on_the_first_core("nginx".as_ref())
            .args(["-e", "stderr", "-c", "nginx.conf", "-p"])
            .arg(&directory)
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..600 {
            if TcpStream::connect(free).await.is_ok() {
                let entrance = entrance(free, "/subscribe", Dialect::Nchan);
                return Self::speaking("nchan", entrance, Process::Other(child)).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Failure::from("nginx does not listen"))
    }

    async fn other(name: &'static str, command: &mut Command, dialect: Dialect) -> Result<Self> {
        let path = match dialect {
            Dialect::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            _ => "/",
        };
        let (child, address) = peers::start(command).await?;
        Self::speaking(
            name,
            entrance(address, path, dialect),
            Process::Other(child),
        )
        .await
    }

    async fn speaking(name: &'static str, entrance: Entrance, process: Process) -> Result<Self> {
        let (stream, message) = entrance.speaker().await?;
        let (mut reading, writing) = stream.into_split();
        // It hears itself, and whatever it is answered.
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(1..) = reading.read(&mut buffer).await {}
        });
        Ok(Self {
            name,
            entrance,
            audience: None,
            process,
            speaker: Speaker::Socket(writing, message),
        })
    }

    fn pid(&self) -> Result<u32> {
        match &self.process {
            Process::Ours(ours) => ours.0.pid(),
            Process::Other(child) => child
                .id()
                .ok_or_else(|| Failure::from(format!("{} has ended", self.name))),
        }
    }

    /// CPU time of the server.
    pub(super) fn time(&self) -> Result<Duration> {
        cpu::family(self.pid()?)
            .into_iter()
            .map(cpu::process_time)
            .sum()
    }

    pub(super) fn resident_kib(&self) -> Result<u64> {
        cpu::family(self.pid()?)
            .into_iter()
            .map(cpu::resident_kib)
            .sum()
    }

    /// Has the server send so many messages to everybody.
    pub(super) async fn say(&mut self, messages: usize) -> Result<()> {
        match &mut self.speaker {
            Speaker::Socket(writing, message) => {
                writing.write_all(&message.repeat(messages)).await?;
            }
            Speaker::Sql(client) => {
                let all = "select stream.publish($1, to_jsonb($2::text)) from generate_series(1, $3::int)";
                let text = "x".repeat(MESSAGE_BYTES - 2);
                let channel = &self.entrance.channel;
                let messages = i32::try_from(messages)?;
                client.query(all, &[channel, &text, &messages]).await?;
            }
        }
        Ok(())
    }

    /// The database's own connection, of the side that has one.
    pub(super) fn sql(&self) -> Result<&Client> {
        match &self.speaker {
            Speaker::Sql(client) => Ok(client),
            Speaker::Socket(..) => Err(Failure::from("this side has no database")),
        }
    }

    /// So many messages at once, and until all have heard all of them.
    pub(super) async fn hear(&mut self, messages: usize) -> Result<()> {
        let audience = self.audience.take();
        let audience = audience.ok_or_else(|| Failure::from("nobody listens"))?;
        audience.expect(messages);
        self.say(messages).await?;
        let heard = audience.all_heard().await;
        self.audience = Some(audience);
        heard.map_err(|failure| format!("{}: {failure}", self.name).into())
    }
}

fn entrance(address: std::net::SocketAddr, path: &'static str, dialect: Dialect) -> Entrance {
    Entrance {
        address,
        path,
        dialect,
        channel: String::new(),
        tokens: Vec::new(),
    }
}

/// What a program starts runs there, too.
fn on_the_first_core(program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

fn tokens(project: &Path) -> Result<Vec<String>> {
    let (config, _) = Config::load(project, &Variables::new())?;
    let issuer = DevelopmentIssuer::open(&Secrets::of(&config)?)?;
    let token = |person: u32| {
        let bearer = Bearer {
            user_id: Uuid::from_u128(u128::from(person) + 1),
            family: Some((FAMILY, Role::AdultMember)),
            lifetime: Duration::from_secs(86_400),
        };
        Ok(issuer.mint(&bearer)?)
    };
    (0..PEOPLE).map(token).collect()
}

impl Drop for Side {
    /// A peer's own children, such as nginx's worker, would outlive it.
    fn drop(&mut self) {
        if let (Process::Other(_), Ok(pid)) = (&self.process, self.pid()) {
            for pid in cpu::family(pid) {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                // What has ended by itself needs no end.
                let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
            }
        }
    }
}
