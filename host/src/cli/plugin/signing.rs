//! `nself plugin keygen` and `sign`: keys as minisign has them, and signatures that it verifies.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    super::{CliError, Context, Exit},
    check,
    password::PasswordArgs,
    trust::reload,
};
use crate::{
    loader::{Host, System, Trust, check, signature_of},
    minisign::{SecretKey, SecretKeyError},
    plugin::trust,
    whole_file::{PRIVATE, PUBLIC, WholeFile},
};

/// `nself plugin keygen`
#[derive(Debug, Clone, Args)]
pub struct Keygen {
    /// What the files are called: NAME.key stays yours, NAME.pub is for everybody
    pub name: PathBuf,
    /// Encrypt the key with nothing: whoever reads the file can sign
    #[arg(long, conflicts_with = "password_file")]
    pub no_password: bool,
    #[command(flatten)]
    pub password: PasswordArgs,
}

/// The key that signs.
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    /// Secret key file of `nself plugin keygen` or `minisign -G`
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub password: PasswordArgs,
    /// Days for which the signature is good [default: for ever]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=36_500))]
    pub expires: Option<u64>,
}

/// `nself plugin sign`
#[derive(Debug, Clone, Args)]
pub struct Sign {
    /// Plugin files; the signature of each goes into FILE.minisig
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub key: KeyArgs,
}

fn failed(error: SecretKeyError) -> CliError {
    CliError::of("SIGNING_KEY", Exit::BadData, &error)
}

fn unwritten(path: &Path, error: &io::Error) -> CliError {
    CliError::of("SIGNING_KEY", Exit::CannotCreate, error)
        .with_help(format!("make {} writable", path.display()))
}

impl KeyArgs {
    /// The key, if one is named.
    pub(super) fn open(&self) -> Result<Option<SecretKey>, CliError> {
        self.key
            .as_deref()
            .map(|file| self.open_file(file))
            .transpose()
    }

    fn open_file(&self, file: &Path) -> Result<SecretKey, CliError> {
        let text = fs::read_to_string(file).map_err(|error| {
            CliError::of("SIGNING_KEY", Exit::BadData, &error)
                .with_help(format!("is {} the secret key?", file.display()))
        })?;
        let text = Zeroizing::new(text);
        let about = |error: SecretKeyError| {
            failed(error).with_help(format!("is {} the secret key?", file.display()))
        };
        let password = if SecretKey::is_encrypted(&text).map_err(about)? {
            let question = format!("password of {}", file.display());
            Some(self.password.read(&question)?)
        } else {
            None
        };
        SecretKey::from_file(&text, password.as_ref().map(|password| password.as_str()))
            .map_err(about)
    }

    /// What a signature says of the file `name`, besides who made it. No time of day: the same file gives the same signature.
    pub(super) fn comment(&self, name: &str, about: &str) -> String {
        let until = self.expires.map(|days| {
            let until = SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60);
            until
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        });
        let expires = until.map(|until| format!("\texpires:{until}"));
        format!("file:{name}\t{about}{}", expires.unwrap_or_default())
    }
}

pub(super) fn keygen(context: &Context, args: &Keygen) -> Result<(), CliError> {
    let file = |ending: &str| {
        let mut name = args.name.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    };
    let (secret, public) = (file(".key"), file(".pub"));
    let password = if args.no_password {
        None
    } else {
        Some(new_password(&args.password)?)
    };
    let key = make(
        &secret,
        &public,
        password.as_ref().map(|password| password.as_str()),
    )?;
    let answer = json!({
        "key": key.public().to_string(), "key_id": key.public().id().to_string(), "secret": secret, "public": public,
    });
    context.output.answer(&answer, || {
        format!(
            "{}\nkeep {}; give {} to those who install what it signs: nself plugin trust add {}\n",
            key.public(),
            secret.display(),
            public.display(),
            key.public()
        )
    })
}

fn new_password(args: &PasswordArgs) -> Result<Zeroizing<String>, CliError> {
    let password = args.read("password of the new key")?;
    let refuse = |message: &str| {
        CliError::new("SIGNING_KEY", Exit::Usage, message)
            .with_help("a key without a password has to be asked for: --no-password")
    };
    if password.is_empty() {
        return Err(refuse("the password is empty"));
    }
    if args.password_file.is_none() && *args.read("the same again")? != *password {
        return Err(refuse("the passwords differ"));
    }
    Ok(password)
}

/// Makes a key and its two files. One that is there is never written over: with it, everything that it signed would lose its signer.
fn make(secret: &Path, public: &Path, password: Option<&str>) -> Result<SecretKey, CliError> {
    let key = SecretKey::generate().map_err(failed)?;
    let text = key.to_file(password).map_err(failed)?;
    write_new(secret, PRIVATE, text.as_bytes())?;
    write_new(public, PUBLIC, key.public().to_file().as_bytes())?;
    Ok(key)
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<(), CliError> {
    let write = || {
        let mut file = WholeFile::at(path, mode)?;
        io::Write::write_all(&mut file, bytes)?;
        file.place_new()
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let message = format!("{} is there already", path.display());
            CliError::new("SIGNING_KEY", Exit::CannotCreate, message)
                .with_help("choose another name, or move it away if nobody needs it")
        }
        _ => unwritten(path, &error),
    })
}

pub(super) fn sign(context: &Context, args: &Sign) -> Result<(), CliError> {
    let key = match args.key.open()? {
        Some(key) => key,
        None => own(context)?,
    };
    let system = System::detect();
    let mut signed = Vec::new();
    for file in &args.files {
        // Nobody signs what no host would take; who signed it before plays no part.
        let checked = check(file, &Host::this(&system, Trust::NONE))
            .map_err(|refusal| CliError::of("PLUGIN_REFUSED", Exit::BadData, &refusal))?;
        let (id, version) = (&checked.manifest.id, &checked.manifest.version);
        let about = format!("plugin:{id}\tversion:{version}");
        let comment = args.key.comment(&name_of(file), &about);
        let signature = key.sign(&checked.bytes, &comment);
        let text = signature.map_err(failed)?.to_string();
        let beside = signature_of(file);
        WholeFile::write(&beside, PUBLIC, text.as_bytes())
            .map_err(|error| unwritten(&beside, &error))?;
        signed.push(json!({"file": file, "signature": beside, "id": id, "version": version}));
    }
    let key_id = key.public().id().to_string();
    let answer = json!({"key": key.public().to_string(), "key_id": key_id, "signed": signed});
    context.output.answer(&answer, || {
        let files = signed.iter().map(|one: &Value| {
            let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} signed by {key_id}: {}\n",
                word("id"),
                word("version"),
                word("signature")
            )
        });
        files.collect()
    })
}

/// A file's own name, fit for a comment: blanks part the fields of one.
pub(super) fn name_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.replace(
        |letter: char| letter.is_whitespace() || letter.is_control(),
        "_",
    )
}

/// The machine's own key, made when it is needed first.
fn own(context: &Context) -> Result<SecretKey, CliError> {
    let (config, _) = context.config()?;
    let (secret, public) = trust::own_key(&config);
    if secret.exists() {
        let text = fs::read_to_string(&secret).map_err(|error| unwritten(&secret, &error))?;
        return SecretKey::from_file(&Zeroizing::new(text), None).map_err(failed);
    }
    // Passable and not listable, as the host makes it.
    let state = config.state_directory();
    let made = DirBuilder::new().recursive(true).mode(0o711).create(&state);
    made.map_err(|error| unwritten(&state, &error))?;
    let key = make(&secret, &public, None)?;
    reload(context)?;
    Ok(key)
}

/// Whether a file passes as one that may run here; for what is about to be put into the plugin directory.
pub(super) fn admissible(
    context: &Context,
    file: &Path,
) -> Result<crate::loader::CheckedPlugin, CliError> {
    let trust = check::trusted(context)?;
    check(file, &Host::this(&System::detect(), &trust))
        .map_err(|refusal| CliError::of("PLUGIN_REFUSED", Exit::BadData, &refusal))
}
