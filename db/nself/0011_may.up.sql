-- Whether a role may do such an action in its family, as db/policy.toml says, for SQL that has to know it: whom a change is told.
-- Nobody writes the same rule twice: a test generates the function from the policy and finds it here; when the policy changes, the
-- next step replaces it. What nobody knows, nobody may.
CREATE OR REPLACE FUNCTION nself.may(role text, action text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
AS $$
    SELECT coalesce(CASE action
        WHEN 'audit.view' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'child.guard' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
        WHEN 'comment.write' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'content.keep' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER')
        WHEN 'content.view' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'content.view_adults_only' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
        WHEN 'content.view_approved' THEN role IN ('CHILD_MEMBER')
        WHEN 'content.view_streamed' THEN role IN ('DEVICE')
        WHEN 'conversation.create' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'conversation.view' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'device.manage' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'event.answer' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER')
        WHEN 'event.create' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'family.delete' THEN role IN ('OWNER')
        WHEN 'family.delete_data' THEN role IN ('OWNER')
        WHEN 'family.export' THEN role IN ('OWNER')
        WHEN 'family.settings' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'family.view' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER', 'DEVICE')
        WHEN 'location.share' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'location.view' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
        WHEN 'media.delete_any' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'media.upload' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'member.change_role' THEN role IN ('OWNER')
        WHEN 'member.manage' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'member.set_own' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER')
        WHEN 'member.view' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER')
        WHEN 'message.send' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'post.create' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'post.delete_any' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'post.edit_own' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'recipe.manage' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER')
        WHEN 'stream.manage' THEN role IN ('OWNER', 'ADMIN')
        WHEN 'stream.read' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER', 'YOUTH_MEMBER', 'CHILD_MEMBER', 'DEVICE')
        WHEN 'vault.create' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
        WHEN 'vault.seal' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
        WHEN 'vault.view' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
        WHEN 'workflow.manage' THEN role IN ('OWNER', 'ADMIN', 'ADULT_MEMBER')
    END, false)
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA nself FROM PUBLIC;
