//! A fuzz target: files of accounts.

use nself_plugin_api::jiff::Timestamp;

use super::{
    Format,
    row::{Read, Reader},
};

/// The first byte says which format the lines are in. An account that is made of one can be made by hand as well.
pub(crate) fn account_import(data: &[u8]) {
    let Some((format, records)) = data.split_first() else {
        return;
    };
    let format = match format {
        b'c' => Format::Csv,
        b'l' => Format::Lines,
        _ => Format::Json,
    };
    let mut reader = Reader::new(format, Timestamp::UNIX_EPOCH);
    for record in records.split(|byte| *byte == b'\n') {
        let Ok(Read::Account(account)) = reader.read(record) else {
            continue;
        };
        let email = crate::account::email(&account.email).map(|email| email == account.email);
        assert!(email.is_ok_and(|is_same| is_same), "{:?}", account.email);
        assert!(!account.display_name.contains(char::is_control));
        let is_secure = |url: &String| url.starts_with("https://");
        assert!(account.avatar_url.as_ref().is_none_or(is_secure));
    }
}
