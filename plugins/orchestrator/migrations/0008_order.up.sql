-- Events reach a run in the order in which they came.
--
-- Each event has a job of its own, and jobs overtake one another: by running side by side, by being tried again, by having waited for a
-- host that died. So a job does not hand its event alone to a run. It holds the run, and hands it everything that came and that the run
-- has not been shown, in order. What is shown, and how far, is written in the same transaction; whoever comes later, on whatever host,
-- waits for the run and begins after that.
--
-- The order is that of the transactions that brought the events, and within one that of the numbers: who sends one event after another
-- begins the second transaction when the first has ended. Numbers alone would not do, and nor would a mark at the highest of them: a
-- number is drawn before its transaction commits, so an event may appear below one that was shown, and the next one of the same sender
-- above it. The mark stands at the first transaction that has not ended, and what is at or above it and was taken is not shown again.
-- (Beyond as many events as are shown at a time it stands at the last of them, so that a transaction that stays open holds nobody up: an
-- event that appears below it is handed over by its own job, and may come later than the next one of its sender.)

alter table orchestrator.events
    -- The transaction that brought it.
    add column xid xid8 not null default pg_current_xact_id();

alter table orchestrator.needs
    -- For events: up to where they have been shown.
    add column heard_xid xid8 not null default '0',
    add column heard_number bigint not null default 0;

-- What has come since is found by its type. Old events, which are pruned, are found by their numbers, which are in the order of time.
-- In one transaction with the rest, so not concurrently: dropping waits for those who use the table, and takes no time itself.
-- squawk-ignore require-concurrent-index-deletion
drop index orchestrator.events_received_at;
-- Events are kept for a day, and those who bring some wait for as long as it takes to index them.
-- squawk-ignore require-concurrent-index-creation
create index events_type on orchestrator.events (type, xid, number);
