//! A bucket of an S3 endpoint in which archives lie once more: the machine that they are made on may be the one that is lost.
//!
//! Requests are signed by their address (AWS Signature Version 4 in the query), so that no secret is in a header that a proxy
//! might log, and an address is good for some minutes only. What was sent is read back and compared before it counts.

use std::{path::Path, time::Duration};

use aws_lc_rs::digest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use http::{Method, Request, Response, header::ETAG};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rusty_s3::{
    Bucket as Place, Credentials, S3Action, UrlStyle,
    actions::{CreateMultipartUpload, ListObjectsV2},
};
use tokio::{
    fs::File,
    io::AsyncReadExt as _,
    runtime::Handle,
    time::{sleep, timeout},
};
use tracing::warn;
use url::Url;

use super::shelf::name_of;

/// What is sent at once, and so what an upload takes of memory. S3 takes 5 MiB and more, and 10,000 of them.
const PART_BYTES: u64 = 16 * 1024 * 1024;
const PARTS_MAX: u64 = 10_000;
/// For one request, with a part on a slow line.
const REQUEST_LIMIT: Duration = Duration::from_secs(600);
/// For the next piece of what is read back.
const PIECE_LIMIT: Duration = Duration::from_secs(60);
/// How long an address may be used; the clocks of both sides may differ by some minutes.
const SIGNED_FOR: Duration = Duration::from_secs(900);
/// A request that the other side could not answer is made again after this pause, and after twice as long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 3;
/// Of an answer that is read as text: a thousand names of objects, or why not.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where it is and who may write there.
#[derive(Debug, Clone)]
pub struct BucketSettings {
    /// Such as `https://s3.eu-central-1.amazonaws.com`.
    pub endpoint: String,
    /// Such as `eu-central-1`.
    pub region: String,
    /// Its name.
    pub bucket: String,
    /// What the keys of all objects begin with.
    pub prefix: String,
    /// Whose key it is.
    pub access_key: String,
    /// The secret of that key.
    pub secret_key: crate::config::Secret,
}

/// Why nothing is there.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The settings name no place.
    #[error("endpoint and bucket do not name a place: {0}")]
    Place(String),
    /// Nobody answered.
    #[error("no answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer in time")]
    Late,
    /// The other side refused.
    #[error("answered {status} {code}")]
    Refused {
        /// HTTP's.
        status: u16,
        /// S3's, such as `AccessDenied`.
        code: String,
    },
    /// An answer that S3 does not give.
    #[error("its answer is not S3's: {what}")]
    Answer {
        /// What it should have been.
        what: &'static str,
        /// Why it is not.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// What was read back is not what was sent.
    #[error("what was read back is not what was sent")]
    Differs,
    /// The archive cannot be read.
    #[error("the archive cannot be read")]
    File(#[from] std::io::Error),
}

impl BucketError {
    fn answer(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = Some(source.into());
        Self::Answer { what, source }
    }
}

/// A bucket that can be written to.
#[derive(Clone)]
pub struct Bucket {
    place: Place,
    credentials: Credentials,
    prefix: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Bucket {
    /// The bucket of these settings; nothing is asked yet.
    ///
    /// # Errors
    ///
    /// [`BucketError::Place`].
    pub fn new(settings: &BucketSettings, tls: rustls::ClientConfig) -> Result<Self, BucketError> {
        let endpoint: Url = settings
            .endpoint
            .parse()
            .map_err(|error: url::ParseError| BucketError::Place(error.to_string()))?;
        // Every server knows this form; names in the host need a certificate and a name server that play along.
        let place = Place::new(
            endpoint,
            UrlStyle::Path,
            settings.bucket.clone(),
            settings.region.clone(),
        )
        .map_err(|error| BucketError::Place(error.to_string()))?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            place,
            credentials: Credentials::new(
                settings.access_key.clone(),
                settings.secret_key.expose().to_owned(),
            ),
            prefix: settings.prefix.clone(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Puts the archive at `path` there under the name `file`, and reads it back; its address as `s3://bucket/key`.
    pub(super) async fn put(
        &self,
        path: &Path,
        file: &str,
        sha256: &str,
    ) -> Result<String, BucketError> {
        let key = format!("{}{file}", self.prefix);
        let mut archive = File::open(path).await?;
        let bytes = archive.metadata().await?.len();
        if bytes <= PART_BYTES {
            let whole = next_part(&mut archive, PART_BYTES).await?;
            let action = self.place.put_object(Some(&self.credentials), &key);
            self.send(Method::PUT, || action.sign(SIGNED_FOR), whole)
                .await?;
        } else {
            let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
            Upload::begin(self, &key)
                .await?
                .send(&mut archive, part_bytes)
                .await?;
        }
        if self.read_back(&key).await? != sha256 {
            self.delete(&key).await?;
            return Err(BucketError::Differs);
        }
        Ok(format!("s3://{}/{key}", self.place.name()))
    }

    /// Removes archives of `name` until there are `keep`: the newest, and `made` whatever the clock has done.
    pub(super) async fn prune(
        &self,
        name: &str,
        made: &str,
        keep: usize,
    ) -> Result<(), BucketError> {
        let mut older = self.files(name).await?;
        older.retain(|file| file != made);
        older.sort_unstable();
        older.truncate(older.len().saturating_sub(keep.saturating_sub(1)));
        for file in older {
            self.delete(&format!("{}{file}", self.prefix)).await?;
        }
        Ok(())
    }

    async fn files(&self, name: &str) -> Result<Vec<String>, BucketError> {
        let mut files = Vec::new();
        let mut next = None;
        loop {
            let mut action = self.place.list_objects_v2(Some(&self.credentials));
            action.with_prefix(format!("{}{name}-", self.prefix));
            if let Some(next) = next {
                action.with_continuation_token(next);
            }
            let answer = self
                .send(Method::GET, || action.sign(SIGNED_FOR), Bytes::new())
                .await?;
            let listed = ListObjectsV2::parse_response(&text(answer).await?)
                .map_err(|error| BucketError::answer("a list of objects", error))?;
            let keys = listed.contents.iter().map(|object| &object.key);
            let of_name = keys.filter_map(|key| key.strip_prefix(&self.prefix));
            files.extend(
                of_name
                    .filter(|file| name_of(file) == Some(name))
                    .map(str::to_owned),
            );
            next = listed.next_continuation_token;
            if next.is_none() {
                return Ok(files);
            }
        }
    }

    async fn read_back(&self, key: &str) -> Result<String, BucketError> {
        let action = self.place.get_object(Some(&self.credentials), key);
        let answer = self
            .send(Method::GET, || action.sign(SIGNED_FOR), Bytes::new())
            .await?;
        let mut sha256 = digest::Context::new(&digest::SHA256);
        let mut body = answer.into_body();
        loop {
            let piece = timeout(PIECE_LIMIT, body.frame()).await;
            let Some(frame) = piece.map_err(|_| BucketError::Late)? else {
                return Ok(HEXLOWER.encode(sha256.finish().as_ref()));
            };
            let frame = frame.map_err(|error| BucketError::Unreachable(error.into()))?;
            if let Some(data) = frame.data_ref() {
                sha256.update(data);
            }
        }
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        let action = self.place.delete_object(Some(&self.credentials), key);
        self.send(Method::DELETE, || action.sign(SIGNED_FOR), Bytes::new())
            .await?;
        Ok(())
    }

    /// Sends a request, again when the other side is away or at its limits; an answer that is none of success is an error.
    async fn send(
        &self,
        method: Method,
        address: impl Fn() -> Url,
        body: Bytes,
    ) -> Result<Response<Incoming>, BucketError> {
        let mut attempt = 1;
        loop {
            let sent = timeout(
                REQUEST_LIMIT,
                self.send_once(method.clone(), address(), body.clone()),
            );
            let error = match sent.await.unwrap_or(Err(BucketError::Late)) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if attempt == ATTEMPTS || !may_pass(&error) {
                return Err(error);
            }
            sleep(RETRY_PAUSE * attempt).await;
            attempt += 1;
        }
    }

    async fn send_once(
        &self,
        method: Method,
        address: Url,
        body: Bytes,
    ) -> Result<Response<Incoming>, BucketError> {
        let request = Request::builder()
            .method(method)
            .uri(address.as_str())
            .body(Full::new(body))
            .map_err(|error| BucketError::Place(error.to_string()))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| BucketError::Unreachable(error.into()))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let code = text(answer).await.ok().and_then(|text| code_of(&text));
        Err(BucketError::Refused {
            status: status.as_u16(),
            code: code.unwrap_or_default(),
        })
    }
}

/// An upload in parts. Dropped before its end, what was sent of it is given up: the other side would keep it, and bill it.
struct Upload<'a> {
    bucket: &'a Bucket,
    key: &'a str,
    id: String,
    is_over: bool,
}

impl<'a> Upload<'a> {
    async fn begin(bucket: &'a Bucket, key: &'a str) -> Result<Self, BucketError> {
        let action = bucket
            .place
            .create_multipart_upload(Some(&bucket.credentials), key);
        let answer = bucket
            .send(Method::POST, || action.sign(SIGNED_FOR), Bytes::new())
            .await?;
        let begun = CreateMultipartUpload::parse_response(&text(answer).await?)
            .map_err(|error| BucketError::answer("the id of an upload", error))?;
        Ok(Self {
            bucket,
            key,
            id: begun.upload_id().to_owned(),
            is_over: false,
        })
    }

    async fn send(mut self, archive: &mut File, part_bytes: u64) -> Result<(), BucketError> {
        let Self {
            bucket, key, id, ..
        } = &self;
        let (place, credentials) = (&bucket.place, Some(&bucket.credentials));
        let mut tags = Vec::new();
        loop {
            let part = next_part(archive, part_bytes).await?;
            if part.is_empty() {
                break;
            }
            let number = u16::try_from(tags.len() + 1)
                .map_err(|error| BucketError::answer("room for so many parts", error))?;
            let action = place.upload_part(credentials, key, number, id);
            let answer = bucket
                .send(Method::PUT, || action.sign(SIGNED_FOR), part)
                .await?;
            let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
            tags.push(
                tag.ok_or(BucketError::Answer {
                    what: "the tag of a part",
                    source: None,
                })?
                .to_owned(),
            );
        }
        let complete = || {
            let tags = tags.iter().map(String::as_str);
            place.complete_multipart_upload(credentials, key, id, tags)
        };
        let body = Bytes::from(complete().body());
        let answer = bucket
            .send(Method::POST, || complete().sign(SIGNED_FOR), body)
            .await?;
        // S3 begins its answer before it knows, and may say 200 of what has failed.
        if let Some(code) = code_of(&text(answer).await?) {
            return Err(BucketError::Refused { status: 200, code });
        }
        self.is_over = true;
        Ok(())
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let (bucket, key, id) = (
            self.bucket.clone(),
            self.key.to_owned(),
            std::mem::take(&mut self.id),
        );
        Handle::current().spawn(async move {
            let action = bucket
                .place
                .abort_multipart_upload(Some(&bucket.credentials), &key, &id);
            let given_up = bucket
                .send(Method::DELETE, || action.sign(SIGNED_FOR), Bytes::new())
                .await;
            if let Err(error) = given_up {
                warn!(key, %error, "parts of an archive that was not sent to its end stay in the bucket");
            }
        });
    }
}

/// Whether it may go better a moment later.
fn may_pass(error: &BucketError) -> bool {
    match error {
        BucketError::Unreachable(_) | BucketError::Late => true,
        BucketError::Refused { status, .. } => matches!(status, 429 | 500 | 502..=504),
        _ => false,
    }
}

async fn next_part(archive: &mut File, bytes: u64) -> Result<Bytes, BucketError> {
    let mut part = Vec::new();
    archive.take(bytes).read_to_end(&mut part).await?;
    Ok(part.into())
}

async fn text(answer: Response<Incoming>) -> Result<String, BucketError> {
    let body = http_body_util::Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
    let whole = timeout(PIECE_LIMIT, body.collect()).await;
    let whole = whole
        .map_err(|_| BucketError::Late)?
        .map_err(BucketError::Unreachable)?;
    String::from_utf8(whole.to_bytes().into()).map_err(|error| BucketError::answer("text", error))
}

/// The code of an error, which is all of it that goes into a log: its message repeats what was sent.
fn code_of(xml: &str) -> Option<String> {
    let (_, error) = xml.split_once("<Error>")?;
    let (_, code) = error.split_once("<Code>")?;
    let (code, _) = code.split_once("</Code>")?;
    Some(code.chars().take(100).collect())
}
