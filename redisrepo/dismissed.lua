-- Deletes what there is of a dismissed group, once all of its messages are in MySQL. That it was dismissed stays a
-- little longer, so that nothing read before gets in.
--
-- KEYS   1 gen  2 dismissed  3 seq:<gen>  4 persisted:<gen>  5 holes:<gen>  6 floor:<gen>  7 heat  8 expiring
--        9 recent:<gen>:<group>  10 read:<gen>:<group>  11 online:<group>  12 rate:g:<group>  13 group
--        14 recalled:<gen>:<group>  15 mentions:<gen>:<group>
-- ARGV   1 generation  2 group  3 TTL in ms of that it was dismissed
-- RETURN 'OK', 'WAITS' (messages of it are on their way to MySQL) or 'STALE' (the generation is another one); then nothing was done

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
local last = redis.call('HGET', KEYS[3], ARGV[2])
if last then
  local persisted = redis.call('HGET', KEYS[4], ARGV[2]) or '0'
  if tonumber(string.match(last, '^%d+')) > tonumber(persisted) then return 'WAITS' end
end
redis.call('DEL', KEYS[9], KEYS[10], KEYS[11], KEYS[12], KEYS[14], KEYS[15])
for i = 3, 6 do redis.call('HDEL', KEYS[i], ARGV[2]) end
redis.call('ZREM', KEYS[7], ARGV[2])
redis.call('ZREM', KEYS[8], ARGV[2])
redis.call('PEXPIRE', KEYS[13], ARGV[3])
redis.call('SREM', KEYS[2], ARGV[2])
return 'OK'
