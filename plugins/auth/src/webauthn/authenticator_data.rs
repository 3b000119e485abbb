//! What the authenticator says and signs (section 6.1).

use uuid::Uuid;

use super::{CREDENTIAL_ID_BYTES_MAX, Refusal, RelyingParty, cbor, cose::PublicKey};

/// Bits of the flags.
mod flag {
    pub(super) const USER_PRESENT: u8 = 1;
    pub(super) const USER_VERIFIED: u8 = 1 << 2;
    pub(super) const BACKUP_ELIGIBLE: u8 = 1 << 3;
    pub(super) const BACKED_UP: u8 = 1 << 4;
    pub(super) const HAS_CREDENTIAL: u8 = 1 << 6;
    pub(super) const HAS_EXTENSIONS: u8 = 1 << 7;
}

#[derive(Debug)]
pub(super) struct AuthenticatorData<'a> {
    relying_party: &'a [u8; 32],
    flags: u8,
    pub(super) sign_count: u32,
    pub(super) credential: Option<NewCredential<'a>>,
}

/// A credential that was just made (section 6.5.1).
#[derive(Debug)]
pub(super) struct NewCredential<'a> {
    pub(super) aaguid: Uuid,
    pub(super) id: &'a [u8],
    pub(super) key: PublicKey,
}

impl<'a> AuthenticatorData<'a> {
    pub(super) fn read(mut bytes: &'a [u8]) -> Result<Self, Refusal> {
        let relying_party = take::<32>(&mut bytes)?;
        let [flags] = *take::<1>(&mut bytes)?;
        let sign_count = u32::from_be_bytes(*take::<4>(&mut bytes)?);
        let credential = if flags & flag::HAS_CREDENTIAL != 0 {
            Some(NewCredential::read(&mut bytes)?)
        } else {
            None
        };
        if flags & flag::HAS_EXTENSIONS != 0 && !cbor::read(&mut bytes)?.is_map() {
            return Err(Refusal::AuthenticatorData);
        }
        if !bytes.is_empty() {
            return Err(Refusal::AuthenticatorData);
        }
        Ok(Self {
            relying_party,
            flags,
            sign_count,
            credential,
        })
    }

    /// What both ceremonies ask for: the relying party, somebody present, and verified.
    pub(super) fn check(&self, party: &RelyingParty) -> Result<(), Refusal> {
        if *self.relying_party != party.id_hash {
            Err(Refusal::WrongRelyingParty)
        } else if !self.has(flag::USER_PRESENT) {
            Err(Refusal::NotPresent)
        } else if !self.has(flag::USER_VERIFIED) {
            Err(Refusal::NotVerified)
        } else if self.is_backed_up() && !self.is_backup_eligible() {
            Err(Refusal::Backup)
        } else {
            Ok(())
        }
    }

    /// Whether the credential may be copied to other devices.
    pub(super) fn is_backup_eligible(&self) -> bool {
        self.has(flag::BACKUP_ELIGIBLE)
    }

    pub(super) fn is_backed_up(&self) -> bool {
        self.has(flag::BACKED_UP)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl<'a> NewCredential<'a> {
    fn read(bytes: &mut &'a [u8]) -> Result<Self, Refusal> {
        let aaguid = Uuid::from_bytes(*take::<16>(bytes)?);
        let length = usize::from(u16::from_be_bytes(*take::<2>(bytes)?));
        let (id, rest) = bytes
            .split_at_checked(length)
            .ok_or(Refusal::AuthenticatorData)?;
        *bytes = rest;
        if !(1..=CREDENTIAL_ID_BYTES_MAX).contains(&length) {
            return Err(Refusal::CredentialId);
        }
        let key = PublicKey::read(&cbor::read(bytes)?)?;
        Ok(Self { aaguid, id, key })
    }
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], Refusal> {
    let (taken, rest) = bytes
        .split_first_chunk()
        .ok_or(Refusal::AuthenticatorData)?;
    *bytes = rest;
    Ok(taken)
}
