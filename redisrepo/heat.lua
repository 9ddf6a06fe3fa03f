-- Counts people who spoke, as MySQL knows them, into the heat: as the append does, and nothing that is counted already.
-- May be repeated, and come between any appends.
--
-- KEYS   1 gen  2 speakers  3 heat
-- ARGV   1 generation  2 window in ms  3 'more', or 'last': with these the heat of the generation is whole
--        then 3 a speaker: group, user, time of his last message in ms
-- RETURN 'OK', or 'STALE' when the generation is another one

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
for i = 4, #ARGV, 3 do
  -- A group's time never falls, the clock may: the append counts by the clock.
  local spoke = math.min(tonumber(ARGV[i + 2]), now)
  if spoke > now - tonumber(ARGV[2]) and
    redis.call('ZADD', KEYS[2], 'GT', string.format('%.0f', spoke), ARGV[i] .. '|' .. ARGV[i + 1]) == 1 then
    redis.call('ZINCRBY', KEYS[3], 1, ARGV[i])
  end
end
if ARGV[3] == 'last' then redis.call('HSET', KEYS[1], 'heat', ARGV[1]) end
return 'OK'
