-- Tells who counts in the heat of some groups of a partition, as far as they are among the speakers that are looked at, by the
-- time of their last message. It changes nothing.
--
-- KEYS   1 speakers
-- ARGV   1 window in ms  2 speakers to pass over, the latest ones  3 speakers to look at  then the groups
-- RETURN {'MORE', or 'END' when there are no others in the window, group, user, time of his last message in ms, …}, the latest
--        first

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local asked = {}
for i = 4, #ARGV do asked[ARGV[i]] = true end
local from, look = tonumber(ARGV[2]), tonumber(ARGV[3])
local speakers = redis.call('ZREVRANGE', KEYS[1], from, from + look - 1, 'WITHSCORES')
local told = {#speakers < 2 * look and 'END' or 'MORE'}
for i = 1, #speakers, 2 do
  if tonumber(speakers[i + 1]) <= now - tonumber(ARGV[1]) then
    told[1] = 'END'
    break
  end
  local group, user = string.match(speakers[i], '^(.*)|(.*)$')
  if asked[group] then
    told[#told + 1] = group
    told[#told + 1] = user
    told[#told + 1] = speakers[i + 1]
  end
end
return told
