-- The queue. A row is a mail to one recipient, already rendered, so that what is wrong with a template is told to the
-- caller and not to the log.
--
-- `due_at` is when a worker may take the row: the next attempt of a queued mail, the end of the lease of one that is being
-- sent. So a worker that was killed between taking and finishing needs no other rescue than time. `attempts` is the fence:
-- a worker finishes only the attempt that it began.
create table mail.messages (
    id uuid primary key default nself.uuid_v7(),
    state text not null constraint messages_state
        check (state in ('queued', 'sending', 'sent', 'failed', 'suppressed')),
    address text not null,
    recipient text not null,
    sender text not null,
    reply_to text,
    template text,
    language text,
    subject text not null,
    body_text text,
    body_html text,
    idempotency_key text constraint messages_idempotency_key unique,
    attempts integer not null default 0,
    last_error text,
    created_at timestamptz not null,
    queued_at timestamptz not null,
    due_at timestamptz not null,
    finished_at timestamptz,
    constraint messages_finished check ((finished_at is null) = (state in ('queued', 'sending')))
);

create index messages_due on mail.messages (due_at) where state in ('queued', 'sending');
create index messages_finished_at on mail.messages (finished_at) where finished_at is not null;
create index messages_address on mail.messages (address, id desc);

-- Addresses that get no mail: a server said that there is no such mailbox, or an operator put them here.
create table mail.suppressions (
    address text primary key,
    reason text not null constraint suppressions_reason check (reason in ('bounce', 'manual')),
    detail text,
    created_at timestamptz not null
);
