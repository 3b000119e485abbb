-- Mails that the development catcher has taken. The texts beside the raw mail are what a search looks at.
create table mail.caught (
    id uuid primary key default nself.uuid_v7(),
    helo text not null,
    envelope_from text not null,
    envelope_to text[] not null,
    subject text not null,
    from_text text not null,
    to_text text not null,
    content_text text not null,
    data bytea not null,
    caught_at timestamptz not null
);
