-- Adds ARGV[1] to the counter KEYS[1]. Only a counter that this call makes gets the time to live ARGV[2] (ms, 0: none):
-- otherwise a busy counter would never expire.
local created = redis.call('EXISTS', KEYS[1]) == 0
local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])
if type(sum) == 'table' and sum.err then
    if string.find(sum.err, 'not an integer') or string.find(sum.err, 'overflow') then
        return redis.error_reply('KV_NOT_A_NUMBER the value or the sum is no 64-bit number')
    end
    return sum
end
if created and ARGV[2] ~= '0' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
-- Not `sum`: a Lua number is exact only up to 2^53.
return redis.call('GET', KEYS[1])
