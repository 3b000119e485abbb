//! What can be wrong with `[http.tls.acme]`, and with an attempt.

use std::error::Error as StdError;

use instant_acme::{Error as ProtocolError, Problem};

use crate::{
    cli::{CliError, Exit},
    config::secrets::SecretError,
    http::tls::TlsError,
    loader::one_line_of,
};

/// Longest problem in a line: authorities quote what they have found.
const PROBLEM_CHARS_MAX: usize = 600;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// There is something else, and nothing to be certified.
    #[error("`[http.tls.acme]` names no domains")]
    NoDomains,
    /// There are two certificates to choose from.
    #[error(
        "`http.tls.acme.domains` is set, and files are named by `http.tls.certificate` or `http.tls.key`"
    )]
    Files,
    /// The authority would ask in vain.
    #[error("`http.tls.acme.domains` is set, and `http.tls.redirect_port` is not")]
    NoPort,
    /// Nobody has agreed to them.
    #[error("`http.tls.acme.terms_of_service_agreed` is not true")]
    Terms,
    /// A name that cannot be certified this way.
    #[error("http.tls.acme.domains: `{0}` is no name such as home.example")]
    Domain(String),
    /// No address of a mailbox.
    #[error("http.tls.acme.contact: `{0}` is no mail address")]
    Contact(String),
    /// No address to ask.
    #[error("http.tls.acme.directory: `{0}` is no https address")]
    Directory(String),
}

impl AcmeError {
    /// What to do about it.
    pub fn help(&self) -> String {
        let help = match self {
            Self::NoDomains => {
                "set `http.tls.acme.domains` to the names of this host, or take the table away"
            }
            Self::Files => "keep one of the two: the files, or `[http.tls.acme]`",
            Self::NoPort => {
                "authorities ask at port 80: set it to 80, or to the port that 80 is forwarded to"
            }
            Self::Terms => {
                "read the authority's terms of service (Let's Encrypt: https://letsencrypt.org/repository/), then set it to true"
            }
            Self::Domain(_) => {
                "addresses and names with `*` are certified in other ways: get such a certificate with another program, and name its files"
            }
            Self::Contact(_) => "write it as me@home.example, or leave it out",
            Self::Directory(_) => {
                "it is where the authority's directory lies, such as https://acme-v02.api.letsencrypt.org/directory"
            }
        };
        help.to_owned()
    }
}

impl From<AcmeError> for CliError {
    fn from(error: AcmeError) -> Self {
        Self::of("CONFIGURATION", Exit::Configuration, &error).with_help(error.help())
    }
}

/// Why an attempt came to nothing. No variant carries anything of a key.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    /// Nobody answers, or somebody whom nobody trusts.
    #[error("{origin} cannot be asked: {reason}")]
    Unreachable {
        /// Scheme, name and port of the authority.
        origin: String,
        /// The chain of causes.
        reason: String,
    },
    /// The authority says no.
    #[error("the authority refuses: {0}")]
    Refused(Problem),
    /// It did not find what it was promised.
    #[error("the authority did not find this host at {domain}: {detail}")]
    Challenge {
        /// The name.
        domain: String,
        /// What it says.
        detail: String,
    },
    /// It would look for proof elsewhere.
    #[error("the authority does not certify {domain} by asking at its port 80 (HTTP-01)")]
    NoHttp {
        /// The name.
        domain: String,
    },
    /// It does not come to an end.
    #[error("the authority did not come to an end in time")]
    Late,
    /// What it says cannot be understood.
    #[error("the authority answers what is no ACME: {0}")]
    Strange(String),
    /// What it has given is no certificate for this host.
    #[error("the certificate that was given cannot be used: {0}")]
    Unusable(String),
    /// Neither key nor certificate could be kept.
    #[error("{}", .0.line())]
    Kept(#[from] SecretError),
    /// The host's own set-up.
    #[error("{0}")]
    Setup(String),
}

impl AttemptError {
    /// What to do about it.
    pub(super) fn help(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "see whether this machine reaches the internet and resolves names; where the authority is one of your own, name its certificate by `http.tls.acme.ca`"
            }
            Self::Refused(problem) if is_rate_limit(problem) => {
                "it was asked too often: wait, and leave the host running meanwhile; try with the authority's directory for tests"
            }
            Self::Refused(_) => "see what it says",
            Self::Challenge { .. } => {
                "the name has to lead to this machine for everybody, and port 80 there to `http.tls.redirect_port`"
            }
            Self::NoHttp { .. } => {
                "get the certificate with another program, and name its files by `http.tls.certificate` and `http.tls.key`"
            }
            Self::Late => "it may be busy",
            Self::Strange(_) => "see whether `http.tls.acme.directory` is right",
            Self::Unusable(_) => "compare the clock of this machine with another one",
            Self::Kept(_) | Self::Setup(_) => "mend that",
        }
    }

    /// What is wrong and what to do about it: one line.
    pub(super) fn line(&self) -> String {
        let problem = one_line_of(&self.to_string(), PROBLEM_CHARS_MAX);
        match self {
            // It says itself what to do.
            Self::Kept(_) => problem,
            _ => format!("{problem}: {}", self.help()),
        }
    }

    /// Whether the authority has heard nothing of it.
    pub(super) fn is_unheard(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Kept(_) | Self::Setup(_)
        )
    }

    /// Whether it was asked too often.
    pub(super) fn is_rate_limit(&self) -> bool {
        matches!(self, Self::Refused(problem) if is_rate_limit(problem))
    }
}

/// Whether the problem is of this kind (RFC 8555, 6.7).
pub(super) fn is_of_kind(problem: &Problem, kind: &str) -> bool {
    let named = problem.r#type.as_deref().unwrap_or_default();
    named.strip_prefix("urn:ietf:params:acme:error:") == Some(kind)
}

fn is_rate_limit(problem: &Problem) -> bool {
    is_of_kind(problem, "rateLimited")
}

impl From<ProtocolError> for AttemptError {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Api(problem) => Self::Refused(problem),
            ProtocolError::Timeout(_) => Self::Late,
            ProtocolError::Other(error) => match error.downcast::<Self>() {
                Ok(own) => *own,
                Err(error) => Self::Strange(chain(&*error)),
            },
            ProtocolError::Crypto | ProtocolError::KeyRejected => Self::Setup(error.to_string()),
            other => Self::Strange(chain(&other)),
        }
    }
}

impl From<TlsError> for AttemptError {
    fn from(error: TlsError) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// An error with its causes.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        let said = current.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = current.source();
    }
    text
}
