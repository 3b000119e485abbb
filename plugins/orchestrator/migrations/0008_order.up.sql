-- Events reach a run in the order in which they came.
--
-- Each event has a job of its own, and jobs overtake one another: by running side by side, by being tried again, by having waited for a
-- host that died. So a job does not hand its event alone to a run. It holds the run, and hands it everything that came and that the run
-- has not been shown, in the order of the numbers. What is shown, and how far, is written in the same transaction; whoever comes later,
-- on whatever host, waits for the run and begins after that.
--
-- A number is drawn before its transaction commits, so an event may appear below what has been shown already. Nobody can say that it
-- came first: who sent it had no answer when the other one was there to be seen. Its own job finds it by its id, so it is not lost.
-- Numbers that are drawn one transaction after the other would have another order for nobody, and let everybody who sends wait.

alter table orchestrator.needs
    -- For events: the number up to which they have been shown.
    add column heard bigint not null default 0;

-- What has come since is found by its type. Old events, which are pruned, are found by their numbers, which are in the order of time.
-- In one transaction with the rest, so not concurrently: dropping waits for those who use the table, and takes no time itself.
-- squawk-ignore require-concurrent-index-deletion
drop index orchestrator.events_received_at;
-- Events are kept for a day, and those who bring some wait for as long as it takes to index them.
-- squawk-ignore require-concurrent-index-creation
create index events_type on orchestrator.events (type, number);
