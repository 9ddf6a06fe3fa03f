-- Takes out of the ranking what is older than the window: speakers whose last message is, and messages where they are counted.
--
-- KEYS   1 speakers  2 heat  3 messages  4 traffic
-- ARGV   1 window in ms  2 how many of each at most
-- RETURN {1 when there may be more, else 0, time in ms}

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local more = 0
local function expire(members, counts)
  local expired = redis.call('ZRANGEBYSCORE', members, '-inf', string.format('%.0f', now - tonumber(ARGV[1])), 'LIMIT', 0, ARGV[2])
  for _, member in ipairs(expired) do
    local group = string.match(member, '^(.*)|')
    redis.call('ZREM', members, member)
    if tonumber(redis.call('ZINCRBY', counts, -1, group)) <= 0 then redis.call('ZREM', counts, group) end
  end
  if #expired == tonumber(ARGV[2]) then more = 1 end
end
expire(KEYS[1], KEYS[2])
expire(KEYS[3], KEYS[4])
return {more, string.format('%.0f', now)}
