//! Keeps a certificate in place for as long as the host runs.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use aws_lc_rs::rand;
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::{info, warn};

use super::{
    AcmeSettings, Attempts,
    client::RetryAfter,
    error::AttemptError,
    order::Asking,
    schedule::{pause, renewal},
};
use crate::{
    capability::clock::HostClock,
    config::secrets::Secrets,
    http::{
        Challenges,
        tls::{Pair, Standing, Tls},
    },
};

/// Longest attempt.
const ATTEMPT_MAX: Duration = Duration::from_secs(10 * 60);
/// Between two looks at the clock, which may be set, and stands still while a machine sleeps.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);

/// What a keeper works with.
pub struct KeeperSettings {
    /// How to ask.
    pub acme: AcmeSettings,
    /// Where account and certificate are kept.
    pub secrets: Secrets,
    /// What shows the certificate.
    pub tls: Arc<Tls>,
    /// What the authority finds at port 80.
    pub challenges: Arc<Challenges>,
    /// The time.
    pub clock: Arc<dyn HostClock>,
}

/// Asks for a certificate when there is none, or none that holds for long.
pub struct Keeper {
    with: KeeperSettings,
    attempts: Option<Attempts>,
    /// From 0 to 1.
    chance: f64,
}

impl Keeper {
    /// Goes on where the one before has stopped.
    pub fn new(with: KeeperSettings) -> Self {
        let mut bytes = [0; 2];
        // Without chance hosts only come together.
        let _ = rand::fill(&mut bytes);
        Self {
            attempts: Attempts::of(&with.acme),
            chance: f64::from(u16::from_be_bytes(bytes)) / f64::from(u16::MAX),
            with,
        }
    }

    /// Does it, for as long as it is polled.
    pub async fn run(mut self) {
        let now = self.now();
        let attempts = self.attempts.as_ref();
        let mut due = attempts.map_or_else(|| self.due(), |attempts| attempts.next_at_start(now));
        if let (true, Some(attempts)) = (due > now, attempts) {
            let (problem, next) = (&*attempts.problem, due.to_string());
            warn!(
                problem,
                next, "the authority is not asked for a certificate before that time"
            );
        }
        loop {
            let wait = self.now().duration_until(due);
            if wait.is_positive() {
                let wait = wait.unsigned_abs().min(LOOK_EVERY);
                self.with.clock.sleep(wait).await;
                continue;
            }
            due = self.attempt().await;
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::try_from(self.with.clock.system_time()).unwrap_or(Timestamp::MAX)
    }

    /// When a certificate has to be asked for, where nothing was tried in vain.
    fn due(&self) -> Timestamp {
        let shown = self.with.tls.pair();
        let shown = shown.filter(|pair| self.is_for_all(pair).is_ok());
        shown.map_or_else(|| self.now(), |pair| renewal(pair.validity(), self.chance))
    }

    fn is_for_all(&self, pair: &Pair) -> Result<(), AttemptError> {
        let mut domains = self.with.acme.domains.iter();
        match domains.find(|domain| !pair.is_for(domain)) {
            None => Ok(()),
            Some(domain) => Err(AttemptError::Unusable(format!("it is not for {domain}"))),
        }
    }

    /// Asks for one; when to ask next.
    async fn attempt(&mut self) -> Timestamp {
        let domains = self.with.acme.domains.join(", ");
        let authority = self.with.acme.directory.origin().ascii_serialization();
        info!(domains, authority, "asking for a certificate");
        let retry_after = RetryAfter::default();
        let asked = match self.begin() {
            Ok(()) => self.ask(retry_after.clone()).await,
            Err(error) => Err(error),
        };
        match asked {
            Ok(pair) => {
                self.attempts = None;
                Attempts::forget(&self.with.acme);
                self.with.tls.show(pair);
                self.due()
            }
            Err(error) => {
                let wanted = *retry_after.lock().unwrap_or_else(PoisonError::into_inner);
                self.failed(&error, wanted)
            }
        }
    }

    /// Writes down that it is tried, before it is: a host that dies of it, or that could keep nothing of what it gets, does not ask again
    /// and again.
    fn begin(&mut self) -> Result<(), AttemptError> {
        let failures = self.attempts.as_ref().map_or(0, |last| last.failures);
        let attempts = self.attempts_with(
            failures + 1,
            &AttemptError::Setup("the host ended before the authority had answered".to_owned()),
            None,
        );
        let written = attempts.write(&self.with.acme);
        self.attempts = Some(attempts);
        Ok(written?)
    }

    fn attempts_with(
        &self,
        failures: u32,
        error: &AttemptError,
        wanted: Option<Duration>,
    ) -> Attempts {
        let now = self.now();
        let pause = pause(failures, error, wanted, self.chance);
        Attempts {
            domains: self.with.acme.domains.clone(),
            failures,
            at: now,
            next: now.saturating_add(pause).unwrap_or(Timestamp::MAX),
            problem: error.line(),
        }
    }

    /// What the authority has certified, once it is kept.
    async fn ask(&self, retry_after: RetryAfter) -> Result<Pair, AttemptError> {
        let KeeperSettings {
            acme,
            secrets,
            challenges,
            ..
        } = &self.with;
        let asking = Asking {
            settings: acme,
            secrets,
            challenges,
            retry_after,
        };
        let asked = timeout(ATTEMPT_MAX, asking.certificate()).await;
        let given = asked.map_err(|_| AttemptError::Late)??;
        let pair = Pair::parse(&acme.files(), given.expose().as_bytes())?;
        self.is_for_all(&pair)?;
        if pair.validity().at(self.now()) != Standing::Valid {
            return Err(AttemptError::Unusable("it does not hold now".to_owned()));
        }
        secrets.set(&acme.pair_name(), &given)?;
        Ok(pair)
    }

    /// Says what went wrong; when to ask next.
    fn failed(&mut self, error: &AttemptError, wanted: Option<Duration>) -> Timestamp {
        let failures = self.attempts.as_ref().map_or(1, |last| last.failures);
        let attempts = self.attempts_with(failures, error, wanted);
        let next = attempts.next;
        let written = attempts.write(&self.with.acme);
        let (problem, again) = (&*attempts.problem, next.to_string());
        warn!(
            problem,
            failures,
            next = again,
            "there is no certificate from the authority"
        );
        if let Err(error) = written {
            warn!(
                problem = error.line(),
                "what was tried in vain cannot be written down"
            );
        }
        self.attempts = Some(attempts);
        next
    }
}
