-- Caches which groups a user is in, as MySQL had it, unless he was told of a change since.
--
-- KEYS   1 mine:<user>  2 notes:<user>
-- ARGV   1 id of the last note before MySQL was asked  2 TTL in ms  3 a member that is no group  then the groups
-- RETURN 'OK', or 'OLD': there are newer notes, nothing was done

local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '0-0') ~= ARGV[1] then return 'OLD' end
redis.call('DEL', KEYS[1])
for i = 3, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'OK'
