-- Whoever starts a run with a key of his own, such as the number of an order, finds it by that again, whatever workflow it is of.
-- Only runs with a key are in it, and runs are pruned: it is small enough to be made while nobody writes.
-- squawk-ignore require-concurrent-index-creation
create index instances_by_key on orchestrator.instances (key, id desc) where key is not null;
