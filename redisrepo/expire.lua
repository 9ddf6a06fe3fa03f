-- Takes speakers out of the heat whose last message is older than the window.
--
-- KEYS   1 speakers  2 heat
-- ARGV   1 window in ms  2 how many at most
-- RETURN {how many were taken out, time in ms}

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local expired = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[1])),
  'LIMIT', 0, ARGV[2])
for _, speaker in ipairs(expired) do
  local group = string.match(speaker, '^(.*)|')
  redis.call('ZREM', KEYS[1], speaker)
  if tonumber(redis.call('ZINCRBY', KEYS[2], -1, group)) <= 0 then redis.call('ZREM', KEYS[2], group) end
end
return {#expired, string.format('%.0f', now)}
