//! Families with somebody of each role, in the shared model.

use nself_plugin_api::manifest::Role;
use uuid::Uuid;

use crate::host::TestHost;

const PERSON: &str = "insert into public.users (id, display_name) values ($1, 'Somebody')";
const FAMILY: &str = "with family as ( \
         insert into public.families (id, name, created_by) values ($1, 'Settled', $2) returning id \
     ) insert into public.devices (id, family_id, name) select $3, id, 'TV' from family";
const MEMBER: &str =
    "insert into public.family_members (family_id, user_id, role) values ($1, $2, $3)";

impl TestHost {
    /// The person, or for [`Role::Device`] the device, that [`token`](Self::token) is for.
    pub fn id_of(role: Role, family: Uuid) -> Uuid {
        Uuid::from_u128(family.as_u128() ^ (1 + role as u128))
    }

    /// Makes the family, with a person of each role and a device, so that those whom [`token`](Self::token) gives tokens to are
    /// really there.
    ///
    /// # Panics
    ///
    /// When the database refuses, as when they have been made before.
    pub async fn settle(&self, family: Uuid) {
        let sql = self.sql().await;
        for role in Role::PEOPLE {
            let person = Self::id_of(*role, family);
            sql.execute(PERSON, &[&person]).await.expect("a person");
        }
        let [owner, device] = [Role::Owner, Role::Device].map(|role| Self::id_of(role, family));
        let made = sql.execute(FAMILY, &[&family, &owner, &device]).await;
        made.expect("a family and its device");
        for role in Role::PEOPLE {
            let person = Self::id_of(*role, family);
            let joined = sql.execute(MEMBER, &[&family, &person, &role.name()]).await;
            joined.expect("a member");
        }
    }
}
