-- Mails that another plugin has asked for in a transaction of its own: they are here exactly when that transaction has
-- committed. The courier writes them (`messages`) and forgets them here, usually within milliseconds.
create table mail.letters (
    id uuid primary key default nself.uuid_v7(),
    -- As `send` of `mail.send/1` takes it.
    letter jsonb not null,
    posted_by text not null,
    posted_at timestamptz not null default clock_timestamp()
);

-- Asks for a mail in the caller's transaction; the id is the mail's. What is wrong with a template or an address is found
-- when the mail is written, and the mail has failed then: only its form is looked at here.
--
-- With `to` null it is a mail to nobody, which costs what a mail costs: for callers whose time must not tell whether there
-- was somebody to write to.
create function mail.post(letter jsonb) returns uuid
    language plpgsql volatile security definer
    set search_path = pg_catalog, pg_temp
as $$
declare
    posted uuid;
begin
    if jsonb_typeof(letter) is distinct from 'object' or not letter ? 'to'
        or jsonb_typeof(letter -> 'to') not in ('string', 'null') then
        raise invalid_parameter_value using
            message = 'a letter is an object with "to", as send of mail.send/1 takes it',
            hint = 'docs: plugins/mail/README.md, "In a transaction"';
    end if;
    if pg_column_size(letter) > 1572864 then
        raise program_limit_exceeded using
            message = format('the letter has %s bytes, which is more than a mail may have (1572864)', pg_column_size(letter));
    end if;
    insert into mail.letters (letter, posted_by) values (post.letter, nself.caller()) returning id into posted;
    perform pg_notify('nself_mail', '');
    return posted;
end
$$;
