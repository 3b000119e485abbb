create table bench00.items (
    id bigint primary key,
    family_id uuid not null,
    name text not null,
    amount bigint not null,
    created_at timestamptz not null default now()
);

insert into bench00.items (id, family_id, name, amount)
    select number, gen_random_uuid(), 'item ' || number, number * 7 from generate_series(1, 1000) as number;
