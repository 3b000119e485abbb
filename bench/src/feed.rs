//! What row-level security costs where most is read: the feed of a family, twenty posts with their authors and assets, asked by
//! the tables' owner and by a plugin's login that acts for the family. Also the world that it is asked in, and what a decision by
//! the policy costs.

use std::time::Instant;

use nself::{
    identity::{Gate, Kind, Principal, Verdict},
    migrate::{Migrator, Options, Owner, PLUGIN_FUNCTIONS, seed::Seed},
    plugin::manifest::{Access, Role},
    postgres::{
        roles::login_name,
        scratch::{Scratch, TestDatabase},
    },
};
use tokio_postgres::{Client, NoTls, Statement};
use uuid::Uuid;

use crate::{
    Result,
    report::{Pairs, Report, Spread, quantile},
};

const ROUNDS: usize = 60;
/// Reads of the feed in a measurement.
const READS: u32 = 20;
/// Rows of the world; its first family has half of them, and about 10,000 posts.
const ROWS: u64 = 100_000;
const DECISIONS: u32 = 1_000_000;

const FEED: &str = "
    SELECT p.id, p.title, p.body, p.created_at, u.display_name, u.avatar_url,
        (SELECT json_agg(json_build_object('id', i.id, 'kind', i.kind, 'key', i.storage_key) ORDER BY a.place)
         FROM post_assets a JOIN media_items i ON i.family_id = a.family_id AND i.id = a.media_item_id
         WHERE a.family_id = p.family_id AND a.post_id = p.id)::text
    FROM posts p
    LEFT JOIN family_members m ON m.family_id = p.family_id AND m.id = p.author_id
    LEFT JOIN users u ON u.id = m.user_id
    WHERE p.family_id = $1 AND p.deleted_at IS NULL
    ORDER BY p.created_at DESC, p.id DESC LIMIT 20";

pub(crate) async fn measure(report: &mut Report) -> Result<()> {
    decisions(report);
    let database = Scratch::durable().database().await;
    let mut migrator = Migrator::new(database.client().await, Options::default());
    migrator.up(&[Owner::host(), Owner::shared()]).await?;
    let mut owner = migrator.into_client();
    let begun = Instant::now();
    let world = Seed::world(ROWS).run(&mut owner).await?;
    let name = format!("seed: a world of {} rows", world.rows.unwrap_or_default());
    report.text(
        &name,
        format!("{:.1} s", begun.elapsed().as_secs_f64()),
        "seconds",
    );
    let plugin = login(&database, &owner).await?;
    let family = "SELECT family_id FROM posts GROUP BY 1 ORDER BY count(*) DESC LIMIT 1";
    let family: Uuid = owner.query_one(family, &[]).await?.get(0);
    let posts = "SELECT count(*) FROM posts WHERE family_id = $1";
    let posts: i64 = owner.query_one(posts, &[&family]).await?.get(0);
    for client in [&owner, &plugin] {
        client
            .batch_execute(&format!("SET nself.family_id = '{family}'"))
            .await?;
    }
    let (owners, plugins) = (owner.prepare(FEED).await?, plugin.prepare(FEED).await?);
    let pairs = Pairs::measure(
        ROUNDS,
        async || feed(&owner, &owners, family).await,
        async || feed(&plugin, &plugins, family).await,
    )
    .await?;
    let [without, with] = [pairs.native(), pairs.plugin()].map(|spread| spread.median * 1e3);
    let name = format!(
        "feed of a family of {posts} posts: with row-level security to without (p50 {with:.2} and {without:.2} ms)"
    );
    report.spread(&name, pairs.ratio(), "x", "<= 1.10x");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..500 {
        without.push(feed_once(&owner, &owners, family).await?);
        with.push(feed_once(&plugin, &plugins, family).await?);
    }
    for (name, times) in [("with", &mut with), ("without", &mut without)] {
        times.sort_by(f64::total_cmp);
        let name = format!("feed {name} row-level security: p99");
        report.text(&name, format!("{:.2} ms", quantile(times, 99)), "");
    }
    Ok(())
}

/// Seconds for one read.
async fn feed(client: &Client, statement: &Statement, family: Uuid) -> Result<f64> {
    let begun = Instant::now();
    for _ in 0..READS {
        let rows = client.query(statement, &[&family]).await?;
        if rows.len() != 20 {
            return Err(format!("{} posts", rows.len()).into());
        }
    }
    Ok(begun.elapsed().as_secs_f64() / f64::from(READS))
}

/// Milliseconds for one read.
async fn feed_once(client: &Client, statement: &Statement, family: Uuid) -> Result<f64> {
    let begun = Instant::now();
    client.query(statement, &[&family]).await?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// A plugin's login, as the host makes it, that may read the model.
async fn login(database: &TestDatabase, owner: &Client) -> Result<Client> {
    let id = database.name();
    let login = login_name(id, id);
    owner
        .batch_execute(&format!(
            "CREATE ROLE {login} LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA nself TO {login};
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO {login}"
        ))
        .await?;
    for function in PLUGIN_FUNCTIONS {
        owner
            .batch_execute(&format!("GRANT EXECUTE ON FUNCTION {function} TO {login}"))
            .await?;
    }
    let known =
        "INSERT INTO nself.plugins (id, version, sha256) VALUES ($1, '1.0.0', repeat('0', 64))";
    owner.execute(known, &[&id]).await?;
    let mut config = database.config();
    config.user(&login).password("x");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// On the way of a request: the rule was worked out when the plugin was loaded.
fn decisions(report: &mut Report) {
    let gate = Gate::new(&Access::Action("member.manage".to_owned()));
    let callers = [Role::Owner, Role::ChildMember].map(|role| Principal {
        kind: Kind::User,
        subject: "someone".into(),
        user_id: Some(Uuid::from_u128(1)),
        session_id: None,
        epoch: 0,
        member_id: Some(Uuid::from_u128(3)),
        family_id: Some(Uuid::from_u128(2)),
        device_id: None,
        role: Some(role),
        family_ids: vec![],
        scopes: vec![],
        aal: 1,
        elevated: false,
        expires_at: None,
    });
    let rounds = (0..9).map(|_| {
        let begun = Instant::now();
        let mut allowed = 0_u32;
        for _ in 0..DECISIONS {
            for caller in &callers {
                let verdict = std::hint::black_box(&gate).admit(Some(std::hint::black_box(caller)));
                allowed += u32::from(verdict == Verdict::Allow);
            }
        }
        assert_eq!(allowed, DECISIONS, "one of two may");
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(2 * DECISIONS)
    });
    report.spread(
        "a decision by the policy",
        Spread::of(rounds),
        "ns",
        "nanoseconds",
    );
}
