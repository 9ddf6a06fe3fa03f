-- Gives groups their starting seqs in a generation, with the holes up to there. A group that has a seq keeps it.
--
-- KEYS   1 gen  2 seq:<gen>  3 holes:<gen>  4 persisted:<gen>  5 direct:<gen>
-- ARGV   1 generation, then 5 a group: group, '<start> <last time_ms>', holes ('' = none), start,
--        direct: '<lower's> <higher's>' messages so far ('' = none)
-- RETURN 'OK', or 'STALE' when the generation is another one

if redis.call('HGET', KEYS[1], 'gen') ~= ARGV[1] then return 'STALE' end
for i = 2, #ARGV, 5 do
  if redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1]) == 1 then
    if ARGV[i + 2] ~= '' then redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2]) end
    redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 3])
    if ARGV[i + 4] ~= '' then redis.call('HSET', KEYS[5], ARGV[i], ARGV[i + 4]) end
  end
end
return 'OK'
