-- A large world, for measuring and for looking at: as many rows as the setting `nself.seed_rows` says, give or take a
-- hundred. Row n is the same in a world of every size, so a larger one adds to a smaller one, and running it again
-- changes nothing. Ten families; the first has half of all.

-- ANALYZE, at the end, may have to wait for a vacuum of the same table to give way.
SET LOCAL lock_timeout = '30s';

-- An id made of a kind and a number, ordered by time as real ones are.
CREATE FUNCTION pg_temp.seed_id(kind text, n bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE
    RETURN overlay(
        overlay(md5(kind || n) PLACING '0194' || lpad(to_hex(n), 8, '0') || '7' FROM 1 FOR 13) PLACING '8' FROM 17 FOR 1
    )::uuid;

-- The family of row n, from 1 to 10.
CREATE FUNCTION pg_temp.seed_family(n bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN CASE n % 2 WHEN 1 THEN 1 ELSE 2 + (n / 2) % 9 END;

-- Two posts of three have a picture, the newest ones, too.
CREATE FUNCTION pg_temp.seed_post_of_media(n bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN n + (n - 1) / 2;

CREATE FUNCTION pg_temp.seed_at(n bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE
    RETURN '2025-01-01 00:00:00Z'::timestamptz + n * interval '5 minutes';

-- How many rows of a kind, given its share of all.
CREATE FUNCTION pg_temp.seed_count(share numeric) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN floor(share * current_setting('nself.seed_rows')::numeric)::bigint;

INSERT INTO users (id, email, display_name, created_at)
SELECT pg_temp.seed_id('user', n), 'person-' || n || '@world.example', 'Person ' || n, pg_temp.seed_at(0)
FROM generate_series(1, 120) AS n
ON CONFLICT DO NOTHING;

INSERT INTO families (id, name, created_by, created_at)
SELECT pg_temp.seed_id('family', n), 'World ' || n, pg_temp.seed_id('user', n * 12 - 11), pg_temp.seed_at(0)
FROM generate_series(1, 10) AS n
ON CONFLICT DO NOTHING;

-- Twelve members each: number 0 owns the family, the last ones are children.
INSERT INTO family_members (id, family_id, user_id, role, created_at)
SELECT
    pg_temp.seed_id('member', f * 12 + m), pg_temp.seed_id('family', f), pg_temp.seed_id('user', f * 12 - 11 + m),
    CASE
        WHEN m = 0 THEN 'OWNER' WHEN m = 1 THEN 'ADMIN' WHEN m < 7 THEN 'ADULT_MEMBER'
        WHEN m < 10 THEN 'YOUTH_MEMBER' ELSE 'CHILD_MEMBER'
    END,
    pg_temp.seed_at(0)
FROM generate_series(1, 10) AS f, generate_series(0, 11) AS m
ON CONFLICT DO NOTHING;

INSERT INTO posts (
    id, family_id, author_id, title, body, visibility, child_approved_at, created_at, updated_at
)
SELECT
    pg_temp.seed_id('post', n), pg_temp.seed_id('family', f), pg_temp.seed_id('member', f * 12 + n % 10),
    'Post ' || n, 'What happened on day ' || n / 288 || ': ' || md5('a' || n) || ' ' || md5('b' || n),
    CASE WHEN n % 10 = 0 THEN 'adults_only' WHEN n % 25 = 7 THEN 'private' ELSE 'family' END,
    CASE WHEN n % 10 <> 0 AND n % 3 = 0 THEN pg_temp.seed_at(n) END,
    pg_temp.seed_at(n), pg_temp.seed_at(n)
FROM generate_series(1, pg_temp.seed_count(0.30)) AS n, pg_temp.seed_family(n) AS f
ON CONFLICT DO NOTHING;

INSERT INTO media_items (
    id, family_id, author_id, kind, mime_type, bytes, storage_key, width, height, caption, taken_at, state, created_at
)
SELECT
    pg_temp.seed_id('media', n), pg_temp.seed_id('family', f), pg_temp.seed_id('member', f * 12 + n % 10),
    'photo', 'image/jpeg', 20000 + n % 50000, 'world/' || f || '/' || n || '.jpg', 4000, 3000, 'Picture ' || n,
    pg_temp.seed_at(p) - interval '1 hour', 'ready', pg_temp.seed_at(p)
FROM generate_series(1, pg_temp.seed_count(0.20)) AS n, pg_temp.seed_post_of_media(n) AS p, pg_temp.seed_family(p) AS f
ON CONFLICT DO NOTHING;

INSERT INTO post_assets (family_id, post_id, media_item_id)
SELECT pg_temp.seed_id('family', pg_temp.seed_family(p)), pg_temp.seed_id('post', p), pg_temp.seed_id('media', n)
FROM generate_series(1, pg_temp.seed_count(0.20)) AS n, pg_temp.seed_post_of_media(n) AS p
ON CONFLICT DO NOTHING;

-- Three comments for a post of five, and five reactions for one of thirteen.
INSERT INTO comments (id, family_id, post_id, author_id, body, created_at)
SELECT
    pg_temp.seed_id('comment', n), pg_temp.seed_id('family', f), pg_temp.seed_id('post', p),
    pg_temp.seed_id('member', f * 12 + n % 10), 'Comment ' || n, pg_temp.seed_at(p) + n % 3 * interval '1 minute'
FROM generate_series(1, pg_temp.seed_count(0.15)) AS n, LATERAL (SELECT 1 + (n - 1) / 3 * 5) AS post (p),
    pg_temp.seed_family(p) AS f
ON CONFLICT DO NOTHING;

INSERT INTO post_reactions (family_id, post_id, member_id, emoji, created_at)
SELECT
    pg_temp.seed_id('family', f), pg_temp.seed_id('post', p), pg_temp.seed_id('member', f * 12 + n % 5), '❤',
    pg_temp.seed_at(p)
FROM generate_series(1, pg_temp.seed_count(0.10)) AS n, LATERAL (SELECT 1 + (n - 1) / 5 * 13) AS post (p),
    pg_temp.seed_family(p) AS f
ON CONFLICT DO NOTHING;

-- One conversation of everyone per family, who may chat.
INSERT INTO conversations (id, family_id, kind, title, last_message_at, created_at)
SELECT
    pg_temp.seed_id('conversation', f), pg_temp.seed_id('family', f), 'everyone', 'All of us', pg_temp.seed_at(0),
    pg_temp.seed_at(0)
FROM generate_series(1, 10) AS f
ON CONFLICT DO NOTHING;

INSERT INTO conversation_members (family_id, conversation_id, member_id, created_at)
SELECT
    pg_temp.seed_id('family', f), pg_temp.seed_id('conversation', f), pg_temp.seed_id('member', f * 12 + m),
    pg_temp.seed_at(0)
FROM generate_series(1, 10) AS f, generate_series(0, 9) AS m
ON CONFLICT DO NOTHING;

INSERT INTO messages (id, family_id, conversation_id, author_id, body, created_at)
SELECT
    pg_temp.seed_id('message', n), pg_temp.seed_id('family', f), pg_temp.seed_id('conversation', f),
    pg_temp.seed_id('member', f * 12 + n % 10), 'Message ' || n, pg_temp.seed_at(n)
FROM generate_series(1, pg_temp.seed_count(0.05)) AS n, pg_temp.seed_family(n) AS f
ON CONFLICT DO NOTHING;

DROP FUNCTION pg_temp.seed_count(numeric);
DROP FUNCTION pg_temp.seed_at(bigint);
DROP FUNCTION pg_temp.seed_post_of_media(bigint);
DROP FUNCTION pg_temp.seed_family(bigint);
DROP FUNCTION pg_temp.seed_id(text, bigint);

-- Plans for what is there now, not for the empty tables of a moment ago.
ANALYZE users, families, family_members, posts, media_items, post_assets, comments, post_reactions, messages,
    search_index;
