//! Password hashes as exports write them, in the form that the host checks.
//!
//! Only the form is looked at: to check a hash is as much work as a sign-in, and an import has a hundred thousand.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use nself_plugin_api::serde_json::Value;

/// Longest hash that is taken.
const BYTES_MAX: usize = 1_024;

/// What the rows of a Firebase export leave out, because it is the same for all: `hash_config` of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Firebase {
    signer_key: String,
    salt_separator: String,
    rounds: u32,
    memory_cost: u32,
}

impl Firebase {
    /// Reads it as the console shows it, names in any of the three spellings that are around.
    pub(crate) fn read(config: &Value) -> Option<Self> {
        let text = |names: &[&str]| {
            let value = names.iter().find_map(|name| config.get(name))?;
            value.as_str().map(str::to_owned)
        };
        let number = |names: &[&str]| {
            let value = names.iter().find_map(|name| config.get(name))?;
            u32::try_from(value.as_u64()?).ok()
        };
        Some(Self {
            signer_key: text(&["base64_signer_key", "signer_key", "signerKey"])?,
            salt_separator: text(&["base64_salt_separator", "salt_separator", "saltSeparator"])?,
            rounds: number(&["rounds"])?,
            memory_cost: number(&["mem_cost", "memory_cost", "memCost"])?,
        })
    }

    fn write(&self, salt: &str, hash: &str) -> String {
        let Self {
            signer_key,
            salt_separator,
            rounds,
            memory_cost,
        } = self;
        // Some exports are written for addresses.
        let [key, separator, salt, hash] = [signer_key, salt_separator, salt, hash]
            .map(|text| text.replace('-', "+").replace('_', "/"));
        format!(
            "$fbscrypt$v=1,n={memory_cost},r={rounds},p=1,ss={separator},sk={key}${salt}${hash}"
        )
    }
}

/// The hash in the host's form, or why it cannot be taken.
pub(crate) fn accept(
    hash: &str,
    salt: Option<&str>,
    firebase: Option<&Firebase>,
) -> Result<String, &'static str> {
    let hash = hash.trim();
    if hash.len() > BYTES_MAX {
        return Err("its password hash is too long");
    }
    if let Some(salt) = salt.filter(|_| !hash.starts_with('$')) {
        let firebase = firebase
            .ok_or("it is of Firebase, and no row before it says the project's hash_config")?;
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(is_base64);
        return if is_plain(salt) && is_plain(hash) {
            Ok(firebase.write(salt, hash))
        } else {
            Err("its password hash or salt is no base64")
        };
    }
    if let Some(converted) = django(hash) {
        return Ok(converted);
    }
    let is_bcrypt = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .any(|kind| hash.starts_with(kind));
    let is_phc = [
        "$argon2id$",
        "$argon2i$",
        "$scrypt$",
        "$fbscrypt$",
        "$pbkdf2$",
        "$pbkdf2-sha1$",
        "$pbkdf2-sha256$",
        "$pbkdf2-sha512$",
    ]
    .iter()
    .any(|kind| hash.starts_with(kind));
    let is_plain = hash.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && (is_phc && hash.split('$').count() >= 5 || is_bcrypt && hash.len() == 60) {
        Ok(hash.to_owned())
    } else {
        Err("its password hash is none of bcrypt, scrypt, PBKDF2 and Argon2")
    }
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte)
}

/// `pbkdf2_sha256$600000$SALT$HASH`: the salt is text there.
fn django(hash: &str) -> Option<String> {
    let mut fields = hash.split('$');
    let kind = match fields.next()? {
        "pbkdf2_sha256" => "pbkdf2-sha256",
        "pbkdf2_sha1" => "pbkdf2",
        _ => return None,
    };
    let iterations: u32 = fields.next()?.parse().ok()?;
    let (salt, hash) = (fields.next()?, fields.next()?);
    let is_plain = fields.next().is_none() && hash.bytes().all(is_base64);
    let salt = STANDARD_NO_PAD.encode(salt);
    is_plain.then(|| format!("${kind}$i={iterations}${salt}${hash}"))
}

#[cfg(test)]
mod tests {
    use nself_plugin_api::serde_json::json;

    use super::*;

    #[test]
    fn what_the_host_checks_is_taken_and_the_rest_is_not() {
        let bcrypt = "$2a$10$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert_eq!(accept(bcrypt, None, None).as_deref(), Ok(bcrypt));
        assert!(accept("$pbkdf2-sha256$i=1$c2FsdA$aGFzaA", None, None).is_ok());
        for bad in [
            "",
            "md5:1234",
            "$1$salt$hash",
            &bcrypt[..59],
            "$argon2d$v=19$m=1,t=1,p=1$a$b",
            "$scrypt$ln=1",
        ] {
            assert!(accept(bad, None, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn djangos_form_is_rewritten() {
        let hash = accept("pbkdf2_sha256$600000$salt$aGFzaA==", None, None);
        assert_eq!(
            hash.as_deref(),
            Ok("$pbkdf2-sha256$i=600000$c2FsdA$aGFzaA==")
        );
    }

    #[test]
    fn firebases_rows_need_the_projects_parameters() {
        assert!(accept("aGFzaA==", Some("c2FsdA=="), None).is_err());
        let config = json!({"algorithm": "SCRYPT", "base64_signer_key": "a2V5", "base64_salt_separator": "Bw==", "rounds": 8, "mem_cost": 14});
        let firebase = Firebase::read(&config).expect("it is whole");
        let hash = accept("aGFz_A==", Some("c2FsdA=="), Some(&firebase));
        assert_eq!(
            hash.as_deref(),
            Ok("$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=a2V5$c2FsdA==$aGFz/A==")
        );
        assert!(accept("aGF$A==", Some("c2FsdA=="), Some(&firebase)).is_err());
        assert_eq!(Firebase::read(&json!({"rounds": 8})), None);
    }
}
