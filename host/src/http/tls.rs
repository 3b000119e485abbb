//! TLS at the host's own doors, for whoever wants no proxy in front of it: which certificate is shown, and the handshake.
//!
//! It lies over `Timed`, whose patience so holds for the handshake, too: it has to be over, and the first request's head to
//! have come, within the time for a head. The certificate is asked for at each handshake, so another one takes its place without anybody's noticing.

mod error;
mod handshake;
mod metrics;
mod pair;
mod validity;
mod watch;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use prometheus::Registry;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::{Ticketer, default_provider},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

pub(super) use self::handshake::shake;
pub use self::{
    error::TlsError,
    pair::{Pair, TlsFiles},
    validity::{Standing, Validity},
};
use self::{metrics::TlsMetrics, watch::Stamps};
pub(crate) use self::{pair::fingerprint, validity::day};

/// What is spoken inside, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// TLS with the certificate of two files.
pub struct Tls {
    acceptor: TlsAcceptor,
    shown: Arc<Shown>,
    files: TlsFiles,
    /// How the files were when they were read first.
    opened: Stamps,
    metrics: TlsMetrics,
}

impl Tls {
    /// Reads the files. A certificate that does not hold now is used all the same, and the log says so: whoever can be reached by callers that
    /// do not look is better off than who cannot be reached.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when there is no pair in them.
    pub fn open(files: TlsFiles) -> Result<Arc<Self>, TlsError> {
        // Before they are read: what changes meanwhile is read again.
        let opened = Stamps::of(&files);
        let pair = Pair::read(&files)?;
        Ok(Self::new(files, opened, Some(pair)))
    }

    /// Reads files that may not be there yet, or have been damaged: somebody is about to put others there.
    pub fn open_kept(files: TlsFiles) -> Arc<Self> {
        let opened = Stamps::of(&files);
        let pair = match Pair::read(&files) {
            Ok(pair) => Some(pair),
            Err(problem) => {
                if !problem.is_absence() {
                    let problem = problem.line();
                    warn!(problem, "the certificate that was kept cannot be used");
                }
                None
            }
        };
        Self::new(files, opened, pair)
    }

    fn new(files: TlsFiles, opened: Stamps, pair: Option<Pair>) -> Arc<Self> {
        let shown = Arc::new(Shown(ArcSwapOption::from_pointee(pair)));
        let tls = Self {
            acceptor: TlsAcceptor::from(Arc::new(config(Arc::clone(&shown)))),
            shown,
            files,
            opened,
            metrics: TlsMetrics::new(),
        };
        tls.tell();
        Arc::new(tls)
    }

    /// Shows its numbers on `registry`.
    ///
    /// # Errors
    ///
    /// When they are there already.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        self.metrics.register(registry)
    }

    /// What is shown now, if there is anything yet.
    pub fn pair(&self) -> Option<Arc<Pair>> {
        self.shown.0.load_full()
    }

    /// Shows another pair to whoever connects from now on.
    pub(crate) fn show(&self, pair: Pair) {
        let shown = self.pair();
        let is_other = shown.is_none_or(|shown| shown.sha256() != pair.sha256());
        self.shown.0.store(Some(Arc::new(pair)));
        if is_other {
            self.tell();
        }
    }

    /// Says which certificate is in use, and whether it holds.
    fn tell(&self) {
        let Some(pair) = self.pair() else {
            warn!(
                "there is no certificate yet: until there is one, whoever connects by TLS is turned away"
            );
            return;
        };
        let validity = pair.validity();
        self.metrics.uses(validity);
        let (from, until) = (day(validity.from), day(validity.until));
        let certificate = self.files.certificate.display();
        match validity.at(Timestamp::now()) {
            Standing::Valid => info!(%certificate, until, "TLS with this certificate"),
            Standing::Expired => {
                warn!(%certificate, until, "the certificate has expired, callers turn away: renew it");
            }
            Standing::Early => {
                warn!(%certificate, from, "the certificate does not hold yet, callers turn away: compare the clock");
            }
        }
    }
}

fn config(shown: Arc<Shown>) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows both versions");
    let mut config = builder.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Who comes again within hours spares both sides a signature, and the host keeps nothing for it. Without it sessions would lie in memory.
    if let Ok(ticketer) = Ticketer::new() {
        config.ticketer = ticketer;
    }
    config
}

/// What the next caller is shown.
struct Shown(ArcSwapOption<Pair>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pair = self.0.load();
        pair.as_ref().map(|pair| Arc::clone(&pair.certified))
    }
}

/// Says nothing of the key.
impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}
