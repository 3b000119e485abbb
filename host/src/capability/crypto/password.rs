//! Password hashes: Argon2id (RFC 9106) as PHC strings, with the parameters that OWASP's cheat sheet names first. Those of
//! other kinds are checked, too (`foreign.rs`).

use argon2::{
    ARGON2I_IDENT, ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};

use super::{CryptoError, foreign::Foreign};

/// Longest password in bytes. Nobody types more, and hashing costs by the byte.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// Most memory that a stored hash may ask for, in KiB: 256 MiB.
pub const HASH_MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Most passes that a stored hash may ask for.
pub const HASH_PASSES_MAX: u32 = 10;

/// Most lanes that a stored hash may ask for. They are worked one after the other.
pub const HASH_LANES_MAX: u32 = 16;

/// Memory of a new hash in KiB.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes over it.
const PASSES: u32 = 2;

/// Bytes of a new salt.
const SALT_LEN: usize = 16;

/// Bytes of a new hash.
const OUTPUT_LEN: usize = 32;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    Wrong = 0,
    Right = 1,
    /// Right, and the hash is weaker than a new one would be.
    RightAndOutdated = 2,
}

/// The memory of a hash, kept from hash to hash: to get 19 MiB from the system and give it back each time
/// costs more page faults than the hash costs time. It is overwritten by the next hash, and holds no password.
#[derive(Default)]
pub(super) struct Arena(Vec<Block>);

impl Arena {
    /// A PHC string for `password`.
    pub(super) fn hash(&mut self, password: &[u8]) -> Result<String, CryptoError> {
        let failed = |_| CryptoError::Library("hash a password");
        let mut salt = [0; SALT_LEN];
        aws_lc_rs::rand::fill(&mut salt).map_err(|_| CryptoError::Library("make a salt"))?;
        let params = current();
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let output = self.derive(&argon2, password, &salt, OUTPUT_LEN)?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&params)
                .map_err(|_| CryptoError::Library("write a hash"))?,
            salt: Some(Salt::new(&salt).map_err(failed)?),
            hash: Some(output),
        };
        Ok(hash.to_string())
    }

    /// Whether `stored` is the hash of `password`.
    pub(super) fn check(&mut self, password: &[u8], stored: &Stored) -> Result<Check, CryptoError> {
        let (is_right, is_outdated) = match stored {
            Stored::Argon2(stored) => {
                let length = stored.output.len();
                let output = self.derive(&stored.argon2, password, &stored.salt, length)?;
                // `Output` compares in constant time.
                (output == stored.output, stored.is_outdated())
            }
            Stored::Foreign(foreign) => (foreign.fits(password)?, true),
        };
        Ok(match (is_right, is_outdated) {
            (false, _) => Check::Wrong,
            (true, false) => Check::Right,
            (true, true) => Check::RightAndOutdated,
        })
    }

    fn derive(
        &mut self,
        argon2: &Argon2<'_>,
        password: &[u8],
        salt: &[u8],
        length: usize,
    ) -> Result<Output, CryptoError> {
        let failed = CryptoError::Library("hash a password");
        let mut output = [0; Output::MAX_LENGTH];
        let output = output.get_mut(..length).ok_or(CryptoError::HashInvalid)?;
        let blocks = argon2.params().block_count();
        // A stored hash with more memory than usual must not make the thread keep that much for ever.
        let mut extra = Vec::new();
        let memory = if blocks > current().block_count() {
            &mut extra
        } else {
            &mut self.0
        };
        if memory.len() < blocks {
            memory.resize(blocks, Block::default());
        }
        argon2
            .hash_password_into_with_memory(password, salt, output, &mut memory[..blocks])
            .map_err(|_| failed)?;
        Output::new(output).map_err(|_| CryptoError::HashInvalid)
    }
}

fn current() -> Params {
    Params::new(MEMORY_KIB, PASSES, 1, None).expect("the parameters are within Argon2's")
}

/// A stored hash, read and found to be within the limits.
pub(super) enum Stored {
    Argon2(Box<StoredArgon2>),
    Foreign(Foreign),
}

impl Stored {
    /// Reads a PHC string, or a hash of another system.
    pub(super) fn parse(text: &[u8]) -> Result<Self, CryptoError> {
        let read = || {
            let text = std::str::from_utf8(text).ok()?;
            let argon2 = StoredArgon2::read(text).map(|stored| Self::Argon2(Box::new(stored)));
            argon2.or_else(|| Foreign::read(text).map(Self::Foreign))
        };
        read().ok_or(CryptoError::HashInvalid)
    }
}

/// A hash of Argon2.
pub(super) struct StoredArgon2 {
    argon2: Argon2<'static>,
    is_id: bool,
    salt: Salt,
    output: Output,
}

impl StoredArgon2 {
    fn read(text: &str) -> Option<Self> {
        let hash = PasswordHash::new(text).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let within = params.m_cost() <= HASH_MEMORY_KIB_MAX
            && params.t_cost() <= HASH_PASSES_MAX
            && params.p_cost() <= HASH_LANES_MAX;
        let is_id = hash.algorithm == ARGON2ID_IDENT;
        if !within || !(is_id || hash.algorithm == ARGON2I_IDENT) {
            return None;
        }
        let algorithm = if is_id {
            Algorithm::Argon2id
        } else {
            Algorithm::Argon2i
        };
        // Strings without a version are of the first one: the field is younger than the format.
        let version = hash
            .version
            .map_or(Ok(Version::V0x10), Version::try_from)
            .ok()?;
        Some(Self {
            argon2: Argon2::new(algorithm, version, params),
            is_id,
            salt: hash.salt?,
            output: hash.hash?,
        })
    }

    fn is_outdated(&self) -> bool {
        let params = self.argon2.params();
        !self.is_id
            || params.m_cost() < MEMORY_KIB
            || params.t_cost() < PASSES
            || self.output.len() < OUTPUT_LEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORRECT: &[u8] = b"correct horse battery staple";

    fn check(password: &[u8], stored: &str) -> Check {
        let stored = Stored::parse(stored.as_bytes()).expect("the hash is readable");
        Arena::default()
            .check(password, &stored)
            .expect("hashing works")
    }

    fn hash(memory_kib: u32, passes: u32, lanes: u32) -> String {
        let params =
            Params::new(memory_kib, passes, lanes, None).expect("the parameters are Argon2's");
        let mut output = [0; OUTPUT_LEN];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(CORRECT, b"salt of a test..", &mut output)
            .expect("hashing works");
        let [salt, output] = [&b"salt of a test.."[..], &output].map(|bytes| {
            use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
            STANDARD_NO_PAD.encode(bytes)
        });
        format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${output}")
    }

    #[test]
    fn a_new_hash_is_a_phc_string_and_fits_its_password_only() {
        let mut arena = Arena::default();
        let [first, second] =
            [CORRECT, CORRECT].map(|password| arena.hash(password).expect("hashing works"));
        assert!(
            first.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{first}"
        );
        assert_ne!(first, second, "each has a salt of its own");
        assert_eq!(check(CORRECT, &first), Check::Right);
        assert_eq!(check(b"correct horse battery staplf", &first), Check::Wrong);
        assert_eq!(check(b"", &first), Check::Wrong);
    }

    #[test]
    fn foreign_parameters_are_understood_and_weak_ones_told() {
        assert_eq!(
            check(CORRECT, &hash(19 * 1024, 2, 4)),
            Check::Right,
            "lanes are no weakness"
        );
        assert_eq!(
            check(CORRECT, &hash(32 * 1024, 2, 1)),
            Check::Right,
            "more memory than the arena"
        );
        assert_eq!(check(CORRECT, &hash(1024, 3, 1)), Check::RightAndOutdated);
        assert_eq!(
            check(CORRECT, &hash(32 * 1024, 1, 1)),
            Check::RightAndOutdated
        );
        assert_eq!(check(b"x", &hash(1024, 3, 1)), Check::Wrong);
    }

    /// The vector of the reference implementation's tests (`src/test.c`).
    #[test]
    fn a_hash_of_the_reference_implementation_is_right() {
        let stored = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(check(b"password", stored), Check::Right);
    }

    /// Of the reference implementation's tests, too.
    #[test]
    fn other_kinds_are_right_and_outdated() {
        let argon2i =
            "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
        assert_eq!(check(b"password", argon2i), Check::RightAndOutdated);
        let bcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert_eq!(check(b"U*U", bcrypt), Check::RightAndOutdated);
        assert_eq!(check(b"U*V", bcrypt), Check::Wrong);
    }

    #[test]
    fn a_hash_that_is_none_or_asks_for_too_much_is_refused() {
        let good = hash(1024, 2, 1);
        for bad in [
            String::new(),
            "x".to_owned(),
            "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMU".to_owned(),
            good.replace("argon2id", "argon2d"),
            good.replace("v=19", "v=20"),
            good.replace("m=1024", "m=262145"),
            good.replace("m=1024", "m=7"),
            good.replace("m=1024", "m=99999999999999"),
            good.replace("t=2", "t=11"),
            good.replace("t=2", "t=0"),
            good.replace("p=1", "p=17"),
            good.replace("p=1", "p=0"),
            good[..good.rfind('$').expect("it has fields")].to_owned(),
            "$argon2id$v=19$m=1024,t=2,p=1".to_owned(),
            format!("{good}$"),
        ] {
            let code = Stored::parse(bad.as_bytes())
                .err()
                .map(|error| error.code());
            assert_eq!(code, Some("HASH_INVALID"), "{bad}");
        }
        assert!(Stored::parse(b"\xff$argon2id").is_err());
    }
}
