drop trigger leases_wake on jobs.leases;
drop function jobs.submit_leased, jobs.claim, jobs.wake_at_limit, jobs.running_of, jobs.fall_asleep, jobs.move_marks, jobs.pick, jobs.free_places, jobs.look, jobs.admit, jobs.promote_waiting, jobs.running_keys, jobs.promote_due;
drop type jobs.picked;
