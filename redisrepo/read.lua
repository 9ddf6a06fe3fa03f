-- Moves a read mark forward and notes it for MySQL. The subscribers of a small group are told, but for the user: all
-- of his connections are, by whoever calls. What the viewers of a room have read who did not join it is told to nobody:
-- they may be many.
--
-- KEYS   1 gen  2 read:<gen>:<group>  3 dirty:<gen>  4 group
-- ARGV   1 generation  2 group  3 user  4 seq  5 the mark that MySQL is known to have  6 idle TTL of read in ms
--        7 channel of the group  8 what is published there  9 members of a small group at most
-- RETURN the mark that holds now, or 'STALE' (the generation is another one): a mark noted there would stay there

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
local mark = math.max(tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or '0'), tonumber(ARGV[5]))
local seq = tonumber(ARGV[4])
if seq > mark then
  mark = seq
  redis.call('HSET', KEYS[3], ARGV[2] .. '|' .. ARGV[3], ARGV[4])
  local group = redis.call('HMGET', KEYS[4], '*loaded', ARGV[3])
  local own_fields = 6 -- of the group, beside its members: *loaded and so on
  if group[1] == ARGV[1] and group[2] and redis.call('HLEN', KEYS[4]) <= tonumber(ARGV[9]) + own_fields then
    redis.call('PUBLISH', ARGV[7], ARGV[8])
  end
end
local text = string.format('%.0f', mark)
redis.call('HSET', KEYS[2], ARGV[3], text)
redis.call('PEXPIRE', KEYS[2], ARGV[6])
return text
