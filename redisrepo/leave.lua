-- Takes a session out.
--
-- KEYS   1 conns:<user>  2 at:<instance>
-- ARGV   1 user  2 connection  3 instance  4 TTL of sessions in ms
--        then the instances that are dead: their sessions do not count, and go
-- RETURN {'LAST'}: the user has no session now, whether this one was still there (it may have been replaced, or lost
--        with Redis) or not; {'MORE'}: he has another one on this instance; {'ELSEWHERE', instances not named as
--        dead}: he has others on these only

local dead = {}
for i = 5, #ARGV do dead[ARGV[i]] = true end

redis.call('HDEL', KEYS[1], ARGV[2])
local here, elsewhere, named = false, {}, {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local instance = string.match(fields[i + 1], '^%d+ (%S+) %S+$')
  if dead[instance] then
    redis.call('HDEL', KEYS[1], fields[i])
  elseif instance == ARGV[3] then
    here = true
  elseif instance and not named[instance] then
    named[instance] = true
    elsewhere[#elsewhere + 1] = instance
  end
end
if not here then redis.call('SREM', KEYS[2], ARGV[1]) end
local last = not here and #elsewhere == 0
if last then
  local clock = redis.call('TIME')
  local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))
  redis.call('HSET', KEYS[1], '*seen', now)
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
if last then return {'LAST'} end
if here then return {'MORE'} end
return {'ELSEWHERE', unpack(elsewhere)}
