//! From a record to an account.

use nself_plugin_api::{
    jiff::Timestamp,
    prelude::*,
    serde_json::{self, Map, Value},
};
use serde::Serialize;

use super::{Format, hash, hash::Firebase};
use crate::account;

/// An account that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) email: String,
    pub(crate) is_email_verified: bool,
    pub(crate) display_name: String,
    pub(crate) avatar_url: Option<String>,
    pub(crate) locale: String,
    pub(crate) is_suspended: bool,
    pub(crate) password_hash: Option<String>,
}

/// A row that was not taken.
#[derive(Debug, Serialize, Schema)]
pub(crate) struct Refusal {
    /// Its number, the first is 1; a line of names counts.
    pub row: u64,
    /// Its address, as far as it was read.
    pub email: Option<String>,
    /// Why.
    pub reason: String,
}

/// Reads records one after the other.
pub(crate) struct Reader {
    format: Format,
    now: Timestamp,
    /// The first line of a CSV.
    names: Option<Vec<String>>,
    firebase: Option<Firebase>,
}

/// What a record was.
pub(crate) enum Read {
    Account(Box<Account>),
    /// Nothing to be made of: names of columns, parameters, an empty line.
    Nothing,
}

impl Reader {
    pub(crate) const fn new(format: Format, now: Timestamp) -> Self {
        Self {
            format,
            now,
            names: None,
            firebase: None,
        }
    }

    /// Reads a record; an error says why it is no account, and the address where there is one.
    pub(crate) fn read(&mut self, record: &[u8]) -> Result<Read, (Option<String>, String)> {
        if record.trim_ascii().is_empty() {
            return Ok(Read::Nothing);
        }
        let nobody = |reason: String| (None, reason);
        let fields = match self.format {
            Format::Lines | Format::Json => line(record).map_err(nobody)?,
            // A line that no table has: what the project's hashes were made with.
            Format::Csv if record.starts_with(b"{") => line(record).map_err(nobody)?,
            Format::Csv => {
                let values = csv_record(record).map_err(nobody)?;
                match &self.names {
                    Some(names) => named(names, values),
                    None if is_firebases(&values) => {
                        let names = FIREBASE.map(str::to_owned).to_vec();
                        named(self.names.insert(names), values)
                    }
                    None => {
                        self.names = Some(values);
                        return Ok(Read::Nothing);
                    }
                }
            }
        };
        let row = Row(fields);
        if let Some(config) = row
            .0
            .get("hash_config")
            .filter(|_| row.text(&EMAIL).is_none())
        {
            let firebase = Firebase::read(config);
            self.firebase =
                Some(firebase.ok_or_else(|| nobody("hash_config: a part is missing".to_owned()))?);
            return Ok(Read::Nothing);
        }
        let email = row.text(&EMAIL).map(str::to_owned);
        let account = self.account(&row).map_err(|reason| (email, reason))?;
        Ok(Read::Account(Box::new(account)))
    }

    fn account(&self, row: &Row) -> Result<Account, String> {
        let of = |error: Error| error.message().to_owned();
        let email = row.text(&EMAIL).ok_or("it has no address")?;
        let email = account::email(email).map_err(of)?;
        if row.text(&["deleted_at"]).is_some() {
            return Err("it was deleted where it comes from".to_owned());
        }
        let name = row.text(&NAME).map(str::to_owned);
        let name = name.or_else(|| row.in_profile(&NAME)).unwrap_or_default();
        let display_name = account::display_name(&name).map_err(of)?;
        let locale = row.text(&["locale"]).unwrap_or("en");
        let salt = row.text(&["salt", "passwordSalt"]);
        let password_hash = row
            .text(&HASH)
            .map(|text| hash::accept(text, salt, self.firebase.as_ref()))
            .transpose()?;
        let avatar_url = row.text(&AVATAR).filter(|url| {
            url.starts_with("https://") && url.len() <= 2_000 && !url.contains(char::is_control)
        });
        Ok(Account {
            is_email_verified: row.is_true(&VERIFIED) || row.text(&VERIFIED_AT).is_some(),
            is_suspended: row.is_true(&SUSPENDED) || row.is_banned(self.now),
            locale: account::locale(locale).map_err(of)?.to_owned(),
            avatar_url: avatar_url.map(str::to_owned),
            display_name,
            email,
            password_hash,
        })
    }
}

/// Columns of Firebase's CSV, which has no line of names. More follow: other places, times, a telephone number.
const FIREBASE: [&str; 7] = [
    "localId",
    "email",
    "emailVerified",
    "passwordHash",
    "salt",
    "displayName",
    "photoUrl",
];

/// How many columns that has at least.
const FIREBASE_COLUMNS: usize = 26;

/// Whether the first line is an account already.
fn is_firebases(values: &[String]) -> bool {
    values.len() >= FIREBASE_COLUMNS && matches!(&*values[2], "true" | "false")
}

const EMAIL: [&str; 1] = ["email"];
const NAME: [&str; 4] = ["display_name", "displayName", "full_name", "name"];
const HASH: [&str; 4] = [
    "password_hash",
    "passwordHash",
    "encrypted_password",
    "hash",
];
const AVATAR: [&str; 3] = ["avatar_url", "avatarUrl", "photoUrl"];
const VERIFIED: [&str; 3] = ["is_email_verified", "email_verified", "emailVerified"];
const VERIFIED_AT: [&str; 2] = ["email_confirmed_at", "email_verified_at"];
const SUSPENDED: [&str; 2] = ["disabled", "is_suspended"];
/// Where Supabase keeps what people said of themselves.
const PROFILE: [&str; 3] = ["raw_user_meta_data", "user_metadata", "metadata"];

/// A record by the names of its fields.
struct Row(Map<String, Value>);

impl Row {
    /// The first of these fields that says something.
    fn text(&self, names: &[&str]) -> Option<&str> {
        let texts = names.iter().filter_map(|name| self.0.get(*name)?.as_str());
        texts
            .map(str::trim)
            .find(|text| !text.is_empty() && *text != "null" && *text != "\\N")
    }

    fn in_profile(&self, names: &[&str]) -> Option<String> {
        let profile = PROFILE.iter().find_map(|name| self.0.get(*name))?;
        let profile = match profile {
            Value::String(text) => serde_json::from_str(text).ok()?,
            Value::Object(fields) => fields.clone(),
            _ => return None,
        };
        Self(profile).text(names).map(str::to_owned)
    }

    /// Whether Supabase keeps somebody out, until a time that may be over.
    fn is_banned(&self, now: Timestamp) -> bool {
        self.text(&["banned_until"])
            .is_some_and(|until| until.parse().map_or(true, |until: Timestamp| until > now))
    }

    fn is_true(&self, names: &[&str]) -> bool {
        names.iter().any(|name| match self.0.get(*name) {
            Some(Value::Bool(is_true)) => *is_true,
            Some(Value::String(text)) => matches!(text.trim(), "true" | "t" | "1" | "TRUE"),
            _ => false,
        })
    }
}

fn line(record: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(record).map_err(|error| format!("it is no JSON object: {error}"))
}

fn csv_record(record: &[u8]) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(record);
    let mut read = csv::StringRecord::new();
    match reader.read_record(&mut read) {
        Ok(true) => Ok(read.iter().map(str::to_owned).collect()),
        Ok(false) => Err("it is empty".to_owned()),
        Err(error) => Err(format!("it is no CSV: {error}")),
    }
}

fn named(names: &[String], values: Vec<String>) -> Map<String, Value> {
    let names = names
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned());
    names.zip(values.into_iter().map(Value::String)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2a$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

    fn read(format: Format, records: &[&str]) -> Vec<Result<Account, String>> {
        let now = "2026-07-01T00:00:00Z".parse().expect("a time");
        let mut reader = Reader::new(format, now);
        let records = records.iter().map(|record| reader.read(record.as_bytes()));
        records
            .filter_map(|read| match read {
                Ok(Read::Account(account)) => Some(Ok(*account)),
                Ok(Read::Nothing) => None,
                Err((_, reason)) => Some(Err(reason)),
            })
            .collect()
    }

    #[test]
    fn supabases_csv_is_read() {
        let names =
            "id,email,encrypted_password,email_confirmed_at,raw_user_meta_data,banned_until\n";
        let row = format!(
            "1,Ada@Example.org,{BCRYPT},2024-01-01,\"{{\"\"full_name\"\":\"\"Ada L\"\"}}\",\n"
        );
        let accounts = read(
            Format::Csv,
            &[names, &row, "2,eve@example.org,,,,2099-01-01\n"],
        );
        let ada = accounts[0].as_ref().expect("it is an account");
        assert_eq!(
            (&*ada.email, &*ada.display_name),
            ("ada@example.org", "Ada L")
        );
        assert!(ada.is_email_verified && !ada.is_suspended);
        assert_eq!(ada.password_hash.as_deref(), Some(BCRYPT));
        let eve = accounts[1].as_ref().expect("it is an account");
        assert!(!eve.is_email_verified && eve.is_suspended && eve.password_hash.is_none());
    }

    #[test]
    fn nhosts_and_firebases_lines_are_read() {
        let nhost = format!(
            r#"{{"email":"ada@example.org","password_hash":"{BCRYPT}","email_verified":true,"display_name":"Ada","locale":"de"}}"#
        );
        let config = r#"{"hash_config":{"base64_signer_key":"a2V5","base64_salt_separator":"Bw==","rounds":8,"mem_cost":14}}"#;
        let firebase = r#"{"localId":"x","email":"bob@example.org","emailVerified":false,"passwordHash":"aGFzaA==","salt":"c2FsdA==","displayName":"Bob","disabled":true}"#;
        let accounts = read(Format::Lines, &[&nhost, "\n", config, firebase]);
        let ada = accounts[0].as_ref().expect("it is an account");
        assert_eq!((&*ada.locale, ada.is_email_verified), ("de", true));
        let bob = accounts[1].as_ref().expect("it is an account");
        assert!(bob.is_suspended);
        assert!(
            bob.password_hash
                .as_ref()
                .is_some_and(|hash| hash.starts_with("$fbscrypt$"))
        );
    }

    #[test]
    fn a_ban_that_is_over_keeps_nobody_out() {
        for (until, is_suspended) in [
            ("2026-06-30 23:59:59+00", false),
            ("2026-07-01 00:00:01.5+00", true),
            ("infinity", true),
            ("", false),
        ] {
            let row = format!(r#"{{"email":"eve@example.org","banned_until":"{until}"}}"#);
            let accounts = read(Format::Json, &[&row]);
            let eve = accounts[0].as_ref().expect("it is an account");
            assert_eq!(eve.is_suspended, is_suspended, "{until}");
        }
    }

    #[test]
    fn firebases_csv_is_read_by_its_places() {
        let config = r#"{"hash_config":{"base64_signer_key":"a2V5","base64_salt_separator":"Bw==","rounds":8,"mem_cost":14}}"#;
        let more = ",".repeat(19);
        let row = format!("x,bob@example.org,true,aGFzaA==,c2FsdA==,\"B, ob\",{more}\n");
        let accounts = read(Format::Csv, &[config, "\n", &row, &row]);
        assert_eq!(accounts.len(), 2);
        let bob = accounts[0].as_ref().expect("it is an account");
        assert_eq!((&*bob.display_name, bob.is_email_verified), ("B, ob", true));
        assert_eq!(
            bob.password_hash.as_deref(),
            Some("$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=a2V5$c2FsdA==$aGFzaA==")
        );
        assert!(read(Format::Csv, &[&row])[0].is_err(), "without parameters");
    }

    #[test]
    fn a_row_that_is_no_account_says_why() {
        for (record, reason) in [
            ("{", "it is no JSON object"),
            ("[]", "it is no JSON object"),
            ("{}", "it has no address"),
            (r#"{"email":"ada"}"#, "email: there is no @ in it"),
            (
                r#"{"email":"a@b.c","password_hash":"md5"}"#,
                "its password hash is none of",
            ),
            (r#"{"email":"a@b.c","locale":"../x"}"#, "locale: "),
            (
                r#"{"email":"a@b.c","deleted_at":"2024-01-01"}"#,
                "it was deleted",
            ),
        ] {
            let read = read(Format::Lines, &[record]);
            let refused = read[0].as_ref().expect_err("it is refused");
            assert!(refused.starts_with(reason), "{record}: {refused}");
        }
    }
}
