//! The `tls-server-end-point` channel binding (RFC 5929 section 4.1): the server's certificate, hashed as it is signed.
//!
//! It ties the SCRAM login to this TLS session; some hosted databases insist on it (`channel_binding=require`).

use aws_lc_rs::digest::{self, Algorithm};

use crate::der::{OBJECT_IDENTIFIER, SEQUENCE, element};

/// Object identifiers of signature algorithms, and the hash that the binding uses with each.
const HASHES: [(&[u8], &Algorithm); 6] = [
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b],
        &digest::SHA256,
    ), // sha256WithRSAEncryption
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c],
        &digest::SHA384,
    ), // sha384WithRSAEncryption
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d],
        &digest::SHA512,
    ), // sha512WithRSAEncryption
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02],
        &digest::SHA256,
    ), // ecdsa-with-SHA256
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03],
        &digest::SHA384,
    ), // ecdsa-with-SHA384
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04],
        &digest::SHA512,
    ), // ecdsa-with-SHA512
];

/// The binding of a DER certificate; `None` where the RFC defines none, such as Ed25519.
pub(super) fn digest(certificate: &[u8]) -> Option<Vec<u8>> {
    let oid = signature_oid(certificate)?;
    let (_, hash) = HASHES.iter().find(|(known, _)| *known == oid)?;
    Some(digest::digest(hash, certificate).as_ref().to_vec())
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OID, .. }, .. }`
fn signature_oid(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = element(certificate, SEQUENCE)?;
    let (_, after_tbs) = element(body, SEQUENCE)?;
    let (algorithm, _) = element(after_tbs, SEQUENCE)?;
    element(algorithm, OBJECT_IDENTIFIER).map(|(oid, _)| oid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_signature() {
        let mut certificate = vec![
            SEQUENCE,
            16,
            SEQUENCE,
            0,
            SEQUENCE,
            12,
            OBJECT_IDENTIFIER,
            8,
        ];
        certificate.extend(HASHES[4].0);
        certificate.extend([5, 0]);
        assert_eq!(digest(&certificate).map(|digest| digest.len()), Some(48));
    }

    #[test]
    fn garbage_has_no_binding() {
        assert_eq!(digest(&[]), None);
        assert_eq!(digest(&[SEQUENCE, 0x84, 1, 1, 1, 1]), None);
        assert_eq!(digest(&[SEQUENCE, 0x82, 0xff, 0xff, SEQUENCE]), None);
    }
}
