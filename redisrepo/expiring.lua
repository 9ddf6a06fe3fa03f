-- Notes that messages of groups are about to be deleted in MySQL, and tells up to which seq they may be.
--
-- KEYS   1 gen  2 seq:<gen>  3 persisted:<gen>  4 expiring
-- ARGV   1 generation, then groups
-- RETURN {'STALE'} when the generation is another one: nothing was done. Otherwise a string a group: its watermark, or
--        '' when this generation does not know it, so that nothing of it waits for MySQL

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return {'STALE'} end
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
local bounds = {}
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[4], now, ARGV[i])
  local known = redis.call('HEXISTS', KEYS[2], ARGV[i]) == 1
  bounds[i - 1] = known and (redis.call('HGET', KEYS[3], ARGV[i]) or '0') or ''
end
return bounds
