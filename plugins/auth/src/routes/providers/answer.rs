//! Redirects, and the cookie that ties a sign-in to its browser.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use nself_plugin_api::{
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE},
    },
    prelude::*,
};
use sha2::{Digest, Sha256};

use crate::one_time::Purpose;

/// Sends the browser on, by a GET. The address holds codes: nobody keeps the answer, and the next page is not told.
pub(super) fn see_other(address: &str) -> Result<Response> {
    let address = HeaderValue::try_from(address).map_err(Error::internal)?;
    Ok(Response::new(StatusCode::SEE_OTHER, "")
        .header(LOCATION, address)
        .header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .header(REFERRER_POLICY, HeaderValue::from_static("no-referrer")))
}

/// Gives the browser a flow's cookie, or takes it away.
///
/// `Lax`, because the browser comes back from another site. `__Host-`, so that no neighbouring name can set it; browsers
/// take that over TLS alone, which a machine under development does not have.
pub(crate) fn with_cookie(
    answer: Response,
    state: &str,
    value: Option<&str>,
    is_secure: bool,
) -> Result<Response> {
    let secure = if is_secure { "; Secure" } else { "" };
    let age = value.map_or(0, |_| Purpose::ProviderFlow.lifetime().as_secs());
    let (name, value) = (name(state, is_secure), value.unwrap_or_default());
    let cookie = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
    let cookie = HeaderValue::try_from(cookie).map_err(Error::internal)?;
    Ok(answer.header(SET_COOKIE, cookie))
}

/// What the browser keeps for a flow. Under TLS the plain name does not count: a neighbouring name could have set it.
pub(super) fn cookie(headers: &HeaderMap, state: &str, is_secure: bool) -> Option<String> {
    let name = name(state, is_secure);
    let texts = headers.get_all(COOKIE).iter();
    texts
        .filter_map(|text| text.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value.to_owned())
}

/// A name per flow: two tabs that sign in do not disturb one another.
fn name(state: &str, is_secure: bool) -> String {
    let prefix = if is_secure { "__Host-" } else { "" };
    let hash = Sha256::digest(state);
    format!("{prefix}nself-oauth-{}", URL_SAFE_NO_PAD.encode(&hash[..9]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let (plain, host) = (name("state", false), name("state", true));
        let header = format!("a=b; x{plain}=1; {plain}=2;{host}=3");
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(header).expect("a header");
        headers.append(COOKIE, value);
        assert_eq!(cookie(&headers, "state", false).as_deref(), Some("2"));
        assert_eq!(cookie(&headers, "state", true).as_deref(), Some("3"));
        assert_eq!(cookie(&headers, "other", true), None);
    }
}
