//! Everything that this plugin and the shared tables hold about a person, as one document.

use nself_plugin_api::{prelude::*, serde_json::Value};
use uuid::Uuid;

/// One statement, so that all parts are of one moment. Columns are named one by one where a table has secrets: one that is
/// added later is not told by accident.
const DOCUMENT: &str = "select jsonb_build_object(\
    'account', to_jsonb(u), \
    'families', (select coalesce(jsonb_agg(jsonb_build_object('family_id', f.id, 'name', f.name, 'member_id', m.id, \
        'role', m.role, 'status', m.status, 'created_at', m.created_at, 'left_at', m.left_at) order by m.created_at), '[]') \
      from public.family_members m join public.families f on f.id = m.family_id where m.user_id = u.id), \
    'app_roles', (select coalesce(jsonb_agg(jsonb_build_object('app', a.slug, 'role', r.role, \
        'created_at', r.created_at) order by r.created_at), '[]') \
      from public.user_app_roles r join public.apps a on a.id = r.app_id where r.user_id = u.id), \
    'accounts_made', (select coalesce(jsonb_agg(jsonb_build_object('user_id', c.id, 'display_name', c.display_name, \
        'created_at', c.created_at) order by c.created_at), '[]') \
      from public.users c where c.created_by = u.id and c.status <> 'deleted'), \
    'devices_approved', (select coalesce(jsonb_agg(jsonb_build_object('device_id', d.id, 'family_id', d.family_id, \
        'name', d.name, 'kind', d.kind, 'created_at', d.created_at, 'revoked_at', d.revoked_at) order by d.created_at), '[]') \
      from public.devices d join public.family_members m on m.family_id = d.family_id and m.id = d.approved_by \
      where m.user_id = u.id), \
    'credentials', (select coalesce(jsonb_agg(jsonb_build_object('kind', c.kind, 'created_at', c.created_at, \
        'confirmed_at', c.confirmed_at, 'used_at', c.used_at) order by c.created_at), '[]') \
      from auth.credentials c where c.user_id = u.id), \
    'passkeys', (select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name, 'transports', p.transports, \
        'is_backed_up', p.is_backed_up, 'created_at', p.created_at, 'used_at', p.used_at) order by p.created_at), '[]') \
      from auth.passkeys p where p.user_id = u.id), \
    'identities', (select coalesce(jsonb_agg(jsonb_build_object('provider', i.provider, 'issuer', i.issuer, \
        'subject', i.subject, 'email', i.email, 'is_email_verified', i.is_email_verified, 'created_at', i.created_at, \
        'used_at', i.used_at) order by i.created_at), '[]') \
      from auth.identities i where i.user_id = u.id), \
    'sessions', (select coalesce(jsonb_agg(jsonb_build_object('id', s.id, 'client', s.client, 'ip', host(s.ip), \
        'user_agent', s.user_agent, 'family_id', s.family_id, 'amr', s.amr, 'created_at', s.created_at, \
        'last_used_at', s.rotated_at, 'revoked_at', s.revoked_at, 'revoked_why', s.revoked_why) order by s.created_at), '[]') \
      from auth.sessions s where s.user_id = u.id), \
    'api_tokens', (select coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'name', t.name, 'prefix', t.prefix, \
        'scopes', t.scopes, 'family_id', t.family_id, 'created_at', t.created_at, 'expires_at', t.expires_at, \
        'used_at', t.used_at, 'revoked_at', t.revoked_at) order by t.created_at), '[]') \
      from auth.api_tokens t where t.user_id = u.id), \
    'codes_and_links', (select coalesce(jsonb_agg(jsonb_build_object('purpose', o.purpose, 'created_at', o.created_at, \
        'expires_at', o.expires_at, 'consumed_at', o.consumed_at) order by o.created_at), '[]') \
      from auth.one_time o where o.user_id = u.id), \
    'invitations_sent', (select coalesce(jsonb_agg(jsonb_build_object('family_id', i.family_id, 'role', i.role, \
        'email', i.email, 'created_at', i.created_at, 'expires_at', i.expires_at) order by i.created_at), '[]') \
      from auth.invitations i where i.invited_by = u.id), \
    'invitations_received', (select coalesce(jsonb_agg(jsonb_build_object('family_id', i.family_id, 'role', i.role, \
        'created_at', i.created_at, 'expires_at', i.expires_at) order by i.created_at), '[]') \
      from auth.invitations i where i.email = u.email and u.email_verified_at is not null), \
    'devices_paired', (select coalesce(jsonb_agg(jsonb_build_object('name', c.name, 'kind', c.kind, 'ip', host(c.ip), \
        'status', c.status, 'family_id', c.family_id, 'created_at', c.created_at) order by c.created_at), '[]') \
      from auth.device_codes c where c.approved_by = u.id), \
    'audit', (select coalesce(jsonb_agg(to_jsonb(e) order by e.at), '[]') \
      from nself.read_audit(u.id::text, entries => 10000) e)) \
    from public.users u where u.id = $1 and u.status <> 'deleted'";

/// The document; `None` for an account that is not there.
pub(crate) async fn document(db: &impl Queries, user_id: Uuid) -> Result<Option<Value>> {
    let row = db.query_opt(DOCUMENT, &[&user_id]).await?;
    row.map(|row| row.get(0)).transpose()
}
