//! Accounts that come from elsewhere, many at once.

use nself_plugin_api::{jiff::Timestamp, prelude::*};

use crate::import::Account;

/// Makes accounts for those addresses that have none, with one statement; how many. An address stands in `accounts` once.
pub(crate) async fn insert(
    db: &impl Queries,
    accounts: &[Account],
    now: Timestamp,
) -> Result<usize> {
    let texts = |of: fn(&Account) -> &str| accounts.iter().map(of).collect::<Vec<&str>>();
    let flags = |of: fn(&Account) -> bool| accounts.iter().map(of).collect::<Vec<bool>>();
    // Empty texts stand for nothing: an array parameter has no nulls.
    let made = db
        .query(
            "with given as (\
               select * from unnest($1::text[], $2::bool[], $3::text[], $4::text[], $5::text[], $6::bool[], $7::text[]) \
                 as g(email, is_verified, display_name, avatar_url, locale, is_suspended, hash)), \
             made as (\
               insert into public.users (email, email_verified_at, display_name, avatar_url, locale, status) \
               select email, case when is_verified then $8::timestamptz end, display_name, nullif(avatar_url, ''), locale, \
                 case when is_suspended then 'suspended' else 'active' end from given order by email \
               on conflict (email) do nothing returning id, email), \
             secret as (\
               insert into auth.credentials (user_id, kind, secret, created_at, confirmed_at) \
               select m.id, 'password', g.hash, $8, $8 from made m join given g on g.email = m.email where g.hash <> '') \
             select nself.emit_event('auth.user_created', m.id::text, jsonb_build_object('user_id', m.id)) from made m",
            &[
                &texts(|account| &account.email),
                &flags(|account| account.is_email_verified),
                &texts(|account| &account.display_name),
                &texts(|account| account.avatar_url.as_deref().unwrap_or_default()),
                &texts(|account| &account.locale),
                &flags(|account| account.is_suspended),
                &texts(|account| account.password_hash.as_deref().unwrap_or_default()),
                &now,
            ],
        )
        .await?;
    Ok(made.len())
}
