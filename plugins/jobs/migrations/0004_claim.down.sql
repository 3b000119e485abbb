drop function jobs.submit_leased, jobs.claim, jobs.move_marks, jobs.pick, jobs.look, jobs.admit, jobs.promote_waiting, jobs.running_keys, jobs.promote_due;
drop type jobs.picked;
