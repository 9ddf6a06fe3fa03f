-- Tells who counts in the heat of some groups of a partition. It changes nothing.
--
-- KEYS   1 speakers
-- ARGV   1 window in ms  2 speakers to look at, at most  3 speakers to tell of a group, at most  then the groups
-- RETURN {group, user, time of his last message in ms, …}, the latest first

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local left = {}
for i = 4, #ARGV do left[ARGV[i]] = tonumber(ARGV[3]) end
local speakers = redis.call('ZREVRANGEBYSCORE', KEYS[1], '+inf', '(' .. string.format('%.0f', now - tonumber(ARGV[1])),
  'WITHSCORES', 'LIMIT', 0, ARGV[2])
local told = {}
for i = 1, #speakers, 2 do
  local group, user = string.match(speakers[i], '^(.*)|(.*)$')
  if left[group] and left[group] > 0 then
    left[group] = left[group] - 1
    told[#told + 1] = group
    told[#told + 1] = user
    told[#told + 1] = speakers[i + 1]
  end
end
return told
