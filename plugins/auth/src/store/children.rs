//! Children's accounts that were taken out of their family, in `public.family_members`.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

use crate::family::{FamilyRole, RemovedChild};

/// The children who were removed from that family, the last one first.
pub(crate) async fn removed(db: &impl Queries, family_id: Uuid) -> Result<Vec<RemovedChild>> {
    db.query(
        "select m.id, m.user_id, u.display_name, m.role, u.created_by, m.left_at \
         from public.family_members m join public.users u on u.id = m.user_id \
         where m.family_id = $1 and m.status = 'inactive' and u.kind = 'child' and u.status = 'active' \
         order by m.left_at desc, m.id",
        &[&family_id],
    )
    .await?
    .map(|row| {
        Ok(RemovedChild {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            display_name: row.get("display_name")?,
            role: FamilyRole::read(row.get("role")?)?,
            guardian_id: row.get("created_by")?,
            left_at: row.get("left_at")?,
        })
    })
}
