//! The bucket in which archives of the database lie once more, as the configuration names it.

use super::RunError;
use crate::{
    capability::{
        dump::bucket::{Bucket, BucketSettings},
        http::Egress,
    },
    config::{BackupBucket, secrets::Secrets},
};

/// `[database.backup_bucket]`: all of it, or none.
pub(super) fn open(
    wanted: &BackupBucket,
    secrets: &Secrets,
    egress: &Egress,
) -> Result<Option<Bucket>, RunError> {
    let refuse = RunError::BackupBucket;
    let parts = [
        ("endpoint", &wanted.endpoint),
        ("name", &wanted.name),
        ("access_key", &wanted.access_key),
        ("secret", &wanted.secret),
    ];
    if parts.iter().all(|(_, value)| value.is_none()) {
        return Ok(None);
    }
    let [endpoint, name, access_key, secret] = parts.map(|(key, value)| {
        let value = value.clone();
        value.ok_or_else(|| refuse(format!("{key} is missing")))
    });
    let secret = secret?;
    let secret_key = secrets
        .get(&secret)?
        .ok_or_else(|| refuse(format!("there is no secret {secret}")))?;
    let settings = BucketSettings {
        endpoint: endpoint?,
        region: wanted.region.clone(),
        bucket: name?,
        prefix: wanted.prefix.clone(),
        access_key: access_key?,
        secret_key,
    };
    let bucket = Bucket::new(&settings, egress.tls());
    bucket.map(Some).map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn it_is_named_wholly_or_not_at_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::open(&directory.path().join("state")).expect("there are none yet");
        let egress = Egress::new().expect("TLS");
        let refused = |wanted: &BackupBucket| {
            let error = open(wanted, &secrets, &egress).err().expect("a refusal");
            error.to_string()
        };
        let mut wanted = BackupBucket::default();
        let none = open(&wanted, &secrets, &egress).expect("nothing is wanted");
        assert!(none.is_none());
        wanted.endpoint = Some("no address".to_owned());
        wanted.secret = Some("backup-bucket".to_owned());
        assert_eq!(
            refused(&wanted),
            "database.backup_bucket: there is no secret backup-bucket"
        );
        let secret = Secret::new("a-secret".to_owned());
        secrets.set("backup-bucket", &secret).expect("it is kept");
        assert_eq!(refused(&wanted), "database.backup_bucket: name is missing");
        wanted.name = Some("archives".to_owned());
        wanted.access_key = Some("ARCHIVES".to_owned());
        let place = refused(&wanted);
        assert!(place.contains("do not name a place"), "{place}");
        assert!(!place.contains("a-secret"), "{place}");
        wanted.endpoint = Some("https://s3.example.org".to_owned());
        let some = open(&wanted, &secrets, &egress).expect("all is named");
        assert!(some.is_some());
    }
}
