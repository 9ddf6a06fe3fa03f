-- Takes over the holes of a group as MySQL has them now: rows below its seed went (retention) or came back (late fills).
-- Recent messages below the first seq that may have one go with them.
--
-- KEYS   1 gen  2 seq:<gen>  3 holes:<gen>  4 floor:<gen>  5 recent:<gen>:<group>
--        6 recalled:<gen>:<group>
-- ARGV   1 generation  2 group  3 all its holes ('' = none)  4 lowest seq that is in none of those that start at 1
-- RETURN 'OK', or 'STALE' when the generation is another one: it may have read them before they changed

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
-- First, because a Redis without memory refuses HSET as a script's first write.
redis.call('HDEL', KEYS[4], ARGV[2])
redis.call('HDEL', KEYS[3], ARGV[2])
redis.call('XTRIM', KEYS[5], 'MINID', ARGV[4])
for _, seq in ipairs(redis.call('HKEYS', KEYS[6])) do
  if tonumber(seq) < tonumber(ARGV[4]) then redis.call('HDEL', KEYS[6], seq) end
end
if ARGV[3] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
end
return 'OK'
