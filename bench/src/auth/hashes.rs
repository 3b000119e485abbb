//! What a core can do at most: password hashes, one after the other in memory that is there.

use std::time::Instant;

use argon2::{Algorithm, Argon2, Block, Params, Version};

use crate::{Failure, Result};

/// Hashes of one measurement: a third of a second, where one takes 16 ms.
const HASHES: u32 = 20;

/// Seconds for one, with the parameters of the host's.
pub(super) fn seconds(arena: &mut Vec<Block>) -> Result<f64> {
    let failed = |error| Failure::from(format!("hash: {error}"));
    let params = Params::new(19 * 1024, 2, 1, Some(32)).map_err(failed)?;
    arena.resize(params.block_count(), Block::default());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let started = Instant::now();
    for _ in 0..HASHES {
        let mut hash = [0; 32];
        argon2
            .hash_password_into_with_memory(
                super::PASSWORD.as_bytes(),
                &[7; 16],
                &mut hash,
                &mut *arena,
            )
            .map_err(failed)?;
        std::hint::black_box(hash);
    }
    Ok(started.elapsed().as_secs_f64() / f64::from(HASHES))
}
