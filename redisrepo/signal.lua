-- Hands a signal to those who are subscribed to a group now. Nothing is stored. standing.lua goes before this.
--
-- KEYS   1 gen  2 group  3 seq:<gen>  4 direct:<gen>
-- ARGV   1 generation the caller believes in  2 identity of the server, '' to ask it
--        3 channel of the group  4 group  5 from  6 'u' (user) or 's' (app server)
--        7 connection that does not get it ('-' = none)  8 event (JSON) up to the value of its last field, time_ms
-- RETURN 'OK', 'STALE' (server or generation is another one), 'LOAD' (group not cached), 'RESEED' (direct: counts not
--        known in this generation), 'GONE', 'NOT_MEMBER', 'BLOCKED', 'MUTED',
--        'STRANGER' (direct: the other side has not written)

if stale then return 'STALE' end
local refused, type = standing(KEYS[2], ARGV[5], ARGV[6])
if refused then return refused end
if type == 'direct' and ARGV[6] == 'u' then
  if redis.call('HEXISTS', KEYS[3], ARGV[4]) == 0 then return 'RESEED' end
  local _, theirs = written(KEYS[4], ARGV[4], ARGV[5])
  if theirs == 0 then return 'STRANGER' end
end
redis.call('PUBLISH', ARGV[3], 'e ' .. ARGV[7] .. '\n' .. ARGV[8] .. integer(now) .. '}')
return 'OK'
