//! `/auth/admin/import`: accounts from elsewhere.

use std::collections::HashSet;

use nself_plugin_api::{
    futures_util::StreamExt, http::HeaderMap, jiff::Timestamp, prelude::*, serde_json::json,
};
use serde::Serialize;

use super::actor;
use crate::{
    Auth,
    import::{Account, Format, Read, Reader, Records, Refusal},
    routes::Private,
    store::{
        audit::{self, New},
        import as store,
    },
};

/// Most rows of one import.
const ROWS_MAX: u64 = 100_000;

/// Rows of one transaction: few enough that nobody waits long for it, enough that it costs little per row.
const BATCH: usize = 500;

/// Most refused rows that the answer names.
const REFUSALS_MAX: usize = 10_000;

/// What became of the rows.
#[derive(Debug, Default, Serialize, Schema)]
pub(crate) struct Imported {
    /// Accounts that were made.
    pub made: u64,
    /// Rows whose address has an account already; nothing was changed.
    pub known: u64,
    /// Rows that are no account.
    pub refused: u64,
    /// Which those are, the first 10,000 of them.
    pub refusals: Vec<Refusal>,
}

pub(crate) async fn import(
    cx: Cx<Auth>,
    principal: Principal,
    headers: HeaderMap,
    mut body: BodyStream,
) -> Result<Private<Data<Imported>>> {
    let format = format(&headers)?;
    let now = cx.clock().now()?;
    let mut records = Records::new(format);
    let mut run = Run {
        cx: &cx,
        now,
        reader: Reader::new(format, now),
        rows: 0,
        addresses: HashSet::new(),
        batch: Vec::new(),
        imported: Imported::default(),
    };
    let mut is_end = false;
    while !is_end {
        match body.next().await.transpose()? {
            Some(chunk) => records.push(&chunk),
            None => is_end = true,
        }
        while let Some(record) = records.next(is_end)? {
            run.take(&record).await?;
        }
    }
    run.write().await?;
    let imported = run.imported;
    let details =
        json!({"made": imported.made, "known": imported.known, "refused": imported.refused});
    let entry = New {
        actor: &actor(&principal),
        action: "auth.accounts_imported",
        target: "accounts",
        details: &details,
        family_id: None,
    };
    audit::append(&cx.db(), &entry).await?;
    Ok(Private(Data(imported)))
}

fn format(headers: &HeaderMap) -> Result<Format> {
    let stated = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let essence = stated
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match essence.trim() {
        "text/csv" => Ok(Format::Csv),
        "application/x-ndjson" | "application/jsonl" => Ok(Format::Lines),
        "application/json" => Ok(Format::Json),
        _ => Err(Error::new(
            415,
            "CONTENT_TYPE",
            "the body must be sent as application/json, application/x-ndjson or text/csv",
        )),
    }
}

/// An import under way.
struct Run<'a> {
    cx: &'a Cx<Auth>,
    now: Timestamp,
    reader: Reader,
    rows: u64,
    /// Addresses of the batch, so that none stands in it twice.
    addresses: HashSet<String>,
    batch: Vec<Account>,
    imported: Imported,
}

impl Run<'_> {
    async fn take(&mut self, record: &[u8]) -> Result<()> {
        self.rows += 1;
        if self.rows > ROWS_MAX {
            // What was made stays: the import can be sent again in parts.
            self.write().await?;
            return Err(Error::invalid(
                "IMPORT_INVALID",
                format!(
                    "more than {ROWS_MAX} rows: send it in parts; the rows before that were taken"
                ),
            ));
        }
        match self.reader.read(record) {
            Ok(Read::Nothing) => {}
            Ok(Read::Account(account)) => {
                if self.addresses.insert(account.email.clone()) {
                    self.batch.push(*account);
                } else {
                    self.imported.known += 1;
                }
                if self.batch.len() == BATCH {
                    self.write().await?;
                }
            }
            Err((email, reason)) => {
                self.imported.refused += 1;
                if self.imported.refusals.len() < REFUSALS_MAX {
                    let row = self.rows;
                    self.imported.refusals.push(Refusal { row, email, reason });
                }
            }
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            let made = store::insert(&self.cx.db(), &self.batch, self.now).await?;
            self.imported.made += made as u64;
            self.imported.known += (self.batch.len() - made) as u64;
        }
        self.batch.clear();
        self.addresses.clear();
        Ok(())
    }
}
