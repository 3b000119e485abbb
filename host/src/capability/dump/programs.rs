//! `pg_dump` and `pg_restore`: run with the database in their environment, killed when nobody waits for them.

use std::{
    env,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;
use tokio::{
    fs::OpenOptions,
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdout, Command},
};

use super::{DumpError, wanted::Wanted};
use crate::postgres::{
    binaries::{self, Binaries, Search},
    connect::Target,
};

const DUMP: &str = "pg_dump";
const RESTORE: &str = "pg_restore";

/// What every dump is told. A table that somebody has locked is not waited for without an end: a host that is killed meanwhile
/// could not end the program, and the program would not learn of it before it writes.
const ARGUMENTS: [&str; 3] = [
    "--format=custom",
    "--no-password",
    "--lock-wait-timeout=60s",
];

/// What is kept of a program's complaints, bytes.
const TOLD_BYTES_MAX: u64 = 4_096;
const CHUNK_BYTES: usize = 256 * 1_024;

/// The programs, and the database that they are for.
pub(super) struct Programs<'a> {
    dump: PathBuf,
    restore: PathBuf,
    target: &'a Target,
}

/// What was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl<'a> Programs<'a> {
    /// Those beside the server's programs, else those on the path.
    pub(super) async fn find(search: &Search, target: &'a Target) -> Result<Self, DumpError> {
        let search = search.clone();
        let found = tokio::task::spawn_blocking(move || {
            let binaries = Binaries::find(&search).ok();
            [DUMP, RESTORE].map(|name| program(binaries.as_ref(), name).ok_or(name))
        });
        let run = |error: tokio::task::JoinError| DumpError::Run(DUMP, error.into());
        let [dump, restore] = found.await.map_err(run)?;
        Ok(Self {
            dump: dump.map_err(DumpError::Missing)?,
            restore: restore.map_err(DumpError::Missing)?,
            target,
        })
    }

    /// Writes an archive into `file`, which is on the disk then.
    pub(super) async fn dump(&self, wanted: &Wanted, file: &Path) -> Result<Written, DumpError> {
        let mut dump = command(&self.dump);
        dump.args(ARGUMENTS).args(wanted.arguments());
        dump.envs(self.target.environment());
        let mut child = spawn(DUMP, dump.stdout(Stdio::piped()))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (written, told) = tokio::join!(write(stdout, file), told(stderr));
        let ended = child.wait().await;
        // When the disk is full, the program only says that nobody reads what it writes.
        let written = written.map_err(|source| DumpError::File {
            directory: file.parent().unwrap_or(file).to_owned(),
            source,
        })?;
        succeeded(DUMP, ended, &told)?;
        Ok(written)
    }

    /// Reads the archive back: the list of what is in it, and then all of that. How many tables.
    pub(super) async fn read(&self, file: &Path) -> Result<u64, DumpError> {
        let mut list = command(&self.restore);
        list.arg("--list").arg(file).stdout(Stdio::piped());
        let list = output(&mut list).await?;
        // As the script that would restore it, which goes nowhere. The list alone would not show that rows are missing.
        let mut whole = command(&self.restore);
        whole
            .arg("--file=/dev/null")
            .arg(file)
            .stdout(Stdio::null());
        output(&mut whole).await?;
        let list = String::from_utf8_lossy(&list);
        let tables = list.lines().filter(|line| is_table(line)).count();
        Ok(u64::try_from(tables).unwrap_or(u64::MAX))
    }
}

/// What `pg_restore` writes, once it has succeeded.
async fn output(command: &mut Command) -> Result<Vec<u8>, DumpError> {
    let mut child = spawn(RESTORE, command)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let read = async {
        let mut read = Vec::new();
        if let Some(mut stdout) = stdout {
            stdout.read_to_end(&mut read).await?;
        }
        Ok(read)
    };
    let (read, told) = tokio::join!(read, told(stderr));
    succeeded(RESTORE, child.wait().await, &told)?;
    read.map_err(|error| DumpError::Run(RESTORE, error))
}

fn command(program: &Path) -> Command {
    let mut command = Command::from(binaries::command(program));
    command
        .env("PGAPPNAME", "nself dump")
        .env("PGCONNECT_TIMEOUT", "10")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn program(binaries: Option<&Binaries>, name: &str) -> Option<PathBuf> {
    let beside = binaries.and_then(|binaries| binaries.optional(name));
    beside.or_else(|| {
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .map(|directory| directory.join(name))
            .find(|program| program.is_file())
    })
}

fn spawn(program: &'static str, command: &mut Command) -> Result<Child, DumpError> {
    command
        .spawn()
        .map_err(|error| DumpError::Run(program, error))
}

/// Writes what comes into `file`, all of it to the disk.
async fn write(from: Option<ChildStdout>, file: &Path) -> std::io::Result<Written> {
    let mut archive = OpenOptions::new().write(true).open(file).await?;
    let mut sha256 = digest::Context::new(&digest::SHA256);
    let mut bytes = 0;
    if let Some(mut from) = from {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                break;
            }
            sha256.update(&chunk[..length]);
            archive.write_all(&chunk[..length]).await?;
            bytes += u64::try_from(length).unwrap_or_default();
        }
    }
    archive.flush().await?;
    archive.sync_all().await?;
    Ok(Written {
        bytes,
        sha256: HEXLOWER.encode(sha256.finish().as_ref()),
    })
}

/// The beginning of what a program complains of; the rest is read and dropped, so that it goes on.
async fn told(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stderr) = stderr else {
        return String::new();
    };
    let mut told = Vec::new();
    // A program whose complaints cannot be read is judged by how it ends.
    let _ = (&mut stderr)
        .take(TOLD_BYTES_MAX)
        .read_to_end(&mut told)
        .await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&told).trim().to_owned()
}

fn succeeded(
    program: &'static str,
    ended: std::io::Result<ExitStatus>,
    told: &str,
) -> Result<(), DumpError> {
    let ended = ended.map_err(|error| DumpError::Run(program, error))?;
    if ended.success() {
        return Ok(());
    }
    let told = format!("{ended} {told}").trim_end().to_owned();
    Err(DumpError::Program { program, told })
}

/// Whether a line of the list is that of a table, as `215; 1259 16401 TABLE public users nself` is. Others say `TABLE DATA` and
/// `TABLE ATTACH`; comments begin with a semicolon.
fn is_table(line: &str) -> bool {
    let mut words = line.split(' ').skip(3);
    !line.starts_with(';')
        && words.next() == Some("TABLE")
        && !matches!(words.next(), Some("DATA" | "ATTACH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_line(line: &str, expected: bool) {
        assert_eq!(is_table(line), expected, "{line}");
    }

    #[test]
    fn the_tables_of_a_list_are_counted() {
        check_line("215; 1259 16401 TABLE public users nself", true);
        check_line("3455; 0 16401 TABLE DATA public users nself", false);
        check_line("3301; 0 0 TABLE ATTACH public audit_2030_01 nself", false);
        check_line("216; 1259 16409 VIEW public people nself", false);
        check_line(";     TOC Entries: TABLE 216", false);
        check_line("", false);
    }
}
