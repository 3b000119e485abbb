-- Takes ARGV[3] tokens from the bucket KEYS[1], which holds ARGV[1] and fills up in ARGV[2] microseconds.
-- Answers whether they were there, and the tokens left. The clock is the server's: replicas of the host may disagree.
local capacity, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local tokens, at = capacity, now

local state = redis.call('GET', KEYS[1])
if state then
    local left, since = string.match(state, '^b (%S+) (%d+)')
    left, since = tonumber(left), tonumber(since)
    if not left or not since then
        return redis.error_reply('KV_NOT_A_BUCKET the key holds something else')
    end
    -- A clock that was set back gives no tokens, and takes none.
    at = math.max(now, since)
    tokens = math.min(capacity, left + (at - since) * capacity / period)
end

if tokens < cost then
    return {0, string.format('%.17g', tokens)}
end
tokens = tokens - cost
local full_ms = math.ceil((at - now + (capacity - tokens) * period / capacity) / 1000)
if full_ms > 0 then
    redis.call('SET', KEYS[1], string.format('b %.17g %.0f', tokens, at), 'PX', string.format('%.0f', full_ms))
end
return {1, string.format('%.17g', tokens)}
