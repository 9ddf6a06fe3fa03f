-- Brings one change of a group to the cache. A change that follows on the cached version is applied; any other
-- one drops what is cached and leaves its version, so that no older fill gets in.
--
-- KEYS   1 group  2 read:<gen>  3 heat  4 dismissed
-- ARGV   1 group  2 generation  3 version, with a '+' behind it when the change raised it  4 type  5 flags  6 join  7 name
--        8 members put  9 members removed  10 members whose read mark MySQL has set anew  11 channel of the group
--        then 2 a place put: user, '<role>:<mute until ms>' (no role: not in, but muted); then the users removed; then those of 10;
--        then what is published on the channel, in any case
-- RETURN 'APPLIED', 'DROPPED' or 'OLD' (a newer version is known: nothing was done)

local put, removed, joined = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local first_removed = 12 + 2 * put
local first_joined = first_removed + removed
for i = first_joined, first_joined + joined - 1 do redis.call('HDEL', KEYS[2], ARGV[i]) end
local dismissed = string.find(ARGV[5], 'd', 1, true)
if dismissed then
  redis.call('ZREM', KEYS[3], ARGV[1])
  -- Not when those who come later are told again: somebody has to go through all speakers for it.
  if first_joined + joined <= #ARGV then redis.call('SADD', KEYS[4], ARGV[1]) end
end
for i = first_joined + joined, #ARGV do redis.call('PUBLISH', ARGV[11], ARGV[i]) end

local cached = redis.call('HMGET', KEYS[1], '*loaded', '*version')
local version = tonumber(cached[2] or '0')
local new, raised = string.match(ARGV[3], '^(%d+)(%+?)$')
if tonumber(new) <= version then return 'OLD' end
if dismissed then redis.call('SADD', KEYS[4], ARGV[1]) end

if cached[1] ~= ARGV[2] or raised == '' or tonumber(new) ~= version + 1 then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], '*version', new)
  return 'DROPPED'
end
-- A full Redis refuses a first write that may need memory, and none after one that does not: who is muted or blocked now
-- is so at once.
redis.call('HDEL', KEYS[1], '*version')
redis.call('HSET', KEYS[1], '*version', new, '*type', ARGV[4], '*flags', ARGV[5], '*join', ARGV[6],
  '*name', ARGV[7])
for i = 12, first_removed - 1, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
for i = first_removed, first_joined - 1 do redis.call('HDEL', KEYS[1], ARGV[i]) end
return 'APPLIED'
