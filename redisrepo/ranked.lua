-- Reads who counts in the heat, and the heat, in one step.
--
-- KEYS   1 gen  2 speakers  3 heat
-- RETURN {time in ms, 'whole' or 'part' (who spoke is still being brought back from MySQL),
--         {'<group>|<user>', time of the last message, …}, {group, count, …}}

local gen = redis.call('HMGET', KEYS[1], 'gen', 'heat')
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
return {
  string.format('%.0f', now),
  gen[1] == gen[2] and 'whole' or 'part',
  redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES'),
  redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES'),
}
