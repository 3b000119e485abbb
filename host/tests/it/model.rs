//! The shared model of `db/migrations`: what it promises for every table, and what the functions of a family's life do.

mod family_life;
mod feeds;
mod page;
mod rules;
mod seeds;
mod settings;
mod steps;
mod tenancy;

use std::fmt::Display;

use nself::{
    migrate::{Migrator, Options, Owner},
    postgres::scratch::{Scratch, TestDatabase},
};
use tokio_postgres::{Client, Error, NoTls};
use uuid::Uuid;

/// A database with the shared model.
async fn modelled() -> TestDatabase {
    Scratch::shared()
        .database_from("modelled", async |config| {
            let (client, connection) = config.connect(NoTls).await.unwrap();
            tokio::spawn(connection);
            Migrator::new(client, Options::default())
                .up(&[Owner::host(), Owner::shared()])
                .await
                .unwrap();
        })
        .await
}

/// A person with an account.
async fn person(client: &Client, name: &str) -> Uuid {
    let sql = "INSERT INTO public.users (display_name, email) VALUES ($1, $2) RETURNING id";
    let email = format!("{name}@example.com");
    value(client, sql, &[&name, &email]).await
}

/// A family that somebody made; its id, and the owner's membership.
async fn family(client: &Client, owner: Uuid) -> (Uuid, Uuid) {
    let id: Uuid = value(
        client,
        "SELECT public.create_family('A family', $1)",
        &[&owner],
    )
    .await;
    let sql = "SELECT id FROM public.family_members WHERE family_id = $1 AND user_id = $2";
    (id, value(client, sql, &[&id, &owner]).await)
}

/// The one value that a query answers.
async fn value<T>(
    client: &Client,
    sql: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> T
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    let row = client.query_one(sql, parameters).await;
    row.unwrap_or_else(|error| panic!("{sql}: {}", told(&error)))
        .get(0)
}

/// What the database said.
fn told(error: &Error) -> String {
    let database = error.as_db_error();
    database.map_or_else(|| error.to_string(), |error| error.message().to_owned())
}

/// The constraint or the code that a statement was refused by.
#[track_caller]
fn refused_by<T>(result: Result<T, Error>, what: impl Display) -> String {
    let Err(error) = result else {
        panic!("{what} was not refused");
    };
    let error = error.as_db_error().expect("the database refused it");
    let by = error.constraint().map(str::to_owned);
    by.unwrap_or_else(|| error.code().code().to_owned())
}
