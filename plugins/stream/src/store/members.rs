//! The families that people and devices speak for.

use nself_plugin_api::prelude::*;
use uuid::Uuid;

/// What a family says of somebody.
pub(crate) struct Member {
    pub family_id: Uuid,
    /// The person, or the device.
    pub id: Uuid,
    /// None for who is no member any more.
    pub role: Option<String>,
}

/// What the families say of these, each by the family and the person or device at the same place of the lists; nothing of who
/// never was a member.
pub(crate) async fn of(
    db: &impl Queries,
    families: Vec<Uuid>,
    people: Vec<Uuid>,
) -> Result<Vec<Member>> {
    db.query(
        "select asked.family_id, asked.id, \
             case when m.status = 'active' and f.deleted_at is null then m.role end as role \
         from unnest($1, $2) as asked (family_id, id) \
         join public.family_members m on m.family_id = asked.family_id and m.user_id = asked.id \
         join public.families f on f.id = asked.family_id \
         union all \
         select asked.family_id, asked.id, \
             case when d.revoked_at is null and f.deleted_at is null then 'DEVICE' end \
         from unnest($1, $2) as asked (family_id, id) \
         join public.devices d on d.family_id = asked.family_id and d.id = asked.id \
         join public.families f on f.id = asked.family_id",
        &[&families, &people],
    )
    .await?
    .map(member)
}

/// What is taken for true of people and devices, each at the same place of the lists.
#[derive(Default)]
pub(crate) struct Said {
    pub families: Vec<Uuid>,
    pub people: Vec<Uuid>,
    /// Empty for who has none.
    pub roles: Vec<&'static str>,
}

/// The same as [`of`], only of those of whom it is something else than what is taken for true.
pub(crate) async fn changed(db: &impl Queries, said: Said) -> Result<Vec<Member>> {
    db.query(
        "select said.family_id, said.id, now.role \
         from unnest($1, $2, $3) as said (family_id, id, role) \
         join public.families f on f.id = said.family_id \
         join public.family_members m on m.family_id = said.family_id and m.user_id = said.id \
         cross join lateral (select case when m.status = 'active' and f.deleted_at is null then m.role end as role) now \
         where now.role is distinct from nullif(said.role, '') \
         union all \
         select said.family_id, said.id, now.role \
         from unnest($1, $2, $3) as said (family_id, id, role) \
         join public.families f on f.id = said.family_id \
         join public.devices d on d.family_id = said.family_id and d.id = said.id \
         cross join lateral (select case when d.revoked_at is null and f.deleted_at is null then 'DEVICE' end as role) now \
         where now.role is distinct from nullif(said.role, '')",
        &[&said.families, &said.people, &said.roles],
    )
    .await?
    .map(member)
}

fn member(row: &Row) -> Result<Member> {
    Ok(Member {
        family_id: row.get(0)?,
        id: row.get(1)?,
        role: row.get(2)?,
    })
}
