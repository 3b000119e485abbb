drop function jobs.split, jobs.claim_suspect, jobs.hand_back, jobs.unclaim, jobs.rescue, jobs.put_back, jobs.tick, jobs.has_work;
