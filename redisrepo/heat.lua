-- Counts people who spoke, or messages, as MySQL knows them, into the ranking: as the append does, and nothing that is counted
-- already. May be repeated, and come between any appends.
--
-- KEYS   1 gen  2 speakers, or messages  3 heat, or traffic
-- ARGV   1 generation  2 window in ms  3 '' while there is more to come; then the field of gen that says that this is whole
--        then 3 a member: group, user or seq, time of his last message, or of it, in ms
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
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], ARGV[3], ARGV[1]) end
return 'OK'
