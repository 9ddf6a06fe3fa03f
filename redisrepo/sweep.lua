-- Takes a user's sessions on a dead instance out.
--
-- KEYS   1 conns:<user>  2 at:<instance>
-- ARGV   1 user  2 instance  3 TTL of sessions in ms
-- RETURN 'GONE': there were some, and the user has no session now; else 'MORE'. Of several that sweep at once, one
--        gets 'GONE'.

local swept, left = false, false
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local instance = string.match(fields[i + 1], '^%d+ (%S+) %S+$')
  if instance == ARGV[2] then
    redis.call('HDEL', KEYS[1], fields[i])
    swept = true
  elseif instance then
    left = true
  end
end
redis.call('SREM', KEYS[2], ARGV[1])
if left or not swept then return 'MORE' end

local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
redis.call('HSET', KEYS[1], '*seen', now)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 'GONE'
