//! The database, as far as it can be asked.

use std::time::{Duration, SystemTime};

use tokio::time::timeout;
use tokio_postgres::Client;

use super::{Look, checks::Examined};
use crate::{
    cli::{CliError, Exit},
    postgres::{
        binaries::{Binaries, MAJOR_MIN},
        connect::Target,
    },
    run::programs_of,
};

/// For a connection and a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks that differ by more than this are worth a word.
const APART: Duration = Duration::from_secs(5);

pub(super) fn look(examined: &Examined<'_>) -> Look {
    let Some(url) = &examined.config.database.url else {
        return private(examined);
    };
    let target = match Target::from_url(url.expose()) {
        Ok(target) => target,
        Err(error) => {
            let error = CliError::of("DATABASE_URL", Exit::Configuration, &error);
            return Look::of(&error);
        }
    };
    let place = target.describe();
    let number = examined
        .runtime
        .block_on(ask(&target, async |client: &Client| {
            let number =
                client.query_one("select current_setting('server_version_num')::integer", &[]);
            Ok(number.await?.get::<_, i32>(0))
        }));
    match number {
        Ok(number) => version(number, &place),
        Err(why) => Look::failed(
            format!("{place} does not answer: {why}"),
            "start it, or correct `database.url` (DATABASE_URL): `nself config database.url` says where it comes from",
        ),
    }
}

/// `number` is `server_version_num`: the major times 10,000, and the minor.
fn version(number: i32, place: &str) -> Look {
    let (major, minor) = (number.unsigned_abs() / 10_000, number % 10_000);
    let found = format!("PostgreSQL {major}.{minor} at {place}");
    if major >= MAJOR_MIN {
        return Look::ok(found);
    }
    let fix = format!(
        "PostgreSQL {MAJOR_MIN} or newer is needed: upgrade it, or set `database.url` to another"
    );
    Look::failed(found, fix)
}

fn private(examined: &Examined<'_>) -> Look {
    if let Ok(status) = &examined.status {
        let state = status["database_state"].as_str().unwrap_or_default();
        let place = status["database"].as_str().unwrap_or_default();
        if state == "running" {
            return Look::ok(format!("{state}: {place}"));
        }
        return Look::failed(
            format!("{state}: {place}"),
            "the host starts it again by itself; see why it ended: `nself logs --level warn`, and .nself/pg/postgres.log",
        );
    }
    match Binaries::find(&programs_of(&examined.config)) {
        Ok(found) => Look::ok(format!(
            "PostgreSQL {} in {}; a private one is started with the host",
            found.version(),
            found.dir().display()
        )),
        Err(error) => {
            let text = error.to_string();
            let mut lines = text.lines().map(str::trim);
            let first = lines.next().unwrap_or_default().to_owned();
            let rest: Vec<&str> = lines.collect();
            let fix = if rest.is_empty() {
                "correct `database.bin_directory`".to_owned()
            } else {
                rest.join("; ")
            };
            Look::failed(first, fix)
        }
    }
}

/// A private database has the clock of its host.
pub(super) fn clock(examined: &Examined<'_>) -> Look {
    let Some(url) = &examined.config.database.url else {
        return Look::ok("the database has that of this machine");
    };
    let Ok(target) = Target::from_url(url.expose()) else {
        return Look::skipped("not compared: the database cannot be asked");
    };
    let asked = examined
        .runtime
        .block_on(ask(&target, async |client: &Client| {
            let before = SystemTime::now();
            let theirs = client.query_one("select clock_timestamp()", &[]).await?;
            Ok((before, theirs.get::<_, SystemTime>(0), SystemTime::now()))
        }));
    let Ok((before, theirs, after)) = asked else {
        return Look::skipped("not compared: the database cannot be asked");
    };
    compared(before, theirs, after)
}

/// `theirs` was told between `before` and `after`.
fn compared(before: SystemTime, theirs: SystemTime, after: SystemTime) -> Look {
    let apart = match theirs.duration_since(after) {
        Ok(ahead) => ahead,
        Err(_) => before.duration_since(theirs).unwrap_or_default(),
    };
    let found = format!(
        "this machine's and the database's are {:.1} s apart",
        apart.as_secs_f64()
    );
    if apart <= APART {
        return Look::ok(found);
    }
    Look::warning(
        found,
        "let both follow the same time server: `timedatectl set-ntp true`",
    )
}

/// Asks over a connection of its own; why not, without what is secret.
async fn ask<T>(
    target: &Target,
    question: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>,
) -> Result<T, String> {
    let asked = async {
        let (client, connection) = target.connect().await?;
        let connection = tokio::spawn(connection);
        let answer = question(&client).await;
        connection.abort();
        answer
    };
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            format!("{error}{}", cause.unwrap_or_default())
        }),
        Err(_) => Err(format!("not within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn an_old_server_is_refused_with_the_version_that_is_needed() {
        let (old, new) = (version(140_011, "here"), version(150_018, "here"));
        assert_eq!(
            (old.state, &*old.found),
            (State::Failed, "PostgreSQL 14.11 at here")
        );
        assert!(
            old.fix
                .is_some_and(|fix| fix.contains("PostgreSQL 15 or newer"))
        );
        assert_eq!(
            (new.state, &*new.found),
            (State::Ok, "PostgreSQL 15.18 at here")
        );
    }

    #[test]
    fn clocks_that_are_apart_are_told_whichever_is_ahead() {
        let now = SystemTime::now();
        for (theirs, state) in [
            (now, State::Ok),
            (now + APART / 2, State::Ok),
            (now + APART * 2, State::Warning),
            (now - APART * 2, State::Warning),
        ] {
            assert_eq!(compared(now, theirs, now + APART / 4).state, state);
        }
    }
}
