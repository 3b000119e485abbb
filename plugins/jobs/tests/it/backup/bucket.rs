//! Archives lie in the operator's bucket once more: whole, the newest only, or with an error that says so.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nself_plugin_testkit::{TestHost, TestHostBuilder, eventually};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{fs, net::TcpListener, task::JoinHandle};

use super::{Programs, backup, builder, config, files, folder};
use crate::stage::{enqueue, until};

/// The key that the server knows, and its secret.
const KEY: &str = "ARCHIVES";
const SECRET: &str = "a-secret-of-the-bucket";

/// What goes wrong at the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// It takes no second part.
    SecondPart,
    /// It gives back something else than it was given.
    OtherBytes,
}

impl Fault {
    /// The answer to a request that this fault concerns.
    fn answer(self, request: &Request<Incoming>) -> Option<Response<s3s::Body>> {
        let query = request.uri().query().unwrap_or_default();
        let answer = match self {
            Self::SecondPart if query.contains("partNumber=2") => Response::builder()
                .status(507)
                .body("no room".to_owned().into()),
            Self::OtherBytes if request.method() == "GET" && !query.contains("list-type") => {
                Response::builder().body("something else".to_owned().into())
            }
            _ => return None,
        };
        Some(answer.expect("an answer"))
    }
}

/// An S3 server of somebody else, which checks signatures, and where its objects lie.
struct Server {
    address: SocketAddr,
    directory: TempDir,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::with(Fault::Nothing).await
    }

    async fn with(fault: Fault) -> Self {
        let directory = folder();
        let bucket = directory.path().join("archives");
        fs::create_dir(&bucket).await.expect("there is room");
        let files = FileSystem::new(directory.path()).expect("it is there");
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(KEY, SECRET));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                let serve = service_fn(move |request: Request<Incoming>| {
                    let (service, faulty) = (service.clone(), fault.answer(&request));
                    async move {
                        match faulty {
                            Some(answer) => Ok(answer),
                            None => answered(&service, request).await,
                        }
                    }
                });
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                // It ends with its client.
                tokio::spawn(async { _ = connection.await });
            }
        });
        Self {
            address,
            directory,
            serving,
        }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder in which the objects below `home/` lie.
    fn home(&self) -> PathBuf {
        self.directory.path().join("archives/home")
    }

    /// The names of all objects below `home/`.
    fn objects(&self) -> Vec<String> {
        // The server makes the folder for its first object.
        if self.home().exists() {
            files(&self.home())
        } else {
            Vec::new()
        }
    }
}

/// What the server answers. Its lists lack the tags of their objects, which S3 always names and clients rely on.
async fn answered(
    service: &S3Service,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    let is_list = request
        .uri()
        .query()
        .is_some_and(|query| query.contains("list-type"));
    let answer = service.call(request.map(s3s::Body::from)).await?;
    if !is_list {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    let list = body.collect().await.expect("a list").to_bytes();
    let list = String::from_utf8_lossy(&list).replace("<Contents>", "<Contents><ETag>\"0\"</ETag>");
    head.headers.remove("content-length");
    Ok(Response::from_parts(head, list.into()))
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A host whose archives go to that endpoint, signed with that secret.
fn with(programs: &Programs, archives: &Path, endpoint: &str, secret: &str) -> TestHostBuilder {
    let bucket = format!(
        "[database.backup_bucket]\nendpoint = \"{endpoint}\"\nname = \"archives\"\nprefix = \"home/\"
         access_key = \"{KEY}\"\nsecret = \"backup-bucket\""
    );
    builder()
        .config(&config(programs, archives))
        .config(&bucket)
        .secret("backup-bucket", secret)
}

/// An archive that is not copied into the bucket; what its job says.
async fn refused(endpoint: &str, secret: &str) -> (Value, Vec<String>) {
    let (archives, programs) = (folder(), Programs::real());
    let host = with(&programs, archives.path(), endpoint, secret)
        .start()
        .await;
    let once = json!({"attempts_max": 1});
    let id = enqueue(&host, "jobs.db_backup", json!({}), once).await;
    let job = until(&host, id, "discarded").await;
    host.stop().await;
    (job, files(archives.path()))
}

/// More than a part of what does not compress: 24 MB.
async fn noise(host: &TestHost) {
    let sql = "create table public.noise as
        select sha512(n::text::bytea) || sha512((-n)::text::bytea) as bytes from generate_series(1, 190000) n";
    let noise = host.sql().await.batch_execute(sql).await;
    noise.expect("a table");
}

/// Every byte of an archive is in its object.
async fn whole(object: &Path, archive: &Path) {
    let [object, archive] = [fs::read(object).await, fs::read(archive).await];
    let same = object.expect("it is there") == archive.expect("it is here, too");
    assert!(same, "the object is the archive");
}

#[tokio::test]
async fn an_archive_lies_in_the_bucket_once_more_and_older_ones_of_its_name_go() {
    let (server, archives, programs) = (Server::start().await, folder(), Programs::real());
    let host = with(&programs, archives.path(), &server.endpoint(), SECRET)
        .start()
        .await;
    let weekly = backup(&host, json!({"name": "weekly"})).await;
    let first = backup(&host, json!({"name": "nightly", "keep": 1})).await;
    let second = backup(&host, json!({"name": "nightly", "keep": 1})).await;
    assert_eq!(second["removed"], json!([first["file"]]));
    let mut left = [&weekly, &second].map(|one| one["file"].as_str().expect("a name"));
    left.sort_unstable();
    assert_eq!(server.objects(), left);
    for one in [&weekly, &second] {
        let file = one["file"].as_str().expect("a name");
        assert_eq!(one["object"], format!("s3://archives/home/{file}"));
        whole(&server.home().join(file), &archives.path().join(file)).await;
    }
    host.stop().await;
}

#[tokio::test]
async fn a_large_archive_goes_in_parts_and_is_whole_all_the_same() {
    let (server, archives, programs) = (Server::start().await, folder(), Programs::real());
    let host = with(&programs, archives.path(), &server.endpoint(), SECRET)
        .start()
        .await;
    noise(&host).await;
    let made = backup(&host, json!({})).await;
    let file = made["file"].as_str().expect("a name");
    let bytes = made["bytes"].as_u64().expect("a size");
    assert!(bytes > 16 * 1024 * 1024, "{bytes} bytes are one part");
    whole(&server.home().join(file), &archives.path().join(file)).await;
    host.stop().await;
}

#[tokio::test]
async fn a_bucket_that_refuses_fails_the_job_and_the_archive_stays_here() {
    let server = Server::start().await;
    let (job, here) = refused(&server.endpoint(), "another-secret").await;
    assert_eq!(job["error"]["code"], "DUMP_UPLOAD", "{job}");
    assert!(!job.to_string().contains("another-secret"), "{job}");
    assert_eq!(here.len(), 1);
    assert_eq!(server.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_no_parts_behind() {
    let (server, archives, programs) = (
        Server::with(Fault::SecondPart).await,
        folder(),
        Programs::real(),
    );
    let host = with(&programs, archives.path(), &server.endpoint(), SECRET)
        .start()
        .await;
    noise(&host).await;
    let once = json!({"attempts_max": 1});
    let id = enqueue(&host, "jobs.db_backup", json!({}), once).await;
    let job = until(&host, id, "discarded").await;
    assert_eq!(job["error"]["code"], "DUMP_UPLOAD", "{job}");
    eventually("the part that was sent is given up", async || {
        let entries = std::fs::read_dir(server.directory.path()).expect("it is there");
        let mut names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .all(|name| !name.to_string_lossy().contains(".part-"))
            .then_some(())
    })
    .await;
    assert_eq!(server.objects(), Vec::<String>::new());
    host.stop().await;
}

#[tokio::test]
async fn what_comes_back_other_than_it_was_sent_does_not_stay_in_the_bucket() {
    let server = Server::with(Fault::OtherBytes).await;
    let (job, here) = refused(&server.endpoint(), SECRET).await;
    assert_eq!(job["error"]["code"], "DUMP_UPLOAD", "{job}");
    assert_eq!(here.len(), 1);
    assert_eq!(server.objects(), Vec::<String>::new());
}

#[tokio::test]
async fn a_bucket_that_is_away_fails_the_job_and_the_archive_stays_here() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = listener.local_addr().expect("its address");
    drop(listener);
    let (job, here) = refused(&format!("http://{nobody}"), SECRET).await;
    assert_eq!(job["error"]["code"], "DUMP_UPLOAD", "{job}");
    assert_eq!(here.len(), 1);
}
