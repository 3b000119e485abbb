//! What every plugin promises, checked from outside on its built file.
//!
//! [`conformance!`](crate::conformance!) makes one test of each check, so that a failure names the promise.

mod belonging;
mod isolation;
mod life;
mod routes;
mod steps;

pub use belonging::{Belonging, Maker, Making};

use std::path::PathBuf;

use crate::{
    builder::TestHostBuilder,
    host::TestHost,
    library::{Library, library},
};

/// A plugin to be checked, and what its tests need to know about it.
#[derive(Debug)]
pub struct Conformance {
    library: Library,
    folder: PathBuf,
    others: Vec<Library>,
    config: String,
    secrets: Vec<(String, String)>,
    except: Vec<String>,
    belongings: Option<belonging::Maker>,
    house: Vec<String>,
    open_tables: Vec<String>,
    swept_in: Option<String>,
}

impl Conformance {
    /// The plugin of a package, whose `Cargo.toml` is in `folder`.
    ///
    /// # Panics
    ///
    /// When its file is not there.
    #[must_use]
    pub fn new(package: &str, folder: &str) -> Self {
        Self {
            library: library(package),
            folder: PathBuf::from(folder),
            others: Vec::new(),
            config: String::new(),
            secrets: Vec::new(),
            except: Vec::new(),
            belongings: None,
            house: Vec::new(),
            open_tables: Vec::new(),
            swept_in: None,
        }
    }

    /// Adds to `nself.toml`.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self
    }

    /// Gives a secret that the plugin asks for a value.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str) -> Self {
        self.secrets.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Enables another plugin first, because this one needs it.
    #[must_use]
    pub fn with(mut self, package: &str) -> Self {
        self.others.push(library(package));
        self
    }

    /// Takes a route out of the checks of its handler's answers (its access rule stays checked): `GET /fixture/panic`.
    /// For a route that fails on purpose, or whose path names nothing that a family owns.
    #[must_use]
    pub fn except(mut self, route: &str) -> Self {
        self.except.push(route.to_owned());
        self
    }

    /// Makes the things of a family that no `POST` to a collection makes by a body of the declared form, as
    /// `|host, family| Box::pin(belongings(host, family))`. The family is there, with a person of each role and a device.
    #[must_use]
    pub fn belongings(mut self, make: belonging::Maker) -> Self {
        self.belongings = Some(make);
        self
    }

    /// Says that what routes below this path are about belongs to no family: `/v1/workflows/{namespace}`.
    #[must_use]
    pub fn of_the_house(mut self, path: &str) -> Self {
        self.house.push(path.to_owned());
        self
    }

    /// Says why rows of families in these tables of the plugin are not held apart by row-level security.
    #[must_use]
    pub fn not_held_apart(mut self, why: &str, tables: &[&str]) -> Self {
        assert!(why.len() > 20, "{tables:?}: say why");
        self.open_tables
            .extend(tables.iter().map(|table| (*table).to_owned()));
        self
    }

    /// Says that the plugin tries the ids of other families by itself, in this file of its tests.
    #[must_use]
    pub fn swept_in(mut self, file: &str) -> Self {
        self.swept_in = Some(file.to_owned());
        self
    }

    /// All checks, one after the other.
    ///
    /// # Panics
    ///
    /// With the first promise that is not kept.
    pub async fn run(&self) {
        self.every_step_of_the_folder_is_declared();
        self.run_of_file().await;
    }

    /// All checks that need nothing but the plugin's file, as of one whose sources are not those beside it.
    ///
    /// # Panics
    ///
    /// With the first promise that is not kept.
    pub async fn run_of_file(&self) {
        self.every_route_answers().await;
        self.callers_without_a_token_are_refused().await;
        self.only_the_roles_of_the_rule_are_let_in().await;
        self.another_family_reaches_nothing().await;
        self.rows_of_families_are_held_apart().await;
        self.a_body_that_does_not_read_is_the_callers_fault().await;
        self.migrations_go_up_down_and_up_again().await;
        self.every_task_and_schedule_runs().await;
        self.every_subscription_reads().await;
        self.every_capability_answers().await;
        self.it_drains().await;
        self.it_survives_the_loss_of_the_database().await;
        self.it_is_enabled_again_after_it_was_disabled().await;
    }

    fn id(&self) -> &str {
        &self.library.manifest.id
    }

    fn builder(&self) -> TestHostBuilder {
        let mut builder = TestHost::builder().config(&self.config);
        for (name, value) in &self.secrets {
            builder = builder.secret(name, value);
        }
        for other in &self.others {
            builder = builder.library(other.clone());
        }
        builder.library(self.library.clone())
    }

    async fn start(&self) -> TestHost {
        self.builder().start().await
    }

    /// The end of a check: nothing panicked, and everything ends by itself.
    async fn finish(&self, host: TestHost) {
        let on_purpose = !self.except.is_empty();
        let panics = host.panics(self.id()).await;
        assert!(
            on_purpose || panics == 0,
            "{} panicked {panics} times",
            self.id()
        );
        host.stop().await;
    }
}

/// One test per promise that every plugin keeps: `nself_plugin_testkit::conformance!();` in a plugin's tests.
///
/// A plugin that needs configuration, secrets or other plugins says so:
/// `conformance!(|plugin| plugin.secret("api-key", "..").with("nself-plugin-mail"));`
#[macro_export]
macro_rules! conformance {
    () => {
        $crate::conformance!(|plugin| plugin);
    };
    (|$plugin:ident| $settings:expr) => {
        $crate::conformance!(
            env!("CARGO_PKG_NAME"),
            env!("CARGO_MANIFEST_DIR"),
            |$plugin| $settings
        );
    };
    ($package:expr, $folder:expr, |$plugin:ident| $settings:expr) => {
        mod conformance {
            fn plugin() -> $crate::conformance::Conformance {
                let $plugin = $crate::conformance::Conformance::new($package, $folder);
                $settings
            }

            $crate::conformance_tests! {
                every_route_answers,
                callers_without_a_token_are_refused,
                only_the_roles_of_the_rule_are_let_in,
                another_family_reaches_nothing,
                rows_of_families_are_held_apart,
                a_body_that_does_not_read_is_the_callers_fault,
                migrations_go_up_down_and_up_again,
                every_task_and_schedule_runs,
                every_subscription_reads,
                every_capability_answers,
                it_drains,
                it_survives_the_loss_of_the_database,
                it_is_enabled_again_after_it_was_disabled,
            }

            #[test]
            fn every_step_of_the_folder_is_declared() {
                plugin().every_step_of_the_folder_is_declared();
            }
        }
    };
}

/// The asynchronous tests of [`conformance!`].
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($($check:ident),* $(,)?) => {
        $(
            #[$crate::tokio::test(crate = "::nself_plugin_testkit::tokio")]
            async fn $check() {
                plugin().$check().await;
            }
        )*
    };
}
