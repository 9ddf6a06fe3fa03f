-- Deletes what is left of an older generation once its log is in MySQL.
--
-- KEYS   1 gen  2 log:<old>  3 seq:<old>  4 persisted:<old>  5 holes:<old>  6 dirty:<old>
--        7 direct:<old>  8 floor:<old>  9 recalling:<old>
-- ARGV   1 the old generation
-- RETURN 'OK', or 'LEFT' when its log or its read marks are not empty: nothing was done

if redis.call('XLEN', KEYS[2]) > 0 or redis.call('HLEN', KEYS[6]) > 0 then return 'LEFT' end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9])
local left = {}
for gen in string.gmatch(redis.call('HGET', KEYS[1], 'older') or '', '%d+') do
  if gen ~= ARGV[1] then left[#left + 1] = gen end
end
redis.call('HSET', KEYS[1], 'older', table.concat(left, ' '))
return 'OK'
