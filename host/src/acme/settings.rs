//! What `[http.tls.acme]` says.

use std::path::PathBuf;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use rustls::pki_types::DnsName;
use url::Url;

use super::AcmeError;
use crate::{
    config::{Config, HttpAcme},
    http::tls::TlsFiles,
};

/// Digits that tell one authority's files from another's.
const ID_BYTES: usize = 4;

/// How certificates are asked for.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// The names that they are for, the first one being how people call the host.
    pub(super) domains: Vec<String>,
    /// Addresses to which the authority may write, as URLs.
    pub(super) contact: Vec<String>,
    /// Where the authority says what it offers.
    pub(super) directory: Url,
    /// Certificates to trust besides the system's, when talking to the authority.
    pub(super) ca: Option<PathBuf>,
    state_directory: PathBuf,
}

impl AcmeSettings {
    /// What the configuration says; nothing where it names no domains.
    ///
    /// # Errors
    ///
    /// [`AcmeError`]: something is missing, or makes no sense beside the rest.
    pub fn of(config: &Config) -> Result<Option<Self>, AcmeError> {
        let tls = &config.http.tls;
        let acme = &tls.acme;
        if acme.domains.is_empty() {
            return if is_said(acme) {
                Err(AcmeError::NoDomains)
            } else {
                Ok(None)
            };
        }
        if tls.certificate.is_some() || tls.key.is_some() {
            return Err(AcmeError::Files);
        }
        if tls.redirect_port.is_none() {
            return Err(AcmeError::NoPort);
        }
        if !acme.terms_of_service_agreed {
            return Err(AcmeError::Terms);
        }
        Ok(Some(Self {
            domains: all(&acme.domains, domain)?,
            contact: all(&acme.contact, contact)?,
            directory: directory(&acme.directory)?,
            ca: acme.ca.as_ref().map(|path| config.resolve(path)),
            state_directory: config.state_directory(),
        }))
    }

    /// The file that holds both the key and the certificate: so they are never of two pairs.
    pub fn files(&self) -> TlsFiles {
        let file = self.state_directory.join("secrets").join(self.pair_name());
        TlsFiles {
            certificate: file.clone(),
            key: file,
        }
    }

    /// Name of the secret that is the account with the authority.
    pub(super) fn account_name(&self) -> String {
        format!("acme-{}-account", self.id())
    }

    /// Name of the secret that is the pair.
    pub(super) fn pair_name(&self) -> String {
        format!("acme-{}-certificate", self.id())
    }

    /// Where stands what was tried in vain.
    pub(super) fn attempts_file(&self) -> PathBuf {
        let name = format!("acme-{}.json", self.id());
        self.state_directory.join(name)
    }

    /// Another authority is another account, and its certificates are others: who tries with one for tests loses nothing by it.
    fn id(&self) -> String {
        let digest = digest(&SHA256, self.directory.as_str().as_bytes());
        HEXLOWER.encode(&digest.as_ref()[..ID_BYTES])
    }
}

/// Whether anything is said without which there would be no need to say it.
fn is_said(acme: &HttpAcme) -> bool {
    let HttpAcme {
        domains: _,
        contact,
        directory,
        ca,
        terms_of_service_agreed,
    } = acme;
    !contact.is_empty()
        || ca.is_some()
        || *terms_of_service_agreed
        || *directory != HttpAcme::default().directory
}

fn all(
    texts: &[String],
    read: fn(&str) -> Result<String, AcmeError>,
) -> Result<Vec<String>, AcmeError> {
    texts.iter().map(|text| read(text)).collect()
}

fn domain(text: &str) -> Result<String, AcmeError> {
    let lower = text.to_ascii_lowercase();
    // One that ends with a digit would be an address.
    let is_name = DnsName::try_from(lower.as_str()).is_ok()
        && !lower.ends_with(|last: char| last.is_ascii_digit() || last == '.');
    is_name
        .then_some(lower)
        .ok_or_else(|| AcmeError::Domain(text.to_owned()))
}

fn contact(text: &str) -> Result<String, AcmeError> {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_address = address
        .split_once('@')
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    let is_plain =
        !address.contains(|letter: char| letter.is_whitespace() || ",?".contains(letter));
    (is_address && is_plain)
        .then(|| format!("mailto:{address}"))
        .ok_or_else(|| AcmeError::Contact(text.to_owned()))
}

fn directory(text: &str) -> Result<Url, AcmeError> {
    let url = text.parse::<Url>().ok();
    let url = url.filter(|url| url.scheme() == "https" && url.has_host());
    url.ok_or_else(|| AcmeError::Directory(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        let tls = &mut config.http.tls;
        tls.redirect_port = Some(80);
        tls.acme.domains = vec![
            "Home.example".to_owned(),
            "xn--bcher-kva.example".to_owned(),
        ];
        tls.acme.contact = vec!["me@home.example".to_owned()];
        tls.acme.terms_of_service_agreed = true;
        change(&mut config);
        config
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut Config), says: &str) {
        let error = AcmeSettings::of(&config(change)).expect_err("it makes no sense");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!error.help().is_empty());
    }

    #[test]
    fn names_and_contacts_are_brought_into_their_form() {
        let settings = AcmeSettings::of(&config(|_| {})).expect("settings");
        let settings = settings.expect("domains");
        assert_eq!(settings.domains, ["home.example", "xn--bcher-kva.example"]);
        assert_eq!(settings.contact, ["mailto:me@home.example"]);
        let none = AcmeSettings::of(&Config::default()).expect("nothing");
        assert!(none.is_none());
    }

    #[test]
    fn each_authority_has_files_of_its_own() {
        let named = |directory: &str| {
            let config = config(|config| directory.clone_into(&mut config.http.tls.acme.directory));
            let settings = AcmeSettings::of(&config)
                .expect("settings")
                .expect("domains");
            (settings.account_name(), settings.files())
        };
        let (account, files) = named("https://one.example/directory");
        assert_eq!(files.certificate, files.key);
        assert_ne!((account, files), named("https://two.example/directory"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        check_refused(
            |config| config.http.tls.acme.domains.clear(),
            "names no domains",
        );
        check_refused(
            |config| config.http.tls.key = Some("key.pem".into()),
            "files",
        );
        check_refused(
            |config| config.http.tls.redirect_port = None,
            "redirect_port",
        );
        check_refused(
            |config| config.http.tls.acme.terms_of_service_agreed = false,
            "terms_of_service_agreed",
        );
        for name in [
            "*.home.example",
            "192.168.1.10",
            "::1",
            "home example",
            "home.example.",
            "",
        ] {
            check_refused(
                |config| config.http.tls.acme.domains = vec![name.to_owned()],
                name,
            );
        }
        for address in ["me", "@home.example", "me@", "a@b.example,c@d.example"] {
            check_refused(
                |config| config.http.tls.acme.contact = vec![address.to_owned()],
                address,
            );
        }
        for url in ["http://authority.example/", "authority.example", ""] {
            check_refused(
                |config| url.clone_into(&mut config.http.tls.acme.directory),
                url,
            );
        }
    }
}
