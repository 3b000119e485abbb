//! The steps of the model there and back.

use nself::migrate::{Migrator, Options, Owner};

use super::{modelled, seeds, value};
use crate::schema;

#[tokio::test(flavor = "multi_thread")]
async fn the_model_goes_back_step_by_step_and_comes_again_as_it_was() {
    let database = modelled().await;
    let fresh = schema::dump(&database.url());
    // With rows in it: what a step back takes away is not empty in real life.
    seeds::demo(&mut database.client().await).await;
    let mut migrator = Migrator::new(database.client().await, Options::default());
    let shared = Owner::shared();
    migrator.down(&shared, shared.steps.len()).await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)
                    + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)";
    assert_eq!(value::<i64>(&database.client().await, left, &[]).await, 0);
    migrator.up(&[Owner::host(), shared]).await.unwrap();
    assert!(
        schema::dump(&database.url()) == fresh,
        "the schema is another one"
    );
}
