//! Known places, and what of the configuration goes on top of them.

use super::{
    Dialect, OAuth, Protocol, Provider, client_secret::ClientSecret, directory::Directory,
};
use crate::config::{Endpoints, Preset, Provider as Configured};

/// The tenant of Microsoft's personal accounts. The shared names (`common`, `consumers`) are no issuers of tokens.
const MICROSOFT_PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

const APPLE: &str = "https://appleid.apple.com";

/// Apple knows no other words than these two and `openid`, which changes nothing.
const APPLE_SCOPES: &str = "name email";

const OPENID_SCOPES: &str = "openid email profile";

/// What a place is called in configuration and addresses.
const SLUG_LENGTH_MAX: usize = 32;

pub(super) fn resolve(slug: &str, configured: &Configured) -> Result<Provider, String> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !slug.starts_with(|c: char| c.is_ascii_lowercase())
        || !slug.bytes().all(is_plain)
        || slug.len() > SLUG_LENGTH_MAX
    {
        return Err("use lower-case letters, digits and - for its name".to_owned());
    }
    if configured.client_id.is_empty() {
        return Err("client_id is missing".to_owned());
    }
    let (label, protocol, scopes) = known(configured)?;
    let secret = secret(configured)?;
    let is_apple = configured.preset == Some(Preset::Apple);
    let is_openid = matches!(protocol, Protocol::OpenId { .. }) && !is_apple;
    if is_openid && !configured.scopes.is_empty() && !configured.scopes.contains(&"openid".into()) {
        return Err("scopes: an OpenID provider needs openid among them".to_owned());
    }
    Ok(Provider {
        slug: slug.to_owned(),
        label: configured
            .label
            .clone()
            .unwrap_or_else(|| if label.is_empty() { slug } else { label }.to_owned()),
        protocol,
        client_id: configured.client_id.clone(),
        app_client_ids: configured.app_client_ids.clone(),
        secret,
        scopes: if configured.scopes.is_empty() {
            scopes.to_owned()
        } else {
            configured.scopes.join(" ")
        },
        trusts_email: configured.trusts_email,
        // Apple answers who asks for a name or an address in no other way.
        uses_form_post: configured.uses_form_post || is_apple,
    })
}

/// Name, protocol and scopes of what `preset` or `issuer` names.
fn known(configured: &Configured) -> Result<(&'static str, Protocol, &'static str), String> {
    let Some(preset) = configured.preset else {
        let issuer = configured.issuer.as_deref();
        let issuer = issuer.ok_or("name a preset, or the issuer of an OpenID provider")?;
        return Ok(("", openid(configured, issuer)?, OPENID_SCOPES));
    };
    if configured.issuer.is_some() && preset != Preset::Apple {
        return Err("issuer: a preset has its own; leave one of the two out".to_owned());
    }
    if configured.tenant.is_some() && preset != Preset::Microsoft {
        return Err("tenant: only the preset microsoft has tenants".to_owned());
    }
    match preset {
        Preset::Google => {
            let protocol = openid(configured, "https://accounts.google.com")?;
            Ok(("Google", protocol, OPENID_SCOPES))
        }
        Preset::Microsoft => {
            let tenant = configured.tenant.as_deref().unwrap_or(MICROSOFT_PERSONAL);
            if tenant.parse::<uuid::Uuid>().is_err() {
                return Err(
                    "tenant: write the directory's id; tokens of common, organizations and consumers do not name them \
                     as their issuer"
                        .to_owned(),
                );
            }
            let issuer = format!("https://login.microsoftonline.com/{tenant}/v2.0");
            Ok(("Microsoft", openid(configured, &issuer)?, OPENID_SCOPES))
        }
        Preset::Apple => {
            let issuer = configured.issuer.as_deref().unwrap_or(APPLE);
            Ok(("Apple", openid(configured, issuer)?, APPLE_SCOPES))
        }
        Preset::Github => Ok((
            "GitHub",
            oauth(configured, Dialect::Github)?,
            "read:user user:email",
        )),
        Preset::Discord => Ok((
            "Discord",
            oauth(configured, Dialect::Discord)?,
            "identify email",
        )),
        Preset::Facebook => Ok((
            "Facebook",
            oauth(configured, Dialect::Facebook)?,
            "public_profile email",
        )),
    }
}

/// How the client shows who it is.
fn secret(configured: &Configured) -> Result<ClientSecret, String> {
    if configured.preset != Some(Preset::Apple) {
        if configured.team_id.is_some() || configured.key_id.is_some() {
            return Err("team_id, key_id: only the preset apple has a key".to_owned());
        }
        return Ok(if configured.is_public_client {
            ClientSecret::None
        } else {
            ClientSecret::Stored
        });
    }
    if configured.is_public_client {
        return Err("is_public_client: Apple has no client without a key".to_owned());
    }
    let needed = |key: &str, value: &Option<String>| {
        let value = value.clone().filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{key} is missing: it stands beside the key at Apple"))
    };
    Ok(ClientSecret::Signed {
        team_id: needed("team_id", &configured.team_id)?,
        key_id: needed("key_id", &configured.key_id)?,
    })
}

fn openid(configured: &Configured, issuer: &str) -> Result<Protocol, String> {
    if configured.endpoints.is_some() {
        return Err("endpoints: those of an OpenID provider are discovered".to_owned());
    }
    check_address("issuer", issuer)?;
    if issuer.contains(['?', '#']) {
        return Err("issuer: it has neither a query nor a fragment".to_owned());
    }
    Ok(Protocol::OpenId {
        issuer: issuer.to_owned(),
        directory: Directory::default(),
    })
}

fn oauth(configured: &Configured, dialect: Dialect) -> Result<Protocol, String> {
    let endpoints = configured
        .endpoints
        .clone()
        .unwrap_or_else(|| match dialect {
            Dialect::Github => endpoints(
                "https://github.com/login/oauth/authorize",
                "https://github.com/login/oauth/access_token",
                "https://api.github.com/user",
                Some("https://api.github.com/user/emails"),
            ),
            Dialect::Discord => endpoints(
                "https://discord.com/oauth2/authorize",
                "https://discord.com/api/oauth2/token",
                "https://discord.com/api/users/@me",
                None,
            ),
            Dialect::Facebook => endpoints(
                "https://www.facebook.com/v21.0/dialog/oauth",
                "https://graph.facebook.com/v21.0/oauth/access_token",
                "https://graph.facebook.com/v21.0/me?fields=id,name,email",
                None,
            ),
        });
    check_address("endpoints.authorization", &endpoints.authorization)?;
    check_address("endpoints.token", &endpoints.token)?;
    check_address("endpoints.userinfo", &endpoints.userinfo)?;
    if let Some(emails) = &endpoints.emails {
        check_address("endpoints.emails", emails)?;
    }
    Ok(Protocol::OAuth(OAuth {
        issuer: origin(&endpoints.authorization).to_owned(),
        authorization: endpoints.authorization,
        token: endpoints.token,
        userinfo: endpoints.userinfo,
        emails: endpoints.emails,
        dialect,
    }))
}

fn endpoints(authorization: &str, token: &str, userinfo: &str, emails: Option<&str>) -> Endpoints {
    Endpoints {
        authorization: authorization.to_owned(),
        token: token.to_owned(),
        userinfo: userinfo.to_owned(),
        emails: emails.map(str::to_owned),
    }
}

/// Scheme and host of an address.
fn origin(address: &str) -> &str {
    let host = address.find("://").map_or(0, |at| at + 3);
    let end = address[host..].find(['/', '?', '#']);
    end.map_or(address, |end| &address[..host + end])
}

fn check_address(key: &str, address: &str) -> Result<(), String> {
    if is_secure(address) {
        Ok(())
    } else {
        Err(format!(
            "{key}: expected an address that begins with https://, without spaces; http:// is for this machine alone"
        ))
    }
}

/// Whether nobody on the way can read or change what is sent there: TLS, or this machine. Which addresses may be reached
/// at all is the host's decision.
pub(super) fn is_secure(address: &str) -> bool {
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic()) && !address.contains('\\');
    let is_this_machine = || {
        ["http://localhost", "http://127.0.0.1", "http://[::1]"]
            .iter()
            .filter_map(|machine| address.strip_prefix(machine))
            .any(|rest| rest.is_empty() || rest.starts_with(['/', ':', '?']))
            // `http://localhost:x@elsewhere` is elsewhere.
            && !address.contains('@')
    };
    let has_host = |rest: &str| !rest.is_empty() && !rest.starts_with(['/', '?', '#']);
    is_plain && (address.strip_prefix("https://").is_some_and(has_host) || is_this_machine())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(change: impl FnOnce(&mut Configured)) -> Result<Provider, String> {
        let mut configured = Configured {
            client_id: "us".into(),
            ..Configured::default()
        };
        change(&mut configured);
        resolve("place", &configured)
    }

    #[test]
    fn a_secure_address_is_tls_or_this_machine() {
        for address in [
            "https://accounts.example.org",
            "https://accounts.example.org/a?b",
            "http://localhost:4000/a",
            "http://127.0.0.1",
            "http://[::1]:80/",
        ] {
            assert!(is_secure(address), "{address}");
        }
        for address in [
            "",
            "https://",
            "https:///a",
            "http://example.org",
            "http://localhost.example.org",
            "http://localhost:x@example.org",
            "http://127.0.0.1.example.org",
            "ftp://localhost",
            "https://a b",
            "https://a\\b",
            "https://a\r\nb",
            "javascript:alert(1)",
            "//example.org",
        ] {
            assert!(!is_secure(address), "{address}");
        }
    }

    #[test]
    fn an_identity_of_another_server_is_another_persons() {
        let theirs = configured(|one| one.preset = Some(Preset::Github)).expect("a preset");
        let ours = configured(|one| {
            one.preset = Some(Preset::Github);
            one.endpoints = Some(endpoints(
                "https://git.example.org/login",
                "https://git.example.org/token",
                "https://git.example.org/user",
                None,
            ));
        });
        let issuer = |provider: &Provider| match &provider.protocol {
            Protocol::OAuth(oauth) => oauth.issuer.clone(),
            Protocol::OpenId { issuer, .. } => issuer.clone(),
        };
        assert_eq!(issuer(&theirs), "https://github.com");
        assert_eq!(
            issuer(&ours.expect("a server of one's own")),
            "https://git.example.org"
        );
    }

    #[test]
    fn apple_is_asked_as_it_wants_to_be() {
        let apple = configured(|one| {
            one.preset = Some(Preset::Apple);
            one.team_id = Some("TEAM".into());
            one.key_id = Some("KEY".into());
        });
        let apple = apple.expect("a preset");
        assert_eq!((&*apple.label, &*apple.scopes), ("Apple", "name email"));
        assert!(apple.uses_form_post);
        assert!(
            matches!(&apple.protocol, Protocol::OpenId { issuer, .. } if issuer == "https://appleid.apple.com")
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_to_write() {
        let refused = |what: &str, change: &dyn Fn(&mut Configured)| {
            let reason = configured(change).expect_err(what);
            assert!(reason.contains(what), "{reason}");
        };
        refused("name a preset", &|_| ());
        refused("client_id", &|one| one.client_id.clear());
        refused("team_id", &|one| one.preset = Some(Preset::Apple));
        refused("only the preset apple", &|one| {
            one.preset = Some(Preset::Google);
            one.key_id = Some("KEY".into());
        });
        refused("without a key", &|one| {
            one.preset = Some(Preset::Apple);
            one.is_public_client = true;
        });
        refused("https://", &|one| {
            one.issuer = Some("http://example.org".into());
        });
        refused("query", &|one| {
            one.issuer = Some("https://example.org/?a".into());
        });
        refused("tenant", &|one| {
            one.preset = Some(Preset::Microsoft);
            one.tenant = Some("common".into());
        });
        refused("openid", &|one| {
            one.preset = Some(Preset::Google);
            one.scopes = vec!["email".into()];
        });
        assert!(resolve("Über", &Configured::default()).is_err());
    }
}
